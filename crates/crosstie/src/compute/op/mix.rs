//! Weighted sums of experts.

use super::{BackwardPass, ForwardPass, Op};
use crate::compute::kernel::{self, vectorised};

/// `y_o = Σ_k w_ok · expert_ok`: each output mixes the experts it may choose.
///
/// # Shapes
/// Input 0: rows × Σ choices, the weights, output by output. Inputs 1..: the
/// experts, each node holding any number of them, `width` columns each.
/// Output: rows × (outputs · width).
#[derive(Debug)]
pub struct Mix {
    /// Per output: the experts it mixes, as (expert node from 0, place in it).
    pub choices: Vec<Vec<(usize, usize)>>,
    /// Width of one expert.
    pub width: usize,
}

/// One expert in one output.
#[derive(Clone, Copy)]
struct Term {
    /// Column of its weight.
    column: usize,
    /// First column of the output.
    output: usize,
    /// The expert's node, and its first column there.
    expert: (usize, usize),
}

impl Mix {
    fn terms(&self) -> Vec<Term> {
        let choices = self.choices.iter().enumerate();
        choices
            .flat_map(|(output, experts)| experts.iter().map(move |expert| (output, expert)))
            .enumerate()
            .map(|(column, (output, (node, place)))| Term {
                column,
                output: output * self.width,
                expert: (*node, place * self.width),
            })
            .collect()
    }
}

// Row by row, all experts of a row one after the other: a row's numbers then
// stay in the nearest cache.
impl Op for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (rows, width, terms) = (pass.rows, self.width, self.terms());
        let weights = pass.input(0);
        let experts: Vec<_> = (1..pass.inputs()).map(|index| pass.input(index)).collect();
        let outputs = pass.output.chunks_exact_mut(self.choices.len() * width).take(rows);
        vectorised(
            #[inline(always)]
            || {
                for (row, output) in outputs.enumerate() {
                    output.fill(0.0);
                    for Term { column, output: to, expert: (node, from) } in &terms {
                        let expert = &experts[*node].row(row)[*from..][..width];
                        kernel::add_scaled(&mut output[*to..][..width], weights.row(row)[*column], expert);
                    }
                }
            },
        );
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width, terms) = (pass.rows, self.width, self.terms());
        let outputs = self.choices.len() * width;
        let weights = pass.input(0);
        let experts: Vec<_> = (1..pass.inputs()).map(|index| pass.input(index)).collect();
        if let Some((gradient, mut into)) = pass.gradients(0) {
            let accumulate = into.accumulate;
            vectorised(
                #[inline(always)]
                || {
                    for (row, gradient) in gradient.chunks_exact(outputs).take(rows).enumerate() {
                        let into = into.row(row);
                        for Term { column, output, expert: (node, from) } in &terms {
                            let expert = &experts[*node].row(row)[*from..][..width];
                            let slope = kernel::dot(&gradient[*output..][..width], expert);
                            into[*column] = if accumulate { into[*column] + slope } else { slope };
                        }
                    }
                },
            );
        }
        for wanted in 0..experts.len() {
            let Some((gradient, mut into)) = pass.gradients(1 + wanted) else { continue };
            let terms: Vec<Term> = terms.iter().filter(|term| term.expert.0 == wanted).copied().collect();
            let accumulate = into.accumulate;
            vectorised(
                #[inline(always)]
                || {
                    for (row, gradient) in gradient.chunks_exact(outputs).take(rows).enumerate() {
                        let into = into.row(row);
                        if !accumulate {
                            into.fill(0.0);
                        }
                        for Term { column, output, expert: (_, from) } in &terms {
                            let gradient = &gradient[*output..][..width];
                            kernel::add_scaled(&mut into[*from..][..width], weights.row(row)[*column], gradient);
                        }
                    }
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;

    #[test]
    fn gradients() {
        let choices = vec![vec![(0, 0), (0, 1), (1, 0)], vec![(1, 0), (0, 1)]];
        check_op(&[5, 8, 4], |graph, inputs| {
            graph.push("mix", Mix { choices: choices.clone(), width: 4 }, inputs, &[], 8)
        });
    }
}
