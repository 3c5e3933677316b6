//! `crosstie join`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use crosstie::schema::Schema;
use crosstie::spelling;
use crosstie_serve::log::join::{Files, Joined, Report};
use crosstie_serve::log::{self, Time};

use crate::session::Session;
use crate::{output, table};

/// Bring what a server has shown together with what came of it, to train on
///
/// Reads the log of `crosstie serve`, also while it is being written, and makes one file
/// for each day (in UTC), with one row for each candidate that was answered: its
/// features, and for each action 1 if it happened within the window after it was
/// shown, 0 if the window has passed without it, and nothing until it has passed.
/// Events that were sent twice count once. `crosstie train` reads the files as they
/// are. Memory grows by 50 bytes for each request and 150 for each event.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie join log --window 24h --out data/joined\n  \
                        crosstie join server-1/log server-2/log --window 7d --schema schema.toml --position position \
                        --out data/joined")]
pub struct Join {
    /// Directories of logs; those of several servers are one log
    #[arg(value_name = "LOG", required = true)]
    pub logs: Vec<PathBuf>,
    /// How long after it was shown an action counts: 90m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = window)]
    pub window: i64,
    /// Directory for the files, made if need be
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The schema to train with: labels are called as it says, and columns that it
    /// reads and the log lacks are told
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// The feature that gets the place in the answer, from 1, in place of what the request said:
    /// what a model with a bias towards positions learns from
    #[arg(long, value_name = "COLUMN")]
    pub position: Option<String>,
    /// When it is looked at, such as 2026-11-27T08:00:00Z: windows that end later have
    /// not passed; the newest time in the log if absent
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub now: Option<Time>,
}

/// A length of time in microseconds.
pub fn window(text: &str) -> Result<i64> {
    let unit = text.char_indices().last().and_then(|(at, unit)| Some((text.get(..at)?, unit)));
    let seconds = unit.and_then(|(number, unit)| {
        let number: u32 = number.parse().ok()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        Some(i64::from(number) * seconds)
    });
    match seconds {
        Some(seconds) if seconds > 0 => Ok(seconds * 1_000_000),
        _ => bail!("expected a length of time as in 30s, 90m, 24h, 7d"),
    }
}

fn time(text: &str) -> Result<Time> {
    Time::parse(text).context("expected a time as in 2026-11-27T08:00:00Z")
}

/// What to say of logs whose oldest files were removed, if that was after an experiment
/// began; `began` is in seconds since the beginning of 1970, 0 where nobody knows.
pub fn shortened(logs: &[PathBuf], began: u64) -> Result<Option<String>> {
    let began = Time::from_seconds(began as f64).unwrap_or_default();
    let cut = log::cut_at(logs)?.filter(|cut| *cut > began);
    Ok(cut.map(|Time(micros)| {
        let cut = Time(micros - micros.rem_euclid(1_000_000));
        let experiment = match began {
            Time(0) => String::new(),
            began => format!(" (the experiment began {began})"),
        };
        format!(
            "the log is whole from {cut} on{experiment}: what is older was removed, as log.keep_hours and \
             log.keep_bytes say, and is not counted"
        )
    }))
}

impl Join {
    pub fn execute(&self, session: &Session) -> Result<()> {
        let schema = self.schema.as_ref().map(Schema::read).transpose()?;
        if let (Some(schema), Some(position)) = (&schema, &self.position) {
            let columns = schema.feature_columns();
            if !columns.contains(&position.as_str()) {
                bail!("--position {position}: the schema has no such column{}", spelling::hint(position, columns));
            }
        }
        let bar = session.spinner("reading the log");
        let joined = Joined::read(&self.logs)?;
        bar.set_message("writing");
        let files =
            Files { window: self.window, now: self.now, schema: schema.as_ref(), position: self.position.as_deref() };
        let report = files.write(&joined, &self.out)?;
        bar.finish_and_clear();
        for damage in joined.damages() {
            let (path, bytes, offset) = (damage.path.display(), damage.bytes, damage.offset);
            tracing::warn!("{path}: {bytes} bytes at byte {offset} are no record and were left out");
        }
        for name in joined.unreadable() {
            tracing::warn!("the feature `{name}` has values that cannot be read as JSON; they count as missing");
        }
        if joined.replaced() > 0 {
            let replaced = table::several(joined.replaced() as u64, "request does", "requests do");
            tracing::warn!("{replaced} not count: a later one has the same id");
        }
        warn(&report);
        let requests = table::several(report.exposures, "request", "requests");
        let candidates = table::several(report.rows, "candidate", "candidates");
        tracing::info!("{requests}, {candidates}; the window has passed for {}", table::count(report.labelled));
        output::print(actions(&report))?;
        match &report.files[..] {
            [file] => tracing::info!("written to {}", file.display()),
            files => tracing::info!("written to {}: {} files", self.out.display(), files.len()),
        }
        Ok(())
    }
}

/// Says what a person might not expect.
fn warn(report: &Report) {
    for (name, called) in &report.renamed {
        tracing::warn!("the column `{name}` is called `{called}`: there is another one of its name");
    }
    for name in &report.missing {
        tracing::warn!("the schema reads the column `{name}`, which no exposure has");
    }
    for name in &report.asked {
        tracing::warn!(
            "`{name}` enters the model as a bias, and is what the requests said of it; where it is the place at which \
             something was shown, --position {name} takes that of the answer"
        );
    }
    for file in &report.left {
        tracing::warn!("{} stays as it was: of its day a part is not in the log any longer", file.display());
    }
    let unmatched = report.unmatched;
    if unmatched.requests > 0 {
        let events = table::several(unmatched.requests, "event is", "events are");
        tracing::warn!("{events} left out: the log does not tell of the request");
    }
    if unmatched.candidates > 0 {
        let events = table::several(unmatched.candidates, "event is", "events are");
        tracing::warn!("{events} left out: the candidate was not answered");
    }
}

/// How often every action happened.
fn actions(report: &Report) -> String {
    let rows = report.actions.iter().map(|(action, happened, value)| {
        let rate = (report.labelled > 0).then(|| *happened as f64 / report.labelled as f64);
        vec![action.clone(), table::count(*happened), table::percent(rate), format!("{value:.2}")]
    });
    table::table(&["action", ">happened", ">rate", ">value"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_number_and_a_unit() {
        let hour = 3_600_000_000;
        let read = |text: &str| window(text).ok();
        assert_eq!([read("24h"), read("90m"), read("7d")], [Some(24 * hour), Some(hour * 3 / 2), Some(168 * hour)]);
        for wrong in ["", "24", "h", "0h", "-1h", "1.5h", "24 h", "1w", "1é", "99999999999d"] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
