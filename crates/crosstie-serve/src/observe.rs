//! Who is told of what the server does: metrics, logs.

use std::sync::Arc;
use std::time::Duration;

use crosstie::batch::Batch;
use crosstie::data::Rows;
use crosstie::learned::Scores;

use crate::failure::Failure;
use crate::repository::Version;
use crate::stages::Stages;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Inference over HTTP.
    Http,
    /// Inference over gRPC.
    Grpc,
    /// Ranking.
    Rank,
}

impl Protocol {
    /// A word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
            Protocol::Rank => "rank",
        }
    }
}

/// A request that is over, answered or not.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// How it came.
    pub protocol: Protocol,
    /// The model that was asked for.
    pub model: &'a str,
    /// The version that answered, if it came to that.
    pub version: Option<&'a Version>,
    /// Rows that were scored.
    pub rows: usize,
    /// From when it was read to when it was answered.
    pub took: Duration,
    /// How long its parts took; `None` of a request without an answer.
    pub stages: Option<Stages>,
    /// Why it has no answer.
    pub failure: Option<&'a Failure>,
}

/// A request of a unit that takes part in an experiment is over.
#[derive(Clone, Copy, Debug)]
pub struct ArmAnswered<'a> {
    /// The experiment.
    pub experiment: &'a str,
    /// The unit's arm.
    pub arm: &'a str,
    /// From when it was read to when it was answered or refused; `None` where the arm's model
    /// is not served.
    pub took: Option<Duration>,
    /// Whether that it has no answer is a fault of ours.
    pub failed: bool,
    /// Candidates that were scored.
    pub rows: usize,
    /// By task, the sum of their predicted probabilities from the impression.
    pub predictions: &'a [(String, f64)],
}

/// Who is told. Nothing here may take long: it is called where requests are answered.
pub trait Observe: std::fmt::Debug + Send + Sync {
    /// Rows were encoded; called on the compute thread.
    fn encoded(&self, version: &Version, rows: &Rows, batch: &Batch) {
        let _ = (version, rows, batch);
    }

    /// Rows were scored; called on the compute thread.
    fn scored(&self, version: &Version, batch: &Batch, scores: &Scores) {
        let _ = (version, batch, scores);
    }

    /// A request is over.
    fn answered(&self, answered: &Answered<'_>) {
        let _ = answered;
    }

    /// A request of a unit that takes part in an experiment is over.
    fn arm_answered(&self, answered: &ArmAnswered<'_>) {
        let _ = answered;
    }

    /// A version was loaded and serves from now on.
    fn loaded(&self, version: &Version, took: Duration) {
        let _ = (version, took);
    }

    /// A version could not be loaded; what served before serves on.
    fn load_failed(&self, model: &str, version: u64, reason: &str) {
        let _ = (model, version, reason);
    }

    /// A version serves no more; it is freed when its last request has ended.
    fn retired(&self, version: &Version) {
        let _ = version;
    }
}

/// All who are told.
pub type Observers = Arc<[Arc<dyn Observe>]>;
