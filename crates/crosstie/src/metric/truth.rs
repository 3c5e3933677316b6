//! Predictions against the true probabilities, which only a generator knows.

use super::calibration::CLIP;

/// How far predicted probabilities are from the true ones, in nats per row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// Number of rows.
    pub rows: u64,
    /// The log-loss to be expected when labels are drawn from the truth:
    /// mean of -p log q - (1 - p) log(1 - q), p being true, q predicted.
    pub cross_entropy: f64,
    /// What of it is the prediction's fault, the Kullback-Leibler divergence:
    /// mean of p log(p / q) + (1 - p) log((1 - p) / (1 - q)). The rest is the
    /// entropy of the truth, which no prediction can go below.
    pub kl: f64,
}

/// Compares predicted with true probabilities over all rows, whether or not
/// their labels would be seen. Predictions are clipped as in
/// [`super::log_loss`]. `None` without rows, or if a number is not a
/// probability.
///
/// # Panics
/// If the slices differ in length.
pub fn divergence(predicted: &[f64], truth: &[f64]) -> Option<Divergence> {
    assert_eq!(predicted.len(), truth.len(), "predictions must be as many as true probabilities");
    let probability = |value: &f64| (0.0..=1.0).contains(value);
    if predicted.is_empty() || !predicted.iter().chain(truth).all(probability) {
        return None;
    }
    let (mut cross_entropy, mut kl) = (0.0, 0.0);
    for (q, p) in predicted.iter().zip(truth) {
        let q = q.clamp(CLIP, 1.0 - CLIP);
        let (log_q, log_not_q) = (q.ln(), (-q).ln_1p());
        cross_entropy -= p * log_q + (1.0 - p) * log_not_q;
        kl += part(*p, p.ln(), log_q) + part(1.0 - p, (-p).ln_1p(), log_not_q);
    }
    let rows = predicted.len() as f64;
    Some(Divergence { rows: predicted.len() as u64, cross_entropy: cross_entropy / rows, kl: kl / rows })
}

/// p (log p - log q), which is 0 at p = 0.
fn part(p: f64, log_p: f64, log_q: f64) -> f64 {
    if p > 0.0 { p * (log_p - log_q) } else { 0.0 }
}
