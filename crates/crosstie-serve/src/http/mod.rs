//! The Open Inference Protocol, version 2, over HTTP, with its extensions of binary
//! tensors, statistics, model configuration and model repository; and ranking.
//!
//! | route | answer |
//! |---|---|
//! | `POST /v1/rank` | candidates, scored and sorted: [`rank`](crate::rank) |
//! | `GET /openapi.json` | these routes, as OpenAPI describes them |
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
//! | `POST /v1/feedback` | `{"accepted": n, "repeated": m}` when the events are on the disk |
//! | `/v2/trace/…`, `/v2/logging`, `/v2/…sharedmemory…` | 400: this server has none |
//!
//! Only 200 is success; whatever else is `{"error": "..."}`.

mod body;
mod feedback;
mod infer;
mod models;
mod rank;
mod repository;
mod traced;
mod values;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

pub(crate) use models::{EXTENSIONS, PLATFORM};

use crate::failure::Failure;
use crate::openapi;
use crate::state::State;

/// Where the JSON of a body or an answer ends and binary tensors begin.
pub(crate) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// A route: its method, or none where it says that something is not there; its path; and
/// what answers it.
pub(crate) type Route = (Option<Method>, String, MethodRouter<Arc<State>>);

/// All routes of the HTTP listener. [`openapi`](crate::openapi) describes those with a method.
pub(crate) fn routes() -> Vec<Route> {
    let read = |path: &str, handler| (Some(Method::GET), path.to_string(), handler);
    let write = |path: &str, handler| (Some(Method::POST), path.to_string(), handler);
    let none = |path: &str| (None, path.to_string(), any(without));
    let mut routes = vec![
        read("/openapi.json", get(openapi::answer)),
        write("/v1/rank", post(rank::rank)),
        write("/v1/feedback", post(feedback::feedback)),
        read("/v2", get(models::server)),
        read("/v2/health", get(models::health)),
        read("/v2/health/live", get(models::live)),
        read("/v2/health/ready", get(models::ready)),
        read("/v2/models/stats", get(models::all_statistics)),
        write("/v2/repository/index", post(repository::index)),
        write("/v2/repository/models/{model}/load", post(repository::load)),
        write("/v2/repository/models/{model}/unload", post(repository::unload)),
        // As some clients write it.
        (None, "/v2/".to_string(), get(models::server)),
        none("/v2/logging"),
        none("/v2/trace/setting"),
        none("/v2/{kind}/status"),
        none("/v2/{kind}/unregister"),
        none("/v2/{kind}/region/{name}/{what}"),
    ];
    for model in ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"] {
        routes.extend([
            read(model, get(models::metadata)),
            read(&format!("{model}/ready"), get(models::model_ready)),
            read(&format!("{model}/config"), get(models::config)),
            read(&format!("{model}/stats"), get(models::statistics)),
            write(&format!("{model}/infer"), post(infer::infer)),
            none(&format!("{model}/trace/setting")),
        ]);
    }
    routes
}

/// The HTTP listener's answers.
pub fn router(state: Arc<State>) -> Router {
    let router = routes().into_iter().fold(Router::new(), |router, (_, path, handler)| router.route(&path, handler));
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(state)
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new())
        .layer(axum::middleware::map_response(in_json))
        .layer(axum::middleware::from_fn(traced::traced))
}

async fn no_route(uri: Uri) -> Failure {
    Failure::NotFound(format!("there is nothing at `{}`; /openapi.json tells what is there", uri.path()))
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
