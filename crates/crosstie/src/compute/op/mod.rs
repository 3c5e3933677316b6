//! The operations of a graph. A new one is one file: its forward pass, its
//! backward pass, and a check of both.

use std::fmt::Debug;
use std::ops::Range;

use super::graph::{Node, Parameter, ParameterId, Write};
use super::matmul::{Matrix, MatrixMut, Products, Right};
use super::parameters::StepWeights;
use super::workspace::{Chunk, Mode};

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
    /// different threads.
    fn jobs<'a>(&self, _slot: usize, gradient: &'a mut [f32]) -> Vec<Job<'a>> {
        let length = gradient.len();
        vec![Job { part: 0, column: 0, tile: MatrixMut::new(gradient, 1, length, length) }]
    }

    /// Computes one job over all chunks, in their order. Overwrites the tile,
    /// or adds to it if `accumulate`.
    fn parameter_gradient(&self, _slot: usize, _job: &mut Job<'_>, _accumulate: bool, _chunks: &BatchView<'_>) {
        unreachable!("{} has no parameters", self.name());
    }

    /// How many numbers this op needs to know of the whole batch during
    /// training; [`Op::reduce`] computes them.
    fn statistics(&self) -> usize {
        0
    }

    /// Computes statistics over all chunks, before the forward pass and again,
    /// with `backward`, before the backward pass.
    fn reduce(&self, _chunks: &BatchView<'_>, _backward: bool, _statistics: &mut [f32]) {}

    /// Updates what the op keeps between batches from this batch's statistics.
    fn keep(&self, _slot: usize, _statistics: &[f32], _kept: &mut [f32]) {}
}

/// A part of a parameter's gradient.
pub struct Job<'a> {
    /// Which block of the parameter.
    pub part: usize,
    /// First column of the tile within its block.
    pub column: usize,
    /// Where the gradient goes.
    pub tile: MatrixMut<'a>,
}

/// Some columns of a chunk's buffer.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    stride: usize,
    from: usize,
    width: usize,
}

impl<'a> View<'a> {
    /// One row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride + self.from..][..self.width]
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Some rows and columns as a matrix.
    pub fn matrix(&self, rows: Range<usize>, column: usize, width: usize) -> Matrix<'a> {
        assert!(column + width <= self.width);
        Matrix::new(&self.data[rows.start * self.stride + self.from + column..], rows.len(), width, self.stride)
    }
}

/// Some columns of a chunk's buffer, to be written.
pub struct ViewMut<'a> {
    data: &'a mut [f32],
    stride: usize,
    from: usize,
    width: usize,
    /// Whether to add to what is there rather than overwrite it.
    pub accumulate: bool,
}

impl ViewMut<'_> {
    /// One row.
    #[inline(always)]
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.stride + self.from..][..self.width]
    }

    /// Some rows and columns as a matrix.
    pub fn matrix(&mut self, rows: Range<usize>, column: usize, width: usize) -> MatrixMut<'_> {
        assert!(column + width <= self.width);
        MatrixMut::new(&mut self.data[rows.start * self.stride + self.from + column..], rows.len(), width, self.stride)
    }

    /// Zeroes the rows unless they are to be added to; afterwards adding is
    /// right in either case.
    pub fn start(&mut self, rows: usize) {
        if !self.accumulate {
            for row in 0..rows {
                self.row(row).fill(0.0);
            }
        }
        self.accumulate = true;
    }
}

/// What the forward pass of one chunk sees.
pub struct ForwardPass<'a> {
    /// Rows of the chunk.
    pub rows: usize,
    /// Row of the batch that the chunk's first row is.
    pub first_row: usize,
    /// Rows of the chunk per scenario; they cover the chunk in order.
    pub segments: &'a [Range<usize>],
    /// Training or scoring.
    pub mode: Mode,
    /// How exact products are.
    pub products: Products,
    /// The output, `rows × width`, row-major.
    pub output: &'a mut [f32],
    pub(super) step: usize,
    pub(super) inputs: &'a [Node],
    pub(super) buffers: &'a [Vec<f32>],
    pub(super) widths: &'a [usize],
    pub(super) leads: &'a [usize],
    pub(super) starts: &'a [Vec<usize>],
    pub(super) parameters: &'a [&'a [f32]],
    pub(super) weights: Option<StepWeights<'a>>,
    pub(super) statistics: &'a [f32],
}

/// The first columns of an input, in which rows that follow each other often
/// agree.
#[derive(Clone, Copy)]
pub struct Lead<'a> {
    /// How many columns.
    pub columns: usize,
    /// The rows that differ in them from the row before.
    pub starts: &'a [usize],
}

impl<'a> ForwardPass<'a> {
    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Input `index`.
    pub fn input(&self, index: usize) -> View<'a> {
        view(self.inputs[index], self.buffers, self.widths)
    }

    /// The lead of input `index`, in scoring, where the graph has declared one.
    pub fn lead(&self, index: usize) -> Option<Lead<'a>> {
        let node = self.inputs[index];
        let columns = node.lead(self.leads);
        (columns > 0 && self.mode == Mode::Score).then(|| Lead { columns, starts: &self.starts[node.buffer] })
    }

    /// Parameter `slot`.
    pub fn parameter(&self, slot: usize) -> &'a [f32] {
        self.parameters[slot]
    }

    /// The matrices of the weights ([`Op::weights`]).
    pub fn weights(&self) -> impl Fn(usize) -> Right<'a> + use<'a> {
        let weights = self.weights.expect("an op that declares its weights");
        move |index| weights.forward(index)
    }

    /// Statistics of the whole batch.
    pub fn statistics(&self) -> &'a [f32] {
        self.statistics
    }

    /// A number that tells this op from the others of the graph.
    pub fn step(&self) -> usize {
        self.step
    }
}

/// What the backward pass of one chunk sees.
pub struct BackwardPass<'a> {
    /// Rows of the chunk.
    pub rows: usize,
    /// Row of the batch that the chunk's first row is.
    pub first_row: usize,
    /// Rows of the chunk per scenario; they cover the chunk in order.
    pub segments: &'a [Range<usize>],
    /// Training or scoring.
    pub mode: Mode,
    /// How exact products are.
    pub products: Products,
    /// The output's gradient, `rows × width`, row-major.
    pub gradient: &'a mut [f32],
    pub(super) step: usize,
    pub(super) output: Node,
    pub(super) inputs: &'a [Node],
    pub(super) buffers: &'a [Vec<f32>],
    pub(super) gradients: &'a mut [Vec<f32>],
    pub(super) writes: &'a [Write],
    pub(super) widths: &'a [usize],
    pub(super) parameters: &'a [&'a [f32]],
    pub(super) weights: Option<StepWeights<'a>>,
    pub(super) statistics: &'a [f32],
}

impl<'a> BackwardPass<'a> {
    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Input `index`.
    pub fn input(&self, index: usize) -> View<'a> {
        view(self.inputs[index], self.buffers, self.widths)
    }

    /// What the forward pass put out, `rows × width`.
    pub fn output(&self) -> &'a [f32] {
        &self.buffers[self.output.buffer]
    }

    /// The output's gradient and where the gradient of input `index` goes;
    /// `None` if none flows there.
    pub fn gradients(&mut self, index: usize) -> Option<(&[f32], ViewMut<'_>)> {
        let node = self.inputs[index];
        let accumulate = match self.writes[index] {
            Write::Skip => return None,
            Write::First => false,
            Write::Add => true,
        };
        let data = self.gradients[node.buffer].as_mut_slice();
        let view = ViewMut { data, stride: self.widths[node.buffer], from: node.from, width: node.width, accumulate };
        Some((self.gradient, view))
    }

    /// Parameter `slot`.
    pub fn parameter(&self, slot: usize) -> &'a [f32] {
        self.parameters[slot]
    }

    /// The matrices of the weights ([`Op::weights`]), transposed.
    pub fn weights(&self) -> impl Fn(usize) -> Right<'a> + use<'a> {
        let weights = self.weights.expect("an op that declares its weights");
        move |index| weights.backward(index)
    }

    /// Statistics of the whole batch.
    pub fn statistics(&self) -> &'a [f32] {
        self.statistics
    }

    /// A number that tells this op from the others of the graph.
    pub fn step(&self) -> usize {
        self.step
    }
}

/// One step's inputs, output and gradient in every chunk of the batch, and its
/// parameters.
pub struct BatchView<'a> {
    pub(super) chunks: &'a [Chunk],
    pub(super) inputs: &'a [Node],
    pub(super) output: Node,
    pub(super) widths: &'a [usize],
    pub(super) statistics: &'a [f32],
    pub(super) slots: &'a [ParameterId],
    pub(super) parameters: &'a [Parameter],
    pub(super) numbers: &'a [f32],
    pub(super) products: Products,
}

impl<'a> BatchView<'a> {
    /// Parameter `slot`.
    pub fn parameter(&self, slot: usize) -> &'a [f32] {
        &self.numbers[self.parameters[self.slots[slot].0].range()]
    }

    /// How exact products are.
    pub fn products(&self) -> Products {
        self.products
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows).sum()
    }

    /// The statistics computed before the forward pass.
    pub fn statistics(&self) -> &'a [f32] {
        self.statistics
    }

    /// The chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkView<'a>> + '_ {
        self.chunks.iter().map(|chunk| ChunkView {
            rows: chunk.rows,
            segments: &chunk.segments,
            chunk,
            inputs: self.inputs,
            output: self.output,
            widths: self.widths,
        })
    }
}

/// One step's inputs, output and gradient in one chunk.
pub struct ChunkView<'a> {
    /// Rows of the chunk.
    pub rows: usize,
    /// Rows of the chunk per scenario.
    pub segments: &'a [Range<usize>],
    chunk: &'a Chunk,
    inputs: &'a [Node],
    output: Node,
    widths: &'a [usize],
}

impl<'a> ChunkView<'a> {
    /// Input `index`.
    pub fn input(&self, index: usize) -> View<'a> {
        view(self.inputs[index], &self.chunk.values, self.widths)
    }

    /// The output.
    pub fn output(&self) -> View<'a> {
        view(self.output, &self.chunk.values, self.widths)
    }

    /// The output's gradient, as the backward pass left it.
    pub fn gradient(&self) -> View<'a> {
        view(self.output, &self.chunk.gradients, self.widths)
    }
}

fn view<'a>(node: Node, buffers: &'a [Vec<f32>], widths: &[usize]) -> View<'a> {
    View { data: &buffers[node.buffer], stride: widths[node.buffer], from: node.from, width: node.width }
}
