//! `crosstie experiment`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use crosstie::experiment::{ArmEvidence, Count, Decision, Evidence, Ramp, State, Status};
use crosstie_serve::clock::Clock;
use crosstie_serve::experiments::evidence;
use crosstie_serve::experiments::kept::Kept;

use super::abtest::told::interval;
use super::join::{shortened, window};
use crate::{output, table};

/// See where an experiment stands, and decide by hand
///
/// A server that has the file's directory under `experiments.directory` takes notice within
/// a second. By itself it moves on where guard rails and sample ratio hold, and rolls back
/// where they break; what is decided here is not asked again.
///
/// With --log it is told what is known of each arm, and what the ramp makes of it. Logs of
/// several servers are one log: name all of them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie experiment status experiments/transfer.toml\n  \
                        crosstie experiment status experiments/transfer.toml --log server-1/log --log server-2/log\n  \
                        crosstie experiment advance experiments/transfer.toml --log log\n  \
                        crosstie experiment roll-back experiments/transfer.toml")]
pub struct Experiment {
    /// What to do
    pub what: What,
    /// The experiment's file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A log with evidence; once for each server
    #[arg(long = "log", value_name = "LOG")]
    pub logs: Vec<PathBuf>,
    /// How long after it was shown an action counts: 90m, 24h, 7d. As the servers'
    /// `experiments.window_hours`
    #[arg(long, value_name = "TIME", value_parser = window, default_value = "24h")]
    pub window: i64,
}

/// What can be done with an experiment.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum What {
    /// Say where it stands
    Status,
    /// Go to the next step; after the last one the candidate serves all. Whatever guard rails
    /// say, or, with --log, only if they and the sample ratio hold
    Advance,
    /// The control serves all
    RollBack,
    /// End it without a verdict: the control serves all
    Stop,
    /// Begin anew with the first step: what was shown before counts no more. Units keep
    /// their arms; another salt assigns them anew
    Restart,
}

impl Experiment {
    pub fn execute(&self) -> Result<()> {
        let kept = Kept::read(&self.file)?;
        let now = Clock::machine().seconds();
        let Some(before) = kept.state()? else {
            match self.what {
                What::Status => return output::print(format!("{}: not started\n", kept.contract.name)),
                _ => bail!("experiment `{}` was not started: no server has read its file", kept.contract.name),
            }
        };
        let by_hand = || "by hand".to_string();
        let unchanged = kept.contract.check_unchanged(&before).map_err(|error| error.within(&self.file));
        let evidence = self.evidence(&kept, &before)?;
        let next = evidence.as_ref().map(|evidence| Ramp::next(&kept.contract, &before, evidence, now));
        let after = match self.what {
            What::Status => before,
            What::Restart => kept.change(now, |_| kept.contract.start(now))?,
            _ if before.status != Status::Running => {
                bail!("experiment `{}` runs no more ({}); `restart` begins anew", kept.contract.name, told(&before))
            }
            What::Advance if unchanged.is_err() => return Ok(unchanged?),
            What::Advance if next.as_ref().is_some_and(|next| *next != Decision::Advance) => {
                let next = next.as_ref().map(verdict).unwrap_or_default();
                bail!("experiment `{}` {next}; without --log it advances whatever they say", kept.contract.name)
            }
            What::Advance => kept.change(now, |state| Ramp::apply(&kept.contract, state, &Decision::Advance, now))?,
            What::RollBack => {
                kept.change(now, |state| Ramp::apply(&kept.contract, state, &Decision::RollBack(by_hand()), now))?
            }
            What::Stop => kept.change(now, |state| State {
                status: Status::Stopped,
                since: now,
                reason: by_hand(),
                ..state.clone()
            })?,
        };
        let mut text = describe(&kept, &after, now);
        if let (What::Status, Err(error)) = (self.what, &unchanged) {
            text += &format!("{}\n", table::wrapped(&format!("Servers go on without it: {error}."), 0));
        }
        if let (What::Status, Some(evidence), Some(next)) = (self.what, &evidence, &next) {
            text += &format!("\n{}", known(&kept, evidence));
            if let Some(shortened) = shortened(&self.logs, after.began)? {
                text += &format!("{}\n", table::wrapped(&format!("Note: {shortened}."), 0));
            }
            if after.status == Status::Running {
                text += &format!("{}\n", table::wrapped(&format!("It {}.", verdict(next)), 0));
            }
        }
        output::print(text.trim_end())
    }

    /// What the logs say, if any are named.
    fn evidence(&self, kept: &Kept, state: &State) -> Result<Option<Evidence>> {
        if self.logs.is_empty() {
            return Ok(None);
        }
        let window = Duration::from_micros(u64::try_from(self.window).unwrap_or(0));
        Ok(Some(evidence::read(&kept.contract, state, &self.logs, window)?))
    }
}

/// What becomes of an experiment, behind its name.
fn verdict(next: &Decision) -> String {
    match next {
        Decision::Stay(why) => format!("stays: {why}"),
        Decision::Advance => "may advance: guard rails and sample ratio hold".into(),
        Decision::RollBack(why) => format!("should be rolled back: {why}"),
    }
}

/// What is known of each arm: a table.
fn known(kept: &Kept, evidence: &Evidence) -> String {
    let mut header = ["arm", ">units", ">failed", ">p99", ">unknown values"].map(String::from).to_vec();
    let tasks: Vec<&String> = kept.contract.guard.calibration.keys().collect();
    header.extend(tasks.iter().map(|task| format!(">{task}, predicted for one")));
    header.push(">lift of eCPM".into());
    let share = |count: Option<Count>| {
        count.map_or("-".into(), |Count { number, of }| table::percent(Some(number as f64 / of.max(1) as f64)))
    };
    let row = |(arm, seen): (&crosstie::experiment::Arm, &ArmEvidence)| {
        let mut row = vec![arm.name.clone(), table::count(seen.units), share(seen.failures)];
        row.push(seen.p99_ms.map_or("-".into(), |ms| format!("{ms:.1} ms")));
        row.push(share(seen.unknown));
        let pcoc = |task: &&String| {
            let pcoc = seen.calibration.get(*task).and_then(|seen| seen.pcoc());
            pcoc.map_or("-".into(), |pcoc| format!("{pcoc:.3}"))
        };
        row.extend(tasks.iter().map(pcoc));
        row.push(seen.ecpm_lift.map_or("-".into(), interval));
        row
    };
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut text = table::table(&names, kept.contract.arms.iter().zip(&evidence.arms).map(row));
    if let Some(p) = evidence.sample_ratio {
        text += &format!("\n\nSample ratio: p = {p:.3}\n");
    }
    text
}

fn told(state: &State) -> &'static str {
    match state.status {
        Status::Running => "running",
        Status::RolledBack => "rolled back",
        Status::Stopped => "stopped",
        Status::Done => "done",
    }
}

/// Name, status, since when and why; of a running one the shares of all traffic.
fn describe(kept: &Kept, state: &State, now: u64) -> String {
    let contract = &kept.contract;
    let hours = now.saturating_sub(state.since) as f64 / 3600.0;
    let mut text = format!("{}: {} for {hours:.1} hours, {}\n", contract.name, told(state), state.reason);
    if state.status == Status::Running
        && let Some(step) = contract.steps.get(state.step)
    {
        text += &format!(
            "step {} of {}: {} % take part, by {}\n",
            state.step + 1,
            contract.steps.len(),
            step.traffic,
            contract.unit
        );
        for arm in &contract.arms {
            text += &format!("  {} ({}): {} % of all\n", arm.name, arm.model, step.traffic * arm.share / 100.0);
        }
    }
    text
}
