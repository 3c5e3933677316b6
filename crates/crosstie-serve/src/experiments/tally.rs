//! What became of requests, arm by arm, since the ramp's last step. A server keeps count in
//! memory and, whenever it looks at the evidence, puts a file `<experiment>.tally.json` into
//! the directory of its log, where others and its own next start read it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crosstie::experiment::{Contract, Count, Evidence, State};
use crosstie::{Error, Result, durable};
use serde::{Deserialize, Serialize};

/// Times are counted in classes, each 5 % wider than the one before, from 10 µs on.
const CLASSES: usize = 400;
const FIRST: f64 = 1e-5;
const RATIO: f64 = 1.05;

/// A count that goes on.
#[derive(Debug)]
pub struct Tally(Mutex<Counts>);

/// Counts of all arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counts(Vec<Arm>);

/// Counts of one arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Arm {
    requests: u64,
    failures: u64,
    unknown: u64,
    values: u64,
    /// Requests by class, up to the last that has any.
    times: Vec<u64>,
}

/// The file: counts, and of what.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    experiment: String,
    state: State,
    arms: Counts,
}

impl Tally {
    /// Nothing counted yet, of so many arms.
    pub fn new(arms: usize) -> Tally {
        Tally(Mutex::new(Counts::new(arms)))
    }

    /// Goes on with what was counted in this state before the server was started, if that is
    /// beside the log.
    pub fn resume(contract: &Contract, state: &State, log: Option<&Path>) -> Tally {
        // A file that cannot be read costs its counts; the next one replaces it.
        let found = log.and_then(|log| of_log(contract, state, log).ok().flatten());
        Tally(Mutex::new(found.unwrap_or_else(|| Counts::new(contract.arms.len()))))
    }

    /// Counts a request: how long it took, if it came to that, and of its values those that
    /// training did not know.
    pub fn count(&self, arm: usize, took: Option<Duration>, failed: bool, unknown: u64, values: u64) {
        let class = took.map(|took| (took.as_secs_f64() / FIRST).max(1.0).ln() / RATIO.ln());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = &mut counts.0[arm];
        counts.requests += 1;
        counts.failures += u64::from(failed);
        counts.unknown += unknown;
        counts.values += values;
        if let Some(class) = class.map(|class| (class as usize).min(CLASSES - 1)) {
            let classes = counts.times.len().max(class + 1);
            counts.times.resize(classes, 0);
            counts.times[class] += 1;
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts beside a log what was counted so far.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, contract: &Contract, state: &State, log: &Path) -> Result<()> {
        let path = file(contract, log);
        let kept = Kept { experiment: contract.name.clone(), state: state.clone(), arms: self.counts() };
        let text = serde_json::to_string(&kept).map_err(|error| Error::file(&path, error.to_string()))?;
        durable::write_file(&path, text + "\n")
    }
}

/// The sum of what servers counted in this state, of those that wrote beside their logs.
///
/// # Errors
/// [`Error::File`] for a file that is none of ours, [`Error::Io`].
pub fn read(contract: &Contract, state: &State, logs: &[PathBuf]) -> Result<Counts> {
    let mut sum = Counts::new(contract.arms.len());
    for log in logs {
        if let Some(counts) = of_log(contract, state, log)? {
            sum.0.iter_mut().zip(counts.0).for_each(|(sum, counts)| sum.add(&counts));
        }
    }
    Ok(sum)
}

fn file(contract: &Contract, log: &Path) -> PathBuf {
    log.join(format!("{}.tally.json", contract.name))
}

/// What a server counted in this state, if it has written that.
fn of_log(contract: &Contract, state: &State, log: &Path) -> Result<Option<Counts>> {
    let path = file(contract, log);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let kept: Kept = serde_json::from_str(&text).map_err(|error| {
        let anew = "move it away, and the server that writes it counts anew";
        Error::file(&path, format!("holds no counts ({error}); {anew}"))
    })?;
    Ok((kept.state == *state && kept.arms.0.len() == contract.arms.len()).then_some(kept.arms))
}

impl Counts {
    fn new(arms: usize) -> Counts {
        Counts(vec![Arm::default(); arms])
    }

    /// Adds what was counted to what is known otherwise.
    pub fn add_to(&self, evidence: &mut Evidence) {
        evidence.arms.resize_with(self.0.len(), Default::default);
        for (arm, counts) in evidence.arms.iter_mut().zip(&self.0) {
            let of = |number, of| (of > 0).then_some(Count { number, of });
            arm.failures = of(counts.failures, counts.requests);
            arm.unknown = of(counts.unknown, counts.values);
            arm.p99_ms = counts.p99_ms();
        }
    }
}

impl Arm {
    fn add(&mut self, other: &Arm) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.unknown += other.unknown;
        self.values += other.values;
        let classes = self.times.len().max(other.times.len());
        self.times.resize(classes, 0);
        self.times.iter_mut().zip(&other.times).for_each(|(sum, times)| *sum += times);
    }

    /// The upper end of the class that the 99th percentile falls into.
    fn p99_ms(&self) -> Option<f64> {
        let timed: u64 = self.times.iter().sum();
        let mut left = (timed as f64 * 0.99).ceil() as u64;
        let class = self.times.iter().position(|count| {
            let found = *count >= left;
            left = left.saturating_sub(*count);
            found
        });
        (timed > 0).then_some(class).flatten().map(|class| FIRST * RATIO.powi(class as i32 + 1) * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_arm_by_arm() {
        let tally = Tally::new(2);
        for request in 0..200u64 {
            let took = Duration::from_millis(if request < 197 { 2 } else { 50 });
            tally.count(1, Some(took), request < 4, request % 2, 5);
        }
        // Of what was not answered nobody knows how long it would have taken.
        (0..100).for_each(|_| tally.count(1, None, true, 0, 0));
        let mut evidence = Evidence::default();
        tally.counts().add_to(&mut evidence);
        assert_eq!(evidence.arms[0].p99_ms, None);
        assert_eq!(evidence.arms[0].failures, None);
        let arm = &evidence.arms[1];
        assert_eq!(arm.failures, Some(Count { number: 104, of: 300 }));
        assert_eq!(arm.unknown, Some(Count { number: 100, of: 1000 }));
        // Of 200 requests the 198th in order took 50 ms; a class is 5 % wide.
        let p99 = arm.p99_ms.unwrap();
        assert!((50.0..=52.5).contains(&p99), "{p99}");
    }

    #[test]
    fn no_time_is_too_short_or_too_long_to_be_counted() {
        let tally = Tally::new(1);
        tally.count(0, Some(Duration::ZERO), false, 0, 0);
        let mut evidence = Evidence::default();
        tally.counts().add_to(&mut evidence);
        assert!(evidence.arms[0].p99_ms.unwrap() < 0.011);
        (0..200).for_each(|_| tally.count(0, Some(Duration::from_secs(1 << 20)), false, 0, 0));
        tally.counts().add_to(&mut evidence);
        assert!(evidence.arms[0].p99_ms.unwrap() > 1e3);
    }

    #[test]
    fn counts_of_all_servers_add_up_and_those_of_another_state_do_not_count() {
        let text = "name = \"t\"\nunit = \"u\"\n[[arm]]\nname = \"a\"\nmodel = \"a\"\nshare = 50\n[[arm]]\n\
                    name = \"b\"\nmodel = \"b\"\nshare = 50\n[[step]]\ntraffic = 10\n";
        let (contract, state) = (Contract::parse(text).unwrap(), State::started(7));
        let logs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for log in &logs[..2] {
            let tally = Tally::new(2);
            (0..30).for_each(|request| tally.count(1, Some(Duration::from_millis(2)), request < 3, 1, 4));
            tally.write(&contract, &state, log.path()).unwrap();
            assert_eq!(Tally::resume(&contract, &state, Some(log.path())).counts(), tally.counts());
        }
        let paths: Vec<PathBuf> = logs.iter().map(|log| log.path().to_path_buf()).collect();
        let mut evidence = Evidence::default();
        read(&contract, &state, &paths).unwrap().add_to(&mut evidence);
        assert_eq!(evidence.arms[1].failures, Some(Count { number: 6, of: 60 }), "the third has written nothing yet");
        let later = State { step: 1, ..state.clone() };
        assert_eq!(read(&contract, &later, &paths).unwrap(), Counts::new(2), "they are counts of the step before");
        fs::write(paths[2].join("t.tally.json"), "{").unwrap();
        assert!(read(&contract, &state, &paths).unwrap_err().to_string().contains("t.tally.json"));
    }
}
