//! What a log that nobody has described holds, in one pass: for whoever proposes
//! what its columns mean.
//!
//! Memory does not grow with the rows. Of each column there are at most a million
//! hashes of distinct values (some 20 MiB), the pieces of its first 10,000 texts, and
//! its cells in a random sample of at most 65,536 rows, 16 bytes each. Of columns of 0
//! and 1, the first 64, it is counted how often one is 1 where another is not.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::reading::{self, Cells};
use super::rows::Rows;
use super::sample::TextColumn;
use super::source::Source;
use super::summary::{ColumnCounter, ColumnSummary};
use super::time::Moment;
use crate::error::Result;
use crate::random::Stream;

/// Rows read at a time.
const LIMIT: usize = 1 << 15;
/// A log with no more rows is its own sample; the sample of a larger one has more.
const SAMPLE: usize = 1 << 15;
/// Texts of a column that are looked at for lists.
const TEXTS: usize = 10_000;
/// Letters of a cell that are shown.
const SHOWN: usize = 40;
/// Values of a column that are shown, the first ones.
const MOST_SHOWN: usize = 2;
/// Columns of 0 and 1 that are compared with each other.
const MOST_BINARY: usize = 64;

/// What may stand between the values of a list in a cell of text.
pub const SEPARATORS: [&str; 12] = [",", "|", ";", "\t", " ", "/", ":", "^", "&", "#", "\u{1}", "\u{2}"];

/// What is in a log.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Number of rows.
    pub rows: u64,
    /// Its columns, in order.
    pub columns: Vec<ColumnSurvey>,
    /// What a person should know about how the text is read, one sentence each.
    pub remarks: Vec<String>,
    /// Number of rows of the sample.
    pub sampled: usize,
    /// Per pair of columns of 0 and 1: see [`Survey::without`].
    without: Vec<u64>,
    /// The columns that were compared, by their index.
    binary: Vec<usize>,
}

/// What is in a column.
#[derive(Clone, Debug)]
pub struct ColumnSurvey {
    /// Rows, distinct values, least and greatest number.
    pub counts: ColumnSummary,
    /// All cells are days or moments.
    pub is_time: bool,
    /// All cells are whole numbers.
    pub whole: bool,
    /// All cells are 0 or 1, and both occur.
    pub binary: bool,
    /// Rows with 1.
    pub ones: u64,
    /// Its cells that are neither 0 nor 1.
    pub not_binary: Exceptions,
    /// Its cells that are no numbers.
    pub not_numbers: Exceptions,
    /// Its cells that nobody means as a date.
    pub not_dates: Exceptions,
    /// Its cells that are meant as a date, but cannot be read as one.
    pub unread_dates: Exceptions,
    /// The first two of its values, or as many as there are.
    pub shown: Vec<String>,
    /// No number is below that of the row before.
    pub ascending: bool,
    /// How its texts can be taken apart.
    pub lists: Option<Lists>,
    /// Its cells in the sample.
    pub sample: Sample,
}

/// Cells of a column that are not what others are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exceptions {
    /// How many there are.
    pub cells: u64,
    /// The first of them.
    pub first: String,
}

impl Exceptions {
    fn add(&mut self, text: &str) {
        if self.cells == 0 {
            self.first = text.chars().take(SHOWN).collect();
        }
        self.cells += 1;
    }

    /// Whether there are some, but at most one in a hundred of so many cells.
    pub fn are_few(&self, of: u64) -> bool {
        self.cells > 0 && self.cells * 100 <= of
    }
}

impl fmt::Display for Exceptions {
    /// Of at least one.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cells {
            1 => write!(formatter, "one is `{}`", self.first),
            cells => write!(formatter, "{cells} are others, the first of them `{}`", self.first),
        }
    }
}

/// The cells of a column in the sample, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// A hash of the text; 0 where it is missing.
    pub values: Vec<u64>,
    /// The number, of times in seconds from 1970; NaN where there is none.
    pub numbers: Vec<f64>,
}

/// What a separator makes of a column of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Lists {
    /// The separator; `None` for brackets, which need none.
    pub separator: Option<&'static str>,
    /// Share of the cells with several values.
    pub share: f64,
    /// Number of distinct cells, among those looked at.
    pub cells: usize,
    /// Number of distinct values in them.
    pub values: usize,
}

impl Survey {
    /// The column of this name, by its index.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name() == name)
    }

    /// Of two columns of 0 and 1, by their indices: rows where `one` is 1 though
    /// `other` is 0. `None` for others, and for those that were not compared.
    pub fn without(&self, one: usize, other: usize) -> Option<u64> {
        let place = |column| self.binary.iter().position(|binary| *binary == column);
        Some(self.without[place(one)? * self.binary.len() + place(other)?])
    }
}

impl ColumnSurvey {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.counts.name
    }

    /// Rows per distinct value, on average; 0 without any.
    pub fn rows_per_value(&self, rows: u64) -> f64 {
        let present = rows - self.counts.missing;
        present as f64 / self.counts.distinct.unwrap_or_default().max(1) as f64
    }

    /// Where its cells are dates, all but a few, and some cannot be read as one: these.
    pub fn unread(&self, rows: u64) -> Option<&Exceptions> {
        let present = rows - self.counts.missing;
        let dates = present > 0 && self.not_dates.cells * 100 <= present;
        let unread = if self.unread_dates.cells > 0 { &self.unread_dates } else { &self.not_dates };
        (dates && unread.cells > 0).then_some(unread)
    }

    /// Number of distinct values; 0 where its type cannot be read.
    pub fn distinct(&self) -> u64 {
        self.counts.distinct.unwrap_or_default()
    }
}

/// A number as a moment of time, for people: seconds from 1970 as a date.
pub fn moment(seconds: f64) -> String {
    let mut text = String::new();
    Moment { seconds: seconds.floor() as i64, nanoseconds: 0 }.write_short(&mut text);
    text
}

/// Reads everything once.
///
/// # Errors
/// Those of reading.
pub fn survey(source: &Source) -> Result<Survey> {
    let names: Vec<&str> = source.columns().iter().map(String::as_str).collect();
    let text: Vec<TextColumn<'_>> = names.iter().map(|name| TextColumn { name, separator: None }).collect();
    let (reading, remarks) = source.reading(&text, &[])?;
    let reading = Arc::new(reading);
    let mut columns: Vec<Counter> = names.iter().map(|_| Counter::default()).collect();
    let mut pairs = Pairs::default();
    let (draw, mut threshold, mut drawn) = (Stream::new(0, "survey"), u64::MAX, Vec::new());
    let mut total = 0;
    for rows in source.rows(&names, LIMIT) {
        let rows = rows?.read_as(&reading);
        let priorities: Vec<u64> = (0..rows.len() as u64).map(|row| draw.bits(total + row)).collect();
        let chosen: Vec<bool> = priorities.iter().map(|priority| *priority <= threshold).collect();
        drawn.extend(priorities.into_iter().filter(|priority| *priority <= threshold));
        columns.par_iter_mut().zip(&names).try_for_each(|(column, name)| column.add(&rows, name, &chosen))?;
        pairs.add(&mut columns);
        total += rows.len() as u64;
        while drawn.len() > 2 * SAMPLE {
            threshold /= 2;
            let keep: Vec<bool> = drawn.iter().map(|priority| *priority <= threshold).collect();
            columns.par_iter_mut().for_each(|column| column.sample.retain(&keep));
            drawn.retain(|priority| *priority <= threshold);
        }
    }
    let (binary, without) = pairs.finish(&columns);
    let columns = columns.into_iter().zip(names).map(|(column, name)| column.finish(name, total)).collect();
    Ok(Survey { rows: total, columns, remarks, sampled: drawn.len(), without, binary })
}

/// Counts what is in a column.
struct Counter {
    counts: ColumnCounter,
    texts: Texts,
    sample: Sample,
    present: u64,
    is_time: bool,
    whole: bool,
    ascending: bool,
    last: f64,
    zeros: u64,
    ones: u64,
    not_binary: Exceptions,
    not_numbers: Exceptions,
    not_dates: Exceptions,
    unread_dates: Exceptions,
    shown: Vec<String>,
    /// Of the rows read last, one bit each: 1, and 0.
    bits: [Vec<u64>; 2],
}

impl Default for Counter {
    fn default() -> Counter {
        Counter {
            counts: ColumnCounter::default(),
            texts: Texts::default(),
            sample: Sample::default(),
            present: 0,
            is_time: true,
            whole: true,
            ascending: true,
            last: f64::NEG_INFINITY,
            zeros: 0,
            ones: 0,
            not_binary: Exceptions::default(),
            not_numbers: Exceptions::default(),
            not_dates: Exceptions::default(),
            unread_dates: Exceptions::default(),
            shown: Vec::new(),
            bits: [Vec::new(), Vec::new()],
        }
    }
}

impl Counter {
    fn add(&mut self, rows: &Rows, name: &str, chosen: &[bool]) -> Result<()> {
        self.counts.add(rows, name)?;
        let column = rows.column(name)?;
        self.bits.iter_mut().for_each(|bits| {
            bits.clear();
            bits.resize(rows.len().div_ceil(64), 0);
        });
        if column.is_list() || column.kind() == "other" {
            (self.is_time, self.whole, self.ascending) = (false, false, false);
            self.not_binary.cells += rows.len() as u64;
            self.not_numbers.cells += rows.len() as u64;
            self.not_dates.cells += rows.len() as u64;
            let drawn = chosen.iter().filter(|chosen| **chosen).count();
            self.sample.values.resize(self.sample.values.len() + drawn, 0);
            self.sample.numbers.resize(self.sample.numbers.len() + drawn, f64::NAN);
            return Ok(());
        }
        let is_text = column.kind() == "text";
        column.each_text(|row, text| {
            let number = text.map_or(f64::NAN, |text| self.value(row, text));
            if let Some(text) = text.filter(|_| is_text) {
                self.texts.add(text);
            }
            if chosen[row] {
                self.sample.values.push(text.map_or(0, |text| xxh3_64(text.as_bytes()).max(1)));
                self.sample.numbers.push(number);
            }
        })
    }

    /// Looks at a value and gives its number.
    fn value(&mut self, row: usize, text: &str) -> f64 {
        // A label is read as a number whatever the first rows of its column held.
        let mut scratch = String::new();
        let Some(text) = Cells::Number.canonical(text, &mut scratch) else { return f64::NAN };
        self.present += 1;
        match text {
            "0" | "1" => {
                let one = text == "1";
                *(if one { &mut self.ones } else { &mut self.zeros }) += 1;
                self.bits[usize::from(!one)][row / 64] |= 1 << (row % 64);
            }
            _ => self.not_binary.add(text),
        }
        let cut = || text.chars().take(SHOWN);
        if self.shown.len() < MOST_SHOWN && !self.shown.iter().any(|shown| shown.chars().eq(cut())) {
            self.shown.push(cut().collect());
        }
        let plain = text.trim().parse::<f64>().ok();
        if plain.is_none() {
            self.not_numbers.add(text);
        }
        // Most columns hold no dates, and are seen at once not to.
        let may_be = plain.is_none() && self.not_dates.cells * 10 <= self.present + 1_000;
        let moment = if may_be { Moment::parse(text) } else { None };
        match moment {
            Some(_) => {}
            None if may_be && Moment::is_meant(text) => self.unread_dates.add(text),
            None => self.not_dates.add(text),
        }
        self.is_time &= moment.is_some();
        self.whole &= plain.is_some_and(|number| number.fract() == 0.0);
        let number = plain.or(moment.map(Moment::number)).filter(|number| number.is_finite()).unwrap_or(f64::NAN);
        self.ascending &= number >= self.last;
        self.last = number;
        number
    }

    /// Whether all cells are 0 or 1, and both occur.
    fn is_binary(&self) -> bool {
        self.not_binary.cells == 0 && self.zeros > 0 && self.ones > 0
    }

    fn finish(self, name: &str, rows: u64) -> ColumnSurvey {
        let (any, binary) = (self.present > 0, self.is_binary());
        ColumnSurvey {
            counts: self.counts.finish(name, rows),
            is_time: any && self.is_time,
            whole: any && self.whole,
            binary,
            ones: self.ones,
            not_binary: self.not_binary,
            not_numbers: self.not_numbers,
            not_dates: self.not_dates,
            unread_dates: self.unread_dates,
            shown: self.shown,
            ascending: any && self.ascending,
            lists: self.texts.lists(),
            sample: self.sample,
        }
    }
}

impl Sample {
    fn retain(&mut self, keep: &[bool]) {
        let mut kept = keep.iter();
        self.values.retain(|_| *kept.next().unwrap_or(&false));
        let mut kept = keep.iter();
        self.numbers.retain(|_| *kept.next().unwrap_or(&false));
    }
}

/// What separators make of the first texts of a column.
#[derive(Default)]
struct Texts {
    count: usize,
    cells: HashSet<u64>,
    bracketed: Pieces,
    apart: [Pieces; SEPARATORS.len()],
}

#[derive(Default)]
struct Pieces {
    /// Cells with several.
    several: usize,
    values: HashSet<u64>,
}

impl Pieces {
    fn add<'a>(&mut self, pieces: impl Iterator<Item = &'a str>) {
        let mut count = 0;
        for piece in pieces.map(str::trim).filter(|piece| !piece.is_empty()) {
            self.values.insert(xxh3_64(piece.as_bytes()));
            count += 1;
        }
        self.several += usize::from(count > 1);
    }
}

impl Texts {
    fn add(&mut self, text: &str) {
        if self.count == TEXTS {
            return;
        }
        self.count += 1;
        self.cells.insert(xxh3_64(text.as_bytes()));
        if let Some(elements) = reading::elements(text) {
            self.bracketed.add(elements.iter().map(String::as_str));
            return;
        }
        for (separator, pieces) in SEPARATORS.iter().zip(&mut self.apart) {
            pieces.add(text.split(separator));
        }
    }

    /// The separator that makes the fewest values of cells that have several.
    fn lists(self) -> Option<Lists> {
        let (count, cells) = (self.count, self.cells.len());
        let lists = |(separator, pieces): (Option<&'static str>, Pieces)| Lists {
            separator,
            share: pieces.several as f64 / count.max(1) as f64,
            cells,
            values: pieces.values.len(),
        };
        let all = SEPARATORS.into_iter().map(Some).zip(self.apart).chain([(None, self.bracketed)]);
        let several = all.map(lists).filter(|lists| lists.share > 0.0 && lists.values > 0);
        several.max_by(|a, b| a.share.total_cmp(&b.share).then(b.values.cmp(&a.values)))
    }
}

/// How often one column of 0 and 1 is 1 where another is 0.
#[derive(Default)]
struct Pairs {
    /// The columns compared; the first rows say which.
    columns: Option<Vec<usize>>,
    without: Vec<u64>,
}

impl Pairs {
    /// Adds the rows that the columns saw last.
    fn add(&mut self, columns: &mut [Counter]) {
        let first = || {
            let binary = columns.iter().enumerate().filter(|(_, column)| column.not_binary.cells == 0);
            binary.map(|(index, _)| index).take(MOST_BINARY).collect::<Vec<_>>()
        };
        let compared = self.columns.get_or_insert_with(first).clone();
        self.without.resize(compared.len() * compared.len(), 0);
        for (place, count) in self.without.iter_mut().enumerate() {
            let (one, other) = (&columns[compared[place / compared.len()]], &columns[compared[place % compared.len()]]);
            if one.not_binary.cells == 0 && other.not_binary.cells == 0 {
                let words = one.bits[0].iter().zip(&other.bits[1]);
                *count += words.map(|(one, zero)| u64::from((one & zero).count_ones())).sum::<u64>();
            }
        }
    }

    /// The columns that stayed columns of 0 and 1, and their counts.
    fn finish(self, columns: &[Counter]) -> (Vec<usize>, Vec<u64>) {
        let compared = self.columns.unwrap_or_default();
        let stayed: Vec<usize> = (0..compared.len()).filter(|place| columns[compared[*place]].is_binary()).collect();
        let without = stayed
            .iter()
            .flat_map(|one| stayed.iter().map(move |other| (one, other)))
            .map(|(one, other)| self.without[one * compared.len() + other])
            .collect();
        (stayed.into_iter().map(|place| compared[place]).collect(), without)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::open;

    fn of(log: &str) -> Survey {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.csv");
        std::fs::write(&path, log).unwrap();
        survey(&open(&path).unwrap()).unwrap()
    }

    #[test]
    fn columns_are_told_by_what_their_cells_are() {
        let survey = of("day,when,click,buy,tags\n1,2024-01-01,True,0,a|b\n2,2024-01-02,False,0,b\n2,,True,1,a|b|c\n");
        let [day, when, click, buy, tags] = &survey.columns[..] else { panic!("{:?}", survey.columns) };
        assert!(day.whole && day.ascending && !day.is_time && !day.binary);
        assert!(when.is_time && when.sample.numbers[1] - when.sample.numbers[0] == 86_400.0);
        assert!(when.sample.values[2] == 0 && when.sample.numbers[2].is_nan());
        assert!(click.binary && buy.binary && !click.ascending);
        let lists = tags.lists.as_ref().unwrap();
        assert_eq!((lists.separator, lists.cells, lists.values), (Some("|"), 3, 3));
        // A purchase stands with a click in its only row; two clicks, one without.
        assert_eq!((survey.without(3, 2), survey.without(2, 3), survey.without(0, 2)), (Some(0), Some(1), None));
    }

    #[test]
    fn a_sample_of_many_rows_is_a_part_of_them_row_by_row() {
        let mut log = String::from("row,half\n");
        for row in 0..150_000 {
            log += &format!("{row},{}\n", f64::from(row) / 2.0);
        }
        let survey = of(&log);
        let [row, half] = &survey.columns[..] else { panic!() };
        assert!((SAMPLE..=2 * SAMPLE).contains(&survey.sampled), "{}", survey.sampled);
        assert_eq!(row.sample.values.len(), survey.sampled);
        assert!(row.sample.numbers.iter().zip(&half.sample.numbers).all(|(row, half)| row / 2.0 == *half));
        let mean = row.sample.numbers.iter().sum::<f64>() / survey.sampled as f64;
        assert!((mean - 75_000.0).abs() < 1_000.0, "{mean}");
    }
}
