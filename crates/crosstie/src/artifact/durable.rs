//! Directories that appear whole or not at all.

use std::fs::{self, File};
use std::path::Path;

use crate::error::{Error, Result};

/// Fills a temporary sibling of `directory`, forces it to the disk and renames
/// it. What was at `directory` before is replaced only then.
///
/// # Errors
/// Those of `fill`, and [`Error::Io`]; the sibling is removed then.
pub fn replace_directory(directory: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let temporary = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".unfinished")
        .tempdir_in(parent)
        .map_err(Error::io(parent))?;
    fill(temporary.path())?;
    sync(temporary.path())?;
    let old = parent.join(format!(".{name}.replaced-{}", std::process::id()));
    let replaces = directory.exists();
    if replaces {
        fs::rename(directory, &old).map_err(Error::io(directory))?;
    }
    let finished = temporary.keep();
    if let Err(error) = fs::rename(&finished, directory) {
        let _ = fs::remove_dir_all(&finished);
        if replaces {
            let _ = fs::rename(&old, directory);
        }
        return Err(Error::io(directory)(error));
    }
    if replaces {
        fs::remove_dir_all(&old).map_err(Error::io(&old))?;
    }
    sync_one(parent)
}

/// Forces a directory and everything in it to the disk.
fn sync(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        if path.is_dir() { sync(&path)? } else { sync_one(&path)? }
    }
    sync_one(directory)
}

fn sync_one(path: &Path) -> Result<()> {
    // Other systems refuse to open a directory as a file; there is nothing to force there.
    if path.is_dir() && !cfg!(unix) {
        return Ok(());
    }
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_directory_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("artifact");
        replace_directory(&target, |path| fs::write(path.join("a"), "old").map_err(Error::io(path))).unwrap();
        let failed = replace_directory(&target, |path| {
            fs::write(path.join("a"), "new").map_err(Error::io(path))?;
            Err(Error::Config("stop".into()))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "old");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        replace_directory(&target, |path| fs::write(path.join("b"), "new").map_err(Error::io(path))).unwrap();
        assert!(!target.join("a").exists() && target.join("b").exists());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
