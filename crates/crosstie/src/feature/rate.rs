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
//! Of a key with very many rows, and many of either outcome, training rows see the totals,
//! too: their own labels weigh nothing there. In the other folds they would see that the rate
//! is low wherever their own fold is high, and of few keys a model learns that.
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
use super::shrinkage::{self, Cell, Estimate};
use super::slope::Slope;
use super::sums::{Entry, Outcome, Sums};
use super::vocabulary::Tokens;
use crate::random::Stream;
use crate::schema;

/// A key with so many times the rows of the smoothing is large, if it has as many independent
/// rows of either outcome: what chance there is in its rate is a fiftieth of what there is
/// between keys, and a row's own label moves its log-odds by a fiftieth.
const LARGE: f64 = 50.0;

/// The rows from which on a key that training rows see nothing of is no rare one.
const NOT_RARE: u32 = 10;

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

    /// The columns before standardisation, each with its variance by chance.
    fn raw(&self, seen: &Seen<'_>, count: bool, mut column: impl FnMut(usize, f64, f64)) {
        let tasks = self.means.len();
        for task in 0..tasks {
            let sums = seen.of(task);
            column(task, self.log_odds(sums, task), self.chance(sums, task));
        }
        if count {
            column(tasks, seen.rows.rows().ln_1p(), 1.0);
        }
    }

    /// The columns of a training row.
    fn columns(&self, seen: &Seen<'_>, into: &mut Vec<f32>) {
        self.raw(seen, self.count(), |column, x, _| into.push(self.scales[column].apply(x)));
    }

    /// The columns of any other row.
    fn carried_columns(&self, totals: Entry<'_>, into: &mut Vec<f32>) {
        let share = |column: usize| self.carried.get(column).copied().unwrap_or(1.0);
        self.raw(&Seen::all(totals), self.count(), |column, x, _| {
            into.push((share(column) * f64::from(self.scales[column].apply(x))) as f32);
        });
    }
}

/// What a row sees of its key.
struct Seen<'a> {
    rows: Entry<'a>,
    /// All rows of the key, of which a training row sees the labels of some tasks.
    totals: Option<(Entry<'a>, &'a [Option<Large>])>,
}

impl<'a> Seen<'a> {
    fn all(rows: Entry<'a>) -> Seen<'a> {
        Seen { rows, totals: None }
    }

    fn of(&self, task: usize) -> &Entry<'a> {
        match &self.totals {
            Some((totals, large)) if large[task].is_some_and(|large| large.is(totals, task)) => totals,
            _ => &self.rows,
        }
    }
}

/// From where on none of a key's own labels matters to its rate.
#[derive(Clone, Copy, Debug)]
struct Large {
    rows: f64,
    /// Rows of the outcome that is rarer.
    rarer: f64,
}

impl Large {
    fn is(&self, totals: &Entry<'_>, task: usize) -> bool {
        let rarer = totals.positives(task).min(totals.negatives(task));
        totals.labelled(task) >= self.rows && rarer >= self.rarer
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
        let mut columns = |entry: Entry<'_>| smoothing.carried_columns(entry, &mut values);
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

    /// Whether training rows see nothing of most keys, even of those with many rows: all of
    /// a key's are in one fold, as where it lies within the group.
    pub fn is_within_folds(&self) -> bool {
        let (mut all, mut alone) = (0, 0);
        for ((key, _), rows) in self.cells.pairs.iter().zip(&self.sums.rows) {
            let of_key = self.totals.rows[*key as usize];
            if of_key >= NOT_RARE {
                all += u64::from(*rows);
                alone += if *rows == of_key { u64::from(*rows) } else { 0 };
            }
        }
        self.events.is_none() && alone * 2 > all
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
        let estimate = |task: usize| {
            let cell = |(key, _, cell): &(u32, u32, usize)| {
                let sums = sums.entry(*cell);
                Cell { key: *key, rows: sums.labelled(task), positives: sums.positives(task) }
            };
            shrinkage::estimate(order.iter().map(cell), means[task])
        };
        let estimates: Vec<Estimate> = (0..totals.tasks).map(estimate).collect();
        let strengths: Vec<Option<f64>> = estimates.iter().map(|estimate| smoothing.or(estimate.smoothing)).collect();
        let large = |(strength, estimate): (&Option<f64>, &Estimate)| {
            strength.map(|strength| Large { rows: LARGE * strength, rarer: LARGE * estimate.alike })
        };
        let large: Vec<Option<Large>> = strengths.iter().zip(&estimates).map(large).collect();
        let mut smoothing = Smoothing { smoothing: strengths, means, scales: Vec::new(), carried: Vec::new() };
        let mut spread = vec![Spread::default(); totals.tasks + usize::from(count)];
        let history = match events {
            None => {
                let mut ranked = Cells::default();
                let times = times_of_folds(folds, order.iter().map(|(_, fold, cell)| (*fold, sums.rows[*cell])));
                let seen = |(key, fold, cell): &(u32, u32, usize)| Seen {
                    rows: totals.without(*key as usize, &sums, *cell, times[*fold as usize]),
                    totals: Some((totals.entry(*key as usize), &large)),
                };
                for cell in &order {
                    ranked.add(cell.0, cell.1);
                    let rows = f64::from(sums.rows[cell.2]);
                    smoothing.raw(&seen(cell), count, |column, x, chance| spread[column].add(x, chance, rows));
                }
                smoothing.scales = spread.iter().map(Spread::scale).collect::<Option<_>>()?;
                let mut values = Vec::with_capacity(order.len() * spread.len());
                order.iter().for_each(|cell| smoothing.columns(&seen(cell), &mut values));
                let slopes = Slope::of_tasks(&values, &sums, order.iter().map(|(_, _, cell)| *cell));
                History::Folds { folds, cells: ranked, values, slopes }
            }
            Some(Events { events, outcomes }) => {
                let (starts, times, earlier, there) = by_time(&events, &outcomes, &rank, &totals);
                drop((events, outcomes));
                for (moment, rows) in there.rows.iter().enumerate() {
                    let (seen, rows) = (Seen::all(earlier.entry(moment)), f64::from(*rows));
                    smoothing.raw(&seen, count, |column, x, chance| spread[column].add(x, chance, rows));
                }
                smoothing.scales = spread.iter().map(Spread::scale).collect::<Option<_>>()?;
                let mut values = Vec::with_capacity(times.len() * spread.len());
                for moment in 0..times.len() {
                    smoothing.columns(&Seen::all(earlier.entry(moment)), &mut values);
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
mod tests;
