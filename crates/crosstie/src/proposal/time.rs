//! Which column tells when a row was, so that later rows can judge earlier ones.

use super::{Draft, Told, words};
use crate::data::survey::{self, ColumnSurvey};

/// Share of the rows that may lack the time of the row.
const MOST_MISSING: f64 = 0.05;
/// Seconds from 1970 to the years 2000 and 2040.
const SECONDS: (f64, f64) = (946_684_800.0, 2_208_988_800.0);
/// To 1990: of a column that is called a time.
const EARLIER: f64 = 631_152_000.0;
/// Words that name the time of a row.
const TIMES: &str = "timestamp time date datetime ts dt when";
/// Words that count on where a log is written day by day.
const COUNTERS: &str = "day week period month";

/// The time of the rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Time {
    pub column: usize,
    pub unit: Unit,
}

/// What the numbers of a time are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    /// So many of them are a second, from 1970.
    PerSecond(f64),
    /// Days written as 20240131.
    Days,
    /// Anything that grows.
    Counter,
}

impl Unit {
    /// A moment for people.
    pub fn text(self, number: f64) -> String {
        match self {
            Unit::PerSecond(per_second) => survey::moment(number / per_second),
            Unit::Days | Unit::Counter => number.to_string(),
        }
    }
}

/// The time; it and other moments are no features.
pub(super) fn time(draft: &mut Draft<'_>) -> Option<Told<Time>> {
    let mut found: Vec<Time> = Vec::new();
    for column in draft.open() {
        found.extend(unit(draft, column).map(|unit| Time { column, unit }));
    }
    // The finest tells the most.
    let fine = |time: &&Time| {
        let moments = !matches!(time.unit, Unit::Counter);
        (moments, draft.column(time.column).distinct())
    };
    let time = found.iter().max_by_key(fine)?.clone();
    let name = draft.column(time.column).name().to_string();
    draft.leave(time.column, "the time: it only goes on, so later rows have values that training has not met");
    for other in found.iter().filter(|other| **other != time) {
        draft.leave(other.column, format!("a time, as `{name}` is: it only goes on"));
    }
    let why = match time.unit {
        Unit::PerSecond(_) => "moments",
        Unit::Days => "days",
        Unit::Counter => "a number that goes on",
    };
    Some(Told::new(time, why))
}

/// What a column's times are, if it seems to tell the times of the rows.
fn unit(draft: &mut Draft<'_>, index: usize) -> Option<Unit> {
    let (survey, column) = (draft.survey, draft.column(index));
    let words = words::words(column.name());
    let missing = column.counts.missing as f64 / survey.rows as f64;
    if words::has(&words, words::OTHER_TIMES) || missing > MOST_MISSING || column.distinct() < 3 {
        return None;
    }
    if column.is_time || column.counts.kind == "time" {
        return Some(Unit::PerSecond(1.0));
    }
    let numbers = column.counts.numbers.filter(|_| column.whole || column.counts.kind == "number")?;
    let from = if words::ends(&words, TIMES) { EARLIER } else { SECONDS.0 };
    let within = |per_second: f64| numbers.min >= from * per_second && numbers.max <= SECONDS.1 * per_second;
    let id = words::ends(&words, "id");
    if let Some(per_second) = [1.0, 1e3, 1e6, 1e9].into_iter().find(|per_second| within(*per_second)) {
        return (!id).then_some(Unit::PerSecond(per_second));
    }
    if is_days(column) {
        return Some(Unit::Days);
    }
    if !words::ends(&words, TIMES) && !words::ends(&words, COUNTERS) {
        return None;
    }
    if words.len() > 1 && !column.ascending {
        return None;
    }
    if words::ends(&words, TIMES) || column.ascending {
        return Some(Unit::Counter);
    }
    let name = column.name();
    draft
        .unsure
        .push(format!("`{name}` may be the time, but the rows do not stand in its order; it is taken for a feature"));
    None
}

/// Whether numbers such as 20240131 are days of the calendar.
fn is_days(column: &ColumnSurvey) -> bool {
    let day = |number: f64| {
        let (year, month, day) = ((number / 10_000.0).floor(), (number / 100.0).floor() % 100.0, number % 100.0);
        (1970.0..2100.0).contains(&year) && (1.0..=12.0).contains(&month) && (1.0..=31.0).contains(&day)
    };
    column.whole && column.sample.numbers.iter().filter(|number| !number.is_nan()).all(|number| day(*number))
}
