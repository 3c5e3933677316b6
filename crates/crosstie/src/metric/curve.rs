//! Figures that are drawn: how often predictions come true, what the top of a ranking
//! holds, and how predictions are spread.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::calibration::{CLIP, DECILES, sorted_bins};
use super::row::{Row, by_score, masses, rows};

/// Shares of the rows that [`Curves::gain`] is told of.
pub const GAIN_SHARES: [f64; 24] = [
    0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8,
    0.85, 0.9, 0.95, 1.0,
];

/// Intervals of [`Curves::histogram`].
const BUCKETS: usize = 24;

/// What is drawn of one task's predictions on some rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Rows that count.
    pub rows: u64,
    /// Those of them where the action happened.
    pub positives: u64,
    /// By tenths of the rows, in the order of their probabilities; those without rows are
    /// left out.
    pub reliability: Vec<Bin>,
    /// For each of [`GAIN_SHARES`]; empty without positives.
    pub gain: Vec<Gain>,
    /// Intervals of the predictions' log-odds, all of one width, from the least.
    pub histogram: Vec<Bucket>,
}

/// Rows of neighbouring probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Rows.
    pub rows: u64,
    /// Mean prediction.
    pub predicted: f64,
    /// Mean label.
    pub happened: f64,
    /// The least mean that the labels leave open at 95 % (Wilson, JASA 1927), as if rows
    /// were independent; of weighted rows, of as many as tell the mean as well.
    pub low: f64,
    /// The greatest.
    pub high: f64,
}

/// What the rows with the highest predictions hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// Share of the rows. Of rows with the same prediction each is taken in part.
    pub share: f64,
    /// Share of the positives among them.
    pub positives: f64,
}

impl Gain {
    /// How many times as many positives as among so many rows drawn at random.
    pub fn lift(&self) -> f64 {
        self.positives / self.share
    }
}

/// Rows whose predictions are in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Least prediction of the interval.
    pub low: f64,
    /// Greatest.
    pub high: f64,
    /// Mass of the rows where the action happened.
    pub positives: f64,
    /// Of those where it did not.
    pub negatives: f64,
}

impl Curves {
    /// Of labelled probabilities; `None` if there are none, or one of them is no number.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn of(labels: &[bool], probabilities: &[f64], weights: Option<&[f64]>) -> Option<Curves> {
        let mut rows = rows(labels, probabilities, weights, None)?;
        rows.sort_unstable_by(by_score);
        let bins = sorted_bins(&rows, DECILES)?;
        let bin = |sums: &super::calibration::Sums| {
            let (predicted, happened) = (sums.predicted / sums.mass, sums.happened / sums.mass);
            let (low, high) = wilson(happened, sums.effective_rows());
            Bin { rows: sums.rows, predicted, happened, low, high }
        };
        Some(Curves {
            rows: rows.len() as u64,
            positives: rows.iter().filter(|row| row.label).count() as u64,
            reliability: bins.iter().filter(|sums| sums.mass > 0.0).map(bin).collect(),
            gain: sorted_gain(&rows),
            histogram: histogram(&rows),
        })
    }
}

/// The interval of a share of so many rows, at 95 %.
fn wilson(share: f64, rows: f64) -> (f64, f64) {
    let z = Normal::standard().inverse_cdf(0.975);
    let (square, spread) = (z * z / rows, share * (1.0 - share) / rows + z * z / (4.0 * rows * rows));
    let (middle, half) = ((share + square / 2.0) / (1.0 + square), z * spread.sqrt() / (1.0 + square));
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

fn sorted_gain(rows: &[Row]) -> Vec<Gain> {
    let (positives, all) = masses(rows);
    if positives <= 0.0 {
        return Vec::new();
    }
    let mut gains = Vec::with_capacity(GAIN_SHARES.len());
    let (mut above, mut above_positive) = (0.0, 0.0);
    for tie in rows.chunk_by(|a, b| a.score == b.score).rev() {
        let (positive, mass) = masses(tie);
        while let Some(share) = GAIN_SHARES.get(gains.len()).filter(|share| **share * all <= above + mass) {
            let found = above_positive + positive * (share * all - above) / mass;
            gains.push(Gain { share: *share, positives: found / positives });
        }
        above += mass;
        above_positive += positive;
    }
    // Where rounding has left the last share above the sum of all.
    let rest = GAIN_SHARES[gains.len()..].iter();
    gains.extend(rest.map(|share| Gain { share: *share, positives: 1.0 }));
    gains
}

fn histogram(rows: &[Row]) -> Vec<Bucket> {
    let log_odds = |p: f64| {
        let p = p.clamp(CLIP, 1.0 - CLIP);
        p.ln() - (-p).ln_1p()
    };
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Vec::new() };
    let (low, high) = (log_odds(first.score), log_odds(last.score));
    let (low, high) = if high - low > 1e-6 { (low, high) } else { (low - 0.5, high + 0.5) };
    let width = (high - low) / BUCKETS as f64;
    let probability = |step: usize| 1.0 / (1.0 + (-(low + step as f64 * width)).exp());
    let bucket = |step| Bucket { low: probability(step), high: probability(step + 1), ..Bucket::default() };
    let mut buckets: Vec<Bucket> = (0..BUCKETS).map(bucket).collect();
    for row in rows {
        let bucket = &mut buckets[(((log_odds(row.score) - low) / width) as usize).min(BUCKETS - 1)];
        *if row.label { &mut bucket.positives } else { &mut bucket.negatives } += row.weight;
    }
    buckets
}
