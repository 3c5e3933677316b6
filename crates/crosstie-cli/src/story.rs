//! What a training tells while it is under way: messages, a bar, and the lines of
//! its history.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crosstie::config::{CheckpointEvery, Config};
use crosstie::durable::write_file;
use crosstie::metric::FigureName;
use crosstie::objective::LossWeights;
use crosstie::schema::Schema;
use crosstie::train::{At, Checkpoint, Evaluated, Event, Next, Reason};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::run::Run;
use crate::session::Session;
use crate::tensorboard::EventFile;
use crate::{environment, interrupt, message, table};

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

/// A file of JSON lines that a training adds to.
struct History {
    path: PathBuf,
    file: File,
    /// Lines that could not be written yet.
    unwritten: String,
}

impl History {
    /// A new file, or of one that is there the first `kept` lines: what follows
    /// them was told after the checkpoint that the training goes on from. A last line
    /// that a crash has torn is none.
    fn open(path: &Path, kept: u64) -> Result<History> {
        let cannot = || format!("cannot write {}", path.display());
        let text = match fs::read_to_string(path) {
            Err(error) if kept == 0 || error.kind() == ErrorKind::NotFound => String::new(),
            read => read.with_context(cannot)?,
        };
        let lines: Vec<&str> =
            text.split_inclusive('\n').filter(|line| line.ends_with('\n')).take(kept as usize).collect();
        if (lines.len() as u64) < kept {
            tracing::warn!("{} has {} lines, {kept} were told: the others are lost", path.display(), lines.len());
        }
        write_file(path, lines.concat())?;
        let file = File::options().append(true).open(path).with_context(cannot)?;
        Ok(History { path: path.to_path_buf(), file, unwritten: String::new() })
    }

    /// Adds a line, on the disk before a checkpoint says that it was told. One that cannot
    /// be written now is written with the next, or at the end: a disk may be full for a
    /// moment, and the file is to have no gap.
    fn add(&mut self, line: &str) {
        let waiting = !self.unwritten.is_empty();
        self.unwritten += line;
        self.unwritten.push('\n');
        if let Err(error) = self.write()
            && !waiting
        {
            tracing::warn!("{} cannot be written to: {error}; its lines are kept until it can", self.path.display());
        }
    }

    /// Writes what is not written yet, all of it or nothing.
    fn write(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(self.unwritten.as_bytes()).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.unwritten.clear(),
            // The next line would be glued to a part of this one.
            Err(_) => self.file.set_len(before)?,
        }
        written
    }
}

/// When the next checkpoint is due.
struct Due {
    every: CheckpointEvery,
    batches: u64,
    last: Instant,
}

impl Due {
    fn new(every: CheckpointEvery) -> Due {
        Due { every, batches: 0, last: Instant::now() }
    }

    /// Counts a batch; whether a checkpoint comes after it.
    fn after_batch(&mut self) -> bool {
        self.batches += 1;
        match self.every {
            CheckpointEvery::Never => false,
            CheckpointEvery::Steps(steps) => self.batches >= steps,
            CheckpointEvery::Seconds(seconds) => self.last.elapsed() >= Duration::from_secs(seconds),
        }
    }

    fn written(&mut self) {
        (self.batches, self.last) = (0, Instant::now());
    }
}

/// Tells a training's events: as messages, as a bar, in `metrics.jsonl`, in
/// `masks.jsonl` and to TensorBoard.
pub struct Story<'a> {
    session: &'a Session,
    monitor: &'a str,
    figure: FigureName,
    epochs: u64,
    tasks: Vec<&'a str>,
    history: History,
    /// Of a model whose masks are to be found first.
    masks: Option<History>,
    /// Where TensorBoard is told, too.
    events: Option<EventFile>,
    /// Whether the weights of the losses follow from the training rows.
    finds_weights: bool,
    due: Due,
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
    /// Of which step each task's weights are kept, once known.
    kept: Vec<u64>,
    /// What went wrong with the history, told at the end.
    failed: Option<(PathBuf, io::Error)>,
    run: &'a Run,
}

impl<'a> Story<'a> {
    /// Begins the story, or goes on with that of a checkpoint.
    pub fn new(
        session: &'a Session,
        config: &'a Config,
        schema: &'a Schema,
        run: &'a Run,
        from: Option<&Checkpoint>,
    ) -> Result<Story<'a>> {
        let tasks: Vec<&str> = schema.tasks.iter().map(|task| task.name.as_str()).collect();
        let finds_masks = config.model.model().lottery().is_some_and(|lottery| lottery.rounds > 0);
        let masks = finds_masks.then(|| History::open(&run.masks(), from.map_or(0, Checkpoint::tried)));
        let history = History::open(&run.history(), from.map_or(0, Checkpoint::evaluations))?;
        let events = config.train.tensorboard.then(|| EventFile::begin(&run.tensorboard(), config, &run.history()));
        Ok(Story {
            session,
            monitor: &config.train.monitor,
            figure: FigureName::parse(&config.train.monitor, tasks.iter().copied())?,
            epochs: config.train.epochs,
            tasks,
            history,
            masks: masks.transpose()?,
            events: events.transpose()?,
            finds_weights: config.objective.weights == LossWeights::Auto,
            due: Due::new(config.train.checkpoint_every),
            start: Instant::now(),
            bar: Some(session.spinner("learning vocabularies and statistics")),
            epoch_rows: None,
            epoch: 0,
            since: Instant::now(),
            stopping: false,
            undefined: false,
            kept: Vec::new(),
            failed: None,
            run,
        })
    }

    /// Tells an event, and says what is next.
    pub fn follow(&mut self, event: &Event) -> Next {
        self.tell(event);
        let batch = matches!(event, Event::Step { .. } | Event::Trial { .. });
        if interrupt::stop().load(Ordering::Relaxed) {
            Next::Stop
        } else if batch && self.due.after_batch() {
            Next::Checkpoint
        } else {
            Next::GoOn
        }
    }

    /// Keeps what went wrong first and with which file, to be told at the end.
    pub fn note(&mut self, file: PathBuf, done: io::Result<()>) {
        self.failed = self.failed.take().or(done.err().map(|error| (file, error)));
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
            Event::Started { parameters, table_rows, table_weights, loss_weights } => {
                let placed = self.run.take_place();
                self.note(self.run.path().to_path_buf(), placed);
                let [dense, rows, weights] =
                    [*parameters, *table_rows, *table_weights].map(|number| table::count(number as u64));
                tracing::info!(
                    parameters,
                    table_rows,
                    table_weights,
                    "{dense} dense parameters; {weights} weights in {rows} embedding rows"
                );
                if self.finds_weights {
                    let weights = self.tasks.iter().zip(loss_weights).map(|(task, weight)| format!("{task} {weight}"));
                    let told: Vec<String> = weights.collect();
                    tracing::info!("weights of the tasks' losses: {}", told.join(", "));
                }
                if self.masks.is_some() {
                    self.bar = Some(self.session.spinner("looking for the tasks' masks"));
                }
                (self.since, self.due.last) = (Instant::now(), Instant::now());
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
            Event::Warning { message } => tracing::warn!("{message}"),
            Event::Saved { path } => {
                tracing::debug!("{} is written", path.display());
                self.due.written();
            }
            Event::NotSaved { message } => {
                tracing::warn!("no checkpoint was written: {message}; training goes on");
                self.due.written();
            }
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
            Event::Evaluated { rows, .. } => {
                let at = At {
                    seconds: self.start.elapsed().as_secs_f64(),
                    time: message::seconds_since_1970(),
                    rows_per_second: *rows as f64 / self.since.elapsed().as_secs_f64(),
                };
                let tasks = self.tasks.clone();
                if let Some(line) = Evaluated::of(event, self.monitor, &tasks, at) {
                    self.evaluated(&line);
                }
            }
            Event::Calibrated { scenarios, warnings } => {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                let own = match scenarios {
                    0 => String::new(),
                    some => format!("; scenarios have {} maps of their own", table::count(*some as u64)),
                };
                // What has no map was told just before.
                match warnings.len() {
                    0 => tracing::info!(scenarios, "calibrated by the validation files{own}"),
                    all if all >= self.tasks.len() => {}
                    _ => tracing::info!(scenarios, "all else is calibrated by the validation files{own}"),
                }
            }
            Event::Shrunk { task, share, logloss } => {
                let amount = match *share {
                    0.0 => "nothing",
                    1.0 => "all",
                    _ => "half",
                };
                let losses = logloss.iter().map(|(share, loss)| format!("{share}: {}", table::figure(*loss)));
                let losses = losses.collect::<Vec<_>>().join(", ");
                tracing::info!(
                    task,
                    share,
                    "{task} takes {amount} of what other tasks give (log-loss by share {losses})"
                );
            }
            Event::Shared { task, share, logloss: [own, mixed, common] } => {
                let [own, mixed, common] = [own, mixed, common].map(|loss| table::figure(*loss));
                tracing::info!(
                    task,
                    share,
                    "{task} takes {share} of what all tasks learned together (log-loss without {own}, so {mixed}, \
                     of that alone {common})"
                );
            }
            Event::Stopped { reason: why, best_step, kept } => {
                self.clear();
                let steps = match kept.iter().all(|step| step == best_step) {
                    true => format!("the weights of step {} are kept", table::count(*best_step)),
                    false => {
                        let each =
                            self.tasks.iter().zip(kept).map(|(task, step)| format!("{task} {}", table::count(*step)));
                        format!(
                            "each task's weights are kept of its best step: {}",
                            each.collect::<Vec<_>>().join(", ")
                        )
                    }
                };
                tracing::info!(best_step, "{}; {steps}", reason(*why));
                self.kept.clone_from(kept);
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
        let mut told =
            vec![format!("{task}, round {round}:"), format!("{} of the connections,", table::percent(Some(kept)))];
        told.extend(reached(monitor, figure, best));
        let told = table::sentence(&told);
        tracing::info!(task, round, kept, figure, best, "{told}");
        match (serde_json::to_string(tried), &mut self.masks) {
            (Ok(line), Some(masks)) => masks.add(&line),
            (Ok(_), None) => {}
            (Err(error), _) => self.note(self.run.masks(), Err(error.into())),
        }
        self.since = Instant::now();
        self.heed_interrupt();
    }

    fn evaluated(&mut self, line: &Evaluated<'_>) {
        let Evaluated { epoch, step, figure, best, at: At { rows_per_second, .. }, .. } = *line;
        let mut told = vec![format!("epoch {epoch}, step {}:", table::count(step))];
        told.extend(reached(self.monitor, figure, best));
        // How fast it goes is told where there is room.
        let with_speed =
            table::sentence(&[&told[..], &[format!("({} rows/s)", table::count(rows_per_second as u64))]].concat());
        let told = if with_speed.contains('\n') { table::sentence(&told) } else { with_speed };
        tracing::info!(epoch, step, figure, best, "{told}\n{}", self.by_task(line));
        if figure.is_none() && !self.undefined {
            self.undefined = true;
            tracing::warn!(
                "{} is not defined on the validation files: a class is missing in them (rows of weight 0 do not \
                 count); the latest weights are kept, and training goes on to its last epoch",
                self.monitor
            );
        }
        match serde_json::to_string(line) {
            Ok(line) => {
                self.history.add(&line);
                let told = self.events.as_mut().map_or(Ok(()), |events| events.evaluated(&line));
                self.note(self.run.tensorboard(), told);
            }
            Err(error) => self.note(self.run.history(), Err(error.into())),
        }
        self.since = Instant::now();
    }

    /// A line per task: its loss in training, and its figures on the validation
    /// files, of which AUC and PCOC are always told.
    fn by_task(&self, line: &Evaluated<'_>) -> String {
        let figures = |task: &str| {
            let of_task = &line.report.tasks[task].get(self.figure.meaning());
            let mut figures =
                vec![("loss", line.losses.get(task).copied()), ("auc", of_task.auc), ("pcoc", of_task.pcoc)];
            let own = self.figure.of_task(task, self.figure.meaning());
            if figures.iter().all(|(name, _)| *name != own.name()) {
                figures.push((own.name(), own.of(&line.report)));
            }
            let told = figures.iter().map(|(name, value)| format!("{name} {:<6}", table::figure(*value)));
            told.collect::<Vec<_>>().join("  ").trim_end().to_string()
        };
        let longest = self.tasks.iter().map(|task| task.chars().count()).max().unwrap_or_default();
        let lines = self.tasks.iter().map(|task| table::labelled(task, longest, &figures(task)));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Of which step each task's weights are kept.
    pub fn kept(&self) -> Vec<u64> {
        self.kept.clone()
    }

    /// Ends the story, and says what of it could not be written. What is left is the
    /// file that is to hear the figures at the end, too.
    pub fn end(mut self) -> Result<Option<EventFile>> {
        self.clear();
        let (history, masks) = (self.history.write(), self.masks.as_mut().map_or(Ok(()), History::write));
        self.note(self.run.history(), history);
        self.note(self.run.masks(), masks);
        match self.failed {
            None => Ok(self.events),
            Some((file, error)) => Err(error).with_context(|| format!("{} is not whole", file.display())),
        }
    }
}

/// The monitored figure, in phrases.
fn reached(monitor: &str, figure: Option<f64>, best: bool) -> Vec<String> {
    let figure = format!("{monitor} {}", table::figure(figure));
    if best { vec![figure + ",", "the best so far".into()] } else { vec![figure] }
}

/// Why a training ended, in words.
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Epochs => "all epochs are done",
        Reason::Patience => "the monitored figure improves no more",
        Reason::Asked => environment::STOPPED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_next_is_whole() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("metrics.jsonl");
        fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"st").expect("written");
        // More were told than are whole.
        let mut history = History::open(&path, 3).expect("opened");
        history.add("{\"step\":3}");
        assert_eq!(fs::read_to_string(&path).expect("read"), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
    }

    /// A disk that is full for a moment is played by a file opened to be read alone.
    #[test]
    fn lines_that_could_not_be_written_follow_when_they_can() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("metrics.jsonl");
        let mut history = History::open(&path, 0).expect("opened");
        history.add("1");
        let whole = std::mem::replace(&mut history.file, File::open(&path).expect("opened"));
        history.add("2");
        history.add("3");
        assert!(history.write().is_err());
        history.file = whole;
        history.add("4");
        assert_eq!(fs::read_to_string(&path).expect("read"), "1\n2\n3\n4\n");
        assert!(history.write().is_ok());
    }
}
