//! The loop of a training, as a value with a position.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::best_step::{self, Family};
use super::calibrate::calibrate;
use super::checkpoint::{Checkpoint, Identity, Store};
use super::influence;
use super::loader::{Cursor, Encoder, Loader};
use super::mix::Mix;
use super::search::Search;
use super::share::share;
use super::shrink::shrink;
use super::start;
use super::trainer::{Taught, Trainer, Weights};
use super::unknown::Unknowns;
use super::{Event, Next, Observer, Reason, Trained, monitor, outcome};
use crate::batch::Batch;
use crate::config::{Config, UnknownValues};
use crate::data::Source;
use crate::embedding::Table;
use crate::error::{Error, Result};
use crate::feature::{Features, TrainingFeatures, Unknown};
use crate::learned::Passes;
use crate::metric::{FigureName, Meaning, Report};
use crate::model::Network;
use crate::objective::{Objective, Space};
use crate::scorer::Scorer;

/// A training over files. What it does next follows from its position alone,
/// which a [`Checkpoint`] holds.
pub struct Fit<'a> {
    pub(super) job: Job<'a>,
    pub(super) state: State,
    store: Option<Store>,
}

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

/// A quarter of an epoch, but no less than ten steps.
fn eval_steps(rows: u64, rows_of_step: usize) -> u64 {
    rows.div_ceil(rows_of_step as u64).div_ceil(4).max(10)
}

impl Job<'_> {
    pub fn better(&self, new: f64, old: f64) -> bool {
        if self.higher_is_better { new > old } else { new < old }
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
        let mut deaf = |event: &Event| {
            observer(event);
            Next::GoOn
        };
        Ok(self.evaluate(passes, &mut deaf)?.expect("nothing stops it"))
    }

    /// Tells, once the validation files were read, how they differ from the training
    /// rows.
    fn tell_drift(&self, observer: &mut Observer<'_>) {
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

    fn scenarios(&self) -> &[String] {
        &self.features.layout().scenarios
    }
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
            let mut deaf = |event: &Event| {
                observer(event);
                Next::GoOn
            };
            // Whoever lets nothing stop it comes to the end.
            let _ = state.evaluate(&job, &mut deaf)?;
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
                        save(store, job, state, observer);
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
        save(&mut self.store, &self.job, &mut self.state, observer);
    }
}

/// Writes a checkpoint, if there is a place for it. A training does not end for
/// want of one.
pub(super) fn save(store: &mut Option<Store>, job: &Job<'_>, state: &mut State, observer: &mut Observer<'_>) {
    let Some(store) = store else { return };
    let event = match store.save(job, state) {
        Ok(path) => Event::Saved { path },
        Err(error) => Event::NotSaved { message: error.to_string() },
    };
    state.trainer.prepare();
    observer(&event);
}

impl State {
    /// Learns from one batch, which ends at `after`.
    fn learn(&mut self, job: &Job<'_>, batch: &Batch, after: Cursor, observer: &mut Observer<'_>) -> Result<Next> {
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
    fn keep_best(&mut self, job: &Job<'_>) {
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
    fn evaluate_if_due(&mut self, job: &Job<'_>, observer: &mut Observer<'_>) -> Result<Option<Reason>> {
        if self.progress.due && self.evaluate(job, observer)?.is_break() {
            return Ok(Some(Reason::Asked));
        }
        let patience = job.config.train.patience.max(1);
        Ok((self.progress.bad >= patience).then_some(Reason::Patience))
    }

    /// Scores the validation files, unless the observer stops it.
    fn evaluate(&mut self, job: &Job<'_>, observer: &mut Observer<'_>) -> Result<ControlFlow<()>> {
        self.trainer.show_average();
        let reports = job.evaluate_all(self.trainer.learned().passes(), observer);
        self.trainer.show_average();
        let Some((report, shared)) = reports? else {
            self.broken_off = true;
            return Ok(ControlFlow::Break(()));
        };
        let (step, figure) = (self.trainer.batches(), job.monitor.of(&report));
        let objective = &self.trainer.learned().network().objective;
        let figures = best_step::figures(job, objective, &report, shared.as_ref());
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

/// Tells an observer of scored rows, and breaks off if it says stop.
fn stoppable<'o>(observer: &'o mut Observer<'_>) -> impl FnMut(u64) -> ControlFlow<()> + 'o {
    |rows| match observer(&Event::Scored { rows }) {
        Next::Stop => ControlFlow::Break(()),
        Next::GoOn | Next::Checkpoint => ControlFlow::Continue(()),
    }
}
