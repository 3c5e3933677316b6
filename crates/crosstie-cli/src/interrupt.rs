//! Ctrl-C: the first asks the work to end, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What a shell reports for a process that Ctrl-C ended. Also used where
/// everything reached was saved: a script must not take a stopped training
/// for a finished one.
pub const EXIT_CODE: u8 = 130;

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Set once Ctrl-C was pressed or the process was asked to terminate.
pub fn stop() -> &'static AtomicBool {
    &STOP
}

/// From here on the work is asked to end before it is made to. A closed
/// terminal (SIGHUP) is left to the system, so that `nohup` does its work.
pub fn listen() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds the flag not yet set.
        flag::register_conditional_shutdown(signal, EXIT_CODE.into(), Arc::clone(&STOP))
            .and_then(|_| flag::register(signal, Arc::clone(&STOP)))
            .context("cannot listen for Ctrl-C")?;
    }
    Ok(())
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
