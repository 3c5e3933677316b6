//! AdaTT: adaptive task-to-task fusion, without shared units (AdaTT-sp).
//!
//! Li et al., "AdaTT: Adaptive Task-to-Task Fusion Network for Multitask
//! Learning in Recommendations", KDD 2023 (arXiv 2304.04959), section 3.1, and
//! the authors' released code; methods 5.
//!
//! Level l, for every task t of T; level 1 reads the embeddings e everywhere,
//! f_t^0 = e:
//!
//! ```text
//! E_t,i^l = expert_t,i^l(f_t^(l-1))                       i = 1..m       (4)
//! E^l     = [E_1,1^l .. E_1,m^l .. E_T,m^l]                              (6)
//! G_t^l   = softmax(W_t^l f_t^(l-1) + b_t^l)              T · m weights  (10)
//! f_t^l   = G_t^l E^l + v_t^l [E_t,1^l .. E_t,m^l]        m > 1          (7), (8), (9)
//! f_t^l   = G_t^l E^l + E_t,1^l                           m = 1
//! logit_t = tower_t(f_t^L)                                               (1)
//! ```
//!
//! v_t^l is learned, the same for every row, and starts uniform in ± √(1 / m).
//!
//! # Deviations and reconstructions
//! - Values and gradients equal those of the authors' code (tests/golden/authors).
//!   Where code and paper differ, the code is followed: its gates have a bias b,
//!   (10) has none. The paper was read in a translation.
//! - The paper's general AdaTT has a shared unit on each level beside the tasks'.
//!   Here are the tasks' alone, with which the paper does best on census data.
//! - A direct task has two heads (methods 1.5 for the reason); each head has
//!   experts and gates of its own, as a task has in the paper.
//! - Where the schema has fields of the role `bias`, a shallow tower over them is
//!   added to every logit (methods 3.2); the paper has none.
//! - Sizes are those of the paper's census experiment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::Inputs;
use crate::compute::op::Broadcast;
use crate::compute::{Init, Node};
use crate::error::Result;
use crate::layer::{Experts, Net, check_count, check_levels, check_units};

pub(super) const ABOUT: About = About {
    name: "adatt",
    paper: "Li et al., KDD 2023",
    when: "as ple, without shared experts: each task takes from every other and keeps a direct line to its own",
    needs: Needs::Tasks,
};

/// Settings of AdaTT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adatt {
    /// Experts of each task, on every level.
    pub task_experts: usize,
    /// Hidden layers of each expert, level by level.
    pub levels: Vec<Vec<usize>>,
    /// Hidden layers of each tower.
    pub tower_units: Vec<usize>,
}

impl Default for Adatt {
    fn default() -> Adatt {
        Adatt { task_experts: 2, levels: vec![vec![128], vec![64]], tower_units: vec![32] }
    }
}

impl Model for Adatt {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        check_count("model.task_experts", self.task_experts, 1)?;
        check_levels("model.levels", &self.levels)?;
        check_units("model.tower_units", &self.tower_units, true)?;
        let (heads, own) = (inputs.heads().len(), self.task_experts);
        let every = heads * own;
        let fields = inputs.fields(net);
        // What the heads read on the next level, side by side; e at first.
        let mut fused: Option<Node> = None;
        for (level, units) in self.levels.iter().enumerate() {
            let name = |part: &str| format!("level.{level}.{part}");
            let (experts, gates) = match fused {
                None => (
                    net.experts(&name("expert"), fields.main(), every, units),
                    net.biased_gates(&name("gate"), fields.main(), &vec![every; heads]),
                ),
                Some(fused) => (
                    net.families(&name("expert"), fused, heads, own, units),
                    net.biased_parallel_gates(&name("gate"), fused, heads, every),
                ),
            };
            let names: Vec<String> = inputs.experts_of_heads(own).collect();
            inputs.show_gates(&format!("gate of level {}", level + 1), gates, &names);
            let all: Vec<(usize, usize)> = (0..every).map(|expert| (0, expert)).collect();
            let all = net.mix(&name("mix"), gates, &[experts], vec![all; heads]);
            let native = native(net, &name("native"), experts, heads);
            fused = Some(net.sum(&name("fusion"), &[(1.0, all), (1.0, native)]));
        }
        let fused = fused.unwrap_or(fields.main());
        let logits = net.towers("tower", fused, heads, &self.tower_units);
        Ok(inputs.add_bias(net, "bias", &fields, logits).into())
    }
}

/// Every head's linear combination of its own experts.
fn native(net: &mut Net<'_>, name: &str, experts: Experts, heads: usize) -> Node {
    let own = experts.count / heads;
    if own == 1 {
        return experts.node;
    }
    let init = Init::Uniform((1.0 / own as f64).sqrt());
    let weights = net.graph().parameter(&format!("{name}.weight"), &[heads, own], init);
    let weights = net.graph().push(name, Broadcast, &[], &[weights], experts.count);
    let choices = (0..heads).map(|head| (0..own).map(|expert| (0, head * own + expert)).collect()).collect();
    net.mix(name, weights, &[experts], choices)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{CHAINS, Trial};
    use super::*;

    fn small(task_experts: usize) -> Adatt {
        Adatt { task_experts, levels: vec![vec![4], vec![3]], tower_units: Vec::new() }
    }

    fn moved(before: &[Vec<f32>], after: &[Vec<f32>]) -> Vec<bool> {
        let moved = |head: usize| before.iter().zip(after).any(|(before, after)| before[head] != after[head]);
        (0..before[0].len()).map(moved).collect()
    }

    #[test]
    fn gradients() {
        for task_experts in [1, 2] {
            Trial::new(&small(task_experts), CHAINS, None).check_gradients();
        }
        Trial::new(&small(2), "[[task]]\nname = \"click\"\n", None).check_gradients();
    }

    #[test]
    fn every_head_hears_every_other_through_the_gates_alone() {
        for task_experts in [1, 2] {
            let mut trial = Trial::new(&small(task_experts), CHAINS, None);
            let heads = trial.logits()[0].len();
            let change_third = |trial: &mut Trial| {
                let before = trial.logits();
                trial.set_block("level.1.expert.0.weight", 2, |weight| weight + 0.5);
                moved(&before, &trial.logits())
            };
            assert!(change_third(&mut trial).iter().all(|moved| *moved));
            // Gates that look at nothing and at the experts of one's own alone.
            for level in 0..2 {
                trial.set(&format!("level.{level}.gate.weight"), |_| 0.0);
                let mut place = 0;
                trial.set(&format!("level.{level}.gate.bias"), |_| {
                    let (head, expert) = (place / (heads * task_experts), place % (heads * task_experts));
                    place += 1;
                    if expert / task_experts == head { 0.0 } else { -200.0 }
                });
            }
            let apart: Vec<bool> = (0..heads).map(|head| head == 2).collect();
            assert_eq!(change_third(&mut trial), apart);
        }
    }

    /// Without layers in the towers a logit is linear in the weights of the last
    /// level's own experts.
    #[test]
    fn own_experts_are_combined_linearly_beside_the_gates() {
        let mut trial = Trial::new(&small(2), CHAINS, None);
        let at = |trial: &mut Trial, value: f32| {
            trial.set_block("level.1.native.weight", 1, |_| value);
            trial.logits()
        };
        let [zero, one, two] = [0.0, 1.0, 2.0].map(|value| at(&mut trial, value));
        for (zero, (one, two)) in zero.iter().zip(one.iter().zip(&two)) {
            let (first, second) = (one[1] - zero[1], two[1] - one[1]);
            assert!((first - second).abs() < 1e-4 && first != 0.0, "{first} {second}");
        }
        let only_second: Vec<bool> = (0..zero[0].len()).map(|head| head == 1).collect();
        assert_eq!(moved(&zero, &one), only_second);
    }

    #[test]
    fn an_only_expert_has_the_weight_one_and_several_have_learned_ones() {
        let native = |task_experts: usize| {
            let trial = Trial::new(&small(task_experts), CHAINS, None);
            let parameters = trial.network.program.parameters();
            let of = parameters.iter().filter(|parameter| parameter.name.contains("native"));
            of.map(|parameter| (parameter.shape.clone(), parameter.init)).collect::<Vec<_>>()
        };
        assert_eq!(native(1), []);
        assert_eq!(native(4), vec![(vec![8, 4], Init::Uniform(0.5)); 2]);
    }
}
