//! The one thread that writes.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::disk::{Disk, DiskFile};
use super::event::{Event, SegmentHead};
use super::recent::Recent;
use super::settings::LogSettings;
use super::{Accepted, Answer, Refusal, Shared};

/// Bytes that are taken from the queue for one write, if so many wait.
const BATCH: usize = 4 << 20;

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
    recent: Recent,
    shared: Arc<Shared>,
    /// Whether the last write failed.
    failing: bool,
}

/// The segment that is being written.
struct Open<F> {
    file: F,
    number: u64,
    /// Bytes that are on the disk.
    length: u64,
    since: Instant,
}

impl<D: Disk> Writer<D> {
    pub fn new(disk: D, settings: &LogSettings, next: u64, recent: Recent, shared: Arc<Shared>) -> Writer<D> {
        Writer {
            disk,
            segment_bytes: settings.segment_bytes as u64,
            segment_age: Duration::try_from_secs_f64(settings.segment_seconds).unwrap_or(Duration::MAX),
            next,
            open: None,
            recent,
            shared,
            failing: false,
        }
    }

    /// Writes what comes until nobody can send any more.
    pub fn run(mut self, queue: &mpsc::Receiver<Entry>) {
        while let Ok(first) = queue.recv() {
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
        let mut open = match self.open.take().filter(|open| !full(open)) {
            Some(open) => open,
            None => {
                let number = self.next;
                self.next += 1;
                Open { file: self.disk.create(number)?, number, length: 0, since: Instant::now() }
            }
        };
        match append(&mut open, lines) {
            Ok(written) => {
                open.length += written;
                self.open = Some(open);
                self.shared.syncs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                // After a failure nobody knows what of a file is on the disk: it is cut back
                // to what was acknowledged and not written again. Where that fails, too,
                // what stays was not acknowledged, and readers take whole records only.
                let _ = match open.length {
                    0 => self.disk.remove(open.number),
                    length => open.file.truncate(length),
                };
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
