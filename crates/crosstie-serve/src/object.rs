//! Objects of JSON, and nothing else: serde takes an array for a struct, too. No key is in one
//! twice, and what is wrong with a value is told with the key that it has.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use crosstie::spelling;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use crate::failure::{Failure, found_text};

/// What an object holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

/// Reads the text of an object.
///
/// # Errors
/// The field, what was found and what was expected.
pub fn read<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map(|Object(read)| read).map_err(|error| wrong(&error))
}

/// What serde says of an object's JSON, told so that its sender can mend it.
pub fn wrong(error: &serde_json::Error) -> Failure {
    let message = error.to_string();
    let placed = message.strip_prefix(FIELD).and_then(|rest| rest.split_once("`: "));
    let (path, message) = placed.unwrap_or(("", &message));
    for (prefix, found, expected) in
        [("missing field `", "nothing", "a value"), ("duplicate field `", "a second value", "one")]
    {
        if let Some(key) = message.strip_prefix(prefix).and_then(|rest| rest.split('`').next()) {
            let field = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
            return Failure::field(field, found, expected);
        }
    }
    let unreadable = || (format!("what cannot be read: {message}"), "JSON".to_string());
    let (found, expected) = found_and_expected(message).unwrap_or_else(unreadable);
    match path {
        "" => Failure::request(found, expected),
        path => Failure::field(path, found, expected),
    }
}

/// What serde says was found and expected, in a person's words and without its place; `None`
/// where it expected nothing in particular.
pub fn found_and_expected(message: &str) -> Option<(String, String)> {
    let message = spelling::explain(without_place(message)).replace('\n', "; ");
    let (found, expected) = message.rsplit_once(", expected ")?;
    let expected = match expected {
        "a string" => "a text",
        "a list" => "an array",
        "a section" => "an object",
        other => other,
    };
    Some((words(found), expected.to_string()))
}

/// The message without its place in the JSON, which says nothing to who sent a larger one, or
/// who knows the field.
pub fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

/// A value that serde found, as JSON has it.
fn words(found: &str) -> String {
    let found = ["invalid type: ", "invalid value: "].iter().find_map(|of| found.strip_prefix(of)).unwrap_or(found);
    let token = ["integer `", "floating point `", "boolean `"].iter().find_map(|of| found.strip_prefix(of));
    match (found, token.and_then(|token| token.strip_suffix('`')), found.strip_prefix("string ")) {
        ("a section", ..) => "an object".into(),
        ("a list", ..) => "an array".into(),
        (_, Some(token), _) => token.into(),
        // In Rust's quotation marks, which are JSON's for all that is short and plain.
        (_, _, Some(text)) => serde_json::from_str(text).map_or(text.into(), |text: String| found_text(&text)),
        (other, ..) => other.into(),
    }
}

/// How a message begins that says where it is from.
const FIELD: &str = "field `";

/// The error with the key, or the place in an array, before those that it tells.
fn at<E: Error>(key: fmt::Arguments<'_>, error: E) -> E {
    let message = error.to_string();
    E::custom(match message.strip_prefix(FIELD) {
        Some(rest) if rest.starts_with('[') => format!("{FIELD}{key}{rest}"),
        Some(rest) => format!("{FIELD}{key}.{rest}"),
        None => format!("{FIELD}{key}`: {message}"),
    })
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        deserializer.deserialize_any(Keys(PhantomData))
    }
}

struct Keys<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Keys<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        let named = Named { map, key: String::new(), before: HashSet::new() };
        T::deserialize(MapAccessDeserializer::new(named)).map(Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Object<T>, A::Error> {
        Err(A::Error::custom("an array, expected an object"))
    }
}

/// An object's entries, of which the one under way is known by its key.
struct Named<A> {
    map: A,
    key: String,
    before: HashSet<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Named<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.map.next_key::<String>()? else { return Ok(None) };
        if !self.before.insert(key.clone()) {
            return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
        }
        self.key = key;
        seed.deserialize(self.key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let key = &self.key;
        self.map.next_value_seed(seed).map_err(|error| at(format_args!("{key}"), error))
    }
}

/// An array of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects<T>(pub Vec<T>);

impl<T> Default for Objects<T> {
    fn default() -> Objects<T> {
        Objects(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Objects<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Objects<T>, D::Error> {
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

struct Elements<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
    type Value = Objects<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Objects<T>, A::Error> {
        let mut objects = Vec::new();
        loop {
            let next = elements.next_element::<Object<T>>();
            match next.map_err(|error| at(format_args!("[{}]", objects.len()), error))? {
                Some(Object(object)) => objects.push(object),
                None => return Ok(Objects(objects)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Map, Value};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        top: Option<usize>,
        on: Option<bool>,
        name: Option<String>,
        #[serde(default)]
        inner: Objects<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        shape: Vec<u64>,
        more: Option<Object<Map<String, Value>>>,
    }

    #[test]
    fn what_is_right_is_read_at_every_depth() {
        let json = r#"{"top": 3, "name": "a", "inner": [{"shape": [2, 1], "more": {"a": 1}}]}"#;
        let more = Some(Object(Map::from_iter([("a".to_string(), Value::from(1))])));
        let inner = Objects(vec![Inner { shape: vec![2, 1], more }]);
        let expected = Outer { top: Some(3), on: None, name: Some("a".into()), inner };
        assert_eq!(read::<Outer>(json.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field_and_in_words() {
        for (json, said) in [
            (r#"{"top": -1}"#, "field `top`: found -1, expected a whole number that is not negative"),
            (r#"{"top": 1.5}"#, "field `top`: found 1.5, expected a whole number that is not negative"),
            (r#"{"on": 1}"#, "field `on`: found 1, expected true or false"),
            (r#"{"name": true}"#, "field `name`: found true, expected a text"),
            (r#"{"name": [1]}"#, "field `name`: found an array, expected a text"),
            (r#"{"on": "a, expected b at line 3"}"#, "field `on`: found \"a, expected b at line 3\", expected true or"),
            (r#"{"inner": {}}"#, "field `inner`: found an object, expected an array of objects"),
            (r#"{"inner": [{"shape": [1]}, 7]}"#, "field `inner[1]`: found 7, expected an object"),
            (r#"{"inner": [[[1]]]}"#, "field `inner[0]`: found an array, expected an object"),
            (r#"{"inner": [{"shape": 1}]}"#, "field `inner[0].shape`: found 1, expected an array"),
            (
                r#"{"inner": [{"shape": [-1, 1]}]}"#,
                "field `inner[0].shape`: found -1, expected a whole number that is not negative",
            ),
            (r#"{"inner": [{}]}"#, "field `inner[0].shape`: found nothing, expected a value"),
            (
                r#"{"inner": [{"shape": [], "more": {"a": 1, "a": 2}}]}"#,
                "field `inner[0].more.a`: found a second value, expected one",
            ),
            (r#"{"top": 1, "top": 2}"#, "field `top`: found a second value, expected one"),
            ("7", "found 7, expected an object"),
            ("[1]", "found an array, expected an object"),
            ("{", "found what cannot be read: EOF while parsing an object at line 1 column 1, expected JSON"),
            (r#"{"top": 1e400}"#, "field `top`: found what cannot be read: number out of range at line 1"),
        ] {
            let wrong = read::<Outer>(json.as_bytes()).unwrap_err().to_string();
            assert!(wrong.starts_with(said), "{json}: {wrong}");
        }
        let long = format!(r#"{{"on": "{}"}}"#, "x".repeat(99));
        let wrong = read::<Outer>(long.as_bytes()).unwrap_err().to_string();
        assert_eq!(wrong, "field `on`: found a text of 99 bytes, expected true or false");
    }
}
