//! Files under way in a directory of their own, which is removed however the work ends.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crosstie::durable::{self, Unfinished};
use tempfile::TempPath;

use crate::{interrupt, message};

/// A hidden directory for files under way. Dropped, or when the process is asked to end, it
/// leaves nothing.
pub struct Aside {
    directory: Unfinished,
    /// What its files are called by errors, in front of their names.
    called: String,
}

impl Aside {
    /// For the files of a directory that need not be there yet: on the same disk, and as near
    /// as there is a directory, so that work that fails makes none.
    pub fn of(out: &Path) -> Result<Aside> {
        let near = out.ancestors().find(|near| near.symlink_metadata().is_ok()).unwrap_or(Path::new("."));
        if !near.is_dir() {
            bail!("cannot make {}: {} is no directory", out.display(), near.display());
        }
        let place = near.join(out.file_name().unwrap_or("log".as_ref()));
        Aside::beside(&place, out.join("").display().to_string())
    }

    /// For files that nobody will see; in errors they are called by what is in front of their
    /// names.
    pub fn hidden(called: String) -> Result<Aside> {
        Aside::beside(&std::env::temp_dir().join("crosstie"), called)
    }

    fn beside(place: &Path, called: String) -> Result<Aside> {
        // What dead processes have left.
        durable::recover(place)?;
        let directory = Unfinished::create(place)?;
        interrupt::removes(directory.path())?;
        Ok(Aside { directory, called })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// An error that calls files as people know them.
    pub fn named(&self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let (error, hidden) = (error.into(), self.path().display().to_string());
        let said = message::chain(&error);
        match said.contains(&hidden) {
            true => {
                let named = said.replace(&format!("{hidden}/"), &self.called);
                anyhow::anyhow!(named.replace(&hidden, self.called.trim_end_matches('/')))
            }
            false => error,
        }
    }

    /// Gives the files their names in `out`, in the order of these. The first one decides
    /// whose they are, should another process write the same; a file that is there stays.
    pub fn publish(self, out: &Path) -> Result<()> {
        let cannot = || format!("cannot make {}", out.display());
        let entries = fs::read_dir(self.path()).and_then(|entries| {
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            paths.collect::<std::io::Result<Vec<PathBuf>>>()
        });
        let mut paths = entries.with_context(cannot)?;
        paths.sort();
        // All of them or none: who asks the process to end waits meanwhile.
        let _whole = interrupt::hold_off();
        fs::create_dir_all(out).with_context(cannot)?;
        for path in paths {
            let place = out.join(path.file_name().unwrap_or_default());
            let moved = TempPath::try_from_path(path)
                .and_then(|path| path.persist_noclobber(&place).map_err(|error| error.error));
            moved.map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => {
                    anyhow::anyhow!("{} is there already: another process has written it meanwhile", place.display())
                }
                _ => anyhow::Error::new(error).context(format!("cannot write {}", place.display())),
            })?;
        }
        Ok(durable::force(out)?)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        interrupt::removed(self.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_that_write_one_directory_at_once_the_second_replaces_nothing() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let out = root.path().join("deep/log");
        let [first, second] = ["first", "second"].map(|text| {
            let aside = Aside::of(&out).expect("made");
            fs::write(aside.path().join("train.parquet"), text).expect("written");
            aside
        });
        assert!(!root.path().join("deep").exists());
        first.publish(&out).expect("published");
        let refused = second.publish(&out).expect_err("it is there").to_string();
        assert!(refused.contains("train.parquet is there already"), "{refused}");
        assert_eq!(fs::read_to_string(out.join("train.parquet")).expect("read"), "first");
        assert_eq!([root.path(), &out].map(|place| fs::read_dir(place).expect("read").count()), [1, 1]);
    }

    #[test]
    fn an_error_tells_of_the_directory_that_was_named() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let aside = Aside::of(&root.path().join("log")).expect("made");
        let error = crosstie::Error::unfit(aside.path().join("train.parquet"), "the disk is full");
        let said = aside.named(error).to_string();
        assert_eq!(said, format!("{}: the disk is full", root.path().join("log/train.parquet").display()));
    }
}
