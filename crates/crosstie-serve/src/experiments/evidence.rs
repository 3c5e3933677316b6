//! What is known of an experiment: from the logs of all servers, and what they put beside
//! them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crosstie::experiment::{Contract, ECPM, Evidence, State};
use crosstie::{Error, Result};

use super::study::Question;
use super::tally;
use crate::log;
use crate::log::join::Joined;

/// A server's own log, and those that lie in a directory beside each other: each once.
///
/// # Errors
/// [`Error::Io`].
pub fn logs(own: &Path, all: Option<&Path>) -> Result<Vec<PathBuf>> {
    let whole = |path: &Path| path.canonicalize().map_err(Error::io(path));
    let mut logs = BTreeSet::from([whole(own)?]);
    if let Some(all) = all {
        for entry in fs::read_dir(all).map_err(Error::io(all))? {
            let path = entry.map_err(Error::io(all))?.path();
            if path.is_dir() && log::is_log(&path)? {
                logs.insert(whole(&path)?);
            }
        }
    }
    Ok(logs.into_iter().collect())
}

/// Units, calibration and eCPM of an experiment's arms since it began, from all of the logs,
/// and what requests came to since the ramp's last step, on all servers. An action counts if
/// it was done within the window, and a candidate once the window has passed; units count at
/// once. A request that several logs tell of counts once.
///
/// # Errors
/// Those of [`Joined::without_features`] and [`Joined::each`].
pub fn read(contract: &Contract, state: &State, logs: &[PathBuf], window: Duration) -> Result<Evidence> {
    let tasks: Vec<String> = contract.guard.calibration.keys().cloned().collect();
    let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
    let question = Question::of_ramp(contract, state, &tasks, window);
    let joined = Joined::without_features(logs)?;
    let mut evidence = question.report(&question.ask(&joined, None)?).evidence(ECPM);
    evidence.valued = joined.valued().map(String::from).collect();
    tally::read(contract, state, logs)?.add_to(&mut evidence);
    Ok(evidence)
}
