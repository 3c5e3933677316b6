//! Products of few columns, whose vectors would be mostly empty.

#![allow(unsafe_code)]
// Indices that the compiler knows keep arrays in registers.
#![allow(clippy::needless_range_loop)]

use super::Operands;
use super::vector::Vector;
use crate::compute::matrix::MatrixMut;

/// Columns up to which [`product`] is the fastest.
pub const COLUMNS: usize = 4;

/// Columns up to which the transposed product is faster than the product, where rows of the
/// left side follow each other, so that they can be columns as they stand.
pub const TURNED: usize = 12;

/// Vectors of rows that are summed side by side: one sum would wait for itself.
const SIDE_BY_SIDE: usize = 2;

/// Terms that are exchanged for rows at a time.
const FOUR: usize = 4;

/// Whether [`product`] computes it.
#[inline(always)]
pub fn fits<V: Vector>(Operands { a, b, rounded, .. }: Operands<'_>) -> bool {
    b.columns <= COLUMNS && a.columns >= FOUR && a.columns_by == 1 && a.rows >= SIDE_BY_SIDE * V::LANES && !rounded
}

/// `c = a · b`, or `c += a · b` if `accumulate`, of shapes that fit ([`fits`]), with rows of
/// the result as lanes.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn product<V: Vector>(c: &mut MatrixMut<'_>, accumulate: bool, operands: Operands<'_>) {
    // SAFETY: see above.
    unsafe {
        match c.columns {
            1 => product_of::<V, 1>(c, accumulate, operands),
            2 => product_of::<V, 2>(c, accumulate, operands),
            3 => product_of::<V, 3>(c, accumulate, operands),
            _ => product_of::<V, 4>(c, accumulate, operands),
        }
    }
}

/// [`product`] of so many columns.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
unsafe fn product_of<V: Vector, const COLUMNS: usize>(
    c: &mut MatrixMut<'_>,
    accumulate: bool,
    Operands { a, b, .. }: Operands<'_>,
) {
    let tall = SIDE_BY_SIDE * V::LANES;
    let (whole, stride) = (a.columns / FOUR * FOUR, c.stride);
    let mut done = 0;
    while done < a.rows {
        // The last rows once more with those before them, which stay as they are.
        let first = done.min(a.rows - tall);
        let mut numbers = [[0.0; 2 * 16]; COLUMNS];
        // SAFETY: all rows from `first` on are of the views, and so are terms and columns
        // (mod.rs, tests::kernels_read_and_write_nothing_else).
        unsafe {
            let (left, right) = (a.data.as_ptr().add(first * a.rows_by), b.data.as_ptr());
            let into = c.data.add(first * stride);
            let mut sums = [[V::zero(); SIDE_BY_SIDE]; COLUMNS];
            if accumulate {
                for column in 0..COLUMNS {
                    for row in 0..tall {
                        numbers[column][row] = *into.add(row * stride + column);
                    }
                    for side in 0..SIDE_BY_SIDE {
                        sums[column][side] = V::load(numbers[column].as_ptr().add(side * V::LANES));
                    }
                }
            }
            for term in (0..whole).step_by(FOUR) {
                let mut terms = [[V::zero(); FOUR]; SIDE_BY_SIDE];
                for side in 0..SIDE_BY_SIDE {
                    terms[side] = V::columns(left.add(side * V::LANES * a.rows_by + term), a.rows_by);
                }
                for place in 0..FOUR {
                    for column in 0..COLUMNS {
                        let factor = V::all(*right.add((term + place) * b.rows_by + column * b.columns_by));
                        for side in 0..SIDE_BY_SIDE {
                            sums[column][side] = sums[column][side].add_product(terms[side][place], factor);
                        }
                    }
                }
            }
            for term in whole..a.columns {
                let mut rows = [0.0; 2 * 16];
                for row in 0..tall {
                    rows[row] = *left.add(row * a.rows_by + term);
                }
                for column in 0..COLUMNS {
                    let factor = V::all(*right.add(term * b.rows_by + column * b.columns_by));
                    for side in 0..SIDE_BY_SIDE {
                        let numbers = V::load(rows.as_ptr().add(side * V::LANES));
                        sums[column][side] = sums[column][side].add_product(numbers, factor);
                    }
                }
            }
            for column in 0..COLUMNS {
                for side in 0..SIDE_BY_SIDE {
                    sums[column][side].store(numbers[column].as_mut_ptr().add(side * V::LANES));
                }
                for row in done - first..tall {
                    *into.add(row * stride + column) = numbers[column][row];
                }
            }
        }
        done = first + tall;
    }
}
