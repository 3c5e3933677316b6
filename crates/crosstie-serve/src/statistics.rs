//! Counts of what a version has answered, as the protocol's statistics tell them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::stages::Stages;

/// A count and the time that was taken in all.
#[derive(Debug, Default)]
pub struct Tally {
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Tally {
    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// How long they took in all, in nanoseconds.
    pub fn nanoseconds(&self) -> u64 {
        self.nanoseconds.load(Relaxed)
    }
}

/// What a version has answered.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Requests answered, and the time from their arrival to their answer.
    pub success: Tally,
    /// Requests refused or failed.
    pub fail: Tally,
    /// [`Stages::queue`] of the answered.
    pub queue: Tally,
    /// [`Stages::decode`] of the answered.
    pub decode: Tally,
    /// [`Stages::compute`] of the answered.
    pub compute: Tally,
    /// [`Stages::encode`] of the answered.
    pub encode: Tally,
    rows: AtomicU64,
    last: AtomicU64,
}

impl Statistics {
    /// Counts an answered request.
    pub fn answered(&self, rows: usize, took: Duration, stages: &Stages) {
        self.success.add(took);
        self.queue.add(stages.queue);
        self.decode.add(stages.decode);
        self.compute.add(stages.compute);
        self.encode.add(stages.encode);
        self.rows.fetch_add(rows as u64, Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last.store(now.as_millis() as u64, Relaxed);
    }

    /// Counts a request that has no answer.
    pub fn failed(&self, took: Duration) {
        self.fail.add(took);
    }

    /// Rows of the answered requests.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// When the last request was answered, in milliseconds since 1970; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }
}
