//! The optimizer: both rules at work, with all that they remember.

use std::ops::Range;

use rayon::prelude::*;

use super::{Moments, OptimizerConfig, Rule, SeenRows, Step};
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
    /// Per table: whether its rows move part by part ([`Optimizer::keep_apart`]).
    tables_apart: Vec<bool>,
    /// One per part and table, of tables that move so.
    apart: Vec<Vec<RowMoments>>,
    /// Per table: how many times the learning rate its rows learn at.
    row_rates: Vec<f64>,
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

impl RowMoments {
    /// Of a table that has not been moved.
    fn new(rule: &Rule, table: &Table) -> RowMoments {
        let moments = rule.moments(table.weights.len());
        let last = if moments.first.is_empty() { Vec::new() } else { vec![0; table.rows] };
        RowMoments { moments, last }
    }
}

impl Optimizer {
    /// At the start of a training: nothing is remembered.
    pub fn new(config: &OptimizerConfig, learned: &Learned) -> Optimizer {
        let network = learned.network();
        let program = &network.program;
        let mut penalised = vec![false; program.length()];
        for parameter in program.parameters().iter().filter(|parameter| parameter.is_weight()) {
            penalised[parameter.range()].fill(true);
        }
        let tables = learned.tables().all();
        // Every set has the same tables.
        let tables_of_a_set = tables.len() / network.sets.len().max(1);
        Optimizer {
            config: config.clone(),
            dense: config.dense.moments(program.length()),
            rows: tables.iter().map(|table| RowMoments::new(&config.rows, table)).collect(),
            row_rates: network.row_rates.iter().flat_map(|rate| vec![*rate; tables_of_a_set]).collect(),
            tables_apart: Vec::new(),
            apart: Vec::new(),
            penalised,
            steps: 0,
        }
    }

    /// From now on the rows of some tables move by [`Optimizer::step_apart`] alone, by
    /// steps of that many parts, of each of which it remembers as much as of a table.
    pub fn keep_apart(&mut self, tables: &[bool], parts: usize, learned: &Learned) {
        let moments = || {
            let of = |(table, apart): (&Table, &bool)| match apart {
                true => RowMoments::new(&self.config.rows, table),
                false => RowMoments::default(),
            };
            learned.tables().all().iter().zip(tables).map(of).collect()
        };
        self.apart = (0..parts).map(|_| moments()).collect();
        self.tables_apart = tables.to_vec();
        self.rows
            .iter_mut()
            .zip(tables)
            .filter(|(_, apart)| **apart)
            .for_each(|(rows, _)| *rows = RowMoments::default());
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
        let step = Step { number: self.steps, factor: self.config.schedule.factor(batch), scale };
        let (tables, parameters) = learned.numbers_mut();
        for range in reached {
            let (range, moments) = (range.clone(), &mut self.dense);
            self.config.dense.update_range(range, parameters, &gradients.dense, moments, &self.penalised, step);
        }
        let whole = |table: usize| !self.tables_apart.get(table).is_some_and(|apart| *apart);
        let (rule, rates) = (&self.config.rows, &self.row_rates);
        move_rows(rule, tables.all_mut(), &mut self.rows, &gradients.rows, whole, step, rates);
    }

    /// Goes on with a step, in the tables that are [kept apart](Optimizer::keep_apart):
    /// moves the rows seen by the gradients of single parts, each with its number and its
    /// gradients table by table. `batch` and `scale` are the step's.
    pub fn step_apart(&mut self, learned: &mut Learned, parts: &[(usize, &[RowGradients])], batch: u64, scale: f32) {
        let step = Step { number: self.steps, factor: self.config.schedule.factor(batch), scale };
        // A row shrinks once a step, however many parts it has.
        let share = 1.0 / parts.len().max(1) as f32;
        let rule = Rule { l2: self.config.rows.l2 * share, decay: self.config.rows.decay * share, ..self.config.rows };
        let (tables, _) = learned.numbers_mut();
        for (part, gradients) in parts {
            let apart = |table: usize| self.tables_apart[table];
            let moments = &mut self.apart[*part];
            move_rows(&rule, tables.all_mut(), moments, gradients, apart, step, &self.row_rates);
        }
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
        for (part, tables) in self.apart.iter_mut().enumerate() {
            let tables = tables.iter_mut().enumerate().filter(|(table, _)| self.tables_apart[*table]);
            for (table, RowMoments { moments, last }) in tables {
                let name = format!("optimizer.apart.{part}.{table}");
                numbers.push((format!("{name}.first"), Numbers::F32(&mut moments.first)));
                numbers.push((format!("{name}.second"), Numbers::F32(&mut moments.second)));
                numbers.push((format!("{name}.last"), Numbers::U32(last)));
            }
        }
        numbers
    }
}

/// Moves the seen rows of every table that is `chosen`, at its own multiple of the learning
/// rate, in pieces that any thread may take.
fn move_rows(
    rule: &Rule,
    tables: &mut [Table],
    moments: &mut [RowMoments],
    gradients: &[RowGradients],
    chosen: impl Fn(usize) -> bool,
    step: Step,
    rates: &[f64],
) {
    /// Rows that one job moves.
    const PIECE: usize = 2048;
    let mut jobs = Vec::new();
    let of_tables = tables.iter_mut().zip(moments).zip(gradients).enumerate();
    for (index, ((table, RowMoments { moments, last }), gradients)) in of_tables.filter(|(table, _)| chosen(*table)) {
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
            jobs.push((piece, Step { factor: rates[index] * step.factor, ..step }));
            rest = others;
        }
    }
    jobs.into_par_iter().with_max_len(1).for_each(|(seen, step)| rule.update_rows(seen, step));
}

impl Gradients {
    /// The square of their Euclidean norm, dense and rows together.
    pub fn square(&self) -> f64 {
        let square = |values: &[f32]| values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
        square(&self.dense) + self.rows.iter().map(|rows| square(&rows.gradients)).sum::<f64>()
    }
}
