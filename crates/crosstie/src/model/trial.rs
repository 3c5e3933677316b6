//! A small network with made-up rows, for the tests of the models.

use std::ops::Range;

use super::declare::Model;
use super::inputs::Input;
use super::network::Network;
use crate::batch::{Dense, Layout};
use crate::compute::check::Point;
use crate::compute::op::Activation;
use crate::compute::{CHUNK, Mode, Parameters};
use crate::layer::Style;
use crate::objective::{ObjectiveConfig, Space};
use crate::random::Stream;
use crate::schema::{Role, Schema, Side};

/// Two trees: a chain of three with a direct side branch, and a root with a
/// direct task.
pub(super) const CHAINS: &str = r#"
    [[task]]
    name = "click"
    [[task]]
    name = "cart"
    after = "click"
    [[task]]
    name = "buy"
    after = "cart"
    [[task]]
    name = "like"
    after = "click"
    direct = true
    [[task]]
    name = "visit"
    [[task]]
    name = "share"
    after = "visit"
    direct = true
"#;

const MODE: Mode = Mode::Train { seed: 1, step: 1 };

/// A network with parameters, and rows for it.
pub(super) struct Trial {
    pub network: Network,
    pub parameters: Parameters,
    /// Rows × features.
    pub features: Vec<f32>,
    /// Rows × tasks; some are missing.
    pub labels: Vec<f32>,
    pub weights: Vec<f32>,
    pub rows: usize,
}

impl Trial {
    pub fn new(model: &dyn Model, tasks: &str, space: Option<Space>) -> Trial {
        let field = "[[field]]\nname = \"x\"\nkind = \"numeric\"\n";
        let schema = Schema::parse(&format!("{tasks}\n{field}")).unwrap();
        let config = ObjectiveConfig { space, ..ObjectiveConfig::default() };
        let objective = model.objective(&schema, &config).unwrap();
        let dense = |name: &str, width, role| Dense { name: name.into(), width, side: Side::User, role };
        let layout = Layout {
            tasks: objective.names().to_vec(),
            dense: vec![dense("x", 6, Role::Main), dense("position", 2, Role::Bias)],
            scenarios: vec!["other".into(), "home".into(), "search".into()],
            ..Layout::default()
        };
        let style = Style { activation: Activation::Tanh, dropout: 0.0, ..Style::default() };
        let network = Network::new(model, &style, &layout, objective).unwrap();
        let uniform = |name: &str, count: usize, scale: f32| -> Vec<f32> {
            let stream = Stream::new(5, name);
            (0..count as u64).map(|index| scale * (2.0 * stream.uniform(index) as f32 - 1.0)).collect()
        };
        let (rows, tasks) = (CHUNK + 44, network.objective.names().len());
        let parameters = uniform("parameters", network.program.length(), 0.8);
        let labels = uniform("labels", rows * tasks, 1.0).into_iter();
        let labels = labels.map(|u| if u > 0.8 { f32::NAN } else { f32::from(u8::from(u > -0.4)) }).collect();
        let weights = uniform("weights", rows, 0.5).into_iter().map(|u| 1.0 + u).collect();
        let sets = network.sets.len();
        Trial {
            network,
            parameters: parameters.into(),
            features: uniform("features", rows * 8 * sets, 1.0),
            labels,
            weights,
            rows,
        }
    }

    fn parameter(&self, name: &str) -> Range<usize> {
        let parameters = self.network.program.parameters();
        let parameter = parameters.iter().find(|parameter| parameter.name == name);
        parameter.unwrap_or_else(|| panic!("no parameter is called {name}")).range()
    }

    /// The numbers of a parameter.
    pub fn values(&self, name: &str) -> &[f32] {
        &self.parameters[self.parameter(name)]
    }

    /// Changes every number of a parameter.
    pub fn set(&mut self, name: &str, mut to: impl FnMut(f32) -> f32) {
        let range = self.parameter(name);
        self.parameters[range].iter_mut().for_each(|value| *value = to(*value));
    }

    /// Changes one of the blocks along the first axis of a parameter.
    pub fn set_block(&mut self, name: &str, block: usize, to: impl Fn(f32) -> f32) {
        let range = self.parameter(name);
        let parameters = self.network.program.parameters();
        let blocks = parameters.iter().find(|parameter| parameter.name == name).map_or(1, |found| found.shape[0]);
        let size = range.len() / blocks;
        let block = &mut self.parameters[range][block * size..][..size];
        block.iter_mut().for_each(|value| *value = to(*value));
    }

    /// Takes over the numbers of every parameter of another network.
    pub fn copy(&mut self, from: &Trial) {
        for parameter in from.network.program.parameters() {
            let into = self.parameter(&parameter.name);
            self.parameters[into].copy_from_slice(&from.parameters[parameter.range()]);
        }
    }

    fn source(&self, source: usize, rows: Range<usize>, into: &mut [f32]) {
        let values = match self.network.sources[source] {
            Input::Fields { set } => &self.features[set * self.rows * 8..][..self.rows * 8],
            Input::Labels => &self.labels,
            Input::Weights => &self.weights,
        };
        let width = values.len() / self.rows;
        into.copy_from_slice(&values[rows.start * width..rows.end * width]);
    }

    fn segments(&self) -> Vec<Range<usize>> {
        vec![0..100, 100..100, 100..self.rows]
    }

    /// The logits of every row.
    pub fn logits(&self) -> Vec<Vec<f32>> {
        let program = &self.network.program;
        let mut workspace = program.workspace(self.rows, false);
        let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| self.source(source, rows, into);
        program.score(&mut workspace, &self.parameters, self.rows, &self.segments(), &fill);
        workspace.values(program, self.network.logits).map(<[f32]>::to_vec).collect()
    }

    /// Every row of the diagnostic of a name.
    pub fn diagnostic(&self, name: &str) -> Vec<Vec<f32>> {
        let program = &self.network.program;
        let mut workspace = program.diagnosis(self.rows);
        let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| self.source(source, rows, into);
        program.score(&mut workspace, &self.parameters, self.rows, &self.segments(), &fill);
        let diagnostic = self.network.diagnostics.iter().find(|diagnostic| diagnostic.name() == name);
        let node = diagnostic.unwrap_or_else(|| panic!("no diagnostic is called {name}")).node;
        workspace.values(program, node).map(<[f32]>::to_vec).collect()
    }

    /// The sums of all losses over the rows, and the gradients of all parameters.
    pub fn pass(&self) -> (Vec<f64>, Vec<f32>) {
        let program = &self.network.program;
        let mut workspace = program.workspace(self.rows, true);
        let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| self.source(source, rows, into);
        let seeds = self.seeds();
        program.train(&mut workspace, &self.parameters, self.rows, &self.segments(), &seeds, MODE, &fill);
        let mut gradients = vec![0.0; program.length()];
        program.parameter_gradients(&workspace, &self.parameters, &mut gradients);
        (workspace.losses(program).0, gradients)
    }

    /// The sums of all losses over the rows.
    pub fn losses(&self) -> Vec<f64> {
        self.pass().0
    }

    /// The gradient of a parameter.
    pub fn gradient(&self, name: &str) -> Vec<f32> {
        self.pass().1[self.parameter(name)].to_vec()
    }

    fn seeds(&self) -> Vec<f32> {
        let terms = self.network.terms.iter().map(|term| term.weight);
        self.network.objective.weights().iter().copied().chain(terms).collect()
    }

    /// Compares all gradients with finite differences.
    pub fn check_gradients(&self) {
        let network = &self.network;
        let sources: Vec<Vec<f32>> = network
            .sources
            .iter()
            .enumerate()
            .map(|(index, source)| {
                let width = match source {
                    Input::Fields { .. } => 8,
                    Input::Labels => network.objective.names().len(),
                    Input::Weights => 1,
                };
                let mut values = vec![0.0; self.rows * width];
                self.source(index, 0..self.rows, &mut values);
                values
            })
            .collect();
        let learns = network.sources.iter().map(|source| match source {
            Input::Fields { set } => Some(network.sets[*set]),
            _ => None,
        });
        Point {
            parameters: self.parameters.clone(),
            sources,
            learns: learns.collect(),
            rows: self.rows,
            segments: self.segments(),
            seeds: self.seeds(),
            mode: MODE,
            program: &network.program,
        }
        .check(1e-2);
    }
}
