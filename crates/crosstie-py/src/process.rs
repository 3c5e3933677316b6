//! Threads that belong to this process, and waiting for them as Python waits.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crosstie::compute::Threads;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{CrosstieError, panicked, raised};

/// How long Python's signals wait at most.
const PATIENCE: Duration = Duration::from_millis(50);

/// The pools of one process, by their number of threads.
struct Pools {
    process: u32,
    by_threads: BTreeMap<usize, Arc<ThreadPool>>,
}

static POOLS: Mutex<Pools> = Mutex::new(Pools { process: 0, by_threads: BTreeMap::new() });

/// The pool of this process with so many threads, 0 for all cores; made when it is
/// first asked for.
///
/// # Errors
/// Where threads cannot be started, or are more than [`Threads::MOST`].
pub fn pool(threads: usize) -> PyResult<Arc<ThreadPool>> {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if pools.process != process {
        // A forked child has its parent's pools, and none of their threads. Such a pool
        // would wait for these when it is dropped.
        std::mem::forget(std::mem::take(&mut pools.by_threads));
        pools.process = process;
    }
    if let Some(pool) = pools.by_threads.get(&threads) {
        return Ok(Arc::clone(pool));
    }
    Threads::check("threads", threads).map_err(raised)?;
    let named = |thread| format!("crosstie {thread}");
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(named).build();
    let pool = Arc::new(pool.map_err(|error| CrosstieError::new_err(format!("threads = {threads}: {error}")))?);
    pools.by_threads.insert(threads, Arc::clone(&pool));
    Ok(pool)
}

/// What became of work, and what Python raised meanwhile.
pub struct Waited<T> {
    pub done: PyResult<T>,
    pub raised: Option<PyErr>,
}

/// How work speaks to the thread that waits for it.
pub struct Line<'a> {
    says: SyncSender<String>,
    heard: Receiver<()>,
    stop: &'a AtomicBool,
}

impl Line<'_> {
    /// Says something, and waits until it was heard.
    pub fn say(&mut self, text: String) {
        // Nobody listens any more only where the waiting thread has panicked.
        if self.says.send(text).is_ok() {
            let _ = self.heard.recv();
        }
    }

    /// Whether the work should end early.
    pub fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Does long work on another thread and without the interpreter's lock. What it says is
/// given to `hear` with the lock on the calling thread, which heeds Python's signals
/// beside. Where `hear` says no, or Python raises something, the work should
/// [stop](Line::stops); after what was raised nothing is heard.
pub fn wait_for<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(Line<'_>) -> PyResult<T> + Send,
    mut hear: impl FnMut(Python<'_>, &str) -> PyResult<bool> + Send,
) -> Waited<T> {
    let stop = AtomicBool::new(false);
    let (says, listens) = sync_channel(0);
    let (answers, heard) = sync_channel(1);
    py.detach(move || {
        std::thread::scope(|scope| {
            let line = Line { says, heard, stop: &stop };
            let worker = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| work(line))));
            let mut raised = None;
            loop {
                let text = match listens.recv_timeout(PATIENCE) {
                    Ok(text) => Some(text),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if raised.is_none() {
                    let goes_on = Python::attach(|py| {
                        let goes_on = text.as_deref().map_or(Ok(true), |text| hear(py, text))?;
                        py.check_signals().map(|()| goes_on)
                    });
                    if !matches!(goes_on, Ok(true)) {
                        stop.store(true, Ordering::Relaxed);
                    }
                    raised = goes_on.err();
                }
                if text.is_some() {
                    // Whoever has said it waits for this.
                    let _ = answers.send(());
                }
            }
            let done = worker.join().and_then(|done| done);
            Waited { done: done.unwrap_or_else(|panic| Err(panicked(&*panic))), raised }
        })
    })
}

/// The same of work that says nothing, with the pool of so many threads.
///
/// # Errors
/// Those of the work; what Python has raised meanwhile.
pub fn with_pool<T: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce(&Line<'_>) -> PyResult<T> + Send,
) -> PyResult<T> {
    let pool = pool(threads)?;
    let waited = wait_for(py, |line| pool.install(move || work(&line)), |_, _| Ok(true));
    waited.raised.map_or(waited.done, Err)
}
