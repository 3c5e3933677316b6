//! A segment of a log that is opened, read and joined. Of an input that begins with `{`
//! every line is a record's JSON, which gets its checksum here; any other is the segment's
//! bytes as they are.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crosstie_fuzz::directory;
use crosstie_serve::log::join::{Files, Joined};
use crosstie_serve::log::{Event, Log, LogSettings, segments};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

fn segment(bytes: &[u8]) -> Vec<u8> {
    if bytes.first() != Some(&b'{') {
        return bytes.to_vec();
    }
    let line = |json: &[u8]| [format!("{:016x} ", xxh3_64(json)).as_bytes(), json, b"\n"].concat();
    bytes.split(|byte| *byte == b'\n').flat_map(line).collect()
}

/// All events; `None` where one of them is none of ours.
fn events(log: &Path) -> Option<Vec<Event>> {
    let mut events = Vec::new();
    for segment in segments(log).expect("segments") {
        let read = segment.read(|record| {
            events.push(record.event);
            Ok(())
        });
        read.ok()?;
    }
    Some(events)
}

fuzz_target!(|bytes: &[u8]| {
    static DIRECTORY: OnceLock<TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(directory).path();
    let log = directory.join("log");
    let _ = fs::remove_dir_all(directory.join("joined"));
    fs::create_dir_all(&log).expect("a directory");
    fs::write(log.join("00000001.log"), segment(bytes)).expect("a segment");
    let before = events(&log);
    let opened = Log::open(&log, &LogSettings::default());
    // What a start cuts off was no record.
    assert_eq!(opened.is_ok(), before.is_some());
    drop(opened);
    assert_eq!(events(&log), before);
    if let Ok(joined) = Joined::read(&[log]) {
        let files = Files { window: 3_600_000_000, now: None, schema: None };
        if let Ok(report) = files.write(&joined, &directory.join("joined")) {
            assert!(report.labelled <= report.rows);
        }
    }
});
