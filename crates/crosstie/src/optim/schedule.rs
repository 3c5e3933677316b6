//! Learning-rate schedules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::range::{UP_TO_ONE, ZERO_TO_ONE};

/// A factor on every learning rate, by step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Learning rates stay as they are.
    #[default]
    Constant,
    /// The factor of learning rates grows linearly from 0 to 1 over `steps`, and stays
    /// there.
    WarmUp {
        /// Number of steps to grow.
        steps: u64,
    },
    /// The factor of learning rates grows over `warm_up` steps, then falls along half a cosine to `floor`
    /// at `steps`, and stays there (Loshchilov and Hutter, ICLR 2017, without
    /// restarts).
    Cosine {
        /// Step at which the floor is reached.
        steps: u64,
        /// Steps to grow before.
        #[serde(default)]
        warm_up: u64,
        /// The last factor.
        #[serde(default)]
        floor: f64,
    },
    /// Learning rates are multiplied by `factor` after every `steps`.
    Step {
        /// Steps between two cuts.
        steps: u64,
        /// What each cut leaves, above 0 and at most 1.
        factor: f64,
    },
}

impl Schedule {
    /// The factor at a step, counted from 1.
    pub fn factor(&self, step: u64) -> f64 {
        let share = |part: u64, whole: u64| (part as f64 / whole.max(1) as f64).min(1.0);
        match *self {
            Schedule::Constant => 1.0,
            Schedule::WarmUp { steps } => share(step, steps),
            Schedule::Cosine { warm_up, .. } if step <= warm_up => share(step, warm_up),
            Schedule::Cosine { steps, warm_up, floor } => {
                let done = share(step - warm_up, steps.saturating_sub(warm_up));
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
            Schedule::Step { steps, factor } => factor.powf(((step - 1) / steps.max(1)) as f64),
        }
    }

    /// Refuses factors that make no sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        match *self {
            Schedule::Cosine { steps, warm_up, .. } if warm_up >= steps => {
                Err(Error::Config(format!("optimizer.schedule: `warm_up` ({warm_up}) must be below `steps` ({steps})")))
            }
            Schedule::Cosine { floor, .. } => ZERO_TO_ONE.check("optimizer.schedule.floor", floor),
            Schedule::Step { factor, .. } => UP_TO_ONE.check("optimizer.schedule.factor", factor),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_at_known_steps() {
        assert_eq!(Schedule::WarmUp { steps: 4 }.factor(1), 0.25);
        assert_eq!(Schedule::WarmUp { steps: 4 }.factor(9), 1.0);
        let cosine = Schedule::Cosine { steps: 110, warm_up: 10, floor: 0.1 };
        assert_eq!(cosine.factor(5), 0.5);
        assert!((cosine.factor(60) - 0.55).abs() < 1e-12);
        assert!((cosine.factor(500) - 0.1).abs() < 1e-12);
        assert_eq!(Schedule::Step { steps: 10, factor: 0.5 }.factor(10), 1.0);
        assert_eq!(Schedule::Step { steps: 10, factor: 0.5 }.factor(21), 0.25);
    }
}
