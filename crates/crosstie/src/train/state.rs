//! What a training changes, batch by batch and evaluation by evaluation.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::event::{Event, Next, Observer, Reason};
use super::job::Job;
use super::loader::Cursor;
use super::search::Search;
use super::trainer::{Taught, Trainer, Weights};
use crate::batch::Batch;
use crate::error::Result;
use crate::metric::Report;

/// What a training changes. It is in a checkpoint, but for `broken_off`.
pub(super) struct State {
    pub trainer: Trainer,
    pub progress: Progress,
    /// The search for masks, as long as it lasts.
    pub search: Option<Search>,
    /// The place in the epoch under way; `None` between two epochs.
    pub cursor: Option<Cursor>,
    pub best: Option<Best>,
    /// Whether the observer stopped an evaluation. Not in a checkpoint.
    pub broken_off: bool,
}

/// Where a training stands, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// Epoch under way, from 1; 0 before the first.
    pub epoch: u64,
    /// Whether an evaluation comes before the next step.
    pub due: bool,
    /// The batch after which the last evaluation was.
    pub validated: Option<u64>,
    /// The batch after which the best weights were last copied.
    pub kept: Option<u64>,
    /// Evaluations without improvement.
    pub bad: u64,
    /// Evaluations told.
    pub evaluations: u64,
    /// Masks told.
    pub tried: u64,
    /// Since the last evaluation: rows, each task's summed loss, each term's, the
    /// tasks' weights in the last step.
    pub rows: u64,
    pub losses: Vec<f64>,
    pub terms: Vec<f64>,
    pub weights: Vec<f64>,
}

/// The best so far.
#[derive(Clone, Debug)]
pub(super) struct Best {
    /// The last evaluation at which some family was at its best.
    pub evaluation: Evaluation,
    /// Each family's best step.
    pub steps: Vec<BestStep>,
    /// The weights of these steps, once training has gone on from there: a training
    /// of one family that ends with its best evaluation never holds two copies.
    pub weights: Option<Weights>,
}

/// A family's best step so far, and its figure there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BestStep {
    pub step: u64,
    pub figure: Option<f64>,
}

/// An evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Evaluation {
    pub step: u64,
    pub figure: Option<f64>,
    pub report: Report,
}

impl State {
    /// Learns from one batch, which ends at `after`.
    pub fn learn(&mut self, job: &Job<'_>, batch: &Batch, after: Cursor, observer: &mut Observer<'_>) -> Result<Next> {
        self.keep_best(job);
        let epoch = self.progress.epoch;
        let Taught { step, rows, losses, terms, weights } = self.trainer.step(epoch, batch)?;
        let progress = &mut self.progress;
        progress.rows += rows as u64;
        progress.losses.iter_mut().zip(&losses).for_each(|(sum, loss)| *sum += loss);
        progress.terms.resize(terms.len(), 0.0);
        progress.terms.iter_mut().zip(&terms).for_each(|(sum, term)| *sum += term);
        progress.weights.clone_from(&weights);
        let every = job.config.train.eval_every;
        progress.due = match every {
            0 => step - progress.validated.unwrap_or(0) >= job.eval_steps,
            _ => step.is_multiple_of(every),
        };
        self.cursor = Some(after);
        Ok(observer(&Event::Step { epoch, step, rows, losses, weights }))
    }

    /// Copies what is at its best now, before the first step away from it or the end.
    pub fn keep_best(&mut self, job: &Job<'_>) {
        let State { trainer, best, .. } = self;
        let Some(Best { steps, weights, .. }) = best else { return };
        let now = trainer.batches();
        let at_best = || job.families.iter().zip(steps.iter()).filter(|(_, best)| best.step == now);
        if at_best().next().is_none() || self.progress.kept == Some(now) {
            return;
        }
        match weights {
            Some(weights) => at_best().for_each(|(family, _)| weights.take(family, trainer)),
            None => *weights = Some(trainer.weights()),
        }
        self.progress.kept = Some(now);
    }

    /// The evaluation that is due, and whether it ends the training.
    pub fn evaluate_if_due(&mut self, job: &Job<'_>, observer: &mut Observer<'_>) -> Result<Option<Reason>> {
        if self.progress.due && self.evaluate(job, observer)?.is_break() {
            return Ok(Some(Reason::Asked));
        }
        Ok((self.progress.bad >= job.config.train.patience).then_some(Reason::Patience))
    }

    /// Scores the validation files, unless the observer stops it.
    pub fn evaluate(&mut self, job: &Job<'_>, observer: &mut Observer<'_>) -> Result<ControlFlow<()>> {
        self.trainer.show_average();
        let reports = job.evaluate_all(self.trainer.learned().passes(), observer);
        self.trainer.show_average();
        let Some((report, shared)) = reports? else {
            self.broken_off = true;
            return Ok(ControlFlow::Break(()));
        };
        let (step, figure) = (self.trainer.batches(), job.monitored(&report));
        let objective = &self.trainer.learned().network().objective;
        let figures = job.figures(objective, &report, shared.as_ref());
        let old = self.best.as_ref().map(|best| best.steps.clone());
        let better = |family: usize, new: Option<f64>| match (old.as_ref().map(|old| old[family].figure), new) {
            // As long as nothing can be compared, the latest state is kept.
            (None | Some(None), _) => true,
            (Some(Some(old)), Some(new)) => job.better(new, old),
            (Some(Some(_)), None) => false,
        };
        let improved: Vec<bool> = figures.iter().enumerate().map(|(family, new)| better(family, *new)).collect();
        let best = improved.contains(&true);
        let progress = &mut self.progress;
        let rows = progress.rows.max(1) as f64;
        let names = self.trainer.learned().network().terms.iter().map(|term| term.name.clone());
        let event = Event::Evaluated {
            epoch: progress.epoch,
            step,
            report: Box::new(report.clone()),
            figure,
            best,
            losses: progress.losses.iter().map(|loss| loss / rows).collect(),
            terms: names.zip(&progress.terms).map(|(name, term)| (name, term / rows)).collect(),
            weights: progress.weights.clone(),
            rows: progress.rows,
        };
        (progress.due, progress.validated, progress.rows) = (false, Some(step), 0);
        progress.losses.fill(0.0);
        progress.terms.fill(0.0);
        progress.evaluations += 1;
        if best {
            progress.bad = 0;
            let steps = figures.into_iter().zip(&improved).enumerate().map(|(family, (figure, improved))| match &old {
                Some(old) if !improved => old[family],
                _ => BestStep { step, figure },
            });
            let steps: Vec<BestStep> = steps.collect();
            let whole = improved.iter().all(|improved| *improved);
            let weights = self.best.take().and_then(|best| best.weights).filter(|_| !whole);
            self.best = Some(Best { evaluation: Evaluation { step, figure, report }, steps, weights });
        } else {
            progress.bad += 1;
        }
        match observer(&event) {
            Next::Stop => Ok(ControlFlow::Break(())),
            Next::GoOn | Next::Checkpoint => Ok(ControlFlow::Continue(())),
        }
    }
}
