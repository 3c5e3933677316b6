//! CSV and TSV files, compressed or not: one part per file, all columns text.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};

use super::format::{Batches, Compression};
use crate::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use crate::arrow::datatypes::{DataType, Field, Schema};
use crate::error::{Error, Result};

/// A longer row is taken for a quote that nobody closed, before it fills the
/// memory with the rest of the file.
const LONGEST_ROW: u64 = 64 << 20;

/// A batch ends early here, for Arrow's offsets into text have 32 bits.
const LARGEST_BATCH: usize = 512 << 20;

/// Follows the last byte of the file. As blank lines it is skipped, unless it
/// falls inside a quote that was opened and never closed.
const AFTER_THE_END: &[u8] = b"\n\r\n\n\r\n";

/// Reads the header.
pub(super) fn open(path: &Path, delimiter: u8, compression: Compression) -> Result<Vec<String>> {
    let (mut reader, _) = reader(compression.open(path)?, delimiter);
    header(path, &mut reader)
}

fn header(path: &Path, reader: &mut Reader<Guard>) -> Result<Vec<String>> {
    let header = reader.byte_headers().map_err(|error| failure(path, error, 0))?;
    if header.is_empty() {
        return Err(Error::file(path, "is empty; expected a header line with the names of the columns"));
    }
    if header.iter().any(|name| name.ends_with(AFTER_THE_END)) {
        return Err(Error::file(path, "the header opens a quote that is never closed"));
    }
    header.iter().map(|name| String::from_utf8(name.to_vec())).collect::<Result<Vec<_>, _>>().map_err(|error| {
        let message = "the header is no text in UTF-8; is the file compressed, or in another encoding?";
        Error::file(path, message).because(error)
    })
}

/// Streams the given columns (ascending). In a table of one column a blank
/// line is a row whose cell is missing; else it is none.
pub(super) fn read(
    path: &Arc<Path>,
    delimiter: u8,
    compression: Compression,
    columns: &[usize],
    one_column: bool,
    limit: usize,
) -> Result<Batches> {
    let mut bytes = compression.open(path)?;
    if one_column {
        bytes = Box::new(Filled::new(bytes));
    }
    let (mut reader, since_row) = reader(bytes, delimiter);
    let names = header(path, &mut reader)?;
    let fields = columns.iter().map(|column| Field::new(&names[*column], DataType::Utf8, true)).collect::<Vec<_>>();
    let mut table = Table {
        path: path.clone(),
        reader,
        since_row,
        schema: Arc::new(Schema::new(fields)),
        columns: columns.to_vec(),
        limit,
        rows: 0,
        record: ByteRecord::new(),
    };
    Ok(Box::new(std::iter::from_fn(move || table.next().transpose())))
}

struct Table {
    path: Arc<Path>,
    reader: Reader<Guard>,
    since_row: Arc<AtomicU64>,
    schema: Arc<Schema>,
    columns: Vec<usize>,
    limit: usize,
    rows: u64,
    record: ByteRecord,
}

impl Table {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut builders: Vec<StringBuilder> = self.columns.iter().map(|_| StringBuilder::new()).collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < self.limit && bytes < LARGEST_BATCH {
            self.since_row.store(0, Ordering::Relaxed);
            let read = self.reader.read_byte_record(&mut self.record);
            // Before the error: such a row has too few cells, too.
            if self.record.iter().next_back().is_some_and(|cell| cell.ends_with(AFTER_THE_END)) {
                let row = self.rows + 1;
                return Err(Error::file(&self.path, format!("row {row} opens a quote that is never closed")));
            }
            if !read.map_err(|error| self.failure(error))? {
                break;
            }
            self.rows += 1;
            for (builder, column) in builders.iter_mut().zip(&self.columns) {
                match std::str::from_utf8(&self.record[*column]) {
                    Ok("") => builder.append_null(),
                    Ok(text) => builder.append_value(text),
                    Err(_) => return Err(self.not_text(*column)),
                }
            }
            rows += 1;
            bytes += self.record.as_slice().len();
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = builders.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map(Some)
            .map_err(|error| Error::file(&self.path, error.to_string()).because(error))
    }

    fn failure(&self, error: csv::Error) -> Error {
        let several_lines = self.record.iter().any(|cell| cell.contains(&b'\n'));
        match (error.kind(), several_lines) {
            (ErrorKind::UnequalLengths { expected_len, len, .. }, true) => Error::file(
                &self.path,
                format!(
                    "row {}: found {len} cells in several lines, expected {expected_len} as in the header; is there a \
                     quote that is never closed?",
                    self.rows + 1
                ),
            ),
            _ => failure(&self.path, error, self.rows),
        }
    }

    fn not_text(&self, column: usize) -> Error {
        let at = self.columns.iter().position(|other| *other == column).unwrap_or_default();
        Error::Cell {
            path: self.path.to_path_buf(),
            row: self.rows,
            column: self.schema.field(at).name().clone(),
            found: format!("{:?}", String::from_utf8_lossy(&self.record[column])),
            expected: "text in UTF-8".into(),
        }
    }
}

fn failure(path: &Path, error: csv::Error, rows: u64) -> Error {
    match error.into_kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Error::file(path, format!("row {}: found {len} cells, expected {expected_len} as in the header", rows + 1))
        }
        ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            let message = format!(
                "the compressed data end within row {}: it was cut short, or has bytes behind them that are none",
                rows + 1
            );
            Error::file(path, message).because(error)
        }
        ErrorKind::Io(error) => Error::file(path, format!("row {} cannot be read: {error}", rows + 1)).because(error),
        other => Error::file(path, format!("row {} cannot be read: {other:?}", rows + 1)),
    }
}

/// The bytes of a file, watched for quotes that are never closed.
struct Guard {
    bytes: std::io::Chain<Box<dyn Read + Send>, &'static [u8]>,
    since_row: Arc<AtomicU64>,
}

impl Read for Guard {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since_row.load(Ordering::Relaxed) > LONGEST_ROW {
            return Err(std::io::Error::other(format!(
                "it is longer than {} MiB; is there a quote that is never closed?",
                LONGEST_ROW >> 20
            )));
        }
        let read = self.bytes.read(buffer)?;
        self.since_row.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn reader(bytes: Box<dyn Read + Send>, delimiter: u8) -> (Reader<Guard>, Arc<AtomicU64>) {
    let since_row = Arc::new(AtomicU64::new(0));
    let guard = Guard { bytes: bytes.chain(AFTER_THE_END), since_row: since_row.clone() };
    (ReaderBuilder::new().delimiter(delimiter).buffer_capacity(1 << 16).from_reader(guard), since_row)
}

/// Bytes of a table of one column, with a pair of quotes in every blank line
/// after the header: the reader takes a blank line for no row at all.
struct Filled {
    bytes: Box<dyn Read + Send>,
    place: Place,
    /// The last byte ended a line, and a line feed would belong to it.
    after_return: bool,
    chunk: Vec<u8>,
    ready: Vec<u8>,
    given: usize,
}

/// Where in a line the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the header.
    Before,
    Start,
    Within,
    Quoted,
    /// Behind a quote within quotes: their end, unless another follows.
    Unquoted,
}

impl Filled {
    fn new(bytes: Box<dyn Read + Send>) -> Filled {
        let (chunk, ready) = (vec![0; 1 << 16], Vec::new());
        Filled { bytes, place: Place::Before, after_return: false, chunk, ready, given: 0 }
    }

    fn add(&mut self, byte: u8) {
        let ends = matches!(byte, b'\n' | b'\r') && self.place != Place::Quoted;
        if ends && !(byte == b'\n' && self.after_return) {
            if self.place == Place::Start {
                self.ready.extend_from_slice(b"\"\"");
            }
            if self.place != Place::Before {
                self.place = Place::Start;
            }
        } else if !ends {
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::Unquoted,
                (Place::Quoted, _) => Place::Quoted,
                (Place::Before | Place::Start | Place::Unquoted, b'"') => Place::Quoted,
                _ => Place::Within,
            };
        }
        self.after_return = ends && byte == b'\r';
        self.ready.push(byte);
    }
}

impl Read for Filled {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
            let read = self.bytes.read(&mut self.chunk)?;
            (0..read).for_each(|index| self.add(self.chunk[index]));
        }
        let given = (self.ready.len() - self.given).min(buffer.len());
        buffer[..given].copy_from_slice(&self.ready[self.given..self.given + given]);
        self.given += given;
        Ok(given)
    }
}
