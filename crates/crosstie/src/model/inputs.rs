//! What a model builds upon: the embedded fields, and what is known of a row.

use std::ops::Range;

use super::diagnostic::Diagnostic;
use crate::compute::op::{Broadcast, Zeros};
use crate::compute::{Init, Node, ParameterId};
use crate::embedding::Columns;
use crate::layer::{Gating, Net, Subnetworks};
use crate::objective::{Beats, FunnelLoss, HardExample, Head, Joint, LEVELS, Objective, Triplet};
use crate::schema::Side;

/// What a source of an assembled network holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The fields, looked up in a set of tables.
    Fields {
        /// Which set.
        set: usize,
    },
    /// Labels, rows × tasks.
    Labels,
    /// Row weights, rows × 1.
    Weights,
}

/// The embedded fields, as columns of one node.
#[derive(Clone, Debug)]
pub struct Fields {
    set: usize,
    node: Node,
    main: Range<usize>,
    embedded: Vec<Range<usize>>,
    sides: [Range<usize>; 3],
    bias: Range<usize>,
}

impl Fields {
    /// All fields but those with the role `bias`.
    pub fn main(&self) -> Node {
        self.node.columns(self.main.start, self.main.len())
    }

    /// The columns of [`Fields::main`] that hold a vector of a table, one
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

/// Name of the graph's source of a feature set.
pub(super) fn source_of(set: usize) -> String {
    format!("features {set}")
}

/// What a model may build upon.
pub struct Inputs<'a> {
    pub(super) objective: &'a Objective,
    pub(super) columns: &'a Columns,
    pub(super) labels: Node,
    pub(super) weights: Node,
    pub(super) sets: Vec<Node>,
    pub(super) row_rates: Vec<f64>,
    pub(super) sources: Vec<Input>,
    pub(super) terms: Vec<LossTerm>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) masks: Vec<Masks>,
    pub(super) shrinkage: Option<ParameterId>,
    pub(super) shared: Option<Shared>,
    /// Per task: whether its heads are asked. All are, but in a network of one task's loss.
    pub(super) asked: Vec<bool>,
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

/// A network that all tasks learn together, or several, whose logits are a share of the scores.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// How much of a head's logit is its: a parameter of one number per head, 0 in training
    /// and set at the end.
    pub shares: ParameterId,
    /// Its logits, rows × heads; of several the mean.
    pub logits: Node,
}

/// A loss beside those of the tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct LossTerm {
    /// Its name in reports.
    pub name: String,
    /// Its weight.
    pub weight: f32,
    /// The task that it is about; `None` if it is about several.
    pub task: Option<usize>,
    /// Of what all tasks learn together, the task whose loss this is: in training its
    /// weight is multiplied by what gives that task as much influence as the others.
    pub balanced: Option<usize>,
    pub(super) node: Node,
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
    pub fn fields(&mut self, net: &mut Net<'_>) -> Fields {
        let fields = self.further_fields(net);
        if let Some(gating) = net.gating() {
            fields.gate_towers(net, gating);
        }
        fields
    }

    /// The same from a set of tables that gates no towers: for parts of a model
    /// whose towers read another set.
    pub fn further_fields(&mut self, net: &mut Net<'_>) -> Fields {
        let (set, columns) = (self.sets.len(), self.columns);
        let node = net.graph().source(&source_of(set), columns.width(), true);
        net.graph().lead(node, columns.side(Side::User).end);
        self.sources.push(Input::Fields { set });
        self.sets.push(node);
        self.row_rates.push(1.0);
        Fields {
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

    /// Shows a node's mean over rows after an evaluation, as the row of a matrix of that
    /// kind. A NaN does not count.
    pub fn add_diagnostic(&mut self, kind: &str, row: &str, columns: Vec<String>, node: Node) {
        assert_eq!(columns.len(), node.width(), "{kind} {row}: one name per column");
        let (kind, row) = (kind.into(), row.into());
        self.diagnostics.push(Diagnostic { kind, row, columns, node: node.stop_gradient() });
    }

    /// Shows how gates use experts: one row for each of some gates of as many weights, which
    /// stand side by side. Where there is one gate for each head, those are the rows' names.
    pub fn show_gates(&mut self, kind: &str, gates: Node, experts: &[String]) {
        let count = gates.width() / experts.len();
        let heads: Vec<String> = self.heads().iter().map(|head| head.name.clone()).collect();
        for gate in 0..count {
            let row = heads.get(gate).filter(|_| count == heads.len()).map_or("", String::as_str);
            self.add_diagnostic(kind, row, experts.to_vec(), gates.part(gate, count));
        }
    }

    /// Names for so many experts of each head.
    pub fn experts_of_heads(&self, own: usize) -> impl Iterator<Item = String> + '_ {
        let of_head = move |name: &str| -> Vec<String> {
            match own {
                1 => vec![name.into()],
                _ => (1..=own).map(|expert| format!("{name} {expert}")).collect(),
            }
        };
        self.heads().iter().flat_map(move |head| of_head(&head.name))
    }

    /// All logits, from those of each task: heads are listed task by task, so
    /// the parts stand in order. Where a network is for one task's loss alone
    /// ([`Network::of_task`](super::Network::of_task)), zeros stand for the logits that it does not ask.
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
    pub fn add_masks(&mut self, layer: &Subnetworks) {
        assert_eq!(layer.masks.len(), self.names().len(), "one mask per task");
        self.masks.push(Masks { weight: layer.weight, of_task: layer.masks.clone() });
    }

    /// Adds one column to what training minimises.
    pub fn add_loss(&mut self, name: &str, weight: f32, node: Node) {
        self.terms.push(LossTerm { name: name.into(), weight, task: None, balanced: None, node });
    }

    /// The same, of a loss that is about one task.
    pub fn add_loss_of(&mut self, task: usize, name: &str, weight: f32, node: Node) {
        self.terms.push(LossTerm { name: name.into(), weight, task: Some(task), balanced: None, node });
    }

    /// The tasks' losses (rows × tasks) in what all of them learn together, and nothing
    /// else learns: none of them is the louder for being frequent
    /// ([`LossTerm::balanced`]).
    pub fn add_balanced_losses(&mut self, name: &str, losses: Node) {
        let objective = self.objective;
        for (task, (of, weight)) in objective.names().iter().zip(objective.weights()).enumerate() {
            let (name, node) = (format!("{name} {of}"), losses.columns(task, 1));
            self.terms.push(LossTerm { name, weight: *weight, task: None, balanced: Some(task), node });
        }
    }

    /// Lets the rows of a set of tables learn at so many times
    /// `optimizer.rows.learning_rate`.
    pub fn set_row_rate(&mut self, fields: &Fields, rate: f64) {
        self.row_rates[fields.set] = rate;
    }

    /// What heads take over from other tasks (rows × heads), times a number per head
    /// that is set once training is over.
    ///
    /// # Panics
    /// If the model has called it before.
    pub fn shrink(&mut self, net: &mut Net<'_>, name: &str, given: Node) -> Node {
        assert!(self.shrinkage.is_none(), "one shrinkage for all heads");
        let heads = self.heads().len();
        let parameter = net.graph().statistic(name, &[heads], 1.0);
        self.shrinkage = Some(parameter);
        let shares = net.graph().push(name, Broadcast, &[], &[parameter], heads);
        net.multiply(name, given, shares)
    }

    /// Logits of two kinds (rows × heads), of the second as much as a number per head says
    /// that is set once training is over. Until then it is the first. It passes no gradient
    /// on: both have losses of their own.
    ///
    /// # Panics
    /// If the model has called it before.
    pub fn share(&mut self, net: &mut Net<'_>, name: &str, own: Node, shared: Node) -> Node {
        assert!(self.shared.is_none(), "one share for all heads");
        let (heads, own, shared) = (self.heads().len(), own.stop_gradient(), shared.stop_gradient());
        let parameter = net.graph().statistic(name, &[heads], 0.0);
        self.shared = Some(Shared { shares: parameter, logits: shared });
        let shares = net.graph().push(name, Broadcast, &[], &[parameter], heads);
        let difference = net.sum(name, &[(1.0, shared), (-1.0, own)]);
        let taken = net.multiply(name, difference, shares);
        net.sum(name, &[(1.0, own), (1.0, taken)])
    }

    /// Adds the objective's triplet term over the first set of tables, if it
    /// has one and the model has tables.
    pub(super) fn add_triplet(&mut self, net: &mut Net<'_>) {
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
    /// never gated. A model calls this for the heads that read these fields.
    ///
    /// # Shapes
    /// logits: rows × heads.
    pub fn add_bias(&self, net: &mut Net<'_>, name: &str, fields: &Fields, logits: Node) -> Node {
        let Some(bias) = fields.bias() else { return logits };
        let bias = net.ungated().towers_over(name, bias, logits.width(), &[BIAS_UNITS]);
        net.sum(name, &[(1.0, logits), (1.0, bias)])
    }
}

/// Width of the bias network's one hidden layer: it is meant to be shallow.
const BIAS_UNITS: usize = 16;

/// Names for a task's own experts, and the shared ones after them.
pub(super) fn own_and_shared(own: usize, shared: usize) -> Vec<String> {
    let own = (1..=own).map(|expert| format!("own {expert}"));
    own.chain((1..=shared).map(|expert| format!("shared {expert}"))).collect()
}
