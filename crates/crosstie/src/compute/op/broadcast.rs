//! A parameter as a node.

use super::{BackwardPass, BatchView, ForwardPass, Function, Job, Op, Portable, PortableStep, Value};
use crate::compute::kernel;

/// Every row of the output is the parameter; no inputs.
#[derive(Debug)]
pub struct Broadcast;

impl Op for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let values = to.constant(&[step.width], step.parameters[0]);
        Some(to.apply(Function::EachRow, &[values]))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let values = pass.parameter(0);
        pass.output.chunks_exact_mut(values.len()).for_each(|row| row.copy_from_slice(values));
    }

    fn backward(&self, _pass: &mut BackwardPass<'_>) {}

    fn parameter_gradient(&self, job: &mut Job<'_>, accumulate: bool, chunks: &BatchView<'_>) {
        let into = job.tile.row(0);
        if !accumulate {
            into.fill(0.0);
        }
        for chunk in chunks.chunks() {
            let gradient = chunk.gradient();
            (0..chunk.rows).for_each(|row| kernel::add(into, gradient.row(row)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Init;
    use crate::compute::check::check_op;
    use crate::compute::op::Multiply;

    #[test]
    fn gradients() {
        check_op(&[4], |graph, inputs| {
            let parameter = graph.parameter("parameter", &[4], Init::He { inputs: 4 });
            let rows = graph.push("broadcast", Broadcast, &[], &[parameter], 4);
            graph.push("multiply", Multiply, &[inputs[0], rows], &[], 4)
        });
    }
}
