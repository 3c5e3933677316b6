//! How good predictions are: exact, in `f64`, and null rather than guessed
//! where a figure is not defined.
//!
//! [`Evaluation`] collects scores batch by batch and gives a [`Report`], the
//! content of `metrics.json`. The single figures are functions of their own:
//!
//! ```
//! use crosstie::metric::{auc, normalized_entropy};
//!
//! let labels = [false, true, false, true];
//! let scores = [0.1, 0.2, 0.2, 0.6];
//! assert_eq!(auc(&labels, &scores, None), Some(0.875)); // a tie counts half
//! assert_eq!(auc(&[true, true], &[0.1, 0.2], None), None); // one class: not defined
//! let ne = normalized_entropy(&labels, &[0.5; 4], None).unwrap(); // no better than the mean label
//! assert!((ne - 1.0).abs() < 1e-12);
//! ```
//!
//! All of them read weights the same way: a row of weight 2 counts as two
//! rows, a row of weight 0 is not there. A score that is not a number, or a
//! weight that is negative or not finite, makes the figure undefined.

mod calibration;
mod curve;
mod evaluation;
mod influence;
mod likeness;
mod name;
mod rank;
mod report;
mod row;
mod truth;
mod twin;

#[cfg(test)]
mod tests;

pub(crate) use calibration::surprise;
pub use calibration::{DECILES, Decile, ECE_BINS, Level, ece, log_loss, normalized_entropy, pcoc};
pub use curve::{Bin, Bucket, Curves, GAIN_SHARES, Gain};
pub(crate) use evaluation::Counted;
pub use evaluation::Evaluation;
pub use influence::{Influences, auc_influences, influence_error, log_loss_influences};
pub use likeness::{Directions, adjusted_rand, clusters, neighbour_overlap};
pub use name::FigureName;
pub use rank::{Grouped, auc, auc_error, grouped_auc};
pub use report::{Figures, Meaning, Meanings, Report, Scenario};
pub use truth::{Divergence, divergence};
pub(crate) use twin::{ENOUGH, TWIN, column_auc};
