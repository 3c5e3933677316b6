//! From a JSON Schema without references to sections and keys.

use serde_json::{Map, Value};

use super::{Key, Section};

/// The sections of a whole file.
pub(super) fn sections(root: &Value) -> Vec<Section> {
    let mut sections = Vec::new();
    // What the file is is the page's to say, not the type's.
    walk(root, Section::new("", String::new()), &mut sections);
    sections
}

/// Adds a section and those below it.
fn walk(schema: &Value, section: Section, sections: &mut Vec<Section>) {
    match schema["oneOf"].as_array() {
        None => add(schema, section, &[], sections),
        Some(variants) => add_variants(schema, variants, section, sections),
    }
}

/// Adds a section with its own keys but those `without`, then the sections below.
fn add(schema: &Value, mut section: Section, without: &[&str], sections: &mut Vec<Section>) {
    let mut below = Vec::new();
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|key| key == name));
    for (name, key) in properties(schema).filter(|(name, _)| !without.contains(&name.as_str())) {
        let (inner, repeated) = match key["items"]["type"] == "object" || key["items"].get("oneOf").is_some() {
            true => (&key["items"], true),
            false => (some(key), false),
        };
        if is_section(inner) {
            below.push((name, inner, about(key, inner), repeated));
        } else {
            section.keys.push(of(name, key, inner, required(name)));
        }
    }
    let path = section.path.clone();
    let of = section.choice.as_ref().map(|(_, value)| value.clone()).or_else(|| section.of.clone());
    if !(section.keys.is_empty() && section.about.is_empty() && section.choice.is_none()) {
        sections.push(section);
    }
    for (name, inner, about, repeated) in below {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(inner, Section { repeated, of: of.clone(), ..Section::new(&path, about) }, sections);
    }
}

/// Adds a section whose keys depend on one of them: first the keys that are always
/// there, then what each of its values adds.
fn add_variants(schema: &Value, variants: &[Value], mut section: Section, sections: &mut Vec<Section>) {
    let Some(tag) = variants.first().and_then(tag) else { return };
    let names: Vec<String> = variants
        .iter()
        .filter_map(|variant| properties(variant).find(|(name, _)| **name == tag))
        .map(|(_, key)| text(&key["const"]))
        .collect();
    let common: Vec<&String> = properties(&variants[0])
        .filter(|(name, key)| {
            **name != tag && variants.iter().all(|variant| variant["properties"].get(name) == Some(key))
        })
        .map(|(name, _)| name)
        .collect();
    let always = |key: &str| {
        variants
            .iter()
            .all(|variant| variant["required"].as_array().is_some_and(|names| names.iter().any(|name| name == key)))
    };
    for name in properties(&variants[0]).map(|(name, _)| name) {
        let key = &variants[0]["properties"][name];
        if *name == tag {
            section.keys.push(Key {
                name: tag.clone(),
                value: names.iter().map(|name| format!("`\"{name}\"`")).collect::<Vec<_>>().join(", "),
                choices: Vec::new(),
                default: schema["default"].get(&tag).map(toml),
                required: schema["default"].get(&tag).is_none(),
                about: text(&key["description"]),
            });
        } else if common.contains(&name) {
            section.keys.push(of(name, key, some(key), always(name)));
        }
    }
    let (path, repeated) = (section.path.clone(), section.repeated);
    section.same_as = sections.iter().filter(|other| other.choice.is_none() && other.path != path).find_map(|other| {
        let same = |variant: &Value| {
            let (_, own) = properties(variant).find(|(name, _)| **name == tag)?;
            let choice = Some((tag.clone(), text(&own["const"])));
            let other = sections.iter().find(|section| section.path == other.path && section.choice == choice)?;
            Some(other.about == text(&variant["description"]))
        };
        variants.iter().all(|variant| same(variant) == Some(true)).then(|| other.path.clone())
    });
    let alike = section.same_as.is_some();
    let without: Vec<&str> = common.iter().map(|name| name.as_str()).chain([tag.as_str()]).collect();
    sections.push(section);
    for (variant, name) in variants.iter().zip(names).filter(|_| !alike) {
        let about = text(&variant["description"]);
        let section = Section { repeated, choice: Some((tag.clone(), name)), ..Section::new(&path, about) };
        add(variant, section, &without, sections);
    }
}

/// The key whose value chooses a variant.
fn tag(variant: &Value) -> Option<String> {
    properties(variant).find(|(_, key)| key.get("const").is_some()).map(|(name, _)| name.clone())
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flat_map(Map::iter)
}

/// What a key holds where it holds something.
fn some(key: &Value) -> &Value {
    let parts = key["anyOf"].as_array().into_iter().flatten();
    let filled: Vec<&Value> = parts.filter(|part| part["type"] != "null").collect();
    if let [only] = filled[..] { only } else { key }
}

/// Whether this is a table of named keys.
fn is_section(schema: &Value) -> bool {
    let tables = |variants: &Vec<Value>| variants.iter().all(|variant| variant.get("properties").is_some());
    schema.get("properties").is_some() || schema["oneOf"].as_array().is_some_and(tables)
}

fn of(name: &str, key: &Value, inner: &Value, required: bool) -> Key {
    let default = key.get("default").filter(|default| !default.is_null());
    Key {
        name: name.into(),
        value: value(inner),
        choices: choices(inner).into_iter().filter(|(_, about)| !about.is_empty()).collect(),
        default: default.map(toml),
        required,
        about: about(key, &Value::Null),
    }
}

/// What a section or key is, by its own words, else by those of its type.
fn about(key: &Value, inner: &Value) -> String {
    let (own, of_type) = (text(&key["description"]), text(&inner["description"]));
    match (own.is_empty(), of_type.is_empty() || own == of_type) {
        (true, _) => of_type,
        (_, true) => own,
        _ => format!("{own}\n\n{of_type}"),
    }
}

/// The values that are allowed, where they are counted.
fn choices(schema: &Value) -> Vec<(String, String)> {
    let listed = |value: &Value| (text(value), String::new());
    let told = |part: &Value| match part["enum"].as_array() {
        Some(values) => values.iter().map(listed).collect(),
        None => vec![(text(&part["const"]), text(&part["description"]))],
    };
    match (schema["oneOf"].as_array(), schema["enum"].as_array()) {
        (Some(parts), _) => parts.iter().flat_map(told).collect(),
        (None, Some(values)) => values.iter().filter(|value| !value.is_null()).map(listed).collect(),
        (None, None) => Vec::new(),
    }
}

/// What stands behind a key, in words.
fn value(schema: &Value) -> String {
    let choices = choices(schema);
    if !choices.is_empty() {
        return choices.iter().map(|(choice, _)| format!("`\"{choice}\"`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(parts) = schema["anyOf"].as_array() {
        let parts = parts.iter().filter(|part| part["type"] != "null");
        return parts.map(value).collect::<Vec<_>>().join(" or ");
    }
    if let Some(only) = schema["const"].as_str() {
        return format!("`\"{only}\"`");
    }
    let kind = &schema["type"];
    match kind.as_str().or(kind[0].as_str()) {
        Some("integer") => "a whole number".into(),
        Some("number") => "a number".into(),
        Some("boolean") => "`true` or `false`".into(),
        Some("string") => "text".into(),
        Some("array") => match schema["items"]["type"].as_str() {
            Some("integer") => "a list of whole numbers".into(),
            Some("array") => "a list of lists of whole numbers".into(),
            _ => "a list of texts".into(),
        },
        Some("object") => format!("a table, each of its keys with {}", value(&schema["additionalProperties"])),
        _ => "anything".into(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

/// A default as it would be written.
fn toml(value: &Value) -> String {
    if let Some(small) = value.as_f64().filter(|number| *number != 0.0 && number.abs() < 1e-4) {
        return format!("{small:e}");
    }
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}
