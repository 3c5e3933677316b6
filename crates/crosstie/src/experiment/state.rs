//! How an experiment stands, and what is kept of that between two looks.

use serde::{Deserialize, Serialize};

use super::assignment::HashVersion;
use super::contract::Arm;

/// How an experiment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is at a step of its ramp.
    Running,
    /// A guard rail broke: the control serves all units.
    RolledBack,
    /// A person ended it: the control serves all units.
    Stopped,
    /// All steps are behind it: the candidate serves all units.
    Done,
}

/// What is kept of an experiment between two looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The step of the ramp, from 0.
    pub step: usize,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// When the experiment began, or began anew: what was shown before is no evidence.
    /// States that do not say so count everything.
    #[serde(default)]
    pub began: u64,
    /// How it stands.
    pub status: Status,
    /// Why it stands so, for people.
    pub reason: String,
    /// What the file said of arms and units when it began. States that do not say so take any file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
}

/// What decides which unit is in which arm, and what an arm is. While an experiment runs it stays
/// as it is, or what was seen before would be of other arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The contract's name.
    pub name: String,
    /// Its salt.
    pub salt: String,
    /// Its unit.
    pub unit: String,
    /// Its hash.
    pub hash: HashVersion,
    /// Its arms.
    pub arms: Vec<Arm>,
}

impl Assignment {
    /// The keys of a file in which it is not another.
    pub(super) fn changed(&self, other: &Assignment) -> Vec<&'static str> {
        let keys = [
            ("name", self.name != other.name),
            ("salt", self.salt != other.salt),
            ("unit", self.unit != other.unit),
            ("hash", self.hash != other.hash),
            ("arm", self.arms != other.arms),
        ];
        keys.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }
}

impl State {
    /// The first step, from `now` on, of whatever file;
    /// [`Contract::start`](super::Contract::start) is of one.
    pub fn started(now: u64) -> State {
        let (status, reason) = (Status::Running, "started".into());
        State { step: 0, since: now, began: now, status, reason, assignment: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let state =
            State { step: 2, since: 7, began: 5, status: Status::RolledBack, reason: "p99".into(), assignment: None };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(text, r#"{"step":2,"since":7,"began":5,"status":"rolled-back","reason":"p99"}"#);
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        let of_before = serde_json::from_str::<State>(&text.replace("\"began\":5,", "")).unwrap();
        assert_eq!(of_before, State { began: 0, ..state }, "a state of a version that did not know it");
    }
}
