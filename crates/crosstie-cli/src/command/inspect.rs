//! `crosstie inspect`.

mod artifact;
mod data;
mod masks;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::session::Session;

/// Show what is in a data file, a run or an artifact
///
/// Of data: rows, columns, distinct and missing values and, with a schema, how
/// often each action happened on its own sample space, by scenario. Of a run or
/// an artifact: the model, its features, vocabularies and tensors, and what
/// the tasks share where each has a mask.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie inspect data/synth/train.parquet\n  \
                        crosstie inspect 'logs/day-*.csv.gz' --schema schema.toml\n  \
                        crosstie inspect runs/demo/mmoe --graph")]
pub struct Inspect {
    /// A data file, a glob, a run or an artifact
    pub path: PathBuf,
    /// The schema of a data file [default: schema.toml beside it, if there is one]
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Print the model's graph as Mermaid, and nothing else
    #[arg(long)]
    pub graph: bool,
}

impl Inspect {
    pub fn execute(&self, session: &Session) -> Result<()> {
        if self.path.is_dir() {
            artifact::inspect(&self.path, self.graph)
        } else if self.graph {
            bail!("{} is no run or artifact: only these have a graph", self.path.display());
        } else {
            data::inspect(session, &self.path, self.schema.as_deref())
        }
    }
}
