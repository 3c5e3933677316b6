//! A first schema for a log that nobody has described: what each column seems to be,
//! which are labels, what leaks, and how the rows are cut into three files.
//!
//! All is decided from a [`Survey`] of the columns; one file per question. Whatever is
//! decided is told with its reason, so that a person can disagree.

mod kinds;
mod labels;
mod leaks;
mod sides;
mod split;
mod time;
mod words;
mod write;

use std::collections::BTreeMap;

use crate::data::survey::{ColumnSurvey, Survey};
use crate::error::{Error, Result};
use crate::schema::{Field, Schema, Task};

pub use labels::Asked;
pub use split::{Cut, deal, part};

/// Columns whose reason is told where no column is left.
const MOST_REASONS: usize = 5;

/// Something decided, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Told<T> {
    /// What was decided.
    pub what: T,
    /// Why, in a few words.
    pub why: String,
}

impl<T> Told<T> {
    fn new(what: T, why: impl Into<String>) -> Told<T> {
        Told { what, why: why.into() }
    }
}

/// What a log seems to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The actions, parents first.
    pub tasks: Vec<Told<Task>>,
    /// The features, in the order of the columns.
    pub fields: Vec<Told<Field>>,
    /// The column for grouped AUC.
    pub group: Option<Told<String>>,
    /// The column of scenarios.
    pub scenario: Option<Told<String>>,
    /// How the rows are cut into files.
    pub cut: Told<Cut>,
    /// Columns that are no features, in the order of the columns.
    pub left_out: Vec<Told<String>>,
    /// Those among them that are known only afterwards.
    pub never: Vec<String>,
    /// A column that may weigh the rows.
    pub weight: Option<String>,
    /// What a person should look at, one sentence each.
    pub unsure: Vec<String>,
}

/// Proposes a schema. With tasks asked for, these and no others are predicted.
///
/// # Errors
/// [`Error::Schema`] for a task that is no column or no label, with the nearest
/// spelling; where no column looks like a label; where no feature is left.
pub fn propose(survey: &Survey, asked: &[Asked]) -> Result<Proposal> {
    let mut draft =
        Draft { survey, left: BTreeMap::new(), never: Vec::new(), unsure: survey.remarks.clone(), unread: Vec::new() };
    for (index, column) in survey.columns.iter().enumerate() {
        if let Some(why) = kinds::says_nothing(column, survey.rows) {
            draft.leave(index, why);
        }
    }
    let labels = labels::labels(&mut draft, asked)?;
    let label_columns: Vec<usize> = labels.iter().map(|label| label.what.column).collect();
    for column in label_columns.iter().copied() {
        draft.leave(column, "a task");
    }
    let weight = sides::weight(&mut draft);
    let time = time::time(&mut draft);
    let (user, sessions) = (sides::user(&draft), sides::sessions(&draft));
    let group = sides::group(&draft, user, &sessions);
    for session in sessions {
        draft.leave(session, "the number of a visit, a query or an order: its values do not come back");
    }
    leaks::leaks(&mut draft, &labels);
    let cut = split::cut(&mut draft, time, group.as_ref().map(|group| group.what.as_str()));
    if let (Cut::Group { column, .. }, Some(user)) = (&cut.what, user)
        && survey.columns[user].name() == column
    {
        draft.leave(user, "the rows are cut by it, so none of its values comes back in another file");
    }
    let kinds: Vec<(usize, kinds::Kind)> =
        draft.open().into_iter().filter_map(|index| Some((index, kinds::kind(&mut draft, index)?))).collect();
    let scenario = sides::scenario(&draft, &kinds, &labels);
    let sides = sides::sides(&draft, &kinds, user);
    let fields = kinds::fields(survey, &kinds, &sides);
    if fields.is_empty() {
        let left = draft.left.iter().filter(|(index, _)| !label_columns.contains(index)).take(MOST_REASONS);
        let left: Vec<String> = left.map(|(index, why)| format!("`{}`: {why}", draft.column(*index).name())).collect();
        let left = if left.is_empty() { String::new() } else { format!(" ({})", left.join("; ")) };
        return Err(Error::Schema(format!("no column is left to predict from{left}; name the tasks with --task")));
    }
    let left = std::mem::take(&mut draft.left).into_iter().filter(|(index, _)| !label_columns.contains(index));
    let left_out = left.map(|(index, why)| Told::new(survey.columns[index].name().to_string(), why)).collect();
    let tasks = labels.into_iter().map(|label| Told::new(label.what.task, label.why)).collect();
    let Draft { never, unsure, .. } = draft;
    Ok(Proposal { tasks, fields, group, scenario, cut, left_out, never, weight, unsure })
}

impl Proposal {
    /// The schema with a comment for each decision.
    ///
    /// # Errors
    /// [`Error::Schema`] if it is no valid schema, as where two columns differ in
    /// capitals only.
    pub fn schema(&self) -> Result<String> {
        let text = self.text();
        Schema::parse(&text)?;
        Ok(text)
    }

    /// The same unchecked, for those who add sections.
    pub fn text(&self) -> String {
        write::schema(self)
    }

    /// A config that trains on the files in a directory.
    pub fn config(&self, directory: &str) -> String {
        write::config(self, directory)
    }
}

/// What has been decided so far.
struct Draft<'a> {
    survey: &'a Survey,
    /// Columns that are no features, and why.
    left: BTreeMap<usize, String>,
    never: Vec<String>,
    unsure: Vec<String>,
    /// Columns that are times, but cannot be read as such.
    unread: Vec<String>,
}

impl<'a> Draft<'a> {
    /// The columns that may still be anything.
    fn open(&self) -> Vec<usize> {
        (0..self.survey.columns.len()).filter(|index| !self.left.contains_key(index)).collect()
    }

    fn column(&self, index: usize) -> &'a ColumnSurvey {
        &self.survey.columns[index]
    }

    fn leave(&mut self, index: usize, why: impl Into<String>) {
        self.left.entry(index).or_insert_with(|| why.into());
    }

    /// Leaves out a column that is known only afterwards.
    fn never(&mut self, index: usize, why: impl Into<String>) {
        self.never.push(self.column(index).name().to_string());
        self.leave(index, why);
    }
}

#[cfg(test)]
mod tests;
