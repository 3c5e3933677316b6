//! Tables through files and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;

use super::*;
use crate::error::{Error, Result};

const EXTENSIONS: [&str; 8] = ["parquet", "csv", "csv.gz", "csv.zst", "tsv", "arrow", "ipc", "feather"];

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn save(path: &Path, batch: &RecordBatch) {
    let mut writer = Writer::create(path, batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
}

fn open(path: &Path) -> Result<Source> {
    Source::open(&[path.to_str().unwrap()])
}

/// All cells of all columns, row by row.
fn cells(source: &Source, limit: usize) -> Result<Vec<Vec<Option<String>>>> {
    let columns: Vec<&str> = source.columns().iter().map(String::as_str).collect();
    let mut all = Vec::new();
    for rows in source.rows(&columns, limit) {
        let rows = rows?;
        assert_eq!(rows.first_row as usize, all.len());
        assert!(rows.len() <= limit && !rows.is_empty());
        let start = all.len();
        all.resize(start + rows.len(), Vec::new());
        for name in &columns {
            rows.column(name)?.each_text(|row, text| all[start + row].push(text.map(str::to_string)))?;
        }
    }
    Ok(all)
}

fn sample() -> RecordBatch {
    table(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(7), None, Some(-3), Some(i64::MAX)])) as ArrayRef),
        ("price", Arc::new(Float64Array::from(vec![Some(2.0), Some(0.1), None, Some(1e-7)]))),
        ("name", Arc::new(StringArray::from(vec![Some("a,b"), Some("say \"hi\""), Some("two\nlines"), None]))),
        ("click", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]))),
    ])
}

#[test]
fn a_table_has_the_same_cells_in_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let expected = [
        [Some("7"), Some("2"), Some("a,b"), Some("1")],
        [None, Some("0.1"), Some("say \"hi\""), Some("0")],
        [Some("-3"), None, Some("two\nlines"), None],
        [Some("9223372036854775807"), Some("0.0000001"), None, Some("1")],
    ];
    for extension in EXTENSIONS {
        let path = directory.path().join(format!("t.{extension}"));
        save(&path, &sample());
        let source = open(&path).unwrap();
        for limit in [1, 3, 100] {
            assert_eq!(cells(&source, limit).unwrap(), expected, "{extension}");
        }
        let known = !extension.contains("sv");
        assert_eq!(source.total_rows(), known.then_some(4), "{extension}");
    }
}
