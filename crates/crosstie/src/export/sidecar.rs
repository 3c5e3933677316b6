//! What stands beside the model: how rows become its inputs and what its outputs mean.

use indexmap::IndexMap;
use serde::Serialize;

use super::onnx::{self, Length};
use crate::data::Cells;
use crate::feature::{KNOWN, MISSING, Number, RateEncoding, Scale, UNKNOWN};

/// Version of this file's form.
pub const FORMAT: u32 = 1;
/// The folder of the values of vocabularies.
pub const VOCABULARY: &str = "vocabulary";
/// The folder of rates.
pub const RATE: &str = "rate";

/// `model.json`.
#[derive(Debug, Serialize)]
pub struct Sidecar {
    pub format: u32,
    /// Version of crosstie that exported the model.
    pub crosstie: String,
    pub onnx: Versions,
    /// Name of the model.
    pub model: String,
    /// `ids` or `raw`.
    pub form: super::Inputs,
    /// Number of rows that it was trained on.
    pub training_rows: u64,
    /// What the numbers of the model are, and what they were multiplied as in training.
    pub precision: Precision,
    /// The file of the weights, where they do not lie in the model itself.
    pub external_data: Option<String>,
    /// Texts that mean, in every column, that nothing is there; so does no text at all.
    pub null: Vec<String>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    pub tasks: Vec<Task>,
    /// What each logit of the network means.
    pub heads: Vec<String>,
    pub scenarios: Vec<String>,
    /// Whether the probabilities are calibrated; then the maps are in the model.
    pub calibrated: bool,
    /// Probabilities that are no outputs, and why.
    pub left_out: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Versions {
    pub ir: i64,
    pub opset: i64,
    /// Of the domain `ai.onnx.ml`, which the form `raw` uses.
    pub ml: i64,
}

#[derive(Debug, Serialize)]
pub struct Precision {
    pub exported: &'static str,
    pub trained: &'static str,
}

/// One input of the model.
#[derive(Debug, Serialize)]
pub struct Input {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Lengths of its axes; a name stands for any length.
    pub shape: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The column of the log that it is read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What the column's cells hold: text as it stands, numbers without an empty
    /// fraction, times in ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cells: Option<Cells>,
    /// What parts the values in a cell of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_of_table: Option<usize>,
    pub encoding: Encoding,
    #[serde(skip)]
    pub axes: Vec<Length>,
}

impl Input {
    pub fn new(name: &str, kind: i32, axes: &[Length]) -> Input {
        let length = |axis: &Length| match axis {
            Length::Fixed(length) => (*length).into(),
            Length::Named(name) => name.clone().into(),
        };
        Input {
            name: name.into(),
            kind: match kind {
                onnx::FLOAT => "float32",
                onnx::INT64 => "int64",
                onnx::DOUBLE => "float64",
                _ => "string",
            },
            shape: axes.iter().map(length).collect(),
            field: None,
            column: None,
            cells: None,
            separator: None,
            rows_of_table: None,
            encoding: Encoding::AsItStands,
            axes: axes.to_vec(),
        }
    }
}

/// How a cell becomes what the input holds.
#[derive(Debug, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Encoding {
    /// The text, empty where missing; the number, NaN where missing.
    AsItStands,
    /// Its row, by a table of texts.
    Vocabulary { file: String, values: usize, unknown: u32, missing: u32 },
    /// `first + XXH3-64(text) mod buckets`.
    #[serde(rename = "xxh3-64")]
    Hash { buckets: u32, bits: f64, seed: u64, first: u32, missing: u32 },
    /// `first +` the number of cut points that are not above the number.
    Cuts { cuts: Vec<f64>, first: u32, missing: u32 },
    /// The number: perhaps sign(x)·ln(1 + |x|), then within the range, less the mean, by
    /// the standard deviation; 0 where missing. Perhaps after it 1 where it is missing, else 0.
    Number { log1p: bool, scale: Option<Scale>, tells_missing: bool },
    /// The numbers of a key, by a table of texts.
    Rates { key: Vec<String>, file: String, keys: usize, columns: Vec<String>, unseen: Vec<f32> },
    /// Its place among these; the first where it is none of the others.
    Scenarios { values: IndexMap<String, usize>, unknown: u32 },
}

impl Encoding {
    pub fn vocabulary(table: &str, values: usize) -> Encoding {
        Encoding::Vocabulary { file: vocabulary_file(table), values, unknown: UNKNOWN, missing: MISSING }
    }

    pub fn hash(buckets: u32) -> Encoding {
        Encoding::Hash { buckets, bits: f64::from(buckets).log2(), seed: 0, first: KNOWN, missing: MISSING }
    }

    pub fn cuts(cuts: &[f64]) -> Encoding {
        Encoding::Cuts { cuts: cuts.to_vec(), first: KNOWN, missing: MISSING }
    }

    pub fn number(Number { log, scale, indicator }: Number) -> Encoding {
        Encoding::Number { log1p: log, scale, tells_missing: indicator }
    }

    pub fn rates(field: &str, rates: &RateEncoding<'_>, tasks: &[String]) -> Encoding {
        let rows = rates.count().then(|| "rows".to_string());
        let keys = rates.keys().len();
        Encoding::Rates {
            key: rates.key.clone(),
            file: rate_file(field),
            keys,
            columns: tasks.iter().cloned().chain(rows).collect(),
            unseen: rates.values()[keys * rates.width()..].to_vec(),
        }
    }

    /// Of the names of all scenarios.
    pub fn scenario(names: &[String]) -> Encoding {
        let values = names.iter().cloned().zip(0..).skip(1).collect();
        Encoding::Scenarios { values, unknown: 0 }
    }
}

/// The file of a vocabulary.
pub fn vocabulary_file(table: &str) -> String {
    format!("{VOCABULARY}/{table}.csv")
}

/// The file of the rates of a field.
pub fn rate_file(field: &str) -> String {
    format!("{RATE}/{field}.csv")
}

/// One output of the model.
#[derive(Debug, Serialize)]
pub struct Output {
    pub name: String,
    pub task: String,
    pub means: String,
}

/// One task.
#[derive(Debug, Serialize)]
pub struct Task {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Whether it also happens without its parent.
    pub direct: bool,
}
