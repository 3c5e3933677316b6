//! Tables and numbers for people.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width, presets};
use crosstie::metric::{Figures, Report};
use crosstie::objective::Objective;
pub use crosstie::page::{count, figure, percent};

use crate::output;

const STYLE: TableStyle = presets::NOTHING.header_separator(LineStyle::none().fill('─'));

/// Columns of a terminal. Tables do not ask how wide it is, so that they are the
/// same on a screen and in a file.
const WIDTH: usize = 80;

/// Least width of texts that are wrapped, where they are wider.
const LEAST_TEXT: usize = 16;

/// Rows with an action, or without it, of which an AUC has a standard error of .04 and more.
const FEW: u64 = 50;

/// A column of a table, by the first letter of its heading.
struct Column<'a> {
    heading: &'a str,
    /// `>`: numbers, aligned to the right.
    number: bool,
    /// `~`: texts, which may be wrapped between words.
    text: bool,
    /// Of the widest cell.
    width: usize,
    /// Of the longest word.
    word: usize,
}

impl Column<'_> {
    /// Least number of characters it takes, with the space around it.
    fn least(&self) -> usize {
        2 + if self.text { self.width.min(LEAST_TEXT.max(self.word)) } else { self.width }
    }
}

/// A table with a line under its header. Columns whose heading begins with
/// `>` hold numbers and are aligned to the right; those of `~` hold texts, which may
/// be wrapped. What is too wide for a terminal goes on in another table below,
/// with the same names in front.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let in_line = |cells: Vec<String>| cells.iter().map(|cell| output::in_line(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(in_line).collect();
    let header: Vec<_> = header.iter().map(|heading| output::in_line(heading)).collect();
    let columns: Vec<Column<'_>> = header
        .iter()
        .enumerate()
        .map(|(index, marked)| {
            let heading = marked.trim_start_matches(['>', '~']);
            let cells = || rows.iter().map(|row| row[index].as_str()).chain([heading]);
            let longest = |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max();
            let width = longest(&mut cells()).unwrap_or_default();
            let word = longest(&mut cells().flat_map(str::split_whitespace)).unwrap_or_default();
            Column { heading, number: marked.starts_with('>'), text: marked.starts_with('~'), width, word }
        })
        .collect();
    let tables: Vec<String> = pieces(&columns).iter().map(|chosen| piece(&columns, chosen, &rows)).collect();
    tables.join("\n\n")
}

/// The columns of each of the tables that one is split into: the names in front,
/// then as many others as there is room for.
fn pieces(columns: &[Column<'_>]) -> Vec<Vec<usize>> {
    let names = columns.iter().take_while(|column| !column.number && !column.text).count().min(columns.len() - 1);
    let front = |names: usize| columns[..names].iter().map(Column::least).sum::<usize>();
    let widest = columns[names..].iter().map(Column::least).max().unwrap_or_default();
    // Where so many names leave no room, only the first ones are said again.
    let names = (1..=names).rev().find(|names| front(*names) + widest <= WIDTH).unwrap_or(names.min(1));
    let front = front(names);
    let mut pieces: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for (index, column) in columns.iter().enumerate().skip(names) {
        match pieces.last_mut().filter(|_| column.least() <= room) {
            Some(piece) => piece.push(index),
            None => {
                pieces.push((0..names).chain([index]).collect());
                room = WIDTH.saturating_sub(front);
            }
        }
        room = room.saturating_sub(column.least());
    }
    pieces
}

fn piece(columns: &[Column<'_>], chosen: &[usize], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH as u16);
    table.set_header(chosen.iter().map(|index| columns[*index].heading));
    for (place, index) in chosen.iter().enumerate() {
        let Some(column) = table.column_mut(place) else { continue };
        if columns[*index].number {
            column.set_cell_alignment(CellAlignment::Right);
        }
        column.set_constraint(match columns[*index].text {
            true => ColumnConstraint::LowerBoundary(Width::Fixed(columns[*index].least() as u16)),
            false => ColumnConstraint::ContentWidth,
        });
    }
    for row in rows {
        table.add_row(chosen.iter().map(|index| &row[*index]));
    }
    table.trim_fmt()
}

/// A sentence in lines that fit a terminal, broken between its phrases: all lines
/// but the first begin with two spaces.
pub fn sentence(phrases: &[String]) -> String {
    let mut lines = vec![String::new()];
    for phrase in phrases {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(phrase),
            Some(line) if line.chars().count() + 1 + phrase.chars().count() <= WIDTH => *line += &format!(" {phrase}"),
            _ => lines.push(format!("  {phrase}")),
        }
    }
    lines.join("\n")
}

/// A name and what is told of it, in a line that fits a terminal, else in two. Names
/// are at most `longest` characters long.
pub fn labelled(name: &str, longest: usize, told: &str) -> String {
    let fits = longest + told.chars().count() + 4 <= WIDTH;
    if fits { format!("  {name:<longest$}  {told}") } else { format!("  {name}\n    {told}") }
}

/// Words in lines that fit a terminal, each behind so many spaces.
pub fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if indent + line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                *line += &format!(" {word}");
            }
            _ => lines.push(word.into()),
        }
    }
    lines.iter().map(|line| format!("{:indent$}{line}", "")).collect::<Vec<_>>().join("\n")
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

/// A number with so many decimals; what is rounded to nothing has no sign.
pub fn decimals(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if !rest.contains(|digit| ('1'..='9').contains(&digit)) => rest.into(),
        _ => text,
    }
}

/// So many of something, as in `1 row is` and `2 rows are`.
pub fn several(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// A number of bytes.
pub fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// The figures of a report over all its rows: from the impression, and of the
/// tasks that have a parent also given its action.
pub fn report(report: &Report) -> String {
    let impression: Vec<(&str, &Figures)> =
        report.tasks.iter().map(|(task, meanings)| (task.as_str(), &meanings.from_impression)).collect();
    let with_parent = report.tasks.iter().filter(|(_, meanings)| meanings.given_parent != meanings.from_impression);
    let given: Vec<(&str, &Figures)> =
        with_parent.map(|(task, meanings)| (task.as_str(), &meanings.given_parent)).collect();
    let mut parts = if given.is_empty() {
        vec![figures(&impression)]
    } else {
        vec![
            format!("From the impression, on all rows:\n\n{}", figures(&impression)),
            format!("Given the parent action, on the rows where it happened:\n\n{}", figures(&given)),
        ]
    };
    let missing = report.tasks.values().map(|meanings| meanings.from_impression.gauc_missing).max();
    if let Some(missing @ 1..) = missing {
        let rows = several(missing, "row has no group and is", "rows have no group and are");
        parts.push(format!("{rows} left out of gauc"));
    }
    let few = report.tasks.iter().filter_map(|(task, meanings)| {
        let Figures { rows, positives, .. } = meanings.from_impression;
        let negatives = rows.saturating_sub(positives);
        let (fewer, what) = if negatives < positives { (negatives, "without") } else { (positives, "with") };
        (1..FEW).contains(&fewer).then(|| format!("`{task}` ({} {what} it)", several(fewer, "row", "rows")))
    });
    let few: Vec<String> = few.collect();
    if !few.is_empty() {
        let told = format!("few rows tell of {}: such figures may be far off by chance", few.join(", "));
        parts.push(wrapped(&told, 0));
    }
    parts.join("\n\n")
}

/// One line of figures per task; grouped AUC where there is one.
fn figures(tasks: &[(&str, &Figures)]) -> String {
    let grouped = tasks.iter().any(|(_, figures)| figures.gauc.is_some());
    let header = ["task", ">rows", ">positives", ">auc", ">gauc", ">logloss", ">ne", ">pcoc", ">ece"];
    let header: Vec<&str> = header.into_iter().filter(|name| grouped || *name != ">gauc").collect();
    let row = |(task, figures): &(&str, &Figures)| {
        let Figures { auc, gauc, logloss, ne, pcoc, ece, .. } = **figures;
        let gauc = grouped.then_some(gauc);
        let told = [Some(auc), gauc, Some(logloss), Some(ne), Some(pcoc), Some(ece)];
        // Of two classes there is an AUC, unless the model gives no probabilities.
        let not_given = auc.is_none() && (1..figures.rows).contains(&figures.positives);
        let told = told.into_iter().flatten().map(|value| if not_given { "n/a".into() } else { figure(value) });
        let whole = [task.to_string(), count(figures.rows), count(figures.positives)];
        whole.into_iter().chain(told).collect()
    };
    table(&header, tasks.iter().map(row))
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

/// Under a report, why some probabilities given the parent are not told.
pub fn unidentified(objective: &Objective) -> Option<String> {
    let why: Vec<String> = objective.unidentified().iter().map(|why| wrapped(&format!("n/a: {why}"), 0)).collect();
    (!why.is_empty()).then(|| format!("\n{}", why.join("\n")))
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
        assert_eq!([-0.004, -0.006, 1.0].map(|value| decimals(value, 2)), ["0.00", "-0.01", "1.00"]);
        assert_eq!([0, 1, 1000].map(|rows| several(rows, "row", "rows")), ["0 rows", "1 row", "1,000 rows"]);
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let table = table(&["name", ">rows"], [vec!["a".into(), "5".into()], vec!["bc".into(), "1,000".into()]]);
        let lines: Vec<&str> = table.lines().collect();
        let ends: Vec<usize> = [0, 2, 3].map(|line| lines[line].chars().count()).to_vec();
        assert!(lines[0].ends_with(" rows") && lines[2].ends_with(" 5") && lines[3].ends_with(" 1,000"), "{table}");
        assert_eq!(ends, [ends[0]; 3], "{table}");
    }

    /// A table of names and figures in which nothing is short.
    fn wide() -> String {
        let name = |row: usize| format!("a_name_that_is_long_enough_{row}");
        let header = ["name", ">rows", ">auc", ">logloss", "~about", ">one", ">another", ">a third one"];
        let row = |row: usize| {
            let about = format!("{row} is told in so many words that no line can hold them all beside the others");
            let figures = ["1,000,000", "0.7500", "0.4321"].map(String::from);
            let more = ["1", "2", "3"].map(String::from);
            [name(row)].into_iter().chain(figures).chain([about]).chain(more).collect()
        };
        table(&header, (0..2).map(row))
    }

    #[test]
    fn a_wide_table_goes_on_below_with_the_names_whole() {
        let table = wide();
        assert!(table.lines().all(|line| line.chars().count() <= WIDTH), "{table}");
        let tables: Vec<&str> = table.split("\n\n").collect();
        assert_eq!(tables.len(), 2, "{table}");
        for table in &tables {
            assert!(["name", "a_name_that_is_long_enough_0", "_enough_1"].iter().all(|name| table.contains(name)));
        }
        let words: Vec<&str> = table.split_whitespace().collect();
        assert!(["1,000,000", "another", "0.4321", "others", "3"].iter().all(|word| words.contains(word)), "{table}");
    }

    #[test]
    fn a_sentence_breaks_between_its_phrases() {
        let phrases =
            |count: usize| -> Vec<String> { (0..count).map(|part| format!("part {part} of a story")).collect() };
        assert_eq!(sentence(&phrases(2)), "part 0 of a story part 1 of a story");
        let long = sentence(&phrases(9));
        assert_eq!(long.lines().count(), 3, "{long}");
        assert!(long.lines().all(|line| line.chars().count() <= WIDTH), "{long}");
        assert!(long.lines().skip(1).all(|line| line.starts_with("  part")), "{long}");
        assert_eq!(sentence(&["x".repeat(100)]), "x".repeat(100));
    }
}
