//! PLE: progressive layered extraction.
//!
//! Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task
//! Learning Model for Personalized Recommendations", RecSys 2020, section 4.2;
//! methods 5.
//!
//! Level j reads the level before (level 1 reads the embeddings e everywhere):
//!
//! ```text
//! S_k^j   = [expert_k,1 .. expert_k,m (g_k^(j-1)) ; shared_1 .. shared_n (g_s^(j-1))]
//! g_k^j   = softmax(W_k^j g_k^(j-1)) S_k^j                             (6)
//! g_s^j   = softmax(W_s^j g_s^(j-1)) [all experts of the level]        not at the last level
//! logit_k = tower_k(g_k^N)                                             (7)
//! ```
//!
//! # Deviations and reconstructions
//! - As in the equations, gates are without bias, and the shared gate of an inner
//!   level sees the experts of every task and the shared ones.
//! - Where the schema has fields of the role `bias`, a shallow tower over them is
//!   added to every logit (methods 3.2); the paper has none.
//! - A direct task has two heads (methods 1.5 for the reason); each head has
//!   experts and gates of its own, as a task has in the paper.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::{Inputs, own_and_shared};
use crate::compute::Node;
use crate::error::Result;
use crate::layer::{Experts, Net, check_count, check_levels, check_units};

pub(super) const ABOUT: About = About {
    name: "ple",
    paper: "Tang et al., RecSys 2020",
    when: "as cgc, with more data: tasks part step by step, level by level",
    needs: Needs::Tasks,
};

/// Settings of PLE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ple {
    /// Experts of each task, on every level.
    pub task_experts: usize,
    /// Experts shared by all tasks, on every level.
    pub shared_experts: usize,
    /// Hidden layers of each expert, level by level.
    pub levels: Vec<Vec<usize>>,
    /// Hidden layers of each tower.
    pub tower_units: Vec<usize>,
}

impl Default for Ple {
    fn default() -> Ple {
        Ple { task_experts: 1, shared_experts: 2, levels: vec![vec![128], vec![64]], tower_units: vec![32] }
    }
}

impl Model for Ple {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        check_count("model.task_experts", self.task_experts, 1)?;
        check_count("model.shared_experts", self.shared_experts, 1)?;
        check_levels("model.levels", &self.levels)?;
        check_units("model.tower_units", &self.tower_units, true)?;
        let (heads, own, shared) = (inputs.heads().len(), self.task_experts, self.shared_experts);
        let fields = inputs.fields(net);
        // What the tasks' parts, and the shared part, of the next level read.
        let mut before: Option<(Node, Node)> = None;
        for (level, units) in self.levels.iter().enumerate() {
            let name = |part: &str| format!("level.{level}.{part}");
            let last = level + 1 == self.levels.len();
            let experts: Vec<Experts> = match before {
                // One product for all: every expert of level 1 reads e.
                None => {
                    let all = net.experts(&name("expert"), fields.main(), heads * own + shared, units);
                    vec![all]
                }
                Some((tasks, common)) => vec![
                    net.families(&name("task_expert"), tasks, heads, own, units),
                    net.experts(&name("shared_expert"), common, shared, units),
                ],
            };
            let of_task = |head: usize| (0..own).map(move |expert| (0, head * own + expert));
            let common = |expert: usize| if experts.len() == 1 { (0, heads * own + expert) } else { (1, expert) };
            let choices: Vec<Vec<_>> =
                (0..heads).map(|head| of_task(head).chain((0..shared).map(common)).collect()).collect();
            let gates = match before {
                None => net.gates(&name("gate"), fields.main(), &vec![own + shared; heads]),
                Some((tasks, _)) => net.parallel_gates(&name("gate"), tasks, heads, own + shared),
            };
            let kind = if self.levels.len() == 1 { "gate".into() } else { format!("gate of level {}", level + 1) };
            inputs.show_gates(&kind, gates, &own_and_shared(own, shared));
            let tasks = net.mix(&name("mix"), gates, &experts, choices);
            if last {
                let logits = net.towers("tower", tasks, heads, &self.tower_units);
                return Ok(inputs.add_bias(net, "bias", &fields, logits).into());
            }
            let every: Vec<_> = (0..heads).flat_map(of_task).chain((0..shared).map(common)).collect();
            let input = before.map_or(fields.main(), |(_, common)| common);
            let gate = net.gates(&name("shared_gate"), input, &[every.len()]);
            let shared = net.mix(&name("shared_mix"), gate, &experts, vec![every]);
            before = Some((tasks, shared));
        }
        unreachable!("the last level returns")
    }
}
