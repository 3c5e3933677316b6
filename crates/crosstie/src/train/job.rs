//! What stays the same during a training, and what is asked of the validation files.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::best_step::{self, Family};
use super::event::{Event, Next, Observer, unheeded};
use super::loader::Loader;
use super::mix::Mix;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::feature::Features;
use crate::learned::Passes;
use crate::metric::{FigureName, Meaning, Meanings, Report};
use crate::model::Network;
use crate::objective::{Objective, Space};

/// What stays the same during a training.
pub(super) struct Job<'a> {
    pub config: Config,
    /// Steps between two evaluations, if there is one after each epoch, too.
    pub eval_steps: u64,
    pub features: &'a Arc<Features>,
    pub train: Loader<'a>,
    pub valid: Loader<'a>,
    pub mix: Mix,
    pub monitor: FigureName,
    pub higher_is_better: bool,
    /// The tasks that are at their best in the same step.
    pub families: Vec<Family>,
}

impl Job<'_> {
    pub fn better(&self, new: f64, old: f64) -> bool {
        if self.higher_is_better { new > old } else { new < old }
    }

    /// The monitored figure; where it is that of the mean, a task with few positives counts less.
    pub fn monitored(&self, report: &Report) -> Option<f64> {
        if self.monitor.task().is_some() {
            return self.monitor.of(report);
        }
        let meaning = self.monitor.meaning();
        let of_task = |(name, meanings): (&String, &Meanings)| {
            let figure = self.monitor.of_task(name, meaning).of(report)?;
            Some((figure, meanings.get(meaning).positives as f64))
        };
        best_step::mean(report.tasks.iter().filter_map(of_task))
    }

    /// The monitored figure of one task, on the rows that its loss is about.
    pub fn figure_of_task(&self, objective: &Objective, task: usize) -> FigureName {
        let meaning = match objective.spaces()[task] {
            Space::Parent | Space::Path => Meaning::GivenParent,
            Space::Product | Space::Impression => Meaning::FromImpression,
        };
        self.monitor.of_task(&objective.names()[task], meaning)
    }

    /// Scores the validation files, whatever the observer says.
    pub fn look_again(&self, passes: Passes<'_>, observer: &mut Observer<'_>) -> Result<Report> {
        Ok(self.evaluate(passes, &mut unheeded(observer))?.expect("nothing stops it"))
    }

    /// Tells, once the validation files were read, how they differ from the training
    /// rows.
    pub fn tell_drift(&self, observer: &mut Observer<'_>) {
        for message in self.valid.drift() {
            observer(&Event::Warning { message });
        }
    }

    /// Scores the validation files, unless the observer stops it.
    pub fn evaluate(&self, passes: Passes<'_>, observer: &mut Observer<'_>) -> Result<Option<Report>> {
        let report = self.valid.evaluate(passes, [passes.network().logits], self.scenarios(), &mut stoppable(observer));
        self.tell_drift(observer);
        Ok(report?.map(|[report]| report))
    }

    /// The same, and beside it, of a model that has one, the report of the network that all
    /// tasks learn together.
    pub fn evaluate_all(
        &self,
        passes: Passes<'_>,
        observer: &mut Observer<'_>,
    ) -> Result<Option<(Report, Option<Report>)>> {
        let Network { logits, shared: Some(shared), .. } = passes.network() else {
            return Ok(self.evaluate(passes, observer)?.map(|report| (report, None)));
        };
        let both = [*logits, shared.logits];
        let reports = self.valid.evaluate(passes, both, self.scenarios(), &mut stoppable(observer));
        self.tell_drift(observer);
        Ok(reports?.map(|[report, shared]| (report, Some(shared))))
    }

    /// Each family's figure in a report; `shared` is that of the network that all tasks learn
    /// together, where there is one.
    pub fn figures(&self, objective: &Objective, report: &Report, shared: Option<&Report>) -> Vec<Option<f64>> {
        if let [_] = self.families.as_slice() {
            return vec![self.monitored(report)];
        }
        let of_task = |(task, name): (usize, &String)| {
            let figure = self.figure_of_task(objective, task);
            let positives = report.tasks[name].get(figure.meaning()).positives;
            Some((figure.of(report)?, positives as f64))
        };
        let tasks: Vec<Option<(f64, f64)>> = objective.names().iter().enumerate().map(of_task).collect();
        let of_family = |family: &Family| match shared {
            Some(shared) if family.tasks.is_empty() => self.monitored(shared),
            _ => family.figure(&tasks),
        };
        self.families.iter().map(of_family).collect()
    }

    fn scenarios(&self) -> &[String] {
        &self.features.layout().scenarios
    }
}

/// The figure that early stopping follows, and whether higher is better.
pub(super) fn monitor(config: &Config, objective: &Objective) -> Result<(FigureName, bool)> {
    let name = &config.train.monitor;
    let figure =
        FigureName::parse(name, objective.names().iter().map(String::as_str)).map_err(|error| match error {
            Error::Config(message) => Error::Config(format!("train.monitor: {message}")),
            other => other,
        })?;
    let given_parent = figure.task().filter(|_| figure.meaning() == Meaning::GivenParent);
    let task = given_parent.and_then(|task| objective.names().iter().position(|name| name == task));
    if let Some(why) = task.and_then(|task| objective.unidentified_task(task)) {
        return Err(Error::Config(format!("train.monitor: `{name}` is not defined: {why}")));
    }
    match figure.higher_is_better() {
        Some(higher) => Ok((figure, higher)),
        None => {
            let message = format!("train.monitor: `{name}` is best near 1, not high or low; choose another");
            Err(Error::Config(message))
        }
    }
}

/// Tells an observer of scored rows, and breaks off if it says stop.
fn stoppable<'o>(observer: &'o mut Observer<'_>) -> impl FnMut(u64) -> ControlFlow<()> + 'o {
    |rows| match observer(&Event::Scored { rows }) {
        Next::Stop => ControlFlow::Break(()),
        Next::GoOn | Next::Checkpoint => ControlFlow::Continue(()),
    }
}
