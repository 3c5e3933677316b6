//! Nothing, where something else might stand.

use super::{BackwardPass, ForwardPass, Op};

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

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        pass.output.fill(0.0);
    }

    fn backward(&self, _pass: &mut BackwardPass<'_>) {}
}
