//! The relations of the tasks, applied to a row's labels.

/// The label of a root task on a row that was drawn because its action
/// happened (`[train.mix]`): it counts for the tasks after it, given the
/// action, but tells nothing of how often the action happens.
pub const GIVEN: f32 = f32::INFINITY;

/// The tasks' relations, ready for use row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funnel {
    /// Parent of each task.
    pub parents: Vec<Option<usize>>,
    /// Whether each task also happens without its parent.
    pub direct: Vec<bool>,
    /// All tasks, every parent before its children.
    pub order: Vec<usize>,
}

impl Funnel {
    /// Number of tasks.
    pub fn tasks(&self) -> usize {
        self.parents.len()
    }

    /// A row's label on the task's own sample space, the rows where the
    /// parent's label is 1; `None` outside of it or where a label is missing.
    /// `labels` holds one row: 0, 1, NaN or [`GIVEN`] per task.
    pub fn given_parent(&self, labels: &[f32], task: usize) -> Option<bool> {
        match self.parents[task] {
            Some(parent) if labels[parent] != 1.0 && labels[parent] != GIVEN => None,
            _ => present(labels[task]),
        }
    }

    /// A row's label on the rows where the parent's label is 0; `None` outside
    /// of them or where a label is missing.
    pub fn without_parent(&self, labels: &[f32], task: usize) -> Option<bool> {
        match self.parents[task] {
            Some(parent) if labels[parent] == 0.0 && !self.drawn(labels, task) => present(labels[task]),
            _ => None,
        }
    }

    /// Whether the row was drawn because the task's root happened.
    pub(crate) fn drawn(&self, labels: &[f32], task: usize) -> bool {
        match self.parents[task] {
            Some(parent) => self.drawn(labels, parent),
            None => labels[task] == GIVEN,
        }
    }

    /// Whether the action and, unless it is direct, all its ancestors happened;
    /// `None` where a label is missing, and on drawn rows. After an ancestor that did
    /// not happen the action's own label may be missing, as in logs that have none
    /// there. Where an ancestor's is missing the row is left out even if the action's own
    /// is 0: with those and without the rows where it is 1, the action would seem too rare.
    pub fn from_impression(&self, labels: &[f32], task: usize) -> Option<bool> {
        if self.drawn(labels, task) {
            return None;
        }
        let own = present(labels[task]);
        match self.parents[task] {
            Some(parent) if !self.direct[task] => match self.from_impression(labels, parent)? {
                true => own,
                false => Some(false),
            },
            _ => own,
        }
    }
}

fn present(label: f32) -> Option<bool> {
    label.is_finite().then_some(label == 1.0)
}
