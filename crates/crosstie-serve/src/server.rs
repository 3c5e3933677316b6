//! The server as a whole: from settings to open ports, and to its end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use crosstie::spelling;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::clock::Clock;
use crate::edge::keys::{Keys, VARIABLE};
use crate::edge::{EdgeError, Limits, Listener, Tls};
use crate::engine::Engine;
use crate::experiments::Experiments;
use crate::log::{Log, Refusal};
use crate::metrics::{Metrics, Now};
use crate::observe::{Observe, Observers};
use crate::repository::{Catalogue, Repository, State as VersionState};
use crate::settings::{Settings, SettingsError, Timeouts};
use crate::state::State;
use crate::{grpc, http};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings make no sense.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// An address cannot be listened on, or the files of TLS or of keys are no such.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The log cannot be written.
    #[error("log: {0}")]
    Log(crosstie::Error),
    /// A file is no experiment, or none beside the others, or its state cannot be kept.
    #[error("experiments: {0}")]
    Experiments(crosstie::Error),
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
    grpc: SocketAddr,
    metrics: SocketAddr,
    ending: watch::Sender<bool>,
    listeners: Vec<JoinHandle<usize>>,
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
        let keys = Keys::of(settings.keys.file.as_deref(), std::env::var_os(VARIABLE))?;
        let (tls, limits) = (Tls::of(&settings.tls)?, Limits::of(&settings));
        let addresses = [settings.http.address, settings.grpc.address, settings.metrics.address];
        let open = |address| runtime.block_on(Listener::open(address, tls.clone(), limits));
        let listeners = addresses.into_iter().map(open).collect::<Result<Vec<Listener>, EdgeError>>()?;
        let state = assemble(settings, Clock::machine(), observers)?;
        let (ending, _) = watch::channel(false);
        let close = Timeouts::of(state.settings.timeouts.close_seconds);
        let shared = Arc::clone(&state);
        let routers =
            [http::router(Arc::clone(&state)), grpc::router(Arc::clone(&state)), metrics.router(move || now(&shared))];
        let [http, grpc, metrics] = [0, 1, 2].map(|place| listeners[place].address());
        let serve = |(listener, router): (Listener, Router)| {
            let (router, mut ended) = (keys.clone().guard(router), ending.subscribe());
            let stop = async move {
                // A server that was dropped has ended, too.
                let _ = ended.wait_for(|ended| *ended).await;
            };
            runtime.spawn(listener.serve(router, stop, close))
        };
        let listeners = listeners.into_iter().zip(routers).map(serve).collect();
        let scheme = if tls.is_some() { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{http}, for gRPC on {grpc}, for metrics on {metrics}");
        let server = Server { state, http, grpc, metrics, ending, listeners, runtime: Some(runtime) };
        look(&server.state)?;
        Ok(server)
    }

    /// What its protocols share.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Where it listens for HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it listens for gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
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
            let mut cut_off = 0;
            for listener in self.listeners.drain(..) {
                // A listener that panicked has ended, too.
                cut_off += listener.await.unwrap_or(0);
            }
            if cut_off > 0 {
                tracing::warn!("connections with requests still open after {close:?}, and broken off: {cut_off}");
            }
            if let Some(log) = &self.state.log {
                // Closed already would be well, too.
                let _ = log.flush().await;
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// What is behind the ports.
fn assemble(settings: Settings, clock: Clock, observers: Observers) -> Result<Arc<State>, StartError> {
    let Settings { compute, .. } = &settings;
    let loading = Arc::new(AtomicBool::new(false));
    let engine = Engine::start(compute.threads(), compute.queue, Arc::clone(&observers), Arc::clone(&loading))?;
    let repository = Repository::start(&settings, Arc::clone(&observers), loading)?;
    let window = settings.experiments.window();
    let log = settings.log.directory.as_ref().map(|directory| Log::open_within(directory, &settings.log, window));
    let log = log.transpose().map_err(StartError::Log)?;
    let log_directory = settings.log.directory.clone();
    let experiments = Experiments::start(&settings.experiments, log_directory, clock.clone(), repository.shared())
        .map_err(StartError::Experiments)?;
    Ok(Arc::new(State::new(settings, repository, engine, log, experiments, clock, observers)))
}

/// Waits until all models were looked at, and experiments beside them.
fn look(state: &State) -> Result<(), StartError> {
    // Who ends the loader is us.
    let _ = state.repository.look_and_wait();
    if state.settings.repository.directory.is_none() {
        let broken = state.repository.catalogue().troubles().into_iter().find_map(|entry| match entry.state {
            VersionState::Unavailable(reason) => Some((entry.model, reason)),
            _ => None,
        });
        if let Some((model, reason)) = broken {
            return Err(StartError::Artifact { model, reason });
        }
    }
    for doubt in doubts(&state.settings, &state.repository.catalogue()) {
        tracing::warn!("{doubt}");
    }
    // Now that models are there it is known what they predict.
    state.experiments.look().map_err(StartError::Experiments)?;
    state.has_looked();
    Ok(())
}

/// What the settings say of models that are not there: slips, or models that are still to come.
fn doubts(settings: &Settings, catalogue: &Catalogue) -> Vec<String> {
    let models = || catalogue.models.keys().map(String::as_str);
    let repository = &settings.repository;
    let named = settings.rank.formulas.keys().map(|model| ("rank.formulas", model));
    let named = named.chain(repository.versions.keys().map(|model| ("repository.versions", model)));
    let absent = named.filter(|(_, model)| !catalogue.models.contains_key(*model));
    let absent = absent.map(|(section, model)| {
        format!("{section}.{model} means nothing now: there is no model `{model}`{}", spelling::hint(model, models()))
    });
    // That a directory cannot be read was told.
    let empty = |directory: &&PathBuf| catalogue.models.is_empty() && directory.is_dir();
    let empty = repository.directory.iter().filter(empty).map(|directory| {
        format!(
            "nothing is served: {} holds no model, which is `<model>/<version>/`, as in shop/1",
            directory.display()
        )
    });
    empty.chain(absent).collect()
}

/// A server without ports: who asks it is in this process, and says what time it is.
#[derive(Debug)]
pub struct Portless {
    state: Arc<State>,
    router: Router,
    runtime: Runtime,
}

impl Portless {
    /// Starts it, and returns when it is as ready as it gets. Addresses, keys and TLS of the
    /// settings mean nothing. On a simulated clock experiments are looked at when
    /// [`Experiments::check`] is called, and not by themselves.
    ///
    /// # Errors
    /// As of [`Server::start`].
    pub fn start(settings: Settings, clock: Clock) -> Result<Portless, StartError> {
        settings.check()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.compute.network_threads())
            .enable_time()
            .build()?;
        let state = assemble(settings, clock, Arc::new([]))?;
        look(&state)?;
        Ok(Portless { router: http::router(Arc::clone(&state)), state, runtime })
    }

    /// What its protocols share.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Posts bodies of JSON to a path, all at a time, and gives the answers in their order:
    /// the status and the body.
    ///
    /// Not to be called on an async thread.
    pub fn post(&self, path: &str, bodies: Vec<String>) -> Vec<(u16, Bytes)> {
        let ask = |body: String| {
            let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from(body));
            let router = self.router.clone();
            self.runtime.spawn(async move {
                // A path that is none is a caller's mistake; it is answered as one.
                let Ok(request) = request else { return (400, Bytes::new()) };
                let Ok(answer) = router.oneshot(request).await;
                let status = answer.status().as_u16();
                (status, to_bytes(answer.into_body(), usize::MAX).await.unwrap_or_default())
            })
        };
        let asked: Vec<_> = bodies.into_iter().map(ask).collect();
        let lost = || (500, Bytes::from_static(b"a handler panicked"));
        self.runtime.block_on(async {
            let mut answers = Vec::with_capacity(asked.len());
            for answer in asked {
                answers.push(answer.await.unwrap_or_else(|_| lost()));
            }
            answers
        })
    }

    /// Waits until all that was logged is on the disk.
    ///
    /// Not to be called on an async thread.
    ///
    /// # Errors
    /// A log that is closed.
    pub fn flush(&self) -> Result<(), Refusal> {
        self.state.log.as_ref().map_or(Ok(()), |log| self.runtime.block_on(log.flush()))
    }
}

/// Serves until the process is asked to end (SIGTERM or Ctrl-C), then ends in good order.
///
/// # Errors
/// As of [`Server::start`].
pub fn run(settings: Settings) -> Result<(), StartError> {
    // Listened to before anything is open: whoever sees the server answer may ask it to end.
    let signals = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let asked = signals.block_on(async { asked_to_end() })?;
    let server = Server::start(settings)?;
    signals.block_on(asked)?;
    server.stop();
    Ok(())
}

/// What is told of the server when figures are asked for.
fn now(state: &State) -> Now {
    let experiments = state.experiments.states().into_iter().map(|(name, _)| name);
    Now {
        waiting: state.engine.waiting(),
        log: state.log.as_ref().map(Log::counts),
        experiments: experiments.collect(),
    }
}

/// Listens to what asks a process to end, from now on. To be called on an async thread.
#[cfg(unix)]
fn asked_to_end() -> io::Result<impl Future<Output = io::Result<()>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })
}

#[cfg(not(unix))]
fn asked_to_end() -> io::Result<impl Future<Output = io::Result<()>>> {
    Ok(tokio::signal::ctrl_c())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Model;

    #[test]
    fn settings_for_models_that_are_not_there_are_told() {
        let place = tempfile::tempdir().unwrap();
        let text = "[repository]\nversions = { shop = [3], shoop = [1] }\n[rank.formulas]\nshap = \"1\"";
        let mut settings = Settings::parse(text).unwrap();
        settings.repository.directory = Some(place.path().into());
        let mut catalogue = Catalogue::default();
        let said = doubts(&settings, &catalogue);
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said[0].starts_with("nothing is served: "), "{said:?}");
        catalogue.models.insert("shop".into(), Model::default());
        let said = doubts(&settings, &catalogue);
        for (said, key) in said.iter().zip(["rank.formulas.shap ", "repository.versions.shoop "]) {
            assert!(said.starts_with(key) && said.ends_with("did you mean `shop`?"), "{said}");
        }
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(doubts(&Settings::default(), &Catalogue::default()).is_empty());
    }
}
