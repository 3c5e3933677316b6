//! Scaled products of the parts of two nodes.

use super::{BackwardPass, ForwardPass, Function, Op, Portable, PortableStep, Value};
use crate::compute::kernel;

/// `y_g = scale · <a_g, b_g>` for each of `groups` equal parts.
///
/// # Shapes
/// Inputs: two of rows × (groups · d). Output: rows × groups.
#[derive(Debug)]
pub struct Dot {
    /// Number of parts.
    pub groups: usize,
    /// A constant factor.
    pub scale: f32,
}

impl Op for Dot {
    fn name(&self) -> &'static str {
        "dot"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let [a, b] = [0, 1].map(|side| to.parts(step.inputs[side], self.groups));
        let products = to.multiply(a, b);
        let sums = to.apply(Function::Sum, &[products]);
        let sums = to.flat(sums);
        Some(to.scale(sums, self.scale))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (a, b) = (pass.input(0), pass.input(1));
        let width = a.width() / self.groups;
        for (row, output) in pass.output.chunks_exact_mut(self.groups).enumerate() {
            let parts = a.row(row).chunks_exact(width).zip(b.row(row).chunks_exact(width));
            output.iter_mut().zip(parts).for_each(|(y, (a, b))| *y = self.scale * kernel::dot(a, b));
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, groups, inputs) = (pass.rows, self.groups, [pass.input(0), pass.input(1)]);
        let width = inputs[0].width() / groups;
        for side in 0..2 {
            let other = inputs[1 - side];
            let Some((gradient, mut into)) = pass.gradients(side) else { continue };
            into.start(rows);
            for row in 0..rows {
                let parts = into.row(row).chunks_exact_mut(width).zip(other.row(row).chunks_exact(width));
                for (g, (into, other)) in gradient[row * groups..].iter().zip(parts) {
                    kernel::add_scaled(into, self.scale * g, other);
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
        check_op(&[6, 6], |graph, inputs| graph.push("dot", Dot { groups: 2, scale: 0.5 }, inputs, &[], 2));
        check_op(&[3], |graph, inputs| {
            graph.push("dot", Dot { groups: 1, scale: 1.0 }, &[inputs[0], inputs[0]], &[], 1)
        });
    }
}
