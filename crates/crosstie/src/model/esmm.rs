//! ESMM: entire-space multi-task model.
//!
//! Ma et al., "Entire Space Multi-Task Model", SIGIR 2018; methods 5.
//!
//! ```text
//! logit_ctr = MLP_ctr(e),  logit_cvr = MLP_cvr(e)         e shared
//! pCTCVR    = pCTR · pCVR
//! L         = Σ ℓ(click, pCTR) + Σ ℓ(click & buy, pCTCVR)   over impressions
//! ```
//!
//! The products and the losses are the objective's space `product`, which is
//! this model's default; any other model can be trained that way too. Longer
//! chains multiply along the way, direct tasks add the way without the parent.
//!
//! # Deviations and reconstructions
//! - The paper concatenates fields after pooling and uses 360-200-80 units; the
//!   default here is smaller.
//! - Tasks beyond click and conversion are ours (the paper has two).
//! - Where the schema has fields of the role `bias`, a shallow tower over them is
//!   added to every logit (methods 3.2); the paper has none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::Inputs;
use crate::error::Result;
use crate::layer::{Net, check_units};
use crate::objective::Space;

pub(super) const ABOUT: About = About {
    name: "esmm",
    paper: "Ma et al., SIGIR 2018",
    when: "conversions are rare and pCVR is asked for all impressions, not the clicked ones only",
    needs: Needs::Parent,
};

/// Settings of ESMM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Esmm {
    /// Hidden layers of each task's network.
    pub units: Vec<usize>,
}

impl Default for Esmm {
    fn default() -> Esmm {
        Esmm { units: vec![128, 64] }
    }
}

impl Model for Esmm {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        check_units("model.units", &self.units, false)?;
        let fields = inputs.fields(net);
        let logits = net.towers_over("network", fields.main(), inputs.heads().len(), &self.units);
        Ok(inputs.add_bias(net, "bias", &fields, logits).into())
    }

    fn space(&self) -> Space {
        Space::Product
    }
}
