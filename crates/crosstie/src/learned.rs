//! What is learned: the numbers of a network, in its tables and its dense
//! parameters, and the passes of a network over a batch.

use std::borrow::Borrow;
use std::ops::Range;
use std::sync::Arc;

use crate::batch::{Batch, Layout};
use crate::calibration::{Calibration, Evidence};
use crate::compute::{CHUNK, Mode, Node, NotFinite, Parameters, Threads, Workspace, sum_by_parts, zeros};
use crate::embedding::{RowGradients, Tables};
use crate::error::Result;
use crate::metric::{Evaluation, Report};
use crate::model::{Input, Network};
use crate::objective::{Maps, Objective};

/// Most rows that are scored at a time, so that buffers stay small.
pub const ROWS: usize = 4096;

/// A network with all the numbers that it has learned.
#[derive(Clone, Debug)]
pub struct Learned {
    network: Arc<Network>,
    tables: Tables,
    parameters: Parameters,
}

/// One tensor: its name in the artifact, its shape, its numbers in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// `embedding.<table>`, or the name that the network gave a parameter.
    pub name: &'a str,
    /// Row-major.
    pub shape: Vec<usize>,
    /// As many as the shape says.
    pub values: &'a [f32],
}

/// The gradient of a loss with respect to everything that a model learns.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    /// Of the dense parameters, in the order of the program's flat vector.
    pub dense: Vec<f32>,
    /// Of the rows that the batch has seen, table by table.
    pub rows: Vec<RowGradients>,
}

/// Probabilities of every task, `rows × tasks`, in the order of the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Number of tasks.
    pub tasks: usize,
    /// p(action | parent action); NaN where the losses do not determine it
    /// ([`Objective::identified`](crate::objective::Objective::identified)).
    pub given_parent: Vec<f64>,
    /// p(action and its ancestors | impression); every path, of a direct task.
    pub from_impression: Vec<f64>,
}

impl Scores {
    /// Room for so many rows.
    fn none_of(rows: usize, tasks: usize) -> Scores {
        Scores { tasks, given_parent: vec![0.0; rows * tasks], from_impression: vec![0.0; rows * tasks] }
    }

    /// Sets some rows to what their logits come to, on the threads of a pass, through the maps of
    /// each row if there are any.
    fn set_rows<'m>(
        &mut self,
        threads: Threads,
        objective: &Objective,
        (rows, logits): (&[usize], &[&[f32]]),
        maps: impl Fn(usize) -> Option<&'m [Maps]> + Sync,
    ) {
        let tasks = self.tasks;
        let mut some: Vec<_> =
            rows.chunks(CHUNK).zip(logits.chunks(CHUNK)).map(|some| (some, Scores::default())).collect();
        threads.each(&mut some, |((rows, logits), scores)| {
            *scores = Scores::none_of(rows.len(), tasks);
            for (index, (row, logits)) in rows.iter().zip(*logits).enumerate() {
                scores.set(index, objective, logits, maps(*row));
            }
        });
        for ((rows, _), scores) in &some {
            for (index, row) in rows.iter().enumerate() {
                let (from, into) = (index * tasks..(index + 1) * tasks, row * tasks..(row + 1) * tasks);
                self.given_parent[into.clone()].copy_from_slice(&scores.given_parent[from.clone()]);
                self.from_impression[into].copy_from_slice(&scores.from_impression[from]);
            }
        }
    }

    /// What a row's logits come to, through the tasks' maps if there are any.
    fn set(&mut self, row: usize, objective: &Objective, logits: &[f32], maps: Option<&[Maps]>) {
        let cells = row * self.tasks..(row + 1) * self.tasks;
        let given = &mut self.given_parent[cells.clone()];
        objective.calibrated(logits, maps.unwrap_or_default(), given, &mut self.from_impression[cells]);
        given.iter_mut().enumerate().filter(|(task, _)| !objective.identified(*task)).for_each(|(_, p)| *p = f64::NAN);
    }

    /// What logits come to, through the maps of a calibration, if there is one.
    pub fn of(objective: &Objective, evidence: &Evidence, calibration: Option<&Calibration>) -> Scores {
        let outcome = evidence.outcome();
        let mut scores = Scores::none_of(outcome.rows, objective.names().len());
        for (row, logits) in evidence.logits().enumerate() {
            scores.set(row, objective, logits, calibration.map(|maps| maps.maps(outcome.scenarios[row])));
        }
        scores
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.given_parent.len().checked_div(self.tasks).unwrap_or(0)
    }

    /// One task's p(action | parent action), row by row.
    pub fn given_parent(&self, task: usize) -> impl Iterator<Item = f64> + '_ {
        self.given_parent.iter().skip(task).step_by(self.tasks.max(1)).copied()
    }

    /// One task's p(action and its ancestors | impression), row by row.
    pub fn from_impression(&self, task: usize) -> impl Iterator<Item = f64> + '_ {
        self.from_impression.iter().skip(task).step_by(self.tasks.max(1)).copied()
    }
}

impl Learned {
    /// A network at its start: every number is a function of the seed and of
    /// its own place. `spread` is the standard deviation of the tables' numbers.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if there is no memory for them.
    pub fn new(network: Arc<Network>, layout: &Layout, seed: u64, spread: f32) -> Result<Learned> {
        let tables = Tables::new(layout, network.sets.len(), seed, spread)?;
        let parameters = network.program.initial(seed)?;
        Ok(Learned { network, tables, parameters })
    }

    /// A network with stored numbers: `read` gives those of a tensor's name and
    /// shape. Nothing is drawn, and each number is held once.
    ///
    /// # Errors
    /// Those of `read`; [`Error::Config`](crate::Error::Config) if there is no
    /// memory for them.
    pub fn from_tensors(
        network: Arc<Network>,
        layout: &Layout,
        mut read: impl FnMut(&str, &[usize], &mut [f32]) -> Result<()>,
    ) -> Result<Learned> {
        let mut parameters = zeros("the parameters", &[network.program.length()])?;
        for parameter in network.program.parameters() {
            read(&parameter.name, &parameter.shape, &mut parameters[parameter.range()])?;
        }
        let tables =
            Tables::with(layout, network.sets.len(), |name, rows, width, weights| read(name, &[rows, width], weights))?;
        Ok(Learned { network, tables, parameters: parameters.into() })
    }

    /// All tensors: the dense parameters, then the tables.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.dense_tensors().chain(self.table_tensors())
    }

    /// The dense parameters.
    pub fn dense_tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.network.program.parameters().iter().map(|parameter| Tensor {
            name: &parameter.name,
            shape: parameter.shape.clone(),
            values: &self.parameters[parameter.range()],
        })
    }

    /// The tables.
    pub fn table_tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.tables.all().iter().map(|table| Tensor {
            name: &table.name,
            shape: vec![table.rows, table.width],
            values: &table.weights,
        })
    }

    /// The network.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The embedding tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The dense parameters, in the order of the program's.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The tables and the dense parameters, to be changed.
    pub fn numbers_mut(&mut self) -> (&mut Tables, &mut Parameters) {
        (&mut self.tables, &mut self.parameters)
    }

    /// Lays the weights out for the passes that come, so that none does it for
    /// itself: for scoring, and with `training` for backward passes too. Changes
    /// no result.
    pub fn prepare(&mut self, training: bool) {
        self.network.program.prepare(&mut self.parameters, training);
    }

    /// Updates what operations keep between batches (moving statistics) after a
    /// pass of `network` over a batch in training.
    pub(crate) fn keep(&mut self, network: &Network, workspace: &Workspace) {
        network.program.keep(workspace, &mut self.parameters);
    }

    /// Buffers for scoring some rows at a time, at most [`ROWS`].
    pub fn workspace(&self, rows: usize) -> Workspace {
        self.network.program.workspace(rows.min(ROWS), false)
    }

    /// The passes of its network.
    pub fn passes(&self) -> Passes<'_> {
        self.passes_of(&self.network)
    }

    /// The passes of another network over the same numbers, one that asks
    /// another question of them ([`Network::of_task`]).
    pub fn passes_of<'a>(&'a self, network: &'a Network) -> Passes<'a> {
        Passes { network, tables: &self.tables, parameters: &self.parameters }
    }
}

/// The passes of a network over batches, with what was learned.
#[derive(Clone, Copy, Debug)]
pub struct Passes<'a> {
    network: &'a Network,
    tables: &'a Tables,
    parameters: &'a Parameters,
}

impl<'a> Passes<'a> {
    /// The network.
    pub fn network(&self) -> &'a Network {
        self.network
    }

    /// Computes the logits of a batch: [`Passes::logits`]. With a workspace for
    /// diagnosis, the diagnostics as well.
    ///
    /// # Panics
    /// If the batch does not fit the workspace or the layout, or the network
    /// wants the rows of a batch sorted by scenario and they are not.
    pub fn forward(&self, workspace: &mut Workspace, batch: &Batch) {
        let (program, segments) = (&self.network.program, self.segments(batch));
        let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| self.fill(batch, source, rows, into);
        program.score(workspace, self.parameters, batch.rows, &segments, &fill);
    }

    /// What [`Passes::forward`] left: one row of logits, head by head, per row.
    pub fn logits<'w>(&self, workspace: &'w Workspace) -> impl Iterator<Item = &'w [f32]>
    where
        'a: 'w,
    {
        self.values(workspace, self.network.logits)
    }

    /// A node's rows after a pass.
    pub fn values<'w>(&self, workspace: &'w Workspace, node: Node) -> impl Iterator<Item = &'w [f32]>
    where
        'a: 'w,
    {
        workspace.values(&self.network.program, node)
    }

    /// Scores encoded rows of any number and order, as the network says it.
    ///
    /// # Panics
    /// If the batch does not fit the layout ([`Batch::check`]).
    pub fn score(&self, workspace: &mut Workspace, batch: &Batch) -> Scores {
        self.score_calibrated(workspace, batch, None)
    }

    /// As [`Passes::score`], through the maps of a calibration, if there is one.
    ///
    /// # Panics
    /// If the batch does not fit the layout ([`Batch::check`]).
    pub fn score_calibrated(
        &self,
        workspace: &mut Workspace,
        batch: &Batch,
        calibration: Option<&Calibration>,
    ) -> Scores {
        let objective = &self.network.objective;
        let mut scores = Scores::none_of(batch.rows, objective.names().len());
        self.each_piece(workspace, batch, |workspace, rows| {
            let logits: Vec<&[f32]> = self.logits(workspace).collect();
            let maps = |row: usize| calibration.map(|maps| maps.maps(batch.scenarios[row]));
            scores.set_rows(workspace.threads(), objective, (rows, &logits), maps);
        });
        scores
    }

    /// What the network says of labelled rows, to be held against what happened.
    ///
    /// # Panics
    /// If the batch does not fit the layout ([`Batch::check`]).
    pub fn evidence(&self, workspace: &mut Workspace, batch: &Batch) -> Evidence {
        self.evidence_of(self.network.logits, workspace, batch)
    }

    /// As [`Passes::evidence`], by other logits that the network puts out.
    pub(crate) fn evidence_of(&self, logits: Node, workspace: &mut Workspace, batch: &Batch) -> Evidence {
        let heads = self.network.objective.heads().len();
        let mut found = vec![0.0; batch.rows * heads];
        self.each_piece(workspace, batch, |workspace, rows| {
            for (row, logits) in rows.iter().zip(self.values(workspace, logits)) {
                found[row * heads..][..heads].copy_from_slice(logits);
            }
        });
        Evidence::new(found, batch)
    }

    /// Runs the network over a batch of any size and order, some rows at a time.
    /// `read` finds each piece in the workspace, and learns which rows of the
    /// batch those of the piece are.
    pub(crate) fn each_piece(
        &self,
        workspace: &mut Workspace,
        batch: &Batch,
        mut read: impl FnMut(&Workspace, &[usize]),
    ) {
        let routed = self.network.routed;
        for first in (0..batch.rows).step_by(ROWS) {
            let mut rows: Vec<usize> = (first..(first + ROWS).min(batch.rows)).collect();
            if rows.len() == batch.rows && !routed {
                self.forward(workspace, batch);
                read(workspace, &rows);
                continue;
            }
            if routed {
                rows.sort_by_key(|row| batch.scenarios[*row]);
            }
            self.forward(workspace, &batch.select(&rows));
            read(workspace, &rows);
        }
    }

    /// Scores labelled batches and reports how well. `scenarios` are the
    /// layout's names.
    ///
    /// # Errors
    /// The first error among the batches.
    pub fn evaluate<B: Borrow<Batch>>(
        &self,
        workspace: &mut Workspace,
        scenarios: &[String],
        batches: impl Iterator<Item = Result<B>>,
    ) -> Result<Report> {
        let [report] = self.evaluate_logits([self.network.logits], workspace, scenarios, batches)?;
        Ok(report)
    }

    /// As [`Passes::evaluate`], of several logits that the network puts out.
    ///
    /// # Errors
    /// The first error among the batches.
    pub(crate) fn evaluate_logits<const N: usize, B: Borrow<Batch>>(
        &self,
        logits: [Node; N],
        workspace: &mut Workspace,
        scenarios: &[String],
        batches: impl Iterator<Item = Result<B>>,
    ) -> Result<[Report; N]> {
        let objective = &self.network.objective;
        let tasks = objective.names().len();
        let mut evaluations = logits.map(|_| Evaluation::new(objective.names(), objective.funnel(), scenarios));
        for batch in batches {
            let batch = batch?;
            let batch: &Batch = batch.borrow();
            let mut scores = logits.map(|_| Scores::none_of(batch.rows, tasks));
            self.each_piece(workspace, batch, |workspace, rows| {
                for (logits, scores) in logits.iter().zip(&mut scores) {
                    let logits: Vec<&[f32]> = self.values(workspace, *logits).collect();
                    scores.set_rows(workspace.threads(), objective, (rows, &logits), |_| None);
                }
            });
            for (evaluation, scores) in evaluations.iter_mut().zip(&scores) {
                evaluation.add(batch, &scores.given_parent, &scores.from_impression);
            }
        }
        Ok(evaluations.map(|evaluation| evaluation.report()))
    }

    /// A forward and a backward pass in training. `seeds` weigh the losses, per
    /// row: first of the tasks, then of the network's terms.
    ///
    /// Gives the sum over the rows of each loss, unweighted, as the batch has
    /// them.
    ///
    /// # Errors
    /// The first place where a loss is not finite.
    ///
    /// # Panics
    /// As [`Passes::forward`], and if the batch has no labels.
    pub fn losses(
        &self,
        workspace: &mut Workspace,
        batch: &Batch,
        seeds: &[f32],
        mode: Mode,
    ) -> Result<Vec<f64>, NotFinite> {
        let (program, segments) = (&self.network.program, self.segments(batch));
        let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| self.fill(batch, source, rows, into);
        program.train(workspace, self.parameters, batch.rows, &segments, seeds, mode, &fill);
        match workspace.losses(program) {
            (losses, None) => Ok(losses),
            (_, Some(broken)) => Err(broken),
        }
    }

    /// The backward pass alone, with other weights of the losses, after
    /// [`Passes::losses`] on the same batch in the same mode.
    pub fn backward(&self, workspace: &mut Workspace, seeds: &[f32], mode: Mode) {
        self.network.program.backward(workspace, self.parameters, seeds, mode);
    }

    /// The gradients that the last backward pass has left. What `into` held is
    /// overwritten, its memory used again.
    pub fn gradients(&self, workspace: &Workspace, batch: &Batch, into: &mut Gradients) {
        self.dense_gradients(workspace, &mut into.dense);
        self.row_gradients(workspace, batch, &mut into.rows);
    }

    /// Of these the dense parameters'.
    pub fn dense_gradients(&self, workspace: &Workspace, into: &mut Vec<f32>) {
        let program = &self.network.program;
        into.resize(program.length(), 0.0);
        program.parameter_gradients(workspace, self.parameters, into);
    }

    /// Of these the tables'.
    pub fn row_gradients(&self, workspace: &Workspace, batch: &Batch, into: &mut Vec<RowGradients>) {
        let program = &self.network.program;
        let chunks = |set: &Node| workspace.source_gradients(program, *set).map(|(_, chunk)| chunk).collect();
        let inputs: Vec<Vec<&[f32]>> = self.network.sets.iter().map(chunks).collect();
        self.tables.gather(batch, &inputs, into);
    }

    /// The sum of the squares of those with respect to the embedded fields of the
    /// batch's rows, as some feature sets look them up.
    pub fn feature_square(&self, workspace: &Workspace, sets: &[usize]) -> f64 {
        let program = &self.network.program;
        let of_set = |set: &usize| {
            let chunks = workspace.source_gradients(program, self.network.sets[*set]);
            let squares = chunks.flat_map(|(_, chunk)| chunk).map(|g| f64::from(*g).powi(2));
            sum_by_parts(squares, CHUNK * self.network.sets[*set].width())
        };
        sets.iter().map(of_set).sum()
    }

    /// Fills some rows of a source of the graph from a batch.
    pub fn fill(&self, batch: &Batch, source: usize, rows: Range<usize>, into: &mut [f32]) {
        match self.network.sources[source] {
            Input::Fields { set } => self.tables.look_up(set, batch, rows, into),
            Input::Labels => {
                let tasks = self.network.objective.names().len();
                into.copy_from_slice(&batch.labels[rows.start * tasks..rows.end * tasks]);
            }
            Input::Weights if batch.weights.is_empty() => into.fill(1.0),
            Input::Weights => into.copy_from_slice(&batch.weights[rows]),
        }
    }

    /// The rows of each scenario, which stand together. A network that does not look at scenarios
    /// takes the rows as they come.
    pub fn segments(&self, batch: &Batch) -> Vec<Range<usize>> {
        let mut segments = vec![0..0; self.network.program.scenarios()];
        if !self.network.routed {
            segments[0] = 0..batch.rows;
            segments[1..].fill(batch.rows..batch.rows);
            return segments;
        }
        debug_assert!(batch.scenarios.is_sorted(), "rows sorted by scenario");
        let mut at = 0;
        for (scenario, segment) in segments.iter_mut().enumerate() {
            let end = batch.scenarios.partition_point(|found| *found as usize <= scenario);
            *segment = at..end;
            at = end;
        }
        if self.network.other_as_largest {
            segments[1].start = 0;
            segments[0].end = 0;
        }
        segments
    }
}
