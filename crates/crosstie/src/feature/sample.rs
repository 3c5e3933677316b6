//! A few training rows, kept while all pass by.

use super::PIECE;
use crate::data::Rows;
use crate::error::Result;
use crate::random::Stream;

/// Rows kept.
const CAPACITY: usize = 2 * PIECE;

/// Training rows by lot: all of them while they are few, else those whose places
/// hash lowest, so that neither the order nor the cut of the rows decides. Their
/// memory does not grow with the log.
pub(super) struct RowSample {
    stream: Stream,
    capacity: usize,
    kept: Vec<Rows>,
    rows: usize,
    /// Only what hashes lower can still be among the lowest.
    bound: u64,
}

impl RowSample {
    pub fn new() -> RowSample {
        RowSample::of(CAPACITY)
    }

    fn of(capacity: usize) -> RowSample {
        RowSample { stream: Stream::new(0, "sample"), capacity, kept: Vec::new(), rows: 0, bound: u64::MAX }
    }

    fn lot(stream: Stream, rows: &Rows, row: usize) -> u64 {
        stream.part(rows.file as u64).bits(rows.place(row))
    }

    /// Adds training rows.
    ///
    /// # Errors
    /// Where a column cannot be copied.
    pub fn add(&mut self, rows: &Rows) -> Result<()> {
        self.keep(rows)?;
        if self.rows >= 2 * self.capacity {
            self.shrink()?;
        }
        Ok(())
    }

    fn keep(&mut self, rows: &Rows) -> Result<()> {
        let low: Vec<usize> = (0..rows.len()).filter(|row| Self::lot(self.stream, rows, *row) < self.bound).collect();
        if !low.is_empty() {
            self.rows += low.len();
            self.kept.push(rows.choose(&low)?);
        }
        Ok(())
    }

    fn shrink(&mut self) -> Result<()> {
        if self.rows > self.capacity {
            let lots =
                |rows: &Rows| -> Vec<u64> { (0..rows.len()).map(|row| Self::lot(self.stream, rows, row)).collect() };
            let mut all: Vec<u64> = self.kept.iter().flat_map(lots).collect();
            self.bound = *all.select_nth_unstable(self.capacity).1;
            self.rows = 0;
            for rows in std::mem::take(&mut self.kept) {
                self.keep(&rows)?;
            }
        }
        Ok(())
    }

    /// The rows, in their order.
    pub fn finish(mut self) -> Result<Vec<Rows>> {
        self.shrink()?;
        Ok(self.kept)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::arrow::array::{Int64Array, RecordBatch};

    #[test]
    fn a_sample_does_not_depend_on_how_rows_are_cut_and_knows_their_places() {
        let sample = |piece: usize| {
            let mut sample = RowSample::of(50);
            for start in (0..1000).step_by(piece) {
                let numbers = Int64Array::from_iter_values(start as i64..((start + piece).min(1000)) as i64);
                let batch = RecordBatch::try_from_iter([("x", Arc::new(numbers) as _)]).unwrap();
                let mut rows = Rows::new(batch, "log");
                rows.first_row = start as u64;
                sample.add(&rows).unwrap();
            }
            let mut found = Vec::new();
            for rows in sample.finish().unwrap() {
                let numbers = rows.column("x").unwrap().numbers().unwrap();
                found.extend(numbers.iter().enumerate().map(|(row, x)| (rows.place(row), x.unwrap() as u64)));
            }
            found
        };
        let found = sample(7);
        assert_eq!(found.len(), 50);
        assert!(found.iter().all(|(place, x)| place == x) && found.is_sorted(), "{found:?}");
        assert_eq!(found, sample(1000));
    }
}
