//! Training steps with one table of a given size.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use crosstie::batch::Ids;
use crosstie::random::Stream;
use serde_json::{Value, json};

use crate::memory::peak_mib;
use crate::step::train;
use crate::workload::{self, Model};

/// Distinct rows of the table that each batch of 4096 sees.
const DISTINCT: usize = 2048;
const BATCH: usize = 4096;
const STEPS: usize = 60;

#[derive(Args)]
pub struct Table {
    /// Where `log` wrote.
    #[arg(long)]
    data: PathBuf,
    /// The model.
    #[arg(long, value_enum, default_value_t = Model::Mmoe)]
    model: Model,
    /// Rows of the table.
    #[arg(long)]
    rows: u32,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

impl Table {
    pub fn run(&self) -> Result<Value> {
        let schema = self.model.schema(1, Some(self.rows))?;
        let mut encoded = workload::encode(&self.data, &schema, STEPS * BATCH, BATCH)?;
        // Rows 0 and 1 are for values unknown and missing.
        let place = u64::from(self.rows / DISTINCT as u32);
        for (step, batch) in encoded.batches.iter_mut().enumerate() {
            let draws = Stream::new(3, "table").part(step as u64);
            let spread = |row: usize| {
                let index = (row % DISTINCT) as u64;
                2 + (index * place + (draws.uniform(index) * place as f64) as u64) as u32
            };
            batch.ids[0] = Ids::One((0..batch.rows).map(spread).collect());
        }
        let config = self.model.config(BATCH, self.threads, "float32")?;
        // The first time that a row moves, the system hands out the memory of its
        // moments; every step after that is as the second pass.
        let twice = encoded.batches.iter().chain(&encoded.batches);
        let (_, times) = train(&config, &encoded.features, twice)?;
        let (first, second) = times.split(STEPS);
        Ok(json!({
            "table_rows": self.rows,
            "distinct": DISTINCT,
            "threads": self.threads,
            "median_step_ms": second.median() * 1e3,
            "first_pass_ms": first.median() * 1e3,
            "peak_mib": peak_mib(),
        }))
    }
}
