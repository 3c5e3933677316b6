//! One learned number per task, with an Adam of its own.

use serde::{Deserialize, Serialize};

use crate::optim::{Kind, Moments, Rule, Step};

/// Numbers that are learned apart from the model. Each counts its own steps:
/// one that gets no gradient stays as it is, moments included.
#[derive(Debug)]
pub(super) struct TaskNumbers {
    rule: Rule,
    memory: Memory,
}

/// What is learned, and what Adam remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    values: Vec<f32>,
    moments: Vec<Moments>,
    steps: Vec<u64>,
}

impl TaskNumbers {
    pub fn new(count: usize, start: f32, learning_rate: f64) -> TaskNumbers {
        let rule = Rule { kind: Kind::Adam, learning_rate, ..Rule::default() };
        let moments = vec![rule.moments(1); count];
        TaskNumbers { rule, memory: Memory { values: vec![start; count], moments, steps: vec![0; count] } }
    }

    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.memory.values.iter().map(|value| f64::from(*value))
    }

    pub fn set(&mut self, index: usize, value: f64) {
        self.memory.values[index] = value as f32;
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    pub fn remember(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// One step of Adam down a gradient.
    pub fn descend(&mut self, index: usize, gradient: f64) {
        let Memory { values, moments, steps } = &mut self.memory;
        steps[index] += 1;
        let (value, moments) = (&mut values[index..=index], &mut moments[index]);
        self.rule.update(value, &[gradient as f32], moments, &[false], Step::plain(steps[index]));
    }
}
