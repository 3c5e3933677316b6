//! The list of an artifact's files, with what is needed to trust them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::scorer::Scorer;

/// Version of the format that this library writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub format: u32,
    /// Version of crosstie that wrote the artifact.
    pub crosstie: String,
    /// Name of the model.
    pub model: String,
    /// Names of the tasks, in the order of the scores.
    pub tasks: Vec<String>,
    /// Names of the scenarios.
    pub scenarios: Vec<String>,
    /// What each logit of the network means, in order.
    pub heads: Vec<String>,
    /// Every other file, by its path within the artifact.
    pub files: BTreeMap<String, FileEntry>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 hash of the contents, in hexadecimal.
    pub blake3: String,
}

/// What any version of a manifest holds.
#[derive(Deserialize)]
struct Version {
    format: u32,
    #[serde(default)]
    crosstie: String,
}

impl Manifest {
    /// Describes the files of a directory.
    pub(super) fn of(scorer: &Scorer, directory: &Path) -> Result<Manifest> {
        let mut files = BTreeMap::new();
        list(directory, "", &mut files)?;
        let model = toml::Value::try_from(&scorer.config().model).ok();
        let model = model.as_ref().and_then(|model| model.get("name")).and_then(toml::Value::as_str);
        Ok(Manifest {
            format: FORMAT,
            crosstie: env!("CARGO_PKG_VERSION").into(),
            model: model.unwrap_or_default().into(),
            tasks: scorer.tasks().to_vec(),
            scenarios: scorer.features().layout().scenarios.clone(),
            heads: scorer.network().objective.heads().iter().map(|head| head.name.clone()).collect(),
            files,
        })
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::artifact(path, error.to_string()))?;
        fs::write(path, text + "\n").map_err(Error::io(path))
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::Artifact`] if it is missing, damaged or of a newer version.
    pub fn read(path: &Path) -> Result<Manifest> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::artifact(path, "not found: this directory is no artifact, or an unfinished one"));
            }
            Err(error) => return Err(Error::artifact(path, error.to_string())),
        };
        let damaged = |error: serde_json::Error| Error::artifact(path, format!("damaged: {error}"));
        let version: Version = serde_json::from_str(&text).map_err(damaged)?;
        if version.format > FORMAT {
            return Err(Error::artifact(
                path,
                format!(
                    "written by crosstie {} in format {}; this is crosstie {}, which reads formats up to {FORMAT}: \
                     use a newer crosstie",
                    version.crosstie,
                    version.format,
                    env!("CARGO_PKG_VERSION")
                ),
            ));
        }
        serde_json::from_str(&text).map_err(damaged)
    }

    /// Compares every file with its entry.
    ///
    /// # Errors
    /// [`Error::Artifact`] naming the first file that differs or is missing.
    pub fn verify(&self, directory: &Path) -> Result<()> {
        for (name, entry) in &self.files {
            let path = directory.join(name);
            let found = FileEntry::of(&path).map_err(|error| match error {
                Error::Io { source, .. } => Error::artifact(&path, format!("listed in the manifest, but {source}")),
                other => other,
            })?;
            if found.bytes != entry.bytes {
                let message =
                    format!("{} bytes where the manifest says {}: truncated or changed", found.bytes, entry.bytes);
                return Err(Error::artifact(&path, message));
            }
            if found.blake3 != entry.blake3 {
                return Err(Error::artifact(&path, "its checksum is not that of the manifest: damaged or changed"));
            }
        }
        Ok(())
    }
}

impl FileEntry {
    fn of(path: &Path) -> Result<FileEntry> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let mut hasher = blake3::Hasher::new();
        let bytes = std::io::copy(&mut file, &mut hasher).map_err(Error::io(path))?;
        Ok(FileEntry { bytes, blake3: hasher.finalize().to_hex().to_string() })
    }
}

fn list(directory: &Path, prefix: &str, files: &mut BTreeMap<String, FileEntry>) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            list(&path, &format!("{name}/"), files)?;
        } else {
            files.insert(name, FileEntry::of(&path)?);
        }
    }
    Ok(())
}
