//! What is served at one moment: looked up as a whole, replaced as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use crosstie::spelling;

use super::Version;
use crate::failure::Failure;

/// How a version is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers requests.
    Ready,
    /// It is being loaded.
    Loading,
    /// It cannot be loaded, and why; or it was unloaded.
    Unavailable(String),
}

impl State {
    /// The protocol's word.
    pub fn name(&self) -> &'static str {
        match self {
            State::Ready => "READY",
            State::Loading => "LOADING",
            State::Unavailable(_) => "UNAVAILABLE",
        }
    }

    /// Why, where it is not as it should be.
    pub fn reason(&self) -> &str {
        match self {
            State::Unavailable(reason) => reason,
            State::Ready | State::Loading => "",
        }
    }
}

/// A line of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The model.
    pub model: String,
    /// The version's number.
    pub version: u64,
    /// How it is.
    pub state: State,
}

/// The versions of one model.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Those that answer requests.
    pub ready: BTreeMap<u64, Arc<Version>>,
    /// What else is known: a version may be ready and its replacement not.
    pub others: BTreeMap<u64, State>,
}

impl Model {
    /// The version that answers where a request names none: the newest of those that are
    /// served.
    pub fn newest(&self) -> Option<&Arc<Version>> {
        self.ready.values().next_back()
    }
}

/// All models at one moment.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// By name.
    pub models: BTreeMap<String, Model>,
}

impl Catalogue {
    /// The version that answers a request for a model, by default its newest.
    ///
    /// # Errors
    /// [`Failure::NotFound`] with the nearest name or the versions there are;
    /// [`Failure::NotReady`] for one that cannot be served now.
    pub fn version(&self, model: &str, version: Option<&str>) -> Result<&Arc<Version>, Failure> {
        let Some(found) = self.models.get(model) else {
            let hint = spelling::hint(model, self.models.keys().map(String::as_str));
            return Err(Failure::NotFound(format!("there is no model `{model}`{hint}")));
        };
        let not_ready = |number: u64, state: &State| match state.reason() {
            "" => format!("version {number} of model `{model}` is being loaded"),
            reason => format!("version {number} of model `{model}` is unavailable: {reason}"),
        };
        let Some(version) = version.filter(|version| !version.is_empty()) else {
            return found.newest().ok_or_else(|| {
                let last = found.others.iter().next_back();
                let why = last.map(|(number, state)| not_ready(*number, state));
                Failure::NotReady(why.unwrap_or_else(|| format!("no version of model `{model}` is served")))
            });
        };
        let number: Option<u64> = version.parse().ok();
        if let Some(ready) = number.and_then(|number| found.ready.get(&number)) {
            return Ok(ready);
        }
        if let Some((number, state)) = number.and_then(|number| found.others.get_key_value(&number)) {
            return Err(Failure::NotReady(not_ready(*number, state)));
        }
        let there: Vec<String> = found.ready.keys().map(u64::to_string).collect();
        Err(Failure::NotFound(format!(
            "model `{model}` has no version `{version}`; served are: {}",
            if there.is_empty() { "none".into() } else { there.join(", ") }
        )))
    }

    /// Every version that is known, by model and number.
    pub fn index(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (name, model) in &self.models {
            let mut states: BTreeMap<u64, State> = model.ready.keys().map(|number| (*number, State::Ready)).collect();
            for (number, state) in &model.others {
                states.entry(*number).or_insert_with(|| state.clone());
            }
            let entry = |(version, state)| Entry { model: name.clone(), version, state };
            entries.extend(states.into_iter().map(entry));
        }
        entries
    }

    /// What a person should know: versions that could not be loaded, those whose
    /// predecessor serves on among them.
    pub fn troubles(&self) -> Vec<Entry> {
        let mut troubles = Vec::new();
        for (name, model) in &self.models {
            let bad = model.others.iter().filter(|(_, state)| matches!(state, State::Unavailable(_)));
            let entry = |(version, state): (&u64, &State)| Entry {
                model: name.clone(),
                version: *version,
                state: state.clone(),
            };
            troubles.extend(bad.map(entry));
        }
        troubles
    }

    /// Whether any model answers requests.
    pub fn serves(&self) -> bool {
        self.models.values().any(|model| !model.ready.is_empty())
    }
}
