//! `crosstie synth`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use crosstie::data::synth::{Relation, Synth as Log, SynthReport};

use crate::aside::Aside;
use crate::session::Session;
use crate::{files, output, table};

/// Write a synthetic impression log whose true probabilities are known
///
/// Makes train.parquet, valid.parquet, test.parquet and schema.toml: clicks;
/// after them like and follow in parallel, and cart, then buy in sequence;
/// scenarios of unequal size; selection bias. The columns true_<task> and
/// true_joint_<task> hold the generator's own probabilities, so that the best
/// possible AUC is known, and so is what would have happened on rows that
/// nobody clicked. They are never features.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  crosstie synth --rows 1000000 --out data/synth\n  \
                        crosstie synth --rows 100000 --relation two-groups --direct-rate 0.2 --out data/direct")]
pub struct Synth {
    /// Impressions in all: 80 % for training, 10 % each for validation and test
    #[arg(long, value_name = "N")]
    pub rows: u64,
    /// Directory for the files, made if need be
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Where all randomness comes from
    #[arg(long, value_name = "S", default_value_t = Log::default().seed)]
    pub seed: u64,
    /// Number of scenarios
    #[arg(long, value_name = "K", default_value_t = Log::default().scenarios)]
    pub scenarios: usize,
    /// How the conversions' true preferences relate to each other
    #[arg(long, default_value_t = Log::default().relation, value_parser = relation())]
    pub relation: Relation,
    /// Share of the likes and follows that happen without a click
    #[arg(long, value_name = "R", default_value_t = Log::default().direct_rate)]
    pub direct_rate: f64,
    /// How much of what draws a click also moves the conversions, from 0 to 1
    #[arg(long, value_name = "R", default_value_t = Log::default().selection)]
    pub selection: f64,
}

fn relation() -> impl TypedValueParser<Value = Relation> {
    PossibleValuesParser::new(Relation::ALL.map(Relation::name)).try_map(|name| name.parse::<Relation>())
}

impl Synth {
    pub fn execute(&self, session: &Session) -> Result<()> {
        let Synth { rows, ref out, seed, scenarios, relation, direct_rate, selection } = *self;
        files::refuse_to_replace(out, &[], "name another directory with --out")?;
        let bar = session.spinner("writing the log");
        let report = write(&Log { rows, seed, scenarios, relation, direct_rate, selection }, out)?;
        bar.finish_and_clear();
        let [train, valid, test] = report.rows.map(table::count);
        let (users, items) = (table::count(report.users as u64), table::count(report.items as u64));
        tracing::info!(
            "{train} rows for training, {valid} for validation, {test} for the test: {users} users, {items} items"
        );
        output::print(actions(&report))?;
        tracing::info!("written to {}: train.parquet, valid.parquet, test.parquet, schema.toml", out.display());
        Ok(())
    }
}

/// Writes a log into a directory that holds none, as a whole.
pub fn write(log: &Log, out: &Path) -> Result<SynthReport> {
    let aside = Aside::of(out)?;
    let report = log.write(aside.path()).map_err(|error| aside.named(error))?;
    aside.publish(out)?;
    Ok(report)
}

/// How often each action happened.
pub fn actions(report: &SynthReport) -> String {
    let rows = report.tasks.iter().map(|task| {
        let rate = (task.sample_space > 0).then(|| task.positives as f64 / task.sample_space as f64);
        vec![
            task.name.clone(),
            table::count(task.sample_space),
            table::count(task.positives),
            table::percent(rate),
            table::count(task.direct),
        ]
    });
    table::table(&["task", ">sample space", ">positives", ">rate", ">without parent"], rows)
}
