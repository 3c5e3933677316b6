//! `crosstie`: the command line.
//!
//! What was asked for goes to stdout; messages, progress and errors go to
//! stderr. Exit codes: 0 done, 1 an error, 2 wrong usage, 130 stopped by
//! Ctrl-C.

#![forbid(unsafe_code)]

mod arguments;
mod aside;
mod calibration;
mod command;
mod environment;
mod files;
mod findings;
mod interrupt;
mod message;
mod output;
mod run;
mod session;
mod story;
mod table;
mod tensorboard;
mod training;

use std::process::ExitCode;

use clap::Parser;
use crosstie::Error;

fn main() -> ExitCode {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !crosstie::data::panics_are_errors() {
            told(panic);
        }
    }));
    let arguments = match arguments::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => return usage(&told),
    };
    let session = session::Session::start(&arguments.shared);
    match arguments.command.execute(&session) {
        Ok(()) if interrupt::stop().load(std::sync::atomic::Ordering::Relaxed) => ExitCode::from(interrupt::EXIT_CODE),
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error)
            if error.is::<interrupt::Interrupted>() || matches!(error.downcast_ref(), Some(Error::Stopped(_))) =>
        {
            tracing::warn!("{error}");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            tracing::error!("{}", message::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Tells the help, the version, or what is wrong with the arguments.
fn usage(told: &clap::Error) -> ExitCode {
    match output::print_usage(told) {
        Err(error) if !told.use_stderr() && !output::is_broken_pipe(&error) => {
            // There is no session yet that would tell it.
            eprintln!("error: {}", message::chain(&error));
            ExitCode::FAILURE
        }
        _ => ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2)),
    }
}
