//! The training loop. It tells its story as [`Event`]s and leaves a [`Scorer`].

mod loader;
mod lottery;
mod mix;
mod step;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::Config;
use crate::data::Source;
use crate::error::{Error, Result};
use crate::feature::{Features, Purpose};
use crate::metric::{FigureName, Report};
use crate::schema::Schema;
use crate::scorer::Scorer;

use loader::Loader;
use lottery::Search;
use mix::Mix;
pub use step::Trainer;

/// What happens during a training, in this order: `Learned`, `Started`, of a
/// model with masks to be found `Tried` many times, then `Step` and `Evaluated`
/// many times, then `Stopped`.
#[derive(Clone, Debug)]
pub enum Event {
    /// The features were learned from the training files.
    Learned {
        /// Training rows.
        rows: u64,
        /// What the user should know about the data.
        warnings: Vec<String>,
    },
    /// The network stands.
    Started {
        /// Number of dense parameters that learn.
        parameters: usize,
        /// Number of rows of all tables.
        table_rows: usize,
        /// Number of weights in all tables.
        table_weights: usize,
    },
    /// A mask was tried: the task was trained alone within it, and its
    /// validation figure computed. All of one task's come together, ever sparser.
    Tried {
        /// The task.
        task: usize,
        /// The round of pruning that left this mask; 0 is the whole one.
        round: u64,
        /// Share of the connections that it keeps.
        kept: f64,
        /// The name of the figure.
        monitor: String,
        /// The figure; `None` where it is not defined.
        figure: Option<f64>,
        /// Whether the task has this mask unless a later one does as well.
        best: bool,
    },
    /// A batch was learned from: by one step of the optimizer or, where tasks
    /// take turns, by one for each.
    Step {
        /// From 1.
        epoch: u64,
        /// From 1, over all epochs.
        step: u64,
        /// Rows of the batch.
        rows: usize,
        /// Sum over the batch's rows of each task's loss, in the tasks' order.
        losses: Vec<f64>,
        /// The weight that balancing gave each task, beside its fixed one.
        weights: Vec<f64>,
    },
    /// The validation files were scored.
    Evaluated {
        /// Epoch under way, from 1.
        epoch: u64,
        /// Batches learned from.
        step: u64,
        /// All figures.
        report: Box<Report>,
        /// The monitored figure; `None` where it is not defined.
        figure: Option<f64>,
        /// Whether it is the best so far.
        best: bool,
    },
    /// Training is over.
    Stopped {
        /// Why.
        reason: Reason,
        /// The step whose weights are kept.
        best_step: u64,
    },
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All epochs are done.
    Epochs,
    /// The monitored figure did not improve any more.
    Patience,
    /// Somebody asked to stop.
    Asked,
}

/// What a training leaves.
#[derive(Debug)]
pub struct Trained {
    /// The model, with the best state seen.
    pub scorer: Scorer,
    /// The step of that state.
    pub best_step: u64,
    /// Batches learned from, since masks were found.
    pub steps: u64,
    /// Why it ended.
    pub reason: Reason,
    /// The validation figures of that state.
    pub report: Report,
}

/// Trains a model: learns the features from `train`, follows the monitored
/// figure on `valid`, and keeps the best state. `stop` may be set from another
/// thread to end early with what was reached.
///
/// # Errors
/// [`Error::Config`], [`Error::Schema`], anything wrong with the data, and
/// [`Error::NotFinite`].
pub fn train(
    config: &Config,
    schema: &Schema,
    train: &Source,
    valid: &Source,
    observer: &mut (dyn FnMut(&Event) + Send),
    stop: &AtomicBool,
) -> Result<Trained> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(config.train.threads).build();
    let pool = pool.map_err(|error| Error::Config(format!("train.threads = {}: {error}", config.train.threads)))?;
    let monitor = FigureName::parse(&config.train.monitor, schema.tasks.iter().map(|task| task.name.as_str()))?;
    let Some(higher_is_better) = monitor.higher_is_better() else {
        let message =
            format!("train.monitor: `{}` is best near 1, not high or low; choose another", config.train.monitor);
        return Err(Error::Config(message));
    };
    let mix = Mix::new(&config.train, &config.model.model().objective(schema, &config.objective)?)?;
    let features = Features::learn(schema, train)?;
    observer(&Event::Learned { rows: features.rows(), warnings: features.warnings().to_vec() });
    let columns = features.columns(Purpose::Evaluation);
    valid.require(&columns)?;
    let mut trainer = Trainer::new(Scorer::new(config, features)?)?;
    observer(&trainer.started());
    let better = |new: f64, old: f64| if higher_is_better { new > old } else { new < old };
    let features = trainer.scorer().features().clone();
    let budget = config.train.cache_mib << 20;
    let valid = Loader::new(valid, &features, Purpose::Evaluation, budget / 4);
    let train = Loader::new(train, &features, Purpose::Training, budget);
    pool.install(|| {
        if let Some(lottery) = config.model.model().lottery() {
            let (train, valid, mix, monitor) = (&train, &valid, &mix, &monitor);
            let search = Search { lottery, train, valid, mix, monitor, better: &better, stop };
            search.run(&mut trainer, observer)?;
        }
        let mut run = Run { trainer: &mut trainer, monitor, stop, observer, best: None, bad: 0, validated: None };
        let reason = run.epochs(config, &mix, &train, &valid, &better)?;
        let best = run.best.take();
        let (steps, bad) = (trainer.steps(), best.is_none());
        let Some(best) = best else {
            debug_assert!(bad);
            return Err(Error::Config("training ended before anything was evaluated".into()));
        };
        if let Some(state) = best.state {
            trainer.restore(state);
        }
        observer(&Event::Stopped { reason, best_step: best.step });
        Ok(Trained { scorer: trainer.into_scorer(), best_step: best.step, steps, reason, report: best.report })
    })
}

/// The best evaluation so far.
struct Best {
    step: u64,
    figure: Option<f64>,
    report: Report,
    /// The weights, once training has gone on from there.
    state: Option<step::State>,
}

struct Run<'a> {
    trainer: &'a mut Trainer,
    monitor: FigureName,
    stop: &'a AtomicBool,
    observer: &'a mut (dyn FnMut(&Event) + Send),
    best: Option<Best>,
    bad: u64,
    validated: Option<u64>,
}

impl Run<'_> {
    fn epochs(
        &mut self,
        config: &Config,
        mix: &Mix,
        train: &Loader<'_>,
        valid: &Loader<'_>,
        better: &dyn Fn(f64, f64) -> bool,
    ) -> Result<Reason> {
        let (every, patience) = (config.train.eval_every, config.train.patience);
        for epoch in 1..=config.train.epochs {
            let mut reason = None;
            train.epoch(&config.train, mix, epoch, &mut |batch| {
                if self.stop.load(Ordering::Relaxed) {
                    reason = Some(Reason::Asked);
                    return Ok(false);
                }
                self.keep_best();
                let event = self.trainer.step(epoch, batch)?;
                (self.observer)(&event);
                if every > 0 && self.trainer.steps().is_multiple_of(every) {
                    self.evaluate(epoch, valid, better)?;
                    if self.bad >= patience.max(1) {
                        reason = Some(Reason::Patience);
                        return Ok(false);
                    }
                }
                Ok(true)
            })?;
            if self.validated != Some(self.trainer.steps())
                && (every == 0 || reason.is_some() || epoch == config.train.epochs)
            {
                self.evaluate(epoch, valid, better)?;
            }
            if reason.is_none() && self.bad >= patience.max(1) {
                reason = Some(Reason::Patience);
            }
            if let Some(reason) = reason {
                return Ok(reason);
            }
        }
        Ok(Reason::Epochs)
    }

    fn evaluate(&mut self, epoch: u64, valid: &Loader<'_>, better: &dyn Fn(f64, f64) -> bool) -> Result<()> {
        let report = valid.evaluate(self.trainer.scorer())?;
        let (step, figure) = (self.trainer.steps(), self.monitor.of(&report));
        self.validated = Some(step);
        let best = match (&self.best, figure) {
            (None, _) => true,
            (Some(best), Some(new)) => best.figure.is_none_or(|old| better(new, old)),
            (Some(_), None) => false,
        };
        (self.observer)(&Event::Evaluated { epoch, step, report: Box::new(report.clone()), figure, best });
        if best {
            self.bad = 0;
            self.best = Some(Best { step, figure, report, state: None });
        } else {
            self.bad += 1;
        }
        Ok(())
    }

    /// Copies the weights before the first step away from the best state: a
    /// training that ends with its best evaluation never copies.
    fn keep_best(&mut self) {
        if let Some(best) = self.best.as_mut().filter(|best| best.state.is_none()) {
            best.state = Some(self.trainer.state());
        }
    }
}
