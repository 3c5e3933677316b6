//! What became of an experiment's requests, arm by arm. Labels are names that experiments'
//! files and artifacts give, never requests; those of an experiment that is gone go.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Sum, seconds};
use crate::observe::ArmAnswered;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Arm {
    experiment: String,
    arm: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Task {
    experiment: String,
    arm: String,
    task: String,
}

/// Counts of all arms; clones count together.
#[derive(Clone, Debug)]
pub(super) struct Arms {
    requests: Family<Arm, Counter>,
    failures: Family<Arm, Counter>,
    durations: Family<Arm, Histogram, fn() -> Histogram>,
    predictions: Family<Task, Sum>,
    predicted: Family<Task, Counter>,
    /// What there are counts of.
    known: Arc<Mutex<(HashSet<Arm>, HashSet<Task>)>>,
}

impl Arms {
    pub fn new() -> Arms {
        Arms {
            requests: Family::default(),
            failures: Family::default(),
            durations: Family::new_with_constructor(seconds),
            predictions: Family::default(),
            predicted: Family::default(),
            known: Arc::default(),
        }
    }

    pub fn register(&self, of: &mut Registry) {
        of.register("experiment_request", "Requests of units that take part, by their arm", self.requests.clone());
        of.register("experiment_failure", "Those of them that failed by the server's fault", self.failures.clone());
        let help = "From a request's arrival to its answer, by its unit's arm";
        of.register_with_unit("experiment_request_duration", help, Unit::Seconds, self.durations.clone());
        let help = "Sum of the predicted probabilities from the impression, by the unit's arm";
        of.register("experiment_prediction_sum", help, self.predictions.clone());
        of.register("experiment_prediction", "Predicted probabilities, by the unit's arm", self.predicted.clone());
    }

    pub fn count(&self, answered: &ArmAnswered<'_>) {
        let arm = Arm { experiment: answered.experiment.into(), arm: answered.arm.into() };
        self.requests.get_or_create(&arm).inc();
        self.failures.get_or_create(&arm).inc_by(u64::from(answered.failed));
        if let Some(took) = answered.took {
            self.durations.get_or_create(&arm).observe(took.as_secs_f64());
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, sum) in answered.predictions {
            let task = Task { experiment: arm.experiment.clone(), arm: arm.arm.clone(), task: name.clone() };
            self.predictions.get_or_create(&task).inc_by(*sum);
            self.predicted.get_or_create(&task).inc_by(answered.rows as u64);
            known.1.insert(task);
        }
        known.0.insert(arm);
    }

    /// Forgets all experiments but these.
    pub fn keep(&self, experiments: &[String]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.0.retain(|arm| {
            let kept = experiments.contains(&arm.experiment);
            if !kept {
                self.requests.remove(arm);
                self.failures.remove(arm);
                self.durations.remove(arm);
            }
            kept
        });
        known.1.retain(|task| {
            let kept = experiments.contains(&task.experiment);
            if !kept {
                self.predictions.remove(task);
                self.predicted.remove(task);
            }
            kept
        });
    }
}
