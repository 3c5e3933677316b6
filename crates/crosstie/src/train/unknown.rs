//! Unknown values in training. Vocabularies and rates hold what the training files
//! hold, so a training row hardly ever has an unknown value where later rows often
//! do: new users, new items. A model that never met them leans on ids and on the
//! rates of their values, and knows nothing of a row whose id says nothing. So
//! training makes known values unknown, at random, until each field has as many as
//! the validation rows.

use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Batch, Ids};
use crate::feature::{MISSING, NovelPart, Novelty, UNKNOWN};
use crate::random::Stream;

/// Which values of a batch become unknown.
#[derive(Clone, Debug, Default)]
pub(super) struct Unknowns {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    part: NovelPart,
    /// Fields of the same columns become unknown in the same rows.
    draws: u64,
    share: f64,
}

/// Values of the validation rows, counted.
pub(super) struct Counts<'a> {
    novelties: &'a [Novelty],
    /// Unknown values of each, and all that are not missing.
    counts: Vec<(u64, u64)>,
}

impl<'a> Counts<'a> {
    /// Of no rows.
    pub fn new(novelties: &'a [Novelty]) -> Counts<'a> {
        Counts { novelties, counts: vec![(0, 0); novelties.len()] }
    }

    /// Adds encoded rows.
    pub fn add(&mut self, batch: &Batch) {
        for (novelty, (unknown, all)) in self.novelties.iter().zip(&mut self.counts) {
            match &novelty.part {
                NovelPart::Ids(index) => {
                    let (Ids::One(ids) | Ids::Many { values: ids, .. }) = &batch.ids[*index];
                    *unknown += ids.iter().filter(|id| **id == UNKNOWN).count() as u64;
                    *all += ids.iter().filter(|id| **id != MISSING).count() as u64;
                }
                NovelPart::Dense { start, values } => {
                    let width = batch.dense.len() / batch.rows.max(1);
                    let rows = batch.dense.chunks_exact(width.max(1)).map(|row| &row[*start..*start + values.len()]);
                    *unknown += rows.filter(|row| row == values).count() as u64;
                    *all += batch.rows as u64;
                }
            }
        }
    }

    /// As many unknown values in training as were counted.
    pub fn unknowns(&self) -> Unknowns {
        let share = |(novelty, (unknown, all)): (&Novelty, &(u64, u64))| {
            let wanted = 1.0 - *unknown as f64 / (*all).max(1) as f64;
            if novelty.known > 0.0 { (1.0 - wanted / novelty.known).clamp(0.0, 1.0) } else { 0.0 }
        };
        let shares: Vec<f64> = self.novelties.iter().zip(&self.counts).map(share).collect();
        Unknowns::of(self.novelties, |place| shares[place])
    }
}

impl Unknowns {
    /// The same share of every field.
    pub fn of_all(novelties: &[Novelty], share: f64) -> Unknowns {
        Unknowns::of(novelties, |_| share)
    }

    fn of(novelties: &[Novelty], share: impl Fn(usize) -> f64) -> Unknowns {
        let part = |(place, novelty): (usize, &Novelty)| Part {
            part: novelty.part.clone(),
            draws: xxh3_64(novelty.columns.join("\n").as_bytes()),
            share: share(place),
        };
        Unknowns { parts: novelties.iter().enumerate().map(part).filter(|part| part.share > 0.0).collect() }
    }

    /// Makes values of a batch unknown. `draws` is the batch's own.
    pub fn apply(&self, batch: &mut Batch, draws: Stream) {
        for Part { part, draws: columns, share } in &self.parts {
            let draws = draws.part(*columns);
            let drawn = |place: usize| draws.uniform(place as u64) < *share;
            match part {
                NovelPart::Ids(index) => {
                    let (Ids::One(ids) | Ids::Many { values: ids, .. }) = &mut batch.ids[*index];
                    let known = ids.iter_mut().enumerate().filter(|(_, id)| **id != MISSING);
                    known.filter(|(place, _)| drawn(*place)).for_each(|(_, id)| *id = UNKNOWN);
                }
                NovelPart::Dense { start, values } => {
                    let width = batch.dense.len() / batch.rows.max(1);
                    let rows = batch.dense.chunks_exact_mut(width.max(1)).enumerate();
                    for (_, row) in rows.filter(|(place, _)| drawn(*place)) {
                        row[*start..*start + values.len()].copy_from_slice(values);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with ids, another, and the first one's rates.
    fn batch(ids: Vec<u32>) -> Batch {
        let dense = ids.iter().map(|id| if *id == UNKNOWN { 0.5 } else { 7.0 }).collect();
        Batch { rows: ids.len(), ids: vec![Ids::One(ids.clone()), Ids::One(ids)], dense, ..Batch::default() }
    }

    fn novelties(known: f64) -> Vec<Novelty> {
        let columns = vec!["user".to_string()];
        let dense = NovelPart::Dense { start: 0, values: vec![0.5] };
        vec![
            Novelty { columns: columns.clone(), part: NovelPart::Ids(0), known },
            Novelty { columns, part: dense, known },
        ]
    }

    #[test]
    fn training_rows_get_as_many_unknown_values_as_were_counted() {
        // A tenth of the training values is unknown already.
        let novelties = novelties(0.9);
        let mut counts = Counts::new(&novelties);
        // Two of five are unknown.
        counts.add(&batch([0, 2, 0, 3, 4].repeat(10)));
        let ids = [vec![UNKNOWN; 1000], vec![2; 9000], vec![MISSING; 500]].concat();
        let mut training = batch(ids.clone());
        counts.unknowns().apply(&mut training, Stream::new(1, "test"));
        let Ids::One(found) = &training.ids[0] else { panic!("one value per row") };
        let unknown = found.iter().filter(|id| **id == UNKNOWN).count() as f64 / 10_000.0;
        // Standard error .005.
        assert!((unknown - 0.4).abs() < 0.02, "{unknown}");
        assert_eq!(found.iter().filter(|id| **id == MISSING).count(), 500);
        assert_eq!(training.ids[1], Ids::One(ids));
        let together = found.iter().zip(&training.dense).filter(|(id, _)| **id != MISSING);
        assert!({ together }.all(|(id, rate)| (*id == UNKNOWN) == (*rate == 0.5)));
    }

    #[test]
    fn fewer_unknown_values_than_in_training_change_nothing() {
        let novelties = novelties(0.5);
        let mut counts = Counts::new(&novelties);
        counts.add(&batch(vec![2, 3, 4]));
        assert!(counts.unknowns().parts.is_empty());
    }
}
