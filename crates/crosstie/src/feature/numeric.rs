//! What is learned about numbers: mean and standard deviation, or the cut
//! points of equal-mass buckets.

use serde::{Deserialize, Serialize};

use crate::data::number_of_single;
use crate::random::Stream;

/// Where numbers lie: what is subtracted and divided by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Mean of the training values.
    pub mean: f64,
    /// Their standard deviation, or 1 where they are all alike.
    pub standard_deviation: f64,
    /// The least and the greatest of them: what lies beyond counts as these. Old
    /// artifacts have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

impl Scale {
    /// Checks what was read from a file.
    pub(super) fn check(&self) -> Result<(), String> {
        let Scale { mean, standard_deviation, range } = *self;
        if !(mean.is_finite() && standard_deviation.is_finite() && standard_deviation > 0.0) {
            return Err(format!("a scale of mean {mean} and standard deviation {standard_deviation} cannot be used"));
        }
        match range {
            Some([least, most]) if !(least.is_finite() && most.is_finite() && least <= most) => {
                Err(format!("a range from {least} to {most} cannot be used"))
            }
            _ => Ok(()),
        }
    }

    /// The number as a model sees it.
    pub(super) fn apply(&self, x: f64) -> f32 {
        let x = self.range.map_or(x, |[least, most]| x.clamp(least, most));
        single((x - self.mean) / self.standard_deviation)
    }
}

/// As an `f32`; what lies beyond its range stays finite.
pub(super) fn single(x: f64) -> f32 {
    x.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// sign(x)·ln(1 + |x|).
pub(super) fn log1p(x: f64) -> f64 {
    x.abs().ln_1p().copysign(x)
}

/// Mean and variance of a stream of numbers (Welford, Technometrics 1962; with
/// weights as West, CACM 1979).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    weight: f64,
    mean: f64,
    /// Weighted sum of squared distances from the mean.
    squares: f64,
    range: Option<[f64; 2]>,
}

impl Moments {
    /// Adds a number that occurs `weight` times.
    pub fn add(&mut self, x: f64, weight: f64) {
        if weight > 0.0 {
            self.weight += weight;
            let distance = x - self.mean;
            self.mean += distance * (weight / self.weight);
            self.squares += weight * distance * (x - self.mean);
            let [least, most] = self.range.unwrap_or([x, x]);
            self.range = Some([least.min(x), most.max(x)]);
        }
    }

    /// The mean, 0 without numbers.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The scale, or `None` where the numbers are too large to have one.
    pub fn scale(&self) -> Option<Scale> {
        let variance = if self.weight > 0.0 { self.squares.max(0.0) / self.weight } else { 0.0 };
        let constant = self.range.is_none_or(|[least, most]| least == most);
        let standard_deviation = if constant || variance == 0.0 { 1.0 } else { variance.sqrt() };
        (self.mean.is_finite() && standard_deviation.is_finite()).then_some(Scale {
            mean: self.mean,
            standard_deviation,
            range: self.range,
        })
    }
}

/// A sample of numbers for quantiles: all of them while they are few, else
/// those whose row numbers hash lowest, so that the sample does not depend on
/// how the rows are split.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    stream: Stream,
    capacity: usize,
    /// Hash and value.
    kept: Vec<(u64, f64)>,
    /// Only what hashes lower can still be among the lowest.
    bound: u64,
}

impl Sample {
    pub fn new(capacity: usize) -> Sample {
        Sample { stream: Stream::new(0, "quantile"), capacity, kept: Vec::new(), bound: u64::MAX }
    }

    /// Adds the number in a row of a file.
    pub fn add(&mut self, x: f64, file: usize, row: u64) {
        let hash = self.stream.part(file as u64).bits(row);
        if hash > self.bound {
            return;
        }
        self.kept.push((hash, x));
        if self.kept.len() >= self.capacity.saturating_mul(2) {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.kept.len() > self.capacity {
            self.kept.select_nth_unstable_by(self.capacity, |a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            self.bound = self.kept[self.capacity].0;
            self.kept.truncate(self.capacity);
        }
    }

    /// Ascending cut points of `buckets` buckets, or fewer: none has less than [`FEW`]
    /// numbers. A number that would fill a bucket has one of its own; those between
    /// two such share buckets of equal mass. Where there are at most four times as
    /// many different numbers as buckets, each that occurs [`OFTEN`] has one of its
    /// own. No cut lies at the least number, since nothing is below.
    pub fn cuts(mut self, buckets: u32) -> Vec<f64> {
        self.shrink();
        let mut values: Vec<f64> = self.kept.into_iter().map(|(_, x)| x).collect();
        values.sort_unstable_by(f64::total_cmp);
        let alike: Vec<&[f64]> = values.chunk_by(|a, b| a == b).collect();
        let buckets = buckets as usize;
        let full = match alike.len() <= buckets.saturating_mul(4) {
            true => OFTEN,
            false => full_bucket(&alike, values.len(), buckets.min(values.len() / FEW).max(2)),
        };
        let mut cuts: Vec<f64> = Vec::new();
        let mut start = 0;
        for run in alike.chunk_by(|a, b| a.len() < full && b.len() < full) {
            let mass: usize = run.iter().map(|alike| alike.len()).sum();
            let numbers = &values[start..start + mass];
            start += mass;
            // By far too few for a bucket join those before.
            if mass * 2 < FEW.min(full) {
                continue;
            }
            let parts = if run.len() == 1 { 1 } else { ((mass as f64 / full as f64).round() as usize).max(1) };
            cuts.extend((0..parts).map(|part| numbers[part * mass / parts]));
        }
        cuts.dedup();
        cuts.retain(|cut| *cut > values[0]);
        cuts
    }
}

/// Fewer numbers than this are no bucket, but where different numbers are few.
const FEW: usize = 10;
/// A number that occurs as often as this can have a bucket of its own.
const OFTEN: usize = 3;

/// How many numbers fill a bucket: as many as there would be in each if those that
/// occur more often had buckets of their own.
fn full_bucket(alike: &[&[f64]], numbers: usize, buckets: usize) -> usize {
    let mut full = numbers.div_ceil(buckets).max(1);
    loop {
        let own = alike.iter().filter(|alike| alike.len() >= full);
        let (count, mass) = own.fold((0, 0), |(count, mass), alike| (count + 1, mass + alike.len()));
        let left = match buckets.checked_sub(count) {
            Some(left @ 1..) => (numbers - mass).div_ceil(left).max(1),
            _ => return full,
        };
        if left >= full {
            return full;
        }
        full = left;
    }
}

/// A cut point as numbers are read: the first versions took 0.1 of single precision for
/// 0.100000001490116, and cut there.
pub(super) fn as_said(cut: f64) -> f64 {
    let single = cut as f32;
    if f64::from(single) == cut { number_of_single(single, &mut String::new()) } else { cut }
}

/// The bucket of a number: how many cut points it reaches.
pub(super) fn bucket(cuts: &[f64], x: f64) -> u32 {
    cuts.partition_point(|cut| *cut <= x) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scale(values: &[f64]) -> Option<Scale> {
        let mut moments = Moments::default();
        values.iter().for_each(|x| moments.add(*x, 1.0));
        moments.scale()
    }

    #[test]
    fn moments_agree_with_the_closed_form() {
        // 1..=9: mean 5, variance (9² - 1) / 12.
        let scale = scale(&(1..=9).map(f64::from).collect::<Vec<_>>()).unwrap();
        assert!((scale.mean - 5.0).abs() < 1e-12);
        assert!((scale.standard_deviation - (80.0f64 / 12.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn numbers_beyond_those_of_training_count_as_the_outermost() {
        let scale = scale(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!([9.0, -9.0].map(|x| scale.apply(x)), [3.0, 1.0].map(|x| scale.apply(x)));
    }

    #[test]
    fn a_weight_counts_like_repetition() {
        let mut weighted = Moments::default();
        weighted.add(2.0, 3.0);
        weighted.add(7.0, 1.0);
        let (weighted, repeated) = (weighted.scale().unwrap(), scale(&[2.0, 2.0, 2.0, 7.0]).unwrap());
        assert!((weighted.mean - repeated.mean).abs() < 1e-12);
        assert!((weighted.standard_deviation - repeated.standard_deviation).abs() < 1e-12);
    }

    #[test]
    fn a_constant_column_has_standard_deviation_one() {
        assert_eq!(scale(&[0.1; 1000]).unwrap().standard_deviation, 1.0);
        assert_eq!(scale(&[]), Some(Scale { mean: 0.0, standard_deviation: 1.0, range: None }));
        assert_eq!(scale(&[1e300, -1e300]), None);
    }

    #[test]
    fn rounding_does_not_make_a_variance_negative() {
        // 3 · 0.1 / 3 is more than 0.1, which once turned a constant into NaN.
        let mut moments = Moments::default();
        moments.add(0.1, 3.0);
        moments.add(0.1, 4.0);
        assert_eq!(moments.scale(), Some(Scale { mean: 0.1, standard_deviation: 1.0, range: Some([0.1, 0.1]) }));
    }

    #[test]
    fn equal_cut_points_are_merged() {
        let mut sample = Sample::new(1000);
        for (row, x) in [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0].into_iter().enumerate() {
            sample.add(x, 0, row as u64);
        }
        let cuts = sample.cuts(4);
        assert_eq!(cuts, [1.0]);
        assert_eq!([-1.0, 0.0, 0.9, 1.0, 9.0].map(|x| bucket(&cuts, x)), [0, 0, 0, 1, 1]);
    }

    #[test]
    fn spikes_have_buckets_of_their_own() {
        // Nine of ten are 0, some values stand out, the others are all different.
        let mut sample = Sample::new(100_000);
        let mut row = 0;
        let mut add = |x: f64, times: usize| {
            for _ in 0..times {
                sample.add(x, 0, row);
                row += 1;
            }
        };
        add(0.0, 13_000);
        add(7688.0, 150);
        add(15024.0, 150);
        (1..=1000).for_each(|x| add(f64::from(x) * 20.5, 1));
        let cuts = sample.cuts(16);
        assert!(cuts.len() <= 16, "{cuts:?}");
        for spike in [0.0, 7688.0, 15024.0] {
            let alone = [spike - 21.0, spike + 21.0].map(|x| bucket(&cuts, x) != bucket(&cuts, spike));
            assert!(alone[1] && (alone[0] || spike == 0.0), "{spike}: {cuts:?}");
        }
    }

    #[test]
    fn of_few_different_numbers_each_has_a_bucket() {
        let mut sample = Sample::new(1000);
        (0..90).for_each(|row| sample.add((row % 30) as f64, 0, row));
        let cuts = sample.cuts(8);
        assert_eq!(cuts, (1..30).map(f64::from).collect::<Vec<_>>());
    }

    #[test]
    fn a_sample_of_many_is_near_the_quantiles_of_all() {
        let mut sample = Sample::new(2000);
        (0..40_000).for_each(|row| sample.add(row as f64, row / 10_000, row as u64 % 10_000));
        // The standard error of a median of 2,000 uniform numbers is about 0.011.
        let median = sample.cuts(2)[0] / 40_000.0;
        assert!((median - 0.5).abs() < 0.04, "{median}");
    }

    proptest! {
        #[test]
        fn buckets_hold_equal_mass(values in prop::collection::hash_set(-1000i32..1000, 20..200), buckets in 2u32..20) {
            let mut sample = Sample::new(1000);
            for (row, x) in values.iter().enumerate() {
                sample.add(f64::from(*x), 0, row as u64);
            }
            let cuts = sample.cuts(buckets);
            let mut mass = vec![0usize; cuts.len() + 1];
            values.iter().for_each(|x| mass[bucket(&cuts, f64::from(*x)) as usize] += 1);
            let (least, most) = (mass.iter().min().unwrap(), mass.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", mass);
        }

        #[test]
        fn a_sample_does_not_depend_on_the_order(count in 1usize..300, capacity in 1usize..50) {
            let (mut up, mut down) = (Sample::new(capacity), Sample::new(capacity));
            for row in 0..count {
                up.add(row as f64, 0, row as u64);
                down.add((count - 1 - row) as f64, 0, (count - 1 - row) as u64);
            }
            prop_assert_eq!(up.cuts(7), down.cuts(7));
        }
    }
}
