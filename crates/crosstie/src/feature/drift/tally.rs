//! Counts of rows.

use std::collections::BTreeMap;

use super::quantity::{Kind, Quantity};
use super::shift::{Drift, min_count};
use super::{Measured, Range, numbers_of};
use crate::batch::{Batch, Layout, NO_GROUP};
use crate::data::Rows;
use crate::error::Result;
use crate::feature::{Features, KNOWN, Lookup, MISSING, UNKNOWN};
use crate::random::Stream;
use crate::schema::{FieldKind, Funnel};

/// Parts into which rows are dealt by lot, to learn from the differences between
/// them what chance does.
const PARTS: usize = 64;

/// Counts of some rows. Their memory does not grow with the rows.
#[derive(Clone, Debug)]
pub struct Tally<'a> {
    features: &'a Features,
    numbers: &'a BTreeMap<String, Range>,
    funnel: Funnel,
    /// Whether these are training rows: then values that are known by these rows
    /// alone count as unknown, as they would be to others.
    training: bool,
    rows: u64,
    fields: Vec<Counted>,
    /// Per task, given the parent and from the impression.
    labels: Vec<[Sums; 2]>,
    scenarios: Vec<Sums>,
}

/// Sums of one quantity, part by part: of what is averaged, and of how many.
#[derive(Clone, Debug)]
struct Sums(Box<[[f64; 2]; PARTS]>);

/// What is counted of a field.
#[derive(Clone, Debug)]
enum Counted {
    Embedded {
        /// Place in [`Batch::ids`].
        place: usize,
        /// From this row of its table on, values are known by the least number of
        /// rows; `None` where no value is unknown.
        rare: Option<u32>,
        unknown: Sums,
        /// The same as training rows have it themselves.
        seen: Sums,
        missing: Sums,
    },
    Number {
        /// Place in the schema.
        field: usize,
        mean: Sums,
        beyond: Sums,
        missing: Sums,
    },
    Rate {
        name: String,
        /// The first of its columns in [`Batch::dense`].
        start: usize,
        /// Per column.
        means: Vec<Sums>,
    },
}

impl Counted {
    /// The rates of a field, if it has any.
    fn rates(layout: &Layout, name: &str) -> Option<Counted> {
        let place = layout.dense.iter().position(|dense| dense.name == name)?;
        let start = layout.dense[..place].iter().map(|dense| dense.width).sum();
        let means = (0..layout.dense[place].width).map(|_| Sums::new()).collect();
        Some(Counted::Rate { name: name.into(), start, means })
    }
}

impl Sums {
    fn new() -> Sums {
        Sums(Box::new([[0.0; 2]; PARTS]))
    }

    fn add(&mut self, part: usize, value: f64, count: f64) {
        let [sum, of] = &mut self.0[part];
        *sum += value;
        *of += count;
    }

    fn share(&mut self, part: usize, yes: bool) {
        self.add(part, f64::from(u8::from(yes)), 1.0);
    }

    fn mean(&self) -> Option<f64> {
        let (sum, count) = self.0.iter().fold((0.0, 0.0), |(sum, count), part| (sum + part[0], count + part[1]));
        (count > 0.0).then(|| sum / count)
    }

    /// The mean with its standard error (of a ratio, by linearisation, between
    /// random groups: Wolter, "Introduction to Variance Estimation", 2007, chapter 2);
    /// nothing of less than two parts.
    fn measure(&self, quantity: Quantity) -> Option<Measured> {
        let value = self.mean()?;
        let parts = self.0.iter().filter(|part| part[1] > 0.0).count();
        let count: f64 = self.0.iter().map(|part| part[1]).sum();
        let squares: f64 = self.0.iter().map(|part| (part[0] - value * part[1]).powi(2)).sum();
        let error = (squares * parts as f64 / (parts as f64 - 1.0)).sqrt() / count;
        (parts > 1 && error.is_finite()).then_some(Measured { quantity, value, error, parts, count, seen: None })
    }
}

impl<'a> Tally<'a> {
    pub(super) fn new(features: &'a Features, numbers: &'a BTreeMap<String, Range>, training: bool) -> Tally<'a> {
        let (schema, layout) = (&features.schema, &features.layout);
        let of_table = |name: &str| layout.embedded.iter().position(|embedded| embedded.name == name);
        let mut fields = Vec::new();
        for (place, field) in schema.fields.iter().enumerate() {
            match &field.kind {
                FieldKind::Categorical(_) | FieldKind::Multi(_) => {
                    let Some(place) = of_table(&field.name) else { continue };
                    let rare = rare(&field.kind, &features.tables[layout.embedded[place].table]);
                    let [unknown, seen, missing] = [(); 3].map(|()| Sums::new());
                    fields.push(Counted::Embedded { place, rare, unknown, seen, missing });
                }
                FieldKind::Numeric(_) => {
                    let [mean, beyond, missing] = [(); 3].map(|()| Sums::new());
                    fields.push(Counted::Number { field: place, mean, beyond, missing });
                }
                FieldKind::Rate(_) => {}
            }
            // Of numbers their own columns tell nothing that the cells do not.
            if !matches!(field.kind, FieldKind::Numeric(_)) {
                fields.extend(Counted::rates(layout, &field.name));
            }
        }
        let scenarios = if schema.scenario.is_some() { layout.scenarios.len() } else { 0 };
        Tally {
            features,
            numbers,
            funnel: schema.funnel(),
            training,
            rows: 0,
            fields,
            labels: schema.tasks.iter().map(|_| [Sums::new(), Sums::new()]).collect(),
            scenarios: (0..scenarios).map(|_| Sums::new()).collect(),
        }
    }

    /// Adds rows, and what these features made of them. Rows need no labels; then
    /// nothing is counted of those.
    ///
    /// # Errors
    /// A cell that is no number in the column of a numeric field.
    pub fn add(&mut self, rows: &Rows, batch: &Batch) -> Result<()> {
        let parts = parts(rows, batch);
        let (features, numbers, training) = (self.features, self.numbers, self.training);
        self.rows += batch.rows as u64;
        for counted in &mut self.fields {
            match counted {
                Counted::Embedded { place, rare, unknown, seen, missing } => {
                    for (row, part) in parts.iter().enumerate() {
                        let ids = batch.ids[*place].row(row);
                        let known = ids.iter().filter(|id| **id != MISSING);
                        let values = known.clone().count();
                        missing.share(*part, values == 0);
                        if let Some(rare) = rare {
                            let unknown_from =
                                |from: u32| known.clone().filter(|id| **id == UNKNOWN || **id >= from).count() as f64;
                            let values = values as f64;
                            unknown.add(*part, unknown_from(if training { *rare } else { u32::MAX }), values);
                            if training {
                                seen.add(*part, unknown_from(u32::MAX), values);
                            }
                        }
                    }
                }
                Counted::Number { field, mean, beyond, missing } => {
                    let field = &features.schema.fields[*field];
                    let (FieldKind::Numeric(transform), Some(range)) = (&field.kind, numbers.get(&field.name)) else {
                        continue;
                    };
                    let found = numbers_of(features, rows, field, transform)?;
                    for (x, part) in found.into_iter().zip(&parts) {
                        missing.share(*part, x.is_none());
                        if let Some(x) = x {
                            let within = x.clamp(range.least, range.greatest);
                            mean.add(*part, (within - range.mean) / range.standard_deviation, 1.0);
                            beyond.share(*part, x != within);
                        }
                    }
                }
                Counted::Rate { start, means, .. } => {
                    let width = features.layout.dense_width().max(1);
                    for (row, part) in batch.dense.chunks_exact(width).zip(&parts) {
                        let columns = &row[*start..*start + means.len()];
                        means.iter_mut().zip(columns).for_each(|(mean, x)| mean.add(*part, f64::from(*x), 1.0));
                    }
                }
            }
        }
        let tasks = self.labels.len();
        for (labels, part) in batch.labels.chunks_exact(tasks).zip(&parts) {
            for (task, [given_parent, from_impression]) in self.labels.iter_mut().enumerate() {
                if let Some(label) = self.funnel.given_parent(labels, task) {
                    given_parent.share(*part, label);
                }
                if let Some(label) = self.funnel.from_impression(labels, task) {
                    from_impression.share(*part, label);
                }
            }
        }
        for (scenario, part) in batch.scenarios.iter().zip(&parts) {
            for (place, share) in self.scenarios.iter_mut().enumerate() {
                share.share(*part, place == *scenario as usize);
            }
        }
        Ok(())
    }

    /// Rows counted.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// These rows against the training rows.
    pub fn drift(&self) -> Drift {
        let profile = self.features.profile.as_ref();
        let labelled = self.labels.iter().flatten().any(|sums| sums.mean().is_some());
        let tasks = self.features.schema.tasks.iter().enumerate();
        let unlabelled = tasks.filter(|(task, _)| labelled && self.lacks_labels(*task));
        Drift::new(
            self.features,
            (self.rows, labelled),
            unlabelled.map(|(_, task)| task.name.clone()).collect(),
            profile.map_or(&[][..], |profile| &profile.measured),
            &self.measured(),
        )
    }

    /// Whether no row says if a task's action happened where it could. That it did not
    /// where its parent did not is known without its labels, and says nothing of it.
    fn lacks_labels(&self, task: usize) -> bool {
        let [given_parent, from_impression] = &self.labels[task];
        let could = self.funnel.parents[task].is_none_or(|parent| self.labels[parent][0].mean() > Some(0.0));
        let direct = self.features.schema.tasks[task].direct && from_impression.mean().is_some();
        could && given_parent.mean().is_none() && !direct
    }

    pub(super) fn measured(&self) -> Vec<Measured> {
        let (schema, layout) = (&self.features.schema, &self.features.layout);
        let mut measured = Vec::new();
        let mut add = |kind: Kind, name: &str, sums: &Sums| measured.extend(sums.measure(Quantity::new(kind, name)));
        for counted in &self.fields {
            match counted {
                Counted::Embedded { place, unknown, missing, .. } => {
                    let name = &layout.embedded[*place].name;
                    add(Kind::Unknown, name, unknown);
                    add(Kind::Missing, name, missing);
                }
                Counted::Number { field, mean, beyond, missing } => {
                    let name = &schema.fields[*field].name;
                    add(Kind::Mean, name, mean);
                    add(Kind::Beyond, name, beyond);
                    add(Kind::Missing, name, missing);
                }
                Counted::Rate { .. } => {}
            }
        }
        for (place, (task, [given_parent, from_impression])) in schema.tasks.iter().zip(&self.labels).enumerate() {
            if self.lacks_labels(place) {
                continue;
            }
            // Of a task without a parent both are the same.
            if task.after.is_some() {
                add(Kind::GivenParent, &task.name, given_parent);
            }
            add(Kind::FromImpression, &task.name, from_impression);
        }
        for (scenario, share) in layout.scenarios.iter().zip(&self.scenarios) {
            add(Kind::Scenario, scenario, share);
        }
        for counted in &self.fields {
            match counted {
                Counted::Rate { name, means, .. } => {
                    for (column, mean) in means.iter().enumerate() {
                        let task = schema.tasks.get(column).map(|task| task.name.clone());
                        let kind = if task.is_some() { Kind::Rate } else { Kind::Count };
                        measured.extend(mean.measure(Quantity { kind, name: name.clone(), task }));
                    }
                }
                Counted::Embedded { place, seen, .. } if self.training => {
                    let of = Quantity::new(Kind::Unknown, &layout.embedded[*place].name);
                    if let Some(measured) = measured.iter_mut().find(|measured| measured.quantity == of) {
                        measured.seen = seen.mean();
                    }
                }
                _ => {}
            }
        }
        measured
    }
}

/// The row of its table from which on a field's values were met as rarely as they
/// may be to be known: without one of their rows they would not be.
fn rare(kind: &FieldKind, lookup: &Lookup) -> Option<u32> {
    let Lookup::Vocabulary(known) = lookup else { return None };
    let least = min_count(kind)?.max(1);
    Some(KNOWN + known.counts.partition_point(|count| *count > least) as u32)
}

/// The part that each row falls into. A group falls into one as a whole: its rows
/// are alike, and say less than as many that are not.
fn parts(rows: &Rows, batch: &Batch) -> Vec<usize> {
    let stream = Stream::new(0, "part");
    let of_file = stream.part(rows.file as u64);
    let part = |row: usize| match batch.groups.get(row) {
        Some(group) if *group != NO_GROUP => stream.below(*group, PARTS as u64),
        _ => of_file.below(rows.place(row), PARTS as u64),
    };
    (0..batch.rows).map(|row| part(row) as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_mean_is_that_of_its_parts() {
        let mut sums = Sums::new();
        // Two parts of three rows each, with means 1 and 3.
        sums.add(0, 3.0, 3.0);
        sums.add(5, 9.0, 3.0);
        let found = sums.measure(Quantity::new(Kind::Mean, "x")).unwrap();
        assert_eq!((found.value, found.parts, found.count), (2.0, 2, 6.0));
        // Residuals of -3 and 3: √(2 · (9 + 9) / 1) / 6.
        assert!((found.error - 1.0).abs() < 1e-12, "{}", found.error);
        let mut alone = Sums::new();
        alone.add(1, 3.0, 3.0);
        assert!(alone.measure(Quantity::new(Kind::Mean, "x")).is_none());
    }
}
