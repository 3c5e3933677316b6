//! Weights from learned uncertainty (Kendall, Gal and Cipolla, CVPR 2018;
//! methods 4).
//!
//! ```text
//! L   = Σ_i ( L_i e^(-s_i) + s_i / 2 )      s_i = log σ_i², one per task
//! w_i = e^(-s_i)
//! ∂L/∂s_i = 1/2 - L_i e^(-s_i)
//! ```
//!
//! This is the paper's form for classification, which all our tasks are, and
//! s_i starts at 0: the first step has the weights 1. LibMTL's form,
//! L_i / (2 e^s_i) + s_i / 2, is the same with s_i moved by ln 2; its start
//! at -0.5 means first weights of 0.82 here. In either, w_i L_i tends to 1/2.
//!
//! Deviations and reconstructions:
//! - The s_i have an Adam of their own, not the optimizer of the model.
//! - The s_i of a task without a loss in the batch stays; its gradient of 1/2
//!   would raise the weights of rare tasks without end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::numbers::TaskNumbers;
use super::{Balance, Losses, Setting, TaskGradients, to_json};
use crate::learned::Gradients;

/// Settings of uncertainty weighting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Uncertainty {
    /// Step size of the log-variances: Adam moves one by at most about this
    /// much a step.
    pub learning_rate: f64,
}

impl Default for Uncertainty {
    fn default() -> Uncertainty {
        Uncertainty { learning_rate: 0.005 }
    }
}

/// The log-variances.
#[derive(Debug)]
pub(super) struct State {
    log_variances: TaskNumbers,
}

impl State {
    pub fn new(config: &Uncertainty, setting: &Setting<'_>) -> State {
        State { log_variances: TaskNumbers::new(setting.tasks, 0.0, config.learning_rate) }
    }
}

/// ∂L/∂s_i.
fn slope(loss: f64, log_variance: f64) -> f64 {
    0.5 - loss * (-log_variance).exp()
}

impl Balance for State {
    fn weights(&mut self, _epoch: u64) -> Vec<f64> {
        self.log_variances.values().map(|s| (-s).exp()).collect()
    }

    fn follow(&mut self, losses: &Losses<'_>, _total: &mut Gradients, _tasks: &mut dyn TaskGradients) {
        let slopes: Vec<f64> =
            losses.means.iter().zip(self.log_variances.values()).map(|(l, s)| slope(*l, s)).collect();
        for (task, slope) in slopes.into_iter().enumerate().filter(|(task, _)| losses.means[*task] > 0.0) {
            self.log_variances.descend(task, slope);
        }
    }

    fn memory(&self) -> Value {
        to_json(self.log_variances.memory())
    }

    fn remember(&mut self, memory: Value) -> serde_json::Result<()> {
        self.log_variances.remember(serde_json::from_value(memory)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_equals_finite_differences_and_is_zero_where_the_weighted_loss_is_a_half() {
        for (loss, s) in [(0.3, 0.0), (2.0, 1.5), (1e-4, -6.0)] {
            let objective = |s: f64| loss * (-s).exp() + s / 2.0;
            let numeric = (objective(s + 1e-5) - objective(s - 1e-5)) / 2e-5;
            assert!((slope(loss, s) - numeric).abs() < 1e-8);
        }
        assert!(slope(0.02, 0.04f64.ln()).abs() < 1e-15);
    }
}
