//! The inner loop: a tile of the result in registers.

#![allow(unsafe_code)]
// Indices that the compiler knows keep arrays in registers.
#![allow(clippy::needless_range_loop)]

use super::vector::{Left, Tile, Vector};

/// Rows that one address serves: what is there, and once and twice the distance further on.
/// So addresses stay in registers, too.
const SERVED: usize = 3;

/// Addresses that serve all rows of a tile.
const ADDRESSES: usize = 5;

/// A tile of `ROWS` rows and `VECTORS` vectors of columns.
///
/// # Safety
/// See [`Tile`] and [`Vector`].
#[inline(always)]
pub unsafe fn tile<V: Vector, const ROWS: usize, const VECTORS: usize>(tile: Tile) {
    let Tile { left, right, right_by, depth, into, into_by, columns, add, .. } = tile;
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
        match left {
            Left::ByTerms(left, by) => {
                add_terms::<V, ROWS, VECTORS, false>(&mut sums, (left, by), (right, right_by), depth)
            }
            Left::ByRows(left, by) => {
                add_terms::<V, ROWS, VECTORS, true>(&mut sums, (left, by), (right, right_by), depth)
            }
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

/// Does something with every row of a tile. Compilers do not unroll a loop of so many
/// instructions, and then the tile is not kept in registers.
macro_rules! each_row {
    ($row:ident in $rows:ident => $work:block) => {
        each_row!(@ $row $rows $work 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $row:ident $rows:ident $work:block $($index:literal)*) => {
        $(if $index < $rows {
            let $row = $index;
            $work
        })*
    };
}

/// Adds the products of all terms to a tile.
///
/// # Safety
/// See [`Tile`] and [`Vector`].
#[inline(always)]
unsafe fn add_terms<V: Vector, const ROWS: usize, const VECTORS: usize, const BY_ROWS: bool>(
    sums: &mut [[V; VECTORS]; ROWS],
    (left, left_by): (*const f32, usize),
    (mut right, right_by): (*const f32, usize),
    depth: usize,
) {
    let mut starts: [_; ADDRESSES] = std::array::from_fn(|index| match BY_ROWS {
        true => left.wrapping_add(index * SERVED * left_by),
        false => left,
    });
    // SAFETY: see above; of the addresses only those of rows are used.
    unsafe {
        for _ in 0..depth {
            let mut term = [V::zero(); VECTORS];
            for vector in 0..VECTORS {
                term[vector] = V::load(right.add(vector * V::LANES));
            }
            each_row!(row in ROWS => {
                let factor = V::all(match BY_ROWS {
                    true => *starts[row / SERVED].add(row % SERVED * left_by),
                    false => *starts[0].add(row),
                });
                for vector in 0..VECTORS {
                    sums[row][vector] = sums[row][vector].add_product(factor, term[vector]);
                }
            });
            for start in &mut starts {
                *start = start.wrapping_add(if BY_ROWS { 1 } else { left_by });
            }
            right = right.add(right_by);
        }
    }
}

/// The functions of a kernel for a type of vectors, compiled with the attributes
/// given.
macro_rules! kernel {
    ($name:ident, $vector:ty, $text:literal, [$($attribute:meta)?]) => {
        /// The kernel.
        pub static $name: crate::compute::vectors::Functions = {
            use crate::compute::matrix::{Matrix, MatrixMut};
            use crate::compute::vectors::{Functions, Operands, Scratch, sweep};

            /// # Safety
            /// As `Functions::lay`.
            $(#[$attribute])?
            unsafe fn lay(right: Matrix<'_>, rounded: bool, into: &mut [f32], _: &mut Scratch) {
                // SAFETY: see above.
                unsafe { sweep::lay_panel::<$vector>(right, rounded, into) }
            }

            /// # Safety
            /// As `Functions::product`.
            $(#[$attribute])?
            unsafe fn product(c: &mut MatrixMut<'_>, accumulate: bool, operands: Operands<'_>, scratch: &mut Scratch) {
                // SAFETY: see above.
                unsafe { sweep::product::<$vector>(c, accumulate, operands, &mut scratch.laid) }
            }

            Functions { name: $text, width: <$vector as Vector>::WIDTH, pairs: false, lay, product }
        };
    };
}
pub(super) use kernel;

/// Tiles of every shape that a type of vectors may have, compiled with the attributes given.
macro_rules! tiles {
    ($vector:ty, [$($attribute:meta)?], [$($rows:literal)*], [$($vectors:literal)*]) => {
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
            pub(super) unsafe fn tile_of_any_rows(tile: Tile) {
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
pub(super) use tiles;
