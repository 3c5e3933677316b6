//! Smoothed historical rates of every task for a key.
//!
//! A training row must not see its own labels, or the model would learn to
//! read them off the rate. So it sees the rows of its key in other folds, or,
//! where time is known, the strictly earlier ones; all other rows see the
//! totals. The overall mean that rates are drawn towards counts every training
//! row: of many rows, its own hardly moves it.
//!
//! Memory grows with the number of distinct keys, and where time is known with
//! the number of rows.

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::key;
use super::numeric::{Moments, Scale};
use super::sums::{Entry, Outcome, Sums};
use super::vocabulary::Tokens;
use crate::random::Stream;
use crate::schema;

/// What turns sums into a model's columns: one per task, the log-odds of the
/// smoothed rate, and ln(1 + rows); all standardised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Smoothing {
    /// Strength of the pull towards the mean, in rows; the schema keeps it.
    #[serde(skip)]
    pub smoothing: f64,
    /// Overall rate of each task.
    pub means: Vec<f64>,
    /// Scale of each column over the training rows as encoded for training.
    pub scales: Vec<Scale>,
}

impl Smoothing {
    /// The overall rates of the given sums; scales are not known yet.
    fn new(smoothing: f64, totals: &Sums) -> Smoothing {
        let mean = |task: usize| {
            let each = 0..totals.len();
            let positives: f64 = each.clone().map(|key| totals.entry(key).positives(task)).sum();
            let rows: f64 = each.map(|key| totals.entry(key).labelled(task)).sum();
            // Only matters where all labels are alike: log-odds must stay finite.
            let least = 0.5 / (rows + 1.0);
            if rows > 0.0 { (positives / rows).clamp(least, 1.0 - least) } else { 0.5 }
        };
        Smoothing { smoothing, means: (0..totals.tasks).map(mean).collect(), scales: Vec::new() }
    }

    /// Checks what was read from a file.
    pub fn check(&self, tasks: usize) -> Result<(), String> {
        if self.means.len() != tasks || self.scales.len() != tasks + 1 {
            return Err(format!("expected {tasks} mean rates and {} scales", tasks + 1));
        }
        if let Some(mean) = self.means.iter().find(|mean| !(**mean > 0.0 && **mean < 1.0)) {
            return Err(format!("found {mean} for a mean rate, expected a number between 0 and 1"));
        }
        self.scales.iter().try_for_each(Scale::check)
    }

    /// The columns before standardisation. ln(r / (1 - r)) is taken as the
    /// quotient of smoothed positives and negatives, which no rounding of r
    /// can make infinite.
    fn raw(&self, sums: &Entry<'_>, mut column: impl FnMut(usize, f64)) {
        for (task, mean) in self.means.iter().enumerate() {
            let positives = sums.positives(task);
            let negatives = sums.labelled(task) - positives;
            let odds = (positives + self.smoothing * mean) / (negatives + self.smoothing * (1.0 - mean));
            column(task, odds.ln());
        }
        column(self.means.len(), sums.rows().ln_1p());
    }

    fn columns(&self, sums: &Entry<'_>, into: &mut Vec<f32>) {
        self.raw(sums, |column, x| into.push(self.scales[column].apply(x)));
    }
}

/// The learned rates of one field.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    /// Keys, by descending number of rows, ties by key.
    pub keys: Tokens,
    /// Per key, over all training rows.
    pub totals: Sums,
    pub smoothing: Smoothing,
    width: usize,
    /// The columns of each key, and last those of a key never seen.
    values: Vec<f32>,
}

/// What training rows see of the rates of one field. Known after learning only,
/// and of no use to anybody but the training.
#[derive(Debug)]
pub(super) enum History {
    Folds {
        folds: u32,
        cells: Cells,
        values: Vec<f32>,
    },
    /// The moments of key `k` are `starts[k]..starts[k + 1]`, ascending; the
    /// values at a moment are those of strictly earlier rows.
    Time {
        starts: Vec<usize>,
        times: Vec<f64>,
        values: Vec<f32>,
    },
}

impl Rates {
    /// From totals alone, as they lie in an artifact.
    pub fn new(keys: Tokens, totals: Sums, smoothing: Smoothing) -> Rates {
        let width = totals.tasks + 1;
        let mut values = Vec::with_capacity((totals.len() + 1) * width);
        for key in 0..totals.len() {
            smoothing.columns(&totals.entry(key), &mut values);
        }
        let mut nothing = Sums::new(totals.tasks);
        let entry = nothing.push();
        smoothing.columns(&nothing.entry(entry), &mut values);
        Rates { keys, totals, smoothing, width, values }
    }

    /// The keys with most rows, their cells joined for reading.
    pub fn frequent(&self, most: usize) -> Vec<(String, u64)> {
        let text =
            |key: &[u8]| key::parts(key).iter().map(|part| part.unwrap_or("(missing)")).collect::<Vec<_>>().join(" × ");
        self.keys.iter().map(text).zip(self.totals.rows.iter().map(|rows| u64::from(*rows))).take(most).collect()
    }

    fn value<'a>(&self, values: &'a [f32], index: usize) -> &'a [f32] {
        &values[index * self.width..(index + 1) * self.width]
    }

    /// The columns of a key over all training rows.
    pub fn full(&self, key: &[u8]) -> &[f32] {
        self.value(&self.values, self.keys.find(key).map_or(self.totals.len(), |key| key as usize))
    }
}

impl History {
    /// The columns of a training row: of its key in the other folds, or at
    /// strictly earlier times. `rates` are those that were learned with it.
    pub fn columns<'a>(&'a self, rates: &'a Rates, key: &[u8], file: usize, row: u64, time: f64) -> &'a [f32] {
        let Some(number) = rates.keys.find(key) else { return rates.full(key) };
        match self {
            History::Folds { folds, cells, values } => match cells.find(number, fold(file, row, *folds)) {
                Some(cell) => rates.value(values, cell as usize),
                None => rates.full(key),
            },
            History::Time { starts, times, values } => {
                let (start, end) = (starts[number as usize], starts[number as usize + 1]);
                match start + times[start..end].partition_point(|earlier| *earlier < time) {
                    moment if moment < end => rates.value(values, moment),
                    _ => rates.full(key),
                }
            }
        }
    }
}

/// The fold of a training row.
fn fold(file: usize, row: u64, folds: u32) -> u32 {
    let stream = Stream::new(0, "fold").part(file as u64);
    stream.below(row, u64::from(folds)) as u32
}

/// Pairs of key and fold, numbered from 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    pairs: Vec<(u32, u32)>,
    numbers: HashTable<u32>,
}

impl Cells {
    fn hash((key, fold): (u32, u32)) -> u64 {
        Stream::new(u64::from(fold), "").bits(u64::from(key))
    }

    fn find(&self, key: u32, fold: u32) -> Option<u32> {
        let pair = (key, fold);
        self.numbers.find(Cells::hash(pair), |number| self.pairs[*number as usize] == pair).copied()
    }

    fn add(&mut self, key: u32, fold: u32) -> u32 {
        self.find(key, fold).unwrap_or_else(|| {
            let number = self.pairs.len() as u32;
            self.pairs.push((key, fold));
            let pairs = &self.pairs;
            let hasher = |number: &u32| Cells::hash(pairs[*number as usize]);
            self.numbers.insert_unique(Cells::hash((key, fold)), number, hasher);
            number
        })
    }
}

/// Gathers the sums of one field while the training rows pass by.
#[derive(Debug)]
pub(super) struct Learner {
    smoothing: f64,
    keys: Tokens,
    totals: Sums,
    seen: Seen,
}

#[derive(Debug)]
enum Seen {
    Folds {
        folds: u32,
        cells: Cells,
        sums: Sums,
    },
    /// Key and time of each row, and its outcomes.
    Time {
        events: Vec<(u32, f64)>,
        outcomes: Vec<Outcome>,
    },
}

impl Learner {
    pub fn new(rate: &schema::Rate, tasks: usize) -> Learner {
        let seen = match rate.time {
            Some(_) => Seen::Time { events: Vec::new(), outcomes: Vec::new() },
            None => Seen::Folds { folds: rate.folds, cells: Cells::default(), sums: Sums::new(tasks) },
        };
        Learner { smoothing: rate.smoothing, keys: Tokens::default(), totals: Sums::new(tasks), seen }
    }

    /// Adds a training row. Only rates with a time column read `time`.
    pub fn add(&mut self, key: &[u8], file: usize, row: u64, time: f64, outcomes: &[Outcome]) {
        let key = self.keys.add(key);
        if key as usize == self.totals.len() {
            self.totals.push();
        }
        self.totals.add(key as usize, outcomes);
        match &mut self.seen {
            Seen::Folds { folds, cells, sums } => {
                let cell = cells.add(key, fold(file, row, *folds)) as usize;
                if cell == sums.len() {
                    sums.push();
                }
                sums.add(cell, outcomes);
            }
            Seen::Time { events, outcomes: all } => {
                events.push((key, time));
                all.extend_from_slice(outcomes);
            }
        }
    }

    /// The rates, and what training rows see of them; `None` where they have no
    /// finite scale (a smoothing too close to 0).
    pub fn finish(self) -> Option<(Rates, History)> {
        let Learner { smoothing, keys, totals, seen } = self;
        let (keys, totals, rank) = sort(&keys, &totals);
        let mut smoothing = Smoothing::new(smoothing, &totals);
        let mut moments = vec![Moments::default(); totals.tasks + 1];
        let history = match seen {
            Seen::Folds { folds, cells, sums } => {
                let mut ranked = Cells::default();
                let mut order: Vec<(u32, u32, usize)> = Vec::with_capacity(sums.len());
                order.extend(cells.pairs.iter().enumerate().map(|(cell, pair)| (rank[pair.0 as usize], pair.1, cell)));
                drop(cells);
                // The order of the sums below decides their last bits.
                order.sort_unstable();
                for (key, fold, cell) in &order {
                    ranked.add(*key, *fold);
                    let rows = f64::from(sums.rows[*cell]);
                    smoothing
                        .raw(&totals.without(*key as usize, &sums, *cell), |column, x| moments[column].add(x, rows));
                }
                smoothing.scales = moments.iter().map(Moments::scale).collect::<Option<_>>()?;
                let mut values = Vec::with_capacity(order.len() * moments.len());
                for (key, _, cell) in &order {
                    smoothing.columns(&totals.without(*key as usize, &sums, *cell), &mut values);
                }
                History::Folds { folds, cells: ranked, values }
            }
            Seen::Time { events, outcomes } => {
                let (starts, times, earlier, rows) = by_time(&events, &outcomes, &rank, &totals);
                drop((events, outcomes));
                for (moment, rows) in rows.iter().enumerate() {
                    smoothing.raw(&earlier.entry(moment), |column, x| moments[column].add(x, f64::from(*rows)));
                }
                smoothing.scales = moments.iter().map(Moments::scale).collect::<Option<_>>()?;
                let mut values = Vec::with_capacity(times.len() * moments.len());
                (0..times.len()).for_each(|moment| smoothing.columns(&earlier.entry(moment), &mut values));
                History::Time { starts, times, values }
            }
        };
        Some((Rates::new(keys, totals, smoothing), history))
    }
}

/// Keys and their sums by descending rows, ties by key, so that nothing
/// depends on the order of the rows; and the new number of each old one.
fn sort(keys: &Tokens, totals: &Sums) -> (Tokens, Sums, Vec<u32>) {
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_unstable_by(|a, b| {
        let by_rows = totals.rows[*b as usize].cmp(&totals.rows[*a as usize]);
        by_rows.then_with(|| keys.token(*a).cmp(keys.token(*b)))
    });
    let (mut sorted, mut sums, mut rank) = (Tokens::default(), Sums::new(totals.tasks), vec![0; keys.len()]);
    for old in order {
        rank[old as usize] = sorted.add(keys.token(old));
        let entry = sums.push();
        sums.merge(entry, totals, old as usize);
    }
    (sorted, sums, rank)
}

/// Per key the distinct times, ascending; for each the sums over strictly
/// earlier rows, and the number of rows at that time.
fn by_time(
    events: &[(u32, f64)],
    outcomes: &[Outcome],
    rank: &[u32],
    totals: &Sums,
) -> (Vec<usize>, Vec<f64>, Sums, Vec<u32>) {
    let tasks = totals.tasks;
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_unstable_by(|a, b| {
        let (a, b) = (events[*a], events[*b]);
        rank[a.0 as usize].cmp(&rank[b.0 as usize]).then(a.1.total_cmp(&b.1))
    });
    let (mut starts, mut times, mut rows) = (Vec::with_capacity(totals.len() + 1), Vec::new(), Vec::new());
    let mut earlier = Sums::new(tasks);
    let mut running = Sums::new(tasks);
    running.push();
    let mut last: Option<(u32, f64)> = None;
    for event in order {
        let (key, time) = events[event];
        if last.is_none_or(|last| last.0 != key) {
            running = Sums::new(tasks);
            running.push();
            starts.push(times.len());
        }
        if last != Some((key, time)) {
            times.push(time);
            rows.push(0);
            let moment = earlier.push();
            earlier.merge(moment, &running, 0);
        }
        if let Some(rows) = rows.last_mut() {
            *rows += 1;
        }
        running.add(0, &outcomes[event * tasks..(event + 1) * tasks]);
        last = Some((key, time));
    }
    starts.push(times.len());
    (starts, times, earlier, rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A training row: key, time, outcome of the only task.
    type Row = (u8, i32, Outcome);

    fn rate(time: bool) -> schema::Rate {
        schema::Rate { key: vec!["k".into()], smoothing: 3.0, folds: 4, time: time.then(|| "at".into()) }
    }

    fn learn(rows: &[Row], time: bool) -> (Rates, History) {
        let mut learner = Learner::new(&rate(time), 1);
        for (row, (key, at, outcome)) in rows.iter().enumerate() {
            learner.add(&[*key], 0, row as u64, f64::from(*at), &[*outcome]);
        }
        learner.finish().unwrap()
    }

    /// The definition, by going through all rows again for each row.
    fn expected(rows: &[Row], time: bool) -> Vec<[f64; 2]> {
        let labelled: Vec<bool> = rows.iter().filter_map(|row| row.2).collect();
        let ones = labelled.iter().filter(|one| **one).count() as f64;
        let least = 0.5 / (labelled.len() as f64 + 1.0);
        let mean = if labelled.is_empty() { 0.5 } else { (ones / labelled.len() as f64).clamp(least, 1.0 - least) };
        let raw: Vec<[f64; 2]> = (0..rows.len())
            .map(|row| {
                let sees = |other: &usize| {
                    let apart = fold(0, *other as u64, 4) != fold(0, row as u64, 4);
                    rows[*other].0 == rows[row].0 && if time { rows[*other].1 < rows[row].1 } else { apart }
                };
                let seen: Vec<usize> = (0..rows.len()).filter(sees).collect();
                let labels: Vec<bool> = seen.iter().filter_map(|row| rows[*row].2).collect();
                let positives = labels.iter().filter(|one| **one).count() as f64;
                let r = (positives + 3.0 * mean) / (labels.len() as f64 + 3.0);
                [(r / (1.0 - r)).ln(), (seen.len() as f64 + 1.0).ln()]
            })
            .collect();
        let count = rows.len() as f64;
        let scale = |column: usize| {
            let mean = raw.iter().map(|row| row[column]).sum::<f64>() / count;
            let variance = raw.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / count;
            (mean, if variance < 1e-20 { 1.0 } else { variance.sqrt() })
        };
        let scales = [scale(0), scale(1)];
        raw.iter().map(|row| [0, 1].map(|column| (row[column] - scales[column].0) / scales[column].1)).collect()
    }

    proptest! {
        #[test]
        fn a_training_row_sees_other_folds_or_earlier_rows_only(
            rows in prop::collection::vec((0u8..4, 0i32..6, prop::option::of(any::<bool>())), 1..50),
            time in any::<bool>(),
        ) {
            let (rates, history) = learn(&rows, time);
            for (row, expected) in expected(&rows, time).iter().enumerate() {
                let (key, at, _) = rows[row];
                let found = history.columns(&rates, &[key], 0, row as u64, f64::from(at));
                for (found, expected) in found.iter().zip(expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "{} {}: {} {}", row, time, found, expected);
                }
            }
        }

        #[test]
        fn totals_do_not_depend_on_row_order(
            (rows, shuffled) in prop::collection::vec((0u8..4, 0i32..6, prop::option::of(any::<bool>())), 1..50)
                .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        ) {
            let ((one, _), (other, _)) = (learn(&rows, true), learn(&shuffled, true));
            prop_assert!(one.keys.iter().eq(other.keys.iter()));
            prop_assert_eq!(&one.smoothing, &other.smoothing);
            prop_assert_eq!(&one.values, &other.values);
        }
    }

    #[test]
    fn a_new_key_has_the_mean_rate_and_no_rows() {
        let (rates, _) =
            learn(&[(1, 0, Some(true)), (1, 1, Some(false)), (1, 2, Some(false)), (2, 3, Some(false))], false);
        let scale = |column: usize, x: f64| rates.smoothing.scales[column].apply(x);
        assert_eq!(rates.full(&[9]), [scale(0, (0.25f64 / 0.75).ln()), scale(1, 0.0)]);
        // (1 + 3 · 0.25) / (3 + 3) positives of key 1, with 3 rows.
        assert_eq!(rates.full(&[1]), [scale(0, (1.75f64 / 4.25).ln()), scale(1, 4f64.ln())]);
    }

    #[test]
    fn a_task_without_positives_has_finite_rates() {
        let (rates, _) = learn(&[(1, 0, Some(false)), (2, 1, Some(false)), (3, 1, None)], false);
        assert!(rates.values.iter().all(|x| x.is_finite()));
    }
}
