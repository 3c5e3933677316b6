//! What was shown and what came of it: an append-only log on the disk.
//!
//! An [`Exposure`] is written where candidates were scored and answered, a
//! [`Feedback`] where a client says what somebody did. [`Log`] writes both; whoever
//! waits for its answer knows that the event is on the disk. [`join`] brings them
//! together into tables to train on.
//!
//! A log is a directory of **segments**, `00000001.log` and so on. A segment is
//! text, one record a line: the checksum of the rest (XXH3, 64 bits, in
//! hexadecimal), a blank, the event as JSON. `cut -d' ' -f2- DIR/*.log` shows what is in it.
//! Its first record tells the format. A line that is cut short or whose checksum is
//! wrong is no record: readers pass over it and say so.
//!
//! **Durable.** One thread writes. It takes all that waits, writes it at once, has it
//! forced to the disk once, and then answers all who wait (group commit). Where that
//! fails, all of them are refused, the segment is cut back to what was acknowledged and
//! never written again, and the next events begin a new one. A crash can leave one torn
//! record at the end of the last segment; the next start cuts it off.
//!
//! **Kept** is all of it, unless the settings say for how long or how much. Then whole
//! segments are removed, the oldest first and each for good before the next, so that a log
//! never has a gap.
//!
//! **Once.** A feedback event is known by request, candidate, action and its own id,
//! if the client gives one. What the log remembers of the last events is not written
//! again; what slips through, as when two servers hear the same event, [`join`] counts once.

mod disk;
mod event;
pub mod join;
mod keep;
mod line;
mod read;
mod recent;
mod settings;
mod time;
mod writer;

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crosstie::{Error, Result, durable};
use tokio::sync::oneshot;

pub use event::{Candidate, CandidateName, Event, Exposure, Features, Feedback, SegmentHead};
pub(crate) use event::{check_name, text_of};
pub use read::{Damage, Record, Segment, cut_at, is_log, segments};
pub use settings::{Exposures, LogSettings};
pub use time::Time;

use disk::Directory;
use keep::Keep;
use writer::{Entry, Writer};

use crate::failure::Failure;

/// A log that is being written. One process at a time holds a directory.
///
/// Dropped, it writes what it was given before and ends.
#[derive(Debug)]
pub struct Log {
    queue: Option<mpsc::Sender<Entry>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    exposures: Exposures,
    queue_bytes: usize,
    /// Holds the directory for this process.
    _lock: File,
}

/// What the writing thread and its callers count together.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pending_bytes: AtomicUsize,
    exposures: AtomicU64,
    exposures_lost: AtomicU64,
    feedback: AtomicU64,
    repeated: AtomicU64,
    refused: AtomicU64,
    syncs: AtomicU64,
    cut_bytes: AtomicU64,
    segments: AtomicU64,
    bytes: AtomicU64,
    removed: AtomicU64,
}

/// How much was logged since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Exposures on the disk.
    pub exposures: u64,
    /// Exposures that could not be written.
    pub exposures_lost: u64,
    /// Feedback events on the disk.
    pub feedback: u64,
    /// Feedback events that were there before.
    pub repeated: u64,
    /// Feedback events that were refused, since they could not be written.
    pub refused: u64,
    /// How often the disk was waited for.
    pub syncs: u64,
    /// Bytes of a torn record that the start cut off.
    pub cut_bytes: u64,
    /// Bytes that wait to be written.
    pub pending_bytes: u64,
    /// Segments that there are.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments that were removed since they are not kept any longer.
    pub removed: u64,
}

/// What became of feedback that is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Accepted {
    /// Events that are new.
    pub accepted: u64,
    /// Events that were there before.
    pub repeated: u64,
}

/// Why an event was not logged. Nothing of it counts as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More waits to be written than the queue may hold.
    #[error("the log is behind: {pending} bytes wait to be written, and queue_bytes allows {allowed}")]
    Behind {
        /// Bytes that wait.
        pending: usize,
        /// Bytes that may wait.
        allowed: usize,
    },
    /// The disk refused.
    #[error("the log cannot be written: {message}")]
    Disk {
        /// What the system said.
        message: String,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl Log {
    /// Opens a log, made if need be, and cuts off what a crash left unfinished. What
    /// follows goes to a new segment.
    ///
    /// # Errors
    /// [`Error::Unfit`] where another process writes it or it is of a newer format,
    /// [`Error::Io`].
    pub fn open(directory: &Path, settings: &LogSettings) -> Result<Log> {
        Log::open_within(directory, settings, Duration::ZERO)
    }

    /// The same, of a log from which nothing younger than `window` is removed: what came of
    /// it is not known yet.
    ///
    /// # Errors
    /// As of [`Log::open`].
    pub fn open_within(directory: &Path, settings: &LogSettings, window: Duration) -> Result<Log> {
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let lock = lock(directory)?;
        let found = read::recover(directory, settings.segment_bytes as u64)?;
        durable::force(directory)?;
        let shared = Arc::new(Shared::default());
        let (queue, waiting) = mpsc::channel();
        let disk = Directory::new(directory);
        let keep = Keep::of(settings, window);
        let writer = Writer::new(disk, settings, keep, found, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || writer.run(&waiting));
        Ok(Log {
            queue: Some(queue),
            thread: Some(thread.map_err(Error::io(directory))?),
            shared,
            exposures: settings.exposures,
            queue_bytes: settings.queue_bytes,
            _lock: lock,
        })
    }

    /// Logs feedback: all of it or nothing. It is on the disk when this returns. Events
    /// that were there before are acknowledged again and written once.
    ///
    /// # Errors
    /// [`Refusal`]; then none of the events counts as written, and they may be sent again.
    pub async fn feedback(&self, events: Vec<Feedback>) -> Result<Accepted, Refusal> {
        let number = events.len() as u64;
        let records = events.into_iter().map(|event| (Some(event.key()), Event::Feedback(event).to_line()));
        let (entry, answer) = Entry::awaited(records);
        let done = match self.hand_over(entry) {
            Ok(()) => answer.await.unwrap_or(Err(Refusal::Closed)),
            Err(refusal) => Err(refusal),
        };
        if done.is_err() {
            self.shared.refused.fetch_add(number, Ordering::Relaxed);
        }
        done
    }

    /// Logs what is being shown. Where exposures are [`Exposures::Required`], it is on the
    /// disk when this returns; else this returns at once, and an exposure that cannot be
    /// written is counted as lost.
    ///
    /// # Errors
    /// [`Refusal`], only where exposures are required.
    pub async fn exposure(&self, exposure: Exposure) -> Result<(), Refusal> {
        let line = Event::Exposure(Box::new(exposure)).to_line();
        if self.exposures == Exposures::BestEffort {
            if self.hand_over(Entry::unawaited(line)).is_err() {
                self.shared.exposures_lost.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(());
        }
        let (entry, answer) = Entry::awaited([(None, line)]);
        if let Err(refusal) = self.hand_over(entry) {
            self.shared.exposures_lost.fetch_add(1, Ordering::Relaxed);
            return Err(refusal);
        }
        answer.await.unwrap_or(Err(Refusal::Closed)).map(drop)
    }

    /// Waits until all that was given before is on the disk, or was refused.
    ///
    /// # Errors
    /// [`Refusal::Closed`].
    pub async fn flush(&self) -> Result<(), Refusal> {
        let (entry, answer) = Entry::awaited([]);
        self.hand_over(entry)?;
        answer.await.unwrap_or(Err(Refusal::Closed)).map(drop)
    }

    /// How much was logged since the start.
    pub fn counts(&self) -> Counts {
        let Shared { pending_bytes, exposures, exposures_lost, feedback, repeated, refused, .. } = &*self.shared;
        let Shared { syncs, cut_bytes, segments, bytes, removed, .. } = &*self.shared;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            exposures: of(exposures),
            exposures_lost: of(exposures_lost),
            feedback: of(feedback),
            repeated: of(repeated),
            refused: of(refused),
            syncs: of(syncs),
            cut_bytes: of(cut_bytes),
            pending_bytes: pending_bytes.load(Ordering::Relaxed) as u64,
            segments: of(segments),
            bytes: of(bytes),
            removed: of(removed),
        }
    }

    fn hand_over(&self, entry: Entry) -> Result<(), Refusal> {
        let bytes = entry.bytes();
        let pending = self.shared.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        // One entry is taken whatever its size, so that none is refused for ever.
        let sent = match pending > 0 && pending.saturating_add(bytes) > self.queue_bytes {
            true => Err(Refusal::Behind { pending, allowed: self.queue_bytes }),
            false => self.queue.as_ref().and_then(|queue| queue.send(entry).ok()).ok_or(Refusal::Closed),
        };
        if sent.is_err() {
            self.shared.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Holds a directory for this process. The system lets go of it when the process ends.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::unfit(directory, "another process writes this log")),
        // Where a file system has no locks, nobody is kept out.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::NotReady(refusal.to_string())
    }
}

type Answer = oneshot::Sender<Result<Accepted, Refusal>>;

#[cfg(test)]
mod tests;
