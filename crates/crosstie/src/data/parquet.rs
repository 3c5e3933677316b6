//! Parquet files: one part per row group.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;

use super::format::{Batches, guarded};
use crate::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use crate::error::{Error, Result};

/// Reads the footer.
pub(super) fn open(path: &Path) -> Result<ArrowReaderMetadata> {
    let file = File::open(path).map_err(Error::io(path))?;
    let metadata = guarded(path, "Parquet file", || ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()))?;
    let chunks = metadata.metadata().row_groups().iter().flat_map(|group| group.columns());
    if let Some(chunk) = chunks.into_iter().find(|chunk| matches!(chunk.compression(), Compression::LZO)) {
        let column = chunk.column_path().string();
        let message = format!("column `{column}` is compressed with LZO, which is not read; write the file with zstd");
        return Err(Error::unfit(path, message));
    }
    // The reader makes dictionaries of some types only, and whoever reads
    // these rows spells them out.
    let fields: Vec<FieldRef> = metadata.schema().fields().iter().map(spelled_out).collect();
    if fields == metadata.schema().fields().to_vec() {
        return Ok(metadata);
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata.schema().metadata().clone()));
    let options = ArrowReaderOptions::default().with_schema(schema);
    guarded(path, "Parquet file", || ArrowReaderMetadata::try_new(metadata.metadata().clone(), options))
}

/// The field with the values of its dictionaries in their place.
fn spelled_out(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        DataType::List(item) => DataType::List(spelled_out(item)),
        DataType::LargeList(item) => DataType::LargeList(spelled_out(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(spelled_out(item), *size),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone()))
}

/// Number of rows of each row group.
pub(super) fn parts(metadata: &ArrowReaderMetadata) -> Vec<u64> {
    metadata.metadata().row_groups().iter().map(|group| group.num_rows().max(0) as u64).collect()
}

/// Streams the given columns (ascending) of one row group.
pub(super) fn read(
    path: &Arc<Path>,
    metadata: &ArrowReaderMetadata,
    part: usize,
    columns: &[usize],
    limit: usize,
) -> Result<Batches> {
    let file = File::open(path).map_err(Error::io(path))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let projection = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
    let mut reader = guarded(path, "Parquet file", || {
        builder.with_row_groups(vec![part]).with_projection(projection).with_batch_size(limit).build()
    })?;
    let path = path.clone();
    Ok(Box::new(std::iter::from_fn(move || guarded(&path, "Parquet file", || reader.next().transpose()).transpose())))
}
