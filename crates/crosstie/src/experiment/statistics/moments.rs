//! Sums over the units of an arm, from which every figure follows.

use serde::{Deserialize, Serialize};

/// What is known of one unit: numerator and denominator of the metric in the
/// experiment, and both in the time before it (zeros where that is not known).
pub type Observation = [f64; 4];

/// Number of units, sums and sums of products of [`Observation`]s. They merge, and a
/// unit that changed is taken out and put in again.
///
/// Plain sums lose digits where a mean is large against its spread: the variance has a
/// relative error of about 1e-16 · mean² / variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    units: u64,
    sums: Observation,
    /// Symmetric.
    products: [Observation; 4],
}

impl Moments {
    /// From sums that others have taken.
    pub fn from_sums(units: u64, sums: Observation, products: [Observation; 4]) -> Moments {
        Moments { units, sums, products }
    }

    /// Of a mean per unit: sum and sum of squares over so many units.
    pub fn of_mean(units: u64, sum: f64, squares: f64) -> Moments {
        let n = units as f64;
        let zero = [0.0; 4];
        Moments {
            units,
            sums: [sum, n, 0.0, 0.0],
            products: [[squares, sum, 0.0, 0.0], [sum, n, 0.0, 0.0], zero, zero],
        }
    }

    /// Of a share of units: their variance is the binomial p (1 - p).
    pub fn of_share(units: u64, positives: u64) -> Moments {
        let (n, sum) = (units as f64, positives as f64);
        let share = sum / n;
        Moments::of_mean(units, sum, share * (1.0 - share) * (n - 1.0) + sum * share)
    }

    /// Takes in a unit.
    pub fn add(&mut self, unit: &Observation) {
        self.units += 1;
        self.weigh(unit, 1.0);
    }

    /// Takes out a unit that was added.
    pub fn remove(&mut self, unit: &Observation) {
        self.units -= 1;
        self.weigh(unit, -1.0);
    }

    fn weigh(&mut self, unit: &Observation, weight: f64) {
        for (one, value) in unit.iter().enumerate() {
            self.sums[one] += weight * value;
            for (other, factor) in unit.iter().enumerate() {
                self.products[one][other] += weight * value * factor;
            }
        }
    }

    /// The units of both.
    pub fn merge(&self, other: &Moments) -> Moments {
        let mut merged = *self;
        merged.units += other.units;
        for one in 0..4 {
            merged.sums[one] += other.sums[one];
            (0..4).for_each(|place| merged.products[one][place] += other.products[one][place]);
        }
        merged
    }

    /// Number of units.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Numerator and denominator, summed over all units.
    pub fn totals(&self) -> (f64, f64) {
        (self.sums[0], self.sums[1])
    }

    /// The metric: the ratio of sums; `None` where the denominator is 0.
    pub fn value(&self) -> Option<f64> {
        (self.sums[1] != 0.0).then(|| self.sums[0] / self.sums[1])
    }

    /// The metric in the time before.
    pub(super) fn value_before(&self) -> Option<f64> {
        (self.sums[3] != 0.0).then(|| self.sums[2] / self.sums[3])
    }

    /// Means per unit.
    pub(super) fn mean(&self, place: usize) -> f64 {
        self.sums[place] / self.units as f64
    }

    /// One · C · other, with C the covariances of the units (divided by n - 1).
    pub(super) fn covariance(&self, one: &Observation, other: &Observation) -> f64 {
        let n = self.units as f64;
        let mut sum = 0.0;
        for (row, left) in one.iter().enumerate().filter(|(_, left)| **left != 0.0) {
            for (column, right) in other.iter().enumerate().filter(|(_, right)| **right != 0.0) {
                let centred = self.products[row][column] - self.sums[row] * self.sums[column] / n;
                sum += left * right * centred / (n - 1.0);
            }
        }
        sum
    }
}
