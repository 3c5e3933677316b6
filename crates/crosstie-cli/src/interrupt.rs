//! Ctrl-C: the first asks the work to end, the second ends the process. Work that cannot be
//! asked is ended by the first, and what it has under way is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What a shell reports for a process that Ctrl-C ended. Also used where
/// everything reached was saved: a script must not take a stopped training
/// for a finished one.
pub const EXIT_CODE: u8 = 130;

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The signal that set [`STOP`].
static SIGNAL: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// Directories of work that cannot be asked to end.
static UNDER_WAY: Mutex<UnderWay> = Mutex::new(UnderWay { listens: false, watched: false, directories: Vec::new() });

struct UnderWay {
    listens: bool,
    watched: bool,
    directories: Vec<PathBuf>,
}

/// Set once Ctrl-C was pressed or the process was asked to terminate.
pub fn stop() -> &'static AtomicBool {
    &STOP
}

/// From here on the work is asked to end before it is made to. A closed
/// terminal (SIGHUP) is left to the system, so that `nohup` does its work.
pub fn listen() -> Result<()> {
    let mut under_way = under_way();
    if under_way.listens {
        return Ok(());
    }
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds the flag not yet set.
        flag::register_conditional_shutdown(signal, EXIT_CODE.into(), Arc::clone(&STOP))
            .and_then(|_| flag::register_usize(signal, Arc::clone(&SIGNAL), signal as usize))
            .and_then(|_| flag::register(signal, Arc::clone(&STOP)))
            .context("cannot listen for Ctrl-C")?;
    }
    under_way.listens = true;
    Ok(())
}

/// Stops work that has nothing worth keeping.
pub fn check() -> Result<()> {
    if STOP.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
}

/// As long as this directory is there, the first Ctrl-C removes it and ends the process.
pub fn removes(directory: &Path) -> Result<()> {
    listen()?;
    let mut under_way = under_way();
    under_way.directories.push(directory.to_path_buf());
    if !under_way.watched {
        under_way.watched = true;
        thread::Builder::new().name("interrupt".into()).spawn(watch).context("cannot listen for Ctrl-C")?;
    }
    Ok(())
}

/// The directory is somebody else's to remove, or is gone.
pub fn removed(directory: &Path) {
    under_way().directories.retain(|other| other != directory);
}

/// Ctrl-C waits as long as this is held.
pub fn hold_off() -> impl Sized {
    under_way()
}

fn under_way() -> MutexGuard<'static, UnderWay> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How soon a signal is heeded.
const SOON: Duration = Duration::from_millis(50);

fn watch() {
    loop {
        let under_way = under_way();
        if STOP.load(Ordering::Relaxed) && !under_way.directories.is_empty() {
            for directory in &under_way.directories {
                // A file that is made meanwhile holds up the first try.
                (0..3).any(|_| fs::remove_dir_all(directory).is_ok());
            }
            tracing::warn!("{Interrupted}");
            // The lock is still held, so that nothing else is said.
            std::process::exit(EXIT_CODE.into());
        }
        drop(under_way);
        thread::sleep(SOON);
    }
}

/// The work was stopped before it was done.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = if SIGNAL.load(Ordering::Relaxed) == SIGTERM as usize { "SIGTERM" } else { "Ctrl-C" };
        write!(formatter, "stopped by {by} before it was done")
    }
}

impl std::error::Error for Interrupted {}
