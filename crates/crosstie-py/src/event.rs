//! What a training tells, as JSON, and what is kept of it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crosstie::config::Config;
use crosstie::schema::Schema;
use crosstie::train::{At, Evaluated, Event, Reason};
use serde_json::{Map, Value, json};

/// Tells events, and keeps the history and the warnings.
pub struct Teller {
    monitor: String,
    tasks: Vec<String>,
    start: Instant,
    /// When the last line was kept.
    since: Instant,
    history: String,
    warnings: Vec<String>,
}

impl Teller {
    pub fn new(config: &Config, schema: &Schema, start: Instant) -> Teller {
        Teller {
            monitor: config.train.monitor.clone(),
            tasks: schema.tasks.iter().map(|task| task.name.clone()).collect(),
            start,
            since: start,
            history: String::new(),
            warnings: Vec::new(),
        }
    }

    /// Keeps what is kept of an event.
    pub fn keep(&mut self, event: &Event) {
        if let Some(line) = self.line(event) {
            // Numbers are written as in the run's file.
            if let Ok(line) = serde_json::to_string(&line) {
                self.history += &line;
                self.history.push('\n');
            }
            self.since = Instant::now();
        }
        match event {
            Event::Warning { message } | Event::NotSaved { message } => self.warnings.push(message.clone()),
            Event::Learned { warnings, .. } | Event::Calibrated { warnings, .. } => {
                self.warnings.extend_from_slice(warnings);
            }
            _ => {}
        }
    }

    fn line<'a>(&'a self, event: &'a Event) -> Option<Evaluated<'a>> {
        let tasks: Vec<&str> = self.tasks.iter().map(String::as_str).collect();
        let Event::Evaluated { rows, .. } = event else { return None };
        let at = At {
            seconds: self.start.elapsed().as_secs_f64(),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            rows_per_second: *rows as f64 / self.since.elapsed().as_secs_f64(),
        };
        Evaluated::of(event, &self.monitor, &tasks, at)
    }

    /// An event as JSON: `event` is its name in small letters, and the rest what it says,
    /// by task where it is said in their order.
    pub fn tell(&self, event: &Event) -> Value {
        let by_task = |values: &[f64]| -> Map<String, Value> {
            self.tasks.iter().cloned().zip(values.iter().map(|value| json!(value))).collect()
        };
        match event {
            Event::Learning { rows } => json!({ "event": "learning", "rows": rows }),
            Event::Learned { rows, warnings } => json!({ "event": "learned", "rows": rows, "warnings": warnings }),
            Event::Started { parameters, table_rows, table_weights, loss_weights } => json!({
                "event": "started",
                "parameters": parameters,
                "table_rows": table_rows,
                "table_weights": table_weights,
                "loss_weights": by_task(&loss_weights.iter().map(|weight| f64::from(*weight)).collect::<Vec<_>>()),
            }),
            Event::Trial { task, round, rows } => {
                json!({ "event": "trial", "task": self.tasks[*task], "round": round, "rows": rows })
            }
            Event::Tried { task, round, kept, monitor, figure, best } => json!({
                "event": "tried",
                "task": self.tasks[*task],
                "round": round,
                "kept": kept,
                "monitor": monitor,
                "figure": figure,
                "best": best,
            }),
            Event::Step { epoch, step, rows, losses, weights } => json!({
                "event": "step",
                "epoch": epoch,
                "step": step,
                "rows": rows,
                "losses": by_task(losses),
                "weights": by_task(weights),
            }),
            Event::Scored { rows } => json!({ "event": "scored", "rows": rows }),
            Event::Evaluated { rows, .. } => {
                let mut told = json!(self.line(event));
                told["event"] = json!("evaluated");
                told["rows"] = json!(rows);
                told
            }
            Event::Warning { message } => json!({ "event": "warning", "message": message }),
            Event::Saved { path } => json!({ "event": "saved", "path": path }),
            Event::NotSaved { message } => json!({ "event": "not_saved", "message": message }),
            Event::Stopped { reason, best_step, kept } => json!({
                "event": "stopped",
                "reason": in_a_word(*reason),
                "best_step": best_step,
                "kept": self.tasks.iter().cloned().zip(kept.iter().map(|step| json!(step))).collect::<Map<_, _>>(),
            }),
            Event::Shrunk { task, share, logloss } => {
                json!({ "event": "shrunk", "task": task, "share": share, "logloss": logloss })
            }
            Event::Shared { task, share, logloss } => {
                json!({ "event": "shared", "task": task, "share": share, "logloss": logloss })
            }
            Event::Calibrated { scenarios, warnings } => {
                json!({ "event": "calibrated", "scenarios": scenarios, "warnings": warnings })
            }
        }
    }

    /// The history and the warnings.
    pub fn end(self) -> (String, Vec<String>) {
        (self.history, self.warnings)
    }
}

/// Why a training ended.
pub fn in_a_word(reason: Reason) -> &'static str {
    match reason {
        Reason::Epochs => "epochs",
        Reason::Patience => "patience",
        Reason::Asked => "asked",
    }
}
