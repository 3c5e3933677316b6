//! How alike the parts of a node are, pair by pair.

use super::{BackwardPass, ForwardPass, Function, Op, Portable, PortableStep, Value};
use crate::compute::kernel::{self, vectorised};

/// `y_ij = <x_i, x_j>` for all parts i ≤ j of the input, row by row of the
/// upper triangle: the numbers of X Xᵀ, each once.
///
/// # Shapes
/// Input: rows × d. Output: rows × n (n + 1) / 2 for n parts.
#[derive(Debug)]
pub struct Pairs {
    /// First column of each part.
    pub starts: Vec<usize>,
    /// Width of every part.
    pub width: usize,
}

impl Pairs {
    /// Number of pairs.
    pub fn count(&self) -> usize {
        self.starts.len() * (self.starts.len() + 1) / 2
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let starts = &self.starts;
        (0..starts.len()).flat_map(move |i| (i..starts.len()).map(move |j| (starts[i], starts[j])))
    }
}

impl Op for Pairs {
    fn name(&self) -> &'static str {
        "pairs"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let (count, starts) = (self.starts.len(), self.starts.iter());
        let places = starts.flat_map(|start| *start..start + self.width).collect();
        let x = to.apply(Function::Take(places), step.inputs);
        let x = to.parts(x, count);
        let transposed = to.apply(Function::Transpose, &[x]);
        let all = to.matmul(x, transposed);
        let all = to.flat(all);
        let upper = (0..count).flat_map(|i| (i..count).map(move |j| i * count + j)).collect();
        Some(to.apply(Function::Take(upper), &[all]))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let input = pass.input(0);
        let output = pass.output.chunks_exact_mut(self.count()).enumerate();
        vectorised(
            #[inline(always)]
            || {
                for (row, output) in output {
                    let x = input.row(row);
                    for (y, (i, j)) in output.iter_mut().zip(self.pairs()) {
                        *y = kernel::dot(&x[i..][..self.width], &x[j..][..self.width]);
                    }
                }
            },
        );
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, count, input) = (pass.rows, self.count(), pass.input(0));
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        into.start(rows);
        vectorised(
            #[inline(always)]
            || {
                for row in 0..rows {
                    let (x, into) = (input.row(row), into.row(row));
                    for (g, (i, j)) in gradient[row * count..].iter().zip(self.pairs()) {
                        kernel::add_scaled(&mut into[i..][..self.width], *g, &x[j..][..self.width]);
                        kernel::add_scaled(&mut into[j..][..self.width], *g, &x[i..][..self.width]);
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;

    #[test]
    fn gradients() {
        check_op(&[9], |graph, inputs| {
            let pairs = Pairs { starts: vec![6, 0, 3], width: 2 };
            let count = pairs.count();
            graph.push("pairs", pairs, inputs, &[], count)
        });
    }
}
