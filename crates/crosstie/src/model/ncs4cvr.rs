//! NCS4CVR, also LT4REC and Lottery4CVR: a subnetwork of one large network for
//! every task.
//!
//! Xiao et al., "Lottery4CVR: Neuron-Connection Level Sharing for Multi-task
//! Learning in Video Conversion Rate Prediction", ECIR 2024, LNCS pp. 275-280;
//! before, arXiv 2008.09872: "LT4REC: A Lottery Ticket Hypothesis Based
//! Multi-task Practice for Video Recommendation System" (version 1), "NCS4CVR:
//! Neuron-Connection Sharing ..." (version 3); methods 3.3.
//!
//! ```text
//! X         = the embedded fields as rows            fields × width
//! h_t,0     = <x_i, x_j> for i ≤ j ‖ e               e: all fields, flat
//! h_t,l     = f(h_t,l-1 (W_l ⊙ M_t,l) + b_l)         W, b: of all tasks, M_t: of task t
//! logits_t  = h_t,L V_t + c_t                        one column per head of t
//! ```
//!
//! Training first finds the masks (the lottery), for each task alone: from the
//! start θ0, `rounds` times train on the task's loss, strike out the share
//! `1 - keep^(1/rounds)` of the connections left, those with the smallest |w|
//! over all layers together, and go back to θ0. Then, again from θ0, it trains
//! all tasks together, each within the mask that did best.
//!
//! # Deviations and reconstructions
//! - Known to us by its abstracts and the authors' code alone; the procedure is
//!   the code's.
//! - The reference has X Xᵀ whole; it is symmetric, so each pair is here once.
//!   Fields of another width than most, and numbers, are in no pair and join
//!   flat only.
//! - It trains the click by a focal loss and the conversion by 1.5 times the
//!   squared error of a share of the video played, on positives alone. These
//!   belong to its data; here tasks have their cross-entropy, in the space
//!   `parent`.
//! - The reference evaluates in each round the mask that it trained with. So do
//!   we, and train once more to have a figure for the last mask. The first mask
//!   is whole; its figure is told but it is not chosen. The figure is the task's
//!   own of the monitored kind, where its loss is counted; of equal masks, the
//!   sparser is chosen. Every round sees the same batches, and its optimizer
//!   starts anew.
//! - Of equal |w| at the cut the first in order go; the reference keeps all.
//! - One Adam for all, as there: a step for one task also moves, by momentum,
//!   shared connections that its mask strikes out. What is not in the task's
//!   subnetwork at all, as another task's head, stays. L2 counts once in every turn.
//! - The weights of the tasks' losses count: one second moment is over all tasks'
//!   turns, so task t moves a shared connection by about
//!   w_t g_t / sqrt(mean_j (w_j g_j)²); shared rows, under Adagrad, likewise once their
//!   sums of squares are far above where they began, before that by w_t g_t. Only
//!   what is a task's own, as its head, is moved by Adam alike whatever its weight.
//! - The reference feeds each task batches of its own rows, equal in number. Here
//!   every batch of impressions teaches all tasks in turn, so a turn asks as many
//!   rows as the batch has for its task, and its loss is divided by all rows, as
//!   everywhere: a task with few rows takes small steps in what is shared. Divided
//!   by the task's own rows, a turn over three of them would take as large a step as
//!   one over a thousand.
//! - A loss that asks other tasks' heads (`product`, ways) trains their
//!   subnetworks too, whole while this task's mask is sought.
//! - Any forest of tasks; all heads of a task share its subnetwork. With batch
//!   normalisation each subnetwork has moving averages of its own. Bias network
//!   as in Calibration4CVR's baseline, never pruned. Weights start as elsewhere
//!   here, sizes are ours (theirs: 512, 256, 128). Scoring multiplies by the
//!   masks; what is struck out saves no work.

use std::collections::BTreeMap;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Lottery, Model, Needs};
use super::inputs::Inputs;
use crate::error::{Error, Result};
use crate::layer::{Net, check_units};
use crate::range::UP_TO_ONE;

pub(super) const ABOUT: About = About {
    name: "ncs4cvr",
    paper: "Xiao et al., ECIR 2024 (LT4REC, arXiv 2008.09872)",
    when: "tasks of unlike data that should share some connections, not all: each has a sparse subnetwork of one network",
    needs: Needs::Tasks,
};

/// Settings of NCS4CVR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ncs4cvr {
    /// Hidden layers of the network that all tasks share.
    pub units: Vec<usize>,
    /// Whether the network also reads the inner products of the embedded fields.
    pub interaction: bool,
    /// Share of the connections that the last round leaves to a task.
    pub keep: f64,
    /// Rounds of training and pruning for each task; 0 prunes nothing.
    pub rounds: u64,
    /// Passes over the training files in each round.
    pub round_epochs: u64,
    /// Whether every batch teaches one task after the other, each by a step of
    /// its own, all of them with the same rows; otherwise all at once.
    pub alternate: bool,
}

impl Default for Ncs4cvr {
    fn default() -> Ncs4cvr {
        Ncs4cvr { units: vec![256, 128], interaction: true, keep: 0.2, rounds: 4, round_epochs: 1, alternate: true }
    }
}

impl Model for Ncs4cvr {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        check_units("model.units", &self.units, false)?;
        UP_TO_ONE.check("model.keep", self.keep)?;
        if self.round_epochs == 0 {
            let message = "model.round_epochs must be at least 1, found 0; model.rounds = 0 prunes nothing";
            return Err(Error::Config(message.into()));
        }
        let names = inputs.names().to_vec();
        let fields = inputs.fields(net);
        let mut x = fields.main();
        if let Some((starts, width)) = alike(fields.embedded()).filter(|_| self.interaction) {
            let pairs = net.pairs("interaction", x, starts, width);
            x = net.concat("input", &[pairs, x]);
        }
        let mut hidden = vec![x; names.len()];
        for (index, width) in self.units.iter().enumerate() {
            let layer = net.masked(&format!("shared.{index}"), &names, &hidden, *width);
            inputs.add_masks(&layer);
            hidden = layer.nodes;
        }
        let mut logits = Vec::new();
        for (task, (name, hidden)) in names.iter().zip(hidden).enumerate() {
            let heads = inputs.heads().iter().filter(|head| head.task == task).count();
            let own = net.towers_over(&format!("head.{name}"), hidden, heads, &[]);
            logits.push(inputs.add_bias(net, &format!("bias.{name}"), &fields, own));
        }
        Ok(inputs.logits(net, "logits", &logits).into())
    }

    fn lottery(&self) -> Option<Lottery> {
        let Ncs4cvr { keep, rounds, round_epochs, alternate, .. } = *self;
        Some(Lottery { keep, rounds, round_epochs, alternate })
    }
}

/// The first columns of the fields of the most frequent width (of several, the
/// greatest), and that width.
fn alike(fields: &[Range<usize>]) -> Option<(Vec<usize>, usize)> {
    let mut starts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for field in fields {
        starts.entry(field.len()).or_default().push(field.start);
    }
    let most = starts.into_iter().max_by_key(|(width, starts)| (starts.len(), *width));
    most.map(|(width, starts)| (starts, width))
}

#[cfg(test)]
mod tests {
    use super::super::SharedBottom;
    use super::super::trial::{CHAINS, Trial};
    use super::*;

    const ONE_TASK: &str = "[[task]]\nname = \"click\"\n";

    fn model() -> Ncs4cvr {
        Ncs4cvr { units: vec![5, 4], ..Ncs4cvr::default() }
    }

    #[test]
    fn one_task_with_whole_masks_is_an_ordinary_network() {
        let mut trial = Trial::new(&model(), ONE_TASK, None);
        let bottom = SharedBottom { bottom_units: vec![5, 4], tower_units: Vec::new() };
        let mut ordinary = Trial::new(&bottom, ONE_TASK, None);
        let names = [("shared.", "bottom."), ("head.click.", "tower."), ("bias.click.", "bias.")];
        let mut of = BTreeMap::new();
        for parameter in trial.network.program.parameters().to_vec() {
            if parameter.name.contains(".mask.") {
                trial.set(&parameter.name, |_| 1.0);
                continue;
            }
            let (from, to) = names.iter().find(|(from, _)| parameter.name.starts_with(from)).unwrap();
            let mut values = trial.values(&parameter.name).iter();
            let other = parameter.name.replacen(from, to, 1);
            ordinary.set(&other, |_| *values.next().unwrap());
            of.insert(parameter.name, other);
        }
        assert_eq!(of.len(), ordinary.network.program.parameters().len());
        assert_eq!(trial.logits(), ordinary.logits());
        assert_eq!(trial.losses(), ordinary.losses());
        for (name, other) in of {
            assert_eq!(trial.gradient(&name), ordinary.gradient(&other), "{name}");
        }
    }

    #[test]
    fn a_connection_that_no_task_has_changes_no_score_and_a_task_sees_its_own_only() {
        let mut trial = Trial::new(&model(), CHAINS, None);
        let masks: Vec<String> = trial.network.program.parameters().iter().map(|one| one.name.clone()).collect();
        let masks: Vec<String> = masks.into_iter().filter(|name| name.starts_with("shared.1.mask.")).collect();
        assert_eq!(masks.len(), 6);
        // The third connection is no task's, the fourth is the click's alone.
        for name in &masks {
            let mut place = 0;
            trial.set(name, |_| {
                place += 1;
                f32::from(u8::from(place != 3 && (place != 4 || name.ends_with(".click"))))
            });
        }
        let before = trial.logits();
        let change = |trial: &mut Trial, which: usize| {
            let mut place = 0;
            trial.set("shared.1.weight", |weight| {
                place += 1;
                if place == which { weight + 1.0 } else { weight }
            });
        };
        change(&mut trial, 3);
        assert_eq!(trial.logits(), before);
        assert_eq!(trial.gradient("shared.1.weight")[2], 0.0);
        assert_ne!(trial.gradient("shared.1.weight")[3], 0.0);
        change(&mut trial, 4);
        for (after, before) in trial.logits().iter().zip(&before) {
            assert_ne!(after[0], before[0]);
            assert_eq!(after[1..], before[1..]);
        }
    }

    #[test]
    fn pairs_are_of_the_most_frequent_width() {
        assert_eq!(alike(&[0..4, 4..6, 6..10, 10..11]), Some((vec![0, 6], 4)));
        assert_eq!(alike(&[0..1, 1..3]), Some((vec![1], 2)));
        assert_eq!(alike(&[]), None);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let refused = |model: Ncs4cvr| {
            let layout = crate::batch::Layout {
                dense: vec![crate::batch::Dense {
                    name: "x".into(),
                    width: 2,
                    side: crate::schema::Side::User,
                    role: crate::schema::Role::Main,
                }],
                ..Default::default()
            };
            let field = "[[field]]\nname = \"x\"\nkind = \"numeric\"\n";
            let schema = crate::schema::Schema::parse(&format!("{ONE_TASK}{field}")).unwrap();
            let objective = model.objective(&schema, &Default::default()).unwrap();
            super::super::Network::new(&model, &Default::default(), &layout, objective).unwrap_err().to_string()
        };
        assert!(refused(Ncs4cvr { keep: 0.0, ..model() }).contains("model.keep"));
        assert!(refused(Ncs4cvr { keep: 1.5, ..model() }).contains("model.keep"));
        assert!(refused(Ncs4cvr { round_epochs: 0, ..model() }).contains("model.round_epochs"));
        assert!(refused(Ncs4cvr { units: vec![], ..model() }).contains("model.units"));
    }
}
