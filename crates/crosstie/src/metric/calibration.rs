//! Figures that read the scores as probabilities.

use serde::{Deserialize, Serialize};

use super::row::{Row, by_score, masses, rows, squares};

/// Bins of the expected calibration error in reports.
pub const ECE_BINS: usize = 20;

/// Probabilities are kept this far from 0 and 1 in logarithms.
pub(super) const CLIP: f64 = 1e-15;

/// Mean of -log of the probability given to what happened, in nats.
/// Probabilities of 0 and 1 are clipped by 1e-15 (scikit-learn's own `log_loss`
/// did the same up to version 1.2). `None` without rows.
///
/// # Panics
/// If the slices differ in length.
pub fn log_loss(labels: &[bool], probabilities: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    log_loss_of(&rows(labels, probabilities, weights, None)?)
}

/// Log-loss as a share of what predicting the mean label everywhere would
/// cost: below 1 is better than that (He et al., "Practical Lessons from
/// Predicting Clicks on Ads at Facebook", 2014). `None` for one class.
///
/// # Panics
/// If the slices differ in length.
pub fn normalized_entropy(labels: &[bool], probabilities: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    normalized_entropy_of(&rows(labels, probabilities, weights, None)?)
}

/// Mean prediction over mean label ("predicted click over click"): 1 is
/// unbiased, above 1 promises too much. `None` without positives.
///
/// # Panics
/// If the slices differ in length.
pub fn pcoc(labels: &[bool], probabilities: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    pcoc_of(&rows(labels, probabilities, weights, None)?)
}

/// Expected calibration error of the positive class: the rows, in the order
/// of their probability, are cut into bins of equal mass, and |mean
/// prediction - mean label| is averaged over the bins by mass. Rows of equal
/// probability share the bin that the middle of their mass lies in, so the
/// order of the rows does not matter. Reports use [`ECE_BINS`]. `None`
/// without rows or bins.
///
/// # Panics
/// If the slices differ in length.
pub fn ece(labels: &[bool], probabilities: &[f64], weights: Option<&[f64]>, bins: usize) -> Option<f64> {
    let mut rows = rows(labels, probabilities, weights, None)?;
    rows.sort_unstable_by(by_score);
    sorted_ece(&rows, bins)
}

pub(super) fn log_loss_of(rows: &[Row]) -> Option<f64> {
    let (mut sum, mut mass) = (0.0, 0.0);
    for row in rows {
        sum += row.weight * surprise(row.score, row.label);
        mass += row.weight;
    }
    (mass > 0.0).then(|| sum / mass)
}

/// -log of the probability given to the outcome, in nats.
pub(crate) fn surprise(probability: f64, outcome: bool) -> f64 {
    let probability = probability.clamp(CLIP, 1.0 - CLIP);
    if outcome { -probability.ln() } else { -(-probability).ln_1p() }
}

pub(super) fn normalized_entropy_of(rows: &[Row]) -> Option<f64> {
    let (positive, all) = masses(rows);
    let rate = positive / all;
    let entropy = -(rate * rate.ln() + (1.0 - rate) * (-rate).ln_1p());
    // One class gives 0 × -infinity, no rows 0 / 0: NaN, which is not above 0.
    if entropy > 0.0 { log_loss_of(rows).map(|loss| loss / entropy) } else { None }
}

pub(super) fn pcoc_of(rows: &[Row]) -> Option<f64> {
    let (positive, _) = masses(rows);
    let predicted: f64 = rows.iter().map(|row| row.weight * row.score).sum();
    (positive > 0.0).then(|| predicted / positive)
}

/// Expected calibration error of rows sorted by score.
pub(super) fn sorted_ece(rows: &[Row], bins: usize) -> Option<f64> {
    let (_, all) = masses(rows);
    let bins = sorted_bins(rows, bins)?;
    Some(bins.iter().map(|bin| (bin.predicted - bin.happened).abs()).sum::<f64>() / all)
}

/// Weighted sums over the rows of a bin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub rows: u64,
    pub mass: f64,
    pub predicted: f64,
    pub happened: f64,
    /// Squared weights of the positive rows and of all rows.
    pub squares: [f64; 2],
}

impl Sums {
    /// How many rows of weight 1 would tell the mean label as well: the variance of that of
    /// these rows is Σ w² (y - mean)² / (Σ w)².
    pub fn effective_rows(&self) -> f64 {
        let share = self.happened / self.mass;
        let around = |positive: f64, all: f64| positive * (1.0 - share).powi(2) + (all - positive) * share.powi(2);
        let [positive, all] = self.squares;
        let counted = around(positive, all) / around(self.happened, self.mass);
        // With one class 0 / 0.
        self.mass / if counted.is_finite() { counted } else { all / self.mass }
    }
}

/// Rows sorted by score in bins of equal mass; see [`ece`]. `None` without rows or
/// bins.
pub(super) fn sorted_bins(rows: &[Row], bins: usize) -> Option<Vec<Sums>> {
    let (_, all) = masses(rows);
    if !(all > 0.0 && bins > 0) {
        return None;
    }
    let mut sums = vec![Sums::default(); bins];
    let mut before = 0.0;
    for tie in rows.chunk_by(|a, b| a.score == b.score) {
        let (positive, mass) = masses(tie);
        let bin = (bins as f64 * (before + mass / 2.0) / all) as usize;
        let bin = &mut sums[bin.min(bins - 1)];
        bin.rows += tie.len() as u64;
        bin.mass += mass;
        bin.predicted += mass * tie[0].score;
        bin.happened += positive;
        let (positive_squares, all_squares) = squares(tie);
        bin.squares = [bin.squares[0] + positive_squares, bin.squares[1] + all_squares];
        before += mass;
    }
    Some(sums)
}

/// Bins of [`Figures::reliability`](super::Figures::reliability).
pub const DECILES: usize = 10;

/// One tenth of the rows, in the order of their probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decile {
    /// Rows; as in [`ece`] those of equal probability are all in one.
    pub rows: u64,
    /// Mean prediction; `None` without rows.
    pub predicted: Option<f64>,
    /// Mean label; `None` without rows.
    pub happened: Option<f64>,
}

/// Reliability of rows sorted by score: [`DECILES`] bins of equal mass, the least
/// likely first.
pub(super) fn sorted_reliability(rows: &[Row]) -> Option<[Decile; DECILES]> {
    let bins = sorted_bins(rows, DECILES)?;
    let decile = |bin: &Sums| {
        let mean = |sum: f64| (bin.mass > 0.0).then(|| sum / bin.mass);
        Decile { rows: bin.rows, predicted: mean(bin.predicted), happened: mean(bin.happened) }
    };
    bins.iter().map(decile).collect::<Vec<_>>().try_into().ok()
}

/// Log-loss and PCOC alone, row by row as they come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Running {
    loss: f64,
    mass: f64,
    predicted: f64,
    positive: f64,
    unsound: bool,
}

impl Running {
    pub fn add(&mut self, label: bool, probability: f64, weight: f64) {
        self.unsound |= probability.is_nan() || !(weight.is_finite() && weight >= 0.0);
        self.loss += weight * surprise(probability, label);
        self.mass += weight;
        self.predicted += weight * probability;
        self.positive += if label { weight } else { 0.0 };
    }

    /// `None` where rows are not sound.
    pub fn level(self) -> Option<Level> {
        let defined = |sum: f64, over: f64| (over > 0.0).then(|| sum / over);
        let level = Level { logloss: defined(self.loss, self.mass), pcoc: defined(self.predicted, self.positive) };
        (!self.unsound).then_some(level)
    }
}

/// Figures of what a network says before it is calibrated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// See [`log_loss`].
    pub logloss: Option<f64>,
    /// See [`pcoc`].
    pub pcoc: Option<f64>,
}
