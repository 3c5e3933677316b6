//! `crosstie simulate`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use crosstie::artifact;
use crosstie::data::Rows;
use crosstie::durable::NewFile;
use crosstie::experiment::{Contract, Market, MarketConfig, MarketReport, Settings};
use crosstie::scorer::Scorer;
use crosstie::{Error, spelling};

use super::abtest::told::{interval, lift};
use crate::session::Session;
use crate::{interrupt, output, run, table};

/// Try an experiment in a simulated market, whose true difference is known
///
/// The users and items of a synthetic log come by the day: advertisers bid for a
/// conversion, each arm's model scores the candidates, the best are shown, and who
/// converts is charged the bid. The ramp of the experiment's file decides who takes part.
/// Told is what was measured and, beside it, the true lift: what each model would have
/// earned by all users. Models must be trained on the log of the same settings.
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
    #[arg(long = "arm", value_name = "ARM=RUN_OR_ARTIFACT", required = true)]
    pub arms: Vec<String>,
    /// Write all figures into this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Simulate {
    /// The models, in the order of the arms.
    fn scorers(&self, contract: &Contract) -> Result<Vec<Scorer>> {
        let mut paths: Vec<Option<PathBuf>> = vec![None; contract.arms.len()];
        for named in &self.arms {
            let Some((arm, path)) = named.split_once('=') else {
                bail!("--arm {named}: expected ARM=RUN_OR_ARTIFACT, such as control=runs/single");
            };
            paths[contract.arm(arm)?] = Some(run::artifact(Path::new(path))?);
        }
        let scorer = |(path, arm): (Option<PathBuf>, &crosstie::experiment::Arm)| match path {
            Some(path) => Ok(artifact::load(&path)?),
            None => bail!("no model serves the arm `{}`; --arm {}=RUN names one", arm.name, arm.name),
        };
        paths.into_iter().zip(&contract.arms).map(scorer).collect()
    }

    pub fn execute(&self, session: &Session) -> Result<()> {
        let json = self.json.as_deref().map(NewFile::create).transpose()?;
        let text =
            std::fs::read_to_string(&self.market).with_context(|| format!("cannot read {}", self.market.display()))?;
        let config = MarketConfig::parse(&text).with_context(|| self.market.display().to_string())?;
        let contract = Contract::read(&self.experiment)?;
        let scorers = self.scorers(&contract)?;
        let mut tasks = Vec::new();
        for scorer in &scorers {
            let names = scorer.tasks();
            let place = names.iter().position(|name| *name == config.task);
            tasks.push(place.with_context(|| {
                let hint = spelling::hint(&config.task, names.iter().map(String::as_str));
                format!("the model has no task `{}`{hint}", config.task)
            })?);
        }
        let mut workspaces: Vec<_> = scorers.iter().map(|scorer| scorer.workspace(4096)).collect();
        let mut score = |arm: usize, rows: &Rows| -> crosstie::Result<Vec<f64>> {
            interrupt::check().map_err(|_| Error::Stopped("the market's last day"))?;
            let scores = scorers[arm].score_rows(&mut workspaces[arm], rows)?;
            Ok(scores.from_impression(tasks[arm]).collect())
        };
        let bar = session.spinner("days pass");
        let report = Market::new(&config, &contract, Settings::default())?.run(&mut score)?;
        bar.finish_and_clear();
        if let Some(json) = json {
            json.write(serde_json::to_string_pretty(&report)? + "\n")?;
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
            crosstie::experiment::Status::Running => format!("{} %", step.traffic),
            crosstie::experiment::Status::Done => "done".into(),
            crosstie::experiment::Status::RolledBack => "rolled back".into(),
            crosstie::experiment::Status::Stopped => "stopped".into(),
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
        text += &table::wrapped(&format!("{name}: the true lift of eCPM is {}; {found}", lift(*truth)), 0);
        text.push('\n');
    }
    text.trim_end().into()
}
