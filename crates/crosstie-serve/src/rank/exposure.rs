//! What is logged of an answer.

use serde_json::value::RawValue;

use super::Terms;
use super::id::Id;
use super::request::{Answer, Ranked, Request};
use crate::failure::Failure;
use crate::log::{Candidate, Exposure, Features};

/// The candidates of an answer with the features that the request gave them.
pub(super) fn of(request: &Request, answer: &Answer<'_>, terms: &Terms) -> Result<Exposure, Failure> {
    let placed = terms.placed.as_ref();
    let given: Vec<&RawValue> = serde_json::from_str(request.candidates.get())
        .map_err(|error| Failure::Internal(format!("candidates that were read are none: {error}")))?;
    let known = |probability: f64| (!probability.is_nan()).then_some(probability);
    let candidate = |(place, ranked): (usize, &Ranked<'_>)| Candidate {
        index: ranked.index as u32,
        id: ranked.id.map(|id| match id {
            Id::Text(text) => text.clone(),
            Id::Number(number) => number.to_string(),
        }),
        position: place as u32 + 1,
        score: ranked.score.filter(|score| score.is_finite()),
        given_parent: ranked.tasks.iter().map(|(_, found)| known(found.given_parent)).collect(),
        from_impression: ranked.tasks.iter().map(|(_, found)| known(found.from_impression)).collect(),
        features: given[ranked.index].into(),
    };
    Ok(Exposure {
        request: answer.request.into(),
        time: terms.clock.now(),
        unit: placed.and_then(|placed| placed.unit.clone()),
        experiment: answer.experiment.map(String::from),
        arm: answer.arm.map(String::from),
        model: answer.model.into(),
        version: answer.version.into(),
        artifact: answer.artifact.into(),
        tasks: answer
            .candidates
            .first()
            .map_or_else(Vec::new, |first| first.tasks.iter().map(|(task, _)| task.to_string()).collect()),
        user: request.user.as_deref().map(Features::from),
        context: request.context.as_deref().map(Features::from),
        candidates: answer.candidates.iter().enumerate().map(candidate).collect(),
    })
}
