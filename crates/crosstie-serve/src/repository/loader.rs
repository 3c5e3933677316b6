//! The one thread that loads versions and says what is served.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crosstie::spelling;
#[cfg(target_os = "linux")]
use thread_priority::ThreadPriority;
#[cfg(target_os = "linux")]
use thread_priority::unix::{
    NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use tokio::sync::oneshot;

use super::directory::{Fingerprint, Found, find, fingerprint};
use super::{Catalogue, Model, ROOM, State, Version};
use crate::failure::Failure;
use crate::formula::Formula;
use crate::observe::Observers;
use crate::settings::{RepositorySettings, Settings, SettingsError, Timeouts};

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<(), Failure>>;

/// What the loader is asked for.
#[derive(Debug)]
pub(super) enum Command {
    Look { reply: Reply },
    Load { model: String, reply: Reply },
    Unload { model: String, reply: Reply },
    End,
}

/// How often it is looked whether the last request of a retired version has ended.
const RETIRED: Duration = Duration::from_millis(100);

/// How long nothing was freed before memory is given back to the system. That holds up
/// requests for some milliseconds, so it is done once after many loads.
const CALM: Duration = Duration::from_secs(1);

pub(super) struct Loader {
    catalogue: Arc<ArcSwap<Catalogue>>,
    /// Artifacts that were given by their paths.
    given: BTreeMap<String, PathBuf>,
    settings: RepositorySettings,
    /// Of models that have one, which every version has to fit.
    formulas: BTreeMap<String, String>,
    observers: Observers,
    /// What was tried last of each version.
    tried: BTreeMap<(String, u64), Fingerprint>,
    /// Models that somebody asked not to serve.
    unloaded: BTreeSet<String>,
    /// Versions that serve no more. They are freed here, since to free much memory takes
    /// time, which no request should wait for.
    retired: Vec<Arc<Version>>,
    /// One thread: what loading hashes and scores leaves the other cores to requests.
    pool: rayon::ThreadPool,
    /// Whether it loads something.
    loading: Arc<AtomicBool>,
}

impl Loader {
    pub(super) fn new(
        catalogue: Arc<ArcSwap<Catalogue>>,
        given: BTreeMap<String, PathBuf>,
        settings: &Settings,
        observers: Observers,
        loading: Arc<AtomicBool>,
    ) -> Result<Loader, SettingsError> {
        crosstie::compute::keep_large_apart();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "load".into());
        let pool = pool.start_handler(|_| step_back()).build();
        let pool = pool.map_err(|error| SettingsError(format!("no thread to load models: {error}")))?;
        Ok(Loader {
            catalogue,
            given,
            settings: settings.repository.clone(),
            formulas: settings.rank.formulas.clone(),
            observers,
            tried: BTreeMap::new(),
            unloaded: BTreeSet::new(),
            retired: Vec::new(),
            pool,
            loading,
        })
    }

    /// Does what it is asked for, and looks through the directory now and then, until it is
    /// told to end.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        step_back();
        let every = Some(self.settings.poll_seconds).filter(|seconds| *seconds > 0.0).map(Timeouts::of);
        let mut next = every.and_then(|every| Instant::now().checked_add(every));
        // When a retired version was freed whose memory was not given back yet.
        let mut freed: Option<Instant> = None;
        loop {
            let left = next.map(|next| next.saturating_duration_since(Instant::now()));
            let calm = freed.map(|freed| CALM.saturating_sub(freed.elapsed()));
            let wait = left.into_iter().chain(calm).chain((!self.retired.is_empty()).then_some(RETIRED)).min();
            let command = match wait {
                Some(wait) => commands.recv_timeout(wait),
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            // Whoever asked may have gone in the meantime.
            match command {
                Ok(Command::Look { reply }) => {
                    self.look();
                    drop(reply.send(Ok(())));
                }
                Ok(Command::Load { model, reply }) => drop(reply.send(self.load(&model))),
                Ok(Command::Unload { model, reply }) => drop(reply.send(self.unload(&model))),
                Ok(Command::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if next.is_some_and(|next| Instant::now() >= next) {
                self.look();
                next = every.and_then(|every| Instant::now().checked_add(every));
            }
            let before = self.retired.len();
            self.retired.retain(|version| Arc::strong_count(version) > 1);
            if self.retired.len() < before {
                freed = Some(Instant::now());
            }
            if freed.is_some_and(|freed| freed.elapsed() >= CALM) {
                crosstie::compute::give_back();
                freed = None;
            }
        }
    }

    /// What there is to be served, or nothing where the directory cannot be read.
    fn found(&self) -> Option<Found> {
        let mut found = Found::new();
        if let Some(directory) = &self.settings.directory {
            match find(directory) {
                // As a mount that is gone leaves it.
                Ok(there) if there.is_empty() && self.serves_from_directory() => {
                    tracing::error!(
                        "the repository {} is empty of a sudden; what serves serves on, and \
                         POST /v2/repository/models/NAME/unload ends it",
                        directory.display()
                    );
                    return None;
                }
                Ok(there) => found = there,
                Err(error) => {
                    let serves_on = if self.catalogue.load().serves() { "; what serves serves on" } else { "" };
                    tracing::error!("the repository cannot be read{serves_on}: {error}");
                    return None;
                }
            }
        }
        found.extend(self.given.iter().map(|(model, path)| (model.clone(), BTreeMap::from([(1, path.clone())]))));
        Some(found)
    }

    fn serves_from_directory(&self) -> bool {
        let catalogue = self.catalogue.load();
        catalogue.models.iter().any(|(name, model)| !model.ready.is_empty() && !self.given.contains_key(name))
    }

    /// Brings what is served to what there is.
    fn look(&mut self) {
        let Some(found) = self.found() else { return };
        for (model, versions) in &found {
            if !self.unloaded.contains(model) {
                // What is wrong was told.
                let _ = self.bring(model, versions, false);
            }
        }
        let gone: Vec<String> =
            self.catalogue.load().models.keys().filter(|model| !found.contains_key(*model)).cloned().collect();
        for model in gone {
            tracing::warn!("model {model} is in the repository no more and not served from now on");
            self.publish(|catalogue| drop(catalogue.models.remove(&model)));
            self.tried.retain(|(of, _), _| *of != model);
        }
    }

    fn load(&mut self, model: &str) -> Result<(), Failure> {
        let found = self.found().unwrap_or_default();
        let Some(versions) = found.get(model) else {
            let hint = spelling::hint(model, found.keys().map(String::as_str));
            return Err(Failure::NotFound(format!("there is no model `{model}` to load{hint}")));
        };
        self.unloaded.remove(model);
        self.bring(model, versions, true).map_err(|reason| {
            Failure::NotReady(format!("model `{model}` cannot be loaded{}: {reason}", self.serves_on(model)))
        })
    }

    fn unload(&mut self, model: &str) -> Result<(), Failure> {
        if !self.catalogue.load().models.contains_key(model) {
            return Err(Failure::NotFound(format!("there is no model `{model}` to unload")));
        }
        self.unloaded.insert(model.into());
        self.publish(|catalogue| {
            let Some(model) = catalogue.models.get_mut(model) else { return };
            let numbers: Vec<u64> = std::mem::take(&mut model.ready).into_keys().collect();
            model.others.extend(numbers.into_iter().map(|number| (number, State::Unavailable("unloaded".into()))));
        });
        self.tried.retain(|(of, _), _| of != model);
        tracing::info!("model {model} is unloaded");
        Ok(())
    }

    /// Brings what is served of a model to the versions that are wanted of those there are.
    /// With `anew` what is served already is loaded again. What serves now is retired only
    /// when something takes its place. An error is the first version that could not be
    /// loaded.
    fn bring(&mut self, model: &str, versions: &BTreeMap<u64, PathBuf>, anew: bool) -> Result<(), String> {
        let pinned = self.settings.versions.get(model).cloned();
        let mut wrong = None;
        let mut serving = BTreeSet::new();
        let wanted = pinned.clone().unwrap_or_else(|| versions.keys().rev().copied().collect());
        for number in wanted {
            let brought = match versions.get(&number) {
                Some(path) => self.bring_version(model, number, path, anew),
                None => self.fail(model, number, "it is pinned, but not in the repository".into()),
            };
            match brought {
                Ok(()) => drop(serving.insert(number)),
                Err(reason) => {
                    wrong.get_or_insert(reason);
                }
            }
            // A replacement that is broken leaves the old one of its number serving.
            let ready = self.catalogue.load().models.get(model).is_some_and(|model| model.ready.contains_key(&number));
            if ready {
                serving.insert(number);
                if pinned.is_none() {
                    break;
                }
            }
        }
        if !serving.is_empty() {
            self.keep_only(model, &serving, versions);
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Retires what is not to be served any more, and forgets what is not there any more.
    fn keep_only(&mut self, model: &str, serving: &BTreeSet<u64>, versions: &BTreeMap<u64, PathBuf>) {
        let pinned = self.settings.versions.get(model).cloned().unwrap_or_default();
        let is_there = |number: &u64| versions.contains_key(number) || pinned.contains(number);
        let snapshot = self.catalogue.load_full();
        let stays = snapshot.models.get(model).is_none_or(|model| {
            model.ready.keys().all(|number| serving.contains(number)) && model.others.keys().all(is_there)
        });
        if stays {
            return;
        }
        self.publish(|catalogue| {
            let Some(model) = catalogue.models.get_mut(model) else { return };
            model.ready.retain(|number, _| serving.contains(number));
            model.others.retain(|number, _| is_there(number));
        });
        self.tried.retain(|(of, number), _| {
            of != model || is_there(number) && !is_retired(&snapshot, model, *number, serving)
        });
    }

    /// Loads a version, unless these very files were tried before.
    fn bring_version(&mut self, model: &str, number: u64, path: &Path, anew: bool) -> Result<(), String> {
        // Taken before loading: what changes meanwhile is a change.
        let (key, now) = ((model.to_string(), number), fingerprint(path));
        if !anew && self.tried.get(&key) == Some(&now) {
            let catalogue = self.catalogue.load();
            return match catalogue.models.get(model).and_then(|model| model.others.get(&number)) {
                Some(state) => Err(state.reason().to_string()),
                None => Ok(()),
            };
        }
        self.tried.insert(key, now);
        self.publish(|catalogue| {
            catalogue.models.entry(model.into()).or_default().others.insert(number, State::Loading);
        });
        let start = Instant::now();
        let rooms = self.rooms(model);
        self.loading.store(true, Ordering::Relaxed);
        let loaded = self.pool.install(|| {
            let loaded = catch_unwind(AssertUnwindSafe(|| Version::load(model, number, path, &rooms)));
            loaded.unwrap_or_else(|_| Err(crosstie::Error::artifact(path, "loading it panicked; this is a bug")))
        });
        self.loading.store(false, Ordering::Relaxed);
        let fits = |version: Version| match self.formulas.get(model) {
            Some(formula) => match Formula::parse(formula, version.scorer().tasks()) {
                Ok(_) => Ok(version),
                Err(error) => Err(format!("rank.formulas.{model}, {error}")),
            },
            None => Ok(version),
        };
        let version = match loaded.map_err(|error| error.to_string()).and_then(fits) {
            Ok(version) => Arc::new(version),
            Err(reason) => return self.fail(model, number, reason),
        };
        self.publish(|catalogue| {
            let model = catalogue.models.entry(model.into()).or_default();
            model.others.remove(&number);
            model.ready.insert(number, Arc::clone(&version));
        });
        let took = start.elapsed();
        tracing::info!("model {model}, version {number} serves; loaded in {took:.2?} from {}", path.display());
        self.observers.iter().for_each(|observer| observer.loaded(&version, took));
        Ok(())
    }

    /// The room that requests for a model take by now.
    fn rooms(&self, model: &str) -> Vec<usize> {
        let catalogue = self.catalogue.load();
        let rooms = catalogue.models.get(model).and_then(Model::newest).map(|version| version.rooms());
        rooms.filter(|rooms| !rooms.is_empty()).unwrap_or_else(|| vec![ROOM])
    }

    fn fail(&mut self, model: &str, number: u64, reason: String) -> Result<(), String> {
        let state = State::Unavailable(reason.clone());
        let serves_on = self.serves_on(model);
        // Without a repository a server does not start then, and says so as it ends.
        let starts = self.settings.directory.is_some() || !serves_on.is_empty();
        let told = self.catalogue.load().models.get(model).and_then(|model| model.others.get(&number)) == Some(&state);
        if !told {
            if starts {
                tracing::error!("model {model}, version {number} cannot be loaded{serves_on}: {reason}");
            }
            self.observers.iter().for_each(|observer| observer.load_failed(model, number, &reason));
            self.publish(|catalogue| {
                catalogue.models.entry(model.into()).or_default().others.insert(number, state);
            });
        }
        Err(reason)
    }

    /// What to say of what served before, if anything of the model did.
    fn serves_on(&self, model: &str) -> &'static str {
        let serves = self.catalogue.load().models.get(model).is_some_and(|model| !model.ready.is_empty());
        if serves { "; what served before serves on" } else { "" }
    }

    /// Replaces the catalogue by a changed copy. What it holds no more is retired.
    fn publish(&mut self, change: impl FnOnce(&mut Catalogue)) {
        let old = self.catalogue.load_full();
        let mut new = Catalogue::clone(&old);
        change(&mut new);
        let serves_on = |version: &Arc<Version>| {
            let model = new.models.get(&**version.model());
            model.and_then(|model| model.ready.get(&version.number())).is_some_and(|now| Arc::ptr_eq(now, version))
        };
        for version in old.models.values().flat_map(|model| model.ready.values()).filter(|version| !serves_on(version))
        {
            self.observers.iter().for_each(|observer| observer.retired(version));
            self.retired.push(Arc::clone(version));
        }
        self.catalogue.store(Arc::new(new));
    }
}

/// Lets all others go first where there are not cores enough: this thread runs while nobody else
/// wants to. A niceness would not do, since the system lets who runs go on for some milliseconds
/// when who is less nice wakes up. The compute threads see to it that it gets on.
#[cfg(target_os = "linux")]
fn step_back() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    // A process that may not is served as it was before.
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

/// Whether a version served and does so no more: if it is wanted again, it is loaded again.
fn is_retired(before: &Catalogue, model: &str, number: u64, serving: &BTreeSet<u64>) -> bool {
    let served = before.models.get(model).is_some_and(|model| model.ready.contains_key(&number));
    served && !serving.contains(&number)
}
