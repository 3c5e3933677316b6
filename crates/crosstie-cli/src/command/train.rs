//! `crosstie train`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use crosstie::config::Config;
use crosstie::train;

use crate::run::Run;
use crate::session::Session;
use crate::{interrupt, output, table, training};

/// Train a model as a config says, and write a run directory
///
/// The run directory holds config.toml (every key), metrics.jsonl (one line
/// per evaluation), metrics.json (the test files' figures, else the validation
/// files'), env.json (versions, machine, seed), train.log and artifact/; of a
/// model that looks for masks also masks.jsonl (one line per mask tried).
///
/// Ctrl-C ends the training with what was reached: the best state is evaluated
/// and saved as always, and the exit code is 130, so that a script does not
/// take a stopped training for a finished one. A second Ctrl-C ends at once.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie train examples/kuairand-mmoe.toml\n  \
                        crosstie train ads.toml --set model.name=ple --set train.epochs=3 --out runs/ads-ple\n  \
                        crosstie train ads.toml --print-config")]
pub struct Train {
    /// The config: a TOML file with at least [data] dir and [model] name
    #[arg(value_name = "CONFIG.toml")]
    pub config: PathBuf,
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
    /// Print the config with every default, and train nothing
    #[arg(long)]
    pub print_config: bool,
}

impl Train {
    pub fn execute(&self, session: &Session) -> Result<()> {
        let config = Config::read(&self.config, &self.set)?;
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if self.print_config {
            return output::print(config.to_toml().trim_end());
        }
        interrupt::listen()?;
        let data = training::Data::open(&config)?;
        train::check(&config, data.schema())?;
        let run = Run::create(self.out.as_deref(), &self.config, config.model.name(), self.overwrite)?;
        let finished = training::run(session, &config, &data, &run).inspect_err(|_| {
            if run.replaces() {
                tracing::warn!("the run that was in {} is left as it was", run.path().display());
            }
        })?;
        output::print(format!("On the {} files:", finished.on))?;
        output::print(table::report(&finished.report))
    }
}
