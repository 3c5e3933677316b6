//! One user, many candidates.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use crosstie::batch::Ids;
use crosstie::scorer::Scorer;
use serde_json::{Value, json};

use crate::step::{percentile, pool};
use crate::workload::{self, Model, USER_FIELDS};

/// Requests that are not counted.
const WARM_UP: usize = 20;

#[derive(Args)]
pub struct Request {
    /// Where `log` wrote.
    #[arg(long)]
    data: PathBuf,
    /// Candidates of a request.
    #[arg(long, default_value_t = 200)]
    candidates: usize,
    /// Counted requests.
    #[arg(long, default_value_t = 2000)]
    requests: usize,
    /// Let every candidate have a user of its own, to compare.
    #[arg(long)]
    many_users: bool,
    /// How exact products are: float32 or bfloat16.
    #[arg(long, default_value = "float32")]
    products: String,
}

impl Request {
    pub fn run(&self) -> Result<Value> {
        let schema = Model::Mmoe.schema(1, None)?;
        let rows = self.candidates * 50;
        let mut encoded = workload::encode(&self.data, &schema, rows, self.candidates)?;
        for batch in &mut encoded.batches {
            batch.labels.clear();
            if !self.many_users {
                for ids in &mut batch.ids[..USER_FIELDS] {
                    *ids = Ids::One(vec![ids.row(0)[0]; batch.rows]);
                }
            }
        }
        let config = Model::Mmoe.config(self.candidates, 1, &self.products)?;
        let learned = config.spec().start(encoded.features.schema(), encoded.features.layout())?;
        let scorer = Scorer::new(config.spec(), encoded.features, learned);
        let mut times = Vec::new();
        pool(1)?.install(|| -> Result<()> {
            let mut workspace = scorer.workspace(self.candidates);
            for (index, batch) in encoded.batches.iter().cycle().take(WARM_UP + self.requests).enumerate() {
                let start = Instant::now();
                std::hint::black_box(scorer.score(&mut workspace, batch)?);
                if index >= WARM_UP {
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                }
            }
            Ok(())
        })?;
        Ok(json!({
            "candidates": self.candidates,
            "one_user": !self.many_users,
            "threads": 1,
            "request_ms": { "p50": percentile(&times, 0.5), "p99": percentile(&times, 0.99) },
        }))
    }
}
