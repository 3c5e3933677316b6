//! Rows and outcomes added up, for rates.

use crate::schema::Funnel;

/// One row's outcome per task, from the impression; `None` where a label is
/// missing.
pub(super) type Outcome = Option<bool>;

/// The outcomes of rows, rows × tasks as their labels are.
pub(super) fn outcomes(funnel: &Funnel, labels: &[f32]) -> Vec<Outcome> {
    let tasks = funnel.parents.len();
    let of_row = |labels| (0..tasks).map(move |task| funnel.from_impression(labels, task));
    labels.chunks(tasks).flat_map(of_row).collect()
}

/// Rows, positives and missing labels of any number of keys or parts of keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub tasks: usize,
    pub rows: Vec<u32>,
    /// Per entry and task.
    pub positives: Vec<u32>,
    /// Per entry and task, as far as there are any: often none, so it often
    /// takes no memory.
    missing: Vec<u32>,
}

impl Sums {
    pub fn new(tasks: usize) -> Sums {
        Sums { tasks, ..Sums::default() }
    }

    /// So many entries of zeros.
    pub fn of(entries: usize, tasks: usize) -> Sums {
        Sums { tasks, rows: vec![0; entries], positives: vec![0; entries * tasks], missing: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds an entry of zeros and returns its index.
    pub fn push(&mut self) -> usize {
        self.rows.push(0);
        self.positives.resize(self.positives.len() + self.tasks, 0);
        self.rows.len() - 1
    }

    pub fn missing(&self, entry: usize, task: usize) -> u32 {
        self.missing.get(entry * self.tasks + task).copied().unwrap_or(0)
    }

    pub fn add_missing(&mut self, entry: usize, task: usize, rows: u32) {
        if rows > 0 {
            let position = entry * self.tasks + task;
            if self.missing.len() <= position {
                self.missing.resize(position + 1, 0);
            }
            self.missing[position] += rows;
        }
    }

    /// Adds a row's outcomes to an entry.
    pub fn add(&mut self, entry: usize, outcomes: &[Outcome]) {
        self.rows[entry] += 1;
        for (task, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Some(true) => self.positives[entry * self.tasks + task] += 1,
                Some(false) => {}
                None => self.add_missing(entry, task, 1),
            }
        }
    }

    /// Adds an entry of other sums to one of these.
    pub fn merge(&mut self, entry: usize, other: &Sums, from: usize) {
        self.rows[entry] += other.rows[from];
        for task in 0..self.tasks {
            self.positives[entry * self.tasks + task] += other.positives[from * self.tasks + task];
            self.add_missing(entry, task, other.missing(from, task));
        }
    }

    pub fn entry(&self, entry: usize) -> Entry<'_> {
        Entry { sums: self, entry, less: None, times: 1.0 }
    }

    /// An entry less one of other sums, which must be part of it, and what is
    /// left then `times` as much.
    pub fn without<'a>(&'a self, entry: usize, other: &'a Sums, less: usize, times: f64) -> Entry<'a> {
        Entry { sums: self, entry, less: Some((other, less)), times }
    }
}

/// An entry of sums, perhaps less an entry of others.
pub(super) struct Entry<'a> {
    sums: &'a Sums,
    entry: usize,
    less: Option<(&'a Sums, usize)>,
    times: f64,
}

impl Entry<'_> {
    /// What is left of a count; differences of whole numbers are exact.
    fn left(&self, of: impl Fn(&Sums, usize) -> u32) -> f64 {
        let less = self.less.map_or(0, |(other, entry)| of(other, entry));
        self.times * f64::from(of(self.sums, self.entry) - less)
    }

    pub fn rows(&self) -> f64 {
        self.left(|sums, entry| sums.rows[entry])
    }

    pub fn positives(&self, task: usize) -> f64 {
        self.left(|sums, entry| sums.positives[entry * sums.tasks + task])
    }

    /// Rows whose label is not missing.
    pub fn labelled(&self, task: usize) -> f64 {
        self.left(|sums, entry| sums.rows[entry] - sums.missing(entry, task))
    }

    /// Rows whose label is 0.
    pub fn negatives(&self, task: usize) -> f64 {
        self.left(|sums, entry| {
            sums.rows[entry] - sums.missing(entry, task) - sums.positives[entry * sums.tasks + task]
        })
    }
}
