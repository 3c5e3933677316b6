//! Training: from files to a [`Scorer`]. It tells its story as [`Event`]s and asks
//! its observer what to do [next](Next).
//!
//! [`train`] does all of it. [`Fit`] is its loop, as a value with a position that
//! can be stored in a [`Checkpoint`] and gone on from; [`Trainer`] is one step, for
//! those who bring their own batches.
//!
//! "methods N" is section N of docs/methods.md.

mod average;
mod best_step;
mod calibrate;
mod checkpoint;
mod exchange;
mod fit;
mod history;
mod influence;
mod loader;
mod mix;
mod outcome;
mod search;
mod share;
mod shrink;
mod start;
mod trainer;
mod unknown;

pub use checkpoint::{Checkpoint, Identity};
pub use exchange::{Alone, Exchange};
pub use fit::Fit;
pub use history::{At, Evaluated};
pub use trainer::{Taught, Trainer};

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::balance::{BalanceConfig, Setting, Shared};
use crate::compute::Threads;
use crate::config::Config;
use crate::data::Source;
use crate::error::{Error, Result};
use crate::feature::{Features, Purpose};
use crate::metric::{FigureName, Meaning, Report};
use crate::objective::Objective;
use crate::schema::Schema;
use crate::scorer::Scorer;

use mix::Mix;

/// What happens during a training, in this order: `Learning` many times,
/// `Learned`, `Started`, of a model with masks to be found `Trial` and `Tried`
/// many times, then `Step`, `Scored` and `Evaluated` many times, of a model that takes over
/// from other tasks what the validation rows say `Shrunk` for each task, of one that has a
/// shared network beside what is the tasks' own `Shared` likewise, then `Stopped` and, unless
/// calibration is off, `Calibrated`.
/// `Saved` and `NotSaved` come wherever a checkpoint was asked for, `Warning` before
/// `Learning`, `Evaluated`, `Tried` and `Stopped`.
#[derive(Clone, Debug)]
pub enum Event {
    /// Training rows were read to learn the features.
    Learning {
        /// Rows so far.
        rows: u64,
    },
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
        /// The fixed weight of each task's loss, in the tasks' order.
        loss_weights: Vec<f32>,
    },
    /// A batch taught one task within a mask that is being tried.
    Trial {
        /// The task.
        task: usize,
        /// The round of pruning.
        round: u64,
        /// Rows of the batch.
        rows: usize,
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
    /// Rows of the validation files were scored.
    Scored {
        /// Rows so far.
        rows: u64,
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
        /// Whether it is the best so far. As long as the figure is not defined, the
        /// latest state is.
        best: bool,
        /// Mean loss of each task per training row since the evaluation before.
        losses: Vec<f64>,
        /// The same of the terms that the model adds, by their names, unweighted.
        terms: Vec<(String, f64)>,
        /// The weights that balancing gave the tasks in the last step.
        weights: Vec<f64>,
        /// Training rows since the evaluation before.
        rows: u64,
    },
    /// Something that a person should know: before all else, what the objective does
    /// not identify; what differs between the validation
    /// files and the training rows, once they have been read; a task that came to
    /// nothing, at the end.
    Warning {
        /// In one sentence.
        message: String,
    },
    /// A checkpoint was written.
    Saved {
        /// Its directory.
        path: PathBuf,
    },
    /// A checkpoint could not be written; those of before are still there.
    NotSaved {
        /// Why.
        message: String,
    },
    /// Training is over.
    Stopped {
        /// Why.
        reason: Reason,
        /// The last step some of whose weights are kept.
        best_step: u64,
        /// For each task the step whose weights are kept: tasks that learn nothing in
        /// common each have their own.
        kept: Vec<u64>,
    },
    /// How much of what other tasks give a task it takes over, of a model that lets the
    /// validation rows choose. One for each task, before `Stopped`.
    Shrunk {
        /// The task.
        task: String,
        /// 0 for nothing, 1 for all.
        share: f64,
        /// The log-loss given the parent on the validation rows for each share that was
        /// tried; `None` where it is not defined.
        logloss: Vec<(f64, Option<f64>)>,
    },
    /// How much of a task's score is that of the network that all tasks learn together, by
    /// the validation rows. One for each task, before `Stopped`.
    Shared {
        /// The task.
        task: String,
        /// 0 for nothing, 1 for all.
        share: f64,
        /// The log-loss on the validation rows that the task's loss is about, calibrated, with
        /// nothing, with this share and with all of it; `None` where there are no rows.
        logloss: [Option<f64>; 3],
    },
    /// The kept model's probabilities were calibrated by the validation files.
    Calibrated {
        /// How many maps scenarios have of their own, beside those of the tasks.
        scenarios: usize,
        /// What was not calibrated, and why, one sentence each.
        warnings: Vec<String>,
    },
}

/// What an observer wants next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// To go on.
    #[default]
    GoOn,
    /// A checkpoint, and then to go on. After `Step` and `Trial`; elsewhere it is
    /// not heeded.
    Checkpoint,
    /// An end with what was reached. A checkpoint is written first, if there is a
    /// place for it.
    Stop,
}

/// Who is told of every event, and says what is next.
pub type Observer<'a> = dyn FnMut(&Event) -> Next + Send + 'a;

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
    /// The validation figures of the scorer. What early stopping looked at is in its
    /// events: what that state's network says, before it was calibrated.
    pub report: Report,
}

/// Where a training keeps its checkpoints, and what it goes on from.
#[derive(Debug, Default)]
pub struct Checkpoints {
    /// The directory; none are written without one.
    pub directory: Option<PathBuf>,
    /// The checkpoint to go on from.
    pub resume: Option<Checkpoint>,
}

/// Trains a model: learns the features from `train`, follows the monitored
/// figure on `valid`, and keeps the best state. The configuration's `[data]`
/// plays no part.
///
/// # Errors
/// [`Error::Config`] and [`Error::Schema`], before anything is read; anything
/// wrong with the data; [`Error::NotFinite`]; [`Error::Stopped`] if the observer
/// stops it before there is anything to keep.
pub fn train(
    config: &Config,
    schema: &Schema,
    train: &Source,
    valid: &Source,
    observer: &mut Observer<'_>,
) -> Result<Trained> {
    train_from(config, schema, train, valid, Checkpoints::default(), observer)
}

/// As [`train`], with checkpoints. A training that goes on from one makes the
/// same steps, and ends with the same bits, as one that never stopped.
///
/// # Errors
/// As of [`train`]; [`Error::Config`] naming what has changed since the
/// checkpoint.
pub fn train_from(
    config: &Config,
    schema: &Schema,
    train: &Source,
    valid: &Source,
    checkpoints: Checkpoints,
    observer: &mut Observer<'_>,
) -> Result<Trained> {
    check(config, schema)?;
    for message in warnings(config, schema)? {
        observer(&Event::Warning { message });
    }
    valid.require(&Features::sketch(schema)?.columns(Purpose::Evaluation))?;
    // A configuration that was put together in code was read by nobody yet.
    Threads::check("train.threads", config.train.threads)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(config.train.threads).build();
    let pool = pool.map_err(|error| Error::Config(format!("train.threads = {}: {error}", config.train.threads)))?;
    pool.install(|| {
        let Checkpoints { directory, resume } = checkpoints;
        let identity = match (&directory, &resume) {
            (None, None) => None,
            _ => Some(Identity::new(config, schema, train, valid)?),
        };
        if let (Some(resume), Some(identity)) = (&resume, &identity) {
            resume.check(identity)?;
        }
        let mut watch = |rows: u64| match observer(&Event::Learning { rows }) {
            Next::Stop => ControlFlow::Break(()),
            Next::GoOn | Next::Checkpoint => ControlFlow::Continue(()),
        };
        let mut features = Features::learn_watched(schema, train, &mut watch)?;
        if config.train.carry_rates {
            features = features.carry_over(valid)?;
        }
        let (rows, mut warnings) = (features.features().rows(), features.features().warnings().to_vec());
        warnings.extend(config.model.about().remark(schema));
        observer(&Event::Learned { rows, warnings });
        let mut fit = Fit::new(config, &features, train, valid)?;
        if let Some(resume) = resume {
            fit.restore(resume)?;
        }
        if let (Some(directory), Some(identity)) = (directory, identity) {
            fit.keep_checkpoints(directory, identity);
        }
        observer(&fit.started());
        fit.run(observer)
    })
}

/// Refuses settings that make no sense, alone or with this schema, before any data
/// are read.
///
/// # Errors
/// [`Error::Config`] naming the key; [`Error::Schema`].
pub fn check(config: &Config, schema: &Schema) -> Result<()> {
    let spec = config.spec();
    let sketch = Features::sketch(schema)?;
    let network = spec.network(schema, sketch.layout())?;
    monitor(config, &network.objective)?;
    Mix::new(&config.train, &network.objective)?;
    if schema.tasks.len() < 2 && config.balance != BalanceConfig::default() {
        let message = "balance: the schema has one task, so there is nothing to balance; leave [balance] out";
        return Err(Error::Config(message.into()));
    }
    let shared = || Shared::find(&spec.network_of_heads(schema, sketch.layout())?, sketch.layout().tables.len());
    let (tasks, parameters) = (schema.tasks.len(), network.program.parameters());
    config.balance.start(&Setting { tasks, seed: spec.seed, parameters, shared: &shared }).map(|_| ())
}

/// What a person should know of settings that make sense, one sentence each: which
/// probabilities the objective does not identify.
///
/// # Errors
/// As of [`check`].
pub fn warnings(config: &Config, schema: &Schema) -> Result<Vec<String>> {
    let objective = config.spec().objective(schema)?;
    let (figure, _) = monitor(config, &objective)?;
    let mut warnings = objective.unidentified();
    let left_out = figure.task().is_none() && figure.meaning() == Meaning::GivenParent;
    for warning in &mut warnings {
        *warning += "; predictions leave it empty";
        if left_out {
            *warning += &format!(", and train.monitor = \"{}\" leaves it out", config.train.monitor);
        }
    }
    Ok(warnings)
}

/// The figure that early stopping follows, and whether higher is better.
fn monitor(config: &Config, objective: &Objective) -> Result<(FigureName, bool)> {
    let name = &config.train.monitor;
    let figure = FigureName::parse(name, objective.names().iter().map(String::as_str))?;
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
