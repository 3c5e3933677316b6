//! How an experiment stands, and what is kept of that between two looks.

use serde::{Deserialize, Serialize};

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
}

impl State {
    /// The first step, from `now` on.
    pub fn started(now: u64) -> State {
        State { step: 0, since: now, began: now, status: Status::Running, reason: "started".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let state = State { step: 2, since: 7, began: 5, status: Status::RolledBack, reason: "p99".into() };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(text, r#"{"step":2,"since":7,"began":5,"status":"rolled-back","reason":"p99"}"#);
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        let of_before = serde_json::from_str::<State>(&text.replace("\"began\":5,", "")).unwrap();
        assert_eq!(of_before, State { began: 0, ..state }, "a state of a version that did not know it");
    }
}
