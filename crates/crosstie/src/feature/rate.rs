//! Smoothed historical rates of every task for a key.
//!
//! A training row must not see its own labels, or the model would learn to
//! read them off the rate. So it sees the rows of its key in other folds, or,
//! where time is known, the strictly earlier ones; all other rows see the
//! totals. What it sees in the other folds counts as much as the whole log, so
//! that counts mean the same to a training row as to any other. The overall mean
//! that rates are drawn towards counts every training row: of many rows, its own
//! hardly moves it.
//!
//! Of a key with very many rows, training rows see the totals, too: their own
//! labels weigh nothing there. In the other folds they would see that the rate is
//! low wherever their own fold is high, and of few keys a model learns that.
//!
//! How far rates are drawn towards the mean is [estimated](super::shrinkage)
//! from the log, unless the schema says it.
//!
//! Columns are standardised by their deviation over the training rows, but never
//! by less than what means nothing: a rate by its deviation by chance, the logarithm
//! of a count by 1. Of few keys, or of keys that are alike, hardly anything but
//! chance differs, and it would be blown up to be learned from.
//!
//! Where rates say less of other rows than of training rows, the columns of all rows but
//! these are [shrunk](super::carry) by that.
//!
//! Memory grows with the number of distinct keys, and where time is known with
//! the number of rows.

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::key;
use super::numeric::{Moments, Scale};
use super::shrinkage::{self, Cell};
use super::slope::Slope;
use super::sums::{Entry, Outcome, Sums};
use super::vocabulary::Tokens;
use crate::random::Stream;
use crate::schema;

/// A key with so many times the rows of the smoothing is large: what chance there
/// is in its rate is a fiftieth of what there is between keys.
const LARGE: f64 = 50.0;

/// What turns sums into a model's columns: one per task, the log-odds of the
/// smoothed rate, and perhaps ln(1 + rows); all standardised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Smoothing {
    /// Per task the strength of the pull towards the mean, in rows; `None` where
    /// every key has the mean. Old artifacts have it in the schema.
    #[serde(default)]
    pub smoothing: Vec<Option<f64>>,
    /// Overall rate of each task.
    pub means: Vec<f64>,
    /// Scale of each column over the training rows as encoded for training; one
    /// more than there are tasks where rows are counted.
    pub scales: Vec<Scale>,
    /// Per task, how much of what the rates say of training rows they say of others;
    /// nothing where that is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<f64>,
}

/// The overall rate of each task in the given sums.
fn means(totals: &Sums) -> Vec<f64> {
    let mean = |task: usize| {
        let each = 0..totals.len();
        let positives: f64 = each.clone().map(|key| totals.entry(key).positives(task)).sum();
        let rows: f64 = each.map(|key| totals.entry(key).labelled(task)).sum();
        // Only matters where all labels are alike: log-odds must stay finite.
        let least = 0.5 / (rows + 1.0);
        if rows > 0.0 { (positives / rows).clamp(least, 1.0 - least) } else { 0.5 }
    };
    (0..totals.tasks).map(mean).collect()
}

impl Smoothing {
    /// Checks what was read from a file.
    pub fn check(&self, tasks: usize) -> Result<(), String> {
        let scales = tasks..=tasks + 1;
        if self.smoothing.len() != tasks || self.means.len() != tasks || !scales.contains(&self.scales.len()) {
            return Err(format!("expected {tasks} smoothings and mean rates and {tasks} or {} scales", tasks + 1));
        }
        if let Some(smoothing) =
            self.smoothing.iter().flatten().find(|smoothing| smoothing.is_nan() || **smoothing <= 0.0)
        {
            return Err(format!("found {smoothing} for a smoothing, expected a number above 0"));
        }
        if let Some(mean) = self.means.iter().find(|mean| !(**mean > 0.0 && **mean < 1.0)) {
            return Err(format!("found {mean} for a mean rate, expected a number between 0 and 1"));
        }
        if !self.carried.is_empty() && self.carried.len() != tasks {
            return Err(format!("expected nothing or {tasks} shares that carry over, found {}", self.carried.len()));
        }
        if let Some(share) = self.carried.iter().find(|share| !(0.0..=1.0).contains(*share)) {
            return Err(format!("found {share} for a share that carries over, expected a number from 0 to 1"));
        }
        self.scales.iter().try_for_each(Scale::check)
    }

    /// Whether ln(1 + rows) stands beside the rates.
    pub fn count(&self) -> bool {
        self.scales.len() > self.means.len()
    }

    /// Positives and negatives, drawn towards the mean; `None` where every key
    /// has it.
    fn smoothed(&self, sums: &Entry<'_>, task: usize) -> Option<(f64, f64)> {
        let (smoothing, mean) = (self.smoothing[task]?, self.means[task]);
        Some((sums.positives(task) + smoothing * mean, sums.negatives(task) + smoothing * (1.0 - mean)))
    }

    /// The log-odds of a task's rate. ln(r / (1 - r)) is taken as the quotient of
    /// smoothed positives and negatives, which no rounding of r can make infinite.
    fn log_odds(&self, sums: &Entry<'_>, task: usize) -> f64 {
        let mean = self.means[task];
        let (yes, no) = self.smoothed(sums, task).unwrap_or((mean, 1.0 - mean));
        (yes / no).ln()
    }

    /// The variance that a task's log-odds may have without meaning anything: that
    /// of a binomial number of positives, to first order.
    fn chance(&self, sums: &Entry<'_>, task: usize) -> f64 {
        self.smoothed(sums, task).map_or(0.0, |(yes, no)| sums.labelled(task) / (yes * no))
    }

    /// Whether a key has so many rows that none of its own matters.
    fn is_large(&self, totals: &Entry<'_>, task: usize) -> bool {
        self.smoothing[task].is_some_and(|smoothing| totals.labelled(task) >= LARGE * smoothing)
    }

    /// The columns before standardisation, each with its variance by chance, of a
    /// training row that `seen` are the rows it may see of `totals`.
    fn raw(&self, seen: &Entry<'_>, totals: &Entry<'_>, count: bool, mut column: impl FnMut(usize, f64, f64)) {
        let tasks = self.means.len();
        for task in 0..tasks {
            let sums = if self.is_large(totals, task) { totals } else { seen };
            column(task, self.log_odds(sums, task), self.chance(sums, task));
        }
        if count {
            column(tasks, seen.rows().ln_1p(), 1.0);
        }
    }

    /// The columns of a training row.
    fn columns(&self, seen: &Entry<'_>, totals: &Entry<'_>, into: &mut Vec<f32>) {
        self.raw(seen, totals, self.count(), |column, x, _| into.push(self.scales[column].apply(x)));
    }

    /// The columns of any other row.
    fn carried_columns(&self, totals: &Entry<'_>, into: &mut Vec<f32>) {
        let share = |column: usize| self.carried.get(column).copied().unwrap_or(1.0);
        self.raw(totals, totals, self.count(), |column, x, _| {
            into.push((share(column) * f64::from(self.scales[column].apply(x))) as f32);
        });
    }
}

/// A training row, as far as rates tell rows apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub file: usize,
    pub row: u64,
    /// Rows of one group are in one fold.
    pub group: Option<u64>,
    /// Only of rates with a time column; else 0.
    pub time: f64,
}

impl Place {
    fn fold(&self, folds: u32) -> u32 {
        let stream = Stream::new(0, "fold");
        let (stream, index) = match self.group {
            Some(group) => (stream.part(u64::MAX), group),
            None => (stream.part(self.file as u64), self.row),
        };
        stream.below(index, u64::from(folds)) as u32
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
        slopes: Vec<Option<Slope>>,
    },
    /// The moments of key `k` are `starts[k]..starts[k + 1]`, ascending; the
    /// values at a moment are those of strictly earlier rows.
    Time {
        starts: Vec<usize>,
        times: Vec<f64>,
        values: Vec<f32>,
        slopes: Vec<Option<Slope>>,
    },
}

impl Rates {
    /// From totals alone, as they lie in an artifact.
    pub fn new(keys: Tokens, totals: Sums, smoothing: Smoothing) -> Rates {
        let width = smoothing.scales.len();
        let mut values = Vec::with_capacity((totals.len() + 1) * width);
        let mut columns = |entry: Entry<'_>| smoothing.carried_columns(&entry, &mut values);
        (0..totals.len()).for_each(|key| columns(totals.entry(key)));
        let mut nothing = Sums::new(totals.tasks);
        let entry = nothing.push();
        columns(nothing.entry(entry));
        Rates { keys, totals, smoothing, width, values }
    }

    /// The keys with most rows, their cells joined for reading.
    pub fn frequent(&self, most: usize) -> Vec<(String, u64)> {
        let text =
            |key: &[u8]| key::parts(key).iter().map(|part| part.unwrap_or("(missing)")).collect::<Vec<_>>().join(" × ");
        self.keys.iter().map(text).zip(self.totals.rows.iter().map(|rows| u64::from(*rows))).take(most).collect()
    }

    /// The columns of each key, and last those of a key never seen.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    fn value<'a>(&self, values: &'a [f32], index: usize) -> &'a [f32] {
        &values[index * self.width..(index + 1) * self.width]
    }

    /// The number of a key; of one never seen, how many there are.
    pub fn number(&self, key: &[u8]) -> usize {
        self.keys.find(key).map_or(self.totals.len(), |key| key as usize)
    }

    /// The columns of a key over all training rows.
    pub fn full(&self, key: &[u8]) -> &[f32] {
        self.value(&self.values, self.number(key))
    }

    /// From now on only so much of what the rates say counts, per task.
    pub fn carry(&mut self, shares: Vec<f64>) {
        let (keys, totals) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.totals));
        *self = Rates::new(keys, totals, Smoothing { carried: shares, ..self.smoothing.clone() });
    }
}

impl History {
    /// Per task, what its column says of the training rows.
    pub fn slopes(&self) -> &[Option<Slope>] {
        let (History::Folds { slopes, .. } | History::Time { slopes, .. }) = self;
        slopes
    }

    /// The columns of a training row: of its key in the other folds, or at
    /// strictly earlier times. `rates` are those that were learned with it.
    pub fn columns<'a>(&'a self, rates: &'a Rates, key: &[u8], place: &Place) -> &'a [f32] {
        let Some(number) = rates.keys.find(key) else { return rates.full(key) };
        match self {
            History::Folds { folds, cells, values, .. } => match cells.find(number, place.fold(*folds)) {
                Some(cell) => rates.value(values, cell as usize),
                None => rates.full(key),
            },
            History::Time { starts, times, values, .. } => {
                let (start, end) = (starts[number as usize], starts[number as usize + 1]);
                match start + times[start..end].partition_point(|earlier| *earlier < place.time) {
                    moment if moment < end => rates.value(values, moment),
                    _ => rates.full(key),
                }
            }
        }
    }
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
    smoothing: Option<f64>,
    count: bool,
    folds: u32,
    keys: Tokens,
    totals: Sums,
    cells: Cells,
    /// Per cell.
    sums: Sums,
    /// Where time is known.
    events: Option<Events>,
}

/// Key and time of each row, and its outcomes.
#[derive(Debug, Default)]
struct Events {
    events: Vec<(u32, f64)>,
    outcomes: Vec<Outcome>,
}

impl Learner {
    pub fn new(rate: &schema::Rate, tasks: usize) -> Learner {
        Learner {
            smoothing: rate.smoothing,
            count: rate.count,
            folds: rate.folds,
            keys: Tokens::default(),
            totals: Sums::new(tasks),
            cells: Cells::default(),
            sums: Sums::new(tasks),
            events: rate.time.is_some().then(Events::default),
        }
    }

    /// Number of distinct keys so far.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Adds a training row.
    pub fn add(&mut self, key: &[u8], place: &Place, outcomes: &[Outcome]) {
        let key = self.keys.add(key);
        if key as usize == self.totals.len() {
            self.totals.push();
        }
        self.totals.add(key as usize, outcomes);
        let cell = self.cells.add(key, place.fold(self.folds)) as usize;
        if cell == self.sums.len() {
            self.sums.push();
        }
        self.sums.add(cell, outcomes);
        if let Some(Events { events, outcomes: all }) = &mut self.events {
            events.push((key, place.time));
            all.extend_from_slice(outcomes);
        }
    }

    /// The rates, and what training rows see of them; `None` where they have no
    /// finite scale (a smoothing too close to 0).
    pub fn finish(self) -> Option<(Rates, History)> {
        let Learner { smoothing, count, folds, keys, totals, cells, sums, events } = self;
        let (keys, totals, rank) = sort(&keys, &totals);
        let mut order: Vec<(u32, u32, usize)> = Vec::with_capacity(sums.len());
        order.extend(cells.pairs.iter().enumerate().map(|(cell, pair)| (rank[pair.0 as usize], pair.1, cell)));
        drop(cells);
        // The order of the sums below decides their last bits.
        order.sort_unstable();
        let means = means(&totals);
        let estimate = |task: usize| match smoothing {
            Some(smoothing) => Some(smoothing),
            None => {
                let cell = |(key, _, cell): &(u32, u32, usize)| {
                    let sums = sums.entry(*cell);
                    Cell { key: *key, rows: sums.labelled(task), positives: sums.positives(task) }
                };
                shrinkage::smoothing(order.iter().map(cell), means[task])
            }
        };
        let strengths = (0..totals.tasks).map(estimate).collect();
        let mut smoothing = Smoothing { smoothing: strengths, means, scales: Vec::new(), carried: Vec::new() };
        let mut spread = vec![Spread::default(); totals.tasks + usize::from(count)];
        let history = match events {
            None => {
                let mut ranked = Cells::default();
                let times = times_of_folds(folds, order.iter().map(|(_, fold, cell)| (*fold, sums.rows[*cell])));
                let seen = |(key, fold, cell): &(u32, u32, usize)| {
                    totals.without(*key as usize, &sums, *cell, times[*fold as usize])
                };
                for cell in &order {
                    ranked.add(cell.0, cell.1);
                    let rows = f64::from(sums.rows[cell.2]);
                    let totals = totals.entry(cell.0 as usize);
                    smoothing.raw(&seen(cell), &totals, count, |column, x, chance| spread[column].add(x, chance, rows));
                }
                smoothing.scales = spread.iter().map(Spread::scale).collect::<Option<_>>()?;
                let mut values = Vec::with_capacity(order.len() * spread.len());
                for cell in &order {
                    smoothing.columns(&seen(cell), &totals.entry(cell.0 as usize), &mut values);
                }
                let slopes = Slope::of_tasks(&values, &sums, order.iter().map(|(_, _, cell)| *cell));
                History::Folds { folds, cells: ranked, values, slopes }
            }
            Some(Events { events, outcomes }) => {
                let (starts, times, earlier, there) = by_time(&events, &outcomes, &rank, &totals);
                drop((events, outcomes));
                for (moment, rows) in there.rows.iter().enumerate() {
                    let (seen, rows) = (earlier.entry(moment), f64::from(*rows));
                    smoothing.raw(&seen, &seen, count, |column, x, chance| spread[column].add(x, chance, rows));
                }
                smoothing.scales = spread.iter().map(Spread::scale).collect::<Option<_>>()?;
                let mut values = Vec::with_capacity(times.len() * spread.len());
                for moment in 0..times.len() {
                    let seen = earlier.entry(moment);
                    smoothing.columns(&seen, &seen, &mut values);
                }
                let slopes = Slope::of_tasks(&values, &there, 0..there.len());
                History::Time { starts, times, values, slopes }
            }
        };
        Some((Rates::new(keys, totals, smoothing), history))
    }
}

/// How much more there is of the whole log than of the other folds of each.
fn times_of_folds(folds: u32, rows: impl Iterator<Item = (u32, u32)>) -> Vec<f64> {
    let mut of_fold = vec![0u64; folds as usize];
    rows.for_each(|(fold, rows)| of_fold[fold as usize] += u64::from(rows));
    let all: u64 = of_fold.iter().sum();
    let times = |rows: u64| if rows < all { all as f64 / (all - rows) as f64 } else { 1.0 };
    of_fold.into_iter().map(times).collect()
}

/// How a column differs over the training rows, and how it would by chance.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    values: Moments,
    chance: Moments,
}

impl Spread {
    /// Adds what `rows` training rows see.
    fn add(&mut self, x: f64, chance: f64, rows: f64) {
        self.values.add(x, rows);
        self.chance.add(chance, rows);
    }

    fn scale(&self) -> Option<Scale> {
        let scale = self.values.scale()?;
        let least = self.chance.mean().sqrt();
        Some(Scale { standard_deviation: scale.standard_deviation.max(least), ..scale })
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
/// earlier rows, and those over the rows at that time.
fn by_time(
    events: &[(u32, f64)],
    outcomes: &[Outcome],
    rank: &[u32],
    totals: &Sums,
) -> (Vec<usize>, Vec<f64>, Sums, Sums) {
    let tasks = totals.tasks;
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_unstable_by(|a, b| {
        let (a, b) = (events[*a], events[*b]);
        rank[a.0 as usize].cmp(&rank[b.0 as usize]).then(a.1.total_cmp(&b.1))
    });
    let (mut starts, mut times) = (Vec::with_capacity(totals.len() + 1), Vec::new());
    let (mut earlier, mut there) = (Sums::new(tasks), Sums::new(tasks));
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
            there.push();
            let moment = earlier.push();
            earlier.merge(moment, &running, 0);
        }
        let outcomes = &outcomes[event * tasks..(event + 1) * tasks];
        there.add(times.len() - 1, outcomes);
        running.add(0, outcomes);
        last = Some((key, time));
    }
    starts.push(times.len());
    (starts, times, earlier, there)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A training row: key, time, outcome of the only task.
    type Row = (u8, i32, Outcome);

    fn rate(time: bool) -> schema::Rate {
        schema::Rate {
            key: vec!["k".into()],
            smoothing: Some(3.0),
            count: true,
            folds: 4,
            time: time.then(|| "at".into()),
        }
    }

    fn place(row: usize, time: f64) -> Place {
        Place { file: 0, row: row as u64, group: None, time }
    }

    fn learn_as(rate: &schema::Rate, rows: &[Row]) -> (Rates, History) {
        let mut learner = Learner::new(rate, 1);
        for (row, (key, at, outcome)) in rows.iter().enumerate() {
            learner.add(&[*key], &place(row, f64::from(*at)), &[*outcome]);
        }
        learner.finish().unwrap()
    }

    fn learn(rows: &[Row], time: bool) -> (Rates, History) {
        learn_as(&rate(time), rows)
    }

    /// The definition, by going through all rows again for each row.
    fn expected(rows: &[Row], time: bool) -> Vec<[f64; 2]> {
        let labelled: Vec<bool> = rows.iter().filter_map(|row| row.2).collect();
        let ones = labelled.iter().filter(|one| **one).count() as f64;
        let least = 0.5 / (labelled.len() as f64 + 1.0);
        let mean = if labelled.is_empty() { 0.5 } else { (ones / labelled.len() as f64).clamp(least, 1.0 - least) };
        let count = rows.len() as f64;
        // Per row: rate and count, and the variance of both that means nothing.
        let raw: Vec<[f64; 4]> = (0..rows.len())
            .map(|row| {
                let apart = |other: usize| place(other, 0.0).fold(4) != place(row, 0.0).fold(4);
                let before = |other: usize| rows[other].1 < rows[row].1;
                let sees =
                    |other: &usize| rows[*other].0 == rows[row].0 && if time { before(*other) } else { apart(*other) };
                let others = (0..rows.len()).filter(|other| apart(*other)).count() as f64;
                let times = if time || others == 0.0 { 1.0 } else { count / others };
                let seen: Vec<usize> = (0..rows.len()).filter(sees).collect();
                let labels: Vec<bool> = seen.iter().filter_map(|row| rows[*row].2).collect();
                let positives = times * labels.iter().filter(|one| **one).count() as f64;
                let (labels, seen) = (times * labels.len() as f64, times * seen.len() as f64);
                let r = (positives + 3.0 * mean) / (labels + 3.0);
                // d ln(r / (1 - r)) / d positives = 1 / (r (1 - r) (labels + 3)).
                let by_chance = labels * r * (1.0 - r) / (r * (1.0 - r) * (labels + 3.0)).powi(2);
                [(r / (1.0 - r)).ln(), (seen + 1.0).ln(), by_chance, 1.0]
            })
            .collect();
        let mean_of = |column: usize| raw.iter().map(|row| row[column]).sum::<f64>() / count;
        let scale = |column: usize| {
            let mean = mean_of(column);
            let variance = raw.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / count;
            let deviation = if variance < 1e-20 { 1.0 } else { variance.sqrt() };
            (mean, deviation.max(mean_of(column + 2).sqrt()))
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
                let found = history.columns(&rates, &[key], &place(row, f64::from(at)));
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
    fn few_keys_mean_the_same_to_training_rows_as_to_others() {
        // One key of 4000 rows, every fifth positive: nothing but chance differs.
        let rows: Vec<Row> = (0..4000).map(|row| (1, 0, Some(row % 5 == 0))).collect();
        let (rates, history) = learn(&rows, false);
        for (place, found) in rates.full(&[1]).iter().enumerate() {
            assert!(found.abs() < 1.0, "column {place} of the totals lies {found} deviations away");
            let training = |row: usize| history.columns(&rates, &[1], &self::place(row, 0.0))[place];
            assert!((0..4000).all(|row| training(row).abs() < 1.0), "column {place} of training rows");
        }
    }

    #[test]
    fn rows_of_one_group_do_not_see_each_other() {
        // A session of four rows alike, each of its own item but for one in common.
        let group = |row: u64| Some(row / 4);
        let mut learner = Learner::new(&rate(false), 1);
        let at = |row: u64| Place { file: 0, row, group: group(row), time: 0.0 };
        (0..400).for_each(|row| learner.add(&[7], &at(row), &[Some(row / 4 % 2 == 0)]));
        let (rates, history) = learner.finish().unwrap();
        for session in 0..100 {
            let seen: Vec<&[f32]> = (0..4).map(|row| history.columns(&rates, &[7], &at(session * 4 + row))).collect();
            assert!(seen.windows(2).all(|two| two[0] == two[1]), "session {session}: {seen:?}");
        }
    }

    #[test]
    fn training_rows_of_a_large_key_see_its_totals() {
        let rows: Vec<Row> = (0..1000).map(|row| (u8::from(row % 10 == 0), 0, Some(row % 3 == 0))).collect();
        let (rates, history) = learn(&rows, false);
        // 50 times the smoothing of 3 are 150 rows: 900 are large, 100 are not.
        let rate_of = |key: u8, row: usize| history.columns(&rates, &[key], &place(row, 0.0))[0];
        assert!((0..1000).filter(|row| row % 10 != 0).all(|row| rate_of(0, row) == rates.full(&[0])[0]));
        assert!((0..1000).filter(|row| row % 10 == 0).any(|row| rate_of(1, row) != rates.full(&[1])[0]));
    }

    #[test]
    fn keys_alike_have_one_rate_and_say_so() {
        let rows: Vec<Row> = (0..3000).map(|row| ((row % 3) as u8, 0, Some(row / 3 % 4 == 0))).collect();
        let (rates, history) = learn_as(&schema::Rate { smoothing: None, ..rate(false) }, &rows);
        assert_eq!(rates.smoothing.smoothing, [None]);
        let of = |key: u8| rates.full(&[key])[0];
        assert!(of(0) == of(1) && of(1) == of(2) && of(2) == of(9));
        assert_eq!(history.columns(&rates, &[1], &place(1, 0.0))[0], of(9));
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
