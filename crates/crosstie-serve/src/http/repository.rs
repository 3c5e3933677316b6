//! The repository: what is there, and what is to be loaded.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::infer::Named;
use super::{body, models};
use crate::failure::Failure;
use crate::state;

type Shared = State<Arc<state::State>>;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    ready: bool,
}

#[derive(Deserialize)]
struct Load {
    #[serde(default)]
    parameters: serde_json::Map<String, Value>,
}

/// `POST /v2/repository/index`: every version, or with `{"ready": true}` those that answer.
pub async fn index(State(state): Shared, headers: HeaderMap, body: Body) -> Result<Json<Value>, Failure> {
    let asked: Index = body::json(&body::read(&state.settings, &headers, body).await?)?;
    let entries = state.repository.catalogue().index();
    let entries = entries.iter().filter(|entry| !asked.ready || entry.state == crate::repository::State::Ready);
    Ok(Json(entries.map(models::entry).collect()))
}

/// `POST /v2/repository/models/{model}/load`.
pub async fn load(
    State(state): Shared,
    Path(Named { model, .. }): Path<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let asked: Load = body::json(&body::read(&state.settings, &headers, body).await?)?;
    if let Some(parameter) = asked.parameters.keys().next() {
        let expected = "none: a model is loaded from the repository, as it lies there";
        return Err(Failure::field(parameter, "a parameter", expected));
    }
    state.repository.load(&model).await?;
    Ok(Json(json!({})))
}

/// `POST /v2/repository/models/{model}/unload`. No model depends on another.
pub async fn unload(State(state): Shared, Path(Named { model, .. }): Path<Named>) -> Result<Json<Value>, Failure> {
    state.repository.unload(&model).await?;
    Ok(Json(json!({})))
}
