//! Ranking: from a body to an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::body;
use super::traced::RequestId;
use crate::experiments::Placed;
use crate::failure::Failure;
use crate::observe::Protocol;
use crate::rank::{self, Terms};
use crate::settings::Timeouts;
use crate::state::{self, Target};

/// `POST /v1/rank`.
pub async fn rank(
    State(state): State<Arc<state::State>>,
    Extension(named): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let refused = |failure: &Failure| state.refused(Protocol::Rank, "", failure);
    let (_permit, body) = body::take_in(&state, (Protocol::Rank, ""), &headers, body).await?;
    // What candidates hold is taken apart in the request's turn.
    let request = rank::Request::parse(&body).inspect_err(refused)?;
    let model = match &request.model {
        Some(model) => model.clone(),
        None => only_model(&state).inspect_err(refused)?,
    };
    let timeout = request.timeout_ms.map(Duration::from_millis);
    let placed = place(&state, &model, &request);
    let (arm, version) = match &placed {
        Some(placed) => (placed.model.clone(), placed.version.clone()),
        None => (model.clone(), request.version.clone()),
    };
    let formulas = &state.settings.rank.formulas;
    let terms = Terms {
        // Feedback finds what was shown by it, so calls under one header must not share it.
        id: request.request.clone().unwrap_or_else(|| named.of_its_own()),
        most: state.settings.limits.candidates,
        formula: formulas.get(&arm).or_else(|| formulas.get(&model)).cloned(),
        placed: placed.clone(),
        logged: state.log.is_some(),
        clock: state.clock.clone(),
    };
    let target = Target { protocol: Protocol::Rank, model: arm, version, timeout };
    let stopwatch = state.clock.stopwatch();
    let mut run = state.run(&target, move |turn| rank::rank(turn, &request, &terms)).await;
    // What cannot be logged where it must be is not shown, and nobody is told that it was.
    let exposure = run.done.as_mut().ok().and_then(|done| done.value.exposure.take());
    if let (Some(log), Some(exposure)) = (&state.log, exposure)
        && let Err(refusal) = log.exposure(exposure).await
    {
        run.done = Err(refusal.into());
    }
    if let Some(placed) = &placed {
        let most = Timeouts::of(state.settings.timeouts.request_seconds);
        let (failed, timed) = match &run.done {
            Ok(_) => (false, true),
            // It took so long at least. Who wanted its answer sooner than all others must have it
            // has set a limit that the arm does not know of.
            Err(Failure::DeadlinePassed) => (timeout.is_none_or(|timeout| timeout >= most), true),
            // What was refused at once says nothing of how long an answer takes.
            Err(failure) => (failure.is_ours(), false),
        };
        let took = timed.then(|| stopwatch.elapsed());
        state.placed(placed, took, run.done.as_ref().map_err(|_| failed));
    }
    let (_, done) = state.tell(&target, run)?;
    Ok((Extension(done.stages), [(CONTENT_TYPE, "application/json")], done.value.json).into_response())
}

/// The arm of an experiment that answers, unless the request names a version. An arm whose
/// model is not served has failed; then the model that was asked for answers, and the unit
/// takes no part.
fn place(state: &state::State, model: &str, request: &rank::Request) -> Option<Placed> {
    let placed = state.experiments.place(model, |field| request.common(field)).filter(|_| request.version.is_none())?;
    if state.repository.version(&placed.model, placed.version.as_deref()).is_ok() {
        return Some(placed);
    }
    state.placed(&placed, None, Err(true));
    None
}

/// The model that is meant where a request names none: the only one that is served, or the
/// only one that there is, which says why it does not answer.
fn only_model(state: &state::State) -> Result<String, Failure> {
    let catalogue = state.repository.catalogue();
    let serving = catalogue.models.iter().filter(|(_, model)| !model.ready.is_empty()).map(|(name, _)| name.as_str());
    match (&serving.collect::<Vec<&str>>()[..], catalogue.models.keys().next()) {
        ([name], _) => Ok(name.to_string()),
        ([], Some(name)) if catalogue.models.len() == 1 => Ok(name.clone()),
        ([], _) => Err(Failure::NotReady("no model is served".into())),
        (names, _) => {
            Err(Failure::field("model", "none", format!("one of {}, for several are served", names.join(", "))))
        }
    }
}
