//! Reading a log, also one that is being written.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crosstie::{Error, Result};

use super::event::{Event, SegmentHead};
use super::keep::Rolled;
use super::line::{self, Piece};
use super::recent::{CAPACITY, Recent};
use super::time::Time;

/// The file name of a segment.
pub(super) fn file_name(number: u64) -> String {
    format!("{number:08}.log")
}

/// One segment of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number; they are counted up from 1.
    pub number: u64,
    /// Its file.
    pub path: PathBuf,
}

/// One record of a segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What was logged.
    pub event: Event,
    /// Where its line begins.
    pub offset: u64,
    /// Bytes of its line.
    pub length: usize,
}

/// Bytes of a log that are no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub path: PathBuf,
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// The segments of a log, in the order in which they were written.
///
/// # Errors
/// [`Error::Io`].
pub fn segments(directory: &Path) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".log"));
        if let Some(number) = name.filter(|name| name.len() >= 8).and_then(|name| name.parse().ok()) {
            segments.push(Segment { number, path });
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

/// Whether a directory holds a log, be it one without any event yet.
///
/// # Errors
/// [`Error::Io`].
pub fn is_log(directory: &Path) -> Result<bool> {
    Ok(directory.join(".lock").exists() || !segments(directory)?.is_empty())
}

/// From when on logs are whole, where the oldest segments of one were removed: the time of
/// the first event that is left. `None` of logs that reach back to their beginning.
///
/// # Errors
/// Those of [`Segment::read`].
pub fn cut_at(logs: &[PathBuf]) -> Result<Option<Time>> {
    let mut cut = None;
    for log in logs {
        let segments = segments(log)?;
        if segments.first().is_none_or(|first| first.number == 1) {
            continue;
        }
        for segment in &segments {
            match segment.first_time() {
                Ok(None) => continue,
                // It was removed in the meantime.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
                time => cut = cut.max(time?),
            }
            break;
        }
    }
    Ok(cut)
}

impl Segment {
    /// When its first event was written, if it has any.
    fn first_time(&self) -> Result<Option<Time>> {
        let bytes = fs::read(&self.path).map_err(Error::io(&self.path))?;
        for piece in line::pieces(&bytes) {
            if let Piece::Record(json, place) = piece
                && let Some(time) = self.parse(json, place.start as u64)?.time()
            {
                return Ok(Some(time));
            }
        }
        Ok(None)
    }

    /// Calls `each` with every whole record, in order, and tells what is none. What is
    /// unfinished at the end is left out: it is being written, or was never acknowledged.
    ///
    /// # Errors
    /// Those of `each`; [`Error::Unfit`] for a newer format; [`Error::File`] for a record
    /// that is whole and none of ours; [`Error::Io`].
    pub fn read(&self, mut each: impl FnMut(Record) -> Result<()>) -> Result<Vec<Damage>> {
        let bytes = fs::read(&self.path).map_err(Error::io(&self.path))?;
        let mut damages = Vec::new();
        for piece in line::pieces(&bytes) {
            match piece {
                Piece::Record(json, place) => {
                    let event = self.parse(json, place.start as u64)?;
                    each(Record { event, offset: place.start as u64, length: place.len() })?;
                }
                Piece::Damaged(place) => damages.push(Damage {
                    path: self.path.clone(),
                    offset: place.start as u64,
                    bytes: place.len() as u64,
                }),
                Piece::Unfinished(_) => {}
            }
        }
        Ok(damages)
    }

    /// The record at a place that [`Segment::read`] told, from the segment's open file.
    ///
    /// # Errors
    /// [`Error::File`] where the file has changed, [`Error::Io`].
    pub fn record_at(&self, file: &mut File, offset: u64, length: usize) -> Result<Event> {
        let mut bytes = vec![0; length];
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(Error::io(&self.path))?;
        match line::pieces(&bytes).next() {
            Some(Piece::Record(json, _)) => self.parse(json, offset),
            _ => Err(Error::file(&self.path, format!("the record at byte {offset} has changed while it was read"))),
        }
    }

    fn parse(&self, json: &[u8], offset: u64) -> Result<Event> {
        let event = serde_json::from_slice(json).map_err(|error| {
            Error::file(&self.path, format!("the record at byte {offset} cannot be read: {error}")).because(error)
        })?;
        match event {
            Event::Segment(SegmentHead { format, crosstie }) if format > SegmentHead::FORMAT => {
                let message = format!(
                    "a log of format {format}, written by crosstie {crosstie}; this version reads format {} and before",
                    SegmentHead::FORMAT
                );
                Err(Error::unfit(&self.path, message))
            }
            event => Ok(event),
        }
    }
}

/// What a start finds.
pub(super) struct Found {
    /// The number of the next segment.
    pub next: u64,
    /// The feedback that was logged last.
    pub recent: Recent,
    /// Bytes that were cut off.
    pub cut_bytes: u64,
    /// The segments, the oldest first.
    pub rolled: VecDeque<Rolled>,
}

/// Cuts off what a crash left behind the last whole record, and reads back the last
/// feedback, of at most so many bytes of segments.
pub(super) fn recover(directory: &Path, most_bytes: u64) -> Result<Found> {
    let segments = segments(directory)?;
    let mut found = Found { next: 1, recent: Recent::default(), cut_bytes: 0, rolled: VecDeque::new() };
    let Some(last) = segments.last() else { return Ok(found) };
    found.next = last.number + 1;
    // Cutting changes when the file was written to last, though no event is that young.
    for segment in &segments {
        let about = fs::metadata(&segment.path).map_err(Error::io(&segment.path))?;
        let last = about.modified().map_or_else(|_| Time::now(), Time::of);
        found.rolled.push_back(Rolled { number: segment.number, bytes: about.len(), last });
    }
    found.cut_bytes = cut(&last.path)?;
    found.rolled.back_mut().into_iter().for_each(|last| last.bytes -= found.cut_bytes);
    let mut keys: Vec<Vec<u128>> = Vec::new();
    let (mut read, mut known) = (0, 0);
    for segment in segments.iter().rev() {
        read += fs::metadata(&segment.path).map_err(Error::io(&segment.path))?.len();
        if (!keys.is_empty() && read > most_bytes) || known >= CAPACITY {
            break;
        }
        let mut of_segment = Vec::new();
        let damages = segment.read(|record| {
            if let Event::Feedback(feedback) = record.event {
                of_segment.push(feedback.key());
            }
            Ok(())
        })?;
        warn_of(&damages);
        known += of_segment.len();
        keys.push(of_segment);
    }
    keys.into_iter().rev().flatten().for_each(|key| found.recent.insert(key));
    Ok(found)
}

/// Says what of a log cannot be read.
pub(super) fn warn_of(damages: &[Damage]) {
    for Damage { path, offset, bytes } in damages {
        tracing::warn!("{}: {bytes} bytes at byte {offset} are no record and are left out", path.display());
    }
}

fn cut(path: &Path) -> Result<u64> {
    let mut file = File::options().read(true).write(true).open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(Error::io(path))?;
    let end = line::end_of_records(&bytes);
    let torn = (bytes.len() - end) as u64;
    if torn > 0 {
        file.set_len(end as u64).and_then(|()| file.sync_all()).map_err(Error::io(path))?;
        tracing::warn!("{}: {torn} bytes at the end were no whole record and were cut off", path.display());
    }
    Ok(torn)
}
