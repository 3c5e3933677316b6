//! One learned number per task, with an Adam of its own.

use crate::optim::{Kind, Moments, Rule};

/// Numbers that are learned apart from the model. Each counts its own steps:
/// one that gets no gradient stays as it is, moments included.
#[derive(Debug)]
pub(super) struct Learned {
    rule: Rule,
    values: Vec<f32>,
    moments: Vec<Moments>,
    steps: Vec<u64>,
}

impl Learned {
    pub fn new(count: usize, start: f32, learning_rate: f64) -> Learned {
        let rule = Rule { kind: Kind::Adam, learning_rate, ..Rule::default() };
        let moments = vec![rule.moments(1); count];
        Learned { rule, values: vec![start; count], moments, steps: vec![0; count] }
    }

    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.values.iter().map(|value| f64::from(*value))
    }

    pub fn set(&mut self, index: usize, value: f64) {
        self.values[index] = value as f32;
    }

    /// One step of Adam down a gradient.
    pub fn descend(&mut self, index: usize, gradient: f64) {
        self.steps[index] += 1;
        let (value, moments) = (&mut self.values[index..=index], &mut self.moments[index]);
        self.rule.update(value, &[gradient as f32], moments, &[false], self.steps[index], 1.0, 1.0);
    }
}
