//! Single-task: one network per task, sharing nothing, not even embeddings.
//!
//! The baseline that every multi-task model has to beat. With fields of the
//! role `bias` it is the single-task baseline of Calibration4CVR (X. Xiao,
//! DataFunSummit 2022; methods 3.1, 3.2), whose bias network follows the
//! shallow tower of Zhao et al., RecSys 2019.
//!
//! Equations, for every head of task t:
//!
//! ```text
//! e_t   = embeddings of task t
//! logit = w · MLP_t(e_t) + b  [+ shallow network of the bias fields]
//! ```
//!
//! # Deviations and reconstructions
//! - The networks are trained side by side in one graph, until none of them gets
//!   better. Each is kept as it was at its own best step, the same as if trained
//!   apart.
//! - The shallow network's width (16) is ours; the source gives none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::Inputs;
use crate::compute::Node;
use crate::error::Result;
use crate::layer::{Net, check_units};

pub(super) const ABOUT: About = About {
    name: "single-task",
    paper: "baseline; with bias fields, that of Calibration4CVR (Xiao, DataFunSummit 2022)",
    when: "the yardstick: what each task reaches alone, each at its own best step",
    needs: Needs::Task,
};

/// Settings of single-task networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SingleTask {
    /// Hidden layers of each task's network.
    pub units: Vec<usize>,
}

impl Default for SingleTask {
    fn default() -> SingleTask {
        SingleTask { units: vec![128, 64] }
    }
}

impl Model for SingleTask {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        check_units("model.units", &self.units, false)?;
        Ok(networks(net, inputs, &self.units, false).into())
    }
}

/// A network for each task, over tables of its own or, with `shared`, those of all.
///
/// # Shapes
/// Output: rows × heads.
pub(super) fn networks(net: &mut Net<'_>, inputs: &mut Inputs<'_>, units: &[usize], shared: bool) -> Node {
    let (mut logits, mut fields) = (Vec::new(), None);
    for (task, name) in inputs.names().to_vec().iter().enumerate() {
        let heads = inputs.heads().iter().filter(|head| head.task == task).count();
        let fields = match &mut fields {
            Some(fields) if shared => fields,
            fields => fields.insert(inputs.fields(net)),
        };
        let own = net.towers_over(&format!("network.{name}"), fields.main(), heads, units);
        logits.push(inputs.add_bias(net, &format!("bias.{name}"), fields, own));
    }
    // Heads are listed task by task, so the parts stand in order.
    net.concat("logits", &logits)
}
