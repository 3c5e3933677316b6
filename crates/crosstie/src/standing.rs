//! Models side by side on the same rows: by how much they differ, and how sure that is.

use indexmap::IndexMap;
use rayon::prelude::*;
use serde::Serialize;

use crate::experiment::statistics::{holm, student_beyond};
use crate::metric::{
    Counted, Evaluation, Influences, Meaning, auc_influences, influence_error, log_loss_influences, normalized_entropy,
    pcoc,
};

#[cfg(test)]
mod tests;

/// Rows with the action, and without it, from which on a difference is held against chance.
pub const ENOUGH: u64 = 20;

/// How a model stands on some labelled rows: its figures, and what each row has to do with them,
/// so that it can be held against another on the same rows. One model may have been trained
/// several times, by different seeds: its figures are then means over these trainings. Its
/// memory grows with the rows, by about 41 bytes for each task.
#[derive(Clone, Debug)]
pub struct Standing {
    tasks: IndexMap<String, Side>,
}

/// One task: the rows that count, and the figures.
#[derive(Clone, Debug)]
struct Side {
    /// The rows' places among all.
    places: Vec<usize>,
    labels: Vec<bool>,
    weights: Vec<f64>,
    groups: Vec<u64>,
    /// Normalised entropy per log-loss.
    ne_per_logloss: Option<f64>,
    auc: Trained,
    logloss: Trained,
    /// One per training.
    pcoc: Vec<Option<f64>>,
}

/// A figure of several trainings.
#[derive(Clone, Debug)]
struct Trained {
    /// One per training.
    figures: Vec<Option<f64>>,
    /// Per row, in the sum over trainings.
    influences: Vec<f64>,
}

/// Rows that are not the same for two models, which can therefore not be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Two trainings are not of one model.
    #[error("they have not the same tasks")]
    Tasks,
    /// Another number of rows counts for the task.
    #[error("{one} rows count for `{task}` with the one, {other} with the other")]
    Rows {
        /// The task.
        task: String,
        /// Rows with the first.
        one: usize,
        /// Rows with the second.
        other: usize,
    },
    /// A row has another label for the task, or another weight.
    #[error("for `{task}` the label or the weight of row {row} is not the same with both")]
    Row {
        /// The task.
        task: String,
        /// Counts from 1.
        row: usize,
    },
}

/// A figure of a model, and how far it is from that of another on the same rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Contrast {
    /// Mean over trainings; `None` where one of them has none.
    pub figure: Option<f64>,
    /// Its standard error: by the labels and, of two trainings and more, by the trainings.
    pub error: Option<f64>,
    /// The figure less that of the first model; `None` of the first itself.
    pub difference: Option<f64>,
    /// Its standard error: by the labels, the rows being the same, and by the trainings of both.
    pub difference_error: Option<f64>,
    /// How likely a difference as large is by chance, among as many as were [tested](test()).
    pub p: Option<f64>,
    /// Degrees of freedom of that error (Satterthwaite, Biometrics Bulletin 1946), which are few
    /// where few trainings make most of it; `None` where no training has a part in it, and rows
    /// are many.
    pub freedom: Option<f64>,
}

impl Contrast {
    /// The same of a figure that is `by` times as large.
    fn scaled(self, by: f64) -> Contrast {
        let times = |value: Option<f64>| value.map(|value| value * by);
        Contrast {
            figure: times(self.figure),
            error: times(self.error),
            difference: times(self.difference),
            difference_error: times(self.difference_error),
            ..self
        }
    }
}

/// The figures of a task beside those of the first model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Contrasts {
    /// Rows that count.
    pub rows: u64,
    /// Those of them where the action happened.
    pub positives: u64,
    /// See [`auc`](crate::metric::auc()).
    pub auc: Contrast,
    /// See [`log_loss`](crate::metric::log_loss).
    pub logloss: Contrast,
    /// See [`normalized_entropy`]: the log-loss over what the mean label would cost, which is
    /// taken as it is.
    pub ne: Contrast,
    /// See [`pcoc`]: mean over trainings.
    pub pcoc: Option<f64>,
}

/// Tells of all models' differences of AUC and normalised entropy how likely as large ones are by
/// chance: of models that are alike any is below a threshold with the probability that this is,
/// however many they are (Holm 1979). Of tasks with fewer than [`ENOUGH`] rows of either class
/// nothing is told.
pub fn test<'a>(models: impl IntoIterator<Item = &'a mut IndexMap<String, Contrasts>>) {
    let tasks = models.into_iter().flat_map(IndexMap::values_mut);
    let enough = tasks.filter(|of| of.positives.min(of.rows - of.positives) >= ENOUGH);
    let differences = enough.flat_map(|contrasts| [&mut contrasts.auc, &mut contrasts.ne]);
    let (mut tested, p): (Vec<&mut Contrast>, Vec<f64>) = differences
        .filter_map(|contrast| {
            let z = contrast.difference? / contrast.difference_error?;
            let p = student_beyond(z, contrast.freedom.unwrap_or(f64::INFINITY));
            // A model has no difference to itself, nor an error of it.
            z.is_finite().then_some((contrast, p))
        })
        .unzip();
    tested.iter_mut().zip(holm(&p)).for_each(|(contrast, p)| contrast.p = Some(p));
}

impl Standing {
    /// How the model stands whose scores were collected, in one meaning.
    pub fn of(evaluation: &Evaluation, meaning: Meaning) -> Standing {
        let side = |(task, name): (usize, &String)| (name.clone(), Side::of(evaluation.counted(task, meaning)));
        let sides: Vec<(String, Side)> = evaluation.tasks().par_iter().enumerate().map(side).collect();
        Standing { tasks: sides.into_iter().collect() }
    }

    /// The tasks.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.tasks.keys().map(String::as_str)
    }

    /// Adds another training of the same model.
    ///
    /// # Errors
    /// A [`Mismatch`] of the tasks or the rows.
    pub fn add_training(&mut self, training: Standing) -> Result<(), Mismatch> {
        if self.tasks().ne(training.tasks()) {
            return Err(Mismatch::Tasks);
        }
        for ((task, side), other) in self.tasks.iter_mut().zip(training.tasks.into_values()) {
            side.matches(&other, task)?;
            side.auc.add(other.auc);
            side.logloss.add(other.logloss);
            side.pcoc.extend(other.pcoc);
        }
        Ok(())
    }

    /// The figures of all tasks.
    pub fn figures(&self) -> IndexMap<String, Contrasts> {
        self.tasks.iter().map(|(task, side)| (task.clone(), side.against(None))).collect()
    }

    /// The figures of the tasks that it has in common with another model, beside that one's.
    ///
    /// # Errors
    /// A [`Mismatch`] of the rows.
    pub fn against(&self, first: &Standing) -> Result<IndexMap<String, Contrasts>, Mismatch> {
        let common = self.tasks.iter().filter_map(|(task, side)| Some((task, side, first.tasks.get(task)?)));
        common
            .map(|(task, side, first)| {
                side.matches(first, task)?;
                Ok((task.clone(), side.against(Some(first))))
            })
            .collect()
    }
}

impl Side {
    fn of(Counted { places, labels, scores, weights, groups }: Counted) -> Side {
        let logloss = log_loss_influences(&labels, &scores, Some(&weights));
        let ne = normalized_entropy(&labels, &scores, Some(&weights));
        Side {
            auc: Trained::of(auc_influences(&labels, &scores, Some(&weights))),
            ne_per_logloss: logloss.as_ref().zip(ne).map(|(logloss, ne)| ne / logloss.figure),
            logloss: Trained::of(logloss),
            pcoc: vec![pcoc(&labels, &scores, Some(&weights))],
            places,
            labels,
            weights,
            groups,
        }
    }

    fn matches(&self, other: &Side, task: &str) -> Result<(), Mismatch> {
        let (one, two) = (self.labels.len(), other.labels.len());
        if one != two {
            return Err(Mismatch::Rows { task: task.into(), one, other: two });
        }
        let same = |row: &usize| {
            let of = |side: &Side| (side.places[*row], side.labels[*row], side.weights[*row]);
            of(self) == of(other)
        };
        match (0..one).find(|row| !same(row)) {
            Some(row) => Err(Mismatch::Row { task: task.into(), row: self.places[row] + 1 }),
            None => Ok(()),
        }
    }

    fn against(&self, first: Option<&Side>) -> Contrasts {
        // Either class has no sum of influences in an AUC, and both together have none in a mean.
        let by_class = |rows: &[f64]| influence_error(rows, Some(&self.labels), Some(&self.groups));
        let together = |rows: &[f64]| influence_error(rows, None, Some(&self.groups));
        let logloss = self.logloss.against(first.map(|first| &first.logloss), together);
        Contrasts {
            rows: self.labels.len() as u64,
            positives: self.labels.iter().filter(|label| **label).count() as u64,
            auc: self.auc.against(first.map(|first| &first.auc), by_class),
            logloss,
            ne: self.ne_per_logloss.map(|per| logloss.scaled(per)).unwrap_or_default(),
            pcoc: mean(&self.pcoc),
        }
    }
}

impl Trained {
    fn of(found: Option<Influences>) -> Trained {
        match found {
            Some(Influences { figure, rows }) => Trained { figures: vec![Some(figure)], influences: rows },
            None => Trained { figures: vec![None], influences: Vec::new() },
        }
    }

    fn add(&mut self, other: Trained) {
        self.figures.extend(other.figures);
        self.influences.iter_mut().zip(other.influences).for_each(|(sum, influence)| *sum += influence);
    }

    /// Per row, in the mean over trainings.
    fn mean_influences(&self) -> impl Iterator<Item = f64> {
        let trainings = self.figures.len() as f64;
        self.influences.iter().map(move |sum| sum / trainings)
    }

    /// The variance of the mean over trainings that these make; 0 of a single one, which tells nothing of it.
    fn variance(&self) -> f64 {
        let Some(mean) = mean(&self.figures).filter(|_| self.figures.len() > 1) else { return 0.0 };
        let squares: f64 = self.figures.iter().flatten().map(|figure| (figure - mean).powi(2)).sum();
        let trainings = self.figures.len() as f64;
        squares / (trainings - 1.0) / trainings
    }

    fn against(&self, first: Option<&Trained>, by_labels: impl Fn(&[f64]) -> Option<f64>) -> Contrast {
        let Some(figure) = mean(&self.figures) else { return Contrast::default() };
        let error = |rows: Vec<f64>, variance: f64| Some((by_labels(&rows)?.powi(2) + variance).sqrt());
        let alone = Contrast {
            figure: Some(figure),
            error: error(self.mean_influences().collect(), self.variance()),
            ..Contrast::default()
        };
        let Some((first, before)) = first.and_then(|first| Some((first, mean(&first.figures)?))) else { return alone };
        let apart = self.mean_influences().zip(first.mean_influences()).map(|(one, other)| one - other);
        let [one, other] = [self, first].map(Trained::variance);
        let difference_error = error(apart.collect(), one + other);
        let uncertain = one.powi(2) / (self.figures.len() as f64 - 1.0).max(1.0)
            + other.powi(2) / (first.figures.len() as f64 - 1.0).max(1.0);
        let freedom = difference_error.map(|error| error.powi(4) / uncertain).filter(|_| uncertain > 0.0);
        Contrast { difference: Some(figure - before), difference_error, freedom, ..alone }
    }
}

/// `None` where one is missing.
fn mean(figures: &[Option<f64>]) -> Option<f64> {
    let sum: Option<f64> = figures.iter().copied().sum();
    sum.map(|sum| sum / figures.len() as f64)
}
