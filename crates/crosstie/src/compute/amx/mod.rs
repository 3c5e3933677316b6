//! Matrix products on the matrix unit of Intel's processors (AMX, since
//! Sapphire Rapids, 2023).
//!
//! The unit multiplies bfloat16 numbers, which have 8 of the 24 bits of a
//! float32, and adds in float32: sixteen times as many in a cycle as the vector
//! unit multiplies float32 numbers. It serves two ways:
//!
//! - [`Parts::One`]: operands are rounded to bfloat16.
//! - [`Parts::Three`]: a float32 is the sum of three bfloat16 numbers, to the
//!   last bit. Of the nine products that two such sums have, the six large ones
//!   are computed, the small ones first; what is left out is below the last bit
//!   of a float32. The unit adds 32 products before it adds to the result, so
//!   rounding errors are smaller than those of a float32 product that adds one
//!   by one (matmul.rs, float32_on_the_matrix_unit_is_as_exact_as_by_vectors).
//!
//! Operands are laid out in **lines** of 16 pairs of bfloat16 numbers, sixteen lines to a tile. A
//! **strip** is 32 rows of the left side, or 32 columns of the right; a
//! **block** is 32 terms of the inner width. Per strip and block there are two
//! tiles for each part. Whatever is missing to a whole block is zero.
//!
//! A row of the result depends on its own row of the left side alone, and every
//! element is summed block by block: neither the number of rows nor how a
//! product is cut changes a bit.

use std::ops::Range;
use std::sync::OnceLock;

use super::line::{EMPTY, Line};
use super::matrix::{Matrix, MatrixMut};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[path = "absent.rs"]
mod kernel;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod kernel;

/// Lines of a tile; rows and columns of what an instruction adds to.
const TILE: usize = 16;

/// Rows of the left side, or columns of the right, that are laid out together.
pub const STRIP: usize = 2 * TILE;

/// Terms that an instruction sums.
const BLOCK: usize = 32;

/// How many bfloat16 numbers stand for a float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The nearest.
    One = 1,
    /// Three, of which it is the sum.
    Three = 3,
}

/// The inner width of a product, in blocks: first the terms before `cut`, then
/// the rest. The last block of each may be narrower.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// Terms in all.
    pub inner: usize,
    /// Where a block ends in any case; 0 for nowhere.
    pub cut: usize,
}

impl Blocks {
    /// How many blocks stand before the cut.
    pub fn before_cut(self) -> usize {
        self.cut.div_ceil(BLOCK)
    }

    /// How many blocks there are.
    pub fn count(self) -> usize {
        self.before_cut() + (self.inner - self.cut).div_ceil(BLOCK)
    }

    /// The terms of a block.
    fn terms(self, block: usize) -> Range<usize> {
        let (from, end) = match block.checked_sub(self.before_cut()) {
            None => (block * BLOCK, self.cut),
            Some(block) => (self.cut + block * BLOCK, self.inner),
        };
        from..end.min(from + BLOCK)
    }
}

/// A right side, laid out: the blocks `from..from + count` of `whole` in each of
/// its strips.
#[derive(Clone, Copy)]
pub struct Laid<'a> {
    lines: &'a [Line],
    whole: usize,
    from: usize,
    count: usize,
}

impl<'a> Laid<'a> {
    /// All of a right side that [`Unit::lay`] laid out.
    pub fn new(lines: &'a [Line], blocks: Blocks) -> Laid<'a> {
        Laid { lines, whole: blocks.count(), from: 0, count: blocks.count() }
    }

    /// What stands before a cut after so many blocks, and what behind.
    pub fn split(self, before: usize) -> (Laid<'a>, Laid<'a>) {
        let behind = Laid { from: self.from + before, count: self.count - before, ..self };
        (Laid { count: before, ..self }, behind)
    }
}

/// The sides of a product.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    pub a: Matrix<'a>,
    pub b: Matrix<'a>,
    /// How their common width is cut.
    pub blocks: Blocks,
    /// b as [`Unit::lay`] lays it out, if anybody has.
    pub laid: Option<Laid<'a>>,
}

/// Lines that a right side of so many columns takes.
pub fn lines(blocks: Blocks, columns: usize, parts: Parts) -> usize {
    columns.div_ceil(STRIP) * lines_of_strip(blocks.count(), parts)
}

fn lines_of_strip(blocks: usize, parts: Parts) -> usize {
    blocks * 2 * parts as usize * TILE
}

/// Leave to use the matrix unit: there is one, and the system lets us.
#[derive(Clone, Copy, Debug)]
pub struct Unit(());

impl Unit {
    /// The processor's unit. Asks the system once.
    pub fn find() -> Option<Unit> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        FOUND.get_or_init(kernel::permitted).then_some(Unit(()))
    }

    /// Lays out the columns `strip · 32` and on of a right side, up to 32 of them.
    /// `into` has as many lines as [`lines`] says for one strip.
    pub fn lay(self, right: Matrix<'_>, blocks: Blocks, strip: usize, parts: Parts, into: &mut [Line]) {
        kernel::lay(self, right, blocks, strip, parts, into);
    }

    /// `c = a · b`, or `c += a · b` if `accumulate`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn product(self, c: &mut MatrixMut<'_>, accumulate: bool, operands: Operands<'_>, parts: Parts) {
        kernel::product(self, c, accumulate, operands, parts);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// All other tests of the unit pass where there is none. So it must be found
    /// where the system lists what it takes, unless somebody says that it may not
    /// be used there.
    #[test]
    fn the_unit_is_found_where_there_is_one() {
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let listed = |flag: &str| processor.split_whitespace().any(|word| word == flag);
        let there = ["amx_tile", "amx_bf16", "avx512f", "avx512bw", "avx512vl", "avx512_bf16"].into_iter().all(listed);
        if Unit::find().is_none() {
            // Not through a macro: those are silent in tests that pass.
            let said = b"skipped: all tests of the matrix unit, which this processor does not have\n";
            std::io::stderr().write_all(said).unwrap();
        }
        let refused = std::env::var_os("CROSSTIE_NO_AMX").is_some();
        assert!(
            Unit::find().is_some() || !there || refused,
            "the processor has a matrix unit, but it cannot be used; set CROSSTIE_NO_AMX where that is meant so"
        );
    }
}
