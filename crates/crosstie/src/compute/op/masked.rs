//! Affine maps of which some connections are struck out.

use std::cell::RefCell;

use super::{Activation, BackwardPass, BatchView, ForwardPass, Job, Op, Portable, PortableStep, Value};
use crate::compute::kernel::{self, vectorised};
use crate::compute::matmul::product;
use crate::compute::matrix::{Matrix, MatrixMut};

/// `y = f(x (W ⊙ M) + b)`. Several of these may share W and b, each with a mask
/// M of its own; M is kept, not learned, and `∂W = M ⊙ (xᵀ ∂y)`.
///
/// # Shapes
/// x: rows × inputs; parameters: W and M, inputs × outputs each, and b, outputs;
/// y: rows × outputs.
#[derive(Clone, Debug)]
pub struct Masked {
    /// Input width.
    pub inputs: usize,
    /// Output width.
    pub outputs: usize,
    /// f, applied to every output.
    pub activation: Activation,
}

thread_local! {
    /// A matrix of the size of W, kept between steps so that none allocates.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends `length` numbers of any value. No op lends twice at once.
fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < length {
            scratch.resize(length, 0.0);
        }
        work(&mut scratch[..length])
    })
}

impl Masked {
    /// Hands W ⊙ M to `work`.
    fn with_kept<R>(&self, weight: &[f32], mask: &[f32], work: impl FnOnce(Matrix<'_>) -> R) -> R {
        with_scratch(weight.len(), |kept| {
            vectorised(
                #[inline(always)]
                || kept.iter_mut().zip(weight).zip(mask).for_each(|((kept, weight), mask)| *kept = weight * mask),
            );
            work(Matrix::new(kept, self.inputs, self.outputs, self.outputs))
        })
    }
}

impl Op for Masked {
    fn name(&self) -> &'static str {
        "masked linear"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let kept: Vec<f32> =
            step.parameters[0].iter().zip(step.parameters[1]).map(|(weight, mask)| weight * mask).collect();
        let (kept, bias) =
            (to.constant(&[self.inputs, self.outputs], kept), to.constant(&[self.outputs], step.parameters[2]));
        let product = to.matmul(step.inputs[0], kept);
        let sum = to.add(product, bias);
        Some(self.activation.portable(to, sum))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (rows, width) = (pass.rows, self.outputs);
        let (input, bias) = (pass.input(0).matrix(0..rows, 0, self.inputs), pass.parameter(2));
        let (weight, mask) = (pass.parameter(0), pass.parameter(1));
        let (products, output) = (pass.products, &mut *pass.output);
        self.with_kept(weight, mask, |kept| {
            product(products, &mut MatrixMut::new(output, rows, width, width), false, input, kept);
        });
        vectorised(
            #[inline(always)]
            || output.chunks_exact_mut(width).for_each(|row| kernel::add(row, bias)),
        );
        self.activation.apply(output);
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width, output) = (pass.rows, self.outputs, pass.output());
        self.activation.derive(pass.gradient, &output[..rows * width]);
        let (weight, mask, products) = (pass.parameter(0), pass.parameter(1), pass.products);
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        let accumulate = into.accumulate;
        let from = Matrix::new(gradient, rows, width, width);
        self.with_kept(weight, mask, |kept| {
            product(products, &mut into.matrix(0..rows, 0, self.inputs), accumulate, from, kept.transposed());
        });
    }

    fn jobs<'a>(&self, slot: usize, gradient: &'a mut [f32], columns: usize) -> Vec<Job<'a>> {
        let rows = if slot == 0 { self.inputs } else { 1 };
        let tiles = MatrixMut::new(gradient, rows, self.outputs, self.outputs).into_tiles(columns).into_iter();
        tiles.enumerate().map(|(index, tile)| Job { slot, part: 0, column: index * columns, tile }).collect()
    }

    fn parameter_gradient(&self, job: &mut Job<'_>, accumulate: bool, chunks: &BatchView<'_>) {
        let width = job.tile.width();
        if job.slot == 2 {
            let bias = job.tile.row(0);
            if !accumulate {
                bias.fill(0.0);
            }
            for chunk in chunks.chunks() {
                let gradient = chunk.gradient();
                vectorised(
                    #[inline(always)]
                    || (0..chunk.rows).for_each(|row| kernel::add(bias, &gradient.row(row)[job.column..][..width])),
                );
            }
            return;
        }
        let mask = chunks.parameter(1);
        with_scratch(self.inputs * width, |sum| {
            for (index, chunk) in chunks.chunks().enumerate() {
                let input = chunk.input(0).matrix(0..chunk.rows, 0, self.inputs).transposed();
                let gradient = chunk.gradient().matrix(0..chunk.rows, job.column, width);
                let sum = &mut MatrixMut::new(sum, self.inputs, width, width);
                product(chunks.products(), sum, index > 0, input, gradient);
            }
            for (row, sum) in sum.chunks_exact(width).enumerate() {
                let mask = &mask[row * self.outputs + job.column..][..width];
                for ((into, sum), mask) in job.tile.row(row).iter_mut().zip(sum).zip(mask) {
                    *into = if accumulate { *into } else { 0.0 } + sum * mask;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Products;
    use crate::compute::check::check_op_at;
    use crate::compute::{Graph, Init, Node, ParameterId, Program};

    /// W and b, and two masks of which both have zeros at different places.
    fn parameters(graph: &mut Graph, inputs: usize, outputs: usize) -> [ParameterId; 4] {
        let weight = graph.parameter("weight", &[inputs, outputs], Init::He { inputs });
        let bias = graph.parameter("bias", &[outputs], Init::Glorot { inputs, outputs: 1 });
        let masks = ["mask.a", "mask.b"].map(|name| graph.statistic(name, &[inputs, outputs], 1.0));
        [weight, bias, masks[0], masks[1]]
    }

    fn two_users(graph: &mut Graph, x: Node, op: &Masked) -> Node {
        let [weight, bias, one, other] = parameters(graph, op.inputs, op.outputs);
        let [one, other] =
            [one, other].map(|mask| graph.push("masked", op.clone(), &[x], &[weight, mask, bias], op.outputs));
        let both = [one.columns(op.outputs - 3, 3), other.columns(0, op.outputs)];
        graph.push("both", super::super::Concat { inputs: 2 }, &both, &[], op.outputs + 3)
    }

    fn strike(program: &Program, parameters: &mut [f32]) {
        for (number, parameter) in program.parameters().iter().filter(|parameter| !parameter.learned).enumerate() {
            let mask = parameters[parameter.range()].iter_mut().enumerate();
            mask.for_each(|(index, mask)| *mask = f32::from(u8::from((index + number) % 3 != 0)));
        }
    }

    #[test]
    fn gradients_of_two_users_of_one_weight_with_masks_of_their_own() {
        let op = Masked { inputs: 5, outputs: 4, activation: Activation::Tanh };
        check_op_at(&[5], strike, |graph, inputs| two_users(graph, inputs[0], &op));
        let near = Products::default().columns_near(1);
        let wide = Masked { inputs: 2, outputs: near + 3, activation: Activation::Sigmoid };
        check_op_at(&[2], strike, |graph, inputs| two_users(graph, inputs[0], &wide).columns(near - 2, 8));
    }
}
