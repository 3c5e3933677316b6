//! The elements of a JSON tensor, flat or nested.

use std::fmt;
use std::sync::Arc;

use crosstie::arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, StringBuilder};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Elements as JSON tells them apart.
#[derive(Debug)]
enum Elements {
    /// So many nulls.
    Nulls(usize),
    Truths(Vec<Option<bool>>),
    Integers(Vec<Option<i64>>),
    Numbers(Vec<Option<f64>>),
    Texts(StringBuilder),
}

/// The first element that does not go with those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Its place, from 1.
    pub row: u64,
    /// What it is.
    pub found: &'static str,
    /// What those before it are.
    pub expected: &'static str,
}

/// The elements of one tensor.
#[derive(Debug)]
pub struct Values {
    elements: Elements,
    count: u64,
    stranger: Option<Stranger>,
}

impl Values {
    /// The elements as an array.
    ///
    /// # Errors
    /// The first element that is of another type than those before it.
    pub fn into_array(self) -> Result<ArrayRef, Stranger> {
        if let Some(stranger) = self.stranger {
            return Err(stranger);
        }
        Ok(match self.elements {
            Elements::Nulls(count) => Arc::new(NullArray::new(count)),
            Elements::Truths(values) => Arc::new(BooleanArray::from(values)),
            Elements::Integers(values) => Arc::new(Int64Array::from(values)),
            Elements::Numbers(values) => Arc::new(Float64Array::from(values)),
            Elements::Texts(mut texts) => Arc::new(texts.finish()),
        })
    }

    fn refuse(&mut self, found: &'static str) {
        let expected = match self.elements {
            Elements::Nulls(_) => "numbers, texts, true or false",
            Elements::Truths(_) => "true or false, as before it",
            Elements::Integers(_) | Elements::Numbers(_) => "a number, as before it",
            Elements::Texts(_) => "a text, as before it",
        };
        let row = self.count;
        self.stranger.get_or_insert(Stranger { row, found, expected });
    }

    fn add_null(&mut self) {
        match &mut self.elements {
            Elements::Nulls(count) => *count += 1,
            Elements::Truths(values) => values.push(None),
            Elements::Integers(values) => values.push(None),
            Elements::Numbers(values) => values.push(None),
            Elements::Texts(texts) => texts.append_null(),
        }
    }

    fn add_truth(&mut self, truth: bool) {
        if let Elements::Nulls(count) = self.elements {
            self.elements = Elements::Truths(vec![None; count]);
        }
        match &mut self.elements {
            Elements::Truths(values) => values.push(Some(truth)),
            _ => self.refuse("true or false"),
        }
    }

    fn add_integer(&mut self, integer: i64) {
        if let Elements::Nulls(count) = self.elements {
            self.elements = Elements::Integers(vec![None; count]);
        }
        match &mut self.elements {
            Elements::Integers(values) => values.push(Some(integer)),
            Elements::Numbers(values) => values.push(Some(integer as f64)),
            _ => self.refuse("a number"),
        }
    }

    fn add_number(&mut self, number: f64) {
        match &self.elements {
            Elements::Nulls(count) => self.elements = Elements::Numbers(vec![None; *count]),
            Elements::Integers(values) => {
                self.elements = Elements::Numbers(values.iter().map(|x| x.map(|x| x as f64)).collect());
            }
            _ => {}
        }
        match &mut self.elements {
            Elements::Numbers(values) => values.push(Some(number)),
            _ => self.refuse("a number"),
        }
    }

    fn add_text(&mut self, text: &str) {
        if let Elements::Nulls(count) = self.elements {
            let mut texts = StringBuilder::new();
            (0..count).for_each(|_| texts.append_null());
            self.elements = Elements::Texts(texts);
        }
        match &mut self.elements {
            Elements::Texts(texts) => texts.append_value(text),
            _ => self.refuse("a text"),
        }
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
        let mut values = Values { elements: Elements::Nulls(0), count: 0, stranger: None };
        deserializer.deserialize_seq(Whole(&mut values))?;
        Ok(values)
    }
}

/// The list itself.
struct Whole<'a>(&'a mut Values);

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Element(self.0))?.is_some() {}
        Ok(())
    }
}

/// An element, or a list of such.
struct Element<'a>(&'a mut Values);

impl<'de> serde::de::DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number, a text, true, false or null")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.count += 1;
        self.0.add_null();
        Ok(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        self.0.count += 1;
        self.0.add_truth(truth);
        Ok(())
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<(), E> {
        self.0.count += 1;
        self.0.add_integer(integer);
        Ok(())
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<(), E> {
        self.0.count += 1;
        match i64::try_from(integer) {
            Ok(integer) => self.0.add_integer(integer),
            Err(_) => self.0.refuse("a whole number beyond 64 bits with sign; send it as text"),
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.0.count += 1;
        self.0.add_number(number);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.count += 1;
        self.0.add_text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        Whole(self.0).visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.count += 1;
        self.0.refuse("an object");
        while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crosstie::arrow::array::{Array, AsArray};
    use crosstie::arrow::datatypes::{Float64Type, Int64Type};

    use super::*;

    fn array(json: &str) -> Result<ArrayRef, Stranger> {
        serde_json::from_str::<Values>(json).unwrap().into_array()
    }

    #[test]
    fn elements_keep_their_digits_and_nulls_their_places() {
        let integers = array("[null, 9007199254740993, -1]").unwrap();
        assert_eq!(
            integers.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
            [None, Some(9_007_199_254_740_993), Some(-1)]
        );
        let numbers = array("[[1], [0.1], [null]]").unwrap();
        assert_eq!(numbers.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(1.0), Some(0.1), None]);
        let texts = array(r#"[null, "a", ""]"#).unwrap();
        assert_eq!(texts.as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("a"), Some("")]);
        assert_eq!(array("[null, null]").unwrap().len(), 2);
    }

    #[test]
    fn the_first_element_of_another_type_is_named() {
        for (json, row, found) in [
            (r#"["a", 1, {}]"#, 2, "a number"),
            (r#"[1, 2, "a"]"#, 3, "a text"),
            ("[true, 0]", 2, "a number"),
            ("[1, true]", 2, "true or false"),
            (r#"[{"a": [1]}]"#, 1, "an object"),
            ("[18446744073709551615]", 1, "a whole number beyond 64 bits with sign; send it as text"),
        ] {
            let stranger = array(json).unwrap_err();
            assert_eq!((stranger.row, stranger.found), (row, found), "{json}");
        }
    }
}
