//! What a training tells, and what it is told.

use std::path::PathBuf;

use crate::metric::Report;
use crate::scorer::Scorer;

/// What happens during a training, in this order: `Learning` many times,
/// `Learned`, `Started`, of a model with masks to be found `Trial` and `Tried`
/// many times, then `Step`, `Scored` and `Evaluated` many times, of a model that takes over
/// from other tasks what the validation rows say `Shrunk` for each task, of one that has a
/// shared network beside what is the tasks' own `Shared` likewise, then `Stopped` and, unless
/// calibration is off, `Calibrated`.
/// `Saved` and `NotSaved` come wherever a checkpoint was asked for, `Warning` before
/// `Learning`, `Evaluated`, `Tried` and `Stopped`.
#[derive(Clone, Debug)]
pub enum Event {
    /// Training rows were read to learn the features.
    Learning {
        /// Rows so far.
        rows: u64,
    },
    /// The features were learned from the training files.
    Learned {
        /// Training rows.
        rows: u64,
        /// What the user should know about the data.
        warnings: Vec<String>,
    },
    /// The network stands.
    Started {
        /// Number of dense parameters that learn.
        parameters: usize,
        /// Number of rows of all tables.
        table_rows: usize,
        /// Number of weights in all tables.
        table_weights: usize,
        /// The fixed weight of each task's loss, in the tasks' order.
        loss_weights: Vec<f32>,
    },
    /// A batch taught one task within a mask that is being tried.
    Trial {
        /// The task.
        task: usize,
        /// The round of pruning.
        round: u64,
        /// Rows of the batch.
        rows: usize,
    },
    /// A mask was tried: the task was trained alone within it, and its
    /// validation figure computed. All of one task's come together, ever sparser.
    Tried {
        /// The task.
        task: usize,
        /// The round of pruning that left this mask; 0 is the whole one.
        round: u64,
        /// Share of the connections that it keeps.
        kept: f64,
        /// The name of the figure.
        monitor: String,
        /// The figure; `None` where it is not defined.
        figure: Option<f64>,
        /// Whether the task has this mask unless a later one does as well.
        best: bool,
    },
    /// A batch was learned from: by one step of the optimizer or, where tasks
    /// take turns, by one for each.
    Step {
        /// From 1.
        epoch: u64,
        /// From 1, over all epochs.
        step: u64,
        /// Rows of the batch.
        rows: usize,
        /// Sum over the batch's rows of each task's loss, in the tasks' order.
        losses: Vec<f64>,
        /// The weight that balancing gave each task, beside its fixed one.
        weights: Vec<f64>,
    },
    /// Rows of the validation files were scored.
    Scored {
        /// Rows so far.
        rows: u64,
    },
    /// The validation files were scored.
    Evaluated {
        /// Epoch under way, from 1.
        epoch: u64,
        /// Batches learned from.
        step: u64,
        /// All figures.
        report: Box<Report>,
        /// The monitored figure; `None` where it is not defined.
        figure: Option<f64>,
        /// Whether it is the best so far. As long as the figure is not defined, the
        /// latest state is.
        best: bool,
        /// Mean loss of each task per training row since the evaluation before.
        losses: Vec<f64>,
        /// The same of the terms that the model adds, by their names, unweighted.
        terms: Vec<(String, f64)>,
        /// The weights that balancing gave the tasks in the last step.
        weights: Vec<f64>,
        /// Training rows since the evaluation before.
        rows: u64,
    },
    /// Something that a person should know: before all else, what the objective does
    /// not identify, and validation files that are trained on; what differs between the validation
    /// files and the training rows, once they have been read; a task that came to
    /// nothing, at the end.
    Warning {
        /// In one sentence.
        message: String,
    },
    /// A checkpoint was written.
    Saved {
        /// Its directory.
        path: PathBuf,
    },
    /// A checkpoint could not be written; those of before are still there.
    NotSaved {
        /// Why.
        message: String,
    },
    /// Training is over.
    Stopped {
        /// Why.
        reason: Reason,
        /// The last step some of whose weights are kept.
        best_step: u64,
        /// For each task the step whose weights are kept: tasks that learn nothing in
        /// common each have their own.
        kept: Vec<u64>,
    },
    /// How much of what other tasks give a task it takes over, of a model that lets the
    /// validation rows choose. One for each task, before `Stopped`.
    Shrunk {
        /// The task.
        task: String,
        /// 0 for nothing, 1 for all.
        share: f64,
        /// The log-loss on the validation rows for each share that was tried, given the
        /// parent or, where the losses do not determine that, from the impression; `None`
        /// where it is not defined.
        logloss: Vec<(f64, Option<f64>)>,
    },
    /// How much of a task's score is that of the network that all tasks learn together, by
    /// the validation rows. One for each task, before `Stopped`.
    Shared {
        /// The task.
        task: String,
        /// 0 for nothing, 1 for all.
        share: f64,
        /// The log-loss on the validation rows that the task's loss is about, calibrated, with
        /// nothing, with this share and with all of it; `None` where there are no rows.
        logloss: [Option<f64>; 3],
    },
    /// The kept model's probabilities were calibrated by the validation files.
    Calibrated {
        /// How many maps scenarios have of their own, beside those of the tasks.
        scenarios: usize,
        /// What was not calibrated, and why, one sentence each.
        warnings: Vec<String>,
    },
}

/// What an observer wants next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// To go on.
    #[default]
    GoOn,
    /// A checkpoint, and then to go on. After `Step` and `Trial`; elsewhere it is
    /// not heeded.
    Checkpoint,
    /// An end with what was reached. A checkpoint is written first, if there is a
    /// place for it.
    Stop,
}

/// Who is told of every event, and says what is next.
pub type Observer<'a> = dyn FnMut(&Event) -> Next + Send + 'a;

/// Tells an observer what happens, whatever it says is next.
pub(super) fn unheeded<'o>(observer: &'o mut Observer<'_>) -> impl FnMut(&Event) -> Next + Send + 'o {
    |event| {
        observer(event);
        Next::GoOn
    }
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All epochs are done.
    Epochs,
    /// The monitored figure did not improve any more.
    Patience,
    /// Somebody asked to stop.
    Asked,
}

/// What a training leaves.
#[derive(Debug)]
pub struct Trained {
    /// The model, with the best state seen.
    pub scorer: Scorer,
    /// The step of that state.
    pub best_step: u64,
    /// Batches learned from, since masks were found.
    pub steps: u64,
    /// Why it ended.
    pub reason: Reason,
    /// The validation figures of the scorer. What early stopping looked at is in its
    /// events: what that state's network says, before it was calibrated.
    pub report: Report,
}
