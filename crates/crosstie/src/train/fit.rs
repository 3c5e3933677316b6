//! The loop of a training, as a value with a position.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::best_step;
use super::calibrate::calibrate;
use super::checkpoint::{Checkpoint, Identity, Store, save};
use super::event::{Event, Next, Observer, Reason, Trained, unheeded};
use super::influence;
use super::job::{Job, monitor};
use super::loader::{Cursor, Encoder, Loader};
use super::mix::Mix;
use super::outcome;
use super::search::Search;
use super::share::share;
use super::shrink::shrink;
use super::start;
use super::state::{Best, Evaluation, Progress, State};
use super::trainer::Trainer;
use super::unknown::Unknowns;
use crate::config::{Config, UnknownValues};
use crate::data::Source;
use crate::embedding::Table;
use crate::error::{Error, Result};
use crate::feature::{TrainingFeatures, Unknown};
use crate::scorer::Scorer;

/// A training over files. What it does next follows from its position alone,
/// which a [`Checkpoint`] holds.
pub struct Fit<'a> {
    pub(super) job: Job<'a>,
    pub(super) state: State,
    store: Option<Store>,
}

/// A quarter of an epoch, but no less than ten steps.
fn eval_steps(rows: u64, rows_of_step: usize) -> u64 {
    rows.div_ceil(rows_of_step as u64).div_ceil(4).max(10)
}

impl<'a> Fit<'a> {
    /// A training at its start. `train` is the source that the features were
    /// learned from.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that do not fit the schema.
    pub fn new(
        config: &Config,
        features: &'a TrainingFeatures,
        train: &'a Source,
        valid: &'a Source,
    ) -> Result<Fit<'a>> {
        let mut config = config.clone();
        let rows = features.features().rows();
        config.train.batch_size = config.train.rows_of_step(Some(rows));
        let budget = config.train.cache_mib << 20;
        let base_rates = features.base_rates();
        let influence = influence::settle(&mut config, features.features().schema(), base_rates)?;
        let (training, known) = (Encoder::Training(features), features.known());
        let features = features.features();
        let mut trainer = Trainer::new(&config, features.schema(), features.layout())?;
        let (monitor, higher_is_better) = monitor(&config, &trainer.learned().network().objective)?;
        let heads = config.spec().network_of_heads(features.schema(), features.layout())?;
        trainer.start_at(start::starts(&heads, base_rates)?);
        trainer.balance_terms(influence);
        let tasks = features.schema().tasks.len();
        let progress = Progress { losses: vec![0.0; tasks], weights: vec![1.0; tasks], ..Progress::default() };
        let mut loader = Loader::new(train, training, budget);
        let valid = Loader::new(valid, Encoder::Evaluation(features), budget / 4);
        loader.set_unknowns(match config.train.unknown_values {
            UnknownValues::AsInValidation if known.iter().all(Option::is_none) => Unknowns::default(),
            UnknownValues::AsInValidation => {
                let mut unknown = Unknown::new(features);
                valid.count_unknown(&mut unknown)?;
                Unknowns::up_to(&unknown.shares(), known)
            }
            UnknownValues::Share(share) => Unknowns::of_all(share, known),
        });
        let mix = Mix::new(&config.train, &trainer.learned().network().objective)?;
        let eval_steps = eval_steps(rows, mix.impressions());
        let search = config.model.model().lottery().map(|lottery| Search::new(lottery, &trainer));
        let families = best_step::families(trainer.learned().network(), features.layout().tables.len(), &monitor)?;
        let job = Job { config, eval_steps, features, train: loader, valid, mix, monitor, higher_is_better, families };
        Ok(Fit {
            job,
            state: State { trainer, progress, search, cursor: None, best: None, broken_off: false },
            store: None,
        })
    }

    /// Checkpoints go into this directory. `identity` says of what.
    pub fn keep_checkpoints(&mut self, directory: PathBuf, identity: Identity) {
        self.store = Some(Store::new(directory, identity));
    }

    /// Goes on from a checkpoint, which was [checked](Checkpoint::check).
    ///
    /// # Errors
    /// [`Error::Artifact`] for a checkpoint of another model; [`Error::Config`]
    /// where it is further than `train.epochs`.
    pub fn restore(&mut self, checkpoint: Checkpoint) -> Result<()> {
        checkpoint.restore(&self.job, &mut self.state)
    }

    /// The event that tells how large the model is.
    pub fn started(&self) -> Event {
        let learned = self.state.trainer.learned();
        let sum = |of: fn(&Table) -> usize| learned.tables().all().iter().map(of).sum();
        let parameters = learned.network().program.parameters().iter().filter(|parameter| parameter.learned);
        Event::Started {
            parameters: parameters.map(|parameter| parameter.len()).sum(),
            table_rows: sum(|table| table.rows),
            table_weights: sum(|table| table.weights.len()),
            loss_weights: learned.network().objective.weights().to_vec(),
        }
    }

    /// Goes on to the end. Work is done on the calling thread's pool.
    ///
    /// # Errors
    /// Anything wrong with the data; [`Error::NotFinite`]; [`Error::Stopped`] if
    /// the observer stops it before there is anything to keep.
    pub fn run(mut self, observer: &mut Observer<'_>) -> Result<Trained> {
        self.job.tell_drift(observer);
        if self.find_masks(observer)?.is_break() {
            self.save(observer);
            return Err(Error::Stopped("the tasks' masks were found"));
        }
        let reason = self.epochs(observer)?;
        // Before the evaluation below: one that goes on from here has not seen it.
        self.save(observer);
        let Fit { job, mut state, .. } = self;
        if state.trainer.batches() == 0 {
            return Err(Error::Stopped("a batch was learned from"));
        }
        // Whoever broke off an evaluation does not want to wait for another one.
        let wanted = !state.broken_off || state.best.is_none();
        if wanted && state.progress.validated != Some(state.trainer.batches()) {
            // What nothing stops comes to the end.
            let _ = state.evaluate(&job, &mut unheeded(observer))?;
        }
        let steps = state.trainer.batches();
        if state.best.as_ref().is_some_and(|best| best.weights.is_some()) {
            state.keep_best(&job);
        }
        let Some(Best { evaluation: Evaluation { step: best_step, report, .. }, steps: best_steps, weights }) =
            state.best
        else {
            unreachable!("the first evaluation is the best so far");
        };
        let mut learned = match weights {
            Some(weights) => state.trainer.into_learned_with(weights),
            None => state.trainer.into_learned(),
        };
        let mut kept = vec![best_step; job.features.schema().tasks.len()];
        for (family, best) in job.families.iter().zip(&best_steps) {
            family.tasks.iter().for_each(|task| kept[*task] = best.step);
        }
        let shrunk = shrink(&job, &mut learned, observer)?;
        let shared = share(&job, &mut learned, observer)?;
        // Shrunk, or put together of several networks, it is one that nobody has looked at.
        let report = match shrunk || shared || kept.iter().any(|step| *step != best_step) {
            true => job.look_again(learned.passes(), observer)?,
            false => report,
        };
        for message in outcome::warnings(&report) {
            observer(&Event::Warning { message });
        }
        observer(&Event::Stopped { reason, best_step, kept });
        let scorer = Scorer::new(job.config.spec(), job.features.clone(), learned);
        let (scorer, report) = calibrate(&job, scorer, report, observer)?;
        Ok(Trained { scorer, best_step, steps, reason, report })
    }

    /// Finds the tasks' masks, of a model that has them to be found.
    pub(super) fn find_masks(&mut self, observer: &mut Observer<'_>) -> Result<ControlFlow<()>> {
        let Fit { job, state, store } = self;
        while let Some(search) = &state.search {
            if search.is_done() {
                state.end_search(job)?;
            } else if state.try_mask(job, store, observer)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Epoch after epoch, until there is a reason to end.
    fn epochs(&mut self, observer: &mut Observer<'_>) -> Result<Reason> {
        let Fit { job, state, store } = self;
        let config = &job.config.train;
        loop {
            if let Some(reason) = state.evaluate_if_due(job, observer)? {
                return Ok(reason);
            }
            let from = match state.cursor.clone() {
                Some(cursor) => cursor,
                None if state.progress.epoch >= config.epochs => return Ok(Reason::Epochs),
                None => {
                    state.progress.epoch += 1;
                    state.cursor.insert(Cursor::default()).clone()
                }
            };
            let (epoch, mut reason) = (state.progress.epoch, None);
            let whole = job.train.epoch(config, &job.mix, epoch, &from, &mut |batch, after| {
                let next = state.learn(job, batch, after, observer)?;
                reason = match next {
                    Next::Stop => Some(Reason::Asked),
                    Next::Checkpoint => {
                        save(store, state, observer);
                        state.evaluate_if_due(job, observer)?
                    }
                    Next::GoOn => state.evaluate_if_due(job, observer)?,
                };
                Ok(if reason.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            if whole {
                state.cursor = None;
                let seen = state.progress.validated == Some(state.trainer.batches());
                state.progress.due = config.eval_every == 0 && !seen;
            }
            if let Some(reason) = reason {
                return Ok(reason);
            }
        }
    }

    fn save(&mut self, observer: &mut Observer<'_>) {
        save(&self.store, &mut self.state, observer);
    }
}
