//! Columns by the addresses of their buffers, as NumPy has them, and scores as bytes: for
//! those who have no library of Arrow.

#![allow(unsafe_code)]

use std::panic::RefUnwindSafe;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_data::ArrayData;
use crosstie::arrow::array::{AsArray, RecordBatch, RecordBatchOptions, make_array};
use crosstie::arrow::datatypes::{DataType, Field, Float64Type, Schema, TimeUnit};
use crosstie::data::Source;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::data::Data;
use crate::error::{CrosstieError, raised};
use crate::stream::Stream;

/// A column: its name, its type in Arrow's letters, the addresses of its buffers (a bit for
/// each row that has a value, or 0, then the values), and what must live as long as they.
type Said = (String, String, Vec<usize>, Py<PyAny>);

/// What a column was made of.
struct Owner(#[expect(dead_code, reason = "held, so that the buffers are there")] Py<PyAny>);

// It is never looked into, so no panic can leave it half changed.
impl RefUnwindSafe for Owner {}

#[pymethods]
impl Data {
    /// A table of columns, which are not copied. What they were made of must not change.
    #[staticmethod]
    fn arrays(name: &str, rows: usize, columns: Vec<Said>) -> PyResult<Data> {
        let mut fields = Vec::with_capacity(columns.len());
        let mut arrays = Vec::with_capacity(columns.len());
        for (column, letters, addresses, owner) in columns {
            let wrong = |said: String| CrosstieError::new_err(format!("{name}: column `{column}`: {said}"));
            let data_type = of_letters(&letters).ok_or_else(|| wrong(format!("there is no type `{letters}`")))?;
            let data = array(data_type.clone(), rows, &addresses, &Arc::new(Owner(owner))).map_err(wrong)?;
            arrays.push(make_array(data));
            fields.push(Field::new(column, data_type, true));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options);
        let batch = batch.map_err(|error| CrosstieError::new_err(format!("{name}: {error}")))?;
        Ok(Source::from_batches(name, vec![batch]).map_err(raised)?.into())
    }
}

#[pymethods]
impl Stream {
    /// The columns as float64 in the machine's order, with NaN where nothing is.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Vec<(String, Bound<'py, PyBytes>)>> {
        let schema = self.schema();
        let rows: usize = self.batches().iter().map(RecordBatch::num_rows).sum();
        let names = schema.fields().iter().map(|field| field.name().clone()).enumerate();
        names
            .map(|(place, name)| {
                let bytes = PyBytes::new_with(py, rows * size_of::<f64>(), |bytes| {
                    let mut cells = bytes.chunks_exact_mut(size_of::<f64>());
                    for batch in self.batches() {
                        for (value, cell) in batch.column(place).as_primitive::<Float64Type>().iter().zip(&mut cells) {
                            cell.copy_from_slice(&value.unwrap_or(f64::NAN).to_ne_bytes());
                        }
                    }
                    Ok(())
                })?;
                Ok((name, bytes))
            })
            .collect()
    }
}

fn of_letters(letters: &str) -> Option<DataType> {
    Some(match letters {
        "c" => DataType::Int8,
        "C" => DataType::UInt8,
        "s" => DataType::Int16,
        "S" => DataType::UInt16,
        "i" => DataType::Int32,
        "I" => DataType::UInt32,
        "l" => DataType::Int64,
        "L" => DataType::UInt64,
        "f" => DataType::Float32,
        "g" => DataType::Float64,
        "U" => DataType::LargeUtf8,
        "tss:" => DataType::Timestamp(TimeUnit::Second, None),
        "tsm:" => DataType::Timestamp(TimeUnit::Millisecond, None),
        "tsu:" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "tsn:" => DataType::Timestamp(TimeUnit::Nanosecond, None),
        _ => return None,
    })
}

/// A column whose buffers somebody else owns.
fn array(data_type: DataType, rows: usize, addresses: &[usize], owner: &Arc<Owner>) -> Result<ArrayData, String> {
    let found = addresses.len();
    let buffer = |place: usize, bytes: usize| -> Result<Buffer, String> {
        let address = *addresses.get(place).ok_or_else(|| format!("found {found} buffers, expected more"))?;
        if bytes == 0 {
            // Aligned for any type.
            return Ok(Buffer::from_vec(Vec::<u128>::new()));
        }
        let start = NonNull::new(address as *mut u8).ok_or("found no values")?;
        // SAFETY: `crosstie/_data.py`, the only caller, gives the address of a NumPy array
        // of so many bytes, contiguous and in the machine's order, and the array, or what
        // it is a view of, as the owner, which the buffer keeps alive.
        Ok(unsafe { Buffer::from_custom_allocation(start, bytes, owner.clone()) })
    };
    let known = match addresses.first() {
        Some(0) | None => None,
        Some(_) => Some(buffer(0, rows.div_ceil(8))?),
    };
    let buffers = match data_type.primitive_width() {
        Some(width) => vec![buffer(1, rows * width)?],
        None => {
            let offsets = buffer(1, (rows + 1) * size_of::<i64>())?;
            let last = offsets.typed_data::<i64>().last().copied().unwrap_or_default();
            let bytes = usize::try_from(last).map_err(|_| format!("the texts end at {last}"))?;
            vec![offsets, buffer(2, bytes)?]
        }
    };
    // Checks alignment, ascending offsets and UTF-8.
    let data = ArrayData::try_new(data_type, rows, known, 0, buffers, vec![]).map_err(|error| error.to_string())?;
    data.validate_full().map_err(|error| error.to_string())?;
    Ok(data)
}
