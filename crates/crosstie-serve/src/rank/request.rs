//! What a client asks for.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::failure::{Failure, found_text};
use crate::log::{check_name, text_of};
use crate::object;

/// One user, one context and the candidates to rank for them.
///
/// A field's value is a text, a number, a truth value or null, and of a field with
/// several values an array of them. What stands in `user` or in `context` holds for
/// all candidates.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RankRequest, example = json!({
    "request": "9f2c", "user": {"user": "u17", "age": 31}, "context": {"hour": 20},
    "candidates": [{"id": "a", "item": "i3", "price": 9.5}, {"id": "b", "item": "i8", "price": null}],
}))]
pub struct Request {
    /// The model; may be left out where one is served.
    #[serde(default)]
    pub model: Option<String>,
    /// Its version; the one that is live if left out.
    #[serde(default)]
    pub version: Option<String>,
    /// Fields of the user.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>)]
    pub user: Option<Box<RawValue>>,
    /// Fields of the situation.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>)]
    pub context: Option<Box<RawValue>>,
    /// Fields of each candidate; `id` is echoed in the answer.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, serde_json::Value>>)]
    pub candidates: Box<RawValue>,
    /// The score, in place of the model's own: `bid * buy.from_impression * 1000`.
    #[serde(default)]
    pub formula: Option<String>,
    /// How many of the best are answered; all if left out. Needs a formula.
    #[serde(default)]
    pub top: Option<usize>,
    /// An id of this request, echoed in the answer; one is made if left out.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub request: Option<String>,
    /// After so many milliseconds nobody waits for the answer any more.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

impl Request {
    /// Reads the body of a request; what candidates hold is read later, when it is
    /// known which columns the model has.
    ///
    /// # Errors
    /// The key of what is wrong, what was found and what was expected.
    pub fn parse(body: &[u8]) -> Result<Request, Failure> {
        let request: Request = object::read(body)?;
        // What feedback could not name.
        if let Some(id) = &request.request {
            check_name(id).map_err(|expected| Failure::field("request", found_text(id), expected))?;
        }
        Ok(request)
    }

    /// The value of a field that all candidates have in common, as text.
    pub fn common(&self, field: &str) -> Option<String> {
        let of = |object: &Option<Box<RawValue>>| text_of(object.as_ref()?, field);
        of(&self.user).or_else(|| of(&self.context))
    }
}

/// Candidates with what the model predicts of them.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RankAnswer)]
pub struct Answer<'a> {
    /// The id of the request.
    pub request: &'a str,
    /// The model that scored.
    pub model: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The artifact's checksum.
    pub artifact: &'a str,
    /// The experiment that the request takes part in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<&'a str>,
    /// The arm that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arm: Option<&'a str>,
    /// The highest score first, or in the order of the request if there is no formula.
    pub candidates: Vec<Ranked<'a>>,
    /// What was found odd in the request: missing and unknown fields and values.
    pub notes: Vec<String>,
}

/// One candidate.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ranked<'a> {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its `id`, if the request gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a super::Id>,
    /// What the formula says of it; null where that is not finite, absent without a
    /// formula.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub score: Option<f64>,
    /// Per task.
    #[serde(serialize_with = "as_map")]
    #[schema(value_type = std::collections::BTreeMap<String, Probability>)]
    pub tasks: Vec<(&'a str, Probability)>,
}

/// What the model predicts of one task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Probability {
    /// p(action | parent action); null where the training does not determine it.
    #[schema(value_type = Option<f64>)]
    pub given_parent: f64,
    /// p(action and all its ancestors | impression).
    pub from_impression: f64,
}

fn as_map<S: serde::Serializer>(tasks: &[(&str, Probability)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tasks.iter().copied())
}
