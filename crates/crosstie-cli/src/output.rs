//! Stdout, which may be closed by whoever reads it.

use std::borrow::Cow;
use std::io::{self, Write};

use anyhow::Result;

/// Writes a line, or several, to stdout.
pub fn print(text: impl std::fmt::Display) -> Result<()> {
    let text = text.to_string();
    writeln!(io::stdout().lock(), "{}", visible(&text)).map_err(Closed::or_error)
}

/// Writes what clap has to tell: help and the version to stdout, wrong usage to stderr.
pub fn print_usage(told: &clap::Error) -> Result<()> {
    told.print().and_then(|()| io::stdout().flush()).map_err(Closed::or_error)
}

/// Text without characters that steer a terminal, which data may hold: told as `\u{1b}`.
/// Lines and tabulators stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, &['\n', '\t'])
}

/// The same of a name or a value within a line.
pub fn in_line(text: &str) -> Cow<'_, str> {
    escaped(text, &[])
}

fn escaped<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let steers = |letter: char| letter.is_control() && !kept.contains(&letter);
    if !text.contains(steers) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if steers(letter) { escaped.extend(letter.escape_default()) } else { escaped.push(letter) }
    }
    escaped.into()
}

/// Whether an error only says that nobody reads our output any more, as after
/// `crosstie models | head -1`.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.is::<Closed>()
}

/// Stdout was closed; unlike a broken pipe elsewhere, nobody's fault.
#[derive(Debug)]
struct Closed;

impl Closed {
    fn or_error(error: io::Error) -> anyhow::Error {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Closed.into(),
            _ => anyhow::Error::new(error).context("cannot write to stdout"),
        }
    }
}

impl std::fmt::Display for Closed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("stdout was closed")
    }
}

impl std::error::Error for Closed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_told_and_not_sent() {
        assert_eq!(visible("a\u{1b}[31m\tb\u{9b}2J\r\nc é"), "a\\u{1b}[31m\tb\\u{9b}2J\\r\nc é");
        assert_eq!(in_line("a\nb"), "a\\nb");
    }
}
