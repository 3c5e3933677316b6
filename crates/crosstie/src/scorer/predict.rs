//! Predictions as columns: what `crosstie predict` writes, whoever asks for them.

use std::sync::Arc;

use super::Scorer;
use crate::arrow::array::{ArrayRef, Float64Array};
use crate::arrow::datatypes::{DataType, Field};
use crate::batch::Batch;
use crate::data::{Rows, Source};
use crate::error::Error;
use crate::feature::Purpose;
use crate::learned::Scores;

/// Rows read, encoded and scored at a time.
const PIECE: usize = 1 << 14;

impl Scorer {
    /// The columns of predictions, two for each task: `p_<task>`, given the parent,
    /// which is null where the objective does not identify it, and `joint_<task>`, from
    /// the impression.
    pub fn prediction_fields(&self) -> Vec<Field> {
        let objective = &self.network().objective;
        let of_task = |(task, name): (usize, &String)| {
            let given = Field::new(format!("p_{name}"), DataType::Float64, !objective.identified(task));
            [given, Field::new(format!("joint_{name}"), DataType::Float64, false)]
        };
        self.tasks().iter().enumerate().flat_map(of_task).collect()
    }

    /// Scores all rows of a source in their order, a piece at a time. `each` is given
    /// the rows, with `columns` beside those that the features read; the same encoded;
    /// and their scores.
    ///
    /// # Errors
    /// A file that cannot be read, a bad cell, a missing column, before anything is
    /// read; and those of `each`.
    pub fn score_each<E: From<Error>>(
        &self,
        source: &Source,
        columns: &[&str],
        each: &mut dyn FnMut(&Rows, &Batch, &Scores) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut read = self.features().columns(Purpose::Scoring);
        read.extend(columns);
        source.require(&read)?;
        let mut workspace = self.workspace(0);
        workspace.reserve(PIECE)?;
        self.each_encoded(source, &read, (Purpose::Scoring, PIECE), |pieces| {
            for piece in pieces {
                let (rows, batch) = piece?;
                each(&rows, &batch, &self.score(&mut workspace, &batch)?)?;
            }
            Ok(())
        })
    }
}

impl Scores {
    /// The columns of [`Scorer::prediction_fields`].
    pub fn columns(&self) -> Vec<ArrayRef> {
        let of_task = |task: usize| -> [ArrayRef; 2] {
            let given = self.given_parent(task).map(|p| (!p.is_nan()).then_some(p));
            [
                Arc::new(given.collect::<Float64Array>()),
                Arc::new(Float64Array::from_iter_values(self.from_impression(task))),
            ]
        };
        (0..self.tasks).flat_map(of_task).collect()
    }
}
