//! A training step of MMoE beside its matrix products alone, by the same vector
//! kernel; and each of these products by itself.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use crosstie::compute::{CHUNK, Line, Matrix, MatrixMut, Right, by_vectors, laid_for_vectors, vector_kernel};
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

/// A layer's products.
#[derive(Clone, Copy, Debug)]
enum Pass {
    Forward,
    /// The gradient of the input.
    Inputs,
    /// The gradient of the weights.
    Weights,
}

const PASSES: [Pass; 3] = [Pass::Forward, Pass::Inputs, Pass::Weights];

/// The weights of one layer.
struct Weights {
    numbers: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

/// A group's weights, and transposed.
type Sides<'a> = [Right<'a>; 2];

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
        let weights = LAYERS.map(Weights::new);
        let mut lines = LAYERS.map(|(groups, ..)| vec![[Vec::new(), Vec::new()]; groups]);
        let laid: Vec<Vec<Sides<'_>>> =
            weights.iter().zip(&mut lines).map(|(weights, lines)| weights.lay_out(lines)).collect();
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
                    for ((layer, weights), shape) in layers.iter_mut().zip(&laid).zip(LAYERS) {
                        PASSES.into_iter().for_each(|pass| layer.pass(pass, weights, shape, rows));
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
        let shapes: Vec<Value> = (LAYERS.iter().zip(&laid).enumerate())
            .flat_map(|(index, (shape, weights))| PASSES.map(|pass| (index, *shape, weights, pass)))
            .map(|(index, shape, weights, pass)| {
                let gflop = 2e-9 * (shape.0 * shape.1 * shape.2 * rows * chunks) as f64;
                let mut times = || {
                    let start = Instant::now();
                    state.iter_mut().for_each(|layers| layers[index].pass(pass, weights, shape, rows));
                    start.elapsed().as_secs_f64()
                };
                let best = (0..20).map(|_| times()).fold(f64::INFINITY, f64::min);
                json!({ "shape": [rows, shape.0, shape.1, shape.2], "pass": format!("{pass:?}"), "gflop_per_s": gflop / best })
            })
            .collect();
        Ok(json!({
            "kernel": vector_kernel(),
            "shapes_on_one_thread": shapes,
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

    fn pass(
        &mut self,
        pass: Pass,
        weights: &[Sides<'_>],
        (groups, inputs, outputs): (usize, usize, usize),
        rows: usize,
    ) {
        let (wide_in, wide_out) = (groups * inputs, groups * outputs);
        for (group, [forward, backward]) in weights.iter().enumerate() {
            let (from, to, at) = (group * inputs, group * outputs, group * inputs * outputs);
            match pass {
                Pass::Forward => {
                    let input = Matrix::new(&self.input[from..], rows, inputs, wide_in);
                    let into = &mut MatrixMut::new(&mut self.output[to..], rows, outputs, wide_out);
                    by_vectors(into, false, input, *forward);
                }
                Pass::Inputs => {
                    let output = Matrix::new(&self.output[to..], rows, outputs, wide_out);
                    let into = &mut MatrixMut::new(&mut self.input_gradient[from..], rows, inputs, wide_in);
                    by_vectors(into, false, output, *backward);
                }
                Pass::Weights => {
                    let input = Matrix::new(&self.input[from..], rows, inputs, wide_in).transposed();
                    let output = Matrix::new(&self.output[to..], rows, outputs, wide_out);
                    let into = &mut MatrixMut::new(&mut self.weight_gradient[at..], inputs, outputs, outputs);
                    by_vectors(into, false, input, output);
                }
            }
        }
    }
}

impl Weights {
    fn new((groups, inputs, outputs): (usize, usize, usize)) -> Weights {
        Weights { numbers: vec![0.01; groups * inputs * outputs], inputs, outputs }
    }

    /// As a step does it once.
    fn lay_out<'a>(&'a self, lines: &'a mut [[Vec<Line>; 2]]) -> Vec<Sides<'a>> {
        let groups = self.numbers.chunks_exact(self.inputs * self.outputs).zip(lines);
        groups
            .map(|(numbers, [forward, backward])| {
                let weights = Matrix::new(numbers, self.inputs, self.outputs, self.outputs);
                [laid_for_vectors(weights, forward), laid_for_vectors(weights.transposed(), backward)]
            })
            .collect()
    }
}
