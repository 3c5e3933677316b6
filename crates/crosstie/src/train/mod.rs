//! Training: from files to a [`Scorer`](crate::scorer::Scorer). It tells its story as [`Event`]s and asks
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
mod event;
mod exchange;
mod fit;
mod history;
mod influence;
mod job;
mod loader;
mod masks;
mod mix;
mod outcome;
mod search;
mod share;
mod shrink;
mod start;
mod state;
mod trainer;
mod unknown;

pub use checkpoint::{Checkpoint, Identity};
pub use event::{Event, Next, Observer, Reason, Trained};
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
use crate::metric::Meaning;
use crate::schema::Schema;

use job::monitor;
use mix::Mix;

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
    if let Some(files) = train.shared(valid) {
        let message = format!(
            "{files} is among both the training files and the validation files: figures on rows that were trained on \
             promise too much, and choose the wrong step and calibration"
        );
        observer(&Event::Warning { message });
    }
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
