//! The average of the weights that training passes through, which is what is
//! evaluated and kept.
//!
//! Steps on small batches wander around where they lead to. The mean over the way
//! is nearer to it than where the last step happens to be, and learns rare values
//! less by heart. The weights of late steps count most: polynomial-decay averaging
//! (Shamir and Zhang, ICML 2013, section 4) with η = 8 is
//!
//! ```text
//! w̄_t = w̄_(t-1) + (1 - β_t) (w_t - w̄_(t-1))        β_t = (t - 1) / (t + η)
//! ```
//!
//! so about the last ninth of the steps counts, however many there are, and there
//! is nothing to be set.
//!
//! A row of a table moves only in the steps that see it. In between, its average
//! comes nearer to it by the product of the β, which has a closed form, so a step
//! costs as much as the rows it has seen.

use rayon::prelude::*;

use crate::compute::kernel::vectorised;
use crate::embedding::RowGradients;
use crate::learned::Learned;
use crate::tensors::Numbers;

/// η.
const DECAY: u64 = 8;
/// Rows, or numbers of the network, that one job brings up to date.
const PIECE: usize = 4096;

/// The average after so many steps.
#[derive(Clone, Debug)]
pub(super) struct Average {
    parameters: Vec<f32>,
    tables: Vec<Rows>,
}

/// The average of a table's rows.
#[derive(Clone, Debug)]
struct Rows {
    weights: Vec<f32>,
    /// The step after which each row's average is that of now; 0 for rows that have
    /// never moved.
    last: Vec<u32>,
}

/// The product of β over the steps after `from` up to `to`.
fn passed(from: u64, to: u64) -> f32 {
    if from == 0 {
        return 0.0;
    }
    (0..=DECAY).map(|k| (from + k) as f64 / (to + k) as f64).product::<f64>() as f32
}

/// Brings an average nearer to where the weights are; in a vectorised loop.
#[inline(always)]
fn approach(average: &mut [f32], weights: &[f32], rest: f32) {
    average.iter_mut().zip(weights).for_each(|(average, weight)| *average += (1.0 - rest) * (weight - *average));
}

impl Average {
    /// At the start of a training.
    pub fn new(learned: &Learned) -> Average {
        let tables = learned.tables().all().iter();
        Average {
            parameters: learned.parameters().to_vec(),
            tables: tables.map(|table| Rows { weights: table.weights.clone(), last: vec![0; table.rows] }).collect(),
        }
    }

    /// Before step `step` (from 1) moves the rows that it has seen.
    pub fn before(&mut self, step: u64, learned: &Learned, seen: &[RowGradients]) {
        self.of_seen(learned, seen, |last| passed(u64::from(*last), step - 1));
    }

    /// After step `step`.
    pub fn after(&mut self, step: u64, learned: &Learned, seen: &[RowGradients]) {
        let rest = passed(step - 1, step);
        let pieces = self.parameters.par_chunks_mut(PIECE).zip(learned.parameters().par_chunks(PIECE));
        pieces.for_each(|(average, weights)| {
            vectorised(
                #[inline(always)]
                || approach(average, weights, rest),
            )
        });
        self.of_seen(learned, seen, |last| {
            *last = step as u32;
            rest
        });
    }

    /// `rest` tells, by the step that a row's average is of, how much of its distance
    /// stays, and may bring that step up to date.
    fn of_seen(&mut self, learned: &Learned, seen: &[RowGradients], rest: impl Fn(&mut u32) -> f32 + Sync) {
        let tables = self.tables.par_iter_mut().with_max_len(1);
        tables.zip(learned.tables().all()).zip(seen).for_each(|((rows, table), seen)| {
            let width = table.width;
            vectorised(
                #[inline(always)]
                || {
                    for row in seen.rows.iter().map(|row| *row as usize) {
                        let place = row * width..(row + 1) * width;
                        let rest = rest(&mut rows.last[row]);
                        approach(&mut rows.weights[place.clone()], &table.weights[place], rest);
                    }
                },
            );
        });
    }

    /// Exchanges the weights for their average after step `step`, or back.
    pub fn exchange(&mut self, step: u64, learned: &mut Learned) {
        let (tables, parameters) = learned.numbers_mut();
        parameters.swap_with_slice(&mut self.parameters);
        for (rows, table) in self.tables.iter_mut().zip(tables.all_mut()) {
            let width = table.width.max(1);
            let jobs = rows.weights.par_chunks_mut(PIECE * width).zip(table.weights.par_chunks_mut(PIECE * width));
            jobs.zip(rows.last.par_chunks_mut(PIECE)).for_each(|((average, weights), last)| {
                let rows = average.chunks_exact_mut(width).zip(weights.chunks_exact_mut(width)).zip(last);
                vectorised(
                    #[inline(always)]
                    || {
                        for ((average, weights), last) in rows {
                            // On the way back every row is of `step` already, or has never moved.
                            if *last != 0 && u64::from(*last) != step {
                                approach(average, weights, passed(u64::from(*last), step));
                                *last = step as u32;
                            }
                            average.swap_with_slice(weights);
                        }
                    },
                );
            });
        }
    }

    /// The parameters and every table, of the step for which weights were last
    /// [exchanged](Average::exchange), and exchanged back.
    pub fn weights(&self) -> (&[f32], Vec<&[f32]>) {
        (&self.parameters, self.tables.iter().map(|rows| &rows.weights[..]).collect())
    }

    /// All its numbers, by name, to be stored or restored.
    pub fn numbers(&mut self) -> Vec<(String, Numbers<'_>)> {
        let mut numbers = vec![("average.parameters".to_string(), Numbers::F32(&mut self.parameters))];
        for (place, Rows { weights, last }) in self.tables.iter_mut().enumerate() {
            numbers.push((format!("average.tables.{place}"), Numbers::F32(weights)));
            numbers.push((format!("average.tables.{place}.last"), Numbers::U32(last)));
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_is_the_product_of_the_factors() {
        let beta = |t: u64| (t - 1) as f64 / (t + DECAY) as f64;
        for (from, to) in [(1, 1), (1, 2), (3, 40), (500, 501), (7, 7_000)] {
            let product: f64 = (from + 1..=to).map(beta).product();
            assert!((f64::from(passed(from, to)) - product).abs() < 1e-6 * product.max(1e-3), "{from} {to}");
        }
        assert_eq!(passed(0, 5), 0.0, "the first step leaves nothing of the start");
    }

    #[test]
    fn late_steps_count_most_and_nothing_else_does() {
        // w_t = t: the average of a straight line lags by a tenth of its length.
        let (mut average, mut weight) = ([0.0f32], [0.0f32]);
        for step in 1..=1_000u64 {
            weight[0] = step as f32;
            approach(&mut average, &weight, passed(step - 1, step));
        }
        assert!((average[0] - 900.0).abs() < 2.0, "{}", average[0]);
        // A weight that stands still is its own average, to the bit.
        let (mut average, weight) = ([0.3f32], [0.3f32]);
        (1..100u64).for_each(|step| approach(&mut average, &weight, passed(step - 1, step)));
        assert_eq!(average, weight);
    }
}
