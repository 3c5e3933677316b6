//! A simulated market before a real server: the library's [`Market`] says who comes and what
//! comes of what is shown; all that answers is this crate's own code, on a simulated clock.
//!
//! Visits of an hour are requests to `POST /v1/rank` of a server without ports
//! ([`Portless`]): the arm of their unit, the version that is served, the ranking, the
//! exposure in the log are what any request gets. What comes of it is told by
//! `POST /v1/feedback` when its hour has come. At the end of a day the server looks at its
//! experiments, reads the evidence from its log, and the ramp moves, or does not. What is
//! reported as measured is read from the log, too.
//!
//! Two things are not the server's: time, in which nothing takes any, and the true lift, for
//! which the arms' models score all visits, or a share of them, by the library.

mod objects;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crosstie::compute::Workspace;
use crosstie::data::Rows;
use crosstie::data::synth::Impression;
use crosstie::experiment::{
    Action, Contract, ECPM, Ledger, Market, MarketConfig, MarketDay, MarketReport, Settings, State, Status,
    StudyReport, Visit, lifts,
};
use crosstie::{Error, durable, spelling};
use serde::Deserialize;
use serde_json::json;

use crate::clock::Clock;
use crate::experiments::study::Question;
use crate::log::join::Joined;
use crate::log::{Refusal, Time};
use crate::repository::Version;
use crate::server::{Portless, StartError};
use crate::settings;
use objects::{Objects, Terms};

/// When a market's first day begins: 2026-01-01T00:00:00Z.
const START: Time = Time(1_767_225_600_000_000);
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// Requests that are under way at a time.
const AT_A_TIME: usize = 256;
/// Events in one request.
const EVENTS: usize = 1_000;
/// Rows scored at a time, about.
const ROWS: usize = 4_096;

/// Why a market comes to no end.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// The market, the experiment or the models are none, or do not fit each other; or a
    /// file cannot be read or written.
    #[error(transparent)]
    Crosstie(#[from] Error),
    /// The server does not start.
    #[error("the server does not start: {0}")]
    Start(#[from] StartError),
    /// The server refused what it should answer.
    #[error("the server answered {path} with {status}: {said}")]
    Refused {
        /// What was asked.
        path: &'static str,
        /// The code.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The log is closed.
    #[error("log: {0}")]
    Log(#[from] Refusal),
}

/// A server, and the market that asks it.
struct Simulation<'a> {
    config: &'a MarketConfig,
    contract: &'a Contract,
    market: Market<'a>,
    objects: Objects,
    server: Portless,
    clock: Clock,
    arms: Vec<Arm>,
    /// What is to be told, by the hour in which it happens.
    open: BTreeMap<i64, Vec<String>>,
    /// Expected earnings and impressions of each arm, were it to serve all users, over the
    /// days whose rows become known.
    expected: Vec<(f64, f64)>,
}

/// The model of an arm, to tell what is true.
struct Arm {
    version: Arc<Version>,
    workspace: Workspace,
    task: usize,
}

/// What matters of an answer.
#[derive(Deserialize)]
struct Ranked {
    candidates: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    index: usize,
}

/// Money of a day, by whose it is.
struct Purses {
    /// Of the units of each arm.
    arms: Vec<Ledger>,
    /// Of all others.
    others: Ledger,
    /// Of those visits that tell what is true, were an arm to serve all.
    whole: Vec<Ledger>,
}

/// Lets an experiment run in a market. `artifacts` are the arms' models, in their order; the
/// server works in `directory`, where it leaves models, experiment and log. `day` is called
/// with the number of days that have passed.
///
/// # Errors
/// [`MarketError`], and those of `day`.
pub fn run(
    config: &MarketConfig,
    contract: &Contract,
    artifacts: &[PathBuf],
    directory: &Path,
    day: &mut dyn FnMut(u64) -> crosstie::Result<()>,
) -> Result<MarketReport, MarketError> {
    let mut simulation = Simulation::start(config, contract, artifacts, directory)?;
    let mut days = Vec::new();
    for passed in 0..config.before_days + config.days {
        day(passed)?;
        if passed == config.before_days {
            simulation.begin(directory)?;
        }
        let state = simulation.state();
        let truth = simulation.serve(passed, state.as_ref())?;
        simulation.end(passed)?;
        days.extend(state.map(|state| (state, truth)));
    }
    simulation.report(days)
}

impl<'a> Simulation<'a> {
    fn start(
        config: &'a MarketConfig,
        contract: &'a Contract,
        artifacts: &[PathBuf],
        directory: &Path,
    ) -> Result<Simulation<'a>, MarketError> {
        let market = Market::new(config)?;
        let objects = Objects::new(&market, &config.log.synth()?.schema())?;
        let (models, experiments) = (directory.join("models"), directory.join("experiments"));
        fs::create_dir_all(&experiments).map_err(Error::io(&experiments))?;
        let served = publish(contract, artifacts, &models)?;
        let mut settings = settings::Settings::default();
        settings.repository.directory = Some(models);
        settings.repository.poll_seconds = 0.0;
        settings.log.directory = Some(directory.join("log"));
        settings.experiments.directory = Some(experiments);
        settings.experiments.window_hours = 24.0 * config.window_days as f64;
        settings.compute.queue = AT_A_TIME;
        settings.limits.concurrency = AT_A_TIME;
        settings.timeouts.request_seconds = 600.0;
        let clock = Clock::simulated(START);
        let server = Portless::start(settings, clock.clone())?;
        let mut arms = Vec::new();
        for (model, number) in served {
            let version = server.state().repository.version(&model, Some(&number.to_string()));
            let version = version.map_err(|failure| Error::Experiment(failure.to_string()))?;
            let scorer = version.scorer();
            let task = scorer.tasks().iter().position(|name| *name == config.task).ok_or_else(|| {
                let hint = spelling::hint(&config.task, scorer.tasks().iter().map(String::as_str));
                Error::Experiment(format!("the model `{model}` has no task `{}`{hint}", config.task))
            })?;
            arms.push(Arm { workspace: scorer.workspace(ROWS), version, task });
        }
        let expected = vec![(0.0, 0.0); arms.len()];
        Ok(Simulation { config, contract, market, objects, server, clock, arms, open: BTreeMap::new(), expected })
    }

    /// Puts the experiment where the server finds it, and has it look.
    fn begin(&mut self, directory: &Path) -> Result<(), MarketError> {
        let path = directory.join("experiments").join(format!("{}.toml", self.contract.name));
        let text = self.contract.to_toml()?;
        durable::write_file(&path, text)?;
        self.server.state().experiments.look()?;
        Ok(())
    }

    /// Where the experiment stands; `None` before it began.
    fn state(&self) -> Option<State> {
        self.server.state().experiments.states().pop().map(|(_, state)| state)
    }

    /// Serves the visits of a day, and gives the true lifts on it.
    fn serve(&mut self, day: u64, state: Option<&State>) -> Result<Vec<f64>, MarketError> {
        let mut purses = self.purses(state);
        let mut today = vec![(0.0, 0.0); self.arms.len()];
        let visits = self.market.visits(day);
        for of_hour in visits.chunk_by(|one, other| one.hour == other.hour) {
            let half = day as i64 * DAY + of_hour[0].hour as i64 * HOUR + HOUR / 2;
            self.tell_until(half)?;
            self.clock.set(START.after(half));
            for visits in of_hour.chunks(AT_A_TIME) {
                self.ask(day, visits, state, &mut purses)?;
            }
            if state.is_some() {
                self.truth(day, of_hour, &mut purses.whole, &mut today)?;
            }
        }
        // What is not known at the end is not measured.
        if state.is_some() && day + self.config.window_days < self.config.before_days + self.config.days {
            self.expected.iter_mut().zip(&today).for_each(|(sum, today)| *sum = (sum.0 + today.0, sum.1 + today.1));
        }
        Ok(lifts(&today))
    }

    fn purses(&self, state: Option<&State>) -> Purses {
        let part = match state {
            Some(state) if state.status == Status::Running => self.contract.steps[state.step].traffic / 100.0,
            _ => 0.0,
        };
        let shares = self.contract.shares();
        Purses {
            arms: shares.iter().map(|share| Ledger::new(self.config, share * part)).collect(),
            others: Ledger::new(self.config, 1.0 - part),
            whole: shares.iter().map(|_| Ledger::new(self.config, self.config.truth_share)).collect(),
        }
    }

    /// Asks the server for some visits, and draws what comes of it.
    fn ask(
        &mut self,
        day: u64,
        visits: &[Visit],
        state: Option<&State>,
        purses: &mut Purses,
    ) -> Result<(), MarketError> {
        let contexts = self.objects.contexts(&self.market, visits)?;
        let mut asked = Vec::new();
        let mut bodies = Vec::new();
        for (visit, context) in visits.iter().zip(contexts) {
            let place = state.map(|state| self.contract.place(state, &visit.user.to_string()));
            let arm = place.filter(|place| place.takes_part).map(|place| place.arm);
            let open = self.market.open(visit, arm.map_or(&purses.others, |arm| &purses.arms[arm]));
            if open.is_empty() {
                continue;
            }
            let id = format!("d{day}-u{}-{}", visit.user, visit.number);
            let (model, _) = self.contract.arms[0].model();
            let terms = Terms { model, id: &id, task: &self.config.task, top: self.config.slots };
            bodies.push(self.objects.request(visit, &context, &open, &terms));
            asked.push((visit, arm, open, id));
        }
        let mut spent: Vec<(Option<usize>, (usize, f64))> = Vec::new();
        for ((visit, arm, open, id), (status, body)) in asked.into_iter().zip(self.server.post("/v1/rank", bodies)) {
            let ranked: Ranked = answer("/v1/rank", status, &body)?;
            let winners: Vec<usize> = ranked.candidates.iter().map(|candidate| open[candidate.index]).collect();
            for (place, actions) in winners.iter().zip(self.market.outcomes(day, visit, &winners)) {
                // Candidates are named by their place in the request.
                let index = open.iter().position(|open| open == place).unwrap_or_default();
                for action in actions {
                    let brand = self.market.crowd().brand(visit.candidates[*place].item);
                    let in_time = action.delay <= self.config.window_days as f64;
                    spent.extend(action.paid.filter(|_| in_time).map(|paid| (arm, (brand, paid))));
                    self.remember(&id, index, &action);
                }
            }
        }
        for (arm, spent) in spent {
            let purse = arm.map_or(&mut purses.others, |arm| &mut purses.arms[arm]);
            purse.spend(vec![spent]);
        }
        Ok(())
    }

    /// Keeps an action of what is shown now, to tell it when it happens.
    fn remember(&mut self, request: &str, candidate: usize, action: &Action) {
        let time = self.clock.now().after((action.delay * DAY as f64) as i64);
        let mut event = json!({
            "request": request, "candidate": candidate, "action": action.task, "time": time.to_string(),
        });
        if let Some(paid) = action.paid {
            event["value"] = paid.into();
        }
        let since = time.0 - START.0;
        self.open.entry(since.div_euclid(HOUR)).or_default().push(event.to_string());
    }

    /// Tells the server what has happened by now, so many microseconds after the start.
    fn tell_until(&mut self, now: i64) -> Result<(), MarketError> {
        while let Some(first) = self.open.first_entry().filter(|first| (first.key() + 1) * HOUR <= now) {
            self.clock.set(START.after((first.key() + 1) * HOUR));
            for events in first.remove().chunks(EVENTS) {
                let body = format!("[{}]", events.join(","));
                for (status, body) in self.server.post("/v1/feedback", vec![body]) {
                    let _: serde::de::IgnoredAny = answer("/v1/feedback", status, &body)?;
                }
            }
        }
        Ok(())
    }

    /// Adds what each arm would earn by some visits, and to how many impressions.
    fn truth(
        &mut self,
        day: u64,
        visits: &[Visit],
        whole: &mut [Ledger],
        today: &mut [(f64, f64)],
    ) -> Result<(), MarketError> {
        let mut spent = vec![Vec::new(); whole.len()];
        let visits: Vec<&Visit> = visits.iter().filter(|visit| self.market.tells_truth(day, visit)).collect();
        for visits in visits.chunks((ROWS / self.config.candidates as usize).max(1)) {
            let all: Vec<Impression> = visits.iter().flat_map(|visit| visit.candidates.iter().copied()).collect();
            let rows = Rows::new(self.market.crowd().rows(&all), "market");
            for (place, arm) in self.arms.iter_mut().enumerate() {
                let scores = arm.version.scorer().score_rows(&mut arm.workspace, &rows)?;
                let scores: Vec<f64> = scores.from_impression(arm.task).collect();
                for (visit, scores) in visits.iter().zip(scores.chunks(self.config.candidates as usize)) {
                    let winners = self.market.winners(visit, scores, &whole[place]);
                    let earned = self.market.expect(visit, &winners);
                    today[place].0 += earned.iter().map(|(_, money)| money).sum::<f64>();
                    today[place].1 += winners.len() as f64;
                    spent[place].extend(earned);
                }
            }
        }
        whole.iter_mut().zip(spent).for_each(|(whole, spent)| whole.spend(spent));
        Ok(())
    }

    /// Ends a day: all that has happened is told, and the server looks at its experiment.
    fn end(&mut self, day: u64) -> Result<(), MarketError> {
        let midnight = (day as i64 + 1) * DAY;
        self.tell_until(midnight)?;
        self.clock.set(START.after(midnight));
        self.server.flush()?;
        let of_experiment = (day + 1).checked_sub(self.config.before_days).filter(|days| *days > 0);
        if of_experiment.is_some_and(|days| days % self.config.check_days == 0) {
            self.server.state().experiments.check();
        }
        Ok(())
    }

    /// What the log says, and what is true.
    fn report(self, days: Vec<(State, Vec<f64>)>) -> Result<MarketReport, MarketError> {
        let log = self.server.state().settings.log.directory.clone().into_iter().collect::<Vec<_>>();
        let state = self.state().unwrap_or_else(|| State::started(0));
        let tasks = [self.config.task.clone()];
        let question = Question {
            contract: self.contract,
            began: state.began,
            window: self.config.window_days as i64 * DAY,
            tasks: &tasks,
            rates: true,
            earned: Some(&self.config.task),
            settings: Settings::default(),
        };
        let before = (self.config.before_days > 0).then_some(START);
        let measured = question.report(&question.ask(&Joined::without_features(&log)?, before)?);
        let days =
            days.into_iter().enumerate().map(|(day, (state, truth))| self.day(day as u64, state, truth, &measured));
        let days = days.collect();
        let ecpm: Vec<f64> = self.expected.iter().map(|(earned, shown)| 1e3 * earned / shown).collect();
        Ok(MarketReport { days, truth: lifts(&self.expected), ecpm, measured, state })
    }

    /// What was known at the end of a day: of what was shown up to a window before.
    fn day(&self, day: u64, state: State, truth: Vec<f64>, measured: &StudyReport) -> MarketDay {
        let first = START.0.div_euclid(DAY) + self.config.before_days as i64;
        let known = first + day as i64 - self.config.window_days as i64;
        let snapshot = measured.over_time.iter().rev().find(|snapshot| snapshot.day <= known);
        let lifts = |snapshot: &crosstie::experiment::Snapshot| {
            let of_ecpm = snapshot.differences.iter().filter(|difference| difference.measure == ECPM);
            of_ecpm.map(|difference| difference.best().copied()).collect()
        };
        MarketDay {
            day,
            state,
            units: snapshot.map_or_else(|| vec![0; self.arms.len()], |snapshot| snapshot.units.clone()),
            measured: snapshot.map_or_else(|| vec![None; self.arms.len() - 1], lifts),
            truth,
        }
    }
}

/// Reads an answer.
fn answer<'de, T: Deserialize<'de>>(path: &'static str, status: u16, body: &'de [u8]) -> Result<T, MarketError> {
    let refused = |said: String| MarketError::Refused { path, status, said };
    if status != 200 {
        return Err(refused(String::from_utf8_lossy(body).into_owned()));
    }
    serde_json::from_slice(body).map_err(|error| refused(error.to_string()))
}

/// Makes a repository of the arms' models, and tells model and version of each.
fn publish(contract: &Contract, artifacts: &[PathBuf], models: &Path) -> Result<Vec<(String, u64)>, MarketError> {
    let mut served: Vec<(String, u64)> = Vec::new();
    for (place, (arm, artifact)) in contract.arms.iter().zip(artifacts).enumerate() {
        let (model, version) = arm.model();
        let number: u64 = version.unwrap_or("1").parse().map_err(|_| {
            Error::Experiment(format!("arm `{}`: the version in \"{}\" is no whole number", arm.name, arm.model))
        })?;
        let key = (model.to_string(), number);
        match served.iter().position(|of| *of == key) {
            Some(other) if artifacts[other] != *artifact => {
                let (one, two) = (&contract.arms[other].name, &contract.arms[place].name);
                let message = format!("arms `{one}` and `{two}` are both served by `{}`; give each its own", arm.model);
                return Err(Error::Experiment(message).into());
            }
            Some(_) => {}
            None => copy(artifact, &models.join(model).join(number.to_string()))?,
        }
        served.push(key);
    }
    Ok(served)
}

fn copy(from: &Path, to: &Path) -> crosstie::Result<()> {
    fs::create_dir_all(to).map_err(Error::io(to))?;
    for entry in fs::read_dir(from).map_err(Error::io(from))? {
        let path = entry.map_err(Error::io(from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => copy(&path, &target)?,
            false => drop(fs::copy(&path, &target).map_err(Error::io(&path))?),
        }
    }
    Ok(())
}
