//! One column under construction, and how a JSON value becomes a cell of it.

use std::fmt::{self, Write};
use std::sync::Arc;

use crosstie::arrow::array::{Array, ArrayRef, AsArray, Float64Builder, ListBuilder, StringBuilder};
use crosstie::arrow::datatypes::Float64Type;
use crosstie::data::elements;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Unexpected, Visitor};

use super::id::Id;
use crate::repository::Kind;

/// From here on not every whole number is a float64.
const EXACT: f64 = (1u64 << 53) as f64;

/// The cells of one column so far.
#[derive(Debug)]
pub(super) enum Cells {
    /// A text among them makes texts of all.
    Number(Float64Builder),
    /// Of numbers and truth values, the text that the same cell of a table has.
    Text(StringBuilder),
    /// A single text is a list in brackets, or cut at the separator.
    List(ListBuilder<StringBuilder>, Separator),
}

/// What parts the values in one text.
#[derive(Debug)]
pub(super) struct Separator {
    text: String,
    /// Whether brackets do, too.
    brackets: bool,
}

impl Cells {
    pub fn new(kind: &Kind, rows: usize) -> Cells {
        match kind {
            Kind::Number => Cells::Number(Float64Builder::with_capacity(rows)),
            Kind::Value => Cells::Text(StringBuilder::with_capacity(rows, 8 * rows)),
            Kind::Values { separator, brackets } => {
                let separator = Separator { text: separator.clone(), brackets: *brackets };
                Cells::List(ListBuilder::new(StringBuilder::new()), separator)
            }
        }
    }

    pub fn missing(&mut self) {
        match self {
            Cells::Number(cells) => cells.append_null(),
            Cells::Text(cells) => cells.append_null(),
            Cells::List(cells, _) => cells.append_null(),
        }
    }

    /// A candidate's name, where a field reads it.
    pub fn id(&mut self, id: Option<&Id>) {
        match id {
            Some(Id::Text(text)) => self.text(text),
            Some(Id::Number(number)) => self.integer(number, *number as f64),
            None => self.missing(),
        }
    }

    pub fn finish(self) -> ArrayRef {
        match self {
            Cells::Number(mut cells) => Arc::new(cells.finish()),
            Cells::Text(mut cells) => Arc::new(cells.finish()),
            Cells::List(mut cells, _) => Arc::new(cells.finish()),
        }
    }

    fn text(&mut self, text: &str) {
        match self {
            // Whether a text is a number, and which, is not decided here: a column
            // of text is read by the same rules as one of a CSV file.
            Cells::Number(numbers) => {
                let mut cells = StringBuilder::new();
                for number in numbers.finish().iter() {
                    match number {
                        Some(number) => write_number(&mut cells, number),
                        None => cells.append_null(),
                    }
                }
                cells.append_value(text);
                *self = Cells::Text(cells);
            }
            Cells::Text(cells) => cells.append_value(text),
            Cells::List(cells, separator) => {
                match separator.brackets.then(|| elements(text)).flatten() {
                    Some(elements) => elements.iter().for_each(|element| cells.values().append_value(element)),
                    None if separator.text.is_empty() => cells.values().append_value(text),
                    None => text.split(&separator.text).for_each(|piece| cells.values().append_value(piece)),
                }
                cells.append(true);
            }
        }
    }

    fn number(&mut self, number: f64) {
        match self {
            Cells::Number(cells) => cells.append_value(number),
            Cells::Text(cells) => write_number(cells, number),
            Cells::List(cells, _) => {
                write_number(cells.values(), number);
                cells.append(true);
            }
        }
    }

    /// A whole number, which text takes with all its digits.
    fn integer(&mut self, integer: impl fmt::Display, number: f64) {
        match self {
            Cells::Number(cells) => cells.append_value(number),
            Cells::Text(cells) => write_text(cells, integer),
            Cells::List(cells, _) => {
                write_text(cells.values(), integer);
                cells.append(true);
            }
        }
    }
}

fn write_text(cells: &mut StringBuilder, value: impl fmt::Display) {
    // Writing to memory cannot fail.
    let _ = write!(cells, "{value}");
    cells.append_value("");
}

/// As the library writes a float of a table.
fn write_number(cells: &mut StringBuilder, number: f64) {
    if number.trunc() == number && number.abs() < EXACT {
        write_text(cells, number as i64);
    } else {
        write_text(cells, number);
    }
}

/// The cells of a finished column as numbers for a formula, NaN where missing; the
/// row and the text of the first that is none.
pub(super) fn numbers(array: &ArrayRef) -> Result<Vec<f64>, (usize, String)> {
    if let Some(repeated) = array.as_any_dictionary_opt() {
        let one = numbers(repeated.values())?.first().copied().unwrap_or(f64::NAN);
        return Ok(vec![one; repeated.len()]);
    }
    if let Some(cells) = array.as_primitive_opt::<Float64Type>() {
        return Ok(cells.iter().map(|cell| cell.unwrap_or(f64::NAN)).collect());
    }
    let Some(cells) = array.as_string_opt::<i32>() else { return Err((0, "a list".into())) };
    let number = |(row, cell): (usize, Option<&str>)| match cell.map(str::trim) {
        None | Some("") => Ok(f64::NAN),
        Some(text) => text.parse().map_err(|_| (row, format!("{text:?}"))),
    };
    (0..cells.len()).map(|row| cells.is_valid(row).then(|| cells.value(row))).enumerate().map(number).collect()
}

/// Reads one cell.
pub(super) struct Cell<'a>(pub &'a mut Cells);

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Cells::Number(_) => f.write_str("a number, or null"),
            Cells::Text(_) => f.write_str("a text, a number, a truth value or null"),
            Cells::List(..) => f.write_str("texts or numbers in an array, or one of them, or null"),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.missing();
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.integer(u8::from(value), f64::from(u8::from(value)));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.integer(value, value as f64);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.integer(value, value as f64);
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if !matches!(self.0, Cells::Number(_)) {
            exact(value)?;
        }
        self.0.number(value);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.0.text(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Cells::List(cells, _) = self.0 else { return Err(A::Error::invalid_type(Unexpected::Seq, &self)) };
        while elements.next_element_seed(Element(cells.values()))?.is_some() {}
        cells.append(true);
        Ok(())
    }
}

fn exact<E: Error>(value: f64) -> Result<(), E> {
    if value.abs() < EXACT || value.trunc() != value {
        return Ok(());
    }
    Err(E::custom(format_args!("{value:e}, expected a text: so large a whole number is not exact outside of quotes")))
}

/// One value of several; what is missing is left out.
struct Element<'a>(&'a mut StringBuilder);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a truth value or null within the array")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        write_text(self.0, u8::from(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        write_text(self.0, value);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        write_text(self.0, value);
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        exact(value)?;
        write_number(self.0, value);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.0.append_value(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_brackets_was_cut_at_its_commas() {
        let values = |brackets: bool, text: &str| -> Vec<String> {
            let mut cells = Cells::new(&Kind::Values { separator: ",".into(), brackets }, 1);
            cells.text(text);
            let list = cells.finish().as_list::<i32>().value(0);
            list.as_string::<i32>().iter().map(|value| value.unwrap_or_default().to_string()).collect()
        };
        assert_eq!(values(true, "['a', \"b,c\"]"), ["a", "b,c"], "as in a table");
        assert_eq!(values(true, "a,b"), ["a", "b"]);
        assert_eq!(values(false, "[a,b]"), ["[a", "b]"], "as in a table of the first format");
    }
}
