//! One user, some candidates, on one thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use crosstie::arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch};
use crosstie::arrow::datatypes::Int32Type;
use crosstie::batch::{Batch, Ids};
use crosstie::compute::Threads;
use crosstie::data::Rows;
use crosstie::feature::{Features, Purpose};
use crosstie::learned::Scores;
use crosstie::scorer::Scorer;
use serde_json::{Value, json};

use crate::step::percentile;
use crate::workload::{self, Model, USER_FIELDS};

/// Different requests, which take turns.
const DIFFERENT: usize = 50;

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
    /// Begin with rows of data, not with encoded ones.
    #[arg(long)]
    cells: bool,
    /// How exact products are: float32 or bfloat16.
    #[arg(long, default_value = "float32")]
    products: String,
}

impl Request {
    pub fn run(&self) -> Result<Value> {
        let schema = Model::Mmoe.schema(1, None)?;
        let encoded = workload::encode(&self.data, &schema, self.candidates * DIFFERENT, self.candidates)?;
        let config = Model::Mmoe.config(self.candidates, 1, &self.products)?;
        let learned = config.spec().start(encoded.features.schema(), encoded.features.layout())?;
        let scorer = Scorer::new(config.spec(), encoded.features, learned);
        let mut workspace = scorer.workspace(self.candidates).on(Threads::Inline);
        let times = if self.cells {
            let requests = self.of_cells(scorer.features())?;
            self.time(&requests, |rows| scorer.score_rows(&mut workspace, rows))?
        } else {
            let requests: Vec<Batch> = encoded.batches.into_iter().map(|batch| self.of_users(batch)).collect();
            self.time(&requests, |batch| scorer.score(&mut workspace, batch))?
        };
        Ok(json!({
            "candidates": self.candidates,
            "one_user": !self.many_users,
            "from": if self.cells { "cells" } else { "ids" },
            "threads": 1,
            "request_ms": { "p50": percentile(&times, 0.5), "p99": percentile(&times, 0.99) },
        }))
    }

    /// Milliseconds of each counted request.
    fn time<T>(&self, requests: &[T], mut score: impl FnMut(&T) -> crosstie::Result<Scores>) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(self.requests);
        for (index, request) in requests.iter().cycle().take(WARM_UP + self.requests).enumerate() {
            let start = Instant::now();
            std::hint::black_box(score(request)?);
            if index >= WARM_UP {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        Ok(times)
    }

    /// An encoded request: of one user, if nobody wants many.
    fn of_users(&self, mut batch: Batch) -> Batch {
        batch.labels.clear();
        if !self.many_users {
            for ids in &mut batch.ids[..USER_FIELDS] {
                *ids = Ids::One(vec![ids.row(0)[0]; batch.rows]);
            }
        }
        batch
    }

    /// Requests as rows of data.
    fn of_cells(&self, features: &Features) -> Result<Vec<Rows>> {
        let source = workload::open(&[&self.data.join("train.parquet")])?;
        let columns = features.columns(Purpose::Scoring);
        let mut requests = Vec::new();
        for rows in source.rows(&columns, self.candidates).take(DIFFERENT) {
            let rows = rows?;
            let mut columns = rows.batch.columns().to_vec();
            if !self.many_users {
                for column in &mut columns[..USER_FIELDS] {
                    let user = column.as_primitive::<Int32Type>().value(0);
                    *column = Arc::new(Int32Array::from(vec![user; rows.len()])) as ArrayRef;
                }
            }
            requests.push(Rows::new(RecordBatch::try_new(rows.batch.schema(), columns)?, "request"));
        }
        Ok(requests)
    }
}
