//! The contract between data and models: which columns are features, which
//! are labels, and what the labels mean to each other. Read from
//! `schema.toml`.
//!
//! ```
//! let schema = crosstie::schema::Schema::parse(r#"
//!     group = "user"
//!     scenario = "tab"
//!
//!     [[task]]
//!     name = "click"
//!
//!     [[task]]
//!     name = "like"
//!     label = "is_like"
//!     after = "click"
//!     direct = true        # likes also happen without a click
//!
//!     [[field]]
//!     name = "user"
//!     kind = "categorical"
//!     min_count = 5
//!     side = "user"
//!
//!     [[field]]
//!     name = "price"
//!     kind = "numeric"
//!     transform = "log1p"
//! "#)?;
//! assert_eq!(schema.parent(1), Some(0));
//! # Ok::<(), crosstie::Error>(())
//! ```

mod funnel;
mod keys;
mod name;
pub(crate) mod one_or_many;
#[cfg(test)]
mod tests;
mod written;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::range::ZERO_OR_MORE;
use crate::{spelling, text};

pub use funnel::{Funnel, GIVEN};
use one_or_many::OneOrMany;
use written::RawField;

/// The whole contract, as written in `schema.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Column whose values split the traffic into scenarios: slices with a behaviour
    /// of their own, such as a page or a channel. Figures are told for each, and
    /// models may give each weights of its own. One scenario if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// A scenario with fewer training rows than this is pooled with all
    /// others like it, and with scenarios never seen in training.
    #[serde(default = "default_scenario_min_rows")]
    pub scenario_min_rows: u64,
    /// Column for grouped AUC, usually the user: how well rows of one user are
    /// ranked among themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Column with a non-negative weight per row, for losses and metrics. Rates
    /// count rows, whatever they weigh, but none whose weight is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Columns that must never become features, since they are known only afterwards:
    /// a field that reads one is refused. Labels need not be listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many::list")]
    #[schemars(with = "OneOrMany")]
    pub never: Vec<String>,
    /// Texts that mean that nothing is there, such as `NULL`, in every column.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many::list")]
    #[schemars(with = "OneOrMany")]
    pub null: Vec<String>,
    /// Numbers in the vector of a value, of fields that name no `width`.
    #[serde(default = "default_width")]
    pub width: usize,
    /// The actions to predict.
    #[serde(default, rename = "task")]
    pub tasks: Vec<Task>,
    /// The input features.
    #[serde(default, rename = "field", deserialize_with = "written::fields")]
    pub fields: Vec<Field>,
}

fn default_scenario_min_rows() -> u64 {
    500
}

/// Widest vector that may be asked for. No model needs nearly as much; a slip of
/// zeros is told by its key, and sizes can be multiplied without care.
pub const WIDEST: usize = 1 << 24;

fn default_width() -> usize {
    16
}

/// One binary action: it happened on a row or it did not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name in configs, outputs and reports.
    pub name: String,
    /// Column with 0 or 1, or true or false; the task's name if absent. A row with
    /// nothing in it does not count for the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The parent task: this action is defined on rows where that label is 1, as a
    /// purchase after a click.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Weight of this task's loss, 0 or more.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(extend("default" = one()))]
    pub weight: f32,
    /// The action also happens without its parent; "from the impression" then
    /// counts every path.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(extend("default" = false))]
    pub direct: bool,
}

fn one() -> f32 {
    1.0
}

fn is_one(weight: &f32) -> bool {
    *weight == 1.0
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Task {
    /// A root task whose label column bears its name.
    pub fn new(name: impl Into<String>) -> Task {
        Task { name: name.into(), label: None, after: None, weight: 1.0, direct: false }
    }

    /// The label's column.
    pub fn column(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }
}

/// Who or what a field describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The person.
    User,
    /// The thing shown.
    Item,
    /// Time, place, device, position, or both user and item.
    #[default]
    Context,
}

/// How a field enters a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// An ordinary input.
    #[default]
    Main,
    /// A position-like input, kept for a bias network where the model has one.
    Bias,
}

/// One input feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawField", into = "RawField")]
pub struct Field {
    /// Name in configs, artifacts and reports.
    pub name: String,
    /// Column of the data; the name if absent. A `rate` field has keys instead.
    pub column: Option<String>,
    /// Who or what it describes.
    pub side: Side,
    /// How it enters a model.
    pub role: Role,
    /// What kind of feature it is.
    pub kind: FieldKind,
}

impl Field {
    /// The columns of the data that this field reads.
    pub fn columns(&self) -> Vec<&str> {
        match &self.kind {
            FieldKind::Rate(rate) => rate.key.iter().map(String::as_str).chain(rate.time.as_deref()).collect(),
            _ => vec![self.column.as_deref().unwrap_or(&self.name)],
        }
    }

    /// The rates that this field may have: its own, or those beside an embedding.
    pub fn rate(&self) -> Option<Cow<'_, Rate>> {
        match &self.kind {
            FieldKind::Rate(rate) => Some(Cow::Borrowed(rate)),
            FieldKind::Categorical(categorical) => {
                let vocabulary = matches!(categorical.encoding, Encoding::Vocabulary { .. });
                let column = self.column.as_deref().unwrap_or(&self.name);
                categorical.rates.unwrap_or(vocabulary).then(|| Cow::Owned(Rate::of_column(column)))
            }
            FieldKind::Multi(_) | FieldKind::Numeric(_) => None,
        }
    }
}

/// The kinds of features.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum FieldKind {
    /// One value per row, embedded.
    Categorical(Categorical),
    /// Several values per row, embedded and pooled.
    Multi(Multi),
    /// A number per row.
    Numeric(Transform),
    /// How often every action happened so far for a key, as numbers.
    Rate(Rate),
}

/// How values become rows of an embedding table.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
pub struct Categorical {
    /// By vocabulary or by hash.
    pub encoding: Encoding,
    /// Embedding width; the schema's default if absent.
    pub width: Option<usize>,
    /// Name of a table shared with other fields; the field's own if absent.
    pub table: Option<String>,
    /// Whether the values' historical rates stand beside the embedding, as of a
    /// [`Rate`] whose key is this column. If absent, they do where the column of a
    /// vocabulary has 50 to 2,000,000 different values: most of many are seen in few
    /// rows, and rates are learned from fewer of them than an embedding is. Not for
    /// multi fields.
    pub rates: Option<bool>,
}

/// How a value finds its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Encoding {
    /// Values seen at least `min_count` times in training get their own row;
    /// all others share the unknown row.
    Vocabulary {
        /// Least number of training rows with the value.
        min_count: u64,
    },
    /// A value's hash modulo the number of buckets.
    Hashed {
        /// Number of buckets.
        buckets: u32,
    },
}

/// Several values in one cell.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
pub struct Multi {
    /// How each value finds its row.
    pub categorical: Categorical,
    /// What separates the values in a text cell; list columns need none.
    pub separator: String,
    /// How the rows' vectors become one.
    pub pooling: Pooling,
}

/// How the vectors of several values become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Their mean; zero for an empty cell.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// What is done to a number before the model sees it.
///
/// Where training rows miss a number that enters as such, a second column tells
/// that it is missing. Numbers beyond those of the training rows count as the
/// outermost of them, but for `none`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Transform {
    /// Nothing; a missing value becomes 0.
    None,
    /// Mean 0 and standard deviation 1 over the training rows; a missing value
    /// becomes 0, the mean.
    Standard,
    /// sign(x)·ln(1 + |x|), then as `standard`: for counts and prices.
    Log1p,
    /// One of `buckets` buckets of the training rows, embedded.
    Quantile(Buckets),
    /// Both: the number as by `standard`, and beside it its bucket, embedded.
    Binned(Buckets),
}

/// Buckets of numbers. A frequent number has a bucket of its own, the others
/// share buckets of equal mass; a missing value has one of its own.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
pub struct Buckets {
    /// Number of buckets; fewer where numbers are, and up to four times as many where
    /// each different number then has one of its own. If absent, as many as
    /// [`Buckets::among`] says.
    pub buckets: Option<u32>,
    /// Embedding width; the schema's default if absent.
    pub width: Option<usize>,
    /// Whether the rates of the numbers stand beside them, as of a [`Rate`] whose key is this
    /// column, unless a field has them already. If absent, they do where in the first 16,384
    /// training rows more than half are one number, the others have two rows each in the
    /// mean, and there are at least 20 different ones and more than buckets.
    pub rates: Option<bool>,
}

impl Buckets {
    /// The number of buckets, of so many training rows: if the schema says nothing, one for
    /// every 250 of them, at least 4 and at most 16. A vector of a bucket that has fewer
    /// rows learns their chance, and one of many narrow buckets learns it all the same where
    /// rows of a number share more than the number, as those of one hour's weather do.
    pub fn among(&self, rows: u64) -> u32 {
        self.buckets.unwrap_or_else(|| (rows / 250).clamp(4, 16) as u32)
    }
}

impl Rate {
    /// The default settings for the values of one column.
    pub fn of_column(column: &str) -> Rate {
        Rate { key: vec![column.into()], smoothing: None, count: false, folds: DEFAULT_FOLDS, time: None }
    }
}

/// Parts of the training rows that a rate is computed from without each of them.
const DEFAULT_FOLDS: u32 = 5;

/// Smoothed historical rate of every task for a key:
/// ln(r / (1 - r)) with r = (positives + smoothing · mean) / (rows +
/// smoothing), standardised. On training rows computed out of fold, or from
/// strictly earlier rows if `time` is named; of a key with 50 times the rows of the
/// smoothing, and as many of either outcome, from all rows, since a row's own label
/// weighs nothing there.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
pub struct Rate {
    /// Columns whose values together are the key. Cells are taken whole.
    pub key: Vec<String>,
    /// Strength of the pull towards the overall mean, in rows. If absent it is
    /// estimated, for each task, from how well the folds of a key agree; keys that
    /// differ by no more than chance then all have the mean.
    pub smoothing: Option<f64>,
    /// Whether ln(1 + rows) of the key stands beside its rates.
    pub count: bool,
    /// Number of folds on training rows, where no `time` is named.
    pub folds: u32,
    /// Numeric column; a training row then sees strictly earlier rows only.
    pub time: Option<String>,
}

impl Rate {
    /// Whether its key is the column that has the field's name, as where the schema
    /// names no key.
    pub fn is_of_its_own_name(&self, name: &str) -> bool {
        self.key == [name]
    }
}

impl Schema {
    /// Reads and checks a schema.
    ///
    /// # Errors
    /// [`Error::Unfit`] with the place of a syntax error, an unknown key or a
    /// contradiction, [`Error::Io`].
    pub fn read(path: impl AsRef<Path>) -> Result<Schema> {
        let path = path.as_ref();
        let text = text::read(path)?;
        Schema::parse(&text).map_err(|error| error.within(path))
    }

    /// Parses and checks a schema.
    ///
    /// # Errors
    /// [`Error::Toml`] for a syntax error or an unknown key, [`Error::Schema`]
    /// for contradictions.
    pub fn parse(text: &str) -> Result<Schema> {
        let schema: Schema = toml::from_str(text).map_err(|error| Error::toml("schema", error))?;
        schema.check()?;
        Ok(schema)
    }

    /// The schema as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a schema holds nothing that TOML cannot")
    }

    /// Checks what the types alone do not: names, parents, cycles, and that
    /// neither a feature nor the scenario reads a label or a `never` column.
    ///
    /// # Errors
    /// [`Error::Schema`].
    pub fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::Schema(message));
        if self.tasks.is_empty() {
            return wrong("there is no [[task]]: nothing to predict".into());
        }
        if self.fields.is_empty() {
            return wrong("there is no [[field]]: nothing to predict from".into());
        }
        if !(1..=WIDEST).contains(&self.width) {
            return wrong(format!("`width` must be from 1 to {WIDEST}, found {}", self.width));
        }
        let mut seen = BTreeSet::new();
        for task in &self.tasks {
            if !seen.insert(task.name.as_str()) {
                return wrong(format!("two tasks are called `{}`", task.name));
            }
            name::check("task", &task.name)?;
            if task.name == "mean" {
                return wrong(
                    "task `mean`: figures call the mean over tasks so; name the task otherwise, and its column by `label`"
                        .into(),
                );
            }
            if let Some(other) = self.tasks.iter().find(|other| self.has_head(other, &task.name)) {
                return wrong(format!(
                    "task `{}`: a head of `{}` may be called so; name the task otherwise, and its column by `label`",
                    task.name, other.name
                ));
            }
            if let Some(message) = ZERO_OR_MORE.refusal(format!("task `{}`: `weight`", task.name), task.weight) {
                return wrong(message);
            }
            if task.direct && task.after.is_none() {
                return wrong(format!("task `{}`: `direct` needs `after`, the parent it can do without", task.name));
            }
        }
        for task in &self.tasks {
            let Some(after) = &task.after else { continue };
            if !self.tasks.iter().any(|other| other.name == *after) {
                let others = self.tasks.iter().filter(|other| other.name != task.name);
                let names = others.map(|other| other.name.as_str());
                let hint = spelling::hint(after, names);
                return wrong(format!("task `{}`: its parent `{after}` is no task{hint}", task.name));
            }
        }
        for (index, task) in self.tasks.iter().enumerate() {
            let mut at = index;
            for _ in 0..self.tasks.len() {
                match self.parent(at) {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            if self.parent(at).is_some() {
                return wrong(format!("task `{}` is its own ancestor: follow `after` around the circle", task.name));
            }
        }
        let labels: BTreeSet<&str> = self.tasks.iter().map(Task::column).collect();
        let no_label = |who: &str, column: &str| match labels.contains(column) {
            true => wrong(format!("{who} reads `{column}`, the label of a task")),
            false => Ok(()),
        };
        for (who, column) in [("`weight`", &self.weight), ("`group`", &self.group)] {
            column.iter().try_for_each(|column| no_label(who, column))?;
        }
        let known_afterwards = |who: &str, column: &str| {
            no_label(who, column)?;
            if self.never.iter().any(|never| never == column) {
                return wrong(format!("{who} reads `{column}`, which is listed under `never`"));
            }
            Ok(())
        };
        // A model is told the scenario as it is told the fields.
        if let Some(scenario) = &self.scenario {
            known_afterwards("`scenario`", scenario)?;
        }
        let mut seen = BTreeSet::new();
        for field in &self.fields {
            if !seen.insert(field.name.as_str()) {
                return wrong(format!("two fields are called `{}`", field.name));
            }
            name::check("field", &field.name)?;
            for column in field.columns() {
                known_afterwards(&format!("field `{}`", field.name), column)?;
            }
        }
        name::check_files(&self.fields)?;
        self.check_tables()
    }

    fn check_tables(&self) -> Result<()> {
        let mut tables: Vec<(&str, &Field, usize)> = Vec::new();
        for field in &self.fields {
            let (FieldKind::Categorical(categorical) | FieldKind::Multi(Multi { categorical, .. })) = &field.kind
            else {
                continue;
            };
            let Some(table) = categorical.table.as_deref() else { continue };
            name::check("table", table)?;
            let width = categorical.width.unwrap_or(self.width);
            match tables.iter().find(|(name, ..)| *name == table) {
                Some((_, first, other)) if *other != width => {
                    return Err(Error::Schema(format!(
                        "fields `{}` and `{}` share table `{table}` but have widths {other} and {width}",
                        first.name, field.name
                    )));
                }
                Some((_, first, _)) if encoding(first) != Some(categorical.encoding) => {
                    return Err(Error::Schema(format!(
                        "fields `{}` and `{}` share table `{table}` but encode their values differently",
                        first.name, field.name
                    )));
                }
                _ => tables.push((table, field, width)),
            }
        }
        for field in &self.fields {
            if let Some((table, first, _)) = tables.iter().find(|(name, first, _)| {
                *name == field.name && first.name != field.name && table_of(field) != Some(name)
            }) {
                return Err(Error::Schema(format!(
                    "table `{table}` of field `{}` bears the name of another field, which has a table of its own",
                    first.name
                )));
            }
        }
        Ok(())
    }

    /// Whether a task may have a head of this name, in an artifact and for who reads it.
    fn has_head(&self, task: &Task, name: &str) -> bool {
        let rest = name.strip_prefix(task.name.as_str()).and_then(|rest| rest.strip_prefix('_'));
        rest.is_some_and(|rest| {
            let by_way = rest.strip_prefix("with_").or_else(|| rest.strip_prefix("without_"));
            rest == "from_impression"
                || rest == "without_parent"
                || by_way.is_some_and(|action| self.tasks.iter().any(|other| other.name == action))
        })
    }

    /// Index of a task's parent.
    pub fn parent(&self, task: usize) -> Option<usize> {
        let after = self.tasks[task].after.as_deref()?;
        self.tasks.iter().position(|other| other.name == after)
    }

    /// Task indices, every parent before its children.
    pub fn order(&self) -> Vec<usize> {
        let depth = |mut task: usize| {
            let mut depth = 0;
            while let Some(parent) = self.parent(task) {
                task = parent;
                depth += 1;
            }
            depth
        };
        let mut order: Vec<usize> = (0..self.tasks.len()).collect();
        order.sort_by_key(|task| depth(*task));
        order
    }

    /// The tasks' relations.
    pub fn funnel(&self) -> Funnel {
        Funnel {
            parents: (0..self.tasks.len()).map(|task| self.parent(task)).collect(),
            direct: self.tasks.iter().map(|task| task.direct).collect(),
            order: self.order(),
        }
    }

    /// The column whose rows stay together in the folds of a rate: the group, since
    /// its rows share what they are about, unless the key tells it apart.
    pub fn fold_column(&self, rate: &Rate) -> Option<&str> {
        self.group.as_deref().filter(|group| !rate.key.iter().any(|column| column == group))
    }

    /// The columns needed for scoring: what the fields read, the scenario.
    pub fn feature_columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        let all = self.fields.iter().flat_map(|field| match &field.kind {
            // Time orders training rows; a row to be scored comes after all.
            FieldKind::Rate(rate) => rate.key.iter().map(String::as_str).collect(),
            _ => field.columns(),
        });
        for column in all.chain(self.scenario.as_deref()) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }
}

fn encoding(field: &Field) -> Option<Encoding> {
    match &field.kind {
        FieldKind::Categorical(categorical) | FieldKind::Multi(Multi { categorical, .. }) => Some(categorical.encoding),
        _ => None,
    }
}

fn table_of(field: &Field) -> Option<&str> {
    match &field.kind {
        FieldKind::Categorical(categorical) | FieldKind::Multi(Multi { categorical, .. }) => {
            categorical.table.as_deref()
        }
        _ => None,
    }
}
