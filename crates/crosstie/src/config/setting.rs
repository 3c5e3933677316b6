//! Settings said beside the file, as `--set key.path=value` does.
//!
//! What one setting does never depends on where it stands among the others. Of
//! two for the same key the later counts; of a section and a key in it, both.

use std::path::Path;

use toml::de::DeValue;
use toml::{Spanned, Table, Value};

use super::{Config, IN_DIR};
use crate::error::{Error, Result};
use crate::optim::{DENSE, ROWS};
use crate::spelling;

/// A section whose settings belong to the name in it.
struct Named {
    section: &'static [&'static str],
    /// The name where none stands.
    default: Option<&'static str>,
}

const NAMED: [Named; 5] = [
    Named { section: &["model"], default: None },
    Named { section: &["balance"], default: Some("fixed") },
    Named { section: &["optimizer", "dense"], default: Some(DENSE.name()) },
    Named { section: &["optimizer", "rows"], default: Some(ROWS.name()) },
    Named { section: &["optimizer", "schedule"], default: Some("constant") },
];

/// Whether a path leads into such a section.
pub(super) fn is_in_named(path: &[&str]) -> bool {
    NAMED.iter().any(|named| path.len() > named.section.len() && path.starts_with(named.section))
}

/// One setting.
struct Setting<'a> {
    written: &'a str,
    path: Vec<&'a str>,
    value: &'a str,
}

impl<'a> Setting<'a> {
    fn parse(written: &'a str) -> Result<Setting<'a>> {
        let parts = written.split_once('=').map(|(path, value)| (path.trim().split('.').collect::<Vec<_>>(), value));
        match parts {
            Some((path, value)) if path.iter().all(|key| !key.is_empty()) => {
                Ok(Setting { written, path, value: value.trim() })
            }
            _ => Err(wrong(written, "is not of the form key.path=value")),
        }
    }

    /// The value as TOML, or what [`guessed`] takes it for.
    fn guessed(&self) -> Value {
        guessed(self.value)
    }

    /// The value as its key takes it: what could be a number or a date is text
    /// where the key is a path, a name, or a list of such, be it a wrong one.
    /// `names` is a config of names alone.
    fn typed(&self, names: &Table) -> Value {
        let guessed = self.guessed();
        let parsed = DeValue::parse(self.value);
        let text = parsed.map_or_else(|_| unread(self.value), |parsed| as_text(&parsed, self.value));
        let refused = |value: &Value| {
            let mut config = names.clone();
            put(&mut config, &self.path, value.clone()).ok()?;
            Some(config.try_into::<Config>().err()?.to_string())
        };
        let of_another_type = |said: String| said.contains("invalid type");
        let is_text = guessed != text
            && refused(&text)
                .is_none_or(|said| !of_another_type(said) && refused(&guessed).is_some_and(of_another_type));
        if is_text { text } else { guessed }
    }
}

fn wrong(setting: &str, message: impl Into<String>) -> Error {
    Error::Setting { setting: setting.into(), message: message.into() }
}

/// A value as TOML, whose fractions may lack the 0 before their point and whose lists may
/// hold texts without quotes; or as text if it is none.
fn guessed(value: &str) -> Value {
    let parsed = value.parse().or_else(|_| with_zeros(value).parse());
    parsed.unwrap_or_else(|_| match items(value) {
        Some(items) => Value::Array(items.map(guessed).collect()),
        None => Value::String(value.into()),
    })
}

/// A value that is no TOML, or a list of such, as text.
fn unread(value: &str) -> Value {
    let text = |text: &str| Value::String(text.into());
    items(value).map_or_else(|| text(value), |items| Value::Array(items.map(text).collect()))
}

/// What stands between brackets and commas.
fn items(value: &str) -> Option<impl Iterator<Item = &str>> {
    let inner = value.strip_prefix('[')?.strip_suffix(']')?;
    let nested = inner.contains(['[', ']', '{', '"', '\'']);
    (!nested).then(|| inner.split(',').map(str::trim).filter(|item| !item.is_empty()))
}

/// `.5` as `0.5`, which alone is TOML, wherever a number may begin.
fn with_zeros(value: &str) -> String {
    let mut whole = String::with_capacity(value.len() + 1);
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        let begins = !whole.ends_with(|before: char| before.is_alphanumeric() || ".\"'_".contains(before));
        if letter == '.' && begins && letters.peek().is_some_and(char::is_ascii_digit) {
            whole.push('0');
        }
        whole.push(letter);
    }
    whole
}

/// A value with all that is no text in it taken as it is written.
fn as_text(value: &Spanned<DeValue<'_>>, written: &str) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Array(values) => Value::Array(values.iter().map(|value| as_text(value, written)).collect()),
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| (key.get_ref().to_string(), as_text(value, written)));
            Value::Table(entries.collect())
        }
        _ => Value::String(written[value.span()].into()),
    }
}

/// Puts settings into a file's table. What the file says for another name of
/// the same section goes, as do the paths in place of which `data.dir` is set;
/// `warnings` tells so.
pub(super) fn apply(file: &mut Table, settings: &[String], warnings: &mut Vec<String>) -> Result<()> {
    let mut settings = settings.iter().map(|written| Setting::parse(written)).collect::<Result<Vec<_>>>()?;
    // A section comes before its keys; of one key, the order stays.
    settings.sort_by_key(|setting| setting.path.len());

    let mut said = Table::new();
    for setting in &settings {
        put_setting(&mut said, setting, setting.guessed())?;
    }
    let names = names(file, &said);
    let mut said = Table::new();
    for setting in &settings {
        put_setting(&mut said, setting, setting.typed(&names))?;
    }

    for named in &NAMED {
        leave_out_other_name(file, &said, named, warnings);
    }
    leave_out_other_paths(file, &said, warnings);
    for setting in &settings {
        // A section that is said as a whole takes the place of the file's.
        if setting.guessed().is_table() {
            remove(file, &setting.path);
        }
    }
    merge(file, said).map_err(|key| {
        let setting = settings.iter().find(|setting| setting.path.contains(&key.as_str()));
        let written = setting.map_or("", |setting| setting.written);
        wrong(written, format!("`{key}` is not a section"))
    })
}

/// A refusal as that of the setting that it is about, if it is of one.
pub(super) fn refused(settings: &[String], error: toml::de::Error) -> Error {
    let told = error.to_string();
    let (message, place) = told.trim_end().rsplit_once("\nin `").unwrap_or((&told, ""));
    let mut path: Vec<&str> = place.trim_end_matches('`').split('.').filter(|key| !key.is_empty()).collect();
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    // Of an unknown key some sections are told, some the key itself.
    path.extend(unknown.filter(|key| path.last() != Some(key)));
    let is_meant =
        |setting: &Setting<'_>| path.starts_with(&setting.path) || unknown.is_some() && setting.path.starts_with(&path);
    let mut said = settings.iter().rev().filter_map(|written| Setting::parse(written).ok());
    match said.find(is_meant) {
        Some(Setting { value, written, .. }) if is_beyond(value) => {
            wrong(written, format!("the number is too large: a configuration has whole numbers up to {}", i64::MAX))
        }
        Some(setting) => wrong(setting.written, spelling::explain(message)),
        None => Error::toml("config", error),
    }
}

/// Whether a value is a whole number that TOML has no room for.
fn is_beyond(value: &str) -> bool {
    value.parse::<i64>().is_err() && !value.is_empty() && value.bytes().all(|letter| letter.is_ascii_digit())
}

fn put_setting(table: &mut Table, setting: &Setting<'_>, value: Value) -> Result<()> {
    put(table, &setting.path, value).map_err(|key| wrong(setting.written, format!("`{key}` is not a section")))
}

/// Puts a value at a path; fails with the key that is no section on the way.
fn put(table: &mut Table, path: &[&str], value: Value) -> std::result::Result<(), String> {
    let Some((last, sections)) = path.split_last() else { return Ok(()) };
    let mut at = table;
    for key in sections {
        let next = at.entry(*key).or_insert_with(|| Value::Table(Table::new()));
        at = next.as_table_mut().ok_or_else(|| key.to_string())?;
    }
    at.insert(last.to_string(), value);
    Ok(())
}

pub(super) fn section<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Table> {
    path.iter().try_fold(table, |table, key| table.get(*key)?.as_table())
}

pub(super) fn section_mut<'a>(table: &'a mut Table, path: &[&str]) -> Option<&'a mut Table> {
    path.iter().try_fold(table, |table, key| table.get_mut(*key)?.as_table_mut())
}

fn remove(table: &mut Table, path: &[&str]) {
    if let Some((last, sections)) = path.split_last()
        && let Some(section) = section_mut(table, sections)
    {
        section.remove(*last);
    }
}

fn merge(into: &mut Table, from: Table) -> std::result::Result<(), String> {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(value)) => merge(into, value)?,
            (Some(_), Value::Table(value)) if !value.is_empty() => return Err(key),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
    Ok(())
}

fn name_in<'a>(table: &'a Table, named: &Named) -> Option<&'a Value> {
    section(table, named.section)?.get("name")
}

/// A config that says nothing but the names of its sections.
fn names(file: &Table, said: &Table) -> Table {
    let mut names = Table::new();
    names.insert("data".into(), Value::Table(Table::new()));
    for named in &NAMED {
        if let Some(name) = name_in(said, named).or_else(|| name_in(file, named)) {
            let path: Vec<&str> = named.section.iter().copied().chain(["name"]).collect();
            // Nothing else is in it, so nothing is in the way.
            let _ = put(&mut names, &path, name.clone());
        }
    }
    // A schedule needs more than its name, and has no text but that.
    remove(&mut names, &["optimizer", "schedule"]);
    names
}

/// Leaves out what the file says for another name than the one that is said.
fn leave_out_other_name(file: &mut Table, said: &Table, named: &Named, warnings: &mut Vec<String>) {
    let Some(new) = name_in(said, named).and_then(Value::as_str) else { return };
    let Some(old) = name_in(file, named).and_then(Value::as_str).or(named.default).map(String::from) else { return };
    let Some(section) = section_mut(file, named.section).filter(|_| !spelt_alike(&old, new)) else { return };
    let path = named.section.join(".");
    let left_out: Vec<&str> = section.keys().map(String::as_str).filter(|key| *key != "name").collect();
    if !left_out.is_empty() {
        let left_out = left_out.join(", ");
        warnings.push(format!("{path}.name = \"{new}\" leaves out what the file says for `{old}`: {left_out}"));
    }
    section.clear();
}

/// Whether two names are one, in whichever alphabet.
fn spelt_alike(one: &str, other: &str) -> bool {
    let letters = |name: &str| name.replace(['-', '_'], "").to_lowercase();
    letters(one) == letters(other)
}

/// Leaves out the file's paths where another directory than the file's is
/// said: a run's config names the files that its `data.dir` stood for, and who
/// says another directory wants the data there.
fn leave_out_other_paths(file: &mut Table, said: &Table, warnings: &mut Vec<String>) {
    let Some(dir) = section(said, &["data"]).and_then(|data| data.get("dir")) else { return };
    let Some(data) = section_mut(file, &["data"]).filter(|data| data.get("dir") != Some(dir)) else { return };
    let mut left_out = Vec::new();
    for (key, name) in IN_DIR {
        let of_dir = Path::new(dir.as_str().unwrap_or_default()).join(name);
        let of_dir = Value::String(of_dir.to_string_lossy().into());
        match data.remove(key) {
            Some(path) if path != of_dir && path.as_array().is_none_or(|files| *files != [of_dir]) => {
                left_out.push(format!("data.{key} = {path}"));
            }
            _ => {}
        }
    }
    if !left_out.is_empty() {
        warnings.push(format!("data.dir = {dir} takes the place of what the file says: {}", left_out.join(", ")));
    }
}
