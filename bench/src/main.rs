//! Measures parts of crosstie from inside one process. Every command prints
//! one line of JSON; `bench/run.py` runs them in turns with their peers and
//! writes the tables of `docs/performance/`.

mod load;
mod log;
mod memory;
mod products;
mod read;
mod request;
mod step;
mod table;
mod workload;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes the log that the other commands read.
    Log(log::Log),
    /// Times training steps on encoded batches, and scores the test file.
    Step(step::Step),
    /// Times training steps with one table of a given size.
    Table(table::Table),
    /// Times training steps and their matrix products alone, in turns.
    Products(products::Products),
    /// Times reading and encoding a log.
    Read(read::Read),
    /// Times loading an artifact.
    Load(load::Load),
    /// Times one user with some candidates, up to probabilities.
    Request(request::Request),
}

fn main() -> Result<()> {
    let found = match Arguments::parse().command {
        Command::Log(log) => log.run()?,
        Command::Step(step) => step.run()?,
        Command::Table(table) => table.run()?,
        Command::Products(products) => products.run()?,
        Command::Read(read) => read.run()?,
        Command::Load(load) => load.run()?,
        Command::Request(request) => request.run()?,
    };
    println!("{found}");
    Ok(())
}
