//! What was seen while training.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

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
    /// [`History::kept`] is not set. A line that cannot be read, as a crash may leave one,
    /// is left out; what is wrong with it is told beside, as in `line 3: ...`.
    pub fn read(lines: &str) -> (Option<History>, Vec<String>) {
        let (mut history, mut unreadable): (Option<History>, _) = (None, Vec::new());
        for (number, text) in (1..).zip(lines.lines()) {
            let (line, name) = match Line::read(text) {
                Ok(read) => read,
                Err(error) => {
                    unreadable.push(format!("line {number}: {error}"));
                    continue;
                }
            };
            let tasks = line.report.tasks.len();
            let history = history.get_or_insert_with(|| History {
                monitor: name.to_string(),
                figure: name.name().into(),
                meaning: name.meaning(),
                kept: vec![line.step; tasks],
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
        (history, unreadable)
    }
}

impl Line {
    /// A line, and the figure that it says was followed.
    fn read(text: &str) -> std::result::Result<(Line, FigureName), String> {
        let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let name = FigureName::parse(&line.monitor, line.report.tasks.keys().map(String::as_str));
        name.map(|name| (line, name)).map_err(|error| error.to_string())
    }
}
