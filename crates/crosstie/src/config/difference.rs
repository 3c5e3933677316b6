//! What in a configuration is not as it would be by default.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::Config;
use crate::model::ModelConfig;

/// A setting that differs from its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The key's path, such as `train.epochs`.
    pub key: String,
    /// The value, as TOML; `None` for a default that is left out.
    pub value: Option<String>,
    /// The default, as TOML; `None` where there is nothing by default.
    pub default: Option<String>,
}

impl Config {
    /// The settings that differ from the model's defaults, in their order. `[data]` has no
    /// defaults and is left out.
    pub fn differences(&self) -> Vec<Difference> {
        let default = ModelConfig::named(self.model.name()).map(|model| table(&Config::new(model)));
        differences(&table(self), &default.unwrap_or_default())
    }

    /// The settings that differ from those of another config, whose values stand in the place of
    /// defaults. `[data]` is left out.
    pub fn differences_from(&self, other: &Config) -> Vec<Difference> {
        differences(&table(self), &table(other))
    }
}

fn table(config: &Config) -> Table {
    Table::try_from(config).unwrap_or_default()
}

fn differences(table: &Table, default: &Table) -> Vec<Difference> {
    let mut found = Vec::new();
    differ(table, default, "", &mut found);
    found
}

fn differ(table: &Table, default: &Table, path: &str, found: &mut Vec<Difference>) {
    let none = Table::new();
    let keys = table.keys().chain(default.keys().filter(|key| !table.contains_key(*key)));
    for key in keys.filter(|key| !(path.is_empty() && *key == "data")) {
        let below = format!("{path}{key}");
        match (table.get(key), default.get(key)) {
            (value, default) if value == default => {}
            (Some(Value::Table(table)), default) => {
                let default = default.and_then(Value::as_table).unwrap_or(&none);
                differ(table, default, &format!("{below}."), found);
            }
            (None, Some(Value::Table(default))) => differ(&none, default, &format!("{below}."), found),
            (value, default) => found.push(Difference {
                key: below,
                value: value.map(ToString::to_string),
                default: default.map(ToString::to_string),
            }),
        }
    }
}
