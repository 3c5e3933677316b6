//! Stdout, which may be closed by whoever reads it.

use std::io::{self, Write};

use anyhow::Result;

/// Writes a line, or several, to stdout.
pub fn print(text: impl std::fmt::Display) -> Result<()> {
    writeln!(io::stdout().lock(), "{text}").map_err(Closed::or_error)
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
