//! `env.json`: where, when and by what a run was made.

use std::process::Command;

use serde::Serialize;

use crate::message::now;

/// What may explain later why two runs differ.
#[derive(Debug, Serialize)]
pub struct Environment {
    /// Version of crosstie.
    pub crosstie: &'static str,
    /// Commit of the git checkout that the command was given in, if any, with
    /// `-dirty` behind it where files differ from the commit.
    pub git_commit: Option<String>,
    /// Operating system and processor family.
    pub system: String,
    /// Logical processors that the process may use.
    pub processors: usize,
    /// Threads used.
    pub threads: usize,
    /// Where all randomness comes from.
    pub seed: u64,
    /// The command as given.
    pub command: Vec<String>,
    /// Start, in UTC.
    pub started: String,
    /// End, in UTC; null while the run is under way.
    pub ended: Option<String>,
    /// Why the training ended.
    pub reason: Option<String>,
}

impl Environment {
    /// The environment at the start of a run.
    pub fn at_start(seed: u64, threads: usize) -> Environment {
        Environment {
            crosstie: env!("CARGO_PKG_VERSION"),
            git_commit: git_commit(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processors: processors(),
            threads: if threads == 0 { processors() } else { threads },
            seed,
            command: std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect(),
            started: now(),
            ended: None,
            reason: None,
        }
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn git_commit() -> Option<String> {
    let output =
        Command::new("git").args(["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}
