//! One optimizer step.

use std::ops::Range;

use super::Event;
use crate::batch::Batch;
use crate::compute::{Mode, NotFinite, Workspace};
use crate::embedding::RowGradients;
use crate::error::{Error, Result};
use crate::optim::Moments;
use crate::scorer::{Scorer, segments};

/// A model under training.
pub(super) struct Trainer {
    scorer: Scorer,
    workspace: Workspace,
    gradients: Vec<f32>,
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
    pub fn new(mut scorer: Scorer) -> Trainer {
        let optimizer = scorer.config.optimizer.clone();
        let program = &scorer.network.program;
        let workspace = program.workspace(scorer.config.train.batch_size, true);
        let mut penalised = vec![false; program.length()];
        for parameter in program.parameters().iter().filter(|parameter| parameter.is_weight()) {
            penalised[parameter.range()].fill(true);
        }
        let moments = optimizer.dense.moments(program.length());
        let gradients = vec![0.0; program.length()];
        scorer.embeddings.prepare(&optimizer.rows);
        Trainer { scorer, workspace, gradients, moments, penalised, step: 0 }
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
        let losses = self.passes(batch, routed)?;
        let scorer = &mut self.scorer;
        let program = &scorer.network.program;
        program.parameter_gradients(&self.workspace, &mut self.gradients);
        let inputs: Vec<Vec<&[f32]>> = scorer
            .network
            .sets
            .iter()
            .map(|set| self.workspace.source_gradients(program, *set).map(|(_, chunk)| chunk).collect())
            .collect();
        let rows = scorer.embeddings.gather(batch, &inputs);
        let optimizer = &scorer.config.optimizer;
        let scale = clip(optimizer.clip, &self.gradients, &rows);
        let factor = optimizer.schedule.factor(step);
        let (parameters, moments) = (&mut scorer.parameters, &mut self.moments);
        optimizer.dense.update(parameters, &self.gradients, moments, &self.penalised, step, factor, scale);
        program.keep(&self.workspace, parameters);
        scorer.embeddings.update(&optimizer.rows, &rows, step, factor, scale);
        Ok(Event::Step { epoch, step, rows: batch.rows, losses })
    }

    /// Forward and backward; the sum over the rows of each task's loss.
    fn passes(&mut self, batch: &Batch, routed: bool) -> Result<Vec<f64>> {
        let (scorer, step) = (&self.scorer, self.step);
        let (program, objective) = (&scorer.network.program, &scorer.network.objective);
        let segments = segments(program, batch, routed);
        // An impression is the unit: a task with fewer rows weighs less.
        let weights = objective.weights().iter().copied().chain(scorer.network.terms.iter().map(|term| term.weight));
        let seeds: Vec<f32> = weights.map(|weight| weight / batch.rows as f32).collect();
        let mode = Mode::Train { seed: scorer.config.train.seed, step };
        let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| scorer.fill(batch, source, rows, into);
        program.train(&mut self.workspace, &scorer.parameters, batch.rows, &segments, &seeds, mode, &fill);
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

/// The factor that brings all gradients together to a norm of at most `limit`.
fn clip(limit: f32, dense: &[f32], rows: &[RowGradients]) -> f32 {
    if limit == 0.0 {
        return 1.0;
    }
    let square = |values: &[f32]| values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
    let norm = (square(dense) + rows.iter().map(|rows| square(&rows.gradients)).sum::<f64>()).sqrt() as f32;
    if norm > limit { limit / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_scales_dense_and_row_gradients_together() {
        let rows = [RowGradients { rows: vec![3], gradients: vec![4.0] }];
        assert_eq!(clip(0.0, &[3.0], &rows), 1.0);
        assert_eq!(clip(10.0, &[3.0], &rows), 1.0);
        assert_eq!(clip(1.0, &[3.0], &rows), 0.2);
    }
}
