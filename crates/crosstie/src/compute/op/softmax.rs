//! Softmax over groups of columns.

use super::{BackwardPass, ForwardPass, Function, Op, Portable, PortableStep, Value};

/// `y = softmax(x)` over each group of columns for itself.
#[derive(Debug)]
pub struct Softmax {
    /// Number of columns of each group; they cover the input.
    pub groups: Vec<usize>,
}

impl Softmax {
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.groups.iter().scan(0, |at, width| {
            let start = *at;
            *at += width;
            Some(start..*at)
        })
    }
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let softmax = self.ranges().map(|range| {
            let group = to.columns(step.inputs[0], range.start, range.len());
            to.apply(Function::Softmax, &[group])
        });
        let groups: Vec<Value> = softmax.collect();
        Some(to.concat(&groups))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let input = pass.input(0);
        for row in 0..pass.rows {
            let output = &mut pass.output[row * input.width()..][..input.width()];
            output.copy_from_slice(input.row(row));
            for range in self.ranges() {
                let group = &mut output[range];
                let highest = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                group.iter_mut().for_each(|x| *x = (*x - highest).exp());
                let scale = 1.0 / group.iter().sum::<f32>();
                group.iter_mut().for_each(|x| *x *= scale);
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width, output) = (pass.rows, pass.input(0).width(), pass.output());
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        into.start(rows);
        for row in 0..rows {
            let (y, g, into) = (&output[row * width..][..width], &gradient[row * width..][..width], into.row(row));
            for range in self.ranges() {
                let mean: f32 = range.clone().map(|column| y[column] * g[column]).sum();
                range.for_each(|column| into[column] += y[column] * (g[column] - mean));
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
        check_op(&[6], |graph, inputs| graph.push("softmax", Softmax { groups: vec![2, 1, 3] }, inputs, &[], 6));
    }
}
