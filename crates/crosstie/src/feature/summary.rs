//! What was learned, for people to read.

use super::{Encoder, Features, Lookup, Number};
use crate::schema::{FieldKind, Side};

/// Most frequent values told per table.
const FREQUENT: usize = 10;

/// What was learned from the training files.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Number of training rows.
    pub rows: u64,
    /// Every field, in the order of the schema.
    pub fields: Vec<FieldSummary>,
    /// Scenarios that stand alone, with their training rows, most first.
    pub scenarios: Vec<(String, u64)>,
    /// See [`Features::warnings`].
    pub warnings: Vec<String>,
}

/// One field and what was learned about it.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSummary {
    /// The field's name.
    pub name: String,
    /// Its kind, as in `schema.toml`.
    pub kind: &'static str,
    /// Who or what it describes.
    pub side: Side,
    /// How its values become ids or numbers, in words.
    pub encoding: String,
    /// The embedding table it reads; `None` for a field that gives numbers.
    pub table: Option<String>,
    /// Rows of that table, unknown and missing included; for a rate, the
    /// number of distinct keys; else 0.
    pub size: usize,
    /// Width of the embedding, or number of columns.
    pub width: usize,
    /// The most frequent values of a vocabulary or keys of a rate, with their
    /// training rows. A vocabulary shared by several fields counts all of them.
    pub frequent: Vec<(String, u64)>,
}

pub(super) fn summary(features: &Features) -> Summary {
    let fields = features.schema.fields.iter().zip(&features.encoders).map(|(field, encoder)| {
        let kind = match field.kind {
            FieldKind::Categorical(_) => "categorical",
            FieldKind::Multi(_) => "multi",
            FieldKind::Numeric(_) => "numeric",
            FieldKind::Rate(_) => "rate",
        };
        let mut summary = FieldSummary {
            name: field.name.clone(),
            kind,
            side: field.side,
            encoding: String::new(),
            table: None,
            size: 0,
            width: 1,
            frequent: Vec::new(),
        };
        let table = match encoder {
            Encoder::Token { table, .. }
            | Encoder::Tokens { table, .. }
            | Encoder::Bucket { table }
            | Encoder::Binned { table, .. } => Some(*table),
            Encoder::Number(_) | Encoder::Rates(_) => None,
        };
        if let Some(table) = table {
            let shape = &features.layout.tables[table];
            summary.table = Some(shape.name.clone());
            (summary.size, summary.width) = (shape.rows, shape.width);
            summary.encoding = match &features.tables[table] {
                Lookup::Vocabulary(known) => {
                    summary.frequent = known.iter().take(FREQUENT).collect();
                    format!("vocabulary of {}", known.tokens.len())
                }
                Lookup::Hashed { buckets } => format!("hashed into {buckets}"),
                Lookup::Quantile { cuts } => format!("{} buckets", cuts.len() + 1),
            };
        }
        match encoder {
            Encoder::Number(number) => {
                summary.encoding = written(number);
                summary.width += usize::from(number.indicator);
            }
            Encoder::Binned { number, .. } => summary.encoding = format!("{}; {}", written(number), summary.encoding),
            Encoder::Rates(rates) => {
                (summary.size, summary.width) = (rates.keys.len(), rates.width());
                let count = if rates.smoothing.count() { " and ln(1 + rows)" } else { "" };
                summary.encoding = format!("log-odds of {} rates{count}", rates.totals.tasks);
                summary.frequent = rates.frequent(FREQUENT);
            }
            Encoder::Token { rates: Some(rates), .. } => {
                summary.encoding += &format!("; log-odds of {} rates", rates.totals.tasks);
            }
            Encoder::Token { .. } | Encoder::Tokens { .. } | Encoder::Bucket { .. } => {}
        }
        summary
    });
    Summary {
        rows: features.rows,
        fields: fields.collect(),
        scenarios: features.scenarios.iter().collect(),
        warnings: features.warnings.clone(),
    }
}

/// A number's formula.
fn written(&Number { log, scale, indicator }: &Number) -> String {
    let x = if log { "sign(x)·ln(1 + |x|)" } else { "x" };
    let formula = match scale {
        Some(scale) => format!("({x} - {:.6}) / {:.6}", scale.mean, scale.standard_deviation),
        None => x.into(),
    };
    if indicator { formula + "; whether it is missing" } else { formula }
}
