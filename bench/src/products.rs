//! A training step of MMoE beside its matrix products alone, in the same crate.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use crosstie::compute::CHUNK;
use crosstie::scorer::Scorer;
use crosstie::train::Trainer;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::step::{percentile, pool};
use crate::workload::{self, Model};

#[derive(Args)]
pub struct Products {
    /// Where `log` wrote.
    #[arg(long)]
    data: PathBuf,
    /// Rows of a batch.
    #[arg(long, default_value_t = 4096)]
    batch: usize,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Steps, each followed by its products.
    #[arg(long, default_value_t = 100)]
    steps: usize,
}

/// A layer: how many side by side, inputs, outputs.
const LAYERS: [(usize, usize, usize); 5] = [(1, 320, 8 * 256), (8, 256, 128), (1, 320, 16), (2, 128, 64), (2, 64, 1)];

/// A chunk's matrices of one layer.
struct Layer {
    input: Vec<f32>,
    output: Vec<f32>,
    input_gradient: Vec<f32>,
    weight_gradient: Vec<f32>,
}

impl Products {
    pub fn run(&self) -> Result<Value> {
        let schema = Model::Mmoe.schema(1, None)?;
        let encoded = workload::encode(&self.data, &schema, self.steps * self.batch, self.batch)?;
        let config = Model::Mmoe.config(self.batch, self.threads)?;
        let mut trainer = Trainer::new(Scorer::new(&config, encoded.features)?)?;
        let weights: Vec<Vec<f32>> =
            LAYERS.iter().map(|(groups, inputs, outputs)| vec![0.01; groups * inputs * outputs]).collect();
        let chunks = self.batch.div_ceil(CHUNK);
        let rows = self.batch / chunks;
        let mut state: Vec<Vec<Layer>> =
            (0..chunks).map(|_| LAYERS.map(|layer| Layer::new(layer, rows)).into()).collect();
        let (mut whole, mut alone, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        pool(self.threads)?.install(|| -> Result<()> {
            for batch in &encoded.batches {
                let start = Instant::now();
                trainer.step(1, batch)?;
                let step = start.elapsed().as_secs_f64();
                let start = Instant::now();
                state.par_iter_mut().with_max_len(1).for_each(|layers| {
                    for ((layer, weights), shape) in layers.iter_mut().zip(&weights).zip(LAYERS) {
                        layer.passes(weights, shape, rows);
                    }
                });
                let products = start.elapsed().as_secs_f64();
                whole.push(step);
                alone.push(products);
                shares.push(products / step);
            }
            Ok(())
        })?;
        let multiplications: usize = LAYERS.iter().map(|(groups, inputs, outputs)| groups * inputs * outputs * 3).sum();
        let median = percentile(&alone, 0.5);
        Ok(json!({
            "batch": self.batch,
            "threads": self.threads,
            "step_ms": percentile(&whole, 0.5) * 1e3,
            "products_ms": median * 1e3,
            "share": percentile(&shares, 0.5),
            "share_quartiles": [percentile(&shares, 0.25), percentile(&shares, 0.75)],
            "flop_per_row": 2 * multiplications,
            "products_gflop_per_s": 2e-9 * (multiplications * rows * chunks) as f64 / median,
        }))
    }
}

impl Layer {
    fn new((groups, inputs, outputs): (usize, usize, usize), rows: usize) -> Layer {
        Layer {
            input: vec![0.1; rows * groups * inputs],
            output: vec![0.1; rows * groups * outputs],
            input_gradient: vec![0.0; rows * groups * inputs],
            weight_gradient: vec![0.0; groups * inputs * outputs],
        }
    }

    /// Forward, gradient of the input, gradient of the weights.
    fn passes(&mut self, weights: &[f32], (groups, inputs, outputs): (usize, usize, usize), rows: usize) {
        let (wide_in, wide_out) = (groups * inputs, groups * outputs);
        for group in 0..groups {
            let (from, to, at) = (group * inputs, group * outputs, group * inputs * outputs);
            let weights = &weights[at..];
            product(
                (rows, outputs, inputs),
                &mut self.output[to..],
                wide_out,
                (&self.input[from..], wide_in, 1),
                (weights, outputs, 1),
            );
            product(
                (rows, inputs, outputs),
                &mut self.input_gradient[from..],
                wide_in,
                (&self.output[to..], wide_out, 1),
                (weights, 1, outputs),
            );
            let into = &mut self.weight_gradient[at..];
            product(
                (inputs, outputs, rows),
                into,
                outputs,
                (&self.input[from..], 1, wide_in),
                (&self.output[to..], wide_out, 1),
            );
        }
    }
}

/// A matrix: numbers, from row to row, from column to column.
type Matrix<'a> = (&'a [f32], usize, usize);

fn product((m, n, k): (usize, usize, usize), c: &mut [f32], stride: usize, a: Matrix<'_>, b: Matrix<'_>) {
    assert!(c.len() >= (m - 1) * stride + n);
    assert!(a.0.len() > (m - 1) * a.1 + (k - 1) * a.2 && b.0.len() > (k - 1) * b.1 + (n - 1) * b.2);
    // SAFETY: the views lie inside their slices, as asserted, and `c` is exclusive.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            stride as isize,
            false,
            a.0.as_ptr(),
            a.2 as isize,
            a.1 as isize,
            b.0.as_ptr(),
            b.2 as isize,
            b.1 as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
