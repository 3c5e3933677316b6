//! `env.json`: where, when and by what a run was made.

use std::process::Command;

use serde::{Deserialize, Serialize};

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
    /// When it went on from a checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Resumed>,
}

/// A training that was interrupted went on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// From the checkpoint of this step.
    pub step: u64,
    /// When, in UTC.
    pub at: String,
}

/// What is read of the environment of a run that goes on.
#[derive(Debug, Default, Deserialize)]
pub struct Before {
    crosstie: Option<String>,
    system: Option<String>,
    threads: Option<u64>,
    command: Option<Vec<String>>,
    started: Option<String>,
    ended: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    resumed: Vec<Resumed>,
}

impl Before {
    /// What of it a report tells: name and text.
    pub fn facts(&self) -> Vec<(String, String)> {
        let threads = self.threads.map(|threads| format!(", {threads} threads")).unwrap_or_default();
        let facts = [
            ("started", self.started.clone()),
            ("ended", self.ended.clone()),
            ("why it ended", self.reason.clone()),
            ("machine", self.system.as_ref().map(|system| format!("{system}{threads}"))),
            ("crosstie", self.crosstie.clone()),
            ("command", self.command.as_ref().map(|command| command.join(" "))),
        ];
        facts.into_iter().filter_map(|(name, text)| Some((name.to_string(), text?))).collect()
    }

    /// Whether the training came to its own end.
    pub fn is_finished(&self) -> bool {
        self.ended.is_some() && self.reason.as_deref() != Some(STOPPED)
    }
}

/// The reason of a training that somebody ended.
pub const STOPPED: &str = "stopped by Ctrl-C";

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
            resumed: Vec::new(),
        }
    }

    /// Goes on with what was before.
    pub fn go_on(&mut self, before: Before, step: u64) {
        self.resumed = before.resumed;
        self.resumed.push(Resumed { step, at: self.started.clone() });
        self.started = before.started.unwrap_or_else(|| self.started.clone());
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
