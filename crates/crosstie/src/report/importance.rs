//! How much fields matter: what it costs to take one away from a trained model by handing
//! its values around among rows (Breiman, "Random Forests", 2001; Fisher, Rudin and
//! Dominici, JMLR 2019).
//!
//! Fields that tell the same share their importance, or hide it: what one no longer says,
//! the other still does.

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::compute::Workspace;
use crate::learned::Scores;
use crate::metric::Meaning;
use crate::random::Stream;
use crate::scorer::Scorer;

/// How much each field matters to each task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// Per task: what its probabilities mean here.
    pub meanings: Vec<Meaning>,
    /// Per task: rows that count.
    pub rows: Vec<u64>,
    /// Per task: mean log-loss with all fields as they are; `None` without rows.
    pub logloss: Vec<Option<f64>>,
    /// In the order of the schema; the scenario last, where it is no field.
    pub fields: Vec<FieldImportance>,
}

/// How much a field matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldImportance {
    /// The field.
    pub name: String,
    /// Per task; `None` without rows.
    pub tasks: Vec<Option<Effect>>,
}

/// A change of the mean log-loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// By how much it grows, in nats per row.
    pub change: f64,
    /// Standard error of that, by the differences of rows, as if they were independent.
    pub error: f64,
}

/// What is handed around together.
struct Group {
    name: String,
    /// Places in [`Batch::ids`].
    ids: Vec<usize>,
    /// Columns of [`Batch::dense`].
    dense: Vec<usize>,
    scenario: bool,
}

/// The rows that importance is measured on.
pub struct Rows {
    /// Drawn from all.
    pub impressions: Batch,
    /// Drawn from those where the action of some task's parent happened.
    pub parents: Batch,
}

impl Importance {
    /// Of rows that the scorer's features encoded.
    pub(super) fn of(scorer: &Scorer, workspace: &mut Workspace, rows: &Rows, seed: u64) -> Importance {
        let objective = &scorer.network().objective;
        let funnel = objective.funnel();
        let meaning = |task: usize| match funnel.parents[task] {
            Some(_) if objective.identified(task) => Meaning::GivenParent,
            _ => Meaning::FromImpression,
        };
        let meanings: Vec<Meaning> = (0..funnel.tasks()).map(meaning).collect();
        let passes = scorer.learned().passes();
        let mut measure = |batches: [&Batch; 2]| -> Vec<Vec<(f64, f64)>> {
            let scores = batches.map(|batch| passes.score_calibrated(workspace, batch, scorer.calibration()));
            let of = |task: usize| match meanings[task] {
                Meaning::FromImpression => losses(scorer, batches[0], &scores[0], task, meanings[task]),
                Meaning::GivenParent => losses(scorer, batches[1], &scores[1], task, meanings[task]),
            };
            (0..meanings.len()).map(of).collect()
        };
        let width = scorer.features().layout().dense_width();
        let whole = measure([&rows.impressions, &rows.parents]);
        let fields = groups(scorer).into_iter().enumerate().map(|(index, group)| {
            let stream = Stream::new(seed, "importance").part(index as u64);
            let handed = [&rows.impressions, &rows.parents]
                .map(|batch| group.hand_around(batch, &stream.permutation(batch.rows), width));
            let other = measure([&handed[0], &handed[1]]);
            let tasks = whole.iter().zip(&other).map(|(whole, other)| effect(whole, other)).collect();
            FieldImportance { name: group.name, tasks }
        });
        let fields = fields.collect();
        let mean = |losses: &Vec<(f64, f64)>| {
            let mass: f64 = losses.iter().map(|(_, weight)| weight).sum();
            (mass > 0.0).then(|| losses.iter().map(|(loss, weight)| loss * weight).sum::<f64>() / mass)
        };
        Importance {
            rows: whole.iter().map(|losses| losses.len() as u64).collect(),
            logloss: whole.iter().map(mean).collect(),
            meanings,
            fields,
        }
    }
}

/// Loss and weight of every row that counts for a task.
fn losses(scorer: &Scorer, batch: &Batch, scores: &Scores, task: usize, meaning: Meaning) -> Vec<(f64, f64)> {
    let objective = &scorer.network().objective;
    let (funnel, tasks) = (objective.funnel(), objective.names().len());
    let loss = |row: usize| {
        let labels = &batch.labels[row * tasks..(row + 1) * tasks];
        let (label, p) = match meaning {
            Meaning::GivenParent => (funnel.given_parent(labels, task)?, scores.given_parent[row * tasks + task]),
            Meaning::FromImpression => {
                (funnel.from_impression(labels, task)?, scores.from_impression[row * tasks + task])
            }
        };
        let weight = batch.weights.get(row).map_or(1.0, |weight| f64::from(*weight));
        (weight > 0.0).then(|| (crate::metric::surprise(p, label), weight))
    };
    (0..batch.rows).filter_map(loss).collect()
}

/// The mean difference, each row by its weight.
fn effect(whole: &[(f64, f64)], other: &[(f64, f64)]) -> Option<Effect> {
    let differences = || whole.iter().zip(other).map(|((whole, weight), (other, _))| (other - whole, *weight));
    let mass: f64 = differences().map(|(_, weight)| weight).sum();
    let change = differences().map(|(difference, weight)| difference * weight).sum::<f64>() / mass;
    let squares: f64 = differences().map(|(difference, weight)| (weight * (difference - change)).powi(2)).sum();
    change.is_finite().then(|| Effect { change, error: squares.sqrt() / mass })
}

/// The fields, and the scenario, of which there must be at least two. A field that reads
/// the scenario's column goes with it.
fn groups(scorer: &Scorer) -> Vec<Group> {
    let (schema, layout) = (scorer.features().schema(), scorer.features().layout());
    let starts = layout.dense.iter().scan(0, |end, dense| {
        let start = *end;
        *end += dense.width;
        Some((dense, start..*end))
    });
    let dense: Vec<_> = starts.collect();
    let scenario = schema.scenario.as_ref().filter(|_| layout.scenarios.len() > 1);
    let group = |field: &crate::schema::Field| Group {
        name: field.name.clone(),
        ids: (0..layout.embedded.len()).filter(|place| layout.embedded[*place].name == field.name).collect(),
        dense: dense
            .iter()
            .filter(|(dense, _)| dense.name == field.name)
            .flat_map(|(_, range)| range.clone())
            .collect(),
        scenario: scenario.is_some_and(|column| field.columns() == [column.as_str()]),
    };
    let mut groups: Vec<Group> = schema.fields.iter().map(group).collect();
    if let Some(column) = scenario.filter(|_| !groups.iter().any(|group| group.scenario)) {
        groups.push(Group { name: column.clone(), ids: Vec::new(), dense: Vec::new(), scenario: true });
    }
    groups
}

impl Group {
    /// The rows, of which each has the group's values of another.
    fn hand_around(&self, batch: &Batch, order: &[usize], width: usize) -> Batch {
        let mut handed = batch.clone();
        if batch.rows == 0 {
            return handed;
        }
        for place in &self.ids {
            handed.ids[*place] = batch.ids[*place].select(order);
        }
        for (row, from) in order.iter().enumerate() {
            for column in &self.dense {
                handed.dense[row * width + column] = batch.dense[from * width + column];
            }
        }
        if self.scenario {
            handed.scenarios = order.iter().map(|row| batch.scenarios[*row]).collect();
        }
        handed
    }
}
