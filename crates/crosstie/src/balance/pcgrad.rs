//! Projecting conflicting gradients, PCGrad (Yu, Kumar, Gupta, Levine, Hausman
//! and Finn, NeurIPS 2020; methods 4).
//!
//! ```text
//! for every task i:   g_i' = g_i
//!     for every other task j, in random order:
//!         if g_i' · g_j < 0:   g_i' -= (g_i' · g_j) / ‖g_j‖² · g_j
//! g = Σ_i g_i'
//! ```
//!
//! Products and projections of i and j are over what both share: the dense
//! elements that the heads of both read, and the rows of the tables of both
//! that the batch has seen. Elsewhere gradients are summed.
//!
//! As coded, g is the plain sum less all that was projected away: so tasks in
//! agreement make exactly the step that they make without PCGrad.
//!
//! Deviations and reconstructions:
//! - Nothing is added to ‖g_j‖². The authors' 1e-8 would leave most of the
//!   conflict with a task whose gradient is that small, as that of a rare
//!   conversion is.
//! - The order is addressed by (seed, step, i).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Balance, Losses, Setting, Shared, TaskGradients};
use crate::error::Result;
use crate::learned::Gradients;
use crate::random::Stream;

/// PCGrad has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PcGrad {}

/// What is shared, and room for the tasks' gradients.
#[derive(Debug)]
pub(super) struct State {
    shared: Shared,
    order: Stream,
    tasks: Vec<Gradients>,
    projected: Gradients,
}

impl State {
    pub fn new(setting: &Setting<'_>) -> Result<State> {
        Ok(State {
            shared: (setting.shared)()?,
            order: Stream::new(setting.seed, "pcgrad"),
            tasks: vec![Gradients::default(); setting.tasks],
            projected: Gradients::default(),
        })
    }
}

impl Balance for State {
    fn weights(&mut self, _epoch: u64) -> Vec<f64> {
        vec![1.0; self.tasks.len()]
    }

    fn follow(&mut self, losses: &Losses<'_>, total: &mut Gradients, tasks: &mut dyn TaskGradients) {
        let present: Vec<usize> = (0..self.tasks.len()).filter(|task| losses.means[*task] > 0.0).collect();
        if present.len() < 2 {
            return;
        }
        for task in &present {
            tasks.dense(*task, &mut self.tasks[*task].dense);
            tasks.rows(*task, &mut self.tasks[*task].rows);
        }
        for i in &present {
            self.projected.clone_from(&self.tasks[*i]);
            let order = self.order.part(losses.step).part(*i as u64).permutation(present.len());
            for j in order.into_iter().map(|place| present[place]).filter(|j| j != i) {
                let pair = (*i, j);
                let product = self.shared.product(pair, &self.projected, &self.tasks[j]);
                if product >= 0.0 {
                    continue;
                }
                let square = self.shared.product(pair, &self.tasks[j], &self.tasks[j]);
                let scale = (-product / square) as f32;
                if scale.is_finite() {
                    self.shared.add_scaled(pair, &mut self.projected, scale, &self.tasks[j]);
                    self.shared.add_scaled(pair, total, scale, &self.tasks[j]);
                }
            }
        }
    }
}
