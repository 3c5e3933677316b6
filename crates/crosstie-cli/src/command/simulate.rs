//! `crosstie simulate`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use crosstie::Error;
use crosstie::artifact;
use crosstie::experiment::{ArmFigures, Contract, MarketConfig, MarketReport, Status};
use crosstie::feature::Purpose;
use crosstie_serve::market;

use super::abtest::told::{interval, lift};
use crate::files::Outputs;
use crate::session::Session;
use crate::{files, interrupt, output, run, table};

/// Try an experiment in a simulated market, whose true difference is known
///
/// The users and items of a synthetic log come by the day: advertisers bid for a
/// conversion, the server ranks the candidates, the best are shown, and who converts is
/// charged the bid. It is the code of `crosstie serve`, without ports and on a simulated
/// clock: its assignment, ranking, log, feedback, evidence and ramp. Told is what was
/// measured and, beside it, the true lift: what each model would have earned by all users.
/// Models must be trained on the log of the same settings.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  crosstie synth --rows 100000 --out data\n  \
                        crosstie train single.toml --out runs/single\n  \
                        crosstie train ektm.toml --out runs/ektm\n  \
                        crosstie simulate market.toml --experiment transfer.toml \\\n    \
                        --arm control=runs/single --arm transfer=runs/ektm")]
pub struct Simulate {
    /// Days, auctions, budgets, delays; every key has a default
    #[arg(value_name = "MARKET")]
    pub market: PathBuf,
    /// The experiment's file
    #[arg(long, value_name = "FILE")]
    pub experiment: PathBuf,
    /// The run or artifact that serves an arm; once for each arm
    #[arg(long = "arm", value_name = "ARM=RUN", required = true)]
    pub arms: Vec<String>,
    /// Keep what the server works with in this directory, which must be new or empty: its
    /// models, the experiment and where it stands, its log
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write all figures into this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Simulate {
    /// The artifacts, in the order of the arms: models of logs like the market's.
    fn artifacts(&self, config: &MarketConfig, contract: &Contract) -> Result<Vec<PathBuf>> {
        let schema = config.log.synth()?.schema();
        let there = schema.feature_columns();
        let mut paths: Vec<Option<PathBuf>> = vec![None; contract.arms.len()];
        for named in &self.arms {
            let Some((arm, path)) = named.split_once('=') else {
                bail!("--arm {named}: expected ARM=RUN, such as control=runs/single");
            };
            let place = contract.arm(arm)?;
            let artifact = run::artifact(Path::new(path))?;
            let scorer = artifact::load(&artifact)?;
            if let Some(column) = scorer.features().columns(Purpose::Scoring).iter().find(|name| !there.contains(name))
            {
                bail!(
                    "--arm {named}: its model reads the column `{column}`, which the market's log does not have; \
                     train it on a log of `crosstie synth` with the market's settings"
                );
            }
            paths[place] = Some(artifact);
        }
        let path = |(path, arm): (Option<PathBuf>, &crosstie::experiment::Arm)| {
            path.with_context(|| format!("no model serves the arm `{}`; --arm {}=RUN names one", arm.name, arm.name))
        };
        paths.into_iter().zip(&contract.arms).map(path).collect()
    }

    pub fn execute(&self, session: &Session) -> Result<()> {
        interrupt::listen()?;
        let outputs = Outputs::of(&self.json)?;
        outputs.spare([&self.market, &self.experiment], "among the files that are read")?;
        let text =
            std::fs::read_to_string(&self.market).with_context(|| format!("cannot read {}", self.market.display()))?;
        let config = MarketConfig::parse(&text).with_context(|| self.market.display().to_string())?;
        let contract = Contract::read(&self.experiment)?;
        let artifacts = self.artifacts(&config, &contract)?;
        artifacts.iter().try_for_each(|artifact| outputs.spare_run(artifact))?;
        // Removed when the market has closed.
        let (directory, _aside) = match &self.out {
            Some(out) => {
                files::make_empty(out, "; name another directory with --out")?;
                (out.clone(), None)
            }
            None => {
                let aside = tempfile::Builder::new().prefix("crosstie-market-").tempdir()?;
                (aside.path().to_path_buf(), Some(aside))
            }
        };
        let days = config.before_days + config.days;
        let bar = session.spinner("days pass");
        let report = market::run(&config, &contract, &artifacts, &directory, &mut |passed| {
            bar.set_message(format!("{passed} of {days} days have passed"));
            interrupt::check().map_err(|_| Error::Stopped("the market's last day"))
        })?;
        bar.finish_and_clear();
        if let Some(json) = &self.json {
            run::write_json(json, &report)?;
        }
        output::print(told(&report, &contract))
    }
}

fn told(report: &MarketReport, contract: &Contract) -> String {
    let control = &contract.arms[0].name;
    let mut header = vec!["day".to_string(), ">traffic".into(), ">units".into()];
    for arm in &contract.arms[1..] {
        header.extend([format!(">{} measured", arm.name), ">sequence".into(), ">true".into()]);
    }
    let days = report.days.iter().map(|day| {
        let step = &contract.steps[day.state.step];
        let status = match day.state.status {
            Status::Running => format!("{} %", step.traffic),
            Status::Done => "done".into(),
            Status::RolledBack => "rolled back".into(),
            Status::Stopped => "stopped".into(),
        };
        let mut row = vec![(day.day + 1).to_string(), status, table::count(day.units.iter().sum())];
        for (measured, truth) in day.measured.iter().zip(&day.truth) {
            row.push(measured.as_ref().map_or("-".into(), |measured| lift(measured.estimate)));
            row.push(measured.as_ref().map_or("-".into(), |measured| interval(measured.sequence)));
            row.push(lift(*truth));
        }
        row
    });
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut text =
        format!("eCPM against that of {control}, at the end of each day:\n\n{}\n", table::table(&names, days));
    text += &format!("\nThe ramp: {}\n", report.state.reason);
    let measured = report.measured.differences.iter().filter(|difference| difference.measure == "eCPM");
    for (difference, truth) in measured.zip(&report.truth) {
        let found = match difference.best() {
            None => "nothing could be measured".into(),
            Some(found) => format!(
                "measured {}, sequence {}, at one look {}",
                lift(found.estimate),
                interval(found.sequence),
                interval(found.interval)
            ),
        };
        let name = &difference.arm;
        let needed = difference.best().map_or(String::new(), |found| {
            let of_both = |arm: &&ArmFigures| arm.name == *control || arm.name == *name;
            let units = report.measured.arms.iter().filter(of_both).map(|arm| arm.units).sum();
            let all = table::count(units);
            let least = lift(found.least_detectable);
            let so_many = table::count(found.units_needed(units, *truth) as u64);
            match *truth == 0.0 {
                true => format!("; {all} units find a lift of {least} with a probability of 80 %"),
                false => format!(
                    "; {all} units find a lift of {least} with a probability of 80 %, the true one takes {so_many}"
                ),
            }
        });
        text += &table::wrapped(&format!("{name}: the true lift of eCPM is {}; {found}{needed}", lift(*truth)), 0);
        text.push('\n');
    }
    text.trim_end().into()
}
