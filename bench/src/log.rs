//! The log of the step workload.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use crosstie::arrow::array::{ArrayRef, Int8Array, Int32Array, RecordBatch};
use crosstie::arrow::datatypes::{DataType, Field, Schema};
use crosstie::data::Writer;
use crosstie::random::Stream;
use serde_json::{Value, json};

use crate::workload::{SCENARIOS, VOCABULARIES, field_name, scenario_column};

/// Rows generated and written at a time.
const PIECE: u64 = 1 << 16;

#[derive(Args)]
pub struct Log {
    /// Directory for train.parquet, test.parquet and values.parquet.
    #[arg(long)]
    out: PathBuf,
    /// Rows to train on; a tenth as many to test on.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
}

impl Log {
    pub fn run(&self) -> Result<Value> {
        std::fs::create_dir_all(&self.out)?;
        write(&self.out.join("train.parquet"), 0..self.rows, drawn)?;
        write(&self.out.join("test.parquet"), self.rows..self.rows + self.rows / 10, drawn)?;
        // Every value of every field, so that tables have all their rows. For the
        // vocabularies alone; nothing learns from these rows.
        let values = VOCABULARIES.into_iter().max().unwrap_or(0).into();
        write(&self.out.join("values.parquet"), 0..values, in_turn)?;
        Ok(json!({ "rows": self.rows }))
    }
}

/// The id of a field, which has so many, in a row.
type Id = fn(row: u64, field: usize, vocabulary: u32) -> u32;

fn drawn(row: u64, field: usize, vocabulary: u32) -> u32 {
    zipf(vocabulary, Stream::new(7, "row").part(row).uniform(field as u64))
}

fn in_turn(row: u64, _: usize, vocabulary: u32) -> u32 {
    (row % u64::from(vocabulary)) as u32
}

fn write(path: &Path, rows: std::ops::Range<u64>, id: Id) -> Result<()> {
    let ids = (0..VOCABULARIES.len()).map(|field| Field::new(field_name(field), DataType::Int32, false));
    let scenarios = SCENARIOS.iter().map(|count| Field::new(scenario_column(*count), DataType::Int8, false));
    let labels = ["click", "like", "cart", "buy"].map(|label| Field::new(label, DataType::Int8, true));
    let schema = Arc::new(Schema::new(ids.chain(scenarios).chain(labels).collect::<Vec<_>>()));
    let mut writer = Writer::create(path, schema.clone())?;
    let mut first = rows.start;
    while first < rows.end {
        let piece = first..rows.end.min(first + PIECE);
        first = piece.end;
        writer.write(&RecordBatch::try_new(schema.clone(), columns(piece, id))?)?;
    }
    Ok(writer.finish()?)
}

fn columns(rows: std::ops::Range<u64>, id: Id) -> Vec<ArrayRef> {
    let mut ids = vec![Vec::new(); VOCABULARIES.len()];
    let mut scenarios = vec![Vec::new(); SCENARIOS.len()];
    let mut labels: [Vec<Option<i8>>; 4] = Default::default();
    for row in rows {
        let draws = Stream::new(7, "row").part(row);
        for (field, (vocabulary, ids)) in VOCABULARIES.iter().zip(&mut ids).enumerate() {
            ids.push(id(row, field, *vocabulary) as i32);
        }
        for (index, (count, column)) in SCENARIOS.iter().zip(&mut scenarios).enumerate() {
            column.push(zipf(*count, draws.uniform(100 + index as u64)) as i8);
        }
        let effect = |task: u64| {
            let effects = ids.iter().enumerate().map(|(field, ids)| hidden(field, *ids.last().expect("a row"), task));
            0.8 * effects.sum::<f64>()
        };
        let happens = |task: u64, shift: f64| draws.uniform(200 + task) < 1.0 / (1.0 + (shift - effect(task)).exp());
        let (click, like) = (happens(0, 0.0), happens(1, 1.0));
        let cart = click.then(|| happens(2, 1.0));
        let buy = cart.filter(|cart| *cart).map(|_| happens(3, 1.0));
        for (column, label) in labels.iter_mut().zip([Some(click), Some(like), cart, buy]) {
            column.push(label.map(i8::from));
        }
    }
    let ids = ids.into_iter().map(|ids| Arc::new(Int32Array::from(ids)) as ArrayRef);
    let scenarios = scenarios.into_iter().map(|column| Arc::new(Int8Array::from(column)) as ArrayRef);
    let labels = labels.into_iter().map(|column| Arc::new(Int8Array::from(column)) as ArrayRef);
    ids.chain(scenarios).chain(labels).collect()
}

/// A number below `count`, small ones more often: about as 1 / (1 + number).
fn zipf(count: u32, uniform: f64) -> u32 {
    let drawn = (f64::from(count) + 1.0).powf(uniform) - 1.0;
    (drawn as u32).min(count - 1)
}

/// What one id adds to the logit of one task, from -1 to 1.
fn hidden(field: usize, id: i32, task: u64) -> f64 {
    2.0 * Stream::new(task, "effect").part(field as u64).uniform(id as u64) - 1.0
}
