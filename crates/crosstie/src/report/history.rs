//! What was seen while training.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::{FigureName, Meaning, Report};

/// The evaluations of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The figure that early stopping followed, its name in full.
    pub monitor: String,
    /// What that figure is called without a task, such as `ne`.
    pub figure: String,
    /// What its probabilities mean.
    pub meaning: Meaning,
    /// The step whose weights are kept of each task, in the tasks' order.
    pub kept: Vec<u64>,
    /// Evaluations in their order.
    pub moments: Vec<Moment>,
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Epoch under way, from 1.
    pub epoch: u64,
    /// Batches learned from.
    pub step: u64,
    /// The monitored figure.
    pub figure: Option<f64>,
    /// Whether it was the best so far.
    pub best: bool,
    /// By task.
    pub tasks: IndexMap<String, Reached>,
}

/// What a task had reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Mean training loss per row since the evaluation before.
    pub loss: Option<f64>,
    /// AUC on the validation rows.
    pub auc: Option<f64>,
    /// The monitored kind of figure there.
    pub figure: Option<f64>,
}

/// What is read of a line of a run's `metrics.jsonl`.
#[derive(Deserialize)]
struct Line {
    epoch: u64,
    step: u64,
    monitor: String,
    figure: Option<f64>,
    best: bool,
    losses: IndexMap<String, f64>,
    report: Report,
}

impl History {
    /// Reads lines of JSON as a run's `metrics.jsonl` holds them; `None` of none. The kept
    /// step of every task is that of the best evaluation, as long as
    /// [`History::kept`] is not set.
    ///
    /// # Errors
    /// [`Error::Config`] naming the line that is damaged.
    pub fn read(lines: &str) -> Result<Option<History>> {
        let mut history: Option<History> = None;
        for (index, text) in lines.lines().enumerate() {
            let line: Line = serde_json::from_str(text)
                .map_err(|error| Error::Config(format!("line {} of the history: {error}", index + 1)))?;
            let tasks: Vec<&str> = line.report.tasks.keys().map(String::as_str).collect();
            let name = FigureName::parse(&line.monitor, tasks.iter().copied())?;
            let history = history.get_or_insert_with(|| History {
                monitor: name.to_string(),
                figure: name.name().into(),
                meaning: name.meaning(),
                kept: vec![line.step; tasks.len()],
                moments: Vec::new(),
            });
            if line.best {
                history.kept.fill(line.step);
            }
            let reached = |(task, meanings): (&String, &crate::metric::Meanings)| {
                let reached = Reached {
                    loss: line.losses.get(task).copied(),
                    auc: meanings.get(name.meaning()).auc,
                    figure: name.of_task(task, name.meaning()).of(&line.report),
                };
                (task.clone(), reached)
            };
            history.moments.push(Moment {
                epoch: line.epoch,
                step: line.step,
                figure: line.figure,
                best: line.best,
                tasks: line.report.tasks.iter().map(reached).collect(),
            });
        }
        Ok(history)
    }
}
