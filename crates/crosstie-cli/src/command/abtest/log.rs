//! The rows of a log, as terms of the measures that are compared.

use anyhow::{Result, bail};
use crosstie::data::{Column, Rows, Source};
use crosstie::experiment::{ECPM, Settings, Shown, Study};
use crosstie::spelling;
use crosstie_serve::log::Time;

/// Rows that are taken at a time.
const ROWS: usize = 8192;

const SECONDS_A_DAY: f64 = 86_400.0;

/// What a column of the log's own is called: `crosstie join` gives way to a feature of its
/// name, which is another thing.
pub fn own(name: &str, columns: &[String]) -> String {
    let renamed = format!("logged_{name}");
    if columns.contains(&renamed) { own(&renamed, columns) } else { name.to_string() }
}

/// What is compared, and by which columns.
pub struct Measures {
    /// Actions whose rate is compared.
    actions: Vec<String>,
    /// Actions whose value is compared: their columns.
    values: Vec<Value>,
    /// What is earned.
    earned: Option<Value>,
    /// Of each action the column of its probability from the impression.
    probabilities: Vec<Option<String>>,
}

struct Value {
    column: String,
    /// The action without which there is none, if it is one's value.
    action: Option<String>,
}

impl Measures {
    /// What can be compared in a log, of which its own columns tell who was shown what and when.
    pub fn new(source: &Source, own_columns: &Columns, asked: &[String], earned: Option<&str>) -> Result<Measures> {
        let columns: Vec<&str> = source.columns().iter().map(String::as_str).collect();
        let there = |name: &str| columns.contains(&name);
        let mut actions: Vec<String> = asked.to_vec();
        if actions.is_empty() {
            // In the order of the log's labels.
            let found: Vec<&str> = columns.iter().filter_map(|column| action_of(column)).collect();
            actions = columns.iter().filter(|column| found.contains(column)).map(|name| name.to_string()).collect();
        }
        if let Some(action) = actions.iter().find(|action| !there(action)) {
            bail!("there is no action `{action}`{}", spelling::hint(action, columns));
        }
        if actions.is_empty() && earned.is_none() {
            let others: Vec<&str> = columns.into_iter().filter(|column| !own_columns.have(column)).collect();
            match others.is_empty() {
                true => bail!(
                    "the log tells of no action: expected a column of an action (1, 0 or nothing) beside {}",
                    source.columns().join(", ")
                ),
                false => bail!(
                    "the log has no probability and no value of an action; --action names the actions, and --value \
                     what is earned, among these columns: {}",
                    others.join(", ")
                ),
            }
        }
        let value = |column: String| {
            let action = column.trim_start_matches("logged_").strip_suffix("_value");
            let action = action.filter(|action| there(action)).map(String::from);
            Value { column, action }
        };
        let named = actions.iter().map(|action| own(&format!("{action}_value"), source.columns()));
        let named = named.filter(|column| there(column));
        let mut values: Vec<Value> = named.map(value).collect();
        let earned = match earned {
            Some(column) if !there(column) => {
                bail!("there is no column `{column}`{}", spelling::hint(column, columns))
            }
            Some(column) => Some(value(column.to_string())),
            None if values.len() == 1 => values.pop(),
            None => None,
        };
        // What is earned is told once.
        values.retain(|value| earned.as_ref().is_none_or(|earned| earned.column != value.column));
        let probability = |action: &String| {
            let names = [format!("joint_{action}"), format!("p_{action}")].map(|name| own(&name, source.columns()));
            names.into_iter().find(|name| there(name))
        };
        let probabilities = actions.iter().map(probability).collect();
        Ok(Measures { actions, values, earned, probabilities })
    }

    fn names(&self) -> Vec<String> {
        let rates = self.actions.iter().map(|action| format!("{action} rate"));
        let values = self.values.iter().filter_map(|value| Some(format!("{} value", value.action.as_ref()?)));
        rates.chain(values).chain(self.earned.iter().map(|_| ECPM.to_string())).collect()
    }

    fn columns(&self) -> impl Iterator<Item = &str> {
        let values = self.values.iter().chain(&self.earned);
        let values = values.flat_map(|value| value.action.iter().chain([&value.column]));
        self.actions.iter().chain(values).map(String::as_str)
    }

    /// Of each row numerator and denominator of each measure.
    fn terms(&self, rows: &Rows) -> Result<Vec<Vec<(f64, f64)>>> {
        let mut terms = vec![Vec::new(); rows.len()];
        for action in &self.actions {
            for (term, label) in terms.iter_mut().zip(rows.column(action)?.labels()?) {
                term.push(if label.is_nan() { (0.0, 0.0) } else { (f64::from(label), 1.0) });
            }
        }
        for (value, factor) in
            self.values.iter().map(|value| (value, 1.0)).chain(self.earned.iter().map(|value| (value, 1e3)))
        {
            // While nobody knows whether it happens, nobody knows what it is worth.
            let labels = match &value.action {
                Some(action) => rows.column(action)?.labels()?,
                None => vec![0.0; rows.len()],
            };
            let worth = rows.column(&value.column)?.numbers()?;
            for ((term, label), worth) in terms.iter_mut().zip(labels).zip(worth) {
                term.push(if label.is_nan() { (0.0, 0.0) } else { (factor * worth.unwrap_or_default(), 1.0) });
            }
        }
        Ok(terms)
    }

    /// Of each row the prediction and the label of each action, where both are known.
    fn predicted(&self, rows: &Rows) -> Result<Vec<Vec<Predicted>>> {
        let mut predicted = vec![Vec::new(); rows.len()];
        for (action, probability) in self.actions.iter().zip(&self.probabilities) {
            let labels = rows.column(action)?.labels()?;
            let numbers = match probability {
                Some(column) => {
                    let column = rows.column(column)?;
                    let numbers = column.numbers()?;
                    let impossible = |number: &Option<f64>| number.is_some_and(|it| !(0.0..=1.0).contains(&it));
                    match numbers.iter().position(impossible) {
                        Some(row) => return Err(column.error(row, "a probability from 0 to 1").into()),
                        None => numbers,
                    }
                }
                None => vec![None; rows.len()],
            };
            for ((row, label), number) in predicted.iter_mut().zip(labels).zip(numbers) {
                row.push(number.filter(|_| !label.is_nan()).map(|number| (number, label == 1.0)));
            }
        }
        Ok(predicted)
    }
}

/// The action that a column tells the probability or the value of.
fn action_of(column: &str) -> Option<&str> {
    let action = ["joint_", "p_"].iter().find_map(|prefix| column.strip_prefix(prefix));
    action.or_else(|| column.strip_suffix("_value"))
}

/// The predicted probability of a task and whether it happened, where both are known.
type Predicted = Option<(f64, bool)>;

/// The columns that say who was shown what, when, and by which arm.
pub struct Columns {
    pub unit: String,
    pub time: String,
    pub arm: String,
    pub scenario: Option<String>,
    pub experiment: Option<String>,
}

impl Columns {
    fn all(&self) -> impl Iterator<Item = &str> {
        let if_there = self.scenario.iter().chain(&self.experiment);
        [&self.unit, &self.time, &self.arm].into_iter().chain(if_there).map(String::as_str)
    }

    /// Whether a column is one of these, or another that a server's log has beside actions.
    fn have(&self, column: &str) -> bool {
        const LOGGED: [&str; 7] = ["request", "model", "version", "artifact", "candidate", "position", "score"];
        self.all().any(|own| own == column) || LOGGED.contains(&column)
    }
}

/// A log, read into a study.
pub struct Log {
    measures: Measures,
    pub study: Study,
    /// Rows without an arm or a unit, of another experiment than the one asked for, or of before it
    /// began.
    pub took_no_part: u64,
    /// When the experiment began, in seconds since 1970: rows of before do not count.
    began: u64,
    /// When the first row that counts was shown, in seconds since 1970.
    first: f64,
    experiment: Option<String>,
}

impl Log {
    pub fn new(measures: Measures, settings: Settings, began: u64) -> Log {
        let study = Study::new(&measures.names(), &measures.actions, settings);
        Log { measures, study, took_no_part: 0, began, first: f64::INFINITY, experiment: None }
    }

    /// The experiment's name, if the log has one.
    pub fn name(&self) -> String {
        self.experiment.clone().unwrap_or_else(|| "experiment".into())
    }

    /// The experiment whose rows count, where rows tell theirs.
    pub fn named(&self) -> Option<&str> {
        self.experiment.as_deref()
    }

    /// Takes in the rows of one experiment: the one asked for, or the only one.
    pub fn read(&mut self, source: &Source, columns: &Columns, asked: Option<&str>) -> Result<()> {
        self.experiment = asked.map(String::from);
        let mut wanted: Vec<&str> = Vec::new();
        let predicted = self.measures.probabilities.iter().flatten().map(String::as_str);
        for column in columns.all().chain(self.measures.columns()).chain(predicted) {
            if !wanted.contains(&column) {
                wanted.push(column);
            }
        }
        for rows in source.rows(&wanted, ROWS) {
            let rows = rows?;
            let if_there = |column: &Option<String>| column.as_ref().map(|name| texts(&rows.column(name)?)).transpose();
            let (experiments, scenarios) = (if_there(&columns.experiment)?, if_there(&columns.scenario)?);
            let time_column = rows.column(&columns.time)?;
            let (units, arms) = (texts(&rows.column(&columns.unit)?)?, texts(&rows.column(&columns.arm)?)?);
            let (times, terms, predicted) =
                (time_column.numbers()?, self.measures.terms(&rows)?, self.measures.predicted(&rows)?);
            for row in 0..rows.len() {
                let (Some(arm), Some(unit)) = (&arms[row], &units[row]) else {
                    self.took_no_part += 1;
                    continue;
                };
                if let Some(experiments) = &experiments
                    && !self.is_of(experiments[row].as_deref(), asked)?
                {
                    self.took_no_part += 1;
                    continue;
                }
                let Some(time) = times[row] else { return Err(time_column.error(row, "a time").into()) };
                let time = seconds(time);
                if time < self.began as f64 {
                    self.took_no_part += 1;
                    continue;
                }
                self.first = self.first.min(time);
                let scenario = scenarios.as_ref().and_then(|scenarios| scenarios[row].as_deref());
                let (terms, predicted) = (&terms[row], &predicted[row]);
                self.study.add(&Shown { unit, arm, day: day(time), scenario, terms, predicted });
            }
        }
        Ok(())
    }

    /// Whether a row's experiment is the one asked for, or the only one.
    fn is_of(&mut self, found: Option<&str>, asked: Option<&str>) -> Result<bool> {
        let Some(found) = found else { return Ok(false) };
        match (&self.experiment, asked) {
            (_, Some(asked)) => Ok(found == asked),
            (None, None) => {
                self.experiment = Some(found.into());
                Ok(true)
            }
            (Some(first), None) if first == found => Ok(true),
            (Some(first), None) => bail!("the log has the experiments `{first}` and `{found}`; --name says which"),
        }
    }

    /// Takes in rows of the time before. Where they tell their `time`, that must be before the
    /// experiment: what a unit did in it is what is measured, and explains all of it.
    /// Gives the number of rows, and of those among them of units that take part.
    pub fn read_before(&mut self, source: &Source, unit: &str, time: Option<&str>) -> Result<[u64; 2]> {
        let began = if self.began > 0 { self.began as f64 } else { self.first };
        let mut wanted = vec![unit];
        let measured: Vec<String> = self.measures.columns().map(String::from).collect();
        for column in time.into_iter().chain(measured.iter().map(String::as_str)) {
            if !wanted.contains(&column) {
                wanted.push(column);
            }
        }
        let mut counts = [0, 0];
        for rows in source.rows(&wanted, ROWS) {
            let rows = rows?;
            if let Some(time) = time {
                let column = rows.column(time)?;
                let is_before = |time: &Option<f64>| time.is_some_and(|time| seconds(time) < began);
                if let Some(row) = column.numbers()?.iter().position(|time| !is_before(time)) {
                    let began = Time::from_seconds(began).map_or(format!("{began}"), |began| began.to_string());
                    return Err(column.error(row, format!("a time before {began}, when the experiment begins")).into());
                }
            }
            for (unit, terms) in texts(&rows.column(unit)?)?.iter().zip(self.measures.terms(&rows)?) {
                counts[0] += 1;
                // Units that take no part need no memory.
                if let Some(unit) = unit.as_deref().filter(|unit| self.study.knows(unit)) {
                    counts[1] += 1;
                    self.study.add_before(unit, &terms);
                }
            }
        }
        Ok(counts)
    }
}

/// The seconds of a time since 1970 in seconds, or in milli-, micro- or nanoseconds, which
/// no other time is so large as.
fn seconds(time: f64) -> f64 {
    (0..3).fold(time, |time, _| if time.abs() >= 1e11 { time / 1e3 } else { time })
}

fn day(seconds: f64) -> i64 {
    (seconds / SECONDS_A_DAY).floor() as i64
}

fn texts(column: &Column<'_>) -> Result<Vec<Option<String>>> {
    let mut texts = Vec::with_capacity(column.len());
    column.each_text(|_, text| texts.push(text.map(String::from)))?;
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_told_from_times_in_any_unit() {
        // 2026-11-27T07:00:00Z is 1,795,762,800 seconds; its midnight is day 20,784.
        for time in [1_795_762_800.0, 1_795_762_800e3, 1_795_762_800e6, 1_795_762_800e9] {
            assert_eq!(day(seconds(time)), 20_784, "{time}");
        }
        assert_eq!(day(-1.0), -1);
    }
}
