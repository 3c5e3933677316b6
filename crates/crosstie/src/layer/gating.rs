//! Personalised gating: every layer of a tower is scaled, unit by unit, by who
//! sees what where.
//!
//! AEM2TL's (Yi et al., IEEE TKDE 37(4), 2025; methods 1.4), after LHUC and
//! PEPNet. In front of every layer l of a model's towers, over the features x:
//!
//! ```text
//! h       = [E(user) ; E(item) ; E(scenario) ; stop(x)]                        (12)
//! δ^l     = 2 · sigmoid(relu(h W0^l + b0^l) W1^l + b1^l)                       (10), (11)
//! H^(l+1) = f((δ^l ⊙ H^l) W^l + b^l)                                           (14)
//! ```
//!
//! # Deviations and reconstructions
//! - One gate unit per layer serves all towers of a name and is cut into their
//!   parts, as in PEPNet; the logit's layer is gated too.
//! - Gate units are common to the scenarios, also where towers are not, and
//!   know the scenario by E(scenario), a learned vector that starts at zero: there
//!   it stays in a scenario without training rows. With one scenario it is a
//!   constant.
//! - Which tensor E_ep is, is not told; here it is x.
//! - In models whose towers read one representation each head gets a copy of
//!   it, so that the first layer can be gated for each head.
//! - The paper gates AEM2TL's towers only; those of other models are ours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Net, check_width};
use crate::compute::Node;
use crate::compute::op::Activation;
use crate::error::Result;

/// The `[network.gating]` section: gate units in the towers of any model.
/// Networks over the fields of the role `bias` have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gating {
    /// Width of the hidden layer of each gate unit.
    pub units: usize,
    /// Width of the scenario's own vector.
    pub scenario_width: usize,
}

impl Default for Gating {
    fn default() -> Gating {
        Gating { units: 32, scenario_width: 8 }
    }
}

impl Gating {
    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    pub fn check(&self) -> Result<()> {
        check_width("network.gating.units", self.units)?;
        check_width("network.gating.scenario_width", self.scenario_width)
    }
}

const GATE_UNIT: &str = "personal_gate";
/// The vectors of the scenarios, which gate units alone read.
const SCENARIO: &str = "scenario";

/// Whether a parameter of this name is of gate units.
pub(crate) fn is_of_gate_units(parameter: &str) -> bool {
    parameter.split('.').any(|part| part == GATE_UNIT) || parameter.split('.').next() == Some(SCENARIO)
}

/// What the gate units of a net read, and their width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gates {
    priors: Node,
    units: usize,
}

impl Net<'_> {
    /// The `[network.gating]` section, if there is one.
    pub fn gating(&self) -> Option<Gating> {
        self.style.gating
    }

    /// Towers declared through this from here on are gated by `priors`.
    ///
    /// # Shapes
    /// priors: rows × d.
    pub fn gate_towers(&mut self, priors: Node, units: usize) {
        self.gates = Some(Gates { priors, units });
    }

    /// Whether towers are gated.
    pub fn gates_towers(&self) -> bool {
        self.gates.is_some()
    }

    /// What is declared through this has no gates.
    pub fn ungated(&mut self) -> Net<'_> {
        Net { graph: self.graph, style: self.style, scenarios: self.scenarios, gates: None }
    }

    /// What layer `layer` of some towers reads: their inputs, gated. The inputs
    /// themselves where towers are not gated.
    ///
    /// # Shapes
    /// inputs: rows × any width each; outputs: the same.
    pub fn gated(&mut self, towers: &str, layer: usize, inputs: &[Node]) -> Vec<Node> {
        let Some(Gates { priors, units }) = self.gates else { return inputs.to_vec() };
        // Most models have one name for all their towers.
        let name = match towers {
            "tower" => format!("{GATE_UNIT}.{layer}"),
            _ => format!("{towers}.{GATE_UNIT}.{layer}"),
        };
        let width = inputs.iter().map(Node::width).sum();
        let factors = self.all_scenarios().gate_unit(&name, priors, units, width);
        let mut from = 0;
        let mut gate = |input: &Node| {
            let own = factors.columns(from, input.width());
            from += input.width();
            self.multiply(&format!("{name}.gated"), *input, own)
        };
        inputs.iter().map(&mut gate).collect()
    }

    /// A gate unit: `2 · sigmoid(relu(x W0 + b0) W1 + b1)`, a factor around 1
    /// for each unit of another layer.
    ///
    /// # Shapes
    /// x: rows × d; output: rows × `width`, each in (0, 2).
    fn gate_unit(&mut self, name: &str, x: Node, hidden: usize, width: usize) -> Node {
        let hidden = self.linear(&format!("{name}.0"), x, hidden, Activation::Relu);
        let logits = self.linear(&format!("{name}.1"), hidden, width, Activation::None);
        self.activate(name, logits, Activation::Sigmoid, 2.0)
    }
}
