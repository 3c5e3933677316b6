//! CGC: customised gate control, one level of PLE.
//!
//! Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section
//! 4.1; methods 5. The network is that of [PLE](super::Ple) with one level:
//!
//! ```text
//! S_k     = [expert_k,1 .. expert_k,m ; shared_1 .. shared_n](e)    (4)
//! f_k     = softmax(W_k e) S_k                                       (2), (3)
//! logit_k = tower_k(f_k)                                             (5)
//! ```
//!
//! # Deviations and reconstructions
//! - Sizes are ours.
//! - Where the schema has fields of the role `bias`, a shallow tower over them is
//!   added to every logit (methods 3.2); the paper has none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::Inputs;
use super::ple::Ple;
use crate::error::Result;
use crate::layer::{Net, check_units};

pub(super) const ABOUT: About = About {
    name: "cgc",
    paper: "Tang et al., RecSys 2020, section 4.1",
    when: "as mmoe, with experts of their own beside shared ones; unlike tasks lose here, too, by the shared tables",
    needs: Needs::Tasks,
};

/// Settings of CGC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cgc {
    /// Experts of each task.
    pub task_experts: usize,
    /// Experts shared by all tasks.
    pub shared_experts: usize,
    /// Hidden layers of each expert.
    pub expert_units: Vec<usize>,
    /// Hidden layers of each tower.
    pub tower_units: Vec<usize>,
}

impl Default for Cgc {
    fn default() -> Cgc {
        Cgc { task_experts: 1, shared_experts: 2, expert_units: vec![128, 64], tower_units: vec![32] }
    }
}

impl Model for Cgc {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        check_units("model.expert_units", &self.expert_units, false)?;
        let level = self.expert_units.clone();
        let (task_experts, shared_experts) = (self.task_experts, self.shared_experts);
        Ple { task_experts, shared_experts, levels: vec![level], tower_units: self.tower_units.clone() }
            .declare(net, inputs)
    }
}
