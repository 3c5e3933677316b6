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

    /// What one of the parallel maps has put out in some rows, or its gradient.
    fn part<'a>(&self, outputs: &'a [f32], rows: &Range<usize>, group: usize) -> Matrix<'a> {
        let width = self.groups * self.outputs;
        Matrix::new(&outputs[rows.start * width + group * self.outputs..], rows.len(), self.outputs, width)
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

/// The rows of a gradient that are not zero throughout, if they are few. Where a task's loss
/// counts for few rows, what it alone learns from gets zeros from all others.
fn few_rows(gradient: Matrix<'_>) -> Option<Vec<usize>> {
    let most = gradient.rows / 2;
    let mut few = Vec::new();
    vectorised(
        #[inline(always)]
        || {
            for row in 0..gradient.rows {
                if kernel::is_zero(gradient.row(row)) {
                    continue;
                }
                if few.len() == most {
                    return None;
                }
                few.push(row);
            }
            Some(few)
        },
    )
}

/// Adds all rows of a gradient to `sum`. Gives what [`few_rows`] does.
fn add_rows(sum: &mut [f32], gradient: Matrix<'_>) -> Option<Vec<usize>> {
    let mut some = Vec::with_capacity(gradient.rows);
    vectorised(
        #[inline(always)]
        || {
            for row in 0..gradient.rows {
                let mut bits = 0;
                for (sum, number) in sum.iter_mut().zip(gradient.row(row)) {
                    *sum += number;
                    // All but the sign's.
                    bits |= number.to_bits() << 1;
                }
                if bits != 0 {
                    some.push(row);
                }
            }
        },
    );
    (some.len() <= gradient.rows / 2).then_some(some)
}

/// [`product`] where all rows of `a` but `few` are zero.
fn product_of_few(
    products: Products,
    c: &mut MatrixMut<'_>,
    accumulate: bool,
    a: Matrix<'_>,
    b: Right<'_>,
    few: &[usize],
) {
    let mut sums = c.rows_of(few);
    if !accumulate {
        c.clear();
    }
    if few.is_empty() {
        return;
    }
    product(products, &mut sums.as_mut(), accumulate, a.rows_of(few).as_matrix(), b);
    few.iter().enumerate().for_each(|(place, row)| c.row(*row).copy_from_slice(sums.as_matrix().row(place)));
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
        for (route, rows) in routes {
            let few: Vec<_> = (0..self.groups).map(|group| few_rows(self.part(gradient, &rows, group))).collect();
            for rows in parts(rows.clone(), products) {
                let numbers = rows.start * width..rows.end * width;
                self.activation.derive(&mut gradient[numbers.clone()], &output[numbers]);
                for group in (0..self.groups).filter(|group| few[*group].is_none()) {
                    let mut into = into.matrix(rows.clone(), group * self.inputs, self.inputs);
                    let from = self.part(gradient, &rows, group);
                    product(products, &mut into, accumulate, from, weight(route * self.groups + group));
                }
            }
            for (group, few) in few.iter().enumerate().filter_map(|(group, few)| Some((group, few.as_ref()?))) {
                let mut into = into.matrix(rows.clone(), group * self.inputs, self.inputs);
                let from = self.part(gradient, &rows, group);
                product_of_few(products, &mut into, accumulate, from, weight(route * self.groups + group), few);
            }
        }
    }

    fn jobs<'a>(&self, slot: usize, gradient: &'a mut [f32], columns: usize) -> Vec<Job<'a>> {
        let rows = if slot == 1 { 1 } else { self.inputs };
        let blocks = gradient.chunks_exact_mut(rows * self.outputs).enumerate();
        blocks
            .flat_map(|(part, block)| {
                let tiles = MatrixMut::new(block, rows, self.outputs, self.outputs).into_tiles(columns);
                let tiles = tiles.into_iter().enumerate();
                tiles.map(move |(index, tile)| Job { slot, part, column: index * columns, tile })
            })
            .collect()
    }

    fn parameter_gradient(&self, job: &mut Job<'_>, accumulate: bool, chunks: &BatchView<'_>) {
        self.parameter_gradients(std::slice::from_mut(job), accumulate, chunks);
    }

    /// The weights' and the bias', which both read the gradient of the output.
    fn parameter_gradients(&self, jobs: &mut [Job<'_>], accumulate: bool, chunks: &BatchView<'_>) {
        let Some(Job { part, column, tile, .. }) = jobs.first() else { return };
        let (route, group) = (part / self.groups, part % self.groups);
        let (column, width) = (group * self.outputs + column, tile.width());
        let (mut weight, mut bias) = (None, None);
        for Job { slot, tile, .. } in jobs {
            *(if *slot == 1 { &mut bias } else { &mut weight }) = Some(tile);
        }
        if let Some(bias) = bias.as_mut().filter(|_| !accumulate) {
            bias.clear();
        }
        let mut started = accumulate;
        for chunk in chunks.chunks() {
            let rows = if self.routed { chunk.segments[route].clone() } else { 0..chunk.rows };
            if rows.is_empty() {
                continue;
            }
            let gradient = chunk.gradient().matrix(rows.clone(), column, width);
            let few = match &mut bias {
                Some(bias) => add_rows(bias.row(0), gradient),
                None => few_rows(gradient),
            };
            let Some(weight) = &mut weight else { continue };
            let input = chunk.input(0).matrix(rows, group * self.inputs, self.inputs);
            match few {
                None => product(chunks.products(), weight, started, input.transposed(), gradient),
                Some(few) if few.is_empty() => continue,
                Some(few) => {
                    let (input, gradient) = (input.rows_of(&few), gradient.rows_of(&few));
                    let (input, gradient) = (input.as_matrix().transposed(), gradient.as_matrix());
                    product(chunks.products(), weight, started, input, gradient);
                }
            }
            started = true;
        }
        if let Some(weight) = weight.filter(|_| !started) {
            weight.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;
    use crate::compute::op::Multiply;
    use crate::compute::{Graph, Init, Mode, Node};

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
        let near = Products::default().columns_near(1);
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

    /// A layer whose outputs count in some rows only, and then the same of these rows alone.
    #[test]
    fn rows_that_teach_nothing_change_no_bit() {
        let (inputs, rows) = (6, 40);
        for (groups, routed) in [(1, false), (2, false), (1, true), (2, true)] {
            let mut graph = Graph::new(2);
            let input = graph.source("input", groups * inputs, true);
            let counts = graph.source("counts", groups, false);
            let layer = Linear { groups, inputs, outputs: 20, activation: Activation::Tanh, bias: true, routed };
            let output = linear(&mut graph, input, layer.clone());
            // What is behind it adds to the gradient of the input, too.
            let layer = Linear { groups: 1, inputs: groups * inputs, outputs: 1, bias: false, routed: false, ..layer };
            let weight = graph.parameter("beside", &[layer.inputs, 1], Init::He { inputs });
            let beside = graph.push("beside", layer, &[input], &[weight], 1);
            for group in 0..groups {
                let counted =
                    graph.push("counted", Multiply, &[output.part(group, groups), counts.part(group, groups)], &[], 20);
                graph.loss(&format!("loss {group}"), counted.columns(3, 1));
                graph.loss(&format!("other loss {group}"), counted.columns(11, 1));
            }
            let counted = graph.push("counted", Multiply, &[beside, counts.part(0, groups)], &[], 1);
            graph.loss("beside", counted);
            let program = graph.compile().unwrap();
            let parameters = program.initial(1).unwrap();
            // Of a second group no row counts.
            let counting = |some: &[usize]| {
                let mut workspace = program.workspace(rows, true);
                let fill = |source: usize, range: Range<usize>, into: &mut [f32]| {
                    let width = into.len() / range.len();
                    for (row, cells) in some[range].iter().zip(into.chunks_exact_mut(width)) {
                        for (column, cell) in cells.iter_mut().enumerate() {
                            *cell = match source {
                                0 => ((row * 31 + column) as f32).sin(),
                                _ => f32::from(u8::from([3, 17, 18, 35].contains(row) && column == 0)),
                            };
                        }
                    }
                };
                let border = some.partition_point(|row| *row < 18);
                let segments = [0..border, border..some.len()];
                let (seeds, mode) = (vec![1.0; 2 * groups + 1], Mode::Train { seed: 1, step: 1 });
                program.train(&mut workspace, &parameters, some.len(), &segments, &seeds, mode, &fill);
                let mut learned = vec![0.0; program.length()];
                program.parameter_gradients(&workspace, &parameters, &mut learned);
                let of_rows: Vec<f32> =
                    workspace.source_gradients(&program, input).flat_map(|(_, part)| part.to_vec()).collect();
                let of_rows: Vec<Vec<f32>> = of_rows.chunks_exact(groups * inputs).map(<[f32]>::to_vec).collect();
                (learned, of_rows)
            };
            let all: Vec<usize> = (0..rows).collect();
            let some = [3, 17, 18, 35];
            let ((learned, of_rows), (expected, of_some)) = (counting(&all), counting(&some));
            assert_eq!(learned, expected, "{groups} groups, routed {routed}");
            assert!(learned.iter().any(|gradient| *gradient != 0.0));
            for (row, found) in of_rows.iter().enumerate() {
                match some.iter().position(|some| *some == row) {
                    Some(place) => assert_eq!(*found, of_some[place], "row {row}, {groups} groups, routed {routed}"),
                    None => assert_eq!(*found, vec![0.0; groups * inputs], "row {row}"),
                }
            }
        }
    }

    #[test]
    fn few_rows_are_at_most_half() {
        let of = |numbers: &[f32]| {
            let gradient = Matrix::new(numbers, numbers.len() / 2, 2, 2);
            let mut sum = [0.0; 2];
            let few = few_rows(gradient);
            assert_eq!(add_rows(&mut sum, gradient), few);
            let column = |column: usize| numbers.iter().skip(column).step_by(2).sum::<f32>();
            assert_eq!(sum.map(f32::to_bits), [column(0), column(1)].map(|sum| (0.0 + sum).to_bits()));
            few
        };
        assert_eq!(of(&[0.0, 0.0, 0.0, 1.0, -0.0, 0.0, f32::NAN, 0.0]), Some(vec![1, 3]));
        assert_eq!(of(&[0.0, 2.0, 0.0, 1.0, -0.0, 0.0]), None);
        assert_eq!(of(&[0.0, -0.0]), Some(vec![]));
        assert_eq!(of(&[1.0, 0.0]), None);
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
