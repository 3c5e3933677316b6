//! Element-wise products and weighted sums of nodes.

use super::{BackwardPass, ForwardPass, Op, Portable, PortableStep, Value};
use crate::compute::kernel;

/// `y = a ⊙ b`; a `b` of one column scales whole rows of `a`.
#[derive(Debug)]
pub struct Multiply;

impl Op for Multiply {
    fn name(&self) -> &'static str {
        "multiply"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        Some(to.multiply(step.inputs[0], step.inputs[1]))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (a, b) = (pass.input(0), pass.input(1));
        for row in 0..pass.rows {
            let output = &mut pass.output[row * a.width()..][..a.width()];
            match b.row(row) {
                [scale] => output.iter_mut().zip(a.row(row)).for_each(|(y, a)| *y = scale * a),
                b => output.iter_mut().zip(a.row(row)).zip(b).for_each(|((y, a), b)| *y = a * b),
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, a, b) = (pass.rows, pass.input(0), pass.input(1));
        let width = a.width();
        if let Some((gradient, mut into)) = pass.gradients(0) {
            into.start(rows);
            for row in 0..rows {
                let (g, into) = (&gradient[row * width..][..width], into.row(row));
                match b.row(row) {
                    [scale] => kernel::add_scaled(into, *scale, g),
                    b => into.iter_mut().zip(g).zip(b).for_each(|((into, g), b)| *into += g * b),
                }
            }
        }
        if let Some((gradient, mut into)) = pass.gradients(1) {
            into.start(rows);
            for row in 0..rows {
                let (g, a) = (&gradient[row * width..][..width], a.row(row));
                match into.row(row) {
                    [into] => *into += kernel::dot(g, a),
                    into => into.iter_mut().zip(g).zip(a).for_each(|((into, g), a)| *into += g * a),
                }
            }
        }
    }
}

/// `y = Σ_i scale_i · x_i`, nodes of one width.
#[derive(Debug)]
pub struct Sum {
    /// One constant factor per input.
    pub scales: Vec<f32>,
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let terms: Vec<Value> = step.inputs.iter().zip(&self.scales).map(|(x, scale)| to.scale(*x, *scale)).collect();
        terms.into_iter().reduce(|sum, term| to.add(sum, term))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        pass.output.fill(0.0);
        for (index, scale) in self.scales.iter().enumerate() {
            let input = pass.input(index);
            for row in 0..pass.rows {
                kernel::add_scaled(&mut pass.output[row * input.width()..][..input.width()], *scale, input.row(row));
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width) = (pass.rows, pass.input(0).width());
        for (index, scale) in self.scales.iter().enumerate() {
            let Some((gradient, mut into)) = pass.gradients(index) else { continue };
            into.start(rows);
            for row in 0..rows {
                kernel::add_scaled(into.row(row), *scale, &gradient[row * width..][..width]);
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
        check_op(&[4, 4], |graph, inputs| graph.push("multiply", Multiply, inputs, &[], 4));
        check_op(&[4, 1], |graph, inputs| graph.push("multiply", Multiply, inputs, &[], 4));
        check_op(&[4, 4], |graph, inputs| graph.push("sum", Sum { scales: vec![0.5, -2.0] }, inputs, &[], 4));
    }

    #[test]
    fn a_node_times_itself_is_its_square() {
        check_op(&[4], |graph, inputs| graph.push("multiply", Multiply, &[inputs[0], inputs[0]], &[], 4));
    }
}
