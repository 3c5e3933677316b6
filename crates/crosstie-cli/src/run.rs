//! The directory that one training leaves behind.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::environment::Environment;
use crate::files;

/// Where runs go that are given no place.
const RUNS: &str = "runs";

/// A run directory.
#[derive(Clone, Debug)]
pub struct Run {
    directory: PathBuf,
}

impl Run {
    /// Makes the directory: `out`, or a free one named after the config and
    /// the model. One that holds something is refused; with `overwrite` what a
    /// run left in it is removed first.
    pub fn create(out: Option<&Path>, config: &Path, model: &str, overwrite: bool) -> Result<Run> {
        let directory = match out {
            Some(out) => out.to_path_buf(),
            None => files::free(Path::new(RUNS).join(name(config, model)))?,
        };
        let run = Run { directory };
        if overwrite {
            run.clear()?;
        }
        files::make_empty(run.path(), "; --overwrite replaces the run in it, --out names another place")?;
        Ok(run)
    }

    /// The run in this directory, if one is there.
    pub fn find(directory: &Path) -> Option<Run> {
        let run = Run { directory: directory.to_path_buf() };
        // An artifact has a config, too, and a manifest besides.
        (run.config().is_file() && !directory.join("manifest.json").exists()).then_some(run)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The configuration with every key.
    pub fn config(&self) -> PathBuf {
        self.directory.join("config.toml")
    }

    /// One line of JSON per evaluation during training.
    pub fn history(&self) -> PathBuf {
        self.directory.join("metrics.jsonl")
    }

    /// One line of JSON per mask that a task was tried with, of models that look
    /// for masks.
    pub fn masks(&self) -> PathBuf {
        self.directory.join("masks.jsonl")
    }

    /// The figures of the finished model.
    pub fn metrics(&self) -> PathBuf {
        self.directory.join("metrics.json")
    }

    /// What the finished model shows of its inside.
    pub fn diagnostics(&self) -> PathBuf {
        self.directory.join("diagnostics.json")
    }

    /// The messages.
    pub fn log(&self) -> PathBuf {
        self.directory.join("train.log")
    }

    /// The finished model.
    pub fn artifact(&self) -> PathBuf {
        self.directory.join("artifact")
    }

    fn environment(&self) -> PathBuf {
        self.directory.join("env.json")
    }

    /// Notes where and when the run takes place.
    pub fn write_environment(&self, environment: &Environment) -> Result<()> {
        write_json(&self.environment(), environment)
    }

    /// Removes what a run writes, and nothing else.
    fn clear(&self) -> Result<()> {
        let done = |path: &Path, result: std::io::Result<()>| match result {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        };
        let histories = [self.history(), self.masks()];
        let files = [self.config(), self.metrics(), self.diagnostics(), self.environment(), self.log()];
        for file in histories.into_iter().chain(files) {
            done(&file, std::fs::remove_file(&file))?;
        }
        done(&self.artifact(), std::fs::remove_dir_all(self.artifact()))
    }
}

/// The config's name with the model's behind it, unless it says so already.
fn name(config: &Path, model: &str) -> String {
    let stem = config.file_stem().unwrap_or_default().to_string_lossy();
    if stem == model || stem.ends_with(&format!("-{model}")) { stem.into_owned() } else { format!("{stem}-{model}") }
}

/// The artifact that a path means: itself, or that of a run.
pub fn artifact(path: &Path) -> Result<PathBuf> {
    match Run::find(path) {
        Some(run) if run.artifact().is_dir() => Ok(run.artifact()),
        Some(_) => bail!("{} is a run without an artifact: its training did not end", path.display()),
        None if path.is_dir() => Ok(path.to_path_buf()),
        None => bail!("{} is no run and no artifact: there is no such directory", path.display()),
    }
}

/// Writes a JSON file, complete or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).with_context(|| format!("cannot write {}", path.display()))?;
    files::write(path, &(text + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_after_config_and_model_once() {
        assert_eq!(name(Path::new("examples/kuairand-mmoe.toml"), "mmoe"), "kuairand-mmoe");
        assert_eq!(name(Path::new("ads.toml"), "mmoe"), "ads-mmoe");
        assert_eq!(name(Path::new("mmoe.toml"), "mmoe"), "mmoe");
        assert_eq!(name(Path::new("my-ple.toml"), "mmoe"), "my-ple-mmoe");
    }

    #[test]
    fn overwriting_leaves_strange_files_alone() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let out = root.path().join("run");
        let create = |overwrite| Run::create(Some(&out), Path::new("a.toml"), "mmoe", overwrite);
        let run = create(false).expect("a new run");
        std::fs::create_dir(run.artifact()).expect("made");
        std::fs::write(run.config(), "").expect("written");
        assert!(create(false).is_err());
        assert!(create(true).is_ok());
        std::fs::write(out.join("thesis.txt"), "precious").expect("written");
        assert!(create(true).is_err());
        assert!(out.join("thesis.txt").exists());
    }
}
