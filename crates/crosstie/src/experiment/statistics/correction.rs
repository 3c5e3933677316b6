//! Many tests at once: p-values that may be held against one threshold.

/// The order of p-values, least first.
fn order(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|one, other| p[*one].total_cmp(&p[*other]));
    order
}

/// Holm 1979: the probability of even one false alarm among them is kept, whatever
/// they have to do with each other.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut corrected = vec![0.0; p.len()];
    let mut least: f64 = 0.0;
    for (rank, place) in order(p).into_iter().enumerate() {
        least = least.max(p[place] * (p.len() - rank) as f64).min(1.0);
        corrected[place] = least;
    }
    corrected
}

/// Benjamini and Hochberg 1995: the expected share of false alarms among those called
/// is kept, for tests that are independent or rise and fall together.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut corrected = vec![0.0; p.len()];
    let mut most: f64 = 1.0;
    for (rank, place) in order(p).into_iter().enumerate().rev() {
        most = most.min(p[place] * p.len() as f64 / (rank + 1) as f64);
        corrected[place] = most;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: R's `p.adjust(c(0.01, 0.04, 0.03, 0.005), ...)`, which is these products
    /// and running extremes done by hand.
    #[test]
    fn corrections_agree_with_p_adjust() {
        let p = [0.01, 0.04, 0.03, 0.005];
        let near = |found: Vec<f64>, expected: [f64; 4]| {
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}");
        };
        near(holm(&p), [0.03, 0.06, 0.06, 0.02]);
        near(benjamini_hochberg(&p), [0.02, 0.04, 0.04, 0.02]);
        assert!(holm(&[]).is_empty());
    }
}
