//! How messages are written: as sentences, on stderr and in a run's log.

use std::fmt::{self, Write};
use std::time::SystemTime;

use crosstie::feature::Drift;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as Clock};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::output;

/// The message of an event without its fields, which are for machines.
pub struct Sentence {
    /// Whether the time comes first, as in a log file.
    pub timed: bool,
}

impl<S, N> FormatEvent<S, N> for Sentence
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if self.timed {
            Clock.format_time(&mut writer)?;
            writer.write_char(' ')?;
        }
        match *event.metadata().level() {
            Level::ERROR => writer.write_str("error: ")?,
            Level::WARN => writer.write_str("warning: ")?,
            _ => {}
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        writeln!(writer, "{}", output::visible(&message.0))
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// An error and its causes, one per line; a cause that the line before has
/// said already is left out. An error of the library says itself what its
/// causes say.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let whole = error.chain().position(|cause| cause.is::<crosstie::Error>());
    let told = whole.map_or(usize::MAX, |whole| whole + 1);
    for cause in error.chain().take(told).skip(1) {
        let cause = cause.to_string();
        if !last.contains(&cause) {
            text.push_str("\n  because ");
            text.push_str(&cause);
            last = cause;
        }
    }
    text
}

/// Says how rows differ from the training rows, as far as that is known.
pub fn warn_of(drift: Option<&Drift>, files: &str) {
    drift.iter().flat_map(|drift| drift.sentences(files)).for_each(|sentence| tracing::warn!("{sentence}"));
}

/// The time now, in UTC, as RFC 3339 writes it.
pub fn now() -> String {
    let mut text = String::new();
    // `Clock` fails only where the writer does.
    let _ = Clock.format_time(&mut Writer::new(&mut text));
    text
}

/// The time now, in seconds since the beginning of 1970.
pub fn seconds_since_1970() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}

/// Seconds since a moment, as people say it: `12 s`, `3 min 5 s`.
pub fn since(start: SystemTime) -> String {
    let seconds = start.elapsed().unwrap_or_default().as_secs_f64();
    match seconds {
        0.0..10.0 => format!("{seconds:.1} s"),
        10.0..60.0 => format!("{seconds:.0} s"),
        _ => format!("{} min {} s", seconds as u64 / 60, seconds as u64 % 60),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error: anyhow::Result<()> = Err(anyhow!("no such file")).context("a.toml: no such file").context("no run");
        assert_eq!(chain(&error.unwrap_err()), "no run\n  because a.toml: no such file");
    }

    #[test]
    fn a_cause_that_the_library_reworded_is_not_told_again() {
        let error = crosstie::schema::Schema::parse("grop = 1").unwrap_err();
        let whole = error.to_string();
        assert!(whole.contains("did you mean `group`?"), "{whole}");
        assert_eq!(chain(&anyhow::Error::from(error).context("no run")), format!("no run\n  because {whole}"));
    }

    #[test]
    fn the_time_is_utc() {
        let now = now();
        assert!(now.starts_with("20") && now.ends_with('Z') && now.as_bytes()[10] == b'T', "{now}");
    }
}
