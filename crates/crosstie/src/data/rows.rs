//! Rows as they were read, with the place they came from.

use std::path::Path;
use std::sync::Arc;

use arrow_select::take::take;

use super::column::Column;
use super::reading::Reading;
use super::text;
use crate::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use crate::arrow::datatypes::{DataType, Field, Schema};
use crate::arrow::error::ArrowError;
use crate::error::{Error, Result};
use crate::spelling;

/// Rows of one file: consecutive ones, or some of them.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The requested columns, in the order of the request.
    pub batch: RecordBatch,
    /// The file.
    pub path: Arc<Path>,
    /// Index into [`Source::files`](super::Source::files).
    pub file: usize,
    /// Position of the first row within its file, from 0.
    pub first_row: u64,
    pub(super) reading: Option<Arc<Reading>>,
    /// Of chosen rows, how far each lies behind the first.
    pub(super) chosen: Option<Arc<[u32]>>,
}

impl Rows {
    /// Rows that were made, not read: `path` is what errors will call them.
    pub fn new(batch: RecordBatch, path: impl AsRef<Path>) -> Rows {
        Rows { batch, path: path.as_ref().into(), file: 0, first_row: 0, reading: None, chosen: None }
    }

    /// The same rows with their text read in another way. Without a reading it
    /// is taken as it stands.
    pub fn read_as(&self, reading: &Arc<Reading>) -> Rows {
        Rows { reading: Some(Arc::clone(reading)), ..self.clone() }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a row (an index from 0 into these rows) within its file,
    /// from 1, as error messages count.
    pub fn number(&self, row: usize) -> u64 {
        self.place(row) + 1
    }

    /// The position of a row (an index from 0 into these rows) within its file,
    /// from 0.
    pub fn place(&self, row: usize) -> u64 {
        self.first_row + self.chosen.as_ref().map_or(row as u64, |chosen| u64::from(chosen[row]))
    }

    /// Some of these rows, which keep their places, each as often as it is named. What is
    /// not chosen takes no memory.
    ///
    /// # Errors
    /// [`Error::File`] for a column that cannot be copied.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn choose(&self, rows: &[usize]) -> Result<Rows> {
        let indices = UInt32Array::from_iter_values(rows.iter().map(|row| *row as u32));
        let copy = |array: &ArrayRef| -> Result<ArrayRef> {
            let array = take(array, &indices, None).map_err(|error| Error::file(&self.path, error.to_string()))?;
            // A view would keep alive all that it is a view of.
            Ok(match array.data_type() {
                DataType::Utf8View => Arc::new(array.as_string_view().gc()),
                DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
                _ => array,
            })
        };
        let arrays = self.batch.columns().iter().map(copy).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.batch.schema(), arrays, &options)
            .map_err(|error| Error::file(&self.path, error.to_string()))?;
        let chosen = rows.iter().map(|row| (self.place(*row) - self.first_row) as u32).collect();
        Ok(Rows { batch, chosen: Some(chosen), ..self.clone() })
    }

    /// The same cells, copied, in types that do not tell who wrote the file: text has one
    /// type, lists have one, and nothing stands beside the columns.
    ///
    /// # Errors
    /// [`Error::File`] for a column that cannot be copied.
    pub(crate) fn in_plain_types(&self) -> Result<RecordBatch> {
        let wrong = |error: ArrowError| Error::file(&self.path, error.to_string()).because(error);
        let rows = self.choose(&(0..self.len()).collect::<Vec<_>>())?;
        let arrays = rows.batch.columns().iter().map(text::plainest).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let names = rows.batch.schema_ref().fields().iter().map(|field| field.name());
        let fields = names.zip(&arrays).map(|(name, array)| Field::new(name, array.data_type().clone(), true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options).map_err(wrong)
    }

    /// One column.
    ///
    /// # Errors
    /// [`Error::Unfit`] with the file, the column and the nearest spelling.
    pub fn column(&self, name: &str) -> Result<Column<'_>> {
        self.column_at(self.position(name)?)
    }

    /// Where a column stands. Of rows from one request it is always the same.
    ///
    /// # Errors
    /// [`Error::Unfit`] with the file, the column and the nearest spelling.
    pub fn position(&self, name: &str) -> Result<usize> {
        let schema = self.batch.schema_ref();
        let names = || schema.fields().iter().map(|field| field.name().as_str());
        schema.index_of(name).map_err(|_| missing(&self.path, name, names()))
    }

    /// The column at a [`Rows::position`].
    ///
    /// # Errors
    /// [`Error::File`] for a dictionary that cannot be read.
    ///
    /// # Panics
    /// If there is none.
    pub fn column_at(&self, position: usize) -> Result<Column<'_>> {
        Column::new(self, position)
    }

    /// The columns, for whoever asks for them in about the order in which they stand.
    pub fn in_order(&self) -> InOrder<'_> {
        InOrder { rows: self, next: 0 }
    }

    /// The columns of a schema, as [`super::Source::types`] gives it: those of
    /// another type as text.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a column that is not there or has no text.
    pub fn with_types(&self, schema: &Schema) -> Result<RecordBatch> {
        let array = |(name, data_type): (&str, &DataType)| -> Result<ArrayRef> {
            let column = self.column(name)?;
            match column.array() {
                array if array.data_type() == data_type => Ok(array.clone()),
                _ => Ok(Arc::new(column.to_text()?)),
            }
        };
        let wanted = schema.fields().iter().map(|field| (field.name().as_str(), field.data_type()));
        let arrays = wanted.map(array).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        RecordBatch::try_new_with_options(Arc::new(schema.clone()), arrays, &options)
            .map_err(|error| Error::file(&self.path, error.to_string()).because(error))
    }
}

/// Finds the columns of [`Rows`]. The search for one begins behind the one that was
/// found last, so what is asked for in the order of the columns is found at the
/// first look, however many there are.
#[derive(Clone, Debug)]
pub struct InOrder<'a> {
    rows: &'a Rows,
    next: usize,
}

impl<'a> InOrder<'a> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// One column.
    ///
    /// # Errors
    /// As of [`Rows::column`].
    pub fn column(&mut self, name: &str) -> Result<Column<'a>> {
        let fields = self.rows.batch.schema_ref().fields();
        let found = (self.next..fields.len()).chain(0..self.next).find(|position| fields[*position].name() == name);
        let position = found.map_or_else(|| self.rows.position(name), Ok)?;
        self.next = position + 1;
        self.rows.column_at(position)
    }
}

pub(super) fn missing<'a>(path: &Path, name: &str, columns: impl IntoIterator<Item = &'a str>) -> Error {
    Error::unfit(path, format!("there is no column `{name}`{}", spelling::hint(name, columns)))
}
