//! MMoE: multi-gate mixture-of-experts.
//!
//! Ma et al., "Modeling Task Relationships in Multi-task Learning with
//! Multi-gate Mixture-of-Experts", KDD 2018, section 4.2; methods 5.
//!
//! ```text
//! g_k     = softmax(W_k e)                         (7)
//! f_k     = Σ_i g_k,i · expert_i(e)                (6)
//! logit_k = tower_k(f_k)
//! ```
//!
//! # Deviations and reconstructions
//! - Experts may have several layers; sizes are ours.
//! - Where the schema has fields of the role `bias`, a shallow tower over them is
//!   added to every logit (methods 3.2); the paper has none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::{Fields, Inputs};
use crate::compute::Node;
use crate::error::Result;
use crate::layer::{Net, check_count, check_units};

pub(super) const ABOUT: About = About {
    name: "mmoe",
    paper: "Ma et al., KDD 2018",
    when: "several tasks that want alike things; where they do not, the rarest loses most",
    needs: Needs::Tasks,
};

/// Settings of MMoE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mmoe {
    /// Number of experts, shared by all tasks.
    pub experts: usize,
    /// Hidden layers of each expert.
    pub expert_units: Vec<usize>,
    /// Hidden layers of each tower.
    pub tower_units: Vec<usize>,
}

impl Default for Mmoe {
    fn default() -> Mmoe {
        Mmoe { experts: 6, expert_units: vec![128, 64], tower_units: vec![32] }
    }
}

impl Model for Mmoe {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        self.check("model")?;
        let fields = inputs.fields(net);
        Ok(self.network(net, inputs, "", &fields).into())
    }
}

impl Mmoe {
    /// Refuses settings that make no sense, which stand in the section `section`.
    pub(super) fn check(&self, section: &str) -> Result<()> {
        check_count(&format!("{section}.experts"), self.experts, 1)?;
        check_units(&format!("{section}.expert_units"), &self.expert_units, false)?;
        check_units(&format!("{section}.tower_units"), &self.tower_units, true)
    }

    /// The network over some fields; its parameters' names begin with `prefix`.
    ///
    /// # Shapes
    /// Output: rows × heads.
    pub(super) fn network(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>, prefix: &str, fields: &Fields) -> Node {
        let (heads, name) = (inputs.heads().len(), |part: &str| format!("{prefix}{part}"));
        let experts = net.experts(&name("expert"), fields.main(), self.experts, &self.expert_units);
        let gates = net.gates(&name("gate"), fields.main(), &vec![self.experts; heads]);
        // One expert has all of every gate.
        if self.experts > 1 {
            let names: Vec<String> = (1..=self.experts).map(|expert| expert.to_string()).collect();
            let shown = match prefix {
                "" => "gate".into(),
                prefix => format!("gate of {} experts", prefix.trim_end_matches('.')),
            };
            inputs.show_gates(&shown, gates, &names);
        }
        let every: Vec<(usize, usize)> = (0..self.experts).map(|expert| (0, expert)).collect();
        let mixed = net.mix(&name("mix"), gates, &[experts], vec![every; heads]);
        let logits = net.towers(&name("tower"), mixed, heads, &self.tower_units);
        inputs.add_bias(net, &name("bias"), fields, logits)
    }
}
