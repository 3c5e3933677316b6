//! What scenarios have of their own in a layer.
//!
//! Beside weights that are a scenario's alone there is the residual: in scenario
//! s a layer `f(x W + b)` is
//!
//! ```text
//! f(x (W + U_s V_s) + b + c_s)          U_s: inputs × rank, V_s: rank × outputs
//! ```
//!
//! per network of those that stand side by side. W and b learn from the rows of all
//! scenarios; V_s and c_s start at zero, so every scenario starts as the others do,
//! one without training rows is scored by W and b alone, and what a small one can
//! depart by is small. Where U_s V_s has no fewer numbers than one matrix, it is one.
//!
//! The form is that of LoRA (Hu et al., ICLR 2022), by domain as in MLoRA (Yang et al.,
//! "MLoRA: Multi-Domain Low-Rank Adaptive Network for Click-Through Rate Prediction",
//! RecSys 2024, arXiv 2408.08913), but learned together with W instead of after it.

use super::{Activation, Init, Linear, Net, Node};

/// What weights scenarios have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScenarioWeights {
    /// Those of all scenarios, and a residual of their own.
    Residual {
        /// Rank of the residual; with 0 scenarios differ by biases only.
        rank: usize,
    },
    /// Each its own, of which a row meets those of its scenario only.
    Separate,
}

/// What names of residuals hold.
const RESIDUAL: &str = "residual";

/// Whether a parameter of this name is of a scenario's residual.
pub(crate) fn is_of_residual(parameter: &str) -> bool {
    parameter.split('.').any(|part| part == RESIDUAL)
}

impl Net<'_> {
    /// `f(affine + residual)`, the residual being the row's scenario's.
    ///
    /// # Shapes
    /// affine: rows × (groups · outputs); x: rows × (groups · inputs); output: as affine.
    pub(super) fn with_residual(&mut self, name: &str, affine: Node, x: Node, layer: Linear, rank: usize) -> Node {
        let Linear { groups, inputs, outputs, activation, bias, .. } = layer;
        let (name, scenarios) = (format!("{name}.{RESIDUAL}"), self.graph.scenarios());
        let shift = format!("{name}.shift");
        let residual = if rank > 0 {
            let factors = rank * (inputs + outputs) < inputs * outputs;
            let (x, inputs, weight) =
                if factors { (self.down(&name, x, groups, rank), rank, "up") } else { (x, inputs, "weight") };
            let shape = [scenarios, groups, inputs, outputs];
            let mut parameters = vec![self.graph.parameter(&format!("{name}.{weight}"), &shape, Init::Constant(0.0))];
            if bias {
                parameters.push(self.graph.parameter(&shift, &[scenarios, groups * outputs], Init::Constant(0.0)));
            }
            let op = Linear { groups, inputs, outputs, activation: Activation::None, bias, routed: true };
            Some(self.graph.push(&name, op, &[x], &parameters, groups * outputs))
        } else {
            bias.then(|| self.scenario_vector(&name, &shift, groups * outputs))
        };
        let sum = residual.map_or(affine, |residual| self.sum(&name, &[(1.0, affine), (1.0, residual)]));
        if activation == Activation::None { sum } else { self.activate(&name, sum, activation, 1.0) }
    }

    /// `x U`, of the row's scenario.
    fn down(&mut self, name: &str, x: Node, groups: usize, rank: usize) -> Node {
        let inputs = x.width() / groups;
        let shape = [self.graph.scenarios(), groups, inputs, rank];
        let down = self.graph.parameter(&format!("{name}.down"), &shape, Init::Glorot { inputs, outputs: rank });
        let op = Linear { groups, inputs, outputs: rank, activation: Activation::None, bias: false, routed: true };
        self.graph.push(name, op, &[x], &[down], groups * rank)
    }
}
