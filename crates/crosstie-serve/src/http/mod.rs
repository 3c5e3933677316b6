//! The Open Inference Protocol, version 2, over HTTP, with its extensions of binary
//! tensors, statistics, model configuration and model repository.
//!
//! | route | answer |
//! |---|---|
//! | `GET /v2/health/live` | 200 as long as the process answers |
//! | `GET /v2/health/ready` | 200 if requests should be sent here, else 503 |
//! | `GET /v2/health` | what is ready and what is wrong, as JSON |
//! | `GET /v2` | name, version, extensions |
//! | `GET /v2/models/{model}[/versions/{version}]` | its inputs and outputs |
//! | `GET /v2/models/{model}[/versions/{version}]/ready` | 200 if it answers |
//! | `GET /v2/models/{model}[/versions/{version}]/config` | what Triton's clients ask for |
//! | `GET /v2/models/{model}[/versions/{version}]/stats`, `/v2/models/stats` | what it has answered |
//! | `POST /v2/models/{model}[/versions/{version}]/infer` | scores |
//! | `POST /v2/repository/index` | versions and how they are |
//! | `POST /v2/repository/models/{model}/load`, `…/unload` | when it is done |
//! | `/v2/trace/…`, `/v2/logging`, `/v2/…sharedmemory…` | 400: this server has none |
//!
//! Only 200 is success; whatever else is `{"error": "..."}`.

mod body;
mod infer;
mod models;
mod repository;
mod values;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

use crate::failure::Failure;
use crate::state::State;

/// Where the JSON of a body or an answer ends and binary tensors begin.
pub(crate) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// All routes of the HTTP listener.
pub fn router(state: Arc<State>) -> Router {
    let model = |rest: &str| ["", "/versions/{version}"].map(|version| format!("/v2/models/{{model}}{version}{rest}"));
    let mut router = Router::new()
        .route("/v2", get(models::server))
        .route("/v2/", get(models::server))
        .route("/v2/health", get(models::health))
        .route("/v2/health/live", get(models::live))
        .route("/v2/health/ready", get(models::ready))
        .route("/v2/models/stats", get(models::all_statistics))
        .route("/v2/repository/index", post(repository::index))
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route("/v2/repository/models/{model}/unload", post(repository::unload))
        .route("/v2/logging", any(without))
        .route("/v2/trace/setting", any(without))
        .route("/v2/{kind}/status", any(without))
        .route("/v2/{kind}/unregister", any(without))
        .route("/v2/{kind}/region/{name}/{what}", any(without));
    for (rest, handler) in [
        ("", get(models::metadata)),
        ("/ready", get(models::model_ready)),
        ("/config", get(models::config)),
        ("/stats", get(models::statistics)),
        ("/infer", post(infer::infer)),
        ("/trace/setting", any(without)),
    ] {
        for path in model(rest) {
            router = router.route(&path, handler.clone());
        }
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(state)
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new())
        .layer(axum::middleware::map_response(in_json))
}

async fn no_route(uri: Uri) -> Failure {
    Failure::NotFound(format!("there is nothing at `{}`; the protocol's paths begin with /v2", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> Failure {
    Failure::MethodNotAllowed(format!("`{}` is not there for {method}", uri.path()))
}

async fn without(request: Request) -> Failure {
    let path = request.uri().path();
    Failure::Unsupported(format!("`{path}`: this server has no tracing, log settings or shared memory"))
}

/// Says in JSON what layers say without a body.
async fn in_json(response: Response) -> Response {
    let status = response.status();
    let told = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/"));
    if status.is_success() || told {
        return response;
    }
    let said = match status.as_u16() {
        415 => "the body's Content-Encoding is none of gzip, deflate, zstd".to_string(),
        _ => status.canonical_reason().unwrap_or("refused").to_string(),
    };
    (status, axum::Json(serde_json::json!({ "error": said }))).into_response()
}
