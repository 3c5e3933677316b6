//! The weights of a program as its products want them.

use std::ops::Range;
use std::sync::Arc;

use super::line::Line;
use super::matmul::{Products, Right, RightLayout};
use super::matrix::Matrix;

/// The weights of all steps of a program. A copy is known as the same.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    of_step: Arc<[Option<StepWeights>]>,
    /// Lines that laying them out takes: for forward passes, and for all.
    lines: [usize; 2],
}

/// The weights of a step: matrices of one shape, one after the other, that are
/// right sides of its products.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepWeights {
    /// Where the first number stands in the flat vector.
    offset: usize,
    rows: usize,
    columns: usize,
    count: usize,
    /// The rows of a lead ([`Graph::lead`](super::Graph::lead)); 0 for none.
    cut: usize,
    forward: Span,
    /// Transposed.
    backward: Span,
}

/// How matrices are laid out, and from which line on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub layout: RightLayout,
    from: usize,
}

/// The lines of a program's weights, if they are laid out.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    pub forward: Option<&'a [Line]>,
    pub backward: Option<&'a [Line]>,
}

/// The weights of one step, with their numbers.
#[derive(Clone, Copy)]
pub(super) struct WeightsView<'a> {
    weights: StepWeights,
    numbers: &'a [f32],
    laid: Lines<'a>,
}

impl Weights {
    /// Gives the matrices of all steps their lines: those of the forward passes
    /// come first.
    pub fn new(mut of_step: Vec<Option<StepWeights>>) -> Weights {
        let mut at = 0;
        let lines = [false, true].map(|backward| {
            for weights in of_step.iter_mut().flatten() {
                let span = if backward { &mut weights.backward } else { &mut weights.forward };
                span.from = at;
                at += weights.count * span.layout.lines();
            }
            at
        });
        Weights { of_step: of_step.into(), lines }
    }

    /// Whether these are the weights of the same program.
    pub fn same(&self, other: &Weights) -> bool {
        Arc::ptr_eq(&self.of_step, &other.of_step)
    }

    /// The weights of a step, if it multiplies by any.
    pub fn of_step(&self, step: usize) -> Option<StepWeights> {
        self.of_step[step]
    }

    /// Lines that laying them out takes: for forward passes, and with `training`
    /// for backward ones too.
    pub fn lines(&self, training: bool) -> usize {
        self.lines[usize::from(training)]
    }

    /// All matrices that are laid out, in the order of their lines.
    pub fn matrices<'a>(&'a self, numbers: &'a [f32], training: bool) -> impl Iterator<Item = (Matrix<'a>, Span)> + 'a {
        let passes = [false, true].into_iter().take(1 + usize::from(training));
        let steps = passes.flat_map(|backward| self.of_step.iter().flatten().map(move |weights| (weights, backward)));
        steps.flat_map(move |(weights, backward)| {
            let span = if backward { weights.backward } else { weights.forward };
            let matrix = move |index| {
                let matrix = weights.matrix(numbers, index);
                if backward { matrix.transposed() } else { matrix }
            };
            (0..weights.count).map(move |index| (matrix(index), span))
        })
    }
}

impl StepWeights {
    /// The matrices of `rows × columns` in a part of the flat vector.
    pub fn new(part: Range<usize>, [rows, columns]: [usize; 2], cut: usize, products: Products) -> StepWeights {
        let span = |layout| Span { layout, from: 0 };
        let forward = span(products.layout(rows, columns, cut));
        let backward = span(products.layout(columns, rows, 0));
        let count = part.len() / (rows * columns).max(1);
        StepWeights { offset: part.start, rows, columns, count, cut, forward, backward }
    }

    /// With numbers, of the whole flat vector.
    pub fn view<'a>(self, numbers: &'a [f32], laid: Lines<'a>) -> WeightsView<'a> {
        WeightsView { weights: self, numbers, laid }
    }

    fn matrix<'a>(&self, numbers: &'a [f32], index: usize) -> Matrix<'a> {
        let size = self.rows * self.columns;
        Matrix::new(&numbers[self.offset + index * size..][..size], self.rows, self.columns, self.columns)
    }
}

impl<'a> WeightsView<'a> {
    /// Matrix `index`.
    pub fn forward(&self, index: usize) -> Right<'a> {
        let StepWeights { cut, forward, .. } = self.weights;
        right(self.weights.matrix(self.numbers, index), cut, (forward, self.laid.forward), index)
    }

    /// Matrix `index`, transposed.
    pub fn backward(&self, index: usize) -> Right<'a> {
        let backward = self.weights.backward;
        right(self.weights.matrix(self.numbers, index).transposed(), 0, (backward, self.laid.backward), index)
    }
}

/// A matrix with its lines, if they are there.
fn right<'a>(matrix: Matrix<'a>, cut: usize, (span, lines): (Span, Option<&'a [Line]>), index: usize) -> Right<'a> {
    let laid = lines.map(|lines| {
        let count = span.layout.lines();
        span.layout.laid(&lines[span.from + index * count..][..count])
    });
    Right::new(matrix, cut, laid)
}
