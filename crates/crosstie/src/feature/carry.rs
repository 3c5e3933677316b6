//! How much of what rates say of training rows they say of other rows.
//!
//! A rate is of the days it was counted on. Those of other folds are of the same days
//! as the training row that sees them, and those of earlier rows of days just before:
//! what was particular to these days they have in common, and a model learns to rely on it. Later rows do not have it, so the same
//! rate says less of them, or nothing, however many rows it was counted over. No
//! smoothing that is estimated from the training rows can know that.
//!
//! The validation rows do. The log-odds of an action are fitted by a line in a rate's
//! column, once over the training rows and once over the validation rows, each with an
//! intercept of its own, so that nothing depends on how frequent the action is. The
//! quotient of both slopes is what carries over (a calibration slope: Cox,
//! Biometrika 1958). Of a log that is split by chance it is 1.

use std::sync::Arc;

use rayon::prelude::*;

use super::encode::read_labels_that_count;
use super::key::Keys;
use super::rate::Rates;
use super::slope::Slope;
use super::sums::{Sums, outcomes};
use super::{Encoder, Features, PIECE, TrainingFeatures, add, warning};
use crate::data::Source;
use crate::error::Result;

/// The labels of other rows by the keys of one field's rates.
struct Held<'a> {
    /// Place in the schema.
    field: usize,
    /// Columns whose cells together are the key.
    key: Vec<String>,
    rates: &'a Rates,
    /// Of the training rows, per task.
    slopes: &'a [Option<Slope>],
    /// Per key, and last those of keys never seen.
    sums: Sums,
}

impl Held<'_> {
    /// Per task the share that carries over to these rows: 1 unless it is less by more than chance.
    fn shares(&self) -> Vec<f64> {
        let others = Slope::of_tasks(self.rates.values(), &self.sums, 0..self.sums.len());
        let left = |(training, other): (&Option<Slope>, &Option<Slope>)| training.as_ref()?.left_in(*other.as_ref()?);
        self.slopes.iter().zip(&others).map(|slopes| left(slopes).unwrap_or(1.0)).collect()
    }
}

impl TrainingFeatures {
    /// Holds the rates against other labelled rows, and has them say as much less of all
    /// rows but those of the training as they say of these.
    ///
    /// # Errors
    /// As of [`Features::learn`].
    pub fn carry_over(mut self, others: &Source) -> Result<TrainingFeatures> {
        let mut fading = self.shares(others)?;
        fading.retain(|(_, shares)| shares.iter().any(|share| *share < 1.0));
        let features = Arc::make_mut(&mut self.features);
        features.warnings.extend(warning::rates_that_fade(&features.schema, &fading));
        for (field, shares) in fading {
            if let Encoder::Rates(rates) | Encoder::Token { rates: Some(rates), .. } = &mut features.encoders[field] {
                rates.carry(shares);
            }
        }
        Ok(self)
    }

    /// Of each field with rates, the share that carries over per task.
    fn shares(&self, others: &Source) -> Result<Vec<(usize, Vec<f64>)>> {
        let Features { schema, encoders, reading, .. } = &*self.features;
        let (funnel, tasks) = (schema.funnel(), schema.tasks.len());
        let held = |field: usize| {
            let (rates, history) = (encoders[field].rates()?, self.histories[field].as_ref()?);
            let key = schema.fields[field].rate()?.key.clone();
            let sums = Sums::of(rates.keys.len() + 1, tasks);
            Some(Held { field, key, rates, slopes: history.slopes(), sums })
        };
        let mut all: Vec<Held<'_>> = (0..encoders.len()).filter_map(held).collect();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = all.iter().flat_map(|held| held.key.clone()).collect();
        let mut columns: Vec<&str> = schema.tasks.iter().map(|task| task.column()).collect();
        add(&mut columns, schema.weight.as_deref().into_iter().chain(keys.iter().map(String::as_str)));
        for rows in others.rows(&columns, PIECE) {
            let rows = rows?;
            let rows = reading.as_ref().map_or_else(|| rows.clone(), |reading| rows.read_as(reading));
            let labels = read_labels_that_count(schema, &mut rows.in_order())?;
            let outcomes = outcomes(&funnel, &labels);
            let count = |held: &mut Held<'_>| -> Result<()> {
                let keys = Keys::read(&mut rows.in_order(), &held.key)?;
                for (row, outcomes) in outcomes.chunks(tasks).enumerate() {
                    held.sums.add(held.rates.number(keys.row(row)), outcomes);
                }
                Ok(())
            };
            // Collected, so that of several errors it is always the first that is told.
            let done: Vec<Result<()>> = all.par_iter_mut().map(count).collect();
            done.into_iter().collect::<Result<()>>()?;
        }
        Ok(all.par_iter().map(|held| (held.field, held.shares())).collect())
    }
}
