//! What lies in a repository's directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crosstie::{Error, Result};

/// Models by name, each with the directories of its versions.
pub type Found = BTreeMap<String, BTreeMap<u64, PathBuf>>;

/// Looks through `<model>/<version>/`. What is not named so is none of ours: temporary
/// and hidden directories among it.
///
/// # Errors
/// A directory that cannot be read.
pub fn find(directory: &Path) -> Result<Found> {
    let mut found = Found::new();
    for (model, path) in directories(directory)? {
        if model.starts_with('.') {
            continue;
        }
        let versions = directories(&path)?.into_iter().filter_map(|(name, path)| Some((number(&name)?, path)));
        let versions: BTreeMap<u64, PathBuf> = versions.collect();
        if !versions.is_empty() {
            found.insert(model, versions);
        }
    }
    Ok(found)
}

/// The number that a directory's name is: digits, and no zero before them, so that a
/// number has one name.
fn number(name: &str) -> Option<u64> {
    let number: u64 = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

fn directories(directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_dir()) {
            found.push((name.to_string(), path.clone()));
        }
    }
    Ok(found)
}

/// What tells whether an artifact's files are those of before: names, sizes and times of
/// change.
pub type Fingerprint = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// The fingerprint of a directory now. What cannot be looked at counts as absent.
pub fn fingerprint(directory: &Path) -> Fingerprint {
    fn add(directory: &Path, found: &mut Fingerprint) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let about = fs::metadata(&path)?;
            if about.is_dir() {
                add(&path, found)?;
            } else {
                found.insert(path, (about.len(), about.modified().ok()));
            }
        }
        Ok(())
    }
    let mut found = Fingerprint::new();
    // A file that goes away meanwhile is a change, and will be seen as one.
    let _ = add(directory, &mut found);
    found
}
