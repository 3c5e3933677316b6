//! Declaring a graph, and planning its buffers and gradients.

use std::collections::BTreeSet;

use super::buffer::CHUNK;
use super::matmul::Products;
use super::memory;
use super::node::{Init, Node, Parameter, ParameterId, Write};
use super::op::Op;
use super::program::{Backward, Program, Step};
use super::weights::{StepWeights, Weights};
use crate::error::{Error, Result};

#[derive(Debug)]
struct Source {
    name: String,
    buffer: usize,
    learns: bool,
    lead: usize,
}

/// A network being declared.
#[derive(Debug, Default)]
pub struct Graph {
    widths: Vec<usize>,
    sources: Vec<Source>,
    steps: Vec<Step>,
    parameters: Vec<Parameter>,
    losses: Vec<(String, Node)>,
    outputs: Vec<Node>,
    diagnostics: Vec<Node>,
    length: usize,
    scenarios: usize,
    products: Products,
}

impl Graph {
    /// An empty graph for batches whose rows are sorted by scenario.
    pub fn new(scenarios: usize) -> Graph {
        Graph { scenarios: scenarios.max(1), ..Graph::default() }
    }

    /// Number of scenarios.
    pub fn scenarios(&self) -> usize {
        self.scenarios
    }

    /// How exact matrix products are; float32 unless this is called.
    pub fn set_products(&mut self, products: Products) {
        self.products = products;
    }

    /// Whether any operation so far treats the scenarios apart.
    pub fn routed(&self) -> bool {
        self.steps.iter().any(|step| step.op.routed())
    }

    /// Numbers given from outside with every batch. With `learns`, the
    /// gradient with respect to them is computed too.
    pub fn source(&mut self, name: &str, width: usize, learns: bool) -> Node {
        let node = self.buffer(width);
        self.sources.push(Source { name: name.into(), buffer: node.buffer, learns, lead: 0 });
        node
    }

    /// Tells that rows which follow each other often agree in the first
    /// `columns` columns of a source: candidates of one user. Scoring then
    /// computes once what depends on those alone.
    pub fn lead(&mut self, source: Node, columns: usize) {
        let found = self.sources.iter_mut().find(|found| found.buffer == source.buffer);
        found.expect("only a source has a lead").lead = columns;
    }

    /// A parameter that learns by gradient, named as in the artifact.
    ///
    /// # Panics
    /// If the name is taken: two tensors of an artifact cannot share one.
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init) -> ParameterId {
        self.add_parameter(name, shape, init, true)
    }

    /// A statistic that its op keeps up to date during training.
    pub fn statistic(&mut self, name: &str, shape: &[usize], start: f32) -> ParameterId {
        self.add_parameter(name, shape, Init::Constant(start), false)
    }

    fn add_parameter(&mut self, name: &str, shape: &[usize], init: Init, learned: bool) -> ParameterId {
        assert!(self.parameters.iter().all(|other| other.name != name), "two parameters are called `{name}`");
        self.parameters.push(Parameter {
            name: name.into(),
            shape: shape.to_vec(),
            init,
            offset: self.length,
            learned,
        });
        // Each parameter starts on a cache line of its own. `compile` refuses what is too large.
        let length = memory::count(shape).map_or(usize::MAX, |count| count.next_multiple_of(16));
        self.length = self.length.saturating_add(length);
        ParameterId(self.parameters.len() - 1)
    }

    /// Appends an operation and returns its output of the given width.
    pub fn push(
        &mut self,
        name: &str,
        op: impl Op + 'static,
        inputs: &[Node],
        parameters: &[ParameterId],
        width: usize,
    ) -> Node {
        let output = self.buffer(width);
        self.steps.push(Step {
            name: name.into(),
            op: Box::new(op),
            inputs: inputs.to_vec(),
            output,
            parameters: parameters.to_vec(),
        });
        output
    }

    /// Marks one column as a loss per row; training minimises the weighted
    /// sum of all losses.
    pub fn loss(&mut self, name: &str, node: Node) {
        assert_eq!(node.width, 1, "a loss is one column");
        self.losses.push((name.into(), node));
    }

    /// Marks a node as needed for scoring.
    pub fn output(&mut self, node: Node) {
        self.outputs.push(node);
    }

    /// Marks a node as needed for diagnosis, beside the outputs.
    pub fn diagnostic(&mut self, node: Node) {
        self.diagnostics.push(node);
    }

    fn buffer(&mut self, width: usize) -> Node {
        self.widths.push(width);
        Node { buffer: self.widths.len() - 1, from: 0, width, detached: false }
    }

    /// Plans the passes.
    ///
    /// # Errors
    /// [`Error::Config`] if the graph has neither an output nor a loss, or if no
    /// memory could hold its parameters, or its numbers of a chunk of rows.
    pub fn compile(self) -> Result<Program> {
        self.check_sizes()?;
        if self.outputs.is_empty() && self.losses.is_empty() {
            return Err(Error::Config("the model declares no output and no loss".into()));
        }
        let training: Vec<Vec<Node>> = self.steps.iter().map(|step| step.inputs.clone()).collect();
        let scoring = self.scoring_inputs();
        let needed = |roots: &mut dyn Iterator<Item = usize>, inputs: &[Vec<Node>]| -> Vec<bool> {
            let mut buffers: BTreeSet<usize> = roots.collect();
            let mut steps = vec![false; self.steps.len()];
            for (index, step) in self.steps.iter().enumerate().rev() {
                if buffers.contains(&step.output.buffer) {
                    steps[index] = true;
                    buffers.extend(inputs[index].iter().map(|input| input.buffer));
                }
            }
            steps
        };
        let score = needed(&mut self.outputs.iter().map(|node| node.buffer), &scoring);
        let diagnosed = self.outputs.iter().chain(&self.diagnostics);
        let diagnose = needed(&mut diagnosed.map(|node| node.buffer), &scoring);
        let all = self.outputs.iter().chain(self.losses.iter().map(|(_, node)| node)).map(|node| node.buffer);
        let train = needed(&mut all.collect::<Vec<_>>().into_iter(), &training);
        let backward = self.plan_backward();
        let mut users = vec![Vec::new(); self.parameters.len()];
        for (index, step) in self.steps.iter().enumerate().filter(|(index, _)| backward.runs[*index]) {
            for (slot, parameter) in step.parameters.iter().enumerate() {
                if self.parameters[parameter.0].learned {
                    users[parameter.0].push((index, slot));
                }
            }
        }
        let mut leads = vec![0; self.widths.len()];
        self.sources.iter().for_each(|source| leads[source.buffer] = source.lead);
        let weights = Weights::new(self.weights(&scoring, &leads));
        let sources = self.sources.iter().map(|source| (source.name.clone(), source.buffer)).collect();
        Ok(Program {
            widths: self.widths,
            sources,
            leads,
            steps: self.steps,
            parameters: self.parameters,
            losses: self.losses,
            outputs: self.outputs,
            length: self.length,
            scenarios: self.scenarios,
            scoring,
            score,
            diagnose,
            train,
            backward,
            users,
            products: self.products,
            weights,
        })
    }

    fn check_sizes(&self) -> Result<()> {
        for Parameter { name, shape, .. } in &self.parameters {
            if memory::count(shape).is_none() {
                return Err(memory::too_large(&format!("parameter `{name}`"), shape));
            }
        }
        if memory::count(&[self.length]).is_none() {
            return Err(memory::too_large("the parameters", &[self.length]));
        }
        let outputs = self.steps.iter().map(|step| (&step.name, step.output.buffer));
        for (name, buffer) in self.sources.iter().map(|source| (&source.name, source.buffer)).chain(outputs) {
            let shape = [CHUNK, self.widths[buffer]];
            if memory::count(&shape).is_none() {
                return Err(memory::too_large(&format!("`{name}` of a chunk of rows"), &shape));
            }
        }
        Ok(())
    }

    /// The weights of every step that multiplies its first input by them.
    fn weights(&self, scoring: &[Vec<Node>], leads: &[usize]) -> Vec<Option<StepWeights>> {
        let weights = self.steps.iter().zip(scoring).map(|(step, inputs)| {
            let part = self.parameters[step.parameters.first()?.0].range();
            Some(StepWeights::new(part, step.op.weights()?, inputs[0].lead(leads), self.products))
        });
        weights.collect()
    }

    /// The inputs of every step in scoring: who reads a step that does nothing
    /// then reads what it would have copied.
    fn scoring_inputs(&self) -> Vec<Vec<Node>> {
        let mut copied: Vec<Option<Node>> = vec![None; self.widths.len()];
        let mut scoring = Vec::new();
        for step in &self.steps {
            let read = |node: &Node| match copied[node.buffer] {
                Some(origin) => Node { buffer: origin.buffer, from: origin.from + node.from, ..*node },
                None => *node,
            };
            let inputs: Vec<Node> = step.inputs.iter().map(read).collect();
            if step.op.only_trains() {
                copied[step.output.buffer] = Some(inputs[0]);
            }
            scoring.push(inputs);
        }
        scoring
    }

    /// Which steps pass gradients on, and whether each gradient is written
    /// first or added to.
    fn plan_backward(&self) -> Backward {
        // A buffer learns if a parameter or a learning source stands behind it.
        let mut learns = vec![false; self.widths.len()];
        for source in &self.sources {
            learns[source.buffer] = source.learns;
        }
        for step in &self.steps {
            let own = step.parameters.iter().any(|parameter| self.parameters[parameter.0].learned);
            learns[step.output.buffer] = own || step.inputs.iter().any(|input| !input.detached && learns[input.buffer]);
        }
        let mut runs = vec![false; self.steps.len()];
        let mut writes: Vec<Vec<Write>> = self.steps.iter().map(|step| vec![Write::Skip; step.inputs.len()]).collect();
        // Where only some columns of a buffer receive a gradient, or a loss
        // seeds it, it is zeroed and everybody adds.
        let mut zeroed = vec![false; self.widths.len()];
        let mut reached = vec![false; self.widths.len()];
        for (_, node) in &self.losses {
            (zeroed[node.buffer], reached[node.buffer]) = (true, true);
        }
        for step in &self.steps {
            for input in step.inputs.iter().filter(|input| !input.detached && input.width != self.widths[input.buffer])
            {
                zeroed[input.buffer] = true;
            }
        }
        for (index, step) in self.steps.iter().enumerate().rev() {
            if !reached[step.output.buffer] || !learns[step.output.buffer] {
                continue;
            }
            runs[index] = true;
            for (slot, input) in step.inputs.iter().enumerate() {
                if input.detached || !learns[input.buffer] {
                    continue;
                }
                let first = !zeroed[input.buffer] && !reached[input.buffer];
                writes[index][slot] = if first { Write::First } else { Write::Add };
                reached[input.buffer] = true;
            }
        }
        // A learning source that no loss reaches has gradient zero.
        for source in &self.sources {
            zeroed[source.buffer] |= source.learns && !reached[source.buffer];
        }
        let needed = (0..self.widths.len()).map(|buffer| reached[buffer] && learns[buffer] || zeroed[buffer]).collect();
        Backward { runs, writes, zeroed, needed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::op::Zeros;

    #[test]
    fn a_size_with_too_many_zeros_is_told_by_the_parameter_and_its_shape() {
        let compile = |declare: &dyn Fn(&mut Graph)| {
            let mut graph = Graph::new(1);
            declare(&mut graph);
            let output = graph.push("output", Zeros, &[], &[], 1);
            graph.output(output);
            graph.compile().map(|program| program.initial(1).map(|_| ()))
        };
        let init = Init::He { inputs: 1 };
        let most = 1_000_000_000_000_000_000;
        let parameters = |shapes: &[&[usize]]| {
            compile(&|graph| {
                for (name, shape) in ["bottom.0.weight", "bottom.0.bias"].into_iter().zip(shapes) {
                    graph.parameter(name, shape, init);
                }
            })
        };
        let overflow = parameters(&[&[1, 40, most]]);
        let said = overflow.unwrap_err().to_string();
        assert!(
            said.contains("parameter `bottom.0.weight`: 1 × 40 × 1000000000000000000 numbers take 160 EB"),
            "{said}"
        );
        // Each fits, both together do not.
        let sum = parameters(&[&[most * 2], &[most * 2]]);
        assert!(sum.unwrap_err().to_string().contains("the parameters"));
        let width = compile(&|graph| {
            graph.source("labels", most, false);
        });
        assert!(width.unwrap_err().to_string().contains("`labels` of a chunk of rows"));
        // A shape that could be, but is more than any machine has.
        let large = parameters(&[&[1 << 50]]).unwrap();
        assert!(large.unwrap_err().to_string().contains("the parameters: 1125899906842624 numbers take 5 PB"));
    }
}
