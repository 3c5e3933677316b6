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
    // Small segments, so that some lives see their end.
    let settings = LogSettings { segment_bytes: 20_000, ..LogSettings::default() };
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
        candidate: CandidateName::Index(0),
        action: "click".into(),
        value: None,
        time: Time(0),
        received: Time(0),
        event: None,
    }
}

fn child(directory: &Path, first: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["the_child_that_is_killed", "--exact", "--nocapture"]);
    command.env(DIRECTORY, directory).env(FIRST, first.to_string()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Whole numbers that look drawn at random: the multiplicative generator of Park and Miller.
fn next(state: &mut u64) -> u64 {
    *state = *state * 48_271 % 2_147_483_647;
    *state
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kills() {
    let kills: u64 = std::env::var("CROSSTIE_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut state = u64::from(std::process::id()) + 1;
    let mut acknowledged = HashSet::new();
    for kill in 0..kills {
        let mut child = child(directory.path(), kill * MOST);
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
    let log = Log::open(directory.path(), &LogSettings::default()).unwrap();
    let mut found: HashMap<String, u32> = HashMap::new();
    for segment in segments(directory.path()).unwrap() {
        let damages = segment.read(|record| {
            if let Event::Feedback(feedback) = record.event {
                *found.entry(feedback.request).or_default() += 1;
            }
            Ok(())
        });
        assert_eq!(damages.unwrap(), [], "a start leaves whole records only");
    }
    let lost: Vec<&u64> = acknowledged.iter().filter(|number| !found.contains_key(&format!("r{number}"))).collect();
    let doubled: Vec<&String> = found.iter().filter(|(_, times)| **times > 1).map(|(request, _)| request).collect();
    assert!(lost.is_empty() && doubled.is_empty(), "lost {lost:?}, doubled {doubled:?}");
    println!("{kills} kills, {} events acknowledged, {} found", acknowledged.len(), found.len());
    drop(log);
}
