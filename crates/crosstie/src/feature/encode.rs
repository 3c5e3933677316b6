//! From rows to a batch.

use xxhash_rust::xxh3::xxh3_64;

use super::key::Keys;
use super::numeric;
use super::rate::{History, Place, Rates};
use super::{Encoder, Features, Lookup, MISSING, Number, Purpose, UNKNOWN, column_of};
use crate::batch::{Batch, Ids, NO_GROUP};
use crate::data::{Column, InOrder, Rows};
use crate::error::{Error, Result};
use crate::schema::{Field, Rate, Schema};

/// Encodes rows; with `histories`, one per field, as training rows.
pub(super) fn encode(
    features: &Features,
    rows: &Rows,
    purpose: Purpose,
    histories: Option<&[Option<History>]>,
) -> Result<Batch> {
    let read = features.reading.as_ref().map(|reading| rows.read_as(reading));
    let rows = read.as_ref().unwrap_or(rows);
    // `Features::columns` gives them in the order in which they are asked for here.
    let mut columns = rows.in_order();
    let schema = &features.schema;
    let width = features.layout.dense_width();
    let mut batch = Batch { rows: rows.len(), dense: vec![0.0; rows.len() * width], ..Batch::default() };
    let mut start = 0;
    let groups = match histories {
        Some(_) => groups(rows, schema)?,
        None => Vec::new(),
    };
    let history =
        |place: usize| histories.and_then(|histories| histories[place].as_ref().map(|history| (history, &groups[..])));
    for (place, (field, encoder)) in schema.fields.iter().zip(&features.encoders).enumerate() {
        match encoder {
            Encoder::Token { table, rates } => {
                batch.ids.push(tokens(&columns.column(column_of(field))?, &features.tables[*table])?);
                if let Some(rates) = rates {
                    let into = batch.dense.chunks_exact_mut(width.max(1)).map(|row| &mut row[start..]);
                    encode_rates(rates, history(place), schema, field, rows, &mut columns, into)?;
                    start += rates.width();
                }
            }
            Encoder::Tokens { table, separator } => {
                batch.ids.push(lists(&columns.column(column_of(field))?, separator, &features.tables[*table])?);
            }
            Encoder::Bucket { table } => {
                batch.ids.push(buckets(&columns.column(column_of(field))?.numbers()?, &features.tables[*table]));
            }
            Encoder::Number(number) => {
                let numbers = columns.column(column_of(field))?.numbers()?;
                start += encode_numbers(&numbers, number, batch.dense.chunks_exact_mut(width.max(1)), start);
            }
            Encoder::Binned { table, number } => {
                let numbers = columns.column(column_of(field))?.numbers()?;
                batch.ids.push(buckets(&numbers, &features.tables[*table]));
                start += encode_numbers(&numbers, number, batch.dense.chunks_exact_mut(width.max(1)), start);
            }
            Encoder::Rates(rates) => {
                let into = batch.dense.chunks_exact_mut(width.max(1)).map(|row| &mut row[start..]);
                encode_rates(rates, history(place), schema, field, rows, &mut columns, into)?;
                start += rates.width();
            }
        }
    }
    batch.scenarios = match &schema.scenario {
        Some(column) => scenarios(features, &columns.column(column)?)?,
        None => vec![0; rows.len()],
    };
    if purpose != Purpose::Scoring {
        batch.labels = read_labels(schema, &mut columns)?;
        if let Some(weight) = &schema.weight {
            batch.weights = columns.column(weight)?.weights()?;
        }
        if let Some(group) = &schema.group {
            batch.groups = vec![NO_GROUP; rows.len()];
            columns.column(group)?.each_text(|row, token| {
                batch.groups[row] = token.map_or(NO_GROUP, |token| xxh3_64(token.as_bytes()));
            })?;
        }
    }
    Ok(batch)
}

fn buckets(numbers: &[Option<f64>], table: &Lookup) -> Ids {
    Ids::One(numbers.iter().map(|x| x.map_or(MISSING, |x| table.number(x))).collect())
}

/// Writes numbers into their column of each row, and after it whether each is
/// missing, if a column tells that; the number of columns.
fn encode_numbers<'a>(
    numbers: &[Option<f64>],
    number: &Number,
    into: impl Iterator<Item = &'a mut [f32]>,
    column: usize,
) -> usize {
    let Number { log, scale, indicator } = *number;
    for (row, x) in into.zip(numbers) {
        let x = *x;
        let transformed = x.map(|x| if log { numeric::log1p(x) } else { x });
        row[column] = transformed.map_or(0.0, |x| scale.map_or_else(|| numeric::single(x), |scale| scale.apply(x)));
        if indicator {
            row[column + 1] = f32::from(u8::from(x.is_none()));
        }
    }
    number.width()
}

fn tokens(column: &Column<'_>, table: &Lookup) -> Result<Ids> {
    let mut ids = vec![UNKNOWN; column.len()];
    column.each_text(|row, token| ids[row] = token.map_or(MISSING, |token| table.token(token)))?;
    Ok(Ids::One(ids))
}

fn lists(column: &Column<'_>, separator: &str, table: &Lookup) -> Result<Ids> {
    let mut offsets = vec![0u32; column.len() + 1];
    let mut values = Vec::new();
    column.each_list(separator, |row, token| {
        values.push(table.token(token));
        offsets[row + 1] += 1;
    })?;
    let mut end = 0;
    for offset in &mut offsets {
        end += *offset;
        *offset = end;
    }
    Ok(Ids::Many { offsets, values })
}

fn scenarios(features: &Features, column: &Column<'_>) -> Result<Vec<u32>> {
    let mut scenarios = vec![0; column.len()];
    let known = &features.scenarios.tokens;
    column.each_text(|row, token| {
        scenarios[row] = token.and_then(|token| known.find(token.as_bytes())).map_or(0, |number| number + 1);
    })?;
    Ok(scenarios)
}

fn encode_rates<'a>(
    rates: &Rates,
    history: Option<(&History, &[Option<u64>])>,
    schema: &Schema,
    field: &Field,
    rows: &Rows,
    columns: &mut InOrder<'_>,
    into: impl Iterator<Item = &'a mut [f32]>,
) -> Result<()> {
    let Some(rate) = field.rate() else { return Ok(()) };
    let keys = Keys::read(columns, &rate.key)?;
    let places = history.map(|(_, groups)| places(rows, groups, schema, &rate)).transpose()?;
    for (row, into) in into.enumerate() {
        let key = keys.row(row);
        let columns = match (history, &places) {
            (Some((history, _)), Some(places)) => history.columns(rates, key, &places[row]),
            _ => rates.full(key),
        };
        into[..columns.len()].copy_from_slice(columns);
    }
    Ok(())
}

/// The group of every row, where folds keep groups together; else nothing.
pub(super) fn groups(rows: &Rows, schema: &Schema) -> Result<Vec<Option<u64>>> {
    let together = |field: &Field| field.rate().is_some_and(|rate| schema.fold_column(&rate).is_some());
    let Some(column) = schema.group.as_ref().filter(|_| schema.fields.iter().any(together)) else {
        return Ok(Vec::new());
    };
    let mut groups = vec![None; rows.len()];
    rows.column(column)?.each_text(|row, token| groups[row] = token.map(|token| xxh3_64(token.as_bytes())))?;
    Ok(groups)
}

/// What tells the rows apart, as training rows of a rate. `groups` are [theirs](groups).
pub(super) fn places(rows: &Rows, groups: &[Option<u64>], schema: &Schema, rate: &Rate) -> Result<Vec<Place>> {
    let times = read_times(rows, rate)?;
    let groups = if schema.fold_column(rate).is_some() { groups } else { &[] };
    let place = |row: usize| Place {
        file: rows.file,
        row: rows.place(row),
        group: groups.get(row).copied().flatten(),
        time: times.get(row).copied().unwrap_or(0.0),
    };
    Ok((0..rows.len()).map(place).collect())
}

/// The time of every row, or nothing where the rate names none.
pub(super) fn read_times(rows: &Rows, rate: &Rate) -> Result<Vec<f64>> {
    let Some(column) = &rate.time else { return Ok(Vec::new()) };
    let expected = "a number or a moment, such as 2024-05-31 12:00:00: the time of a training row tells which rows \
                    came before it";
    let times = rows.column(column)?.numbers().map_err(|error| match error {
        // Of a number it would also say that it may be missing.
        Error::Cell { path, row, column, found, .. } => {
            Error::Cell { path, row, column, found, expected: expected.into() }
        }
        other => other,
    })?;
    let present = |(row, time): (usize, Option<f64>)| {
        time.ok_or_else(|| Error::Cell {
            path: rows.path.to_path_buf(),
            row: rows.number(row),
            column: column.clone(),
            found: "no value".into(),
            expected: expected.into(),
        })
    };
    times.into_iter().enumerate().map(present).collect()
}

/// The labels that rates and other statistics of actions are of, `rows × tasks`: none of a row
/// that weighs nothing.
pub(super) fn read_labels_that_count(schema: &Schema, columns: &mut InOrder<'_>) -> Result<Vec<f32>> {
    let mut labels = read_labels(schema, columns)?;
    if let Some(weight) = &schema.weight {
        let weights = columns.column(weight)?.weights()?;
        for (labels, weight) in labels.chunks_mut(schema.tasks.len()).zip(weights) {
            if weight == 0.0 {
                labels.fill(f32::NAN);
            }
        }
    }
    Ok(labels)
}

/// Labels, `rows × tasks`.
fn read_labels(schema: &Schema, columns: &mut InOrder<'_>) -> Result<Vec<f32>> {
    let tasks = schema.tasks.len();
    let mut labels = vec![0.0; columns.rows() * tasks];
    for (task, contract) in schema.tasks.iter().enumerate() {
        let column = columns.column(contract.column())?.labels()?;
        for (label, value) in labels.iter_mut().skip(task).step_by(tasks).zip(column) {
            *label = value;
        }
    }
    Ok(labels)
}
