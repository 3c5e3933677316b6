//! `crosstie abtest`.

mod log;
mod page;
pub mod told;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use crosstie::data::Source;
use crosstie::durable::write_file;
use crosstie::experiment::statistics::TUNING;
use crosstie::experiment::{Contract, Correction, Settings, StudyReport};
use crosstie::spelling;
use crosstie_serve::experiments::kept::Kept;
use crosstie_serve::log::join::{Files, Joined};
use serde::Serialize;

use super::join::{shortened, window};
use crate::aside::Aside;
use crate::files::Outputs;
use crate::session::Session;
use crate::{output, run, table};
use log::{Log, Measures};

/// Tell how two or more models compare, from what was shown and what came of it
///
/// LOG is a log of `crosstie serve`, or those of several servers; or files with one row
/// for each candidate that was shown, as `crosstie join` makes them: the columns unit,
/// time, arm and, if there are, experiment and scenario; a label for each action (1, 0,
/// or nothing while it is not yet known); <action>_value, what it was worth;
/// joint_<action>, the probability from the impression that was predicted. Of each action
/// the rate is compared, and what it is worth; and eCPM, a thousand times what is earned
/// by impression.
///
/// A unit is one observation, however many impressions it has. Lifts come with two
/// intervals: the sequence holds the true lift at every look, so it may be looked at
/// daily and acted on; the fixed one holds it at one look, at a time fixed before.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie abtest log --window 24h --experiment transfer.toml\n  \
                        crosstie abtest server-1/log server-2/log --window 24h --value buy_value\n  \
                        crosstie abtest joined/*.parquet --html lift.html\n  \
                        crosstie abtest joined/*.parquet --experiment transfer.toml --before october/*.parquet\n  \
                        crosstie abtest log.csv --control old --value revenue --json figures.json")]
pub struct Abtest {
    /// Directories of logs, of which those of several servers are one; or files or globs
    #[arg(value_name = "LOG", required = true)]
    pub data: Vec<String>,
    /// How long after it was shown an action counts: 90m, 24h, 7d. For directories of logs;
    /// files were joined by one
    #[arg(long, value_name = "TIME", value_parser = window)]
    pub window: Option<i64>,
    /// The experiment's file, which says the arms and their shares [default: the arms of
    /// the log, with equal shares]. Where the experiment stands is known beside it: what
    /// was shown before it began does not count
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "control"])]
    pub experiment: Option<PathBuf>,
    /// Which experiment, where the log has several: one of its column `experiment`
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The arm that the others are compared with [default: control]
    #[arg(long, value_name = "ARM")]
    pub control: Option<String>,
    /// Actions to compare [default: those of which the log has a probability or a value]
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub action: Vec<String>,
    /// The column of what is earned, for eCPM [default: that of the action that the experiment's
    /// file names as `value`, or the value of the only action that has one]
    #[arg(long, value_name = "COLUMN")]
    pub value: Option<String>,
    /// Files of the same units in the time before the experiment, which make intervals
    /// narrower (CUPED); they need no arm, and their times, if they have any, must be before
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub before: Vec<String>,
    /// The column of whom the arm was chosen for [default: unit; where that is a feature,
    /// logged_unit]
    #[arg(long, value_name = "COLUMN")]
    pub unit: Option<String>,
    /// The column of when it was shown [default: time; where that is a feature, logged_time]
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// The column of the arm [default: arm; where that is a feature, logged_arm]
    #[arg(long, value_name = "COLUMN")]
    pub arm: Option<String>,
    /// The column of the scenario [default: scenario, if there is one]
    #[arg(long, value_name = "COLUMN")]
    pub scenario: Option<String>,
    /// Intervals leave out the truth with at most this probability
    #[arg(long, value_name = "P", default_value_t = Settings::default().alpha)]
    pub alpha: f64,
    /// Units of both arms at which sequences are narrowest: about as many as the test
    /// will have when it matters
    #[arg(long, value_name = "N", default_value_t = TUNING)]
    pub tuning: f64,
    /// The probability with which the least detectable lift is found
    #[arg(long, value_name = "P", default_value_t = Settings::default().power)]
    pub power: f64,
    /// Also tell how many units it takes to find this lift, such as 0.02
    #[arg(long, value_name = "LIFT", allow_negative_numbers = true)]
    pub lift: Option<f64>,
    /// How p-values of several scenarios are corrected
    #[arg(long, default_value = "holm")]
    pub correction: Corrected,
    /// Write all figures, those of each day too, into this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with the lifts over time into this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Corrected {
    /// Any false alarm among them is as rare as --alpha says
    Holm,
    /// As many of the alarms are false as --alpha says
    BenjaminiHochberg,
    /// Not at all
    None,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Told<'a> {
    /// What stands in the way of believing the figures, in sentences.
    warnings: &'a [String],
    #[serde(flatten)]
    report: &'a StudyReport,
}

impl Abtest {
    fn settings(&self) -> Result<Settings> {
        let share = |name: &str, value: f64| match value > 0.0 && value < 1.0 {
            true => Ok(value),
            false => bail!("--{name}: found {value}, expected more than 0 and less than 1"),
        };
        if !(self.tuning > 0.0 && self.tuning.is_finite()) {
            bail!("--tuning: found {}, expected a number of units", self.tuning);
        }
        if self.lift.is_some_and(|lift| lift == 0.0 || !lift.is_finite()) {
            bail!("--lift: expected a share other than 0, such as 0.02");
        }
        let correction = match self.correction {
            Corrected::Holm => Correction::Holm,
            Corrected::BenjaminiHochberg => Correction::BenjaminiHochberg,
            Corrected::None => Correction::None,
        };
        let (alpha, power) = (share("alpha", self.alpha)?, share("power", self.power)?);
        Ok(Settings { alpha, tuning: self.tuning, power, correction })
    }

    /// The arms with their shares, the control first.
    fn arms(&self, contract: Option<&Contract>, column: &str, found: &[&str]) -> Result<Vec<(String, f64)>> {
        if let Some(contract) = contract {
            found.iter().try_for_each(|arm| contract.arm(arm).map(drop))?;
            let shares = contract.arms.iter().zip(contract.shares());
            return Ok(shares.map(|(arm, share)| (arm.name.clone(), share)).collect());
        }
        if let [arm] = found {
            bail!("the column `{column}` has one arm, `{arm}`; expected two or more");
        }
        let control = self.control.as_deref().unwrap_or("control");
        if !found.contains(&control) {
            bail!("there is no arm `{control}`{}; --control names it", spelling::hint(control, found.iter().copied()));
        }
        let mut others: Vec<&str> = found.iter().copied().filter(|arm| *arm != control).collect();
        others.sort_unstable();
        let share = 1.0 / found.len() as f64;
        Ok([control].into_iter().chain(others).map(|arm| (arm.to_string(), share)).collect())
    }

    fn report(&self, session: &Session) -> Result<(StudyReport, Log, Vec<String>)> {
        let settings = self.settings()?;
        let contract = self.experiment.as_deref().map(Contract::read).transpose()?;
        let began = match &self.experiment {
            Some(file) => Kept::read(file)?.state()?.map_or(0, |state| state.began),
            None => 0,
        };
        let bar = session.spinner("reading the log");
        // Errors tell of the logs instead of files that nobody will find.
        let aside = Aside::hidden(format!("{}, joined: ", self.data.join(", ")))?;
        let (files, shortened) = self.files(aside.path(), began).map_err(|error| aside.named(error))?;
        let name = contract.as_ref().map(|contract| contract.name.as_str()).or(self.name.as_deref());
        let earned = contract.as_ref().and_then(|contract| contract.value.as_deref());
        let read = self.read(&files, name, earned, settings, began);
        let (mut log, columns) = read.map_err(|error| aside.named(error))?;
        let mut unknown_before = None;
        if !self.before.is_empty() {
            bar.set_message("reading the time before");
            let before = Source::open(&self.before)?;
            let unit = self.unit.clone().unwrap_or_else(|| log::own("unit", before.columns()));
            let time = self.time.clone().unwrap_or_else(|| log::own("time", before.columns()));
            let time = Some(&*time).filter(|time| before.columns().iter().any(|column| column == time));
            let [rows, of_units] = log.read_before(&before, &unit, time)?;
            unknown_before = (of_units == 0).then(|| {
                format!(
                    "no row of --before is of a unit that takes part ({} with the column `{unit}`): intervals are what \
                     they are without it",
                    table::several(rows, "row", "rows")
                )
            });
        }
        bar.finish_and_clear();
        let found: Vec<&str> = log.study.arms().collect();
        if found.is_empty() {
            let of = log.named().map_or(String::new(), |name| format!(", the experiment `{name}`"));
            let since = if began > 0 { " and a time after it began" } else { "" };
            let (unit, arm) = (&columns.unit, &columns.arm);
            let passed = table::several(log.took_no_part, "row", "rows");
            bail!(
                "{passed} took no part, which are all: it takes a unit (column `{unit}`), an arm (column \
                 `{arm}`){of}{since}"
            );
        }
        let report = log.study.report(&self.arms(contract.as_ref(), &columns.arm, &found)?);
        if report.arms.iter().all(|arm| arm.units == 0) {
            let crossed = table::several(report.crossed, "unit was", "units were");
            bail!("no unit is left to compare: {crossed} served by more than one arm and left out");
        }
        let warnings = shortened.into_iter().chain(unknown_before).chain(told::warnings(&report)).collect();
        Ok((report, log, warnings))
    }

    fn check_outputs(&self) -> Result<()> {
        let outputs = Outputs::of(self.json.iter().chain(&self.html))?;
        let (logs, files): (Vec<&String>, Vec<&String>) = self.data.iter().partition(|path| Path::new(path).is_dir());
        outputs.spare(logs, "in a log that is read")?;
        outputs.spare(&self.experiment, "the experiment's file")?;
        let read = [files, self.before.iter().collect()].into_iter().filter(|files| !files.is_empty());
        read.map(|files| Source::open(&files)).try_for_each(|source| outputs.spare_files(&source?))
    }

    /// The rows of files with what was shown.
    fn read(
        &self,
        files: &[String],
        name: Option<&str>,
        earned: Option<&str>,
        settings: Settings,
        began: u64,
    ) -> Result<(Log, log::Columns)> {
        let source = Source::open(files)?;
        let columns = self.columns(&source);
        if let (Some(name), None) = (&self.name, &columns.experiment) {
            bail!("--name {name}: the log has no column `experiment` that says which rows are of it");
        }
        // Before anybody has done it, a log has no column for its values.
        let of_action = earned.map(|action| log::own(&format!("{action}_value"), source.columns()));
        let of_action = of_action.filter(|column| source.columns().contains(column));
        let earned = self.value.as_deref().or(of_action.as_deref());
        let measures = Measures::new(&source, &columns, &self.action, earned)?;
        let mut log = Log::new(measures, settings, began);
        log.read(&source, &columns, name)?;
        Ok((log, columns))
    }

    /// The files with what was shown: those named, or what logs are joined to in `aside`; and
    /// what to say of logs that are no longer whole.
    fn files(&self, aside: &Path, began: u64) -> Result<(Vec<String>, Option<String>)> {
        let (logs, files): (Vec<&String>, Vec<&String>) = self.data.iter().partition(|path| Path::new(path).is_dir());
        let window = match (&logs[..], &files[..], self.window) {
            ([], _, None) => return Ok((self.data.clone(), None)),
            ([], _, Some(_)) => bail!("--window is for directories of logs; files were joined by one already"),
            ([log, ..], [file, ..], _) => bail!("{log} is a directory and {file} a file; name logs or files"),
            ([log, ..], [], None) => bail!("{log} is a log: --window says how long an action counts, such as 24h"),
            (_, [], Some(window)) => window,
        };
        let logs: Vec<PathBuf> = logs.into_iter().map(PathBuf::from).collect();
        let joined = Joined::read(&logs)?;
        let made = Files { window, now: None, schema: None, position: None }.write(&joined, aside)?.files;
        if made.is_empty() {
            bail!("nothing was shown yet: the log has no exposure");
        }
        let made = made.iter().map(|file| file.to_string_lossy().into_owned()).collect();
        Ok((made, shortened(&logs, began)?))
    }

    fn columns(&self, source: &Source) -> log::Columns {
        let there = |name: &String| source.columns().contains(name);
        let own = |name: &str| log::own(name, source.columns());
        let named = |column: &Option<String>, name: &str| column.clone().unwrap_or_else(|| own(name));
        log::Columns {
            unit: named(&self.unit, "unit"),
            time: named(&self.time, "time"),
            arm: named(&self.arm, "arm"),
            scenario: self.scenario.clone().or_else(|| Some("scenario".to_string()).filter(there)),
            experiment: Some(own("experiment")).filter(there),
        }
    }

    pub fn execute(&self, session: &Session) -> Result<()> {
        self.check_outputs()?;
        let (report, log, warnings) = self.report(session)?;
        if let Some(json) = &self.json {
            run::write_json(json, &Told { warnings: &warnings, report: &report })?;
        }
        if let Some(html) = &self.html {
            write_file(html, page::page(&report, &log.name(), &warnings))?;
        }
        let passed = log.took_no_part;
        if passed > 0 {
            tracing::info!("{} no part in an experiment", table::several(passed, "row took", "rows took"));
        }
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        output::print(told::report(&report, self.lift))
    }
}
