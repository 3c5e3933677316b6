use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::log::line::{self, Piece};

/// A disk in memory: what was forced to it survives a loss of power, of the rest any part.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    segments: BTreeMap<u64, Bytes>,
    calls: usize,
    /// Which calls fail.
    fails: std::ops::Range<usize>,
}

#[derive(Default)]
struct Bytes {
    written: Vec<u8>,
    forced: usize,
}

struct MemoryFile(Memory, u64);

impl Memory {
    fn failing(calls: std::ops::Range<usize>) -> Memory {
        let memory = Memory::default();
        memory.0.lock().unwrap().fails = calls;
        memory
    }

    /// The number of calls so far.
    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    /// What `done` does to the disk; where the call fails, what `half` does.
    fn call<T>(&self, done: impl FnOnce(&mut State) -> T, half: impl FnOnce(&mut State)) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        let call = state.calls;
        state.calls += 1;
        if state.fails.contains(&call) {
            half(&mut state);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(done(&mut state))
    }

    /// The events after a loss of power that kept a part of what was not forced:
    /// nothing (0), half (1) or all (2) of it.
    fn events(&self, part: usize) -> Vec<Event> {
        let state = self.0.lock().unwrap();
        let kept = state.segments.values().flat_map(|Bytes { written, forced }| {
            let bytes = &written[..forced + (written.len() - forced) * part / 2];
            let records = line::pieces(bytes).filter_map(|piece| match piece {
                Piece::Record(json, _) => Some(serde_json::from_slice(json).unwrap()),
                _ => None,
            });
            records.collect::<Vec<Event>>()
        });
        kept.collect()
    }

    /// The segments that there are.
    fn numbers(&self) -> Vec<u64> {
        self.0.lock().unwrap().segments.keys().copied().collect()
    }

    /// The feedback of [`Memory::events`], by its own ids.
    fn feedback(&self, part: usize) -> Vec<String> {
        let events = self.events(part).into_iter();
        events.filter_map(|event| if let Event::Feedback(feedback) = event { feedback.event } else { None }).collect()
    }
}

impl Disk for Memory {
    type File = MemoryFile;

    fn create(&mut self, number: u64) -> io::Result<MemoryFile> {
        let created = self.call(|state| state.segments.insert(number, Bytes::default()).is_none(), |_| ())?;
        assert!(created, "segment {number} was there");
        Ok(MemoryFile(self.clone(), number))
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        self.call(|state| state.segments.remove(&number), |_| ()).map(drop)
    }
}

impl MemoryFile {
    fn call(&self, done: impl FnOnce(&mut Bytes), half: impl FnOnce(&mut Bytes)) -> io::Result<()> {
        let of = |state: &mut State, f: &mut dyn FnMut(&mut Bytes)| f(state.segments.get_mut(&self.1).unwrap());
        let (mut done, mut half) = (Some(done), Some(half));
        self.0.call(
            |state| of(state, &mut |bytes| done.take().unwrap()(bytes)),
            |state| of(state, &mut |bytes| half.take().unwrap()(bytes)),
        )
    }
}

impl DiskFile for MemoryFile {
    fn append(&mut self, new: &[u8]) -> io::Result<()> {
        let write = |bytes: &mut Bytes, new: &[u8]| bytes.written.extend_from_slice(new);
        self.call(|bytes| write(bytes, new), |bytes| write(bytes, &new[..new.len() / 2]))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.call(|bytes| bytes.forced = bytes.written.len(), |_| ())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let cut = |bytes: &mut Bytes| {
            bytes.written.truncate(length as usize);
            bytes.forced = bytes.forced.min(length as usize);
        };
        self.call(cut, |_| ())
    }
}

type Waiting = oneshot::Receiver<Result<Accepted, Refusal>>;

fn feedback(id: usize) -> (Entry, Waiting) {
    let feedback = crate::log::Feedback {
        request: "r1".into(),
        candidate: crate::log::CandidateName::Number(0),
        action: "click".into(),
        value: None,
        time: crate::log::Time(0),
        received: crate::log::Time(0),
        event: Some(id.to_string()),
    };
    Entry::awaited([(Some(feedback.key()), Event::Feedback(feedback).to_line())])
}

fn exposure() -> Vec<u8> {
    Event::Exposure(Box::default()).to_line()
}

fn writer(disk: &Memory, segment_bytes: usize) -> Writer<Memory> {
    let settings = LogSettings { segment_bytes, ..LogSettings::default() };
    writer_of(disk, &settings)
}

fn writer_of(disk: &Memory, settings: &LogSettings) -> Writer<Memory> {
    let found = Found { next: 1, recent: Recent::default(), cut_bytes: 0, rolled: VecDeque::new() };
    Writer::new(disk.clone(), settings, Keep::of(settings, Duration::ZERO), found, Arc::default())
}

/// Commits entries together and gives their answers.
fn commit(writer: &mut Writer<Memory>, entries: Vec<(Entry, Waiting)>) -> Vec<Result<Accepted, Refusal>> {
    let (entries, waiting): (Vec<Entry>, Vec<Waiting>) = entries.into_iter().unzip();
    writer.commit(entries);
    waiting.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect()
}

const NEW: Result<Accepted, Refusal> = Ok(Accepted { accepted: 1, repeated: 0 });
const AGAIN: Result<Accepted, Refusal> = Ok(Accepted { accepted: 0, repeated: 1 });

/// Commits ten times two events, each again until it is taken.
fn ten_commits(disk: &Memory) -> usize {
    let mut writer = writer(disk, 700);
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for round in 0..10 {
        let ids = [2 * round, 2 * round + 1];
        loop {
            let answers = commit(&mut writer, ids.map(feedback).into());
            assert!(answers.iter().all(|answer| answer.is_ok() == answers[0].is_ok()), "one write, one fate");
            if answers[0].is_ok() {
                acknowledged.extend(ids.map(|id| id.to_string()));
                break;
            }
            assert_eq!(
                answers[0],
                Err(Refusal::Disk { message: io::Error::from(io::ErrorKind::StorageFull).to_string() })
            );
            refused += 1;
        }
        for part in 0..3 {
            let mut found = disk.feedback(part);
            found.sort();
            // What was refused may be there all the same, where cutting it off failed, too.
            found.dedup();
            assert!(acknowledged.iter().all(|id| found.binary_search(id).is_ok()), "{acknowledged:?} in {found:?}");
        }
    }
    refused
}

#[test]
fn whichever_call_of_the_disk_fails_nothing_acknowledged_is_lost() {
    let sound = Memory::default();
    assert_eq!(ten_commits(&sound), 0);
    assert!(sound.0.lock().unwrap().segments.len() > 2, "more than one segment");
    for first in 0..sound.calls() {
        for number in 1..6 {
            let disk = Memory::failing(first..first + number);
            assert!(ten_commits(&disk) > 0, "calls from {first}");
        }
    }
}

#[test]
fn one_failure_leaves_no_trace_of_what_was_refused() {
    let sound = Memory::default();
    ten_commits(&sound);
    for call in 0..sound.calls() {
        let disk = Memory::failing(call..call + 1);
        ten_commits(&disk);
        for part in 0..3 {
            assert_eq!(disk.feedback(part), (0..20).map(|id| id.to_string()).collect::<Vec<_>>(), "call {call}");
        }
    }
}

#[test]
fn what_waits_together_costs_one_wait_for_the_disk() {
    let disk = Memory::default();
    let mut writer = writer(&disk, 1 << 20);
    let answers = commit(&mut writer, (0..100).map(feedback).collect());
    assert!(answers.iter().all(|answer| *answer == NEW));
    assert_eq!(writer.shared.syncs.load(Ordering::Relaxed), 1);
    // To create a segment, to write its head and the events, to force them.
    assert_eq!(disk.calls(), 4);
}

#[test]
fn a_repeated_event_is_acknowledged_again_and_written_once() {
    let disk = Memory::default();
    let mut writer = writer(&disk, 1 << 20);
    assert_eq!(commit(&mut writer, vec![feedback(1), feedback(1), feedback(2)]), [NEW, AGAIN, NEW]);
    assert_eq!(commit(&mut writer, vec![feedback(2)]), [AGAIN]);
    assert_eq!(disk.feedback(2), ["1", "2"]);
}

#[test]
fn a_refused_event_counts_as_new_when_it_comes_again() {
    let disk = Memory::failing(3..4);
    let mut writer = writer(&disk, 1 << 20);
    assert!(commit(&mut writer, vec![feedback(1), feedback(1)]).iter().all(Result::is_err));
    assert_eq!(commit(&mut writer, vec![feedback(1)]), [NEW]);
    assert_eq!(disk.feedback(0), ["1"]);
}

#[test]
fn a_full_segment_is_followed_by_one_that_tells_its_format_too() {
    let disk = Memory::default();
    let mut writer = writer(&disk, 400);
    (0..6).for_each(|id| drop(commit(&mut writer, vec![feedback(id)])));
    let events = disk.events(0);
    let heads = events.iter().filter(|event| matches!(event, Event::Segment(_))).count();
    assert!(matches!(events[0], Event::Segment(SegmentHead { format: 1, .. })));
    assert!(heads > 1 && heads == disk.0.lock().unwrap().segments.len(), "{heads}");
    assert!(disk.0.lock().unwrap().segments.values().all(|bytes| bytes.written.len() <= 400));
}

#[test]
fn exposures_that_the_disk_refuses_are_counted() {
    let disk = Memory::failing(0..2);
    let mut writer = writer(&disk, 1 << 20);
    for _ in 0..3 {
        writer.commit(vec![Entry::unawaited(exposure())]);
    }
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    assert_eq!((of(&writer.shared.exposures), of(&writer.shared.exposures_lost)), (1, 2));
}

/// A writer with so many segments of one event each, the last of them open.
fn several(disk: &Memory, segments: u64, keep_bytes: u64) -> Writer<Memory> {
    let mut writer = writer_of(disk, &LogSettings { segment_bytes: 1, keep_bytes, ..LogSettings::default() });
    (0..segments as usize).for_each(|id| drop(commit(&mut writer, vec![feedback(id)])));
    assert_eq!(disk.numbers(), (1..=segments).collect::<Vec<_>>());
    writer
}

fn later(hours: i64) -> Time {
    Time::now().after(hours * 3_600_000_000)
}

#[test]
fn what_is_not_kept_is_removed_but_for_the_segment_that_is_being_written() {
    let disk = Memory::default();
    let mut writer = several(&disk, 5, 1);
    writer.tidy(later(1));
    assert_eq!(disk.numbers(), [5]);
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    assert_eq!((of(&writer.shared.segments), of(&writer.shared.removed)), (1, 4));
    assert_eq!(of(&writer.shared.bytes), disk.0.lock().unwrap().segments[&5].written.len() as u64);
    assert_eq!(commit(&mut writer, vec![feedback(0), feedback(9)]), [AGAIN, NEW]);
    assert_eq!(disk.numbers(), [5, 6]);
}

#[test]
fn the_last_segment_stays_though_it_is_old_for_it_tells_the_next_number() {
    let disk = Memory::default();
    let settings = LogSettings { segment_seconds: 1e-9, keep_hours: 1.0, ..LogSettings::default() };
    let mut writer = writer_of(&disk, &settings);
    (0..3).for_each(|id| drop(commit(&mut writer, vec![feedback(id)])));
    writer.tidy(later(0));
    assert_eq!(disk.numbers(), [1, 2, 3]);
    assert!(writer.open.is_none(), "a segment that is old enough ends without an event");
    writer.tidy(later(2));
    assert_eq!(disk.numbers(), [3]);
}

#[test]
fn wherever_removing_is_broken_off_no_gap_is_left() {
    for fails in 0..4 {
        let disk = Memory::default();
        let mut writer = several(&disk, 5, 1);
        let call = disk.calls() + fails;
        disk.0.lock().unwrap().fails = call..call + 1;
        writer.tidy(later(1));
        assert_eq!(disk.numbers(), (fails as u64 + 1..=5).collect::<Vec<_>>());
        // It is tried again.
        writer.tidy(later(1));
        assert_eq!(disk.numbers(), [5]);
    }
}
