//! A few rows by lot, kept while all pass by.

use crate::batch::Batch;
use crate::random::Stream;

/// Which of the rows that pass by are drawn: those with the lowest lots, so that neither
/// the cut of the rows nor their number, known at the end only, decides.
#[derive(Debug)]
pub struct Lots {
    stream: Stream,
    most: usize,
    /// Rows that have passed.
    passed: u64,
    /// Only what is lower can still be drawn.
    bound: u64,
}

impl Lots {
    /// Draws at most so many rows.
    pub fn new(seed: u64, most: usize) -> Lots {
        Lots { stream: Stream::new(seed, "report"), most, passed: 0, bound: u64::MAX }
    }

    /// The lot of the next row, if it may be drawn.
    pub fn next(&mut self) -> Option<u64> {
        self.passed += 1;
        Some(self.stream.bits(self.passed)).filter(|lot| *lot < self.bound)
    }

    /// Whether so many kept rows are enough to leave some out.
    pub fn is_full(&self, kept: usize) -> bool {
        kept >= 2 * self.most.max(1024)
    }

    /// Given the lots of all rows that were kept, the bound that leaves as many as are
    /// drawn: those below it.
    pub fn narrow(&mut self, lots: &mut [u64]) -> u64 {
        if lots.len() > self.most {
            self.bound = *lots.select_nth_unstable(self.most).1;
        }
        self.bound
    }
}

/// Rows drawn by lot, with their features.
#[derive(Debug)]
pub struct Drawn {
    lots: Lots,
    kept: Vec<(Vec<u64>, Batch)>,
    rows: usize,
}

impl Drawn {
    pub fn new(seed: u64, most: usize) -> Drawn {
        Drawn { lots: Lots::new(seed, most), kept: Vec::new(), rows: 0 }
    }

    /// Adds the rows of a batch that may be drawn at all.
    pub fn add(&mut self, batch: &Batch, may: impl Fn(usize) -> bool) {
        // Every row takes a lot, so that two drawings of one seed agree on those of both.
        let chosen = (0..batch.rows).filter_map(|row| self.lots.next().filter(|_| may(row)).map(|lot| (row, lot)));
        let (rows, lots): (Vec<usize>, Vec<u64>) = chosen.unzip();
        if !rows.is_empty() {
            self.rows += rows.len();
            self.kept.push((lots, batch.select(&rows)));
        }
        if self.lots.is_full(self.rows) {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        let mut all: Vec<u64> = self.kept.iter().flat_map(|(lots, _)| lots).copied().collect();
        let bound = self.lots.narrow(&mut all);
        let kept = std::mem::take(&mut self.kept).into_iter().filter_map(|(lots, batch)| {
            let low: Vec<usize> = (0..batch.rows).filter(|row| lots[*row] < bound).collect();
            (!low.is_empty()).then(|| (low.iter().map(|row| lots[*row]).collect(), batch.select(&low)))
        });
        self.kept = kept.collect();
        self.rows = self.kept.iter().map(|(lots, _)| lots.len()).sum();
    }

    /// The rows drawn, in their order.
    pub fn finish(mut self) -> Batch {
        self.shrink();
        let mut all = Batch::default();
        self.kept.iter().for_each(|(_, batch)| all.append(batch));
        all
    }
}
