//! Tables from and to other libraries, by the C stream of Apache Arrow: nothing is
//! copied, and whoever has `__arrow_c_stream__` can hand over rows or take predictions.
//!
//! Its `unsafe`: a capsule is a bare pointer with a name.

use std::collections::BTreeMap;
use std::ffi::CStr;

use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use crosstie::arrow::array::{Array, RecordBatch, RecordBatchIterator, RecordBatchReader};
use crosstie::arrow::datatypes::SchemaRef;
use crosstie::arrow::error::ArrowError;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::error::CrosstieError;

/// The name of a capsule that holds a C stream.
const NAME: &CStr = c"arrow_array_stream";

/// Takes the batches of a stream, at least one: of a table without rows an empty one.
/// `name` is what errors call it.
///
/// # Errors
/// `TypeError` for what is no stream; `CrosstieError` for what its owner says, and for
/// cells that are not what their type promises.
pub fn batches(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Vec<RecordBatch>> {
    let stream = taken(name, object)?;
    let wrong = |error: ArrowError| CrosstieError::new_err(format!("{name}: {error}"));
    // The owner may work for long to make its rows, and may need the lock for it.
    object.py().detach(|| {
        let reader = RecordBatchStreamReader::try_new(stream).map_err(wrong)?;
        let schema = reader.schema();
        let mut batches = Vec::new();
        for batch in reader {
            let batch = batch.map_err(wrong)?;
            // What is read below relies on lengths, places and UTF-8 that another
            // program has promised.
            for (field, column) in schema.fields().iter().zip(batch.columns()) {
                column.to_data().validate_full().map_err(|error| {
                    CrosstieError::new_err(format!("{name}: column `{}` is damaged: {error}", field.name()))
                })?;
            }
            batches.push(batch);
        }
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(batches)
    })
}

/// The stream of an object, which is then nobody else's.
fn taken(name: &str, object: &Bound<'_, PyAny>) -> PyResult<FFI_ArrowArrayStream> {
    let capsule = match object.cast::<PyCapsule>() {
        Ok(capsule) => capsule.clone(),
        Err(_) => {
            let Ok(method) = object.getattr("__arrow_c_stream__") else {
                let found = object.get_type().fully_qualified_name()?;
                return Err(PyTypeError::new_err(format!(
                    "{name}: found {found}, expected a data frame or table with __arrow_c_stream__"
                )));
            };
            let made = method.call0()?;
            made.cast_into::<PyCapsule>()
                .map_err(|_| PyTypeError::new_err(format!("{name}: its __arrow_c_stream__ gives no capsule")))?
        }
    };
    let pointer = capsule.pointer_checked(Some(NAME))?.cast::<FFI_ArrowArrayStream>();
    // SAFETY: by the PyCapsule protocol of Arrow a capsule of this name holds a pointer to
    // an ArrowArrayStream of C, whose layout the type has, as long as the capsule lives;
    // `capsule` lives until the end of this function, and the lock is held. What is taken
    // leaves a released stream behind, which the capsule's destructor passes by.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr()) };
    match stream.release() {
        Some(_) => Ok(stream),
        None => Err(CrosstieError::new_err(format!("{name}: this stream has been read before"))),
    }
}

/// A table in memory. Any library of Arrow reads it: `pyarrow.table(stream)`,
/// `polars.DataFrame(stream)`.
#[pyclass(frozen, module = "crosstie._native")]
pub struct Stream {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    warnings: Vec<String>,
    unknown: Vec<(String, u64)>,
}

impl Stream {
    /// Batches with the columns of a schema.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Stream {
        Stream { schema, batches, warnings: Vec::new(), unknown: Vec::new() }
    }

    /// The same with what a person should know of the rows, and how many values of which
    /// field were unknown.
    pub fn with_remarks(self, warnings: Vec<String>, unknown: Vec<(String, u64)>) -> Stream {
        Stream { warnings, unknown, ..self }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }
}

#[pymethods]
impl Stream {
    /// The rows, without a copy, as often as they are asked for.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // Other types may be wished for; the protocol leaves it to us to have them.
        let _ = requested_schema;
        let batches = self.batches.clone().into_iter().map(Ok);
        let reader = RecordBatchIterator::new(batches, self.schema.clone());
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), NAME)
    }

    /// Number of rows.
    fn __len__(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// What a person should know of the rows, one sentence each.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// How many values were unknown to training, by field; those with none are left out.
    #[getter]
    fn unknown(&self) -> BTreeMap<String, u64> {
        self.unknown.iter().cloned().collect()
    }
}
