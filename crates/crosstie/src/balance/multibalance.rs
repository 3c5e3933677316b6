//! Balancing at the shared representation, MultiBalance (He, Chen, Xu, Cai, You, Cao,
//! Huang, Yang, Liu, Liu, Jin, Park, Long and Feng, arXiv 2411.11871, 2024; methods 4).
//!
//! ```text
//! n_i = ‖∇_x L_i‖₂                          x: the embedded fields of the batch's rows
//! m_i ← β m_i + (1 - β) n_i                 without the pull of its start at 0
//! w_i = (1 / m_i) · K / Σ_j (1 / m_j)
//! ```
//!
//! So every task's w_i m_i is the same, and Σ w_i = K. The norms of gradients of
//! parameters need the gradient of each task for all of them; those at x need a backward
//! pass to x, and no product with what the layers have read. From x on down to the
//! tables the gradient is linear, so what reaches them is Σ_i w_i ∇_x L_i: balanced.
//!
//! x is looked up in a set of tables; a model may have several, of which those count
//! that more than one task reads.
//!
//! Deviations and reconstructions:
//! - **ours**, all but the idea: of the paper the abstract and summaries were readable.
//!   They say that it balances the tasks' gradients with respect to the shared feature
//!   representation instead of the shared parameters, and that it holds moving averages
//!   of their magnitudes; β = 0.9 is that of MetaBalance (WWW 2022), by the same first
//!   author.
//! - The paper's representation is what the shared bottom puts out. Here it is what it
//!   reads, which every model has. So w_i weighs the whole loss L_i, and layers that
//!   tasks share are balanced by it as the tables are; of a task's own parameters only
//!   the step size changes, and under Adam not even that.
//! - A step uses the weights from before: the norms that it measures count in the next
//!   one.
//! - A task without a loss in the batch keeps its weight, and the sum is over the
//!   others: Σ w_i stays K.
//! - A fixed weight of a task is part of L_i, so it is balanced away.
//! - A task of which no action is ever seen has soon learned so; its norm goes to 0, and
//!   it takes nearly all of the weight. Such a task has to be left out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Balance, Losses, Setting, TaskGradients, share, to_json};
use crate::error::{Error, Result};
use crate::learned::Gradients;

/// Settings of MultiBalance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MultiBalance {
    /// β: memory of the moving averages of the tasks' norms, at least 0 and below 1.
    pub memory: f64,
    /// Steps from one measurement of the norms to the next. A measurement costs a
    /// backward pass per task.
    pub every: u64,
}

impl Default for MultiBalance {
    fn default() -> MultiBalance {
        MultiBalance { memory: 0.9, every: 1 }
    }
}

/// The method at work.
#[derive(Debug)]
pub(super) struct State {
    beta: f64,
    every: u64,
    /// The feature sets that tasks share.
    sets: Vec<usize>,
    memory: Memory,
}

/// What a checkpoint holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    weights: Vec<f64>,
    /// Moving averages that started at 0, and how many norms went into each.
    norms: Vec<f64>,
    measured: Vec<i32>,
}

impl State {
    pub fn new(config: &MultiBalance, setting: &Setting<'_>) -> Result<State> {
        let shared = (setting.shared)()?;
        let several = |tasks: &[bool]| tasks.iter().filter(|reads| **reads).count() > 1;
        let sets: Vec<usize> = (0..shared.sets.len()).filter(|set| several(&shared.sets[*set])).collect();
        if sets.is_empty() {
            let message = "balance: `multibalance` balances the tasks' gradients at the embedded fields that they share, \
                           and in this model they share none";
            return Err(Error::Config(message.into()));
        }
        let tasks = setting.tasks;
        let memory = Memory { weights: vec![1.0; tasks], norms: vec![0.0; tasks], measured: vec![0; tasks] };
        Ok(State { beta: config.memory, every: config.every, sets, memory })
    }
}

impl Balance for State {
    fn weights(&mut self, _epoch: u64) -> Vec<f64> {
        self.memory.weights.clone()
    }

    fn follow(&mut self, losses: &Losses<'_>, _total: &mut Gradients, tasks: &mut dyn TaskGradients) {
        if !losses.step.is_multiple_of(self.every) {
            return;
        }
        let Memory { weights, norms, measured } = &mut self.memory;
        let mut present = vec![false; weights.len()];
        for task in (0..weights.len()).filter(|task| losses.means[*task] > 0.0) {
            let norm = tasks.features(task, &self.sets).sqrt();
            // A loss may be flat where it is not 0; and there is no weight for that.
            if norm > 0.0 && norm.is_finite() {
                norms[task] = self.beta * norms[task] + (1.0 - self.beta) * norm;
                measured[task] = measured[task].saturating_add(1);
                weights[task] = (1.0 - self.beta.powi(measured[task])) / norms[task];
                present[task] = true;
            }
        }
        if present.contains(&true) {
            share(weights, &present);
        }
    }

    fn memory(&self) -> Value {
        to_json(&self.memory)
    }

    fn remember(&mut self, memory: Value) -> serde_json::Result<()> {
        self.memory = serde_json::from_value(memory)?;
        Ok(())
    }
}
