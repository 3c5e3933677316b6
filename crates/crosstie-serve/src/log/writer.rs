//! The one thread that writes.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::disk::{Disk, DiskFile};
use super::event::{Event, SegmentHead};
use super::keep::{Keep, Rolled};
use super::read::Found;
use super::recent::Recent;
use super::settings::LogSettings;
use super::time::Time;
use super::{Accepted, Answer, Refusal, Shared};

/// Bytes that are taken from the queue for one write, if so many wait.
const BATCH: usize = 4 << 20;

/// How often a log to which nothing is written is tidied up.
const TIDY: Duration = Duration::from_secs(60);

/// A record to write: its key, if it must not be written twice, and its line.
type Record = (Option<u128>, Vec<u8>);

/// Records that are written together or not at all.
pub(super) struct Entry {
    records: Vec<Record>,
    answer: Option<Answer>,
}

impl Entry {
    /// Records for whose fate somebody waits.
    pub fn awaited(records: impl IntoIterator<Item = Record>) -> (Entry, oneshot::Receiver<Result<Accepted, Refusal>>) {
        let (answer, receiver) = oneshot::channel();
        (Entry { records: records.into_iter().collect(), answer: Some(answer) }, receiver)
    }

    /// A record for which nobody waits.
    pub fn unawaited(line: Vec<u8>) -> Entry {
        Entry { records: vec![(None, line)], answer: None }
    }

    pub fn bytes(&self) -> usize {
        self.records.iter().map(|(_, line)| line.len()).sum()
    }

    fn exposures(&self) -> u64 {
        self.records.iter().filter(|(key, _)| key.is_none()).count() as u64
    }
}

/// Writes entries to segments.
pub(super) struct Writer<D: Disk> {
    disk: D,
    segment_bytes: u64,
    segment_age: Duration,
    /// The number of the next segment.
    next: u64,
    open: Option<Open<D::File>>,
    /// Those before it, the oldest first.
    rolled: VecDeque<Rolled>,
    keep: Keep,
    recent: Recent,
    shared: Arc<Shared>,
    /// Whether the last write failed.
    failing: bool,
    /// Whether the last removal failed.
    stuck: bool,
}

/// The segment that is being written.
struct Open<F> {
    file: F,
    number: u64,
    /// Bytes that are on the disk.
    length: u64,
    since: Instant,
    /// When it was written to last.
    last: Time,
}

impl<D: Disk> Writer<D> {
    pub fn new(disk: D, settings: &LogSettings, keep: Keep, found: Found, shared: Arc<Shared>) -> Writer<D> {
        let Found { next, recent, rolled, cut_bytes } = found;
        shared.cut_bytes.store(cut_bytes, Ordering::Relaxed);
        Writer {
            disk,
            segment_bytes: settings.segment_bytes as u64,
            segment_age: Duration::try_from_secs_f64(settings.segment_seconds).unwrap_or(Duration::MAX),
            next,
            open: None,
            rolled,
            keep,
            recent,
            shared,
            failing: false,
            stuck: false,
        }
    }

    /// Writes what comes until nobody can send any more.
    pub fn run(mut self, queue: &mpsc::Receiver<Entry>) {
        loop {
            self.tidy(Time::now());
            match queue.recv_timeout(TIDY) {
                Ok(first) => self.take(first, queue),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes an entry, with all that waits behind it.
    fn take(&mut self, first: Entry, queue: &mpsc::Receiver<Entry>) {
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while bytes < BATCH
            && let Ok(entry) = queue.try_recv()
        {
            bytes += entry.bytes();
            batch.push(entry);
        }
        self.commit(batch);
        self.shared.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Ends a segment that is old enough, and removes what is not kept any longer, the oldest
    /// first: whenever this is broken off, what is left has no gap.
    fn tidy(&mut self, now: Time) {
        if self.open.as_ref().is_some_and(|open| open.since.elapsed() >= self.segment_age) {
            self.roll();
        }
        let open = self.open.as_ref().map_or(0, |open| open.length);
        // By the last one the next start knows how the next is called.
        let most = self.rolled.len() - usize::from(self.open.is_none() && !self.rolled.is_empty());
        for _ in 0..self.keep.outdated(&self.rolled, open, now).min(most) {
            let Some(oldest) = self.rolled.front() else { break };
            if let Err(error) = self.disk.remove(oldest.number) {
                if !std::mem::replace(&mut self.stuck, true) {
                    tracing::error!("segment {} of the log cannot be removed: {error}", oldest.number);
                }
                break;
            }
            self.stuck = false;
            self.rolled.pop_front();
            self.shared.removed.fetch_add(1, Ordering::Relaxed);
        }
        self.measure();
    }

    /// Tells how large the log is.
    fn measure(&self) {
        let open = self.open.as_ref().map_or(0, |open| open.length);
        let bytes = open + self.rolled.iter().map(|segment| segment.bytes).sum::<u64>();
        self.shared.bytes.store(bytes, Ordering::Relaxed);
        let segments = self.rolled.len() + usize::from(self.open.is_some());
        self.shared.segments.store(segments as u64, Ordering::Relaxed);
    }

    /// Writes no more to the segment that is open.
    fn roll(&mut self) {
        if let Some(Open { number, length, last, .. }) = self.open.take() {
            self.rolled.push_back(Rolled { number, bytes: length, last });
        }
    }

    /// Writes some entries, waits for the disk once, and answers all who wait.
    fn commit(&mut self, batch: Vec<Entry>) {
        let mut lines = Vec::new();
        let mut new = HashSet::new();
        let mut answers = Vec::new();
        for entry in batch {
            let exposures = entry.exposures();
            let mut accepted = Accepted::default();
            for (key, line) in entry.records {
                match key {
                    Some(key) if self.recent.contains(key) || !new.insert(key) => accepted.repeated += 1,
                    Some(_) => {
                        accepted.accepted += 1;
                        lines.extend_from_slice(&line);
                    }
                    None => lines.extend_from_slice(&line),
                }
            }
            answers.push((entry.answer, accepted, exposures));
        }
        let written = if lines.is_empty() { Ok(()) } else { self.write(&lines) };
        self.tell(&written);
        self.measure();
        let refusal = written.err().map(|error| Refusal::Disk { message: error.to_string() });
        if refusal.is_none() {
            new.into_iter().for_each(|key| self.recent.insert(key));
        }
        for (answer, accepted, exposures) in answers {
            let result = match &refusal {
                None => {
                    self.shared.exposures.fetch_add(exposures, Ordering::Relaxed);
                    self.shared.feedback.fetch_add(accepted.accepted, Ordering::Relaxed);
                    self.shared.repeated.fetch_add(accepted.repeated, Ordering::Relaxed);
                    Ok(accepted)
                }
                Some(refusal) => {
                    self.shared.exposures_lost.fetch_add(exposures, Ordering::Relaxed);
                    Err(refusal.clone())
                }
            };
            if let Some(answer) = answer {
                // Whoever asked may have gone.
                let _ = answer.send(result);
            }
        }
    }

    /// Puts lines on the disk: all of them, or none that counts.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let full = |open: &Open<D::File>| {
            open.length + lines.len() as u64 > self.segment_bytes || open.since.elapsed() >= self.segment_age
        };
        if self.open.as_ref().is_some_and(full) {
            self.roll();
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let number = self.next;
                self.next += 1;
                let file = self.disk.create(number)?;
                Open { file, number, length: 0, since: Instant::now(), last: Time::now() }
            }
        };
        match append(&mut open, lines) {
            Ok(written) => {
                open.length += written;
                open.last = Time::now();
                self.open = Some(open);
                self.shared.syncs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                // After a failure nobody knows what of a file is on the disk: it is cut back
                // to what was acknowledged and not written again. Where that fails, too,
                // what stays was not acknowledged, and readers take whole records only.
                let gone = match open.length {
                    0 => self.disk.remove(open.number).is_ok(),
                    length => {
                        let _ = open.file.truncate(length);
                        false
                    }
                };
                if !gone {
                    self.open = Some(open);
                    self.roll();
                }
                Err(error)
            }
        }
    }

    /// Says once that the disk fails, and once that it works again.
    fn tell(&mut self, written: &io::Result<()>) {
        match written {
            Err(error) if !self.failing => {
                tracing::error!("the log cannot be written: {error}; feedback is refused until it can");
            }
            Ok(()) if self.failing => tracing::info!("the log can be written again"),
            _ => {}
        }
        self.failing = written.is_err();
    }
}

fn append<F: DiskFile>(open: &mut Open<F>, lines: &[u8]) -> io::Result<u64> {
    let mut head = Vec::new();
    if open.length == 0 {
        head = Event::Segment(SegmentHead::new()).to_line();
        open.file.append(&head)?;
    }
    open.file.append(lines)?;
    open.file.sync()?;
    Ok((head.len() + lines.len()) as u64)
}

#[cfg(test)]
mod tests;
