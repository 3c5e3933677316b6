//! What all protocols share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::engine::{Done, Engine, Turn};
use crate::experiments::{Experiments, Placed};
use crate::failure::Failure;
use crate::log::Log;
use crate::observe::{Answered, ArmAnswered, Observers, Protocol};
use crate::rank::Ranking;
use crate::repository::{Repository, Version};
use crate::settings::{Settings, Timeouts};

/// The server behind its protocols.
#[derive(Debug)]
pub struct State {
    /// How it was started.
    pub settings: Settings,
    /// The models.
    pub repository: Repository,
    /// Who computes.
    pub engine: Engine,
    /// What was shown and what came of it, if the settings name a place.
    pub log: Option<Log>,
    /// Models that are compared on live traffic.
    pub experiments: Experiments,
    /// By which events are logged and experiments go.
    pub clock: Clock,
    observers: Observers,
    requests: Arc<Semaphore>,
    looked: AtomicBool,
    draining: AtomicBool,
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub struct Target {
    /// How it came.
    pub protocol: Protocol,
    /// The model.
    pub model: String,
    /// The version; the newest that is served if absent.
    pub version: Option<String>,
    /// Within what time it wants its answer, if its head says so.
    pub timeout: Option<Duration>,
}

/// What a request came to, before anybody is told.
#[derive(Debug)]
pub(crate) struct Run<T> {
    start: Instant,
    version: Result<Arc<Version>, Failure>,
    /// What its work gave, or why it has no answer.
    pub done: Result<Done<T>, Failure>,
}

impl State {
    pub(crate) fn new(
        settings: Settings,
        repository: Repository,
        engine: Engine,
        log: Option<Log>,
        experiments: Experiments,
        clock: Clock,
        observers: Observers,
    ) -> State {
        let requests = Arc::new(Semaphore::new(settings.limits.concurrency.min(Semaphore::MAX_PERMITS)));
        State {
            settings,
            repository,
            engine,
            log,
            experiments,
            clock,
            observers,
            requests,
            looked: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// Whether requests should be sent here: models were looked for, at least one answers,
    /// and the server has not been asked to end.
    pub fn is_ready(&self) -> bool {
        self.looked.load(Ordering::Acquire) && !self.is_draining() && self.repository.catalogue().serves()
    }

    /// Whether the server has been asked to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn has_looked(&self) {
        self.looked.store(true, Ordering::Release);
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Lets a request in, for as long as the permit is held. To be asked for before its body
    /// is read.
    ///
    /// # Errors
    /// [`Failure::Busy`] where as many as may be are under way.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let waiting = self.settings.limits.concurrency;
        Arc::clone(&self.requests).try_acquire_owned().map_err(|_| Failure::Busy { waiting })
    }

    /// Answers a request: looks its version up, does its work on a compute thread, counts
    /// it and tells the observers.
    ///
    /// # Errors
    /// Those of [`Repository::version`], [`Engine::run`] and the work.
    pub async fn answer<T: Send + 'static>(
        &self,
        target: &Target,
        work: impl FnOnce(&mut Turn) -> Result<T, Failure> + Send + 'static,
    ) -> Result<(Arc<Version>, Done<T>), Failure> {
        let run = self.run(target, work).await;
        self.tell(target, run)
    }

    /// Looks a request's version up and does its work on a compute thread. What it comes to may
    /// still change until it is [told](State::tell).
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        target: &Target,
        work: impl FnOnce(&mut Turn) -> Result<T, Failure> + Send + 'static,
    ) -> Run<T> {
        let start = Instant::now();
        let version = self.repository.version(&target.model, target.version.as_deref());
        let done = match &version {
            Ok(version) => {
                let most = Timeouts::of(self.settings.timeouts.request_seconds);
                let within = target.timeout.unwrap_or(most).min(most);
                self.engine.run(Arc::clone(version), start + within, work).await
            }
            Err(failure) => Err(failure.clone()),
        };
        Run { start, version, done }
    }

    /// Counts what a request came to, tells the observers, and gives it.
    ///
    /// # Errors
    /// Why it has no answer.
    pub(crate) fn tell<T>(&self, target: &Target, run: Run<T>) -> Result<(Arc<Version>, Done<T>), Failure> {
        let Run { start, version, done } = run;
        let took = start.elapsed();
        if let Ok(version) = &version {
            match &done {
                Ok(done) => version.statistics().answered(done.rows, took, &done.stages),
                Err(_) => version.statistics().failed(took),
            }
        }
        let answered = Answered {
            protocol: target.protocol,
            model: &target.model,
            version: version.as_deref().ok(),
            rows: done.as_ref().map_or(0, |done| done.rows),
            took,
            stages: done.as_ref().ok().map(|done| done.stages),
            failure: done.as_ref().err(),
        };
        self.observers.iter().for_each(|observer| observer.answered(&answered));
        Ok((version?, done?))
    }

    /// Tells the observers of a request that was refused before it asked for a version; `model`
    /// is empty where it was not known yet.
    pub(crate) fn refused(&self, protocol: Protocol, model: &str, failure: &Failure) {
        let (took, failure) = (Duration::ZERO, Some(failure));
        let answered = Answered { protocol, model, version: None, rows: 0, took, stages: None, failure };
        self.observers.iter().for_each(|observer| observer.answered(&answered));
    }

    /// Counts what became of a request that an experiment has placed, for its ramp and for
    /// all who are told.
    pub(crate) fn placed(&self, placed: &Placed, took: Option<Duration>, answered: Result<&Done<Ranking>, bool>) {
        let (failed, rows) = (answered.is_err_and(|ours| ours), answered.map_or(0, |done| done.rows));
        let ranking = answered.ok().map(|done| &done.value);
        let (unknown, values) = ranking.map_or((0, 0), |ranking| (ranking.unknown, ranking.values));
        placed.count(took, failed, unknown, values);
        if let Some(arm) = &placed.arm {
            let predictions = ranking.map_or(&[][..], |ranking| &ranking.predictions);
            let answered = ArmAnswered { experiment: &placed.experiment, arm, took, failed, rows, predictions };
            self.observers.iter().for_each(|observer| observer.arm_answered(&answered));
        }
    }
}
