//! Dropout.

use super::{BackwardPass, ForwardPass, Op};
use crate::compute::Mode;
use crate::compute::kernel::{self, vectorised};
use crate::random::Stream;

/// In training, zeroes each number with probability `rate` and divides the
/// others by 1 - `rate`; in scoring, passes everything (Srivastava et al.,
/// JMLR 2014, with the scaling moved to training).
#[derive(Debug)]
pub struct Dropout {
    /// Probability of a zero, in [0, 1).
    pub rate: f32,
}

impl Dropout {
    /// The factor of one number. Addressed by its place, so it is the same in
    /// both passes and on any thread.
    #[inline(always)]
    fn factor(&self, stream: Stream, index: u64) -> f32 {
        let threshold = (f64::from(self.rate) * 2f64.powi(32)) as u64;
        if stream.bits(index) >> 32 < threshold { 0.0 } else { 1.0 / (1.0 - self.rate) }
    }

    fn stream(seed: u64, step: u64, place: usize) -> Stream {
        Stream::new(seed, "dropout").part(step).part(place as u64)
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn only_trains(&self) -> bool {
        true
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let input = pass.input(0);
        let width = input.width();
        for row in 0..pass.rows {
            let output = &mut pass.output[row * width..][..width];
            output.copy_from_slice(input.row(row));
            if let Mode::Train { seed, step } = pass.mode {
                let stream = Self::stream(seed, step, pass.step);
                let first = ((pass.first_row + row) * width) as u64;
                vectorised(
                    #[inline(always)]
                    || {
                        for (column, y) in output.iter_mut().enumerate() {
                            *y *= self.factor(stream, first + column as u64);
                        }
                    },
                );
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width, first_row, place) = (pass.rows, pass.input(0).width(), pass.first_row, pass.step);
        let mode = pass.mode;
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        let accumulate = into.accumulate;
        for row in 0..rows {
            let first = ((first_row + row) * width) as u64;
            let (into, gradient) = (into.row(row), &gradient[row * width..][..width]);
            if !accumulate {
                into.fill(0.0);
            }
            let Mode::Train { seed, step } = mode else {
                kernel::add(into, gradient);
                continue;
            };
            let stream = Self::stream(seed, step, place);
            vectorised(
                #[inline(always)]
                || {
                    for (column, (into, g)) in into.iter_mut().zip(gradient).enumerate() {
                        *into += g * self.factor(stream, first + column as u64);
                    }
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::compute::check::check_op;
    use crate::compute::op::Sum;
    use crate::compute::{Graph, Parameters};

    #[test]
    fn gradients() {
        check_op(&[5], |graph, inputs| graph.push("dropout", Dropout { rate: 0.4 }, inputs, &[], 5));
    }

    #[test]
    fn scoring_reads_past_it_and_still_finds_it_where_it_is_asked_for() {
        for asked in [false, true] {
            let mut graph = Graph::new(1);
            let input = graph.source("input", 3, false);
            let hidden = graph.push("dropout", Dropout { rate: 0.5 }, &[input], &[], 3);
            let sum = graph.push(
                "sum",
                Sum { scales: vec![1.0, 1.0] },
                &[hidden.columns(1, 2), hidden.columns(0, 2)],
                &[],
                2,
            );
            graph.output(if asked { hidden } else { sum });
            let output = if asked { hidden } else { sum };
            let program = graph.compile().unwrap();
            assert_eq!(program.score[0], asked);
            let mut workspace = program.workspace(2, false);
            let fill = |_: usize, _: Range<usize>, into: &mut [f32]| {
                into.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            };
            program.score(&mut workspace, &Parameters::default(), 2, std::slice::from_ref(&(0..2)), &fill);
            let found: Vec<f32> = workspace.values(&program, output).flatten().copied().collect();
            let expected: &[f32] = if asked { &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0] } else { &[3.0, 5.0, 9.0, 11.0] };
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_share_of_zeros_is_the_rate_and_the_mean_is_kept() {
        let dropout = Dropout { rate: 0.3 };
        let factors: Vec<f32> = (0..100_000).map(|index| dropout.factor(Stream::new(5, "test"), index)).collect();
        let zeros = factors.iter().filter(|factor| **factor == 0.0).count();
        assert!((zeros as f64 / 1e5 - 0.3).abs() < 0.006, "{zeros}");
        assert!((factors.iter().sum::<f32>() / 1e5 - 1.0).abs() < 0.01);
    }
}
