//! What was learned, as files.
//!
//! | file | holds |
//! |---|---|
//! | `schema.toml` | the schema |
//! | `features.json` | number of training rows; scales, cut points, mean rates; scenarios; warnings |
//! | `profile.json` | what the training rows were like, to be compared with others; may be absent |
//! | `vocabulary/<table>.parquet` | `token`, `count`; the first row has id 2 |
//! | `rate/<field>.parquet` | `key_<column>` per key column, `rows`, then per task `positives_<task>` and `missing_<task>` |

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::drift::Profile;
use super::rate::{Rates, Smoothing};
use super::sums::Sums;
use super::vocabulary::{Counts, Tokens};
use super::{Encoder, Features, Learned, Lookup, Number, ScenarioRows, Statistics, column_of, key, table_name};
use crate::arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array};
use crate::data::{Rows, Source, Writer};
use crate::error::{Error, Result};
use crate::schema::{Categorical, Encoding, FieldKind, Multi, Rate, Schema};

/// Rows written or read at a time.
const PIECE: usize = 65_536;
const PROFILE: &str = "profile.json";

pub(super) fn save(features: &Features, directory: &Path) -> Result<()> {
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(Error::io(&path))
    };
    write("schema.toml", features.schema.to_toml())?;
    let json = serde_json::to_string_pretty(&statistics(features));
    write("features.json", json.map_err(|error| Error::unwritten(directory.join("features.json"), error))? + "\n")?;
    if let Some(profile) = &features.profile {
        let json = serde_json::to_string_pretty(profile);
        write(PROFILE, json.map_err(|error| Error::unwritten(directory.join(PROFILE), error))? + "\n")?;
    }
    for (lookup, table) in features.tables.iter().zip(&features.layout.tables) {
        if let Lookup::Vocabulary(known) = lookup {
            write_vocabulary(&path_of(directory, "vocabulary", &table.name)?, known)?;
        }
    }
    for (encoder, field) in features.encoders.iter().zip(&features.schema.fields) {
        if let (Some(rates), Some(rate)) = (encoder.rates(), field.rate()) {
            write_rates(&path_of(directory, "rate", &field.name)?, &features.schema, &rate, rates)?;
        }
    }
    Ok(())
}

/// The file of a table or field, in a folder that is made if need be.
fn path_of(directory: &Path, folder: &str, name: &str) -> Result<PathBuf> {
    let folder = directory.join(folder);
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    Ok(folder.join(format!("{name}.parquet")))
}

fn statistics(features: &Features) -> Statistics {
    let mut statistics = Statistics {
        rows: features.rows,
        scenarios: features.scenarios.iter().map(|(name, rows)| ScenarioRows { name, rows }).collect(),
        columns: features.reading.as_ref().map(|reading| reading.columns.clone()),
        warnings: features.warnings.clone(),
        ..Statistics::default()
    };
    for (encoder, field) in features.encoders.iter().zip(&features.schema.fields) {
        let name = field.name.clone();
        match encoder {
            Encoder::Number(number) => add_number(&mut statistics, name, number),
            Encoder::Bucket { table } => add_cuts(&mut statistics, name, &features.tables[*table]),
            Encoder::Binned { table, number } => {
                add_cuts(&mut statistics, name.clone(), &features.tables[*table]);
                add_number(&mut statistics, name, number);
            }
            Encoder::Rates(_) | Encoder::Token { .. } | Encoder::Tokens { .. } => {}
        }
        if let Some(rates) = encoder.rates() {
            statistics.rates.insert(field.name.clone(), rates.smoothing.clone());
        }
    }
    statistics
}

fn add_number(statistics: &mut Statistics, name: String, number: &Number) {
    if number.indicator {
        statistics.missing.insert(name.clone());
    }
    if let Some(scale) = number.scale {
        statistics.scales.insert(name, scale);
    }
}

fn add_cuts(statistics: &mut Statistics, name: String, table: &Lookup) {
    if let Lookup::Quantile { cuts } = table {
        statistics.cuts.insert(name, cuts.clone());
    }
}

/// Writes a table of `rows` rows whose columns `piece` gives for a range of
/// rows. There is always a first piece, which tells the types.
fn write_table(
    path: &Path,
    rows: usize,
    mut piece: impl FnMut(std::ops::Range<u32>) -> Vec<(String, ArrayRef)>,
) -> Result<()> {
    let mut batch = |start: usize| {
        let columns = piece(start as u32..(start + PIECE).min(rows) as u32);
        // Key columns must be nullable even where the first piece has no null.
        let columns = columns.into_iter().map(|(name, array)| (name, array, true));
        RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| Error::unwritten(path, error))
    };
    let first = batch(0)?;
    let mut writer = Writer::within(path, first.schema())?;
    writer.write(&first)?;
    for start in (PIECE..rows).step_by(PIECE) {
        writer.write(&batch(start)?)?;
    }
    writer.finish()
}

fn write_vocabulary(path: &Path, known: &Counts) -> Result<()> {
    write_table(path, known.tokens.len(), |range| {
        let tokens = range.clone().map(|number| std::str::from_utf8(known.tokens.token(number)).ok());
        let counts = range.map(|number| known.counts[number as usize]);
        vec![
            ("token".into(), Arc::new(tokens.collect::<StringArray>()) as ArrayRef),
            ("count".into(), Arc::new(counts.collect::<UInt64Array>())),
        ]
    })
}

/// The columns of a table of rates.
fn rate_columns(schema: &Schema, rate: &Rate) -> (Vec<String>, Vec<[String; 2]>) {
    let keys = rate.key.iter().map(|column| format!("key_{column}")).collect();
    let sums = |task: &crate::schema::Task| [format!("positives_{}", task.name), format!("missing_{}", task.name)];
    (keys, schema.tasks.iter().map(sums).collect())
}

fn write_rates(path: &Path, schema: &Schema, rate: &Rate, rates: &Rates) -> Result<()> {
    let (keys, tasks) = rate_columns(schema, rate);
    write_table(path, rates.keys.len(), |range| {
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        let parts: Vec<Vec<Option<&str>>> = range.clone().map(|number| key::parts(rates.keys.token(number))).collect();
        for (position, name) in keys.iter().enumerate() {
            let cells = parts.iter().map(|parts| parts.get(position).copied().flatten());
            columns.push((name.clone(), Arc::new(cells.collect::<StringArray>())));
        }
        let mut number = |name: &str, of: &dyn Fn(usize) -> u32| {
            let numbers = range.clone().map(|number| of(number as usize));
            columns.push((name.into(), Arc::new(numbers.collect::<UInt32Array>())));
        };
        number("rows", &|key| rates.totals.rows[key]);
        for (task, [positives, missing]) in tasks.iter().enumerate() {
            number(positives, &|key| rates.totals.positives[key * tasks.len() + task]);
            number(missing, &|key| rates.totals.missing(key, task));
        }
        columns
    })
}

pub(super) fn load(directory: &Path) -> Result<Features> {
    let mut schema = Schema::read(directory.join("schema.toml"))?;
    let path = directory.join("features.json");
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let mut statistics: Statistics =
        serde_json::from_str(&text).map_err(|error| Error::artifact(&path, error.to_string()).because(error))?;
    let mut learned = Learned::default();
    for scenario in statistics.scenarios.drain(..) {
        learned.scenarios.add_many(scenario.name.as_bytes(), scenario.rows);
    }
    for field in &mut schema.fields {
        let (FieldKind::Rate(rate), Some(learned)) = (&mut field.kind, statistics.rates.get_mut(&field.name)) else {
            continue;
        };
        // Of artifacts from before these were learned.
        if learned.smoothing.is_empty() {
            learned.smoothing = vec![rate.smoothing; learned.means.len()];
        }
        rate.count = learned.count();
    }
    for field in &schema.fields {
        match &field.kind {
            FieldKind::Categorical(Categorical { encoding: Encoding::Vocabulary { .. }, .. })
            | FieldKind::Multi(Multi {
                categorical: Categorical { encoding: Encoding::Vocabulary { .. }, .. }, ..
            }) => {
                let table = table_name(field);
                if !learned.vocabularies.contains_key(table) {
                    let file = directory.join("vocabulary").join(format!("{table}.parquet"));
                    learned.vocabularies.insert(table.into(), read_vocabulary(&file)?);
                }
            }
            FieldKind::Rate(_) if !statistics.rates.contains_key(&field.name) => {
                return Err(Error::artifact(
                    &path,
                    format!("the statistics of rate field `{}` are missing", field.name),
                ));
            }
            _ => {}
        }
        if let Some(smoothing) = statistics.rates.remove(&field.name) {
            let rate = field.rate().unwrap_or_else(|| Cow::Owned(Rate::of_column(column_of(field))));
            smoothing
                .check(schema.tasks.len())
                .map_err(|problem| Error::artifact(&path, format!("field `{}`: {problem}", field.name)))?;
            let file = directory.join("rate").join(format!("{}.parquet", field.name));
            learned.rates.insert(field.name.clone(), read_rates(&file, &schema, &rate, smoothing)?);
        }
    }
    learned.statistics = statistics;
    let mut features = Features::assemble(schema, learned).map_err(|problem| Error::artifact(&path, problem))?;
    features.profile = read_profile(&directory.join(PROFILE))?;
    Ok(features)
}

fn read_profile(path: &Path) -> Result<Option<Profile>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(Error::io(path))?,
    };
    serde_json::from_str(&text).map(Some).map_err(|error| Error::artifact(path, error.to_string()).because(error))
}

fn read_table(path: &Path, columns: &[&str], mut each: impl FnMut(&Rows) -> Result<()>) -> Result<()> {
    let name = path.to_str().ok_or_else(|| Error::artifact(path, "this path is not valid UTF-8"))?;
    let source = Source::open(&[name])?;
    source.require(columns)?;
    for rows in source.rows(columns, PIECE) {
        each(&rows?)?;
    }
    Ok(())
}

/// Counts of a column: whole numbers from 0 to `most`.
fn counts(rows: &Rows, column: &str, most: u64) -> Result<Vec<u64>> {
    let column = rows.column(column)?;
    let count = |(row, x): (usize, Option<f64>)| match x {
        Some(x) if x >= 0.0 && x.fract() == 0.0 && x <= most as f64 => Ok(x as u64),
        _ => Err(column.error(row, format!("a count from 0 to {most}"))),
    };
    column.numbers()?.into_iter().enumerate().map(count).collect()
}

fn read_vocabulary(path: &Path) -> Result<Counts> {
    let mut known = Counts::default();
    read_table(path, &["token", "count"], |rows| {
        let counts = counts(rows, "count", u64::MAX)?;
        let column = rows.column("token")?;
        let mut wrong = None;
        column.each_text(|row, token| {
            let next = known.tokens.len();
            let number = token.map(|token| known.add_many(token.as_bytes(), counts[row]));
            if number != Some(next as u32) {
                wrong.get_or_insert(row);
            }
        })?;
        wrong.map_or(Ok(()), |row| Err(column.error(row, "a value that does not stand further up")))
    })?;
    Ok(known)
}

fn read_rates(path: &Path, schema: &Schema, rate: &Rate, smoothing: Smoothing) -> Result<Rates> {
    let (keys, tasks) = rate_columns(schema, rate);
    let columns: Vec<&str> =
        keys.iter().map(String::as_str).chain(["rows"]).chain(tasks.iter().flatten().map(String::as_str)).collect();
    let (mut known, mut totals) = (Tokens::default(), Sums::new(tasks.len()));
    read_table(path, &columns, |rows| {
        let found = key::Keys::read(&mut rows.in_order(), &keys)?;
        let all = counts(rows, "rows", u64::from(u32::MAX))?;
        for (row, rows_of_key) in all.iter().enumerate() {
            let next = totals.push();
            if known.add(found.row(row)) as usize != next {
                return Err(rows.column(&keys[0])?.error(row, "a key that does not stand further up"));
            }
            totals.rows[next] = *rows_of_key as u32;
        }
        let start = totals.len() - rows.len();
        for (task, [positives, missing]) in tasks.iter().enumerate() {
            let most = u64::from(u32::MAX);
            for (row, (ones, nulls)) in
                counts(rows, positives, most)?.iter().zip(counts(rows, missing, most)?).enumerate()
            {
                if ones + nulls > all[row] {
                    return Err(rows.column(positives)?.error(row, "no more than the key has rows with a label"));
                }
                totals.positives[(start + row) * tasks.len() + task] = *ones as u32;
                totals.add_missing(start + row, task, nulls as u32);
            }
        }
        Ok(())
    })?;
    Ok(Rates::new(known, totals, smoothing))
}
