//! The operations of a graph. A new one is one file: its forward pass, its
//! backward pass, and a check of both.

use std::fmt::Debug;

use super::matrix::MatrixMut;

mod activation;
mod broadcast;
mod concat;
mod cosine;
mod dot;
mod dropout;
mod hinge;
mod linear;
mod masked;
mod mix;
mod norm;
mod pairs;
mod product;
mod scenario;
mod softmax;
mod zeros;

pub use activation::{Activate, Activation};
pub use broadcast::Broadcast;
pub use concat::Concat;
pub use cosine::Cosine;
pub use dot::Dot;
pub use dropout::Dropout;
pub use hinge::Hinge;
pub use linear::Linear;
pub use masked::Masked;
pub use mix::Mix;
pub use norm::{BatchNorm, LayerNorm};
pub use pairs::Pairs;
pub use product::{Multiply, Sum};
pub use scenario::ScenarioVector;
pub use softmax::Softmax;
pub use zeros::Zeros;

pub use super::buffer::{View, ViewMut};
pub use super::pass::{BackwardPass, BatchView, ChunkView, ForwardPass, Lead};
pub use super::portable::{Function, Portable, PortableStep, Value};

/// One operation. All work is row by row: output row i depends on row i of
/// the inputs alone (batch normalisation during training is the exception,
/// and says so through [`Op::statistics`]).
pub trait Op: Debug + Send + Sync {
    /// Short name for pictures and messages.
    fn name(&self) -> &'static str;

    /// Fills the output of one chunk.
    fn forward(&self, pass: &mut ForwardPass<'_>);

    /// Adds to, or overwrites, the gradients of the inputs of one chunk. May
    /// use the output's gradient as scratch: what it leaves there is what
    /// [`Op::parameter_gradient`] sees.
    fn backward(&self, pass: &mut BackwardPass<'_>);

    /// Tells what it computes in scoring in words that other engines know; `None` of
    /// what is there for training alone.
    fn portable<'a>(&self, _to: &mut Portable<'a>, _step: PortableStep<'_, 'a>) -> Option<Value> {
        None
    }

    /// Whether it treats the rows of different scenarios differently.
    fn routed(&self) -> bool {
        false
    }

    /// Whether it copies its first input in scoring, so that it can be left out.
    fn only_trains(&self) -> bool {
        false
    }

    /// The shape, inputs × outputs, of the matrices that parameter 0 consists of,
    /// if the op multiplies its first input by them
    /// ([`ForwardPass::weights`]).
    fn weights(&self) -> Option<[usize; 2]> {
        None
    }

    /// Cuts the gradient of parameter `slot` into jobs that may run on
    /// different threads, of about `columns` columns if it is wide.
    fn jobs<'a>(&self, slot: usize, gradient: &'a mut [f32], _columns: usize) -> Vec<Job<'a>> {
        let length = gradient.len();
        vec![Job { slot, part: 0, column: 0, tile: MatrixMut::new(gradient, 1, length, length) }]
    }

    /// Computes one job over all chunks, in their order. Overwrites the tile,
    /// or adds to it if `accumulate`.
    fn parameter_gradient(&self, _job: &mut Job<'_>, _accumulate: bool, _chunks: &BatchView<'_>) {
        unreachable!("{} has no parameters", self.name());
    }

    /// Computes the jobs of one part and column: where parameters read the same, at once.
    fn parameter_gradients(&self, jobs: &mut [Job<'_>], accumulate: bool, chunks: &BatchView<'_>) {
        jobs.iter_mut().for_each(|job| self.parameter_gradient(job, accumulate, chunks));
    }

    /// How many numbers this op needs to know of the whole batch during
    /// training; [`Op::reduce`] computes them.
    fn statistics(&self) -> usize {
        0
    }

    /// Computes statistics over all chunks, before the forward pass and again,
    /// with `backward`, before the backward pass.
    fn reduce(&self, _chunks: &BatchView<'_>, _backward: bool, _statistics: &mut [f32]) {}

    /// Updates what the op keeps between batches from the statistics of this batch, of so
    /// many rows.
    fn keep(&self, _slot: usize, _rows: usize, _statistics: &[f32], _kept: &mut [f32]) {}
}

/// A part of a parameter's gradient.
pub struct Job<'a> {
    /// Which parameter of the op.
    pub slot: usize,
    /// Which block of the parameter.
    pub part: usize,
    /// First column of the tile within its block.
    pub column: usize,
    /// Where the gradient goes.
    pub tile: MatrixMut<'a>,
}
