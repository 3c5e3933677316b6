//! EKTM: explicit knowledge transfer between conversion tasks.
//!
//! Cai, Yuan and Dong, arXiv 2605.05730, 2026; methods 2. Only the abstract, a
//! part of the introduction and the router's formula of that paper were
//! readable, so this is a model in the style of EKTM.
//!
//! Of every task there is an *original* head, and what other tasks know is
//! *transferred* to an *enhanced* head, which is the score. `transfer` says what is
//! transferred.
//!
//! **`transfer = "logits"`** (ours, the default): what the other tasks think of a row.
//! With h over all heads:
//!
//! ```text
//! z°_h = original_h(Bottom_t(e_t))                 a network of task t alone; e_t: own tables
//! k    = sg([z°_1, .., z°_H])                      router
//! t_h  = MLP_h(k)                                  transmitter
//! z_h  = sg(z°_h) + g_h · gain · (w_h · t_h + b_h)     enhanced head; w, b start at 0
//! ```
//!
//! The original heads are those of single-task training, to the bit, and the enhanced
//! ones start where they are. Nothing but w, b and the transmitters learns from the
//! enhanced loss, so no task can pull at what another has learned. After training g_h
//! is chosen among 0, 1/2 and 1 by the validation rows: a task to which the others give
//! nothing keeps its original head. Without the router k is the task's own logits;
//! without the transmitter t_h = k; without enhancement, or where there is one task, the
//! score is z°_h.
//!
//! Beside them stands what all tasks learn together (`shared`, ours): N small networks, each
//! an MMoE over tables of its own, whose towers give every head logits more,
//!
//! ```text
//! z*_nh = MMoE_nh(e_n)                          learns from Σ_t w_t ℓ(z*_nt)
//! z*_h  = 1/N Σ_n z*_nh
//! logit_h = (1 - s_t) z_h + s_t z*_h            the score; s_t = 0 in training
//! ```
//!
//! with the weights w of `objective.weights = "auto"`, so that a frequent task is no louder
//! than a rare one. Nothing passes between these networks and the tasks' own. After training
//! the validation rows say how much of them a task takes, s_t (train/share.rs): a task that
//! wants what others want takes much, one that the others harm nothing.
//!
//! **`transfer = "representations"`**: the paper's mean, as far as it is readable. A
//! root task's head is a click head (ctr); every other head is a conversion head (cvr),
//! i = 1..T:
//!
//! ```text
//! f_ctr, f_i = Bottom(e)                                 one for every head
//! s_ij       = <f_i, f_j> / (‖f_i‖ ‖f_j‖)                similarity "cosine", per row
//! s          = a learned T × T matrix                    similarity "learned"
//! ŝ_i        = softmax_j(s_ij / temperature)             both
//! ŝ_ij       = 1                                         similarity "uniform"
//! F_i        = mean(f_ctr, ŝ_i1 f_1, .., ŝ_iT f_T)       router
//! t_i        = MLP_i(F_i)                                transmitter
//! ŷ°_i       = σ(original_i(f_i))
//! ŷ_i        = σ(enhanced_i([f_i ; t_i]))                the score
//! ```
//!
//! Without the router F_i = f_i: nothing comes from other tasks. Without the
//! transmitter t_i = F_i. Without enhancement there is one head, σ(original_i(t_i)):
//! what is transferred takes the place of the task's own representation, and nothing
//! guards the task against it.
//!
//! `tables` says what a bottom reads: e shared by all tasks (`shared`), a set e_t of
//! each task (`own`), or [e ; e_t] (`both`, of representations only).
//!
//! The loss of a task that has both heads
//!
//! ```text
//! ℓ(ŷ°) + ℓ(ŷ)                                              loss "plain"
//! ℓ(ŷ°) + ℓ(ŷ) + lambda max(0, ℓ(ŷ) - sg(ℓ(ŷ°)))            loss "guard"
//! ℓ(ŷ°) + (1 + beta |y - sg(ŷ°)|^gamma) ℓ(ŷ)                loss "hard-example"
//! ```
//!
//! times the task's weight; ℓ is the cross-entropy.
//!
//! # Deviations and reconstructions
//! - Quoted from the paper: the three modules and the mean F_i. Reconstructed
//!   (methods 2.4): how ŝ is computed, the transmitter's network, the enhanced
//!   head, the losses, all sizes. The hinge has no margin.
//! - The transfer of logits is ours. In the mean F_i a conversion is most alike to
//!   itself, so it is given little that it does not have, through weights that are
//!   normalised twice; and representations that nothing brings into one space say less
//!   when averaged than what their heads make of them. docs/results/transfer.md has
//!   both.
//! - `transmitter.stop_gradient` (of representations): in F_i, and in s_ij, f_ctr and
//!   f_j (j ≠ i) give knowledge and are not changed by task i (after STEM, AAAI 2024).
//! - Whether the paper's tasks share their embeddings is unknown. With own tables (after
//!   STEM) unlike tasks cannot pull at each other's. Bias networks read the first set
//!   where representations are transferred, and a task's own where logits are.
//! - f_ctr is that of the root above conversion i. A task with several heads
//!   has a representation for each; conversions of all trees are routed.
//! - `|y - ŷ°|` belongs to the probability that the task's loss is about: given
//!   the parent, or from the impression, by the objective's space. Through the
//!   products of ŷ° no gradient reaches the click heads, which learn from the
//!   click and from the score.
//! - Weighted by `hard-example` a score is no calibrated probability; the other losses
//!   leave it nearer to one.
//!
//! # Diagnosis
//! `similarity TASK`: the mean of ŝ_i, of representations. `enhanced beats original`: on
//! how many of a task's rows ŷ has the smaller loss.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::Inputs;
use super::mmoe::Mmoe;
use super::single_task;
use crate::compute::op::{Broadcast, Cosine};
use crate::compute::{Init, Node};
use crate::error::{Error, Result};
use crate::layer::{Experts, Net, check_count, check_units};
use crate::objective::Head;
use crate::range::{ABOVE_ZERO, ZERO_OR_MORE};

pub(super) const ABOUT: About = About {
    name: "ektm",
    paper: "Cai et al., arXiv 2605.05730 (2026)",
    when: "several tasks, some of them rare, that may or may not be akin: each takes what helps it, and none is harmed",
    needs: Needs::Tasks,
};

/// Settings of EKTM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ektm {
    /// Hidden layers of each head's bottom.
    pub bottom_units: Vec<usize>,
    /// Hidden layers of each tower, of representations only: over logits there are none.
    pub tower_units: Vec<usize>,
    /// What tasks give each other.
    pub transfer: Transfer,
    /// Whose embeddings the bottoms read.
    pub tables: TableSharing,
    /// Who gets how much of whom.
    pub router: Router,
    /// Each conversion's translation of what it gets.
    pub transmitter: Transmitter,
    /// What the transfer must be good for.
    pub enhanced: Enhanced,
    /// Of logits: what all tasks learn together.
    pub shared: SharedNetwork,
}

/// What tasks give each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// What they think of a row, to be added to what a task thinks itself.
    Logits,
    /// What the last layers of their bottoms hold, to be read beside a task's own.
    Representations,
}

/// Whose embeddings a task's bottoms read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TableSharing {
    /// One set for all tasks.
    Shared,
    /// A set for each task: tasks meet in the router alone.
    Own,
    /// The shared set beside a set for each task.
    Both,
}

/// `[model.router]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Router {
    /// Off for the ablation.
    pub enabled: bool,
    /// Between conversions.
    pub similarity: Similarity,
    /// Divides similarities before the softmax.
    pub temperature: f32,
}

/// How alike two conversions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Similarity {
    /// By the cosine of their representations of a row.
    Cosine,
    /// By a matrix that is learned.
    Learned,
    /// All alike: the mean is a plain one.
    Uniform,
}

/// `[model.transmitter]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Transmitter {
    /// Off for the ablation.
    pub enabled: bool,
    /// Hidden layers of each transmitter.
    pub units: Vec<usize>,
    /// Whether the representations of other tasks are taken as they are.
    pub stop_gradient: bool,
}

/// `[model.enhanced]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Enhanced {
    /// Off for the ablation.
    pub enabled: bool,
    /// What holds the enhanced head against the original one.
    pub loss: EnhancedLoss,
    /// Of logits: multiplies what is added to them. It starts at zero, and grows the
    /// faster.
    pub gain: f32,
    /// Of `hard-example`: most that is added to a row's weight.
    pub beta: f32,
    /// Of `hard-example`: the greater, the more only the hardest rows gain.
    pub gamma: f32,
    /// Of `guard`: weight of the hinge.
    pub lambda: f32,
}

/// `[model.shared]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SharedNetwork {
    /// Off for the ablation.
    pub enabled: bool,
    /// How many networks there are, each over tables of its own. Their logits are averaged.
    pub networks: usize,
    /// Number of each network's experts, shared by all tasks. With one it is a shared bottom.
    pub experts: usize,
    /// Hidden layers of each expert.
    pub expert_units: Vec<usize>,
    /// Hidden layers of each of its towers.
    pub tower_units: Vec<usize>,
    /// How many times `optimizer.rows.learning_rate` the rows of their tables learn at.
    pub row_rate: f64,
}

/// The loss of enhanced heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnhancedLoss {
    /// Nothing.
    Plain,
    /// Rows weigh more where the original head errs.
    #[serde(alias = "hard_example")]
    HardExample,
    /// Rows cost more where the enhanced head is worse than the original one.
    Guard,
}

impl Default for Ektm {
    fn default() -> Ektm {
        Ektm {
            bottom_units: vec![128, 64],
            tower_units: vec![32],
            transfer: Transfer::Logits,
            tables: TableSharing::Own,
            router: Router::default(),
            transmitter: Transmitter::default(),
            enhanced: Enhanced::default(),
            shared: SharedNetwork::default(),
        }
    }
}

impl Default for SharedNetwork {
    fn default() -> SharedNetwork {
        let Mmoe { expert_units, tower_units, .. } = Mmoe::default();
        SharedNetwork { enabled: true, networks: 2, experts: 1, expert_units, tower_units, row_rate: 1.0 }
    }
}

impl Default for Router {
    fn default() -> Router {
        Router { enabled: true, similarity: Similarity::Cosine, temperature: 0.2 }
    }
}

impl Default for Transmitter {
    fn default() -> Transmitter {
        Transmitter { enabled: true, units: vec![32], stop_gradient: true }
    }
}

impl Default for Enhanced {
    fn default() -> Enhanced {
        Enhanced { enabled: true, loss: EnhancedLoss::Plain, gain: 3.0, beta: 1.0, gamma: 2.0, lambda: 1.0 }
    }
}

impl Model for Ektm {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        self.check()?;
        if self.transfer == Transfer::Logits {
            return Ok(self.of_logits(net, inputs));
        }
        let heads = Heads::new(inputs);
        let (clicks, conversions) = (heads.clicks.len(), heads.conversions.len());
        let fields = inputs.fields(net);
        let f_ctr = self.bottoms(net, inputs, "ctr_bottom", &heads.clicks, fields.main(), true);
        let ctr = net.towers("ctr_tower", f_ctr, clicks, &self.tower_units);
        let ctr = inputs.add_bias(net, "ctr_bias", &fields, ctr);
        if conversions == 0 {
            return Ok(ctr.into());
        }
        let f_cvr = self.bottoms(net, inputs, "cvr_bottom", &heads.conversions, fields.main(), false);
        let routed = if self.router.enabled { self.route(net, inputs, &heads, f_ctr, f_cvr) } else { f_cvr };
        let transmitted = if self.transmitter.enabled {
            net.parallel("transmitter", routed, conversions, &self.transmitter.units)
        } else {
            routed
        };
        let own = if self.enhanced.enabled { f_cvr } else { transmitted };
        let original = net.towers("original_tower", own, conversions, &self.tower_units);
        let original = inputs.add_bias(net, "original_bias", &fields, original);
        if !self.enhanced.enabled {
            return Ok(heads.in_order(net, "logits", ctr, original).into());
        }
        let pairs: Vec<Node> =
            (0..conversions).flat_map(|i| [f_cvr.part(i, conversions), transmitted.part(i, conversions)]).collect();
        let pairs = net.concat("enhanced", &pairs);
        let enhanced = net.towers("enhanced_tower", pairs, conversions, &self.tower_units);
        let enhanced = inputs.add_bias(net, "enhanced_bias", &fields, enhanced);
        let original = heads.in_order(net, "original", ctr.stop_gradient(), original);
        let enhanced = heads.in_order(net, "enhanced", ctr, enhanced);
        let parents = &inputs.objective().funnel().parents;
        let tasks: Vec<usize> = (0..parents.len()).filter(|task| parents[*task].is_some()).collect();
        Ok(self.compare(net, inputs, tasks, original, enhanced))
    }
}

impl Ektm {
    fn check(&self) -> Result<()> {
        check_units("model.bottom_units", &self.bottom_units, false)?;
        check_units("model.tower_units", &self.tower_units, true)?;
        check_units("model.transmitter.units", &self.transmitter.units, false)?;
        if self.transfer == Transfer::Logits && self.tables == TableSharing::Both {
            let message = "model.tables = \"both\" is for model.transfer = \"representations\"; for logits it is \"own\" or \"shared\"";
            return Err(Error::Config(message.into()));
        }
        self.shared.check()?;
        ABOVE_ZERO.check("model.router.temperature", self.router.temperature)?;
        let Enhanced { gain, beta, gamma, lambda, .. } = self.enhanced;
        let numbers = [("gain", gain), ("beta", beta), ("gamma", gamma), ("lambda", lambda)];
        numbers.into_iter().try_for_each(|(name, value)| ZERO_OR_MORE.check(format!("model.enhanced.{name}"), value))
    }

    /// Original heads of the tasks alone, what other tasks' logits add to them, and a share of
    /// what all tasks learn together.
    fn of_logits(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Declared {
        let shared_tables = self.tables == TableSharing::Shared;
        let original = single_task::networks(net, inputs, &self.bottom_units, shared_tables);
        let several = inputs.names().len() > 1;
        let alone = if several && self.enhanced.enabled {
            self.enhance(net, inputs, original)
        } else {
            let losses = inputs.losses(net, "original", original, None);
            Declared { losses: Some(losses), ..original.into() }
        };
        if !(several && self.shared.enabled) {
            return Declared { bases: vec![original], ..alone };
        }
        let shared = self.shared.logits(net, inputs);
        let logits = inputs.share(net, "share", alone.logits, shared);
        Declared { logits, bases: vec![original, shared], ..alone }
    }

    /// What other tasks' logits add to the original heads.
    fn enhance(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>, original: Node) -> Declared {
        let heads = inputs.heads().len();
        let known = original.stop_gradient();
        let units: &[usize] = if self.transmitter.enabled { &self.transmitter.units } else { &[] };
        let transmitted = match (self.router.enabled, units) {
            (true, []) => net.concat("router", &vec![known; heads]),
            (true, units) => net.experts("transmitter", known, heads, units).node,
            (false, units) => net.parallel("transmitter", known, heads, units),
        };
        let added = net.residuals("enhanced_tower", transmitted, heads);
        let added = inputs.shrink(net, "shrinkage", added);
        let enhanced = net.sum("enhanced", &[(1.0, known), (self.enhanced.gain, added)]);
        let tasks = (0..inputs.names().len()).collect();
        self.compare(net, inputs, tasks, original, enhanced)
    }

    /// A bottom for each of some heads. `first` is the first set of tables, and
    /// `free` whether no task has taken it for its own.
    fn bottoms(
        &self,
        net: &mut Net<'_>,
        inputs: &mut Inputs<'_>,
        name: &str,
        heads: &[usize],
        first: Node,
        free: bool,
    ) -> Node {
        if self.tables == TableSharing::Shared {
            return net.experts(name, first, heads.len(), &self.bottom_units).node;
        }
        let mut own: Option<(usize, Node)> = None;
        let mut bottoms = Vec::new();
        for head in heads {
            let Head { task, name: head, .. } = inputs.heads()[*head].clone();
            let x = match own {
                Some((of, x)) if of == task => x,
                None if free && self.tables == TableSharing::Own => first,
                _ => inputs.further_fields(net).main(),
            };
            own = Some((task, x));
            let name = format!("{name}.{head}");
            let x = if self.tables == TableSharing::Both { net.concat(&name, &[first, x]) } else { x };
            bottoms.push(net.mlp(&name, x, &self.bottom_units));
        }
        net.concat(name, &bottoms)
    }

    /// F_i of all conversions, side by side.
    fn route(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>, heads: &Heads, f_ctr: Node, f_cvr: Node) -> Node {
        let (clicks, count) = (heads.clicks.len(), heads.conversions.len());
        let given = |node: Node| if self.transmitter.stop_gradient { node.stop_gradient() } else { node };
        let (f_ctr, others) = (given(f_ctr), given(f_cvr));
        let share = 1.0 / (count + 1) as f32;
        let Some(similarity) = self.similarity(net, count, f_cvr, others) else {
            let means: Vec<Node> = (0..count)
                .map(|i| {
                    let other = |j: usize| if j == i { f_cvr.part(i, count) } else { others.part(j, count) };
                    let terms = std::iter::once(f_ctr.part(heads.roots[i], clicks)).chain((0..count).map(other));
                    let terms: Vec<(f32, Node)> = terms.map(|node| (share, node)).collect();
                    net.sum("router", &terms)
                })
                .collect();
            return net.concat("router", &means);
        };
        for (i, name) in heads.names.iter().enumerate() {
            inputs.add_diagnostic("similarity", name, heads.names.clone(), similarity.part(i, count));
        }
        let experts = [Experts { node: f_cvr, count }, Experts { node: others, count }];
        let choices = (0..count).map(|i| (0..count).map(|j| (usize::from(j != i), j)).collect()).collect();
        let mixed = net.mix("router", similarity, &experts, choices);
        let f_ctr: Vec<Node> = heads.roots.iter().map(|root| f_ctr.part(*root, clicks)).collect();
        let f_ctr = net.concat("router", &f_ctr);
        net.sum("router", &[(share, f_ctr), (share, mixed)])
    }

    /// ŝ, row by row of the matrix; `None` where all are 1.
    fn similarity(&self, net: &mut Net<'_>, count: usize, own: Node, others: Node) -> Option<Node> {
        let s = match self.router.similarity {
            Similarity::Uniform => return None,
            Similarity::Cosine => {
                let op = Cosine { width: own.width() / count };
                net.graph().push("similarity", op, &[own, others], &[], count * count)
            }
            Similarity::Learned => {
                let matrix = net.graph().parameter("similarity", &[count, count], Init::Constant(0.0));
                net.graph().push("similarity", Broadcast, &[], &[matrix], count * count)
            }
        };
        let s = net.sum("similarity", &[(1.0 / self.router.temperature, s)]);
        Some(net.softmax("similarity", s, &vec![count; count]))
    }

    /// The losses of both kinds of heads of some tasks; the enhanced ones score.
    fn compare(
        &self,
        net: &mut Net<'_>,
        inputs: &mut Inputs<'_>,
        tasks: Vec<usize>,
        original: Node,
        enhanced: Node,
    ) -> Declared {
        let objective = inputs.objective();
        let (names, weights) = (objective.names().to_vec(), objective.weights().to_vec());
        let beats = inputs.beats(net, "enhanced beats original", enhanced, original);
        let of_tasks: Vec<Node> = tasks.iter().map(|task| beats.columns(*task, 1)).collect();
        let beats = net.concat("enhanced beats original", &of_tasks);
        let columns = tasks.iter().map(|task| names[*task].clone()).collect();
        inputs.add_diagnostic("enhanced beats original", "", columns, beats);

        let Enhanced { loss, beta, gamma, lambda, .. } = self.enhanced;
        let factors = (loss == EnhancedLoss::HardExample)
            .then(|| inputs.hard_example(net, "hard examples", original, &tasks, beta, gamma));
        let losses = inputs.losses(net, "enhanced", enhanced, factors);
        let own = inputs.losses(net, "original", original, None);
        let guard = (loss == EnhancedLoss::Guard).then(|| net.hinge("guard", losses, own.stop_gradient()));
        for task in tasks {
            let (name, weight) = (&names[task], weights[task]);
            inputs.add_loss_of(task, &format!("original {name}"), weight, own.columns(task, 1));
            if let Some(guard) = guard {
                inputs.add_loss_of(task, &format!("guard {name}"), lambda * weight, guard.columns(task, 1));
            }
        }
        Declared { logits: enhanced, losses: Some(losses), bases: Vec::new() }
    }
}

impl SharedNetwork {
    fn check(&self) -> Result<()> {
        check_count("model.shared.networks", self.networks, 1)?;
        self.network().check("model.shared")?;
        ABOVE_ZERO.check("model.shared.row_rate", self.row_rate)
    }

    /// Each of the networks.
    fn network(&self) -> Mmoe {
        let SharedNetwork { experts, expert_units, tower_units, .. } = self.clone();
        Mmoe { experts, expert_units, tower_units }
    }

    /// The mean of the networks' logits. Each has a set of tables and losses of its own.
    ///
    /// # Shapes
    /// Output: rows × heads.
    fn logits(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Node {
        let mut terms = Vec::new();
        for number in 1..=self.networks {
            let name = if self.networks == 1 { "shared".into() } else { format!("shared.{number}") };
            let fields = inputs.fields(net);
            inputs.set_row_rate(&fields, self.row_rate);
            let logits = self.network().network(net, inputs, &format!("{name}."), &fields);
            let losses = inputs.losses(net, &name, logits, None);
            inputs.add_balanced_losses(&name, losses);
            terms.push((1.0 / self.networks as f32, logits));
        }
        net.sum("shared", &terms)
    }
}

/// Which heads are clicks and which are conversions.
struct Heads {
    clicks: Vec<usize>,
    conversions: Vec<usize>,
    /// Per conversion: the place in `clicks` of the root above it.
    roots: Vec<usize>,
    /// Per conversion: its head's name.
    names: Vec<String>,
}

impl Heads {
    fn new(inputs: &Inputs<'_>) -> Heads {
        let (heads, parents) = (inputs.heads(), &inputs.objective().funnel().parents);
        let (clicks, conversions): (Vec<usize>, Vec<usize>) =
            (0..heads.len()).partition(|head| parents[heads[*head].task].is_none());
        let root = |task: usize| std::iter::successors(Some(task), |task| parents[*task]).last();
        let place = |head: &usize| {
            let root = root(heads[*head].task);
            clicks.iter().position(|click| Some(heads[*click].task) == root).expect("every tree has a root")
        };
        let roots = conversions.iter().map(place).collect();
        let names = conversions.iter().map(|head| heads[*head].name.clone()).collect();
        Heads { clicks, conversions, roots, names }
    }

    /// Logits of the clicks and of the conversions, in the order of the heads.
    fn in_order(&self, net: &mut Net<'_>, name: &str, clicks: Node, conversions: Node) -> Node {
        let mut columns: Vec<(usize, Node)> = Vec::new();
        for (heads, node) in [(&self.clicks, clicks), (&self.conversions, conversions)] {
            columns.extend(heads.iter().enumerate().map(|(place, head)| (*head, node.columns(place, 1))));
        }
        columns.sort_by_key(|(head, _)| *head);
        let columns: Vec<Node> = columns.into_iter().map(|(_, column)| column).collect();
        net.concat(name, &columns)
    }
}

#[cfg(test)]
mod tests;
