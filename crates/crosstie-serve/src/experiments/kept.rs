//! An experiment's file and where the experiment stands, on the disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crosstie::durable;
use crosstie::experiment::{Contract, State};
use crosstie::{Error, Result};

/// An experiment's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub contract: Contract,
}

/// The experiments' files of a directory, by name.
///
/// # Errors
/// [`Error::Io`].
pub fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Kept {
    /// Reads an experiment's file.
    ///
    /// # Errors
    /// As of [`Contract::read`].
    pub fn read(path: &Path) -> Result<Kept> {
        Ok(Kept { path: path.to_path_buf(), contract: Contract::read(path)? })
    }

    /// Whether it can be an experiment beside others: by its name logs and counts know it, and of
    /// two about one model a request would not know whose arm it is in.
    ///
    /// # Errors
    /// [`Error::Unfit`] naming both files.
    pub fn check_beside<'a>(&self, others: impl IntoIterator<Item = &'a Kept>) -> Result<()> {
        let (name, model) = (&self.contract.name, self.contract.arms[0].model().0);
        for other in others {
            let file = other.path.display();
            let wrong = |message: String| Err(Error::Experiment(message).within(&self.path));
            if other.contract.name == *name {
                return wrong(format!("name: `{name}` is taken by {file}; give one of the two another name"));
            }
            if other.contract.arms[0].model().0 == model {
                return wrong(format!("another experiment is about model `{model}`: {file}"));
            }
        }
        Ok(())
    }

    /// Where the state is kept: beside the file.
    pub fn state_file(&self) -> PathBuf {
        self.path.with_extension("state.json")
    }

    /// Where the experiment stands; `None` before it was started.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is no state, [`Error::Io`].
    pub fn state(&self) -> Result<Option<State>> {
        let path = self.state_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let begins = "move it away, and a server that reads the experiment's file begins anew with the first step";
            Error::file(&path, format!("is no state of an experiment ({error}); {begins}"))
        })
    }

    /// Where the experiment stands. One that was not started is, at `now`, in seconds since
    /// the beginning of 1970.
    ///
    /// # Errors
    /// As of [`Kept::state`], and of writing.
    pub fn state_or_start(&self, now: u64) -> Result<State> {
        match self.state()? {
            Some(state) => Ok(state),
            None => self.change(now, State::clone),
        }
    }

    /// Replaces the state by what `change` makes of it, durably, and gives that. Two who
    /// change it at a time do so one after the other.
    ///
    /// # Errors
    /// As of [`Kept::state`], and of writing.
    pub fn change(&self, now: u64, change: impl FnOnce(&State) -> State) -> Result<State> {
        let path = self.path.with_extension("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io(&path))?;
        // Released when the file is closed. Where a file system has no locks, nobody waits.
        let _ = lock.lock();
        let found = self.state()?;
        let before = found.clone().unwrap_or_else(|| self.contract.start(now));
        let after = change(&before);
        if found.as_ref() != Some(&after) {
            let path = self.state_file();
            let text = serde_json::to_string(&after).map_err(|error| Error::file(&path, error.to_string()))?;
            durable::write_file(&path, text + "\n")?;
        }
        Ok(after)
    }
}
