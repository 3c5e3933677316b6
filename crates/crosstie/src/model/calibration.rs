//! Calibration4CVR: what the parent action's network knows calibrates the
//! conversion's network, layer by layer.
//!
//! X. Xiao, "Calibration4CVR: Representation Calibration" (work of 2018),
//! DataFunSummit 2022 and DataFunTalk 2023; methods 3.1, 3.2.
//!
//! Every task t has a main network over the shared embeddings x and, where
//! there are fields of the role `bias`, a bias network over those, b:
//!
//! ```text
//! h_t^0   = f(x W_t^0 + b_t^0)                            the same over b in the bias network
//! h̃_t^i   = calibrate(h̃_p^i, h_t^i)   at a chosen layer i, p being the parent of t; else h_t^i
//! h_t^i+1 = f(h̃_t^i W_t^i+1 + b_t^i+1)
//! logit_t = main network's logit + bias network's logit
//! ```
//!
//! with `calibrate(g, h)`, by `structure`:
//!
//! ```text
//! ctr          [h ; f(f(g W1 + b1) W2 + b2)]                     (1)
//! ctr-scaled   [h ; s · f(g W1 + b1)],  s = sigmoid(g w + b)     (2)
//! cvr          v ⊙ h,  v = sigmoid(f(g W1 + b1) W2 + b2)         (3)
//! cvr-concat   [h ; v ⊙ h],  v as in (3)                         (4)
//! none         h
//! ```
//!
//! where f is the activation of all hidden layers, relu if not said otherwise.
//! Losses are the tasks' own, on their own sample spaces. The sampler that mixes
//! impressions and clicked rows in one batch is `[train.mix]`; the triplet term
//! that the articles name as work to come is `[objective.triplet]`.
//!
//! # Deviations and reconstructions
//! - All equations are reconstructions: the articles give them in words. They
//!   name click and conversion only; here every task is calibrated by its
//!   parent, and a root by none.
//! - In a chain the parent's h is the calibrated one, so that what the click
//!   tells the cart goes on to the purchase.
//! - Gradients flow into the parent's network: the articles speak of no stop.
//! - The hidden layers of (1) and (2) are as wide as h, that of (3) is the
//!   parent's width divided by `reduction`, as in squeeze-and-excitation.
//!   Like all hidden layers they have the dropout and norm of `[network]`.
//! - s is one number per row, not one per unit: "a learned scaling factor".
//! - A task with several heads, as a direct one, has one network that ends in
//!   as many logits.
//! - With `[network.gating]` the main networks count as towers: what each of
//!   their layers reads, calibrated or not, is gated. A parent's layer
//!   calibrates as it is, before the gate.
//! - Sizes and the default structure are ours: the articles do not name the
//!   best of the four, only that (4) gained nothing over (3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::inputs::Inputs;
use crate::compute::Node;
use crate::compute::op::Activation;
use crate::error::{Error, Result};
use crate::layer::{Net, check_units};

pub(super) const ABOUT: About = About {
    name: "calibration",
    paper: "Calibration4CVR: Xiao, DataFunSummit 2022",
    when: "rare conversions after frequent clicks, learned on clicked rows: the click's network corrects theirs",
    needs: Needs::Parent,
};

/// How the parent's network calibrates the child's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// Not at all.
    None,
    /// (1): a network of two layers over the parent's, beside the child's.
    Ctr,
    /// (2): one layer over the parent's, scaled as a whole, beside the child's.
    #[serde(alias = "ctr_scaled")]
    CtrScaled,
    /// (3): a factor for every unit of the child's.
    Cvr,
    /// (4): as (3), beside the child's own.
    #[serde(alias = "cvr_concat")]
    CvrConcat,
}

/// Settings of Calibration4CVR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// How the parent's network calibrates the child's.
    pub structure: Structure,
    /// Hidden layers of each task's main network.
    pub units: Vec<usize>,
    /// The main networks' layers, from 0, after which they are calibrated.
    pub layers: Vec<usize>,
    /// Hidden layers of each task's bias network.
    pub bias_units: Vec<usize>,
    /// The bias networks' layers, from 0, after which they are calibrated.
    pub bias_layers: Vec<usize>,
    /// By how much (3) and (4) squeeze the parent's layer.
    pub reduction: usize,
}

impl Default for Calibration {
    fn default() -> Calibration {
        Calibration {
            structure: Structure::Cvr,
            units: vec![128, 64],
            layers: vec![0],
            bias_units: vec![16],
            bias_layers: vec![0],
            reduction: 4,
        }
    }
}

impl Calibration {
    fn check(&self) -> Result<()> {
        check_units("model.units", &self.units, false)?;
        check_units("model.bias_units", &self.bias_units, true)?;
        for (key, layers, of, units) in [
            ("layers", &self.layers, "units", &self.units),
            ("bias_layers", &self.bias_layers, "bias_units", &self.bias_units),
        ] {
            if let Some(layer) = layers.iter().find(|layer| **layer >= units.len()) {
                let count = units.len();
                let message = format!("model.{key}: there is no layer {layer}; model.{of} has {count}, counted from 0");
                return Err(Error::Config(message));
            }
        }
        if self.reduction == 0 {
            return Err(Error::Config("model.reduction must be at least 1, found 0".into()));
        }
        Ok(())
    }

    /// A network per task over x, calibrated after some of its `layers`; the
    /// logits of all heads.
    fn networks(
        &self,
        net: &mut Net<'_>,
        inputs: &Inputs<'_>,
        name: &str,
        x: Node,
        units: &[usize],
        layers: &[usize],
    ) -> Node {
        let (funnel, tasks) = (inputs.objective().funnel(), inputs.names());
        let mut hidden = vec![x; tasks.len()];
        for (layer, width) in units.iter().enumerate() {
            let inputs = net.gated(name, layer, &hidden);
            if layer == 0 {
                let all = if net.gates_towers() {
                    let inputs = net.concat(&format!("{name}.input"), &inputs);
                    net.parallel(name, inputs, tasks.len(), &[*width])
                } else {
                    // One product for all: every network's first layer reads x.
                    net.experts(name, x, tasks.len(), &[*width]).node
                };
                hidden = (0..tasks.len()).map(|task| all.part(task, tasks.len())).collect();
            } else {
                for ((hidden, input), task) in hidden.iter_mut().zip(inputs).zip(tasks) {
                    *hidden = net.layer(&format!("{name}.{task}.{layer}"), input, *width);
                }
            }
            if layers.contains(&layer) {
                for task in &funnel.order {
                    let Some(parent) = funnel.parents[*task] else { continue };
                    let name = format!("{name}.{}.{layer}.calibration", tasks[*task]);
                    hidden[*task] = self.calibrate(net, &name, hidden[parent], hidden[*task]);
                }
            }
        }
        let logits: Vec<Node> = net
            .gated(name, units.len(), &hidden)
            .into_iter()
            .enumerate()
            .map(|(task, hidden)| {
                let heads = inputs.heads().iter().filter(|head| head.task == task).count();
                let name = format!("{name}.{}.{}", tasks[task], units.len());
                net.linear(&name, hidden, heads, Activation::None)
            })
            .collect();
        // Heads are listed task by task, so the parts stand in order.
        net.concat(&format!("{name}.logits"), &logits)
    }

    /// What the child's next layer reads.
    fn calibrate(&self, net: &mut Net<'_>, name: &str, parent: Node, own: Node) -> Node {
        let width = own.width();
        match self.structure {
            Structure::None => own,
            Structure::Ctr => {
                let told = net.mlp(name, parent, &[width, width]);
                net.concat(name, &[own, told])
            }
            Structure::CtrScaled => {
                let told = net.mlp(name, parent, &[width]);
                let scale = net.linear(&format!("{name}.scale"), parent, 1, Activation::Sigmoid);
                let scaled = net.multiply(&format!("{name}.scaled"), told, scale);
                net.concat(name, &[own, scaled])
            }
            Structure::Cvr | Structure::CvrConcat => {
                let squeezed = net.mlp(name, parent, &[(parent.width() / self.reduction).max(1)]);
                let factors = net.linear(&format!("{name}.1"), squeezed, width, Activation::Sigmoid);
                let calibrated = net.multiply(&format!("{name}.calibrated"), own, factors);
                if self.structure == Structure::Cvr { calibrated } else { net.concat(name, &[own, calibrated]) }
            }
        }
    }
}

impl Model for Calibration {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        self.check()?;
        let fields = inputs.fields(net);
        let main = self.networks(net, inputs, "network", fields.main(), &self.units, &self.layers);
        let Some(bias) = fields.bias() else { return Ok(main.into()) };
        let bias = self.networks(&mut net.ungated(), inputs, "bias", bias, &self.bias_units, &self.bias_layers);
        Ok(net.sum("logits", &[(1.0, main), (1.0, bias)]).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_are_not_there_are_refused_by_name() {
        let refused =
            |settings: &str| toml::from_str::<Calibration>(settings).unwrap().check().unwrap_err().to_string();
        assert!(refused("layers = [0, 2]").contains("model.layers: there is no layer 2; model.units has 2"));
        assert!(refused("bias_units = []").contains("model.bias_layers: there is no layer 0; model.bias_units has 0"));
        assert!(refused("reduction = 0").contains("model.reduction"));
        assert!(toml::from_str::<Calibration>("bias_units = []\nbias_layers = []").unwrap().check().is_ok());
    }
}
