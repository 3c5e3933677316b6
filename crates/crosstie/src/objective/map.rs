//! Maps from what a network says to calibrated probabilities, and what labelled
//! rows tell of each.
//!
//! A task has a map for each thing that it is asked: p(action | parent action); of
//! a direct task p(action | parent action did not happen); where a head of its own
//! tells it, p(action and its ancestors | impression). Everything else follows from
//! these as it does without maps. So what is from the impression is still the
//! product along the way, and a conversion is never likelier than what it comes
//! after; and in a scenario no map changes the order of the rows by what it maps.
//! Where a head of its own tells the whole way, p(action | parent action) is the
//! quotient of two mapped probabilities, as it is one of two heads without maps.

use serde::{Deserialize, Serialize};

use super::{Condition, Given, Objective, Room};

/// An increasing map of probabilities (Platt, 1999): p becomes
/// 1 / (1 + e^-(slope · ln(p / (1 - p)) + intercept)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// Above 0.
    pub slope: f64,
    /// Any finite number.
    pub intercept: f64,
}

impl Map {
    /// Leaves every probability as it is, to the bit.
    pub const IDENTITY: Map = Map { slope: 1.0, intercept: 0.0 };

    /// The calibrated logit.
    pub fn of(self, logit: f64) -> f64 {
        self.slope * logit + self.intercept
    }

    /// Whether it is a map at all: increasing, and of finite numbers.
    pub fn is_sound(self) -> bool {
        self.slope.is_finite() && self.slope > 0.0 && self.intercept.is_finite()
    }
}

/// The maps of one task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Maps {
    /// Of p(action | parent action).
    pub given_parent: Map,
    /// Of p(action | parent action did not happen).
    pub without_parent: Map,
    /// Of p(action and its ancestors | impression), where a head tells it.
    pub from_impression: Map,
}

impl Maps {
    /// Leave everything as it is.
    pub const IDENTITY: Maps =
        Maps { given_parent: Map::IDENTITY, without_parent: Map::IDENTITY, from_impression: Map::IDENTITY };

    /// The map on a condition.
    pub fn get(mut self, condition: Condition) -> Option<Map> {
        self.get_mut(condition).copied()
    }

    /// The map on a condition, to be changed; none on the ways by a sibling action,
    /// whose sum has one.
    pub fn get_mut(&mut self, condition: Condition) -> Option<&mut Map> {
        match condition {
            Condition::GivenParent => Some(&mut self.given_parent),
            Condition::WithoutParent => Some(&mut self.without_parent),
            Condition::FromImpression => Some(&mut self.from_impression),
            Condition::WithAction | Condition::WithoutAction => None,
        }
    }
}

/// What one row tells of one map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// Of the probability before the map.
    pub logit: f64,
    /// Whether the action happened; `None` on rows that the probability does not
    /// speak of, and where that is not known.
    pub own: Option<bool>,
    /// Whether it happened from the impression, of which the probability is a part;
    /// `None` where it is none, and where that is not known.
    pub whole: Option<bool>,
    /// With p the mapped probability, `way · p + yes` is that from the impression.
    pub way: f64,
    /// What other ways add to it.
    pub yes: f64,
    /// `way · (1 - p) + no` is one less that from the impression.
    pub no: f64,
}

impl Objective {
    /// The maps of all tasks, each after those that it builds upon.
    pub fn mapped(&self) -> impl Iterator<Item = (usize, Condition)> + '_ {
        self.order.iter().flat_map(|task| {
            let heads = self.of_task[*task];
            let maps = [
                heads.given.map(|_| Condition::GivenParent),
                heads.without.map(|_| Condition::WithoutParent),
                heads.impression.map(|_| Condition::FromImpression),
            ];
            maps.into_iter().flatten().map(|condition| (*task, condition))
        })
    }

    /// What a row tells of a task's map, where `maps` are those before it, and all
    /// others the identity. Of a part of the probability from the impression it
    /// tells that as well, unless a later map makes up for it.
    ///
    /// # Panics
    /// If the objective has no such map.
    pub fn tell(&self, (task, condition): (usize, Condition), logits: &[f32], labels: &[f32], maps: &[Maps]) -> Told {
        let (heads, funnel) = (self.of_task[task], &self.funnel);
        let mut room = Room::new();
        let chances = self.chances(logits, maps, &mut room);
        let head = |head: Option<usize>| f64::from(logits[head.expect("a map that the objective has")]);
        let alone = |logit, own| Told { logit, own, whole: None, way: 0.0, yes: 0.0, no: 0.0 };
        match (condition, funnel.parents[task]) {
            (Condition::GivenParent, parent) => {
                let logit = match heads.given {
                    Some(Given::Head(given)) => head(Some(given)),
                    _ => self.given(task, logits).logit(),
                };
                let told = alone(logit, funnel.given_parent(labels, task));
                match parent {
                    Some(parent) if heads.without.is_none() && heads.impression.is_none() => Told {
                        whole: funnel.from_impression(labels, task),
                        way: chances[parent].joint.yes.exp(),
                        no: chances[parent].joint.no.exp(),
                        ..told
                    },
                    _ => told,
                }
            }
            (Condition::WithoutParent, Some(parent)) => {
                let (parent, given) = (chances[parent].joint, chances[task].given);
                Told {
                    whole: funnel.from_impression(labels, task),
                    way: parent.no.exp(),
                    yes: (parent.yes + given.yes).exp(),
                    no: (parent.yes + given.no).exp(),
                    ..alone(head(heads.without), funnel.without_parent(labels, task))
                }
            }
            (Condition::FromImpression, _) => alone(head(heads.impression), funnel.from_impression(labels, task)),
            _ => panic!("no map has the condition {condition:?}"),
        }
    }
}
