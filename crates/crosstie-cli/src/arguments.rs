//! The commands and the options that all of them share.

use anyhow::Result;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::command::{
    abtest, demo, evaluate, experiment, export, init, inspect, join, models, predict, prepare, reference, report,
    serve, simulate, synth, train,
};
use crate::session::Session;

/// Multi-task, multi-scenario models of what people do after they see
/// something: click, cart, buy, like.
#[derive(Debug, Parser)]
#[command(
    name = "crosstie",
    version,
    after_help = "Start here:\n  crosstie demo\n\nExit codes: 0 done, 1 an error, 2 wrong usage, 130 stopped by Ctrl-C."
)]
pub struct Arguments {
    #[command(flatten)]
    pub shared: Shared,
    #[command(subcommand)]
    pub command: Command,
}

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

#[derive(Debug, Subcommand)]
pub enum Command {
    Init(init::Init),
    Synth(synth::Synth),
    Prepare(prepare::Prepare),
    Inspect(inspect::Inspect),
    Models(models::Models),
    Reference(reference::Reference),
    Train(train::Train),
    Evaluate(evaluate::Evaluate),
    Report(report::Report),
    Predict(predict::Predict),
    Serve(serve::Serve),
    Join(join::Join),
    Experiment(experiment::Experiment),
    Abtest(abtest::Abtest),
    Simulate(simulate::Simulate),
    Export(export::Export),
    Demo(demo::Demo),
}

impl Command {
    pub fn execute(&self, session: &Session) -> Result<()> {
        match self {
            Command::Init(command) => command.execute(session),
            Command::Synth(command) => command.execute(session),
            Command::Prepare(command) => command.execute(session),
            Command::Inspect(command) => command.execute(session),
            Command::Models(command) => command.execute(),
            Command::Reference(command) => command.execute(),
            Command::Train(command) => command.execute(session),
            Command::Evaluate(command) => command.execute(session),
            Command::Report(command) => command.execute(session),
            Command::Predict(command) => command.execute(session),
            Command::Serve(command) => command.execute(),
            Command::Join(command) => command.execute(session),
            Command::Experiment(command) => command.execute(),
            Command::Abtest(command) => command.execute(session),
            Command::Simulate(command) => command.execute(session),
            Command::Export(command) => command.execute(),
            Command::Demo(command) => command.execute(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("crosstie {}", command.get_name())), "{}: {help:?}", command.get_name());
        }
    }
}
