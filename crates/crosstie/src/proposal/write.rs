//! The files: a schema and a config with a comment for each decision.

use std::fmt::Write;

use toml::Value;

use super::{Proposal, Told};
use crate::schema::{Field, FieldKind, Side, Transform};

/// Column in which comments begin, where there is room.
const COMMENT: usize = 32;

pub(super) fn schema(proposal: &Proposal) -> String {
    let mut text = String::from(
        "# What the columns mean, as `crosstie init` proposes it: look it through.\n\
         # `crosstie reference schema` explains every key. Columns that are not named are not read.\n\n",
    );
    for (key, told) in [("scenario", &proposal.scenario), ("group", &proposal.group)] {
        if let Some(told) = told {
            line(&mut text, &format!("{key} = {}", quoted(&told.what)), &told.why);
        }
    }
    if let Some(weight) = &proposal.weight {
        line(&mut text, &format!("# weight = {}", quoted(weight)), "should it weigh the rows?");
    }
    if !proposal.never.is_empty() {
        let never: Vec<String> = proposal.never.iter().map(|name| quoted(name)).collect();
        line(&mut text, &format!("never = [{}]", never.join(", ")), "known only afterwards");
    }
    for task in &proposal.tasks {
        text.push_str("\n[[task]]\n");
        line(&mut text, &format!("name = {}", quoted(&task.what.name)), &task.why);
        for (key, value) in [("label", &task.what.label), ("after", &task.what.after)] {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {}", quoted(value));
            }
        }
        if task.what.weight != 1.0 {
            let _ = writeln!(text, "weight = {:?}", task.what.weight);
        }
        if task.what.direct {
            text.push_str("direct = true\n");
        }
    }
    for told in &proposal.fields {
        field(&mut text, told);
    }
    if !proposal.left_out.is_empty() {
        text.push_str("\n# Left out:\n");
    }
    for left in &proposal.left_out {
        let _ = writeln!(text, "#   {}: {}", one_line(&left.what), one_line(&left.why));
    }
    text
}

fn field(text: &mut String, told: &Told<Field>) {
    let field = &told.what;
    text.push_str("\n[[field]]\n");
    line(text, &format!("name = {}", quoted(&field.name)), &told.why);
    if let Some(column) = &field.column {
        let _ = writeln!(text, "column = {}", quoted(column));
    }
    let (kind, more) = match &field.kind {
        FieldKind::Categorical(_) => ("categorical", None),
        FieldKind::Multi(multi) => ("multi", Some(format!("separator = {}", quoted(&multi.separator)))),
        FieldKind::Numeric(Transform::Log1p) => ("numeric", Some("transform = \"log1p\"".into())),
        FieldKind::Numeric(Transform::Quantile(_)) => ("numeric", Some("transform = \"quantile\"".into())),
        FieldKind::Numeric(_) => ("numeric", None),
        FieldKind::Rate(_) => ("rate", None),
    };
    let _ = writeln!(text, "kind = \"{kind}\"");
    if let Some(more) = more {
        let _ = writeln!(text, "{more}");
    }
    match field.side {
        Side::User => text.push_str("side = \"user\"\n"),
        Side::Item => text.push_str("side = \"item\"\n"),
        Side::Context => {}
    }
}

pub(super) fn config(proposal: &Proposal, directory: &str) -> String {
    // Networks that share pay from two tasks on.
    let (model, why) = match proposal.tasks.len() {
        1 => ("single-task", "there is one task; `crosstie models` tells when to use which"),
        _ => ("mmoe", "tasks may share as much as they like; `crosstie models` tells when to use which"),
    };
    let mut text = String::from(
        "# A training that `crosstie init` proposes. Every other setting has its default:\n\
         # `crosstie train FILE --print-config` shows them, `crosstie reference config` explains them.\n\n",
    );
    text.push_str("[data]\n");
    line(&mut text, &format!("dir = {}", quoted(directory)), "schema.toml, train, valid and test.parquet");
    text.push_str("\n[model]\n");
    line(&mut text, &format!("name = \"{model}\""), why);
    text.push_str("\n[train]\n");
    line(&mut text, "seed = 1", "the same seed, data and settings give the same model to the bit");
    text
}

/// A line with a comment behind it.
fn line(text: &mut String, what: &str, why: &str) {
    let _ = writeln!(text, "{what:<COMMENT$} # {}", one_line(why));
}

/// Text in a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    Value::String(text.into()).to_string()
}
