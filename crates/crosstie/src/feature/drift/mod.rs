//! Whether rows are of the kind that was learned from.
//!
//! A [`Profile`] says what a sample of the training rows was like, as training
//! saw it: shares of unknown and missing values, means and range of numbers, the
//! columns of rates, how often each action happened, shares of scenarios. It is
//! part of the features. A [`Tally`] counts the same of any other rows, and
//! [`Drift`] holds one against the other.

mod quantity;
mod shift;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Features, PIECE, Purpose, column_of};
use crate::batch::Batch;
use crate::data::{Rows, Source};
use crate::error::Result;
use crate::schema::{Field, FieldKind, Transform};

pub use quantity::{Kind, Quantity};
pub use shift::{Drift, Shift};
pub use tally::Tally;

use super::numeric::{Moments, log1p};

/// What the training rows were like, by a sample of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// Rows of the sample.
    rows: u64,
    /// Where the numbers of each numeric field lie.
    numbers: BTreeMap<String, Range>,
    /// All that was counted.
    measured: Vec<Measured>,
}

/// Where the numbers of a field lie, after the logarithm of a field that takes one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    least: f64,
    greatest: f64,
    mean: f64,
    /// 1 where all are alike.
    standard_deviation: f64,
}

/// A mean over rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    #[serde(flatten)]
    quantity: Quantity,
    value: f64,
    /// Its standard error, by how it differs from part to part of the rows; a
    /// group is never torn apart.
    error: f64,
    /// Parts with rows.
    parts: usize,
    /// Rows, or values, that it is the mean of.
    count: f64,
    /// What it was on the training rows themselves, where `value` is what rows like
    /// them would have that nothing was learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<f64>,
}

impl Profile {
    /// Describes training rows and what training sees of them.
    pub fn of(features: &Features, sample: &[(Rows, Batch)]) -> Result<Profile> {
        let mut numbers = BTreeMap::new();
        for field in &features.schema.fields {
            if let FieldKind::Numeric(transform) = &field.kind {
                let mut range = (f64::INFINITY, f64::NEG_INFINITY, Moments::default());
                for (rows, _) in sample {
                    for x in numbers_of(features, rows, field, transform)?.into_iter().flatten() {
                        range = (range.0.min(x), range.1.max(x), range.2);
                        range.2.add(x, 1.0);
                    }
                }
                let (least, greatest, moments) = range;
                if let Some(scale) = moments.scale().filter(|_| least <= greatest) {
                    let (mean, standard_deviation) = (scale.mean, scale.standard_deviation);
                    numbers.insert(field.name.clone(), Range { least, greatest, mean, standard_deviation });
                }
            }
        }
        let mut tally = Tally::new(features, &numbers, true);
        for (rows, batch) in sample {
            tally.add(rows, batch)?;
        }
        let (rows, measured) = (tally.rows(), tally.measured());
        Ok(Profile { rows, numbers, measured })
    }
}

/// A field's numbers, `None` where missing.
fn numbers_of(features: &Features, rows: &Rows, field: &Field, transform: &Transform) -> Result<Vec<Option<f64>>> {
    let read = features.reading.as_ref().map(|reading| rows.read_as(reading));
    let mut numbers = read.as_ref().unwrap_or(rows).column(column_of(field))?.numbers()?;
    if matches!(transform, Transform::Log1p) {
        numbers.iter_mut().flatten().for_each(|x| *x = log1p(*x));
    }
    Ok(numbers)
}

impl Features {
    /// Counts of rows, to be held against the training rows; `None` for an artifact
    /// of before training rows were described.
    pub fn tally(&self) -> Option<Tally<'_>> {
        self.profile.as_ref().map(|profile| Tally::new(self, &profile.numbers, false))
    }

    /// What the training rows were like: each thing that was counted of them, and its
    /// mean or share. Nothing for an artifact of before training rows were described.
    pub fn described(&self) -> impl Iterator<Item = (&Quantity, f64)> {
        let measured = self.profile.iter().flat_map(|profile| &profile.measured);
        measured.map(|measured| (&measured.quantity, measured.seen.unwrap_or(measured.value)))
    }

    /// Holds files against the training rows, whether they have labels or not; `None`
    /// for an artifact of before training rows were described.
    ///
    /// # Errors
    /// As of [`Features::encode`]; a file that lacks a column.
    pub fn compare(&self, source: &Source) -> Result<Option<Drift>> {
        let Some(mut tally) = self.tally() else { return Ok(None) };
        let labelled = self.columns(Purpose::Evaluation);
        let purpose = if source.require(&labelled).is_ok() { Purpose::Evaluation } else { Purpose::Scoring };
        let columns = self.columns(purpose);
        source.require(&columns)?;
        for rows in source.rows(&columns, PIECE) {
            let rows = rows?;
            tally.add(&rows, &self.encode(&rows, purpose)?)?;
        }
        Ok(Some(tally.drift()))
    }
}
