//! `crosstie evaluate`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use crosstie::artifact;
use crosstie::config::Config;
use crosstie::data::Source;

use crate::files::Outputs;
use crate::run;
use crate::session::Session;
use crate::{calibration, message, output, table};

/// Evaluate a trained model on its test files, or on other labelled files
///
/// Of every task the figures are told twice: given the parent action, on the
/// rows where that happened, and from the impression, on all rows. Of a calibrated
/// model also what its network says by itself; and a warning tells where something is
/// predicted too often or too seldom by more than chance.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie evaluate runs/demo/mmoe\n  \
                        crosstie evaluate runs/demo/mmoe/artifact --data new/*.parquet --json new.json")]
pub struct Evaluate {
    /// A run or an artifact
    #[arg(value_name = "RUN_OR_ARTIFACT")]
    pub path: PathBuf,
    /// Labelled files or globs [default: those of the run's config]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub data: Vec<String>,
    /// Write the figures, by scenario too, into this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Tell by tenths of the rows what was predicted and what happened
    #[arg(long)]
    pub reliability: bool,
}

impl Evaluate {
    /// The files that the run's config names. An artifact alone knows of none.
    fn files_of_run(&self) -> Result<(Vec<String>, &'static str)> {
        let Some(config) = run::config(&self.path) else {
            bail!("{} is of no run: name the files by --data", self.path.display());
        };
        let data = Config::read(config, &[])?.data;
        if data.test.is_empty() {
            tracing::warn!("the run's config names no test files; these are its validation files");
            return Ok((data.valid, "the validation files"));
        }
        Ok((data.test, "the test files"))
    }

    pub fn execute(&self, session: &Session) -> Result<()> {
        let outputs = Outputs::of(&self.json)?;
        outputs.spare_run(&self.path)?;
        let scorer = artifact::load(&run::artifact(&self.path)?)?;
        let (named, on) = if self.data.is_empty() { self.files_of_run()? } else { (self.data.clone(), "these files") };
        let source = Source::open(&named)?;
        outputs.spare_files(&source)?;
        let bar = session.spinner("scoring");
        let (report, drift) = scorer.evaluate_and_compare(&source)?;
        bar.finish_and_clear();
        message::warn_of(drift.as_ref(), &source.called("these files"));
        if let Some(json) = &self.json {
            run::write_json(json, &report)?;
        }
        let what = format!("{} of {}", table::several(report.rows, "row", "rows"), named.join(", "));
        output::print(table::wrapped(&what, 0) + "\n")?;
        output::print(table::report(&report))?;
        table::unidentified(&scorer.network().objective).map_or(Ok(()), output::print)?;
        if let Some(changed) = calibration::before_and_after(&report) {
            output::print(format!("\n{changed}"))?;
        }
        if self.reliability {
            output::print(format!("\n{}", calibration::reliability(&report)))?;
        }
        if !report.scenarios.is_empty() {
            output::print(format!("\nAUC given the parent, by scenario:\n{}", table::scenarios(&report)))?;
        }
        calibration::warnings(&report, &scorer, on).iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(())
    }
}
