//! Training.

use std::time::Instant;

use crosstie::config::Config;
use crosstie::feature::{Purpose, check, check_training};
use crosstie::schema::Schema;
use crosstie::train::{Event, Next};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyBool;
use serde_json::json;

use crate::data::Data;
use crate::error::raised;
use crate::event::{Teller, in_a_word};
use crate::model::Model;
use crate::process::{Line, Waited, wait_for};

/// What a training leaves.
#[pyclass(frozen, get_all, module = "crosstie._native")]
pub struct Training {
    /// The model with the best state seen.
    model: Py<Model>,
    /// A line of JSON per evaluation, as in a run's metrics.jsonl.
    history: String,
    /// Whether a KeyboardInterrupt has ended it.
    interrupted: bool,
    /// Why it ended: `epochs`, `patience` or `asked`.
    reason: &'static str,
    /// The config with every key, as TOML.
    config: String,
    /// The validation figures of the model, as JSON.
    report: String,
    /// What a person should know, one sentence each.
    warnings: Vec<String>,
    /// Batches learned from.
    steps: u64,
    /// The step whose state the model has.
    best_step: u64,
}

/// Trains a model, without the interpreter's lock. `config` is the text of a config that
/// need not name data, `settings` what is set beside it, as in `train.epochs=3`. `observer`
/// is called with every event as JSON, on the calling thread; it may return False to end the
/// training with what was reached, as a KeyboardInterrupt does. Whatever else it raises comes
/// out of here.
#[pyfunction]
#[pyo3(signature = (config, schema, settings, train, valid, observer))]
pub fn train(
    py: Python<'_>,
    config: &str,
    schema: &str,
    settings: Vec<String>,
    train: &Data,
    valid: &Data,
    observer: Option<Py<PyAny>>,
) -> PyResult<Training> {
    let config = Config::parse_without_data(config, &settings).map_err(raised)?;
    let schema = Schema::parse(schema).map_err(raised)?;
    let (train, valid) = (&train.source, &valid.source);
    let mut teller = Teller::new(&config, &schema, Instant::now());
    let work = |mut line: Line<'_>| {
        check_training(&schema, train).map_err(raised)?;
        check(&schema, valid, Purpose::Evaluation).map_err(raised)?;
        let mut follow = |event: &Event| {
            if observer.is_some() {
                line.say(teller.tell(event).to_string());
            }
            teller.keep(event);
            if line.stops() { Next::Stop } else { Next::GoOn }
        };
        for warning in &config.warnings {
            follow(&Event::Warning { message: warning.clone() });
        }
        let trained = crosstie::train::train(&config, &schema, train, valid, &mut follow).map_err(raised)?;
        let reason = in_a_word(trained.reason);
        let report = json!(trained.report).to_string();
        let model = Model::new(trained.scorer, valid).map_err(raised)?;
        Ok((model, reason, report, trained.steps, trained.best_step))
    };
    let hear = |py: Python<'_>, text: &str| match &observer {
        Some(observer) => {
            let answer = observer.call1(py, (text,))?;
            Ok(!answer.bind(py).is(PyBool::new(py, false)))
        }
        None => Ok(true),
    };
    let Waited { done, raised } = wait_for(py, work, hear);
    let interrupted = raised.as_ref().is_some_and(|error| error.is_instance_of::<PyKeyboardInterrupt>(py));
    let (model, reason, report, steps, best_step) = match (done, raised) {
        (Ok(reached), None) => reached,
        (Ok(reached), Some(_)) if interrupted => reached,
        (_, Some(raised)) => return Err(raised),
        (Err(error), None) => return Err(error),
    };
    let (history, warnings) = teller.end();
    Ok(Training {
        model: Py::new(py, model)?,
        history,
        interrupted,
        reason,
        config: config.to_toml(),
        report,
        warnings,
        steps,
        best_step,
    })
}
