//! Parquet files: one part per row group.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::source::{Batches, guarded};
use crate::error::{Error, Result};

/// Reads the footer.
pub(super) fn open(path: &Path) -> Result<ArrowReaderMetadata> {
    let file = File::open(path).map_err(Error::io(path))?;
    guarded(path, "Parquet file", || ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()))
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
