//! How much of a task's score is that of the network that all tasks learn together, beside
//! its own; set by the validation rows once training is over.
//!
//! A share s mixes the logits, (1 - s) own + s shared. Of few rows the likeliest share is
//! mostly chance, so all of them have a say, each as the rows make it likely:
//!
//! ```text
//! s_t = Σ_s s q(s) / Σ_s q(s),  q(s) = (1 - s) exp(-L_t(s))     s = 0, .05, .., 1
//! ```
//!
//! L_t(s) is the task's log-loss summed over the validation rows, of which weighted ones
//! count as many as tell as much (calibration/fit.rs), after the map of a calibration:
//! mixed logits are nearer to 0, which alone would help a network that is too sure of
//! itself. 1 - s is the trust beforehand: without any rows a task takes a third. A
//! task to which the shared network does harm takes nothing once its rows show it.

use rayon::prelude::*;

use super::event::{Event, Observer};
use super::job::Job;
use super::shrink::set;
use crate::calibration::{Calibration, Evidence, Least};
use crate::error::Result;
use crate::learned::Learned;
use crate::model::Shared;

/// The shares looked at are multiples of one in so many.
const STEPS: usize = 20;

/// Sets the share of every task's heads, and tells it. Whether the scores are others than
/// in training.
pub(super) fn share(job: &Job<'_>, learned: &mut Learned, observer: &mut Observer<'_>) -> Result<bool> {
    let network = learned.network().clone();
    let Some(Shared { shares, logits }) = network.shared else { return Ok(false) };
    let objective = &network.objective;
    set(learned, shares, |_| 0.0);
    let own = job.valid.evidence(learned.passes())?;
    let shared = job.valid.evidence_of(learned.passes(), logits)?;
    let scenarios = job.features.layout().scenarios.len();
    let of_share = |step: usize| {
        Calibration::least_losses(objective, scenarios, &mixed(&own, &shared, step as f32 / STEPS as f32))
    };
    let tried: Vec<Vec<Least>> = (0..=STEPS).into_par_iter().map(of_share).collect();
    let mut chosen = Vec::new();
    for (task, name) in objective.names().iter().enumerate() {
        let sums: Vec<f64> = tried.iter().map(|tried| tried[task].loss).collect();
        let Least { weight, rows, .. } = tried[0][task];
        let counted = if weight > 0.0 { rows / weight } else { 1.0 };
        let share = likely(&sums.iter().map(|sum| counted * sum).collect::<Vec<f64>>());
        let nearest = (share * STEPS as f64).round() as usize;
        let logloss = [0, nearest, STEPS].map(|step| (weight > 0.0).then(|| sums[step] / weight));
        observer(&Event::Shared { task: name.clone(), share, logloss });
        chosen.push(share as f32);
    }
    set(learned, shares, |task| chosen[task]);
    Ok(chosen.iter().any(|share| *share > 0.0))
}

/// What the rows would have as logits with a share of the shared network's.
fn mixed(own: &[Evidence], shared: &[Evidence], share: f32) -> Vec<Evidence> {
    let mix = |(own, shared): (&Evidence, &Evidence)| {
        let logits = own.logits().zip(shared.logits()).flat_map(|(own, shared)| own.iter().zip(shared));
        let logits = logits.map(|(own, shared)| own + share * (shared - own)).collect();
        Evidence::new(logits, own.outcome())
    };
    own.iter().zip(shared).map(mix).collect()
}

/// The share that a task takes, of the log-losses of its rows by share; to two digits.
fn likely(losses: &[f64]) -> f64 {
    let last = losses.len() - 1;
    let share = |step: usize| step as f64 / last as f64;
    // Of all of it nobody is convinced beforehand, whatever the rows say.
    let evidence: Vec<f64> = (0..last).map(|step| (1.0 - share(step)).ln() - losses[step]).collect();
    let most = evidence.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = evidence.iter().map(|evidence| (evidence - most).exp()).collect();
    let mean = weights.iter().enumerate().map(|(step, weight)| weight * share(step)).sum::<f64>();
    // Of losses that are not finite nothing follows.
    let mean = mean / weights.iter().sum::<f64>();
    if mean.is_finite() { (mean * 100.0).round() / 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;

    /// The log-loss of so many rows whose best share is known, by share.
    fn parabola(rows: f64, best: f64) -> Vec<f64> {
        (0..=STEPS).map(|step| rows * (step as f64 / STEPS as f64 - best).powi(2)).collect()
    }

    #[test]
    fn many_rows_have_the_share_that_they_like_best_and_none_a_third() {
        assert_eq!(likely(&parabola(0.0, 0.5)), 0.32, "the mean of the trust over 0, .05, .., 1");
        for best in [0.0, 0.3, 0.7] {
            let share = likely(&parabola(1e5, best));
            assert!((share - best).abs() < 0.02, "{best}: {share}");
        }
        let few = likely(&parabola(5.0, 0.9));
        assert!(few > 0.4 && few < 0.6, "between a third and what they say: {few}");
        assert_eq!(likely(&parabola(1e7, 1.0)), 0.95, "beforehand nobody trusts the shared network alone");
        assert_eq!(likely(&[f64::NAN; 3]), 0.0);
    }

    #[test]
    fn logits_are_mixed_row_by_row() {
        let batch = Batch { rows: 2, labels: vec![1.0, 0.0], scenarios: vec![0, 0], ..Batch::default() };
        let of = |logits: &[f32]| vec![Evidence::new(logits.to_vec(), &batch)];
        let mixed = mixed(&of(&[0.0, 1.0, 2.0, 3.0]), &of(&[4.0, 1.0, 0.0, -1.0]), 0.25);
        let found: Vec<f32> = mixed[0].logits().flatten().copied().collect();
        assert_eq!(found, [1.0, 1.0, 1.5, 2.0]);
    }
}
