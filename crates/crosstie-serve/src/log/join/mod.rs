//! Exposures and what came of them, brought together.
//!
//! [`Joined::read`] goes through logs once and keeps of each exposure where it stands, and
//! of each feedback event what it says: about 50 bytes of the former, 150 of the latter. [`Joined::each`] then
//! reads the exposures one by one, in the order of their times. Logs of several servers are
//! one log: feedback may be heard by another server than the one that scored.
//!
//! An action **happened** if it was done at most the window after the exposure. What a
//! client says was done before the exposure, or after it was heard of, is a clock that goes
//! wrong: the action counts as done then. A repeated event counts once.
//!
//! Whether it happened is known when the window has **passed**: when the exposure is older
//! than the window, seen from the newest event of the log. Until then labels are null, also
//! of what happened already, or else the youngest rows would tell of actions too often.

mod cells;
mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crosstie::{Error, Result};

use super::event::{Candidate, CandidateName, Event, Exposure, Feedback, key};
use super::read::{self, Damage, Segment};
use super::time::Time;
use cells::Seen;

pub use table::{Files, Report};

/// One or several logs, read through.
#[derive(Debug)]
pub struct Joined {
    segments: Vec<Segment>,
    /// By time.
    exposures: Vec<Place>,
    /// Those in whose place a later one of the same id stands.
    replaced: usize,
    feedback: HashMap<u128, Vec<Heard>>,
    actions: Vec<String>,
    /// Actions of which a value was told.
    valued: HashSet<u32>,
    features: BTreeMap<String, Seen>,
    /// Features of which a value cannot be read.
    unreadable: BTreeSet<String>,
    tasks: BTreeSet<String>,
    newest: Time,
    /// What is from before this may have been removed.
    cut: Option<Time>,
    damages: Vec<Damage>,
}

/// Where an exposure stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    time: Time,
    request: u128,
    segment: u32,
    offset: u64,
    length: usize,
}

/// What a feedback event says.
#[derive(Clone, Copy, Debug)]
struct Heard {
    candidate: Which,
    action: u32,
    event: Option<u128>,
    value: Option<f64>,
    time: Time,
}

/// [`CandidateName`] in few bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Which {
    Number(u32),
    Id(u128),
}

/// An action that happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Which of the exposure's candidates, by its place in them.
    pub candidate: usize,
    /// Index into [`Joined::actions`].
    pub action: usize,
    /// What it was worth, if the client said so.
    pub value: Option<f64>,
    /// When it was done.
    pub time: Time,
}

/// Feedback that belongs to nothing that was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unmatched {
    /// Events of requests that no log tells of.
    pub requests: u64,
    /// Events of candidates that were not among those answered.
    pub candidates: u64,
}

impl Joined {
    /// Reads logs through, also such as are being written.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a directory that is no log or of a newer format,
    /// [`Error::File`] for a record that is whole and none of ours, [`Error::Io`].
    pub fn read(logs: &[PathBuf]) -> Result<Joined> {
        Joined::read_through(logs, true)
    }

    /// The same for those who ask for no table: features are not looked at, which takes most
    /// of the time.
    ///
    /// # Errors
    /// As of [`Joined::read`].
    pub fn without_features(logs: &[PathBuf]) -> Result<Joined> {
        Joined::read_through(logs, false)
    }

    fn read_through(logs: &[PathBuf], features: bool) -> Result<Joined> {
        let mut joined = Joined {
            segments: Vec::new(),
            exposures: Vec::new(),
            replaced: 0,
            feedback: HashMap::new(),
            actions: Vec::new(),
            valued: HashSet::new(),
            features: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            tasks: BTreeSet::new(),
            newest: Time(i64::MIN),
            cut: None,
            damages: Vec::new(),
        };
        let mut actions = HashMap::new();
        for log in logs {
            for segment in of_log(log)? {
                let number = joined.segments.len() as u32;
                let read = segment.read(|record| {
                    match record.event {
                        Event::Segment(_) => {}
                        Event::Exposure(exposure) => {
                            joined.expose(&exposure, number, record.offset, record.length);
                            if features {
                                joined.describe(&exposure);
                            }
                        }
                        Event::Feedback(feedback) => joined.hear(feedback, &mut actions),
                    }
                    Ok(())
                });
                match read {
                    Ok(damages) => joined.damages.extend(damages),
                    // Its server does not keep it any longer.
                    Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                joined.segments.push(segment);
            }
        }
        // Last, since segments may be removed while others are read.
        joined.cut = read::cut_at(logs)?;
        joined.order();
        Ok(joined)
    }

    fn expose(&mut self, exposure: &Exposure, segment: u32, offset: u64, length: usize) {
        self.newest = self.newest.max(exposure.time);
        for task in &exposure.tasks {
            if !self.tasks.contains(task) {
                self.tasks.insert(task.clone());
            }
        }
        let request = key(&[&exposure.request]);
        self.exposures.push(Place { time: exposure.time, request, segment, offset, length });
    }

    /// Takes notice of what features hold.
    fn describe(&mut self, exposure: &Exposure) {
        let own = exposure.candidates.iter().map(|candidate| &candidate.features);
        for features in exposure.user.iter().chain(&exposure.context).chain(own) {
            let (values, unreadable) = features.read();
            for (name, value) in values {
                self.features.entry(name).or_default().add(&value);
            }
            self.unreadable.extend(unreadable);
        }
    }

    fn hear(&mut self, feedback: Feedback, actions: &mut HashMap<String, u32>) {
        self.newest = self.newest.max(feedback.received);
        let known = actions.len() as u32;
        let action = *actions.entry(feedback.action).or_insert_with_key(|name| {
            self.actions.push(name.clone());
            known
        });
        if feedback.value.is_some() {
            self.valued.insert(action);
        }
        let candidate = match feedback.candidate {
            CandidateName::Number(number) => Which::Number(number),
            CandidateName::Id(id) => Which::Id(key(&[&id])),
        };
        let event = feedback.event.map(|event| key(&[&event]));
        let time = feedback.time.min(feedback.received);
        let heard = Heard { candidate, action, event, value: feedback.value, time };
        self.feedback.entry(key(&[&feedback.request])).or_default().push(heard);
    }

    /// Sorts all that was read, so that nothing depends on who heard what first.
    fn order(&mut self) {
        // Of one request the last exposure counts.
        self.exposures.sort_by_key(|place| (place.request, place.time, place.segment, place.offset));
        self.exposures.reverse();
        let all = self.exposures.len();
        self.exposures.dedup_by_key(|place| place.request);
        self.replaced = all - self.exposures.len();
        self.exposures.sort_by_key(|place| (place.time, place.request));

        let mut names = self.actions.clone();
        names.extend(self.tasks.iter().cloned());
        names.sort();
        names.dedup();
        let place = |name: &String| names.binary_search(name).unwrap_or_default() as u32;
        let places: Vec<u32> = self.actions.iter().map(place).collect();
        for heard in self.feedback.values_mut() {
            heard.iter_mut().for_each(|heard| heard.action = places[heard.action as usize]);
            heard.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| total(a.value).total_cmp(&total(b.value))));
        }
        self.valued = self.valued.iter().map(|action| places[*action as usize]).collect();
        self.actions = names;
    }

    /// The actions: all tasks of all artifacts and all others that happened, by name.
    pub fn actions(&self) -> &[String] {
        &self.actions
    }

    /// The tasks of all artifacts that scored, by name.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.tasks.iter().map(String::as_str)
    }

    /// The actions of which a value was told, by name.
    pub fn valued(&self) -> impl Iterator<Item = &str> {
        let all = self.actions.iter().enumerate();
        all.filter(|(action, _)| self.valued.contains(&(*action as u32))).map(|(_, name)| name.as_str())
    }

    /// Number of exposures.
    pub fn exposures(&self) -> usize {
        self.exposures.len()
    }

    /// Number of exposures that do not count, for there is a later one of the same id.
    pub fn replaced(&self) -> usize {
        self.replaced
    }

    /// The time of the newest event, by the clocks of the servers; `None` of logs without any.
    pub fn newest(&self) -> Option<Time> {
        (self.newest != Time(i64::MIN)).then_some(self.newest)
    }

    /// Whether something of this day may have been removed from a log before it was read.
    pub fn is_cut(&self, day: &str) -> bool {
        self.cut.is_some_and(|cut| *day <= *cut.day())
    }

    /// What of the logs cannot be read, and was left out.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Features of which some value cannot be read, by name. Such a value counts as missing;
    /// a server of this version takes none.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(String::as_str)
    }

    /// Calls `each` with every exposure, by time, and all that happened with its candidates,
    /// whenever it did, by time. An event counts once, however often it was sent.
    ///
    /// # Errors
    /// Those of `each`; [`Error::File`] where a log was changed since it was read through,
    /// [`Error::Io`].
    pub fn each(&self, mut each: impl FnMut(Exposure, &[Outcome]) -> Result<()>) -> Result<Unmatched> {
        let mut unmatched = Unmatched::default();
        let mut matched = 0;
        let mut open: Option<(u32, File)> = None;
        for place in &self.exposures {
            let segment = &self.segments[place.segment as usize];
            let mut file = match open.take() {
                Some((number, file)) if number == place.segment => file,
                _ => File::open(&segment.path).map_err(|error| match error.kind() {
                    ErrorKind::NotFound => {
                        Error::file(&segment.path, "was removed while the log was read; read it again")
                    }
                    _ => Error::io(&segment.path)(error),
                })?,
            };
            let event = segment.record_at(&mut file, place.offset, place.length)?;
            open = Some((place.segment, file));
            let Event::Exposure(exposure) = event else {
                let message = format!("the record at byte {} is no exposure any more", place.offset);
                return Err(Error::file(&segment.path, message));
            };
            let heard = self.feedback.get(&place.request).map_or(&[][..], Vec::as_slice);
            matched += heard.len() as u64;
            let outcomes = outcomes(&exposure, heard, &mut unmatched.candidates);
            each(*exposure, &outcomes)?;
        }
        unmatched.requests = self.feedback.values().map(|heard| heard.len() as u64).sum::<u64>() - matched;
        Ok(unmatched)
    }
}

/// A number to sort by; nothing comes first.
fn total(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NEG_INFINITY)
}

fn of_log(log: &Path) -> Result<Vec<Segment>> {
    match read::is_log(log)? {
        true => read::segments(log),
        false => Err(Error::unfit(log, "is no log: there is no segment such as 00000001.log in it")),
    }
}

/// What was done with which candidate, each event once.
fn outcomes(exposure: &Exposure, heard: &[Heard], strange: &mut u64) -> Vec<Outcome> {
    let mut seen = HashSet::new();
    let mut outcomes = Vec::with_capacity(heard.len());
    let has_number = |of: &Candidate| of.id.as_ref().is_some_and(|id| id.parse::<i128>().is_ok());
    let numbers_are_ids = exposure.candidates.iter().any(has_number);
    for &Heard { candidate, action, event, value, time } in heard {
        let place_of = |id: u128| {
            exposure.candidates.iter().position(|candidate| candidate.id.as_ref().is_some_and(|of| key(&[of]) == id))
        };
        let place = match candidate {
            Which::Number(number) if numbers_are_ids => place_of(key(&[&number.to_string()])),
            Which::Number(index) => exposure.candidates.iter().position(|candidate| candidate.index == index),
            Which::Id(id) => place_of(id),
        };
        let Some(candidate) = place else {
            *strange += 1;
            continue;
        };
        if seen.insert((candidate, action, event)) {
            outcomes.push(Outcome { candidate, action: action as usize, value, time });
        }
    }
    outcomes
}

#[cfg(test)]
mod tests;
