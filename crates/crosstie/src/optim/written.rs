//! A rule as a config writes it: its name, and the settings that belong to it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use toml::Table;

use super::{DENSE, Kind, ROWS, Rule};

/// Every setting that a rule may have.
const SETTINGS: [&str; 7] = ["learning_rate", "beta1", "beta2", "epsilon", "initial", "decay", "l2"];
const KINDS: [Kind; 4] = [Kind::Sgd, Kind::Adam, Kind::Adamw, Kind::Adagrad];

impl Kind {
    /// The name in a config.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Sgd => "sgd",
            Kind::Adam => "adam",
            Kind::Adamw => "adamw",
            Kind::Adagrad => "adagrad",
        }
    }

    /// The settings that belong to it.
    pub fn settings(self) -> &'static [&'static str] {
        match self {
            Kind::Sgd => &["learning_rate", "l2"],
            Kind::Adam => &["learning_rate", "beta1", "beta2", "epsilon", "l2"],
            Kind::Adamw => &["learning_rate", "beta1", "beta2", "epsilon", "decay", "l2"],
            Kind::Adagrad => &["learning_rate", "epsilon", "initial", "l2"],
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.kind)?;
        for key in self.kind.settings() {
            match *key {
                "learning_rate" => map.serialize_entry(key, &self.learning_rate)?,
                "beta1" => map.serialize_entry(key, &self.beta1)?,
                "beta2" => map.serialize_entry(key, &self.beta2)?,
                "epsilon" => map.serialize_entry(key, &self.epsilon)?,
                "initial" => map.serialize_entry(key, &self.initial)?,
                "decay" => map.serialize_entry(key, &self.decay)?,
                _ => map.serialize_entry(key, &self.l2)?,
            }
        }
        map.end()
    }
}

/// Reads `[optimizer.dense]`.
pub(super) fn dense<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
    read(deserializer, DENSE)
}

/// Reads `[optimizer.rows]`.
pub(super) fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
    read(deserializer, ROWS)
}

/// Reads a section whose rule is of the kind `default` where it names none.
fn read<'de, D: Deserializer<'de>>(deserializer: D, default: Kind) -> Result<Rule, D::Error> {
    let mut section = Table::deserialize(deserializer)?;
    let kind: Kind = match section.remove("name") {
        Some(name) => name.try_into().map_err(refused)?,
        None => default,
    };
    if let Some(strange) = section.keys().find(|key| !kind.settings().contains(&key.as_str())) {
        return Err(D::Error::custom(refusal(strange, kind)));
    }
    let mut all = Table::try_from(Rule::of(kind)).map_err(D::Error::custom)?;
    all.extend(section);
    all.try_into().map_err(refused)
}

/// A refusal without the key, which whoever reads the whole config finds.
fn refused<E: serde::de::Error>(error: toml::de::Error) -> E {
    E::custom(error.message())
}

/// The keys of `[optimizer.dense]`.
pub(super) fn dense_keys(generator: &mut SchemaGenerator) -> Schema {
    keys(generator, DENSE)
}

/// The keys of `[optimizer.rows]`.
pub(super) fn rows_keys(generator: &mut SchemaGenerator) -> Schema {
    keys(generator, ROWS)
}

/// The keys of every rule, for the reference and for editors.
fn keys(generator: &mut SchemaGenerator, default: Kind) -> Schema {
    let all = Rule::json_schema(generator);
    let kinds = Kind::json_schema(generator);
    let rules: Vec<Value> = KINDS
        .iter()
        .zip(kinds.get("oneOf").and_then(Value::as_array).into_iter().flatten())
        .map(|(kind, about)| {
            let defaults = serde_json::to_value(Rule::of(*kind)).unwrap_or_default();
            let mut properties = Map::new();
            properties.insert("name".into(), json!({ "const": kind.name(), "type": "string" }));
            for key in kind.settings() {
                let mut schema = all.get("properties").map(|keys| keys[key].clone()).unwrap_or_default();
                schema["default"] = defaults[key].clone();
                properties.insert((*key).into(), schema);
            }
            let required: &[&str] = if *kind == default { &[] } else { &["name"] };
            json!({
                "type": "object",
                "description": about["description"],
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        })
        .collect();
    json_schema!({ "oneOf": rules })
}

/// Why a rule cannot have a setting.
fn refusal(setting: &str, kind: Kind) -> String {
    let settings = |kind: Kind| kind.settings().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let name = kind.name();
    if !SETTINGS.contains(&setting) {
        return format!("unknown field `{setting}`, expected one of {}", settings(kind));
    }
    let others = KINDS.into_iter().filter(|other| other.settings().contains(&setting));
    let others: Vec<String> = others.map(|other| format!("`{}`", other.name())).collect();
    format!("`{name}` has no `{setting}`, which belongs to {}; it has {}", others.join(" and "), settings(kind))
}

/// The keys of a section that belong to another rule, if it stands there as
/// crosstie wrote it before version 0.2: every setting of every rule, of which
/// a rule ignored those of others.
pub(crate) fn of_other_rules(section: &Table, default: Kind) -> Vec<&'static str> {
    let kind: Kind = match section.get("name").map(|name| name.clone().try_into()) {
        None => default,
        Some(Ok(kind)) => kind,
        Some(Err(_)) => return Vec::new(),
    };
    if !SETTINGS.iter().all(|setting| section.contains_key(*setting)) {
        return Vec::new();
    }
    SETTINGS.into_iter().filter(|setting| !kind.settings().contains(setting)).collect()
}
