//! The directory that one training leaves behind.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use crosstie::artifact::{self, OF_RUN as ARTIFACT};
use crosstie::durable::{self, write_file};
use serde::Serialize;

use crate::environment::{Before, Environment};
use crate::files;

/// Where runs go that are given no place.
const RUNS: &str = "runs";

const CONFIG: &str = "config.toml";
const HISTORY: &str = "metrics.jsonl";
const MASKS: &str = "masks.jsonl";
const METRICS: &str = "metrics.json";
const DIAGNOSTICS: &str = "diagnostics.json";
const ENVIRONMENT: &str = "env.json";
const REPORT: &str = "report.html";
const FINDINGS: &str = "report.json";
const LOG: &str = "train.log";
const TENSORBOARD: &str = "tensorboard";
const CHECKPOINT: &str = "checkpoint";

/// All that a run may leave.
const FILES: [&str; 12] = [
    CONFIG,
    HISTORY,
    MASKS,
    METRICS,
    DIAGNOSTICS,
    REPORT,
    FINDINGS,
    ENVIRONMENT,
    LOG,
    TENSORBOARD,
    ARTIFACT,
    CHECKPOINT,
];

/// Held by the process that writes a run; holds its number.
const LOCK: &str = ".lock";

/// Where a run that replaces another one is until it has begun well.
const ASIDE: &str = ".new";

/// A run directory. Nobody else writes into it as long as this is there.
#[derive(Debug)]
pub struct Run {
    directory: PathBuf,
    /// Whether the old run still has the directory, and this one's files are
    /// in [`ASIDE`].
    aside: AtomicBool,
    _lock: Option<File>,
}

impl Run {
    /// Makes the directory: `out`, or a free one named after the config and
    /// the model. One that holds something is refused; with `overwrite` a run in
    /// it, and nothing else, is replaced as soon as [`Run::take_place`] says so.
    pub fn create(out: Option<&Path>, config: &Path, model: &str, overwrite: bool) -> Result<Run> {
        let directory = match out {
            Some(out) => {
                fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
                // A directory that is refused is left as it is, without a lock in it.
                holds_a_run(out, overwrite)?;
                out.to_path_buf()
            }
            None => files::claim(&Path::new(RUNS).join(name(config, model)))?,
        };
        let lock = lock(&directory)?;
        // Another process may have been here in the meantime.
        let replaces = holds_a_run(&directory, overwrite)?;
        let aside = directory.join(ASIDE);
        let made = remove(&aside).and_then(|()| if replaces { fs::create_dir(&aside) } else { Ok(()) });
        made.with_context(|| format!("cannot make {}", aside.display()))?;
        Ok(Run { directory, aside: replaces.into(), _lock: lock })
    }

    /// Refuses a directory that [`Run::create`] would refuse, for those who have work to do before.
    pub fn check(out: &Path, overwrite: bool) -> Result<()> {
        if out.exists() { holds_a_run(out, overwrite).map(drop) } else { Ok(()) }
    }

    /// Opens the run that is in a directory, to go on with it.
    pub fn reopen(directory: &Path) -> Result<Run> {
        if !Run::is_in(directory) {
            bail!("{} is no run: there is no {CONFIG} in it", directory.display());
        }
        let lock = lock(directory)?;
        durable::recover(&directory.join(ARTIFACT))?;
        Ok(Run { directory: directory.to_path_buf(), aside: false.into(), _lock: lock })
    }

    /// A run whose files are read and not written.
    pub fn look_at(directory: &Path) -> Run {
        Run { directory: directory.to_path_buf(), aside: false.into(), _lock: None }
    }

    /// Removes the old run and takes its place.
    pub fn take_place(&self) -> io::Result<()> {
        if !self.replaces() {
            return Ok(());
        }
        let (old, new) = (|name: &str| self.directory.join(name), |name: &str| self.directory.join(ASIDE).join(name));
        // The model goes first, at once: a config never lies beside the model of another.
        if old(ARTIFACT).exists() {
            fs::rename(old(ARTIFACT), new(".replaced"))?;
        }
        for name in FILES {
            // A directory is replaced by none that holds something.
            if !new(name).exists() || old(name).is_dir() {
                remove(&old(name))?;
            }
            if new(name).exists() {
                fs::rename(new(name), old(name))?;
            }
        }
        self.aside.store(false, Ordering::Relaxed);
        remove(&self.directory.join(ASIDE))
    }

    /// Whether another run has the directory yet.
    pub fn replaces(&self) -> bool {
        self.aside.load(Ordering::Relaxed)
    }

    /// Whether there is a run in this directory.
    fn is_in(directory: &Path) -> bool {
        // An artifact has a config, too, and a manifest besides.
        directory.join(CONFIG).is_file() && !artifact::is_artifact(directory)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    fn file(&self, name: &str) -> PathBuf {
        if self.replaces() { self.directory.join(ASIDE).join(name) } else { self.directory.join(name) }
    }

    /// The configuration with every key.
    pub fn config(&self) -> PathBuf {
        self.file(CONFIG)
    }

    /// One line of JSON per evaluation during training.
    pub fn history(&self) -> PathBuf {
        self.file(HISTORY)
    }

    /// One line of JSON per mask that a task was tried with, of models that look
    /// for masks.
    pub fn masks(&self) -> PathBuf {
        self.file(MASKS)
    }

    /// The figures of the finished model.
    pub fn metrics(&self) -> PathBuf {
        self.file(METRICS)
    }

    /// What the finished model shows of its inside.
    pub fn diagnostics(&self) -> PathBuf {
        self.file(DIAGNOSTICS)
    }

    /// A page to look at.
    pub fn report(&self) -> PathBuf {
        self.file(REPORT)
    }

    /// The numbers of that page.
    pub fn findings(&self) -> PathBuf {
        self.file(FINDINGS)
    }

    /// The messages.
    pub fn log(&self) -> PathBuf {
        self.file(LOG)
    }

    /// Event files for TensorBoard.
    pub fn tensorboard(&self) -> PathBuf {
        self.file(TENSORBOARD)
    }

    /// The finished model.
    pub fn artifact(&self) -> PathBuf {
        self.file(ARTIFACT)
    }

    /// The checkpoints that the training can go on from. An old run's are gone
    /// before the first one is written.
    pub fn checkpoint(&self) -> PathBuf {
        self.directory.join(CHECKPOINT)
    }

    /// What is known of where and when the run took place so far.
    pub fn environment(&self) -> Result<Before> {
        let path = self.file(ENVIRONMENT);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Before::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Notes where and when the run takes place.
    pub fn write_environment(&self, environment: &Environment) -> Result<()> {
        write_json(&self.file(ENVIRONMENT), environment)
    }
}

impl Drop for Run {
    /// A run that has not begun well leaves the old one as it was.
    fn drop(&mut self) {
        if self.replaces() {
            // What cannot be removed now is removed by the next run here.
            let _ = remove(&self.directory.join(ASIDE));
        }
    }
}

/// Whether a directory holds a run that may be replaced. Refused if it holds
/// one that may not be, or anything else.
fn holds_a_run(directory: &Path, overwrite: bool) -> Result<bool> {
    let cannot = || format!("cannot read {}", directory.display());
    let mut found = false;
    for entry in fs::read_dir(directory).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name();
        let name = name.to_string_lossy();
        // Files under way that a run which was killed has left.
        if name == LOCK || name == ASIDE || durable::is_under_way(&name) {
            continue;
        }
        if !overwrite {
            let advice = "--overwrite replaces the run in it, --out names another place";
            bail!("{} is not empty; {advice}", directory.display());
        }
        if !FILES.contains(&&*name) {
            bail!("{} holds {name}, which is of no run: name another place with --out", directory.display());
        }
        found = true;
    }
    Ok(found)
}

/// Takes the directory for this process, until it ends.
fn lock(directory: &Path) -> Result<Option<File>> {
    let path = directory.join(LOCK);
    let cannot = || format!("cannot write {}", path.display());
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = file.with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).with_context(cannot)?;
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Who it is is told where it can be told.
            let _ = file.read_to_string(&mut process);
            let (directory, process) = (directory.display(), process.trim());
            bail!(
                "{directory} is in use: process {process} trains there; wait for it, or name another place with --out"
            );
        }
        Err(TryLockError::Error(error)) => {
            tracing::warn!("{} cannot be locked ({error}): start no other training there", directory.display());
            Ok(None)
        }
    }
}

/// Removes a file or a directory, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// The config's name with the model's behind it, unless it says so already.
fn name(config: &Path, model: &str) -> String {
    let stem = config.file_stem().unwrap_or_default().to_string_lossy();
    if stem == model || stem.ends_with(&format!("-{model}")) { stem.into_owned() } else { format!("{stem}-{model}") }
}

/// The configuration of the run that a path means: itself, or the one whose
/// artifact it is.
pub fn config(path: &Path) -> Option<PathBuf> {
    let run = [Some(path), path.parent()].into_iter().flatten().find(|path| Run::is_in(path));
    run.map(|run| run.join(CONFIG))
}

/// The files and directories of a run, whether it has them all or not.
pub fn places(run: &Path) -> impl Iterator<Item = PathBuf> {
    FILES.iter().map(move |name| run.join(name))
}

/// The artifact that a path means: itself, or that of a run.
pub fn artifact(path: &Path) -> Result<PathBuf> {
    let artifact = path.join(ARTIFACT);
    match Run::is_in(path) {
        true => {
            durable::recover(&artifact)?;
            if !artifact.is_dir() {
                bail!("{} is a run without an artifact: its training did not end", path.display());
            }
            Ok(artifact)
        }
        false if path.is_dir() => Ok(path.to_path_buf()),
        false => bail!("{} is no run and no artifact: there is no such directory", path.display()),
    }
}

/// Writes a JSON file, complete or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    Ok(write_file(path, json(value)?)?)
}

/// A value as it stands in a JSON file.
pub fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).context("cannot be written as JSON")? + "\n")
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

    /// A run with a model, in `out`.
    fn old_run(out: &Path) {
        let run = Run::create(Some(out), Path::new("a.toml"), "mmoe", false).expect("a new run");
        fs::create_dir(run.artifact()).expect("made");
        fs::write(run.artifact().join("manifest.json"), "").expect("written");
        fs::write(run.config(), "old").expect("written");
        fs::write(run.masks(), "old").expect("written");
        fs::create_dir(run.tensorboard()).expect("made");
        fs::write(run.tensorboard().join("events"), "old").expect("written");
    }

    fn replacing(out: &Path) -> Result<Run> {
        Run::create(Some(out), Path::new("a.toml"), "mmoe", true)
    }

    #[test]
    fn a_directory_with_something_strange_is_refused_and_left_as_it_is() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let out = root.path().join("run");
        old_run(&out);
        let refused = Run::create(Some(&out), Path::new("a.toml"), "mmoe", false).expect_err("not empty").to_string();
        assert!(refused.contains("is not empty; --overwrite"), "{refused}");
        fs::write(out.join("thesis.txt"), "precious").expect("written");
        let refused = replacing(&out).expect_err("a thesis").to_string();
        assert!(refused.contains("thesis.txt"), "{refused}");
        assert!(out.join("thesis.txt").exists() && out.join(ARTIFACT).join("manifest.json").exists());

        let strange = root.path().join("home");
        fs::create_dir(&strange).expect("made");
        fs::write(strange.join("thesis.txt"), "precious").expect("written");
        assert!(replacing(&strange).is_err());
        assert_eq!(fs::read_dir(&strange).expect("read").count(), 1, "no lock is left where nothing was begun");
    }

    #[test]
    fn a_run_that_does_not_begin_well_leaves_the_old_one_as_it_was() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let out = root.path().join("run");
        old_run(&out);
        let run = replacing(&out).expect("an old run");
        fs::write(run.config(), "new").expect("written");
        assert!(run.replaces());
        drop(run);
        assert_eq!(fs::read_to_string(out.join(CONFIG)).expect("read"), "old");
        assert!(out.join(ARTIFACT).is_dir() && !out.join(ASIDE).exists());
    }

    #[test]
    fn a_run_that_begins_well_replaces_the_old_one_as_a_whole() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let out = root.path().join("run");
        old_run(&out);
        // What a run that was killed before it began well has left.
        fs::create_dir(out.join(ASIDE)).expect("made");
        fs::write(out.join(ASIDE).join(CONFIG), "killed").expect("written");
        let run = replacing(&out).expect("an old run");
        fs::write(run.log(), "new").expect("written");
        fs::create_dir(run.tensorboard()).expect("made");
        fs::write(run.tensorboard().join("others"), "new").expect("written");
        run.take_place().expect("replaced");
        assert_eq!(run.log(), out.join(LOG));
        drop(run);
        let mut left: Vec<_> =
            fs::read_dir(&out).expect("read").map(|entry| entry.expect("read").file_name()).collect();
        left.sort();
        assert_eq!(left, [LOCK, TENSORBOARD, LOG]);
        assert!(out.join(TENSORBOARD).join("others").exists() && !out.join(TENSORBOARD).join("events").exists());
    }

    #[test]
    fn a_directory_where_a_run_is_written_is_refused() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let out = root.path().join("run");
        let run = Run::create(Some(&out), Path::new("a.toml"), "mmoe", false).expect("a new run");
        let refused = replacing(&out).expect_err("in use").to_string();
        assert!(refused.contains(&format!("is in use: process {}", std::process::id())), "{refused}");
        drop(run);
        assert!(replacing(&out).is_ok());
    }
}
