//! Several nodes side by side.

use super::{BackwardPass, ForwardPass, Op, Portable, PortableStep, Value};
use crate::compute::kernel;

/// `y = [x0 ; x1 ; ...]`.
#[derive(Debug)]
pub struct Concat {
    /// Number of inputs.
    pub inputs: usize,
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        Some(to.concat(step.inputs))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let width = pass.output.len() / pass.rows.max(1);
        let mut at = 0;
        for input in 0..self.inputs {
            let input = pass.input(input);
            for row in 0..pass.rows {
                pass.output[row * width + at..][..input.width()].copy_from_slice(input.row(row));
            }
            at += input.width();
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let rows = pass.rows;
        let width = pass.gradient.len() / rows.max(1);
        let mut at = 0;
        for index in 0..self.inputs {
            let part = pass.input(index).width();
            if let Some((gradient, mut into)) = pass.gradients(index) {
                into.start(rows);
                for row in 0..rows {
                    kernel::add(into.row(row), &gradient[row * width + at..][..part]);
                }
            }
            at += part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;

    #[test]
    fn gradients() {
        check_op(&[3, 4], |graph, inputs| graph.push("concat", Concat { inputs: 2 }, inputs, &[], 7));
    }

    #[test]
    fn parts_of_one_node_may_be_joined_again() {
        check_op(&[6], |graph, inputs| {
            let parts = [inputs[0].columns(4, 2), inputs[0].columns(0, 3), inputs[0]];
            graph.push("concat", Concat { inputs: 3 }, &parts, &[], 11)
        });
    }
}
