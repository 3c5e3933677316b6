//! Figures by scenario.

use super::subject;
use crate::metric::{Figures, Meaning};
use crate::page::{Cell, Interval, Page, Strip, count, figure, panels, table, table_of};
use crate::report::{Findings, TaskFacts};

/// Scenarios that are drawn; the others are in the table.
const DRAWN: usize = 24;

/// Standard errors on either side that hold 95 %.
const SURE: f64 = 1.96;

/// A scenario's figures of one task.
struct Line<'a> {
    scenario: &'a str,
    figures: &'a Figures,
}

impl Line<'_> {
    /// What the labels leave open.
    fn interval(&self) -> Option<Interval> {
        let (auc, error) = (self.figures.auc?, self.figures.auc_error?);
        Some(Interval { low: (auc - SURE * error).max(0.0), high: (auc + SURE * error).min(1.0) })
    }
}

pub fn scenarios(page: &mut Page, findings: &Findings) {
    let mut scenarios: Vec<_> = findings.figures.scenarios.iter().filter(|(_, scenario)| scenario.rows > 0).collect();
    scenarios.sort_by_key(|(_, scenario)| std::cmp::Reverse(scenario.rows));
    let lines = |task: &TaskFacts| -> Vec<Line<'_>> {
        scenarios
            .iter()
            .filter_map(|(name, scenario)| {
                Some(Line { scenario: name, figures: &scenario.tasks.get(&task.name)?.given_parent })
            })
            .collect()
    };
    let shown: Vec<(&TaskFacts, Vec<Line<'_>>)> = findings
        .tasks
        .iter()
        .map(|task| (task, lines(task)))
        .filter(|(_, lines)| lines.iter().any(|line| line.figures.auc.is_some()))
        .collect();
    if shown.is_empty() {
        return;
    }
    page.section("Scenarios");
    let drawn: Vec<(String, String)> =
        shown.iter().map(|(task, lines)| (subject(task, Meaning::GivenParent), drawn(findings, task, lines))).collect();
    let header = ["scenario", "of", ">rows", ">positives", ">AUC", ">± standard error", ">PCOC", ">log-loss"];
    let mut rows = Vec::new();
    for (task, lines) in &shown {
        let name = subject(task, Meaning::GivenParent);
        let row = |line: &Line<'_>| {
            let Figures { rows, positives, auc, auc_error, pcoc, logloss, .. } = *line.figures;
            let numbers = [auc, auc_error, pcoc, logloss].map(figure);
            let counts = [line.scenario.to_string(), name.clone(), count(rows), count(positives)];
            counts.into_iter().chain(numbers).collect::<Vec<String>>()
        };
        rows.extend(lines.iter().map(row));
    }
    let more = match scenarios.len().saturating_sub(DRAWN) {
        0 => String::new(),
        more => format!(" The {DRAWN} scenarios with most rows are drawn; {more} others are among the numbers."),
    };
    let column = findings.scenario.as_deref().unwrap_or("scenario");
    let caption = format!(
        "AUC by {column} on the {} rows of the {}, given the parent action: the tick, with 95 % of what the \
         labels leave open (DeLong, rows taken as independent). The line through all is the AUC over all rows.{more}",
        count(findings.figures.rows),
        findings.on
    );
    page.figure(&caption, &panels(&drawn), &table(&header, rows));
}

fn drawn(findings: &Findings, task: &TaskFacts, lines: &[Line<'_>]) -> String {
    let over_all = findings.figures.tasks.get(&task.name).and_then(|meanings| meanings.given_parent.auc);
    let lines = &lines[..lines.len().min(DRAWN)];
    let aucs = lines.iter().filter_map(|line| line.figures.auc).chain(over_all);
    let ends = lines.iter().filter_map(Line::interval).flat_map(|interval| [interval.low, interval.high]);
    let within = Interval::of(aucs.chain(ends)).unwrap_or(Interval { low: 0.0, high: 1.0 });
    let row = |line: &Line<'_>| {
        let strip =
            Strip { within, bar_from: None, value: line.figures.auc, interval: line.interval(), rule: over_all };
        vec![Cell::Name(line.scenario.into()), Cell::Drawn(strip), Cell::Number(figure(line.figures.auc))]
    };
    let span = format!("{} to {}", figure(Some(within.low)), figure(Some(within.high)));
    table_of(&["", &span, ">AUC"], &lines.iter().map(row).collect::<Vec<_>>())
}
