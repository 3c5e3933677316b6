//! Gradients against finite differences.

use std::ops::Range;

use super::buffer::{CHUNK, Mode};
use super::graph::Graph;
use super::node::Node;
use super::op::{BackwardPass, ForwardPass, Op};
use super::parameters::Parameters;
use super::portable::Portable;
use super::program::Program;
use super::workspace::Workspace;
use crate::random::Stream;

/// Everything that one evaluation of a program's loss needs.
pub struct Point<'a> {
    /// The program.
    pub program: &'a Program,
    /// Its parameters.
    pub parameters: Parameters,
    /// The sources' numbers, `rows × width` each.
    pub sources: Vec<Vec<f32>>,
    /// Which sources have gradients.
    pub learns: Vec<Option<Node>>,
    /// Number of rows.
    pub rows: usize,
    /// Rows of each scenario.
    pub segments: Vec<Range<usize>>,
    /// Weight of each loss.
    pub seeds: Vec<f32>,
    /// Training, and its randomness.
    pub mode: Mode,
}

impl Point<'_> {
    /// The loss; the workspace afterwards holds the gradients.
    pub fn loss(&self, workspace: &mut Workspace) -> f64 {
        let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| {
            let width = self.sources[source].len() / self.rows;
            into.copy_from_slice(&self.sources[source][rows.start * width..rows.end * width]);
        };
        let (rows, segments) = (self.rows, &self.segments);
        self.program.train(workspace, &self.parameters, rows, segments, &self.seeds, self.mode, &fill);
        let (sums, _) = workspace.losses(self.program);
        sums.iter().zip(&self.seeds).map(|(sum, seed)| sum * f64::from(*seed)).sum()
    }

    /// Compares every gradient with central differences along random
    /// directions: one direction for each parameter and each source.
    ///
    /// # Panics
    /// If a directional derivative is off by more than `tolerance` times the
    /// gradient's length, or times a thousandth of the loss where that is more:
    /// float32's rounding of the loss is in every difference.
    pub fn check(mut self, tolerance: f64) {
        let mut workspace = self.program.workspace(self.rows, true);
        let least = (1e-3 * self.loss(&mut workspace).abs()).max(0.01);
        let mut gradients = vec![f32::NAN; self.program.length()];
        self.program.parameter_gradients(&workspace, &self.parameters, &mut gradients);
        let sources: Vec<Option<Vec<f32>>> = self
            .learns
            .iter()
            .map(|node| {
                let gradients = workspace.source_gradients(self.program, (*node)?);
                Some(gradients.flat_map(|(_, part)| part.to_vec()).collect())
            })
            .collect();
        for parameter in self.program.parameters().iter().filter(|parameter| parameter.learned) {
            let range = parameter.range();
            let gradient = gradients[range.clone()].to_vec();
            let base = self.parameters[range.clone()].to_vec();
            let found = self.compare(
                &mut workspace,
                &gradient,
                |point, values| {
                    point.parameters[range.clone()].copy_from_slice(values);
                },
                &base,
            );
            report(&parameter.name, found, &gradient, least, tolerance);
        }
        for (index, gradient) in sources.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            let base = self.sources[index].clone();
            let set = |point: &mut Self, values: &[f32]| point.sources[index].copy_from_slice(values);
            let found = self.compare(&mut workspace, gradient, set, &base);
            report(&format!("source {index}"), found, gradient, least, tolerance);
        }
    }

    /// Compares an output in scoring with what other engines are told of it; what only
    /// trains tells nothing. Sources are called by their numbers.
    ///
    /// # Panics
    /// If any number differs by more than rounding.
    fn check_portable(&self, output: Node) {
        let mut told = Portable::default();
        let Ok(value) = self.program.portable(&mut told, &self.parameters, output) else { return };
        let mut workspace = self.program.workspace(self.rows, false);
        let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| {
            let width = self.sources[source].len() / self.rows;
            into.copy_from_slice(&self.sources[source][rows.start * width..rows.end * width]);
        };
        self.program.score(&mut workspace, &self.parameters, self.rows, &self.segments, &fill);
        let scenarios = self.segments.iter().enumerate();
        let scenarios: Vec<usize> =
            scenarios.flat_map(|(scenario, rows)| rows.clone().map(move |_| scenario)).collect();
        let source = |name: &str| self.sources[name.parse::<usize>().expect("a number")].clone();
        let found = told.compute(self.rows, &source, &scenarios, &[value]).remove(0);
        let expected: Vec<f32> = workspace.values(self.program, output).flatten().copied().collect();
        assert_eq!(found.len(), expected.len());
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{place}: {found}, not {expected}");
        }
    }

    /// (directional derivative by finite difference, by gradient)
    fn compare(
        &mut self,
        workspace: &mut Workspace,
        gradient: &[f32],
        set: impl Fn(&mut Self, &[f32]),
        base: &[f32],
    ) -> (f64, f64) {
        const STEP: f32 = 4e-3;
        let stream = Stream::new(gradient.len() as u64, "direction");
        let direction: Vec<f32> =
            (0..base.len() as u64).map(|i| if stream.uniform(i) < 0.5 { 1.0 } else { -1.0 }).collect();
        let mut at = |scale: f32| {
            let moved: Vec<f32> = base.iter().zip(&direction).map(|(x, d)| x + scale * d).collect();
            set(self, &moved);
            self.loss(workspace)
        };
        let numeric = (8.0 * (at(STEP) - at(-STEP)) - (at(2.0 * STEP) - at(-2.0 * STEP))) / (12.0 * f64::from(STEP));
        set(self, base);
        let exact = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        (numeric, exact)
    }
}

fn report(name: &str, (numeric, exact): (f64, f64), gradient: &[f32], least: f64, tolerance: f64) {
    let length = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let scale = numeric.abs().max(length).max(least);
    assert!(
        (numeric - exact).abs() <= tolerance * scale,
        "gradient of {name}: {exact} by the backward pass, {numeric} by finite differences"
    );
}

/// Σ over the columns of a fixed random projection of tanh x: a loss that
/// gives every column a gradient of its own.
#[derive(Debug)]
struct Probe;

impl Op for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let input = pass.input(0);
        for row in 0..pass.rows {
            pass.output[row] = input.row(row).iter().enumerate().map(|(column, x)| slope(column) * x.tanh()).sum();
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, input) = (pass.rows, pass.input(0));
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        into.start(rows);
        for (row, gradient) in gradient.iter().enumerate() {
            for (column, (into, x)) in into.row(row).iter_mut().zip(input.row(row)).enumerate() {
                *into += gradient * slope(column) * (1.0 - x.tanh().powi(2));
            }
        }
    }
}

fn slope(column: usize) -> f32 {
    Stream::new(77, "slope").uniform(column as u64) as f32 - 0.5
}

/// Checks an op alone: `declare` builds it over sources of the given widths.
/// The batch has more than one chunk and three scenarios, one of them empty.
///
/// # Panics
/// If a gradient is wrong.
pub fn check_op(widths: &[usize], declare: impl Fn(&mut Graph, &[Node]) -> Node) {
    check_op_at(widths, |_, _| {}, declare);
}

/// As [`check_op`], after `change` has changed the starting parameters.
///
/// # Panics
/// If a gradient is wrong.
pub fn check_op_at(
    widths: &[usize],
    change: impl Fn(&Program, &mut [f32]),
    declare: impl Fn(&mut Graph, &[Node]) -> Node,
) {
    let rows = CHUNK + 3;
    let mut graph = Graph::new(3);
    let inputs: Vec<Node> =
        widths.iter().enumerate().map(|(index, width)| graph.source(&index.to_string(), *width, true)).collect();
    let output = declare(&mut graph, &inputs);
    let loss = graph.push("probe", Probe, &[output], &[], 1);
    graph.loss("probe", loss);
    graph.output(output);
    let program = graph.compile().expect("a graph with a loss");
    let sources = widths.iter().enumerate().map(|(index, width)| {
        let stream = Stream::new(index as u64, "source");
        (0..(rows * width) as u64).map(|i| 2.0 * stream.uniform(i) as f32 - 1.0).collect()
    });
    let mut parameters = program.initial(3).expect("memory");
    change(&program, &mut parameters);
    let point = Point {
        parameters,
        sources: sources.collect(),
        learns: inputs.into_iter().map(Some).collect(),
        rows,
        segments: vec![0..100, 100..100, 100..rows],
        seeds: vec![1.0],
        mode: Mode::Train { seed: 1, step: 1 },
        program: &program,
    };
    point.check_portable(output);
    point.check(5e-3);
}
