//! Weights for rows that a model finds hard.

use super::FunnelLoss;
use crate::compute::op::{BackwardPass, ForwardPass, Op};

/// `w = 1 + beta_task · |y - p|^gamma` for every row and task, p being the
/// probability that the loss is about; 1 where the row does not count. Gives
/// no gradient: hand it logits through [`Node::stop_gradient`].
///
/// [`Node::stop_gradient`]: crate::compute::Node::stop_gradient
///
/// # Shapes
/// Input 0: logits, rows × heads. Input 1: labels, rows × tasks. Output: rows
/// × tasks.
#[derive(Debug)]
pub struct HardExample {
    /// The loss whose error counts.
    pub loss: FunnelLoss,
    /// Per task: most that is added to the weight.
    pub betas: Vec<f32>,
    /// The greater, the more the weight belongs to the hardest rows.
    pub gamma: f32,
}

impl Op for HardExample {
    fn name(&self) -> &'static str {
        "hard-example weight"
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (logits, labels) = (pass.input(0), pass.input(1));
        for (row, output) in pass.output.chunks_exact_mut(labels.width()).enumerate() {
            self.loss.row(logits.row(row), labels.row(row), output);
            for (task, (weight, beta)) in output.iter_mut().zip(&self.betas).enumerate() {
                // Cross-entropy is -ln p(label), and |y - p| is 1 - p(label).
                let error = -(-*weight).exp_m1();
                let hard = if self.loss.counts(labels.row(row), task) { error.powf(self.gamma) } else { 0.0 };
                *weight = 1.0 + beta * hard;
            }
        }
    }

    fn backward(&self, _pass: &mut BackwardPass<'_>) {}
}
