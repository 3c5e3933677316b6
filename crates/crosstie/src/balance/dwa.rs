//! Dynamic weight average (Liu, Johns and Davison, CVPR 2019; methods 4).
//!
//! ```text
//! r_i = L_i(t-1) / L_i(t-2)                    L_i(t) = mean loss of epoch t
//! w_i = K · e^(r_i / T) / Σ_j e^(r_j / T)      1 in the first two epochs
//! ```
//!
//! A task whose loss falls more slowly than the others' gets more weight.
//!
//! Deviations and reconstructions:
//! - A task without a loss in one of the two epochs keeps its weight, and the
//!   softmax is over the others, who share what they had: Σ w_i stays K.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Balance, Losses, Setting, TaskGradients, share, to_json};
use crate::learned::Gradients;

/// Settings of the dynamic weight average.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dwa {
    /// T: the higher, the more equal the weights.
    pub temperature: f64,
}

impl Default for Dwa {
    fn default() -> Dwa {
        Dwa { temperature: 2.0 }
    }
}

/// The method at work.
#[derive(Debug)]
pub(super) struct State {
    temperature: f64,
    memory: Memory,
}

/// The weights of the epoch, and what the next ones follow from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    weights: Vec<f64>,
    epoch: u64,
    /// Σ rows · L_i, and the rows, of the epoch under way.
    sums: Vec<f64>,
    rows: f64,
    /// Mean losses of the last whole epoch.
    last: Option<Vec<f64>>,
}

impl State {
    pub fn new(config: &Dwa, setting: &Setting<'_>) -> State {
        let (weights, sums) = (vec![1.0; setting.tasks], vec![0.0; setting.tasks]);
        let memory = Memory { weights, epoch: 1, sums, rows: 0.0, last: None };
        State { temperature: config.temperature, memory }
    }
}

impl Memory {
    /// Ends an epoch.
    fn reweigh(&mut self, temperature: f64) {
        let means: Vec<f64> = self.sums.iter().map(|sum| sum / self.rows.max(1.0)).collect();
        (self.rows, self.epoch) = (0.0, self.epoch + 1);
        self.sums.fill(0.0);
        if let Some(before) = &self.last {
            let known: Vec<bool> = means.iter().zip(before).map(|(new, old)| *new > 0.0 && *old > 0.0).collect();
            let ratios: Vec<f64> = means.iter().zip(before).map(|(new, old)| new / old).collect();
            let of_known = || ratios.iter().zip(&known).filter(|(_, known)| **known).map(|(ratio, _)| *ratio);
            // The largest ratio is taken off, so that no exponential overflows.
            let largest = of_known().fold(f64::NEG_INFINITY, f64::max);
            for ((weight, ratio), _) in self.weights.iter_mut().zip(&ratios).zip(&known).filter(|(_, known)| **known) {
                *weight = ((ratio - largest) / temperature).exp();
            }
            share(&mut self.weights, &known);
        }
        self.last = Some(means);
    }
}

impl Balance for State {
    fn weights(&mut self, epoch: u64) -> Vec<f64> {
        if epoch > self.memory.epoch {
            self.memory.reweigh(self.temperature);
            self.memory.epoch = epoch;
        }
        self.memory.weights.clone()
    }

    fn follow(&mut self, losses: &Losses<'_>, _total: &mut Gradients, _tasks: &mut dyn TaskGradients) {
        let rows = losses.rows as f64;
        self.memory.rows += rows;
        self.memory.sums.iter_mut().zip(losses.means).for_each(|(sum, mean)| *sum += rows * mean);
    }

    fn memory(&self) -> Value {
        to_json(&self.memory)
    }

    fn remember(&mut self, memory: Value) -> serde_json::Result<()> {
        self.memory = serde_json::from_value(memory)?;
        Ok(())
    }
}
