//! Optimizers: how gradients move numbers. One rule serves the dense
//! parameters, another the rows of embedding tables, of which only those seen
//! in a batch are touched.

mod rule;
mod schedule;

pub use rule::{Kind, Moments, Rule, SeenRows};
pub use schedule::Schedule;

use serde::{Deserialize, Serialize};

/// The `[optimizer]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Largest Euclidean norm of all gradients together; larger ones are
    /// scaled down to it. 0 means no limit.
    pub clip: f32,
    /// For the dense parameters.
    pub dense: Rule,
    /// For the rows of embedding tables.
    pub rows: Rule,
    /// How the learning rates change with the steps.
    pub schedule: Schedule,
}

impl Default for OptimizerConfig {
    fn default() -> OptimizerConfig {
        OptimizerConfig {
            clip: 0.0,
            dense: Rule { kind: Kind::Adam, learning_rate: 1e-3, ..Rule::default() },
            rows: Rule { kind: Kind::Adagrad, learning_rate: 0.01, ..Rule::default() },
            schedule: Schedule::default(),
        }
    }
}
