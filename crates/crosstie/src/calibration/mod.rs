//! Calibration: after training, what a network says is mapped to probabilities
//! that happen as often as they say, by labelled rows that it has not learned from.
//! Not to be confused with the model of that name, `model/calibration.rs`.
//!
//! Each [map](crate::objective::Map) has two numbers, fitted by maximum likelihood
//! (`fit.rs`), and is drawn back to the identity by as much as chance would have
//! gained; so a task with few positives keeps what its network says unless that is
//! plainly wrong. Scenarios have maps of their own as far as they differ by more
//! than chance (`scenario.rs`). Maps are fitted in the order of the funnel. A
//! conversion's speaks of the rows where its parent's action happened and, through
//! the product with what the parent's map has made of the parent, of all rows: both
//! likelihoods are added. Weights say how much a row counts, not how many were seen: by
//! how much chance moves a map follows from the rows that there are.

mod evidence;
mod fit;
mod scenario;
#[cfg(test)]
mod tests;
mod written;

use std::ops::Range;

use indexmap::IndexMap;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use evidence::Evidence;
pub use fit::FEWEST;
pub(crate) use fit::Least;

use crate::metric::{Meanings, Report};
use crate::objective::{Condition, Map, Maps, Objective};
use fit::Row;

/// The `[calibration]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationConfig {
    /// Whether the probabilities of the finished model are calibrated by the
    /// validation files. Early stopping looks at what the network says by itself.
    pub enabled: bool,
}

impl Default for CalibrationConfig {
    fn default() -> CalibrationConfig {
        CalibrationConfig { enabled: true }
    }
}

/// The maps of all tasks, and how right they were where they were fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// By task: where a scenario has no map of its own.
    common: Vec<Maps>,
    /// By scenario, then by task.
    maps: Vec<Vec<Maps>>,
    /// By task.
    validation: IndexMap<String, Validation>,
}

/// A task's PCOC on the rows that its maps were fitted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Given the parent action.
    pub given_parent: Option<f64>,
    /// From the impression.
    pub from_impression: Option<f64>,
}

impl Calibration {
    /// Leaves everything as it is, in so many scenarios.
    pub fn identity(objective: &Objective, scenarios: usize) -> Calibration {
        let common = vec![Maps::IDENTITY; objective.names().len()];
        let validation = objective.names().iter().map(|name| (name.clone(), Validation::default())).collect();
        Calibration { maps: vec![common.clone(); scenarios], common, validation }
    }

    /// Fits all maps to labelled rows. `scenarios` is their number. Also gives one
    /// sentence for each map that there were too few rows for. Sums have a fixed
    /// order, so the maps depend on no number of threads.
    pub fn fit(objective: &Objective, scenarios: usize, evidence: &[Evidence]) -> (Calibration, Vec<String>) {
        let mut calibration = Calibration::identity(objective, scenarios);
        let mut notes = Vec::new();
        for (task, condition) in objective.mapped() {
            let mut rows = calibration.rows(objective, (task, condition), evidence);
            let ends: Vec<usize> =
                (0..scenarios).map(|scenario| rows.partition_point(|row| row.scenario as usize <= scenario)).collect();
            let fitted = match fit::fit(&rows) {
                Ok(fitted) => fitted,
                Err(few) => {
                    notes.push(format!("{}: {few}", subject(objective, task, condition)));
                    continue;
                }
            };
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let ranges: Vec<Range<usize>> = starts.zip(&ends).map(|(start, end)| start..*end).collect();
            for range in &ranges {
                let rows = &mut rows[range.clone()];
                let counted = fit::counted(rows, fitted);
                rows.iter_mut().for_each(|row| row.weight /= counted);
            }
            let parts: Vec<&[Row]> = ranges.into_iter().map(|range| &rows[range]).collect();
            let own = scenario::fit(&parts, fitted);
            calibration.set(task, condition, fitted.map(), own);
        }
        (calibration, notes)
    }

    /// How little log-loss maps, one for all scenarios, could leave of some logits: per task,
    /// summed over the rows that its own probabilities are about, whose weights are 1 in the
    /// mean. So logits can be compared by how they order rows, whatever their scale.
    pub(crate) fn least_losses(objective: &Objective, scenarios: usize, evidence: &[Evidence]) -> Vec<Least> {
        let identity = Calibration::identity(objective, scenarios);
        let mut losses = vec![Least::default(); objective.names().len()];
        for (task, condition) in objective.mapped() {
            let mut rows = identity.rows(objective, (task, condition), evidence);
            rows.retain(|row| row.told.own.is_some());
            rows.iter_mut().for_each(|row| row.told.whole = None);
            let (Least { loss, weight, rows }, sum) = (fit::least(&rows), &mut losses[task]);
            *sum = Least { loss: sum.loss + loss, weight: sum.weight + weight, rows: sum.rows + rows };
        }
        losses
    }

    /// What the rows tell of a map, scenario by scenario; their weights are 1 in the mean.
    fn rows(&self, objective: &Objective, map: (usize, Condition), evidence: &[Evidence]) -> Vec<Row> {
        let told = evidence.par_iter().map(|evidence| {
            evidence.rows().filter_map(|row| {
                let told = objective.tell(map, row.logits, row.labels, self.maps(row.scenario));
                let counts = row.weight > 0.0 && told.logit.is_finite() && (told.own.is_some() || told.whole.is_some());
                counts.then_some(Row { told, weight: row.weight, scenario: row.scenario })
            })
        });
        let mut rows: Vec<Row> = told.flat_map_iter(|rows| rows).collect();
        rows.sort_by_key(|row| row.scenario);
        let mean = fit::mean_weight(&rows);
        rows.iter_mut().for_each(|row| row.weight /= mean);
        rows
    }

    fn set(&mut self, task: usize, condition: Condition, common: Map, own: Vec<Option<Map>>) {
        let scenarios = self.maps.iter_mut().zip(own).map(|(maps, own)| (&mut maps[task], own.unwrap_or(common)));
        for (maps, map) in scenarios.chain([(&mut self.common[task], common)]) {
            if let Some(place) = maps.get_mut(condition) {
                *place = map;
            }
        }
    }

    /// The tasks' maps in a scenario.
    ///
    /// # Panics
    /// If there is no such scenario.
    pub fn maps(&self, scenario: u32) -> &[Maps] {
        &self.maps[scenario as usize]
    }

    /// The tasks' maps, by scenario.
    pub fn by_scenario(&self) -> &[Vec<Maps>] {
        &self.maps
    }

    /// A task's map, and in how many scenarios it has another one; `None` where it has
    /// none that is so conditioned.
    pub fn map(&self, task: usize, condition: Condition) -> Option<(Map, usize)> {
        let common = self.common[task].get(condition)?;
        Some((common, self.maps.iter().filter(|maps| maps[task].get(condition) != Some(common)).count()))
    }

    /// How many maps scenarios have of their own, beside those of the tasks.
    pub fn own_maps(&self) -> usize {
        self.maps.iter().flat_map(|maps| maps.iter().zip(&self.common)).filter(|(own, common)| own != common).count()
    }

    /// Keeps how right it was on the rows that it was fitted to.
    pub fn validated(mut self, report: &Report) -> Calibration {
        for (name, validation) in &mut self.validation {
            if let Some(Meanings { given_parent, from_impression }) = report.tasks.get(name) {
                *validation = Validation { given_parent: given_parent.pcoc, from_impression: from_impression.pcoc };
            }
        }
        self
    }

    /// What [`Calibration::validated`] kept, by task.
    pub fn validation(&self) -> &IndexMap<String, Validation> {
        &self.validation
    }
}

/// What a map speaks of, in words.
fn subject(objective: &Objective, task: usize, condition: Condition) -> String {
    let name = |task: usize| &objective.names()[task];
    let parent = objective.funnel().parents[task].map(name);
    match (condition, parent) {
        (Condition::GivenParent, Some(parent)) => format!("`{}` after `{parent}`", name(task)),
        (Condition::WithoutParent, Some(parent)) => format!("`{}` without `{parent}`", name(task)),
        (Condition::FromImpression, Some(_)) => format!("`{}` from the impression", name(task)),
        _ => format!("`{}`", name(task)),
    }
}
