//! What one node has above another.

use super::{BackwardPass, ForwardPass, Function, Op, Portable, PortableStep, Value};

/// `y = max(a - b, 0)`, element by element; two inputs of one width.
#[derive(Debug)]
pub struct Hinge;

impl Op for Hinge {
    fn name(&self) -> &'static str {
        "hinge"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let above = to.apply(Function::Subtract, step.inputs);
        Some(to.apply(Function::Relu, &[above]))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (a, b) = (pass.input(0), pass.input(1));
        for (row, output) in pass.output.chunks_exact_mut(a.width()).enumerate() {
            let pairs = a.row(row).iter().zip(b.row(row));
            output.iter_mut().zip(pairs).for_each(|(y, (a, b))| *y = (a - b).max(0.0));
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, output, width) = (pass.rows, pass.output(), pass.input(0).width());
        for (side, sign) in [(0, 1.0), (1, -1.0)] {
            let Some((gradient, mut into)) = pass.gradients(side) else { continue };
            into.start(rows);
            for row in 0..rows {
                let pairs = output[row * width..].iter().zip(&gradient[row * width..]);
                for (into, (y, g)) in into.row(row).iter_mut().zip(pairs) {
                    *into += if *y > 0.0 { sign * g } else { 0.0 };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Activate, Activation};
    use super::*;
    use crate::compute::check::check_op;

    /// 4 · sigmoid(x) is above 1 where x is above -1, so that no step of the
    /// finite differences crosses the kink.
    #[test]
    fn gradients_flow_where_a_is_above_b_and_nowhere_else() {
        check_op(&[3, 3], |graph, inputs| {
            let high = Activate { activation: Activation::Sigmoid, scale: 4.0 };
            let high = graph.push("high", high, &inputs[..1], &[], 3);
            let above = graph.push("above", Hinge, &[high, inputs[1]], &[], 3);
            let below = graph.push("below", Hinge, &[inputs[1], high], &[], 3);
            graph.push("concat", super::super::Concat { inputs: 2 }, &[above, below], &[], 6)
        });
    }
}
