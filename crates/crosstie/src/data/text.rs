//! Every cell as text: the one form in which tables of all formats agree.

use std::fmt::{Display, Write};
use std::sync::Arc;

use arrow_select::take::take;

use super::time::{self, Moment};
use crate::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray, RunArray, StringArray, UInt64Array,
};
use crate::arrow::buffer::{NullBuffer, OffsetBuffer};
use crate::arrow::datatypes::*;
use crate::arrow::error::ArrowError;

/// Why a column has no text.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// Its type has none, as lists and structures.
    Type,
    /// The cell in this row is not valid UTF-8.
    Cell(usize),
}

/// Which text decimal fractions and moments have. All other types have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are written: fractions with all digits of their scale, moments
    /// with their time of day.
    Written,
    /// The same as [`super::Cells`] reads it: without a fraction of nothing but
    /// zeros, and without the time of day at midnight.
    Canonical,
    /// As artifacts of format 1 know them: fractions without zeros at their
    /// end, moments with their time of day.
    Format1,
}

/// The same values in a type that can be read directly: dictionaries and runs
/// are spelled out.
pub(super) fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            plain(&take(dictionary.values(), dictionary.keys(), None)?)
        }
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => runs::<Int16Type>(array),
            DataType::Int32 => runs::<Int32Type>(array),
            _ => runs::<Int64Type>(array),
        },
        _ => Ok(Arc::clone(array)),
    }
}

/// The same values in the plainest of the types that hold such: text of one kind, also
/// in lists, and lists of one kind.
pub(super) fn plainest(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let array = plain(array)?;
    let list = |ends: Vec<i64>, values: &ArrayRef, nulls: Option<&NullBuffer>| -> Result<ArrayRef, ArrowError> {
        let values = plainest(values)?;
        let lengths = ends.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
        let first = ends.first().copied().unwrap_or(0) as usize;
        let last = ends.last().copied().unwrap_or(0) as usize;
        let item = Arc::new(Field::new("item", values.data_type().clone(), true));
        let ends = OffsetBuffer::<i32>::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(item, ends, values.slice(first, last - first), nulls.cloned())?))
    };
    Ok(match array.data_type() {
        DataType::LargeUtf8 => Arc::new(array.as_string::<i64>().iter().collect::<StringArray>()),
        DataType::Utf8View => Arc::new(array.as_string_view().iter().collect::<StringArray>()),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let ends = lists.value_offsets().iter().map(|end| i64::from(*end)).collect();
            list(ends, lists.values(), lists.nulls())?
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            list(lists.value_offsets().to_vec(), lists.values(), lists.nulls())?
        }
        _ => array,
    })
}

fn runs<R: RunEndIndexType>(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(runs) = array.as_any().downcast_ref::<RunArray<R>>() else { return Ok(Arc::clone(array)) };
    let rows: Vec<u64> = (0..array.len() as u64).collect();
    let values = runs.get_physical_indices(&rows)?.into_iter().map(|value| value as u64);
    plain(&take(runs.values(), &UInt64Array::from_iter_values(values), None)?)
}

/// The type of a [`plain`] array.
pub(super) fn plain_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::RunEndEncoded(_, value) => plain_type(value.data_type()),
        other => other,
    }
}

/// Calls `f` with the row and the text of each cell of a plain array. Nothing
/// is allocated per cell.
pub(super) fn each_text(
    array: &dyn Array,
    form: Form,
    mut f: impl FnMut(usize, Option<&str>),
) -> Result<(), Unreadable> {
    let mut some = |row: usize, text: Option<&str>| f(row, text.filter(|text| !text.is_empty()));
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().enumerate().for_each(|(row, text)| some(row, text)),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().enumerate().for_each(|(row, text)| some(row, text)),
        DataType::Utf8View => array.as_string_view().iter().enumerate().for_each(|(row, text)| some(row, text)),
        DataType::Binary => bytes(array.as_binary::<i32>().iter(), some)?,
        DataType::LargeBinary => bytes(array.as_binary::<i64>().iter(), some)?,
        DataType::BinaryView => bytes(array.as_binary_view().iter(), some)?,
        DataType::FixedSizeBinary(16) => identifiers(array, some),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().iter(), some)?,
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
        DataType::Decimal32(_, scale) => decimals::<Decimal32Type>(array.as_primitive(), *scale, form, some),
        DataType::Decimal64(_, scale) => decimals::<Decimal64Type>(array.as_primitive(), *scale, form, some),
        DataType::Decimal128(_, scale) => decimals::<Decimal128Type>(array.as_primitive(), *scale, form, some),
        DataType::Decimal256(_, scale) => decimals::<Decimal256Type>(array.as_primitive(), *scale, form, some),
        DataType::Boolean => {
            for (row, value) in array.as_boolean().iter().enumerate() {
                some(row, value.map(|value| if value { "1" } else { "0" }));
            }
        }
        DataType::Null => (0..array.len()).for_each(|row| some(row, None)),
        kind if ticks(array).is_some() => times(array, kind, form, some),
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

/// Cells of 16 bytes each, in the usual writing of a UUID.
fn identifiers(array: &dyn Array, f: impl FnMut(usize, Option<&str>)) {
    written(array.as_fixed_size_binary().iter(), f, |cell, text| {
        for (index, byte) in cell.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            // Writing to a string cannot fail, here and below.
            let _ = write!(text, "{byte:02x}");
        }
    });
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
    f: impl FnMut(usize, Option<&str>),
) {
    let values = values.map(|value| value.filter(|value| !(*value).into().is_nan()));
    written(values, f, |value, text| float(text, value, digits));
}

fn float<T: Copy + Display + Into<f64>>(text: &mut String, value: T, digits: u32) {
    let wide: f64 = value.into();
    if wide.trunc() == wide && wide.abs() < (1u64 << digits) as f64 {
        text.push_str(itoa::Buffer::new().format(wide as i64));
    } else {
        let _ = write!(text, "{value}");
    }
}

/// The number that the text of one of single precision says: of 0.1 it is 0.1, as in formats
/// without single precision, and not the 0.100000001490116 that is nearest to it there.
pub(crate) fn number_of_single(value: f32, scratch: &mut String) -> f64 {
    let wide = f64::from(value);
    let exact = wide.abs() < (1u64 << 24) as f64;
    if !wide.is_finite() || (exact && wide.trunc() == wide) {
        return wide;
    }
    if exact {
        // Most have few digits after the point. Products are exact: 24 binary digits by 17.
        for power in [1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7] {
            let number = (wide * power).round() / power;
            if number as f32 == value {
                return number;
            }
        }
    }
    scratch.clear();
    float(scratch, value, 24);
    scratch.parse().unwrap_or(wide)
}

/// The text of a number that is not NaN.
pub(super) fn write_float(text: &mut String, value: f64) {
    float(text, value, 53);
}

fn decimals<T: DecimalType>(array: &PrimitiveArray<T>, scale: i8, form: Form, f: impl FnMut(usize, Option<&str>)) {
    written(array.iter(), f, |value, text| {
        text.push_str(&T::format_decimal(value, T::MAX_PRECISION, scale));
        let Some(point) = text.find('.') else { return };
        let bare = text.trim_end_matches('0');
        if form == Form::Format1 || (form == Form::Canonical && bare.len() == point + 1) {
            text.truncate(bare.trim_end_matches('.').len());
        }
    });
}

/// Dates, moments, times of day and durations as whole numbers of their unit.
pub(super) fn ticks(array: &dyn Array) -> Option<Box<dyn Iterator<Item = Option<i64>> + '_>> {
    use DataType::*;
    fn of<T: ArrowPrimitiveType<Native: Into<i64>>>(
        array: &dyn Array,
    ) -> Option<Box<dyn Iterator<Item = Option<i64>> + '_>> {
        Some(Box::new(array.as_primitive::<T>().iter().map(|value| value.map(Into::into))))
    }
    match array.data_type() {
        Date32 => of::<Date32Type>(array),
        Date64 => of::<Date64Type>(array),
        Time32(TimeUnit::Second) => of::<Time32SecondType>(array),
        Time32(_) => of::<Time32MillisecondType>(array),
        Time64(TimeUnit::Microsecond) => of::<Time64MicrosecondType>(array),
        Time64(_) => of::<Time64NanosecondType>(array),
        Timestamp(TimeUnit::Second, _) => of::<TimestampSecondType>(array),
        Timestamp(TimeUnit::Millisecond, _) => of::<TimestampMillisecondType>(array),
        Timestamp(TimeUnit::Microsecond, _) => of::<TimestampMicrosecondType>(array),
        Timestamp(TimeUnit::Nanosecond, _) => of::<TimestampNanosecondType>(array),
        Duration(TimeUnit::Second) => of::<DurationSecondType>(array),
        Duration(TimeUnit::Millisecond) => of::<DurationMillisecondType>(array),
        Duration(TimeUnit::Microsecond) => of::<DurationMicrosecondType>(array),
        Duration(TimeUnit::Nanosecond) => of::<DurationNanosecondType>(array),
        _ => None,
    }
}

fn times(array: &dyn Array, kind: &DataType, form: Form, f: impl FnMut(usize, Option<&str>)) {
    let moment = |moment: Moment, text: &mut String| match form {
        Form::Canonical => moment.write_short(text),
        Form::Written | Form::Format1 => moment.write(text),
    };
    written(ticks(array).into_iter().flatten(), f, |ticks, text| match kind {
        DataType::Date32 => time::write_day(text, ticks),
        DataType::Timestamp(unit, _) => moment(Moment::new(ticks, *unit), text),
        DataType::Time32(unit) | DataType::Time64(unit) => {
            let Moment { seconds, nanoseconds } = Moment::new(ticks, *unit);
            time::write_clock(text, seconds, nanoseconds);
        }
        DataType::Duration(unit) => time::write_duration(text, ticks, *unit),
        _ => moment(Moment::new(ticks, TimeUnit::Millisecond), text),
    });
}

/// Calls `f` with each row and the text that `write` makes of its value.
fn written<T>(
    values: impl Iterator<Item = Option<T>>,
    mut f: impl FnMut(usize, Option<&str>),
    write: impl Fn(T, &mut String),
) {
    let mut text = String::new();
    for (row, value) in values.enumerate() {
        let value = value.map(|value| {
            text.clear();
            write(value, &mut text);
            text.as_str()
        });
        f(row, value);
    }
}
