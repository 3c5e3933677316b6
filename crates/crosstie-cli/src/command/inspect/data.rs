//! What is in a data file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use crosstie::data::Source;
use crosstie::data::summary::{ColumnSummary, Summary, TaskSummary, summarise};
use crosstie::schema::Schema;

use crate::session::Session;
use crate::{output, table};

pub fn inspect(session: &Session, paths: &[PathBuf], schema: Option<&Path>) -> Result<()> {
    let source = Source::open(&paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>())?;
    let beside = beside(&source);
    let schema = match (schema, &beside) {
        (Some(schema), _) => Some(Schema::read(schema)?),
        (None, Some(beside)) => {
            tracing::info!("tasks and scenarios as in {}", beside.display());
            Some(Schema::read(beside)?)
        }
        (None, None) => {
            tracing::info!("no schema.toml beside the data; name one with --schema to see tasks and scenarios");
            None
        }
    };
    let bar = session.spinner("counting");
    let summary = summarise(&source, schema.as_ref())?;
    bar.finish_and_clear();
    output::print(text(&summary))
}

/// The schema that lies with the data.
fn beside(source: &Source) -> Option<PathBuf> {
    let schema = source.files().first()?.with_file_name("schema.toml");
    schema.is_file().then_some(schema)
}

fn text(summary: &Summary) -> String {
    let mut parts = vec![format!(
        "{}, {}, {}",
        table::several(summary.rows, "row", "rows"),
        table::several(summary.columns.len() as u64, "column", "columns"),
        table::several(summary.files as u64, "file", "files")
    )];
    parts.push(table::table(
        &["column", "~type", ">missing", ">distinct", ">least", ">mean", ">greatest"],
        summary.columns.iter().map(|one| column(one, summary.rows)),
    ));
    if !summary.tasks.is_empty() {
        parts.push(table::table(&TASK, summary.tasks.iter().map(task)));
    }
    if !summary.scenarios.is_empty() {
        parts.push(scenarios(summary));
    }
    parts.join("\n\n")
}

fn column(column: &ColumnSummary, rows: u64) -> Vec<String> {
    let distinct = match column.distinct {
        Some(distinct) if column.distinct_exceeded => format!("> {}", table::count(distinct)),
        Some(distinct) => table::count(distinct),
        None => "-".into(),
    };
    let missing = (rows > 0).then(|| column.missing as f64 / rows as f64);
    let mut row = vec![column.name.clone(), column.kind.into(), table::percent(missing), distinct];
    match &column.numbers {
        Some(numbers) => row.extend([numbers.min, numbers.mean, numbers.max].map(table::number)),
        None => row.extend(["", "", ""].map(String::from)),
    }
    row
}

const TASK: [&str; 8] = ["task", "~after", ">rows", ">positives", ">rate", ">of all rows", ">no parent", ">no label"];

fn task(task: &TaskSummary) -> Vec<String> {
    vec![
        task.task.clone(),
        task.after.clone().unwrap_or_else(|| "-".into()),
        table::count(task.given_parent.rows),
        table::count(task.given_parent.positives),
        table::percent(task.given_parent.rate()),
        table::percent(task.from_impression.rate()),
        table::count(task.without_parent),
        table::count(task.missing),
    ]
}

/// One line per scenario, with each task's rate on its own sample space.
fn scenarios(summary: &Summary) -> String {
    let rates: Vec<String> = summary.tasks.iter().map(|task| format!(">{}", task.task)).collect();
    let header: Vec<&str> =
        ["scenario", ">rows", ">share"].into_iter().chain(rates.iter().map(String::as_str)).collect();
    let rows = summary.scenarios.iter().map(|scenario| {
        let mut row = vec![
            scenario.scenario.clone().unwrap_or_else(|| "(missing)".into()),
            table::count(scenario.rows),
            table::percent(Some(scenario.rows as f64 / summary.rows as f64)),
        ];
        row.extend(scenario.tasks.iter().map(|task| table::percent(task.given_parent.rate())));
        row
    });
    let mut text = table::table(&header, rows);
    if summary.scenario_count > summary.scenarios.len() {
        let more = summary.scenario_count - summary.scenarios.len();
        text += &format!("\nand {}", table::several(more as u64, "smaller scenario", "smaller scenarios"));
    }
    text
}
