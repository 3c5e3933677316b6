//! Ctrl-C: the first asks the work to end, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// What a shell reports for a process that Ctrl-C ended. Also used where
/// everything reached was saved: a script must not take a stopped training
/// for a finished one.
pub const EXIT_CODE: u8 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

/// Set once Ctrl-C was pressed or the process was asked to terminate.
pub fn stop() -> &'static AtomicBool {
    &STOP
}

/// From here on the work is asked to end before it is made to.
pub fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        tracing::warn!("stopping with what was reached; Ctrl-C once more ends at once");
    })
    .context("cannot listen for Ctrl-C")
}

/// Stops work that has nothing worth keeping.
pub fn check() -> Result<()> {
    if STOP.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
}

/// The work was stopped before it was done.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("stopped by Ctrl-C before it was done")
    }
}

impl std::error::Error for Interrupted {}
