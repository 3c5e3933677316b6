//! The list of an artifact's files, with what is needed to trust them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::scorer::Scorer;
use crate::sealed::{self, FileEntry, Sealed};

/// Version of the format that this library writes, and the newest it reads.
pub const FORMAT: u32 = 7;

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
        Ok(Manifest {
            format: FORMAT,
            crosstie: env!("CARGO_PKG_VERSION").into(),
            model: scorer.spec().model.name().into(),
            tasks: scorer.tasks().to_vec(),
            scenarios: scorer.features().layout().scenarios.clone(),
            heads: scorer.network().objective.heads().iter().map(|head| head.name.clone()).collect(),
            files: sealed::list(directory)?,
        })
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::Artifact`] if it is missing, damaged or of a newer version.
    pub fn read(path: &Path) -> Result<Manifest> {
        let Sealed { text, sealed } = match sealed::read(path) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::artifact(path, "not found: this directory is no artifact, or an unfinished one"));
            }
            read => read?,
        };
        let damaged = |error: serde_json::Error| Error::artifact(path, format!("damaged: {error}")).because(error);
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
        // Format 1 had no checksum of the manifest itself.
        if version.format > 1 && !sealed {
            return Err(Error::artifact(path, "damaged: it has no checksum"));
        }
        serde_json::from_str(&text).map_err(damaged)
    }
}
