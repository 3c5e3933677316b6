//! What a model is asked, and what its answers cost: sample spaces,
//! entire-space products, and the loss of every task.
//!
//! A model puts out one logit per [`Head`]. Which heads there are, what each
//! means, and how a row's loss follows from them is decided here, so that any
//! model works with any forest of tasks.

mod beats;
mod hard_example;
mod joint;
mod loss;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use beats::Beats;
pub use hard_example::HardExample;
pub use joint::Joint;
pub use loss::FunnelLoss;

use crate::compute::kernel::{log_add, log_sigmoid};
use crate::error::{Error, Result};
use crate::schema::{Funnel, Schema};
use crate::spelling;

/// Where a task's loss is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// On the rows where the parent's action happened: the head is
    /// p(action | parent action).
    Parent,
    /// On all impressions, through the product of the probabilities along the
    /// way (ESMM, SIGIR 2018): the head is still p(action | parent action).
    Product,
    /// On all impressions: the head is p(action and its ancestors | impression).
    Impression,
}

/// The `[objective]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// For all tasks; the model's own choice if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
    /// For single tasks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub spaces: BTreeMap<String, Space>,
    /// Weights of single tasks' losses, in place of the schema's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f32>,
}

/// What one logit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// p(action | parent action), or p(action | impression) of a root.
    GivenParent,
    /// p(action | parent action did not happen), of a direct task.
    WithoutParent,
    /// p(action and its ancestors | impression).
    FromImpression,
}

/// One logit of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The task it speaks of.
    pub task: usize,
    /// What it says.
    pub meaning: Meaning,
    /// The task's name, with `_without_parent` or `_from_impression` where the
    /// task has another head or the meaning is not the usual one.
    pub name: String,
}

/// The heads of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TaskHeads {
    given: Option<usize>,
    without: Option<usize>,
    impression: Option<usize>,
}

/// The objective of one model on one schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    funnel: Funnel,
    spaces: Vec<Space>,
    heads: Vec<Head>,
    of_task: Vec<TaskHeads>,
    weights: Vec<f32>,
    names: Vec<String>,
}

/// ln p and ln (1 - p).
#[derive(Clone, Copy, Debug)]
struct Logs {
    yes: f64,
    no: f64,
}

impl Logs {
    fn of_logit(logit: f64) -> Logs {
        Logs { yes: log_sigmoid(logit), no: log_sigmoid(-logit) }
    }
}

impl Objective {
    /// Settles every task's space and heads.
    ///
    /// # Errors
    /// [`Error::Config`] for a task that the schema does not have.
    pub fn new(schema: &Schema, config: &ObjectiveConfig, default: Space) -> Result<Objective> {
        let names: Vec<String> = schema.tasks.iter().map(|task| task.name.clone()).collect();
        for (section, name) in
            config.spaces.keys().map(|key| ("spaces", key)).chain(config.weights.keys().map(|key| ("weights", key)))
        {
            if !names.contains(name) {
                let hint = spelling::hint(name, names.iter().map(String::as_str));
                return Err(Error::Config(format!("objective.{section}: there is no task `{name}`{hint}")));
            }
        }
        for (name, weight) in &config.weights {
            if !(weight.is_finite() && *weight >= 0.0) {
                return Err(Error::Config(format!("objective.weights.{name} must be 0 or more, found {weight}")));
            }
        }
        let funnel = schema.funnel();
        let mut objective = Objective {
            spaces: Vec::new(),
            heads: Vec::new(),
            of_task: Vec::new(),
            weights: Vec::new(),
            names,
            funnel,
        };
        for (task, about) in schema.tasks.iter().enumerate() {
            let space = config.spaces.get(&about.name).copied().or(config.space).unwrap_or(default);
            objective.spaces.push(space);
            objective.weights.push(config.weights.get(&about.name).copied().unwrap_or(about.weight));
            let mut heads = TaskHeads::default();
            let root = about.after.is_none();
            if root || space != Space::Impression {
                heads.given = Some(objective.head(task, Meaning::GivenParent, &about.name));
                if about.direct {
                    heads.without =
                        Some(objective.head(task, Meaning::WithoutParent, &format!("{}_without_parent", about.name)));
                }
            } else {
                let name = format!("{}_from_impression", about.name);
                heads.impression = Some(objective.head(task, Meaning::FromImpression, &name));
                if about.direct {
                    // p(action | parent) does not follow from p(action | impression) here.
                    heads.given = Some(objective.head(task, Meaning::GivenParent, &about.name));
                }
            }
            objective.of_task.push(heads);
        }
        Ok(objective)
    }

    fn head(&mut self, task: usize, meaning: Meaning, name: &str) -> usize {
        self.heads.push(Head { task, meaning, name: name.into() });
        self.heads.len() - 1
    }

    /// The logits that a model must put out, in order.
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// The tasks' relations.
    pub fn funnel(&self) -> &Funnel {
        &self.funnel
    }

    /// Names of the tasks.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Weight of each task's loss.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Where each task's loss is counted.
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    /// Turns one row's logits into probabilities per task: given the parent
    /// action, and from the impression.
    pub fn probabilities(&self, logits: &[f32], given: &mut [f64], joint: &mut [f64]) {
        let logs = self.logs(logits);
        for task in 0..self.funnel.tasks() {
            joint[task] = logs[task].yes.exp();
            given[task] = match (self.of_task[task].given, self.funnel.parents[task]) {
                (Some(head), _) => log_sigmoid(f64::from(logits[head])).exp(),
                (None, Some(parent)) => (logs[task].yes - logs[parent].yes).min(0.0).exp(),
                (None, None) => joint[task],
            };
        }
    }

    /// Each task's probability from the impression, as logarithms.
    fn logs(&self, logits: &[f32]) -> Vec<Logs> {
        let mut logs = vec![Logs { yes: 0.0, no: 0.0 }; self.funnel.tasks()];
        for task in &self.funnel.order {
            let heads = self.of_task[*task];
            let of = |head: usize| Logs::of_logit(f64::from(logits[head]));
            logs[*task] = match (heads.impression, heads.given, self.funnel.parents[*task]) {
                (Some(head), ..) | (None, Some(head), None) => of(head),
                (None, Some(head), Some(parent)) => {
                    let (parent, given) = (logs[parent], of(head));
                    match heads.without.map(of) {
                        // Σ over the two ways: with the parent action, without it.
                        Some(without) => Logs {
                            yes: log_add(parent.yes + given.yes, parent.no + without.yes),
                            no: log_add(parent.yes + given.no, parent.no + without.no),
                        },
                        None => Logs { yes: parent.yes + given.yes, no: log_add(parent.no, parent.yes + given.no) },
                    }
                }
                (None, None, _) => unreachable!("every task has a head"),
            };
        }
        logs
    }
}

#[cfg(test)]
mod tests {
    /// Sequential, parallel and direct.
    pub(crate) const TASKS: &str = r#"
        [[task]]
        name = "click"
        [[task]]
        name = "cart"
        after = "click"
        [[task]]
        name = "buy"
        after = "cart"
        [[task]]
        name = "like"
        after = "click"
        direct = true
        [[field]]
        name = "x"
        kind = "numeric"
    "#;
}
