//! Writing tables.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::format::{Compression, Format};
use super::rows::Rows;
use crate::arrow::array::{Array, RecordBatch};
use crate::arrow::datatypes::SchemaRef;
use crate::durable::NewFile;
use crate::error::{Error, Result};

/// Rows of a Parquet row group, the unit of shuffling and of memory.
pub(super) const ROW_GROUP: usize = 1 << 17;

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
    /// [`Error::Unfit`] for an unknown extension or a type that the format does
    /// not have, [`Error::Io`].
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Writer> {
        Writer::begin(path, schema, NewFile::create)
    }

    /// As [`Writer::create`], in a directory that is under way itself ([`NewFile::within`]).
    pub(crate) fn within(path: &Path, schema: SchemaRef) -> Result<Writer> {
        Writer::begin(path, schema, NewFile::within)
    }

    fn begin(path: &Path, schema: SchemaRef, file: fn(&Path) -> Result<NewFile>) -> Result<Writer> {
        let format = Format::of(path)?;
        let file = file(path)?;
        let handle = file.handle()?;
        let sink = match format {
            Format::Parquet => {
                let mut properties = WriterProperties::builder()
                    .set_compression(Codec::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP));
                // Hardly two scores are alike, and looking for those that are takes longer than all else.
                for field in schema.fields().iter().filter(|field| field.data_type().is_floating()) {
                    properties = properties.set_column_dictionary_enabled(field.name().as_str().into(), false);
                }
                let writer = ArrowWriter::try_new(handle, schema.clone(), Some(properties.build()));
                Sink::Parquet(Box::new(writer.map_err(|error| Error::unwritten(path, error))?))
            }
            Format::Ipc => {
                let writer = FileWriter::try_new_buffered(handle, &schema);
                Sink::Ipc(Box::new(writer.map_err(|error| Error::unwritten(path, error))?))
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
                writer.write_record(header).map_err(|error| Error::unwritten(path, error))?;
                Sink::Csv(Box::new(writer))
            }
        };
        Ok(Writer { path: path.to_path_buf(), schema, file, sink })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`Error::Unfit`] where the rows are not of the schema the file was begun
    /// with, [`Error::Io`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let path = &self.path;
        let same = |(one, other): (&crate::arrow::datatypes::FieldRef, &crate::arrow::datatypes::FieldRef)| {
            one.name() == other.name() && one.data_type() == other.data_type()
        };
        let (expected, found) = (self.schema.fields(), batch.schema_ref().fields());
        if expected.len() != found.len() || !expected.iter().zip(found).all(same) {
            let message = format!("rows with the columns {found:?} do not fit a table of {expected:?}");
            return Err(Error::unfit(path, message));
        }
        match &mut self.sink {
            Sink::Parquet(writer) => writer.write(batch).map_err(|error| Error::unwritten(path, error)),
            Sink::Ipc(writer) => writer.write(batch).map_err(|error| Error::unwritten(path, error)),
            Sink::Csv(writer) => {
                let rows = Rows::new(batch.clone(), path);
                let columns = (0..batch.num_columns()).map(|column| rows.column_at(column)?.to_text());
                let columns = columns.collect::<Result<Vec<_>>>()?;
                for row in 0..batch.num_rows() {
                    let cells = columns.iter().map(|cells| if cells.is_valid(row) { cells.value(row) } else { "" });
                    writer.write_record(cells).map_err(|error| Error::unwritten(path, error))?;
                }
                Ok(())
            }
        }
    }

    /// Completes the file, waits until it is on the disk, and gives it its
    /// name, replacing a file that had it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let Writer { path, file, sink, .. } = self;
        match sink {
            Sink::Parquet(writer) => writer.close().map(|_| ()).map_err(|error| Error::unwritten(&path, error))?,
            Sink::Ipc(mut writer) => {
                writer.finish().map_err(|error| Error::unwritten(&path, error))?;
                writer.into_inner().map(|_| ()).map_err(|error| Error::unwritten(&path, error))?;
            }
            Sink::Csv(writer) => {
                let compressed = writer.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
                compressed.finish().map_err(Error::io(&path))?;
            }
        }
        file.finish()
    }
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
