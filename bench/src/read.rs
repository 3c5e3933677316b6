//! Reading and encoding a log, without training.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use crosstie::feature::Features;
use crosstie::schema::Schema;
use serde_json::{Value, json};

use crate::workload::{PIECE, open};

#[derive(Args)]
pub struct Read {
    /// Directory with schema.toml and train.parquet, or of another format.
    #[arg(long)]
    data: PathBuf,
    /// The file's extension.
    #[arg(long, default_value = "parquet")]
    format: String,
}

impl Read {
    /// What a training of one epoch reads: once to learn the features, once to
    /// encode every row, on one thread; and how much of that is reading the files.
    pub fn run(&self) -> Result<Value> {
        let schema = Schema::read(self.data.join("schema.toml"))?;
        let source = open(&[&self.data.join(format!("train.{}", self.format))])?;
        let start = Instant::now();
        let features = Features::learn(&schema, &source)?;
        let learn = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut rows = 0;
        for piece in source.rows(&features.columns(), PIECE) {
            rows += features.encode(&piece?)?.rows;
        }
        let encode = start.elapsed().as_secs_f64();
        let start = Instant::now();
        for piece in source.rows(&features.columns(), PIECE) {
            piece?;
        }
        let decode = start.elapsed().as_secs_f64();
        Ok(json!({
            "format": self.format, "rows": rows, "learn_s": learn, "encode_s": encode, "seconds": learn + encode,
            "decode_s": decode,
        }))
    }
}
