//! AEM2TL: multi-scenario, multi-task learning over the entire space.
//!
//! Yi et al., IEEE TKDE 37(4):1585-1598, 2025, DOI 10.1109/TKDE.2025.3536334;
//! methods 1, with its errata (1.11).
//!
//! For a row of scenario i, with the shared embeddings x, and for every head j:
//!
//! ```text
//! Scenario-CGC          G    = Σ_k softmax(W_sh x + b_sh)_k · Q_sh^k(x)            (3), (4)
//!                       S_i  = Σ_k softmax(W_sp x + b_sp)_k · Q_sp^k(x)            (5), (6)
//!                       M_i  = [G ; S_i]
//! Task-CGC              T_ij = softmax(W_ij M_i) [E_tp^ij(M_i) ; E_ts^i(M_i)]      (7), (8)
//! personalised gating   δ^l  = 2 · sigmoid(relu(h W0^l + b0^l) W1^l + b1^l)        (10), (11)
//!                       h    = [E(user) ; E(item) ; E(scenario) ; stop(x)]         (12)
//! tower                 H^0  = T_ij,  H^(l+1) = f((δ^l ⊙ H^l) W^l + b^l)           (9), (14)
//!                       logit_j = the last of them, without f
//! ```
//!
//! Experts, gates and towers with an index i differ from scenario to scenario: by
//! default they are one network of all scenarios and a residual of the scenario's
//! own, which starts at zero; `scenario_weights = "separate"` is the paper's, networks
//! that share no number. The heads y1..y5 and the entire-space module are the objective's:
//!
//! ```text
//! p_ctr   = y1                                                                     (15)
//! p_ctavr = y4 y1                                                                  (18)
//! p_cvr   = y2 (1 - y4) + y4 y5                                                    (19)
//! p_xcvr  = y1 p_cvr + (1 - y1) y3                                                 (21)
//! L       = ℓ(click, p_ctr) + ℓ(action, p_ctavr) + ℓ(install, p_xcvr)              (23)-(26)
//! ```
//!
//! that is `[objective]` with the space `product`, `via` the action, and a
//! conversion that the schema calls `direct` (the way without a click, y3).
//! Without `direct`, (21) has no y3 and is ESM2's (20); without an action,
//! p_cvr is y2 alone.
//!
//! # Deviations and reconstructions
//! - Residuals ([`layer::ScenarioWeights`](crate::layer::ScenarioWeights)) are ours. The paper's logs
//!   have 15 million rows and more in a scenario, five heads, and no scenario that
//!   training has not met; on a hundredth of that, networks apart learn each from a
//!   part of the rows what all rows tell. Of low rank, not LHUC's factors: these the
//!   towers have by their gates, which know the scenario, and factors of hidden units
//!   cannot read another input than the others do, as an expert of a scenario should.
//! - A scenario without training rows (`other`, where none is rare) has no residual,
//!   and is scored by what all scenarios share. Of networks apart it would have
//!   untrained ones; its rows go through those of the largest scenario instead.
//! - (7) prints C_i for M_i; the text has M_i. (17) and (20) are joint
//!   probabilities, whatever their left sides say.
//! - Gate units are those of any model ([`Gating`]), whose own list tells what
//!   is reconstructed; here they are on by default. `[network.gating]`, if
//!   there, gives their sizes in place of `gate_units` and `scenario_width`.
//! - The scenario gates W_sp and b_sp are per scenario, as S_i is.
//! - Every head has a tower and a Task-CGC of its own, also several of a task.
//! - The ablations: without Scenario-CGC M_i is x, without Task-CGC T_ij is
//!   M_i, without gating δ is 1, without the entire-space module every task is
//!   learned on its own sample space and no way is split. The adaptive weights
//!   (27)-(29) are the trainer's, for any model: `[balance] name = "gradnorm"`;
//!   without that section the losses keep the weights they are given.
//! - All sizes are ours: the paper gives none.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::esm2;
use super::inputs::{Inputs, own_and_shared};
use crate::compute::Node;
use crate::error::{Error, Result};
use crate::layer::{Gating, Net, ScenarioWeights, check_count, check_rank, check_units, check_width};
use crate::objective::Space;
use crate::schema::Schema;

pub(super) const ABOUT: About = About {
    name: "aem2tl",
    paper: "Yi et al., IEEE TKDE 2025",
    when: "several scenarios that behave differently, and conversions with and without a click",
    needs: Needs::Parent,
};

/// What the experts, gates and towers of one scenario have in common with those of
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scenarios {
    /// Weights of all scenarios, and in each a residual that starts at zero: a
    /// product of two narrow matrices, and a bias. A scenario that training has not
    /// met is scored by the weights of all (ours).
    Residual,
    /// Nothing: every scenario has networks of its own (the paper's). Rows of a
    /// scenario that training has not met go through those of the largest.
    Separate,
}

/// Settings of AEM2TL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Aem2tl {
    /// Whether experts of all scenarios and of each one lie below the tasks.
    pub scenario_cgc: bool,
    /// Whether tasks have experts and gates.
    pub task_cgc: bool,
    /// Whether towers are gated by who sees what where, also without
    /// `[network.gating]`.
    pub personalised_gating: bool,
    /// Whether losses are counted over all impressions, along every way.
    pub entire_space: bool,
    /// What scenarios have in common.
    pub scenario_weights: Scenarios,
    /// Rank of a scenario's residual; with 0 scenarios differ by biases only.
    pub scenario_rank: usize,
    /// Experts that all scenarios share.
    pub shared_experts: usize,
    /// Experts of each scenario.
    pub scenario_experts: usize,
    /// Hidden layers of each of those.
    pub expert_units: Vec<usize>,
    /// Experts of each task, in each scenario.
    pub task_experts: usize,
    /// Experts that all tasks share, in each scenario.
    pub task_shared_experts: usize,
    /// Hidden layers of each of those.
    pub task_expert_units: Vec<usize>,
    /// Hidden layers of each tower.
    pub tower_units: Vec<usize>,
    /// Width of the hidden layer of each gate unit, without `[network.gating]`.
    pub gate_units: usize,
    /// Width of the scenario's own vector, without `[network.gating]`.
    pub scenario_width: usize,
    /// The task that the others come after; the root with most children if
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click: Option<String>,
    /// The related action on the way to the conversion; the first task after
    /// the click in the schema if absent, none if empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The conversion; the last other task after the click in the schema if absent,
    /// of those that are `direct` if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion: Option<String>,
}

impl Default for Aem2tl {
    fn default() -> Aem2tl {
        Aem2tl {
            scenario_cgc: true,
            task_cgc: true,
            personalised_gating: true,
            entire_space: true,
            scenario_weights: Scenarios::Residual,
            scenario_rank: 4,
            shared_experts: 2,
            scenario_experts: 1,
            expert_units: vec![128, 64],
            task_experts: 1,
            task_shared_experts: 1,
            task_expert_units: vec![64],
            tower_units: vec![32],
            gate_units: 32,
            scenario_width: 8,
            click: None,
            action: None,
            conversion: None,
        }
    }
}

impl Aem2tl {
    fn check(&self) -> Result<()> {
        check_units("model.expert_units", &self.expert_units, false)?;
        check_units("model.task_expert_units", &self.task_expert_units, false)?;
        check_units("model.tower_units", &self.tower_units, true)?;
        for (key, experts) in [
            ("shared_experts", self.shared_experts),
            ("scenario_experts", self.scenario_experts),
            ("task_experts", self.task_experts),
            ("task_shared_experts", self.task_shared_experts),
        ] {
            check_count(&format!("model.{key}"), experts, 0)?;
        }
        let (of_scenarios, of_tasks) =
            (self.shared_experts + self.scenario_experts, self.task_experts + self.task_shared_experts);
        check_count("model.shared_experts or model.scenario_experts", of_scenarios, 1)?;
        check_count("model.task_experts or model.task_shared_experts", of_tasks, 1)?;
        check_rank("model.scenario_rank", self.scenario_rank)?;
        check_width("model.gate_units", self.gate_units)?;
        check_width("model.scenario_width", self.scenario_width)
    }

    fn weights(&self) -> ScenarioWeights {
        match self.scenario_weights {
            Scenarios::Residual => ScenarioWeights::Residual { rank: self.scenario_rank },
            Scenarios::Separate => ScenarioWeights::Separate,
        }
    }

    /// M_i: the experts of all scenarios beside those of the row's own.
    fn scenario_cgc(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>, x: Node) -> Node {
        let every = |count: usize| vec![(0..count).map(|expert| (0, expert)).collect()];
        let mut parts = Vec::new();
        for (name, count, own) in [("shared", self.shared_experts, false), ("scenario", self.scenario_experts, true)] {
            if count == 0 {
                continue;
            }
            let mut net = if own { net.per_scenario(self.weights()) } else { net.all_scenarios() };
            let experts = net.experts(&format!("{name}_expert"), x, count, &self.expert_units);
            let gate = net.biased_gates(&format!("{name}_gate"), x, &[count]);
            let names: Vec<String> = (1..=count).map(|expert| expert.to_string()).collect();
            inputs.show_gates(&format!("gate of {name} experts"), gate, &names);
            parts.push(net.mix(&format!("{name}_mix"), gate, &[experts], every(count)));
        }
        net.concat("scenario_cgc", &parts)
    }

    /// T_ij of all heads, side by side.
    fn task_cgc(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>, x: Node, heads: usize) -> Node {
        let (own, shared) = (self.task_experts, self.task_shared_experts);
        let mut net = net.per_scenario(self.weights());
        let experts = net.experts("task_expert", x, heads * own + shared, &self.task_expert_units);
        let gates = net.gates("task_gate", x, &vec![own + shared; heads]);
        inputs.show_gates("gate of task experts", gates, &own_and_shared(own, shared));
        let of_task = |head: usize| (0..own).map(move |expert| (0, head * own + expert));
        let common = (0..shared).map(|expert| (0, heads * own + expert));
        let choices = (0..heads).map(|head| of_task(head).chain(common.clone()).collect()).collect();
        net.mix("task_cgc", gates, &[experts], choices)
    }
}

impl Model for Aem2tl {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        self.check()?;
        if !self.personalised_gating && net.gating().is_some() {
            let message = "model.personalised_gating is false, but [network.gating] gates the towers of any model: leave \
                           one of the two out";
            return Err(Error::Config(message.into()));
        }
        let heads = inputs.heads().len();
        let fields = inputs.fields(net);
        let x = fields.main();
        let of_scenario = if self.scenario_cgc { self.scenario_cgc(net, inputs, x) } else { x };
        let of_tasks = if self.task_cgc {
            self.task_cgc(net, inputs, of_scenario, heads)
        } else {
            net.concat("tower_input", &vec![of_scenario; heads])
        };
        if self.personalised_gating && net.gating().is_none() {
            fields.gate_towers(net, Gating { units: self.gate_units, scenario_width: self.scenario_width });
        }
        let logits = net.per_scenario(self.weights()).towers("tower", of_tasks, heads, &self.tower_units);
        Ok(inputs.add_bias(net, "bias", &fields, logits).into())
    }

    fn space(&self) -> Space {
        if self.entire_space { Space::Product } else { Space::Parent }
    }

    fn separate_scenarios(&self) -> bool {
        self.scenario_weights == Scenarios::Separate
    }

    fn via(&self, schema: &Schema) -> Result<BTreeMap<String, String>> {
        if !self.entire_space {
            return Ok(BTreeMap::new());
        }
        esm2::via(schema, self.click.as_deref(), self.action.as_deref(), self.conversion.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Dense, Layout};
    use crate::compute::Parameters;
    use crate::layer::Style;
    use crate::model::{Network, SharedBottom};
    use crate::objective::ObjectiveConfig;
    use crate::random::Stream;
    use crate::schema::{Role, Side};

    const SCHEMA: &str = r#"
        [[task]]
        name = "click"
        [[task]]
        name = "watch"
        after = "click"
        [[task]]
        name = "install"
        after = "click"
        direct = true
        [[field]]
        name = "user"
        kind = "numeric"
        [[field]]
        name = "item"
        kind = "numeric"
    "#;

    const WIDTH: usize = 5;

    /// A network over three columns of the user and two of the item.
    fn network(model: &dyn Model, config: &ObjectiveConfig, scenarios: usize) -> Network {
        let field = |name: &str, width, side| Dense { name: name.into(), width, side, role: Role::Main };
        let schema = Schema::parse(SCHEMA).unwrap();
        let layout = Layout {
            tasks: schema.tasks.iter().map(|task| task.name.clone()).collect(),
            dense: vec![field("user", 3, Side::User), field("item", WIDTH - 3, Side::Item)],
            scenarios: (0..scenarios).map(|scenario| scenario.to_string()).collect(),
            ..Layout::default()
        };
        Network::new(model, &Style::default(), &layout, model.objective(&schema, config).unwrap()).unwrap()
    }

    /// The heads' logits of each row; `of` says how many rows a scenario has.
    fn logits(network: &Network, parameters: &Parameters, input: &[f32], of: &[usize]) -> Vec<Vec<f32>> {
        let rows = of.iter().sum();
        let mut workspace = network.program.workspace(rows, false);
        let mut at = 0;
        let segments: Vec<_> = of
            .iter()
            .map(|count| {
                at += count;
                at - count..at
            })
            .collect();
        let fill = |_: usize, rows: std::ops::Range<usize>, into: &mut [f32]| {
            into.copy_from_slice(&input[rows.start * WIDTH..rows.end * WIDTH]);
        };
        network.program.score(&mut workspace, parameters, rows, &segments, &fill);
        workspace.values(&network.program, network.logits).map(<[f32]>::to_vec).collect()
    }

    fn input(rows: usize) -> Vec<f32> {
        let stream = Stream::new(5, "input");
        (0..(rows * WIDTH) as u64).map(|i| 2.0 * stream.uniform(i) as f32 - 1.0).collect()
    }

    fn set(network: &Network, parameters: &mut [f32], name: &str, values: &[f32]) {
        let parameter = network.program.parameters().iter().find(|parameter| parameter.name == name);
        parameters[parameter.unwrap_or_else(|| panic!("no parameter `{name}`")).range()].copy_from_slice(values);
    }

    fn values<'a>(network: &Network, parameters: &'a [f32], name: &str) -> &'a [f32] {
        let parameter = network.program.parameters().iter().find(|parameter| parameter.name == name);
        &parameters[parameter.unwrap_or_else(|| panic!("no parameter `{name}`")).range()]
    }

    #[test]
    fn with_one_scenario_and_one_shared_expert_scenario_cgc_is_a_plain_network() {
        let plain = SharedBottom { bottom_units: vec![7, 6], tower_units: vec![] };
        let model = Aem2tl {
            task_cgc: false,
            personalised_gating: false,
            entire_space: false,
            shared_experts: 1,
            scenario_experts: 0,
            expert_units: vec![7, 6],
            tower_units: vec![],
            ..Aem2tl::default()
        };
        let config = ObjectiveConfig::default();
        let (plain, model) = (network(&plain, &config, 1), network(&model, &config, 1));
        let from = plain.program.initial(3).unwrap();
        let mut into = model.program.initial(4).unwrap();
        for layer in ["0.weight", "0.bias", "1.weight", "1.bias"] {
            let bottom = values(&plain, &from, &format!("bottom.{layer}"));
            set(&model, &mut into, &format!("shared_expert.{layer}"), bottom);
        }
        set(&model, &mut into, "tower.0.bias", values(&plain, &from, "tower.0.bias"));
        let (heads, tower) = (plain.logits.width(), values(&plain, &from, "tower.0.weight"));
        let turned: Vec<f32> = (0..heads * 6).map(|index| tower[index % 6 * heads + index / 6]).collect();
        set(&model, &mut into, "tower.0.weight", &turned);
        let found = logits(&model, &into, &input(9), &[9]);
        for (found, expected) in found.concat().iter().zip(logits(&plain, &from, &input(9), &[9]).concat()) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn a_gate_that_says_one_is_no_gate() {
        let gated = Aem2tl { tower_units: vec![4, 3], ..Aem2tl::default() };
        let ungated = Aem2tl { personalised_gating: false, ..gated.clone() };
        let config = ObjectiveConfig::default();
        let (gated, ungated) = (network(&gated, &config, 3), network(&ungated, &config, 3));
        let mut parameters = gated.program.initial(3).unwrap();
        for layer in 0..3 {
            let name = format!("personal_gate.{layer}.1.weight");
            let zeros = vec![0.0; values(&gated, &parameters, &name).len()];
            set(&gated, &mut parameters, &name, &zeros);
        }
        let same = ungated.program.initial(3).unwrap();
        let rows = [4, 0, 5];
        assert_eq!(logits(&gated, &parameters, &input(9), &rows), logits(&ungated, &same, &input(9), &rows));
        let open = gated.program.initial(3).unwrap();
        assert_ne!(logits(&gated, &open, &input(9), &rows), logits(&ungated, &same, &input(9), &rows));
    }

    #[test]
    fn every_ablation_leaves_out_its_part_and_only_that() {
        let part = |name: &str| {
            let parts = ["shared_", "scenario_", "task_", "personal_gate"];
            parts.into_iter().position(|part| name.starts_with(part))
        };
        let parts = |model: &Aem2tl| {
            let network = network(model, &ObjectiveConfig::default(), 2);
            let found: Vec<_> = network.program.parameters().iter().filter_map(|p| part(&p.name)).collect();
            let names: Vec<_> = network.objective.heads().iter().map(|head| head.name.clone()).collect();
            ((0..4).map(|index| found.contains(&index)).collect::<Vec<_>>(), names)
        };
        let full = Aem2tl::default();
        let (found, heads) = parts(&full);
        assert_eq!(found, [true; 4]);
        assert_eq!(
            heads,
            ["click", "watch", "install_with_watch", "install_without_watch", "install_without_parent"],
            "the five towers"
        );
        assert_eq!(parts(&Aem2tl { scenario_cgc: false, ..full.clone() }).0, [false, false, true, true]);
        assert_eq!(parts(&Aem2tl { task_cgc: false, ..full.clone() }).0, [true, true, false, true]);
        assert_eq!(parts(&Aem2tl { personalised_gating: false, ..full.clone() }).0, [true, true, true, false]);
        let (found, heads) = parts(&Aem2tl { entire_space: false, ..full });
        assert_eq!(found, [true; 4]);
        assert_eq!(heads, ["click", "watch", "install", "install_without_parent"]);
    }

    /// The default, and the paper's.
    const WEIGHTS: [Scenarios; 2] = [Scenarios::Residual, Scenarios::Separate];

    /// Names of what a scenario has of its own.
    fn own(network: &Network) -> Vec<String> {
        let of_scenario = |parameter: &&crate::compute::Parameter| parameter.shape.first() == Some(&3);
        network.program.parameters().iter().filter(of_scenario).map(|parameter| parameter.name.clone()).collect()
    }

    #[test]
    fn a_scenario_moves_its_own_rows_only() {
        for (scenario_weights, scenario_rank) in [(WEIGHTS[0], 1), (WEIGHTS[0], 0), (WEIGHTS[1], 4)] {
            let model = Aem2tl { scenario_weights, scenario_rank, ..Aem2tl::default() };
            let network = network(&model, &ObjectiveConfig::default(), 3);
            let mut parameters = network.program.initial(3).unwrap();
            let rows = [3, 2, 4];
            let before = logits(&network, &parameters, &input(9), &rows);
            let names = own(&network);
            for part in ["scenario_expert.", "scenario_gate.", "task_expert.", "tower.", "scenario.weight"] {
                assert!(names.iter().any(|name| name.starts_with(part)), "{part} of {names:?}");
            }
            for name in names {
                let mut moved = values(&network, &parameters, &name).to_vec();
                let size = moved.len() / 3;
                moved[size..2 * size].iter_mut().for_each(|value| *value += 0.25);
                set(&network, &mut parameters, &name, &moved);
            }
            let after = logits(&network, &parameters, &input(9), &rows);
            for (row, (before, after)) in before.iter().zip(&after).enumerate() {
                assert_eq!(before != after, (3..5).contains(&row), "row {row}");
            }
        }
    }

    #[test]
    fn residuals_are_a_small_part_of_what_separate_networks_have() {
        let model = |scenario_weights| Aem2tl { scenario_weights, ..Aem2tl::default() };
        let [residual, separate] = WEIGHTS.map(|weights| network(&model(weights), &ObjectiveConfig::default(), 3));
        let count = |network: &Network, of: &dyn Fn(&str) -> bool| -> usize {
            let parameters = network.program.parameters().iter().filter(|parameter| of(&parameter.name));
            parameters.map(|parameter| parameter.range().len()).sum()
        };
        let routed = |name: &str| ["scenario_", "task_", "tower"].iter().any(|part| name.starts_with(part));
        let (of_one, of_three) = (count(&residual, &|name| name.contains(".residual.")) / 3, count(&separate, &routed));
        assert!(of_one * 4 < of_three / 3, "{of_one} numbers in a scenario, {} apart", of_three / 3);
        assert_eq!(count(&residual, &|name| routed(name) && !name.contains(".residual.")), of_three / 3);
    }

    #[test]
    fn with_one_scenario_there_is_nothing_to_differ_from() {
        let network = network(&Aem2tl::default(), &ObjectiveConfig::default(), 1);
        assert!(network.program.parameters().iter().all(|parameter| !parameter.name.contains(".residual.")));
    }

    #[test]
    fn settings_without_experts_are_refused() {
        let refused = |model: Aem2tl| model.check().unwrap_err().to_string();
        let none = Aem2tl { shared_experts: 0, scenario_experts: 0, ..Aem2tl::default() };
        assert!(refused(none).contains("model.shared_experts or model.scenario_experts"));
        assert!(refused(Aem2tl { gate_units: 0, ..Aem2tl::default() }).contains("model.gate_units"));
    }
}
