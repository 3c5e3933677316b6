//! `crosstie inspect`.

mod against;
mod artifact;
mod data;
mod embeddings;
mod masks;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::session::Session;

/// Show what is in data files, a run or an artifact
///
/// Of data: rows, columns, distinct and missing values and, with a schema, how
/// often each action happened on its own sample space, by scenario; with --against,
/// what differs from the rows that a model was trained on. Of a run or
/// an artifact: the model, its features, vocabularies and tensors, and what
/// the tasks share where each has a mask; with --embeddings, how alike the
/// tables of its tasks are, or its and another's.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie inspect data/synth/train.parquet\n  \
                        crosstie inspect 'logs/day-*.csv.gz' --schema schema.toml\n  \
                        crosstie inspect --against runs/demo/mmoe today/*.parquet\n  \
                        crosstie inspect runs/demo/mmoe --graph\n  \
                        crosstie inspect runs/click --embeddings --against runs/buy")]
pub struct Inspect {
    /// Data files or globs, or a run or an artifact
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// The schema of data files [default: schema.toml beside them, if there is one]
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    pub schema: Option<PathBuf>,
    /// Print the model's graph as Mermaid, and nothing else
    #[arg(long, conflicts_with = "against")]
    pub graph: bool,
    /// Compare embedding tables, and print nothing else: those that a model's
    /// tasks have each of their own, or with --against those of two models
    #[arg(long, conflicts_with = "graph")]
    pub embeddings: bool,
    /// Compare data files with the training rows of this run or artifact; with
    /// --embeddings, the tables of two models
    #[arg(long, value_name = "RUN_OR_ARTIFACT")]
    pub against: Option<PathBuf>,
    /// With --against, show all that is compared, not only what matters and the first lines
    /// of the rest
    #[arg(long, requires = "against", conflicts_with = "embeddings")]
    pub all: bool,
    /// Compare so many values of a table, the most frequent ones; the time it
    /// takes grows with the square
    #[arg(long, value_name = "N", requires = "embeddings", default_value_t = 1000)]
    pub values: usize,
}

impl Inspect {
    pub fn execute(&self, session: &Session) -> Result<()> {
        let directory = self.paths.iter().find(|path| path.is_dir());
        match (&self.paths[..], &self.against) {
            ([path], against) if self.embeddings => embeddings::inspect(path, against.as_deref(), self.values),
            (paths, Some(against)) if !self.embeddings => match directory {
                Some(path) => bail!(
                    "{} is no data file; --embeddings compares the tables of two models, --against alone data files \
                     with the rows that a model was trained on",
                    path.display()
                ),
                None => against::inspect(session, paths, against, self.all),
            },
            ([path], None) if path.is_dir() => artifact::inspect(path, self.graph),
            (paths, None) if directory.is_none() && !self.graph && !self.embeddings => {
                data::inspect(session, paths, self.schema.as_deref())
            }
            ([path], _) => bail!("{} is no run or artifact: only these have a graph", path.display()),
            _ => bail!("a run or an artifact is told alone: name one path"),
        }
    }
}
