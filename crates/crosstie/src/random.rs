//! Addressed randomness: every draw is a hash of (seed, stream name, index),
//! never "the next number", so that it depends neither on the order of the
//! draws nor on the number of threads.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A named stream of independent draws, each found by its index.
///
/// ```
/// use crosstie::random::Stream;
///
/// let shuffle = Stream::new(7, "shuffle");
/// assert_eq!(shuffle.bits(3), Stream::new(7, "shuffle").bits(3));
/// assert_ne!(shuffle.bits(3), Stream::new(7, "dropout").bits(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The stream with this name.
    pub fn new(seed: u64, name: &str) -> Stream {
        Stream { key: xxh3_64_with_seed(name.as_bytes(), seed) }
    }

    /// A stream within this one, for draws that have two indices.
    pub fn part(&self, index: u64) -> Stream {
        Stream { key: self.bits(index) }
    }

    /// 64 random bits: the finaliser of SplitMix64 (Steele, Lea and Flood
    /// 2014) over the key and the index.
    pub fn bits(&self, index: u64) -> u64 {
        let mut bits = self.key.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in (0, 1), ends excluded.
    pub fn uniform(&self, index: u64) -> f64 {
        ((self.bits(index) >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform over `0..n`; 0 if `n` is 0. The bias is below n / 2⁶⁴.
    pub fn below(&self, index: u64, n: u64) -> u64 {
        ((u128::from(self.bits(index)) * u128::from(n)) >> 64) as u64
    }

    /// Normal with mean 0 and standard deviation 1 (Box and Muller 1958).
    pub fn normal(&self, index: u64) -> f64 {
        let pair = self.part(index);
        (-2.0 * pair.uniform(0).ln()).sqrt() * (std::f64::consts::TAU * pair.uniform(1)).cos()
    }
}

impl Stream {
    /// A random order of `0..length` (Fisher and Yates).
    pub fn permutation(&self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            order.swap(last, self.below(last as u64, last as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Stream::new(7, "test").permutation(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn uniform_draws_have_the_moments_of_the_uniform() {
        let stream = Stream::new(1, "test");
        let n = 100_000;
        let mean = (0..n).map(|i| stream.uniform(i)).sum::<f64>() / n as f64;
        let square = (0..n).map(|i| stream.uniform(i).powi(2)).sum::<f64>() / n as f64;
        let lagged = (1..n).map(|i| stream.uniform(i) * stream.uniform(i - 1)).sum::<f64>() / n as f64;
        // Four standard errors: 4 · 0.289 / √n, and less for the products.
        assert!((mean - 0.5).abs() < 0.004, "{mean}");
        assert!((square - 1.0 / 3.0).abs() < 0.004, "{square}");
        assert!((lagged - 0.25).abs() < 0.004, "{lagged}");
    }

    #[test]
    fn normal_draws_have_the_moments_of_the_normal() {
        let stream = Stream::new(2, "test");
        let n = 100_000;
        let moment = |power: i32| (0..n).map(|i| stream.normal(i).powi(power)).sum::<f64>() / n as f64;
        // Four standard errors: 4 · √(E x²ᵏ) / √n.
        assert!(moment(1).abs() < 0.013);
        assert!((moment(2) - 1.0).abs() < 0.018);
        assert!((moment(4) - 3.0).abs() < 0.13);
    }

    #[test]
    fn below_reaches_every_value_and_no_other() {
        let stream = Stream::new(3, "test");
        let mut seen = [0; 7];
        (0..7_000).for_each(|i| seen[stream.below(i, 7) as usize] += 1);
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!(stream.below(0, 0), 0);
    }
}
