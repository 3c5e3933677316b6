//! What a training came to, to be looked at: first as numbers, then as a page.
//!
//! [`gather`] reads labelled rows once: all figures, what the model shows of its inside
//! by scenario, how the rows differ from the training rows, and of rows drawn by lot the
//! [curves](crate::metric::Curves) and the [importance](Importance) of fields.
//! [`Findings`] holds that beside what the run and its configuration tell, as plain
//! numbers that can be kept as JSON; [`Findings::page`] draws them. So whoever has kept the
//! numbers can draw the page without the data.

mod draw;
mod findings;
mod gather;
mod history;
mod importance;
mod known;
mod lot;

pub use findings::{Calibrated, FieldFacts, Findings, Matrix, Seen, Shifted, TaskCurves, TaskFacts};
pub use gather::{Gathered, Settings, gather};
pub use history::{History, Moment, Reached};
pub use importance::{Effect, FieldImportance, Importance};
