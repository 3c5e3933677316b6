//! What a command has besides its arguments: messages, progress bars and a
//! run's log; and the options for them, which all commands share.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{ArgAction, Args, ValueEnum};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::message::Sentence;
use crate::table;

#[derive(Args, Clone, Debug)]
pub struct Shared {
    /// Say nothing on stderr but warnings and errors; show no progress bars
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on stderr
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// How messages on stderr are written
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Sentences
    Text,
    /// One JSON object per line
    Json,
}

/// Shared by everything that one call of `crosstie` does.
pub struct Session {
    progress: MultiProgress,
    log: Log,
    /// Of the log: off while there is none, so that nothing is written for nobody.
    level: reload::Handle<LevelFilter, Registry>,
}

impl Session {
    /// Starts the messages. Bars are shown only where a person sees them.
    pub fn start(shared: &Shared) -> Session {
        let text = shared.log_format == LogFormat::Text;
        let visible = text && !shared.quiet && io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let (log_level, handle) = reload::Layer::new(LevelFilter::OFF);
        let progress = MultiProgress::with_draw_target(target);
        let session = Session { progress, log: Log::default(), level: handle };

        let level = match (shared.quiet, shared.verbose) {
            (true, _) => LevelFilter::WARN,
            (_, 0) => LevelFilter::INFO,
            (_, 1) => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let stderr = Stderr(session.progress.clone());
        let layer = tracing_subscriber::fmt::layer().with_writer(stderr);
        let layer = if text { layer.event_format(Sentence { timed: false }).boxed() } else { layer.json().boxed() };
        let log = tracing_subscriber::fmt::layer()
            .with_writer(session.log.clone())
            .event_format(Sentence { timed: true })
            .with_filter(log_level);
        tracing_subscriber::registry().with(log).with(layer.with_filter(level)).init();
        session
    }

    /// A bar that counts rows, of known or unknown number; hidden where nobody
    /// looks.
    pub fn bar(&self, length: Option<u64>, what: impl Into<Cow<'static, str>>) -> ProgressBar {
        let (bar, template) = match length {
            Some(length) => (
                ProgressBar::new(length),
                "{prefix} {wide_bar:.dim} {human_pos} of {human_len}, {speed}, {eta} left {msg}",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {prefix} {human_pos} {msg}"),
        };
        self.add(bar, template, what)
    }

    /// A sign of life for work that does not tell how far it is.
    pub fn spinner(&self, what: impl Into<Cow<'static, str>>) -> ProgressBar {
        let bar = self.add(ProgressBar::new_spinner(), "{spinner} {prefix} {elapsed}", what);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    fn add(&self, bar: ProgressBar, template: &str, what: impl Into<Cow<'static, str>>) -> ProgressBar {
        // A template of ours that does not parse costs the bar its looks only.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let speed = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            // Writing to a bar's line cannot fail.
            let _ = write!(text, "{} rows/s", table::count(state.per_sec() as u64));
        };
        self.progress.add(bar).with_style(style.with_key("speed", speed)).with_prefix(what)
    }

    /// Writes all further messages into this file, too, in place of what it holds
    /// or behind it.
    pub fn log_to(&self, path: &Path, behind: bool) -> Result<()> {
        let file = File::options().create(true).write(true).append(behind).truncate(!behind).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        self.log.set(Some(file));
        self.level.modify(|level| *level = LevelFilter::DEBUG)?;
        Ok(())
    }

    /// Ends what [`Session::log_to`] began.
    pub fn log_no_more(&self) {
        self.log.set(None);
        // Messages that are gone are not written, either.
        let _ = self.level.modify(|level| *level = LevelFilter::OFF);
    }
}

/// Stderr, on which a progress bar makes room for messages.
struct Stderr(MultiProgress);

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = &'a Stderr;

    fn make_writer(&'a self) -> &'a Stderr {
        self
    }
}

impl Write for &Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The log of the run that is under way, if one is.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Option<File>>>);

impl Log {
    fn set(&self, file: Option<File>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

impl Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
