//! Every cell as text: the one form in which tables of all formats agree.

use std::fmt::{Display, Write};
use std::sync::Arc;

use crate::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, make_array};
use crate::arrow::datatypes::*;
use crate::arrow::error::ArrowError;
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};

/// Why a column has no text.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// Its type has none, as lists and structures.
    Type,
    /// The cell in this row is not valid UTF-8.
    Cell(usize),
}

/// The same values in a type that can be read directly: dictionaries and runs
/// are spelled out, time zones (which do not change the instant) dropped.
pub(super) fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, value) => plain(&cast(array, value)?),
        DataType::RunEndEncoded(_, value) => plain(&cast(array, value.data_type())?),
        DataType::Timestamp(unit, Some(_)) => {
            let data = array.to_data().into_builder().data_type(DataType::Timestamp(*unit, None)).build()?;
            Ok(make_array(data))
        }
        _ => Ok(Arc::clone(array)),
    }
}

/// Calls `f` with the row and the canonical text of each cell of a plain
/// array. Nothing is allocated per cell.
pub(super) fn each_text(array: &dyn Array, mut f: impl FnMut(usize, Option<&str>)) -> Result<(), Unreadable> {
    let mut some = |row: usize, text: Option<&str>| f(row, text.filter(|text| !text.is_empty()));
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().enumerate().for_each(|(row, text)| some(row, text)),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().enumerate().for_each(|(row, text)| some(row, text)),
        DataType::Utf8View => array.as_string_view().iter().enumerate().for_each(|(row, text)| some(row, text)),
        DataType::Binary => bytes(array.as_binary::<i32>().iter(), some)?,
        DataType::LargeBinary => bytes(array.as_binary::<i64>().iter(), some)?,
        DataType::BinaryView => bytes(array.as_binary_view().iter(), some)?,
        DataType::Int8 => integers::<Int8Type>(array.as_primitive(), some),
        DataType::Int16 => integers::<Int16Type>(array.as_primitive(), some),
        DataType::Int32 => integers::<Int32Type>(array.as_primitive(), some),
        DataType::Int64 => integers::<Int64Type>(array.as_primitive(), some),
        DataType::UInt8 => integers::<UInt8Type>(array.as_primitive(), some),
        DataType::UInt16 => integers::<UInt16Type>(array.as_primitive(), some),
        DataType::UInt32 => integers::<UInt32Type>(array.as_primitive(), some),
        DataType::UInt64 => integers::<UInt64Type>(array.as_primitive(), some),
        DataType::Float16 => {
            floats(array.as_primitive::<Float16Type>().iter().map(|value| value.map(f32::from)), 11, some)
        }
        DataType::Float32 => floats(array.as_primitive::<Float32Type>().iter(), 24, some),
        DataType::Float64 => floats(array.as_primitive::<Float64Type>().iter(), 53, some),
        DataType::Boolean => {
            for (row, value) in array.as_boolean().iter().enumerate() {
                some(row, value.map(|value| if value { "1" } else { "0" }));
            }
        }
        DataType::Null => (0..array.len()).for_each(|row| some(row, None)),
        kind if kind.is_temporal() || kind.is_decimal() => formatted(array, some)?,
        _ => return Err(Unreadable::Type),
    }
    Ok(())
}

fn bytes<'a>(
    cells: impl Iterator<Item = Option<&'a [u8]>>,
    mut f: impl FnMut(usize, Option<&str>),
) -> Result<(), Unreadable> {
    for (row, cell) in cells.enumerate() {
        f(row, cell.map(std::str::from_utf8).transpose().map_err(|_| Unreadable::Cell(row))?);
    }
    Ok(())
}

fn integers<T: ArrowPrimitiveType<Native: itoa::Integer>>(
    array: &PrimitiveArray<T>,
    mut f: impl FnMut(usize, Option<&str>),
) {
    let mut buffer = itoa::Buffer::new();
    for (row, value) in array.iter().enumerate() {
        f(row, value.map(|value| buffer.format(value)));
    }
}

/// Numbers of at most `digits` binary digits, all of whose integers are exact.
fn floats<T: Copy + Display + Into<f64>>(
    values: impl Iterator<Item = Option<T>>,
    digits: u32,
    mut f: impl FnMut(usize, Option<&str>),
) {
    let exact = (1u64 << digits) as f64;
    let mut integer = itoa::Buffer::new();
    let mut other = String::new();
    for (row, value) in values.enumerate() {
        let Some(value) = value else {
            f(row, None);
            continue;
        };
        let wide: f64 = value.into();
        if wide.is_nan() {
            f(row, None);
        } else if wide.trunc() == wide && wide.abs() < exact {
            f(row, Some(integer.format(wide as i64)));
        } else {
            other.clear();
            let _ = write!(other, "{value}");
            f(row, Some(&other));
        }
    }
}

/// Dates, times and decimal fractions.
fn formatted(array: &dyn Array, mut f: impl FnMut(usize, Option<&str>)) -> Result<(), Unreadable> {
    let options = FormatOptions::default().with_display_error(false);
    let formatter = ArrayFormatter::try_new(array, &options).map_err(|_| Unreadable::Type)?;
    let decimal = array.data_type().is_decimal();
    let mut buffer = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            f(row, None);
            continue;
        }
        buffer.clear();
        formatter.value(row).write(&mut buffer).map_err(|_| Unreadable::Cell(row))?;
        let text = match decimal && buffer.contains('.') {
            true => buffer.trim_end_matches('0').trim_end_matches('.'),
            false => &buffer,
        };
        f(row, Some(text));
    }
    Ok(())
}
