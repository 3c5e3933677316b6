//! One optimizer step.

use std::borrow::Cow;
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

/// A model under training, for those who bring their own batches;
/// [`train`](super::train) is the loop over files.
pub struct Trainer {
    scorer: Scorer,
    workspace: Workspace,
    /// One per task, where tasks are taught apart.
    turns: Vec<Turn>,
    balance: Box<dyn Balance>,
    descent: Descent,
    /// Batches learned from.
    step: u64,
}

/// The network of one task's loss, over the parameters of all.
struct Turn {
    network: Network,
    workspace: Workspace,
    /// The parameters that the loss reaches. All others stay where they are,
    /// whatever the optimizer remembers of them.
    reached: Vec<Range<usize>>,
}

/// The way down: the gradients of a step, and what the optimizer remembers.
struct Descent {
    gradients: Gradients,
    moments: Moments,
    penalised: Vec<bool>,
    /// Steps made. Where tasks take turns a batch has several.
    steps: u64,
}

/// All that learning has changed.
pub(super) struct State {
    parameters: Vec<f32>,
    tables: Vec<Vec<f32>>,
}

impl Trainer {
    /// Starts from a scorer, by its own configuration. Steps run on the calling
    /// thread's pool.
    ///
    /// # Errors
    /// [`Error::Config`] for a balancing method that does not fit the model.
    pub fn new(mut scorer: Scorer) -> Result<Trainer> {
        let program = &scorer.network.program;
        let lottery = scorer.config.model.model().lottery();
        let turns = match lottery {
            Some(lottery) if lottery.alternate || lottery.rounds > 0 => turns(&scorer)?,
            _ => Vec::new(),
        };
        // Where tasks take turns to the end, a step for all of them never comes.
        let rows = if lottery.is_some_and(|lottery| lottery.alternate) { 0 } else { scorer.config.train.batch_size };
        let workspace = program.workspace(rows, true);
        let mut penalised = vec![false; program.length()];
        for parameter in program.parameters().iter().filter(|parameter| parameter.is_weight()) {
            penalised[parameter.range()].fill(true);
        }
        let optimizer = &scorer.config.optimizer;
        let moments = optimizer.dense.moments(program.length());
        let gradients = Gradients { dense: vec![0.0; program.length()], rows: Vec::new() };
        let descent = Descent { gradients, moments, penalised, steps: 0 };
        let balance = balance(&scorer)?;
        scorer.embeddings.prepare(&optimizer.rows);
        Ok(Trainer { scorer, workspace, turns, balance, descent, step: 0 })
    }

    /// The model as it is now.
    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// Ends the training.
    pub fn into_scorer(self) -> Scorer {
        self.scorer
    }

    /// Batches learned from.
    pub fn steps(&self) -> u64 {
        self.step
    }

    pub(super) fn started(&self) -> Event {
        let tables = || self.scorer.embeddings.tables();
        let learned = self.scorer.network.program.parameters().iter().filter(|parameter| parameter.learned);
        Event::Started {
            parameters: learned.map(|parameter| parameter.len()).sum(),
            table_rows: tables().map(|(_, rows, ..)| rows).sum(),
            table_weights: tables().map(|(_, rows, width, _)| rows * width).sum(),
        }
    }

    pub(super) fn state(&self) -> State {
        State {
            parameters: self.scorer.parameters.to_vec(),
            tables: self.scorer.embeddings.tables().map(|(.., weights)| weights.to_vec()).collect(),
        }
    }

    pub(super) fn restore(&mut self, state: State) {
        self.scorer.parameters.copy_from_slice(&state.parameters);
        for ((_, weights), saved) in self.scorer.embeddings.weights_mut().zip(state.tables) {
            *weights = saved;
        }
    }

    /// Back to the start: parameters, masks, tables, what the optimizer
    /// remembers, the count of steps. The seed addresses the start, so nobody
    /// need have kept it.
    pub(super) fn rewind(&mut self) {
        self.scorer.rewind();
        let optimizer = &self.scorer.config.optimizer;
        self.descent.moments = optimizer.dense.moments(self.scorer.parameters.len());
        self.scorer.embeddings.prepare(&optimizer.rows);
        (self.step, self.descent.steps) = (0, 0);
    }

    /// From now on one step is for all tasks.
    pub(super) fn end_turns(&mut self) {
        self.turns.clear();
    }

    /// The weights that have masks, layer after layer.
    pub(super) fn masked_weights(&self) -> Vec<f32> {
        let Scorer { network, parameters, .. } = &self.scorer;
        let ranges = network.masks.iter().map(|masks| network.program.parameter(masks.weight).range());
        ranges.flat_map(|range| &parameters[range]).copied().collect()
    }

    /// Sets a task's mask, in the order of [`Trainer::masked_weights`].
    pub(super) fn set_mask(&mut self, task: usize, kept: &[bool]) {
        let Scorer { network, parameters, .. } = &mut self.scorer;
        let mut kept = kept.iter();
        for masks in &network.masks {
            let mask = &mut parameters[network.program.parameter(masks.of_task[task]).range()];
            mask.iter_mut().zip(&mut kept).for_each(|(mask, kept)| *mask = f32::from(u8::from(*kept)));
        }
    }

    /// Scores by the network of one task's loss: of other tasks it knows nothing.
    pub(super) fn score_alone<R>(&mut self, task: usize, score: impl FnOnce(&Scorer) -> R) -> R {
        std::mem::swap(&mut self.scorer.network, &mut self.turns[task].network);
        let found = score(&self.scorer);
        std::mem::swap(&mut self.scorer.network, &mut self.turns[task].network);
        found
    }

    /// Learns from one batch: all tasks at once, or each in its turn. `epoch`
    /// counts from 1, for methods of balancing that look at it.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    ///
    /// # Panics
    /// If the batch has more rows than the configuration's `train.batch_size`.
    pub fn step(&mut self, epoch: u64, batch: &Batch) -> Result<Event> {
        self.step += 1;
        let batch = &*self.arranged(batch);
        let (losses, weights) = if self.turns.is_empty() {
            self.learn_together(epoch, batch)?
        } else {
            let tasks = self.turns.len();
            let losses = (0..tasks).map(|task| self.learn_alone(task, batch)).collect::<Result<_>>()?;
            (losses, vec![1.0; tasks])
        };
        Ok(Event::Step { epoch, step: self.step, rows: batch.rows, losses, weights })
    }

    /// Learns one task from one batch.
    pub(super) fn step_alone(&mut self, task: usize, batch: &Batch) -> Result<()> {
        self.step += 1;
        let batch = &*self.arranged(batch);
        self.learn_alone(task, batch).map(|_| ())
    }

    /// The batch, its rows sorted by scenario where the network wants that.
    fn arranged<'b>(&self, batch: &'b Batch) -> Cow<'b, Batch> {
        if !self.scorer.network.routed {
            return Cow::Borrowed(batch);
        }
        let mut order: Vec<usize> = (0..batch.rows).collect();
        order.sort_by_key(|row| batch.scenarios[*row]);
        Cow::Owned(batch.select(&order))
    }

    /// One step on all losses: these, summed over the rows, and the weights that
    /// balancing gave the tasks.
    fn learn_together(&mut self, epoch: u64, batch: &Batch) -> Result<(Vec<f64>, Vec<f64>)> {
        let weights = self.balance.weights(epoch);
        let seeds = self.seeds(batch, &weights);
        let step = self.step;
        let Trainer { scorer, workspace, balance, descent, .. } = self;
        descent.steps += 1;
        let mode = Mode::Train { seed: scorer.config.train.seed, step: descent.steps };
        let losses = passes(scorer, &scorer.network, workspace, batch, &seeds, (mode, step))?;
        scorer.network.program.parameter_gradients(workspace, &scorer.parameters, &mut descent.gradients.dense);
        row_gradients(scorer, &scorer.network, workspace, batch, &mut descent.gradients.rows);
        let tasks = weights.len();
        let means = losses[..tasks].iter().zip(scorer.network.objective.weights());
        let means: Vec<f64> = means.map(|(sum, weight)| sum * f64::from(*weight) / batch.rows as f64).collect();
        let mut alone = Alone { scorer, workspace, batch, mode, current: None };
        let seen = Losses { step, rows: batch.rows, means: &means };
        balance.follow(&seen, &mut descent.gradients, &mut alone);
        let all = 0..scorer.parameters.len();
        descent.move_down(scorer, std::slice::from_ref(&all), step);
        scorer.network.program.keep(workspace, &mut scorer.parameters);
        scorer.network.program.prepare(&mut scorer.parameters, true);
        Ok((losses, weights))
    }

    /// One step on one task's loss: this, summed over the rows.
    fn learn_alone(&mut self, task: usize, batch: &Batch) -> Result<f64> {
        let step = self.step;
        let Trainer { scorer, turns, descent, .. } = self;
        let Turn { network, workspace, reached } = &mut turns[task];
        let mut seeds = vec![0.0; network.program.losses().len()];
        seeds[task] = network.objective.weights()[task] / batch.rows as f32;
        descent.steps += 1;
        let mode = Mode::Train { seed: scorer.config.train.seed, step: descent.steps };
        let losses = passes(scorer, network, workspace, batch, &seeds, (mode, step))?;
        network.program.parameter_gradients(workspace, &scorer.parameters, &mut descent.gradients.dense);
        row_gradients(scorer, network, workspace, batch, &mut descent.gradients.rows);
        descent.move_down(scorer, reached, step);
        network.program.keep(workspace, &mut scorer.parameters);
        Ok(losses[task])
    }

    /// The weight of every loss per row: of the tasks, balanced, then of the
    /// model's terms.
    fn seeds(&self, batch: &Batch, weights: &[f64]) -> Vec<f32> {
        let network = &self.scorer.network;
        let tasks = network.objective.weights().iter().zip(weights).map(|(fixed, weight)| fixed * *weight as f32);
        // An impression is the unit: a task with fewer rows weighs less.
        tasks.chain(network.terms.iter().map(|term| term.weight)).map(|weight| weight / batch.rows as f32).collect()
    }
}

impl Descent {
    /// Moves the parameters of some ranges, and the rows seen.
    fn move_down(&mut self, scorer: &mut Scorer, reached: &[Range<usize>], step: u64) {
        let Descent { gradients, moments, penalised, steps } = self;
        let optimizer = &scorer.config.optimizer;
        let scale = clip(optimizer.clip, gradients);
        let factor = optimizer.schedule.factor(step);
        let parameters = &mut scorer.parameters;
        for range in reached {
            let range = range.clone();
            optimizer.dense.update_range(
                range,
                parameters,
                &gradients.dense,
                moments,
                penalised,
                *steps,
                factor,
                scale,
            );
        }
        scorer.embeddings.update(&optimizer.rows, &gradients.rows, *steps, factor, scale);
    }
}

/// The networks of every task's loss.
fn turns(scorer: &Scorer) -> Result<Vec<Turn>> {
    let (config, layout, whole) = (&scorer.config, scorer.features.layout(), &scorer.network);
    let turn = |task| {
        let network = Network::of_task(config.model.model(), &config.network, layout, whole.objective.clone(), task)?;
        assert_eq!(network.program.parameters(), whole.program.parameters(), "one vector serves all networks");
        let workspace = network.program.workspace(config.train.batch_size, true);
        Ok(Turn { reached: network.program.reached(), network, workspace })
    };
    (0..whole.objective.names().len()).map(turn).collect()
}

/// Forward and backward; the sum over the rows of each loss. `step` is for the
/// message if one is not finite.
fn passes(
    scorer: &Scorer,
    network: &Network,
    workspace: &mut Workspace,
    batch: &Batch,
    seeds: &[f32],
    (mode, step): (Mode, u64),
) -> Result<Vec<f64>> {
    let program = &network.program;
    let segments = segments(program, batch, network.routed);
    let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| scorer.fill(batch, source, rows, into);
    program.train(workspace, &scorer.parameters, batch.rows, &segments, seeds, mode, &fill);
    let (losses, broken) = workspace.losses(program);
    match broken {
        None => Ok(losses),
        Some(NotFinite { loss, value, first, last }) => {
            let task = program.losses().nth(loss).unwrap_or_default().to_string();
            Err(Error::NotFinite { step, task, value, first, last })
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
fn row_gradients(
    scorer: &Scorer,
    network: &Network,
    workspace: &Workspace,
    batch: &Batch,
    into: &mut Vec<RowGradients>,
) {
    let program = &network.program;
    let chunks = |set: &Node| workspace.source_gradients(program, *set).map(|(_, chunk)| chunk).collect();
    let inputs: Vec<Vec<&[f32]>> = network.sets.iter().map(chunks).collect();
    scorer.embeddings.gather(batch, &inputs, into);
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
        program.parameter_gradients(self.workspace, &self.scorer.parameters, into);
    }

    fn rows(&mut self, task: usize, into: &mut Vec<RowGradients>) {
        self.pass(task);
        row_gradients(self.scorer, &self.scorer.network, self.workspace, self.batch, into);
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
        let rows = vec![RowGradients::new(vec![3], vec![4.0])];
        let gradients = Gradients { dense: vec![3.0], rows };
        assert_eq!(clip(0.0, &gradients), 1.0);
        assert_eq!(clip(10.0, &gradients), 1.0);
        assert_eq!(clip(1.0, &gradients), 0.2);
    }
}
