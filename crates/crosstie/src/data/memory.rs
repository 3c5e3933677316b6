//! Tables in memory: one part per row group of the file that they would be.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_select::concat::concat_batches;

use super::format::Batches;
use super::text::plain;
use super::write::ROW_GROUP;
use crate::arrow::array::{RecordBatch, RecordBatchOptions};
use crate::arrow::datatypes::{Field, Schema};
use crate::arrow::error::ArrowError;
use crate::error::{Error, Result};

/// Streams the given columns of one part. What lies in one batch is not copied, but
/// for dictionaries, which are spelled out as in a Parquet file.
pub(super) fn read(
    path: &Arc<Path>,
    batches: &[RecordBatch],
    part: usize,
    columns: &[usize],
    limit: usize,
) -> Result<Batches> {
    let wrong = |path: &Path, error: ArrowError| Error::file(path, error.to_string()).because(error);
    let first = part * ROW_GROUP;
    let mut within = Vec::new();
    for (batch, rows) in overlaps(batches, first..first + ROW_GROUP) {
        let batch = batch.project(columns).map_err(|error| wrong(path, error))?;
        within.push(batch.slice(rows.start, rows.len()));
    }
    let rows: usize = within.iter().map(RecordBatch::num_rows).sum();
    let path = Arc::clone(path);
    Ok(Box::new((0..rows).step_by(limit).map(move |start| {
        let pieces = overlaps(&within, start..start + limit);
        let pieces = pieces.map(|(batch, rows)| spelled_out(&batch.slice(rows.start, rows.len())));
        let pieces = pieces.collect::<Result<Vec<_>, ArrowError>>();
        pieces
            .and_then(|mut pieces| match &pieces[..] {
                [_] => Ok(pieces.remove(0)),
                _ => concat_batches(&pieces[0].schema(), &pieces),
            })
            .map_err(|error| wrong(&path, error))
    })))
}

/// The batches that hold rows of a range, and which of theirs.
fn overlaps(batches: &[RecordBatch], range: Range<usize>) -> impl Iterator<Item = (&RecordBatch, Range<usize>)> {
    let mut start = 0;
    let with_place = batches.iter().map(move |batch| {
        let place = start;
        start += batch.num_rows();
        (batch, place)
    });
    with_place.filter_map(move |(batch, place)| {
        let rows = range.start.saturating_sub(place)..range.end.saturating_sub(place).min(batch.num_rows());
        (!rows.is_empty()).then_some((batch, rows))
    })
}

/// The batch with the values of its dictionaries in their place.
pub(super) fn spelled_out(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let arrays = batch.columns().iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    let schema = batch.schema_ref();
    let fields = schema.fields().iter().zip(&arrays).map(|(field, array)| {
        let nullable = field.is_nullable() || array.data_type() != field.data_type();
        Arc::new(Field::new(field.name(), array.data_type().clone(), nullable).with_metadata(field.metadata().clone()))
    });
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)
}

#[cfg(test)]
mod tests {
    use crate::arrow::array::{ArrayRef, DictionaryArray, Int64Array};
    use crate::arrow::datatypes::Int8Type;

    use super::*;
    use crate::data::Source;
    use crate::data::tests::table;

    /// Rows from `start` on: their numbers, and a text whose dictionary differs from batch to batch.
    fn batch(start: usize, rows: usize) -> RecordBatch {
        let texts: Vec<String> = (start..start + rows).map(|row| format!("{}", row / 100_000 % 3)).collect();
        let dictionary: DictionaryArray<Int8Type> = texts.iter().map(String::as_str).collect();
        let numbers = Int64Array::from_iter_values((start..start + rows).map(|row| row as i64));
        table(vec![("row", Arc::new(numbers) as ArrayRef), ("text", Arc::new(dictionary))])
    }

    #[test]
    fn how_a_table_is_cut_into_batches_shows_nowhere() {
        let rows = 2 * ROW_GROUP + 3000;
        let whole = Source::from_batches("whole", vec![batch(0, rows)]).unwrap();
        let lengths = [5, 0, 70_000, 1, ROW_GROUP, rows - ROW_GROUP - 70_006];
        let mut start = 0;
        let cut = lengths.map(|length| {
            start += length;
            batch(start - length, length)
        });
        let cut = Source::from_batches("cut", cut.to_vec()).unwrap();
        let sizes = |source: &Source| source.blocks().iter().map(|block| block.rows).collect::<Vec<_>>();
        assert_eq!(sizes(&whole), [Some(ROW_GROUP as u64), Some(ROW_GROUP as u64), Some(3000)]);
        assert_eq!(whole.blocks(), cut.blocks());
        let (mut next, mut pieces) = (0, 0);
        for (one, other) in whole.rows(&["text", "row"], 8192).zip(cut.rows(&["text", "row"], 8192)) {
            let (one, other) = (one.unwrap(), other.unwrap());
            assert_eq!((one.first_row, &one.batch), (other.first_row, &other.batch));
            assert_eq!(one.first_row, next);
            let first = one.column("row").unwrap().numbers().unwrap()[0];
            assert_eq!(first, Some(next as f64));
            next += one.len() as u64;
            pieces += 1;
        }
        assert_eq!((next, pieces), (rows as u64, 16 + 16 + 1));
    }

    #[test]
    fn a_table_without_rows_has_no_block() {
        let source = Source::from_batches("none", vec![batch(0, 0)]).unwrap();
        assert_eq!((source.blocks().len(), source.total_rows()), (0, Some(0)));
        assert_eq!(source.columns(), ["row", "text"]);
    }
}
