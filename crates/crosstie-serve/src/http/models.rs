//! What can be asked about the server and its models.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::infer::Named;
use crate::failure::Failure;
use crate::repository::{Entry, Version};
use crate::state;
use crate::statistics::Tally;
use crate::tensor::Datatype;

/// Extensions of the protocol that are there.
pub const EXTENSIONS: [&str; 5] = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
];

/// What clients take for the platform.
pub const PLATFORM: &str = "crosstie";

type Shared = State<Arc<state::State>>;

/// `GET /v2`.
pub async fn server() -> Json<Value> {
    Json(json!({ "name": "crosstie", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS }))
}

/// `GET /v2/health/live`.
pub async fn live() -> StatusCode {
    StatusCode::OK
}

/// `GET /v2/health/ready`.
pub async fn ready(State(state): Shared) -> Response {
    match state.is_ready() {
        true => StatusCode::OK.into_response(),
        false => Failure::NotReady(why_not_ready(&state).into()).into_response(),
    }
}

fn why_not_ready(state: &state::State) -> &'static str {
    match () {
        () if state.is_draining() => "the server is ending",
        () if state.repository.catalogue().serves() => "models are being loaded",
        () => "no model is served",
    }
}

/// `GET /v2/health`: what a person wants to know.
pub async fn health(State(state): Shared) -> Json<Value> {
    let catalogue = state.repository.catalogue();
    let ready = state.is_ready();
    let troubles: Vec<Value> = catalogue.troubles().iter().map(entry).collect();
    Json(json!({
        "live": true,
        "ready": ready,
        "reason": if ready { "" } else { why_not_ready(&state) },
        "models": catalogue.index().iter().map(entry).collect::<Vec<_>>(),
        "troubles": troubles,
        "waiting": state.engine.waiting(),
    }))
}

/// A line of the index, in the protocol's words.
pub fn entry(entry: &Entry) -> Value {
    let Entry { model, version, state } = entry;
    json!({ "name": model, "version": version.to_string(), "state": state.name(), "reason": state.reason() })
}

fn find(state: &state::State, named: &Named) -> Result<Arc<Version>, Failure> {
    state.repository.version(&named.model, named.version.as_deref())
}

/// `GET /v2/models/{model}[/versions/{version}]/ready`.
pub async fn model_ready(State(state): Shared, Path(named): Path<Named>) -> Result<StatusCode, Failure> {
    find(&state, &named).map(|_| StatusCode::OK)
}

/// `GET /v2/models/{model}[/versions/{version}]`.
pub async fn metadata(State(state): Shared, Path(named): Path<Named>) -> Result<Json<Value>, Failure> {
    let version = find(&state, &named)?;
    let catalogue = state.repository.catalogue();
    let versions = catalogue.models.get(&named.model).into_iter().flat_map(|model| model.ready.keys());
    let inputs = version.inputs().iter();
    let inputs =
        inputs.map(|input| json!({ "name": input.name, "datatype": input.datatype().name(), "shape": [-1, 1] }));
    let outputs = version.outputs().iter();
    let outputs = outputs.map(|name| json!({ "name": name, "datatype": Datatype::Fp64.name(), "shape": [-1] }));
    Ok(Json(json!({
        "name": &**version.model(),
        "versions": versions.map(u64::to_string).collect::<Vec<_>>(),
        "platform": PLATFORM,
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
        "parameters": { "artifact": version.artifact(), "model": version.scorer().spec().model.name() },
    })))
}

/// `GET /v2/models/{model}[/versions/{version}]/config`, in Triton's words.
pub async fn config(State(state): Shared, Path(named): Path<Named>) -> Result<Json<Value>, Failure> {
    let version = find(&state, &named)?;
    let data_type = |datatype: Datatype| match datatype {
        Datatype::Bytes => "TYPE_STRING".to_string(),
        other => format!("TYPE_{}", other.name()),
    };
    let inputs = version.inputs().iter();
    let inputs =
        inputs.map(|input| json!({ "name": input.name, "data_type": data_type(input.datatype()), "dims": [1] }));
    let outputs = version.outputs().iter();
    let outputs = outputs.map(|name| json!({ "name": name, "data_type": data_type(Datatype::Fp64), "dims": [1] }));
    Ok(Json(json!({
        "name": &**version.model(),
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": state.settings.limits.candidates,
        "input": inputs.collect::<Vec<_>>(),
        "output": outputs.collect::<Vec<_>>(),
        "version_policy": { "latest": { "num_versions": 1 } },
    })))
}

/// `GET /v2/models/{model}[/versions/{version}]/stats`.
pub async fn statistics(State(state): Shared, Path(named): Path<Named>) -> Result<Json<Value>, Failure> {
    let version = find(&state, &named)?;
    Ok(Json(json!({ "model_stats": [statistics_of(&version)] })))
}

/// `GET /v2/models/stats`.
pub async fn all_statistics(State(state): Shared) -> Json<Value> {
    let catalogue = state.repository.catalogue();
    let versions = catalogue.models.values().flat_map(|model| model.ready.values());
    Json(json!({ "model_stats": versions.map(|version| statistics_of(version)).collect::<Vec<_>>() }))
}

fn statistics_of(version: &Version) -> Value {
    let statistics = version.statistics();
    let tally = |tally: &Tally| json!({ "count": tally.count(), "ns": tally.nanoseconds() });
    let none = json!({ "count": 0, "ns": 0 });
    json!({
        "name": &**version.model(),
        "version": version.number().to_string(),
        "last_inference": statistics.last(),
        "inference_count": statistics.rows(),
        "execution_count": statistics.success.count(),
        "inference_stats": {
            "success": tally(&statistics.success),
            "fail": tally(&statistics.fail),
            "queue": tally(&statistics.queue),
            "compute_input": tally(&statistics.decode),
            "compute_infer": tally(&statistics.compute),
            "compute_output": tally(&statistics.encode),
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [],
    })
}
