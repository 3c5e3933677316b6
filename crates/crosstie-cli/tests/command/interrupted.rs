//! Work that is ended before it is done, or that fails, leaves nothing.

use std::fs;
use std::process::{Command, Stdio};

use crate::place::{Place, Ran};

/// Starts a command, sends a signal as soon as this directory has something in it, and waits.
#[cfg(unix)]
fn ended(place: &Place, arguments: &str, directory: &str, signal: &str) -> Ran {
    let mut child = place.command(arguments).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    while fs::read_dir(place.path(directory)).map_or(0, Iterator::count) == 0 {
        assert!(child.try_wait().expect("asked").is_none(), "it ended before anything was under way");
        std::thread::yield_now();
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
    Ran::new(arguments, child.wait_with_output().expect("ended")).exit(130)
}

#[cfg(unix)]
#[test]
fn a_log_under_way_is_removed() {
    let place = Place::new();
    fs::create_dir(place.path("data")).expect("made");
    for (signal, said) in [("-INT", "stopped by Ctrl-C before it was done"), ("-TERM", "stopped by SIGTERM before")] {
        ended(&place, "synth --rows 20000000 --out data/log", "data", signal).says(&[said]);
        assert_eq!(fs::read_dir(place.path("data")).expect("read").count(), 0, "{signal}");
    }
}

#[test]
fn work_that_fails_makes_no_directory() {
    let place = Place::new();
    place.run("synth --rows 3 --out deep/log").exit(1).says(&["3 rows are too few"]);
    place.run("prepare census-income --from . --out deep/census").exit(1);
    assert_eq!(fs::read_dir(place.path("")).expect("read").count(), 0);
    place.write("file", "");
    place.run("synth --rows 100 --out file/log").exit(1).says(&["cannot make file/log: file is no directory"]);
}
