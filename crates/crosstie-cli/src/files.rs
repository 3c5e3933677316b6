//! Data files and directories as the command line names them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Makes a directory that must not hold anything yet.
pub fn make_empty(directory: &Path, advice: &str) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    if !is_empty(directory)? {
        bail!("{} is not empty{advice}", directory.display());
    }
    Ok(())
}

/// Whether nothing would be lost by using this directory.
pub fn is_empty(directory: &Path) -> Result<bool> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", directory.display())),
    }
}

/// The directory itself if it is free, else the first of `name-2`, `name-3`
/// and so on that is.
pub fn free(directory: PathBuf) -> Result<PathBuf> {
    let mut candidate = directory.clone();
    let mut number = 1;
    while !is_empty(&candidate)? {
        number += 1;
        let mut name = directory.clone().into_os_string();
        name.push(format!("-{number}"));
        candidate = name.into();
    }
    Ok(candidate)
}

/// Writes a text file, complete or not at all.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let attempt = || {
        let mut unfinished = path.to_path_buf().into_os_string();
        unfinished.push(".unfinished");
        std::fs::write(&unfinished, text)?;
        std::fs::rename(&unfinished, path)
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_directory_is_found_beside_full_ones() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let wanted = root.path().join("run");
        assert_eq!(free(wanted.clone()).expect("free"), wanted);
        std::fs::create_dir_all(wanted.join("artifact")).expect("made");
        assert_eq!(free(wanted.clone()).expect("free"), root.path().join("run-2"));
        assert!(make_empty(&wanted, "").is_err());
        assert!(make_empty(&root.path().join("run-2"), "").is_ok());
    }
}
