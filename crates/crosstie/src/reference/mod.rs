//! What may be written in a schema and in a config: every key with its type, its
//! default and its meaning. All of it comes from the types that read them, their
//! comments and their defaults; nothing is said a second time.
//!
//! ```
//! use crosstie::reference::{Reference, Subject};
//!
//! let config = Reference::of(Subject::Config);
//! let key = config.key("train.batch_size").expect("a key of the config");
//! assert_eq!((key.value.as_str(), key.default.is_some()), ("a whole number", true));
//! assert!(config.to_markdown().contains("Rows of a step;"));
//! ```

mod explain;
mod page;
mod tree;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::config::Config;
use crate::schema::Schema;

/// What is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// schema.toml.
    Schema,
    /// The config of a training.
    Config,
}

impl Subject {
    /// Its JSON Schema (draft 2020-12), for editors that check and complete TOML.
    pub fn json_schema(self) -> Value {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        let generator = settings.into_generator();
        let schema = match self {
            Subject::Schema => generator.into_root_schema_for::<Schema>(),
            Subject::Config => generator.into_root_schema_for::<Config>(),
        };
        let mut schema = schema.to_value();
        shorten(&mut schema);
        schema
    }
}

/// All keys of a subject, section by section.
#[derive(Clone, Debug)]
pub struct Reference {
    /// What is described.
    pub subject: Subject,
    /// In the order in which they are declared.
    pub sections: Vec<Section>,
}

/// A section, or what a name in it adds.
#[derive(Clone, Debug)]
pub struct Section {
    /// The path to it, such as `model.router`; empty for what stands above all
    /// sections.
    pub path: String,
    /// Whether it may stand several times, as `[[task]]`.
    pub repeated: bool,
    /// The choice that it belongs to, such as `ektm` of `model.router`.
    pub of: Option<String>,
    /// The key that chooses these keys, and its value, such as `name` and `ektm`.
    pub choice: Option<(String, String)>,
    /// What it is.
    pub about: String,
    /// The section that has the same keys, in place of a list of them.
    pub same_as: Option<String>,
    /// Its keys.
    pub keys: Vec<Key>,
}

/// One key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name in its section.
    pub name: String,
    /// What stands behind it, in words.
    pub value: String,
    /// The values that are allowed, each with its meaning, where they are counted.
    pub choices: Vec<(String, String)>,
    /// What it is where it is absent, as TOML. A key without a default may be left
    /// out unless it is required.
    pub default: Option<String>,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub about: String,
}

impl Section {
    fn new(path: &str, about: String) -> Section {
        let (path, keys) = (path.into(), Vec::new());
        Section { path, repeated: false, of: None, choice: None, about, same_as: None, keys }
    }

    /// The path of one of its keys, such as `train.batch_size`.
    pub fn path_of(&self, key: &Key) -> String {
        if self.path.is_empty() { key.name.clone() } else { format!("{}.{}", self.path, key.name) }
    }
}

impl Reference {
    /// Every key of a schema or of a config.
    pub fn of(subject: Subject) -> Reference {
        Reference { subject, sections: tree::sections(&subject.json_schema()) }
    }

    /// The first key of a path, such as `train.batch_size`.
    pub fn key(&self, path: &str) -> Option<&Key> {
        let keys = self.sections.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)));
        keys.into_iter().find(|(section, key)| section.path_of(key) == path).map(|(_, key)| key)
    }

    /// What is said of a section (`train`, `model.router`), of what a name adds
    /// (`ektm`), or of a key, by its path or its last part. Nothing if there is no
    /// such thing.
    pub fn about(&self, name: &str) -> Reference {
        let whole = |section: &Section| {
            let below = section.path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            let choice = section.choice.as_ref().map(|(_, value)| value).or(section.of.as_ref());
            below || choice.is_some_and(|value| value == name)
        };
        let sections = self.sections.iter().filter_map(|section| {
            if whole(section) {
                return Some(section.clone());
            }
            let keys = section.keys.iter().filter(|key| key.name == name || section.path_of(key) == name);
            let keys: Vec<Key> = keys.cloned().collect();
            (!keys.is_empty()).then(|| Section { about: String::new(), keys, ..section.clone() })
        });
        Reference { subject: self.subject, sections: sections.collect() }
    }

    /// Everything that [`Reference::about`] finds something for.
    pub fn names(&self) -> Vec<String> {
        let of_section = |section: &Section| {
            let choice = section.choice.iter().map(|(_, value)| value.clone());
            let keys = section.keys.iter().flat_map(|key| [key.name.clone(), section.path_of(key)]);
            [section.path.clone()].into_iter().chain(choice).chain(keys).collect::<Vec<_>>()
        };
        let mut names: Vec<String> =
            self.sections.iter().flat_map(of_section).filter(|name| !name.is_empty()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Gives numbers of 32 bits the digits that they are written with.
fn shorten(schema: &mut Value) {
    if schema["format"] == "float"
        && let Some(default) = schema.get("default").and_then(Value::as_f64)
        && let Ok(written) = (default as f32).to_string().parse::<f64>()
    {
        schema["default"] = written.into();
    }
    match schema {
        Value::Object(parts) => parts.values_mut().for_each(shorten),
        Value::Array(parts) => parts.iter_mut().for_each(shorten),
        _ => {}
    }
}
