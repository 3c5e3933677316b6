//! The optimizer: both rules at work, with all that they remember.

use std::ops::Range;

use rayon::prelude::*;

use super::{Moments, OptimizerConfig, SeenRows};
use crate::embedding::{RowGradients, Table};
use crate::learned::{Gradients, Learned};
use crate::tensors::Numbers;

/// Moves what a model has learned down its gradients.
#[derive(Clone, Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    dense: Moments,
    /// One per table.
    rows: Vec<RowMoments>,
    /// Per dense element: whether L2 and decay shrink it.
    penalised: Vec<bool>,
    /// Steps made. Where tasks take turns a batch has several.
    steps: u64,
}

/// What the rule for rows remembers of a table.
#[derive(Clone, Debug, Default)]
struct RowMoments {
    moments: Moments,
    /// The step in which each row was last moved; kept for rules with moments that decay.
    last: Vec<u32>,
}

impl Optimizer {
    /// At the start of a training: nothing is remembered.
    pub fn new(config: &OptimizerConfig, learned: &Learned) -> Optimizer {
        let program = &learned.network().program;
        let mut penalised = vec![false; program.length()];
        for parameter in program.parameters().iter().filter(|parameter| parameter.is_weight()) {
            penalised[parameter.range()].fill(true);
        }
        let of_table = |table: &Table| {
            let moments = config.rows.moments(table.weights.len());
            let last = if moments.first.is_empty() { Vec::new() } else { vec![0; table.rows] };
            RowMoments { moments, last }
        };
        Optimizer {
            config: config.clone(),
            dense: config.dense.moments(program.length()),
            rows: learned.tables().all().iter().map(of_table).collect(),
            penalised,
            steps: 0,
        }
    }

    /// Steps made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Sets the count of steps to that of a stored optimizer.
    pub(crate) fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// Its settings.
    pub fn config(&self) -> &OptimizerConfig {
        &self.config
    }

    /// One step: moves the dense parameters of the ranges `reached`, and the rows seen.
    /// `batch` counts batches from 1, for the schedule; `scale` multiplies every
    /// gradient.
    pub fn step(
        &mut self,
        learned: &mut Learned,
        gradients: &Gradients,
        reached: &[Range<usize>],
        batch: u64,
        scale: f32,
    ) {
        self.steps += 1;
        let (step, factor) = (self.steps, self.config.schedule.factor(batch));
        let (tables, parameters) = learned.numbers_mut();
        for range in reached {
            self.config.dense.update_range(
                range.clone(),
                parameters,
                &gradients.dense,
                &mut self.dense,
                &self.penalised,
                step,
                factor,
                scale,
            );
        }
        self.move_rows(tables.all_mut(), &gradients.rows, factor, scale);
    }

    /// Moves the seen rows of every table, in pieces that any thread may take.
    fn move_rows(&mut self, tables: &mut [Table], gradients: &[RowGradients], factor: f64, scale: f32) {
        /// Rows that one job moves.
        const PIECE: usize = 2048;
        let mut jobs = Vec::new();
        for ((table, RowMoments { moments, last }), gradients) in tables.iter_mut().zip(&mut self.rows).zip(gradients) {
            let mut rest = SeenRows {
                width: table.width,
                start: 0,
                weights: &mut table.weights,
                first: &mut moments.first,
                second: &mut moments.second,
                last,
                rows: &gradients.rows,
                gradients: &gradients.gradients,
            };
            while !rest.rows.is_empty() {
                let (piece, others) = rest.split(PIECE);
                jobs.push(piece);
                rest = others;
            }
        }
        let (rule, step) = (&self.config.rows, self.steps);
        jobs.into_par_iter().with_max_len(1).for_each(|seen| rule.update_rows(seen, step, factor, scale));
    }

    /// All that it remembers, by name, to be stored or restored; the tables go
    /// by their place.
    pub(crate) fn numbers(&mut self) -> Vec<(String, Numbers<'_>)> {
        let mut numbers = vec![
            ("optimizer.dense.first".into(), Numbers::F32(&mut self.dense.first)),
            ("optimizer.dense.second".into(), Numbers::F32(&mut self.dense.second)),
        ];
        for (table, RowMoments { moments, last }) in self.rows.iter_mut().enumerate() {
            numbers.push((format!("optimizer.rows.{table}.first"), Numbers::F32(&mut moments.first)));
            numbers.push((format!("optimizer.rows.{table}.second"), Numbers::F32(&mut moments.second)));
            numbers.push((format!("optimizer.rows.{table}.last"), Numbers::U32(last)));
        }
        numbers
    }
}

impl Gradients {
    /// The square of their Euclidean norm, dense and rows together.
    pub fn square(&self) -> f64 {
        let square = |values: &[f32]| values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
        square(&self.dense) + self.rows.iter().map(|rows| square(&rows.gradients)).sum::<f64>()
    }
}
