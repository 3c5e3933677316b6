//! One reading of labelled rows.

use indexmap::IndexMap;
use rayon::prelude::*;

use super::importance::{Importance, Rows};
use super::lot::{Drawn, Lots};
use super::{Calibrated, Matrix, Seen, Shifted, TaskCurves};
use crate::batch::Batch;
use crate::calibration::Evidence;
use crate::data::Source;
use crate::error::Result;
use crate::feature::Drift;
use crate::learned::{ROWS, Scores};
use crate::metric::{Curves, Report};
use crate::model::diagnostic::Means;
use crate::model::{Diagnosis, Diagnostic};
use crate::schema::Funnel;
use crate::scorer::Scorer;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most rows, drawn by lot, that curves are made of.
    pub drawn: usize,
    /// Most rows, drawn by lot, among which the values of fields are handed around, to see
    /// how much the fields matter; 0 for not at all. As many are drawn once more from the
    /// rows where the action of some task's parent happened.
    pub handed_around: usize,
}

impl Settings {
    /// Nothing but figures.
    pub const FIGURES: Settings = Settings { drawn: 0, handed_around: 0 };

    /// As much as is worth a wait.
    pub const THOROUGH: Settings = Settings { drawn: 400_000, handed_around: 20_000 };
}

impl Default for Settings {
    /// What costs little beside a training.
    fn default() -> Settings {
        Settings { drawn: 100_000, handed_around: 800 }
    }
}

/// What one reading of labelled rows has found.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// All figures; as of [`Scorer::evaluate`].
    pub report: Report,
    /// How the rows differ from the training rows; `None` for an artifact of before these
    /// were described.
    pub drift: Option<Drift>,
    /// Means of what the model shows of its inside; empty for a model that shows nothing.
    /// Every row counts once, whatever its weight.
    pub diagnosis: Diagnosis,
    /// What is drawn of the rows. `files` is how they are called in its sentences.
    pub seen: Seen,
}

/// Reads labelled files once, and finds all that a report shows of them. `files` is how
/// they are called in sentences. The same rows, however cut, in the same order give the
/// same findings.
///
/// # Errors
/// A file that cannot be read, a bad cell, a missing column.
pub fn gather(scorer: &Scorer, source: &Source, files: &str, settings: Settings) -> Result<Gathered> {
    let (network, seed) = (scorer.network(), scorer.spec().seed);
    let (objective, passes) = (&network.objective, scorer.learned().passes());
    let scenarios = &scorer.features().layout().scenarios;
    let mut workspace = match network.diagnostics.is_empty() {
        true => scorer.workspace(ROWS),
        false => network.program.diagnosis(ROWS),
    };
    let mut evaluation = scorer.evaluation();
    let mut inside = Inside::new(&network.diagnostics, scenarios.len());
    let mut sample = Sample::new(objective.funnel(), seed, settings.drawn);
    let [mut impressions, mut parents] = [(); 2].map(|()| Drawn::new(seed, settings.handed_around));
    let mut tally = scorer.features().tally();
    let heads = objective.heads().len();
    scorer.each_labelled(source, tally.as_mut(), |batches| {
        for batch in batches {
            let batch = batch?;
            let mut logits = vec![0.0; batch.rows * heads];
            passes.each_piece(&mut workspace, &batch, |workspace, rows| {
                for (index, found) in passes.logits(workspace).enumerate() {
                    logits[rows[index] * heads..][..heads].copy_from_slice(found);
                }
                for (place, diagnostic) in network.diagnostics.iter().enumerate() {
                    for (index, found) in passes.values(workspace, diagnostic.node).enumerate() {
                        inside.add(place, batch.scenarios[rows[index]], found);
                    }
                }
            });
            let evidence = Evidence::new(logits, &batch);
            let (said, before) = scorer.count(&mut evaluation, &evidence);
            sample.add(&batch, &said, before.as_ref().unwrap_or(&said));
            if settings.handed_around > 0 {
                impressions.add(&batch, |_| true);
                parents.add(&batch, |row| sample.of_parents(&batch, row));
            }
        }
        Ok(())
    })?;
    let importance = (settings.handed_around > 0).then(|| {
        let rows = Rows { impressions: impressions.finish(), parents: parents.finish() };
        Importance::of(scorer, &mut scorer.workspace(ROWS), &rows, seed)
    });
    let (report, drift) = (evaluation.report(), tally.map(|tally| tally.drift()));
    let seen = Seen {
        drawn: sample.rows() as u64,
        rows: report.rows,
        tasks: sample.curves(objective.names(), scorer.calibration().is_some()),
        inside_by_scenario: inside.by_scenario(scenarios, &report),
        importance,
        drift: drift.iter().flat_map(|drift| drift.sentences(files)).collect(),
        shifts: drift.as_ref().map(Shifted::of).unwrap_or_default(),
    };
    Ok(Gathered { report, drift, diagnosis: inside.diagnosis(), seen })
}

/// Means of what a model shows of its inside.
struct Inside<'a> {
    diagnostics: &'a [Diagnostic],
    /// By diagnostic.
    all: Vec<Means>,
    /// By diagnostic, then by scenario.
    parts: Vec<Vec<Means>>,
}

impl<'a> Inside<'a> {
    fn new(diagnostics: &'a [Diagnostic], scenarios: usize) -> Inside<'a> {
        let all: Vec<Means> = diagnostics.iter().map(Means::new).collect();
        let parts = all.iter().map(|means| vec![means.clone(); scenarios]).collect();
        Inside { diagnostics, all, parts }
    }

    fn add(&mut self, diagnostic: usize, scenario: u32, row: &[f32]) {
        self.all[diagnostic].add(row);
        self.parts[diagnostic][scenario as usize].add(row);
    }

    /// Of all rows.
    fn diagnosis(&self) -> Diagnosis {
        named(self.diagnostics, self.all.iter())
    }

    fn by_scenario(&self, scenarios: &[String], report: &Report) -> IndexMap<String, Vec<Matrix>> {
        let has_rows = |name: &str| report.scenarios.get(name).is_some_and(|scenario| scenario.rows > 0);
        let shown = scenarios.iter().enumerate().filter(|(_, name)| has_rows(name) && !self.all.is_empty());
        let matrices = |(scenario, name): (usize, &String)| {
            let diagnosis = named(self.diagnostics, self.parts.iter().map(|parts| &parts[scenario]));
            (name.clone(), Matrix::all(self.diagnostics, &diagnosis))
        };
        shown.map(matrices).collect()
    }
}

/// Means by the names of what they are of.
fn named<'a>(diagnostics: &[Diagnostic], means: impl Iterator<Item = &'a Means>) -> Diagnosis {
    let named = diagnostics.iter().zip(means).map(|(diagnostic, means)| {
        (diagnostic.name(), diagnostic.columns.iter().cloned().zip(means.clone().finish()).collect())
    });
    named.collect()
}

/// Labels and scores of rows drawn by lot.
struct Sample<'a> {
    funnel: &'a Funnel,
    lots: Lots,
    kept: Vec<u64>,
    /// Per kept row: its weight, and of every task the label and the four probabilities.
    numbers: Vec<f32>,
}

/// Probabilities of a row: given the parent and from the impression, then the same before
/// calibration.
const KINDS: usize = 4;

impl<'a> Sample<'a> {
    fn new(funnel: &'a Funnel, seed: u64, most: usize) -> Sample<'a> {
        Sample { funnel, lots: Lots::new(seed, most), kept: Vec::new(), numbers: Vec::new() }
    }

    fn width(&self) -> usize {
        1 + self.funnel.tasks() * (1 + KINDS)
    }

    /// Whether the action of some task's parent happened on a row.
    fn of_parents(&self, batch: &Batch, row: usize) -> bool {
        let tasks = self.funnel.tasks();
        self.funnel.parents.iter().flatten().any(|parent| batch.labels[row * tasks + parent] == 1.0)
    }

    fn add(&mut self, batch: &Batch, said: &Scores, before: &Scores) {
        let tasks = self.funnel.tasks();
        for row in 0..batch.rows {
            let Some(lot) = self.lots.next() else { continue };
            self.kept.push(lot);
            self.numbers.push(batch.weights.get(row).copied().unwrap_or(1.0));
            self.numbers.extend_from_slice(&batch.labels[row * tasks..(row + 1) * tasks]);
            for scores in [&said.given_parent, &said.from_impression, &before.given_parent, &before.from_impression] {
                self.numbers.extend(scores[row * tasks..(row + 1) * tasks].iter().map(|p| *p as f32));
            }
        }
        if self.lots.is_full(self.kept.len()) {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        let (bound, width) = (self.lots.narrow(&mut self.kept.clone()), self.width());
        let rows = self.kept.iter().zip(self.numbers.chunks_exact(width)).filter(|(lot, _)| **lot < bound);
        self.numbers = rows.flat_map(|(_, row)| row).copied().collect();
        self.kept.retain(|lot| *lot < bound);
    }

    fn rows(&mut self) -> usize {
        self.shrink();
        self.kept.len()
    }

    fn curves(&self, names: &[String], calibrated: bool) -> IndexMap<String, TaskCurves> {
        let pair = |task: usize, joint: usize| -> Option<Calibrated> {
            let curves = self.curve(task, joint)?;
            Some(Calibrated { curves, uncalibrated: if calibrated { self.curve(task, 2 + joint) } else { None } })
        };
        let of_task = |task: usize| TaskCurves {
            given_parent: self.funnel.parents[task].and_then(|_| pair(task, 0)),
            from_impression: pair(task, 1),
        };
        let curves: Vec<TaskCurves> = (0..names.len()).into_par_iter().map(of_task).collect();
        names.iter().cloned().zip(curves).collect()
    }

    /// Of one of the probabilities.
    fn curve(&self, task: usize, kind: usize) -> Option<Curves> {
        let tasks = self.funnel.tasks();
        let counted = self.numbers.chunks_exact(self.width()).filter_map(|row| {
            let labels = &row[1..=tasks];
            let label = match kind % 2 {
                0 => self.funnel.given_parent(labels, task),
                _ => self.funnel.from_impression(labels, task),
            };
            let said = row[1 + (1 + kind) * tasks + task];
            label.map(|label| (label, (f64::from(said), f64::from(row[0]))))
        });
        let (labels, rest): (Vec<bool>, Vec<(f64, f64)>) = counted.unzip();
        let (probabilities, weights): (Vec<f64>, Vec<f64>) = rest.into_iter().unzip();
        Curves::of(&labels, &probabilities, Some(&weights))
    }
}
