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
use crate::data::{Pieces, Rows, Source, WAITING, ahead, worked_ahead};
use crate::error::Result;
use crate::feature::{Features, Purpose, Tally, TrainingFeatures, Unknown};
use crate::learned::{Passes, ROWS};
use crate::metric::Report;
use crate::random::Stream;

/// Rows decoded and encoded at a time.
const PIECE: usize = 8192;

/// Most pieces of the next window that are read ahead.
const MOST_AHEAD: usize = 64;

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
    blocks: HashMap<usize, Kept>,
    bytes: usize,
    budget: usize,
}

/// The encoded pieces of a block.
type Kept = Arc<Vec<Arc<Batch>>>;

/// Encoded rows, and what of an epoch is behind them.
struct Piece {
    batch: Arc<Batch>,
    /// Place of their block among those asked for.
    block: usize,
    /// Pieces of that block up to these.
    pieces: usize,
}

/// What is read of some blocks, one block after the other.
enum Step {
    /// A block begins, so many pieces behind its first.
    Begin {
        /// Its place among those asked for.
        block: usize,
        pieces: usize,
        /// Whether it is not in memory.
        fresh: bool,
    },
    /// A piece, with its rows where they are counted.
    Piece(Arc<Batch>, Option<Rows>),
    /// The block was read to its end.
    End,
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
        self.in_order(|pieces| {
            for batch in pieces {
                unknown.add(&*batch?);
            }
            Ok(())
        })
    }

    /// How the rows differ from the training rows, told once: when all have been read.
    pub fn drift(&self) -> Vec<String> {
        let whole = lock(&self.seen).take_if(|seen| seen.blocks == self.source.blocks().len());
        whole.map_or_else(Vec::new, |seen| seen.tally.drift().sentences(&self.source.called("the validation files")))
    }

    /// Feeds what one shuffled epoch has left after `from` to `consume`, batch by
    /// batch and each with the place after it, until it breaks off; whether it
    /// never did. Reading and encoding go on beside it, on threads of their own.
    pub fn epoch(
        &self,
        config: &TrainConfig,
        mix: &Mix,
        epoch: u64,
        from: &Cursor,
        consume: &mut dyn FnMut(&Batch, Cursor) -> Result<ControlFlow<()>>,
    ) -> Result<bool> {
        // Asked here, where the pool is.
        let threads = rayon::current_num_threads();
        let produce =
            |sender: &SyncSender<Result<(Batch, Cursor)>>| self.produce(config, mix, epoch, from, threads, sender);
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
        threads: usize,
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
        let least = config.shuffle_rows.max(mix.impressions());
        // The next window is read beside the training on this one.
        let waiting = least.div_ceil(PIECE).min(MOST_AHEAD);
        self.pieces(&blocks[first.min(blocks.len())..], passed, [threads, waiting], |all| {
            for piece in all {
                let Piece { batch, block, pieces } = piece?;
                window.append(&batch);
                if window.rows >= least && !flush(&mut window, false, first + block, pieces) {
                    return Ok(());
                }
            }
            flush(&mut window, true, 0, 0);
            Ok(())
        })
    }

    /// Hands the encoded pieces of some blocks, without the first `passed`, to `consume`. What is
    /// not in memory is read and encoded ahead, by so many threads and with so many pieces that may
    /// wait, and kept where it fits.
    fn pieces<R>(
        &self,
        blocks: &[usize],
        passed: usize,
        [threads, waiting]: [usize; 2],
        consume: impl FnOnce(&mut dyn Iterator<Item = Result<Piece>>) -> R,
    ) -> R {
        let kept: Vec<Option<Kept>> = {
            let cache = lock(&self.cache);
            blocks.iter().map(|block| cache.blocks.get(block).cloned()).collect()
        };
        let passed = |block: usize| if block == 0 { passed } else { 0 };
        if kept.iter().all(Option::is_some) {
            let of_block = |(block, kept): (usize, Kept)| {
                let pieces = (passed(block)..kept.len()).map(move |piece| (piece, kept[piece].clone()));
                pieces.map(move |(piece, batch)| Ok(Piece { batch, block, pieces: piece + 1 }))
            };
            return consume(&mut kept.into_iter().flatten().enumerate().flat_map(of_block));
        }
        let read = |pieces: &Pieces<Rows, Step>| {
            for (block, kept) in kept.into_iter().enumerate() {
                let passed = passed(block);
                let mut wanted = pieces.pass(Step::Begin { block, pieces: passed, fresh: kept.is_none() });
                match kept {
                    Some(kept) => {
                        let mut kept = kept.iter().skip(passed);
                        wanted = wanted && kept.all(|piece| pieces.pass(Step::Piece(piece.clone(), None)));
                    }
                    None => {
                        let all = self.source.read(blocks[block], &self.encoder.columns(), PIECE)?;
                        for (piece, rows) in all.enumerate() {
                            let rows = rows?;
                            wanted = wanted && (piece < passed || pieces.send(rows));
                            if !wanted {
                                break;
                            }
                        }
                    }
                }
                if !(wanted && pieces.pass(Step::End)) {
                    break;
                }
            }
            Ok(())
        };
        let counts = lock(&self.seen).is_some();
        let encode = |rows: Rows| Ok(Step::Piece(Arc::new(self.encoder.encode(&rows)?), counts.then_some(rows)));
        worked_ahead([threads, waiting], read, encode, |steps| {
            let mut under_way = UnderWay::default();
            consume(&mut steps.filter_map(|step| self.follow(&mut under_way, blocks, step).transpose()))
        })
    }

    /// The piece of a step, if it is one. Whole blocks are kept where they fit, and their rows
    /// counted where that is wanted.
    fn follow(&self, under_way: &mut UnderWay<'a>, blocks: &[usize], step: Result<Step>) -> Result<Option<Piece>> {
        match step? {
            Step::Begin { block, pieces, fresh } => {
                let whole = fresh && pieces == 0;
                let tally = |seen: &Seen<'a>| (whole && seen.blocks == blocks[block]).then(|| seen.tally.clone());
                *under_way = UnderWay {
                    block,
                    pieces,
                    kept: whole.then(Vec::new),
                    bytes: 0,
                    tally: lock(&self.seen).as_ref().and_then(tally),
                };
                Ok(None)
            }
            Step::Piece(batch, rows) => {
                under_way.pieces += 1;
                under_way.bytes += size(&batch);
                if let Some((tally, rows)) = under_way.tally.as_mut().zip(rows) {
                    tally.add(&rows, &batch)?;
                }
                let cache = lock(&self.cache);
                match &mut under_way.kept {
                    Some(kept) if cache.bytes + under_way.bytes <= cache.budget => kept.push(batch.clone()),
                    _ => under_way.kept = None,
                }
                Ok(Some(Piece { batch, block: under_way.block, pieces: under_way.pieces }))
            }
            Step::End => {
                let UnderWay { block, kept, bytes, tally, .. } = std::mem::take(under_way);
                if let Some(kept) = kept {
                    let mut cache = lock(&self.cache);
                    cache.bytes += bytes;
                    cache.blocks.insert(blocks[block], Arc::new(kept));
                }
                if let Some(tally) = tally {
                    *lock(&self.seen) = Some(Seen { blocks: blocks[block] + 1, tally });
                }
                Ok(None)
            }
        }
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
        let mut workspace = passes.network().program.workspace(0, false);
        workspace.reserve(ROWS)?;
        self.in_order(|batches| {
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
        let mut workspace = passes.network().program.workspace(0, false);
        workspace.reserve(ROWS)?;
        self.in_order(|batches| batches.map(|batch| Ok(passes.evidence_of(logits, &mut workspace, &*batch?))).collect())
    }

    /// Hands all encoded pieces to `consume`, in the order of their rows.
    fn in_order<R>(&self, consume: impl FnOnce(&mut dyn Iterator<Item = Result<Arc<Batch>>>) -> R) -> R {
        let all: Vec<usize> = (0..self.source.blocks().len()).collect();
        self.pieces(&all, 0, [rayon::current_num_threads(), WAITING], |pieces| {
            consume(&mut pieces.map(|piece| Ok(piece?.batch)))
        })
    }
}

/// A block that is being read.
#[derive(Default)]
struct UnderWay<'a> {
    /// Its place among those asked for.
    block: usize,
    /// Its pieces that are behind.
    pieces: usize,
    /// These, as long as the block is to be kept.
    kept: Option<Vec<Arc<Batch>>>,
    bytes: usize,
    /// Counts of its rows and of those of the blocks before, where it is counted.
    tally: Option<Tally<'a>>,
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
