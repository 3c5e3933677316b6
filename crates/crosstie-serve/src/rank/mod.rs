//! Ranking: candidates of one user, scored and sorted.

mod formula;

pub use formula::{Formula, FormulaError, Named, Values};
