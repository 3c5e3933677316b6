//! Maps of single scenarios, as far as these differ by more than chance.
//!
//! A scenario's (log_slope, level) is taken as drawn around its task's with the
//! covariance τ² H̄⁻¹, where H̄ is the mean information of a scenario's rows. τ² follows
//! from the scores S of the scenarios at the task's map by the method of moments (as
//! of DerSimonian and Laird, 1986): with κ likelihoods added and B = H̄⁻¹ H of a
//! scenario, Σ S' H̄⁻¹ S is in the mean κ (Σ tr B - Σ tr B² / n) + τ² Σ tr B². Each
//! scenario then has the map that is likeliest under this prior. A small scenario
//! stays with its task; where all differ by chance only, τ² is 0 and none has a map of
//! its own.

use super::fit::{Curve, Row, Sums, Symmetric, likelihoods, maximum};
use crate::objective::Map;

/// The map of each scenario, where it has one of its own, around the task's.
pub(super) fn fit(parts: &[&[Row]], task: Curve) -> Vec<Option<Map>> {
    let none = vec![None; parts.len()];
    let present: Vec<&[Row]> = parts.iter().copied().filter(|rows| !rows.is_empty()).collect();
    if present.len() < 2 {
        return none;
    }
    let count = present.len() as f64;
    let sums: Vec<Sums> = present.iter().map(|rows| Sums::of(rows, task)).collect();
    let whole = sums.iter().fold(Symmetric::default(), |all, sums| all.plus(sums.information, 1.0));
    let mean = Symmetric::default().plus(whole, 1.0 / count);
    let (mut found, mut once, mut twice) = (0.0, 0.0, 0.0);
    for Sums { score, information, .. } in &sums {
        let solved = mean.solve(*score);
        found += score[0] * solved[0] + score[1] * solved[1];
        // The columns of B.
        let first = mean.solve([information.first, information.across]);
        let second = mean.solve([information.across, information.second]);
        once += first[0] + second[1];
        twice += first[0] * first[0] + 2.0 * first[1] * second[0] + second[1] * second[1];
    }
    let likelihoods = present.iter().map(|rows| likelihoods(rows)).fold(1.0, f64::max);
    let spread = (found - likelihoods * (once - twice / count)) / twice;
    if !(spread.is_finite() && spread > 0.0) {
        return none;
    }
    let precision = Symmetric::default().plus(mean, likelihoods / spread);
    let own = |rows: &&[Row]| (!rows.is_empty()).then(|| maximum(rows, task, precision).map());
    parts.iter().map(own).collect()
}
