//! Files, their blocks, and the rows read from them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::column::Column;
use super::format::{Compression, Format};
use super::{csv, ipc, parquet};
use crate::arrow::array::RecordBatch;
use crate::error::{Error, Result};
use crate::spelling;

/// A stream of record batches.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// One or more data files. Opening reads their metadata only; no file stays
/// open. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Source {
    files: Arc<Vec<DataFile>>,
    paths: Arc<Vec<PathBuf>>,
    blocks: Arc<Vec<Block>>,
}

/// A part of a file that is read as a whole: a Parquet row group; an IPC or
/// CSV file. The unit that is shuffled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Index into [`Source::files`].
    pub file: usize,
    /// Which part of the file, from 0.
    pub part: usize,
    /// Position within the file of the block's first row, from 0.
    pub first_row: u64,
    /// Number of rows, where the metadata tell.
    pub rows: Option<u64>,
}

#[derive(Debug)]
struct DataFile {
    path: Arc<Path>,
    columns: Vec<String>,
    access: Access,
}

#[derive(Debug)]
enum Access {
    Parquet(ArrowReaderMetadata),
    Ipc,
    Csv { delimiter: u8, compression: Compression },
}

impl Source {
    /// Opens files and globs, in the given order; the files of a glob are
    /// sorted by name. The extension tells the format: `.parquet`; `.csv` or
    /// `.tsv`, also followed by `.gz` or `.zst`; `.arrow`, `.ipc` or
    /// `.feather`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`] for a file that is missing, damaged,
    /// empty or of unknown format, for two columns of one name, and for a glob
    /// that matches nothing; [`Error::Config`] without any pattern.
    pub fn open<S: AsRef<str>>(patterns: &[S]) -> Result<Source> {
        if patterns.is_empty() {
            return Err(Error::Config("no data file was named".into()));
        }
        let mut source = (Vec::new(), Vec::new(), Vec::new());
        let (files, paths, blocks) = &mut source;
        for pattern in patterns {
            for path in expand(pattern.as_ref())? {
                let (file, parts) = DataFile::open(&path)?;
                let mut first_row = 0;
                for (part, rows) in parts.into_iter().enumerate() {
                    blocks.push(Block { file: files.len(), part, first_row, rows });
                    first_row += rows.unwrap_or(0);
                }
                files.push(file);
                paths.push(path);
            }
        }
        let (files, paths, blocks) = source;
        Ok(Source { files: Arc::new(files), paths: Arc::new(paths), blocks: Arc::new(blocks) })
    }

    /// The files, in order.
    pub fn files(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Names of the columns of the first file. A later file may have others,
    /// or another order; it is refused only where a requested column lacks.
    pub fn columns(&self) -> &[String] {
        &self.files[0].columns
    }

    /// The blocks, in file order. An empty Parquet file has none.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Number of rows; `None` where it takes reading to know, as for CSV and
    /// IPC streams.
    pub fn total_rows(&self) -> Option<u64> {
        self.blocks.iter().map(|block| block.rows).sum()
    }

    /// Checks that every file has these columns.
    ///
    /// # Errors
    /// [`Error::File`] with the first file that lacks one, the column, and the
    /// nearest spelling.
    pub fn require(&self, columns: &[&str]) -> Result<()> {
        self.files.iter().try_for_each(|file| file.positions(columns).map(|_| ()))
    }

    /// Streams the given columns of one block, at most `limit` rows at a time
    /// (at least 1). The columns come in the given order, repeated names once.
    /// Memory is bounded by `limit` rows; for an IPC file by its largest record
    /// batch. The stream ends with its first error.
    ///
    /// # Errors
    /// [`Error::File`] where the file lacks a column; [`Error::Io`] and
    /// [`Error::File`] where it cannot be read (any more).
    ///
    /// # Panics
    /// If there is no such block.
    pub fn read(
        &self,
        block: usize,
        columns: &[&str],
        limit: usize,
    ) -> Result<impl Iterator<Item = Result<Rows>> + Send + use<>> {
        let Block { file: index, part, mut first_row, .. } = self.blocks[block];
        let file = &self.files[index];
        let wanted = file.positions(columns)?;
        let mut ascending = wanted.clone();
        ascending.sort_unstable();
        let order: Vec<usize> =
            wanted.iter().filter_map(|position| ascending.iter().position(|other| other == position)).collect();

        let limit = limit.max(1);
        let mut batches = match &file.access {
            Access::Parquet(metadata) => parquet::read(&file.path, metadata, part, &ascending, limit)?,
            Access::Ipc => ipc::read(&file.path, &ascending, limit)?,
            Access::Csv { delimiter, compression } => {
                csv::read(&file.path, *delimiter, *compression, &ascending, limit)?
            }
        };
        let path = file.path.clone();
        let mut ended = false;
        Ok(std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let rows = batches.next()?.and_then(|batch| {
                let batch = batch.project(&order).map_err(|error| Error::file(&path, error.to_string()))?;
                let rows = Rows { batch, path: path.clone(), file: index, first_row };
                first_row += rows.len() as u64;
                Ok(rows)
            });
            ended = rows.is_err();
            Some(rows)
        }))
    }

    /// Streams the given columns of all blocks in file order, as
    /// [`Source::read`] does. Whatever goes wrong comes as the last item; a
    /// file that lacks a column is told before anything is read.
    pub fn rows(&self, columns: &[&str], limit: usize) -> impl Iterator<Item = Result<Rows>> + Send + use<> {
        let source = self.clone();
        let columns: Vec<String> = columns.iter().map(|name| name.to_string()).collect();
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut refused = self.require(&names).err();
        let mut blocks = 0..if refused.is_some() { 0 } else { self.blocks.len() };
        let mut current = None;
        std::iter::from_fn(move || {
            loop {
                if let Some(error) = refused.take() {
                    blocks = 0..0;
                    current = None;
                    return Some(Err(error));
                }
                match current.as_mut().and_then(Iterator::next) {
                    Some(Ok(rows)) => return Some(Ok(rows)),
                    Some(Err(error)) => refused = Some(error),
                    None => {
                        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
                        match source.read(blocks.next()?, &names, limit) {
                            Ok(rows) => current = Some(rows),
                            Err(error) => refused = Some(error),
                        }
                    }
                }
            }
        })
    }
}

impl DataFile {
    /// The file and, for each of its parts, the number of rows if known.
    fn open(path: &Path) -> Result<(DataFile, Vec<Option<u64>>)> {
        if path.is_dir() {
            let example = path.join("*.parquet");
            return Err(Error::file(path, format!("is a directory; name its files, as in {}", example.display())));
        }
        let (columns, access, parts) = match Format::of(path)? {
            Format::Parquet => {
                let metadata = parquet::open(path)?;
                let parts = parquet::parts(&metadata).into_iter().map(Some).collect();
                (names(metadata.schema()), Access::Parquet(metadata), parts)
            }
            Format::Ipc => {
                let metadata = ipc::open(path)?;
                (names(&metadata.schema), Access::Ipc, vec![metadata.rows])
            }
            Format::Csv { delimiter, compression } => {
                (csv::open(path, delimiter, compression)?, Access::Csv { delimiter, compression }, vec![None])
            }
        };
        Ok((DataFile { path: path.into(), columns: distinct(path, columns)?, access }, parts))
    }

    /// Where these columns stand in the file, each once.
    fn positions(&self, columns: &[&str]) -> Result<Vec<usize>> {
        let mut positions = Vec::with_capacity(columns.len());
        for name in columns {
            let position = self
                .columns
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| missing(&self.path, name, self.columns.iter().map(String::as_str)))?;
            if !positions.contains(&position) {
                positions.push(position);
            }
        }
        Ok(positions)
    }
}

fn names(schema: &crate::arrow::datatypes::Schema) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// The names themselves, if no two are equal.
pub(super) fn distinct(path: &Path, names: Vec<String>) -> Result<Vec<String>> {
    let mut seen = std::collections::HashSet::new();
    match names.iter().position(|name| !seen.insert(name)) {
        Some(twice) => Err(Error::file(path, format!("two columns are called `{}`", names[twice]))),
        None => Ok(names),
    }
}

fn missing<'a>(path: &Path, name: &str, columns: impl IntoIterator<Item = &'a str>) -> Error {
    Error::file(path, format!("there is no column `{name}`{}", spelling::hint(name, columns)))
}

/// The files that a pattern stands for. A file whose name looks like a glob is
/// taken as it is.
fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    if !pattern.contains(['*', '?', '[']) || Path::new(pattern).exists() {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let found = glob::glob(pattern).map_err(|error| Error::file(pattern, format!("is no valid glob: {error}")))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| {
            let path = error.path().to_path_buf();
            Error::Io { path, source: error.into() }
        })?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::file(pattern, "no file matches this glob"));
    }
    files.sort();
    Ok(files)
}

/// Runs a foreign reader. The Arrow crates panic on some damaged files; here
/// that is an error which names the file, as any other.
pub(super) fn guarded<T, E: std::fmt::Display>(
    path: &Path,
    kind: &str,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::file(path, format!("is damaged or no {kind}: {error}"))),
        Err(_) => Err(Error::file(path, format!("is damaged or no {kind}"))),
    }
}

/// Consecutive rows of one file.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The requested columns, in the order of the request.
    pub batch: RecordBatch,
    /// The file.
    pub path: Arc<Path>,
    /// Index into [`Source::files`].
    pub file: usize,
    /// Position of the first row within its file, from 0.
    pub first_row: u64,
}

impl Rows {
    /// Rows that were made, not read: `path` is what errors will call them.
    pub fn new(batch: RecordBatch, path: impl AsRef<Path>) -> Rows {
        Rows { batch, path: path.as_ref().into(), file: 0, first_row: 0 }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a row (an index from 0 into these rows) within its file,
    /// from 1, as error messages count.
    pub fn number(&self, row: usize) -> u64 {
        self.first_row + row as u64 + 1
    }

    /// One column.
    ///
    /// # Errors
    /// [`Error::File`] with the file, the column and the nearest spelling.
    pub fn column(&self, name: &str) -> Result<Column<'_>> {
        let schema = self.batch.schema_ref();
        match schema.index_of(name) {
            Ok(index) => Column::new(self, index),
            Err(_) => Err(missing(&self.path, name, schema.fields().iter().map(|field| field.name().as_str()))),
        }
    }
}
