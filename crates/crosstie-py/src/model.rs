//! A trained model.

use std::path::PathBuf;
use std::sync::Arc;

use crosstie::arrow::array::RecordBatch;
use crosstie::arrow::datatypes::Schema;
use crosstie::artifact;
use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::export::{self, EXTERNAL_ABOVE, Inputs};
use crosstie::feature::{Purpose, Unknown};
use crosstie::report::{self, Findings, Gathered, History};
use crosstie::scorer::Scorer;
use pyo3::prelude::*;
use serde_json::json;

use crate::data::Data;
use crate::error::{CrosstieError, raised};
use crate::inspect::inspect;
use crate::process::with_pool;
use crate::stream::Stream;

/// A trained model: what an artifact holds.
#[pyclass(frozen, module = "crosstie._native")]
pub struct Model {
    scorer: Scorer,
    /// The rows by which an artifact of it checks itself.
    examples: Source,
}

impl Model {
    /// A model, and a source whose first rows go into its artifact.
    pub fn new(scorer: Scorer, source: &Source) -> crosstie::Result<Model> {
        let examples = artifact::examples(&scorer, source)?;
        Ok(Model { scorer, examples })
    }

    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }
}

#[pymethods]
impl Model {
    /// Reads an artifact, or that of a run.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Model> {
        with_pool(py, 0, |_| {
            let path = artifact::meant_by(&path);
            let scorer = artifact::load(&path).map_err(raised)?;
            let rows = path.join(artifact::GOLDEN_ROWS);
            let source = Source::open(&[rows.to_string_lossy()]).map_err(raised)?;
            Model::new(scorer, &source).map_err(raised)
        })
    }

    /// Writes an artifact. With `overwrite` one that is there is replaced; anything else
    /// is left as it is.
    fn save(&self, py: Python<'_>, path: PathBuf, overwrite: bool) -> PyResult<()> {
        let shown = path.display();
        if path.exists() && !overwrite {
            return Err(CrosstieError::new_err(format!(
                "{shown} is there already; overwrite=True replaces an artifact"
            )));
        }
        if path.exists() && !artifact::is_artifact(&path) {
            return Err(CrosstieError::new_err(format!("{shown} is no artifact; name another place")));
        }
        with_pool(py, 0, |_| artifact::save(&self.scorer, &self.examples, &path).map_err(raised))
    }

    /// Scores rows: the columns that `crosstie predict` writes.
    fn predict(&self, py: Python<'_>, data: &Data, threads: usize) -> PyResult<Stream> {
        let objective = &self.scorer.network().objective;
        let schema = Arc::new(Schema::new(self.scorer.prediction_fields()));
        let mut unknown = Unknown::new(self.scorer.features());
        let mut batches = Vec::new();
        with_pool(py, threads, |line| {
            let scored = self.scorer.score_each(&data.source, &[], &mut |_, batch, scores| {
                if line.stops() {
                    return Err(crosstie::Error::Stopped("all rows were scored"));
                }
                unknown.add(batch);
                let made = RecordBatch::try_new(schema.clone(), scores.columns());
                batches.push(made.expect("columns of one length, and of the schema"));
                Ok(())
            });
            scored.map_err(raised)
        })?;
        let unidentified = objective.unidentified().into_iter().map(|why| format!("{why}; it is left empty"));
        let warnings = unidentified.chain(unknown.warnings()).collect();
        let fields = &self.scorer.features().layout().embedded;
        let counts = fields.iter().zip(unknown.counts()).filter(|(_, counts)| counts.unknown > 0);
        let counts = counts.map(|(field, counts)| (field.name.clone(), counts.unknown)).collect();
        Ok(Stream::new(schema, batches).with_remarks(warnings, counts))
    }

    /// Judges labelled rows: JSON, as `crosstie evaluate --json` writes it, and `warnings`,
    /// one sentence each of how the rows differ from the training rows.
    fn evaluate(&self, py: Python<'_>, data: &Data, threads: usize) -> PyResult<String> {
        with_pool(py, threads, |_| {
            let (report, drift) = self.scorer.evaluate_and_compare(&data.source).map_err(raised)?;
            let warnings = drift.map(|drift| drift.sentences(&data.source.called("these files")));
            let mut told = json!(report);
            told["warnings"] = json!(warnings.unwrap_or_default());
            Ok(told.to_string())
        })
    }

    /// Means over labelled rows of what the model shows of its inside, such as gates: JSON,
    /// by name and column. Empty of a model that shows nothing.
    fn diagnose(&self, py: Python<'_>, data: &Data, threads: usize) -> PyResult<String> {
        with_pool(py, threads, |_| {
            let found = report::gather(&self.scorer, &data.source, "these rows", report::Settings::FIGURES);
            Ok(json!(found.map_err(raised)?.diagnosis).to_string())
        })
    }

    /// The page of a report on labelled rows. `settings` are those that the model was trained
    /// with, `history` its lines of JSON, empty of a model that was loaded.
    fn report(
        &self,
        py: Python<'_>,
        data: &Data,
        settings: Vec<String>,
        history: &str,
        threads: usize,
    ) -> PyResult<String> {
        let config = Config::parse_without_data("", &settings).map_err(raised)?;
        let (history, unreadable) = History::read(history);
        with_pool(py, threads, |_| {
            let rows = data.source.called("these rows");
            let found = report::gather(&self.scorer, &data.source, &rows, report::Settings::default());
            let Gathered { report, diagnosis, seen, .. } = found.map_err(raised)?;
            let mut findings =
                Findings::new(config.model.name(), &self.scorer, &config, report, &diagnosis, "given rows");
            findings.seen = Some(seen);
            findings.warnings = self.scorer.features().warnings().to_vec();
            findings.missing.extend(unreadable.into_iter().map(|line| format!("Learning curves: {line}.")));
            if history.is_none() {
                findings.missing.push("Learning curves: this model was loaded.".into());
            }
            findings.history = history;
            Ok(findings.page())
        })
    }

    /// Writes the model as ONNX into a directory; `inputs` is `ids` or `raw`. Gives what a
    /// person should know of it, one sentence each.
    fn export_onnx(&self, py: Python<'_>, out: PathBuf, inputs: &str) -> PyResult<Vec<String>> {
        let inputs = match inputs {
            "ids" => Inputs::Ids,
            "raw" => Inputs::Raw,
            other => {
                let hint = crosstie::spelling::hint(other, ["ids", "raw"]);
                return Err(CrosstieError::new_err(format!("inputs: found `{other}`, expected `ids` or `raw`{hint}")));
            }
        };
        with_pool(py, 0, |_| {
            let exported = export::export(&self.scorer, inputs, EXTERNAL_ABOVE, &out).map_err(raised)?;
            Ok(exported.notes)
        })
    }

    /// What is in it, as JSON: how fields are read, tables and weights, masks, maps of the
    /// probabilities, and what [`Model::diagnose`] shows.
    fn inspect(&self) -> String {
        inspect(&self.scorer).to_string()
    }

    /// The schema as TOML.
    #[getter]
    fn schema(&self) -> String {
        self.scorer.features().schema().to_toml()
    }

    /// What the model is, as JSON: its seed and the sections of a config that decide it.
    #[getter]
    fn config(&self) -> String {
        json!(self.scorer.spec()).to_string()
    }

    /// The columns that scoring reads; with `labels` those of an evaluation.
    fn columns(&self, labels: bool) -> Vec<String> {
        let purpose = if labels { Purpose::Evaluation } else { Purpose::Scoring };
        self.scorer.features().columns(purpose).into_iter().map(String::from).collect()
    }

    /// Names of the tasks.
    #[getter]
    fn tasks(&self) -> Vec<String> {
        self.scorer.tasks().to_vec()
    }
}
