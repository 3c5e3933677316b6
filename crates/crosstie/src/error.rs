//! What can go wrong, told so that a person can mend it.

use std::path::{Path, PathBuf};

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of this library names the place (file, row, column or key),
/// what was found there, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file could not be read as what it claims to be.
    #[error("{}: {message}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A cell holds something its column does not allow. Rows are counted
    /// from 1; a header line is not a row.
    #[error("{}: row {row}, column `{column}`: found {found}, expected {expected}", path.display())]
    Cell {
        /// The data file.
        path: PathBuf,
        /// Row within the file, from 1.
        row: u64,
        /// Name of the column.
        column: String,
        /// The offending value, quoted.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// The schema contradicts itself or the data.
    #[error("schema: {0}")]
    Schema(String),
    /// The configuration contradicts itself, the schema or the data.
    #[error("config: {0}")]
    Config(String),
    /// Encoded rows do not fit the model that they are given to.
    #[error("batch: {0}")]
    Batch(String),
    /// Somebody asked to stop before there was anything worth keeping.
    #[error("stopped before {0}")]
    Stopped(&'static str),
    /// An artifact is damaged, incomplete or from a newer version.
    #[error("artifact {}: {message}", path.display())]
    Artifact {
        /// The file within the artifact directory.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Training met a loss that is not a number or infinite.
    #[error(
        "step {step}: the loss of task `{task}` is not finite ({value}) on row {row} of the \
         batch; a smaller learning rate, gradient clipping or standardised inputs help most often"
    )]
    NotFinite {
        /// The optimizer step, from 1.
        step: u64,
        /// The task whose loss broke.
        task: String,
        /// The value found.
        value: f64,
        /// The row of the batch, from 0.
        row: usize,
    },
}

impl Error {
    /// Wraps an operating-system error with the path it happened on.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// A file that is not what it should be.
    pub fn file(path: impl AsRef<Path>, message: impl Into<String>) -> Error {
        Error::File { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    /// A damaged artifact.
    pub fn artifact(path: impl AsRef<Path>, message: impl Into<String>) -> Error {
        Error::Artifact { path: path.as_ref().to_path_buf(), message: message.into() }
    }
}
