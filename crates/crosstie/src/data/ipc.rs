//! Arrow IPC files and streams: one part per file.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow_ipc::reader::{FileReader, StreamReader, read_footer_length};
use arrow_ipc::{root_as_footer, root_as_message};

use super::format::{Batches, guarded};
use crate::arrow::array::RecordBatch;
use crate::arrow::datatypes::SchemaRef;
use crate::arrow::error::ArrowError;
use crate::error::{Error, Result};

/// What the metadata of a file tells.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub schema: SchemaRef,
    /// Number of rows; a stream does not tell before its end.
    pub rows: Option<u64>,
}

const MAGIC: &[u8; 6] = b"ARROW1";

/// Reads schema and footer.
pub(super) fn open(path: &Path) -> Result<Metadata> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    guarded(path, "Arrow IPC file", || {
        if is_file(&mut file)? {
            let rows = Some(count(&mut file)?);
            Ok::<_, ArrowError>(Metadata { schema: FileReader::try_new(&mut file, None)?.schema(), rows })
        } else {
            Ok(Metadata { schema: StreamReader::try_new(&mut file, None)?.schema(), rows: None })
        }
    })
}

/// Streams the given columns (ascending).
pub(super) fn read(path: &Arc<Path>, columns: &[usize], limit: usize) -> Result<Batches> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let columns = Some(columns.to_vec());
    let mut batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send> =
        guarded(path, "Arrow IPC file", || {
            Ok::<_, ArrowError>(if is_file(&mut file)? {
                Box::new(FileReader::try_new_buffered(file, columns)?) as Box<dyn Iterator<Item = _> + Send>
            } else {
                Box::new(StreamReader::try_new_buffered(file, columns)?)
            })
        })?;
    let path = path.clone();
    let mut rest: Option<RecordBatch> = None;
    Ok(Box::new(std::iter::from_fn(move || {
        loop {
            if let Some(batch) = rest.take().filter(|batch| batch.num_rows() > 0) {
                let rows = batch.num_rows().min(limit);
                rest = Some(batch.slice(rows, batch.num_rows() - rows));
                return Some(Ok(batch.slice(0, rows)));
            }
            match guarded(&path, "Arrow IPC file", || batches.next().transpose()) {
                Ok(Some(batch)) => rest = Some(batch),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    })))
}

/// Whether this is the file format, with a footer, or the bare stream.
fn is_file(file: &mut File) -> Result<bool, ArrowError> {
    let mut start = Vec::new();
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    if start.starts_with(b"FEA1") {
        return Err(ArrowError::ParseError("this is Feather version 1; write it again as version 2".into()));
    }
    Ok(start == MAGIC)
}

/// Sums the rows that the headers of the record batches declare. Before that,
/// checks that all blocks lie within the file: the reader allocates whatever
/// length a damaged footer claims.
fn count(file: &mut File) -> Result<u64, ArrowError> {
    let length = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut tail = [0; 10];
    reader.seek(SeekFrom::End(-10))?;
    reader.read_exact(&mut tail)?;
    let footer_length = read_footer_length(tail)?;
    reader.seek(SeekFrom::End(-10 - footer_length as i64))?;
    let mut footer = vec![0; footer_length];
    reader.read_exact(&mut footer)?;
    let broken = |error: &dyn std::fmt::Display| ArrowError::ParseError(error.to_string());
    let footer = root_as_footer(&footer).map_err(|error| broken(&error))?;
    let batches = footer.recordBatches().into_iter().flatten();
    for block in footer.dictionaries().into_iter().flatten().chain(batches.clone()) {
        let parts = [block.offset(), block.metaDataLength().into(), block.bodyLength()];
        let end = parts.iter().try_fold(0u64, |end, part| end.checked_add(u64::try_from(*part).ok()?));
        if block.metaDataLength() < 8 || end.is_none_or(|end| end > length) {
            return Err(broken(&"the footer names a block that is not within the file"));
        }
    }
    let mut rows = 0;
    for block in batches {
        reader.seek(SeekFrom::Start(block.offset() as u64))?;
        let mut header = vec![0; block.metaDataLength() as usize];
        reader.read_exact(&mut header)?;
        // Files of before Arrow 0.15 lack the marker in front of the length.
        let message = header.strip_prefix(&[0xff; 4]).unwrap_or(&header).get(4..).unwrap_or_default();
        let message = root_as_message(message).map_err(|error| broken(&error))?;
        let batch = message.header_as_record_batch().ok_or_else(|| broken(&"a block is no record batch"))?;
        rows += batch.length().max(0) as u64;
    }
    Ok(rows)
}
