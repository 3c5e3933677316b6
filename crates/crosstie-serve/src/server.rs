//! The server as a whole: from settings to open ports, and to its end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::engine::Engine;
use crate::http;
use crate::metrics::Metrics;
use crate::observe::{Observe, Observers};
use crate::rank::Formula;
use crate::repository::{Repository, State as VersionState};
use crate::settings::{Settings, SettingsError, Timeouts};
use crate::state::State;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings make no sense.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// There are no threads to be had.
    #[error("cannot start threads: {0}")]
    Threads(#[from] io::Error),
    /// An artifact that was named cannot be served.
    #[error("model {model}: {reason}")]
    Artifact {
        /// The model's name.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A running server. Dropped, it ends at once; [`Server::stop`] ends it in good order.
#[derive(Debug)]
pub struct Server {
    state: Arc<State>,
    http: SocketAddr,
    metrics: SocketAddr,
    ending: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Starts a server and returns when it is ready, or as ready as it gets: ports are open
    /// at once, models are found, loaded and warm when this returns. A version in the
    /// repository that cannot be served is told in the log and the index.
    ///
    /// Not to be called on an async thread.
    ///
    /// # Errors
    /// Settings that make no sense, an address that is taken, an artifact named in the
    /// settings that cannot be served.
    pub fn start(settings: Settings) -> Result<Server, StartError> {
        Server::start_observed(settings, Vec::new())
    }

    /// The same, with others who are told what happens.
    ///
    /// # Errors
    /// As of [`Server::start`].
    pub fn start_observed(settings: Settings, observers: Vec<Arc<dyn Observe>>) -> Result<Server, StartError> {
        settings.check()?;
        let metrics = Arc::new(Metrics::new());
        let observers: Observers = observers.into_iter().chain([Arc::clone(&metrics) as Arc<dyn Observe>]).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.compute.network_threads())
            .thread_name("network")
            .enable_all()
            .build()?;
        let (http, http_address) = bind(settings.http.address)?;
        let (figures, metrics_address) = bind(settings.metrics.address)?;
        let engine = Engine::start(settings.compute.threads(), settings.compute.queue, Arc::clone(&observers))?;
        let repository = Repository::start(&settings.artifacts, &settings.repository, Arc::clone(&observers))?;
        let state = Arc::new(State::new(settings, repository, engine, observers));
        let (ending, ended) = watch::channel(false);
        let router = http::router(Arc::clone(&state));
        let shared = Arc::clone(&state);
        let figures_router = metrics.router(move || shared.engine.waiting());
        let listeners = vec![
            runtime.spawn(listen(http, router, Arc::clone(&state), ended.clone())),
            runtime.spawn(listen(figures, figures_router, Arc::clone(&state), ended)),
        ];
        tracing::info!("listening on http://{http_address}");
        let (http, metrics) = (http_address, metrics_address);
        let server = Server { state, http, metrics, ending, listeners, runtime: Some(runtime) };
        server.look()?;
        Ok(server)
    }

    /// Waits until all models were looked at.
    fn look(&self) -> Result<(), StartError> {
        // Who ends the loader is us.
        let _ = self.state.repository.look_and_wait();
        let catalogue = self.state.repository.catalogue();
        if self.state.settings.repository.directory.is_none() {
            let broken = catalogue.troubles().into_iter().find_map(|entry| match entry.state {
                VersionState::Unavailable(reason) => Some((entry.model, reason)),
                _ => None,
            });
            if let Some((model, reason)) = broken {
                return Err(StartError::Artifact { model, reason });
            }
        }
        self.check_formulas()?;
        self.state.has_looked();
        Ok(())
    }

    /// Refuses a formula that the settings give a model and that is none.
    fn check_formulas(&self) -> Result<(), StartError> {
        let catalogue = self.state.repository.catalogue();
        for (model, formula) in &self.state.settings.rank.formulas {
            if let Some(version) = catalogue.models.get(model).and_then(|model| model.newest()) {
                Formula::parse(formula, version.scorer().tasks())
                    .map_err(|error| SettingsError(format!("rank.formulas.{model}, {error}")))?;
            }
        }
        Ok(())
    }

    /// What its protocols share.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Where it listens for HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it listens for Prometheus, at `/metrics`.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        self.state.is_ready()
    }

    /// Ends in good order: is not ready at once, serves on for `timeouts.drain_seconds`,
    /// takes no more connections, lets open requests end within `timeouts.close_seconds`.
    ///
    /// Not to be called on an async thread.
    pub fn stop(mut self) {
        self.state.drain();
        let Some(runtime) = self.runtime.take() else { return };
        let timeouts = &self.state.settings.timeouts;
        let (drain, close) = (Timeouts::of(timeouts.drain_seconds), Timeouts::of(timeouts.close_seconds));
        tracing::info!("ending: not ready from now on; requests are taken for {drain:?} more");
        runtime.block_on(async {
            tokio::time::sleep(drain).await;
            self.ending.send_replace(true);
            let all = async {
                for listener in self.listeners.drain(..) {
                    // A listener that panicked has ended, too.
                    let _ = listener.await;
                }
            };
            if tokio::time::timeout(close, all).await.is_err() {
                tracing::warn!("requests still open after {close:?} are broken off");
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// Serves until the process is asked to end (SIGTERM or Ctrl-C), then ends in good order.
///
/// # Errors
/// As of [`Server::start`].
pub fn run(settings: Settings) -> Result<(), StartError> {
    let server = Server::start(settings)?;
    let Some(runtime) = &server.runtime else { return Ok(()) };
    runtime.block_on(asked_to_end())?;
    server.stop();
    Ok(())
}

async fn asked_to_end() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    let local = listener.local_addr().map_err(listen)?;
    Ok((listener, local))
}

/// Accepts connections until told to end, and then waits until those there are have ended.
async fn listen(listener: TcpListener, router: Router, state: Arc<State>, mut ended: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Timeouts::of(state.settings.timeouts.header_seconds));
    builder.http2().timer(TokioTimer::new());
    let open = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.wait_for(|ended| *ended) => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, say: what is open may end and give some back.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Answers are written in one piece; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = open.watch(connection);
        tokio::spawn(async move {
            // A connection that breaks is its client's to know.
            let _ = connection.await;
        });
    }
    drop(listener);
    open.shutdown().await;
}
