//! A first schema for rows that nobody has described, and how they are cut.

use std::sync::Arc;

use crosstie::data::Source;
use crosstie::data::survey::survey;
use crosstie::proposal::{Asked, Cut as Cuts, Proposal, Told, deal, part, propose};
use crosstie::schema::{Field, Schema, Task};
use crosstie::spelling;
use pyo3::prelude::*;

use crate::data::Data;
use crate::error::{CrosstieError, raised};
use crate::process::with_pool;

/// A task as Python says it: its name, label, parent, whether it is direct, its weight.
/// What is absent is found out; an empty parent is none.
type Said = (String, Option<String>, Option<String>, Option<bool>, f32);

/// How rows are cut into those to learn from and those to stop by.
#[pyclass(frozen, module = "crosstie._native")]
pub struct Cut {
    cut: Told<Cuts>,
}

#[pymethods]
impl Cut {
    /// Cuts rows. Those of a table stay in memory; those of files are written to a
    /// directory that goes with them.
    fn split(&self, py: Python<'_>, data: &Data, seed: u64) -> PyResult<(Data, Data)> {
        let cut = &self.cut.what;
        with_pool(py, 0, |_| {
            if !data.is_of_files() {
                let [learn, stop] = part(&data.source, cut, seed).map_err(raised)?;
                return Ok((learn.into(), stop.into()));
            }
            let directory = tempfile::Builder::new().prefix("crosstie-").tempdir()?;
            deal(&data.source, cut, directory.path(), seed).map_err(raised)?;
            let open = |names: &[&str]| {
                let paths: Vec<_> = names.iter().map(|name| directory.path().join(name)).collect();
                Source::open(&paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>()).map_err(raised)
            };
            let [train, valid, test] = crosstie::data::FILES;
            let (learn, stop) = (open(&[train, valid])?, open(&[test])?);
            let directory = Arc::new(directory);
            Ok((Data::within(learn, &directory), Data::within(stop, &directory)))
        })
    }

    /// What follows "the rows are cut".
    fn __str__(&self) -> String {
        self.cut.in_two()
    }
}

#[pymethods]
impl Data {
    /// Proposes a schema, as `crosstie init` does. Of `tasks`, `scenario`, `group` and
    /// `fields` (names; with them `others`, sections of a schema) the given ones stand.
    /// Gives the schema, the cut, and what a person should look at.
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn propose(
        &self,
        py: Python<'_>,
        tasks: Vec<Said>,
        scenario: Option<String>,
        group: Option<String>,
        weight: Option<String>,
        fields: Option<Vec<String>>,
        others: &str,
    ) -> PyResult<(String, Cut, Vec<String>)> {
        with_pool(py, 0, |_| {
            let asked = tasks.iter().map(|task| asked(task, &tasks)).collect::<Vec<_>>();
            let survey = survey(&self.source).map_err(raised)?;
            let mut proposal = propose(&survey, &asked).map_err(raised)?;
            rename(&mut proposal, &tasks);
            let columns = self.source.columns();
            for (what, column, place) in
                [("scenario", scenario, &mut proposal.scenario), ("group", group, &mut proposal.group)]
            {
                match column.as_deref() {
                    None => {}
                    Some("") => *place = None,
                    Some(column) => {
                        known(what, column, columns)?;
                        *place = Some(Told { what: column.into(), why: "as asked for".into() });
                    }
                }
            }
            if let Some(fields) = &fields {
                choose(&mut proposal, fields, columns)?;
            }
            proposal.weight = None;
            let schema = written(&proposal, weight.as_deref(), others, columns)?;
            Ok((schema, Cut { cut: proposal.cut }, proposal.unsure))
        })
    }

    /// How rows with a schema are cut, by what a proposal would say.
    fn cut(&self, py: Python<'_>, schema: &str) -> PyResult<Cut> {
        let schema = Schema::parse(schema).map_err(raised)?;
        with_pool(py, 0, |_| {
            let column = |name: &String| schema.tasks.iter().find(|task| task.name == *name).map(Task::column);
            let asked: Vec<Asked> = schema
                .tasks
                .iter()
                .map(|task| Asked {
                    name: task.column().into(),
                    after: task.after.as_ref().and_then(column).map(String::from),
                })
                .collect();
            let proposal = propose(&survey(&self.source).map_err(raised)?, &asked).map_err(raised)?;
            let cut = match (proposal.cut.what, schema.group) {
                (time @ Cuts::Time { .. }, _) => Told { what: time, why: proposal.cut.why },
                (_, Some(column)) => {
                    let why = "it is the group, and there is no time".into();
                    Told { what: Cuts::Group { column }, why }
                }
                (cut, None) => Told { what: cut, why: proposal.cut.why },
            };
            Ok(Cut { cut })
        })
    }
}

/// A task as the proposal asks for it: by the columns.
fn asked((name, label, after, ..): &Said, all: &[Said]) -> Asked {
    let column = |name: &String| match all.iter().find(|(other, ..)| other == name) {
        Some((name, label, ..)) => label.as_ref().unwrap_or(name).clone(),
        None => name.clone(),
    };
    let after = after.as_ref().filter(|after| !after.is_empty()).map(column);
    Asked { name: label.as_ref().unwrap_or(name).clone(), after }
}

/// Gives the proposed tasks what was said of them, and their order.
fn rename(proposal: &mut Proposal, said: &[Said]) {
    let mut names = Vec::new();
    for (name, label, after, direct, weight) in said {
        let asked = label.as_ref().unwrap_or(name);
        let is_this = |told: &&mut Told<Task>| told.what.column() == asked || told.what.name == *asked;
        let Some(Told { what: task, .. }) = proposal.tasks.iter_mut().find(is_this) else { continue };
        let column = task.column().to_string();
        names.push((std::mem::replace(&mut task.name, name.clone()), name.clone()));
        task.label = (column != *name).then_some(column);
        if after.as_deref() == Some("") {
            (task.after, task.direct) = (None, false);
        }
        task.direct = direct.unwrap_or(task.direct);
        task.weight = *weight;
    }
    for task in &mut proposal.tasks {
        let Some(after) = &mut task.what.after else { continue };
        if let Some((_, name)) = names.iter().find(|(proposed, _)| proposed == after) {
            *after = name.clone();
        }
    }
}

/// Leaves the proposed fields that are wanted.
fn choose(proposal: &mut Proposal, fields: &[String], columns: &[String]) -> PyResult<()> {
    for name in fields {
        known("field", name, columns)?;
        if proposal.fields.iter().any(|field| field.what.name == *name) {
            continue;
        }
        let left = proposal.left_out.iter().find(|left| left.what == *name);
        let why = left.map_or_else(String::new, |left| format!(" ({})", left.why));
        return Err(CrosstieError::new_err(format!(
            "field `{name}` would be left out{why}; to have it nevertheless, say its kind: crosstie.field(\"{name}\", \
             \"categorical\"), or \"numeric\""
        )));
    }
    // A column may have several fields, as a number with a long tail has.
    let is_wanted = |field: &Field| {
        fields.contains(&field.name) || field.columns().iter().all(|column| fields.iter().any(|name| name == column))
    };
    let unwanted = proposal.fields.extract_if(.., |field| !is_wanted(&field.what));
    let left: Vec<Told<String>> = unwanted
        .map(|field| Told { what: field.what.name, why: "not among the fields that were asked for".into() })
        .collect();
    proposal.left_out.extend(left);
    Ok(())
}

/// The schema, with further fields at its end, which stand in place of proposed ones.
fn written(proposal: &Proposal, weight: Option<&str>, others: &str, columns: &[String]) -> PyResult<String> {
    let mut proposal = proposal.clone();
    let mut names = Vec::new();
    if !others.is_empty() {
        // With a task, sections of fields are a schema.
        let given = Schema::parse(&format!("[[task]]\nname = \"{}\"\n{others}", unlike(others))).map_err(raised)?;
        names.extend(given.fields.into_iter().map(|field| field.name));
        proposal.fields.retain(|field| !names.contains(&field.what.name));
        proposal.left_out.retain(|left| !names.contains(&left.what));
        proposal.never.retain(|never| !names.contains(never));
    }
    let mut text = match &proposal.fields[..] {
        [] if others.is_empty() => return Err(CrosstieError::new_err("fields: none is left to predict from")),
        _ => proposal.text(),
    };
    if let Some(weight) = weight.filter(|weight| !weight.is_empty()) {
        known("weight", weight, columns)?;
        text = format!("weight = {}\n{text}", toml_text(weight));
    }
    if !others.is_empty() {
        text = format!("{}\n\n{others}", text.trim_end());
    }
    Schema::parse(&text).map_err(raised)?;
    Ok(text)
}

/// A name that nothing in a text has.
fn unlike(text: &str) -> String {
    let mut name = String::from("task");
    while text.contains(&name) {
        name.push('_');
    }
    name
}

fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Refuses what is no column.
fn known(what: &str, column: &str, columns: &[String]) -> PyResult<()> {
    if columns.iter().any(|other| other == column) {
        return Ok(());
    }
    let hint = spelling::hint(column, columns.iter().map(String::as_str));
    Err(CrosstieError::new_err(format!("{what}: there is no column `{column}`{hint}")))
}
