//! Affine maps: one product, or several side by side.

use std::ops::Range;

use super::{Activation, BackwardPass, BatchView, ForwardPass, Job, Lead, Op, Portable, PortableStep, Value, View};
use crate::compute::kernel::{self, vectorised};
use crate::compute::matmul::{Products, Right, product};
use crate::compute::matrix::{Matrix, MatrixMut};

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

/// Some rows, and the weights and bias that they use.
struct Route<'a> {
    rows: Range<usize>,
    weight: Right<'a>,
    bias: Option<&'a [f32]>,
}

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

    /// `f(x W + b)` with `x W` as the sum of two products, of the lead's columns
    /// and of those behind it. The first is computed once for rows of one lead.
    /// The sum is made in this order also where every row has a lead of its own:
    /// a score must not depend on the rows beside it.
    fn by_lead(
        &self,
        products: Products,
        input: View<'_>,
        lead: Lead<'_>,
        Route { rows, weight, bias }: Route<'_>,
        output: &mut [f32],
    ) {
        let (width, columns) = (self.outputs, lead.columns);
        let others = lead.starts.iter().copied().filter(|start| rows.start < *start && *start < rows.end);
        let starts: Vec<usize> = std::iter::once(rows.start).chain(others).collect();
        let few = starts.len() * 2 <= rows.len();
        if !few && weight.whole_as_split(products) {
            let input = input.matrix(rows.clone(), 0, self.inputs);
            product(products, &mut MatrixMut::new(output, rows.len(), width, width), false, input, weight);
            return self.finish(output, bias);
        }
        let (own, rest) = weight.split();
        if !few {
            let mut whole = MatrixMut::new(output, rows.len(), width, width);
            product(products, &mut whole, false, input.matrix(rows.clone(), 0, columns), own);
        } else {
            let leads: Vec<f32> = starts.iter().flat_map(|start| &input.row(*start)[..columns]).copied().collect();
            let mut sums = vec![0.0; starts.len() * width];
            let leads = Matrix::new(&leads, starts.len(), columns, columns);
            product(products, &mut MatrixMut::new(&mut sums, starts.len(), width, width), false, leads, own);
            let ends = starts[1..].iter().copied().chain([rows.end]);
            for ((start, end), sum) in starts.iter().zip(ends).zip(sums.chunks_exact(width)) {
                let output = &mut output[(start - rows.start) * width..(end - rows.start) * width];
                output.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(sum));
            }
        }
        let mut whole = MatrixMut::new(output, rows.len(), width, width);
        product(products, &mut whole, true, input.matrix(rows, columns, self.inputs - columns), rest);
        self.finish(output, bias);
    }

    /// `f(y + b)` in place.
    fn finish(&self, output: &mut [f32], bias: Option<&[f32]>) {
        match bias {
            Some(bias) => self.activation.apply_to_sum(output, [bias]),
            None => self.activation.apply(output),
        }
    }
}

/// Rows cut so that what a product has written is still near when it is read again.
fn parts(rows: Range<usize>, products: Products) -> impl Iterator<Item = Range<usize>> {
    let near = products.rows_near();
    rows.clone().step_by(near).map(move |start| start..rows.end.min(start.saturating_add(near)))
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        if self.routed { "linear per scenario" } else { "linear" }
    }

    fn routed(&self) -> bool {
        self.routed
    }

    fn weights(&self) -> Option<[usize; 2]> {
        Some([self.inputs, self.outputs])
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let Linear { groups, inputs, outputs, activation, bias, routed } = *self;
        let (numbers, size) = (step.parameters[0], inputs * outputs);
        let scenarios = numbers.len() / (groups * size);
        let products: Vec<Value> = (0..groups)
            .map(|group| {
                let x = to.columns(step.inputs[0], group * inputs, inputs);
                if !routed {
                    let weight = to.constant(&[inputs, outputs], &numbers[group * size..][..size]);
                    return to.matmul(x, weight);
                }
                // Of all scenarios, side by side: engines have no rows sorted by scenario.
                let row = |input: usize, scenario: usize| {
                    &numbers[(scenario * groups + group) * size + input * outputs..][..outputs]
                };
                let rows = (0..inputs).flat_map(|input| (0..scenarios).flat_map(move |scenario| row(input, scenario)));
                let weight = to.constant(&[inputs, scenarios * outputs], rows.copied().collect::<Vec<f32>>());
                let all = to.matmul(x, weight);
                let all = to.parts(all, scenarios);
                to.of_scenario(all)
            })
            .collect();
        let mut sum = to.concat(&products);
        if bias && routed {
            let all = to.constant(&[scenarios, step.width], step.parameters[1]);
            let own = to.of_scenario(all);
            sum = to.add(sum, own);
        } else if bias {
            let bias = to.constant(&[step.width], step.parameters[1]);
            sum = to.add(sum, bias);
        }
        Some(activation.portable(to, sum))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (input, width) = (pass.input(0), self.groups * self.outputs);
        let (products, weight) = (pass.products, pass.weights());
        let lead = pass.lead(0).filter(|_| self.groups == 1);
        let biases = if self.bias { pass.parameter(1) } else { &[] };
        for (route, rows) in self.routes(pass.rows, pass.segments) {
            let output = &mut pass.output[rows.start * width..rows.end * width];
            let bias = self.bias.then(|| &biases[route * width..][..width]);
            if let Some(lead) = lead {
                self.by_lead(products, input, lead, Route { rows, weight: weight(route), bias }, output);
                continue;
            }
            for (rows, output) in parts(rows, products).zip(output.chunks_mut(products.rows_near() * width)) {
                for group in 0..self.groups {
                    let part = &mut output[group * self.outputs..];
                    let mut part = MatrixMut::new(part, rows.len(), self.outputs, width);
                    let input = input.matrix(rows.clone(), group * self.inputs, self.inputs);
                    product(products, &mut part, false, input, weight(route * self.groups + group));
                }
                self.finish(output, bias);
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let width = self.groups * self.outputs;
        let output = pass.output();
        let routes = self.routes(pass.rows, pass.segments);
        let (products, weight) = (pass.products, pass.weights());
        let Some((gradient, mut into)) = pass.gradients(0) else {
            return self.activation.derive(pass.gradient, &output[..pass.rows * width]);
        };
        let accumulate = into.accumulate;
        for (route, rows) in routes.flat_map(|(route, rows)| parts(rows, products).map(move |rows| (route, rows))) {
            let numbers = rows.start * width..rows.end * width;
            self.activation.derive(&mut gradient[numbers.clone()], &output[numbers]);
            for group in 0..self.groups {
                let from = &gradient[rows.start * width + group * self.outputs..];
                let from = Matrix::new(from, rows.len(), self.outputs, width);
                let mut into = into.matrix(rows.clone(), group * self.inputs, self.inputs);
                product(products, &mut into, accumulate, from, weight(route * self.groups + group));
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
        let near = Products::columns_near();
        let blocks = gradient.chunks_exact_mut(self.inputs * self.outputs).enumerate();
        blocks
            .flat_map(|(part, block)| {
                let tiles = MatrixMut::new(block, self.inputs, self.outputs, self.outputs).into_tiles(near);
                let tiles = tiles.into_iter().enumerate();
                tiles.map(move |(index, tile)| Job { part, column: index * near, tile })
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
                product(chunks.products(), &mut job.tile, started, input, gradient);
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
        let near = Products::columns_near();
        check_op(&[2], |graph, inputs| {
            let layer = Linear {
                groups: 1,
                inputs: 2,
                outputs: near + 3,
                activation: Activation::Sigmoid,
                bias: true,
                routed: false,
            };
            let wide = linear(graph, inputs[0], layer);
            wide.columns(near - 2, 5)
        });
    }

    #[test]
    fn what_rows_of_one_lead_share_is_computed_once_to_the_same_bits() {
        // Narrow, and wide enough for a matrix unit, behind the lead or on both sides.
        let shapes = [(7, 4, 5), (90, 10, 40), (96, 40, 64)];
        for (routed, (inputs, lead, outputs)) in
            [false, true].into_iter().flat_map(|routed| shapes.map(|shape| (routed, shape)))
        {
            let mut graph = Graph::new(2);
            let input = graph.source("input", inputs, false);
            graph.lead(input, lead);
            let activation = Activation::Relu;
            let layer = Linear { groups: 1, inputs, outputs, activation, bias: true, routed };
            let output = linear(&mut graph, input, layer);
            graph.output(output);
            let program = graph.compile().unwrap();
            let parameters = program.initial(1).unwrap();
            // Leads of 1, 1, 9, 20 and 9 rows, cut by the scenarios' border at 15.
            let of_lead = |row: usize| [0, 1, 11, 31].iter().filter(|start| row >= **start).count() as f32;
            let value = |row: usize, column: usize| match column < lead {
                true => 0.3 * of_lead(row) - 0.1 * column as f32,
                false => (row * 7 + column) as f32 * 0.01 - 1.0,
            };
            let score = |rows: Range<usize>, border: usize| {
                let mut workspace = program.workspace(40, false);
                let fill = |_: usize, some: Range<usize>, into: &mut [f32]| {
                    for (row, cells) in some.zip(into.chunks_exact_mut(inputs)) {
                        (0..inputs).for_each(|column| cells[column] = value(rows.start + row, column));
                    }
                };
                let segments = [0..border, border..rows.len()];
                program.score(&mut workspace, &parameters, rows.len(), &segments, &fill);
                workspace.values(&program, output).flatten().copied().collect::<Vec<f32>>()
            };
            let together = score(0..40, 15);
            assert!(together.iter().any(|value| *value > 0.0));
            for row in 0..40 {
                let alone = score(row..row + 1, usize::from(row < 15));
                assert_eq!(
                    alone,
                    together[row * outputs..][..outputs],
                    "row {row}, routed {routed}, {inputs} × {outputs}"
                );
            }
        }
    }
}
