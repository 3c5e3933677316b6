//! Experiments: which arm a request goes to, and what becomes of the ramp.
//!
//! A directory holds an experiment's file `<name>.toml`
//! ([`Contract`]) and beside it where it stands,
//! `<name>.state.json` ([`kept`]). [`Experiments::place`] finds the arm of a request: of one
//! that asks for the control's model and names no version. A thread looks at the directory
//! every second and, in longer intervals, at the evidence ([`evidence`]). Units, calibration
//! and eCPM are read from the logs; what requests came to is counted here and put beside the
//! log ([`tally`]). So evidence survives this process, and several servers over one
//! experiment see that of all. The rules are the library's ([`Ramp`]).

pub mod evidence;
pub mod kept;
pub mod study;
pub mod tally;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crosstie::experiment::{Contract, Decision, Evidence, Ramp, State, Status};

use crate::clock::Clock;
use crate::repository::Catalogue;
use crate::settings::{ExperimentSettings, Timeouts};
use kept::Kept;
use tally::Tally;

/// One experiment as it stands.
#[derive(Debug)]
pub struct Experiment {
    kept: Kept,
    state: State,
    tally: Arc<Tally>,
}

/// The arm that answers a request.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The experiment.
    pub experiment: String,
    /// Whom the arm was chosen for, if the request says.
    pub unit: Option<String>,
    /// The arm's name, if the unit takes part.
    pub arm: Option<String>,
    /// The arm's model.
    pub model: String,
    /// The version, if the arm names one.
    pub version: Option<String>,
    /// What the request should be told.
    pub note: Option<String>,
    tally: Option<(usize, Arc<Tally>)>,
}

impl Placed {
    /// Counts what became of the request, and how long it took if it came to that.
    pub fn count(&self, took: Option<Duration>, failed: bool, unknown: u64, values: u64) {
        if let Some((arm, tally)) = &self.tally {
            tally.count(*arm, took, failed, unknown, values);
        }
    }
}

/// All experiments of a server.
#[derive(Debug)]
pub struct Experiments {
    running: Arc<ArcSwap<BTreeMap<String, Arc<Experiment>>>>,
    watch: Option<Arc<Mutex<Watch>>>,
    end: Mutex<Option<mpsc::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Experiments {
    /// Reads the directory and starts to watch it, unless the clock is a simulated one. `log`
    /// is where the server logs what it shows, `models` what it serves.
    ///
    /// # Errors
    /// A file that is no experiment, a state that cannot be written.
    pub fn start(
        settings: &ExperimentSettings,
        log: Option<PathBuf>,
        clock: Clock,
        models: Arc<ArcSwap<Catalogue>>,
    ) -> crosstie::Result<Experiments> {
        let running = Arc::new(ArcSwap::from_pointee(BTreeMap::new()));
        let (end, thread) = (Mutex::default(), Mutex::default());
        let Some(directory) = settings.directory.clone() else {
            return Ok(Experiments { running, watch: None, end, thread });
        };
        let mut watch = Watch {
            directory,
            log,
            logs: settings.logs.clone(),
            window: settings.window(),
            clock,
            models,
            running: Arc::clone(&running),
            told: BTreeMap::new(),
        };
        watch.look()?;
        let simulated = watch.clock.is_simulated();
        let watch = Arc::new(Mutex::new(watch));
        let experiments = Experiments { running, watch: Some(Arc::clone(&watch)), end, thread };
        if !simulated {
            let (end, ended) = mpsc::channel();
            let check = Timeouts::of(settings.check_seconds);
            let thread = std::thread::Builder::new().name("experiments".into());
            let thread = thread
                .spawn(move || keep_watch(&watch, check, &ended))
                .map_err(|error| crosstie::Error::Experiment(format!("no thread to watch them: {error}")))?;
            *locked(&experiments.end) = Some(end);
            *locked(&experiments.thread) = Some(thread);
        }
        Ok(experiments)
    }

    /// Reads all files anew, now. What cannot be read leaves its experiment as it was.
    ///
    /// # Errors
    /// A file that is no experiment, or none beside the others and the models that are served; a
    /// state that cannot be written.
    pub fn look(&self) -> crosstie::Result<()> {
        self.watch.as_ref().map_or(Ok(()), |watch| locked(watch).look())
    }

    /// Looks at files and evidence now: each ramp moves on, or back, or stays.
    pub fn check(&self) {
        if let Some(watch) = &self.watch {
            let mut watch = locked(watch);
            watch.look_and_tell();
            watch.ramp();
        }
    }

    /// The arm for a request that asks for `model`; `unit` gives a field of its user or
    /// context as text. `None` where no experiment is about the model.
    pub fn place(&self, model: &str, unit: impl FnOnce(&str) -> Option<String>) -> Option<Placed> {
        let running = self.running.load();
        let found = running.values().find(|experiment| experiment.kept.contract.arms[0].model().0 == model)?;
        let (contract, name) = (&found.kept.contract, found.kept.contract.name.clone());
        let unit = unit(&contract.unit);
        let (arm, takes_part, note) = match (&unit, Contract::serves_all(&found.state)) {
            (Some(unit), _) => {
                let place = contract.place(&found.state, unit);
                (place.arm, place.takes_part, None)
            }
            (None, Some(arm)) => (arm, false, None),
            (None, None) => {
                let note = format!("experiment `{name}`: `{}` is not given, so the control answers", contract.unit);
                (0, false, Some(note))
            }
        };
        let (model, version) = contract.arms[arm].model();
        Some(Placed {
            experiment: name,
            unit,
            arm: takes_part.then(|| contract.arms[arm].name.clone()),
            model: model.into(),
            version: version.map(String::from),
            note,
            tally: takes_part.then(|| (arm, Arc::clone(&found.tally))),
        })
    }

    /// The experiments and where they stand, by name.
    pub fn states(&self) -> Vec<(String, State)> {
        self.running.load().iter().map(|(name, found)| (name.clone(), found.state.clone())).collect()
    }

    /// Ends the watching.
    pub fn stop(&self) {
        locked(&self.end).take();
        if let Some(thread) = locked(&self.thread).take() {
            // A thread that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

/// Whoever panics leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks every second, and at the evidence in longer intervals, until the sender is gone.
fn keep_watch(watch: &Mutex<Watch>, check: Duration, ended: &mpsc::Receiver<()>) {
    let mut next = Instant::now() + check;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_secs(1)) {
        let mut watch = locked(watch);
        watch.look_and_tell();
        if Instant::now() >= next {
            watch.ramp();
            next = Instant::now() + check;
        }
    }
}

impl Drop for Experiments {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What messages about files are about; experiments have other names.
const FILES: &str = "*.toml";

/// Looks at files and evidence.
#[derive(Debug)]
struct Watch {
    directory: PathBuf,
    log: Option<PathBuf>,
    /// Where the logs of all servers are.
    logs: Option<PathBuf>,
    window: Duration,
    clock: Clock,
    models: Arc<ArcSwap<Catalogue>>,
    running: Arc<ArcSwap<BTreeMap<String, Arc<Experiment>>>>,
    /// What was last said of a file or an experiment, so that it is said once.
    told: BTreeMap<String, String>,
}

impl Watch {
    fn tell(&mut self, about: &str, message: String) {
        if self.is_new(about, &message) {
            tracing::warn!("{message}");
        }
    }

    /// Whether something else was said last.
    fn is_new(&mut self, about: &str, message: &str) -> bool {
        self.told.insert(about.into(), message.into()).is_none_or(|last| last != message)
    }

    fn look_and_tell(&mut self) {
        match self.look() {
            Ok(()) => drop(self.told.remove(FILES)),
            Err(error) => self.tell(FILES, format!("{error}; the experiment goes on as it was")),
        }
    }

    /// Reads all files anew. What cannot be read, or is refused, leaves its experiment as it
    /// was.
    fn look(&mut self) -> crosstie::Result<()> {
        let before = self.running.load_full();
        let mut found = Vec::new();
        for path in kept::files(&self.directory)? {
            let old = before.values().find(|experiment| experiment.kept.path == path);
            found.push((old, Kept::read(&path)));
        }
        // What is as it was keeps its name and its model, wherever its file stands among others.
        let same = |old: &Experiment, kept: &Kept| old.kept.contract == kept.contract;
        let stays = |(old, read): &(Option<&Arc<Experiment>>, crosstie::Result<Kept>)| {
            old.is_some_and(|old| read.as_ref().map_or(true, |kept| same(old, kept)))
        };
        found.sort_by_key(|one| !stays(one));
        let mut now: BTreeMap<String, Arc<Experiment>> = BTreeMap::new();
        let mut failed = None;
        for (old, read) in found {
            let looked = read.and_then(|kept| {
                kept.check_beside(now.values().map(|other| &other.kept))?;
                if let Err(error) = self.check_tasks(&kept.contract) {
                    let error = error.within(&kept.path);
                    // Of one that runs already, what people decide of it still counts.
                    if !old.is_some_and(|old| same(old, &kept)) {
                        return Err(error);
                    }
                    failed.get_or_insert(error);
                }
                self.experiment(kept, old)
            });
            match looked {
                Ok(experiment) => drop(now.insert(experiment.kept.contract.name.clone(), experiment)),
                Err(error) => {
                    failed.get_or_insert(error);
                    let free =
                        |old: &&Arc<Experiment>| old.kept.check_beside(now.values().map(|other| &other.kept)).is_ok();
                    if let Some(old) = old.filter(free) {
                        now.insert(old.kept.contract.name.clone(), Arc::clone(old));
                    }
                }
            }
        }
        self.running.store(Arc::new(now));
        failed.map_or(Ok(()), Err)
    }

    /// A file as an experiment: `old`, if nothing has changed.
    fn experiment(&self, kept: Kept, old: Option<&Arc<Experiment>>) -> crosstie::Result<Arc<Experiment>> {
        let state = kept.state_or_start(self.clock.seconds())?;
        kept.contract.check_unchanged(&state).map_err(|error| error.within(&kept.path))?;
        match old.filter(|old| old.state == state && old.kept.contract == kept.contract) {
            Some(old) => Ok(Arc::clone(old)),
            None => {
                tracing::info!("experiment `{}`: {}", kept.contract.name, state.reason);
                let tally = Arc::new(Tally::resume(&kept.contract, &state, self.log.as_deref()));
                Ok(Arc::new(Experiment { kept, state, tally }))
            }
        }
    }

    /// Whether the arms' models predict the tasks that the guard rails name. Nobody knows before
    /// all of them are served.
    fn check_tasks(&self, contract: &Contract) -> crosstie::Result<()> {
        let models = self.models.load();
        let mut tasks = Vec::new();
        for arm in &contract.arms {
            let (model, version) = arm.model();
            let Ok(version) = models.version(model, version) else { return Ok(()) };
            tasks.extend(version.scorer().tasks().iter().map(String::as_str));
        }
        contract.check_tasks(tasks)
    }

    /// Moves each ramp on, or back, or leaves it and says why.
    fn ramp(&mut self) {
        let running = self.running.load_full();
        for (name, experiment) in running.iter().filter(|(_, experiment)| experiment.state.status == Status::Running) {
            let contract = &experiment.kept.contract;
            let evidence = match self.evidence(experiment) {
                Ok(evidence) => evidence,
                Err(error) => {
                    self.tell(name, format!("experiment `{name}`: no evidence: {error}"));
                    continue;
                }
            };
            let now = self.clock.seconds();
            match Ramp::next(contract, &experiment.state, &evidence, now) {
                Decision::Stay(why) if self.is_new(name, &why) => tracing::info!("experiment `{name}` stays: {why}"),
                Decision::Stay(_) => {}
                decision => {
                    // Another server, or a person, may have changed it in the meantime; that
                    // counts more.
                    let change = |state: &State| match *state == experiment.state {
                        true => Ramp::apply(contract, state, &decision, now),
                        false => state.clone(),
                    };
                    match experiment.kept.change(now, change) {
                        Ok(state) => tracing::warn!("experiment `{name}`: {:?}: {}", state.status, state.reason),
                        Err(error) => self.tell(name, format!("experiment `{name}`: {error}")),
                    }
                }
            }
        }
        self.look_and_tell();
    }

    /// Puts beside the log what requests came to here, and reads what all servers know.
    fn evidence(&self, experiment: &Experiment) -> crosstie::Result<Evidence> {
        let Experiment { kept, state, tally } = experiment;
        let Some(log) = &self.log else {
            let mut evidence = Evidence::default();
            tally.counts().add_to(&mut evidence);
            return Ok(evidence);
        };
        tally.write(&kept.contract, state, log)?;
        let logs = evidence::logs(log, self.logs.as_deref())?;
        evidence::read(&kept.contract, state, &logs, self.window)
    }
}
