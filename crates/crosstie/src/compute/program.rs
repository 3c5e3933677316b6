//! A graph ready to run.

use super::matmul::Products;
use super::memory;
use super::node::{Init, Node, Parameter, ParameterId, Write};
use super::op::Op;
use super::parameters::Parameters;
use super::weights::Weights;
use crate::error::Result;
use crate::random::Stream;

/// One operation of the graph.
#[derive(Debug)]
pub struct Step {
    pub(super) name: String,
    pub(super) op: Box<dyn Op>,
    pub(super) inputs: Vec<Node>,
    pub(super) output: Node,
    pub(super) parameters: Vec<ParameterId>,
}

/// How gradients flow back.
#[derive(Debug)]
pub(super) struct Backward {
    /// Per step: whether it runs.
    pub runs: Vec<bool>,
    /// Per step and input: how its gradient is written.
    pub writes: Vec<Vec<Write>>,
    /// Per buffer: whether its gradient starts at zero.
    pub zeroed: Vec<bool>,
    /// Per buffer: whether it has a gradient at all.
    pub needed: Vec<bool>,
}

/// A graph ready to run.
#[derive(Debug)]
pub struct Program {
    pub(super) widths: Vec<usize>,
    pub(super) sources: Vec<(String, usize)>,
    /// Per buffer: how many columns lead.
    pub(super) leads: Vec<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) losses: Vec<(String, Node)>,
    pub(super) outputs: Vec<Node>,
    pub(super) length: usize,
    pub(super) scenarios: usize,
    /// Per step: its inputs in scoring.
    pub(super) scoring: Vec<Vec<Node>>,
    pub(super) score: Vec<bool>,
    pub(super) diagnose: Vec<bool>,
    pub(super) train: Vec<bool>,
    pub(super) backward: Backward,
    /// Per parameter: the steps that learn it, with its slot there.
    pub(super) users: Vec<Vec<(usize, usize)>>,
    /// How exact products are.
    pub(super) products: Products,
    /// The weights that steps multiply by.
    pub(super) weights: Weights,
}

impl Program {
    /// The parameters, in the order of the flat vector.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// What is known of one parameter.
    pub fn parameter(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.0]
    }

    /// Where the flat vector has parameters that some loss reaches, in order.
    pub fn reached(&self) -> Vec<std::ops::Range<usize>> {
        let users = self.parameters.iter().zip(&self.users);
        users.filter(|(_, users)| !users.is_empty()).map(|(parameter, _)| parameter.range()).collect()
    }

    /// The learned parameter of the operation that keeps a statistic, told by its place
    /// among the parameters, up to date.
    pub fn learned_beside(&self, statistic: usize) -> Option<&Parameter> {
        let step = self.steps.iter().find(|step| step.parameters.contains(&ParameterId(statistic)))?;
        step.parameters.iter().map(|parameter| self.parameter(*parameter)).find(|parameter| parameter.learned)
    }

    /// Number of scenarios.
    pub fn scenarios(&self) -> usize {
        self.scenarios
    }

    /// Length of the flat vector of parameters.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Names of the losses, in the order of their seeds.
    pub fn losses(&self) -> impl ExactSizeIterator<Item = &str> {
        self.losses.iter().map(|(name, _)| name.as_str())
    }

    /// The start of training: every number depends on (seed, parameter's
    /// name, index) alone.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if there is no memory for them.
    pub fn initial(&self, seed: u64) -> Result<Parameters> {
        let mut parameters = Parameters::from(memory::zeros("the parameters", &[self.length])?);
        self.restart(&mut parameters, seed);
        Ok(parameters)
    }

    /// Sets parameters to the [start](Program::initial) of training.
    pub fn restart(&self, parameters: &mut Parameters, seed: u64) {
        for parameter in &self.parameters {
            let values = &mut parameters[parameter.range()];
            let stream = Stream::new(seed, &parameter.name);
            let bound = match parameter.init {
                Init::Constant(value) => {
                    values.fill(value);
                    continue;
                }
                Init::Uniform(bound) => bound,
                Init::Glorot { inputs, outputs } => (6.0 / (inputs + outputs).max(1) as f64).sqrt(),
                Init::He { inputs } => (6.0 / inputs.max(1) as f64).sqrt(),
            };
            for (index, value) in values.iter_mut().enumerate() {
                *value = ((2.0 * stream.uniform(index as u64) - 1.0) * bound) as f32;
            }
        }
    }

    /// Lays the weights out, where that saves time, unless it has been done since
    /// the last change: for forward passes, and with `training` for backward
    /// ones too.
    pub fn prepare(&self, parameters: &mut Parameters, training: bool) {
        parameters.lay_out(&self.weights, training);
    }

    /// The graph as Mermaid text: sources, steps with their widths, outputs.
    pub fn mermaid(&self) -> String {
        let mut lines = vec!["flowchart TD".to_string()];
        for (name, buffer) in &self.sources {
            lines.push(format!("  b{buffer}([\"{name} · {}\"])", self.widths[*buffer]));
        }
        for step in &self.steps {
            let out = step.output.buffer;
            lines.push(format!("  b{out}[\"{} · {} · {}\"]", step.name, step.op.name(), step.output.width));
            for input in &step.inputs {
                let arrow = if input.detached { "-. stop .->" } else { "-->" };
                let part = match (input.from, input.width) {
                    (0, width) if width == self.widths[input.buffer] => String::new(),
                    (from, width) => format!("|{from}..{}|", from + width),
                };
                lines.push(format!("  b{} {arrow}{part} b{out}", input.buffer));
            }
        }
        for (index, output) in self.outputs.iter().enumerate() {
            lines.push(format!("  b{} --> out{index}((\"output\"))", output.buffer));
        }
        for (index, (name, node)) in self.losses.iter().enumerate() {
            lines.push(format!("  b{} --> loss{index}{{{{\"loss {name}\"}}}}", node.buffer));
        }
        lines.join("\n") + "\n"
    }
}
