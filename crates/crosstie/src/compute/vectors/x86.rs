//! AVX-512 and AVX2.

#![allow(unsafe_code)]
// Nothing is passed to functions of the standard library: they are compiled without the
// instructions.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::tile::{self, kernel, tiles};
use super::vector::{Tile, Vector};

/// Sixteen numbers, or of a left or right side sixteen pairs of them (pairs.rs): all but a product
/// moves 32 bits, whatever they mean. Of 32 registers a tile takes 28.
#[derive(Clone, Copy)]
pub struct Sixteen<const PAIRS: bool>(pub __m512);

/// Eight numbers. Of 16 registers a tile takes 12.
#[derive(Clone, Copy)]
struct Eight(__m256);

kernel!(AVX512, Sixteen<false>, "AVX-512", [target_feature(enable = "avx512f")]);
tiles!(Sixteen<false>, [target_feature(enable = "avx512f")], [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2]);
kernel!(AVX2, Eight, "AVX2", [target_feature(enable = "avx2,fma")]);
tiles!(Eight, [target_feature(enable = "avx2,fma")], [1 2 3 4 5 6], [1 2]);

impl<const PAIRS: bool> Vector for Sixteen<PAIRS> {
    const LANES: usize = 16;
    const ROWS: usize = 14;
    const VECTORS: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise, as in all below.
        Sixteen(unsafe { _mm512_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn all(number: f32) -> Self {
        // SAFETY: see above.
        Sixteen(unsafe { _mm512_set1_ps(number) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        Sixteen(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, into: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(into, self.0) };
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self {
        // SAFETY: see above.
        Sixteen(unsafe { _mm512_maskz_loadu_ps(first(count), from) })
    }

    #[inline(always)]
    unsafe fn store_some(self, into: *mut f32, count: usize) {
        // SAFETY: see above.
        unsafe { _mm512_mask_storeu_ps(into, first(count), self.0) };
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        Sixteen(unsafe {
            match PAIRS {
                true => add_products(self.0, a.0, b.0),
                false => _mm512_fmadd_ps(a.0, b.0, self.0),
            }
        })
    }

    #[inline(always)]
    unsafe fn interleave(self, other: Self) -> [Self; 2] {
        // SAFETY: see above.
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            let (a, b) = (self.0, other.0);
            [Sixteen(_mm512_permutex2var_ps(a, low, b)), Sixteen(_mm512_permutex2var_ps(a, high, b))]
        }
    }

    #[inline(always)]
    unsafe fn columns(from: *const f32, by: usize) -> [Self; 4] {
        // SAFETY: see above.
        unsafe {
            // Every fourth row, of which a quarter of the register holds four numbers.
            let mut rows = [_mm512_setzero_ps(); 4];
            for first in 0..4 {
                let from = from.add(first * by);
                let one = _mm512_castps128_ps512(_mm_loadu_ps(from));
                let two = _mm512_mask_broadcast_f32x4(one, 0x00f0, _mm_loadu_ps(from.add(4 * by)));
                let three = _mm512_mask_broadcast_f32x4(two, 0x0f00, _mm_loadu_ps(from.add(8 * by)));
                rows[first] = _mm512_mask_broadcast_f32x4(three, 0xf000, _mm_loadu_ps(from.add(12 * by)));
            }
            let (low, high) = (_mm512_unpacklo_ps(rows[0], rows[1]), _mm512_unpackhi_ps(rows[0], rows[1]));
            let (low2, high2) = (_mm512_unpacklo_ps(rows[2], rows[3]), _mm512_unpackhi_ps(rows[2], rows[3]));
            [
                Sixteen(_mm512_shuffle_ps::<0x44>(low, low2)),
                Sixteen(_mm512_shuffle_ps::<0xee>(low, low2)),
                Sixteen(_mm512_shuffle_ps::<0x44>(high, high2)),
                Sixteen(_mm512_shuffle_ps::<0xee>(high, high2)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn nearest_bfloat16(self) -> Self {
        // SAFETY: see above. What `vectors::nearest_bfloat16` does to one.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let above = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
            let nearest = _mm512_castsi512_ps(_mm512_and_si512(above, _mm512_set1_epi32(!0xffff)));
            Sixteen(_mm512_mask_mov_ps(nearest, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0), self.0))
        }
    }

    #[inline(always)]
    unsafe fn fetch(from: *const f32) {
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
    }

    #[inline(always)]
    unsafe fn fetch_to_write(from: *const f32) {
        // SAFETY: a prefetch writes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(from.cast()) };
    }

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: see above.
        unsafe {
            match PAIRS {
                true => Sixteen::<true>::tile_of_any_rows(tile),
                false => Sixteen::<false>::tile_of_any_rows(tile),
            }
        }
    }
}

/// Sums with the products of sixteen pairs and sixteen others.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn add_products(sums: __m512, a: __m512, b: __m512) -> __m512 {
    // SAFETY: see above; what is carried as numbers is 64 bytes of which any are allowed.
    unsafe {
        _mm512_dpbf16_ps(sums, std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b))
    }
}

/// The first lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    (1u32 << count).wrapping_sub(1) as __mmask16
}

impl Vector for Eight {
    const LANES: usize = 8;
    const ROWS: usize = 6;
    const VECTORS: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Eight {
        // SAFETY: see above.
        Eight(unsafe { _mm256_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn all(number: f32) -> Eight {
        // SAFETY: see above.
        Eight(unsafe { _mm256_set1_ps(number) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Eight {
        // SAFETY: see above.
        Eight(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, into: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(into, self.0) };
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Eight {
        // SAFETY: see above.
        Eight(unsafe { _mm256_maskload_ps(from, lanes(count)) })
    }

    #[inline(always)]
    unsafe fn store_some(self, into: *mut f32, count: usize) {
        // SAFETY: see above.
        unsafe { _mm256_maskstore_ps(into, lanes(count), self.0) };
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Eight, b: Eight) -> Eight {
        // SAFETY: see above.
        Eight(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    unsafe fn interleave(self, other: Eight) -> [Eight; 2] {
        // SAFETY: see above. The instructions interleave the halves each by itself.
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(self.0, other.0), _mm256_unpackhi_ps(self.0, other.0));
            [Eight(_mm256_permute2f128_ps::<0x20>(low, high)), Eight(_mm256_permute2f128_ps::<0x31>(low, high))]
        }
    }

    #[inline(always)]
    unsafe fn columns(from: *const f32, by: usize) -> [Eight; 4] {
        // SAFETY: see above.
        unsafe {
            // Every fourth row, of which a half of the register holds four numbers.
            let mut rows = [_mm256_setzero_ps(); 4];
            for first in 0..4 {
                let from = from.add(first * by);
                let one = _mm256_castps128_ps256(_mm_loadu_ps(from));
                rows[first] = _mm256_insertf128_ps::<1>(one, _mm_loadu_ps(from.add(4 * by)));
            }
            let (low, high) = (_mm256_unpacklo_ps(rows[0], rows[1]), _mm256_unpackhi_ps(rows[0], rows[1]));
            let (low2, high2) = (_mm256_unpacklo_ps(rows[2], rows[3]), _mm256_unpackhi_ps(rows[2], rows[3]));
            [
                Eight(_mm256_shuffle_ps::<0x44>(low, low2)),
                Eight(_mm256_shuffle_ps::<0xee>(low, low2)),
                Eight(_mm256_shuffle_ps::<0x44>(high, high2)),
                Eight(_mm256_shuffle_ps::<0xee>(high, high2)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn nearest_bfloat16(self) -> Eight {
        // SAFETY: see above.
        unsafe {
            let bits = _mm256_castps_si256(self.0);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let above = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
            let nearest = _mm256_castsi256_ps(_mm256_and_si256(above, _mm256_set1_epi32(!0xffff)));
            Eight(_mm256_blendv_ps(nearest, self.0, _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0)))
        }
    }

    #[inline(always)]
    unsafe fn fetch(from: *const f32) {
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
    }

    #[inline(always)]
    unsafe fn fetch_to_write(from: *const f32) {
        // SAFETY: a prefetch writes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(from.cast()) };
    }

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: see above.
        unsafe { Eight::tile_of_any_rows(tile) };
    }
}

/// A mask of the first lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn lanes(count: usize) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}
