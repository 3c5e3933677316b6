//! How the rows are cut into those to learn from, to stop by, and to judge by.

use std::path::Path;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::time::{Time, Unit};
use arrow_select::filter::filter_record_batch;

use super::{Draft, Told};
use crate::arrow::array::{BooleanArray, RecordBatch};
use crate::data::{Rows, Source, Split, Splits, TextColumn};
use crate::error::{Error, Result};
use crate::random::Stream;

/// Shares of the rows before the validation rows and before the test rows.
const CUTS: [f64; 2] = [0.8, 0.9];
/// Rows read and written at a time.
const PIECE: usize = 1 << 15;

/// A cut.
#[derive(Clone, Debug, PartialEq)]
pub enum Cut {
    /// By a column of numbers or moments: rows from `valid` on validate, from `test`
    /// on test. Rows without a time are learned from.
    Time {
        /// The column.
        column: String,
        /// The first validation moment.
        valid: f64,
        /// The first test moment.
        test: f64,
        /// The two moments, for people.
        told: [String; 2],
    },
    /// At random, but rows with the same value stay together.
    Group {
        /// The column.
        column: String,
    },
    /// At random.
    Rows,
}

/// Decides the cut.
pub(super) fn cut(draft: &mut Draft<'_>, time: Option<Told<Time>>, group: Option<&str>) -> Told<Cut> {
    if let Some(Told { what: Time { column, unit, key }, why }) = time {
        let name = draft.column(column).name().to_string();
        if let Some([valid, test]) = boundaries(&draft.column(column).sample.numbers) {
            let missing = draft.column(column).counts.missing;
            if missing > 0 {
                draft.unsure.push(format!("{missing} rows have no `{name}`; they are learned from"));
            }
            if unit == Unit::Counter {
                let goes_on = match key {
                    Some(key) => format!("no `{}` has the same twice", draft.column(key).name()),
                    None => "its numbers go on".into(),
                };
                draft.unsure.push(format!("`{name}` is taken for the time since its name says so and {goes_on}"));
            }
            let told = [valid, test].map(|moment| unit.text(moment));
            return Told::new(Cut::Time { column: name, valid, test, told }, why);
        }
        draft.unsure.push(format!("`{name}` has too few moments to cut the rows by"));
    }
    let no_time = match &draft.unread[..] {
        [] => "there is no time".to_string(),
        unread => format!("there is no time that can be read ({})", unread.join(", ")),
    };
    match group {
        Some(column) => {
            draft.unsure.push(format!(
                "without a time the rows are cut by `{column}`: the figures are those of values of it that training \
                 has not met"
            ));
            Told::new(Cut::Group { column: column.into() }, no_time)
        }
        None => Told::new(Cut::Rows, format!("{no_time} and nothing that keeps rows together")),
    }
}

impl Told<Cut> {
    /// Into what the rows are cut, and why: what follows "the rows are cut". The parts are to
    /// learn from, to validate and to test.
    pub fn in_three(&self) -> String {
        match &self.what {
            Cut::Time { told: [valid, test], .. } => {
                self.parts(&format!("validation from {valid} on, test from {test} on"))
            }
            Cut::Group { .. } => self.parts("80, 10 and 10 % of its values"),
            Cut::Rows => self.parts("80, 10 and 10 % of them"),
        }
    }

    /// The same where the first two parts are learned from, and the third one stops that.
    pub fn in_two(&self) -> String {
        match &self.what {
            Cut::Time { told: [_, test], .. } => self.parts(&format!("those from {test} on are to stop by")),
            Cut::Group { .. } => self.parts("90 and 10 % of its values"),
            Cut::Rows => self.parts("90 and 10 % of them"),
        }
    }

    fn parts(&self, parts: &str) -> String {
        let why = &self.why;
        match &self.what {
            Cut::Time { column, .. } => format!("by the time `{column}`, {why}; {parts}"),
            Cut::Group { column } => format!("at random by `{column}`: {why}; {parts}"),
            Cut::Rows => format!("at random: {why}; {parts}"),
        }
    }
}

/// The moments nearest to the wanted shares, so that no moment stands on both sides.
fn boundaries(numbers: &[f64]) -> Option<[f64; 2]> {
    let mut sorted: Vec<f64> = numbers.iter().copied().filter(|number| !number.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let rows = sorted.len() as f64;
    // Where a new moment begins, and what share of the rows is before it.
    let begins: Vec<(f64, f64)> = (1..sorted.len())
        .filter(|row| sorted[*row] != sorted[row - 1])
        .map(|row| (row as f64 / rows, sorted[row]))
        .collect();
    let nearest = |wanted: f64, some: &[(f64, f64)]| {
        let distance = |place: &usize| (some[*place].0 - wanted).abs();
        (0..some.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))
    };
    let valid = nearest(CUTS[0], begins.get(..begins.len().checked_sub(1)?)?)?;
    let test = valid + 1 + nearest(CUTS[1], &begins[valid + 1..])?;
    Some([begins[valid].1, begins[test].1])
}

impl Cut {
    /// Where the rows go; `first` is the number of rows before them. What is random
    /// depends on the seed.
    fn of(&self, rows: &Rows, first: u64, seed: u64) -> Result<Vec<Option<Split>>> {
        let place = |share: f64| match () {
            () if share < CUTS[0] => Split::Train,
            () if share < CUTS[1] => Split::Valid,
            () => Split::Test,
        };
        let draw = Stream::new(seed, "cut");
        Ok(match self {
            Cut::Time { column, valid, test, .. } => {
                let split = |number: Option<f64>| match number {
                    Some(number) if number >= *test => Split::Test,
                    Some(number) if number >= *valid => Split::Valid,
                    _ => Split::Train,
                };
                rows.column(column)?.numbers()?.into_iter().map(|number| Some(split(number))).collect()
            }
            Cut::Group { column } => {
                let mut splits = vec![None; rows.len()];
                rows.column(column)?.each_text(|row, text| {
                    // What belongs to nothing is dealt by itself.
                    let key = text.map_or(first + row as u64, |text| xxh3_64(text.as_bytes()));
                    splits[row] = Some(place(draw.uniform(key)));
                })?;
                splits
            }
            Cut::Rows => (0..rows.len() as u64).map(|row| Some(place(draw.uniform(first + row)))).collect(),
        })
    }
}

/// Deals all rows of a log to `train.parquet`, `valid.parquet` and `test.parquet` in a
/// directory, with all columns as they are, and gives the number of rows of each. One
/// streaming pass.
///
/// # Errors
/// Those of reading and writing; [`crate::Error::Unfit`] where a file would have no
/// rows.
pub fn deal(source: &Source, cut: &Cut, to: &Path, seed: u64) -> Result<[u64; 3]> {
    let names: Vec<&str> = source.columns().iter().map(String::as_str).collect();
    let schema = source.types(&names)?;
    let mut splits = Splits::create(to, &schema)?;
    each(source, &names, cut, seed, |rows, chosen| splits.write(&rows.with_types(&schema)?, chosen))?;
    splits.finish()
}

/// Deals all rows of a table in memory in two: those to learn from, and those to stop by,
/// which are those that [`deal`] would keep for the test.
///
/// # Errors
/// Those of reading; [`crate::Error::Unfit`] where one of the two would have no rows.
pub fn part(source: &Source, cut: &Cut, seed: u64) -> Result<[Source; 2]> {
    let names: Vec<&str> = source.columns().iter().map(String::as_str).collect();
    let path = &source.files()[0];
    let mut parts: [Vec<RecordBatch>; 2] = Default::default();
    each(source, &names, cut, seed, |rows, chosen| {
        for (part, last) in parts.iter_mut().zip([false, true]) {
            let chosen: BooleanArray = chosen.iter().map(|split| Some((*split == Some(Split::Test)) == last)).collect();
            let rows = filter_record_batch(&rows.batch, &chosen)
                .map_err(|error| Error::file(path, error.to_string()).because(error))?;
            if rows.num_rows() > 0 {
                part.push(rows);
            }
        }
        Ok(())
    })?;
    let [learn, stop] = parts;
    let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    if learn.is_empty() || stop.is_empty() {
        let sizes = format!("{} to learn from, {} to stop by", rows(&learn), rows(&stop));
        return Err(Error::unfit(path, format!("there are too few rows to cut them in two: {sizes}")));
    }
    Ok([Source::from_batches(path, learn)?, Source::from_batches(path, stop)?])
}

/// Tells of all rows, a piece at a time, where they go.
fn each(
    source: &Source,
    names: &[&str],
    cut: &Cut,
    seed: u64,
    mut told: impl FnMut(&Rows, &[Option<Split>]) -> Result<()>,
) -> Result<()> {
    let read: Vec<TextColumn<'_>> = match cut {
        Cut::Time { column, .. } | Cut::Group { column } => vec![TextColumn { name: column, separator: None }],
        Cut::Rows => Vec::new(),
    };
    let reading = Arc::new(source.reading(&read, &[])?.0);
    let mut first = 0;
    for rows in source.rows(names, PIECE) {
        let rows = rows?;
        told(&rows, &cut.of(&rows.read_as(&reading), first, seed)?)?;
        first += rows.len() as u64;
    }
    Ok(())
}
