//! What an operation sees of a batch.

use std::ops::Range;

use super::buffer::{Chunk, Mode, View, ViewMut};
use super::matmul::{Products, Right};
use super::node::{Node, Parameter, ParameterId, Write};
use super::weights::WeightsView;

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
    pub(super) weights: Option<WeightsView<'a>>,
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
        View::of(self.inputs[index], self.buffers, self.widths)
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

    /// The matrices of the weights ([`Op::weights`](super::Op::weights)).
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
    pub(super) weights: Option<WeightsView<'a>>,
    pub(super) statistics: &'a [f32],
}

impl<'a> BackwardPass<'a> {
    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Input `index`.
    pub fn input(&self, index: usize) -> View<'a> {
        View::of(self.inputs[index], self.buffers, self.widths)
    }

    /// What the forward pass put out, `rows × width`.
    pub fn output(&self) -> &'a [f32] {
        &self.buffers[self.output.buffer]
    }

    /// The output's gradient and where the gradient of input `index` goes;
    /// `None` if none flows there.
    pub fn gradients(&mut self, index: usize) -> Option<(&mut [f32], ViewMut<'_>)> {
        let node = self.inputs[index];
        let accumulate = match self.writes[index] {
            Write::Skip => return None,
            Write::First => false,
            Write::Add => true,
        };
        Some((self.gradient, ViewMut::of(node, self.gradients, self.widths, accumulate)))
    }

    /// Parameter `slot`.
    pub fn parameter(&self, slot: usize) -> &'a [f32] {
        self.parameters[slot]
    }

    /// The matrices of the weights ([`Op::weights`](super::Op::weights)), transposed.
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
        View::of(self.inputs[index], &self.chunk.values, self.widths)
    }

    /// The output.
    pub fn output(&self) -> View<'a> {
        View::of(self.output, &self.chunk.values, self.widths)
    }

    /// The output's gradient, as the backward pass left it.
    pub fn gradient(&self) -> View<'a> {
        View::of(self.output, &self.chunk.gradients, self.widths)
    }
}
