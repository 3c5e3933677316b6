//! From batches of scores to a report.

use indexmap::IndexMap;
use rayon::prelude::*;

use super::calibration::Running;
use super::report::{Figures, Meaning, Meanings, Report, Scenario};
use super::row::{Row, by_score};
use crate::batch::{Batch, NO_GROUP};
use crate::schema::Funnel;

/// Collects scores batch by batch, then reports. Its memory grows with the
/// rows (about 16 bytes each and 18 more per task, and while reporting 64 per
/// thread): an exact AUC needs all of them. The report depends neither on the
/// order of the rows nor on how they were cut into batches.
#[derive(Clone, Debug)]
pub struct Evaluation {
    tasks: Vec<String>,
    funnel: Funnel,
    scenario_names: Vec<String>,
    /// Per row.
    weights: Vec<f32>,
    /// Per row.
    scenarios: Vec<u32>,
    /// Per row, or empty without a group field.
    groups: Vec<u64>,
    /// Per task.
    given_parent: Vec<Sample>,
    /// Per task.
    from_impression: Vec<Sample>,
    /// Per task: given the parent and from the impression, before calibration. Empty
    /// where nothing was said of it.
    uncalibrated: Vec<[Running; 2]>,
}

/// Rows of an evaluation that count for a task: their places among all, and what they are. Those
/// of no group have [`NO_GROUP`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub places: Vec<usize>,
    pub labels: Vec<bool>,
    pub scores: Vec<f64>,
    pub weights: Vec<f64>,
    pub groups: Vec<u64>,
}

/// Labels and scores of one task in one meaning.
#[derive(Clone, Debug, Default)]
struct Sample {
    /// Per row of the evaluation; `None` where the row does not count.
    labels: Vec<Option<bool>>,
    /// One per row that counts.
    scores: Vec<f64>,
}

impl Sample {
    fn push(&mut self, label: Option<bool>, score: f64) {
        self.labels.push(label);
        if label.is_some() {
            self.scores.push(score);
        }
    }
}

impl Evaluation {
    /// Starts without rows. The tasks' relations are the schema's, the
    /// scenarios' names those of the layout.
    pub fn new(tasks: &[String], funnel: &Funnel, scenarios: &[String]) -> Evaluation {
        Evaluation {
            tasks: tasks.to_vec(),
            funnel: funnel.clone(),
            scenario_names: scenarios.to_vec(),
            weights: Vec::new(),
            scenarios: Vec::new(),
            groups: Vec::new(),
            given_parent: vec![Sample::default(); tasks.len()],
            from_impression: vec![Sample::default(); tasks.len()],
            uncalibrated: Vec::new(),
        }
    }

    /// Says of the rows of a batch that were added what was predicted for them before
    /// calibration. Of that the report tells log-loss and PCOC; these sums, unlike all
    /// other figures, are taken in the order of the rows.
    ///
    /// # Panics
    /// As [`Evaluation::add`].
    pub fn add_uncalibrated(&mut self, batch: &Batch, given_parent: &[f64], from_impression: &[f64]) {
        let tasks = self.tasks.len();
        assert_eq!([given_parent.len(), from_impression.len()], [batch.rows * tasks; 2]);
        self.uncalibrated.resize(tasks, Default::default());
        for (row, labels) in batch.labels.chunks_exact(tasks).enumerate() {
            let weight = batch.weights.get(row).map_or(1.0, |weight| f64::from(*weight));
            for (task, [given, joint]) in self.uncalibrated.iter_mut().enumerate().filter(|_| weight != 0.0) {
                let cell = row * tasks + task;
                if let Some(label) = self.funnel.given_parent(labels, task) {
                    given.add(label, given_parent[cell], weight);
                }
                if let Some(label) = self.funnel.from_impression(labels, task) {
                    joint.add(label, from_impression[cell], weight);
                }
            }
        }
    }

    /// Adds a batch and its predictions, `rows × tasks` probabilities each,
    /// row-major. NaN says that the model does not define that probability.
    /// A batch without labels counts as one where all of them are missing.
    ///
    /// # Panics
    /// If a slice is not `rows × tasks` long, or a row's scenario is not one
    /// of those that the evaluation was made for.
    pub fn add(&mut self, batch: &Batch, given_parent: &[f64], from_impression: &[f64]) {
        let tasks = self.tasks.len();
        let lengths = [given_parent.len(), from_impression.len()];
        assert_eq!(lengths, [batch.rows * tasks; 2], "predictions must be rows × tasks");
        let known = |scenario: &u32| (*scenario as usize) < self.scenario_names.len();
        assert!(batch.scenarios.iter().all(known), "a row's scenario must be one of the evaluation's");
        let missing = vec![f32::NAN; tasks];
        for row in 0..batch.rows {
            let cells = row * tasks..(row + 1) * tasks;
            let labels = if batch.labels.is_empty() { &missing[..] } else { &batch.labels[cells.clone()] };
            for (task, cell) in cells.enumerate() {
                self.given_parent[task].push(self.funnel.given_parent(labels, task), given_parent[cell]);
                self.from_impression[task].push(self.funnel.from_impression(labels, task), from_impression[cell]);
            }
        }
        self.scenarios.extend_from_slice(&batch.scenarios);
        self.groups.extend_from_slice(&batch.groups);
        if batch.weights.is_empty() {
            self.weights.resize(self.weights.len() + batch.rows, 1.0);
        } else {
            self.weights.extend_from_slice(&batch.weights);
        }
    }

    /// The figures of all rows so far: overall and, where there are at least
    /// two scenarios, per scenario.
    pub fn report(&self) -> Report {
        let samples: Vec<&Sample> = self.given_parent.iter().chain(&self.from_impression).collect();
        // Per sample: overall, then each scenario.
        let figures: Vec<Vec<Figures>> = samples.into_par_iter().map(|sample| self.figures(sample)).collect();
        let (given_parent, from_impression) = figures.split_at(self.tasks.len());
        let tasks = |part: usize| -> IndexMap<String, Meanings> {
            let meanings = given_parent.iter().zip(from_impression).map(|(given_parent, from_impression)| Meanings {
                given_parent: given_parent[part],
                from_impression: from_impression[part],
            });
            self.tasks.iter().cloned().zip(meanings).collect()
        };
        let mut overall = tasks(0);
        for (meanings, [given_parent, from_impression]) in overall.values_mut().zip(&self.uncalibrated) {
            meanings.given_parent.uncalibrated = given_parent.level();
            meanings.from_impression.uncalibrated = from_impression.level();
        }
        let mut rows = vec![0; self.scenario_names.len()];
        for scenario in &self.scenarios {
            rows[*scenario as usize] += 1;
        }
        let scenarios = self.reported_scenarios().iter().zip(rows).enumerate();
        Report {
            rows: self.weights.len() as u64,
            tasks: overall,
            scenarios: scenarios
                .map(|(index, (name, rows))| (name.clone(), Scenario { rows, tasks: tasks(index + 1) }))
                .collect(),
        }
    }

    /// A single scenario would only repeat the whole.
    fn reported_scenarios(&self) -> &[String] {
        if self.scenario_names.len() > 1 { &self.scenario_names } else { &[] }
    }

    /// Figures overall, then of each reported scenario. The rows are sorted
    /// by score once; stable sorts then split them without losing that order.
    fn figures(&self, sample: &Sample) -> Vec<Figures> {
        let grouped = !self.groups.is_empty();
        let mut rows: Vec<Row> = self.rows(sample).map(|(_, row)| row).collect();
        rows.sort_unstable_by(by_score);
        let mut parts = if self.reported_scenarios().is_empty() { Vec::new() } else { rows.clone() };
        let mut figures = vec![Figures::of(&mut rows, grouped)];
        parts.sort_by_key(|row| row.scenario);
        let mut rest = &mut parts[..];
        for scenario in 0..self.reported_scenarios().len() {
            let end = rest.partition_point(|row| row.scenario as usize <= scenario);
            let (part, after) = rest.split_at_mut(end);
            figures.push(Figures { reliability: None, ..Figures::of(part, grouped) });
            rest = after;
        }
        figures
    }

    /// The tasks.
    pub(crate) fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// The rows of a task that count in a meaning.
    pub(crate) fn counted(&self, task: usize, meaning: Meaning) -> Counted {
        let samples = match meaning {
            Meaning::GivenParent => &self.given_parent,
            Meaning::FromImpression => &self.from_impression,
        };
        let mut counted = Counted::default();
        for (place, Row { score, weight, group, label, .. }) in self.rows(&samples[task]) {
            counted.places.push(place);
            counted.labels.push(label);
            counted.scores.push(score);
            counted.weights.push(weight);
            counted.groups.push(group);
        }
        counted
    }

    /// The rows that count, with their places: those with a label and a weight other than 0.
    fn rows(&self, sample: &Sample) -> impl Iterator<Item = (usize, Row)> {
        let labelled = sample.labels.iter().enumerate().filter_map(|(index, label)| Some((index, (*label)?)));
        labelled.zip(&sample.scores).filter_map(|((index, label), score)| {
            let weight = f64::from(self.weights[index]);
            let group = self.groups.get(index).copied().unwrap_or(NO_GROUP);
            let row = Row { score: *score, weight, group, scenario: self.scenarios[index], label };
            (weight != 0.0).then_some((index, row))
        })
    }
}
