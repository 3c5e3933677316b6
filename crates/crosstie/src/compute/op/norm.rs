//! Normalisation of a layer's values, by row or by batch.

use super::{BackwardPass, BatchView, ForwardPass, Function, Job, Op, Portable, PortableStep, Value};
use crate::compute::Mode;

const EPSILON: f32 = 1e-5;

/// `y = γ ⊙ (x - mean) / √(variance + 1e-5) + β`, mean and variance over each
/// of `groups` equal parts of the row (Ba, Kiros and Hinton, 2016).
///
/// Parameters: γ and β, one number per column.
#[derive(Debug)]
pub struct LayerNorm {
    /// Parts normalised each for itself.
    pub groups: usize,
}

fn mean_and_scale(values: &[f32]) -> (f32, f32) {
    let count = values.len() as f32;
    let mean = values.iter().sum::<f32>() / count;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / count;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let x = to.parts(step.inputs[0], self.groups);
        let mean = to.apply(Function::Mean, &[x]);
        let distance = to.apply(Function::Subtract, &[x, mean]);
        let squares = to.multiply(distance, distance);
        let (variance, least) = (to.apply(Function::Mean, &[squares]), to.number(EPSILON));
        let variance = to.add(variance, least);
        let deviation = to.apply(Function::Sqrt, &[variance]);
        let normal = to.apply(Function::Divide, &[distance, deviation]);
        let normal = to.flat(normal);
        let [gamma, beta] = [0, 1].map(|slot| to.constant(&[step.width], step.parameters[slot]));
        let scaled = to.multiply(normal, gamma);
        Some(to.add(scaled, beta))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (input, gamma, beta) = (pass.input(0), pass.parameter(0), pass.parameter(1));
        let (width, part) = (input.width(), input.width() / self.groups);
        for row in 0..pass.rows {
            for (index, values) in input.row(row).chunks_exact(part).enumerate() {
                let (mean, scale) = mean_and_scale(values);
                let from = index * part;
                for (column, value) in values.iter().enumerate() {
                    let normal = (value - mean) * scale;
                    pass.output[row * width + from + column] = gamma[from + column] * normal + beta[from + column];
                }
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, input, gamma) = (pass.rows, pass.input(0), pass.parameter(0));
        let (width, part) = (input.width(), input.width() / self.groups);
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        into.start(rows);
        for row in 0..rows {
            for (index, values) in input.row(row).chunks_exact(part).enumerate() {
                let (mean, scale) = mean_and_scale(values);
                let from = index * part;
                let gradient = &gradient[row * width + from..][..part];
                let gamma = &gamma[from..][..part];
                // d x = scale · (g - mean(g) - x̂ · mean(g ⊙ x̂)), g = γ ⊙ d y
                let (mut sum, mut along) = (0.0, 0.0);
                for ((x, g), gamma) in values.iter().zip(gradient).zip(gamma) {
                    sum += g * gamma;
                    along += g * gamma * (x - mean) * scale;
                }
                let (sum, along) = (sum / part as f32, along / part as f32);
                let into = &mut into.row(row)[from..][..part];
                for (((into, x), g), gamma) in into.iter_mut().zip(values).zip(gradient).zip(gamma) {
                    *into += scale * (g * gamma - sum - (x - mean) * scale * along);
                }
            }
        }
    }

    fn parameter_gradient(&self, job: &mut Job<'_>, accumulate: bool, chunks: &BatchView<'_>) {
        let slot = job.slot;
        let into = job.tile.row(0);
        if !accumulate {
            into.fill(0.0);
        }
        for chunk in chunks.chunks() {
            let (input, gradient) = (chunk.input(0), chunk.gradient());
            let part = input.width() / self.groups;
            for row in 0..chunk.rows {
                for (index, values) in input.row(row).chunks_exact(part).enumerate() {
                    let (mean, scale) = mean_and_scale(values);
                    let gradient = &gradient.row(row)[index * part..][..part];
                    for ((into, x), g) in into[index * part..][..part].iter_mut().zip(values).zip(gradient) {
                        *into += if slot == 0 { g * (x - mean) * scale } else { *g };
                    }
                }
            }
        }
    }
}

/// `y = γ ⊙ (x - mean) / √(variance + 1e-5) + β`, mean and variance of each
/// column over the batch in training, and their moving averages in scoring
/// (Ioffe and Szegedy, ICML 2015). So a row's score never depends on other rows. A batch
/// of one row, which has no variance, leaves the averages as they are.
///
/// Parameters: γ, β, and the kept moving mean and variance.
#[derive(Debug)]
pub struct BatchNorm {
    /// Number of columns.
    pub width: usize,
    /// Share of the old moving average that each batch leaves.
    pub momentum: f32,
}

impl BatchNorm {
    /// Mean and scale of column `column`: of the batch in training, kept ones in scoring.
    fn moments(&self, mode: Mode, statistics: &[f32], kept: (&[f32], &[f32]), column: usize) -> (f32, f32) {
        match mode {
            Mode::Train { .. } => (statistics[column], 1.0 / (statistics[self.width + column] + EPSILON).sqrt()),
            Mode::Score => (kept.0[column], 1.0 / (kept.1[column] + EPSILON).sqrt()),
        }
    }
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch norm"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(|slot| step.parameters[slot]);
        let scale: Vec<f32> = gamma.iter().zip(variance).map(|(gamma, x)| gamma / (x + EPSILON).sqrt()).collect();
        let shift = beta.iter().zip(mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale);
        let shift = to.constant(&[self.width], shift.collect::<Vec<f32>>());
        let scale = to.constant(&[self.width], scale);
        let scaled = to.multiply(step.inputs[0], scale);
        Some(to.add(scaled, shift))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (input, gamma, beta) = (pass.input(0), pass.parameter(0), pass.parameter(1));
        let kept = (pass.parameter(2), pass.parameter(3));
        for column in 0..self.width {
            let (mean, scale) = self.moments(pass.mode, pass.statistics, kept, column);
            for row in 0..pass.rows {
                let normal = (input.row(row)[column] - mean) * scale;
                pass.output[row * self.width + column] = gamma[column] * normal + beta[column];
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width, input, gamma) = (pass.rows, self.width, pass.input(0), pass.parameter(0));
        let (mode, statistics, kept) = (pass.mode, pass.statistics(), (pass.parameter(2), pass.parameter(3)));
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        into.start(rows);
        for column in 0..width {
            let (mean, scale) = self.moments(mode, statistics, kept, column);
            let (sum, along) = match mode {
                Mode::Train { .. } => (statistics[2 * width + column], statistics[3 * width + column]),
                Mode::Score => (0.0, 0.0),
            };
            for row in 0..rows {
                let normal = (input.row(row)[column] - mean) * scale;
                let g = gradient[row * width + column];
                into.row(row)[column] += gamma[column] * scale * (g - sum - normal * along);
            }
        }
    }

    fn parameter_gradient(&self, job: &mut Job<'_>, accumulate: bool, chunks: &BatchView<'_>) {
        let slot = job.slot;
        let (into, statistics, rows) = (job.tile.row(0), chunks.statistics(), chunks.rows() as f32);
        // The backward pass already knows the mean of g and of g ⊙ x̂.
        let from = if slot == 0 { 3 } else { 2 } * self.width;
        for (column, into) in into.iter_mut().enumerate() {
            *into = if accumulate { *into } else { 0.0 } + statistics[from + column] * rows;
        }
    }

    fn statistics(&self) -> usize {
        4 * self.width
    }

    fn reduce(&self, chunks: &BatchView<'_>, backward: bool, statistics: &mut [f32]) {
        let (width, count) = (self.width, chunks.rows() as f64);
        let mut sums = vec![(0f64, 0f64); width];
        let mut each = |term: &dyn Fn(usize, f32, f32) -> (f64, f64)| -> Vec<(f32, f32)> {
            sums.fill((0.0, 0.0));
            for chunk in chunks.chunks() {
                for row in 0..chunk.rows {
                    let input = chunk.input(0).row(row);
                    for (column, sum) in sums.iter_mut().enumerate() {
                        let gradient = if backward { chunk.gradient().row(row)[column] } else { 0.0 };
                        let term = term(column, input[column], gradient);
                        *sum = (sum.0 + term.0, sum.1 + term.1);
                    }
                }
            }
            sums.iter().map(|sum| ((sum.0 / count) as f32, (sum.1 / count) as f32)).collect()
        };
        let means = if backward {
            each(&|column, x, gradient| {
                let (mean, scale) = (statistics[column], 1.0 / (statistics[width + column] + EPSILON).sqrt());
                (f64::from(gradient), f64::from(gradient) * f64::from((x - mean) * scale))
            })
        } else {
            let means = each(&|_, x, _| (f64::from(x), 0.0));
            each(&|column, x, _| (f64::from(means[column].0), f64::from(x - means[column].0).powi(2)))
        };
        let from = if backward { 2 * width } else { 0 };
        for (column, (first, second)) in means.into_iter().enumerate() {
            statistics[from + column] = first;
            statistics[from + width + column] = second;
        }
    }

    fn keep(&self, slot: usize, rows: usize, statistics: &[f32], kept: &mut [f32]) {
        if rows < 2 {
            return;
        }
        let from = (slot - 2) * self.width;
        for (kept, new) in kept.iter_mut().zip(&statistics[from..]) {
            *kept = self.momentum * *kept + (1.0 - self.momentum) * new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;
    use crate::compute::{Graph, Init};

    fn scale_and_shift(graph: &mut Graph, width: usize) -> [crate::compute::ParameterId; 2] {
        let init = Init::Glorot { inputs: 2, outputs: 1 };
        [graph.parameter("gamma", &[width], init), graph.parameter("beta", &[width], init)]
    }

    #[test]
    fn gradients_by_row() {
        check_op(&[8], |graph, inputs| {
            let parameters = scale_and_shift(graph, 8);
            graph.push("norm", LayerNorm { groups: 2 }, inputs, &parameters, 8)
        });
    }

    #[test]
    fn gradients_by_batch() {
        check_op(&[3], |graph, inputs| {
            let [gamma, beta] = scale_and_shift(graph, 3);
            let kept = [graph.statistic("mean", &[3], 0.0), graph.statistic("variance", &[3], 1.0)];
            let op = BatchNorm { width: 3, momentum: 0.9 };
            graph.push("norm", op, inputs, &[gamma, beta, kept[0], kept[1]], 3)
        });
    }
}
