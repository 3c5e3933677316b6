//! What fuzz targets share: a server in this process, and a directory in memory.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use crosstie_serve::server::Server;
use crosstie_serve::settings::Settings;
use crosstie_serve::{grpc, http};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// The model that [`server`] serves: hashed and listed values, several of them, cut
/// points, a logarithm, rates, scenarios.
pub const MODEL: &str = "mmoe";

/// An artifact that an earlier version has written.
pub fn artifact(format: &str, model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/crosstie/tests/compat")
        .join(format)
        .join(model)
        .join("artifact")
}

/// A directory whose files wait for no disk, where there is such.
pub fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// A server whose listeners are asked without a connection.
pub struct Served {
    runtime: Runtime,
    http: Router,
    grpc: Router,
    _server: Server,
    _log: TempDir,
}

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub trailers: HeaderMap,
    pub body: Bytes,
}

/// The server of all inputs.
pub fn server() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(|| {
        let log = directory();
        let mut settings = Settings { artifacts: vec![artifact("format-3", MODEL)], ..Settings::default() };
        for address in [&mut settings.http.address, &mut settings.grpc.address, &mut settings.metrics.address] {
            address.set_port(0);
        }
        (settings.compute.threads, settings.compute.network_threads) = (1, 1);
        settings.limits.candidates = 100;
        settings.log.directory = Some(log.path().into());
        let server = Server::start(settings).expect("a server");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (http, grpc) = (http::router(server.state().clone()), grpc::router(server.state().clone()));
        Served { runtime, http, grpc, _server: server, _log: log }
    })
}

impl Served {
    /// Asks the HTTP listener. Whatever it is asked, nothing is its own fault.
    pub fn http(&self, request: Request<Body>) -> Answer {
        let answer = self.ask(&self.http, request);
        assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", String::from_utf8_lossy(&answer.body));
        answer
    }

    /// Asks the gRPC listener.
    pub fn grpc(&self, request: Request<Body>) -> Answer {
        self.ask(&self.grpc, request)
    }

    fn ask(&self, router: &Router, request: Request<Body>) -> Answer {
        self.runtime.block_on(async {
            let (head, body) = router.clone().oneshot(request).await.expect("an answer").into_parts();
            let body = body.collect().await.expect("a whole answer");
            let trailers = body.trailers().cloned().unwrap_or_default();
            Answer { status: head.status, headers: head.headers, trailers, body: body.to_bytes() }
        })
    }
}
