//! The page of a report.

mod calibration;
mod fields;
mod figures;
mod inside;
mod learning;
mod scenarios;

use super::{Findings, TaskFacts};
use crate::metric::Meaning;
use crate::page::{Page, count, details, escaped, plain, table};

pub(super) fn page(findings: &Findings) -> String {
    let mut page = Page::new(&findings.name);
    head(&mut page, findings);
    figures::figures(&mut page, findings);
    learning::curves(&mut page, findings);
    figures::funnel(&mut page, findings);
    calibration::reliability(&mut page, findings);
    calibration::ranking(&mut page, findings);
    calibration::histograms(&mut page, findings);
    scenarios::scenarios(&mut page, findings);
    fields::importance(&mut page, findings);
    inside::inside(&mut page, findings);
    fields::drift(&mut page, findings);
    trained(&mut page, findings);
    page.finish()
}

/// What was trained on what, and what a person should know.
fn head(page: &mut Page, findings: &Findings) {
    let Findings { model, tasks, fields, training_rows, parameters, table_weights, figures, on, .. } = findings;
    let tasks: Vec<String> = tasks.iter().map(told_task).collect();
    page.say(&format!("{model}, trained to predict {}.", tasks.join(", ")));
    let number = |number: u64, what: &str| format!("<div><b>{}</b> {}</div>", short(number), escaped(what));
    let numbers = [
        number(*training_rows, "training rows"),
        number(figures.rows, &format!("rows of the {on}, of which the figures are")),
        number(fields.len() as u64, "fields"),
        number(*parameters, "dense parameters"),
        number(*table_weights, "weights in embedding tables"),
    ];
    page.push(format!("<div class=\"figures\">{}</div>", numbers.concat()));
    findings.warnings.iter().for_each(|warning| page.warn(warning));
    findings.missing.iter().for_each(|missing| page.remark(missing));
}

/// A large number in few digits.
fn short(number: u64) -> String {
    match number as f64 {
        ..1e5 => count(number),
        x @ ..1e6 => format!("{:.0} k", x / 1e3),
        x @ ..1e9 => format!("{} M", plain((x / 1e4).round() / 1e2)),
        x => format!("{} G", plain((x / 1e7).round() / 1e2)),
    }
}

fn told_task(task: &TaskFacts) -> String {
    match (&task.after, task.direct) {
        (None, _) => task.name.clone(),
        (Some(after), false) => format!("{} after {after}", task.name),
        (Some(after), true) => format!("{} after {after} or without it", task.name),
    }
}

/// What a task's probabilities are called.
fn subject(task: &TaskFacts, meaning: Meaning) -> String {
    match (&task.after, meaning) {
        (None, _) => task.name.clone(),
        (Some(after), Meaning::GivenParent) => format!("{} given {after}", task.name),
        (Some(_), Meaning::FromImpression) => format!("{} from the impression", task.name),
    }
}

/// How it was trained, for those who want to do it again.
fn trained(page: &mut Page, findings: &Findings) {
    page.section("What was trained");
    let facts = findings.facts.iter().map(|(name, text)| vec![name.clone(), text.clone()]);
    if !findings.facts.is_empty() {
        page.push(table(&["run", ""], facts));
    }
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let settings =
        findings.settings.iter().map(|one| vec![one.key.clone(), or_none(&one.value), or_none(&one.default)]);
    if findings.settings.is_empty() {
        page.say("All settings of the configuration are the defaults.");
    } else {
        let caption = "Settings of the configuration that are not the model's defaults.";
        page.figure(caption, &table(&["key", "value", "default"], settings), "");
    }
    let fields =
        findings.fields.iter().map(|field| vec![field.name.clone(), field.kind.clone(), field.encoding.clone()]);
    page.push(details("Fields", &table(&["field", "kind", "how it is read"], fields)));
}
