//! The pieces that papers speak of, in terms of the graph: networks, experts,
//! gates, towers.
//!
//! "methods N" is section N of docs/methods.md.

mod gating;
mod scenario;

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use gating::Gates;
pub use gating::Gating;
pub(crate) use gating::is_of_gate_units;
pub use scenario::ScenarioWeights;
pub(crate) use scenario::is_of_residual;

use crate::compute::op::{
    Activation, BatchNorm, Concat, Dropout, Hinge, LayerNorm, Linear, Mix, Multiply, Pairs, ScenarioVector, Softmax,
    Sum,
};
use crate::compute::{Graph, Init, Node, ParameterId, Products, op};
use crate::error::{Error, Result};
use crate::range::BELOW_ONE;
use crate::schema::WIDEST;

/// The `[network]` section: what all hidden layers have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Style {
    /// The function after every hidden layer.
    pub activation: Activation,
    /// Probability, from 0 to below 1, that training takes a hidden unit for 0.
    pub dropout: f32,
    /// Normalisation of every hidden layer.
    pub norm: Norm,
    /// How exact matrix products are, in training and in scoring.
    pub products: Products,
    /// Gate units in the towers; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gating: Option<Gating>,
}

/// Normalisation of hidden layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// None.
    #[default]
    None,
    /// Over each row.
    Layer,
    /// Over the batch in training, by moving averages in scoring.
    Batch,
}

impl Default for Style {
    fn default() -> Style {
        Style {
            activation: Activation::Relu,
            dropout: 0.0,
            norm: Norm::None,
            products: Products::Float32,
            gating: None,
        }
    }
}

impl Style {
    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        BELOW_ONE.check("network.dropout", self.dropout)?;
        self.gating.as_ref().map_or(Ok(()), Gating::check)
    }
}

/// Several networks side by side in one node, all of one width.
#[derive(Clone, Copy, Debug)]
pub struct Experts {
    /// Their outputs, side by side.
    pub node: Node,
    /// How many.
    pub count: usize,
}

/// A layer of which every owner has a subnetwork.
#[derive(Clone, Debug)]
pub struct Subnetworks {
    /// The owners' outputs.
    pub nodes: Vec<Node>,
    /// The weights that they share.
    pub weight: ParameterId,
    /// The owners' masks.
    pub masks: Vec<ParameterId>,
}

/// A graph under declaration, with the style of its layers.
pub struct Net<'a> {
    graph: &'a mut Graph,
    style: &'a Style,
    /// What a layer's weights have to do with scenarios; nothing if absent.
    scenarios: Option<ScenarioWeights>,
    gates: Option<Gates>,
}

impl<'a> Net<'a> {
    /// Declares into `graph`.
    pub fn new(graph: &'a mut Graph, style: &'a Style) -> Net<'a> {
        Net { graph, style, scenarios: None, gates: None }
    }

    /// The graph itself, for operations that no layer covers.
    pub fn graph(&mut self) -> &mut Graph {
        self.graph
    }

    /// What is declared through this differs from scenario to scenario in the
    /// way that `weights` says. With one scenario there is no residual.
    pub fn per_scenario(&mut self, weights: ScenarioWeights) -> Net<'_> {
        let apart = weights == ScenarioWeights::Separate || self.graph.scenarios() > 1;
        let scenarios = Some(weights).filter(|_| apart);
        Net { graph: self.graph, style: self.style, scenarios, gates: self.gates }
    }

    /// The opposite: what is declared through this, all scenarios share.
    pub fn all_scenarios(&mut self) -> Net<'_> {
        Net { graph: self.graph, style: self.style, scenarios: None, gates: self.gates }
    }

    /// A learned vector per scenario: the embedding of the scenario itself. It
    /// starts at zero, where that of a scenario without training rows stays.
    ///
    /// # Shapes
    /// Output: rows × `width`.
    pub fn scenario(&mut self, name: &str, width: usize) -> Node {
        self.scenario_vector(name, &format!("{name}.weight"), width)
    }

    fn scenario_vector(&mut self, name: &str, parameter: &str, width: usize) -> Node {
        let shape = [self.graph.scenarios(), width];
        let vectors = self.graph.parameter(parameter, &shape, Init::Constant(0.0));
        self.graph.push(name, ScenarioVector { width }, &[], &[vectors], width)
    }

    /// One affine layer: `f(x W + b)`.
    ///
    /// # Shapes
    /// x: rows × d; output: rows × `width`.
    pub fn linear(&mut self, name: &str, x: Node, width: usize, activation: Activation) -> Node {
        self.affine(name, x, 1, width, activation, true)
    }

    /// One hidden layer, for networks that something happens to between two
    /// of them.
    ///
    /// # Shapes
    /// x: rows × d; output: rows × `width`.
    pub fn layer(&mut self, name: &str, x: Node, width: usize) -> Node {
        self.hidden(name, x, 1, width, 1)
    }

    /// A network of hidden layers.
    ///
    /// # Shapes
    /// x: rows × d; output: rows × the last of `units` (x itself if empty).
    pub fn mlp(&mut self, name: &str, x: Node, units: &[usize]) -> Node {
        self.parallel(name, x, 1, units)
    }

    /// `count` networks that each read all of x. Their first layers are one
    /// product.
    ///
    /// # Shapes
    /// x: rows × d; output: rows × (count · the last of `units`).
    pub fn experts(&mut self, name: &str, x: Node, count: usize, units: &[usize]) -> Experts {
        let (first, rest) = units.split_first().expect("experts have at least one layer");
        let hidden = self.hidden(&format!("{name}.0"), x, 1, count * first, count);
        Experts { node: self.layers(name, hidden, count, rest, 1), count }
    }

    /// `groups` networks, each reading its own equal part of x.
    ///
    /// # Shapes
    /// x: rows × (groups · d); output: rows × (groups · the last of `units`).
    pub fn parallel(&mut self, name: &str, x: Node, groups: usize, units: &[usize]) -> Node {
        self.layers(name, x, groups, units, 0)
    }

    /// `groups` families of `count` networks; those of one family read the
    /// same part of x.
    ///
    /// # Shapes
    /// x: rows × (groups · d); output: rows × (groups · count · the last of `units`).
    pub fn families(&mut self, name: &str, x: Node, groups: usize, count: usize, units: &[usize]) -> Experts {
        let (first, rest) = units.split_first().expect("experts have at least one layer");
        let hidden = self.hidden(&format!("{name}.0"), x, groups, count * first, groups * count);
        Experts { node: self.layers(name, hidden, groups * count, rest, 1), count: groups * count }
    }

    /// Gates: for each of `sizes`, softmax weights over so many experts,
    /// `softmax(x W)`, without a bias as in most papers.
    ///
    /// # Shapes
    /// x: rows × d; output: rows × Σ sizes.
    pub fn gates(&mut self, name: &str, x: Node, sizes: &[usize]) -> Node {
        let logits = self.affine(name, x, 1, sizes.iter().sum(), Activation::None, false);
        self.softmax(name, logits, sizes)
    }

    /// Gates with a bias: `softmax(x W + b)`.
    ///
    /// # Shapes
    /// x: rows × d; output: rows × Σ sizes.
    pub fn biased_gates(&mut self, name: &str, x: Node, sizes: &[usize]) -> Node {
        let logits = self.linear(name, x, sizes.iter().sum(), Activation::None);
        self.softmax(name, logits, sizes)
    }

    /// Gates of which each reads its own equal part of x; all of one size.
    ///
    /// # Shapes
    /// x: rows × (groups · d); output: rows × (groups · size).
    pub fn parallel_gates(&mut self, name: &str, x: Node, groups: usize, size: usize) -> Node {
        let logits = self.affine(name, x, groups, size, Activation::None, false);
        self.softmax(name, logits, &vec![size; groups])
    }

    /// The same with a bias.
    ///
    /// # Shapes
    /// x: rows × (groups · d); output: rows × (groups · size).
    pub fn biased_parallel_gates(&mut self, name: &str, x: Node, groups: usize, size: usize) -> Node {
        let logits = self.affine(name, x, groups, size, Activation::None, true);
        self.softmax(name, logits, &vec![size; groups])
    }

    /// Softmax over each of several groups of columns.
    ///
    /// # Shapes
    /// x: rows × Σ sizes; output: the same.
    pub fn softmax(&mut self, name: &str, x: Node, sizes: &[usize]) -> Node {
        self.graph.push(name, Softmax { groups: sizes.to_vec() }, &[x], &[], x.width())
    }

    /// Linear maps without bias, one for each of `groups` equal parts, applied
    /// to every one of `xs` with the same weights.
    ///
    /// # Shapes
    /// xs: rows × (groups · d) each; outputs: rows × (groups · width) each.
    pub fn shared_linear(&mut self, name: &str, xs: &[Node], groups: usize, width: usize) -> Vec<Node> {
        let inputs = xs[0].width() / groups;
        let init = Init::Glorot { inputs, outputs: width };
        let weight = self.graph.parameter(&format!("{name}.weight"), &[groups, inputs, width], init);
        let op = Linear { groups, inputs, outputs: width, activation: Activation::None, bias: false, routed: false };
        xs.iter().map(|x| self.graph.push(name, op.clone(), &[*x], &[weight], groups * width)).collect()
    }

    /// One hidden layer for several owners, each of which has a mask on the
    /// weights that all share: `f(x_k (W ⊙ M_k) + b)`. They share the scale and
    /// shift of a normalisation, too, but no moving averages: a batch looks
    /// different from every subnetwork. Masks start whole.
    ///
    /// # Shapes
    /// xs: rows × d each, one per owner; outputs: rows × `width` each.
    pub fn masked(&mut self, name: &str, owners: &[String], xs: &[Node], width: usize) -> Subnetworks {
        let activation = self.inner_activation();
        let inputs = xs[0].width();
        let init = initial(activation, inputs, width);
        let weight = self.graph.parameter(&format!("{name}.weight"), &[inputs, width], init);
        let bias = self.graph.parameter(&format!("{name}.bias"), &[width], Init::Constant(0.0));
        let mask = |owner: &String| self.graph.statistic(&format!("{name}.mask.{owner}"), &[inputs, width], 1.0);
        let masks: Vec<ParameterId> = owners.iter().map(mask).collect();
        let affine = self.norm_affine(name, width);
        let own = |((owner, x), mask): ((&String, &Node), &ParameterId)| {
            let op = op::Masked { inputs, outputs: width, activation };
            let linear = self.graph.push(name, op, &[*x], &[weight, *mask, bias], width);
            self.finish(name, &format!("{name}.norm.{owner}"), linear, affine, 1)
        };
        let nodes = owners.iter().zip(xs).zip(&masks).map(own).collect();
        Subnetworks { nodes, weight, masks }
    }

    /// The inner products of all pairs of parts of x that begin at `starts` and
    /// are `width` wide, each part with itself among them.
    ///
    /// # Shapes
    /// x: rows × d; output: rows × n (n + 1) / 2 for n parts.
    pub fn pairs(&mut self, name: &str, x: Node, starts: Vec<usize>, width: usize) -> Node {
        let pairs = Pairs { starts, width };
        let count = pairs.count();
        self.graph.push(name, pairs, &[x], &[], count)
    }

    /// Mixes experts by gate weights. `choices` names, per output, the experts
    /// it may use as (place in `experts`, which of them).
    ///
    /// # Shapes
    /// gates: rows × Σ choices; output: rows × (outputs · width of an expert).
    pub fn mix(&mut self, name: &str, gates: Node, experts: &[Experts], choices: Vec<Vec<(usize, usize)>>) -> Node {
        let width = experts[0].node.width() / experts[0].count;
        let inputs: Vec<Node> = std::iter::once(gates).chain(experts.iter().map(|experts| experts.node)).collect();
        let outputs = choices.len() * width;
        self.graph.push(name, Mix { choices, width }, &inputs, &[], outputs)
    }

    /// Towers: `heads` networks, each reading its own equal part of x and
    /// ending in one logit. Gated if the net is.
    ///
    /// # Shapes
    /// x: rows × (heads · d); output: rows × heads.
    pub fn towers(&mut self, name: &str, x: Node, heads: usize, units: &[usize]) -> Node {
        let mut hidden = x;
        for (layer, width) in units.iter().enumerate() {
            let input = self.gated(name, layer, &[hidden])[0];
            hidden = self.hidden(&format!("{name}.{layer}"), input, heads, *width, heads);
        }
        let input = self.gated(name, units.len(), &[hidden])[0];
        self.affine(&format!("{name}.{}", units.len()), input, heads, 1, Activation::None, true)
    }

    /// Towers that all read x. Where they are gated, each reads a copy of its
    /// own, and the first layer is one matrix per head instead of one for all.
    ///
    /// # Shapes
    /// x: rows × d; output: rows × heads.
    pub fn towers_over(&mut self, name: &str, x: Node, heads: usize, units: &[usize]) -> Node {
        if self.gates_towers() {
            let copies = self.concat(&format!("{name}.input"), &vec![x; heads]);
            return self.towers(name, copies, heads, units);
        }
        if units.is_empty() {
            return self.affine(&format!("{name}.0"), x, 1, heads, Activation::None, true);
        }
        let hidden = self.experts(name, x, heads, units);
        self.affine(&format!("{name}.{}", units.len()), hidden.node, heads, 1, Activation::None, true)
    }

    /// The last layer of `heads` networks that are added to something else: each reads
    /// its own equal part of x, and all start at zero.
    ///
    /// # Shapes
    /// x: rows × (heads · d); output: rows × heads.
    pub fn residuals(&mut self, name: &str, x: Node, heads: usize) -> Node {
        let inputs = x.width() / heads;
        let weight = self.graph.parameter(&format!("{name}.weight"), &[heads, inputs, 1], Init::Constant(0.0));
        let bias = self.graph.parameter(&format!("{name}.bias"), &[heads], Init::Constant(0.0));
        let op = Linear { groups: heads, inputs, outputs: 1, activation: Activation::None, bias: true, routed: false };
        self.graph.push(name, op, &[x], &[weight, bias], heads)
    }

    /// Nodes side by side; copies unless there is only one.
    pub fn concat(&mut self, name: &str, nodes: &[Node]) -> Node {
        if let [node] = nodes {
            return *node;
        }
        let width = nodes.iter().map(Node::width).sum();
        self.graph.push(name, Concat { inputs: nodes.len() }, nodes, &[], width)
    }

    /// `a ⊙ b`; a `b` of one column scales whole rows.
    pub fn multiply(&mut self, name: &str, a: Node, b: Node) -> Node {
        self.graph.push(name, Multiply, &[a, b], &[], a.width())
    }

    /// `Σ scale_i · x_i`.
    pub fn sum(&mut self, name: &str, terms: &[(f32, Node)]) -> Node {
        let (scales, nodes): (Vec<f32>, Vec<Node>) = terms.iter().copied().unzip();
        self.graph.push(name, Sum { scales }, &nodes, &[], nodes[0].width())
    }

    /// `max(a - b, 0)`.
    pub fn hinge(&mut self, name: &str, a: Node, b: Node) -> Node {
        self.graph.push(name, Hinge, &[a, b], &[], a.width())
    }

    fn layers(&mut self, name: &str, x: Node, groups: usize, units: &[usize], first: usize) -> Node {
        let mut hidden = x;
        for (index, width) in units.iter().enumerate() {
            hidden = self.hidden(&format!("{name}.{}", first + index), hidden, groups, *width, groups);
        }
        hidden
    }

    /// One hidden layer in the net's style. `parts` are normalised apart.
    fn hidden(&mut self, name: &str, x: Node, groups: usize, width: usize, parts: usize) -> Node {
        let linear = self.affine(name, x, groups, width, self.inner_activation(), true);
        let affine = self.norm_affine(name, groups * width);
        self.finish(name, &format!("{name}.norm"), linear, affine, parts)
    }

    /// What the affine map of a hidden layer ends in: with a norm, the
    /// activation comes after that.
    fn inner_activation(&self) -> Activation {
        if self.style.norm == Norm::None { self.style.activation } else { Activation::None }
    }

    /// Scale and shift of a hidden layer's norm, if it has one.
    fn norm_affine(&mut self, name: &str, width: usize) -> Option<[ParameterId; 2]> {
        let mut parameter =
            |part, start| self.graph.parameter(&format!("{name}.norm.{part}"), &[width], Init::Constant(start));
        (self.style.norm != Norm::None).then(|| [parameter("scale", 1.0), parameter("shift", 0.0)])
    }

    /// What comes after the affine map of a hidden layer: norm and activation,
    /// dropout. `moving` names the norm's averages.
    fn finish(
        &mut self,
        name: &str,
        moving: &str,
        linear: Node,
        affine: Option<[ParameterId; 2]>,
        parts: usize,
    ) -> Node {
        let Style { activation, dropout, norm, .. } = *self.style;
        let total = linear.width();
        let mut hidden = linear;
        if let Some([gamma, beta]) = affine {
            let normal = if norm == Norm::Layer {
                self.graph.push(name, LayerNorm { groups: parts }, &[linear], &[gamma, beta], total)
            } else {
                let mean = self.graph.statistic(&format!("{moving}.mean"), &[total], 0.0);
                let variance = self.graph.statistic(&format!("{moving}.variance"), &[total], 1.0);
                let op = BatchNorm { width: total, momentum: 0.9 };
                self.graph.push(name, op, &[linear], &[gamma, beta, mean, variance], total)
            };
            hidden = self.activate(name, normal, activation, 1.0);
        }
        if dropout > 0.0 {
            hidden = self.graph.push(name, Dropout { rate: dropout }, &[hidden], &[], total);
        }
        hidden
    }

    /// `scale · f(x)`.
    pub fn activate(&mut self, name: &str, x: Node, activation: Activation, scale: f32) -> Node {
        self.graph.push(name, crate::compute::op::Activate { activation, scale }, &[x], &[], x.width())
    }

    fn affine(
        &mut self,
        name: &str,
        x: Node,
        groups: usize,
        outputs: usize,
        activation: Activation,
        bias: bool,
    ) -> Node {
        let inputs = x.width() / groups;
        assert_eq!(inputs * groups, x.width(), "{name}: {groups} equal parts of {}", x.width());
        let routed = self.scenarios == Some(ScenarioWeights::Separate);
        let residual = match self.scenarios {
            Some(ScenarioWeights::Residual { rank }) => Some(rank),
            _ => None,
        };
        let init = initial(activation, inputs, outputs);
        let mut shape = vec![groups, inputs, outputs];
        let mut bias_shape = vec![groups * outputs];
        if routed {
            shape.insert(0, self.graph.scenarios());
            bias_shape.insert(0, self.graph.scenarios());
        }
        let mut parameters = vec![self.graph.parameter(&format!("{name}.weight"), &shape, init)];
        if bias {
            parameters.push(self.graph.parameter(&format!("{name}.bias"), &bias_shape, Init::Constant(0.0)));
        }
        let layer = Linear { groups, inputs, outputs, activation, bias, routed };
        let Some(rank) = residual else { return self.graph.push(name, layer, &[x], &parameters, groups * outputs) };
        let affine = Linear { activation: Activation::None, ..layer.clone() };
        let affine = self.graph.push(name, affine, &[x], &parameters, groups * outputs);
        self.with_residual(name, affine, x, layer, rank)
    }
}

/// The start of the weights in front of an activation.
fn initial(activation: Activation, inputs: usize, outputs: usize) -> Init {
    match activation {
        Activation::Relu | Activation::LeakyRelu => Init::He { inputs },
        _ => Init::Glorot { inputs, outputs },
    }
}

/// Most experts that may be asked for, as [`WIDEST`] is the widest layer.
const MOST: usize = 1 << 16;

/// Refuses an empty list of layer widths, and widths that make no sense.
///
/// # Errors
/// [`Error::Config`] naming the key.
pub fn check_units(key: &str, units: &[usize], may_be_empty: bool) -> Result<()> {
    if units.is_empty() && !may_be_empty {
        return Err(Error::Config(format!("{key} needs at least one layer, for example [128, 64]")));
    }
    if units.contains(&0) {
        return Err(Error::Config(format!("{key} has a layer of width 0: {units:?}")));
    }
    match units.iter().find(|width| **width > WIDEST) {
        Some(width) => Err(Error::Config(format!("{key} has a layer of width {width}, more than {WIDEST}"))),
        None => Ok(()),
    }
}

/// Refuses an empty list of levels, and levels that make no sense.
///
/// # Errors
/// [`Error::Config`] naming the key.
pub fn check_levels(key: &str, levels: &[Vec<usize>]) -> Result<()> {
    if levels.is_empty() {
        return Err(Error::Config(format!("{key} needs at least one level, for example [[128], [64]]")));
    }
    levels.iter().try_for_each(|units| check_units(key, units, false))
}

/// Refuses a width that makes no sense.
///
/// # Errors
/// [`Error::Config`] naming the key.
pub fn check_width(key: &str, width: usize) -> Result<()> {
    check_size(key, width, 1..=WIDEST)
}

/// Refuses a rank that makes no sense; it may be 0.
///
/// # Errors
/// [`Error::Config`] naming the key.
pub fn check_rank(key: &str, rank: usize) -> Result<()> {
    check_size(key, rank, 0..=WIDEST)
}

/// Refuses a number of experts, or of networks, that makes no sense.
///
/// # Errors
/// [`Error::Config`] naming the key.
pub fn check_count(key: &str, count: usize, least: usize) -> Result<()> {
    check_size(key, count, least..=MOST)
}

fn check_size(key: &str, found: usize, allowed: RangeInclusive<usize>) -> Result<()> {
    let (least, most) = (allowed.start(), allowed.end());
    if found < *least {
        return Err(Error::Config(format!("{key} must be at least {least}, found {found}")));
    }
    if found > *most {
        return Err(Error::Config(format!("{key} must be at most {most}, found {found}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_zeros_in_a_size_is_told_by_its_key() {
        let slip = 1_000_000_000_000;
        let said = |result: Result<()>| result.unwrap_err().to_string();
        assert_eq!(
            said(check_units("model.units", &[64, slip], false)),
            "config: model.units has a layer of width 1000000000000, more than 16777216"
        );
        assert_eq!(
            said(check_width("model.width", slip)),
            "config: model.width must be at most 16777216, found 1000000000000"
        );
        assert_eq!(
            said(check_count("model.experts", slip, 1)),
            "config: model.experts must be at most 65536, found 1000000000000"
        );
        assert_eq!(said(check_count("model.experts", 0, 1)), "config: model.experts must be at least 1, found 0");
        let levels = |levels: &[Vec<usize>]| said(check_levels("model.levels", levels));
        assert_eq!(levels(&[]), "config: model.levels needs at least one level, for example [[128], [64]]");
        assert_eq!(levels(&[vec![4], vec![2, 0]]), "config: model.levels has a layer of width 0: [2, 0]");
        assert!(check_units("model.units", &[WIDEST], false).is_ok() && check_count("model.experts", 0, 0).is_ok());
    }
}
