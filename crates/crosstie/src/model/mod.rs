//! Models: one file per paper. A model declares its network in terms of
//! [layers](crate::layer) over the embedded fields and returns one logit per
//! head; what the heads mean is the [objective](crate::objective)'s business.

mod aem2tl;
mod aitm;
mod calibration;
mod cgc;
pub(crate) mod diagnostic;
mod ektm;
mod esm2;
mod esmm;
mod mmoe;
mod ncs4cvr;
mod ple;
mod shared_bottom;
mod single_task;
#[cfg(test)]
mod trial;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use aem2tl::Aem2tl;
pub use aitm::Aitm;
pub use calibration::{Calibration, Structure};
pub use cgc::Cgc;
pub use diagnostic::{Diagnosis, Diagnostic};
pub use ektm::{Ektm, Enhanced, EnhancedLoss, Router, Similarity, Tables, Transmitter};
pub use esm2::Esm2;
pub use esmm::Esmm;
pub use mmoe::Mmoe;
pub use ncs4cvr::Ncs4cvr;
pub use ple::Ple;
pub use shared_bottom::SharedBottom;
pub use single_task::SingleTask;

use crate::batch::Layout;
use crate::compute::op::{Broadcast, Zeros};
use crate::compute::{Graph, Init, Node, ParameterId, Program};
use crate::embedding::Columns;
use crate::error::{Error, Result};
use crate::layer::{Gating, Masked, Net, Style};
use crate::objective::{
    Beats, FunnelLoss, HardExample, Head, Joint, LEVELS, Objective, ObjectiveConfig, Space, Triplet,
};
use crate::schema::{Schema, Side};

/// A network for any list of heads.
pub trait Model {
    /// Declares the network.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that make no sense.
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared>;

    /// Where the paper counts the tasks' losses.
    fn space(&self) -> Space {
        Space::Parent
    }

    /// Conversions that the paper splits into the ways with and without a
    /// sibling action, as in `[objective.via]`.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that name no such tasks.
    fn via(&self, _schema: &Schema) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    /// How the tasks' masks are found, and how they are trained together, of a
    /// model that has [masks](Inputs::add_masks).
    fn lottery(&self) -> Option<Lottery> {
        None
    }

    /// The objective: what the config says, and where it is silent what the
    /// paper says. A task of which only p(action | impression) is asked has no
    /// ways to be split.
    ///
    /// # Errors
    /// As of [`Objective::new`] and [`Model::via`].
    fn objective(&self, schema: &Schema, config: &ObjectiveConfig) -> Result<Objective> {
        let mut config = config.clone();
        let asked = |config: &ObjectiveConfig, task: &str| config.space_of(task, self.space()) != Space::Impression;
        for (task, action) in self.via(schema)? {
            if asked(&config, &task) && asked(&config, &action) {
                config.via.entry(task).or_insert(action);
            }
        }
        Objective::new(schema, &config, self.space())
    }
}

/// The search for every task's mask (the lottery ticket hypothesis: Frankle and
/// Carbin, ICLR 2019), and the training that follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lottery {
    /// Share of the masked weights that the last round leaves, in (0, 1].
    pub keep: f64,
    /// Rounds of training and pruning for each task; 0 leaves all masks whole.
    pub rounds: u64,
    /// Passes over the training files in each round.
    pub round_epochs: u64,
    /// Whether every batch then teaches one task after the other, each by a
    /// step of its own; otherwise all at once.
    pub alternate: bool,
}

/// What a model has declared.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// One logit per head, rows × heads.
    pub logits: Node,
    /// The tasks' losses, rows × tasks, if they are not the plain ones of the
    /// objective over these logits.
    pub losses: Option<Node>,
}

impl From<Node> for Declared {
    fn from(logits: Node) -> Declared {
        Declared { logits, losses: None }
    }
}

/// The `[model]` section: a name, and the settings of that model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum ModelConfig {
    SingleTask(SingleTask),
    SharedBottom(SharedBottom),
    Esmm(Esmm),
    Mmoe(Mmoe),
    Ncs4cvr(Ncs4cvr),
    Cgc(Cgc),
    Ple(Ple),
    Esm2(Esm2),
    Aitm(Aitm),
    Calibration(Calibration),
    Aem2tl(Aem2tl),
    Ektm(Ektm),
}

/// What a user reads about a model.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name in the config.
    pub name: &'static str,
    /// The paper.
    pub paper: &'static str,
    /// When to use it.
    pub when: &'static str,
}

/// All models.
pub const MODELS: [About; 12] = [
    single_task::ABOUT,
    shared_bottom::ABOUT,
    esmm::ABOUT,
    mmoe::ABOUT,
    cgc::ABOUT,
    ple::ABOUT,
    esm2::ABOUT,
    aitm::ABOUT,
    calibration::ABOUT,
    aem2tl::ABOUT,
    ektm::ABOUT,
    ncs4cvr::ABOUT,
];

impl ModelConfig {
    /// The model of a name, with its default settings.
    pub fn named(name: &str) -> Option<ModelConfig> {
        Some(match name {
            "single-task" => ModelConfig::SingleTask(SingleTask::default()),
            "shared-bottom" => ModelConfig::SharedBottom(SharedBottom::default()),
            "esmm" => ModelConfig::Esmm(Esmm::default()),
            "mmoe" => ModelConfig::Mmoe(Mmoe::default()),
            "cgc" => ModelConfig::Cgc(Cgc::default()),
            "ple" => ModelConfig::Ple(Ple::default()),
            "esm2" => ModelConfig::Esm2(Esm2::default()),
            "aitm" => ModelConfig::Aitm(Aitm::default()),
            "calibration" => ModelConfig::Calibration(Calibration::default()),
            "aem2tl" => ModelConfig::Aem2tl(Aem2tl::default()),
            "ektm" => ModelConfig::Ektm(Ektm::default()),
            "ncs4cvr" => ModelConfig::Ncs4cvr(Ncs4cvr::default()),
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        let value = toml::Value::try_from(self).ok();
        let name = value.as_ref().and_then(|value| value.get("name")).and_then(toml::Value::as_str);
        MODELS.iter().map(|about| about.name).find(|known| Some(*known) == name).unwrap_or_default()
    }

    /// The model itself.
    pub fn model(&self) -> &dyn Model {
        match self {
            ModelConfig::SingleTask(model) => model,
            ModelConfig::SharedBottom(model) => model,
            ModelConfig::Esmm(model) => model,
            ModelConfig::Mmoe(model) => model,
            ModelConfig::Cgc(model) => model,
            ModelConfig::Ple(model) => model,
            ModelConfig::Esm2(model) => model,
            ModelConfig::Aitm(model) => model,
            ModelConfig::Calibration(model) => model,
            ModelConfig::Aem2tl(model) => model,
            ModelConfig::Ektm(model) => model,
            ModelConfig::Ncs4cvr(model) => model,
        }
    }
}

/// The embedded fields, as columns of one node.
#[derive(Clone, Debug)]
pub struct Features {
    set: usize,
    node: Node,
    main: Range<usize>,
    embedded: Vec<Range<usize>>,
    sides: [Range<usize>; 3],
    bias: Range<usize>,
}

impl Features {
    /// All fields but those with the role `bias`.
    pub fn main(&self) -> Node {
        self.node.columns(self.main.start, self.main.len())
    }

    /// The columns of [`Features::main`] that hold a vector of a table, one
    /// range per field.
    pub fn embedded(&self) -> &[Range<usize>] {
        &self.embedded
    }

    /// The main fields of one side; `None` if there are none.
    pub fn side(&self, side: Side) -> Option<Node> {
        let range = &self.sides[side as usize];
        (!range.is_empty()).then(|| self.node.columns(range.start, range.len()))
    }

    /// The fields with the role `bias`; `None` if there are none.
    pub fn bias(&self) -> Option<Node> {
        (!self.bias.is_empty()).then(|| self.node.columns(self.bias.start, self.bias.len()))
    }

    /// Towers declared through `net` from here on are gated by who sees what
    /// where: the user's and the item's fields, the scenario's vector, and all
    /// main fields through a stopped gradient ([`Gating`]).
    pub fn gate_towers(&self, net: &mut Net<'_>, gating: Gating) {
        let sides = [Side::User, Side::Item].into_iter().filter_map(|side| self.side(side));
        let mut priors: Vec<Node> = sides.collect();
        // Feature sets share nothing, nor do their scenarios.
        let scenario = if self.set == 0 { "scenario".to_string() } else { format!("scenario.{}", self.set) };
        priors.push(net.scenario(&scenario, gating.scenario_width));
        priors.push(self.main().stop_gradient());
        let priors = net.concat("priors", &priors);
        net.gate_towers(priors, gating.units);
    }
}

/// What a model may build upon.
pub struct Inputs<'a> {
    objective: &'a Objective,
    columns: &'a Columns,
    labels: Node,
    weights: Node,
    sets: Vec<Node>,
    sources: Vec<Source>,
    terms: Vec<Term>,
    diagnostics: Vec<Diagnostic>,
    masks: Vec<Masks>,
    /// Per task: whether its heads are asked. All are, but in a network of one task's loss.
    asked: Vec<bool>,
}

/// The masks of one layer whose weights all tasks share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masks {
    /// The weights.
    pub weight: ParameterId,
    /// One per task, of the weights' shape: 1 where the task has the
    /// connection, 0 where it is struck out.
    pub of_task: Vec<ParameterId>,
}

/// A loss beside those of the tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Its name in reports.
    pub name: String,
    /// Its weight.
    pub weight: f32,
    node: Node,
}

impl Inputs<'_> {
    /// The logits wanted, in order.
    pub fn heads(&self) -> &[Head] {
        self.objective.heads()
    }

    /// Names of the tasks.
    pub fn names(&self) -> &[String] {
        self.objective.names()
    }

    /// The fields looked up in a set of tables of their own. Models that share
    /// embeddings call this once. With `[network.gating]` they gate the towers
    /// that `net` declares from here on.
    pub fn features(&mut self, net: &mut Net<'_>) -> Features {
        let features = self.further_features(net);
        if let Some(gating) = net.gating() {
            features.gate_towers(net, gating);
        }
        features
    }

    /// The same from a set of tables that gates no towers: for parts of a model
    /// whose towers read another set.
    pub fn further_features(&mut self, net: &mut Net<'_>) -> Features {
        let (set, columns) = (self.sets.len(), self.columns);
        let node = net.graph().source(&format!("features {set}"), columns.width(), true);
        net.graph().lead(node, columns.side(Side::User).end);
        self.sources.push(Source::Features { set });
        self.sets.push(node);
        Features {
            set,
            node,
            main: columns.main(),
            embedded: columns.embedded().collect(),
            sides: [Side::User, Side::Item, Side::Context].map(|side| columns.side(side)),
            bias: columns.bias(),
        }
    }

    /// The labels of the batch, rows × tasks: 0, 1, or NaN where missing.
    /// For losses only: they are not there when scoring.
    pub fn labels(&self) -> Node {
        self.labels
    }

    /// The rows' weights, rows × 1. For losses only.
    pub fn weights(&self) -> Node {
        self.weights
    }

    /// The objective, for losses over other logits than the model's own.
    pub fn objective(&self) -> &Objective {
        self.objective
    }

    /// The tasks' losses of other logits of the same meaning; `factors`
    /// (rows × tasks), if given, multiply them row by row and get no gradient.
    ///
    /// # Shapes
    /// logits: rows × heads; output: rows × tasks.
    pub fn losses(&self, net: &mut Net<'_>, name: &str, logits: Node, factors: Option<Node>) -> Node {
        let factors = factors.map(|factors| factors.stop_gradient());
        let inputs: Vec<Node> = [logits, self.labels, self.weights].into_iter().chain(factors).collect();
        net.graph().push(name, self.loss(), &inputs, &[], self.names().len())
    }

    fn loss(&self) -> FunnelLoss {
        FunnelLoss { objective: self.objective.clone() }
    }

    /// `1 + beta · |y - p|^gamma` with the probabilities of some logits, and 1
    /// for other tasks than `tasks`, as factors for [`Inputs::losses`]. No
    /// gradient flows through it.
    ///
    /// # Shapes
    /// logits: rows × heads; output: rows × tasks.
    pub fn hard_example(
        &self,
        net: &mut Net<'_>,
        name: &str,
        logits: Node,
        tasks: &[usize],
        beta: f32,
        gamma: f32,
    ) -> Node {
        let betas = (0..self.names().len()).map(|task| if tasks.contains(&task) { beta } else { 0.0 }).collect();
        let op = HardExample { loss: self.loss(), betas, gamma };
        net.graph().push(name, op, &[logits.stop_gradient(), self.labels], &[], self.names().len())
    }

    /// 1 where `one` has a smaller loss than `other`, 0 where not, NaN where a
    /// row has no label that counts. For diagnosis.
    ///
    /// # Shapes
    /// one, other: rows × heads; output: rows × tasks.
    pub fn beats(&self, net: &mut Net<'_>, name: &str, one: Node, other: Node) -> Node {
        let inputs = [one.stop_gradient(), other.stop_gradient(), self.labels];
        net.graph().push(name, Beats { loss: self.loss() }, &inputs, &[], self.names().len())
    }

    /// p(action and its ancestors | impression) of every task.
    ///
    /// # Shapes
    /// logits: rows × heads; output: rows × tasks.
    pub fn joint(&self, net: &mut Net<'_>, name: &str, logits: Node) -> Node {
        net.graph().push(name, Joint { objective: self.objective.clone() }, &[logits], &[], self.names().len())
    }

    /// Shows a node's mean over rows after an evaluation. A NaN does not count.
    pub fn add_diagnostic(&mut self, name: &str, columns: Vec<String>, node: Node) {
        assert_eq!(columns.len(), node.width(), "{name}: one name per column");
        self.diagnostics.push(Diagnostic { name: name.into(), columns, node: node.stop_gradient() });
    }

    /// All logits, from those of each task: heads are listed task by task, so
    /// the parts stand in order. Where a network is for one task's loss alone
    /// ([`Network::of_task`]), zeros stand for the logits that it does not ask.
    ///
    /// # Shapes
    /// parts: one per task, rows × its heads; output: rows × heads.
    pub fn logits(&self, net: &mut Net<'_>, name: &str, parts: &[Node]) -> Node {
        assert_eq!(parts.len(), self.asked.len(), "{name}: one part per task");
        let parts: Vec<Node> = parts
            .iter()
            .zip(&self.asked)
            .map(|(part, asked)| if *asked { *part } else { net.graph().push(name, Zeros, &[], &[], part.width()) })
            .collect();
        net.concat(name, &parts)
    }

    /// Tells of a layer with a mask per task.
    pub fn add_masks(&mut self, layer: &Masked) {
        assert_eq!(layer.masks.len(), self.names().len(), "one mask per task");
        self.masks.push(Masks { weight: layer.weight, of_task: layer.masks.clone() });
    }

    /// Adds one column to what training minimises.
    pub fn add_loss(&mut self, name: &str, weight: f32, node: Node) {
        self.terms.push(Term { name: name.into(), weight, node });
    }

    /// Adds the objective's triplet term over the first set of tables, if it
    /// has one and the model has tables.
    fn add_triplet(&mut self, net: &mut Net<'_>) {
        let objective = self.objective;
        let (Some(triplet), Some(set)) = (objective.triplet(), self.sets.first()) else { return };
        let main = self.columns.main();
        let (tasks, width) = (triplet.tasks.len(), triplet.width);
        // One product for all tasks: they read the same input.
        let z = net.shared_linear("triplet", &[set.columns(main.start, main.len())], 1, tasks * width)[0];
        let shape = [tasks, LEVELS, width];
        let centres = net.graph().parameter("triplet.centres", &shape, Init::Glorot { inputs: LEVELS, outputs: width });
        let centres = net.graph().push("triplet.centres", Broadcast, &[], &[centres], shape.iter().product());
        let op = Triplet { funnel: objective.funnel().clone(), tasks: triplet.tasks.clone(), margin: triplet.margin };
        let losses = net.graph().push("triplet", op, &[z, centres, self.labels, self.weights], &[], tasks);
        for (index, task) in triplet.tasks.iter().enumerate() {
            self.add_loss(&format!("triplet {}", objective.names()[*task]), triplet.weight, losses.columns(index, 1));
        }
    }

    /// Adds the bias network of Calibration4CVR's baseline (methods 3.2): one
    /// shallow tower per head over the bias fields, added to the logits. It is
    /// never gated. A model calls this for the heads that read these features.
    ///
    /// # Shapes
    /// logits: rows × heads.
    pub fn add_bias(&self, net: &mut Net<'_>, name: &str, features: &Features, logits: Node) -> Node {
        let Some(bias) = features.bias() else { return logits };
        let bias = net.ungated().towers_over(name, bias, logits.width(), &[BIAS_UNITS]);
        net.sum(name, &[(1.0, logits), (1.0, bias)])
    }
}

/// Width of the bias network's one hidden layer: it is meant to be shallow.
const BIAS_UNITS: usize = 16;

/// What a source of an assembled network holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The fields, looked up in a set of tables.
    Features {
        /// Which set.
        set: usize,
    },
    /// Labels, rows × tasks.
    Labels,
    /// Row weights, rows × 1.
    Weights,
}

/// A model, its heads and its losses, ready to run.
#[derive(Debug)]
pub struct Network {
    /// The compiled graph.
    pub program: Program,
    /// What each source of the graph holds, in order.
    pub sources: Vec<Source>,
    /// The nodes of the feature sets.
    pub sets: Vec<Node>,
    /// The logits, rows × heads.
    pub logits: Node,
    /// Whether scenarios have weights of their own, so that the rows of a
    /// batch must be sorted by scenario.
    pub routed: bool,
    /// What the logits mean.
    pub objective: Objective,
    /// Losses beside those of the tasks; they follow them in the program.
    pub terms: Vec<Term>,
    /// What the model shows of its inside.
    pub diagnostics: Vec<Diagnostic>,
    /// The layers with a mask per task.
    pub masks: Vec<Masks>,
}

/// What a network is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// The losses of all tasks.
    Tasks,
    /// The logits of all heads.
    Heads,
    /// The loss of one task.
    Task(usize),
}

impl Network {
    /// Declares and compiles a model for a layout and an objective.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that make no sense.
    pub fn new(model: &dyn Model, style: &Style, layout: &Layout, objective: Objective) -> Result<Network> {
        Network::build(model, style, layout, objective, Question::Tasks)
    }

    /// The same parameters under another question: every head's logit, times
    /// the row's weight, is a loss, and nothing else is. The gradients tell what
    /// each head reads.
    ///
    /// # Errors
    /// As of [`Network::new`].
    pub fn of_heads(model: &dyn Model, style: &Style, layout: &Layout, objective: Objective) -> Result<Network> {
        Network::build(model, style, layout, objective, Question::Heads)
    }

    /// The same parameters for the loss of one task: of a model that puts its
    /// logits together by [`Inputs::logits`], what this loss does not ask is
    /// neither computed nor learned. The losses and logits of other tasks are
    /// there, and mean nothing.
    ///
    /// # Errors
    /// As of [`Network::new`].
    pub fn of_task(
        model: &dyn Model,
        style: &Style,
        layout: &Layout,
        objective: Objective,
        task: usize,
    ) -> Result<Network> {
        Network::build(model, style, layout, objective, Question::Task(task))
    }

    fn build(
        model: &dyn Model,
        style: &Style,
        layout: &Layout,
        objective: Objective,
        question: Question,
    ) -> Result<Network> {
        style.check()?;
        let columns = Columns::new(layout);
        if columns.main().is_empty() {
            return Err(Error::Config("every field has the role `bias`: the model has nothing to read".into()));
        }
        let mut graph = Graph::new(layout.scenarios.len());
        graph.set_products(style.products);
        let labels = graph.source("labels", objective.funnel().tasks(), false);
        let weights = graph.source("weights", 1, false);
        let mut inputs = Inputs {
            objective: &objective,
            columns: &columns,
            labels,
            weights,
            sets: Vec::new(),
            sources: vec![Source::Labels, Source::Weights],
            terms: Vec::new(),
            diagnostics: Vec::new(),
            masks: Vec::new(),
            asked: match question {
                Question::Tasks | Question::Heads => vec![true; objective.names().len()],
                Question::Task(task) => objective.asked_by(task),
            },
        };
        let mut net = Net::new(&mut graph, style);
        let declared = model.declare(&mut net, &mut inputs)?;
        // Last, and in both graphs, so that the model's parameters stand in the same places.
        inputs.add_triplet(&mut net);
        assert_eq!(declared.logits.width(), objective.heads().len(), "one logit per head");
        let losses = match declared.losses {
            _ if question == Question::Heads => net.multiply("weighted", declared.logits, weights),
            Some(losses) => losses,
            None => inputs.losses(&mut net, "loss", declared.logits, None),
        };
        let Inputs { sets, sources, terms, diagnostics, masks, .. } = inputs;
        let (names, terms): (Vec<&String>, Vec<Term>) = if question == Question::Heads {
            (objective.heads().iter().map(|head| &head.name).collect(), Vec::new())
        } else {
            (objective.names().iter().collect(), terms)
        };
        graph.output(declared.logits);
        for (index, name) in names.into_iter().enumerate() {
            graph.loss(name, losses.columns(index, 1));
        }
        for term in &terms {
            graph.loss(&term.name, term.node);
        }
        diagnostics.iter().for_each(|diagnostic| graph.diagnostic(diagnostic.node));
        let (routed, logits) = (graph.routed(), declared.logits);
        let program = graph.compile()?;
        Ok(Network { program, sources, sets, logits, routed, objective, terms, diagnostics, masks })
    }
}
