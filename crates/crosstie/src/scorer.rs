//! A trained model: from rows of data to probabilities.

use std::ops::Range;
use std::sync::mpsc::SyncSender;

use crate::batch::Batch;
use crate::compute::{Parameters, Program, Workspace};
use crate::config::Config;
use crate::data::{Rows, Source, ahead};
use crate::embedding::Embeddings;
use crate::error::Result;
use crate::feature::{Features, Purpose};
use crate::metric::{Evaluation, Report};
use crate::model::diagnostic::Means;
use crate::model::{self, Diagnosis, Network};

/// Most rows that are scored at a time, so that buffers stay small.
const ROWS: usize = 4096;

/// All that scoring needs: features, network, weights.
#[derive(Debug)]
pub struct Scorer {
    pub(crate) config: Config,
    pub(crate) features: Features,
    pub(crate) network: Network,
    pub(crate) embeddings: Embeddings,
    pub(crate) parameters: Parameters,
}

/// Probabilities of every task, `rows × tasks`, in the order of the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// p(action | parent action).
    pub given_parent: Vec<f64>,
    /// p(action and its ancestors | impression); every path, of a direct task.
    pub from_impression: Vec<f64>,
}

impl Scorer {
    /// An untrained model of a configuration.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    pub fn new(config: &Config, features: Features) -> Result<Scorer> {
        let model = config.model.model();
        let objective = model.objective(features.schema(), &config.objective)?;
        let network = Network::new(model, &config.network, features.layout(), objective)?;
        let seed = config.train.seed;
        let embeddings = Embeddings::new(features.layout(), network.sets.len(), seed, config.embedding.spread);
        let parameters = network.program.initial(seed);
        Ok(Scorer { config: config.clone(), features, network, embeddings, parameters })
    }

    /// Lays the weights out for scoring, so that no call does it for itself. A
    /// loaded artifact and a model under training are prepared. Changes no score.
    pub fn prepare(&mut self) {
        self.network.program.prepare(&mut self.parameters, false);
    }

    /// Forgets all that was learned: every number is that of [`Scorer::new`].
    pub(crate) fn rewind(&mut self) {
        let (seed, spread) = (self.config.train.seed, self.config.embedding.spread);
        self.embeddings = Embeddings::new(self.features.layout(), self.network.sets.len(), seed, spread);
        self.parameters = self.network.program.initial(seed);
    }

    /// The configuration it was trained with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The features it reads.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The network, with its graph and objective.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The embedding tables.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// The dense parameters, in the order of the program's.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Names of the tasks, in the order of the scores.
    pub fn tasks(&self) -> &[String] {
        self.network.objective.names()
    }

    /// Buffers for [`Scorer::score`].
    pub fn workspace(&self) -> Workspace {
        self.network.program.workspace(ROWS, false)
    }

    /// Scores rows of data.
    ///
    /// # Errors
    /// As of [`Features::encode`]: a bad cell, a missing column.
    pub fn score_rows(&self, workspace: &mut Workspace, rows: &Rows) -> Result<Scores> {
        Ok(self.score(workspace, &self.features.encode(rows, Purpose::Scoring)?))
    }

    /// Scores encoded rows.
    pub fn score(&self, workspace: &mut Workspace, batch: &Batch) -> Scores {
        let tasks = self.tasks().len();
        let mut scores =
            Scores { given_parent: vec![0.0; batch.rows * tasks], from_impression: vec![0.0; batch.rows * tasks] };
        self.each_piece(workspace, batch, |workspace, row_of| {
            for (index, logits) in workspace.values(&self.network.program, self.network.logits).enumerate() {
                let row = row_of(index);
                let cells = row * tasks..(row + 1) * tasks;
                let given = &mut scores.given_parent[cells.clone()];
                self.network.objective.probabilities(logits, given, &mut scores.from_impression[cells]);
            }
        });
        scores
    }

    /// Runs the network over a batch, some rows at a time. `read` finds each
    /// piece in the workspace, and learns which row of the batch a row of the
    /// piece is.
    fn each_piece(
        &self,
        workspace: &mut Workspace,
        batch: &Batch,
        mut read: impl FnMut(&Workspace, &dyn Fn(usize) -> usize),
    ) {
        let Network { program, routed, .. } = &self.network;
        for first in (0..batch.rows).step_by(ROWS) {
            let rows = first..(first + ROWS).min(batch.rows);
            let piece;
            let (batch, order) = if rows.len() == batch.rows && !routed {
                (batch, None)
            } else {
                let mut order: Vec<usize> = rows.clone().collect();
                if *routed {
                    order.sort_by_key(|row| batch.scenarios[*row]);
                }
                piece = batch.select(&order);
                (&piece, Some(order))
            };
            let segments = segments(program, batch, *routed);
            let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| self.fill(batch, source, rows, into);
            program.score(workspace, &self.parameters, batch.rows, &segments, &fill);
            read(workspace, &|index| order.as_ref().map_or(index, |order| order[index]));
        }
    }

    /// Scores labelled files and reports how well.
    ///
    /// # Errors
    /// A file that cannot be read, a bad cell, a missing column.
    pub fn evaluate(&self, source: &Source) -> Result<Report> {
        let columns = self.features.columns(Purpose::Evaluation);
        source.require(&columns)?;
        let encode = |sender: &SyncSender<_>| {
            for rows in source.rows(&columns, ROWS) {
                if sender.send(Ok(self.features.encode(&rows?, Purpose::Evaluation)?)).is_err() {
                    break;
                }
            }
            Ok(())
        };
        ahead(encode, |batches| self.evaluate_batches::<Batch>(batches))
    }

    pub(crate) fn evaluate_batches<B>(&self, batches: impl Iterator<Item = Result<B>>) -> Result<Report>
    where
        B: std::borrow::Borrow<Batch>,
    {
        let objective = &self.network.objective;
        let mut evaluation = Evaluation::new(objective.names(), objective.funnel(), &self.features.layout().scenarios);
        let mut workspace = self.workspace();
        for batch in batches {
            let batch = batch?;
            let scores = self.score(&mut workspace, batch.borrow());
            evaluation.add(batch.borrow(), &scores.given_parent, &scores.from_impression);
        }
        Ok(evaluation.report())
    }

    /// Means over labelled files of what the model shows of its inside; empty
    /// for a model that shows nothing. Every row counts once, whatever its weight.
    ///
    /// # Errors
    /// As of [`Scorer::evaluate`].
    pub fn diagnose(&self, source: &Source) -> Result<Diagnosis> {
        let Network { program, diagnostics, .. } = &self.network;
        let mut means: Vec<Means> = diagnostics.iter().map(Means::new).collect();
        if !diagnostics.is_empty() {
            let columns = self.features.columns(Purpose::Evaluation);
            source.require(&columns)?;
            let mut workspace = program.diagnosis(ROWS);
            for rows in source.rows(&columns, ROWS) {
                let batch = self.features.encode(&rows?, Purpose::Evaluation)?;
                self.each_piece(&mut workspace, &batch, |workspace, _| {
                    for (diagnostic, means) in diagnostics.iter().zip(&mut means) {
                        workspace.values(program, diagnostic.node).for_each(|row| means.add(row));
                    }
                });
            }
        }
        let named = diagnostics.iter().zip(means).map(|(diagnostic, means)| {
            (diagnostic.name.clone(), diagnostic.columns.iter().cloned().zip(means.finish()).collect())
        });
        Ok(named.collect())
    }

    /// Fills a source of the graph from a batch.
    pub(crate) fn fill(&self, batch: &Batch, source: usize, rows: Range<usize>, into: &mut [f32]) {
        match self.network.sources[source] {
            model::Source::Features { set } => self.embeddings.look_up(set, batch, rows, into),
            model::Source::Labels => {
                let tasks = self.tasks().len();
                into.copy_from_slice(&batch.labels[rows.start * tasks..rows.end * tasks]);
            }
            model::Source::Weights if batch.weights.is_empty() => into.fill(1.0),
            model::Source::Weights => into.copy_from_slice(&batch.weights[rows]),
        }
    }
}

/// The rows of each scenario. A network that does not look at scenarios takes
/// the rows as they come.
pub(crate) fn segments(program: &Program, batch: &Batch, routed: bool) -> Vec<Range<usize>> {
    let mut segments = vec![0..0; program.scenarios()];
    if !routed {
        segments[0] = 0..batch.rows;
        segments[1..].fill(batch.rows..batch.rows);
        return segments;
    }
    let mut at = 0;
    for (scenario, segment) in segments.iter_mut().enumerate() {
        let end = batch.scenarios.partition_point(|found| *found as usize <= scenario);
        *segment = at..end;
        at = end;
    }
    segments
}
