//! How the text of a column is read: as numbers, as times, or as it stands.
//!
//! Parquet and Arrow tell a column's type; in CSV all is text, and every
//! writer has its own way to put a number, a truth value or a time into it.
//! So features learn what their text columns hold, and read every later table
//! in the same way, whatever its format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::text::write_float;
use super::time::Moment;
use crate::arrow::datatypes::DataType;

/// What writers put where nothing is, besides nothing. A column of numbers or
/// times cannot mean anything else by them; a column of text can.
const NOTHING: [&str; 8] = ["\\N", "NULL", "NaN", "NA", "N/A", "None", "<NA>", "NaT"];

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cells {
    /// Text, taken as it stands.
    Text,
    /// Numbers and truth values.
    Number,
    /// Days and moments.
    Time,
}

/// How the columns of a table are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Texts that mean that nothing is there, in every column.
    pub null: Vec<String>,
    /// What columns hold; those that are not named hold text.
    pub columns: BTreeMap<String, Cells>,
}

impl Reading {
    pub(super) fn cells(&self, column: &str) -> Cells {
        self.columns.get(column).copied().unwrap_or(Cells::Text)
    }

    pub(super) fn is_null(&self, text: &str) -> bool {
        self.null.iter().any(|null| null == text.trim())
    }

    pub(super) fn is_null_number(&self, number: f64) -> bool {
        self.null.iter().any(|null| null.parse() == Ok(number))
    }
}

/// Whether a text means that nothing is there, in a column that holds no text.
pub(super) fn is_nothing(text: &str) -> bool {
    NOTHING.iter().any(|nothing| nothing.eq_ignore_ascii_case(text))
}

impl Cells {
    /// The text by which a cell is known: the same for every way in which a
    /// number or a time may be written. What is neither stays as it is.
    pub(super) fn canonical<'a>(self, text: &'a str, scratch: &'a mut String) -> Option<&'a str> {
        scratch.clear();
        let trimmed = text.trim();
        match self {
            Cells::Text => Some(text),
            _ if trimmed.is_empty() => None,
            Cells::Number => match Number::of(trimmed) {
                Some(Number::Plain(digits)) => Some(digits),
                Some(Number::Float(number)) => {
                    write_float(scratch, number);
                    Some(scratch)
                }
                None => Some(trimmed).filter(|text| !is_nothing(text)),
            },
            Cells::Time => match Moment::parse(trimmed) {
                Some(moment) => {
                    moment.write_short(scratch);
                    Some(scratch)
                }
                None => Some(trimmed).filter(|text| !is_nothing(text)),
            },
        }
    }

    /// What a type says that its cells are.
    pub(super) fn of_type(data_type: &DataType) -> Cells {
        use DataType::*;
        match data_type {
            Dictionary(_, value) => Cells::of_type(value),
            RunEndEncoded(_, value) => Cells::of_type(value.data_type()),
            List(item) | LargeList(item) | FixedSizeList(item, _) | ListView(item) | LargeListView(item) => {
                Cells::of_type(item.data_type())
            }
            Boolean => Cells::Number,
            kind if kind.is_numeric() => Cells::Number,
            Date32 | Date64 | Timestamp(..) => Cells::Time,
            _ => Cells::Text,
        }
    }
}

/// A number as writers of tables put it into text.
pub(super) enum Number<'a> {
    /// By its digits, without a fraction of nothing but zeros.
    Plain(&'a str),
    Float(f64),
}

impl Number<'_> {
    /// Leading zeros, signs in front of positive numbers and the like are the
    /// marks of a code, no number's; so is an exponent that a number of this
    /// size would not be written with.
    pub fn of(text: &str) -> Option<Number<'_>> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, rest) = unsigned.split_at(unsigned.bytes().take_while(u8::is_ascii_digit).count());
        if whole.is_empty() {
            return Number::of_word(text);
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let plain = |text| Some(Number::Plain(if text == "-0" { "0" } else { text }));
        let (fraction, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, ""));
        match (fraction.strip_prefix('.'), exponent) {
            _ if rest.is_empty() => plain(text),
            (Some(fraction), "") if digits(fraction) && fraction.len() + 1 == rest.len() => {
                let zeros = fraction.bytes().all(|byte| byte == b'0');
                plain(if zeros { &text[..text.len() - rest.len()] } else { text })
            }
            (Some(fraction), exponent) if digits(fraction) => Number::with_exponent(text, whole, exponent),
            (None, exponent) if fraction.is_empty() => Number::with_exponent(text, whole, exponent),
            _ => None,
        }
    }

    fn with_exponent<'a>(text: &str, whole: &str, exponent: &str) -> Option<Number<'a>> {
        let exponent: i32 = exponent.parse().ok()?;
        let usual = whole.len() == 1 && whole != "0" && (exponent >= 7 || exponent <= -4);
        text.parse().ok().filter(|_| usual).map(Number::Float)
    }

    fn of_word<'a>(text: &str) -> Option<Number<'a>> {
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        match () {
            () if is("true") => Some(Number::Plain("1")),
            () if is("false") => Some(Number::Plain("0")),
            () if is("inf") || is("infinity") => Some(Number::Plain("inf")),
            () if is("-inf") || is("-infinity") => Some(Number::Plain("-inf")),
            () => None,
        }
    }
}

/// The elements of a list that somebody wrote as text: `[1, 2]`, `['a', 'b']`,
/// and as NumPy writes, `[1 2]`. `None` for other text, such as `[a]|[b]`.
pub fn elements(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    // Without a comma, blanks part what are all numbers or quoted.
    let pieces = split(inner, |c| c == ',')?;
    let apart = split(inner, char::is_whitespace)?;
    let clear = |piece: &String| piece.starts_with(['\'', '"']) || Number::of(piece.trim_end_matches('.')).is_some();
    let pieces = if pieces.len() == 1 && apart.iter().all(clear) { apart } else { pieces };
    let bare = |piece: &String| {
        let quote = piece.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
        Some(piece.strip_prefix(quote)?.strip_suffix(quote)?.to_string())
    };
    Some(pieces.iter().map(|piece| bare(piece).unwrap_or_else(|| piece.clone())).collect())
}

/// Pieces between separators outside of quotes, trimmed, empty ones left out. `None` where a
/// bracket closes that none of them opens: then the first and the last are not a pair.
fn split(text: &str, separates: impl Fn(char) -> bool) -> Option<Vec<String>> {
    let (mut pieces, mut piece, mut quote, mut open) = (Vec::new(), String::new(), None, 0u32);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match quote {
            None if separates(c) => pieces.push(std::mem::take(&mut piece)),
            None => {
                let opens = matches!(c, '\'' | '"') && piece.trim().is_empty();
                quote = opens.then_some(c);
                open = match c {
                    '[' => open + 1,
                    ']' => open.checked_sub(1)?,
                    _ => open,
                };
                piece.push(c);
            }
            Some(_) if c == '\\' => piece.extend(characters.next()),
            Some(end) => {
                quote = (c != end).then_some(end);
                piece.push(c);
            }
        }
    }
    pieces.push(piece);
    Some(pieces.iter().map(|piece| piece.trim().to_string()).filter(|piece| !piece.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(cells: Cells, text: &str) -> Option<String> {
        cells.canonical(text, &mut String::new()).map(str::to_string)
    }

    fn number(text: &str) -> Option<String> {
        canonical(Cells::Number, text)
    }

    #[test]
    fn a_number_has_one_text_whoever_wrote_it() {
        for (written, text) in [
            ("7", "7"),
            (" 7 ", "7"),
            ("7.0", "7"),
            ("7.00", "7"),
            ("-7.0", "-7"),
            ("-0.0", "0"),
            ("0.5", "0.5"),
            ("2e-06", "0.000002"),
            ("2.0E-6", "0.000002"),
            ("1e+20", "100000000000000000000"),
            ("1.5E7", "15000000"),
            ("9223372036854775807", "9223372036854775807"),
            ("True", "1"),
            ("false", "0"),
            ("inf", "inf"),
        ] {
            assert_eq!(number(written).as_deref(), Some(text), "{written}");
        }
        for nothing in ["NaN", "nan", "NULL", "\\N", "NA", "None", "<NA>", "", " "] {
            assert_eq!(number(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn codes_of_digits_are_no_numbers() {
        // A version, a postal code, catalogue numbers: other text is another value.
        for code in ["9.10", "0123", "12E3", "1e3", "1_000", "+7", "1.", ".5", "1.2.3", "0x1f", "a7"] {
            assert_eq!(number(code).as_deref(), Some(code));
        }
    }

    #[test]
    fn lists_in_text_are_taken_apart() {
        for (written, elements) in [
            ("[1, 2]", &["1", "2"][..]),
            ("[1 2\n 3]", &["1", "2", "3"]),
            ("[1. 2.5]", &["1.", "2.5"]),
            ("['a', \"b, c\"]", &["a", "b, c"]),
            ("['it\\'s' 'b']", &["it's", "b"]),
            ("[New York, b]", &["New York", "b"]),
            ("[New York]", &["New York"]),
            ("[]", &[]),
        ] {
            assert_eq!(super::elements(written).unwrap(), elements, "{written}");
        }
        assert_eq!(super::elements("1,2"), None);
        assert_eq!(super::elements("[1,2"), None);
    }

    #[test]
    fn texts_in_brackets_side_by_side_are_not_one_list() {
        for text in ["[a]|[b]", "[a], [b]", "['a']|['b']", "[a]]"] {
            assert_eq!(super::elements(text), None, "{text}");
        }
        for (nested, elements) in
            [("[x[0], y]", ["x[0]", "y"]), ("['a]', \"b]\"]", ["a]", "b]"]), ("[[:], b]", ["[:]", "b"])]
        {
            assert_eq!(super::elements(nested).unwrap(), elements, "{nested}");
        }
    }
}
