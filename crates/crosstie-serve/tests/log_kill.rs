//! Nothing that was acknowledged is lost or doubled, whenever the process is killed.
//!
//! The child is this test itself, called again. `CROSSTIE_KILLS` says how often it is
//! killed, ten times if it says nothing.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crosstie_serve::log::{CandidateName, Event, Exposure, Feedback, Log, LogSettings, Time, segments};

const DIRECTORY: &str = "CROSSTIE_LOG_KILL_DIRECTORY";
/// The first event of this life of the child.
const FIRST: &str = "CROSSTIE_LOG_KILL_FIRST";
/// Bytes that are kept, if not all are.
const KEEP: &str = "CROSSTIE_LOG_KILL_KEEP";
/// Threads that send feedback.
const CLIENTS: u64 = 8;
/// Events of one client in one life; more than it lives to send.
const MOST: u64 = 1_000_000;

/// Sends feedback until it is killed, and says which events were acknowledged. Each client
/// sends every third event twice, as one does that heard no answer.
#[test]
fn the_child_that_is_killed() {
    let (Ok(directory), Ok(first)) = (std::env::var(DIRECTORY), std::env::var(FIRST)) else { return };
    let first: u64 = first.parse().unwrap();
    let keep_bytes = std::env::var(KEEP).map_or(0, |bytes| bytes.parse().unwrap());
    // Small segments, so that some lives see their end.
    let settings = LogSettings { segment_bytes: 20_000, keep_bytes, ..LogSettings::default() };
    let log = Log::open(Path::new(&directory), &settings).unwrap();
    println!("\nopen");
    let client = |client: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for number in (first + client..first + MOST).step_by(CLIENTS as usize) {
            let exposure = Exposure { request: format!("r{number}"), time: Time::now(), ..Exposure::default() };
            runtime.block_on(log.exposure(exposure)).unwrap();
            for _ in 0..1 + usize::from(number % 3 == 0) {
                runtime.block_on(log.feedback(vec![feedback(number)])).unwrap();
            }
            // One write, so that no line is torn.
            std::io::stdout().write_all(format!("acknowledged {number}\n").as_bytes()).unwrap();
        }
    };
    std::thread::scope(|scope| (0..CLIENTS).for_each(|number| drop(scope.spawn(move || client(number)))));
}

fn feedback(number: u64) -> Feedback {
    Feedback {
        request: format!("r{number}"),
        candidate: CandidateName::Number(0),
        action: "click".into(),
        value: None,
        time: Time(0),
        received: Time(0),
        event: None,
    }
}

fn child(directory: &Path, first: u64, keep_bytes: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["the_child_that_is_killed", "--exact", "--nocapture"]);
    command.env(DIRECTORY, directory).env(FIRST, first.to_string()).env(KEEP, keep_bytes.to_string());
    command.stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Whole numbers that look drawn at random: the multiplicative generator of Park and Miller.
fn next(state: &mut u64) -> u64 {
    *state = *state * 48_271 % 2_147_483_647;
    *state
}

fn kills() -> u64 {
    std::env::var("CROSSTIE_KILLS").map_or(10, |kills| kills.parse().unwrap())
}

/// Kills the child so often; the events that it acknowledged.
fn acknowledged(directory: &Path, kills: u64, keep_bytes: u64) -> HashSet<u64> {
    let mut state = u64::from(std::process::id()) + 1;
    let mut acknowledged = HashSet::new();
    for kill in 0..kills {
        let mut child = child(directory, kill * MOST, keep_bytes);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "open"), "the log cannot be opened after {kill} kills");
        // Killed between two acknowledgements, and so at any place of the writing thread.
        let after = next(&mut state) % 300;
        let of_line = |line: String| line.strip_prefix("acknowledged ").unwrap().parse::<u64>().unwrap();
        acknowledged.extend(lines.by_ref().take(after as usize).map(of_line));
        child.kill().unwrap();
        // What it had said before it died counts, too.
        acknowledged.extend(lines.map(of_line));
        child.wait().unwrap();
    }
    acknowledged
}

/// The events that are in the log after one more start, and how often.
fn found(directory: &Path) -> HashMap<u64, u32> {
    let log = Log::open(directory, &LogSettings::default()).unwrap();
    let mut found: HashMap<u64, u32> = HashMap::new();
    for segment in segments(directory).unwrap() {
        let damages = segment.read(|record| {
            if let Event::Feedback(feedback) = record.event {
                *found.entry(feedback.request[1..].parse().unwrap()).or_default() += 1;
            }
            Ok(())
        });
        assert_eq!(damages.unwrap(), [], "a start leaves whole records only");
    }
    drop(log);
    found
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kills() {
    let directory = tempfile::tempdir().unwrap();
    let acknowledged = acknowledged(directory.path(), kills(), 0);
    let found = found(directory.path());
    let lost: Vec<&u64> = acknowledged.iter().filter(|number| !found.contains_key(number)).collect();
    let doubled: Vec<&u64> = found.iter().filter(|(_, times)| **times > 1).map(|(number, _)| number).collect();
    assert!(lost.is_empty() && doubled.is_empty(), "lost {lost:?}, doubled {doubled:?}");
    println!("{} kills, {} events acknowledged, {} found", kills(), acknowledged.len(), found.len());
}

#[test]
fn a_log_that_is_killed_while_it_removes_what_is_not_kept_has_no_gap() {
    let directory = tempfile::tempdir().unwrap();
    let acknowledged = acknowledged(directory.path(), kills(), 60_000);
    let numbers: Vec<u64> = segments(directory.path()).unwrap().iter().map(|segment| segment.number).collect();
    assert!(numbers[0] > 1 && numbers.is_sorted_by(|one, next| one + 1 == *next), "{numbers:?}");
    let found = found(directory.path());
    // A client waits for each of its events, so they stand in their order: from the first
    // that is there on, all are.
    for client in 0..CLIENTS {
        let of_client = |number: &&u64| **number % CLIENTS == client;
        let first = found.keys().filter(of_client).min().copied().unwrap_or(u64::MAX);
        let lost: Vec<&u64> = acknowledged
            .iter()
            .filter(of_client)
            .filter(|number| **number > first && !found.contains_key(number))
            .collect();
        assert!(lost.is_empty(), "client {client} lost {lost:?} behind {first}");
    }
    println!("{} kills, {} events acknowledged, {} kept", kills(), acknowledged.len(), found.len());
}
