//! The history of a training: a line for each evaluation.

use std::collections::BTreeMap;

use serde::Serialize;

use super::event::Event;
use crate::metric::Report;

/// When an evaluation was, and how fast it came: what a library without a clock is told.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct At {
    /// Since the start of the training.
    pub seconds: f64,
    /// Since the beginning of 1970, in seconds.
    pub time: f64,
    /// Training rows a second since the last line, evaluation included.
    pub rows_per_second: f64,
}

/// What an evaluation has found: a line of a run's `metrics.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluated<'a> {
    /// Epoch under way, from 1.
    pub epoch: u64,
    /// Batches learned from.
    pub step: u64,
    /// When it was.
    #[serde(flatten)]
    pub at: At,
    /// The name of the monitored figure.
    pub monitor: &'a str,
    /// The figure; `None` where it is not defined.
    pub figure: Option<f64>,
    /// Whether it is the best so far.
    pub best: bool,
    /// Mean training loss of each task per row since the last line.
    pub losses: BTreeMap<&'a str, f64>,
    /// The same of what the model adds to the tasks' losses, unweighted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<&'a str, f64>,
    /// Weight that balancing gave each task in the last step.
    pub weights: BTreeMap<&'a str, f64>,
    /// All figures, without reliability by tenths.
    pub report: Report,
}

impl<'a> Evaluated<'a> {
    /// The line of an event; `None` for those that are no evaluation. `tasks` are the
    /// names of the schema's tasks.
    pub fn of(event: &'a Event, monitor: &'a str, tasks: &[&'a str], at: At) -> Option<Evaluated<'a>> {
        let Event::Evaluated { epoch, step, report, figure, best, losses, terms, weights, .. } = event else {
            return None;
        };
        let by_task = |values: &[f64]| tasks.iter().copied().zip(values.iter().copied()).collect();
        Some(Evaluated {
            epoch: *epoch,
            step: *step,
            at,
            monitor,
            figure: *figure,
            best: *best,
            losses: by_task(losses),
            terms: terms.iter().map(|(name, mean)| (name.as_str(), *mean)).collect(),
            weights: by_task(weights),
            report: report.as_ref().clone().without_reliability(),
        })
    }
}
