//! Training steps on batches in memory.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use crosstie::batch::Batch;
use crosstie::config::Config;
use crosstie::feature::Features;
use crosstie::learned::Learned;
use crosstie::scorer::Scorer;
use crosstie::train::Trainer;
use serde_json::{Value, json};

use crate::memory::peak_mib;
use crate::workload::{self, Model};

/// Steps that are not counted.
const WARM_UP: usize = 5;

#[derive(Args)]
pub struct Step {
    /// Where `log` wrote.
    #[arg(long)]
    data: PathBuf,
    /// The model.
    #[arg(long, value_enum, default_value_t = Model::Mmoe)]
    model: Model,
    /// Rows of a batch.
    #[arg(long, default_value_t = 4096)]
    batch: usize,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Training rows, each seen once.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Number of scenarios: 1, 6 or 50.
    #[arg(long, default_value_t = 1)]
    scenarios: u32,
    /// How exact products are: float32 or bfloat16.
    #[arg(long, default_value = "float32")]
    products: String,
}

impl Step {
    pub fn run(&self) -> Result<Value> {
        let schema = self.model.schema(self.scenarios, None)?;
        let encoded = workload::encode(&self.data, &schema, self.rows, self.batch)?;
        let config = self.model.config(self.batch, self.threads, &self.products)?;
        let (learned, times) = train(&config, &encoded.features, encoded.batches.iter())?;
        let (parameters, table_weights) = workload::sizes(&learned);
        let scorer = Scorer::new(config.spec(), encoded.features, learned);
        let test = workload::open(&[&self.data.join("test.parquet")])?;
        let report = scorer.evaluate(&test)?;
        let figure = |name: &str| -> Result<Value> {
            let of = |task: &String| Ok((task.clone(), json!(report.figure(&format!("{task}.{name}"))?)));
            Ok(Value::Object(scorer.tasks().iter().map(of).collect::<Result<_>>()?))
        };
        Ok(json!({
            "batch": self.batch,
            "threads": self.threads,
            "scenarios": self.scenarios,
            "rows": self.rows,
            "rows_per_s": times.rows_per_second(self.batch),
            "median_step_ms": times.median() * 1e3,
            "parameters": parameters,
            "table_weights": table_weights,
            "auc": figure("auc")?,
            "log_loss": figure("logloss")?,
            "peak_mib": peak_mib(),
        }))
    }
}

/// Seconds of each counted step.
pub struct Times(Vec<f64>);

impl Times {
    pub fn rows_per_second(&self, batch: usize) -> f64 {
        (self.0.len() * batch) as f64 / self.0.iter().sum::<f64>()
    }

    pub fn median(&self) -> f64 {
        percentile(&self.0, 0.5)
    }

    /// Those of the first `steps` steps, and the others.
    pub fn split(self, steps: usize) -> (Times, Times) {
        let (first, others) = self.0.split_at(steps - WARM_UP);
        (Times(first.to_vec()), Times(others.to_vec()))
    }
}

/// Learns from every batch in turn.
pub fn train<'a>(
    config: &Config,
    features: &Features,
    batches: impl Iterator<Item = &'a Batch> + Send,
) -> Result<(Learned, Times)> {
    let mut trainer = Trainer::new(config, features.schema(), features.layout())?;
    let mut times = Vec::new();
    pool(config.train.threads)?.install(|| -> Result<()> {
        for (index, batch) in batches.enumerate() {
            let start = Instant::now();
            trainer.step(1, batch)?;
            if index >= WARM_UP {
                times.push(start.elapsed().as_secs_f64());
            }
        }
        Ok(())
    })?;
    Ok((trainer.into_learned(), Times(times)))
}

pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?)
}

/// The value below which the share `at` of the values lies.
pub fn percentile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(((sorted.len().max(1) - 1) as f64 * at).round() as usize).copied().unwrap_or(f64::NAN)
}
