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

impl Mix {
    /// Every choice: its weight's column, its output, its expert.
    fn terms(&self) -> impl Iterator<Item = (usize, usize, (usize, usize))> + '_ {
        let choices = self.choices.iter().enumerate();
        choices
            .flat_map(|(output, experts)| experts.iter().map(move |expert| (output, *expert)))
            .enumerate()
            .map(|(column, (output, expert))| (column, output, expert))
    }
}

impl Op for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (weights, width) = (pass.input(0), self.width);
        let outputs = self.choices.len() * width;
        pass.output.fill(0.0);
        for (column, output, (node, place)) in self.terms() {
            let experts = pass.input(1 + node);
            let (rows, into) = (pass.rows, &mut *pass.output);
            vectorised(
                #[inline(always)]
                || {
                    for row in 0..rows {
                        let expert = &experts.row(row)[place * width..][..width];
                        let into = &mut into[row * outputs + output * width..][..width];
                        kernel::add_scaled(into, weights.row(row)[column], expert);
                    }
                },
            );
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width) = (pass.rows, self.width);
        let outputs = self.choices.len() * width;
        let nodes = 1 + self.choices.iter().flatten().map(|(node, _)| *node).max().unwrap_or(0);
        let inputs: Vec<_> = (0..=nodes).map(|index| pass.input(index)).collect();
        if let Some((gradient, mut into)) = pass.gradients(0) {
            into.start(rows);
            for (column, output, (node, place)) in self.terms() {
                let (experts, into) = (inputs[1 + node], &mut into);
                vectorised(
                    #[inline(always)]
                    || {
                        for row in 0..rows {
                            let expert = &experts.row(row)[place * width..][..width];
                            let gradient = &gradient[row * outputs + output * width..][..width];
                            into.row(row)[column] += kernel::dot(gradient, expert);
                        }
                    },
                );
            }
        }
        for wanted in 0..nodes {
            let Some((gradient, mut into)) = pass.gradients(1 + wanted) else { continue };
            into.start(rows);
            for (column, output, (_, place)) in self.terms().filter(|(_, _, (node, _))| *node == wanted) {
                let (weights, into) = (inputs[0], &mut into);
                vectorised(
                    #[inline(always)]
                    || {
                        for row in 0..rows {
                            let gradient = &gradient[row * outputs + output * width..][..width];
                            let into = &mut into.row(row)[place * width..][..width];
                            kernel::add_scaled(into, weights.row(row)[column], gradient);
                        }
                    },
                );
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
        let choices = vec![vec![(0, 0), (0, 1), (1, 0)], vec![(1, 0), (0, 1)]];
        check_op(&[5, 8, 4], |graph, inputs| {
            graph.push("mix", Mix { choices: choices.clone(), width: 4 }, inputs, &[], 8)
        });
    }
}
