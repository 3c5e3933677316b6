//! `crosstie evaluate`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use crosstie::artifact;
use crosstie::data::Source;

use crate::run::{self, write_json};
use crate::session::Session;
use crate::{output, table};

/// Evaluate a trained model on its test files, or on other labelled files
///
/// Of every task the figures are told twice: given the parent action, on the
/// rows where that happened, and from the impression, on all rows.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie evaluate runs/demo/mmoe\n  \
                        crosstie evaluate runs/demo/mmoe/artifact --data new/*.parquet --json new.json")]
pub struct Evaluate {
    /// A run or an artifact
    #[arg(value_name = "RUN_OR_ARTIFACT")]
    pub path: PathBuf,
    /// Labelled files or globs [default: those of the model's config]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub data: Vec<String>,
    /// Write the figures, by scenario too, into this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Evaluate {
    pub fn execute(&self, session: &Session) -> Result<()> {
        let scorer = artifact::load(&run::artifact(&self.path)?)?;
        let data = &scorer.config().data;
        let files = match (self.data.is_empty(), data.test.is_empty()) {
            (false, _) => &self.data,
            (true, false) => &data.test,
            (true, true) => {
                tracing::warn!("the model's config names no test files; these are its validation files");
                &data.valid
            }
        };
        let source = Source::open(files)?;
        let bar = session.spinner("scoring");
        let report = scorer.evaluate(&source)?;
        bar.finish_and_clear();
        if let Some(path) = &self.json {
            write_json(path, &report)?;
        }
        output::print(format!("{} rows of {}:", table::count(report.rows), files.join(", ")))?;
        output::print(table::report(&report))?;
        if !report.scenarios.is_empty() {
            output::print(format!("\nAUC given the parent, by scenario:\n{}", table::scenarios(&report)))?;
        }
        Ok(())
    }
}
