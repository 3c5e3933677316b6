//! Data files and directories as the command line names them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crosstie::config::Config;
use crosstie::data::{FILES, Source};
use crosstie::durable::NewFile;

use crate::run;

/// Makes a directory that must not hold anything yet.
pub fn make_empty(directory: &Path, advice: &str) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    if entries.next().is_some() {
        bail!("{} is not empty{advice}", directory.display());
    }
    Ok(())
}

/// Makes a directory that was not there, so that of several processes each has
/// its own: the one that is named, else the first of `name-2`, `name-3` and so
/// on that is free.
pub fn claim(directory: &Path) -> Result<PathBuf> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let mut candidate = directory.to_path_buf();
    let mut number = 1;
    loop {
        match fs::create_dir(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", candidate.display())),
        }
        number += 1;
        let mut name = directory.as_os_str().to_os_string();
        name.push(format!("-{number}"));
        candidate = name.into();
    }
}

/// The schema beside the files of a log.
pub const SCHEMA: &str = "schema.toml";

/// Refuses a directory that has a log or what `more` names, or that is a file itself.
pub fn refuse_to_replace(out: &Path, more: &[&str], advice: &str) -> Result<()> {
    let mut names = FILES.iter().chain(&[SCHEMA]).chain(more);
    if let Some(name) = names.find(|name| out.join(name).exists()) {
        bail!("{} is there already; {advice}", out.join(name).display());
    }
    if out.is_file() {
        bail!("{} is a file; {advice}", out.display());
    }
    Ok(())
}

/// The files that a command is to write. None may be one that it reads or that belongs to
/// what it reads: so every command asks before it does any work.
pub struct Outputs<'a>(Vec<&'a Path>);

impl<'a> Outputs<'a> {
    /// Those that were named.
    ///
    /// # Errors
    /// One that cannot be written, and one that is named twice.
    pub fn of(named: impl IntoIterator<Item = &'a PathBuf>) -> Result<Outputs<'a>> {
        let outputs: Vec<&Path> = named.into_iter().map(PathBuf::as_path).collect();
        for (index, output) in outputs.iter().enumerate() {
            // Begun when there is something to write: whatever ends the work leaves nothing.
            drop(NewFile::create(output)?);
            // What is no ordinary file, such as a pipe, takes one after the other.
            let ordinary = fs::metadata(output).map_or(true, |data| data.is_file());
            if ordinary && outputs[..index].iter().any(|other| same(other, output)) {
                bail!("{} is named for two outputs; name another file for one of them", output.display());
            }
        }
        Ok(Outputs(outputs))
    }

    /// A directory that is to be written as a whole.
    pub fn of_directory(path: &'a Path) -> Outputs<'a> {
        Outputs(vec![path])
    }

    /// Refuses outputs that are one of these places, or lie in it; `what` says what
    /// they are.
    pub fn spare(&self, kept: impl IntoIterator<Item = impl AsRef<Path>>, what: &str) -> Result<()> {
        let kept: Vec<PathBuf> = match &self.0[..] {
            [] => return Ok(()),
            _ => kept.into_iter().map(|place| real(place.as_ref())).collect(),
        };
        for output in &self.0 {
            let place = real(output);
            if kept.iter().any(|kept| place.starts_with(kept)) {
                bail!("{} is {what}; name another place to write", output.display());
            }
        }
        Ok(())
    }

    /// Refuses outputs that are among files that are read.
    pub fn spare_files(&self, source: &Source) -> Result<()> {
        self.spare(source.files(), "among the files that are read")
    }

    /// Refuses outputs that belong to the run or the artifact that a path means, or are data
    /// that the run's config names.
    pub fn spare_run(&self, path: &Path) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let Some(config) = run::config(path) else {
            return self.spare([path], &format!("a part of {}", path.display()));
        };
        let directory = parent(&config);
        self.spare(run::places(directory), &format!("a file of the run {}", directory.display()))?;
        // Of a config that cannot be read nobody knows the data; whoever needs it says why.
        let Ok(Config { data, .. }) = Config::read(&config, &[]) else { return Ok(()) };
        let what = format!("among the data that {} names", config.display());
        self.spare([data.schema()], &what)?;
        [&data.train, &data.valid, &data.test].into_iter().try_for_each(|files| match Source::open(files) {
            Ok(source) => self.spare(source.files(), &what),
            Err(_) => self.spare(files, &what),
        })
    }
}

/// Whether two paths mean one place.
pub fn same(one: &Path, other: &Path) -> bool {
    real(one) == real(other)
}

/// A path by which one place is told from another, whether anything is there or not.
fn real(path: &Path) -> PathBuf {
    let new = || Some(parent(path).canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(new).unwrap_or_else(|| path.to_path_buf())
}

/// The directory that something lies in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_claimed_beside_those_that_are_there() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let wanted = root.path().join("runs").join("run");
        let claimed: Vec<PathBuf> = (0..3).map(|_| claim(&wanted).expect("claimed")).collect();
        assert_eq!(claimed, ["run", "run-2", "run-3"].map(|name| root.path().join("runs").join(name)));
        fs::write(wanted.join("thesis.txt"), "precious").expect("written");
        assert!(make_empty(&wanted, "").is_err());
        assert!(make_empty(&claimed[1], "").is_ok());
    }
}
