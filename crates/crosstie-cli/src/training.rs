//! One training and the run directory it leaves: what `train` and `demo` do.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use crosstie::artifact;
use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::durable::write_file;
use crosstie::feature::{Purpose, check, check_training};
use crosstie::metric::{FigureName, Report};
use crosstie::schema::Schema;
use crosstie::scorer::Scorer;
use crosstie::train::{Event, Next, Reason, train};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::environment::Environment;
use crate::run::{Run, write_json};
use crate::session::Session;
use crate::{interrupt, message, table};

/// The files of a config, opened: what is wrong with them is told before a run
/// directory is made.
pub struct Data {
    schema: Schema,
    train: Source,
    valid: Source,
    test: Option<Source>,
}

impl Data {
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub fn open(config: &Config) -> Result<Data> {
        let schema = Schema::read(config.data.schema())?;
        let labelled = |files: &[String]| -> Result<Source> {
            let source = Source::open(files)?;
            check(&schema, &source, Purpose::Evaluation)?;
            Ok(source)
        };
        let train = Source::open(&config.data.train)?;
        check_training(&schema, &train)?;
        let valid = labelled(&config.data.valid)?;
        let test = match &config.data.test[..] {
            [] => None,
            test => Some(labelled(test)?),
        };
        Ok(Data { schema, train, valid, test })
    }
}

/// What a training reached.
pub struct Finished {
    pub scorer: Scorer,
    pub report: Report,
    /// The files that the report speaks of: `test` or `validation`.
    pub on: &'static str,
}

/// Trains and writes the run directory. After Ctrl-C, what was reached is
/// evaluated and saved as if training had ended by itself.
pub fn run(session: &Session, config: &Config, data: &Data, run: &Run) -> Result<Finished> {
    session.log_to(&run.log())?;
    write_file(&run.config(), config.to_toml())?;
    let mut environment = Environment::at_start(config.train.seed, config.train.threads);
    run.write_environment(&environment)?;

    let start = SystemTime::now();
    let mut story = Story::new(session, config, data, run)?;
    let stop = interrupt::stop();
    let mut observer = |event: &Event| {
        story.tell(event);
        if stop.load(Ordering::Relaxed) { Next::Stop } else { Next::GoOn }
    };
    let trained = train(config, &data.schema, &data.train, &data.valid, &mut observer);
    let history = story.end();
    let trained = trained?;

    artifact::save(&trained.scorer, &data.valid, &run.artifact())?;
    let (report, on) = match &data.test {
        Some(test) => {
            let bar = session.spinner("evaluating on the test files");
            let report = trained.scorer.evaluate(test);
            let report = report.with_context(|| format!("the model is saved in {}", run.artifact().display()))?;
            bar.finish_and_clear();
            (report, "test")
        }
        None => (trained.report, "validation"),
    };
    write_json(&run.metrics(), &report)?;
    let diagnosis = trained.scorer.diagnose(data.test.as_ref().unwrap_or(&data.valid))?;
    if !diagnosis.is_empty() {
        write_json(&run.diagnostics(), &diagnosis)?;
    }
    environment.ended = Some(message::now());
    environment.reason = Some(reason(trained.reason).into());
    run.write_environment(&environment)?;
    tracing::info!("{} steps in {}: {}", table::count(trained.steps), message::since(start), run.path().display());
    session.log_no_more();
    // Told last: the model is worth more than its history.
    history?;
    Ok(Finished { scorer: trained.scorer, report, on })
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Epochs => "all epochs are done",
        Reason::Patience => "the monitored figure improves no more",
        Reason::Asked => "stopped by Ctrl-C",
    }
}

/// A line of `metrics.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    epoch: u64,
    step: u64,
    /// Since the start of the run.
    seconds: f64,
    monitor: &'a str,
    figure: Option<f64>,
    best: bool,
    /// Mean training loss per row since the last line.
    losses: BTreeMap<&'a str, f64>,
    /// Weight that balancing gave each task in the last step.
    weights: BTreeMap<&'a str, f64>,
    report: &'a Report,
}

/// A line of `masks.jsonl`.
#[derive(Serialize)]
struct Tried<'a> {
    task: &'a str,
    round: u64,
    /// Share of the connections.
    kept: f64,
    /// Since the start of the run.
    seconds: f64,
    monitor: &'a str,
    figure: Option<f64>,
    best: bool,
}

fn write_line(file: &mut File, line: &impl Serialize) -> std::io::Result<()> {
    writeln!(file, "{}", serde_json::to_string(line)?)
}

/// Tells a training's events: as messages, as a bar, in `metrics.jsonl` and in
/// `masks.jsonl`.
struct Story<'a> {
    session: &'a Session,
    monitor: &'a str,
    figure: FigureName,
    epochs: u64,
    tasks: Vec<&'a str>,
    history: File,
    /// Made with the first mask that is tried.
    mask_history: Option<File>,
    /// Whether masks are to be found first.
    masks: bool,
    start: Instant,
    bar: Option<ProgressBar>,
    /// Rows of an epoch, once known.
    epoch_rows: Option<u64>,
    epoch: u64,
    since: Instant,
    /// Whether it was said that training is asked to stop.
    stopping: bool,
    /// Whether it was said that the monitored figure is not defined.
    undefined: bool,
    /// What went wrong with the history, told at the end.
    failed: Option<std::io::Error>,
    run: &'a Run,
}

impl<'a> Story<'a> {
    fn new(session: &'a Session, config: &'a Config, data: &'a Data, run: &'a Run) -> Result<Story<'a>> {
        let tasks: Vec<&str> = data.schema.tasks.iter().map(|task| task.name.as_str()).collect();
        let history =
            File::create(run.history()).with_context(|| format!("cannot write {}", run.history().display()))?;
        Ok(Story {
            session,
            monitor: &config.train.monitor,
            figure: FigureName::parse(&config.train.monitor, tasks.iter().copied())?,
            epochs: config.train.epochs,
            tasks,
            history,
            mask_history: None,
            masks: config.model.model().lottery().is_some_and(|lottery| lottery.rounds > 0),
            start: Instant::now(),
            bar: Some(session.spinner("learning vocabularies and statistics")),
            epoch_rows: None,
            epoch: 0,
            since: Instant::now(),
            stopping: false,
            undefined: false,
            failed: None,
            run,
        })
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::Learned { rows, warnings } => {
                self.clear();
                self.epoch_rows = Some(*rows);
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!(rows, "{} training rows", table::count(*rows));
            }
            Event::Started { parameters, table_rows, table_weights } => {
                self.failed = self.failed.take().or(self.run.take_place().err());
                let [dense, rows, weights] =
                    [*parameters, *table_rows, *table_weights].map(|number| table::count(number as u64));
                tracing::info!(
                    parameters,
                    table_rows,
                    table_weights,
                    "{dense} dense parameters; {weights} weights in {rows} embedding rows"
                );
                if self.masks {
                    self.bar = Some(self.session.spinner("looking for the tasks' masks"));
                }
                self.since = Instant::now();
            }
            Event::Tried { task, round, kept, monitor, figure, best } => {
                let tried = Tried {
                    task: self.tasks[*task],
                    round: *round,
                    kept: *kept,
                    seconds: self.start.elapsed().as_secs_f64(),
                    monitor,
                    figure: *figure,
                    best: *best,
                };
                self.tried(&tried);
            }
            Event::Learning { .. } | Event::Trial { .. } | Event::Scored { .. } => self.heed_interrupt(),
            Event::Saved { path } => tracing::debug!("{} is written", path.display()),
            Event::NotSaved { message } => tracing::warn!("no checkpoint was written: {message}"),
            Event::Step { epoch, rows, .. } => {
                if *epoch != self.epoch {
                    self.clear();
                    self.epoch = *epoch;
                    let what = format!("epoch {epoch} of at most {}", self.epochs);
                    self.bar = Some(self.session.bar(self.epoch_rows, what));
                }
                if let Some(bar) = &self.bar {
                    bar.inc(*rows as u64);
                }
                self.heed_interrupt();
            }
            Event::Evaluated { epoch, step, report, figure, best, losses, weights, rows } => {
                let by_task = |values: &[f64]| self.tasks.iter().copied().zip(values.iter().copied()).collect();
                let line = Line {
                    epoch: *epoch,
                    step: *step,
                    seconds: self.start.elapsed().as_secs_f64(),
                    monitor: self.monitor,
                    figure: *figure,
                    best: *best,
                    losses: by_task(losses),
                    weights: by_task(weights),
                    report,
                };
                self.evaluated(&line, *rows);
            }
            Event::Stopped { reason: why, best_step } => {
                self.clear();
                let step = table::count(*best_step);
                tracing::info!(best_step, "{}; the weights of step {step} are kept", reason(*why));
            }
        }
    }

    /// Says once that Ctrl-C was heard.
    fn heed_interrupt(&mut self) {
        if interrupt::stop().load(Ordering::Relaxed) && !self.stopping {
            self.stopping = true;
            tracing::warn!("stopping with what was reached; Ctrl-C once more ends at once");
        }
    }

    fn tried(&mut self, tried: &Tried<'_>) {
        let Tried { task, round, kept, monitor, figure, best, .. } = *tried;
        tracing::info!(
            task,
            round,
            kept,
            figure,
            best,
            "{task}, round {round}: {} of the connections, {monitor} {}{}",
            table::percent(Some(kept)),
            table::figure(figure),
            if best { ", the best so far" } else { "" }
        );
        let file = match &mut self.mask_history {
            Some(file) => Ok(file),
            none => File::create(self.run.masks()).map(|file| none.insert(file)),
        };
        let written = file.and_then(|file| write_line(file, tried));
        self.failed = self.failed.take().or(written.err());
        self.since = Instant::now();
        self.heed_interrupt();
    }

    fn evaluated(&mut self, line: &Line<'_>, rows: u64) {
        let Line { epoch, step, figure, best, report, .. } = *line;
        let speed = (rows as f64 / self.since.elapsed().as_secs_f64()) as u64;
        let tasks: Vec<String> = self
            .tasks
            .iter()
            .map(|task| {
                format!("{task} {}", table::figure(self.figure.of_task(task, self.figure.meaning()).of(report)))
            })
            .collect();
        tracing::info!(
            epoch,
            step,
            figure,
            best,
            "epoch {epoch}, step {}: {} {}{} ({}), {} rows/s",
            table::count(step),
            self.monitor,
            table::figure(figure),
            if best { ", the best so far" } else { "" },
            tasks.join(", "),
            table::count(speed)
        );
        if figure.is_none() && !self.undefined {
            self.undefined = true;
            tracing::warn!(
                "{} is not defined on the validation files: a class is missing in them; the latest weights are kept, \
                 and training goes on to its last epoch",
                self.monitor
            );
        }
        let written = write_line(&mut self.history, line);
        self.failed = self.failed.take().or(written.err());
        self.since = Instant::now();
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn end(mut self) -> Result<()> {
        self.clear();
        match self.failed {
            Some(error) => Err(error).with_context(|| format!("cannot write {}", self.run.history().display())),
            None => Ok(()),
        }
    }
}
