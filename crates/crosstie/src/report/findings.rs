//! All that a report shows, as plain numbers.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::draw;
use super::history::History;
use super::importance::Importance;
use crate::config::Difference;
use crate::metric::{Curves, Report};

/// All that a report shows, as numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// What the report is called.
    pub name: String,
    /// The model's name.
    pub model: String,
    /// What the caller says of the training: when, where, how long. Name and text.
    pub facts: Vec<(String, String)>,
    /// The tasks, in the schema's order.
    pub tasks: Vec<TaskFacts>,
    /// What is known of the fields.
    pub fields: Vec<FieldFacts>,
    /// The scenario's column.
    pub scenario: Option<String>,
    /// Training rows.
    pub training_rows: u64,
    /// Dense parameters.
    pub parameters: u64,
    /// Weights in embedding tables.
    pub table_weights: u64,
    /// Settings that are not the defaults.
    pub settings: Vec<Difference>,
    /// What was seen while training.
    pub history: Option<History>,
    /// What the figures are of, such as `test files`.
    pub on: String,
    /// All figures.
    pub figures: Report,
    /// What the model shows of its inside, over these rows.
    pub inside: Vec<Matrix>,
    /// What is drawn of these rows, where they could be read.
    pub seen: Option<Seen>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What is not shown, and why.
    pub missing: Vec<String>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// Its name.
    pub name: String,
    /// The task that it comes after.
    pub after: Option<String>,
    /// Whether it also happens without that.
    pub direct: bool,
    /// Share of positive labels among the training rows where the parent's action
    /// happened; `None` where that is not known.
    pub given_parent: Option<f64>,
    /// Among all training rows.
    pub from_impression: Option<f64>,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldFacts {
    /// Its name.
    pub name: String,
    /// Its kind, as in the schema.
    pub kind: String,
    /// How it is read, in words.
    pub encoding: String,
}

/// What is drawn of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Rows drawn by lot, of which the curves are.
    pub drawn: u64,
    /// All rows.
    pub rows: u64,
    /// By task.
    pub tasks: IndexMap<String, TaskCurves>,
    /// What the model shows of its inside over the rows of each scenario that has any;
    /// empty where there are not at least two.
    pub inside_by_scenario: IndexMap<String, Vec<Matrix>>,
    /// How much each field matters; absent where that was not asked for.
    pub importance: Option<Importance>,
    /// How the rows differ from the training rows, in sentences.
    pub drift: Vec<String>,
    /// What was compared, what matters most first.
    pub shifts: Vec<Shifted>,
}

/// Curves of one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskCurves {
    /// On the rows where the parent's action happened; absent for a task without a parent.
    pub given_parent: Option<Calibrated>,
    /// On all rows.
    pub from_impression: Option<Calibrated>,
}

/// Curves of what a model says, and of what its network says before calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// What the model says.
    pub curves: Curves,
    /// What its network says; absent where it is not calibrated.
    pub uncalibrated: Option<Curves>,
}

/// Means over rows that belong together, such as those of all gates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// What it is of, such as `gate` or `similarity`.
    pub kind: String,
    /// Names of its columns.
    pub columns: Vec<String>,
    /// Name and means of each row; `None` where no row of the data counted.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

/// One quantity of the training rows and of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shifted {
    /// The field, task or scenario.
    pub name: String,
    /// What about it, in a few words.
    pub what: String,
    /// Whether it is a share, from 0 to 1, and not a mean.
    pub is_share: bool,
    /// Of the training rows.
    pub training: f64,
    /// Of these.
    pub found: f64,
    /// So much may be chance.
    pub chance: f64,
    /// Whether it matters, and is more than chance explains.
    pub told: bool,
}

impl Findings {
    /// The page: one file, without scripts, that fetches nothing.
    pub fn page(&self) -> String {
        draw::page(self)
    }
}
