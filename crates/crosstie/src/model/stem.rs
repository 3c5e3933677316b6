//! STEM-Net: tables of every task's own beside shared ones, and gates that hear
//! all tasks but teach none of the others.
//!
//! Su et al., "STEM: Unleashing the Power of Embeddings for Multi-task
//! Recommendation", AAAI 2024 (arXiv 2308.13537), and the authors' released
//! code; methods 5.
//!
//! On level 1 x_k is looked up in the tables of task k, x_s in the shared ones;
//! each further level reads what the one before has made of them:
//!
//! ```text
//! E_k,i   = expert_k,i(x_k)                              i = 1..m
//! E_s,i   = expert_s,i(x_s)                              i = 1..n
//! S_k     = [sg(E_1,1) .. E_k,1 .. E_k,m .. sg(E_K,m) ; E_s,1 .. E_s,n]
//! x_k    <- softmax(gate_k(x_k + x_s)) S_k
//! x_s    <- softmax(gate_s(x_s)) [E_1,1 .. E_K,m ; E_s,1 .. E_s,n]      not on the last level
//! logit_k = tower_k(x_k)
//! ```
//!
//! sg stops the gradient: all tasks' experts go forward into x_k, and its
//! gradient goes back into those of task k and the shared ones (All Forward
//! Task-specific Backward). A gate is a network with hidden layers and a bias.
//!
//! # Deviations and reconstructions
//! - Only the paper's abstract was readable: the equations are those of the code,
//!   and values and gradients equal the code's (tests/golden/authors). Where the
//!   paper says otherwise, the code is followed.
//! - With several levels a task's gradient does reach the other tasks' experts and
//!   tables: by x_s, whose gate stops nothing, into the levels below. So it is in
//!   the code; the authors' configurations have one level.
//! - The code has the same layers on every level, and makes x_s on the last one,
//!   too, where nothing reads it.
//! - A direct task has two heads (methods 1.5 for the reason). They read its one
//!   set of tables; each has experts and a gate of its own, and may teach those of
//!   the other, which belong to the same task.
//! - Where the schema has fields of the role `bias`, a shallow tower over them, by
//!   the shared set, is added to every logit (methods 3.2); the paper has none.
//! - Sizes are ours. The authors' configuration: n = 8, m = 1, experts of
//!   512-512-512 units, gates and towers of 128-64.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::Inputs;
use crate::compute::Node;
use crate::error::Result;
use crate::layer::{Experts, Net, check_count, check_levels, check_units};

pub(super) const ABOUT: About = About {
    name: "stem",
    paper: "Su et al., AAAI 2024",
    when: "tasks that want other things of the same ids, by tables for each beside the shared ones: near to single-task",
    needs: Needs::Tasks,
};

/// Settings of STEM-Net.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stem {
    /// Experts of each task, on every level.
    pub task_experts: usize,
    /// Experts shared by all tasks, on every level.
    pub shared_experts: usize,
    /// Hidden layers of each expert, level by level.
    pub levels: Vec<Vec<usize>>,
    /// Hidden layers of each gate.
    pub gate_units: Vec<usize>,
    /// Hidden layers of each tower.
    pub tower_units: Vec<usize>,
    /// Whether a task takes the experts of other tasks as they are. Off for the
    /// ablation.
    pub stop_gradient: bool,
}

impl Default for Stem {
    fn default() -> Stem {
        Stem {
            task_experts: 1,
            shared_experts: 2,
            levels: vec![vec![128, 64]],
            gate_units: vec![32],
            tower_units: vec![32],
            stop_gradient: true,
        }
    }
}

impl Model for Stem {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        check_count("model.task_experts", self.task_experts, 1)?;
        check_count("model.shared_experts", self.shared_experts, 1)?;
        check_levels("model.levels", &self.levels)?;
        check_units("model.gate_units", &self.gate_units, true)?;
        check_units("model.tower_units", &self.tower_units, true)?;
        let (own, shared) = (self.task_experts, self.shared_experts);
        let tasks: Vec<usize> = inputs.heads().iter().map(|head| head.task).collect();
        let heads = tasks.len();
        let fields = inputs.fields(net);
        let sets: Vec<Node> = (0..inputs.names().len()).map(|_| inputs.further_fields(net).main()).collect();
        let of_heads: Vec<Node> = tasks.iter().map(|task| sets[*task]).collect();
        // x_k of all heads, side by side, and x_s.
        let (mut x, mut common) = (net.concat("x", &of_heads), fields.main());
        for (level, units) in self.levels.iter().enumerate() {
            let name = |part: &str| format!("level.{level}.{part}");
            let of_tasks = net.families(&name("task_expert"), x, heads, own, units);
            let of_others = if self.stop_gradient { of_tasks.node.stop_gradient() } else { of_tasks.node };
            let experts = [
                of_tasks,
                Experts { node: of_others, count: of_tasks.count },
                net.experts(&name("shared_expert"), common, shared, units),
            ];
            let every = of_tasks.count + shared;
            let choices = |of_head: &dyn Fn(usize) -> usize| -> Vec<(usize, usize)> {
                let of_tasks = (0..of_tasks.count).map(|expert| (of_head(expert / own), expert));
                of_tasks.chain((0..shared).map(|expert| (2, expert))).collect()
            };
            let both = net.concat(&name("gate"), &vec![common; heads]);
            let both = net.sum(&name("gate"), &[(1.0, x), (1.0, both)]);
            let gates = self.gates(net, &name("gate"), both, heads, every);
            let names = (1..=shared).map(|expert| format!("shared {expert}"));
            let names: Vec<String> = inputs.experts_of_heads(own).chain(names).collect();
            inputs.show_gates(&format!("gate of level {}", level + 1), gates, &names);
            let chosen = tasks.iter().map(|task| choices(&|other| usize::from(tasks[other] != *task))).collect();
            x = net.mix(&name("mix"), gates, &experts, chosen);
            if level + 1 < self.levels.len() {
                let gate = self.gates(net, &name("shared_gate"), common, 1, every);
                common = net.mix(&name("shared_mix"), gate, &experts, vec![choices(&|_| 0)]);
            }
        }
        let logits = net.towers("tower", x, heads, &self.tower_units);
        Ok(inputs.add_bias(net, "bias", &fields, logits).into())
    }
}

impl Stem {
    /// Weights over `size` experts by each of `groups` gates, of which each
    /// reads its own equal part of x.
    fn gates(&self, net: &mut Net<'_>, name: &str, x: Node, groups: usize, size: usize) -> Node {
        let hidden = net.parallel(name, x, groups, &self.gate_units);
        net.biased_parallel_gates(&format!("{name}.{}", self.gate_units.len()), hidden, groups, size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{CHAINS, Trial};
    use super::*;
    use crate::objective::Space;

    fn small(levels: usize) -> Stem {
        let (gate_units, tower_units) = (vec![3], vec![3]);
        Stem { task_experts: 1, levels: vec![vec![5, 4]; levels], gate_units, tower_units, ..Stem::default() }
    }

    /// What stands behind a stop-gradient has no finite difference.
    #[test]
    fn gradients() {
        for levels in [1, 2] {
            let model = Stem { stop_gradient: false, task_experts: 2, ..small(levels) };
            Trial::new(&model, CHAINS, None).check_gradients();
            Trial::new(&model, "[[task]]\nname = \"click\"\n", Some(Space::Product)).check_gradients();
        }
    }

    /// The heads of the tasks that `of` says yes to.
    fn heads(of: impl Fn(&str) -> bool) -> Vec<bool> {
        let trial = Trial::new(&small(1), CHAINS, None);
        let objective = &trial.network.objective;
        objective.heads().iter().map(|head| of(&objective.names()[head.task])).collect()
    }

    /// Which heads' experts learn on the first level when clicks alone have labels.
    fn taught(model: &Stem) -> Vec<bool> {
        let mut trial = Trial::new(model, CHAINS, None);
        let (tasks, heads) = (trial.network.objective.names().len(), trial.network.objective.heads().len());
        trial.labels.iter_mut().enumerate().for_each(|(place, label)| {
            *label = if place % tasks == 0 { 1.0 } else { f32::NAN };
        });
        assert!(trial.gradient("level.0.shared_expert.1.weight").iter().any(|gradient| *gradient != 0.0));
        let gradients = trial.gradient("level.0.task_expert.1.weight");
        let blocks = gradients.chunks_exact(gradients.len() / heads);
        blocks.map(|block| block.iter().any(|gradient| *gradient != 0.0)).collect()
    }

    #[test]
    fn a_task_teaches_its_own_experts_and_the_shared_ones() {
        assert_eq!(taught(&small(1)), heads(|task| task == "click"));
        assert_eq!(taught(&Stem { stop_gradient: false, ..small(1) }), heads(|_| true));
        // As in the authors' code: the shared gate of a level below stops nothing.
        assert_eq!(taught(&small(2)), heads(|_| true));
    }

    #[test]
    fn every_head_hears_the_tables_of_every_task() {
        let mut trial = Trial::new(&small(1), CHAINS, None);
        let (tasks, before) = (trial.network.objective.names().len(), trial.logits());
        assert_eq!(trial.network.sets.len(), tasks + 1, "a set for each task and a shared one");
        // The main columns of one row in one set after the other.
        for set in 0..=tasks {
            let row = &mut trial.features[set * trial.rows * 8..][..6];
            row.iter_mut().for_each(|x| *x += 1.0);
            let after = trial.logits();
            assert!(after[0].iter().zip(&before[0]).all(|(after, before)| after != before), "set {set}");
            assert_eq!(after[1..], before[1..]);
            trial.features[set * trial.rows * 8..][..6].iter_mut().for_each(|x| *x -= 1.0);
        }
    }
}
