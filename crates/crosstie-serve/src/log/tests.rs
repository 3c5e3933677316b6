//! The log on a real disk.

use super::*;

fn feedback(id: u32) -> Feedback {
    Feedback {
        request: format!("r{id}"),
        candidate: CandidateName::Number(id % 3),
        action: "click".into(),
        value: Some(0.1 + f64::from(id)),
        time: Time(1_000_000 * i64::from(id)),
        received: Time(1_000_001 * i64::from(id)),
        event: None,
    }
}

fn open(directory: &Path) -> Log {
    Log::open(directory, &LogSettings::default()).unwrap()
}

/// Waits for an answer of the log, without a runtime.
fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
}

fn events(directory: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    for segment in segments(directory).unwrap() {
        let damages = segment.read(|record| {
            events.push(record.event);
            Ok(())
        });
        assert_eq!(damages.unwrap(), []);
    }
    events.retain(|event| !matches!(event, Event::Segment(_)));
    events
}

#[test]
fn what_was_logged_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let exposure = Exposure { request: "r1".into(), time: Time(7), ..Exposure::default() };
    wait(log.exposure(exposure.clone())).unwrap();
    let done = wait(log.feedback(vec![feedback(1), feedback(2), feedback(1)]));
    assert_eq!(done, Ok(Accepted { accepted: 2, repeated: 1 }));
    let expected = [Event::Exposure(Box::new(exposure)), Event::Feedback(feedback(1)), Event::Feedback(feedback(2))];
    // Acknowledged, so there before the log is closed.
    assert_eq!(events(directory.path()), expected);
    let counts = log.counts();
    assert_eq!((counts.exposures, counts.feedback, counts.repeated, counts.refused), (1, 2, 1, 0));
}

#[test]
fn events_of_before_a_restart_are_still_known() {
    let directory = tempfile::tempdir().unwrap();
    for id in 0..3 {
        wait(open(directory.path()).feedback(vec![feedback(id)])).unwrap();
    }
    let done = wait(open(directory.path()).feedback((0..4).map(feedback).collect()));
    assert_eq!(done, Ok(Accepted { accepted: 1, repeated: 3 }));
    assert_eq!(events(directory.path()).len(), 4);
}

#[test]
fn for_every_length_of_a_torn_record_a_start_keeps_all_others() {
    let directory = tempfile::tempdir().unwrap();
    wait(open(directory.path()).feedback((0..3).map(feedback).collect())).unwrap();
    let path = segments(directory.path()).unwrap()[0].path.clone();
    let whole = fs::read(&path).unwrap();
    let last = Event::Feedback(feedback(2)).to_line().len();
    for torn in 1..last {
        fs::write(&path, &whole[..whole.len() - last + torn]).unwrap();
        assert_eq!(open(directory.path()).counts().cut_bytes, torn as u64);
        assert_eq!(fs::read(&path).unwrap(), whole[..whole.len() - last]);
        assert_eq!(events(directory.path()).len(), 2);
    }
}

#[test]
fn damage_in_the_middle_costs_the_damaged_record_alone_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    wait(open(directory.path()).feedback((0..3).map(feedback).collect())).unwrap();
    let segment = segments(directory.path()).unwrap().remove(0);
    let mut bytes = fs::read(&segment.path).unwrap();
    let second = bytes.len() - Event::Feedback(feedback(2)).to_line().len() - 5;
    bytes[second] ^= 1;
    fs::write(&segment.path, &bytes).unwrap();
    assert_eq!(open(directory.path()).counts().cut_bytes, 0);
    let mut number = 0;
    let damages = segment.read(|_| {
        number += 1;
        Ok(())
    });
    // Its head, and two of three events.
    assert_eq!(number, 3);
    assert_eq!(damages.unwrap()[0].bytes, Event::Feedback(feedback(1)).to_line().len() as u64);
}

#[test]
fn a_log_is_written_by_one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let said = Log::open(directory.path(), &LogSettings::default()).unwrap_err().to_string();
    assert!(said.contains("another process writes this log"), "{said}");
    drop(log);
    open(directory.path());
}

#[test]
fn a_log_of_a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let head = Event::Segment(SegmentHead { format: 2, crosstie: "9.0.0".into() });
    fs::write(directory.path().join("00000001.log"), head.to_line()).unwrap();
    let said = Log::open(directory.path(), &LogSettings::default()).unwrap_err().to_string();
    assert!(said.contains("00000001.log") && said.contains("crosstie 9.0.0"), "{said}");
}

#[test]
fn a_full_queue_refuses_feedback_and_counts_exposures_as_lost() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    log.shared.pending_bytes.store(64 << 20, Ordering::Relaxed);
    assert!(matches!(wait(log.feedback(vec![feedback(1)])), Err(Refusal::Behind { .. })));
    assert_eq!(wait(log.exposure(Exposure::default())), Ok(()));
    let counts = log.counts();
    assert_eq!((counts.refused, counts.exposures_lost, counts.pending_bytes), (1, 1, 64 << 20));
    log.shared.pending_bytes.store(0, Ordering::Relaxed);
    wait(log.feedback(vec![feedback(1)])).unwrap();
}

#[test]
fn a_required_exposure_is_on_the_disk_before_it_is_answered_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let settings = LogSettings { exposures: Exposures::Required, ..LogSettings::default() };
    let log = Log::open(directory.path(), &settings).unwrap();
    wait(log.exposure(Exposure::default())).unwrap();
    assert_eq!(events(directory.path()).len(), 1);
    log.shared.pending_bytes.store(64 << 20, Ordering::Relaxed);
    assert!(matches!(wait(log.exposure(Exposure::default())), Err(Refusal::Behind { .. })));
}

#[test]
fn exposures_for_which_nobody_waits_are_written_before_the_log_ends() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    for _ in 0..100 {
        wait(log.exposure(Exposure::default())).unwrap();
    }
    drop(log);
    assert_eq!(events(directory.path()).len(), 100);
}

#[test]
fn a_start_removes_what_is_not_kept_and_goes_on_counting() {
    let directory = tempfile::tempdir().unwrap();
    for id in 0..4 {
        wait(open(directory.path()).feedback(vec![feedback(id)])).unwrap();
    }
    let numbers = || segments(directory.path()).unwrap().iter().map(|segment| segment.number).collect::<Vec<_>>();
    assert_eq!(numbers(), [1, 2, 3, 4]);
    let day = Duration::from_secs(86_400);
    for (number, days) in [(1, 9), (2, 3), (3, 2)] {
        let file = File::options().write(true).open(directory.path().join(read::file_name(number))).unwrap();
        file.set_modified(std::time::SystemTime::now() - day * days).unwrap();
    }
    let settings = LogSettings { keep_hours: 100.0, keep_bytes: 1, ..LogSettings::default() };
    let log = Log::open_within(directory.path(), &settings, day * 5 / 2).unwrap();
    wait(log.feedback(vec![feedback(9)])).unwrap();
    // By its age 1 goes, for all are too large 2; 3 is younger than the window.
    assert_eq!(numbers(), [3, 4, 5]);
    assert_eq!((log.counts().segments, log.counts().removed), (3, 2));
}
