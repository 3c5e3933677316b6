//! Randomness is addressed: a number depends on (seed, stream, index) alone,
//! never on how many numbers were drawn before.

/// A well-mixed 64-bit number for an index of a stream.
///
/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), applied
/// twice so that neighbouring seeds share nothing.
#[inline(always)]
pub fn bits(stream: u64, index: u64) -> u64 {
    mix(mix(stream).wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

#[inline(always)]
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A number of a stream, uniform in [0, 1).
#[inline(always)]
pub fn uniform(stream: u64, index: u64) -> f64 {
    (bits(stream, index) >> 11) as f64 / (1u64 << 53) as f64
}

/// The stream of a name under a seed.
pub fn stream(seed: u64, name: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), seed)
}

/// A random order of `0..length` (Fisher and Yates).
pub fn permutation(stream: u64, length: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    for last in (1..length).rev() {
        let chosen = (u128::from(bits(stream, last as u64)) * (last as u128 + 1)) >> 64;
        order.swap(last, chosen as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = permutation(7, 1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn uniform_numbers_have_the_mean_and_variance_of_their_law() {
        let numbers: Vec<f64> = (0..100_000).map(|i| uniform(stream(1, "test"), i)).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 0.004, "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.001, "{variance}");
    }
}
