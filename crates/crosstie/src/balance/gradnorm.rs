//! GradNorm (Chen, Badrinarayanan, Lee and Rabinovich, ICML 2018; methods 4,
//! and 1.6 for its use in AEM2TL).
//!
//! ```text
//! n_i = ‖∇_W L_i‖₂     G_i = w_i n_i     Ḡ = mean_j G_j      W: shared weights
//! L̃_i = L_i(t) / L_i(0)                  r_i = L̃_i / mean_j L̃_j
//! minimise over w:  Σ_i | G_i - c_i |    c_i = Ḡ r_i^α, a constant
//! ∂/∂w_i = sign(G_i - c_i) · n_i
//! then  w_i ← w_i · K / Σ_j w_j
//! ```
//!
//! A task that learns slowly, one with a high r_i of its own, gets more weight.
//! The step itself uses the weights from before.
//!
//! W is, unless `shared` names it, found by asking which heads read which
//! numbers (see [`Shared`]): the last weight matrix that as many tasks as
//! possible share, and of it the elements that they share, such as the shared
//! experts of PLE; where no dense weights are shared, as in ESMM, the
//! embedding tables. The gate units of gated towers are shared as well, but never
//! chosen: they scale what a tower reads, and little of a task's gradient goes by
//! way of them; nor is what a scenario adds to the weights of all. `shared` may name them.
//!
//! Deviations and reconstructions:
//! - w has an Adam of its own; a weight never falls below 0.001.
//! - L_i(0) is the mean of the task's first `initial_steps` losses. The paper
//!   takes the first one, which says little where a batch has few labels of a
//!   task; LibMTL takes the first epoch, which may be half of a training here.
//! - With `every` above 1 the weights move in every so many steps only.
//! - A task without a loss in the batch keeps its weight, and the means and
//!   the sum are over the others: Σ w_i stays K.
//! - A fixed weight of a task is part of L_i, so it is balanced away.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::numbers::{self, TaskNumbers};
use super::{Balance, Losses, Setting, Shared, TaskGradients, share, to_json};
use crate::compute::Parameter;
use crate::embedding::RowGradients;
use crate::error::{Error, Result};
use crate::layer::{is_of_gate_units, is_of_residual};
use crate::learned::Gradients;
use crate::spelling;

/// Settings of GradNorm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradNorm {
    /// α: how strongly tasks that learn slowly are favoured; with 0 all
    /// weighted gradients get the same norm.
    pub alpha: f64,
    /// Step size of the weights.
    pub learning_rate: f64,
    /// Steps over which a task's initial loss is averaged; 1 is the paper's.
    pub initial_steps: u64,
    /// Steps from one change of the weights to the next. A change costs a
    /// backward pass per task; 1 is the paper's.
    pub every: u64,
    /// W: names of parameters as in the artifact, or `embedding` for all
    /// tables. Empty: found from the network.
    pub shared: Vec<String>,
}

impl Default for GradNorm {
    fn default() -> GradNorm {
        GradNorm { alpha: 1.5, learning_rate: 0.005, initial_steps: 100, every: 1, shared: Vec::new() }
    }
}

/// The name that stands for all embedding tables.
const EMBEDDING: &str = "embedding";
const LEAST_WEIGHT: f64 = 1e-3;

/// W.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Weights {
    pub dense: Vec<Range<usize>>,
    pub tables: Vec<usize>,
}

impl Weights {
    pub fn find(shared: &Shared, parameters: &[Parameter]) -> Result<Weights> {
        let count = |tasks: &[bool]| tasks.iter().filter(|reads| **reads).count();
        let of = |parameter: &Parameter| {
            let range = parameter.range();
            shared.parts.iter().filter(move |part| range.contains(&part.range.start))
        };
        let chosen = |name: &str| !is_of_gate_units(name) && !is_of_residual(name);
        let matrices = || parameters.iter().filter(|found| found.is_weight() && chosen(&found.name));
        let most = matrices().flat_map(of).map(|part| count(&part.tasks)).max();
        if let Some(most) = most {
            let widest = |parameter: &Parameter| of(parameter).filter(|part| count(&part.tasks) == most).count() > 0;
            let last = matrices().rev().find(|parameter| widest(parameter));
            let parts = last.into_iter().flat_map(of).filter(|part| count(&part.tasks) == most);
            return Ok(Weights { dense: parts.map(|part| part.range.clone()).collect(), tables: Vec::new() });
        }
        let most = shared.tables.iter().map(|tasks| count(tasks)).max().unwrap_or(0);
        if most < 2 {
            let message = "balance: `gradnorm` balances the tasks' gradients on what they share, and in this model they \
                           share nothing";
            return Err(Error::Config(message.into()));
        }
        let tables = shared.tables.iter().enumerate().filter(|(_, tasks)| count(tasks) == most);
        Ok(Weights { dense: Vec::new(), tables: tables.map(|(table, _)| table).collect() })
    }

    fn named(names: &[String], shared: &Shared, parameters: &[Parameter]) -> Result<Weights> {
        let mut weights = Weights::default();
        for name in names {
            if name == EMBEDDING {
                weights.tables = (0..shared.tables.len()).collect();
                continue;
            }
            let learned = || parameters.iter().filter(|parameter| parameter.learned);
            let Some(parameter) = learned().find(|parameter| parameter.name == *name) else {
                let names = learned().map(|parameter| parameter.name.as_str()).chain([EMBEDDING]);
                let hint = spelling::hint(name, names);
                return Err(Error::Config(format!("balance.shared: the model has no parameter `{name}`{hint}")));
            };
            weights.dense.push(parameter.range());
        }
        Ok(weights)
    }

    /// ‖∇_W L_task‖₂.
    fn norm(&self, tasks: &mut dyn TaskGradients, task: usize, scratch: &mut Gradients) -> f64 {
        let square = |values: &[f32]| values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
        let mut sum = 0.0;
        if !self.dense.is_empty() {
            tasks.dense(task, &mut scratch.dense);
            sum += self.dense.iter().map(|range| square(&scratch.dense[range.clone()])).sum::<f64>();
        }
        if !self.tables.is_empty() {
            tasks.rows(task, &mut scratch.rows);
            let of_table =
                |table: &usize| scratch.rows.get(*table).map_or(0.0, |rows: &RowGradients| square(&rows.gradients));
            sum += self.tables.iter().map(of_table).sum::<f64>();
        }
        sum.sqrt()
    }
}

/// A task's initial loss, as far as it is known.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Initial {
    sum: f64,
    steps: u64,
}

/// What a checkpoint holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    weights: numbers::Memory,
    initial: Vec<Initial>,
}

/// The weights, and what moves them.
#[derive(Debug)]
pub(super) struct State {
    alpha: f64,
    initial_steps: u64,
    every: u64,
    shared: Weights,
    weights: TaskNumbers,
    initial: Vec<Initial>,
    scratch: Gradients,
}

impl State {
    pub fn new(config: &GradNorm, setting: &Setting<'_>) -> Result<State> {
        let found = (setting.shared)()?;
        let shared = if config.shared.is_empty() {
            Weights::find(&found, setting.parameters)?
        } else {
            Weights::named(&config.shared, &found, setting.parameters)?
        };
        Ok(State {
            alpha: config.alpha,
            initial_steps: config.initial_steps,
            every: config.every,
            shared,
            weights: TaskNumbers::new(setting.tasks, 1.0, config.learning_rate),
            initial: vec![Initial::default(); setting.tasks],
            scratch: Gradients::default(),
        })
    }
}

/// ∂/∂w of Σ | w_i n_i - c_i | for tasks with norms n and loss ratios L̃.
fn slopes(weights: &[f64], norms: &[f64], ratios: &[f64], alpha: f64) -> Vec<f64> {
    targets(weights, norms, ratios, alpha)
        .into_iter()
        .zip(weights.iter().zip(norms))
        .map(|(target, (weight, norm))| match weight * norm - target {
            difference if difference > 0.0 => *norm,
            difference if difference < 0.0 => -norm,
            _ => 0.0,
        })
        .collect()
}

/// c_i = Ḡ r_i^α.
fn targets(weights: &[f64], norms: &[f64], ratios: &[f64], alpha: f64) -> Vec<f64> {
    let count = weights.len() as f64;
    let mean_norm = weights.iter().zip(norms).map(|(weight, norm)| weight * norm).sum::<f64>() / count;
    let mean_ratio = ratios.iter().sum::<f64>() / count;
    ratios.iter().map(|ratio| mean_norm * (ratio / mean_ratio).powf(alpha)).collect()
}

impl Balance for State {
    fn weights(&mut self, _epoch: u64) -> Vec<f64> {
        self.weights.values().collect()
    }

    fn follow(&mut self, losses: &Losses<'_>, _total: &mut Gradients, tasks: &mut dyn TaskGradients) {
        let present: Vec<usize> = (0..losses.means.len()).filter(|task| losses.means[*task] > 0.0).collect();
        for task in &present {
            let initial = &mut self.initial[*task];
            if initial.steps < self.initial_steps {
                *initial = Initial { sum: initial.sum + losses.means[*task], steps: initial.steps + 1 };
            }
        }
        if present.len() < 2 || !losses.step.is_multiple_of(self.every) {
            return;
        }
        let before: Vec<f64> = self.weights.values().collect();
        let pick = |values: &[f64]| -> Vec<f64> { present.iter().map(|task| values[*task]).collect() };
        let norms: Vec<f64> = present.iter().map(|task| self.shared.norm(tasks, *task, &mut self.scratch)).collect();
        let ratio = |task: &usize| {
            let Initial { sum, steps } = self.initial[*task];
            losses.means[*task] / (sum / steps as f64)
        };
        let ratios: Vec<f64> = present.iter().map(ratio).collect();
        let slopes = slopes(&pick(&before), &norms, &ratios, self.alpha);
        for (task, slope) in present.iter().zip(slopes) {
            self.weights.descend(*task, slope);
        }
        let mut after: Vec<f64> = self.weights.values().map(|weight| weight.max(LEAST_WEIGHT)).collect();
        let chosen: Vec<bool> = losses.means.iter().map(|mean| *mean > 0.0).collect();
        share(&mut after, &chosen);
        for task in present {
            self.weights.set(task, after[task]);
        }
    }

    fn memory(&self) -> Value {
        to_json(&Memory { weights: self.weights.memory().clone(), initial: self.initial.clone() })
    }

    fn remember(&mut self, memory: Value) -> serde_json::Result<()> {
        let Memory { weights, initial } = serde_json::from_value(memory)?;
        self.weights.remember(weights);
        self.initial = initial;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_equal_finite_differences_with_the_targets_held() {
        let (weights, norms, ratios) = ([1.2, 0.5, 1.3], [0.3, 2.0, 0.7], [0.9, 0.2, 1.4]);
        let targets = targets(&weights, &norms, &ratios, 1.5);
        let slopes = slopes(&weights, &norms, &ratios, 1.5);
        for task in 0..3 {
            let at = |shift: f64| -> f64 {
                let weight = |i: usize| weights[i] + if i == task { shift } else { 0.0 };
                (0..3).map(|i| (weight(i) * norms[i] - targets[i]).abs()).sum()
            };
            let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((slopes[task] - numeric).abs() < 1e-6, "{slopes:?} {numeric}");
        }
    }
}
