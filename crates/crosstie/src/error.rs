//! What can go wrong, told so that a person can mend it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What another library said before.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Every error of this library names the place (file, row, column or key),
/// what was found there, and what was expected.
///
/// Its text is whole: it says what its [`source`](std::error::Error::source)
/// says, as far as that helps a person. The source is kept for programs.
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
    /// A file is damaged, cut short, or not what it claims to be.
    #[error("{}: {message}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
        /// What its reader said.
        source: Option<Cause>,
    },
    /// A file is sound, but not what is needed: a column lacks, there are no
    /// rows, a setting in it contradicts another, a name fits no file.
    #[error("{}: {message}", path.display())]
    Unfit {
        /// The file or directory, or the pattern that should name one.
        path: PathBuf,
        /// What was found and what was expected.
        message: String,
        /// What another library said.
        source: Option<Cause>,
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
    /// A setting said beside the configuration, as by `--set`, cannot be meant.
    #[error("setting `{setting}`: {message}")]
    Setting {
        /// As it was written.
        setting: String,
        /// What is wrong with it.
        message: String,
    },
    /// The file of an experiment contradicts itself, or the models.
    #[error("experiment: {0}")]
    Experiment(String),
    /// Encoded rows do not fit the model that they are given to.
    #[error("batch: {0}")]
    Batch(String),
    /// Somebody asked to stop before there was anything worth keeping.
    #[error("stopped before {0}")]
    Stopped(&'static str),
    /// A text that should be a schema, a configuration or an experiment is none.
    #[error("{what}: {message}")]
    Toml {
        /// `schema`, `config` or `experiment`.
        what: &'static str,
        /// The key, its place and the nearest spelling.
        message: String,
        /// What the parser said.
        source: Cause,
    },
    /// An artifact is damaged, incomplete or from a newer version.
    #[error("artifact {}: {message}", path.display())]
    Artifact {
        /// The file within the artifact directory.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
        /// What its reader said.
        source: Option<Cause>,
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

/// Who can mend an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Whoever asked: what was asked for, or the schema, settings or rows
    /// given with it, cannot be used.
    Caller,
    /// Whoever keeps the file: it is damaged, or not what it claims to be.
    File,
    /// Whoever runs the machine: a full disk, missing rights, and the like.
    System,
}

impl Error {
    /// Wraps an operating-system error with the path it happened on.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// A file that is not what it claims to be.
    pub fn file(path: impl AsRef<Path>, message: impl Into<String>) -> Error {
        Error::File { path: path.as_ref().to_path_buf(), message: message.into(), source: None }
    }

    /// A sound file, or a name, that is not what is needed.
    pub fn unfit(path: impl AsRef<Path>, message: impl Into<String>) -> Error {
        Error::Unfit { path: path.as_ref().to_path_buf(), message: message.into(), source: None }
    }

    /// A damaged artifact.
    pub fn artifact(path: impl AsRef<Path>, message: impl Into<String>) -> Error {
        Error::Artifact { path: path.as_ref().to_path_buf(), message: message.into(), source: None }
    }

    /// A text that should be a schema, a configuration or an experiment, `what`, and is none.
    pub(crate) fn toml(what: &'static str, source: toml::de::Error) -> Error {
        let message = crate::spelling::explain(&source.to_string());
        Error::Toml { what, message, source: source.into() }
    }

    /// Keeps what another library said as the source of this error. Variants
    /// that have no place for it stay as they are.
    pub fn because(mut self, cause: impl Into<Cause>) -> Error {
        if let Error::File { source, .. } | Error::Unfit { source, .. } | Error::Artifact { source, .. } = &mut self {
            *source = Some(cause.into());
        }
        self
    }

    /// A file that another library could not write: an [`Error::Io`] where the
    /// operating system was the reason.
    pub(crate) fn unwritten(path: impl AsRef<Path>, cause: impl Into<Cause>) -> Error {
        let cause = cause.into();
        match io_within(&*cause) {
            // The system's own words, without those of the libraries around them.
            Some(system) => Error::io(path)(match system.raw_os_error() {
                Some(code) => std::io::Error::from_raw_os_error(code),
                None => std::io::Error::new(system.kind(), system.to_string()),
            }),
            None => Error::unfit(path, format!("cannot be written: {cause}")).because(cause),
        }
    }

    /// Says in which file a schema, a configuration or an experiment stands that is wrong.
    pub fn within(self, path: &Path) -> Error {
        match self {
            Error::Schema(message) | Error::Config(message) | Error::Experiment(message) => Error::unfit(path, message),
            Error::Toml { message, source, .. } => Error::unfit(path, message).because(source),
            other => other,
        }
    }

    /// Who can mend it.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Io { source, .. } => blame(source.kind()),
            Error::File { source, .. } | Error::Artifact { source, .. } => {
                let kind = source.as_deref().and_then(|cause| io_within(cause)).map(std::io::Error::kind);
                match kind.map(blame) {
                    Some(Blame::System) => Blame::System,
                    _ => Blame::File,
                }
            }
            Error::Unfit { .. }
            | Error::Cell { .. }
            | Error::Schema(_)
            | Error::Config(_)
            | Error::Setting { .. }
            | Error::Experiment(_)
            | Error::Batch(_)
            | Error::Toml { .. }
            | Error::Stopped(_)
            | Error::NotFinite { .. } => Blame::Caller,
        }
    }
}

fn blame(kind: ErrorKind) -> Blame {
    match kind {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => Blame::Caller,
        // What readers and decompressors say of bytes they cannot read.
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof | ErrorKind::Other => Blame::File,
        _ => Blame::System,
    }
}

/// The operating system's error among an error and its sources.
fn io_within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| {
        // The crate csv names no source.
        match error.downcast_ref::<csv::Error>().map(csv::Error::kind) {
            Some(csv::ErrorKind::Io(error)) => Some(error),
            _ => error.downcast_ref(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use parquet::errors::ParquetError;

    use super::*;

    #[test]
    fn blame_tells_the_caller_from_the_file_from_the_system() {
        let io = |kind: ErrorKind| Error::io("x")(kind.into()).blame();
        assert_eq!(io(ErrorKind::NotFound), Blame::Caller);
        assert_eq!(io(ErrorKind::PermissionDenied), Blame::System);
        assert_eq!(io(ErrorKind::StorageFull), Blame::System);
        assert_eq!(Error::file("x", "is cut short").blame(), Blame::File);
        assert_eq!(Error::artifact("x", "is damaged").blame(), Blame::File);
        assert_eq!(Error::unfit("x", "there is no column `y`").blame(), Blame::Caller);
        assert_eq!(Error::Stopped("early").blame(), Blame::Caller);
    }

    #[test]
    fn a_disk_that_fails_within_a_reader_is_not_the_files_fault() {
        let full = || ParquetError::External(Box::new(std::io::Error::from(ErrorKind::StorageFull)));
        assert_eq!(Error::file("x", "cannot be read").because(full()).blame(), Blame::System);
        assert_eq!(Error::unwritten("x", full()).blame(), Blame::System);
        let full = csv::Error::from(std::io::Error::from(ErrorKind::StorageFull));
        assert_eq!(Error::unwritten("x", full).blame(), Blame::System);
        let full = ParquetError::External(Box::new(std::io::Error::from_raw_os_error(28)));
        assert_eq!(Error::unwritten("x", full).to_string(), "x: No space left on device (os error 28)");
        let odd = || ParquetError::NYI("a type".into());
        assert_eq!(Error::file("x", "cannot be read").because(odd()).blame(), Blame::File);
        assert_eq!(Error::unwritten("x", odd()).blame(), Blame::Caller);
    }

    #[test]
    fn a_cause_is_kept_as_source() {
        let cause = toml::from_str::<toml::Table>("a = ").unwrap_err();
        let error = Error::toml("config", cause);
        assert!(error.source().unwrap().is::<toml::de::Error>());
        let error = error.within(Path::new("a.toml"));
        assert!(error.to_string().starts_with("a.toml: TOML parse error at line 1"), "{error}");
        assert!(error.source().is_some());
    }
}
