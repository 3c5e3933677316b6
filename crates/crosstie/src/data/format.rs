//! What a file's name says about its contents, and what its readers share.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::arrow::array::RecordBatch;
use crate::arrow::datatypes::Schema;
use crate::error::{Error, Result};
use crate::spelling;

/// A stream of record batches.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// How a table is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Parquet,
    Ipc,
    Csv { delimiter: u8, compression: Compression },
}

/// How a text file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Whether a path, or a glob, has the extension of a table that can be read.
pub fn is_table(path: &Path) -> bool {
    Format::of(path).is_ok()
}

const EXTENSIONS: [&str; 6] = ["parquet", "csv", "tsv", "arrow", "ipc", "feather"];

impl Format {
    /// The format by the file's extension, in upper or lower case.
    pub fn of(path: &Path) -> Result<Format> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (stem, compression) = match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Compression::Gzip),
            Some((stem, "zst")) => (stem, Compression::Zstd),
            _ => (name.as_str(), Compression::None),
        };
        let extension = stem.rsplit_once('.').map_or("", |(_, extension)| extension);
        match (extension, compression) {
            ("csv", _) => Ok(Format::Csv { delimiter: b',', compression }),
            ("tsv", _) => Ok(Format::Csv { delimiter: b'\t', compression }),
            ("parquet", Compression::None) => Ok(Format::Parquet),
            ("arrow" | "ipc" | "feather", Compression::None) => Ok(Format::Ipc),
            (extension, Compression::None) => Err(Error::unfit(
                path,
                format!(
                    "cannot tell the format by the extension `{extension}`{}",
                    spelling::hint(extension, EXTENSIONS)
                ),
            )),
            _ => Err(Error::unfit(path, "only .csv and .tsv may be compressed as a whole, by .gz or .zst")),
        }
    }
}

impl Compression {
    /// Opens a file for reading its uncompressed contents.
    pub fn open(self, path: &Path) -> Result<Box<dyn Read + Send>> {
        let file = File::open(path).map_err(Error::io(path))?;
        Ok(match self {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
            Compression::Zstd => Box::new(zstd::Decoder::new(file).map_err(Error::io(path))?),
        })
    }
}

/// Refuses a table of which two columns have one name.
pub(super) fn distinct(path: &Path, schema: &Schema) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match schema.fields().iter().find(|field| !seen.insert(field.name())) {
        Some(twice) => Err(Error::unfit(path, format!("two columns are called `{}`", twice.name()))),
        None => Ok(()),
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread would be caught and told as an error: of
/// these a program need not tell itself.
pub fn panics_are_errors() -> bool {
    GUARDED.get()
}

/// Runs a foreign reader. The Arrow crates panic on some damaged files; here
/// that is an error which names the file, as any other.
pub(super) fn guarded<T, E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    kind: &str,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    GUARDED.set(true);
    let read = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(false);
    match read {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::file(path, format!("is damaged or no {kind}: {error}")).because(error)),
        Err(_) => Err(Error::file(path, format!("is damaged or no {kind}"))),
    }
}
