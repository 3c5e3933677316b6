//! Writing tables.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::format::{Compression, Format};
use super::source::Rows;
use crate::arrow::array::{Array, RecordBatch, StringArray, StringBuilder};
use crate::arrow::datatypes::SchemaRef;
use crate::durable::NewFile;
use crate::error::{Error, Result};

/// Rows of a Parquet row group, the unit of shuffling and of memory.
const ROW_GROUP: usize = 1 << 17;

/// Writes a table in the format that the file's extension tells (those of
/// [`super::Source::open`]). It goes to a temporary file beside, which takes
/// the name only when finished; dropped unfinished, it is removed.
pub struct Writer {
    path: PathBuf,
    schema: SchemaRef,
    file: NewFile,
    sink: Sink,
}

enum Sink {
    Parquet(Box<ArrowWriter<File>>),
    Ipc(Box<FileWriter<BufWriter<File>>>),
    Csv(Box<csv::Writer<Compressed>>),
}

enum Compressed {
    None(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Writer {
    /// Refuses a path where no table can be written, before there is a table.
    ///
    /// # Errors
    /// As of [`Writer::create`].
    pub fn check(path: &Path) -> Result<()> {
        Format::of(path)?;
        NewFile::create(path).map(drop)
    }

    /// Begins a file: Parquet (zstd, row groups of 131,072 rows), Arrow IPC, or
    /// CSV with a header, `1` and `0` for booleans, nothing for missing values,
    /// and the elements of a list joined by commas.
    ///
    /// # Errors
    /// [`Error::File`] for an unknown extension, [`Error::Io`].
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Writer> {
        let format = Format::of(path)?;
        let file = NewFile::create(path)?;
        let handle = file.handle()?;
        let wrong = |error: &dyn std::fmt::Display| Error::file(path, format!("cannot be written: {error}"));
        let sink = match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Codec::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP))
                    .build();
                let writer = ArrowWriter::try_new(handle, schema.clone(), Some(properties));
                Sink::Parquet(Box::new(writer.map_err(|error| wrong(&error))?))
            }
            Format::Ipc => {
                let writer = FileWriter::try_new_buffered(handle, &schema);
                Sink::Ipc(Box::new(writer.map_err(|error| wrong(&error))?))
            }
            Format::Csv { delimiter, compression } => {
                let handle = BufWriter::new(handle);
                let compressed = match compression {
                    Compression::None => Compressed::None(handle),
                    Compression::Gzip => {
                        Compressed::Gzip(flate2::write::GzEncoder::new(handle, flate2::Compression::default()))
                    }
                    Compression::Zstd => Compressed::Zstd(zstd::Encoder::new(handle, 0).map_err(Error::io(path))?),
                };
                let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(compressed);
                let header = schema.fields().iter().map(|field| field.name());
                writer.write_record(header).map_err(|error| wrong(&error))?;
                Sink::Csv(Box::new(writer))
            }
        };
        Ok(Writer { path: path.to_path_buf(), schema, file, sink })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`Error::File`] where the rows are not of the schema the file was begun
    /// with, or cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let path = &self.path;
        let wrong = |error: &dyn std::fmt::Display| Error::file(path, format!("cannot be written: {error}"));
        let same = |(one, other): (&crate::arrow::datatypes::FieldRef, &crate::arrow::datatypes::FieldRef)| {
            one.name() == other.name() && one.data_type() == other.data_type()
        };
        let (expected, found) = (self.schema.fields(), batch.schema_ref().fields());
        if expected.len() != found.len() || !expected.iter().zip(found).all(same) {
            return Err(wrong(&format!("rows with the columns {found:?} do not fit a table of {expected:?}")));
        }
        match &mut self.sink {
            Sink::Parquet(writer) => writer.write(batch).map_err(|error| wrong(&error)),
            Sink::Ipc(writer) => writer.write(batch).map_err(|error| wrong(&error)),
            Sink::Csv(writer) => {
                let columns = texts(&Rows::new(batch.clone(), path))?;
                for row in 0..batch.num_rows() {
                    let cells = columns.iter().map(|cells| if cells.is_valid(row) { cells.value(row) } else { "" });
                    writer.write_record(cells).map_err(|error| wrong(&error))?;
                }
                Ok(())
            }
        }
    }

    /// Completes the file, waits until it is on the disk, and gives it its
    /// name, replacing a file that had it.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let Writer { path, file, sink, .. } = self;
        let wrong = |error: &dyn std::fmt::Display| Error::file(&path, format!("cannot be written: {error}"));
        match sink {
            Sink::Parquet(writer) => writer.close().map(|_| ()).map_err(|error| wrong(&error))?,
            Sink::Ipc(mut writer) => {
                writer.finish().map_err(|error| wrong(&error))?;
                writer.into_inner().map(|_| ()).map_err(|error| wrong(&error))?;
            }
            Sink::Csv(writer) => {
                let compressed = writer.into_inner().map_err(|error| wrong(&error.error()))?;
                compressed.finish().map_err(Error::io(&path))?;
            }
        }
        file.finish()
    }
}

/// Every cell of every column as it stands in a CSV file.
fn texts(rows: &Rows) -> Result<Vec<StringArray>> {
    let schema = rows.batch.schema_ref();
    let column = |name: &str| {
        let column = rows.column(name)?;
        let mut cells = StringBuilder::new();
        if column.is_list() {
            let mut joined = vec![String::new(); column.len()];
            let mut bad = None;
            column.each_list(",", |row, text| {
                if text.contains(',') {
                    bad.get_or_insert(row);
                }
                if !joined[row].is_empty() {
                    joined[row].push(',');
                }
                joined[row].push_str(text);
            })?;
            if let Some(row) = bad {
                return Err(column.error(row, "no comma within an element, for commas join them in CSV"));
            }
            joined.iter().for_each(|text| cells.append_value(text));
        } else {
            column.each_text(|_, text| cells.append_option(text))?;
        }
        Ok(cells.finish())
    };
    schema.fields().iter().map(|field| column(field.name())).collect()
}

impl Write for Compressed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Compressed::None(file) => file.write(bytes),
            Compressed::Gzip(file) => file.write(bytes),
            Compressed::Zstd(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Compressed::None(file) => file.flush(),
            Compressed::Gzip(file) => file.flush(),
            Compressed::Zstd(file) => file.flush(),
        }
    }
}

impl Compressed {
    fn finish(self) -> std::io::Result<()> {
        match self {
            Compressed::None(file) => file,
            Compressed::Gzip(file) => file.finish()?,
            Compressed::Zstd(file) => file.finish()?,
        }
        .flush()
    }
}
