//! Batches for training: shuffled, encoded ahead of their use, and kept in
//! memory between epochs where they fit.

use std::collections::HashMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

use super::mix::Mix;
use crate::batch::{Batch, Ids};
use crate::config::TrainConfig;
use crate::data::{Source, ahead};
use crate::error::Result;
use crate::feature::{Features, Purpose};
use crate::metric::Report;
use crate::random::Stream;
use crate::scorer::Scorer;

/// Rows decoded and encoded at a time.
const PIECE: usize = 8192;

/// The encoded rows of some files.
pub(super) struct Loader<'a> {
    source: &'a Source,
    features: &'a Features,
    purpose: Purpose,
    cache: Mutex<Cache>,
}

/// Encoded blocks, as long as they fit the budget.
struct Cache {
    blocks: HashMap<usize, Arc<Vec<Batch>>>,
    bytes: usize,
    budget: usize,
}

impl<'a> Loader<'a> {
    pub fn new(source: &'a Source, features: &'a Features, purpose: Purpose, budget: usize) -> Loader<'a> {
        let cache = Mutex::new(Cache { blocks: HashMap::new(), bytes: 0, budget });
        Loader { source, features, purpose, cache }
    }

    /// Feeds one shuffled epoch to `consume`, batch by batch, until it says no.
    /// Reading and encoding go on beside it, on a thread of their own.
    pub fn epoch(
        &self,
        config: &TrainConfig,
        mix: &Mix,
        epoch: u64,
        consume: &mut dyn FnMut(&Batch) -> Result<bool>,
    ) -> Result<()> {
        let produce = |sender: &SyncSender<Result<Batch>>| self.produce(config, mix, epoch, sender);
        ahead(produce, |batches| {
            for batch in batches {
                if !consume(&batch?)? {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Row groups in random order, then rows in random order within a window
    /// of `shuffle_rows`. Everything is addressed by (seed, epoch).
    fn produce(&self, config: &TrainConfig, mix: &Mix, epoch: u64, sender: &SyncSender<Result<Batch>>) -> Result<()> {
        let order = Stream::new(config.seed, "blocks").part(epoch).permutation(self.source.blocks().len());
        let rows = Stream::new(config.seed, "rows").part(epoch);
        let draws = Stream::new(config.seed, "mix").part(epoch);
        let mut window = Batch::default();
        let mut windows = 0;
        let mut flush = |window: &mut Batch, last: bool| -> bool {
            let order = rows.part(windows).permutation(window.rows);
            let pools = mix.pools(window, draws.part(windows));
            windows += 1;
            let size = mix.impressions();
            let whole = if last { window.rows } else { window.rows / size * size };
            for (index, chosen) in order[..whole].chunks(size).enumerate() {
                if sender.send(Ok(mix.batch(window, chosen, index * size, &pools))).is_err() {
                    return false;
                }
            }
            *window = window.select(&order[whole..]);
            true
        };
        for block in order {
            let alive = self.block(block, &mut |piece| {
                window.append(piece);
                window.rows < config.shuffle_rows.max(config.batch_size) || flush(&mut window, false)
            })?;
            if !alive {
                return Ok(());
            }
        }
        flush(&mut window, true);
        Ok(())
    }

    /// Feeds the encoded pieces of a block to `consume` until it says no;
    /// whether it never did.
    fn block(&self, block: usize, consume: &mut dyn FnMut(&Batch) -> bool) -> Result<bool> {
        let cached = self.lock().blocks.get(&block).cloned();
        if let Some(pieces) = cached {
            return Ok(pieces.iter().all(consume));
        }
        let columns = self.features.columns(self.purpose);
        let mut kept = Some(Vec::new());
        let mut bytes = 0;
        for rows in self.source.read(block, &columns, PIECE)? {
            let piece = self.features.encode(&rows?, self.purpose)?;
            if !consume(&piece) {
                return Ok(false);
            }
            bytes += size(&piece);
            let cache = self.lock();
            match kept.as_mut() {
                Some(pieces) if cache.bytes + bytes <= cache.budget => pieces.push(piece),
                _ => kept = None,
            }
        }
        if let Some(pieces) = kept {
            let mut cache = self.lock();
            cache.bytes += bytes;
            cache.blocks.insert(block, Arc::new(pieces));
        }
        Ok(true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Scores all rows in their order.
    pub fn evaluate(&self, scorer: &Scorer) -> Result<Report> {
        let produce = |sender: &SyncSender<Result<Batch>>| {
            for block in 0..self.source.blocks().len() {
                if !self.block(block, &mut |piece| sender.send(Ok(piece.clone())).is_ok())? {
                    break;
                }
            }
            Ok(())
        };
        ahead(produce, |batches| scorer.evaluate_batches(batches))
    }
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
