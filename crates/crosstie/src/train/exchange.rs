//! Where the workers of one training meet.

use crate::embedding::RowGradients;
use crate::learned::Gradients;

/// What several workers with the same model, each with its own rows of a batch,
/// tell each other in a step. Every worker makes the same calls in the same
/// order.
///
/// The losses of a step are sums over the rows of all workers, divided by the
/// number of all rows; so the sum of the workers' gradients is that of one
/// worker with all rows. Batch normalisation looks at each worker's rows alone.
pub trait Exchange: Send {
    /// Replaces numbers by their sums over all workers.
    fn sum(&mut self, numbers: &mut [f64]);

    /// Replaces the gradients of the dense parameters by their sums over all
    /// workers.
    fn sum_dense(&mut self, gradients: &mut [f32]);

    /// Replaces the gradients of the tables, one entry each, by their sums over
    /// all workers: for the rows that any of them has seen, in ascending order.
    fn sum_rows(&mut self, gradients: &mut Vec<RowGradients>);

    /// The square of the norm of summed gradients. A worker that holds a part of
    /// the rows only asks the others for theirs.
    fn square(&mut self, gradients: &Gradients) -> f64 {
        gradients.square()
    }
}

/// One worker, which has nobody to exchange with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Exchange for Alone {
    fn sum(&mut self, _numbers: &mut [f64]) {}

    fn sum_dense(&mut self, _gradients: &mut [f32]) {}

    fn sum_rows(&mut self, _gradients: &mut Vec<RowGradients>) {}
}
