//! Nothing, where something else might stand.

use super::{BackwardPass, ForwardPass, Function, Op, Portable, PortableStep, Value};

/// `y = 0`. It has no input and gives no gradient, so whatever it stands for is
/// neither computed nor learned.
///
/// # Shapes
/// Output: rows × any width.
#[derive(Debug)]
pub struct Zeros;

impl Op for Zeros {
    fn name(&self) -> &'static str {
        "zeros"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let zeros = to.constant(&[step.width], vec![0.0; step.width]);
        Some(to.apply(Function::EachRow, &[zeros]))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        pass.output.fill(0.0);
    }

    fn backward(&self, _pass: &mut BackwardPass<'_>) {}
}
