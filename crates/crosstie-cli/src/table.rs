//! Tables and numbers for people.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use crosstie::metric::{Figures, Meaning, Report};

const STYLE: TableStyle = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));

/// A table with a line under its header. Columns whose heading begins with
/// `>` hold numbers and are aligned to the right.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|heading| heading.trim_start_matches('>')));
    for (index, heading) in header.iter().enumerate() {
        if let (true, Some(column)) = (heading.starts_with('>'), table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

/// A whole number with a comma between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A figure with four decimals, or a dash where it is not defined.
pub fn figure(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.4}"))
}

/// A share in per cent, or a dash.
pub fn percent(share: Option<f64>) -> String {
    match share.map(|share| 100.0 * share) {
        None => "-".into(),
        Some(percent) if percent > 0.0 && percent < 0.1 => format!("{percent:.4} %"),
        Some(percent) => format!("{percent:.2} %"),
    }
}

/// A number in a column: whole numbers whole, others with few digits.
pub fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        format!("{value}")
    } else if value.abs() >= 1e6 || value.abs() < 1e-3 {
        format!("{value:.3e}")
    } else {
        format!("{value:.4}")
    }
}

/// A number of bytes.
pub fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// The figures of a report over all its rows, one line per task and meaning.
pub fn report(report: &Report) -> String {
    let header = ["task", "on", ">rows", ">positives", ">auc", ">gauc", ">logloss", ">ne", ">pcoc", ">ece"];
    let line = |task: &str, on: &str, figures: &Figures| {
        let mut row = vec![task.to_string(), on.to_string(), count(figures.rows), count(figures.positives)];
        row.extend([figures.auc, figures.gauc, figures.logloss, figures.ne, figures.pcoc, figures.ece].map(figure));
        row
    };
    let rows = report.tasks.iter().flat_map(|(task, meanings)| {
        let of = |meaning, on| line(task, on, meanings.get(meaning));
        [of(Meaning::GivenParent, "given parent"), of(Meaning::FromImpression, "from impression")]
    });
    let missing = report.tasks.values().map(|meanings| meanings.from_impression.gauc_missing).max();
    match missing.unwrap_or_default() {
        0 => table(&header, rows),
        missing => format!("{}\n{} rows have no group and are left out of gauc", table(&header, rows), count(missing)),
    }
}

/// The AUC given the parent, one line per scenario that has rows.
pub fn scenarios(report: &Report) -> String {
    let tasks: Vec<String> = report.tasks.keys().map(|task| format!(">{task}")).collect();
    let header: Vec<&str> = ["scenario", ">rows"].into_iter().chain(tasks.iter().map(String::as_str)).collect();
    let scenarios = report.scenarios.iter().filter(|(_, scenario)| scenario.rows > 0);
    let rows = scenarios.map(|(name, scenario)| {
        let aucs = scenario.tasks.values().map(|meanings| figure(meanings.given_parent.auc));
        [name.clone(), count(scenario.rows)].into_iter().chain(aucs).collect()
    });
    table(&header, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(100_000), "100,000");
        assert_eq!(figure(None), "-");
        assert_eq!(percent(Some(0.0001)), "0.0100 %");
        assert_eq!(percent(Some(0.25)), "25.00 %");
        assert_eq!(number(3.0), "3");
        assert_eq!(number(0.5), "0.5000");
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let table = table(&["name", ">rows"], [vec!["a".into(), "5".into()], vec!["bc".into(), "1,000".into()]]);
        let lines: Vec<&str> = table.lines().collect();
        let ends: Vec<usize> = [0, 2, 3].map(|line| lines[line].chars().count()).to_vec();
        assert!(lines[0].ends_with(" rows") && lines[2].ends_with(" 5") && lines[3].ends_with(" 1,000"), "{table}");
        assert_eq!(ends, [ends[0]; 3], "{table}");
    }
}
