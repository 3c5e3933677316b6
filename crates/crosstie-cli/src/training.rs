//! One training and the run directory it leaves: what `train` and `demo` do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use crosstie::artifact;
use crosstie::config::{CheckpointEvery, Config};
use crosstie::data::Source;
use crosstie::durable::write_file;
use crosstie::feature::{Purpose, check, check_training};
use crosstie::metric::Report;
use crosstie::report::{self, Settings};
use crosstie::schema::{FieldKind, Schema};
use crosstie::scorer::Scorer;
use crosstie::train::{Checkpoint, Checkpoints, Event, train_from};

use crate::environment::Environment;
use crate::run::{Run, write_json};
use crate::session::Session;
use crate::story::{Story, reason};
use crate::{calibration, findings, message, table};

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

    /// Those of a training that begins.
    pub fn open(config: &Config) -> Result<Data> {
        Data::opened(config, open)
    }

    /// Those of a training that goes on, which must be what they were.
    pub fn reopen(config: &Config) -> Result<Data> {
        Data::opened(config, |_, files| {
            Source::open(files).context("a training goes on with the files that it began with")
        })
    }

    fn opened(config: &Config, open: impl Fn(&str, &[String]) -> Result<Source>) -> Result<Data> {
        let schema = Schema::read(config.data.schema())?;
        let labelled = |key: &str, files: &[String]| -> Result<Source> {
            let source = open(key, files)?;
            check(&schema, &source, Purpose::Evaluation)?;
            Ok(source)
        };
        let train = open("train", &config.data.train)?;
        check_training(&schema, &train)?;
        for field in &schema.fields {
            if matches!(&field.kind, FieldKind::Rate(rate) if rate.is_of_its_own_name(&field.name)) {
                tracing::info!("field `{0}`: its rates are counted for the values of column `{0}`", field.name);
            }
        }
        let valid = labelled("valid", &config.data.valid)?;
        let test = match &config.data.test[..] {
            [] => None,
            test => Some(labelled("test", test)?),
        };
        Ok(Data { schema, train, valid, test })
    }

    /// Warns of test files that the training uses. Of validation files that are trained on
    /// training itself warns.
    fn warn_of_test_files(&self) {
        let Some(test) = &self.test else { return };
        if let Some(files) = test.shared(&self.train) {
            tracing::warn!(
                "{files} is among both the training files and the test files: figures on rows that were trained on \
                 promise too much"
            );
        }
        if let Some(files) = test.shared(&self.valid) {
            tracing::warn!(
                "{files} is among both the validation files and the test files: figures on rows that chose the step \
                 and the calibration promise a little too much"
            );
        }
    }
}

/// Opens the files of a key; where one is not there, but the same by another extension,
/// says so. `data.dir` stands for Parquet files.
fn open(key: &str, files: &[String]) -> Result<Source> {
    for path in files.iter().map(Path::new).filter(|path| !path.exists()) {
        let (Some(directory), Some(stem)) = (path.parent(), path.file_stem()) else { continue };
        if let Some(found) = beside(directory, &stem.to_string_lossy()) {
            let (path, found) = (path.display(), found.display());
            let advice = match files {
                [_] => format!("set data.{key} = \"{found}\""),
                _ => format!("name that in data.{key}"),
            };
            bail!("there is no {path}, which data.{key} names or data.dir stands for, but {found}: {advice}");
        }
    }
    Ok(Source::open(files)?)
}

/// A file of this name with another extension.
fn beside(directory: &Path, stem: &str) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries.into_iter().find(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        path.is_file() && name.is_some_and(|name| name.starts_with(&format!("{stem}.")))
    })
}

/// What a training reached.
pub struct Finished {
    pub scorer: Scorer,
    pub report: Report,
    /// The files that the report speaks of: `test` or `validation`.
    pub on: &'static str,
}

/// Trains and writes the run directory, from the start or from a checkpoint of
/// the same run. After Ctrl-C, what was reached is evaluated and saved as if
/// training had ended by itself.
pub fn run(session: &Session, config: &Config, data: &Data, run: &Run, from: Option<Checkpoint>) -> Result<Finished> {
    session.log_to(&run.log(), from.is_some())?;
    let mut environment = Environment::at_start(config.train.seed, config.train.threads);
    match &from {
        None => write_file(&run.config(), config.to_toml())?,
        Some(checkpoint) => {
            environment.go_on(run.environment()?, checkpoint.step());
            tracing::info!("going on from step {}", table::count(checkpoint.step()));
        }
    }
    run.write_environment(&environment)?;

    data.warn_of_test_files();
    let start = SystemTime::now();
    let goes_on = from.is_some();
    let mut story = Story::new(session, config, &data.schema, run, from.as_ref())?;
    let mut observer = |event: &Event| {
        let next = story.follow(event);
        // By now it is known that these settings change nothing that was computed before.
        if goes_on && matches!(event, Event::Started { .. }) {
            story.note(run.config(), write_file(&run.config(), config.to_toml()).map_err(std::io::Error::other));
        }
        next
    };
    let kept = (config.train.checkpoint_every != CheckpointEvery::Never).then(|| run.checkpoint());
    let checkpoints = Checkpoints { directory: kept, resume: from };
    let trained = train_from(config, &data.schema, &data.train, &data.valid, checkpoints, &mut observer);
    let kept = story.kept();
    let history = story.end();
    let trained = trained?;

    artifact::save(&trained.scorer, &data.valid, &run.artifact()).with_context(|| {
        format!(
            "the model is trained but could not be saved; once it can be, `crosstie train --resume {}` goes on from the \
             last checkpoint, or without one from the beginning",
            run.path().display()
        )
    })?;
    let (source, on) = data.test.as_ref().map_or((&data.valid, "validation"), |test| (test, "test"));
    let bar = session.spinner(format!("evaluating on the {on} files"));
    let settings = if config.train.report { Settings::default() } else { Settings::FIGURES };
    let gathered = report::gather(&trained.scorer, source, &source.called(&format!("the {on} files")), settings);
    let gathered = gathered
        .with_context(|| format!("the model is saved in {}, but could not be evaluated", run.artifact().display()))?;
    bar.finish_and_clear();
    if data.test.is_some() {
        // Of the validation files training itself has told it.
        gathered.seen.drift.iter().for_each(|sentence| tracing::warn!("{sentence}"));
    }
    write_json(&run.metrics(), &gathered.report)?;
    if !gathered.diagnosis.is_empty() {
        write_json(&run.diagnostics(), &gathered.diagnosis)?;
    }
    let warnings = calibration::warnings(&gathered.report, &trained.scorer, &format!("the {on} files"));
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    environment.ended = Some(message::now());
    environment.reason = Some(reason(trained.reason).into());
    run.write_environment(&environment)?;
    let report = gathered.report.clone();
    if config.train.report {
        let made = findings::gathered(run, &trained.scorer, config, gathered, on, Some(kept));
        match made.and_then(|report| findings::write(&report, run)) {
            Ok(()) => tracing::info!("a report to look at: {}", run.report().display()),
            // The model is worth more than its report.
            Err(error) => tracing::warn!("there is no report: {}", message::chain(&error)),
        }
    }
    tracing::info!("{} steps in {}: {}", table::count(trained.steps), message::since(start), run.path().display());
    session.log_no_more();
    // Told last: the model is worth more than its history.
    if let Some(mut events) = history? {
        events.ended(trained.steps, on, &report)?;
    }
    Ok(Finished { scorer: trained.scorer, report, on })
}
