//! One column of some rows, read the same way whatever its type is.

use std::borrow::Cow;

use arrow_cast::cast;

use super::source::Rows;
use super::text::{self, Unreadable};
use crate::arrow::array::{Array, ArrayRef, AsArray};
use crate::arrow::datatypes::{DataType, Float64Type, TimeUnit};
use crate::error::{Error, Result};

/// One column of [`Rows`]: integers and floats of all widths, booleans, text,
/// dates and times, decimal fractions, dictionaries, and lists of these.
///
/// Its cells have a canonical text: integers in decimal; floats with an
/// integral value as integers, others in their shortest form; booleans as 1
/// and 0; dates and times in ISO 8601; text as it is. Null, NaN and empty text
/// are all missing, so a table means the same as CSV and as Parquet.
#[derive(Clone, Debug)]
pub struct Column<'a> {
    rows: &'a Rows,
    name: &'a str,
    array: ArrayRef,
}

impl<'a> Column<'a> {
    pub(super) fn new(rows: &'a Rows, index: usize) -> Result<Column<'a>> {
        let name = rows.batch.schema_ref().field(index).name();
        let array = text::plain(rows.batch.column(index))
            .map_err(|error| Error::file(&rows.path, format!("column `{name}` cannot be read: {error}")))?;
        Ok(Column { rows, name, array })
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.array.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }

    /// Whether its cells are lists, for [`Column::each_list`] only.
    pub fn is_list(&self) -> bool {
        use DataType::*;
        matches!(self.array.data_type(), List(_) | LargeList(_) | FixedSizeList(..) | ListView(_) | LargeListView(_))
    }

    /// Its type in a word: integer, number, boolean, text, time, list or other.
    pub fn kind(&self) -> &'static str {
        match self.array.data_type() {
            _ if self.is_list() => "list",
            _ if self.is_text() => "text",
            kind if kind.is_integer() => "integer",
            kind if kind.is_floating() || kind.is_decimal() => "number",
            kind if kind.is_temporal() => "time",
            DataType::Boolean => "boolean",
            DataType::Null => "text",
            _ => "other",
        }
    }

    /// Number of nulls. Missing are also NaN and empty text, which this leaves
    /// out.
    pub fn nulls(&self) -> usize {
        self.array.logical_null_count()
    }

    /// Calls `f` with each row (from 0) and its canonical text, `None` where
    /// missing. Nothing is allocated per cell.
    ///
    /// # Errors
    /// [`Error::File`] for lists and structures, [`Error::Cell`] for bytes that
    /// are not UTF-8.
    pub fn each_text(&self, f: impl FnMut(usize, Option<&str>)) -> Result<()> {
        text::each_text(&self.array, f).map_err(|error| self.unreadable(error, |row| row, "one value per row"))
    }

    /// Calls `f` with the row (from 0) and the text of each of its values, in
    /// order: the elements of a list, or the pieces of a text between
    /// separators. Both are trimmed, and missing or empty ones left out.
    ///
    /// # Errors
    /// [`Error::File`] for structures and for lists of lists, [`Error::Cell`]
    /// for bytes that are not UTF-8.
    pub fn each_list(&self, separator: &str, mut f: impl FnMut(usize, &str)) -> Result<()> {
        let mut one = |row: usize, text: &str| match text.trim() {
            "" => (),
            text => f(row, text),
        };
        if !self.is_list() {
            return self.each_text(|row, text| match text {
                Some(text) if !separator.is_empty() => text.split(separator).for_each(|piece| one(row, piece)),
                Some(text) => one(row, text),
                None => (),
            });
        }
        let wrong = |error| self.unreadable(error, |row| row, "a list of single values");
        let list = cast_list(&self.array).map_err(|_| wrong(Unreadable::Type))?;
        let list = list.as_list::<i64>();
        let offsets = list.value_offsets();
        let first = offsets.first().copied().unwrap_or(0) as usize;
        let last = offsets.last().copied().unwrap_or(0) as usize;
        let elements = text::plain(&list.values().slice(first, last - first)).map_err(|_| wrong(Unreadable::Type))?;
        let ends: Vec<usize> = offsets.iter().skip(1).map(|end| *end as usize - first).collect();
        let mut row = 0;
        text::each_text(&elements, |element, text| {
            while ends[row] <= element {
                row += 1;
            }
            if let Some(text) = text.filter(|_| list.is_valid(row)) {
                one(row, text);
            }
        })
        .map_err(|error| {
            self.unreadable(error, |element| ends.partition_point(|end| *end <= element), "a list of single values")
        })
    }

    /// The numbers, `None` where missing. Dates and times count in seconds,
    /// from the beginning of 1970.
    ///
    /// # Errors
    /// [`Error::Cell`] for text that is no number, and for infinities;
    /// [`Error::File`] for lists and structures.
    pub fn numbers(&self) -> Result<Vec<Option<f64>>> {
        let mut bad = None;
        let mut numbers = Vec::with_capacity(self.len());
        let mut keep = |row: usize, number: Option<f64>| {
            let number = number.filter(|number| !number.is_nan());
            if number.is_some_and(f64::is_infinite) {
                bad.get_or_insert(row);
            }
            numbers.push(number);
        };
        if self.is_text() {
            self.each_text(|row, text| match text.map(str::trim) {
                None | Some("") => keep(row, None),
                // What is no number is told apart by the same check.
                Some(text) => keep(row, Some(text.parse().unwrap_or(f64::INFINITY))),
            })?;
        } else {
            let (array, unit) = self.seconds();
            let wide = cast(&array, &DataType::Float64)
                .map_err(|_| self.unreadable(Unreadable::Type, |row| row, "one number per row"))?;
            for (row, number) in wide.as_primitive::<Float64Type>().iter().enumerate() {
                keep(row, number.map(|number| number * unit));
            }
        }
        match bad {
            Some(row) => Err(self.error(row, "a finite number, or nothing")),
            None => Ok(numbers),
        }
    }

    /// The labels: 0 or 1, NaN where missing. Text may also be `true` or
    /// `false`.
    ///
    /// # Errors
    /// [`Error::Cell`] for anything else; [`Error::File`] for lists and
    /// structures.
    pub fn labels(&self) -> Result<Vec<f32>> {
        let mut bad = None;
        let mut labels = Vec::with_capacity(self.len());
        self.each_text(|row, text| {
            labels.push(match text.map(str::trim) {
                None | Some("") => f32::NAN,
                Some("0") => 0.0,
                Some("1") => 1.0,
                Some(text) if text.eq_ignore_ascii_case("false") => 0.0,
                Some(text) if text.eq_ignore_ascii_case("true") => 1.0,
                Some(text) => match text.parse::<f32>() {
                    Ok(label) if label == 0.0 || label == 1.0 || label.is_nan() => label,
                    _ => {
                        bad.get_or_insert(row);
                        f32::NAN
                    }
                },
            });
        })?;
        match bad {
            Some(row) => Err(self.error(row, "a label: 0, 1, or nothing where it is missing")),
            None => Ok(labels),
        }
    }

    /// Weights: finite numbers of 0 or more.
    ///
    /// # Errors
    /// [`Error::Cell`] for anything else, also for a missing one;
    /// [`Error::File`] for lists and structures.
    pub fn weights(&self) -> Result<Vec<f32>> {
        let numbers = self.numbers()?;
        let weight = |(row, number): (usize, &Option<f64>)| match number.map(|number| number as f32) {
            Some(weight) if weight >= 0.0 && weight.is_finite() => Ok(weight),
            _ => Err(self.error(row, "a weight: a finite number of 0 or more")),
        };
        numbers.iter().enumerate().map(weight).collect()
    }

    /// The error for a cell (its row counted from 0) that is not as expected.
    pub fn error(&self, row: usize, expected: impl Into<String>) -> Error {
        let mut found = String::from("nothing");
        let cell = self.array.slice(row.min(self.len().saturating_sub(1)), self.len().min(1));
        let shown = text::each_text(&cell, |_, text| {
            if let Some(text) = text {
                found = if self.is_text() { quoted(text).into_owned() } else { text.to_string() };
            }
        });
        if shown.is_err() {
            found = format!("a cell of type {}", self.array.data_type());
        }
        Error::Cell {
            path: self.rows.path.to_path_buf(),
            row: self.rows.number(row),
            column: self.name.to_string(),
            found,
            expected: expected.into(),
        }
    }

    fn is_text(&self) -> bool {
        use DataType::*;
        matches!(self.array.data_type(), Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView)
    }

    /// Dates and times as integers, and how many seconds one of them is.
    fn seconds(&self) -> (ArrayRef, f64) {
        use DataType::*;
        let (through, unit) = match self.array.data_type() {
            Date32 => (Int32, 86_400.0),
            Date64 => (Int64, 1e-3),
            Time32(unit) => (Int32, seconds(unit)),
            Time64(unit) | Timestamp(unit, _) | Duration(unit) => (Int64, seconds(unit)),
            _ => return (self.array.clone(), 1.0),
        };
        (cast(&self.array, &through).unwrap_or_else(|_| self.array.clone()), unit)
    }

    fn unreadable(&self, error: Unreadable, row_of: impl Fn(usize) -> usize, expected: &str) -> Error {
        match error {
            Unreadable::Type => Error::file(
                &self.rows.path,
                format!("column `{}` is of type {}, expected {expected}", self.name, self.array.data_type()),
            ),
            Unreadable::Cell(row) => Error::Cell {
                path: self.rows.path.to_path_buf(),
                row: self.rows.number(row_of(row)),
                column: self.name.to_string(),
                found: "bytes that are not UTF-8".into(),
                expected: "text".into(),
            },
        }
    }
}

fn seconds(unit: &TimeUnit) -> f64 {
    match unit {
        TimeUnit::Second => 1.0,
        TimeUnit::Millisecond => 1e-3,
        TimeUnit::Microsecond => 1e-6,
        TimeUnit::Nanosecond => 1e-9,
    }
}

/// Any kind of list as a list with 64-bit offsets.
fn cast_list(array: &ArrayRef) -> Result<ArrayRef, crate::arrow::error::ArrowError> {
    use DataType::*;
    match array.data_type() {
        List(item) | FixedSizeList(item, _) | ListView(item) | LargeListView(item) => {
            cast(array, &LargeList(item.clone()))
        }
        _ => Ok(array.clone()),
    }
}

/// Text in quotes, its end cut off where it is long.
fn quoted(text: &str) -> Cow<'static, str> {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &text[..end]).into(),
        None => format!("{text:?}").into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::arrow::array::*;
    use crate::arrow::datatypes::{Field, Int32Type};
    use proptest::prelude::*;

    use super::*;
    use crate::data::tests::table;

    #[test]
    fn numbers_of_every_type_and_what_is_none() {
        let keys = Int8Array::from(vec![Some(1), None, Some(0)]);
        let batch = table(vec![
            ("int", Arc::new(UInt16Array::from(vec![Some(1), None, Some(65535)])) as ArrayRef),
            ("float", Arc::new(Float32Array::from(vec![Some(0.5), Some(f32::NAN), Some(-0.0)]))),
            ("text", Arc::new(StringArray::from(vec![Some(" 1e3 "), Some(""), Some("nan")]))),
            ("dictionary", Arc::new(DictionaryArray::new(keys, Arc::new(Float64Array::from(vec![7.0, 8.5]))))),
            ("day", Arc::new(crate::arrow::array::Date32Array::from(vec![Some(1), None, Some(-1)]))),
            ("time", {
                let time = crate::arrow::array::TimestampMillisecondArray::from(vec![Some(1500), None, Some(0)]);
                Arc::new(time.with_timezone("Europe/Berlin"))
            }),
        ]);
        let rows = Rows::new(batch, "made");
        let numbers = |name: &str| rows.column(name).unwrap().numbers().unwrap();
        assert_eq!(numbers("int"), [Some(1.0), None, Some(65535.0)]);
        assert_eq!(numbers("float"), [Some(0.5), None, Some(0.0)]);
        assert_eq!(numbers("text"), [Some(1000.0), None, None]);
        assert_eq!(numbers("dictionary"), [Some(8.5), None, Some(7.0)]);
        assert_eq!(numbers("day"), [Some(86_400.0), None, Some(-86_400.0)]);
        assert_eq!(numbers("time"), [Some(1.5), None, Some(0.0)]);
        let texts = |name: &str| {
            let mut texts = Vec::new();
            rows.column(name).unwrap().each_text(|_, text| texts.push(text.map(str::to_string))).unwrap();
            texts
        };
        assert_eq!(texts("float"), [Some("0.5".into()), None, Some("0".to_string())]);
        assert_eq!(texts("dictionary"), [Some("8.5".into()), None, Some("7".to_string())]);
        assert_eq!(texts("day"), [Some("1970-01-02".into()), None, Some("1969-12-31".to_string())]);
    }

    #[test]
    fn labels_are_zero_one_or_missing() {
        let column = |array: ArrayRef| Rows::new(table(vec![("y", array)]), "made").column("y").unwrap().labels();
        let texts = vec![Some("0"), Some("1"), Some("True"), Some("false"), Some("1.0"), None, Some("")];
        let labels = column(Arc::new(StringArray::from(texts))).unwrap();
        assert_eq!(labels[..5], [0.0, 1.0, 1.0, 0.0, 1.0]);
        assert!(labels[5].is_nan() && labels[6].is_nan());
        let labels = column(Arc::new(Float64Array::from(vec![0.0, 1.0, f64::NAN]))).unwrap();
        assert!(labels[..2] == [0.0, 1.0] && labels[2].is_nan());
        assert!(column(Arc::new(Float64Array::from(vec![0.5]))).is_err());
        assert!(column(Arc::new(Int32Array::from(vec![-1]))).unwrap_err().to_string().contains("found -1"));
        assert!(column(Arc::new(StringArray::from(vec!["yes"]))).is_err());
    }

    #[test]
    fn infinities_and_missing_weights_are_refused() {
        let rows = Rows::new(table(vec![("x", Arc::new(Float64Array::from(vec![Some(f64::INFINITY), None])))]), "made");
        let said = rows.column("x").unwrap().numbers().unwrap_err().to_string();
        assert!(said.contains("row 1, column `x`: found inf"), "{said}");
        let rows = Rows::new(table(vec![("x", Arc::new(Float64Array::from(vec![Some(2.0), None])))]), "made");
        let said = rows.column("x").unwrap().weights().unwrap_err().to_string();
        assert!(said.contains("row 2, column `x`: found nothing, expected a weight"), "{said}");
    }

    #[test]
    fn lists_and_separated_text_have_the_same_values() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(3), None, Some(4)]),
            None,
            Some(vec![]),
            Some(vec![Some(5)]),
        ]);
        let texts = StringArray::from(vec![Some("3,, 4 "), None, Some(" "), Some("5")]);
        let batch = table(vec![("list", Arc::new(lists) as ArrayRef), ("text", Arc::new(texts))]);
        for batch in [batch.clone(), batch.slice(0, 4)] {
            let rows = Rows::new(batch, "made");
            for name in ["list", "text"] {
                let mut values = Vec::new();
                rows.column(name).unwrap().each_list(",", |row, text| values.push((row, text.to_string()))).unwrap();
                assert_eq!(values, [(0, "3".into()), (0, "4".into()), (3, "5".to_string())], "{name}");
            }
        }
        let rows = Rows::new(batch.slice(2, 2), "made");
        let mut values = Vec::new();
        rows.column("list").unwrap().each_list(",", |row, text| values.push((row, text.to_string()))).unwrap();
        assert_eq!(values, [(1, "5".to_string())], "a slice begins within the elements");
        let said = rows.column("list").unwrap().numbers().unwrap_err().to_string();
        assert!(said.contains("column `list` is of type List"), "{said}");
    }

    #[test]
    fn a_null_list_with_elements_behind_it_is_empty() {
        let item = Arc::new(Field::new_list_field(crate::arrow::datatypes::DataType::Int32, true));
        let offsets = crate::arrow::buffer::OffsetBuffer::from_lengths([1, 2, 1]);
        let nulls = Some(vec![true, false, true].into());
        let lists = ListArray::new(item, offsets, Arc::new(Int32Array::from(vec![1, 2, 3, 4])), nulls);
        let rows = Rows::new(table(vec![("list", Arc::new(lists))]), "made");
        let mut values = Vec::new();
        rows.column("list").unwrap().each_list(",", |row, text| values.push((row, text.to_string()))).unwrap();
        assert_eq!(values, [(0, "1".into()), (2, "4".to_string())]);
    }

    proptest! {
        #[test]
        fn floats_keep_their_value_as_text(value in any::<f64>()) {
            let rows = Rows::new(table(vec![("x", Arc::new(Float64Array::from(vec![value])))]), "made");
            rows.column("x").unwrap().each_text(|_, text| match text {
                Some(text) => assert_eq!(text.parse::<f64>().unwrap(), value),
                None => assert!(value.is_nan()),
            }).unwrap();
        }
    }
}
