//! The difference between two arms: Welch's interval, and a confidence sequence.
//!
//! With R the ratio of sums in the experiment, P that before it, and θ the regression
//! of the one on the other (CUPED; 0 without), an arm's value is R - θP. The effect is
//! the difference of values, relative to the control's R if so asked, and its variance
//! follows by the delta method from the units' covariances.
//!
//! - CUPED: Deng, Xu, Kohavi and Walker, WSDM 2013. θ = cov / var of both arms' units,
//!   each about its own arm's mean; of ratios those of their linear parts (Jin and Ba,
//!   Technometrics 2023).
//! - Confidence sequence: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
//!   central limit theory and asymptotic confidence sequences", arXiv 2103.06476,
//!   equations 9, 155 and 161, with all units of both arms as the time.

use serde::{Deserialize, Serialize};

use super::distribution::{normal_below, normal_quantile, student_beyond, student_quantile};
use super::moments::{Moments, Observation};

/// Units of both arms together at which a confidence sequence is narrowest, unless
/// said otherwise.
pub const TUNING: f64 = 5_000.0;

/// In what a difference is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As a share of the control's value: 0.03 is a lift of 3 %.
    Relative,
    /// In the metric's own unit.
    Absolute,
}

/// From where to where a difference may lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    fn around(estimate: f64, half_width: f64) -> Interval {
        Interval { low: estimate - half_width, high: estimate + half_width }
    }

    /// Whether a value lies in it.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// The difference of a candidate from the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Candidate less control.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Degrees of freedom, by Welch and Satterthwaite.
    pub freedom: f64,
    /// Units of both arms.
    pub units: u64,
}

/// The linear part of a ratio: what numerator and denominator add to it per unit.
fn slope(moments: &Moments, first: usize, value: f64) -> Observation {
    let mut slope = [0.0; 4];
    slope[first] = 1.0 / moments.mean(first + 1);
    slope[first + 1] = -value / moments.mean(first + 1);
    slope
}

/// `a` · one + `b` · other.
fn combine(a: f64, one: &Observation, b: f64, other: &Observation) -> Observation {
    std::array::from_fn(|place| a * one[place] + b * other[place])
}

/// How the value during the experiment follows from the one before it, over the units
/// of both arms; 0 where nothing is known of the time before.
fn theta(arms: [&Moments; 2]) -> f64 {
    let (mut covariance, mut variance) = (0.0, 0.0);
    for arm in arms {
        let (Some(value), Some(before)) = (arm.value(), arm.value_before()) else { return 0.0 };
        let (during, past) = (slope(arm, 0, value), slope(arm, 2, before));
        covariance += arm.units() as f64 * arm.covariance(&during, &past);
        variance += arm.units() as f64 * arm.covariance(&past, &past);
    }
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

impl Effect {
    /// The plain difference. `None` where it has no meaning: fewer than two units in an
    /// arm, nothing in a denominator, no variance, or a control at 0 on the relative
    /// scale.
    pub fn of(control: &Moments, candidate: &Moments, scale: Scale) -> Option<Effect> {
        Effect::with_theta(control, candidate, scale, 0.0)
    }

    /// The difference of what the time before the experiment does not explain (CUPED).
    /// As [`Effect::of`] where nothing is known of that time.
    pub fn adjusted(control: &Moments, candidate: &Moments, scale: Scale) -> Option<Effect> {
        Effect::with_theta(control, candidate, scale, theta([control, candidate]))
    }

    fn with_theta(control: &Moments, candidate: &Moments, scale: Scale, theta: f64) -> Option<Effect> {
        if control.units() < 2 || candidate.units() < 2 {
            return None;
        }
        let (a, b) = (control.value()?, candidate.value()?);
        let before = |moments: &Moments| match theta {
            0.0 => Some((0.0, [0.0; 4])),
            _ => moments.value_before().map(|value| (value, slope(moments, 2, value))),
        };
        let ((a_before, a_past), (b_before, b_past)) = (before(control)?, before(candidate)?);
        let (a_during, b_during) = (slope(control, 0, a), slope(candidate, 0, b));
        let difference = (b - theta * b_before) - (a - theta * a_before);
        let per_unit =
            |moments: &Moments, slope: &Observation| moments.covariance(slope, slope) / moments.units() as f64;
        let a_value = combine(1.0, &a_during, -theta, &a_past);
        let b_value = combine(1.0, &b_during, -theta, &b_past);
        let (a_variance, b_variance) = (per_unit(control, &a_value), per_unit(candidate, &b_value));
        let (estimate, variance) = match scale {
            Scale::Absolute => (difference, a_variance + b_variance),
            Scale::Relative if a == 0.0 => return None,
            Scale::Relative => {
                // The control stands below the line, too.
                let own = combine(1.0 + difference / a, &a_during, -theta, &a_past);
                (difference / a.abs(), (per_unit(control, &own) + b_variance) / a.powi(2))
            }
        };
        let share = |variance: f64, moments: &Moments| variance.powi(2) / (moments.units() as f64 - 1.0);
        let freedom = (a_variance + b_variance).powi(2) / (share(a_variance, control) + share(b_variance, candidate));
        let units = control.units() + candidate.units();
        (variance > 0.0 && variance.is_finite() && freedom > 0.0).then(|| Effect {
            estimate,
            standard_error: variance.sqrt(),
            freedom,
            units,
        })
    }

    /// The interval that holds the true difference with probability 1 - `alpha` when it
    /// is looked at once, at a time fixed before.
    pub fn interval(&self, alpha: f64) -> Interval {
        Interval::around(self.estimate, student_quantile(1.0 - alpha / 2.0, self.freedom) * self.standard_error)
    }

    /// How probable at least such a difference is between equal arms, looked at once.
    pub fn p(&self) -> f64 {
        student_beyond(self.estimate / self.standard_error, self.freedom)
    }

    /// The interval of a confidence sequence: with probability 1 - `alpha` all of them
    /// hold the true difference, however often one looks. It is narrowest at `tuning`
    /// units of both arms.
    pub fn sequence(&self, alpha: f64, tuning: f64) -> Interval {
        let spread = mixing(alpha, tuning) * self.units as f64 + 1.0;
        let squared = 2.0 * spread / (spread - 1.0) * (spread.sqrt() / alpha).ln();
        Interval::around(self.estimate, squared.sqrt() * self.standard_error)
    }

    /// The least `alpha` of the [`Effect::sequence`] tuned for `alpha` that leaves out 0;
    /// of several looks the least counts.
    pub fn sequential_p(&self, alpha: f64, tuning: f64) -> f64 {
        let spread = mixing(alpha, tuning) * self.units as f64 + 1.0;
        let squared = (self.estimate / self.standard_error).powi(2);
        let evidence = 0.5 * squared * (spread - 1.0) / spread - 0.5 * spread.ln();
        (-evidence).exp().min(1.0)
    }

    /// The least true difference that a test of so many units finds with probability
    /// `power`, looked at once.
    pub fn least_detectable(&self, alpha: f64, power: f64) -> f64 {
        (normal_quantile(1.0 - alpha / 2.0) + normal_quantile(power)) * self.standard_error
    }

    /// The probability that a test of so many units finds this true difference.
    pub fn power(&self, difference: f64, alpha: f64) -> f64 {
        let far = difference.abs() / self.standard_error;
        let least = normal_quantile(1.0 - alpha / 2.0);
        normal_below(far - least) + normal_below(-far - least)
    }

    /// The units, of both arms together, that find this true difference with
    /// probability `power`.
    pub fn units_needed(&self, difference: f64, alpha: f64, power: f64) -> f64 {
        (self.units as f64 * (self.least_detectable(alpha, power) / difference).powi(2)).ceil()
    }
}

/// ρ², which makes the sequence narrowest at `tuning` units.
fn mixing(alpha: f64, tuning: f64) -> f64 {
    let surprise = -2.0 * alpha.ln();
    (surprise + (surprise + 1.0).ln()) / tuning
}
