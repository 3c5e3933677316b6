//! The numbers that a network has learned.

use std::ops::{Deref, DerefMut};

use rayon::prelude::*;

use super::line::{EMPTY, Line};
use super::weights::{Lines, Span, Weights, WeightsView};

/// The dense parameters of a program, in one flat vector; use it as a slice.
///
/// Beside them stand the weights as the processor's products want them, once
/// [`Program::prepare`](super::Program::prepare) has laid them out; whatever
/// changes a number forgets them. They save time and change no bit.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    numbers: Vec<f32>,
    lines: Vec<Line>,
    /// What of `lines` holds these numbers,
    ready: Ready,
    /// and of whose weights: several programs may share parameters.
    of: Option<Weights>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
enum Ready {
    #[default]
    Nothing,
    Forward,
    Both,
}

impl Parameters {
    /// The weights of step `step` of a program, if it multiplies by any.
    pub(super) fn weights(&self, weights: &Weights, step: usize) -> Option<WeightsView<'_>> {
        let laid = Lines { forward: self.lines(weights, Ready::Forward), backward: self.lines(weights, Ready::Both) };
        Some(weights.of_step(step)?.view(&self.numbers, laid))
    }

    /// The lines of a program's weights, if they are ready.
    fn lines(&self, weights: &Weights, wanted: Ready) -> Option<&[Line]> {
        let own = self.of.as_ref().is_some_and(|of| of.same(weights));
        (own && self.ready >= wanted).then_some(&self.lines)
    }

    /// Lays a program's weights out unless they are.
    pub(super) fn lay_out(&mut self, weights: &Weights, training: bool) {
        let wanted = if training { Ready::Both } else { Ready::Forward };
        if self.lines(weights, wanted).is_some() {
            return;
        }
        let Parameters { numbers, lines, ready, of } = self;
        let needed = weights.lines(training);
        if lines.len() < needed {
            lines.resize(needed, EMPTY);
        }
        let mut rest = &mut lines[..needed];
        let mut jobs = Vec::new();
        for (matrix, Span { layout, .. }) in weights.matrices(numbers, training) {
            let (own, after) = rest.split_at_mut(layout.lines());
            rest = after;
            jobs.extend(own.chunks_exact_mut(layout.strip().max(1)).enumerate().map(|strip| (layout, matrix, strip)));
        }
        jobs.into_par_iter().for_each(|(layout, matrix, (strip, into))| layout.lay(matrix, strip, into));
        (*ready, *of) = (wanted, Some(weights.clone()));
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
