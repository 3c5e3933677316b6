//! One column of some rows, read the same way whatever its type is.

use std::borrow::Cow;
use std::ops::Range;

use arrow_select::take::take;

use super::reading::{self, Cells, Reading};
use super::rows::Rows;
use super::text::{self, Form, Unreadable};
use super::time::Moment;
use crate::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray, StringBuilder, UInt64Array,
};
use crate::arrow::datatypes::*;
use crate::arrow::error::ArrowError;
use crate::error::{Error, Result};

/// One column of [`Rows`]: integers and floats of all widths, booleans, text,
/// dates and times, decimal fractions, UUIDs, dictionaries, and lists of these.
///
/// Its cells have a text: integers in decimal; floats with an integral value as
/// integers, others in their shortest form; booleans as 1 and 0; dates and
/// times in ISO 8601 (in UTC), 16 fixed bytes as a UUID; text as it is, or as a
/// [`Reading`] says. Null, NaN and empty text are all missing.
#[derive(Clone, Debug)]
pub struct Column<'a> {
    rows: &'a Rows,
    name: &'a str,
    array: ArrayRef,
    reading: Option<&'a Reading>,
}

impl<'a> Column<'a> {
    pub(super) fn new(rows: &'a Rows, index: usize) -> Result<Column<'a>> {
        let name = rows.batch.schema_ref().field(index).name();
        let array = text::plain(rows.batch.column(index)).map_err(|error| {
            Error::file(&rows.path, format!("column `{name}` cannot be read: {error}")).because(error)
        })?;
        Ok(Column { rows, name, array, reading: rows.reading.as_deref() })
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
            DataType::Null | DataType::FixedSizeBinary(16) => "text",
            _ => "other",
        }
    }

    /// Number of nulls. Missing are also NaN and empty text, which this leaves
    /// out.
    pub fn nulls(&self) -> usize {
        self.array.logical_null_count()
    }

    /// Calls `f` with each row (from 0) and the text of its cell, `None` where
    /// missing. Nothing is allocated per cell.
    ///
    /// # Errors
    /// [`Error::Unfit`] for lists and structures, [`Error::Cell`] for bytes
    /// that are not UTF-8.
    pub fn each_text(&self, f: impl FnMut(usize, Option<&str>)) -> Result<()> {
        self.read_text(&self.array, f).map_err(|error| self.unreadable(error, |row| row, "one value per row"))
    }

    /// The text of an array's cells, read as this column is.
    fn read_text(&self, array: &ArrayRef, mut f: impl FnMut(usize, Option<&str>)) -> Result<(), Unreadable> {
        let Some(reading) = self.reading else { return text::each_text(array, Form::Format1, f) };
        let cells = if is_text(array) { reading.cells(self.name) } else { Cells::Text };
        let mut scratch = String::new();
        text::each_text(array, Form::Canonical, |row, text| {
            let text = text.and_then(|text| cells.canonical(text, &mut scratch));
            f(row, text.filter(|text| !reading.is_null(text)));
        })
    }

    /// Calls `f` with the row (from 0) and the text of each of its values, in
    /// order: the elements of a list, or the pieces of a text between
    /// separators. Both are trimmed, and missing or empty ones left out.
    ///
    /// # Errors
    /// [`Error::Unfit`] for structures and for lists of lists, [`Error::Cell`]
    /// for bytes that are not UTF-8.
    pub fn each_list(&self, separator: &str, mut f: impl FnMut(usize, &str)) -> Result<()> {
        if !self.is_list() {
            return self.each_piece(separator, f);
        }
        let wrong = |error| self.unreadable(error, |row| row, "a list of single values");
        let (elements, ends) = self.elements().map_err(|_| wrong(Unreadable::Type))?;
        let mut row = 0;
        self.read_text(&elements, |element, text| {
            while ends[row] <= element {
                row += 1;
            }
            match text.map(str::trim) {
                None | Some("") => (),
                Some(text) => f(row, text),
            }
        })
        .map_err(|error| {
            self.unreadable(error, |element| ends.partition_point(|end| *end <= element), "a list of single values")
        })
    }

    /// The values in cells of text.
    fn each_piece(&self, separator: &str, mut f: impl FnMut(usize, &str)) -> Result<()> {
        let mut scratch = String::new();
        let mut one = |row: usize, text: &str| {
            let text = match self.reading {
                Some(reading) => reading.cells(self.name).canonical(text, &mut scratch),
                None => Some(text),
            };
            match text.map(str::trim) {
                None | Some("") => (),
                Some(text) if self.reading.is_some_and(|reading| reading.is_null(text)) => (),
                Some(text) => f(row, text),
            }
        };
        text::each_text(&self.array, Form::Canonical, |row, text| {
            let Some(text) = text else { return };
            match self.reading.and_then(|_| reading::elements(text)) {
                Some(elements) => elements.iter().for_each(|element| one(row, element)),
                None if separator.is_empty() => one(row, text),
                None => text.split(separator).for_each(|piece| one(row, piece)),
            }
        })
        .map_err(|error| self.unreadable(error, |row| row, "one value or a list per row"))
    }

    /// The elements of all lists in a row, and where those of each row end.
    fn elements(&self) -> Result<(ArrayRef, Vec<usize>), ArrowError> {
        let Some((values, ranges)) = lists(&self.array) else {
            return Err(ArrowError::CastError("no list".into()));
        };
        let valid = |row: usize| self.array.is_valid(row);
        let ranges: Vec<Range<usize>> =
            ranges.into_iter().enumerate().map(|(row, range)| if valid(row) { range } else { 0..0 }).collect();
        let mut end = 0;
        let ends: Vec<usize> = ranges
            .iter()
            .map(|range| {
                end += range.len();
                end
            })
            .collect();
        let mut some = ranges.iter().filter(|range| !range.is_empty());
        let first = some.clone().next().map_or(0, |range| range.start);
        let mut next = first;
        let beside = some.all(|range| std::mem::replace(&mut next, range.end) == range.start);
        let values = match beside {
            true => values.slice(first, end),
            false => {
                take(&values, &UInt64Array::from_iter_values(ranges.into_iter().flatten().map(|i| i as u64)), None)?
            }
        };
        Ok((text::plain(&values)?, ends))
    }

    /// Every cell as it stands in a CSV file: its text, and of a list its
    /// elements joined by commas.
    ///
    /// # Errors
    /// [`Error::Cell`] for an element with a comma in it; else as
    /// [`Column::each_text`] and [`Column::each_list`].
    pub fn to_text(&self) -> Result<StringArray> {
        if !self.is_list() {
            let mut cells = StringBuilder::new();
            text::each_text(&self.array, Form::Written, |_, text| cells.append_option(text))
                .map_err(|error| self.unreadable(error, |row| row, "one value per row"))?;
            return Ok(cells.finish());
        }
        let mut joined = vec![String::new(); self.len()];
        let mut bad = None;
        self.each_list(",", |row, text| {
            if text.contains(',') {
                bad.get_or_insert(row);
            }
            if !joined[row].is_empty() {
                joined[row].push(',');
            }
            joined[row].push_str(text);
        })?;
        match bad {
            Some(row) => Err(self.error(row, "no comma within an element, for commas join them in CSV")),
            None => Ok(StringArray::from(joined)),
        }
    }

    /// The cells themselves, dictionaries spelled out.
    pub(super) fn array(&self) -> &ArrayRef {
        &self.array
    }

    /// The numbers, `None` where missing. Dates and times count in seconds,
    /// from the beginning of 1970; booleans, also as text, are 1 and 0.
    ///
    /// # Errors
    /// [`Error::Cell`] for text that is no number, and for infinities;
    /// [`Error::Unfit`] for lists and structures.
    pub fn numbers(&self) -> Result<Vec<Option<f64>>> {
        let moment = |text: &str| Moment::parse(text).map_or(f64::INFINITY, Moment::number);
        let numbers =
            self.each_number(|text| number(text).unwrap_or_else(|| Some(moment(text))), "one number per row")?;
        match numbers.iter().position(|number| number.is_some_and(f64::is_infinite)) {
            Some(row) => Err(self.error(row, "a finite number, or nothing")),
            None => Ok(numbers),
        }
    }

    /// The numbers of a column, and what `number` makes of each text.
    fn each_number(&self, number: impl Fn(&str) -> Option<f64>, expected: &str) -> Result<Vec<Option<f64>>> {
        let wrong = |error| self.unreadable(error, |row| row, expected);
        let numbers = if self.is_text() {
            let missing = |text: &str| text.is_empty() || self.reading.is_some_and(|reading| reading.is_null(text));
            let mut numbers = Vec::with_capacity(self.len());
            let each = |_, text: Option<&str>| {
                numbers.push(text.map(str::trim).filter(|text| !missing(text)).and_then(&number));
            };
            text::each_text(&self.array, Form::Canonical, each).map_err(wrong)?;
            numbers
        } else {
            numbers(&self.array).ok_or_else(|| wrong(Unreadable::Type))?
        };
        match self.reading.filter(|reading| !reading.null.is_empty()) {
            Some(reading) => {
                Ok(numbers.into_iter().map(|number| number.filter(|number| !reading.is_null_number(*number))).collect())
            }
            None => Ok(numbers),
        }
    }

    /// The labels: 0 or 1, NaN where missing. Text may also be `true` or
    /// `false`.
    ///
    /// # Errors
    /// [`Error::Cell`] for anything else; [`Error::Unfit`] for lists and
    /// structures.
    pub fn labels(&self) -> Result<Vec<f32>> {
        let expected = "one label per row";
        if self.array.data_type().is_temporal() {
            return Err(self.unreadable(Unreadable::Type, |row| row, expected));
        }
        let labels = self.each_number(|text| number(text).unwrap_or(Some(f64::INFINITY)), expected)?;
        match labels.iter().position(|label| label.is_some_and(|label| label != 0.0 && label != 1.0)) {
            Some(row) => Err(self.error(row, "a label: 0, 1, or nothing where it is missing")),
            None => Ok(labels.into_iter().map(|label| label.map_or(f32::NAN, |label| label as f32)).collect()),
        }
    }

    /// Weights: finite numbers of 0 or more.
    ///
    /// # Errors
    /// [`Error::Cell`] for anything else, also for a missing one;
    /// [`Error::Unfit`] for lists and structures.
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
        let shown = text::each_text(&cell, Form::Format1, |_, text| {
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

    pub(super) fn is_text(&self) -> bool {
        is_text(&self.array)
    }

    /// What its type says that its cells are.
    pub(super) fn cells(&self) -> Cells {
        Cells::of_type(self.array.data_type())
    }

    fn unreadable(&self, error: Unreadable, row_of: impl Fn(usize) -> usize, expected: &str) -> Error {
        match error {
            Unreadable::Type => Error::unfit(
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

fn is_text(array: &dyn Array) -> bool {
    use DataType::*;
    matches!(array.data_type(), Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView)
}

/// A text as a number, `Some(None)` where it says that there is none; `None`
/// if it is neither.
fn number(text: &str) -> Option<Option<f64>> {
    match text.parse::<f64>() {
        Ok(number) => Some(Some(number).filter(|number| !number.is_nan())),
        Err(_) if text.eq_ignore_ascii_case("true") => Some(Some(1.0)),
        Err(_) if text.eq_ignore_ascii_case("false") => Some(Some(0.0)),
        Err(_) => reading::is_nothing(text).then_some(None),
    }
}

/// The cells of a plain array as numbers, `None` where missing; `None` for a
/// type that has none.
fn numbers(array: &dyn Array) -> Option<Vec<Option<f64>>> {
    use DataType::*;
    Some(match array.data_type() {
        Int8 => each_number(array.as_primitive::<Int8Type>(), f64::from),
        Int16 => each_number(array.as_primitive::<Int16Type>(), f64::from),
        Int32 => each_number(array.as_primitive::<Int32Type>(), f64::from),
        Int64 => each_number(array.as_primitive::<Int64Type>(), |x| x as f64),
        UInt8 => each_number(array.as_primitive::<UInt8Type>(), f64::from),
        UInt16 => each_number(array.as_primitive::<UInt16Type>(), f64::from),
        UInt32 => each_number(array.as_primitive::<UInt32Type>(), f64::from),
        UInt64 => each_number(array.as_primitive::<UInt64Type>(), |x| x as f64),
        Float32 => {
            let mut scratch = String::new();
            each_number(array.as_primitive::<Float32Type>(), |x| text::number_of_single(x, &mut scratch))
        }
        Float64 => each_number(array.as_primitive::<Float64Type>(), |x| x),
        Boolean => array.as_boolean().iter().map(|x| x.map(f64::from)).collect(),
        Null => vec![None; array.len()],
        kind if kind == &Float16 || kind.is_decimal() => {
            // Parsing rounds once, as dividing by a power of ten would not.
            let mut numbers = Vec::with_capacity(array.len());
            text::each_text(array, Form::Format1, |_, text| numbers.push(text.and_then(|text| text.parse().ok())))
                .ok()?;
            numbers
        }
        Date32 => each_number(array.as_primitive::<Date32Type>(), |day| f64::from(day) * 86_400.0),
        kind => {
            // As text does, so that a moment is one number in all formats.
            let unit = match kind {
                Time32(unit) | Time64(unit) | Timestamp(unit, _) | Duration(unit) => *unit,
                _ => TimeUnit::Millisecond,
            };
            text::ticks(array)?.map(|ticks| ticks.map(|ticks| Moment::new(ticks, unit).number())).collect()
        }
    })
}

fn each_number<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    mut number: impl FnMut(T::Native) -> f64,
) -> Vec<Option<f64>> {
    array.iter().map(|x| x.map(&mut number).filter(|number| !number.is_nan())).collect()
}

/// The values of an array of lists, and which of them belong to each row.
fn lists(array: &ArrayRef) -> Option<(ArrayRef, Vec<Range<usize>>)> {
    fn between<O: Copy>(offsets: &[O], index: impl Fn(O) -> usize) -> Vec<Range<usize>> {
        offsets.windows(2).map(|pair| index(pair[0])..index(pair[1])).collect()
    }
    fn viewed<O: Copy>(offsets: &[O], sizes: &[O], index: impl Fn(O) -> usize) -> Vec<Range<usize>> {
        offsets.iter().zip(sizes).map(|(start, size)| index(*start)..index(*start) + index(*size)).collect()
    }
    Some(match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            (list.values().clone(), between(list.value_offsets(), |offset| offset as usize))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            (list.values().clone(), between(list.value_offsets(), |offset| offset as usize))
        }
        DataType::FixedSizeList(_, size) => {
            let size = *size as usize;
            let ranges = (0..array.len()).map(|row| row * size..(row + 1) * size).collect();
            (array.as_fixed_size_list().values().clone(), ranges)
        }
        DataType::ListView(_) => {
            let list = array.as_list_view::<i32>();
            (list.values().clone(), viewed(list.value_offsets(), list.value_sizes(), |offset| offset as usize))
        }
        DataType::LargeListView(_) => {
            let list = array.as_list_view::<i64>();
            (list.values().clone(), viewed(list.value_offsets(), list.value_sizes(), |offset| offset as usize))
        }
        _ => return None,
    })
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
    use proptest::prelude::*;

    use super::*;
    use crate::data::tests::table;

    #[test]
    fn a_tenth_of_single_precision_is_the_tenth_of_other_formats() {
        let halves = [0.1, 65504.0].map(<Float16Type as ArrowPrimitiveType>::Native::from_f32);
        let batch = table(vec![
            ("single", Arc::new(Float32Array::from(vec![0.1, 0.7, -1234.56, 1e-9])) as ArrayRef),
            ("half", Arc::new(Float16Array::from_iter_values([halves[0], halves[1], halves[0], -halves[0]]))),
        ]);
        let rows = Rows::new(batch, "made");
        let numbers = |name: &str| rows.column(name).unwrap().numbers().unwrap();
        assert_eq!(numbers("single"), [Some(0.1), Some(0.7), Some(-1234.56), Some(1e-9)]);
        let said = 0.099975586;
        assert_eq!(numbers("half"), [Some(said), Some(65504.0), Some(said), Some(-said)], "as its text is written");
    }

    proptest! {
        #[test]
        fn a_number_of_single_precision_is_what_its_text_says(bits in any::<u32>(), hundredths in -1_000_000i32..1_000_000) {
            let mut scratch = String::new();
            for x in [f32::from_bits(bits), hundredths as f32 / 100.0].into_iter().filter(|x| x.is_finite()) {
                let array = Float32Array::from(vec![x]);
                let mut said = 0.0;
                text::each_text(&array, Form::Canonical, |_, text| said = text.unwrap().parse().unwrap()).unwrap();
                let found = text::number_of_single(x, &mut scratch);
                prop_assert_eq!(found, said);
                prop_assert_eq!(found as f32, x, "and it is still that number");
            }
        }
    }

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
        fn a_moment_with_a_fraction_is_one_number_as_type_and_as_text(ms in 0i64..4_000_000_000_000) {
            let mut text = String::new();
            Moment::new(ms, TimeUnit::Millisecond).write(&mut text);
            let batch = table(vec![
                ("ms", Arc::new(TimestampMillisecondArray::from(vec![ms])) as ArrayRef),
                ("us", Arc::new(TimestampMicrosecondArray::from(vec![ms * 1_000]))),
                ("ns", Arc::new(TimestampNanosecondArray::from(vec![ms * 1_000_000]))),
                ("text", Arc::new(StringArray::from(vec![text]))),
            ]);
            let rows = Rows::new(batch, "made");
            for name in ["ms", "us", "ns", "text"] {
                prop_assert_eq!(rows.column(name).unwrap().numbers().unwrap(), [Some(ms as f64 / 1000.0)], "{}", name);
            }
        }

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
