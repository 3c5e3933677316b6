//! Which column tells when a row was, so that later rows can judge earlier ones.

use super::sides::{OFTEN, alike, by_chance, pairs};
use super::{Draft, Told, words};
use crate::data::survey::{self, ColumnSurvey};

/// Share of the rows that may lack the time of the row.
const MOST_MISSING: f64 = 0.05;
/// Seconds from 1970 to the years 2000 and 2040.
const SECONDS: (f64, f64) = (946_684_800.0, 2_208_988_800.0);
/// To 1990: of a column that is called a time.
const EARLIER: f64 = 631_152_000.0;
/// Words that count on where a log is written day by day.
const COUNTERS: &str = "day week period month year";
/// How often two rows of a panel's key would have the same time by chance, at least, and
/// how much more seldom they do.
const PANEL: f64 = 20.0;

/// The time of the rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Time {
    pub column: usize,
    pub unit: Unit,
    /// Of a panel: the column whose every value has a moment once.
    pub key: Option<usize>,
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
        leave_unread(draft, column);
    }
    for column in draft.open() {
        found.extend(of(draft, column));
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
    let why = match (time.unit, time.key) {
        (Unit::PerSecond(_), _) => "moments".to_string(),
        (Unit::Days, _) => "days".to_string(),
        (Unit::Counter, None) => "a number that goes on".to_string(),
        (Unit::Counter, Some(key)) => format!("of which no `{}` has the same twice", draft.column(key).name()),
    };
    Some(Told::new(time, why))
}

/// Leaves out dates that cannot be read, and tells of what is called a time and is none.
/// As a category a date says of later rows nothing but that they are later.
fn leave_unread(draft: &mut Draft<'_>, index: usize) {
    let (column, rows) = (draft.column(index), draft.survey.rows);
    let (name, name_words) = (column.name(), words::words(column.name()));
    let told = if let Some(unread) = column.unread(rows) {
        draft.leave(index, "dates that cannot be read");
        let write = "write dates as 2019-01-31, and nothing where there is none";
        match unread.cells == rows - column.counts.missing {
            true => format!("`{name}` holds dates such as `{}`, which cannot be read; {write}", unread.first),
            false => format!("`{name}` holds dates that can be read, but {unread}; {write}"),
        }
    } else if words::ends(&name_words, words::TIMES)
        && !words::has(&name_words, words::OTHER_TIMES)
        && column.counts.kind == "text"
        && column.counts.numbers.is_none()
        && !column.is_time
    {
        let cell = column.shown.first().map_or("", String::as_str);
        format!(
            "`{name}` sounds like a time, and its cells, such as `{cell}`, cannot be read as one; if they are days or \
             moments, write them as 2019-01-31 or 2019-01-31 08:00"
        )
    } else {
        return;
    };
    draft.unsure.push(told);
    draft.unread.push(format!("`{name}`"));
}

/// A column as the time of the rows, if it seems to be that.
fn of(draft: &mut Draft<'_>, index: usize) -> Option<Time> {
    let (survey, column) = (draft.survey, draft.column(index));
    let time = |unit: Unit| Some(Time { column: index, unit, key: None });
    let words = words::words(column.name());
    let missing = column.counts.missing as f64 / survey.rows as f64;
    if words::has(&words, words::OTHER_TIMES) || missing > MOST_MISSING || column.distinct() < 3 {
        return None;
    }
    if column.is_time || column.counts.kind == "time" {
        return time(Unit::PerSecond(1.0));
    }
    let numbers = column.counts.numbers.filter(|_| column.whole || column.counts.kind == "number")?;
    let is_called_time = words::ends(&words, words::TIMES);
    let from = if is_called_time { EARLIER } else { SECONDS.0 };
    let within = |per_second: f64| numbers.min >= from * per_second && numbers.max <= SECONDS.1 * per_second;
    let id = words::ends(&words, "id");
    if let Some(per_second) = [1.0, 1e3, 1e6, 1e9].into_iter().find(|per_second| within(*per_second)) {
        return if id { None } else { time(Unit::PerSecond(per_second)) };
    }
    if is_days(column) {
        return time(Unit::Days);
    }
    if !is_called_time && !words::ends(&words, COUNTERS) {
        return None;
    }
    if column.ascending || is_called_time && words.len() == 1 {
        return time(Unit::Counter);
    }
    if let Some(key) = key(draft, index) {
        return Some(Time { column: index, unit: Unit::Counter, key: Some(key) });
    }
    if words.len() == 1 {
        draft.unsure.push(format!(
            "`{}` may be the time, but the rows do not stand in its order; it is taken for a feature. To have later \
             rows judge earlier ones, sort the log by it",
            column.name()
        ));
    }
    None
}

/// Whose rows a panel has, one at each time: the column of which no two rows have the same.
fn key(draft: &Draft<'_>, time: usize) -> Option<usize> {
    let survey = draft.survey;
    let times = &draft.column(time).sample;
    let chance = by_chance(times);
    let is = |index: &usize| {
        let column = draft.column(*index);
        let comes_back = column.distinct() >= 10 && column.rows_per_value(survey.rows) >= OFTEN;
        if *index == time || !comes_back || column.counts.numbers.is_some() && !column.whole {
            return false;
        }
        let pairs = pairs(&column.sample);
        let expected = chance * pairs.len() as f64;
        expected >= PANEL && alike(times, &pairs) as f64 * PANEL <= expected
    };
    draft.open().into_iter().filter(is).max_by_key(|index| draft.column(*index).distinct())
}

/// Whether numbers such as 20240131 are days of the calendar.
fn is_days(column: &ColumnSurvey) -> bool {
    let day = |number: f64| {
        let (year, month, day) = ((number / 10_000.0).floor(), (number / 100.0).floor() % 100.0, number % 100.0);
        (1970.0..2100.0).contains(&year) && (1.0..=12.0).contains(&month) && (1.0..=31.0).contains(&day)
    };
    column.whole && column.sample.numbers.iter().filter(|number| !number.is_nan()).all(|number| day(*number))
}
