//! Unknown values in training. A vocabulary holds what the training files hold, so
//! a training row hardly ever has an unknown value where later rows often do: new
//! users, new items. A model that never met them leans on ids, and knows nothing
//! of how a row looks whose id says nothing. So training makes known values
//! unknown, at random, until each field has as many as the validation rows.
//!
//! Fields with rates are left alone: there the rate of a new value, the mean, says
//! what is known of it, and hiding the others' costs more than it gains
//! (docs/results/strangers.md).

use crate::batch::{Batch, Ids};
use crate::feature::{MISSING, UNKNOWN};
use crate::random::Stream;

/// The share of known values that become unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Unknowns {
    /// Per embedded field.
    shares: Vec<f64>,
}

impl Unknowns {
    /// So many that each field has such a share of unknown values. `known` is the
    /// share of the training rows' values that are known, and `None` for a field
    /// that takes no part.
    pub fn up_to(unknown: &[f64], known: &[Option<f64>]) -> Unknowns {
        let share = |(unknown, known): (&f64, &Option<f64>)| match known {
            Some(known) if *known > 0.0 => (1.0 - (1.0 - unknown) / known).clamp(0.0, 1.0),
            _ => 0.0,
        };
        Unknowns { shares: unknown.iter().zip(known).map(share).collect() }
    }

    /// The same share for every field that can have unknown values.
    pub fn of_all(share: f64, known: &[Option<f64>]) -> Unknowns {
        Unknowns { shares: known.iter().map(|known| if known.is_some() { share } else { 0.0 }).collect() }
    }

    /// Makes values of a batch unknown. `draws` is the batch's own.
    pub fn apply(&self, batch: &mut Batch, draws: Stream) {
        for (field, (ids, share)) in batch.ids.iter_mut().zip(&self.shares).enumerate() {
            if *share > 0.0 {
                let draws = draws.part(field as u64);
                let (Ids::One(ids) | Ids::Many { values: ids, .. }) = ids;
                for (place, id) in ids.iter_mut().enumerate() {
                    if *id != MISSING && draws.uniform(place as u64) < *share {
                        *id = UNKNOWN;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(ids: Vec<u32>) -> Batch {
        Batch { rows: ids.len(), ids: vec![Ids::One(ids.clone()), Ids::One(ids)], ..Batch::default() }
    }

    #[test]
    fn training_rows_get_as_many_unknown_values_as_are_wanted() {
        // A tenth of the training values is unknown already.
        let unknowns = Unknowns::up_to(&[0.4, 0.4], &[Some(0.9), None]);
        let ids = [vec![UNKNOWN; 1000], vec![2; 9000], vec![MISSING; 500]].concat();
        let mut training = batch(ids.clone());
        unknowns.apply(&mut training, Stream::new(1, "test"));
        let Ids::One(found) = &training.ids[0] else { panic!("one value per row") };
        let unknown = found.iter().filter(|id| **id == UNKNOWN).count() as f64 / 10_000.0;
        // Standard error .005.
        assert!((unknown - 0.4).abs() < 0.02, "{unknown}");
        assert_eq!(found.iter().filter(|id| **id == MISSING).count(), 500);
        assert_eq!(training.ids[1], Ids::One(ids));
    }

    #[test]
    fn fewer_unknown_values_than_in_training_change_nothing() {
        assert_eq!(Unknowns::up_to(&[0.1, 0.0], &[Some(0.5), Some(1.0)]), Unknowns { shares: vec![0.0, 0.0] });
    }
}
