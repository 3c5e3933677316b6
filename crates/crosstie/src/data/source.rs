//! Files, their blocks, and the rows read from them.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use glob::{Pattern, PatternError};

use super::file::Table;
use super::rows::Rows;
use super::text;
use crate::arrow::array::RecordBatch;
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::error::{Error, Result};

/// One or more data files, or tables in memory. Opening reads their metadata
/// only; no file stays open. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Source {
    tables: Arc<Vec<Table>>,
    paths: Arc<Vec<PathBuf>>,
    columns: Arc<Vec<String>>,
    blocks: Arc<Vec<Block>>,
}

/// A part of a file that is read as a whole: a Parquet row group; an IPC or
/// CSV file; of a table in memory the rows that [`super::Writer`] puts into one row
/// group. The unit that is shuffled.
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

impl Source {
    /// Opens files and globs, in the given order; the files of a glob are
    /// sorted by name. The extension tells the format: `.parquet`; `.csv` or
    /// `.tsv`, also followed by `.gz` or `.zst`; `.arrow`, `.ipc` or
    /// `.feather`.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that is missing, [`Error::File`] for one that is
    /// damaged or empty; [`Error::Unfit`] for an unknown format, two columns of
    /// one name, a glob that matches nothing, and a file that is there twice, by
    /// whatever names; [`Error::Config`] without any pattern.
    pub fn open<S: AsRef<str>>(patterns: &[S]) -> Result<Source> {
        if patterns.is_empty() {
            return Err(Error::Config("no data file was named".into()));
        }
        let mut paths = Vec::new();
        let mut named: HashMap<PathBuf, (PathBuf, &str)> = HashMap::new();
        for pattern in patterns.iter().map(S::as_ref) {
            for path in expand(pattern)? {
                if let Some(real) = real(&path)
                    && let Some((other, by)) = named.insert(real, (path.clone(), pattern))
                {
                    let other = if other == path { String::new() } else { format!("as {} ", other.display()) };
                    let message = format!(
                        "is there twice, {other}by {by:?} and by {pattern:?}, so that each of its rows would count \
                         twice; name it once"
                    );
                    return Err(Error::unfit(path, message));
                }
                paths.push(path);
            }
        }
        Ok(Source::of(paths.iter().map(|path| Table::open(path)).collect::<Result<_>>()?))
    }

    /// Takes batches of one table in memory; `name` is what errors will call it.
    /// How the rows are cut into batches shows nowhere.
    ///
    /// # Errors
    /// [`Error::Unfit`] for batches that differ in their columns, for two
    /// columns of one name, and without any batch.
    pub fn from_batches(name: impl AsRef<Path>, batches: Vec<RecordBatch>) -> Result<Source> {
        Ok(Source::of(vec![Table::of_batches(name.as_ref(), batches)?]))
    }

    /// Tables with the number of rows of each of their parts.
    fn of(tables: Vec<(Table, Vec<Option<u64>>)>) -> Source {
        let mut blocks = Vec::new();
        for (file, (_, parts)) in tables.iter().enumerate() {
            let mut first_row = 0;
            for (part, rows) in parts.iter().enumerate() {
                blocks.push(Block { file, part, first_row, rows: *rows });
                first_row += rows.unwrap_or(0);
            }
        }
        let tables: Vec<Table> = tables.into_iter().map(|(table, _)| table).collect();
        let columns = tables.first().into_iter().flat_map(|table| table.names().map(str::to_string)).collect();
        let paths = tables.iter().map(|table| table.path.to_path_buf()).collect();
        Source {
            tables: Arc::new(tables),
            paths: Arc::new(paths),
            columns: Arc::new(columns),
            blocks: Arc::new(blocks),
        }
    }

    pub(super) fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The files, in order.
    pub fn files(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Which of the files are also files of `other`, by whatever names: the first, and
    /// how many more. `None` if none is. Tables in memory are not compared.
    pub fn shared(&self, other: &Source) -> Option<String> {
        let of_files = |table: &&Table| !table.is_in_memory();
        let others: HashSet<PathBuf> =
            other.tables.iter().filter(of_files).filter_map(|table| real(&table.path)).collect();
        let is_shared = |table: &&Table| real(&table.path).is_some_and(|path| others.contains(&path));
        let mut shared = self.tables.iter().filter(of_files).filter(is_shared);
        let first = shared.next()?.path.display().to_string();
        Some(match shared.count() {
            0 => first,
            more => format!("{first} (and {more} more)"),
        })
    }

    /// How to speak of the files: a single one by its name, several as `several`.
    pub fn called(&self, several: &str) -> String {
        match &self.paths[..] {
            [path] => path.file_name().map_or_else(|| several.into(), |name| name.to_string_lossy().into_owned()),
            _ => several.into(),
        }
    }

    /// Names of the columns of the first file. A later file may have others,
    /// or another order; it is refused only where a requested column lacks.
    pub fn columns(&self) -> &[String] {
        &self.columns
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
    /// [`Error::Unfit`] with the first file that lacks one, the column, and the
    /// nearest spelling.
    pub fn require(&self, columns: &[&str]) -> Result<()> {
        self.tables.iter().try_for_each(|table| table.positions(columns).map(|_| ()))
    }

    /// The types of some columns in all files: where files differ, text.
    /// Dictionaries count as what they hold.
    ///
    /// # Errors
    /// [`Error::Unfit`] where a file lacks a column.
    pub fn types(&self, columns: &[&str]) -> Result<SchemaRef> {
        let mut fields: Vec<Field> = Vec::new();
        for table in self.tables.iter() {
            for (index, position) in table.positions(columns)?.into_iter().enumerate() {
                let field = table.schema.field(position);
                let found = text::plain_type(field.data_type());
                match fields.get_mut(index) {
                    None => fields.push(Field::new(field.name(), found.clone(), true)),
                    Some(field) if field.data_type() != found => field.set_data_type(DataType::Utf8),
                    Some(_) => (),
                }
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Streams the given columns of one block, at most `limit` rows at a time
    /// (at least 1). The columns come in the given order, repeated names once.
    /// Memory is bounded by `limit` rows; for an IPC file by its largest record
    /// batch. The stream ends with its first error.
    ///
    /// # Errors
    /// [`Error::Unfit`] where the file lacks a column; [`Error::Io`] and
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
        let file = &self.tables[index];
        let wanted = file.positions(columns)?;
        let mut ascending = wanted.clone();
        ascending.sort_unstable();
        let order: Vec<usize> =
            wanted.iter().filter_map(|position| ascending.iter().position(|other| other == position)).collect();
        let mut batches = file.read(part, &ascending, limit.max(1))?;
        let path = file.path.clone();
        let mut ended = false;
        Ok(std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let rows = batches.next()?.and_then(|batch| {
                let batch =
                    batch.project(&order).map_err(|error| Error::file(&path, error.to_string()).because(error))?;
                let rows = Rows { batch, path: path.clone(), file: index, first_row, reading: None, chosen: None };
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

/// The files that a pattern stands for. A file whose name looks like a glob is
/// taken as it is.
fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    if !pattern.contains(['*', '?', '[']) || Path::new(pattern).exists() {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let wrong = |error: PatternError| Error::unfit(pattern, format!("is no valid glob: {error}")).because(error);
    let hidden_by_name = hidden_parts(Path::new(pattern)).map(|part| Pattern::new(&part));
    let hidden_by_name = hidden_by_name.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let mut files = Vec::new();
    for path in glob::glob(pattern).map_err(wrong)? {
        let path = path.map_err(|error| {
            let path = error.path().to_path_buf();
            Error::Io { path, source: error.into() }
        })?;
        // As in a shell: editors, shared volumes and writers of tables leave
        // files beside the data whose names begin with a dot.
        let named = |part: String| hidden_by_name.iter().any(|pattern| pattern.matches(&part));
        if path.is_file() && hidden_parts(&path).all(named) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::unfit(pattern, "no file matches this glob"));
    }
    files.sort();
    Ok(files)
}

/// The path by which a file is told from others; `None` for what has none, such as a pipe.
fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// The parts of a path that begin with a dot.
fn hidden_parts(path: &Path) -> impl Iterator<Item = String> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    names.filter(|name| name.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::{Directory, open, table};

    #[test]
    fn a_file_that_is_named_twice_is_not_read_twice() {
        let directory = Directory::new();
        let day = |name: &str| directory.file(name, "a\n1\n").to_string_lossy().into_owned();
        let (first, second) = (day("day-1.csv"), day("day-2.csv"));
        let all = directory.path("day-*.csv").to_string_lossy().into_owned();
        let roundabout = directory.path(".").join("day-2.csv").to_string_lossy().into_owned();
        assert_eq!(Source::open(&[&second, &first]).unwrap().files().len(), 2);
        for patterns in [[&first, &first], [&all, &second], [&second, &roundabout]] {
            let said = Source::open(&patterns).unwrap_err().to_string();
            let named = patterns.iter().all(|pattern| said.contains(&format!("{pattern:?}")));
            assert!(named && said.contains("is there twice") && said.ends_with("name it once"), "{said}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_beside_its_file_is_the_same_file() {
        let directory = Directory::new();
        let file = directory.file("day-1.csv", "a\n1\n");
        std::os::unix::fs::symlink(&file, directory.path("latest.csv")).unwrap();
        let said = open(directory.path("*.csv")).unwrap_err().to_string();
        assert!(said.contains("latest.csv") && said.contains(&format!("as {}", file.display())), "{said}");
    }

    #[test]
    fn files_of_two_sources_are_found_by_whatever_name() {
        let directory = Directory::new();
        let [one, two, three] = ["1.csv", "2.csv", "3.csv"].map(|name| directory.file(name, "a\n1\n"));
        let of = |paths: &[&Path]| Source::open(&paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>());
        let some = of(&[&one, &two, &three]).unwrap();
        let other = of(&[&directory.path(".").join("3.csv"), &two]).unwrap();
        assert_eq!(some.shared(&other).unwrap(), format!("{} (and 1 more)", two.display()));
        assert_eq!(of(&[&one]).unwrap().shared(&other), None);
        let column = std::sync::Arc::new(crate::arrow::array::Int32Array::from(vec![1]));
        let in_memory = Source::from_batches(&two, vec![table(vec![("a", column)])]).unwrap();
        assert_eq!((in_memory.shared(&other), other.shared(&in_memory)), (None, None), "whatever it is called");
    }
}
