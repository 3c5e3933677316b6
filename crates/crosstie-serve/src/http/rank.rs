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
use crate::failure::Failure;
use crate::observe::Protocol;
use crate::rank;
use crate::state::{self, Target};

/// `POST /v1/rank`.
pub async fn rank(
    State(state): State<Arc<state::State>>,
    Extension(RequestId(given)): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let _permit = state.enter()?;
    let body = body::read(&state.settings, &headers, body).await?;
    // What candidates hold is taken apart in the request's turn.
    let request = rank::Request::parse(&body).inspect_err(|failure| state.refused(Protocol::Rank, failure))?;
    let model = match &request.model {
        Some(model) => model.clone(),
        None => only_model(&state).inspect_err(|failure| state.refused(Protocol::Rank, failure))?,
    };
    let formula = state.settings.rank.formulas.get(&model).cloned();
    let target = Target {
        protocol: Protocol::Rank,
        model,
        version: request.version.clone(),
        timeout: request.timeout_ms.map(Duration::from_millis),
    };
    let id = request.request.clone().unwrap_or(given);
    let most = state.settings.limits.candidates;
    let (_, done) =
        state.answer(&target, move |turn| rank::rank(turn, &request, &id, most, formula.as_deref())).await?;
    Ok(([(CONTENT_TYPE, "application/json")], done.value).into_response())
}

/// The model that is meant where a request names none.
fn only_model(state: &state::State) -> Result<String, Failure> {
    let catalogue = state.repository.catalogue();
    let mut names = catalogue.models.keys();
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.clone()),
        (None, _) => Err(Failure::NotReady("no model is served".into())),
        (Some(_), Some(_)) => {
            let names: Vec<&str> = catalogue.models.keys().map(String::as_str).collect();
            Err(Failure::field("model", "none", format!("one of {}, for several are served", names.join(", "))))
        }
    }
}
