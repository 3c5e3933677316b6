//! Batches for training: shuffled, encoded ahead of their use, and kept in
//! memory between epochs where they fit.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mix::Mix;
use super::unknown::Unknowns;
use crate::batch::{Batch, Ids};
use crate::calibration::Evidence;
use crate::compute::Node;
use crate::config::TrainConfig;
use crate::data::{Rows, Source, ahead};
use crate::error::Result;
use crate::feature::{Features, Purpose, Tally, TrainingFeatures, Unknown};
use crate::learned::{Passes, ROWS};
use crate::metric::Report;
use crate::random::Stream;

/// Rows decoded and encoded at a time.
const PIECE: usize = 8192;

/// The encoded rows of some files.
pub(super) struct Loader<'a> {
    source: &'a Source,
    encoder: Encoder<'a>,
    cache: Mutex<Cache>,
    unknowns: Unknowns,
    /// Of rows that are not trained on: counts of them, until all were read once.
    seen: Mutex<Option<Seen<'a>>>,
}

/// Counts of the rows of the first blocks.
struct Seen<'a> {
    blocks: usize,
    tally: Tally<'a>,
}

/// How rows are encoded.
#[derive(Clone, Copy)]
pub(super) enum Encoder<'a> {
    /// As rows of the training files.
    Training(&'a TrainingFeatures),
    /// As any other labelled rows.
    Evaluation(&'a Features),
}

impl Encoder<'_> {
    fn columns(&self) -> Vec<&str> {
        match self {
            Encoder::Training(features) => features.columns(),
            Encoder::Evaluation(features) => features.columns(Purpose::Evaluation),
        }
    }

    fn encode(&self, rows: &Rows) -> Result<Batch> {
        match self {
            Encoder::Training(features) => features.encode(rows),
            Encoder::Evaluation(features) => features.encode(rows, Purpose::Evaluation),
        }
    }
}

/// Encoded blocks, piece by piece, as long as they fit the budget.
struct Cache {
    blocks: HashMap<usize, Arc<Vec<Arc<Batch>>>>,
    bytes: usize,
    budget: usize,
}

/// A place among the batches of an epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cursor {
    /// The window of rows under way.
    pub window: Arc<Window>,
    /// Batches of the window that are behind.
    pub batches: usize,
}

/// Where a window of rows that are shuffled together begins. What follows from
/// here depends on nothing that was read before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Window {
    /// Windows before this one.
    pub number: u64,
    /// Place of the block under way in the order of the epoch.
    pub block: usize,
    /// Pieces of that block that are behind.
    pub pieces: usize,
    /// Rows that were left over, too few for a batch of the window before.
    pub carry: Batch,
}

impl<'a> Loader<'a> {
    pub fn new(source: &'a Source, encoder: Encoder<'a>, budget: usize) -> Loader<'a> {
        let tally = match encoder {
            Encoder::Training(_) => None,
            Encoder::Evaluation(features) => features.tally(),
        };
        Loader {
            source,
            encoder,
            cache: Mutex::new(Cache { blocks: HashMap::new(), bytes: 0, budget }),
            unknowns: Unknowns::default(),
            seen: Mutex::new(tally.map(|tally| Seen { blocks: 0, tally })),
        }
    }

    /// From now on batches have more unknown values.
    pub fn set_unknowns(&mut self, unknowns: Unknowns) {
        self.unknowns = unknowns;
    }

    /// Counts the unknown values of all rows.
    pub fn count_unknown(&self, unknown: &mut Unknown<'_>) -> Result<()> {
        for block in 0..self.source.blocks().len() {
            self.block(block, 0, &mut |piece| {
                unknown.add(piece);
                true
            })?;
        }
        Ok(())
    }

    /// How the rows differ from the training rows, told once: when all have been read.
    pub fn drift(&self) -> Vec<String> {
        let whole = lock(&self.seen).take_if(|seen| seen.blocks == self.source.blocks().len());
        whole.map_or_else(Vec::new, |seen| seen.tally.drift().sentences(&self.source.called("the validation files")))
    }

    /// Feeds what one shuffled epoch has left after `from` to `consume`, batch by
    /// batch and each with the place after it, until it breaks off; whether it
    /// never did. Reading and encoding go on beside it, on a thread of their own.
    pub fn epoch(
        &self,
        config: &TrainConfig,
        mix: &Mix,
        epoch: u64,
        from: &Cursor,
        consume: &mut dyn FnMut(&Batch, Cursor) -> Result<ControlFlow<()>>,
    ) -> Result<bool> {
        let produce = |sender: &SyncSender<Result<(Batch, Cursor)>>| self.produce(config, mix, epoch, from, sender);
        ahead(produce, |batches| {
            for batch in batches {
                let (batch, after) = batch?;
                if consume(&batch, after)?.is_break() {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Row groups in random order, then rows in random order within a window
    /// of `shuffle_rows`. Everything is addressed by (seed, epoch).
    fn produce(
        &self,
        config: &TrainConfig,
        mix: &Mix,
        epoch: u64,
        from: &Cursor,
        sender: &SyncSender<Result<(Batch, Cursor)>>,
    ) -> Result<()> {
        let blocks = Stream::new(config.seed, "blocks").part(epoch).permutation(self.source.blocks().len());
        let rows = Stream::new(config.seed, "rows").part(epoch);
        let draws = Stream::new(config.seed, "mix").part(epoch);
        let unknown = Stream::new(config.seed, "unknown").part(epoch);
        let mut start = from.window.clone();
        let mut window = start.carry.clone();
        let mut behind = from.batches;
        // Sends the window's batches; what is left of it begins the next one.
        let mut flush = |window: &mut Batch, last: bool, block: usize, pieces: usize| -> bool {
            let order = rows.part(start.number).permutation(window.rows);
            let deal = mix.deal(window, last, draws.part(start.number));
            for index in behind..deal.batches() {
                let mut batch = mix.batch(window, &order, &deal, index);
                self.unknowns.apply(&mut batch, unknown.part(start.number).part(index as u64));
                let after = Cursor { window: start.clone(), batches: index + 1 };
                if sender.send(Ok((batch, after))).is_err() {
                    return false;
                }
            }
            behind = 0;
            *window = window.select(&order[deal.dealt()..]);
            start = Arc::new(Window { number: start.number + 1, block, pieces, carry: window.clone() });
            true
        };
        let (first, passed) = (from.window.block, from.window.pieces);
        for (place, block) in blocks.into_iter().enumerate().skip(first) {
            let mut pieces = if place == first { passed } else { 0 };
            let alive = self.block(block, pieces, &mut |piece| {
                window.append(piece);
                pieces += 1;
                window.rows < config.shuffle_rows.max(mix.impressions()) || flush(&mut window, false, place, pieces)
            })?;
            if !alive {
                return Ok(());
            }
        }
        flush(&mut window, true, 0, 0);
        Ok(())
    }

    /// Feeds the encoded pieces of a block, but for the first `passed`, to
    /// `consume` until it says no; whether it never did.
    fn block(&self, block: usize, passed: usize, consume: &mut dyn FnMut(&Arc<Batch>) -> bool) -> Result<bool> {
        let cached = lock(&self.cache).blocks.get(&block).cloned();
        if let Some(pieces) = cached {
            return Ok(pieces.iter().skip(passed).all(consume));
        }
        let mut kept = Some(Vec::new());
        let mut bytes = 0;
        let mut tally = lock(&self.seen).as_ref().filter(|seen| seen.blocks == block).map(|seen| seen.tally.clone());
        for (place, rows) in self.source.read(block, &self.encoder.columns(), PIECE)?.enumerate() {
            let rows = rows?;
            if place < passed {
                kept = None;
                continue;
            }
            let piece = Arc::new(self.encoder.encode(&rows)?);
            if let Some(tally) = &mut tally {
                tally.add(&rows, &piece)?;
            }
            if !consume(&piece) {
                return Ok(false);
            }
            bytes += size(&piece);
            let cache = lock(&self.cache);
            match kept.as_mut() {
                Some(pieces) if cache.bytes + bytes <= cache.budget => pieces.push(piece),
                _ => kept = None,
            }
        }
        if let Some(pieces) = kept {
            let mut cache = lock(&self.cache);
            cache.bytes += bytes;
            cache.blocks.insert(block, Arc::new(pieces));
        }
        if let Some(tally) = tally {
            *lock(&self.seen) = Some(Seen { blocks: block + 1, tally });
        }
        Ok(true)
    }

    /// Scores all rows in their order; `watch` is told of the rows behind every
    /// now and then. `None` if it breaks off.
    pub fn evaluate<const N: usize>(
        &self,
        passes: Passes<'_>,
        logits: [Node; N],
        scenarios: &[String],
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<[Report; N]>> {
        let mut workspace = passes.network().program.workspace(ROWS, false);
        ahead(self.in_order(), |batches| {
            let (mut behind, mut broken_off) = (0, false);
            let watched = batches.take_while(|batch| {
                behind += batch.as_ref().map_or(0, |batch| batch.rows as u64);
                broken_off = watch(behind).is_break();
                !broken_off
            });
            let reports = passes.evaluate_logits(logits, &mut workspace, scenarios, watched)?;
            Ok((!broken_off).then_some(reports))
        })
    }

    /// What a network says of all rows, in their order.
    pub fn evidence(&self, passes: Passes<'_>) -> Result<Vec<Evidence>> {
        self.evidence_of(passes, passes.network().logits)
    }

    /// What some of the logits that a network puts out say of all rows, in their order.
    pub fn evidence_of(&self, passes: Passes<'_>, logits: Node) -> Result<Vec<Evidence>> {
        let mut workspace = passes.network().program.workspace(ROWS, false);
        ahead(self.in_order(), |batches| {
            batches.map(|batch| Ok(passes.evidence_of(logits, &mut workspace, &*batch?))).collect()
        })
    }

    /// Sends all encoded pieces in the order of their rows.
    fn in_order(&self) -> impl Fn(&SyncSender<Result<Arc<Batch>>>) -> Result<()> + '_ {
        |sender| {
            for block in 0..self.source.blocks().len() {
                if !self.block(block, 0, &mut |piece| sender.send(Ok(piece.clone())).is_ok())? {
                    break;
                }
            }
            Ok(())
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of an encoded piece.
fn size(batch: &Batch) -> usize {
    let ids: usize = batch
        .ids
        .iter()
        .map(|ids| match ids {
            Ids::One(ids) => ids.len(),
            Ids::Many { offsets, values } => offsets.len() + values.len(),
        })
        .sum();
    let floats = batch.dense.len() + batch.labels.len() + batch.weights.len();
    4 * (ids + floats + batch.scenarios.len()) + 8 * batch.groups.len()
}
