//! Balancing: how the losses of several tasks become one step, with any
//! model. Some methods weigh the losses, anew at every step or epoch; others
//! change the gradients.
//!
//! L_i is the mean over the batch's impressions of task i's loss, times the
//! weight that the schema or `[objective]` gives it. A model's
//! [terms](crate::model::LossTerm) keep their own weights and go with the sum. A
//! task whose loss in a batch is 0 has nothing to say there, most often for
//! want of labels: the batch leaves its weight as it is.
//!
//! "methods N" is section N of docs/methods.md.

mod adatask;
mod dwa;
mod gradnorm;
mod multibalance;
mod numbers;
mod pcgrad;
mod shared;
#[cfg(test)]
mod tests;
mod uncertainty;

use std::fmt::Debug;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use adatask::AdaTask;
pub use dwa::Dwa;
pub use gradnorm::GradNorm;
pub use multibalance::MultiBalance;
pub use pcgrad::PcGrad;
pub use shared::{Part, Shared};
pub use uncertainty::Uncertainty;

use crate::compute::Parameter;
use crate::embedding::RowGradients;
use crate::error::Result;
use crate::learned::Gradients;
use crate::range::{ABOVE_ZERO, BELOW_ONE, ZERO_OR_MORE};

/// The `[balance]` section: a method's name, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum BalanceConfig {
    /// No balancing: the losses keep their weights.
    Fixed(Fixed),
    /// Weighting by learned variances (Kendall, Gal and Cipolla, CVPR 2018).
    Uncertainty(Uncertainty),
    /// Dynamic weight average: tasks whose losses fall slowly weigh more (Liu,
    /// Johns and Davison, CVPR 2019).
    Dwa(Dwa),
    /// Weights that bring the tasks' gradients to comparable norms (Chen et al.,
    /// ICML 2018).
    #[serde(alias = "grad-norm", alias = "grad_norm")]
    GradNorm(GradNorm),
    /// Gradients of two tasks that point against each other lose that part (Yu et
    /// al., NeurIPS 2020).
    #[serde(alias = "pc-grad", alias = "pc_grad")]
    PcGrad(PcGrad),
    /// Rows of tables that tasks share move by a step for every task, each with what the
    /// optimizer remembers of this task alone (Yang et al., AAAI 2023). A step costs a
    /// backward pass per task, and such a table's memory of the optimizer once per task.
    #[serde(alias = "ada-task", alias = "ada_task")]
    AdaTask(AdaTask),
    /// Weights that give the tasks' gradients the same norm at the embedded fields, by
    /// moving averages (He et al., arXiv 2411.11871, 2024).
    #[serde(alias = "multi-balance", alias = "multi_balance")]
    MultiBalance(MultiBalance),
}

/// No balancing: the losses keep their weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fixed {}

impl Default for BalanceConfig {
    fn default() -> BalanceConfig {
        BalanceConfig::Fixed(Fixed {})
    }
}

/// What a method may know of the network.
pub struct Setting<'a> {
    /// Number of tasks.
    pub tasks: usize,
    /// The run's seed.
    pub seed: u64,
    /// The dense parameters.
    pub parameters: &'a [Parameter],
    /// Finds what the tasks share.
    pub shared: &'a dyn Fn() -> Result<Shared>,
}

impl BalanceConfig {
    /// The method, at the start of a training.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for settings that do not fit the network.
    pub fn start(&self, setting: &Setting<'_>) -> Result<Box<dyn Balance>> {
        Ok(match self {
            BalanceConfig::Fixed(_) => Box::new(Equal { tasks: setting.tasks }),
            BalanceConfig::Uncertainty(config) => Box::new(uncertainty::State::new(config, setting)),
            BalanceConfig::Dwa(config) => Box::new(dwa::State::new(config, setting)),
            BalanceConfig::GradNorm(config) => Box::new(gradnorm::State::new(config, setting)?),
            BalanceConfig::PcGrad(_) => Box::new(pcgrad::State::new(setting)?),
            BalanceConfig::AdaTask(_) => Box::new(adatask::State::new(setting)?),
            BalanceConfig::MultiBalance(config) => Box::new(multibalance::State::new(config, setting)?),
        })
    }

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key.
    pub fn check(&self) -> Result<()> {
        match self {
            BalanceConfig::Fixed(_) | BalanceConfig::PcGrad(_) | BalanceConfig::AdaTask(_) => Ok(()),
            BalanceConfig::Uncertainty(config) => ZERO_OR_MORE.check("balance.learning_rate", config.learning_rate),
            BalanceConfig::Dwa(config) => ABOVE_ZERO.check("balance.temperature", config.temperature),
            BalanceConfig::GradNorm(config) => {
                ZERO_OR_MORE.check("balance.alpha", config.alpha)?;
                ZERO_OR_MORE.check("balance.learning_rate", config.learning_rate)?;
                ABOVE_ZERO.check("balance.every", config.every as f64)?;
                ABOVE_ZERO.check("balance.initial_steps", config.initial_steps as f64)
            }
            BalanceConfig::MultiBalance(config) => {
                BELOW_ONE.check("balance.memory", config.memory)?;
                ABOVE_ZERO.check("balance.every", config.every as f64)
            }
        }
    }
}

/// The losses of a step.
#[derive(Clone, Copy, Debug)]
pub struct Losses<'a> {
    /// The step, from 1.
    pub step: u64,
    /// Rows of its batch.
    pub rows: usize,
    /// L_i of every task.
    pub means: &'a [f64],
}

/// The gradients of single tasks in the step under way. Each new task costs a
/// backward pass, however often it is asked for in a row.
pub trait TaskGradients {
    /// ∇ L_task with respect to the dense parameters.
    fn dense(&mut self, task: usize, into: &mut Vec<f32>);

    /// ∇ L_task with respect to the rows seen. The rows are those of the batch,
    /// whether or not the task's loss reaches them, so those of any two tasks
    /// are the same.
    fn rows(&mut self, task: usize, into: &mut Vec<RowGradients>);

    /// ‖∇ L_task‖₂² with respect to the embedded fields of the batch's rows, as some
    /// feature sets look them up, over all workers.
    fn features(&mut self, task: usize, sets: &[usize]) -> f64;

    /// [`TaskGradients::rows`] of the model's terms, each times its weight, together.
    /// False, and `into` as it was, if it has none.
    fn rows_of_terms(&mut self, _into: &mut Vec<RowGradients>) -> bool {
        false
    }
}

/// A method at work in a training.
pub trait Balance: Debug + Send {
    /// The weight w_i of each task in the next step, which belongs to epoch
    /// `epoch` (from 1).
    fn weights(&mut self, epoch: u64) -> Vec<f64>;

    /// Follows a step before the optimizer does: `total` is the gradient of
    /// Σ w_i L_i and of the model's terms, which the method may change.
    fn follow(&mut self, _losses: &Losses<'_>, _total: &mut Gradients, _tasks: &mut dyn TaskGradients) {}

    /// Per table: whether its rows move by a step of every part ([`Balance::apart`]) in
    /// place of one of the total. It stays the same during a training. Empty: none.
    fn tables_apart(&self) -> &[bool] {
        &[]
    }

    /// The gradients of the parts that a step falls into, table by table, each with its
    /// number: the task's, or for the model's terms the number of tasks. Asked after
    /// [`Balance::follow`].
    fn apart(&self) -> Vec<(usize, &[RowGradients])> {
        Vec::new()
    }

    /// What it has learned so far, for a checkpoint. Null where it learns nothing.
    fn memory(&self) -> Value {
        Value::Null
    }

    /// Goes on from what [`Balance::memory`] gave.
    ///
    /// # Errors
    /// Where it is no such memory.
    fn remember(&mut self, _memory: Value) -> serde_json::Result<()> {
        Ok(())
    }
}

/// A memory as JSON. Numbers come back to the bit.
fn to_json(memory: &impl Serialize) -> Value {
    serde_json::to_value(memory).expect("plain numbers in plain structs")
}

/// All weights 1.
#[derive(Debug)]
struct Equal {
    tasks: usize,
}

impl Balance for Equal {
    fn weights(&mut self, _epoch: u64) -> Vec<f64> {
        vec![1.0; self.tasks]
    }
}

/// Scales the weights of the chosen tasks so that all weights together sum to
/// the number of tasks.
fn share(weights: &mut [f64], chosen: &[bool]) {
    let sum = |wanted: bool| -> f64 {
        weights.iter().zip(chosen).filter(|(_, chosen)| **chosen == wanted).map(|(weight, _)| weight).sum()
    };
    let factor = (weights.len() as f64 - sum(false)) / sum(true);
    for (weight, _) in weights.iter_mut().zip(chosen).filter(|(_, chosen)| **chosen) {
        *weight *= factor;
    }
}
