//! Loops over numbers, compiled for each processor generation and chosen at
//! run time.

use pulp::Arch;

/// Runs `work` compiled with the best vector instructions this processor has.
/// `work` must be an `#[inline(always)]` closure or function over slices.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    struct Work<F>(F);
    impl<R, F: FnOnce() -> R> pulp::WithSimd for Work<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Work(work))
}

/// Numbers that are worked on at a time.
const LANES: usize = 16;

/// Σ a·b with sixteen running sums, so that the order of additions does not
/// depend on the processor.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0] + tail
}

/// `y += scale · x`.
#[inline(always)]
pub fn add_scaled(y: &mut [f32], scale: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += scale * x;
    }
}

/// `y += x`.
#[inline(always)]
pub fn add(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// Whether there is nothing but zeros, looked at some numbers at a time.
#[inline(always)]
pub fn is_zero(x: &[f32]) -> bool {
    // All bits but the sign's.
    x.chunks(LANES).all(|x| x.iter().fold(0, |bits, x| bits | x.to_bits() << 1) == 0)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// ln(1 / (1 + e^-x)) without overflow.
#[inline(always)]
pub fn log_sigmoid(x: f64) -> f64 {
    if x < 0.0 { x - x.exp().ln_1p() } else { -(-x).exp().ln_1p() }
}

/// ln(e^a + e^b) without overflow.
#[inline(always)]
pub fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_adds_every_element_once() {
        for length in [0, 1, 15, 16, 17, 100] {
            let ones = vec![1.0; length];
            let count: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let expected: usize = (0..length).sum();
            assert_eq!(dot(&ones, &count), expected as f32);
        }
    }

    #[test]
    fn one_number_that_is_not_zero_is_found_wherever_it_stands() {
        for length in [1, 15, 16, 17, 40] {
            assert!(is_zero(&vec![-0.0; length]));
            for place in 0..length {
                let mut numbers = vec![0.0; length];
                numbers[place] = f32::MIN_POSITIVE / 2.0;
                assert!(!is_zero(&numbers), "{place} of {length}");
            }
        }
        assert!(is_zero(&[]) && !is_zero(&[f32::NAN]));
    }

    #[test]
    fn log_sigmoid_does_not_overflow() {
        assert_eq!(log_sigmoid(-1e4), -1e4);
        assert_eq!(log_sigmoid(1e4), 0.0);
        assert!((log_sigmoid(0.0) + std::f64::consts::LN_2).abs() < 1e-15);
    }

    #[test]
    fn log_add_of_nothing_is_the_other() {
        assert_eq!(log_add(f64::NEG_INFINITY, -3.0), -3.0);
        assert!((log_add(0.25f64.ln(), 0.5f64.ln()) - 0.75f64.ln()).abs() < 1e-15);
    }
}
