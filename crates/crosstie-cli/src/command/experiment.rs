//! `crosstie experiment`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use crosstie::experiment::{Decision, Ramp, State, Status};
use crosstie_serve::experiments::kept::Kept;

use crate::output;

/// See where an experiment stands, and decide by hand
///
/// A server that has the file's directory under `experiments.directory` takes notice within
/// a second. By itself it moves on where guard rails and sample ratio hold, and rolls back
/// where they break; what is decided here is not asked again.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie experiment status experiments/transfer.toml\n  \
                        crosstie experiment roll-back experiments/transfer.toml")]
pub struct Experiment {
    /// What to do
    pub what: What,
    /// The experiment's file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// What can be done with an experiment.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum What {
    /// Say where it stands
    Status,
    /// Go to the next step, whatever its guard rails say; after the last one the candidate
    /// serves all
    Advance,
    /// The control serves all
    RollBack,
    /// End it without a verdict: the control serves all
    Stop,
    /// Begin anew with the first step. What the log says of it counts still; give it
    /// another name to begin with nothing
    Restart,
}

impl Experiment {
    pub fn execute(&self) -> Result<()> {
        let kept = Kept::read(&self.file)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Some(before) = kept.state()? else {
            match self.what {
                What::Status => return output::print(format!("{}: not started\n", kept.contract.name)),
                _ => bail!("experiment `{}` was not started: no server has read its file", kept.contract.name),
            }
        };
        let by_hand = || "by hand".to_string();
        let after = match self.what {
            What::Status => before,
            What::Restart => kept.change(now, |_| State::started(now))?,
            _ if before.status != Status::Running => {
                bail!("experiment `{}` runs no more ({}); `restart` begins anew", kept.contract.name, told(&before))
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
        output::print(describe(&kept, &after, now))
    }
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
