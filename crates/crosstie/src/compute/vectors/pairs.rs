//! AVX-512 with multiplications of bfloat16 numbers: two terms at once.
//!
//! A **pair** is two terms of a side, rounded, in the 32 bits of one number. All that moves numbers
//! moves pairs as well, so laying out and walking over tiles are those of float32 numbers, half
//! as many. The instruction adds the product of the upper halves first and that of the lower
//! halves then, each like a fused multiply-add. So with the earlier term in the upper half the
//! chain of an element is that of the other kernels, to the bit; but subnormal numbers are zero to
//! it.

#![allow(unsafe_code)]
// Nothing that has instructions in it is passed to functions of the standard library: they are
// compiled without them.

use std::arch::x86_64::*;

use super::few;
use super::sweep::{self, run_by};
use super::tile::{self, tiles};
use super::vector::{Tile, Vector};
use super::x86::{AVX512, Sixteen};
use super::{Functions, Laid, Operands, Scratch};
use crate::compute::line::{EMPTY, Line, NUMBERS, numbers_mut};
use crate::compute::matrix::{Matrix, MatrixMut};

/// The kernel: AVX-512, and rounded products in pairs.
pub static AVX512_BFLOAT16: Functions =
    Functions { name: "AVX-512 with bfloat16", width: Pairs::WIDTH, pairs: true, lay, product };

/// Whether this processor has the instructions.
pub fn supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

/// Sixteen pairs of a side, or sixteen numbers of the result.
type Pairs = Sixteen<true>;

tiles!(
    Pairs,
    [target_feature(enable = "avx512f,avx512bw,avx512bf16")],
    [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    [1 2]
);

/// # Safety
/// As `Functions::lay`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn lay(right: Matrix<'_>, rounded: bool, into: &mut [f32], scratch: &mut Scratch) {
    // SAFETY: see above.
    unsafe {
        if !rounded {
            return (AVX512.lay)(right, rounded, into, scratch);
        }
        let operand = right.transposed();
        if operand.columns_by == 1 {
            let (packed, _) = packed(operand, room(&[operand], &mut scratch.packed));
            sweep::lay_panel::<Pairs>(packed.transposed(), false, into);
        } else {
            // Pairs fall into their places as they are packed.
            pack(operand, Pairs::WIDTH, into);
        }
    }
}

/// # Safety
/// As `Functions::product`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn product(c: &mut MatrixMut<'_>, accumulate: bool, operands: Operands<'_>, scratch: &mut Scratch) {
    let Operands { a, b, laid, rounded } = operands;
    // SAFETY: see above.
    unsafe {
        // So few columns have ways of their own, which the sweep would choose for pairs, too.
        if !rounded || b.columns <= few::TURNED {
            let laid = if rounded { None } else { laid };
            return (AVX512.product)(c, accumulate, Operands { laid, ..operands }, scratch);
        }
        let laid = laid.and_then(Laid::pairs);
        let (a, b) = match laid {
            Some(_) => {
                let (a, _) = packed(a, room(&[a], &mut scratch.packed));
                // Of what is laid out only the shape is asked for.
                (a, Matrix { rows: a.columns, ..b })
            }
            None => {
                let b = b.transposed();
                let (a, left) = packed(a, room(&[a, b], &mut scratch.packed));
                let (b, _) = packed(b, left);
                (a, b.transposed())
            }
        };
        sweep::product::<Pairs>(c, accumulate, Operands { a, b, laid, rounded: false }, &mut scratch.laid);
    }
}

/// Numbers between the runs of a side whose terms are packed in pairs.
#[inline(always)]
fn packed_by(side: Matrix<'_>) -> usize {
    run_by(Matrix { columns: side.columns.div_ceil(2), ..side })
}

/// Room for some sides (right ones transposed) whose terms are packed in pairs.
#[inline(always)]
fn room<'a>(sides: &[Matrix<'_>], scratch: &'a mut Vec<Line>) -> &'a mut [f32] {
    let mut needed = 0;
    for side in sides {
        let runs = if side.columns_by == 1 { side.rows } else { side.columns.div_ceil(2) };
        needed += runs * packed_by(*side) / NUMBERS;
    }
    if scratch.len() < needed {
        scratch.resize(needed, EMPTY);
    }
    numbers_mut(scratch)
}

/// A side (a right one transposed), its terms packed in pairs, and the room that is left. What
/// runs along terms still does, and what runs across them.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn packed<'a>(side: Matrix<'_>, room: &'a mut [f32]) -> (Matrix<'a>, &'a mut [f32]) {
    let (by, pairs) = (packed_by(side), side.columns.div_ceil(2));
    let (runs, rows_by, columns_by) = if side.columns_by == 1 { (side.rows, by, 1) } else { (pairs, 1, by) };
    let (into, left) = room.split_at_mut(runs * by);
    // SAFETY: see above; a run is whole vectors.
    unsafe { pack(side, by, into) };
    (Matrix { data: into, rows: side.rows, columns: pairs, rows_by, columns_by }, left)
}

/// Of the lower half of thirty-two numbers and the upper one in turns.
const TURNS: [u16; 2 * Pairs::LANES] = {
    let mut turns = [0; 2 * Pairs::LANES];
    let mut place = 0;
    while place < Pairs::LANES {
        (turns[2 * place], turns[2 * place + 1]) = (place as u16, (place + Pairs::LANES) as u16);
        place += 1;
    }
    turns
};

/// Packs the terms of a side (a right one transposed) in pairs. Runs of the result are `by` apart,
/// a multiple of [`Vector::LANES`], and filled with zeros.
///
/// # Safety
/// The processor has the instructions.
///
/// # Panics
/// If there is no room for all runs.
#[inline(always)]
unsafe fn pack(side: Matrix<'_>, by: usize, into: &mut [f32]) {
    const LANES: usize = Pairs::LANES;
    let (rows, terms) = (side.rows, side.columns);
    let from = side.data.as_ptr();
    // SAFETY: reads are of numbers that the view has, since `some` reads none beyond them; writes
    // are of whole vectors of runs that `into` has (mod.rs, tests::kernels_read_and_write_nothing_else).
    unsafe {
        if side.columns_by == 1 {
            let into = into[..rows * by].as_mut_ptr();
            for row in 0..rows {
                for place in (0..by).step_by(LANES) {
                    let first = 2 * place;
                    let from = from.wrapping_add(row * side.rows_by + first);
                    let earlier = some(from, terms.saturating_sub(first));
                    let later = some(from.wrapping_add(LANES), terms.saturating_sub(first + LANES));
                    let rounded = bits(_mm512_cvtne2ps_pbh(later, earlier));
                    // The earlier of two terms goes to the upper half.
                    store(_mm512_rol_epi32::<16>(rounded), into.add(row * by + place));
                }
            }
        } else {
            assert_eq!(side.rows_by, 1, "numbers that follow each other one way or the other");
            let into = into[..terms.div_ceil(2) * by].as_mut_ptr();
            let turns = _mm512_loadu_si512(TURNS.as_ptr().cast());
            for pair in 0..terms.div_ceil(2) {
                for place in (0..by).step_by(LANES) {
                    let count = rows.saturating_sub(place);
                    let from = from.wrapping_add(2 * pair * side.columns_by + place);
                    let later = if 2 * pair + 1 < terms { count } else { 0 };
                    let (earlier, later) = (some(from, count), some(from.wrapping_add(side.columns_by), later));
                    let rounded = bits(_mm512_cvtne2ps_pbh(earlier, later));
                    store(_mm512_permutexvar_epi16(turns, rounded), into.add(pair * by + place));
                }
            }
        }
    }
}

/// The first `count` numbers, or as many as a vector has, then zeros.
///
/// # Safety
/// The processor has the instructions. Reads these numbers and no other.
#[inline(always)]
unsafe fn some(from: *const f32, count: usize) -> __m512 {
    // SAFETY: see above.
    unsafe {
        match count {
            0 => _mm512_setzero_ps(),
            count if count < Pairs::LANES => Pairs::load_some(from, count).0,
            _ => _mm512_loadu_ps(from),
        }
    }
}

/// # Safety
/// The processor has the instructions. Writes a vector.
#[inline(always)]
unsafe fn store(pairs: __m512i, into: *mut f32) {
    // SAFETY: see above.
    unsafe { _mm512_storeu_si512(into.cast(), pairs) };
}

/// Pairs, to be moved.
#[inline(always)]
fn bits(pairs: __m512bh) -> __m512i {
    // SAFETY: both are 64 bytes of which any are allowed.
    unsafe { std::mem::transmute(pairs) }
}
