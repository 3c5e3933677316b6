//! Whether a column by itself tells a label.

use super::auc;

/// From this AUC on a column alone tells a label. What people do is not so sure.
pub(crate) const TWIN: f64 = 0.995;
/// Rows with the action, and without it, that it takes to say so.
pub(crate) const ENOUGH: usize = 20;

/// The AUC of a column's scores of the labels; `None` of too few of either label.
pub(crate) fn column_auc(rows: impl Iterator<Item = (f64, bool)>) -> Option<f64> {
    let (scores, labels): (Vec<f64>, Vec<bool>) = rows.unzip();
    let positives = labels.iter().filter(|label| **label).count();
    let enough = positives >= ENOUGH && labels.len() - positives >= ENOUGH;
    if enough { auc(&labels, &scores, None) } else { None }
}
