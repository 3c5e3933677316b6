//! NEON, which every 64-bit Arm processor has.

#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::tile::{self, kernel, tiles};
use super::vector::{Tile, Vector};

/// Four numbers.
#[derive(Clone, Copy)]
struct Four(float32x4_t);

kernel!(NEON, Four, "NEON", [target_feature(enable = "neon")]);
tiles!(Four, [target_feature(enable = "neon")], [1 2 3 4 5 6], [1 2 3 4]);

impl Vector for Four {
    const LANES: usize = 4;
    const ROWS: usize = 6;
    const VECTORS: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Four {
        // SAFETY: the caller's promise, as in all below.
        Four(unsafe { vdupq_n_f32(0.0) })
    }

    #[inline(always)]
    unsafe fn all(number: f32) -> Four {
        // SAFETY: see above.
        Four(unsafe { vdupq_n_f32(number) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Four {
        // SAFETY: see above.
        Four(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn store(self, into: *mut f32) {
        // SAFETY: see above.
        unsafe { vst1q_f32(into, self.0) };
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Four {
        let mut numbers = [0.0; 4];
        // SAFETY: see above.
        unsafe {
            from.copy_to_nonoverlapping(numbers.as_mut_ptr(), count);
            Four(vld1q_f32(numbers.as_ptr()))
        }
    }

    #[inline(always)]
    unsafe fn store_some(self, into: *mut f32, count: usize) {
        let mut numbers = [0.0; 4];
        // SAFETY: see above.
        unsafe {
            vst1q_f32(numbers.as_mut_ptr(), self.0);
            into.copy_from_nonoverlapping(numbers.as_ptr(), count);
        }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Four, b: Four) -> Four {
        // SAFETY: see above.
        Four(unsafe { vfmaq_f32(self.0, a.0, b.0) })
    }

    #[inline(always)]
    unsafe fn interleave(self, other: Four) -> [Four; 2] {
        // SAFETY: see above.
        unsafe { [Four(vzip1q_f32(self.0, other.0)), Four(vzip2q_f32(self.0, other.0))] }
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
        // SAFETY: see above.
        unsafe { Four::tile_of_any_rows(tile) };
    }
}
