//! From cells to ids and numbers: the same code in training and serving.
//!
//! [`Features::learn`] reads the training files once, after a look at their first rows, and
//! learns vocabularies, scales, buckets, rates and scenarios; [`Features::encode`] turns rows of any
//! file into a [`Batch`]. What was learned is saved in the artifact. The training
//! files' own rows are encoded by [`TrainingFeatures::encode`], which alone knows
//! what a training row may see of the rates.
//!
//! # Ids
//! Row 0 of a table stands for unknown values, row 1 for missing ones. A
//! vocabulary's values follow by descending count, ties by value, so ids do
//! not depend on the order of the rows. A hashed value has the id
//! 2 + XXH3-64(value) mod buckets. A bucket of numbers has the id 2 + the
//! number of cut points that the number reaches. A multi field gives one id
//! per value, and none for an empty or missing cell.
//!
//! # Memory
//! Learning keeps every distinct value of the vocabularies' columns and every
//! distinct key of the rates in memory, and for rates with `time` every row.

mod amount;
mod carry;
mod check;
mod drift;
mod encode;
mod encoding;
mod key;
mod learn;
mod numeric;
#[cfg(test)]
mod one_table;
mod rate;
mod sample;
mod save;
mod shrinkage;
mod slope;
mod summary;
mod sums;
mod suspicion;
#[cfg(test)]
mod tests;
mod vocabulary;
mod warning;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Batch, Dense, Embedded, Layout, Table};
use crate::data::{Cells, Reading, Rows, Source};
use crate::error::{Error, Result};
use crate::schema::{Categorical, Encoding, Field, FieldKind, Multi, Pooling, Schema, Transform};

pub use check::{check, check_training};
pub use drift::{Drift, Kind, Quantity, Shift, Tally};
pub(crate) use encoding::{FieldEncoding, Finder, RateEncoding};
pub use numeric::Scale;
pub use summary::{FieldSummary, Summary};
pub(crate) use warning::BaseRates;
pub use warning::{Unknown, ValueCounts};

use drift::Profile;
use rate::{History, Rates, Smoothing};
use vocabulary::Counts;

/// Rows decoded at a time while learning.
const PIECE: usize = 16_384;
/// Name of the scenario that stands for rare and unseen ones.
const OTHER: &str = "other";
/// Name of the only scenario where the schema names no scenario column.
const ALL: &str = "all";
/// Table row of values that training did not know.
pub(crate) const UNKNOWN: u32 = 0;
/// Table row of missing values.
pub(crate) const MISSING: u32 = 1;
/// First table row of known values.
pub(crate) const KNOWN: u32 = 2;

/// What rows are encoded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Judging predictions: with labels; rates count all training rows.
    Evaluation,
    /// Predicting: no labels, weights or groups are read or needed.
    Scoring,
}

/// The schema and all that was learned about its columns.
#[derive(Clone, Debug)]
pub struct Features {
    schema: Schema,
    layout: Layout,
    /// One per table of the layout.
    tables: Vec<Lookup>,
    /// One per field of the schema.
    encoders: Vec<Encoder>,
    /// Scenarios with enough rows, by descending count; scenario `i + 1`.
    scenarios: Counts,
    rows: u64,
    warnings: Vec<String>,
    /// How the text of columns is read; of old artifacts it is taken as it is.
    reading: Option<Arc<Reading>>,
    /// What the training rows were like; old artifacts do not know.
    profile: Option<Profile>,
}

/// Features fresh from learning, with what the training files' own rows may see
/// of the rates: those of other folds, or of strictly earlier rows.
#[derive(Debug)]
pub struct TrainingFeatures {
    features: Arc<Features>,
    /// One per field of the schema; `None` for a field without rates.
    histories: Vec<Option<History>>,
    /// See [`TrainingFeatures::known`].
    known: Vec<Option<f64>>,
    /// Per task.
    base_rates: Vec<BaseRates>,
    /// The files learned from, and their rows.
    files: Vec<(PathBuf, u64)>,
}

impl TrainingFeatures {
    /// The features themselves.
    pub fn features(&self) -> &Arc<Features> {
        &self.features
    }

    /// How often each task's action happened in the training rows.
    pub(crate) fn base_rates(&self) -> &[BaseRates] {
        &self.base_rates
    }

    /// Per embedded field the share of the training rows' values, of those not
    /// missing, that its vocabulary knows; `None` for a field without a vocabulary,
    /// or with rates of its values. Fields of one table count together.
    pub(crate) fn known(&self) -> &[Option<f64>] {
        &self.known
    }

    /// The columns that [`TrainingFeatures::encode`] reads.
    pub fn columns(&self) -> Vec<&str> {
        training_columns(&self.features.schema)
    }

    /// Encodes rows of the files that were learned from, with labels. A row is
    /// known by its file and number.
    ///
    /// # Errors
    /// As of [`Features::encode`]; [`Error::File`] for rows
    /// of another source, whose rates would hold their own labels.
    pub fn encode(&self, rows: &Rows) -> Result<Batch> {
        let end = rows.first_row + rows.len() as u64;
        match self.files.get(rows.file) {
            Some((path, learned)) if **path == *rows.path && end <= *learned => {}
            _ => {
                let message = "these rows are not of the files that the features were learned from: a training row \
                               must not see its own label in a rate; learn the features from these files";
                return Err(Error::file(&*rows.path, message));
            }
        }
        encode::encode(&self.features, rows, Purpose::Evaluation, Some(&self.histories))
    }
}

/// How values find their row of a table.
#[derive(Clone, Debug)]
enum Lookup {
    Vocabulary(Counts),
    Hashed { buckets: u32 },
    Quantile { cuts: Vec<f64> },
}

impl Lookup {
    fn token(&self, token: &str) -> u32 {
        match self {
            Lookup::Vocabulary(known) => known.tokens.find(token.as_bytes()).map_or(UNKNOWN, |number| KNOWN + number),
            Lookup::Hashed { buckets } => KNOWN + (xxh3_64(token.as_bytes()) % u64::from(*buckets)) as u32,
            Lookup::Quantile { .. } => UNKNOWN,
        }
    }

    fn number(&self, x: f64) -> u32 {
        match self {
            Lookup::Quantile { cuts } => KNOWN + numeric::bucket(cuts, x),
            _ => UNKNOWN,
        }
    }

    fn rows(&self) -> usize {
        KNOWN as usize
            + match self {
                Lookup::Vocabulary(known) => known.tokens.len(),
                Lookup::Hashed { buckets } => *buckets as usize,
                Lookup::Quantile { cuts } => cuts.len() + 1,
            }
    }
}

/// What a row of a table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A value of a vocabulary.
    Token(&'a [u8]),
    /// The values that are hashed into one of so many buckets.
    Bucket { bucket: u32, of: u32 },
}

/// How a field's cells become ids or numbers.
#[derive(Clone, Debug)]
enum Encoder {
    /// One token per cell, looked up in a table, and perhaps its rates beside it.
    Token { table: usize, rates: Option<Box<Rates>> },
    /// Several tokens per cell.
    Tokens { table: usize, separator: String },
    /// The bucket of a number.
    Bucket { table: usize },
    /// A number.
    Number(Number),
    /// A number, and beside it its bucket.
    Binned { table: usize, number: Number },
    /// Rates of every task.
    Rates(Box<Rates>),
}

impl Encoder {
    /// The rates of its keys, if it has them.
    fn rates(&self) -> Option<&Rates> {
        match self {
            Encoder::Rates(rates) | Encoder::Token { rates: Some(rates), .. } => Some(rates),
            _ => None,
        }
    }
}

/// How a number enters as such: perhaps its logarithm, perhaps standardised, and
/// perhaps with a second column that tells whether it is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub log: bool,
    pub scale: Option<Scale>,
    pub indicator: bool,
}

impl Number {
    /// Number of columns.
    pub fn width(&self) -> usize {
        1 + usize::from(self.indicator)
    }
}

/// All that is learned, by the name of the table or field it belongs to. Of
/// the statistics, those of rates and scenarios are filled for saving only.
#[derive(Default)]
struct Learned {
    statistics: Statistics,
    vocabularies: BTreeMap<String, Counts>,
    rates: BTreeMap<String, Rates>,
    histories: BTreeMap<String, History>,
    /// Share of the values that a vocabulary knows.
    known: BTreeMap<String, f64>,
    scenarios: Counts,
}

/// The part of what is learned that is a handful of numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statistics {
    /// Number of training rows.
    rows: u64,
    /// Per field with a `standard`, `log1p` or `binned` transform.
    scales: BTreeMap<String, Scale>,
    /// Per field with buckets.
    cuts: BTreeMap<String, Vec<f64>>,
    /// Numbers of which training rows missed some, and a column tells of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    missing: BTreeSet<String>,
    /// Per rate field.
    rates: BTreeMap<String, Smoothing>,
    /// By descending number of rows.
    scenarios: Vec<ScenarioRows>,
    /// What the columns hold whose text is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    columns: Option<BTreeMap<String, Cells>>,
    warnings: Vec<String>,
}

/// A scenario that stands alone, and its number of training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioRows {
    name: String,
    rows: u64,
}

fn column_of(field: &Field) -> &str {
    field.column.as_deref().unwrap_or(&field.name)
}

/// The name of the table that an embedded field reads.
fn table_name(field: &Field) -> &str {
    match &field.kind {
        FieldKind::Categorical(categorical) | FieldKind::Multi(Multi { categorical, .. }) => {
            categorical.table.as_deref().unwrap_or(&field.name)
        }
        FieldKind::Numeric(_) | FieldKind::Rate(_) => &field.name,
    }
}

/// The columns that rows must have to be encoded.
fn columns(schema: &Schema, purpose: Purpose) -> Vec<&str> {
    let mut columns = schema.feature_columns();
    if purpose != Purpose::Scoring {
        let labels = schema.tasks.iter().map(|task| task.column());
        add(&mut columns, labels.chain(schema.weight.as_deref()).chain(schema.group.as_deref()));
    }
    columns
}

/// The columns that training rows must have.
pub fn training_columns(schema: &Schema) -> Vec<&str> {
    let mut columns = columns(schema, Purpose::Evaluation);
    let times = schema.fields.iter().filter_map(|field| match &field.kind {
        FieldKind::Rate(rate) => rate.time.as_deref(),
        _ => None,
    });
    add(&mut columns, times);
    columns
}

fn add<'a>(columns: &mut Vec<&'a str>, more: impl Iterator<Item = &'a str>) {
    for column in more {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
}

impl Features {
    /// Learns from the training files, in one streaming pass.
    ///
    /// # Errors
    /// [`Error::Schema`] for a schema that contradicts
    /// itself; [`Error::Unfit`] where a column is missing
    /// or there are no rows; [`Error::Cell`] for a cell
    /// that its column does not allow.
    pub fn learn(schema: &Schema, source: &Source) -> Result<TrainingFeatures> {
        Features::learn_watched(schema, source, &mut |_| ControlFlow::Continue(()))
    }

    /// The same, telling the number of rows seen so far every now and then.
    ///
    /// # Errors
    /// As of [`Features::learn`], and [`Error::Stopped`] when told to break off.
    pub fn learn_watched(
        schema: &Schema,
        source: &Source,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<TrainingFeatures> {
        learn::learn(schema, source, PIECE, watch)
    }

    /// What features of this schema look like before anything is learned: with
    /// all names and widths, but empty vocabularies and no scenario of its own.
    ///
    /// # Errors
    /// [`Error::Schema`] for a schema that contradicts itself.
    pub fn sketch(schema: &Schema) -> Result<Features> {
        learn::sketch(schema)
    }

    /// The schema they were learned for.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What encoded rows look like.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of rows learned from.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What about the training data a person should know, one sentence each:
    /// tasks without positives or negatives, positives outside of a task's
    /// sample space, vocabularies that leave most values out, pooled scenarios,
    /// fields that alone tell a label, separators that never occur.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The columns that [`Features::encode`] reads.
    pub fn columns(&self, purpose: Purpose) -> Vec<&str> {
        columns(&self.schema, purpose)
    }

    /// Encodes rows. A row's ids and numbers depend on that row alone.
    ///
    /// # Errors
    /// [`Error::Unfit`] where a column is missing,
    /// [`Error::Cell`] for a cell that its column does not
    /// allow.
    pub fn encode(&self, rows: &Rows, purpose: Purpose) -> Result<Batch> {
        encode::encode(self, rows, purpose, None)
    }

    /// Writes `schema.toml`, `features.json` (statistics), `profile.json` (what the
    /// training rows were like),
    /// `vocabulary/<table>.parquet` (token, count; the order gives the ids) and
    /// `rate/<field>.parquet` (key columns, rows, and per task positives and
    /// missing labels) into an existing directory, which whoever made it forces to the disk.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Unfit`]
    /// where a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<()> {
        save::save(self, directory)
    }

    /// Reads what [`Features::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Artifact`] or
    /// [`Error::File`] naming the file that is missing or
    /// damaged.
    pub fn load(directory: &Path) -> Result<Features> {
        save::load(directory)
    }

    /// The known values of a table with their rows: those of a vocabulary most
    /// frequent first, buckets by number. `None` for a table of numbers.
    pub(crate) fn values(&self, table: usize) -> Option<Box<dyn Iterator<Item = (u32, Value<'_>)> + '_>> {
        Some(match &self.tables[table] {
            Lookup::Vocabulary(known) => Box::new((KNOWN..).zip(known.tokens.iter().map(Value::Token))),
            Lookup::Hashed { buckets } => {
                Box::new((0..*buckets).map(|bucket| (KNOWN + bucket, Value::Bucket { bucket, of: *buckets })))
            }
            Lookup::Quantile { .. } => return None,
        })
    }

    /// The row of a value, if the table knows it.
    pub(crate) fn row(&self, table: usize, value: Value<'_>) -> Option<u32> {
        match (&self.tables[table], value) {
            (Lookup::Vocabulary(known), Value::Token(token)) => known.tokens.find(token).map(|number| KNOWN + number),
            (Lookup::Hashed { buckets }, Value::Bucket { bucket, of }) => (of == *buckets).then_some(KNOWN + bucket),
            _ => None,
        }
    }

    /// How each field is encoded, for those who encode it elsewhere.
    pub(crate) fn encodings(&self) -> impl Iterator<Item = FieldEncoding<'_>> {
        encoding::encodings(self)
    }

    /// How the text of columns is read, if it is.
    pub fn reading(&self) -> Option<&Reading> {
        self.reading.as_deref()
    }

    /// What was learned, for people.
    pub fn summary(&self) -> Summary {
        summary::summary(self)
    }

    /// Puts together what was learned or loaded. The error says what is
    /// missing or impossible.
    fn assemble(schema: Schema, mut learned: Learned) -> Result<Features, String> {
        let mut layout =
            Layout { tasks: schema.tasks.iter().map(|task| task.name.clone()).collect(), ..Layout::default() };
        let (mut tables, mut encoders) = (Vec::new(), Vec::new());
        for field in &schema.fields {
            let missing = |what: &str| format!("field `{}`: its {what} is missing", field.name);
            let mut embed = |lookup: Option<Lookup>, width: Option<usize>, pooling: Pooling| -> Result<usize, String> {
                let name = table_name(field);
                let table = match layout.tables.iter().position(|table| table.name == name) {
                    Some(table) => table,
                    None => {
                        let lookup = lookup.ok_or_else(|| missing("vocabulary"))?;
                        if u32::try_from(lookup.rows()).is_err() {
                            return Err(format!("field `{}`: more than {} `buckets`", field.name, u32::MAX - KNOWN));
                        }
                        let width = width.unwrap_or(schema.width);
                        layout.tables.push(Table { name: name.into(), rows: lookup.rows(), width });
                        tables.push(lookup);
                        tables.len() - 1
                    }
                };
                let (name, side, role) = (field.name.clone(), field.side, field.role);
                layout.embedded.push(Embedded { name, table, pooling, side, role });
                Ok(table)
            };
            let mut categorical = |categorical: &Categorical, pooling: Pooling| {
                let lookup = match categorical.encoding {
                    Encoding::Vocabulary { .. } => {
                        learned.vocabularies.remove(table_name(field)).map(Lookup::Vocabulary)
                    }
                    Encoding::Hashed { buckets } => Some(Lookup::Hashed { buckets }),
                };
                embed(lookup, categorical.width, pooling)
            };
            let encoder = match &field.kind {
                FieldKind::Categorical(kind) => Encoder::Token {
                    table: categorical(kind, Pooling::default())?,
                    rates: learned.rates.remove(&field.name).map(Box::new),
                },
                FieldKind::Multi(multi) => Encoder::Tokens {
                    table: categorical(&multi.categorical, multi.pooling)?,
                    separator: multi.separator.clone(),
                },
                FieldKind::Numeric(transform) => {
                    let mut scale = || -> Result<Scale, String> {
                        let scale = learned.statistics.scales.remove(&field.name).ok_or_else(|| missing("scale"))?;
                        scale.check().map_err(|problem| format!("field `{}`: {problem}", field.name))?;
                        Ok(scale)
                    };
                    let number = match transform {
                        Transform::None => Some((false, None)),
                        Transform::Standard | Transform::Binned(_) => Some((false, Some(scale()?))),
                        Transform::Log1p => Some((true, Some(scale()?))),
                        Transform::Quantile(_) => None,
                    };
                    let indicator = learned.statistics.missing.remove(&field.name);
                    let number = number.map(|(log, scale)| Number { log, scale, indicator });
                    let table = match transform {
                        Transform::Quantile(buckets) | Transform::Binned(buckets) => {
                            let cuts =
                                learned.statistics.cuts.remove(&field.name).ok_or_else(|| missing("list of cuts"))?;
                            if !cuts.is_sorted_by(|a, b| a < b) {
                                return Err(format!("field `{}`: its cuts do not ascend", field.name));
                            }
                            let cuts = cuts.into_iter().map(numeric::as_said).collect();
                            Some(embed(Some(Lookup::Quantile { cuts }), buckets.width, Pooling::default())?)
                        }
                        _ => None,
                    };
                    match (table, number) {
                        (Some(table), Some(number)) => Encoder::Binned { table, number },
                        (Some(table), None) => Encoder::Bucket { table },
                        (None, number) => {
                            Encoder::Number(number.unwrap_or(Number { log: false, scale: None, indicator }))
                        }
                    }
                }
                FieldKind::Rate(_) => Encoder::Rates(Box::new(
                    learned.rates.remove(&field.name).ok_or_else(|| missing("table of rates"))?,
                )),
            };
            let width = match &encoder {
                Encoder::Number(number) | Encoder::Binned { number, .. } => number.width(),
                _ => encoder.rates().map_or(0, Rates::width),
            };
            if width > 0 {
                layout.dense.push(Dense { name: field.name.clone(), width, side: field.side, role: field.role });
            }
            encoders.push(encoder);
        }
        layout.scenarios = match schema.scenario {
            Some(_) => {
                std::iter::once(OTHER.to_string()).chain(learned.scenarios.iter().map(|(token, _)| token)).collect()
            }
            None => vec![ALL.into()],
        };
        let Statistics { rows, warnings, columns, .. } = learned.statistics;
        layout.other_is_empty = learned.scenarios.iter().map(|(_, rows)| rows).sum::<u64>() == rows;
        let reading = columns.map(|columns| Arc::new(Reading { null: schema.null.clone(), columns }));
        Ok(Features {
            schema,
            layout,
            tables,
            encoders,
            scenarios: learned.scenarios,
            rows,
            warnings,
            reading,
            profile: None,
        })
    }
}
