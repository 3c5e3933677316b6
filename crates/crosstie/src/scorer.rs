//! A trained model: from rows of data to probabilities.

mod predict;

use std::sync::Arc;

use crate::batch::Batch;
use crate::calibration::{Calibration, Evidence};
use crate::compute::Workspace;
use crate::data::{Pieces, Rows, Source, WAITING, worked_ahead};
use crate::error::Result;
use crate::feature::{Drift, Features, Purpose, Tally};
use crate::learned::{Learned, ROWS, Scores};
use crate::metric::{Evaluation, Report};
use crate::model::Network;
use crate::spec::ModelSpec;

/// All that scoring needs: what the model is, its features, what it has learned, and
/// how that is calibrated.
#[derive(Clone, Debug)]
pub struct Scorer {
    spec: ModelSpec,
    features: Arc<Features>,
    learned: Learned,
    calibration: Option<Calibration>,
}

impl Scorer {
    /// A scorer of what was learned. `learned` is of a network that `spec` gives
    /// for the features' schema and layout.
    pub fn new(spec: ModelSpec, features: Arc<Features>, mut learned: Learned) -> Scorer {
        learned.prepare(false);
        Scorer { spec, features, learned, calibration: None }
    }

    /// The same with calibrated probabilities. `calibration` is of the model's
    /// objective and the features' scenarios.
    pub fn with_calibration(self, calibration: Calibration) -> Scorer {
        Scorer { calibration: Some(calibration), ..self }
    }

    /// How its probabilities are calibrated, if they are.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// What the model is.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The features it reads.
    pub fn features(&self) -> &Arc<Features> {
        &self.features
    }

    /// The network's numbers.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// The network, with its graph and objective.
    pub fn network(&self) -> &Network {
        self.learned.network()
    }

    /// Names of the tasks, in the order of the scores.
    pub fn tasks(&self) -> &[String] {
        self.network().objective.names()
    }

    /// Buffers for scoring some rows at a time, at most [`ROWS`].
    pub fn workspace(&self, rows: usize) -> Workspace {
        self.learned.workspace(rows)
    }

    /// Scores rows of data.
    ///
    /// # Errors
    /// As of [`Features::encode`]: a bad cell, a missing column.
    pub fn score_rows(&self, workspace: &mut Workspace, rows: &Rows) -> Result<Scores> {
        let batch = self.features.encode(rows, Purpose::Scoring)?;
        Ok(self.learned.passes().score_calibrated(workspace, &batch, self.calibration()))
    }

    /// Scores encoded rows.
    ///
    /// # Errors
    /// As of [`Batch::check`].
    pub fn score(&self, workspace: &mut Workspace, batch: &Batch) -> Result<Scores> {
        batch.check(self.features.layout())?;
        Ok(self.learned.passes().score_calibrated(workspace, batch, self.calibration()))
    }

    /// Scores labelled files and reports how well.
    ///
    /// # Errors
    /// A file that cannot be read, a bad cell, a missing column.
    pub fn evaluate(&self, source: &Source) -> Result<Report> {
        Ok(self.score_labelled(source)?.report())
    }

    /// Scores labelled files, to be reported or [held against another model's
    /// scores](crate::standing).
    ///
    /// # Errors
    /// As of [`Scorer::evaluate`].
    pub fn score_labelled(&self, source: &Source) -> Result<Evaluation> {
        self.collect(source, None)
    }

    /// As [`Scorer::evaluate`], and besides how the rows differ from the training
    /// rows; of an artifact of before these were described that is not known.
    ///
    /// # Errors
    /// As of [`Scorer::evaluate`].
    pub fn evaluate_and_compare(&self, source: &Source) -> Result<(Report, Option<Drift>)> {
        let mut tally = self.features.tally();
        let report = self.collect(source, tally.as_mut())?.report();
        Ok((report, tally.map(|tally| tally.drift())))
    }

    fn collect(&self, source: &Source, tally: Option<&mut Tally<'_>>) -> Result<Evaluation> {
        let (passes, mut workspace) = (self.learned.passes(), self.workspace(ROWS));
        self.each_labelled(source, tally, |batches| {
            self.collected(batches.map(|batch| Ok(passes.evidence(&mut workspace, &batch?))))
        })
    }

    /// Reports how well the model scores rows, given what its network says of them.
    ///
    /// # Errors
    /// The first error among the rows.
    pub fn report(&self, evidence: impl Iterator<Item = Result<Evidence>>) -> Result<Report> {
        Ok(self.collected(evidence)?.report())
    }

    fn collected(&self, evidence: impl Iterator<Item = Result<Evidence>>) -> Result<Evaluation> {
        let mut evaluation = self.evaluation();
        for evidence in evidence {
            self.count(&mut evaluation, &evidence?);
        }
        Ok(evaluation)
    }

    /// An evaluation of this model's tasks, without rows yet.
    pub(crate) fn evaluation(&self) -> Evaluation {
        let objective = &self.network().objective;
        Evaluation::new(objective.names(), objective.funnel(), &self.features.layout().scenarios)
    }

    /// Counts rows in an evaluation, given what the network says of them. Gives their
    /// scores, and those before calibration where these are others.
    pub(crate) fn count(&self, evaluation: &mut Evaluation, evidence: &Evidence) -> (Scores, Option<Scores>) {
        let (objective, outcome) = (&self.network().objective, evidence.outcome());
        let scores = Scores::of(objective, evidence, self.calibration());
        evaluation.add(outcome, &scores.given_parent, &scores.from_impression);
        let before = self.calibration().map(|_| Scores::of(objective, evidence, None));
        if let Some(before) = &before {
            evaluation.add_uncalibrated(outcome, &before.given_parent, &before.from_impression);
        }
        (scores, before)
    }

    /// Reads and encodes all rows of a source, so many at a time, beside what is done with them.
    fn each_encoded<R>(
        &self,
        source: &Source,
        columns: &[&str],
        (purpose, rows): (Purpose, usize),
        read: impl FnOnce(&mut dyn Iterator<Item = Result<(Rows, Batch)>>) -> R,
    ) -> R {
        let all = |pieces: &Pieces<_, _>| {
            for rows in source.rows(columns, rows) {
                if !pieces.send(rows?) {
                    break;
                }
            }
            Ok(())
        };
        let encode = |rows: Rows| {
            let batch = self.features.encode(&rows, purpose)?;
            Ok((rows, batch))
        };
        worked_ahead([rayon::current_num_threads(), WAITING], all, encode, read)
    }

    /// Reads, encodes and counts labelled rows beside what is done with them.
    pub(crate) fn each_labelled<R>(
        &self,
        source: &Source,
        mut tally: Option<&mut Tally<'_>>,
        read: impl FnOnce(&mut dyn Iterator<Item = Result<Batch>>) -> Result<R>,
    ) -> Result<R> {
        let columns = self.features.columns(Purpose::Evaluation);
        source.require(&columns)?;
        self.each_encoded(source, &columns, (Purpose::Evaluation, ROWS), |pieces| {
            read(&mut pieces.map(|piece| {
                let (rows, batch) = piece?;
                if let Some(tally) = &mut tally {
                    tally.add(&rows, &batch)?;
                }
                Ok(batch)
            }))
        })
    }
}
