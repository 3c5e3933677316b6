//! The weights of the tasks' losses, as a config writes them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

/// Weights of single tasks' losses.
#[derive(Clone, Debug, PartialEq)]
pub enum LossWeights {
    /// These, by the tasks' names; of all others, the schema's.
    Of(BTreeMap<String, f32>),
    /// What brings the tasks' gradients to equal noise, times the schema's weights. It
    /// follows from the training rows; before they have been read it is the schema's.
    Auto,
}

const AUTO: &str = "auto";

impl Default for LossWeights {
    fn default() -> LossWeights {
        LossWeights::Of(BTreeMap::new())
    }
}

impl LossWeights {
    /// The weights that are named.
    pub fn named(&self) -> impl Iterator<Item = (&String, f32)> {
        let of = match self {
            LossWeights::Of(weights) => Some(weights),
            LossWeights::Auto => None,
        };
        of.into_iter().flatten().map(|(name, weight)| (name, *weight))
    }

    /// The weight of a task, if it is named.
    pub fn get(&self, task: &str) -> Option<f32> {
        self.named().find(|(name, _)| *name == task).map(|(_, weight)| weight)
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == LossWeights::default()
    }
}

impl Serialize for LossWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LossWeights::Auto => serializer.serialize_str(AUTO),
            LossWeights::Of(weights) => weights.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LossWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LossWeights, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = LossWeights;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "`{AUTO}` or a table of weights, as in {{ buy = 2.0 }}")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<LossWeights, E> {
                match text {
                    AUTO => Ok(LossWeights::Auto),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LossWeights, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(LossWeights::Of)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for LossWeights {
    fn schema_name() -> Cow<'static, str> {
        "LossWeights".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let table = json!({ "type": "object", "additionalProperties": { "type": "number" } });
        json_schema!({ "anyOf": [{ "type": "string", "const": AUTO }, table] })
    }
}
