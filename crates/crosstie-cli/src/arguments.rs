//! The commands.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::command::{
    abtest, compare, demo, evaluate, experiment, export, init, inspect, join, models, predict, prepare, reference,
    report, serve, simulate, synth, train,
};
use crate::session::{Session, Shared};

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
    Compare(compare::Compare),
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
            Command::Compare(command) => command.execute(session),
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
