//! Affine maps: one product, or several side by side.

use std::ops::Range;

use super::{Activation, BackwardPass, BatchView, ForwardPass, Job, Op};
use crate::compute::kernel::{self, vectorised};
use crate::compute::matmul::{Matrix, MatrixMut, product};

/// `y_g = f(x_g W_g + b_g)` for each of `groups` equal parts of the input.
///
/// With one group this is an ordinary layer; networks that read the same
/// input share it by putting their outputs side by side. With several groups
/// it is a layer of parallel networks. With `routed`, each scenario has
/// weights of its own and sees its own rows only.
///
/// # Shapes
/// x: rows × (groups · inputs); W: scenarios (1 unless routed) × groups ×
/// inputs × outputs; b: scenarios × (groups · outputs); y: rows × (groups ·
/// outputs).
#[derive(Clone, Debug)]
pub struct Linear {
    /// Number of parallel maps.
    pub groups: usize,
    /// Input width of each.
    pub inputs: usize,
    /// Output width of each.
    pub outputs: usize,
    /// f, applied to every output.
    pub activation: Activation,
    /// Whether parameter 1 is a bias.
    pub bias: bool,
    /// Whether every scenario has its own weights.
    pub routed: bool,
}

/// Columns of a weight gradient that one job computes.
const TILE: usize = 512;

impl Linear {
    /// The rows that use one set of weights, with its index.
    fn routes<'a>(
        &self,
        rows: usize,
        segments: &'a [Range<usize>],
    ) -> impl Iterator<Item = (usize, Range<usize>)> + 'a {
        let routed = self.routed;
        let count = if routed { segments.len() } else { 1 };
        (0..count)
            .map(move |index| (index, if routed { segments[index].clone() } else { 0..rows }))
            .filter(|(_, rows)| !rows.is_empty())
    }

    fn weight<'a>(&self, weights: &'a [f32], route: usize, group: usize) -> Matrix<'a> {
        let size = self.inputs * self.outputs;
        Matrix::new(&weights[(route * self.groups + group) * size..][..size], self.inputs, self.outputs, self.outputs)
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        if self.routed { "linear per scenario" } else { "linear" }
    }

    fn routed(&self) -> bool {
        self.routed
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (input, width) = (pass.input(0), self.groups * self.outputs);
        let weights = pass.parameter(0);
        let biases = if self.bias { pass.parameter(1) } else { &[] };
        for (route, rows) in self.routes(pass.rows, pass.segments) {
            let output = &mut pass.output[rows.start * width..rows.end * width];
            for group in 0..self.groups {
                let part = &mut output[group * self.outputs..];
                let mut part = MatrixMut::new(part, rows.len(), self.outputs, width);
                let input = input.matrix(rows.clone(), group * self.inputs, self.inputs);
                product(&mut part, false, input, self.weight(weights, route, group));
            }
            if self.bias {
                self.activation.apply_with_bias(output, &biases[route * width..][..width]);
            } else {
                self.activation.apply(output);
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let width = self.groups * self.outputs;
        let output = pass.output();
        self.activation.derive(pass.gradient, &output[..pass.rows * width]);
        let (weights, routes) = (pass.parameter(0), self.routes(pass.rows, pass.segments).collect::<Vec<_>>());
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        let accumulate = into.accumulate;
        for (route, rows) in routes {
            for group in 0..self.groups {
                let from = &gradient[rows.start * width + group * self.outputs..];
                let from = Matrix::new(from, rows.len(), self.outputs, width);
                let mut into = into.matrix(rows.clone(), group * self.inputs, self.inputs);
                product(&mut into, accumulate, from, self.weight(weights, route, group).transposed());
            }
        }
    }

    fn jobs<'a>(&self, slot: usize, gradient: &'a mut [f32]) -> Vec<Job<'a>> {
        if slot == 1 {
            let width = self.groups * self.outputs;
            let parts = gradient.chunks_exact_mut(width).enumerate();
            return parts
                .map(|(part, row)| Job { part, column: 0, tile: MatrixMut::new(row, 1, width, width) })
                .collect();
        }
        let blocks = gradient.chunks_exact_mut(self.inputs * self.outputs).enumerate();
        blocks
            .flat_map(|(part, block)| {
                let tiles = MatrixMut::new(block, self.inputs, self.outputs, self.outputs).into_tiles(TILE);
                let tiles = tiles.into_iter().enumerate();
                tiles.map(move |(index, tile)| Job { part, column: index * TILE, tile })
            })
            .collect()
    }

    fn parameter_gradient(&self, slot: usize, job: &mut Job<'_>, accumulate: bool, chunks: &BatchView<'_>) {
        let blocks = if slot == 1 { 1 } else { self.groups };
        let (route, group) = (job.part / blocks, job.part % blocks);
        let mut started = accumulate;
        for chunk in chunks.chunks() {
            let rows = if self.routed { chunk.segments[route].clone() } else { 0..chunk.rows };
            if rows.is_empty() {
                continue;
            }
            let gradient = chunk.gradient();
            if slot == 1 {
                let bias = job.tile.row(0);
                if !started {
                    bias.fill(0.0);
                }
                vectorised(
                    #[inline(always)]
                    || rows.for_each(|row| kernel::add(bias, gradient.row(row))),
                );
            } else {
                let input = chunk.input(0).matrix(rows.clone(), group * self.inputs, self.inputs).transposed();
                let gradient = gradient.matrix(rows, group * self.outputs + job.column, job.tile.width());
                product(&mut job.tile, started, input, gradient);
            }
            started = true;
        }
        if !started {
            job.tile.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;
    use crate::compute::{Graph, Init, Node};

    fn linear(graph: &mut Graph, input: Node, linear: Linear) -> Node {
        let routes = if linear.routed { graph.scenarios() } else { 1 };
        let (inputs, width) = (linear.inputs, linear.groups * linear.outputs);
        let weight = graph.parameter("weight", &[routes, linear.groups, inputs, linear.outputs], Init::He { inputs });
        let bias = graph.parameter("bias", &[routes, width], Init::Glorot { inputs, outputs: 1 });
        graph.push("linear", linear, &[input], &[weight, bias], width)
    }

    #[test]
    fn gradients() {
        for (groups, routed) in [(1, false), (3, false), (1, true), (2, true)] {
            check_op(&[groups * 4], |graph, inputs| {
                let activation = Activation::Tanh;
                linear(graph, inputs[0], Linear { groups, inputs: 4, outputs: 5, activation, bias: true, routed })
            });
        }
    }

    #[test]
    fn a_wide_layer_is_cut_into_tiles_that_cover_it() {
        check_op(&[2], |graph, inputs| {
            let layer = Linear {
                groups: 1,
                inputs: 2,
                outputs: TILE + 3,
                activation: Activation::Sigmoid,
                bias: true,
                routed: false,
            };
            let wide = linear(graph, inputs[0], layer);
            wide.columns(TILE - 2, 5)
        });
    }
}
