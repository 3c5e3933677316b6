//! The table of figures, and the funnel.

use super::subject;
use crate::metric::{Figures, Meaning};
use crate::page::{Cell, Interval, Page, Strip, count, figure, percent, table, table_of};
use crate::report::{Findings, TaskFacts};

pub fn figures(page: &mut Page, findings: &Findings) {
    page.section("Figures");
    let with_parent: Vec<&TaskFacts> = findings.tasks.iter().filter(|task| task.after.is_some()).collect();
    let on = &findings.on;
    let rows = count(findings.figures.rows);
    let note = "AUC with its standard error by the labels (DeLong, rows taken as independent); log-loss in nats per \
                row, beside what predicting the mean label everywhere would cost, and the one as a share of the other \
                (NE); PCOC is the mean prediction over the mean label.";
    let all: Vec<&TaskFacts> = findings.tasks.iter().collect();
    let caption = format!("From the impression, on all {rows} rows of the {on}. {note}");
    page.figure(&caption, &of_tasks(findings, &all, Meaning::FromImpression), "");
    if !with_parent.is_empty() {
        let caption = format!("Given the parent action, on those rows of the {on} where it happened.");
        page.figure(&caption, &of_tasks(findings, &with_parent, Meaning::GivenParent), "");
    }
}

fn of_tasks(findings: &Findings, tasks: &[&TaskFacts], meaning: Meaning) -> String {
    let told: Vec<(&TaskFacts, &Figures)> =
        tasks.iter().filter_map(|task| Some((*task, findings.figures.tasks.get(&task.name)?.get(meaning)))).collect();
    let grouped = told.iter().any(|(_, figures)| figures.gauc.is_some());
    let mut header =
        vec!["task", ">rows", ">positives", ">AUC", ">grouped AUC", ">log-loss", ">of the mean", ">NE", ">PCOC"];
    header.retain(|name| grouped || *name != ">grouped AUC");
    let row = |(task, figures): &(&TaskFacts, &Figures)| {
        let Figures { rows, positives, auc, auc_error, gauc, logloss, ne, pcoc, .. } = **figures;
        let auc = match auc_error {
            Some(error) => format!("{} ± {error:.4}", figure(auc)),
            None => figure(auc),
        };
        let mean = logloss.zip(ne).map(|(logloss, ne)| logloss / ne);
        let mut row = vec![task.name.clone(), count(rows), count(positives), auc];
        row.extend(grouped.then(|| figure(gauc)));
        row.extend([logloss, mean, ne, pcoc].map(figure));
        row
    };
    table(&header, told.iter().map(row))
}

/// How many impressions come to each action.
pub fn funnel(page: &mut Page, findings: &Findings) {
    page.section("Funnel");
    let from = |task: &TaskFacts| findings.figures.tasks.get(&task.name).map(|meanings| meanings.from_impression);
    let given = |task: &TaskFacts| findings.figures.tasks.get(&task.name).map(|meanings| meanings.given_parent);
    let rate = |figures: Figures| (figures.rows > 0).then(|| figures.positives as f64 / figures.rows as f64);
    let depth = |task: &TaskFacts| {
        let parent = |name: &String| findings.tasks.iter().find(|task| task.name == *name)?.after.as_ref();
        std::iter::successors(task.after.as_ref(), |name| parent(name)).take(findings.tasks.len()).count()
    };
    let row = |task: &TaskFacts| {
        let share = from(task).and_then(rate);
        let indent = "\u{2003}".repeat(depth(task)) + if task.after.is_some() { "↳ " } else { "" };
        let strip = Strip {
            within: Interval { low: 0.0, high: 1.0 },
            bar_from: Some(0.0),
            value: share,
            interval: None,
            rule: None,
        };
        let number = |text: String| Cell::Number(text);
        let only = |value: Option<f64>| if task.after.is_some() { percent(value) } else { "".into() };
        vec![
            Cell::Name(indent + &task.name),
            Cell::Drawn(strip),
            number(from(task).map_or("-".into(), |figures| count(figures.positives))),
            number(percent(share)),
            number(only(given(task).and_then(rate))),
            number(percent(task.from_impression)),
            number(only(task.given_parent)),
        ]
    };
    let rows: Vec<Vec<Cell>> = in_order(&findings.tasks).into_iter().map(row).collect();
    let header = [
        "action",
        "of all rows",
        ">positives",
        ">of all rows",
        ">given the parent",
        ">in training",
        ">given the parent in training",
    ];
    let caption = format!(
        "How often each action happened on the {} rows of the {} and on the training rows (as far as these are \
         described, by a sample): share of all rows, and of the rows where its parent action happened; rows whose label \
         is missing are left out.",
        count(findings.figures.rows),
        findings.on
    );
    page.figure(&caption, &table_of(&header, &rows), "");
}

/// Every task right below its parent.
fn in_order(tasks: &[TaskFacts]) -> Vec<&TaskFacts> {
    fn below<'a>(tasks: &'a [TaskFacts], parent: Option<&str>, into: &mut Vec<&'a TaskFacts>) {
        for task in tasks.iter().filter(|task| task.after.as_deref() == parent) {
            into.push(task);
            below(tasks, Some(&task.name), into);
        }
    }
    let mut ordered = Vec::new();
    below(tasks, None, &mut ordered);
    ordered
}

/// A task with the meanings that its probabilities have, and what they are called.
pub fn meanings(task: &TaskFacts) -> impl Iterator<Item = (Meaning, String)> + '_ {
    let given = task.after.is_some().then_some(Meaning::GivenParent);
    given.into_iter().chain([Meaning::FromImpression]).map(|meaning| (meaning, subject(task, meaning)))
}
