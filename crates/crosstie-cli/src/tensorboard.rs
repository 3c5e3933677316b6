//! Event files for TensorBoard: what `metrics.jsonl` says, in the form that it reads.
//!
//! A training that goes on writes them anew from the lines that are kept of
//! `metrics.jsonl`. So no step stands in them twice, and they may be asked for late.

mod record;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use crosstie::config::Config;
use crosstie::durable::write_file;
use crosstie::metric::{FigureName, Report};
use crosstie::optim::OptimizerConfig;
use serde::Deserialize;

use crate::{message, table};
use record::{Event, What};

/// What files are called that TensorBoard takes for events; the time of their beginning
/// follows, so that of two it takes the later.
const NAME: &str = "events.out.tfevents.";

/// What is shown of a line of `metrics.jsonl`. What is not defined is left out.
#[derive(Deserialize)]
struct Evaluation {
    step: u64,
    /// Absent in lines of old versions, as is the speed.
    time: Option<f64>,
    rows_per_second: Option<f64>,
    losses: BTreeMap<String, Option<f64>>,
    #[serde(default)]
    terms: BTreeMap<String, Option<f64>>,
    weights: BTreeMap<String, Option<f64>>,
    report: Report,
}

impl Evaluation {
    fn event(&self, optimizer: &OptimizerConfig) -> Event {
        let mut scalars = Vec::new();
        let mut add = |tag: String, value: Option<f64>| scalars.extend(value.map(|value| (tag, value)));
        for (group, values) in [("loss", &self.losses), ("term", &self.terms), ("loss_weight", &self.weights)] {
            values.iter().for_each(|(name, value)| add(format!("{group}/{name}"), *value));
        }
        let factor = optimizer.schedule.factor(self.step);
        for (name, rule) in [("dense", &optimizer.dense), ("rows", &optimizer.rows)] {
            add(format!("learning_rate/{name}"), Some(rule.learning_rate * factor));
        }
        add("rows_per_second".into(), self.rows_per_second);
        for name in FigureName::all(self.report.tasks.keys().map(String::as_str)) {
            let (figure, meaning) = (name.name(), name.meaning().name());
            add(format!("{figure}_{meaning}/{}", name.task().unwrap_or("mean")), name.of(&self.report));
        }
        let time = self.time.unwrap_or_else(message::seconds_since_1970);
        Event { time, step: self.step, what: What::Scalars(scalars) }
    }
}

/// The event file of a training that is under way.
pub struct EventFile {
    file: File,
    optimizer: OptimizerConfig,
}

impl EventFile {
    /// A file with all that `history`, a `metrics.jsonl`, says so far, in place of those
    /// that are in the directory.
    pub fn begin(directory: &Path, config: &Config, history: &Path) -> Result<EventFile> {
        let time = message::seconds_since_1970();
        let name = format!("{NAME}{}.crosstie", time as u64);
        let path = directory.join(&name);
        let cannot = || format!("cannot write {}", path.display());
        fs::create_dir_all(directory).with_context(cannot)?;

        let mut records = Event { time, step: 0, what: What::Version }.record();
        records.extend(text("config", &config.to_toml()).at(time, 0).record());
        let said = fs::read_to_string(history).with_context(|| format!("cannot read {}", history.display()))?;
        for (line, number) in said.lines().zip(1..) {
            match serde_json::from_str::<Evaluation>(line) {
                Ok(read) => records.extend(read.event(&config.optimizer).record()),
                Err(error) => tracing::warn!("{}, line {number}: {error}; TensorBoard is not told", history.display()),
            }
        }
        write_file(&path, records)?;
        let file = File::options().append(true).open(&path).with_context(cannot)?;
        for entry in fs::read_dir(directory).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let other = entry.file_name();
            if other.to_string_lossy().starts_with(NAME) && other != *name {
                fs::remove_file(entry.path()).with_context(cannot)?;
            }
        }
        Ok(EventFile { file, optimizer: config.optimizer.clone() })
    }

    /// Adds what a new line of `metrics.jsonl` says.
    pub fn evaluated(&mut self, line: &str) -> io::Result<()> {
        let read: Evaluation = serde_json::from_str(line)?;
        self.write(&read.event(&self.optimizer).record())
    }

    /// Adds the figures of the finished model on these files.
    pub fn ended(&mut self, steps: u64, on: &str, report: &Report) -> io::Result<()> {
        let figures = text(&format!("figures on the {on} files"), &table::report(report));
        self.write(&figures.at(message::seconds_since_1970(), steps).record())
    }

    /// Adds a record whole or not at all: behind a part of one nothing could be read.
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(record);
        if written.is_err() {
            self.file.set_len(before)?;
        }
        written
    }
}

/// A text that is shown as it stands.
fn text(tag: &str, text: &str) -> What {
    What::Text(tag.into(), format!("```\n{}\n```", text.trim_end()))
}
