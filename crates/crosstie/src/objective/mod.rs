//! What a model is asked, and what its answers cost: sample spaces,
//! entire-space products, and the loss of every task.
//!
//! A model puts out one logit per [`Head`]. Which heads there are, what each
//! means, and how a row's loss follows from them is decided here, so that any
//! model works with any forest of tasks.
//!
//! "methods N" is section N of docs/methods.md.

mod beats;
mod hard_example;
mod joint;
mod loss;
mod map;
mod portable;
mod triplet;
mod weights;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use beats::Beats;
pub use hard_example::HardExample;
pub use joint::Joint;
pub use loss::FunnelLoss;
pub use map::{Map, Maps, Told};
pub use portable::Probabilities;
pub(crate) use triplet::LEVELS;
pub use triplet::{Triplet, TripletConfig};
pub use weights::LossWeights;

use crate::compute::kernel::{log_add, log_sigmoid};
use crate::error::{Error, Result};
use crate::range::ZERO_OR_MORE;
use crate::schema::{Funnel, Schema};
use crate::spelling;

/// Where a task's loss is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// On the path that the labels of a row tell (ours; methods 6.1): as `parent`, but
    /// a conversion that goes by way of a sibling action is held against the way that
    /// was taken instead of the sum over both, and where a label on the path is
    /// missing, against the sum over what it may have been.
    Path,
}

/// The `[objective]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// Where the losses of all tasks are counted; the model's own choice if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
    /// The spaces of single tasks, as in `buy = "product"`, in place of `space`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub spaces: BTreeMap<String, Space>,
    /// Conversions that go by way of a sibling action: `buy = "cart"` splits
    /// p(buy | parent) into the ways with and without a cart.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub via: BTreeMap<String, String>,
    /// Weights of single tasks' losses, as in `buy = 2.0`, in place of the schema's. Or
    /// `auto`: times the schema's, what brings the tasks' gradients to equal noise at
    /// their base rates in the training rows. A loss is divided by all rows of a batch, so
    /// a task that is asked seldom or seldom happens moves what tasks share but little;
    /// `auto` weighs it by the root of how much less. The log and the artifact tell the
    /// numbers.
    #[serde(skip_serializing_if = "LossWeights::is_empty")]
    pub weights: LossWeights,
    /// A triplet term that eases the conflict between tasks; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triplet: Option<TripletConfig>,
}

impl ObjectiveConfig {
    /// A task's space, where `default` is the model's own choice.
    pub fn space_of(&self, task: &str, default: Space) -> Space {
        self.spaces.get(task).copied().or(self.space).unwrap_or(default)
    }
}

/// On what condition a logit tells of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// p(action | parent action), or p(action | impression) of a root.
    GivenParent,
    /// p(action | parent action did not happen), of a direct task.
    WithoutParent,
    /// p(action and its ancestors | impression).
    FromImpression,
    /// p(action | parent action and the sibling action it goes by way of).
    WithAction,
    /// p(action | parent action, but not the sibling action).
    WithoutAction,
}

/// One logit of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The task it speaks of.
    pub task: usize,
    /// On what condition it tells of it.
    pub condition: Condition,
    /// The task's name, with `_without_parent`, `_from_impression`,
    /// `_with_ACTION` or `_without_ACTION` where the task has another head or
    /// the condition is not the usual one.
    pub name: String,
}

/// The heads of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TaskHeads {
    given: Option<Given>,
    without: Option<usize>,
    impression: Option<usize>,
}

/// Where p(action | parent action) comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// A head of its own.
    Head(usize),
    /// The sum over the ways with and without a sibling action (ESM2, SIGIR
    /// 2020): the sibling task, and the heads of the two ways.
    Via { action: usize, with: usize, without: usize },
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
    triplet: Option<TripletTerm>,
    /// All tasks, each after its parent and after the sibling it goes by way of.
    order: Vec<usize>,
}

/// The triplet term, settled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TripletTerm {
    /// Weight beside the tasks' losses.
    pub weight: f32,
    /// How much nearer a row's own centre must be.
    pub margin: f32,
    /// Width of z and of the centres.
    pub width: usize,
    /// The tasks that have it.
    pub tasks: Vec<usize>,
}

/// ln p and ln (1 - p).
#[derive(Clone, Copy, Debug)]
struct Logs {
    yes: f64,
    no: f64,
}

impl Logs {
    const NEVER: Logs = Logs { yes: f64::NEG_INFINITY, no: 0.0 };

    fn of_logit(logit: f64) -> Logs {
        Logs { yes: log_sigmoid(logit), no: log_sigmoid(-logit) }
    }

    /// ln (p / (1 - p)).
    fn logit(self) -> f64 {
        self.yes - self.no
    }

    /// Of the mapped probability.
    fn mapped(self, map: Map) -> Logs {
        if map == Map::IDENTITY { self } else { Logs::of_logit(map.of(self.logit())) }
    }

    /// The less likely of the two.
    fn at_most(self, other: Logs) -> Logs {
        if self.yes > other.yes { other } else { self }
    }

    /// Total probability over two ways: `with` where `way` happened,
    /// `without` where it did not.
    fn total(way: Logs, with: Logs, without: Logs) -> Logs {
        Logs {
            yes: log_add(way.yes + with.yes, way.no + without.yes),
            no: log_add(way.yes + with.no, way.no + without.no),
        }
    }
}

/// A task's probabilities on one row.
#[derive(Clone, Copy, Debug)]
struct Chances {
    /// Given the parent action; `NEVER` where no head tells.
    given: Logs,
    /// From the impression.
    joint: Logs,
}

impl Chances {
    const NEVER: Chances = Chances { given: Logs::NEVER, joint: Logs::NEVER };
}

/// Most tasks whose probabilities take no memory of the heap, row by row.
const FEW: usize = 8;

/// Room for every task's probabilities on one row.
#[derive(Debug)]
struct Room {
    few: [Chances; FEW],
    many: Vec<Chances>,
}

impl Room {
    fn new() -> Room {
        Room { few: [Chances::NEVER; FEW], many: Vec::new() }
    }

    /// So many, none of which can happen yet.
    fn of(&mut self, tasks: usize) -> &mut [Chances] {
        if tasks > FEW {
            self.many.resize(tasks, Chances::NEVER);
            return &mut self.many;
        }
        &mut self.few[..tasks]
    }
}

impl Objective {
    /// Settles every task's space and heads.
    ///
    /// # Errors
    /// [`Error::Config`] for a task that the schema does not have, for a way
    /// that cannot be taken, and for settings that make no sense.
    pub fn new(schema: &Schema, config: &ObjectiveConfig, default: Space) -> Result<Objective> {
        let names: Vec<String> = schema.tasks.iter().map(|task| task.name.clone()).collect();
        let of_via = config.via.iter().flat_map(|(task, action)| [("via", task), ("via", action)]);
        let named = config.spaces.keys().map(|key| ("spaces", key)).chain(of_via);
        for (section, name) in named.chain(config.weights.named().map(|(name, _)| ("weights", name))) {
            if !names.contains(name) {
                let hint = spelling::hint(name, names.iter().map(String::as_str));
                return Err(Error::Config(format!("objective.{section}: there is no task `{name}`{hint}")));
            }
        }
        for (name, weight) in config.weights.named() {
            ZERO_OR_MORE.check(format!("objective.weights.{name}"), weight)?;
        }
        let spaces: Vec<Space> = names.iter().map(|name| config.space_of(name, default)).collect();
        let funnel = schema.funnel();
        let actions = ways(&names, &funnel, &spaces, config)?;
        let triplet = config.triplet.as_ref().map(|config| -> Result<TripletTerm> {
            let TripletConfig { weight, margin, width, .. } = *config;
            Ok(TripletTerm { weight, margin, width, tasks: config.resolve(&names, &funnel)? })
        });
        let mut objective = Objective {
            spaces,
            heads: Vec::new(),
            of_task: Vec::new(),
            weights: Vec::new(),
            order: order(&names, &funnel, &actions)?,
            triplet: triplet.transpose()?,
            names,
            funnel,
        };
        for (task, about) in schema.tasks.iter().enumerate() {
            objective.weights.push(config.weights.get(&about.name).unwrap_or(about.weight));
            let name = about.name.as_str();
            let mut heads = TaskHeads::default();
            if about.after.is_none() || objective.spaces[task] != Space::Impression {
                heads.given = Some(match actions[task] {
                    None => Given::Head(objective.head(task, Condition::GivenParent, name)),
                    Some(action) => {
                        let other = objective.names[action].clone();
                        let with = objective.head(task, Condition::WithAction, &format!("{name}_with_{other}"));
                        let without =
                            objective.head(task, Condition::WithoutAction, &format!("{name}_without_{other}"));
                        Given::Via { action, with, without }
                    }
                });
                if about.direct {
                    heads.without =
                        Some(objective.head(task, Condition::WithoutParent, &format!("{name}_without_parent")));
                }
            } else {
                let joint = format!("{name}_from_impression");
                heads.impression = Some(objective.head(task, Condition::FromImpression, &joint));
                if about.direct {
                    // p(action | parent) does not follow from p(action | impression) here.
                    heads.given = Some(Given::Head(objective.head(task, Condition::GivenParent, name)));
                }
            }
            objective.of_task.push(heads);
        }
        Ok(objective)
    }

    fn head(&mut self, task: usize, condition: Condition, name: &str) -> usize {
        self.heads.push(Head { task, condition, name: name.into() });
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

    /// The triplet term, if there is one.
    pub(crate) fn triplet(&self) -> Option<&TripletTerm> {
        self.triplet.as_ref()
    }

    /// Weight of each task's loss.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Whether a task has a loss on the rows where its parent's action happened.
    pub fn asks_given_parent(&self, task: usize) -> bool {
        let given = self.funnel.parents[task].is_some() && self.of_task[task].given.is_some();
        given && self.spaces[task] != Space::Product
    }

    /// The tasks whose heads a task's loss asks: itself, in the space `product` (and in
    /// `path`, where labels are missing) the tasks on its way, and the actions by way of
    /// which any of them goes.
    pub fn asked_by(&self, task: usize) -> Vec<bool> {
        let mut asked = vec![false; self.names.len()];
        let mut open = vec![task];
        while let Some(next) = open.pop() {
            if std::mem::replace(&mut asked[next], true) {
                continue;
            }
            if let Some(Given::Via { action, .. }) = self.of_task[next].given {
                open.push(action);
            }
            // Only where the whole way is asked, and no head tells of it by itself.
            let along = matches!(self.spaces[task], Space::Product | Space::Path);
            let whole = along && self.of_task[next].impression.is_none();
            open.extend(self.funnel.parents[next].filter(|_| whole));
        }
        asked
    }

    /// Where each task's loss is counted.
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    /// Whether the losses determine p(action | parent action) of a task. In the space
    /// `product` the only loss of a direct task is on the sum over its two ways, with
    /// and without the parent: any share between them has the same loss (methods 6).
    pub fn identified(&self, task: usize) -> bool {
        let summed = self.funnel.direct[task] && self.spaces[task] == Space::Product;
        self.funnel.parents[task].is_none() || !summed
    }

    /// Of every task whose p(action | parent action) is not [identified], why, and
    /// what would identify it, in one sentence.
    ///
    /// [identified]: Objective::identified
    pub fn unidentified(&self) -> Vec<String> {
        let of = |task: usize| self.unidentified_task(task);
        (0..self.funnel.tasks()).filter_map(of).collect()
    }

    /// The same of one task; `None` where it is identified.
    pub(crate) fn unidentified_task(&self, task: usize) -> Option<String> {
        let parent = self.funnel.parents[task].filter(|_| !self.identified(task))?;
        let (name, parent) = (&self.names[task], &self.names[parent]);
        Some(format!(
            "task `{name}`: the space `product` does not identify p({name} | {parent}), since {name} is direct: its loss \
             sees the sum over the ways with and without {parent} only; objective.spaces.{name} = \"parent\" \
             identifies it"
        ))
    }

    /// Turns one row's logits into probabilities per task: given the parent
    /// action, and from the impression. The former is what the heads say, whether
    /// [identified](Objective::identified) or not.
    pub fn probabilities(&self, logits: &[f32], given: &mut [f64], joint: &mut [f64]) {
        self.calibrated(logits, &[], given, joint);
    }

    /// As [`Objective::probabilities`], through the tasks' maps; without any as they
    /// are. Where maps are, what a head of its own says from the impression is held
    /// below the parent's, unless the task is direct.
    pub fn calibrated(&self, logits: &[f32], maps: &[Maps], given: &mut [f64], joint: &mut [f64]) {
        let mut room = Room::new();
        let chances = self.chances(logits, maps, &mut room);
        for task in 0..self.funnel.tasks() {
            let log = chances[task].joint.yes;
            joint[task] = log.exp();
            given[task] = match (self.of_task[task].given, self.funnel.parents[task]) {
                (Some(_), _) => chances[task].given.yes.exp(),
                (None, Some(parent)) => (log - chances[parent].joint.yes).min(0.0).exp(),
                (None, None) => joint[task],
            };
        }
    }

    /// Each task's probabilities, as logarithms.
    fn chances<'a>(&self, logits: &[f32], maps: &[Maps], room: &'a mut Room) -> &'a [Chances] {
        let chances = room.of(self.funnel.tasks());
        let of = |head: usize, map: Map| Logs::of_logit(map.of(f64::from(logits[head])));
        for task in &self.order {
            let (heads, parent) = (self.of_task[*task], self.funnel.parents[*task]);
            let map = maps.get(*task).unwrap_or(&Maps::IDENTITY);
            let given = match heads.given {
                Some(Given::Head(head)) => of(head, map.given_parent),
                Some(Given::Via { .. }) => self.given(*task, logits).mapped(map.given_parent),
                None => Logs::NEVER,
            };
            let joint = match (heads.impression, parent) {
                (Some(head), Some(parent)) if !maps.is_empty() && !self.funnel.direct[*task] => {
                    of(head, map.from_impression).at_most(chances[parent].joint)
                }
                (Some(head), _) => of(head, map.from_impression),
                (None, Some(parent)) => {
                    let without = heads.without.map_or(Logs::NEVER, |head| of(head, map.without_parent));
                    Logs::total(chances[parent].joint, given, without)
                }
                (None, None) => given,
            };
            chances[*task] = Chances { given, joint };
        }
        chances
    }

    /// What the heads say of p(action | parent action), before any map: a sum over
    /// ways keeps the order of its rows whatever becomes of the sibling action.
    fn given(&self, task: usize, logits: &[f32]) -> Logs {
        let of = |head: usize| Logs::of_logit(f64::from(logits[head]));
        match self.of_task[task].given {
            Some(Given::Head(head)) => of(head),
            Some(Given::Via { action, with, without }) => {
                Logs::total(self.given(action, logits), of(with), of(without))
            }
            None => Logs::NEVER,
        }
    }

    /// What the heads say of a task's action, given what a row's labels tell of the way
    /// there: of labels that are missing it is the sum over what they may have been.
    fn path(&self, task: usize, logits: &[f32], labels: &[f32], chances: &[Chances]) -> Logs {
        let heads = self.of_task[task];
        if heads.impression.is_some() {
            return chances[task].joint;
        }
        let without = || heads.without.map_or(Logs::NEVER, |head| Logs::of_logit(f64::from(logits[head])));
        match self.funnel.parents[task].map(|parent| (parent, happened(labels[parent]))) {
            None | Some((_, Some(true))) => self.way(task, logits, labels),
            Some((_, Some(false))) => without(),
            Some((parent, None)) => {
                Logs::total(self.path(parent, logits, labels, chances), chances[task].given, without())
            }
        }
    }

    /// p(action | parent action) by the way of which a row's labels tell.
    fn way(&self, task: usize, logits: &[f32], labels: &[f32]) -> Logs {
        let of = |head: usize| Logs::of_logit(f64::from(logits[head]));
        match self.of_task[task].given {
            Some(Given::Head(head)) => of(head),
            Some(Given::Via { action, with, without }) => match happened(labels[action]) {
                Some(true) => of(with),
                Some(false) => of(without),
                None => Logs::total(self.way(action, logits, labels), of(with), of(without)),
            },
            None => Logs::NEVER,
        }
    }

    /// A row's label of an action, held against [`Objective::path`]; `None` where it is
    /// missing, where the action cannot have happened, and on rows drawn for the tasks
    /// after an action ([`GIVEN`](crate::schema::GIVEN)) where the way is not told.
    fn path_label(&self, task: usize, labels: &[f32]) -> Option<bool> {
        let unbiased = match self.funnel.parents[task].map(|parent| happened(labels[parent])) {
            None | Some(Some(true)) => true,
            Some(_) => !self.funnel.drawn(labels, task),
        };
        let own = labels[task].is_finite().then_some(labels[task] == 1.0);
        own.filter(|_| unbiased && self.may_happen(task, labels))
    }

    /// Whether a row's labels leave a way to an action.
    fn may_happen(&self, task: usize, labels: &[f32]) -> bool {
        self.funnel.direct[task]
            || self.funnel.parents[task]
                .is_none_or(|parent| happened(labels[parent]).unwrap_or_else(|| self.may_happen(parent, labels)))
    }
}

/// What a label tells of its action, also on rows drawn because of it; `None` where it
/// is missing.
fn happened(label: f32) -> Option<bool> {
    (!label.is_nan()).then_some(label != 0.0)
}

/// The sibling action that each task goes by way of.
fn ways(names: &[String], funnel: &Funnel, spaces: &[Space], config: &ObjectiveConfig) -> Result<Vec<Option<usize>>> {
    let place = |name: &String| names.iter().position(|other| other == name);
    let mut actions = vec![None; names.len()];
    for (name, by) in &config.via {
        let wrong = |why: String| Err(Error::Config(format!("objective.via: `{name}` by way of `{by}`: {why}")));
        let (Some(task), Some(action)) = (place(name), place(by)) else { continue };
        if task == action || funnel.parents[task] != funnel.parents[action] {
            return wrong("they must be two tasks after the same parent".into());
        }
        let speaks_of_impressions =
            |task: &&usize| funnel.parents[**task].is_some() && spaces[**task] == Space::Impression;
        if let Some(other) = [task, action].iter().find(speaks_of_impressions) {
            return wrong(format!(
                "`{}` is in the space `impression`; choose `parent`, `product` or `path`",
                names[*other]
            ));
        }
        actions[task] = Some(action);
    }
    Ok(actions)
}

/// Every task after its parent and after the sibling it goes by way of.
fn order(names: &[String], funnel: &Funnel, actions: &[Option<usize>]) -> Result<Vec<usize>> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < names.len() {
        let ready = |task: Option<usize>| task.is_none_or(|task| order.contains(&task));
        let free = |task: &&usize| !order.contains(task) && ready(funnel.parents[**task]) && ready(actions[**task]);
        let Some(next) = funnel.order.iter().find(free).copied() else {
            let open: Vec<&str> =
                funnel.order.iter().filter(|task| !order.contains(task)).map(|task| names[*task].as_str()).collect();
            let message = format!("objective.via: {} go by way of each other in a circle", open.join(", "));
            return Err(Error::Config(message));
        };
        order.push(next);
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_the_same_probabilities_however_many_others_there_are() {
        let probabilities = |tasks: usize| {
            let after = |task: usize| if task == 0 { String::new() } else { format!("after = 't{}'\n", task - 1) };
            let tasks_of = (0..tasks).map(|task| format!("[[task]]\nname = 't{task}'\n{}", after(task)));
            let text = tasks_of.collect::<String>() + "[[field]]\nname = 'x'\nkind = 'numeric'\n";
            let schema = Schema::parse(&text).unwrap();
            let objective = Objective::new(&schema, &ObjectiveConfig::default(), Space::Product).unwrap();
            let logits: Vec<f32> = (0..tasks).map(|task| 2.0 - 0.3 * task as f32).collect();
            let (mut given, mut joint) = (vec![0.0; tasks], vec![0.0; tasks]);
            objective.probabilities(&logits, &mut given, &mut joint);
            assert!(given.iter().chain(&joint).all(|p| 0.0 < *p && *p < 1.0));
            (given, joint)
        };
        let (given, joint) = probabilities(2 * FEW);
        for tasks in [1, FEW, FEW + 1] {
            assert_eq!(probabilities(tasks), (given[..tasks].to_vec(), joint[..tasks].to_vec()), "{tasks} tasks");
        }
    }

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
