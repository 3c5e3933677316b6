//! The numbers that a network has learned, and its weights as products want them.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use rayon::prelude::*;

use super::amx::{EMPTY, Laid, Line};
use super::graph::Program;
use super::matmul::{Layout, Matrix, Products, Right};

/// The dense parameters of a program, in one flat vector; use it as a slice.
///
/// Beside them stand the weights as the processor's matrix unit wants them, once
/// [`Program::prepare`] has laid them out; whatever changes a number forgets them.
/// They save time and change no bit.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    numbers: Vec<f32>,
    lines: Vec<Line>,
    /// What of `lines` holds these numbers,
    ready: Ready,
    /// and in whose order: several programs may share parameters.
    order: Option<Arc<[Option<Weights>]>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
enum Ready {
    #[default]
    Nothing,
    Forward,
    Both,
}

impl Parameters {
    /// The lines of a program's weights, if they are ready.
    fn lines(&self, program: &Program, wanted: Ready) -> Option<&[Line]> {
        let own = self.order.as_ref().is_some_and(|order| Arc::ptr_eq(order, &program.weights));
        (own && self.ready >= wanted).then_some(&self.lines)
    }
}

impl From<Vec<f32>> for Parameters {
    fn from(numbers: Vec<f32>) -> Parameters {
        Parameters { numbers, ..Parameters::default() }
    }
}

impl Deref for Parameters {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers
    }
}

impl DerefMut for Parameters {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.ready = Ready::Nothing;
        &mut self.numbers
    }
}

/// The weights of a step: matrices of one shape, one after the other, that are
/// right sides of its products.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights {
    /// Where the first number stands in the flat vector.
    offset: usize,
    rows: usize,
    columns: usize,
    count: usize,
    /// The rows of a lead ([`Graph::lead`](super::Graph::lead)); 0 for none.
    cut: usize,
    forward: Option<Place>,
    /// Transposed.
    backward: Option<Place>,
}

/// How matrices are laid out, and from which line on.
#[derive(Clone, Copy, Debug)]
struct Place {
    layout: Layout,
    from: usize,
}

impl Weights {
    /// The matrices of `rows × columns` in a part of the flat vector.
    pub fn new(part: Range<usize>, [rows, columns]: [usize; 2], cut: usize, products: Products) -> Weights {
        let place = |layout| Place { layout, from: 0 };
        let forward = products.layout(rows, columns, cut).map(place);
        let backward = products.layout(columns, rows, 0).map(place);
        let count = part.len() / (rows * columns).max(1);
        Weights { offset: part.start, rows, columns, count, cut, forward, backward }
    }

    /// Gives the matrices of all steps their lines, and tells how many they
    /// need: for the forward passes, which come first, and for all.
    pub fn place(all: &mut [Option<Weights>]) -> [usize; 2] {
        let mut lines = 0;
        [false, true].map(|backward| {
            for weights in all.iter_mut().flatten() {
                let place = if backward { &mut weights.backward } else { &mut weights.forward };
                if let Some(place) = place {
                    place.from = lines;
                    lines += weights.count * place.layout.lines();
                }
            }
            lines
        })
    }

    fn matrix<'a>(&self, numbers: &'a [f32], index: usize) -> Matrix<'a> {
        let size = self.rows * self.columns;
        Matrix::new(&numbers[self.offset + index * size..][..size], self.rows, self.columns, self.columns)
    }
}

/// The weights of one step of a program.
#[derive(Clone, Copy)]
pub(super) struct StepWeights<'a> {
    weights: Weights,
    numbers: &'a [f32],
    forward: Option<&'a [Line]>,
    backward: Option<&'a [Line]>,
}

impl<'a> StepWeights<'a> {
    /// Those of step `step`, if it has any.
    pub fn find(program: &Program, parameters: &'a Parameters, step: usize) -> Option<StepWeights<'a>> {
        Some(StepWeights {
            weights: program.weights[step]?,
            numbers: parameters,
            forward: parameters.lines(program, Ready::Forward),
            backward: parameters.lines(program, Ready::Both),
        })
    }

    /// Matrix `index`.
    pub fn forward(&self, index: usize) -> Right<'a> {
        let laid = self.weights.forward.zip(self.forward).map(|(place, lines)| place.laid(lines, index));
        Right::new(self.weights.matrix(self.numbers, index), self.weights.cut, laid)
    }

    /// Matrix `index`, transposed.
    pub fn backward(&self, index: usize) -> Right<'a> {
        let laid = self.weights.backward.zip(self.backward).map(|(place, lines)| place.laid(lines, index));
        Right::new(self.weights.matrix(self.numbers, index).transposed(), 0, laid)
    }
}

impl Place {
    fn laid<'a>(&self, lines: &'a [Line], index: usize) -> Laid<'a> {
        let count = self.layout.lines();
        self.layout.laid(&lines[self.from + index * count..][..count])
    }
}

impl Program {
    /// Lays the weights out, where that saves time, unless it has been done since
    /// the last change: for forward passes, and with `training` for backward
    /// ones too.
    pub fn prepare(&self, parameters: &mut Parameters, training: bool) {
        let wanted = if training { Ready::Both } else { Ready::Forward };
        if parameters.lines(self, wanted).is_some() {
            return;
        }
        let Parameters { numbers, lines, ready, order } = parameters;
        let needed = self.lines[usize::from(training)];
        if lines.len() < needed {
            lines.resize(needed, EMPTY);
        }
        let forward = self.weights.iter().flatten().map(|weights| (weights, weights.forward, false));
        let backward = self.weights.iter().flatten().map(|weights| (weights, weights.backward, true));
        let mut rest = &mut lines[..needed];
        let mut jobs = Vec::new();
        for (weights, place, transposed) in forward.chain(backward.take_while(|_| training)) {
            let Some(Place { layout, .. }) = place else { continue };
            for index in 0..weights.count {
                let matrix = weights.matrix(numbers, index);
                let matrix = if transposed { matrix.transposed() } else { matrix };
                let (own, after) = rest.split_at_mut(layout.lines());
                rest = after;
                jobs.extend(own.chunks_exact_mut(layout.strip()).enumerate().map(|strip| (layout, matrix, strip)));
            }
        }
        jobs.into_par_iter().for_each(|(layout, matrix, (strip, into))| layout.lay(matrix, strip, into));
        (*ready, *order) = (wanted, Some(self.weights.clone()));
    }
}
