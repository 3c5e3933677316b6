//! The numbers of a batch, chunk by chunk.

use std::ops::Range;

use super::matrix::{Matrix, MatrixMut};
use super::memory;
use super::node::Node;
use crate::error::Result;

/// Most rows of a chunk. Small enough that a chunk's numbers stay near the
/// processor, large enough for fast products.
pub const CHUNK: usize = 256;

/// Fewest rows of a chunk.
const LEAST: usize = 32;

/// What a chunk costs beside its rows, in rows.
const BESIDE: usize = 16;

/// Rows of a chunk of a batch that several threads share: [`CHUNK`], or a half, a quarter or an
/// eighth of it, whatever lets the thread with the most to do be ready first.
pub(super) fn rows_of_chunk(rows: usize, threads: usize) -> usize {
    let sizes = std::iter::successors(Some(CHUNK), |size| Some(size / 2)).take_while(|size| *size >= LEAST);
    let cost = |size: &usize| {
        let chunks = rows.div_ceil(*size).div_ceil(threads.max(1));
        rows.min(chunks.saturating_mul(*size)).saturating_add(chunks.saturating_mul(BESIDE))
    };
    sizes.min_by_key(cost).unwrap_or(CHUNK)
}

/// Training or scoring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Dropout and batch statistics are on; the numbers address the randomness.
    Train {
        /// The run's seed.
        seed: u64,
        /// The optimizer step.
        step: u64,
    },
    /// Every row for itself.
    Score,
}

/// The numbers of some consecutive rows of a batch.
#[derive(Debug)]
pub(super) struct Chunk {
    pub rows: usize,
    /// Rows that there is room for.
    pub capacity: usize,
    pub first_row: usize,
    pub segments: Vec<Range<usize>>,
    /// Per buffer with a lead: the rows whose lead differs from that of the row
    /// before. Found for scoring only.
    pub starts: Vec<Vec<usize>>,
    pub values: Vec<Vec<f32>>,
    pub gradients: Vec<Vec<f32>>,
}

/// What a chunk's numbers are, where there is no memory for them.
pub(super) const ROOM: &str = "room for the rows of a batch and what is computed from them";

impl Chunk {
    /// Without room for any row.
    pub fn new(first_row: usize, scenarios: usize, buffers: usize) -> Chunk {
        Chunk {
            rows: 0,
            capacity: 0,
            first_row,
            segments: vec![0..0; scenarios],
            starts: vec![Vec::new(); buffers],
            values: vec![Vec::new(); buffers],
            gradients: vec![Vec::new(); buffers],
        }
    }

    /// Makes room for so many rows, of which each has so many numbers in every
    /// buffer. What it held is lost if there was less. The first time there is
    /// room for no row more, then for twice as many at least, but no more than `most`:
    /// batches that grow row by row ask for memory a few times only.
    pub fn reserve(&mut self, rows: usize, most: usize, values: &[usize], gradients: &[usize]) -> Result<()> {
        if rows <= self.capacity {
            return Ok(());
        }
        let rows = rows.max(most.min(2 * self.capacity));
        self.capacity = 0;
        for (buffer, width) in self.values.iter_mut().zip(values).chain(self.gradients.iter_mut().zip(gradients)) {
            *buffer = Vec::new();
            *buffer = memory::zeros(ROOM, &[rows, *width])?;
        }
        self.capacity = rows;
        Ok(())
    }
}

/// Some columns of a chunk's buffer.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    stride: usize,
    from: usize,
    width: usize,
}

impl<'a> View<'a> {
    /// A node's columns.
    pub(super) fn of(node: Node, buffers: &'a [Vec<f32>], widths: &[usize]) -> View<'a> {
        View { data: &buffers[node.buffer], stride: widths[node.buffer], from: node.from, width: node.width }
    }

    /// One row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride + self.from..][..self.width]
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Some rows and columns as a matrix.
    pub fn matrix(&self, rows: Range<usize>, column: usize, width: usize) -> Matrix<'a> {
        assert!(column + width <= self.width);
        Matrix::new(&self.data[rows.start * self.stride + self.from + column..], rows.len(), width, self.stride)
    }
}

/// Some columns of a chunk's buffer, to be written.
pub struct ViewMut<'a> {
    data: &'a mut [f32],
    stride: usize,
    from: usize,
    width: usize,
    /// Whether to add to what is there rather than overwrite it.
    pub accumulate: bool,
}

impl<'a> ViewMut<'a> {
    /// A node's columns.
    pub(super) fn of(node: Node, buffers: &'a mut [Vec<f32>], widths: &[usize], accumulate: bool) -> ViewMut<'a> {
        let (data, stride) = (buffers[node.buffer].as_mut_slice(), widths[node.buffer]);
        ViewMut { data, stride, from: node.from, width: node.width, accumulate }
    }

    /// One row.
    #[inline(always)]
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.stride + self.from..][..self.width]
    }

    /// Some rows and columns as a matrix.
    pub fn matrix(&mut self, rows: Range<usize>, column: usize, width: usize) -> MatrixMut<'_> {
        assert!(column + width <= self.width);
        MatrixMut::new(&mut self.data[rows.start * self.stride + self.from + column..], rows.len(), width, self.stride)
    }

    /// Zeroes the rows unless they are to be added to; afterwards adding is
    /// right in either case.
    pub fn start(&mut self, rows: usize) {
        if !self.accumulate {
            for row in 0..rows {
                self.row(row).fill(0.0);
            }
        }
        self.accumulate = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_one_chunk_kept_all_threads_but_one_waiting() {
        // Rows, threads, rows of a chunk.
        let expected = [
            (256, 1, 256),
            (256, 2, 128),
            (64, 2, 32),
            (64, 64, 32),
            (512, 2, 256),
            (4096, 2, 256),
            (4096, 16, 256),
            (4096, 12, 128),
            (4096, 64, 64),
            (1024, 16, 64),
            (1024, 6, 64),
            (300, 1, 256),
            (300, 2, 64),
            (1, 8, 256),
            (0, 8, 256),
        ];
        for (rows, threads, size) in expected {
            assert_eq!(rows_of_chunk(rows, threads), size, "{rows} rows, {threads} threads");
        }
    }
}
