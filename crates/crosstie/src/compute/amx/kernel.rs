//! The instructions, and what stands right around them.

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

use super::{BLOCK, Blocks, EMPTY, Line, Operands, Parts, STRIP, TILE, Unit};
use crate::compute::matrix::{Matrix, MatrixMut};

/// Most numbers of a left side that are laid out at a time, so that they stay
/// near the processor: three quarters of a MiB in three parts.
const LEFT: usize = 128 * 1024;

/// Most blocks of one such piece.
const PIECE: usize = 16;

/// Strips of the right side that each strip of the left meets in turn: the result
/// is then written in longer runs.
const GROUP: usize = 8;

thread_local! {
    /// What products lay out for themselves, kept so that a step allocates nothing.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Whether the processor has the unit and the vector instructions that lay out
/// operands, and the system lets this process use the unit.
pub fn permitted() -> bool {
    // Leaf 7 of cpuid, edx: bit 22 says bfloat16 tiles, bit 24 says tiles.
    const TILES: u32 = 1 << 22 | 1 << 24;
    const TILE_DATA: libc::c_ulong = 18;
    const REQUEST_PERMISSION: libc::c_ulong = 0x1023;
    let vectors = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16");
    // SAFETY: every processor with AVX-512 has cpuid. Newer compilers know that.
    #[allow(unused_unsafe)]
    let features = || unsafe { __cpuid_count(7, 0) }.edx;
    let tiles = || features() & TILES == TILES;
    // SAFETY: the request (Linux, Documentation/arch/x86/xstate.rst) reads no
    // memory of ours; a system that does not know it says so.
    let granted = || unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) } == 0;
    vectors && tiles() && granted()
}

/// [`Unit::lay`].
pub fn lay(_: Unit, right: Matrix<'_>, blocks: Blocks, strip: usize, parts: Parts, into: &mut [Line]) {
    let (right, all) = (right.transposed(), Piece { of: blocks, which: 0..blocks.count() });
    // SAFETY: a unit is handed out only where `permitted` has found the instructions.
    unsafe {
        match parts {
            Parts::One => lay_strip::<1>(right, all, strip, Order::Pairs, into),
            Parts::Three => lay_strip::<3>(right, all, strip, Order::Pairs, into),
        }
    }
}

/// [`Unit::product`].
pub fn product(_: Unit, c: &mut MatrixMut<'_>, accumulate: bool, operands: Operands<'_>, parts: Parts) {
    SCRATCH.with_borrow_mut(|scratch| {
        // SAFETY: a unit is handed out only where `permitted` has found the
        // instructions and been given leave to use the tiles.
        unsafe {
            match parts {
                Parts::One => product_of::<1>(c, accumulate, operands, scratch),
                Parts::Three => product_of::<3>(c, accumulate, operands, scratch),
            }
        }
    });
}

/// How a tile is filled from an operand of which each row is summed over.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// A line has 32 terms of one row: a left side.
    Rows,
    /// A line has one pair of terms of each of 16 rows: a right side.
    Pairs,
}

/// Some blocks of an inner width.
#[derive(Clone)]
struct Piece {
    of: Blocks,
    which: Range<usize>,
}

/// Lays out the rows `strip · 32` and on of an operand (a right side comes
/// transposed), the blocks of a piece.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn lay_strip<const PARTS: usize>(operand: Matrix<'_>, piece: Piece, strip: usize, order: Order, into: &mut [Line]) {
    let mut tiles = into.chunks_exact_mut(PARTS * TILE);
    for block in piece.which {
        let terms = piece.of.terms(block);
        for half in 0..2 {
            let first = strip * STRIP + half * TILE;
            let tile = tiles.next().expect("lines for every tile");
            match operand.rows.checked_sub(first) {
                None | Some(0) => tile.fill(EMPTY),
                Some(rows) => {
                    let rows = operand.rows(first, rows.min(TILE));
                    lay_tile::<PARTS>(rows.columns(terms.start, terms.len()), order, tile);
                }
            }
        }
    }
}

/// Lays out up to 16 rows and 32 columns in parts of 16 lines each.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn lay_tile<const PARTS: usize>(operand: Matrix<'_>, order: Order, into: &mut [Line]) {
    let along_rows = operand.columns_by == 1;
    if along_rows {
        for row in 0..TILE {
            let mut rest = match row < operand.rows {
                true => {
                    let numbers = operand.rows(row, 1).data;
                    fetch::<_MM_HINT_T0>(numbers);
                    load(&numbers[..operand.columns])
                }
                false => [_mm512_setzero_ps(); 2],
            };
            for part in 0..PARTS {
                let [low, high] = rest.map(|rest| nearest(rest));
                let line = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
                store(&mut into[part * TILE + row], line);
                rest = [without(rest[0], low), without(rest[1], high)];
            }
        }
    } else {
        assert_eq!(operand.rows_by, 1, "numbers that follow each other one way or the other");
        let column = |column: usize| match column < operand.columns {
            true => {
                let numbers = operand.columns(column, 1).data;
                fetch::<_MM_HINT_T1>(numbers);
                load(&numbers[..operand.rows])[0]
            }
            false => _mm512_setzero_ps(),
        };
        for pair in 0..BLOCK / 2 {
            let mut rest = [column(2 * pair), column(2 * pair + 1)];
            for part in 0..PARTS {
                let [even, odd] = rest.map(|rest| nearest(rest));
                let high = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(odd));
                store(&mut into[part * TILE + pair], _mm512_or_si512(_mm512_cvtepu16_epi32(even), high));
                rest = [without(rest[0], even), without(rest[1], odd)];
            }
        }
    }
    if along_rows == (order == Order::Pairs) {
        into.chunks_exact_mut(TILE).for_each(|tile| transpose(tile));
    }
}

/// Up to 32 numbers, and zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(numbers: &[f32]) -> [__m512; 2] {
    let some = |count: usize| (1u32 << count.min(TILE)).wrapping_sub(1) as __mmask16;
    let (low, high) = (some(numbers.len()), some(numbers.len().saturating_sub(TILE)));
    let start = numbers.as_ptr();
    // SAFETY: the masks let only what is in the slice be read
    // (tests::laying_out_reads_and_writes_nothing_else).
    unsafe { [_mm512_maskz_loadu_ps(low, start), _mm512_maskz_loadu_ps(high, start.wrapping_add(TILE))] }
}

/// Asks for the numbers behind the next 32, which are wanted soon. The processor
/// does not see by itself that rows are read piece by piece.
#[inline]
fn fetch<const HINT: i32>(numbers: &[f32]) {
    let next = numbers.as_ptr().wrapping_add(STRIP);
    // SAFETY: a prefetch reads nothing, wherever it points.
    unsafe {
        _mm_prefetch::<HINT>(next.cast());
        _mm_prefetch::<HINT>(next.wrapping_add(TILE).cast());
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(line: &mut Line, value: __m512i) {
    // SAFETY: a line is 64 bytes at a multiple of 64.
    unsafe { _mm512_store_si512(std::ptr::from_mut(line).cast(), value) }
}

/// The nearest bfloat16 numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn nearest(numbers: __m512) -> __m256i {
    // SAFETY: both are 32 bytes, any bits of which are sixteen 16-bit numbers.
    unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(numbers)) }
}

/// `numbers - part`, which is exact.
#[inline]
#[target_feature(enable = "avx512f")]
fn without(numbers: __m512, part: __m256i) -> __m512 {
    let part = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(part));
    _mm512_sub_ps(numbers, _mm512_castsi512_ps(part))
}

/// Exchanges rows and columns of a tile, of 16 lines of 16 pairs.
#[target_feature(enable = "avx512f")]
fn transpose(tile: &mut [Line]) {
    let tile: &mut [Line; TILE] = tile.try_into().expect("sixteen lines");
    // SAFETY: a line is 64 bytes at a multiple of 64.
    let rows: [__m512i; TILE] =
        std::array::from_fn(|row| unsafe { _mm512_load_si512(std::ptr::from_ref(&tile[row]).cast()) });
    let pairs: [__m512i; TILE] = std::array::from_fn(|i| match i % 2 {
        0 => _mm512_unpacklo_epi32(rows[i], rows[i + 1]),
        _ => _mm512_unpackhi_epi32(rows[i - 1], rows[i]),
    });
    let fours: [__m512i; TILE] = std::array::from_fn(|i| {
        let (group, within) = (i / 4 * 4, i % 4);
        let (one, other) = (pairs[group + within / 2], pairs[group + within / 2 + 2]);
        if within % 2 == 0 { _mm512_unpacklo_epi64(one, other) } else { _mm512_unpackhi_epi64(one, other) }
    });
    // Now register 4g + w has, in its quarter q, column 4q + w of the rows 4g..4g + 4.
    for w in 0..4 {
        let even = |a, b| _mm512_shuffle_i32x4::<0x88>(a, b);
        let odd = |a, b| _mm512_shuffle_i32x4::<0xdd>(a, b);
        let [a, b, c, d] = std::array::from_fn(|group| fours[4 * group + w]);
        let (evens, odds) = ([even(a, b), even(c, d)], [odd(a, b), odd(c, d)]);
        store(&mut tile[w], even(evens[0], evens[1]));
        store(&mut tile[8 + w], odd(evens[0], evens[1]));
        store(&mut tile[4 + w], even(odds[0], odds[1]));
        store(&mut tile[12 + w], odd(odds[0], odds[1]));
    }
}

/// The tiles' shapes in force, for as long as this lives.
struct Shapes {
    rows: usize,
}

impl Shapes {
    /// For strips of 32 rows.
    ///
    /// # Safety
    /// The unit is there and permitted.
    unsafe fn new() -> Shapes {
        let mut shapes = Shapes { rows: 0 };
        // SAFETY: see above.
        unsafe { shapes.set(STRIP) };
        shapes
    }

    /// For strips of so many rows, 1 to 32: an instruction takes a cycle for each row.
    ///
    /// # Safety
    /// The unit is there and permitted.
    unsafe fn set(&mut self, rows: usize) {
        #[repr(align(64))]
        struct Config([u8; 64]);
        if self.rows == rows {
            return;
        }
        self.rows = rows;
        let (upper, lower) = (rows.min(TILE) as u8, rows.saturating_sub(TILE).max(1) as u8);
        let all = TILE as u8;
        let mut config = Config([0; 64]);
        config.0[0] = 1;
        for (tile, rows) in [upper, upper, lower, lower, upper, lower, all, all].into_iter().enumerate() {
            config.0[16 + 2 * tile] = size_of::<Line>() as u8;
            config.0[48 + tile] = rows;
        }
        // SAFETY: the instruction reads these 64 bytes (Intel's manual, LDTILECFG).
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config.0, options(nostack, readonly)) };
    }
}

impl Drop for Shapes {
    fn drop(&mut self) {
        // SAFETY: tiles are used between `new` and here only.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// [`product`] for a number of parts.
///
/// # Safety
/// The unit is there and permitted.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn product_of<const PARTS: usize>(
    c: &mut MatrixMut<'_>,
    accumulate: bool,
    Operands { a, b, blocks, laid }: Operands<'_>,
    scratch: &mut Vec<Line>,
) {
    let per_block = 2 * PARTS * TILE;
    let count = laid.map_or(blocks.count(), |laid| laid.count);
    assert_eq!((count, c.rows, c.columns), (blocks.count(), a.rows, b.columns), "shapes of a product");
    // SAFETY: see above.
    let mut shapes = unsafe { Shapes::new() };
    for first in (0..count).step_by(PIECE) {
        let piece = Piece { of: blocks, which: first..count.min(first + PIECE) };
        let strips = (LEFT / (piece.which.len() * BLOCK * STRIP)).max(1);
        let (per_strip, add) = (piece.which.len() * per_block, accumulate || first > 0);
        for top in (0..a.rows.div_ceil(STRIP)).step_by(strips) {
            let rows = top..a.rows.div_ceil(STRIP).min(top + strips);
            let needed = (rows.len() + GROUP) * per_strip;
            if scratch.len() < needed {
                scratch.resize(needed, EMPTY);
            }
            let (own, left) = scratch[..needed].split_at_mut(GROUP * per_strip);
            for (strip, into) in rows.clone().zip(left.chunks_exact_mut(per_strip)) {
                lay_strip::<PARTS>(a, piece.clone(), strip, Order::Rows, into);
            }
            let columns = b.columns.div_ceil(STRIP);
            for group in (0..columns).step_by(GROUP) {
                let group = group..columns.min(group + GROUP);
                if laid.is_none() {
                    for (strip, into) in group.clone().zip(own.chunks_exact_mut(per_strip)) {
                        lay_strip::<PARTS>(b.transposed(), piece.clone(), strip, Order::Pairs, into);
                    }
                }
                for (strip, left) in rows.clone().zip(left.chunks_exact(per_strip)) {
                    // SAFETY: see above.
                    unsafe { shapes.set(STRIP.min(a.rows - strip * STRIP)) };
                    for column in group.clone() {
                        let right = match laid {
                            Some(laid) => &laid.lines[(column * laid.whole + laid.from + first) * per_block..],
                            None => &own[(column - group.start) * per_strip..],
                        };
                        let strips = Strips { left, right: &right[..per_strip] };
                        // SAFETY: see above; shapes are in force.
                        unsafe { add_corner::<PARTS>(c, strip, column, strips, add) };
                    }
                }
            }
        }
    }
    drop(shapes);
}

/// A strip of the left side and one of the right, of as many blocks.
#[derive(Clone, Copy)]
struct Strips<'a> {
    left: &'a [Line],
    right: &'a [Line],
}

/// Adds the product of two strips to where they meet, or overwrites it. `row` and
/// `column` count strips.
///
/// # Safety
/// The unit is permitted and [`Shapes`] of the left strip's rows are in force.
unsafe fn add_corner<const PARTS: usize>(
    c: &mut MatrixMut<'_>,
    row: usize,
    column: usize,
    strips: Strips<'_>,
    add: bool,
) {
    let (row, column) = (row * STRIP, column * STRIP);
    let (rows, columns) = (STRIP.min(c.rows - row), STRIP.min(c.columns - column));
    let stride = c.stride;
    for row in row..row + rows {
        let next = c.data.wrapping_add(row * stride + column + STRIP);
        // SAFETY: a prefetch reads nothing, wherever it points.
        unsafe {
            _mm_prefetch::<_MM_HINT_ET0>(next.cast());
            _mm_prefetch::<_MM_HINT_ET0>(next.wrapping_add(TILE).cast());
        }
    }
    if columns == STRIP {
        // SAFETY: so many rows of 32 columns from here on belong to the view.
        return unsafe { corner::<PARTS>(strips, c.data.add(row * stride + column), stride, rows, add) };
    }
    // At the right edge, by way of a whole corner.
    let mut whole = [0.0; STRIP * STRIP];
    if add {
        for (into, row) in whole.chunks_exact_mut(STRIP).zip(row..row + rows) {
            into[..columns].copy_from_slice(&c.row(row)[column..column + columns]);
        }
    }
    // SAFETY: the array has 32 rows of 32 columns.
    unsafe { corner::<PARTS>(strips, whole.as_mut_ptr(), STRIP, rows, add) };
    for (from, row) in whole.chunks_exact(STRIP).zip(row..row + rows) {
        c.row(row)[column..column + columns].copy_from_slice(&from[..columns]);
    }
}

/// The product of two strips of as many blocks, into `rows` rows of 32 columns
/// that are `stride` numbers apart. Tiles 0 to 3 hold the result, 4 and 5 are
/// of the left side, 6 and 7 of the right.
///
/// # Safety
/// The unit is permitted and [`Shapes`] of so many rows are in force; `c` may be
/// written.
unsafe fn corner<const PARTS: usize>(
    Strips { left, right }: Strips<'_>,
    c: *mut f32,
    stride: usize,
    rows: usize,
    add: bool,
) {
    assert!(!left.is_empty() && left.len() == right.len(), "strips of as many blocks");
    let blocks = left.len() / (2 * PARTS * TILE);
    // Where there is no lower half, its tiles have one row, which goes nowhere.
    let mut nowhere = [0f32; STRIP];
    let below = if rows > TILE { c.wrapping_add(TILE * stride) } else { nowhere.as_mut_ptr() };
    macro_rules! left {
        ($one:literal, $other:literal) => {
            concat!("tileloadd tmm4, [{a} + {line}*1 + ", $one, "]\ntileloadd tmm5, [{a} + {line}*1 + ", $other, "]\n")
        };
    }
    macro_rules! right {
        ($one:literal, $other:literal) => {
            concat!("tileloadd tmm6, [{b} + {line}*1 + ", $one, "]\ntileloadd tmm7, [{b} + {line}*1 + ", $other, "]\n")
        };
    }
    macro_rules! multiply {
        () => {
            "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\n\
             tdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7\n"
        };
    }
    macro_rules! run {
        ($bytes:literal, $($work:expr),*) => {
            // SAFETY: every load is of a tile of the two slices, 1024 bytes each at
            // most, and the loop ends with them; loads and stores of the result are
            // of up to 16 rows of 64 bytes from `c`, from 64 bytes further, and of
            // the other rows from `below` likewise, or of its only one
            // (tests::product_equals_the_triple_loop in matmul.rs).
            unsafe {
                asm!(
                    "test {add}, {add}",
                    "jz 2f",
                    "tileloadd tmm0, [{c} + {row}*1]",
                    "tileloadd tmm1, [{c} + {row}*1 + 64]",
                    "tileloadd tmm2, [{below} + {row}*1]",
                    "tileloadd tmm3, [{below} + {row}*1 + 64]",
                    "jmp 3f",
                    "2:",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "3:",
                    concat!($($work),*),
                    concat!("add {a}, ", $bytes),
                    concat!("add {b}, ", $bytes),
                    "dec {blocks}",
                    "jnz 3b",
                    "tilestored [{c} + {row}*1], tmm0",
                    "tilestored [{c} + {row}*1 + 64], tmm1",
                    "tilestored [{below} + {row}*1], tmm2",
                    "tilestored [{below} + {row}*1 + 64], tmm3",
                    a = inout(reg) left.as_ptr() => _,
                    b = inout(reg) right.as_ptr() => _,
                    c = in(reg) c,
                    below = in(reg) below,
                    row = in(reg) stride * size_of::<f32>(),
                    line = in(reg) size_of::<Line>(),
                    blocks = inout(reg) blocks => _,
                    add = in(reg) usize::from(add),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                )
            }
        };
    }
    // Tiles of a block, in bytes: one half's parts, 1024 bytes each, then the other's.
    if PARTS == 1 {
        run!("2048", left!("0", "1024"), right!("0", "1024"), multiply!());
    } else {
        // The small products first: parts 2·0, 1·0, 1·1, 0·1, 0·2, 0·0.
        run!(
            "6144",
            left!("2048", "5120"),
            right!("0", "3072"),
            multiply!(),
            left!("1024", "4096"),
            multiply!(),
            right!("1024", "4096"),
            multiply!(),
            left!("0", "3072"),
            multiply!(),
            right!("2048", "5120"),
            multiply!(),
            right!("0", "3072"),
            multiply!()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bfloat16 number `index` of a line.
    fn number(line: &Line, index: usize) -> f32 {
        f32::from_bits(line.0[index / 2] << (16 * (1 - index % 2)) & 0xffff_0000)
    }

    #[test]
    fn laying_out_reads_and_writes_nothing_else() {
        let Some(unit) = Unit::find() else { return };
        // Neighbours that must not be read are no numbers; lines behind must stay.
        for (inner, outer, cut) in [(1, 1, 0), (33, 17, 0), (70, 40, 6), (64, 32, 32), (5, 33, 5)] {
            for along in [false, true] {
                let (rows, columns) = if along { (outer, inner) } else { (inner, outer) };
                let value = |inner: usize, outer: usize| 1.0 / (3.0 + inner as f32 + 100.0 * outer as f32);
                let mut data = vec![f32::NAN; rows * (columns + 1)];
                for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                    let (inner, outer) = if along { (column, row) } else { (row, column) };
                    data[row * (columns + 1) + column] = value(inner, outer);
                }
                let right = Matrix::new(&data[..rows * (columns + 1) - 1], rows, columns, columns + 1);
                let right = if along { right.transposed() } else { right };
                let blocks = Blocks { inner, cut };
                let per_strip = blocks.count() * 2 * 3 * TILE;
                for strip in 0..outer.div_ceil(STRIP) {
                    let mut lines = vec![Line([7; 16]); per_strip + 1];
                    unit.lay(right, blocks, strip, Parts::Three, &mut lines[..per_strip]);
                    assert_eq!(lines[per_strip].0, [7; 16]);
                    for (block, half) in (0..blocks.count()).flat_map(|block| [(block, 0), (block, 1)]) {
                        let tiles = &lines[(2 * block + half) * 3 * TILE..][..3 * TILE];
                        for (term, column) in (0..BLOCK).flat_map(|term| (0..TILE).map(move |column| (term, column))) {
                            let parts =
                                [0, 1, 2].map(|part| number(&tiles[part * TILE + term / 2], 2 * column + term % 2));
                            let (terms, outer_at) = (blocks.terms(block), strip * STRIP + half * TILE + column);
                            let expected = match term < terms.len() && outer_at < outer {
                                true => value(terms.start + term, outer_at),
                                false => 0.0,
                            };
                            assert_eq!(parts[0] + (parts[1] + parts[2]), expected, "{inner}×{outer} {cut} {along}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_tile_transposed_has_rows_for_columns() {
        if Unit::find().is_none() {
            return;
        }
        let mut tile: Vec<Line> =
            (0..TILE as u32).map(|row| Line(std::array::from_fn(|column| row * 100 + column as u32))).collect();
        // SAFETY: there is a unit, and so are the vector instructions.
        unsafe { transpose(&mut tile) };
        for (row, line) in tile.iter().enumerate() {
            assert_eq!(line.0, std::array::from_fn(|column| (column * 100 + row) as u32));
        }
    }
}
