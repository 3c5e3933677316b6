//! Declaring a graph, and planning its buffers and gradients.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::matmul::Products;
use super::op::Op;
use super::parameters::{Parameters, Weights};
use crate::error::{Error, Result};
use crate::random::Stream;

/// A matrix of the graph: some columns of a buffer, one row per row of the
/// batch. Copying it copies the name, not the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub(super) buffer: usize,
    pub(super) from: usize,
    pub(super) width: usize,
    pub(super) detached: bool,
}

impl Node {
    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Some of its columns, without copying.
    ///
    /// # Panics
    /// If there are not as many columns.
    pub fn columns(&self, from: usize, width: usize) -> Node {
        assert!(from + width <= self.width, "columns {from}..{} of {}", from + width, self.width);
        Node { from: self.from + from, width, ..*self }
    }

    /// Part `index` of `count` equal parts, without copying.
    pub fn part(&self, index: usize, count: usize) -> Node {
        assert_eq!(self.width % count, 0, "a width of {} has no {count} equal parts", self.width);
        self.columns(index * (self.width / count), self.width / count)
    }

    /// How many of its columns lead, of those that lead in each buffer.
    pub(super) fn lead(&self, leads: &[usize]) -> usize {
        let columns = leads[self.buffer];
        if self.from == 0 && columns <= self.width { columns } else { 0 }
    }

    /// The same numbers, through which no gradient flows.
    pub fn stop_gradient(&self) -> Node {
        Node { detached: true, ..*self }
    }
}

/// A parameter of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParameterId(pub(super) usize);

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Uniform in ± √(6 / (inputs + outputs)) (Glorot and Bengio, AISTATS 2010).
    Glorot {
        /// Numbers read by one output.
        inputs: usize,
        /// Outputs fed by one input.
        outputs: usize,
    },
    /// Uniform in ± √(6 / inputs), for layers followed by a rectifier (He et
    /// al., ICCV 2015).
    He {
        /// Numbers read by one output.
        inputs: usize,
    },
}

/// What is known of a parameter: its numbers live in one flat vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name of the tensor in the artifact.
    pub name: String,
    /// Shape of the tensor, row-major.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
    /// Where its first number stands in the flat vector.
    pub offset: usize,
    /// Learned by gradient; otherwise a statistic that the op keeps itself.
    pub learned: bool,
}

impl Parameter {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its place in the flat vector.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }

    /// A matrix of weights, as opposed to a bias or a scale: what L2 shrinks.
    pub fn is_weight(&self) -> bool {
        self.learned && !matches!(self.init, Init::Constant(_))
    }
}

/// One operation of the graph.
#[derive(Debug)]
pub struct Step {
    pub(super) name: String,
    pub(super) op: Box<dyn Op>,
    pub(super) inputs: Vec<Node>,
    pub(super) output: Node,
    pub(super) parameters: Vec<ParameterId>,
}

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
        let parameter = Parameter { name: name.into(), shape: shape.to_vec(), init, offset: self.length, learned };
        // Each parameter starts on a cache line of its own.
        self.length += parameter.len().next_multiple_of(16);
        self.parameters.push(parameter);
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
    /// [`Error::Config`] if the graph has neither an output nor a loss.
    pub fn compile(self) -> Result<Program> {
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
        let mut weights = self.weights(&scoring, &leads);
        let lines = Weights::place(&mut weights);
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
            weights: weights.into(),
            lines,
        })
    }

    /// The weights of every step that multiplies its first input by them.
    fn weights(&self, scoring: &[Vec<Node>], leads: &[usize]) -> Vec<Option<Weights>> {
        let weights = self.steps.iter().zip(scoring).map(|(step, inputs)| {
            let part = self.parameters[step.parameters.first()?.0].range();
            Some(Weights::new(part, step.op.weights()?, inputs[0].lead(leads), self.products))
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

/// How a step treats the gradient of one of its inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Write {
    /// No gradient flows there.
    Skip,
    /// The first to write: overwrites.
    First,
    /// Adds to what is there.
    Add,
}

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
    /// Per step: its weights, if it multiplies by any.
    pub(super) weights: Arc<[Option<Weights>]>,
    /// Lines that laying them out takes: for forward passes, and for all.
    pub(super) lines: [usize; 2],
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
    pub fn initial(&self, seed: u64) -> Parameters {
        let mut values = vec![0.0; self.length];
        for parameter in &self.parameters {
            let stream = Stream::new(seed, &parameter.name);
            let bound = match parameter.init {
                Init::Constant(value) => {
                    values[parameter.range()].fill(value);
                    continue;
                }
                Init::Glorot { inputs, outputs } => (6.0 / (inputs + outputs).max(1) as f64).sqrt(),
                Init::He { inputs } => (6.0 / inputs.max(1) as f64).sqrt(),
            };
            for (index, value) in values[parameter.range()].iter_mut().enumerate() {
                *value = ((2.0 * stream.uniform(index as u64) - 1.0) * bound) as f32;
            }
        }
        values.into()
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
