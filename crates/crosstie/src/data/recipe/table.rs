//! What the recipes share: typed columns out of text, and the three files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_select::concat::concat_batches;

use super::PrepareReport;
use crate::arrow::array::{ArrayRef, Float64Array, Int8Array, Int64Array, RecordBatch, StringBuilder};
use crate::arrow::datatypes::{DataType, Field, SchemaRef};
use crate::arrow::error::ArrowError;
use crate::data::{Rows, Source, Splits};
use crate::error::{Error, Result};
use crate::schema::Schema;

/// Rows read and written at a time.
pub(super) const PIECE: usize = 1 << 16;

/// What a column holds. All but labels may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Number,
    Label,
}

/// A column by name and what it holds.
pub(super) type Column = (String, Kind);

/// Columns of one kind.
pub(super) fn columns(kind: Kind, names: &[&str]) -> Vec<Column> {
    names.iter().map(|name| (name.to_string(), kind)).collect()
}

pub(super) fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let field = |(name, kind): &Column| {
        let data_type = match kind {
            Kind::Text => DataType::Utf8,
            Kind::Integer => DataType::Int64,
            Kind::Number => DataType::Float64,
            Kind::Label => DataType::Int8,
        };
        Field::new(name, data_type, true)
    };
    Arc::new(crate::arrow::datatypes::Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// Opens files, whose paths are taken as they are.
pub(super) fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Source> {
    let paths: Result<Vec<&str>> = paths
        .iter()
        .map(|path| path.as_ref().to_str().ok_or_else(|| Error::unfit(path, "the path is not UTF-8; rename it")))
        .collect();
    Source::open(&paths?)
}

/// The columns of some rows, as what they hold.
pub(super) fn typed(rows: &Rows, columns: &[Column]) -> Result<Vec<ArrayRef>> {
    columns.iter().map(|(name, kind)| one_typed(rows, name, *kind)).collect()
}

fn one_typed(rows: &Rows, name: &str, kind: Kind) -> Result<ArrayRef> {
    let column = rows.column(name)?;
    Ok(match kind {
        Kind::Text => {
            let mut texts = StringBuilder::new();
            column.each_text(|_, text| texts.append_option(text))?;
            Arc::new(texts.finish())
        }
        Kind::Integer => {
            let numbers = column.numbers()?;
            if let Some(row) = numbers.iter().position(|number| number.is_some_and(|number| number.fract() != 0.0)) {
                return Err(column.error(row, "an integer, or nothing"));
            }
            Arc::new(numbers.into_iter().map(|number| number.map(|number| number as i64)).collect::<Int64Array>())
        }
        Kind::Number => Arc::new(Float64Array::from(column.numbers()?)),
        Kind::Label => {
            let labels = column.labels()?;
            Arc::new(labels.into_iter().map(|label| (!label.is_nan()).then_some(label as i8)).collect::<Int8Array>())
        }
    })
}

/// Completes the files and tells their sizes.
pub(super) fn finish(splits: Splits, report: &mut PrepareReport) -> Result<()> {
    let [train, valid, test] = splits.finish()?;
    report.say(format!("wrote train.parquet with {train} rows, valid.parquet with {valid}, test.parquet with {test}"));
    Ok(())
}

/// Writes a schema under the given name, once it is sure to be a valid one.
pub(super) fn write_schema(to: &Path, name: &str, text: &str, report: &mut PrepareReport) -> Result<()> {
    let schema = Schema::parse(text)?;
    crate::durable::write_file(&to.join(name), text)?;
    let tasks: Vec<&str> = schema.tasks.iter().map(|task| task.name.as_str()).collect();
    report.say(format!("wrote {name} with the tasks {} and {} fields", tasks.join(", "), schema.fields.len()));
    Ok(())
}

/// The text of a `[[field]]` table per column, all alike but for the name.
pub(super) fn fields(names: &[&str], keys: &str) -> String {
    names.iter().map(|name| format!("\n[[field]]\nname = \"{name}\"\n{keys}\n")).collect()
}

/// Reads whole files into one batch: for the small tables that are joined.
pub(super) fn read_all(path: &PathBuf, wanted: &[Column]) -> Result<RecordBatch> {
    let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let schema = arrow_schema(wanted);
    let mut pieces = Vec::new();
    for rows in open(&[path])?.rows(&names, PIECE) {
        pieces.push(batch_of(path, &schema, typed(&rows?, wanted)?)?);
    }
    concat_batches(&schema, &pieces).map_err(|error| wrong(path, error))
}

/// Columns made of what was read from a file, as a table.
pub(super) fn batch_of(path: &Path, schema: &SchemaRef, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema.clone(), arrays).map_err(|error| wrong(path, error))
}

/// What was read from a file does not fit together.
pub(super) fn wrong(path: &Path, error: ArrowError) -> Error {
    Error::file(path, error.to_string()).because(error)
}
