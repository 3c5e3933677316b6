//! One table: a file, or batches in memory.

use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::format::{Batches, Compression, Format, distinct};
use super::rows::missing;
use super::write::ROW_GROUP;
use super::{csv, ipc, memory, parquet};
use crate::arrow::array::RecordBatch;
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::error::{Error, Result};

#[derive(Debug)]
pub(super) struct Table {
    /// The file, or what errors call a table in memory.
    pub path: Arc<Path>,
    pub schema: SchemaRef,
    access: Access,
}

#[derive(Debug)]
enum Access {
    Parquet(ArrowReaderMetadata),
    Ipc,
    Csv { delimiter: u8, compression: Compression },
    Memory(Vec<RecordBatch>),
}

impl Table {
    /// Reads a file's metadata; tells the number of rows of each of its parts,
    /// if known.
    pub fn open(path: &Path) -> Result<(Table, Vec<Option<u64>>)> {
        let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
        if metadata.is_dir() {
            let example = path.join("*.parquet");
            return Err(Error::unfit(path, format!("is a directory; name its files, as in {}", example.display())));
        }
        if !metadata.is_file() {
            let message = "is a pipe or a device, which gives its bytes once, and a table is read more than once; \
                           write them into a file and name that";
            return Err(Error::unfit(path, message));
        }
        let (schema, access, parts) = match Format::of(path)? {
            Format::Parquet => {
                let metadata = parquet::open(path)?;
                let parts = parquet::parts(&metadata).into_iter().map(Some).collect();
                (metadata.schema().clone(), Access::Parquet(metadata), parts)
            }
            Format::Ipc => {
                let metadata = ipc::open(path)?;
                (metadata.schema, Access::Ipc, vec![metadata.rows])
            }
            Format::Csv { delimiter, compression } => {
                let names = csv::open(path, delimiter, compression)?;
                let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
                (Arc::new(Schema::new(fields)), Access::Csv { delimiter, compression }, vec![None])
            }
        };
        distinct(path, &schema)?;
        Ok((Table { path: path.into(), schema, access }, parts))
    }

    /// A table in memory, and the number of rows of each part. The parts are those of
    /// the Parquet file that [`super::Writer`] makes of it, however it is cut into
    /// batches, so that both train to the same bits.
    pub fn of_batches(name: &Path, batches: Vec<RecordBatch>) -> Result<(Table, Vec<Option<u64>>)> {
        let Some(schema) = batches.first().map(RecordBatch::schema) else {
            return Err(Error::unfit(name, "has no batch, and so no columns"));
        };
        distinct(name, &schema)?;
        let like_first = |batch: &RecordBatch| {
            let fields = schema.fields().iter().zip(batch.schema_ref().fields());
            batch.num_columns() == schema.fields().len()
                && fields.into_iter().all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
        };
        if let Some(other) = batches.iter().position(|batch| !like_first(batch)) {
            return Err(Error::unfit(name, format!("batch {other} has other columns than batch 0")));
        }
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let parts = (0..rows).step_by(ROW_GROUP).map(|start| Some(ROW_GROUP.min(rows - start) as u64)).collect();
        let schema = memory::spelled_out(&RecordBatch::new_empty(schema)).map(|batch| batch.schema());
        let schema = schema.map_err(|error| Error::file(name, error.to_string()).because(error))?;
        Ok((Table { path: name.into(), schema, access: Access::Memory(batches) }, parts))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|field| field.name().as_str())
    }

    /// Where these columns stand, each once.
    pub fn positions(&self, columns: &[&str]) -> Result<Vec<usize>> {
        let mut positions = Vec::with_capacity(columns.len());
        for name in columns {
            let position = self.names().position(|column| column == *name);
            let position = position.ok_or_else(|| missing(&self.path, name, self.names()))?;
            if !positions.contains(&position) {
                positions.push(position);
            }
        }
        Ok(positions)
    }

    /// Streams the given columns (ascending) of a part, at most `limit` rows at
    /// a time.
    pub fn read(&self, part: usize, columns: &[usize], limit: usize) -> Result<Batches> {
        match &self.access {
            Access::Parquet(metadata) => parquet::read(&self.path, metadata, part, columns, limit),
            Access::Ipc => ipc::read(&self.path, columns, limit),
            Access::Csv { delimiter, compression } => {
                let one_column = self.schema.fields().len() == 1;
                csv::read(&self.path, *delimiter, *compression, columns, one_column, limit)
            }
            Access::Memory(batches) => memory::read(&self.path, batches, part, columns, limit),
        }
    }

    pub fn is_in_memory(&self) -> bool {
        matches!(self.access, Access::Memory(_))
    }
}
