//! Two answers to one question, row by row.

use super::FunnelLoss;
use crate::compute::op::{BackwardPass, ForwardPass, Op};

/// 1 where the first logits have the smaller loss, 0 where they do not, NaN
/// where the row does not count for the task. For diagnosis; gives no gradient.
///
/// # Shapes
/// Inputs 0 and 1: logits, rows × heads. Input 2: labels, rows × tasks.
/// Output: rows × tasks.
#[derive(Debug)]
pub struct Beats {
    /// The loss that decides.
    pub loss: FunnelLoss,
}

impl Op for Beats {
    fn name(&self) -> &'static str {
        "beats"
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (one, other, labels) = (pass.input(0), pass.input(1), pass.input(2));
        let mut others = vec![0.0; labels.width()];
        for (row, output) in pass.output.chunks_exact_mut(labels.width()).enumerate() {
            let labels = labels.row(row);
            self.loss.row(one.row(row), labels, output);
            self.loss.row(other.row(row), labels, &mut others);
            for (task, (output, other)) in output.iter_mut().zip(&others).enumerate() {
                let beats = if *output < *other { 1.0 } else { 0.0 };
                *output = if self.loss.counts(labels, task) { beats } else { f32::NAN };
            }
        }
    }

    fn backward(&self, _pass: &mut BackwardPass<'_>) {}
}
