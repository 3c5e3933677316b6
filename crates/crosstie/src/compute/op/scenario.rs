//! What is known of a row by its scenario alone.

use super::{BackwardPass, BatchView, ForwardPass, Job, Op, Portable, PortableStep, Value};
use crate::compute::kernel;
use crate::compute::matrix::MatrixMut;

/// One learned vector per scenario, the same on all its rows.
///
/// # Shapes
/// No input. Parameter 0: scenarios × width. Output: rows × width.
#[derive(Clone, Debug)]
pub struct ScenarioVector {
    /// Width of a vector.
    pub width: usize,
}

impl Op for ScenarioVector {
    fn name(&self) -> &'static str {
        "scenario vector"
    }

    fn routed(&self) -> bool {
        true
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let vectors = step.parameters[0];
        let vectors = to.constant(&[vectors.len() / self.width, self.width], vectors);
        Some(to.of_scenario(vectors))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let vectors = pass.parameter(0).chunks_exact(self.width);
        for (rows, vector) in pass.segments.iter().zip(vectors) {
            let output = &mut pass.output[rows.start * self.width..rows.end * self.width];
            output.chunks_exact_mut(self.width).for_each(|row| row.copy_from_slice(vector));
        }
    }

    fn backward(&self, _pass: &mut BackwardPass<'_>) {}

    fn jobs<'a>(&self, slot: usize, gradient: &'a mut [f32], _columns: usize) -> Vec<Job<'a>> {
        let (width, parts) = (self.width, gradient.chunks_exact_mut(self.width).enumerate());
        parts.map(|(part, row)| Job { slot, part, column: 0, tile: MatrixMut::new(row, 1, width, width) }).collect()
    }

    fn parameter_gradient(&self, job: &mut Job<'_>, accumulate: bool, chunks: &BatchView<'_>) {
        if !accumulate {
            job.tile.clear();
        }
        for chunk in chunks.chunks() {
            let gradient = chunk.gradient();
            for row in chunk.segments[job.part].clone() {
                kernel::add(job.tile.row(0), gradient.row(row));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Init;
    use crate::compute::check::check_op;

    #[test]
    fn gradients() {
        check_op(&[4], |graph, inputs| {
            let init = Init::Glorot { inputs: 3, outputs: 4 };
            let vectors = graph.parameter("vectors", &[graph.scenarios(), 4], init);
            let vector = graph.push("scenario", ScenarioVector { width: 4 }, &[], &[vectors], 4);
            graph.push("multiply", crate::compute::op::Multiply, &[inputs[0], vector], &[], 4)
        });
    }
}
