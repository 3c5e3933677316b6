//! What may be set.

use crosstie::feature::training_columns;
use crosstie::reference::{Key, Reference, Section, Subject};
use crosstie::schema::Schema;
use pyo3::prelude::*;
use serde_json::{Value, json};

use crate::error::raised;

/// Every key of a config as JSON, in the order in which they are declared: its path, what
/// stands behind it, its default as TOML, what it means, and, of those that belong to a
/// choice such as a model's name, to which.
#[pyfunction]
pub fn keys() -> String {
    let reference = Reference::of(Subject::Config);
    let sections = &reference.sections;
    let own = sections.iter().flat_map(|section| section.keys.iter().map(move |key| told(section, key)));
    // A section that has the keys of another one.
    let same = sections.iter().filter_map(|section| Some((section, section.same_as.as_ref()?)));
    let same = same.flat_map(|(section, other)| {
        let others = sections.iter().filter(move |one| one.path == *other);
        others.flat_map(move |one| {
            let section = Section { path: section.path.clone(), ..one.clone() };
            one.keys.iter().map(move |key| told(&section, key)).collect::<Vec<_>>()
        })
    });
    Value::Array(own.chain(same).collect()).to_string()
}

fn told(section: &Section, key: &Key) -> Value {
    let choices: Vec<Value> =
        key.choices.iter().map(|(value, about)| json!({ "value": value, "about": about })).collect();
    let choice = section.choice.as_ref().map(|(key, value)| json!({ "key": key, "value": value }));
    json!({
        "path": section.path_of(key),
        "section": section.path,
        "of": section.of,
        "choice": choice,
        "name": key.name,
        "value": key.value,
        "choices": choices,
        "default": key.default,
        "required": key.required,
        "about": key.about,
    })
}

/// The columns that training reads by a schema's text.
#[pyfunction]
pub fn schema_columns(schema: &str) -> PyResult<Vec<String>> {
    let schema = Schema::parse(schema).map_err(raised)?;
    Ok(training_columns(&schema).into_iter().map(String::from).collect())
}
