//! Cosines between the parts of two nodes.

use super::{BackwardPass, ForwardPass, Function, Op, Portable, PortableStep, Value};
use crate::compute::kernel;

/// `y_ij = <a_i, b_j> / (‖a_i‖ ‖b_j‖)` for all pairs of parts, with
/// `‖x‖ = √(<x, x> + 1e-8)`, so that the cosine with a part of zeros is 0.
///
/// # Shapes
/// Input 0: rows × (n · `width`). Input 1: rows × (m · `width`). Output:
/// rows × (n · m), the m cosines of a_1 first.
#[derive(Debug)]
pub struct Cosine {
    /// Width of one part.
    pub width: usize,
}

/// Keeps the norm of zeros above 0.
const LEAST: f32 = 1e-8;

fn norm(x: &[f32]) -> f32 {
    (kernel::dot(x, x) + LEAST).sqrt()
}

impl Op for Cosine {
    fn name(&self) -> &'static str {
        "cosine"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let [a, b] = [0, 1].map(|side| {
            let x = step.inputs[side];
            let x = to.parts(x, to.width(x) / self.width);
            let squares = to.multiply(x, x);
            let (sum, least) = (to.apply(Function::Sum, &[squares]), to.number(LEAST));
            let sum = to.add(sum, least);
            [x, to.apply(Function::Sqrt, &[sum])]
        });
        let [b, b_norms] = b.map(|x| to.apply(Function::Transpose, &[x]));
        let (products, norms) = (to.matmul(a[0], b), to.multiply(a[1], b_norms));
        let cosines = to.apply(Function::Divide, &[products, norms]);
        Some(to.flat(cosines))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (a, b, width) = (pass.input(0), pass.input(1), self.width);
        let mut b_norms = vec![0.0; b.width() / width];
        let pairs = a.width() / width * b_norms.len();
        for row in 0..pass.rows {
            let (a, b) = (a.row(row), b.row(row));
            b_norms.iter_mut().zip(b.chunks_exact(width)).for_each(|(into, b)| *into = norm(b));
            let output = &mut pass.output[row * pairs..][..pairs];
            for (a, output) in a.chunks_exact(width).zip(output.chunks_exact_mut(b_norms.len())) {
                let a_norm = norm(a);
                for ((b, b_norm), output) in b.chunks_exact(width).zip(&b_norms).zip(output) {
                    *output = kernel::dot(a, b) / (a_norm * b_norm);
                }
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width, cosines) = (pass.rows, self.width, pass.output());
        let inputs = [pass.input(0), pass.input(1)];
        let counts = inputs.map(|input| input.width() / width);
        let pairs = counts[0] * counts[1];
        for side in 0..2 {
            let (own, other, count) = (inputs[side], inputs[1 - side], counts[1 - side]);
            let Some((gradient, mut into)) = pass.gradients(side) else { continue };
            into.start(rows);
            for row in 0..rows {
                let others = other.row(row).chunks_exact(width);
                let parts = own.row(row).chunks_exact(width).zip(into.row(row).chunks_exact_mut(width));
                for (i, (own, into)) in parts.enumerate() {
                    let own_norm = norm(own);
                    for (j, other) in others.clone().enumerate() {
                        let pair = row * pairs + if side == 0 { i * count + j } else { j * counts[1] + i };
                        let scale = gradient[pair] / own_norm;
                        kernel::add_scaled(into, scale / norm(other), other);
                        kernel::add_scaled(into, -scale * cosines[pair] / own_norm, own);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;

    #[test]
    fn gradients() {
        check_op(&[6, 9], |graph, inputs| graph.push("cosine", Cosine { width: 3 }, inputs, &[], 6));
        check_op(&[6], |graph, inputs| graph.push("cosine", Cosine { width: 3 }, &[inputs[0], inputs[0]], &[], 4));
    }
}
