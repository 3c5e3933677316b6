//! Where there are no vector instructions that we know.

#![allow(unsafe_code)]
// Indices that the compiler knows keep arrays in registers.
#![allow(clippy::needless_range_loop)]

use super::tile::{self, kernel, tiles};
use super::vector::{Tile, Vector};

/// Four numbers, which most compilers keep in a vector register.
#[derive(Clone, Copy)]
struct Four([f32; 4]);

kernel!(PORTABLE, Four, "portable", []);
tiles!(Four, [], [1 2], [1 2 3 4]);

impl Vector for Four {
    const LANES: usize = 4;
    const ROWS: usize = 2;
    const VECTORS: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Four {
        Four([0.0; 4])
    }

    #[inline(always)]
    unsafe fn all(number: f32) -> Four {
        Four([number; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Four {
        // SAFETY: the caller's promise.
        Four(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, into: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { into.cast::<[f32; 4]>().write_unaligned(self.0) };
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Four {
        let mut numbers = [0.0; 4];
        // SAFETY: the caller's promise.
        unsafe { from.copy_to_nonoverlapping(numbers.as_mut_ptr(), count) };
        Four(numbers)
    }

    #[inline(always)]
    unsafe fn store_some(self, into: *mut f32, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { into.copy_from_nonoverlapping(self.0.as_ptr(), count) };
    }

    // No `f32::mul_add`: where there is no instruction for it, it is a slow function.
    #[inline(always)]
    unsafe fn add_product(self, Four(a): Four, Four(b): Four) -> Four {
        let mut sums = self.0;
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
        Four(sums)
    }

    #[inline(always)]
    unsafe fn interleave(self, Four(b): Four) -> [Four; 2] {
        let a = self.0;
        [Four([a[0], b[0], a[1], b[1]]), Four([a[2], b[2], a[3], b[3]])]
    }

    #[inline(always)]
    unsafe fn columns(from: *const f32, by: usize) -> [Four; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let (one, two) = (Four::load(from), Four::load(from.add(by)));
            let (three, four) = (Four::load(from.add(2 * by)), Four::load(from.add(3 * by)));
            let ([low, high], [low2, high2]) = (one.interleave(three), two.interleave(four));
            let ([first, second], [third, fourth]) = (low.interleave(low2), high.interleave(high2));
            [first, second, third, fourth]
        }
    }

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: the caller's promise.
        unsafe { Four::tile_of_any_rows(tile) };
    }
}
