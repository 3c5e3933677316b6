//! AITM: adaptive information transfer along the sequence of actions.
//!
//! Xi et al., "Modeling the Sequential Dependence among Audience Multi-step
//! Conversions with Multi-task Learning in Targeted Display Advertising", KDD
//! 2021, sections 3.3 to 3.5, and the authors' released code; methods 5.
//!
//! For every head t, and the head s of its parent task:
//!
//! ```text
//! q_t     = Bottom_t(e)
//! z_t     = q_t                                            t a root
//! p_t     = Transfer_t(z_s)                                one hidden layer
//! z_t     = Σ_{u ∈ {p_t, q_t}} softmax_u( <h1(u), h2(u)> / √k ) · h3(u)
//! logit_t = tower_t(z_t)
//! L       = Σ_t CE(y_t, ŷ_t) + α Σ_t mean_rows max(ŷ_t - ŷ_s, 0)
//! ```
//!
//! ŷ is p(action and its ancestors | impression): space `impression`, the
//! default of this model. h1, h2, h3 are linear maps k → k without bias, the
//! same for p_t and q_t, others for every t.
//!
//! # Deviations and reconstructions
//! - The paper has one chain. Here the chains are the paths of the forest: a
//!   head receives from its parent task's first head, whatever its own meaning.
//! - The calibrator is left out for a direct task, which may happen more often
//!   than its parent, and in every space but `impression`, since products
//!   never exceed the parent. Rows count in it by their weights.
//! - A direct task has two losses in the space `impression`, and so two heads: with
//!   p(action | impression) alone, p(action | parent action) would not be identified
//!   (methods 6). Both are receivers, each with a transfer of its own.
//! - p(action | parent action) of any other task is the ratio of two heads that are
//!   learned apart, cut at 1; in other models it is a head of its own. Figures given
//!   the parent are to be read with that in mind.
//! - Where the schema has fields of the role `bias`, a shallow tower over them is
//!   added to every logit (methods 3.2); the paper has none.
//! - A tower is one affine map, as the authors', unless `tower_units` says
//!   otherwise. Dropout is the network's, one rate for all layers (the authors
//!   use 0.1, 0.3, 0.3); weights start as everywhere here, not at N(0, 0.01).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::Inputs;
use crate::compute::Node;
use crate::compute::op::Dot;
use crate::error::Result;
use crate::layer::{Experts, Net, check_units};
use crate::objective::Space;
use crate::range::ZERO_OR_MORE;

pub(super) const ABOUT: About = About {
    name: "aitm",
    paper: "Xi et al., KDD 2021",
    when: "actions follow each other in long chains and the later ones are rare",
    needs: Needs::Parent,
};

/// Settings of AITM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Aitm {
    /// Hidden layers of each task's bottom; the last is the width k of what is
    /// transferred.
    pub bottom_units: Vec<usize>,
    /// Hidden layers of each tower.
    pub tower_units: Vec<usize>,
    /// Weight α of the calibrator.
    pub calibrator: f32,
}

impl Default for Aitm {
    fn default() -> Aitm {
        Aitm { bottom_units: vec![128, 64, 32], tower_units: Vec::new(), calibrator: 0.6 }
    }
}

impl Model for Aitm {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        check_units("model.bottom_units", &self.bottom_units, false)?;
        check_units("model.tower_units", &self.tower_units, true)?;
        ZERO_OR_MORE.check("model.calibrator", self.calibrator)?;
        let senders = senders(inputs);
        let heads = senders.len();
        let fields = inputs.fields(net);
        let bottoms = net.experts("bottom", fields.main(), heads, &self.bottom_units).node;
        let mut z: Vec<Node> = (0..heads).map(|head| bottoms.part(head, heads)).collect();
        // The heads of one level transfer side by side, level after level.
        for level in 1.. {
            let receivers: Vec<usize> = (0..heads).filter(|head| depth(&senders, *head) == level).collect();
            if receivers.is_empty() {
                break;
            }
            let sent: Vec<Node> = receivers.iter().filter_map(|head| senders[*head]).map(|head| z[head]).collect();
            let own: Vec<Node> = receivers.iter().map(|head| z[*head]).collect();
            let (sent, own) = (net.concat("sent", &sent), net.concat("own", &own));
            let received = net.parallel(&format!("transfer.{level}"), sent, receivers.len(), &[z[0].width()]);
            let mixed = transfer(net, &format!("attention.{level}"), received, own, receivers.len());
            for (place, head) in receivers.iter().enumerate() {
                z[*head] = mixed.part(place, receivers.len());
            }
        }
        let z = net.concat("z", &z);
        let logits = net.towers("tower", z, heads, &self.tower_units);
        let logits = inputs.add_bias(net, "bias", &fields, logits);
        self.calibrate(net, inputs, logits);
        Ok(logits.into())
    }

    fn space(&self) -> Space {
        Space::Impression
    }
}

impl Aitm {
    fn calibrate(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>, logits: Node) {
        let (objective, funnel) = (inputs.objective(), inputs.objective().funnel());
        let chains: Vec<(usize, usize, String)> = (0..funnel.tasks())
            .filter(|task| !funnel.direct[*task] && objective.spaces()[*task] == Space::Impression)
            .filter_map(|task| Some((task, funnel.parents[task]?, format!("calibrator {}", objective.names()[task]))))
            .collect();
        if self.calibrator == 0.0 || chains.is_empty() {
            return;
        }
        let joint = inputs.joint(net, "joint", logits);
        for (task, parent, name) in chains {
            let excess = net.hinge(&name, joint.columns(task, 1), joint.columns(parent, 1));
            let excess = net.multiply(&name, excess, inputs.weights());
            inputs.add_loss(&name, self.calibrator, excess);
        }
    }
}

/// The head that each head receives from; `None` at a root.
fn senders(inputs: &Inputs<'_>) -> Vec<Option<usize>> {
    let (heads, funnel) = (inputs.heads(), inputs.objective().funnel());
    let first = |task: usize| heads.iter().position(|head| head.task == task);
    heads.iter().map(|head| funnel.parents[head.task].and_then(first)).collect()
}

fn depth(senders: &[Option<usize>], head: usize) -> usize {
    senders[head].map_or(0, |sender| 1 + depth(senders, sender))
}

/// The AIT module of `count` heads, each with its own equal part of the nodes.
fn transfer(net: &mut Net<'_>, name: &str, received: Node, own: Node, count: usize) -> Node {
    let width = own.width() / count;
    let [keys, queries, values] =
        ["h1", "h2", "h3"].map(|map| net.shared_linear(&format!("{name}.{map}"), &[received, own], count, width));
    let scores: Vec<Node> = keys
        .iter()
        .zip(&queries)
        .map(|(key, query)| {
            let dot = Dot { groups: count, scale: 1.0 / (width as f32).sqrt() };
            net.graph().push(name, dot, &[*key, *query], &[], count)
        })
        .collect();
    let pairs: Vec<Node> = (0..count).flat_map(|head| scores.iter().map(move |node| node.columns(head, 1))).collect();
    let scores = net.concat(name, &pairs);
    let weights = net.softmax(name, scores, &vec![2; count]);
    let values: Vec<Experts> = values.into_iter().map(|node| Experts { node, count }).collect();
    net.mix(name, weights, &values, (0..count).map(|head| vec![(0, head), (1, head)]).collect())
}

#[cfg(test)]
mod tests {
    use super::super::trial::{CHAINS, Trial};
    use super::*;

    fn small() -> Aitm {
        Aitm { bottom_units: vec![5, 4], ..Aitm::default() }
    }

    #[test]
    fn gradients() {
        for space in [Space::Impression, Space::Product, Space::Parent] {
            Trial::new(&small(), CHAINS, Some(space)).check_gradients();
        }
    }

    /// With h3 zero nothing but the bias of a tower is left behind a root.
    #[test]
    fn what_is_transferred_is_a_mean_of_values() {
        let mut trial = Trial::new(&small(), CHAINS, None);
        trial.set("attention.1.h3.weight", |_| 0.0);
        trial.set("attention.2.h3.weight", |_| 0.0);
        trial.set("bias.1.weight", |_| 0.0);
        let logits = trial.logits();
        let roots = ["click", "visit"];
        for (head, about) in trial.network.objective.heads().iter().enumerate() {
            let constant = logits.iter().all(|row| row[head] == logits[0][head]);
            assert_eq!(constant, !roots.contains(&about.name.as_str()), "{}", about.name);
        }
    }

    #[test]
    fn knowledge_flows_down_the_chain_and_never_up() {
        let mut trial = Trial::new(&small(), CHAINS, None);
        let before = trial.logits();
        let heads = trial.network.objective.heads().to_vec();
        let name = |head: &crate::objective::Head| trial.network.objective.names()[head.task].clone();
        let cart = heads.iter().position(|head| name(head) == "cart").unwrap();
        let tasks: Vec<String> = heads.iter().map(name).collect();
        // The last layer of the bottoms: one block of weights per head.
        trial.set_block("bottom.1.weight", cart, |weight| weight + 0.5);
        let after = trial.logits();
        for (head, task) in tasks.iter().enumerate() {
            let moved = before.iter().zip(&after).any(|(before, after)| before[head] != after[head]);
            assert_eq!(moved, ["cart", "buy"].contains(&task.as_str()), "{task}");
        }
    }

    /// Left out or summed over the rows in other implementations.
    #[test]
    fn the_calibrator_is_the_mean_of_what_a_child_has_above_its_parent() {
        let trial = Trial::new(&small(), CHAINS, None);
        let names: Vec<&str> = trial.network.terms.iter().map(|term| term.name.as_str()).collect();
        assert_eq!(names, ["calibrator cart", "calibrator buy"], "`like` and `share` are direct");
        assert!(trial.network.terms.iter().all(|term| term.weight == 0.6));
        let sums = trial.losses();
        let tasks = trial.network.objective.names().len();
        let mut expected = [0.0; 2];
        for (row, logits) in trial.logits().iter().enumerate() {
            let (mut given, mut joint) = (vec![0.0; tasks], vec![0.0; tasks]);
            trial.network.objective.probabilities(logits, &mut given, &mut joint);
            // click, cart, buy are the first three tasks.
            for (sum, child) in expected.iter_mut().zip([1, 2]) {
                *sum += f64::from(trial.weights[row]) * (joint[child] - joint[child - 1]).max(0.0);
            }
        }
        assert!(expected.iter().all(|sum| *sum > 1.0), "{expected:?}");
        for (found, expected) in sums[tasks..].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4 * expected, "{found} {expected}");
        }
        assert!(Trial::new(&small(), CHAINS, Some(Space::Product)).network.terms.is_empty());
    }

    #[test]
    fn a_single_task_is_a_plain_network() {
        let trial = Trial::new(&small(), "[[task]]\nname = \"click\"\n", None);
        let names: Vec<&str> = trial.network.program.parameters().iter().map(|p| p.name.as_str()).collect();
        assert!(names.iter().all(|name| !name.starts_with("transfer") && !name.starts_with("attention")), "{names:?}");
        trial.check_gradients();
    }
}
