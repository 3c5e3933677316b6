//! The keys of a field by its kind, for the reference and for editors. Which keys a
//! kind allows, and their defaults, are asked of the code that reads fields.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use toml::Table;

use super::written::{KINDS, RawField, TRANSFORMS};
use super::{Field, FieldKind, Transform};

/// A name that stands for the field's own.
const NAME: &str = "NAME";

impl JsonSchema for Field {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = properties(&RawField::json_schema(generator));
        let transforms = transforms(generator);
        let described = FieldKind::json_schema(generator);
        let kinds: Vec<Value> = KINDS.iter().map(|kind| of_kind(kind, &keys, &described, &transforms)).collect();
        json_schema!({ "description": "One input feature.", "oneOf": kinds })
    }
}

fn properties(schema: &Schema) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The transforms of numbers with their meanings.
fn transforms(generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = Transform::json_schema(generator);
    let variants = schema.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_default();
    let about =
        |name: &str| variants.iter().find(|variant| is_of(variant, name)).map(|found| found["description"].clone());
    TRANSFORMS.iter().map(|name| json!({ "const": name, "type": "string", "description": about(name) })).collect()
}

/// Whether a variant of an enum is the one of this name.
fn is_of(variant: &Value, name: &str) -> bool {
    variant["const"] == name || variant["properties"].get(name).is_some()
}

/// The keys of one kind.
fn of_kind(kind: &str, keys: &Map<String, Value>, described: &Schema, transforms: &[Value]) -> Value {
    let all: &[&str] = &[""];
    let ways = if allows(kind, "", "transform", &keys["transform"]) { &TRANSFORMS[..] } else { all };
    let mut properties = Map::new();
    // What other keys depend on comes before them.
    let (first, others): (Vec<_>, Vec<_>) =
        keys.iter().partition(|(key, _)| ["name", "kind", "transform"].contains(&key.as_str()));
    for (key, schema) in first.into_iter().chain(others) {
        let with: Vec<&str> = ways.iter().copied().filter(|way| allows(kind, way, key, schema)).collect();
        let Some(way) = with.first() else { continue };
        let mut schema = schema.clone();
        match key.as_str() {
            "kind" => schema = json!({ "const": kind, "type": "string", "description": schema["description"] }),
            "transform" => {
                schema = json!({ "description": schema["description"], "oneOf": transforms });
                schema["default"] = default(kind, "", key).unwrap_or_default();
            }
            _ => {
                if let Some(default) = default(kind, way, key) {
                    schema["default"] = default;
                }
            }
        }
        if with.len() < ways.len() {
            let about = schema["description"].as_str().unwrap_or_default();
            schema["description"] = format!("{about} Only with `transform` {}.", quoted(&with)).into();
        }
        properties.insert(key.clone(), schema);
    }
    let variants = described.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_default();
    let about = variants.iter().find(|variant| is_of(variant, kind)).map(|variant| {
        let more = variant["properties"][kind]["description"].as_str().unwrap_or_default();
        format!("{}\n\n{more}", variant["description"].as_str().unwrap_or_default())
    });
    json!({
        "type": "object",
        "description": about.unwrap_or_default().trim(),
        "properties": properties,
        "required": ["name", "kind"],
        "additionalProperties": false,
    })
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

/// The least that a field of a kind says.
fn least(kind: &str, transform: &str) -> Table {
    let mut field = Table::new();
    field.insert("name".into(), NAME.into());
    field.insert("kind".into(), kind.into());
    if !transform.is_empty() {
        field.insert("transform".into(), transform.into());
    }
    field
}

/// Whether a field of a kind may have a key.
fn allows(kind: &str, transform: &str, key: &str, schema: &Value) -> bool {
    let mut field = least(kind, transform);
    if !field.contains_key(key) {
        field.insert(key.into(), example(schema));
    }
    match field.try_into::<Field>() {
        Ok(_) => true,
        // A value that is refused for what it is belongs to a key that is there.
        Err(error) => !error.to_string().contains("has no meaning"),
    }
}

/// What a key of a field is where it is absent, if it is anything.
fn default(kind: &str, transform: &str, key: &str) -> Option<Value> {
    let field: Field = least(kind, transform).try_into().ok()?;
    let mut written = Table::try_from(field).ok()?;
    let value = written.remove(key).filter(|_| key != "name")?;
    let names_the_field = value.to_string().contains(NAME);
    if names_the_field { None } else { serde_json::to_value(value).ok() }
}

/// Some value of a key's type.
fn example(schema: &Value) -> toml::Value {
    let choice = |value: &Value| value["enum"][0].as_str().or(value["oneOf"][0]["const"].as_str()).map(String::from);
    if let Some(choice) = choice(schema).or_else(|| choice(&schema["anyOf"][0])) {
        return choice.into();
    }
    let types = &schema["type"];
    match types.as_str().or(types[0].as_str()) {
        Some("integer") => 2.into(),
        Some("number") => 1.0.into(),
        Some("boolean") => true.into(),
        Some("array") => toml::Value::Array(vec!["column".into()]),
        _ => "text".into(),
    }
}
