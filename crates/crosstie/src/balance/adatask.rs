//! Task-wise adaptive learning rates, AdaTask (Yang, Pan, Wang, Yu, Shen, Chen, Xiao,
//! Jiang and Guo, AAAI 2023; methods 4), of the embedding tables that tasks share.
//!
//! With one sum of squares for all tasks, a step in a shared row is η g / √(Σ g²), and
//! the sum is the loudest task's: the others' steps are as small as their gradients are
//! beside its. Here every task has a sum of its own. Under Adagrad, for a row that the
//! batch has seen:
//!
//! ```text
//! v_i ← v_i + g_i²                            every task i, g_i = ∇ L_i, v_i = initial before
//! w   ← w - η Σ_i g_i / (√v_i + ε)
//! ```
//!
//! and alike, each with the moments of its own, under any other rule of
//! `optimizer.rows`. With `sgd`, which remembers nothing, it is the plain sum. Once v_i is
//! far above where it began, the step of a task is blind to the scale of its gradients:
//! the weights of the losses no longer matter to such a row. By default most rows stay
//! near `initial`, and move in proportion to Σ_i g_i, as without AdaTask. So does what only
//! one task reads.
//!
//! Deviations and reconstructions:
//! - The paper keeps the tasks apart in all shared parameters. Here it is the rows of
//!   tables alone: of the dense parameters K gradients would cost as much again as the
//!   backward passes do.
//! - The terms that a model adds to the tasks' losses have, together, memories of their
//!   own, as a task has.
//! - A task without a loss in the batch makes no step. L2 and decay are shared out among
//!   the tasks that do, so that a row shrinks once a step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Balance, Losses, Setting, TaskGradients};
use crate::embedding::RowGradients;
use crate::error::{Error, Result};
use crate::learned::Gradients;

/// AdaTask has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaTask {}

/// Which tables are shared, and the tasks' gradients of the step under way.
#[derive(Debug)]
pub(super) struct State {
    shared: Vec<bool>,
    tasks: usize,
    /// The tasks with a loss, then perhaps the terms, with their places in `rows`.
    present: Vec<usize>,
    /// Of every task, and of the terms.
    rows: Vec<Vec<RowGradients>>,
}

impl State {
    pub fn new(setting: &Setting<'_>) -> Result<State> {
        let shared = (setting.shared)()?;
        let shared: Vec<bool> = (0..shared.tables.len()).map(|table| shared.shares(table)).collect();
        if !shared.contains(&true) {
            let message = "balance: `adatask` keeps the tasks apart in the embedding tables that they share, and in this \
                           model they share none";
            return Err(Error::Config(message.into()));
        }
        let tasks = setting.tasks;
        Ok(State { shared, tasks, present: Vec::new(), rows: vec![Vec::new(); tasks + 1] })
    }
}

impl Balance for State {
    fn weights(&mut self, _epoch: u64) -> Vec<f64> {
        vec![1.0; self.tasks]
    }

    fn follow(&mut self, losses: &Losses<'_>, _total: &mut Gradients, tasks: &mut dyn TaskGradients) {
        self.present = (0..self.tasks).filter(|task| losses.means[*task] > 0.0).collect();
        for task in &self.present {
            tasks.rows(*task, &mut self.rows[*task]);
        }
        if tasks.rows_of_terms(&mut self.rows[self.tasks]) {
            self.present.push(self.tasks);
        }
    }

    fn tables_apart(&self) -> &[bool] {
        &self.shared
    }

    fn apart(&self) -> Vec<(usize, &[RowGradients])> {
        self.present.iter().map(|part| (*part, &self.rows[*part][..])).collect()
    }
}
