//! `crosstie train`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use crosstie::config::Config;
use crosstie::data::{FILES, is_table};
use crosstie::proposal::Asked;
use crosstie::reference::{Reference, Subject};
use crosstie::schema::Schema;
use crosstie::train::{self, Checkpoint};

use super::init::{Init, Proposed};
use crate::run::Run;
use crate::session::Session;
use crate::training::Finished;
use crate::{calibration, interrupt, output, table, training};

/// Train a model as a config says, and write a run directory
///
/// The run directory holds config.toml (every key), metrics.jsonl (one line
/// per evaluation), metrics.json (the test files' figures, else the validation
/// files'), report.html (all of it to look at; its numbers are in report.json),
/// env.json (versions, machine, seed), train.log and artifact/; of a model that
/// looks for masks also masks.jsonl (one line per mask tried), and where
/// train.tensorboard is set tensorboard/ (event files).
///
/// Ctrl-C ends the training with what was reached: the best state is evaluated
/// and saved as always, and the exit code is 130, so that a script does not
/// take a stopped training for a finished one. A second Ctrl-C ends at once.
///
/// A training writes checkpoints into the run directory (train.checkpoint_every).
/// However it ended, --resume goes on from the last one to the same result, to the
/// bit, as if it had never been interrupted; with --set train.epochs or
/// train.patience a finished training goes on for longer. Settings, schema and data
/// must be those of before; what has changed is told.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie train examples/kuairand-mmoe.toml\n  \
                        crosstie train ads.toml --set model.name=ple --set train.epochs=3 --out runs/ads-ple\n  \
                        crosstie train log.csv --task click --task 'buy after click'\n  \
                        crosstie train ads.toml --print-config\n  \
                        crosstie train --resume runs/ads-mmoe\n  \
                        crosstie train --resume runs/ads-mmoe --set train.epochs=30")]
pub struct Train {
    /// The config: a TOML file with at least [data] dir and [model] name. Or a log, as
    /// `crosstie init` takes it, which then proposes the config
    #[arg(value_name = "CONFIG.toml", required_unless_present = "resume")]
    pub config: Option<PathBuf>,
    /// Of a log: an action to predict, as for `crosstie init`
    #[arg(long = "task", value_name = "TASK", conflicts_with = "resume")]
    pub tasks: Vec<Asked>,
    /// Go on with the training of this run directory
    #[arg(long, value_name = "RUN", conflicts_with_all = ["config", "out", "overwrite"])]
    pub resume: Option<PathBuf>,
    /// The run directory [default: runs/<config>-<model>, numbered if taken]
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Replace the run in the directory of --out, once the new one has begun
    /// well: its data were read, its network stands
    #[arg(long, requires = "out")]
    pub overwrite: bool,
    /// Set a key of the config, as in train.epochs=3; the order does not matter,
    /// and of one key the last counts. A new model.name leaves out the file's
    /// settings of the old one, a new data.dir its paths
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
    /// Print the config with every default and what each key means; nothing is trained or written
    #[arg(long)]
    pub print_config: bool,
}

impl Train {
    pub fn execute(&self, session: &Session) -> Result<()> {
        match (&self.config, &self.resume) {
            (Some(log), _) if is_table(log) => self.propose(session, log),
            (Some(config), _) if !self.tasks.is_empty() => {
                bail!(
                    "--task says what is to be predicted from a log; {} is a config, which has a schema",
                    config.display()
                )
            }
            (Some(path), _) => self.start(session, path, path),
            (None, Some(run)) => self.resume(session, run),
            (None, None) => bail!("name a config, or a run by --resume"),
        }
    }

    /// Proposes a config for a log, and trains.
    fn propose(&self, session: &Session, log: &Path) -> Result<()> {
        let init = Init { logs: vec![log.to_path_buf()], tasks: self.tasks.clone(), out: None, seed: 1 };
        let advice = |out: &Path| match out.join("config.toml") {
            config if config.exists() => format!("`crosstie train {}` trains by it", config.display()),
            _ => format!("`crosstie init {} --out DIR` proposes into another directory", log.display()),
        };
        let proposed = init.propose(session, advice)?;
        let config = self.try_settings(&proposed)?;
        if self.print_config {
            return print(&config);
        }
        self.out.iter().try_for_each(|out| Run::check(out, self.overwrite))?;
        let config = proposed.write(session)?;
        // The run is called after the log.
        let directory = config.parent().unwrap_or(&config);
        self.start(session, &config, &directory.with_extension("toml"))
    }

    /// The config that a training by a proposal has, of which nothing is written yet: a slip
    /// in a setting is to be told before.
    fn try_settings(&self, proposed: &Proposed) -> Result<Config> {
        let mut settings = self.set.clone();
        if settings.iter().all(|setting| !setting.trim_start().starts_with("data")) {
            // Where data.dir has test files they are named; here they are still to come.
            settings.push(format!("data.test={:?}", [proposed.out.join(FILES[2])]));
        }
        let config = Config::parse(&proposed.config, &settings)?;
        if config.data.schema() == proposed.out.join("schema.toml") {
            train::check(&config, &Schema::parse(&proposed.schema)?)?;
        }
        Ok(config)
    }

    fn start(&self, session: &Session, path: &Path, called: &Path) -> Result<()> {
        let Some(config) = self.read(path)? else { return Ok(()) };
        interrupt::listen()?;
        let data = training::Data::open(&config)?;
        train::check(&config, data.schema())?;
        let run = Run::create(self.out.as_deref(), called, config.model.name(), self.overwrite)?;
        let finished = training::run(session, &config, &data, &run, None).inspect_err(|_| {
            if run.replaces() {
                tracing::warn!("the run that was in {} is left as it was", run.path().display());
            }
        })?;
        tell(&finished)
    }

    fn resume(&self, session: &Session, directory: &Path) -> Result<()> {
        let run = Run::reopen(directory)?;
        let Some(config) = self.read(&run.config())? else { return Ok(()) };
        if self.set.is_empty() && run.environment()?.is_finished() {
            tracing::info!(
                "{} is finished; --set train.epochs=N or train.patience=N lets it go on for longer",
                directory.display()
            );
            return Ok(());
        }
        interrupt::listen()?;
        let (checkpoint, damaged) = Checkpoint::newest(&run.checkpoint())?;
        match (&checkpoint, damaged.is_empty()) {
            (Some(found), _) => damaged
                .iter()
                .for_each(|error| tracing::warn!("{error}: going on from the one before, {}", found.path().display())),
            (None, false) => {
                let said: Vec<String> = damaged.iter().map(ToString::to_string).collect();
                bail!("{} has no checkpoint that is whole: {}", directory.display(), said.join("; "));
            }
            (None, true) => tracing::warn!("{} has no checkpoint: starting from its beginning", directory.display()),
        }
        let data = training::Data::reopen(&config)?;
        train::check(&config, data.schema())?;
        tell(&training::run(session, &config, &data, &run, checkpoint)?)
    }

    /// The config with the settings of the command line; nothing if that was all
    /// that was asked for.
    fn read(&self, path: &Path) -> Result<Option<Config>> {
        let config = Config::read(path, &self.set)?;
        if self.print_config {
            print(&config)?;
            return Ok(None);
        }
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(Some(config))
    }
}

/// Prints a config with every default and what each key means.
fn print(config: &Config) -> Result<()> {
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    output::print(Reference::of(Subject::Config).explain(&config.to_toml()).trim_end())
}

fn tell(finished: &Finished) -> Result<()> {
    output::print(format!("On the {} files\n", finished.on))?;
    output::print(table::report(&finished.report))?;
    table::unidentified(&finished.scorer.network().objective).map_or(Ok(()), output::print)?;
    if let Some(changed) = calibration::before_and_after(&finished.report) {
        output::print(format!("\n{changed}"))?;
    }
    Ok(())
}
