//! Data files and directories as the command line names them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crosstie::data::{FILES, Source};

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

/// Refuses to write over a file that is read.
pub fn refuse_input(out: &Path, source: &Source) -> Result<()> {
    let same = |file: &Path| matches!((file.canonicalize(), out.canonicalize()), (Ok(file), Ok(out)) if file == out);
    if source.files().iter().any(|file| same(file)) {
        bail!("{} is among the files to score; name another to write", out.display());
    }
    Ok(())
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
