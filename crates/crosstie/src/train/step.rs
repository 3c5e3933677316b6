//! One optimizer step.

use std::ops::Range;

use super::Event;
use crate::balance::{Balance, Gradients, Losses, Setting, Shared, TaskGradients};
use crate::batch::Batch;
use crate::compute::{Mode, Node, NotFinite, Workspace};
use crate::embedding::RowGradients;
use crate::error::{Error, Result};
use crate::model::Network;
use crate::optim::Moments;
use crate::scorer::{Scorer, segments};

/// A model under training.
pub(super) struct Trainer {
    scorer: Scorer,
    workspace: Workspace,
    balance: Box<dyn Balance>,
    gradients: Gradients,
    moments: Moments,
    penalised: Vec<bool>,
    step: u64,
}

/// All that learning has changed.
pub(super) struct State {
    parameters: Vec<f32>,
    tables: Vec<Vec<f32>>,
}

impl Trainer {
    /// # Errors
    /// [`Error::Config`] for a balancing method that does not fit the model.
    pub fn new(mut scorer: Scorer) -> Result<Trainer> {
        let optimizer = scorer.config.optimizer.clone();
        let program = &scorer.network.program;
        let workspace = program.workspace(scorer.config.train.batch_size, true);
        let mut penalised = vec![false; program.length()];
        for parameter in program.parameters().iter().filter(|parameter| parameter.is_weight()) {
            penalised[parameter.range()].fill(true);
        }
        let moments = optimizer.dense.moments(program.length());
        let gradients = Gradients { dense: vec![0.0; program.length()], rows: Vec::new() };
        let balance = balance(&scorer)?;
        scorer.embeddings.prepare(&optimizer.rows);
        Ok(Trainer { scorer, workspace, balance, gradients, moments, penalised, step: 0 })
    }

    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    pub fn into_scorer(self) -> Scorer {
        self.scorer
    }

    pub fn steps(&self) -> u64 {
        self.step
    }

    pub fn started(&self) -> Event {
        let tables = || self.scorer.embeddings.tables();
        Event::Started {
            parameters: self.scorer.network.program.parameters().iter().map(|parameter| parameter.len()).sum(),
            table_rows: tables().map(|(_, rows, ..)| rows).sum(),
            table_weights: tables().map(|(_, rows, width, _)| rows * width).sum(),
        }
    }

    pub fn state(&self) -> State {
        State {
            parameters: self.scorer.parameters.clone(),
            tables: self.scorer.embeddings.tables().map(|(.., weights)| weights.to_vec()).collect(),
        }
    }

    pub fn restore(&mut self, state: State) {
        self.scorer.parameters = state.parameters;
        for ((_, weights), saved) in self.scorer.embeddings.weights_mut().zip(state.tables) {
            *weights = saved;
        }
    }

    /// Learns from one batch.
    pub fn step(&mut self, epoch: u64, batch: &Batch) -> Result<Event> {
        self.step += 1;
        let step = self.step;
        let routed = self.scorer.network.routed;
        let sorted;
        let batch = if routed {
            let mut order: Vec<usize> = (0..batch.rows).collect();
            order.sort_by_key(|row| batch.scenarios[*row]);
            sorted = batch.select(&order);
            &sorted
        } else {
            batch
        };
        let weights = self.balance.weights(epoch);
        let seeds = self.seeds(batch, &weights);
        let losses = self.passes(batch, &seeds)?;
        let Trainer { scorer, workspace, balance, gradients, moments, penalised, .. } = self;
        scorer.network.program.parameter_gradients(workspace, &mut gradients.dense);
        gradients.rows = row_gradients(scorer, workspace, batch);
        let tasks = weights.len();
        let means = losses[..tasks].iter().zip(scorer.network.objective.weights());
        let means: Vec<f64> = means.map(|(sum, weight)| sum * f64::from(*weight) / batch.rows as f64).collect();
        let mode = Mode::Train { seed: scorer.config.train.seed, step };
        let mut alone = Alone { scorer, workspace, batch, mode, current: None };
        let seen = Losses { step, rows: batch.rows, means: &means };
        balance.follow(&seen, gradients, &mut alone);
        let program = &scorer.network.program;
        let optimizer = &scorer.config.optimizer;
        let scale = clip(optimizer.clip, gradients);
        let factor = optimizer.schedule.factor(step);
        let parameters = &mut scorer.parameters;
        optimizer.dense.update(parameters, &gradients.dense, moments, penalised, step, factor, scale);
        program.keep(workspace, parameters);
        scorer.embeddings.update(&optimizer.rows, &gradients.rows, step, factor, scale);
        Ok(Event::Step { epoch, step, rows: batch.rows, losses, weights })
    }

    /// The weight of every loss per row: of the tasks, balanced, then of the
    /// model's terms.
    fn seeds(&self, batch: &Batch, weights: &[f64]) -> Vec<f32> {
        let network = &self.scorer.network;
        let tasks = network.objective.weights().iter().zip(weights).map(|(fixed, weight)| fixed * *weight as f32);
        // An impression is the unit: a task with fewer rows weighs less.
        tasks.chain(network.terms.iter().map(|term| term.weight)).map(|weight| weight / batch.rows as f32).collect()
    }

    /// Forward and backward; the sum over the rows of each loss.
    fn passes(&mut self, batch: &Batch, seeds: &[f32]) -> Result<Vec<f64>> {
        let (scorer, step) = (&self.scorer, self.step);
        let program = &scorer.network.program;
        let segments = segments(program, batch, scorer.network.routed);
        let mode = Mode::Train { seed: scorer.config.train.seed, step };
        let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| scorer.fill(batch, source, rows, into);
        program.train(&mut self.workspace, &scorer.parameters, batch.rows, &segments, seeds, mode, &fill);
        let (losses, broken) = self.workspace.losses(program);
        match broken {
            None => Ok(losses),
            Some(NotFinite { loss, value, first, last }) => {
                let task = program.losses().nth(loss).unwrap_or_default().to_string();
                Err(Error::NotFinite { step, task, value, first, last })
            }
        }
    }
}

/// The method of the configuration.
fn balance(scorer: &Scorer) -> Result<Box<dyn Balance>> {
    let (config, layout, network) = (&scorer.config, scorer.features.layout(), &scorer.network);
    let shared = || {
        let heads = Network::of_heads(config.model.model(), &config.network, layout, network.objective.clone())?;
        Shared::find(&heads, layout.tables.len())
    };
    let (tasks, seed, parameters) = (scorer.tasks().len(), config.train.seed, network.program.parameters());
    config.balance.start(&Setting { tasks, seed, parameters, shared: &shared })
}

/// The gradients of the rows seen, after a backward pass.
fn row_gradients(scorer: &Scorer, workspace: &Workspace, batch: &Batch) -> Vec<RowGradients> {
    let program = &scorer.network.program;
    let chunks = |set: &Node| workspace.source_gradients(program, *set).map(|(_, chunk)| chunk).collect();
    let inputs: Vec<Vec<&[f32]>> = scorer.network.sets.iter().map(chunks).collect();
    scorer.embeddings.gather(batch, &inputs)
}

/// The tasks' own gradients, each by a backward pass over what the last
/// forward pass left.
struct Alone<'a> {
    scorer: &'a Scorer,
    workspace: &'a mut Workspace,
    batch: &'a Batch,
    mode: Mode,
    /// The task whose gradients the workspace holds.
    current: Option<usize>,
}

impl Alone<'_> {
    fn pass(&mut self, task: usize) {
        if self.current == Some(task) {
            return;
        }
        let network = &self.scorer.network;
        let mut seeds = vec![0.0; network.program.losses().len()];
        seeds[task] = network.objective.weights()[task] / self.batch.rows as f32;
        network.program.backward(self.workspace, &self.scorer.parameters, &seeds, self.mode);
        self.current = Some(task);
    }
}

impl TaskGradients for Alone<'_> {
    fn dense(&mut self, task: usize, into: &mut Vec<f32>) {
        self.pass(task);
        let program = &self.scorer.network.program;
        into.resize(program.length(), 0.0);
        program.parameter_gradients(self.workspace, into);
    }

    fn rows(&mut self, task: usize, into: &mut Vec<RowGradients>) {
        self.pass(task);
        *into = row_gradients(self.scorer, self.workspace, self.batch);
    }
}

/// The factor that brings all gradients together to a norm of at most `limit`.
fn clip(limit: f32, gradients: &Gradients) -> f32 {
    if limit == 0.0 {
        return 1.0;
    }
    let square = |values: &[f32]| values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
    let rows = gradients.rows.iter();
    let norm = (square(&gradients.dense) + rows.map(|rows| square(&rows.gradients)).sum::<f64>()).sqrt() as f32;
    if norm > limit { limit / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_scales_dense_and_row_gradients_together() {
        let rows = vec![RowGradients { rows: vec![3], gradients: vec![4.0] }];
        let gradients = Gradients { dense: vec![3.0], rows };
        assert_eq!(clip(0.0, &gradients), 1.0);
        assert_eq!(clip(10.0, &gradients), 1.0);
        assert_eq!(clip(1.0, &gradients), 0.2);
    }
}
