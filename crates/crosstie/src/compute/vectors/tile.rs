//! The inner loop: a tile of the result in registers.

#![allow(unsafe_code)]
// Indices that the compiler knows keep arrays in registers.
#![allow(clippy::needless_range_loop)]

use super::vector::Vector;

/// A tile and the sides that it is the product of.
///
/// # Safety
/// Whoever computes it reads `depth` times [`Vector::BLOCK`] numbers at `left`, and
/// `depth` times as many vectors as `columns` need at `right`, `right_by` apart; and
/// reads and writes `rows` times `columns` numbers at `into`, `into_by` apart. `rows` is
/// 1 to [`Vector::ROWS`], `columns` 1 to [`Vector::WIDTH`].
#[derive(Clone, Copy)]
pub struct Tile {
    pub left: *const f32,
    pub right: *const f32,
    pub right_by: usize,
    pub depth: usize,
    pub into: *mut f32,
    pub into_by: usize,
    pub rows: usize,
    pub columns: usize,
    /// Whether to begin with what is there rather than with zero.
    pub add: bool,
}

/// A tile of `ROWS` rows and `VECTORS` vectors of columns.
///
/// # Safety
/// See [`Tile`] and [`Vector`].
#[inline(always)]
pub unsafe fn tile<V: Vector, const ROWS: usize, const VECTORS: usize>(tile: Tile) {
    let Tile { mut left, mut right, right_by, depth, into, into_by, columns, add, .. } = tile;
    let last = columns - (VECTORS - 1) * V::LANES;
    // SAFETY: all reading and writing is what `Tile` says (mod.rs,
    // tests::kernels_read_and_write_nothing_else).
    unsafe {
        if add {
            // The rows below are those of the next tile.
            for row in 0..ROWS {
                let below = into.wrapping_add((ROWS + row) * into_by);
                for vector in 0..VECTORS {
                    V::fetch_to_write(below.wrapping_add(vector * V::LANES));
                }
            }
        }
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        if add {
            for row in 0..ROWS {
                for vector in 0..VECTORS {
                    let from = into.add(row * into_by + vector * V::LANES);
                    sums[row][vector] = match vector + 1 < VECTORS || last == V::LANES {
                        true => V::load(from),
                        false => V::load_some(from, last),
                    };
                }
            }
        }
        for _ in 0..depth {
            let mut term = [V::zero(); VECTORS];
            for vector in 0..VECTORS {
                term[vector] = V::load(right.add(vector * V::LANES));
            }
            for row in 0..ROWS {
                let factor = V::all(*left.add(row));
                for vector in 0..VECTORS {
                    sums[row][vector] = sums[row][vector].add_product(factor, term[vector]);
                }
            }
            left = left.add(V::BLOCK);
            right = right.add(right_by);
        }
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                let into = into.add(row * into_by + vector * V::LANES);
                match vector + 1 < VECTORS || last == V::LANES {
                    true => sums[row][vector].store(into),
                    false => sums[row][vector].store_some(into, last),
                }
            }
        }
    }
}

/// The functions of a kernel for a type of vectors, compiled with the attributes
/// given; and tiles of every shape that it may have.
macro_rules! kernel {
    ($name:ident, $vector:ty, $text:literal, [$($attribute:meta)?], [$($rows:literal)*], [$($vectors:literal)*]) => {
        /// The kernel.
        pub static $name: crate::compute::vectors::Functions = {
            use crate::compute::line::Line;
            use crate::compute::matrix::{Matrix, MatrixMut};
            use crate::compute::vectors::{Functions, Operands, sweep};

            /// # Safety
            /// As `Functions::lay`.
            $(#[$attribute])?
            unsafe fn lay(right: Matrix<'_>, rounded: bool, into: &mut [f32]) {
                // SAFETY: see above.
                unsafe { sweep::lay_panel::<$vector>(right, rounded, into) }
            }

            /// # Safety
            /// As `Functions::product`.
            $(#[$attribute])?
            unsafe fn product(c: &mut MatrixMut<'_>, accumulate: bool, operands: Operands<'_>, scratch: &mut Vec<Line>) {
                // SAFETY: see above.
                unsafe { sweep::product::<$vector>(c, accumulate, operands, scratch) }
            }

            Functions { name: $text, width: <$vector as Vector>::WIDTH, lay, product }
        };

        impl $vector {
            /// A tile of some rows.
            ///
            /// # Safety
            /// See `Vector::tile`.
            $(#[$attribute])?
            unsafe fn tile_of_rows<const ROWS: usize>(tile: Tile) {
                // SAFETY: see above.
                unsafe {
                    match tile.columns.div_ceil(<$vector as Vector>::LANES) {
                        $($vectors => tile::tile::<$vector, ROWS, $vectors>(tile),)*
                        _ => unreachable!("a tile has no more vectors"),
                    }
                }
            }

            /// A tile.
            ///
            /// # Safety
            /// See `Vector::tile`.
            $(#[$attribute])?
            unsafe fn tile_of_any_rows(tile: Tile) {
                // SAFETY: see above.
                unsafe {
                    match tile.rows {
                        $($rows => Self::tile_of_rows::<$rows>(tile),)*
                        _ => unreachable!("a tile has no more rows"),
                    }
                }
            }
        }
    };
}
pub(super) use kernel;
