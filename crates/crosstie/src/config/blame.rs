//! Which key a refusal is about, where the parser does not know.
//!
//! serde reads a section whose keys depend on the name in it, such as `[model]`, by way of
//! a buffer without keys and lines. So the key is found by trying: it is the first with
//! which, and with those before it, the section is refused as the whole is.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use toml::Table;
use toml::de::Error;

use super::Config;
use super::setting::{is_in_named, section, section_mut};

/// The same refusal, at the key that it is about. `text` is what the table was parsed
/// from, if nothing in it was changed since.
pub(super) fn at_its_key(refused: Error, table: &Table, text: Option<&str>) -> Error {
    let message = refused.message();
    // A key that is not there has no place but its section, and the message names it.
    if message.starts_with("missing field") {
        return refused;
    }
    let path = blamed(table, message);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    if !is_in_named(&path) {
        return refused;
    }
    let told = match text {
        Some(text) => {
            // A line does not say in which section it stands.
            let message = format!("{message}\nin `{}`", path.join("."));
            let place = Place { path: &path, message: &message };
            toml::Deserializer::parse(text).and_then(|text| place.deserialize(text))
        }
        None => Place { path: &path, message }.deserialize(table.clone()),
    };
    told.err().unwrap_or(refused)
}

/// The path of the value that is refused with this message, as far as it can be found.
fn blamed(table: &Table, message: &str) -> Vec<String> {
    let refused_alike = |table: &Table| table.clone().try_into::<Config>().is_err_and(|said| said.message() == message);
    let mut kept = table.clone();
    let mut path: Vec<String> = Vec::new();
    loop {
        let at: Vec<&str> = path.iter().map(String::as_str).collect();
        let Some(whole) = section(&kept, &at).cloned() else { return path };
        // All else depends on the name.
        let (named, others): (Vec<_>, Vec<_>) = whole.into_iter().partition(|(key, _)| key == "name");
        if let Some(section) = section_mut(&mut kept, &at) {
            section.clear();
        }
        if refused_alike(&kept) {
            return path;
        }
        let mut entries = named.into_iter().chain(others);
        let found = entries.find_map(|(key, value)| {
            section_mut(&mut kept, &at)?.insert(key.clone(), value);
            refused_alike(&kept).then_some(key)
        });
        let Some(key) = found else { return path };
        path.push(key);
    }
}

/// Goes to a value and refuses it there, so that the error has its place.
struct Place<'a> {
    path: &'a [&'a str],
    message: &'a str,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() { Err(D::Error::custom(self.message)) } else { deserializer.deserialize_map(self) }
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a section")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else { return Ok(()) };
        while let Some(key) = map.next_key::<String>()? {
            if key == *first {
                return map.next_value_seed(Place { path: rest, message: self.message });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
