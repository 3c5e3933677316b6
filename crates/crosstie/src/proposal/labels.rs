//! Which columns are actions to predict, and which of them follow another.

use std::fmt::Write;
use std::str::FromStr;

use super::{Draft, Told, words};
use crate::data::survey::ColumnSurvey;
use crate::error::{Error, Result};
use crate::schema::Task;
use crate::spelling;

/// Share of an action's rows that may lack the action it is taken to follow.
const MOST_WITHOUT: f64 = 0.01;
/// Rows that would lack it if the two had nothing to do with each other.
const ENOUGH: f64 = 10.0;

/// A task that was asked for: `click`, or `buy after click`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// A column, or a column without `is_` in front.
    pub name: String,
    /// The action it follows.
    pub after: Option<String>,
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Asked, String> {
        let (name, after) = match text.split_once(" after ") {
            Some((name, after)) => (name.trim(), Some(after.trim())),
            None => (text.trim(), None),
        };
        if name.is_empty() || after == Some("") || after == Some(name) {
            return Err("expected a column, or `COLUMN after ANOTHER`".into());
        }
        Ok(Asked { name: name.into(), after: after.map(String::from) })
    }
}

/// A task and the index of its column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Label {
    pub column: usize,
    pub task: Task,
}

/// The labels, parents first; whatever else looks like one is left out.
pub(super) fn labels(draft: &mut Draft<'_>, asked: &[Asked]) -> Result<Vec<Told<Label>>> {
    check_log(draft)?;
    let named: Vec<usize> = draft.open().into_iter().filter(|index| is_label(draft.column(*index))).collect();
    let spoiled: Vec<usize> = draft.open().into_iter().filter(|index| is_spoiled(draft, *index)).collect();
    if let ([], [first, ..]) = (asked, spoiled.as_slice()) {
        return Err(Error::Schema(of_spoiled(draft.column(*first))));
    }
    let mut columns = match asked {
        [] => named.clone(),
        _ => asked.iter().map(|asked| find(draft, &asked.name)).collect::<Result<_>>()?,
    };
    if columns.is_empty() {
        return Err(Error::Schema(no_label(draft)));
    }
    columns.dedup();
    if asked.is_empty() {
        leave_twins(draft, &mut columns);
    }
    for column in named.into_iter().chain(spoiled).filter(|column| !columns.contains(column)) {
        draft.never(column, "looks like an action that is not asked for");
    }
    for index in draft.open() {
        let column = draft.column(index);
        if let Some([one, other]) = two_values(column).filter(|_| words::is_action(column.name())) {
            draft.unsure.push(format!(
                "`{}` has an action's name and holds {one} and {other}, so it is taken for a feature; if it is to be \
                 predicted, write 1 and 0, and if it is known only afterwards, list it under `never`",
                column.name()
            ));
        }
    }
    // The more frequent an action is, the nearer it stands to the impression.
    columns.sort_by_key(|column| std::cmp::Reverse(draft.column(*column).ones));
    let mut labels = Vec::new();
    for column in &columns {
        let of_this = |asked: &&Asked| is_called(draft.column(*column).name(), &asked.name);
        let after = match asked.iter().find(of_this).and_then(|asked| asked.after.as_ref()) {
            Some(after) => {
                let parent = columns.iter().find(|other| is_called(draft.column(**other).name(), after));
                Some(*parent.ok_or_else(|| {
                    let names = columns.iter().map(|column| draft.column(*column).name());
                    Error::Schema(format!("`{after}` is no task; ask for it, too{}", spelling::hint(after, names)))
                })?)
            }
            None => parent(draft, *column, &columns),
        };
        labels.push(label(draft, *column, after));
    }
    Ok(labels)
}

fn is_label(column: &ColumnSurvey) -> bool {
    column.binary && words::is_action(column.name())
}

/// Whether all but a few cells of a column with an action's name are a label's. As a
/// feature it would give the other labels away.
fn is_spoiled(draft: &Draft<'_>, index: usize) -> bool {
    let column = draft.column(index);
    let present = draft.survey.rows - column.counts.missing;
    words::is_action(column.name()) && column.ones > 0 && column.not_binary.are_few(present)
}

fn of_spoiled(column: &ColumnSurvey) -> String {
    let (name, others) = (column.name(), &column.not_binary);
    format!(
        "column `{name}` has an action's name, and its cells are 0 and 1, but {others}; mend the column or, if it is \
         no action, name the tasks with --task"
    )
}

fn is_called(column: &str, name: &str) -> bool {
    column == name || words::task_name(column) == name
}

/// The column of a task that was asked for.
fn find(draft: &Draft<'_>, name: &str) -> Result<usize> {
    let columns = &draft.survey.columns;
    let found = draft.survey.find(name).or_else(|| columns.iter().position(|column| is_called(column.name(), name)));
    let Some(index) = found else {
        let names = columns.iter().map(ColumnSurvey::name);
        return Err(Error::Schema(format!("there is no column `{name}` for a task{}", spelling::hint(name, names))));
    };
    let column = &columns[index];
    if column.binary {
        return Ok(index);
    }
    Err(Error::Schema(match two_values(column) {
        Some([one, other]) => format!(
            "column `{name}` is no label: it holds {one} and {other}; a label holds 1 and 0: write 1 in place of \
             the one to predict and 0 in place of the other"
        ),
        None => format!(
            "column `{name}` is no label: it has {} values{}, expected 0 and 1, both of them, or nothing",
            column.distinct(),
            column.counts.numbers.map_or(String::new(), |numbers| format!(" from {} to {}", numbers.min, numbers.max)),
        ),
    }))
}

/// The two values of a column that has no more, and is no label.
fn two_values(column: &ColumnSurvey) -> Option<[String; 2]> {
    match &column.shown[..] {
        [one, other] if column.distinct() == 2 && !column.binary => Some([one, other].map(|text| format!("`{text}`"))),
        _ => None,
    }
}

/// Refuses a log in which there is nothing to be found.
fn check_log(draft: &Draft<'_>) -> Result<()> {
    if draft.survey.rows == 0 {
        return Err(Error::Schema("the log has no rows".into()));
    }
    if let [column] = draft.survey.columns.as_slice()
        && let Some(separator) = column.name().chars().find(|letter| ";\t|".contains(*letter))
    {
        return Err(Error::Schema(format!(
            "there is one column, `{}`; if {separator:?} stands between its cells, write commas in its place, or name a \
             file of tabs .tsv",
            column.name()
        )));
    }
    Ok(())
}

fn no_label(draft: &Draft<'_>) -> String {
    let columns = || draft.survey.columns.iter();
    let names = |columns: &mut dyn Iterator<Item = &ColumnSurvey>| {
        columns.map(|column| format!("`{}`", column.name())).collect::<Vec<_>>().join(", ")
    };
    let binary = names(&mut columns().filter(|column| column.binary));
    let others: Vec<String> = columns()
        .filter_map(|column| Some(format!("`{}` ({})", column.name(), two_values(column)?.join(", "))))
        .collect();
    let mut said = String::from("no column looks like an action to predict; name one with --task. ");
    let _ = match &binary[..] {
        "" => write!(said, "None holds 0 and 1 alone"),
        _ => write!(said, "Columns of 0 and 1: {binary}"),
    };
    if !others.is_empty() {
        let _ = write!(
            said,
            "; of two other values: {}. A label holds 1 and 0: write 1 in place of the one to predict and 0 in place of \
             the other",
            others.join(", ")
        );
    }
    said
}

/// Leaves out a label that always equals another.
fn leave_twins(draft: &mut Draft<'_>, columns: &mut Vec<usize>) {
    let mut kept: Vec<usize> = Vec::new();
    for column in std::mem::take(columns) {
        let equal = |other: &&usize| {
            let pair = (draft.survey.without(column, **other), draft.survey.without(**other, column));
            pair == (Some(0), Some(0))
        };
        match kept.iter().find(equal) {
            Some(other) => {
                let why = format!("is always equal to `{}`", draft.column(*other).name());
                draft.never(column, why);
            }
            None => kept.push(column),
        }
    }
    *columns = kept;
}

/// The rarest action without which this one next to never happens.
fn parent(draft: &Draft<'_>, column: usize, columns: &[usize]) -> Option<usize> {
    let survey = draft.survey;
    let own = draft.column(column).ones;
    let contains = |other: &usize| {
        let of_other = draft.column(*other).ones;
        let Some(without) = survey.without(column, *other) else { return false };
        let by_chance = own as f64 * (1.0 - of_other as f64 / survey.rows as f64);
        of_other > own && without as f64 <= MOST_WITHOUT * own as f64 && by_chance >= ENOUGH
    };
    columns.iter().copied().filter(contains).min_by_key(|other| draft.column(*other).ones)
}

fn label(draft: &mut Draft<'_>, column: usize, after: Option<usize>) -> Told<Label> {
    let name = draft.column(column).name();
    let mut task = Task::new(words::task_name(name));
    task.label = (task.name != name).then(|| name.to_string());
    let own = draft.column(column).ones;
    let rate = 100.0 * own as f64 / (draft.survey.rows - draft.column(column).counts.missing).max(1) as f64;
    let mut why = format!("in {rate:.2} % of the rows");
    if let Some(parent) = after {
        let parent_name = words::task_name(draft.column(parent).name()).to_string();
        let given = 100.0 * own as f64 / draft.column(parent).ones.max(1) as f64;
        match draft.survey.without(column, parent).unwrap_or_default() {
            0 => {
                let _ = write!(why, ", {given:.2} % of those with {parent_name}, and only there");
            }
            without => {
                task.direct = true;
                let _ = write!(why, ", {without} of {own} times without {parent_name}: hence `direct`");
            }
        }
        task.after = Some(parent_name);
    }
    if own < 200 {
        let rows = if own == 1 { "row is" } else { "rows are" };
        draft.unsure.push(format!("task `{}`: {own} positive {rows} few to learn from and to judge by", task.name));
    }
    Told::new(Label { column, task }, why)
}
