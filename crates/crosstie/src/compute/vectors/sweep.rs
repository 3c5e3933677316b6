//! What stands around the inner loop: laying operands out, and walking over
//! tiles.

#![allow(unsafe_code)]
// Indices that the compiler knows keep arrays in registers.
#![allow(clippy::needless_range_loop)]

use super::vector::{Left, Tile, Vector};
use super::{Operands, few};
use crate::compute::line::{EMPTY, Line, NUMBERS, numbers_mut};
use crate::compute::matrix::{Matrix, MatrixMut};

/// Most terms that are summed while a tile is in registers: a panel of so many
/// stays in the nearest cache, or nearly.
const DEPTH: usize = 384;

/// Most numbers of a left side that are laid out at a time, so that they stay in
/// the second-level cache: half a MiB.
const LEFT: usize = 128 * 1024;

/// Terms that are laid out of one block after the other.
const RUN: usize = 4;

/// Terms ahead of which numbers are asked for.
const AHEAD: usize = 16;

/// Panels of a right side that are laid out together, so that it is read in runs.
const PANELS: usize = 4;

/// Panels beside which a left side is read as it stands.
const FEW_PANELS: usize = 8;

/// Numbers at multiples of which the nearest cache has few places for them.
const ALIKE: usize = 512;

/// Most numbers of a tile.
const MOST_NUMBERS: usize = 14 * 32;

/// Lays out an operand's rows in blocks of `tall` (a right side comes transposed):
/// within a block term by term, number (row, term) at `term · stride + row`. What is
/// beyond the rows of a block is any number, and zero beyond all rows.
///
/// # Safety
/// See [`Vector`]. `stride` is a multiple of [`Vector::LANES`] and no less than `tall`.
#[inline(always)]
unsafe fn lay<V: Vector>(operand: Matrix<'_>, tall: usize, stride: usize, rounded: bool, into: &mut [f32]) {
    // SAFETY: see above.
    unsafe {
        match rounded {
            true => lay_as::<V, true>(operand, tall, stride, into),
            false => lay_as::<V, false>(operand, tall, stride, into),
        }
    }
}

/// [`lay`], with numbers rounded to bfloat16 or as they are.
///
/// # Safety
/// See [`lay`].
#[inline(always)]
unsafe fn lay_as<V: Vector, const ROUNDED: bool>(operand: Matrix<'_>, tall: usize, stride: usize, into: &mut [f32]) {
    let (rows, terms) = (operand.rows, operand.columns);
    let size = rows.div_ceil(tall) * terms * stride;
    let into = &mut into[..size];
    let (from, to) = (operand.data.as_ptr(), into.as_mut_ptr());
    // SAFETY: reads are of numbers that the view has, since what a vector reads ends with
    // its rows and its terms; writes are of what `into` has (mod.rs,
    // tests::kernels_read_and_write_nothing_else).
    unsafe {
        if operand.columns_by == 1 {
            for block in 0..rows.div_ceil(tall) {
                for part in (0..stride).step_by(V::LANES) {
                    let first = block * tall + part;
                    let some = rows.saturating_sub(first).min(V::LANES).min(tall.saturating_sub(part));
                    for term in (0..terms).step_by(V::LANES) {
                        let from = from.wrapping_add(first * operand.rows_by + term);
                        let to = to.add((block * terms + term) * stride + part);
                        // The same terms of the next block.
                        for row in 0..some {
                            V::fetch(from.wrapping_add((tall + row) * operand.rows_by));
                        }
                        lay_square::<V, ROUNDED>(from, operand.rows_by, [some, V::LANES.min(terms - term)], to, stride);
                    }
                }
            }
        } else {
            assert_eq!(operand.rows_by, 1, "numbers that follow each other one way or the other");
            // In the order in which the numbers stand, or nearly.
            for run in (0..terms).step_by(RUN) {
                for block in 0..rows.div_ceil(tall) {
                    for part in (0..stride).step_by(V::LANES) {
                        let first = block * tall + part;
                        let some = rows.saturating_sub(first).min(V::LANES);
                        let from = from.wrapping_add(first);
                        for term in run..terms.min(run + RUN) {
                            let from = from.wrapping_add(term * operand.columns_by);
                            V::fetch(from.wrapping_add(AHEAD * operand.columns_by));
                            let numbers = match some {
                                0 => V::zero(),
                                some if some < V::LANES => V::load_some(from, some),
                                _ => V::load(from),
                            };
                            let numbers = if ROUNDED { numbers.nearest_bfloat16() } else { numbers };
                            numbers.store(to.add((block * terms + term) * stride + part));
                        }
                    }
                }
            }
        }
    }
}

/// Exchanges rows and columns of up to a vector of vectors. Rows that are not there
/// become zeros.
///
/// # Safety
/// See [`Vector`]. There are `rows` times `terms` numbers at `from`, `by` apart, and room
/// for `terms` vectors at `into`, `stride` apart.
#[inline(always)]
unsafe fn lay_square<V: Vector, const ROUNDED: bool>(
    from: *const f32,
    by: usize,
    [rows, terms]: [usize; 2],
    into: *mut f32,
    stride: usize,
) {
    // SAFETY: see above.
    unsafe {
        let mut square = [V::zero(); 16];
        for row in 0..V::LANES {
            if row < rows {
                let from = from.add(row * by);
                square[row] = if terms == V::LANES { V::load(from) } else { V::load_some(from, terms) };
            }
        }
        // Every turn moves the highest bit of a number's row to be the lowest of its
        // column, and that of its column to be the lowest of its row.
        square = turned(square);
        square = turned(square);
        if V::LANES > 4 {
            square = turned(square);
        }
        if V::LANES > 8 {
            square = turned(square);
        }
        for term in 0..V::LANES {
            if term < terms {
                let numbers = if ROUNDED { square[term].nearest_bfloat16() } else { square[term] };
                numbers.store(into.add(term * stride));
            }
        }
    }
}

/// Interleaves the rows of a square's upper half with those of its lower half.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
unsafe fn turned<V: Vector>(square: [V; 16]) -> [V; 16] {
    let mut after = square;
    for row in 0..V::LANES / 2 {
        // SAFETY: see above.
        let [one, other] = unsafe { square[row].interleave(square[row + V::LANES / 2]) };
        after[2 * row] = one;
        after[2 * row + 1] = other;
    }
    after
}

/// Lays out a panel of a right side.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn lay_panel<V: Vector>(right: Matrix<'_>, rounded: bool, into: &mut [f32]) {
    // SAFETY: see above; a panel's width is a multiple of a vector's.
    unsafe { lay::<V>(right.transposed(), V::WIDTH, V::WIDTH, rounded, into) };
}

/// The result, perhaps transposed: element (i, j) is `data[i * rows_by + j * columns_by]`,
/// and one of the two distances is 1.
#[derive(Clone, Copy)]
struct Into {
    data: *mut f32,
    rows_by: usize,
    columns_by: usize,
}

/// `c = a · b`, or `c += a · b` if `accumulate`, of shapes that fit.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn product<V: Vector>(
    c: &mut MatrixMut<'_>,
    accumulate: bool,
    operands: Operands<'_>,
    scratch: &mut Vec<Line>,
) {
    if few::fits::<V>(operands) {
        // SAFETY: see above.
        return unsafe { few::product::<V>(c, accumulate, operands) };
    }
    let Operands { a, b, rounded, .. } = operands;
    let turned = b.columns <= few::TURNED && a.rows_by == 1 && !rounded;
    let (into, operands) = match turned {
        true => (
            Into { data: c.data, rows_by: 1, columns_by: c.stride },
            Operands { a: b.transposed(), b: a.transposed(), laid: None, rounded },
        ),
        false => (Into { data: c.data, rows_by: c.stride, columns_by: 1 }, operands),
    };
    let (rows, terms) = (operands.a.rows, operands.a.columns);
    let depth = terms.div_ceil(terms.div_ceil(DEPTH));
    let tall = (LEFT / (depth * V::BLOCK)).max(1) * V::ROWS;
    for from in (0..terms).step_by(depth) {
        for top in (0..rows).step_by(tall) {
            let piece = Piece { top, rows: tall.min(rows - top), from, depth: depth.min(terms - from) };
            // SAFETY: see above.
            unsafe { add_piece::<V>(into, accumulate || from > 0, operands, piece, scratch) };
        }
    }
}

/// Some rows of the left side, and some terms.
#[derive(Clone, Copy)]
struct Piece {
    top: usize,
    rows: usize,
    from: usize,
    depth: usize,
}

/// What a piece adds to its rows of the result, or what it overwrites them with.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
unsafe fn add_piece<V: Vector>(
    c: Into,
    add: bool,
    Operands { a, b, laid, rounded }: Operands<'_>,
    Piece { top, rows, from, depth }: Piece,
    scratch: &mut Vec<Line>,
) {
    // Rows are shared out evenly: a tile of few rows takes as long as one of several.
    let blocks = rows.div_ceil(V::ROWS);
    let tall = rows.div_ceil(blocks);
    let together = if laid.is_some() { 0 } else { PANELS };
    let (per_block, per_panel) = (depth * V::BLOCK, depth * V::WIDTH);
    let (a, b) = (a.rows(top, rows).columns(from, depth), b.rows(from, depth));
    let stands = stands::<V>(a, b.columns);
    let left_size = match (stands, rounded) {
        (true, false) => 0,
        (true, true) => runs(a).rows * run_by(a),
        (false, _) => blocks * per_block,
    };
    let needed = (together * per_panel + left_size).div_ceil(NUMBERS);
    if scratch.len() < needed {
        scratch.resize(needed, EMPTY);
    }
    let (own, laid_left) = numbers_mut(scratch).split_at_mut(together * per_panel);
    // SAFETY: see above.
    unsafe {
        match (stands, rounded) {
            (true, false) => {}
            (true, true) => copy_rounded::<V>(a, laid_left),
            (false, _) => lay::<V>(a, tall, V::BLOCK, rounded, laid_left),
        }
    }
    let (numbers, by) = if rounded { (&*laid_left, run_by(a)) } else { (a.data, runs(a).rows_by) };
    // Laying a panel out costs about as much as a tile does.
    let as_it_is = !rounded && b.columns_by == 1 && blocks <= 2;
    for (panel, first) in (0..b.columns).step_by(V::WIDTH).enumerate() {
        let columns = V::WIDTH.min(b.columns - first);
        let (right, right_by) = match laid {
            Some(laid) => (laid.panel(panel, V::WIDTH, from).as_ptr(), V::WIDTH),
            None if as_it_is && columns.is_multiple_of(V::LANES) => {
                (b.columns(first, columns).data.as_ptr(), b.rows_by)
            }
            None => {
                let place = if as_it_is { 0 } else { panel % PANELS };
                if place == 0 {
                    let some = b.columns(first, (PANELS * V::WIDTH).min(b.columns - first));
                    // SAFETY: see above.
                    unsafe { lay::<V>(some.transposed(), V::WIDTH, V::WIDTH, rounded, own) };
                }
                (own[place * per_panel..].as_ptr(), V::WIDTH)
            }
        };
        for (block, row) in (0..rows).step_by(tall).enumerate() {
            let left = match stands {
                true if a.columns_by == 1 => Left::ByRows(numbers[row * by..].as_ptr(), by),
                true => Left::ByTerms(numbers[row..].as_ptr(), by),
                false => Left::ByTerms(laid_left[block * per_block..].as_ptr(), V::BLOCK),
            };
            let rows = tall.min(rows - row);
            let into = c.data.wrapping_add((top + row) * c.rows_by + first * c.columns_by);
            // SAFETY: the left side has `depth` terms of these rows, and so has the right
            // panel, or the rows of b from here on; c has these rows and columns.
            unsafe {
                let tile = Tile { left, right, right_by, depth, into, into_by: c.rows_by, rows, columns, add };
                if c.columns_by == 1 {
                    V::tile(tile);
                } else {
                    turned_tile::<V>(tile, c.columns_by);
                }
            };
        }
    }
}

/// A tile of a result of which the numbers of a column follow each other, and columns are
/// `columns_by` apart.
///
/// # Safety
/// See [`Tile`].
#[inline(always)]
unsafe fn turned_tile<V: Vector>(tile: Tile, columns_by: usize) {
    let Tile { into, rows, columns, add, .. } = tile;
    let mut whole = [0.0; MOST_NUMBERS];
    // SAFETY: a tile has no more numbers, and the result has them.
    unsafe {
        if add {
            for row in 0..rows {
                for column in 0..columns {
                    whole[row * V::WIDTH + column] = *into.add(column * columns_by + row);
                }
            }
        }
        V::tile(Tile { into: whole.as_mut_ptr(), into_by: V::WIDTH, ..tile });
        for row in 0..rows {
            for column in 0..columns {
                *into.add(column * columns_by + row) = whole[row * V::WIDTH + column];
            }
        }
    }
}

/// A matrix, perhaps transposed, so that the numbers of a row follow each other.
#[inline(always)]
fn runs(a: Matrix<'_>) -> Matrix<'_> {
    if a.columns_by == 1 { a } else { a.transposed() }
}

/// How far the runs of a rounded copy are apart.
#[inline(always)]
pub fn run_by(a: Matrix<'_>) -> usize {
    let by = runs(a).columns.next_multiple_of(NUMBERS);
    if by.is_multiple_of(ALIKE) { by + NUMBERS } else { by }
}

/// Copies a matrix as it stands, run by run, rounded to bfloat16.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
unsafe fn copy_rounded<V: Vector>(a: Matrix<'_>, into: &mut [f32]) {
    let (runs, by) = (runs(a), run_by(a));
    let into = into[..runs.rows * by].as_mut_ptr();
    for run in 0..runs.rows {
        for place in (0..runs.columns).step_by(V::LANES) {
            let some = V::LANES.min(runs.columns - place);
            // SAFETY: `some` numbers of a run are the view's, and there is room for whole
            // vectors of each run.
            unsafe {
                let from = runs.data.as_ptr().add(run * runs.rows_by + place);
                let numbers = if some == V::LANES { V::load(from) } else { V::load_some(from, some) };
                numbers.nearest_bfloat16().store(into.add(run * by + place));
            }
        }
    }
}

/// Whether a left side is read as it stands, or as a copy of that where it is rounded, beside
/// so many columns.
#[inline(always)]
fn stands<V: Vector>(a: Matrix<'_>, columns: usize) -> bool {
    match a.columns_by == 1 {
        // Beside many columns laying it out costs little, and saves a little; of few terms
        // what is laid out is mostly empty.
        true => columns <= FEW_PANELS * V::WIDTH || a.columns < V::LANES,
        // Every term is on a line of its own. At such distances these lines drive each
        // other out of the nearest cache.
        false => !a.columns_by.is_multiple_of(ALIKE),
    }
}
