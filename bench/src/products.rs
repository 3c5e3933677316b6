//! A training step of MMoE beside its matrix products alone, in the same crate.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use crosstie::compute::{CHUNK, Matrix, MatrixMut, by_vectors};
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
        let config = Model::Mmoe.config(self.batch, self.threads, "float32")?;
        let mut trainer = Trainer::new(&config, encoded.features.schema(), encoded.features.layout())?;
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

    /// Forward, gradient of the input, gradient of the weights. `product` is
    /// the crate's own, behind one function; none of these sums is so long that
    /// it would be cut.
    fn passes(&mut self, weights: &[f32], (groups, inputs, outputs): (usize, usize, usize), rows: usize) {
        let (wide_in, wide_out) = (groups * inputs, groups * outputs);
        for group in 0..groups {
            let (from, to, at) = (group * inputs, group * outputs, group * inputs * outputs);
            let weights = Matrix::new(&weights[at..], inputs, outputs, outputs);
            let input = Matrix::new(&self.input[from..], rows, inputs, wide_in);
            by_vectors(&mut MatrixMut::new(&mut self.output[to..], rows, outputs, wide_out), false, input, weights);
            let output = Matrix::new(&self.output[to..], rows, outputs, wide_out);
            let into = &mut self.input_gradient[from..];
            by_vectors(&mut MatrixMut::new(into, rows, inputs, wide_in), false, output, weights.transposed());
            let into = &mut self.weight_gradient[at..];
            by_vectors(&mut MatrixMut::new(into, inputs, outputs, outputs), false, input.transposed(), output);
        }
    }
}
