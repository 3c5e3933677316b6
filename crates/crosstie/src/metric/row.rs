//! The one form in which all figures see the data.

use std::cmp::Ordering;

/// A labelled prediction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub score: f64,
    pub weight: f64,
    pub group: u64,
    pub scenario: u32,
    pub label: bool,
}

impl Row {
    /// Whether figures can be computed from this row at all.
    pub fn is_sound(&self) -> bool {
        !self.score.is_nan() && self.weight.is_finite() && self.weight >= 0.0
    }
}

/// Order by score. Ties are ordered by all else that enters a sum, so that
/// figures are the same to the bit whatever the order of the rows was.
pub(super) fn by_score(a: &Row, b: &Row) -> Ordering {
    let score = a.score.total_cmp(&b.score);
    score.then_with(|| a.label.cmp(&b.label)).then_with(|| a.weight.total_cmp(&b.weight))
}

/// Rows from parallel slices, without those of weight 0; `None` if one of
/// them is not sound.
///
/// # Panics
/// If the slices differ in length.
pub(super) fn rows(
    labels: &[bool],
    scores: &[f64],
    weights: Option<&[f64]>,
    groups: Option<&[u64]>,
) -> Option<Vec<Row>> {
    let lengths = [scores.len(), weights.map_or(labels.len(), <[f64]>::len), groups.map_or(labels.len(), <[u64]>::len)];
    assert_eq!(lengths, [labels.len(); 3], "scores, weights and groups must be as many as labels");
    let mut rows = Vec::with_capacity(labels.len());
    for (index, (label, score)) in labels.iter().zip(scores).enumerate() {
        let row = Row {
            score: *score,
            weight: weights.map_or(1.0, |weights| weights[index]),
            group: groups.map_or(0, |groups| groups[index]),
            scenario: 0,
            label: *label,
        };
        if !row.is_sound() {
            return None;
        }
        if row.weight > 0.0 {
            rows.push(row);
        }
    }
    Some(rows)
}

/// Squared weights of the positive rows and of all rows.
pub(super) fn squares(rows: &[Row]) -> (f64, f64) {
    rows.iter().fold((0.0, 0.0), |(positive, all), row| {
        let square = row.weight * row.weight;
        (positive + if row.label { square } else { 0.0 }, all + square)
    })
}

/// Weight of the positive rows and of all rows.
pub(super) fn masses(rows: &[Row]) -> (f64, f64) {
    rows.iter().fold((0.0, 0.0), |(positive, all), row| {
        (positive + if row.label { row.weight } else { 0.0 }, all + row.weight)
    })
}
