//! Optimizers: how gradients move numbers. One rule serves the dense
//! parameters, another the rows of embedding tables, of which only those seen
//! in a batch are touched.

mod optimizer;
mod rule;
mod schedule;
mod written;

pub use optimizer::Optimizer;
pub use rule::{Kind, Moments, Rule, SeenRows, Step};
pub use schedule::Schedule;
pub(crate) use written::of_other_rules;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rule of the dense parameters where a config names none.
pub const DENSE: Kind = Kind::Adam;

/// The rule of the rows of embedding tables where a config names none. Rows
/// differ by orders of magnitude in how often they are seen.
pub const ROWS: Kind = Kind::Adagrad;

/// The `[optimizer]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Largest Euclidean norm of all gradients together; larger ones are
    /// scaled down to it. 0 means no limit.
    pub clip: f32,
    /// The rule of the dense parameters: all but the embedding tables.
    #[serde(deserialize_with = "written::dense")]
    #[schemars(schema_with = "written::dense_keys")]
    pub dense: Rule,
    /// The rule of the rows of embedding tables, of which a step moves those that its
    /// batch has seen.
    #[serde(deserialize_with = "written::rows")]
    #[schemars(schema_with = "written::rows_keys")]
    pub rows: Rule,
    /// How the learning rates change with the steps.
    pub schedule: Schedule,
}

impl Default for OptimizerConfig {
    fn default() -> OptimizerConfig {
        OptimizerConfig { clip: 0.0, dense: Rule::of(DENSE), rows: Rule::of(ROWS), schedule: Schedule::default() }
    }
}

impl OptimizerConfig {
    /// The factor that brings gradients within the limit of `clip`; `square` is
    /// asked for the square of their norm if there is a limit.
    pub fn scale(&self, square: impl FnOnce() -> f64) -> f32 {
        if self.clip == 0.0 {
            return 1.0;
        }
        let norm = square().sqrt() as f32;
        if norm > self.clip { self.clip / norm } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::RowGradients;
    use crate::learned::Gradients;

    #[test]
    fn clipping_scales_dense_and_row_gradients_together() {
        let rows = vec![RowGradients::new(vec![3], vec![4.0])];
        let gradients = Gradients { dense: vec![3.0], rows };
        let scale = |clip: f32| OptimizerConfig { clip, ..OptimizerConfig::default() }.scale(|| gradients.square());
        assert_eq!(scale(0.0), 1.0);
        assert_eq!(scale(10.0), 1.0);
        assert_eq!(scale(1.0), 0.2);
    }
}
