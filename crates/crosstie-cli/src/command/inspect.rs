//! `crosstie inspect`.

mod artifact;
mod data;
mod embeddings;
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
/// the tasks share where each has a mask; with --embeddings, how alike the
/// tables of its tasks are, or its and another's.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie inspect data/synth/train.parquet\n  \
                        crosstie inspect 'logs/day-*.csv.gz' --schema schema.toml\n  \
                        crosstie inspect runs/demo/mmoe --graph\n  \
                        crosstie inspect runs/click --embeddings --against runs/buy")]
pub struct Inspect {
    /// A data file, a glob, a run or an artifact
    pub path: PathBuf,
    /// The schema of a data file [default: schema.toml beside it, if there is one]
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Print the model's graph as Mermaid, and nothing else
    #[arg(long)]
    pub graph: bool,
    /// Compare embedding tables, and print nothing else: those that a model's
    /// tasks have each of their own, or with --against those of two models
    #[arg(long, conflicts_with = "graph")]
    pub embeddings: bool,
    /// The other run or artifact
    #[arg(long, value_name = "PATH", requires = "embeddings")]
    pub against: Option<PathBuf>,
    /// Compare so many values of a table, the most frequent ones; the time it
    /// takes grows with the square
    #[arg(long, value_name = "N", requires = "embeddings", default_value_t = 1000)]
    pub values: usize,
}

impl Inspect {
    pub fn execute(&self, session: &Session) -> Result<()> {
        if self.embeddings {
            embeddings::inspect(&self.path, self.against.as_deref(), self.values)
        } else if self.path.is_dir() {
            artifact::inspect(&self.path, self.graph)
        } else if self.graph {
            bail!("{} is no run or artifact: only these have a graph", self.path.display());
        } else {
            data::inspect(session, &self.path, self.schema.as_deref())
        }
    }
}
