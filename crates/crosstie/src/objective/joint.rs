//! The tasks' probabilities from the impression, as a node to build losses on.

use super::{Objective, Room};
use crate::compute::op::{BackwardPass, ForwardPass, Op, Portable, PortableStep, Value};

/// p(action and its ancestors | impression) of every task.
///
/// # Shapes
/// Input: logits, rows × heads. Output: rows × tasks.
#[derive(Debug)]
pub struct Joint {
    /// What the logits mean.
    pub objective: Objective,
}

impl Op for Joint {
    fn name(&self) -> &'static str {
        "joint probability"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let tasks = self.objective.portable(to, step.inputs[0], &[]);
        let joint: Vec<Value> = tasks.iter().map(|task| task.from_impression).collect();
        Some(to.concat(&joint))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let logits = pass.input(0);
        for (row, output) in pass.output.chunks_exact_mut(self.objective.funnel.tasks()).enumerate() {
            let mut room = Room::new();
            let chances = self.objective.chances(logits.row(row), &[], &mut room);
            output.iter_mut().zip(chances).for_each(|(p, chances)| *p = chances.joint.yes.exp() as f32);
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, logits, tasks) = (pass.rows, pass.input(0), self.objective.funnel.tasks());
        let mut sums = vec![0.0; logits.width()];
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        into.start(rows);
        for row in 0..rows {
            sums.fill(0.0);
            self.objective.joint_gradient(logits.row(row), &gradient[row * tasks..][..tasks], &mut sums);
            into.row(row).iter_mut().zip(&sums).for_each(|(into, sum)| *into += *sum as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::TASKS;
    use super::super::{ObjectiveConfig, Space};
    use super::*;
    use crate::compute::check::check_op;
    use crate::schema::Schema;

    #[test]
    fn gradients_in_every_space() {
        let schema = Schema::parse(TASKS).unwrap();
        for space in [Space::Parent, Space::Product, Space::Impression, Space::Path] {
            let objective = Objective::new(&schema, &ObjectiveConfig::default(), space).unwrap();
            check_op(&[objective.heads().len()], |graph, inputs| {
                graph.push("joint", Joint { objective: objective.clone() }, inputs, &[], 4)
            });
        }
    }
}
