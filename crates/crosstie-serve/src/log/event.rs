//! What is logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use super::line;
use super::time::Time;

/// One record of a log. Readers pass over keys they do not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The first record of a segment.
    Segment(SegmentHead),
    /// Something was shown.
    Exposure(Box<Exposure>),
    /// Somebody did something.
    Feedback(Feedback),
}

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHead {
    /// Version of the format. A reader refuses one that it does not know.
    pub format: u32,
    /// Version of the program that wrote it.
    pub crosstie: String,
}

impl SegmentHead {
    /// The format that this version writes.
    pub const FORMAT: u32 = 1;

    pub(super) fn new() -> SegmentHead {
        SegmentHead { format: SegmentHead::FORMAT, crosstie: env!("CARGO_PKG_VERSION").into() }
    }
}

/// The candidates of one request as they were answered, with all that is needed to
/// train on them later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exposure {
    /// The request's id, which feedback names. Of two exposures with one id the later counts.
    pub request: String,
    /// When they were scored.
    pub time: Time,
    /// Whom an experiment assigned: the value of its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The experiment that the request was part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// The arm that it was assigned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    /// The model that scored.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Its artifact: what tells it from every other.
    pub artifact: String,
    /// The artifact's tasks, in the order of the probabilities.
    pub tasks: Vec<String>,
    /// The user's features, which all candidates have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Features>,
    /// The features of the situation, which they have in common, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Features>,
    /// The candidates that were answered.
    pub candidates: Vec<Candidate>,
}

/// One candidate of an [`Exposure`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Place in the request, from 0.
    pub index: u32,
    /// Its id, if the request gives it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Place in the answer, from 1.
    pub position: u32,
    /// By what the answer is sorted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// p(action | parent action) of each task; null where the objective does not identify it.
    pub given_parent: Vec<Option<f64>>,
    /// p(action and its ancestors | impression) of each task.
    pub from_impression: Vec<Option<f64>>,
    /// Its own features. Of one that the user or the context has, too, this is the value.
    pub features: Features,
}

/// Features by name, as the request gives them: the text of a JSON object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Features(Box<RawValue>);

impl Features {
    /// What the text says; nothing where it is no object. A value that cannot be read is left out.
    pub fn values(&self) -> Map<String, Value> {
        self.read().0
    }

    /// The values, and the names of those that cannot be read: a text with half a surrogate
    /// pair, a number beyond all floats, arrays in arrays beyond all measure.
    pub(super) fn read(&self) -> (Map<String, Value>, Vec<String>) {
        if let Ok(values) = serde_json::from_str(self.0.get()) {
            return (values, Vec::new());
        }
        let (mut values, mut unreadable) = (Map::new(), Vec::new());
        for (name, value) in entries(&self.0) {
            match serde_json::from_str(value.get()) {
                Ok(value) => drop(values.insert(name, value)),
                Err(_) => unreadable.push(name),
            }
        }
        (values, unreadable)
    }

    /// The value of one of them, as text; `None` where it is no text, number or truth value,
    /// or an empty text, which is a missing value.
    pub fn text(&self, name: &str) -> Option<String> {
        text_of(&self.0, name)
    }
}

/// The values of an object as they are written, so that none is lost for another's sake;
/// nothing where it is no object.
fn entries(object: &RawValue) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(object.get()).unwrap_or_default()
}

/// The value of a key in the text of a JSON object, as [`Features::text`] tells it.
pub(crate) fn text_of(object: &RawValue, name: &str) -> Option<String> {
    let text = text_of_cell(&serde_json::from_str(entries(object).get(name)?.get()).ok()?)?;
    (!text.is_empty()).then_some(text)
}

/// The text by which a model knows a single value (docs/formats.md, "From a cell to the
/// input"), so that 7, 7.0 and "7" are one unit; `None` of what is no text, number or truth
/// value.
pub(super) fn text_of_cell(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(u8::from(*value).to_string()),
        Value::Number(number) => Some(match number.as_f64() {
            // -0 and 0 are one.
            Some(float) if number.is_f64() => (float + 0.0).to_string(),
            _ => number.to_string(),
        }),
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl From<&RawValue> for Features {
    fn from(text: &RawValue) -> Features {
        Features(text.to_owned())
    }
}

impl Default for Features {
    fn default() -> Features {
        Features(RawValue::NULL.to_owned())
    }
}

impl PartialEq for Features {
    fn eq(&self, other: &Features) -> bool {
        self.0.get() == other.0.get()
    }
}

/// Characters of a name or an id in the log, at most.
const LONGEST: usize = 256;

/// Whether a text may be a name or an id in the log.
///
/// # Errors
/// What is expected in its place.
pub(crate) fn check_name(text: &str) -> Result<(), String> {
    match text {
        "" => Err("a text that is not empty".into()),
        text if text.chars().count() > LONGEST => Err(format!("a text of at most {LONGEST} characters")),
        text if text.chars().any(char::is_control) => Err("a text without control characters".into()),
        _ => Ok(()),
    }
}

/// Somebody did something with a candidate that was shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// The request that the candidate was part of.
    pub request: String,
    /// Which candidate.
    pub candidate: CandidateName,
    /// What was done: the name of a task, or any other.
    pub action: String,
    /// What it was worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// When it was done, by the client's clock, or else when it was received.
    pub time: Time,
    /// When the server heard of it.
    pub received: Time,
    /// The client's id of the event. Events that differ in it alone are different.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// How feedback names a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CandidateName {
    /// By a number: its id where ids of the request are whole numbers, else its place in the
    /// request, from 0.
    Number(u32),
    /// By its id.
    Id(String),
}

impl Event {
    /// When the server wrote it, or a little before; nobody knows of a segment's head.
    pub(super) fn time(&self) -> Option<Time> {
        match self {
            Event::Segment(_) => None,
            Event::Exposure(exposure) => Some(exposure.time),
            Event::Feedback(feedback) => Some(feedback.received),
        }
    }

    /// The record, with its end.
    pub(super) fn to_line(&self) -> Vec<u8> {
        // All keys are texts, so this cannot fail.
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        // Between the tokens of a request's JSON there may be line ends; within, there are none.
        json.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        line::encode(&json)
    }
}

impl Feedback {
    /// Equal for events that are the same, and for others different but for a chance of 2⁻¹²⁸.
    pub(super) fn key(&self) -> u128 {
        let index;
        let (kind, candidate) = match &self.candidate {
            CandidateName::Number(number) => {
                index = number.to_string();
                ("index", &index)
            }
            CandidateName::Id(id) => ("id", id),
        };
        let (kind_of_event, event) = match &self.event {
            Some(event) => ("event", event.as_str()),
            None => ("", ""),
        };
        key(&[&self.request, kind, candidate, &self.action, kind_of_event, event])
    }
}

/// A hash of several texts.
pub(super) fn key(texts: &[&str]) -> u128 {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(text.as_bytes());
        // No UTF-8 has this byte.
        bytes.push(0xff);
    }
    xxh3_128(&bytes)
}
