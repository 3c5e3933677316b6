//! The file of an experiment: what is compared, how traffic is ramped up, and what must
//! hold for that.

use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::assignment::{HashVersion, bucket, choose};
use super::state::{Assignment, State, Status};
use crate::error::{Error, Result};
use crate::{spelling, text};

/// An experiment.
///
/// ```
/// use crosstie::experiment::{Contract, State};
///
/// let contract = Contract::parse(r#"
///     name = "transfer"
///     unit = "user"
///     [[arm]]
///     name = "control"
///     model = "single"
///     share = 50
///     [[arm]]
///     name = "transfer"
///     model = "ektm:3"
///     share = 50
///     [[step]]
///     traffic = 10
///     minimum_hours = 24
///     [[step]]
///     traffic = 100
///     minimum_hours = 168
///     [guard]
///     p99_ms = 20
/// "#)?;
/// let place = contract.place(&State::started(0), "user-7");
/// assert!(place.takes_part || place.arm == 0);
/// # Ok::<(), crosstie::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// What it is called: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Assigns units anew where it is changed; with the name it is the seed of the hash.
    #[serde(default)]
    pub salt: String,
    /// The field whose values are assigned to arms, such as the user.
    pub unit: String,
    /// How units become buckets: `v2`, or `v1` for units that another system assigned so.
    #[serde(default)]
    pub hash: HashVersion,
    /// The action whose values are what is earned, for eCPM; the only one that has values if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is compared. The first is the control, which also serves all that take no
    /// part.
    #[serde(rename = "arm")]
    pub arms: Vec<Arm>,
    /// How many take part, step by step.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
    /// What must hold in every candidate for the ramp to go on.
    #[serde(default)]
    pub guard: Guard,
}

/// An arm of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// What it is called.
    pub name: String,
    /// The model that serves it: `model`, of which the newest version is meant, or
    /// `model:version`.
    pub model: String,
    /// Of the units that take part, how many in a hundred are in it.
    pub share: f64,
}

/// A step of the ramp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Of all units, how many in a hundred take part.
    pub traffic: f64,
    /// Hours that it lasts at least.
    #[serde(default)]
    pub minimum_hours: f64,
    /// Units that it has at least, in every arm.
    #[serde(default)]
    pub minimum_units: u64,
}

/// Guard rails. What is not said is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Most requests that fail, as a share.
    pub error_rate: Option<f64>,
    /// Most milliseconds that 99 of 100 requests take.
    pub p99_ms: Option<f64>,
    /// Most values that the model does not know, as a share.
    pub unknown_share: Option<f64>,
    /// By task: least and most predicted positives for one that happened.
    pub calibration: IndexMap<String, [f64; 2]>,
    /// Least lift of eCPM, as a share: -0.02 lets the ramp go on once a loss of 2 % is
    /// ruled out.
    pub ecpm_lift: Option<f64>,
}

/// Where a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The arm that serves it.
    pub arm: usize,
    /// Whether it counts as one of the experiment's units.
    pub takes_part: bool,
}

impl Contract {
    /// Reads the text of an experiment.
    ///
    /// # Errors
    /// [`Error::Toml`] where it is no TOML or has keys that mean nothing;
    /// [`Error::Experiment`] where it contradicts itself.
    pub fn parse(text: &str) -> Result<Contract> {
        let contract: Contract = toml::from_str(text).map_err(|error| Error::toml("experiment", error))?;
        contract.check()?;
        Ok(contract)
    }

    /// Reads the file of an experiment.
    ///
    /// # Errors
    /// [`Error::Io`]; as of [`Contract::parse`], with the file's name.
    pub fn read(path: &Path) -> Result<Contract> {
        let text = text::read(path)?;
        Contract::parse(&text).map_err(|error| error.within(path))
    }

    /// The text of its file.
    ///
    /// # Errors
    /// None of a contract that was read.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Experiment(error.to_string()))
    }

    fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::Experiment(message));
        name("name", &self.name)?;
        if self.unit.is_empty() {
            return wrong("unit: found nothing, expected the name of a field, such as \"user\"".into());
        }
        if self.value.as_deref() == Some("") {
            return wrong("value: found nothing, expected the name of an action, such as \"buy\"".into());
        }
        if self.arms.len() < 2 {
            return wrong(format!(
                "[[arm]]: found {}, expected the control and at least one candidate",
                self.arms.len()
            ));
        }
        for (place, arm) in self.arms.iter().enumerate() {
            name("arm.name", &arm.name)?;
            if self.arms[..place].iter().any(|other| other.name == arm.name) {
                return wrong(format!("arm `{}`: there are two of this name", arm.name));
            }
            if model(&arm.model).is_none() {
                let found = &arm.model;
                return wrong(format!(
                    "arm `{}`: model: found \"{found}\", expected \"model\" or \"model:version\"",
                    arm.name
                ));
            }
            if !(arm.share > 0.0 && arm.share < 100.0) {
                return wrong(format!(
                    "arm `{}`: share: found {}, expected more than 0 and less than 100",
                    arm.name, arm.share
                ));
            }
        }
        let sum: f64 = self.arms.iter().map(|arm| arm.share).sum();
        if (sum - 100.0).abs() > 1e-6 {
            return wrong(format!("arm: share: the shares add up to {sum}, expected 100"));
        }
        if self.steps.is_empty() {
            return wrong("[[step]]: found none, expected at least one, such as traffic = 5".into());
        }
        let mut before = 0.0;
        for (place, step) in self.steps.iter().enumerate() {
            let wrong = |what: String| wrong(format!("step {}: {what}", place + 1));
            if !(step.traffic > before && step.traffic <= 100.0) {
                return wrong(format!("traffic: found {}, expected more than {before} and at most 100", step.traffic));
            }
            if !(step.minimum_hours >= 0.0 && step.minimum_hours.is_finite()) {
                return wrong(format!("minimum_hours: found {}, expected 0 or more", step.minimum_hours));
            }
            before = step.traffic;
        }
        self.guard.check()
    }

    /// Whether all tasks that the guard rails name are there.
    ///
    /// # Errors
    /// [`Error::Experiment`], with the nearest spelling.
    pub fn check_tasks<'a>(&self, tasks: impl IntoIterator<Item = &'a str> + Clone) -> Result<()> {
        let known = |task: &str| tasks.clone().into_iter().any(|name| name == task);
        match self.guard.calibration.keys().find(|task| !known(task)) {
            None => Ok(()),
            Some(task) => {
                let hint = spelling::hint(task, tasks);
                Err(Error::Experiment(format!("guard.calibration: there is no task `{task}`{hint}")))
            }
        }
    }

    /// The seed of the hash.
    pub fn seed(&self) -> String {
        if self.salt.is_empty() { self.name.clone() } else { format!("{}/{}", self.salt, self.name) }
    }

    fn assignment(&self) -> Assignment {
        let Contract { name, salt, unit, hash, arms, .. } = self.clone();
        Assignment { name, salt, unit, hash, arms }
    }

    /// The first step, from `now` on.
    pub fn start(&self, now: u64) -> State {
        State { assignment: Some(self.assignment()), ..State::started(now) }
    }

    /// Whether this is still the file that an experiment which runs began with, as far as its arms
    /// and units go.
    ///
    /// # Errors
    /// [`Error::Experiment`], with the keys that changed and what to do.
    pub fn check_unchanged(&self, state: &State) -> Result<()> {
        let began = state.assignment.as_ref().filter(|_| state.status == Status::Running);
        let changed = began.map(|began| began.changed(&self.assignment())).unwrap_or_default();
        match changed.is_empty() {
            true => Ok(()),
            false => Err(Error::Experiment(format!(
                "`{}` changed while the experiment runs, and what was seen so far is of other arms or units; put it \
                 back, or begin anew with `crosstie experiment restart`",
                changed.join("`, `")
            ))),
        }
    }

    /// The arms' shares, which add up to 1.
    pub fn shares(&self) -> Vec<f64> {
        self.arms.iter().map(|arm| arm.share / 100.0).collect()
    }

    /// Where a unit is. It is the same wherever and whenever it is asked, and while the
    /// experiment runs a unit that takes part keeps its arm.
    pub fn place(&self, state: &State, unit: &str) -> Place {
        let chosen = || {
            let step = &self.steps[state.step.min(self.steps.len() - 1)];
            choose(bucket(&self.seed(), unit, self.hash), step.traffic / 100.0, &self.shares())
        };
        match Contract::serves_all(state) {
            Some(arm) => Place { arm, takes_part: false },
            None => chosen().map_or(Place { arm: 0, takes_part: false }, |arm| Place { arm, takes_part: true }),
        }
    }

    /// The arm that serves all, whoever they are; `None` while the experiment runs.
    pub fn serves_all(state: &State) -> Option<usize> {
        match state.status {
            Status::RolledBack | Status::Stopped => Some(0),
            // A ramp ends by itself where there is one candidate.
            Status::Done => Some(1),
            Status::Running => None,
        }
    }

    /// The arm of a name.
    ///
    /// # Errors
    /// [`Error::Experiment`], with the nearest spelling.
    pub fn arm(&self, name: &str) -> Result<usize> {
        self.arms.iter().position(|arm| arm.name == name).ok_or_else(|| {
            let hint = spelling::hint(name, self.arms.iter().map(|arm| arm.name.as_str()));
            Error::Experiment(format!("there is no arm `{name}`{hint}"))
        })
    }
}

impl Arm {
    /// The model, and the version if one is pinned.
    pub fn model(&self) -> (&str, Option<&str>) {
        model(&self.model).unwrap_or((&self.model, None))
    }
}

impl Guard {
    fn check(&self) -> Result<()> {
        let shares = [("error_rate", self.error_rate), ("unknown_share", self.unknown_share)];
        let share = |value: &f64| (0.0..=1.0).contains(value);
        let beyond = |(key, value): (&'static str, Option<f64>)| Some((key, value.filter(|value| !share(value))?));
        if let Some((key, found)) = shares.into_iter().find_map(beyond) {
            return Err(Error::Experiment(format!("guard.{key}: found {found}, expected a share from 0 to 1")));
        }
        if let Some(found) = self.p99_ms.filter(|ms| ms.is_nan() || *ms <= 0.0) {
            return Err(Error::Experiment(format!("guard.p99_ms: found {found}, expected more than 0")));
        }
        if let Some(found) = self.ecpm_lift.filter(|lift| lift.is_nan() || lift.abs() >= 1.0) {
            return Err(Error::Experiment(format!("guard.ecpm_lift: found {found}, expected a share such as -0.02")));
        }
        for (task, [least, most]) in &self.calibration {
            if !(*least > 0.0 && least < most) {
                return Err(Error::Experiment(format!(
                    "guard.calibration.{task}: found [{least}, {most}], expected least and most, such as [0.9, 1.1]"
                )));
            }
        }
        Ok(())
    }
}

/// Model and version of `model` or `model:version`.
fn model(text: &str) -> Option<(&str, Option<&str>)> {
    let (model, version) = match text.split_once(':') {
        Some((model, version)) => (model, Some(version)),
        None => (text, None),
    };
    let whole = |part: &str| !part.is_empty() && !part.contains([':', '/', '\\']);
    (whole(model) && version.is_none_or(whole)).then_some((model, version))
}

/// Names stand in file names, metrics and addresses.
fn name(key: &str, found: &str) -> Result<()> {
    let right = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if found.is_empty() || found.starts_with('.') || !found.chars().all(right) {
        return Err(Error::Experiment(format!("{key}: found \"{found}\", expected letters, digits, `-`, `_` and `.`")));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::experiment) const TEXT: &str = r#"
        name = "transfer"
        salt = "2026-11"
        unit = "user"
        [[arm]]
        name = "control"
        model = "single"
        share = 60
        [[arm]]
        name = "transfer"
        model = "ektm:3"
        share = 40
        [[step]]
        traffic = 5
        minimum_hours = 24
        minimum_units = 100
        [[step]]
        traffic = 100
        minimum_hours = 48
        [guard]
        error_rate = 0.01
        p99_ms = 20
        unknown_share = 0.1
        ecpm_lift = -0.02
        calibration = { click = [0.8, 1.25] }
    "#;

    fn said(from: &str, to: &str) -> String {
        assert!(TEXT.contains(from), "{from}");
        Contract::parse(&TEXT.replacen(from, to, 1)).expect_err(to).to_string()
    }

    #[test]
    fn an_experiment_is_read() {
        let contract = Contract::parse(TEXT).unwrap();
        assert_eq!(contract.seed(), "2026-11/transfer");
        assert_eq!(contract.arms[1].model(), ("ektm", Some("3")));
        assert_eq!(contract.arms[0].model(), ("single", None));
        assert_eq!(contract.shares(), [0.6, 0.4]);
        assert_eq!(contract.guard.calibration["click"], [0.8, 1.25]);
        let written = toml::to_string(&contract).unwrap();
        assert_eq!(Contract::parse(&written).unwrap(), contract, "{written}");
    }

    #[test]
    fn what_is_wrong_in_an_experiment_is_named() {
        for (from, to, words) in [
            ("salt", "slat", vec!["slat", "did you mean `salt`?"]),
            ("minimum_hours = 24", "minimum_hour = 24", vec!["did you mean `minimum_hours`?"]),
            ("share = 60", "share = 70", vec!["the shares add up to 110, expected 100"]),
            ("share = 60", "share = 0", vec!["arm `control`: share: found 0"]),
            ("\"transfer\"\n        model", "\"control\"\n        model", vec!["arm `control`: there are two"]),
            ("ektm:3", "ektm:", vec!["arm `transfer`: model: found \"ektm:\"", "\"model:version\""]),
            ("ektm:3", "../ektm", vec!["arm `transfer`: model: found \"../ektm\""]),
            ("traffic = 100", "traffic = 4", vec!["step 2: traffic: found 4, expected more than 5 and at most 100"]),
            ("minimum_hours = 48", "minimum_hours = -1", vec!["step 2: minimum_hours: found -1"]),
            ("name = \"transfer\"", "name = \"a b\"", vec!["name: found \"a b\", expected letters"]),
            ("unit = \"user\"", "unit = \"\"", vec!["unit: found nothing"]),
            ("unit = \"user\"", "unit = \"user\"\nvalue = \"\"", vec!["value: found nothing"]),
            ("error_rate = 0.01", "error_rate = 1.5", vec!["guard.error_rate: found 1.5"]),
            ("p99_ms = 20", "p99_ms = 0", vec!["guard.p99_ms: found 0"]),
            ("ecpm_lift = -0.02", "ecpm_lift = -2.0", vec!["guard.ecpm_lift: found -2"]),
            ("[0.8, 1.25]", "[1.25, 0.8]", vec!["guard.calibration.click: found [1.25, 0.8]"]),
        ] {
            let said = said(from, to);
            assert!(words.iter().all(|word| said.contains(word)), "{to}: {said}");
        }
        let one = TEXT
            .replace("60", "99")
            .replace("[[arm]]\n        name = \"transfer\"\n        model = \"ektm:3\"\n        share = 40\n", "");
        assert!(Contract::parse(&one).unwrap_err().to_string().contains("[[arm]]: found 1"), "{one}");
    }

    #[test]
    fn tasks_that_are_not_there_are_named() {
        let contract = Contract::parse(TEXT).unwrap();
        assert!(contract.check_tasks(["click", "buy"]).is_ok());
        let said = contract.check_tasks(["clicks", "buy"]).unwrap_err().to_string();
        assert!(said.contains("no task `click`; did you mean `clicks`?"), "{said}");
        let said = contract.arm("transfr").unwrap_err().to_string();
        assert!(said.contains("no arm `transfr`; did you mean `transfer`?"), "{said}");
    }

    #[test]
    fn arms_and_units_changed_in_mid_run_without_a_word() {
        let state = Contract::parse(TEXT).unwrap().start(7);
        let said = |from: &str, to: &str, state: &State| {
            assert!(TEXT.contains(from), "{from}");
            let changed = Contract::parse(&TEXT.replacen(from, to, 1)).unwrap();
            changed.check_unchanged(state).map_err(|error| error.to_string())
        };
        for (from, to, key) in [
            ("ektm:3", "ektm:4", "`arm` changed while"),
            ("60\n", "60.0000001\n", "`arm` changed while"),
            ("\"user\"", "\"device\"", "`unit` changed while"),
            ("\"2026-11\"", "\"2026-12\"\nhash = \"v1\"", "`salt`, `hash` changed while"),
        ] {
            let said = said(from, to, &state).unwrap_err();
            assert!(said.contains(key) && said.contains("crosstie experiment restart"), "{to}: {said}");
        }
        let over = State { status: Status::Done, ..state.clone() };
        assert_eq!(said("ektm:3", "ektm:4", &over), Ok(()), "it assigns nobody any more");
        assert_eq!(said("traffic = 5", "traffic = 7", &state), Ok(()), "more take part, in their arms");
        assert_eq!(said("ektm:3", "ektm:4", &State::started(7)), Ok(()), "nobody knows what it began with");
    }

    #[test]
    fn a_state_decides_who_takes_part() {
        let contract = Contract::parse(TEXT).unwrap();
        let mut state = State::started(0);
        let count = |state: &State| {
            let mut counts = [0; 3];
            for unit in 0..20_000 {
                let place = contract.place(state, &format!("u{unit}"));
                counts[if place.takes_part { place.arm } else { 2 }] += 1;
            }
            counts.map(|count| f64::from(count) / 20_000.0)
        };
        let near = |found: [f64; 3], expected: [f64; 3]| {
            // Four standard errors of a half.
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 0.015), "{found:?}");
        };
        near(count(&state), [0.03, 0.02, 0.95]);
        state.step = 1;
        near(count(&state), [0.6, 0.4, 0.0]);
        for (status, arm) in [(Status::RolledBack, 0), (Status::Stopped, 0), (Status::Done, 1)] {
            state.status = status;
            assert_eq!(contract.place(&state, "u7"), Place { arm, takes_part: false });
        }
    }
}
