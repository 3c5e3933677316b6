//! Dropout.

use super::{BackwardPass, ForwardPass, Op};
use crate::compute::Mode;
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

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let input = pass.input(0);
        let width = input.width();
        for row in 0..pass.rows {
            let output = &mut pass.output[row * width..][..width];
            output.copy_from_slice(input.row(row));
            if let Mode::Train { seed, step } = pass.mode {
                let stream = Self::stream(seed, step, pass.step);
                let first = ((pass.first_row + row) * width) as u64;
                output.iter_mut().zip(first..).for_each(|(y, index)| *y *= self.factor(stream, index));
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width, first_row, place) = (pass.rows, pass.input(0).width(), pass.first_row, pass.step);
        let mode = pass.mode;
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        into.start(rows);
        for row in 0..rows {
            let first = ((first_row + row) * width) as u64;
            for ((into, g), index) in into.row(row).iter_mut().zip(&gradient[row * width..][..width]).zip(first..) {
                *into += match mode {
                    Mode::Train { seed, step } => g * self.factor(Self::stream(seed, step, place), index),
                    Mode::Score => *g,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;

    #[test]
    fn gradients() {
        check_op(&[5], |graph, inputs| graph.push("dropout", Dropout { rate: 0.4 }, inputs, &[], 5));
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
