//! What a model shows of its inside.

use crate::page::{Cell, Page, count, details, figure, panels, table_of};
use crate::report::{Findings, Matrix, Seen};

pub fn inside(page: &mut Page, findings: &Findings) {
    if findings.inside.is_empty() {
        return;
    }
    page.section("Inside the model");
    for matrix in &findings.inside {
        let header: Vec<String> = [String::new()].into_iter().chain(headings(matrix)).collect();
        let rows: Vec<Vec<Cell>> = matrix.rows.iter().map(|(name, means)| line(name, means)).collect();
        let whole = table_of(&header, &rows);
        let by_scenario = findings.seen.iter().flat_map(|seen| by_scenario(seen, matrix)).collect::<Vec<_>>();
        let caption = format!(
            "{}: mean over the {} rows of the {}.",
            about(&matrix.kind),
            count(findings.figures.rows),
            findings.on
        );
        page.figure(&caption, &whole, "");
        if !by_scenario.is_empty() {
            page.push(details("By scenario", &panels(&by_scenario)));
        }
    }
}

/// What a kind of matrix shows.
fn about(kind: &str) -> String {
    match kind {
        "similarity" => "Similarity by which the router gives each conversion (a line) what the others know (the \
                         columns), shares of 1"
            .into(),
        "enhanced beats original" => {
            "Share of the rows on which a task's enhanced head has a smaller loss than its original one".into()
        }
        kind if kind.starts_with("gate") => {
            let which = kind.strip_prefix("gate").unwrap_or_default();
            format!("Gates{which}: the weight that each task (a line) gives each expert (the columns), shares of 1")
        }
        kind => kind.into(),
    }
}

fn headings(matrix: &Matrix) -> impl Iterator<Item = String> + '_ {
    matrix.columns.iter().map(|column| format!(">{column}"))
}

fn line(name: &str, means: &[Option<f64>]) -> Vec<Cell> {
    let cell = |mean: &Option<f64>| match mean {
        Some(mean) => Cell::Heat(*mean, format!("{mean:.3}")),
        None => Cell::Number(figure(None)),
    };
    [Cell::Name(name.into())].into_iter().chain(means.iter().map(cell)).collect()
}

/// A table for each row of a matrix, with a line for each scenario.
fn by_scenario(seen: &Seen, matrix: &Matrix) -> Vec<(String, String)> {
    let header: Vec<String> = ["scenario".to_string()].into_iter().chain(headings(matrix)).collect();
    let of_row = |(row, (name, _)): (usize, &(String, Vec<Option<f64>>))| {
        let lines = seen.inside_by_scenario.iter().filter_map(|(scenario, matrices)| {
            let found = matrices.iter().find(|other| other.kind == matrix.kind && other.columns == matrix.columns)?;
            Some(line(scenario, &found.rows.get(row)?.1))
        });
        let lines: Vec<Vec<Cell>> = lines.collect();
        (!lines.is_empty()).then(|| (name.clone(), table_of(&header, &lines)))
    };
    matrix.rows.iter().enumerate().filter_map(of_row).collect()
}
