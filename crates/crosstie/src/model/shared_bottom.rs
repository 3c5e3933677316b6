//! Shared-Bottom: one network for all tasks, then a tower for each.
//!
//! Caruana, "Multitask Learning", Machine Learning 28, 1997; as the baseline of
//! Ma et al., KDD 2018, section 3.1. methods 5.
//!
//! ```text
//! h       = MLP_bottom(e)
//! logit_k = tower_k(h)
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
use crate::error::Result;
use crate::layer::{Net, check_units};

pub(super) const ABOUT: About = About {
    name: "shared-bottom",
    paper: "Caruana, Machine Learning 1997; Ma et al., KDD 2018, section 3.1",
    when: "few data, tasks that agree; the cheapest model here",
    needs: Needs::Tasks,
};

/// Settings of Shared-Bottom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SharedBottom {
    /// Hidden layers of the bottom.
    pub bottom_units: Vec<usize>,
    /// Hidden layers of each tower.
    pub tower_units: Vec<usize>,
}

impl Default for SharedBottom {
    fn default() -> SharedBottom {
        SharedBottom { bottom_units: vec![256, 128], tower_units: vec![32] }
    }
}

impl Model for SharedBottom {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        check_units("model.bottom_units", &self.bottom_units, false)?;
        check_units("model.tower_units", &self.tower_units, true)?;
        let fields = inputs.fields(net);
        let bottom = net.mlp("bottom", fields.main(), &self.bottom_units);
        let logits = net.towers_over("tower", bottom, inputs.heads().len(), &self.tower_units);
        Ok(inputs.add_bias(net, "bias", &fields, logits).into())
    }
}
