//! How large a difference between two arms is, and how sure that is.
//!
//! A unit (a user) is what was assigned by chance, so a unit is one observation,
//! however many impressions it has. Every metric is a ratio of sums over units: eCPM is
//! what was earned over what was shown, a rate positives over impressions, a mean per
//! unit has 1 for each unit below. [`Moments`] keep what is needed of the units of an
//! arm and merge; an [`Effect`] compares two of them.

mod correction;
mod distribution;
mod effect;
mod moments;
mod sample_ratio;

pub use correction::{benjamini_hochberg, holm};
pub use distribution::student_beyond;
pub use effect::{Effect, Interval, Scale, TUNING};
pub use moments::{Moments, Observation};
pub use sample_ratio::{CONCENTRATIONS, SampleRatio, chi_square};

pub(super) use distribution::{normal_quantile, poisson_at_most, student_quantile};

#[cfg(test)]
mod tests;
