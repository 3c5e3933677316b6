//! Figures that see only the order of the scores.

use super::row::{Row, by_score, masses, rows, squares};
use crate::batch::NO_GROUP;

/// Area under the ROC curve: the probability that a positive row scores above
/// a negative one, a tie counting half (the Mann-Whitney statistic). `None`
/// unless there are rows of both classes. Time O(n log n).
///
/// # Panics
/// If the slices differ in length.
pub fn auc(labels: &[bool], scores: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    let mut rows = rows(labels, scores, weights, None)?;
    rows.sort_unstable_by(by_score);
    sorted_auc(&rows)
}

/// AUC within groups, as [`grouped_auc`] gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Grouped {
    /// Mean of the counted groups' AUC, each weighted by its rows (by the sum
    /// of their weights). `None` if no group counts.
    pub auc: Option<f64>,
    /// Groups with rows of both classes: those that count.
    pub groups: usize,
    /// Groups with rows of one class only: those left out.
    pub skipped: usize,
    /// Rows of no group, which are left out, too.
    pub missing: usize,
}

/// AUC within each group, averaged with the groups' impressions as weights
/// (GAUC: Zhu et al., "Optimized Cost per Click in Taobao Display
/// Advertising", KDD 2017). Rows of [`NO_GROUP`] are left out: people of whom
/// nothing is known are not one person.
///
/// # Panics
/// If the slices differ in length.
pub fn grouped_auc(labels: &[bool], scores: &[f64], weights: Option<&[f64]>, groups: &[u64]) -> Grouped {
    let Some(mut rows) = rows(labels, scores, weights, Some(groups)) else { return Grouped::default() };
    rows.sort_unstable_by(|a, b| a.group.cmp(&b.group).then_with(|| by_score(a, b)));
    sorted_grouped_auc(&rows)
}

/// The standard error of [`auc`] by the labels, as if the rows were independent of each
/// other: DeLong, DeLong and Clarke-Pearson, Biometrics 1988. Each positive row is placed
/// by the share of the negative rows that it scores above, and each negative one likewise;
/// the error is that of the means of both. A weight says how much a row counts, not how
/// many were seen. `None` unless there are two rows of both classes. Time O(n log n).
///
/// # Panics
/// If the slices differ in length.
pub fn auc_error(labels: &[bool], scores: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    let mut rows = rows(labels, scores, weights, None)?;
    rows.sort_unstable_by(by_score);
    sorted_auc_error(&rows, sorted_auc(&rows)?)
}

/// Where rows sorted by score are placed: of each tie, its rows, the share of the negative rows
/// that its positive ones are above, and that of the positive rows that its negative ones are
/// below; a tie counts half.
pub(super) fn placed(rows: &[Row]) -> impl Iterator<Item = (&[Row], f64, f64)> {
    let (positives, all) = masses(rows);
    let negatives = all - positives;
    let (mut positives_below, mut negatives_below) = (0.0, 0.0);
    rows.chunk_by(|a, b| a.score == b.score).map(move |tie| {
        let (positive, both) = masses(tie);
        let negative = both - positive;
        let above = (negatives_below + negative / 2.0) / negatives;
        let below = (positives - positives_below - positive / 2.0) / positives;
        positives_below += positive;
        negatives_below += negative;
        (tie, above, below)
    })
}

/// Standard error of the AUC of rows sorted by score.
pub(super) fn sorted_auc_error(rows: &[Row], auc: f64) -> Option<f64> {
    let (positives, all) = masses(rows);
    let (positive_squares, all_squares) = squares(rows);
    let (negatives, negative_squares) = (all - positives, all_squares - positive_squares);
    let (mut of_positives, mut of_negatives) = (0.0, 0.0);
    for (tie, above, below) in placed(rows) {
        let (positive_square, both) = squares(tie);
        of_positives += positive_square * (above - auc).powi(2);
        of_negatives += (both - positive_square) * (below - auc).powi(2);
    }
    // Of a mean of n rows of weight 1 the sum of squares over n (n - 1).
    let variance = |sum: f64, mass: f64, squares: f64| sum / (mass * (mass - squares / mass));
    let both =
        variance(of_positives, positives, positive_squares) + variance(of_negatives, negatives, negative_squares);
    let positive_rows = rows.iter().filter(|row| row.label).count();
    (positive_rows > 1 && rows.len() - positive_rows > 1).then(|| both.sqrt())
}

/// AUC of rows sorted by score.
pub(super) fn sorted_auc(rows: &[Row]) -> Option<f64> {
    let (mut positives, mut negatives, mut ordered) = (0.0, 0.0, 0.0);
    for tie in rows.chunk_by(|a, b| a.score == b.score) {
        let (mut positive, mut negative) = (0.0, 0.0);
        for row in tie {
            *if row.label { &mut positive } else { &mut negative } += row.weight;
        }
        ordered += positive * (negatives + negative / 2.0);
        positives += positive;
        negatives += negative;
    }
    // With one class 0 / 0; weights near the ends of f64 can do the same.
    let auc = ordered / (positives * negatives);
    auc.is_finite().then_some(auc)
}

/// Grouped AUC of rows sorted by group, and by score within a group.
pub(super) fn sorted_grouped_auc(rows: &[Row]) -> Grouped {
    let mut grouped = Grouped::default();
    let (mut sum, mut mass) = (0.0, 0.0);
    for group in rows.chunk_by(|a, b| a.group == b.group) {
        if group[0].group == NO_GROUP {
            grouped.missing = group.len();
            continue;
        }
        match sorted_auc(group) {
            Some(auc) => {
                let weight: f64 = group.iter().map(|row| row.weight).sum();
                sum += weight * auc;
                mass += weight;
                grouped.groups += 1;
            }
            None => grouped.skipped += 1,
        }
    }
    grouped.auc = (grouped.groups > 0).then(|| sum / mass);
    grouped
}
