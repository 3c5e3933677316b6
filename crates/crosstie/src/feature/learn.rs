//! One streaming pass over the training files, after a look at their first rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use rayon::prelude::*;

use super::amount;
use super::drift::Profile;
use super::encode::{encode, groups, places, read_labels_that_count};
use super::key::Keys;
use super::numeric::{self, Moments, Sample};
use super::rate;
use super::sample::RowSample;
use super::sums::{Outcome, outcomes};
use super::suspicion::suspicions;
use super::vocabulary::{Counts, OncePerRow};
use super::warning;
use super::{Encoder, Features, Learned, OTHER, Purpose, TrainingFeatures, column_of, table_name, training_columns};
use crate::data::{Rows, Source, TextColumn, ahead};
use crate::error::{Error, Result};
use crate::schema::{Categorical, Encoding, Field, FieldKind, Multi, Rate, Schema, Transform};

/// Up to this many numbers buckets are exact, beyond it they are of a sample. Every
/// numeric field holds up to twice as many, of 16 bytes each, while learning.
const SAMPLE: usize = 262_144;

/// A vocabulary has rates without being asked where it has so many values, but not
/// more: all of them are held in memory, and a sum for each fold of each.
const LEAST_UNASKED: usize = 50;
const MOST_UNASKED: usize = 2_000_000;

/// Whether the schema asks for a field's rates by name.
fn is_asked_for(field: &Field) -> bool {
    match &field.kind {
        FieldKind::Categorical(categorical) => categorical.rates == Some(true),
        _ => true,
    }
}

/// Something to be learned; each is on its own, so they learn in parallel.
enum Learner<'a> {
    Vocabulary {
        table: &'a str,
        min_count: u64,
        fields: Vec<&'a Field>,
        counts: Counts,
    },
    Number {
        field: &'a Field,
        transform: &'a Transform,
        moments: Moments,
        sample: Sample,
        missing: bool,
    },
    /// Its sums are gone where nobody asked for these rates and there are too many keys.
    Rate {
        field: &'a Field,
        is_asked_for: bool,
        rate: Cow<'a, Rate>,
        sums: Option<Box<rate::Learner>>,
    },
    Scenario {
        column: &'a str,
        counts: Counts,
    },
}

/// What is to be learned; `added` are fields that nobody asked for.
fn learners<'a>(schema: &'a Schema, added: &HashSet<String>) -> Vec<Learner<'a>> {
    let mut learners = Vec::new();
    for field in &schema.fields {
        match &field.kind {
            FieldKind::Categorical(Categorical { encoding: Encoding::Vocabulary { min_count }, .. })
            | FieldKind::Multi(Multi {
                categorical: Categorical { encoding: Encoding::Vocabulary { min_count }, .. },
                ..
            }) => {
                let name = table_name(field);
                let shared = learners.iter_mut().find_map(|learner| match learner {
                    Learner::Vocabulary { table, fields, .. } if *table == name => Some(fields),
                    _ => None,
                });
                match shared {
                    Some(fields) => fields.push(field),
                    None => learners.push(Learner::Vocabulary {
                        table: name,
                        min_count: *min_count,
                        fields: vec![field],
                        counts: Counts::default(),
                    }),
                }
            }
            FieldKind::Categorical(_) | FieldKind::Multi(_) => {}
            FieldKind::Numeric(transform) => learners.push(Learner::Number {
                field,
                transform,
                moments: Moments::default(),
                sample: Sample::new(SAMPLE),
                missing: false,
            }),
            FieldKind::Rate(_) => {}
        }
        if let Some(rate) = field.rate() {
            let sums = Some(Box::new(rate::Learner::new(&rate, schema.tasks.len())));
            let is_asked_for = is_asked_for(field) && !added.contains(&field.name);
            learners.push(Learner::Rate { field, is_asked_for, rate, sums });
        }
    }
    if let Some(column) = &schema.scenario {
        learners.push(Learner::Scenario { column, counts: Counts::default() });
    }
    learners
}

impl Learner<'_> {
    /// Adds training rows with what happened on each, from the impression, and the
    /// [`groups`] that they are of.
    fn add(&mut self, schema: &Schema, rows: &Rows, outcomes: &[Outcome], groups: &[Option<u64>]) -> Result<()> {
        match self {
            Learner::Vocabulary { fields, counts, .. } => {
                for field in fields {
                    let column = rows.column(column_of(field))?;
                    match &field.kind {
                        FieldKind::Multi(multi) => {
                            let mut once = OncePerRow::default();
                            let add = |row, token: &str| once.add(counts, row, token.as_bytes());
                            column.each_list(&multi.separator, add)?;
                        }
                        _ => column.each_text(|_, token| {
                            if let Some(token) = token {
                                counts.add(token.as_bytes());
                            }
                        })?,
                    }
                }
            }
            Learner::Number { field, transform, moments, sample, missing } => {
                for (row, x) in rows.column(column_of(field))?.numbers()?.into_iter().enumerate() {
                    let Some(x) = x else {
                        *missing = true;
                        continue;
                    };
                    match transform {
                        Transform::None => {}
                        Transform::Standard | Transform::Binned(_) => moments.add(x, 1.0),
                        Transform::Log1p => moments.add(numeric::log1p(x), 1.0),
                        Transform::Quantile(_) => {}
                    }
                    if let Transform::Quantile(_) | Transform::Binned(_) = transform {
                        sample.add(x, rows.file, rows.first_row + row as u64);
                    }
                }
            }
            Learner::Rate { rate, sums, .. } => {
                let Some(kept) = sums else { return Ok(()) };
                let keys = Keys::read(&mut rows.in_order(), &rate.key)?;
                let places = places(rows, groups, schema, rate)?;
                let tasks = outcomes.len() / rows.len();
                for (row, (outcomes, place)) in outcomes.chunks(tasks).zip(&places).enumerate() {
                    kept.add(keys.row(row), place, outcomes);
                }
                if kept.keys() > MOST_UNASKED {
                    self.leave_out_unless_asked_for();
                }
            }
            Learner::Scenario { column, counts } => rows.column(column)?.each_text(|_, token| {
                // A scenario that is itself called `other` joins those pooled.
                if let Some(token) = token.filter(|token| *token != OTHER) {
                    counts.add(token.as_bytes());
                }
            })?,
        }
        Ok(())
    }

    /// Forgets the rates that nobody asked for.
    fn leave_out_unless_asked_for(&mut self) {
        if let Learner::Rate { is_asked_for: false, sums, .. } = self {
            *sums = None;
        }
    }

    /// Hands over what was learned.
    fn finish(self, schema: &Schema, learned: &mut Learned) -> Result<()> {
        match self {
            Learner::Vocabulary { table, min_count, counts, .. } => {
                let kept = counts.vocabulary(min_count);
                learned.statistics.warnings.extend(warning::vocabulary(table, min_count, &counts, &kept));
                learned.known.insert(table.into(), kept.total() as f64 / counts.total().max(1) as f64);
                learned.vocabularies.insert(table.into(), kept);
            }
            Learner::Number { field, transform, moments, sample, missing } => {
                let statistics = &mut learned.statistics;
                if let Transform::Standard | Transform::Log1p | Transform::Binned(_) = transform {
                    let scale = moments.scale().ok_or_else(|| {
                        Error::Schema(format!(
                            "field `{}`: its numbers are too large to be standardised; `transform = \"log1p\"` or \
                             `\"quantile\"` can take them",
                            field.name
                        ))
                    })?;
                    statistics.scales.insert(field.name.clone(), scale);
                }
                match transform {
                    Transform::Quantile(buckets) | Transform::Binned(buckets) => {
                        let buckets = buckets.among(statistics.rows);
                        statistics.cuts.insert(field.name.clone(), sample.cuts(buckets));
                    }
                    Transform::None | Transform::Standard | Transform::Log1p if missing => {
                        statistics.missing.insert(field.name.clone());
                    }
                    _ => {}
                }
            }
            Learner::Rate { field, is_asked_for, rate, sums } => {
                let Some(sums) = sums else {
                    learned.statistics.warnings.push(warning::rates_left_out(&field.name, MOST_UNASKED));
                    return Ok(());
                };
                let is_beside = !matches!(field.kind, FieldKind::Rate(_));
                if !is_asked_for && is_beside && sums.keys() < LEAST_UNASKED {
                    return Ok(());
                }
                let within = schema.fold_column(&rate).filter(|_| sums.is_within_folds());
                let (rates, history) = sums.finish().ok_or_else(|| {
                    let smoothing = rate.smoothing.unwrap_or_default();
                    Error::Schema(format!("field `{}`: `smoothing` {smoothing} is too small", field.name))
                })?;
                // Of no rows, as of a sketch, there is nothing to say.
                if rates.keys.len() > 0 {
                    let alike = || warning::rates(schema, &field.name, &rates.smoothing.smoothing);
                    learned.statistics.warnings.extend(match within {
                        Some(group) => Some(warning::rates_within(field, &rate.key, group)),
                        None => is_asked_for.then(alike).flatten(),
                    });
                }
                learned.rates.insert(field.name.clone(), rates);
                learned.histories.insert(field.name.clone(), history);
            }
            Learner::Scenario { counts, .. } => {
                let kept = counts.vocabulary(schema.scenario_min_rows.max(1));
                learned.statistics.warnings.extend(warning::scenarios(schema.scenario_min_rows, &counts, &kept));
                learned.scenarios = kept;
            }
        }
        Ok(())
    }
}

/// The features of no rows.
pub(super) fn sketch(schema: &Schema) -> Result<Features> {
    schema.check()?;
    let mut learned = Learned::default();
    for learner in learners(schema, &HashSet::new()) {
        learner.finish(schema, &mut learned)?;
    }
    Features::assemble(schema.clone(), learned).map_err(Error::Schema)
}

/// Learns from rows decoded `piece` at a time; `watch` is told of each piece.
pub(super) fn learn(
    schema: &Schema,
    source: &Source,
    piece: usize,
    watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<TrainingFeatures> {
    schema.check()?;
    // Better now than after reading all the files before the one that lacks it.
    source.require(&training_columns(schema))?;
    let (mut schema, added) = amount::with_rates(schema, source)?;
    let funnel = schema.funnel();
    let mut learners = learners(&schema, &added);
    // Their sums are kept in 32 bits, since most memory goes into them.
    let has_rates = learners.iter().any(|learner| matches!(learner, Learner::Rate { is_asked_for: true, .. }));
    let mut labels_seen = warning::Labels::new(&schema);
    let mut sample = RowSample::new();
    let mut learned = Learned::default();
    let columns = training_columns(&schema);
    let mut files: Vec<(PathBuf, u64)> = source.files().iter().map(|path| (path.clone(), 0)).collect();
    let (reading, remarks) = source.reading(&text_columns(&schema), &schema.null)?;
    let reading = Arc::new(reading);
    // Decoding the next rows beside counting these.
    let read = |sender: &SyncSender<Result<Rows>>| {
        for rows in source.rows(&columns, piece) {
            if sender.send(rows.map(|rows| rows.read_as(&reading))).is_err() {
                break;
            }
        }
        Ok(())
    };
    ahead(read, |pieces| -> Result<()> {
        for rows in pieces {
            let rows = rows?;
            if rows.is_empty() {
                continue;
            }
            learned.statistics.rows += rows.len() as u64;
            files[rows.file].1 += rows.len() as u64;
            if learned.statistics.rows > u64::from(u32::MAX) {
                if has_rates {
                    let message = format!("rate fields can learn from at most {} rows in all", u32::MAX);
                    return Err(Error::unfit(&rows.path, message));
                }
                learners.iter_mut().for_each(Learner::leave_out_unless_asked_for);
            }
            let labels = read_labels_that_count(&schema, &mut rows.in_order())?;
            labels.chunks(schema.tasks.len()).for_each(|labels| labels_seen.add(labels));
            let outcomes = outcomes(&funnel, &labels);
            let groups = groups(&rows, &schema)?;
            // Collected, so that of several errors it is always the first that is told.
            let done: Vec<Result<()>> =
                learners.par_iter_mut().map(|learner| learner.add(&schema, &rows, &outcomes, &groups)).collect();
            done.into_iter().collect::<Result<()>>()?;
            sample.add(&rows)?;
            if watch(learned.statistics.rows).is_break() {
                return Err(Error::Stopped("the features were learned"));
            }
        }
        Ok(())
    })?;
    if learned.statistics.rows == 0 {
        return Err(no_rows(source));
    }
    learned.statistics.columns = Some(reading.columns.clone());
    learned.statistics.warnings = labels_seen.warnings(&schema);
    learned.statistics.warnings.extend(warning::never(&schema.never, source.columns()));
    learned.statistics.warnings.extend(remarks);
    for learner in learners {
        learner.finish(&schema, &mut learned)?;
    }
    // What nobody asked for and was left out.
    schema.fields.retain(|field| !added.contains(&field.name) || learned.rates.contains_key(&field.name));
    let mut of_field = std::mem::take(&mut learned.histories);
    let histories: Vec<_> = schema.fields.iter().map(|field| of_field.remove(&field.name)).collect();
    let of_table = std::mem::take(&mut learned.known);
    let mut features = Features::assemble(schema, learned).map_err(Error::Schema)?;
    describe(&mut features, sample, &histories)?;
    let known = known(&features, &of_table);
    Ok(TrainingFeatures { features: Arc::new(features), histories, known, base_rates: labels_seen.rates(), files })
}

/// Says what the training rows were like, by a sample of them.
fn describe(features: &mut Features, sample: RowSample, histories: &[Option<rate::History>]) -> Result<()> {
    let encoded = sample.finish()?.into_par_iter().map(|rows| {
        let batch = encode(features, &rows, Purpose::Evaluation, Some(histories))?;
        Ok((rows, batch))
    });
    let encoded = encoded.collect::<Result<Vec<_>>>()?;
    features.warnings.extend(suspicions(features, &encoded)?);
    features.profile = Some(Profile::of(features, &encoded)?);
    Ok(())
}

/// [`TrainingFeatures::known`]. `of_table` is the share of values that each
/// vocabulary knows.
fn known(features: &Features, of_table: &BTreeMap<String, f64>) -> Vec<Option<f64>> {
    let rated = |column: &str| {
        features.schema.fields.iter().zip(&features.encoders).any(|(field, encoder)| match encoder {
            Encoder::Token { rates: Some(_), .. } => column_of(field) == column,
            Encoder::Rates(_) => field.rate().is_some_and(|rate| rate.key == [column]),
            _ => false,
        })
    };
    let of_field = |(field, encoder): (&Field, &Encoder)| match encoder {
        Encoder::Token { table, .. } | Encoder::Tokens { table, .. } => {
            let known = of_table.get(&features.layout.tables[*table].name).copied();
            Some(known.filter(|_| !rated(column_of(field))))
        }
        Encoder::Bucket { .. } | Encoder::Binned { .. } => Some(None),
        Encoder::Number(_) | Encoder::Rates(_) => None,
    };
    features.schema.fields.iter().zip(&features.encoders).filter_map(of_field).collect()
}

/// The columns that are read as text.
fn text_columns(schema: &Schema) -> Vec<TextColumn<'_>> {
    let mut columns = Vec::new();
    let mut add = |name, separator| columns.push(TextColumn { name, separator });
    for field in &schema.fields {
        match &field.kind {
            FieldKind::Categorical(_) => add(column_of(field), None),
            FieldKind::Multi(multi) => add(column_of(field), Some(multi.separator.as_str())),
            FieldKind::Rate(rate) => rate.key.iter().for_each(|name| add(name, None)),
            FieldKind::Numeric(_) => (),
        }
    }
    [&schema.scenario, &schema.group].into_iter().flatten().for_each(|name| add(name, None));
    columns
}

fn no_rows(source: &Source) -> Error {
    let path = source.files().first().cloned().unwrap_or_default();
    let others = match source.files().len() {
        0 | 1 => String::new(),
        files => format!(", nor in the {} other training files", files - 1),
    };
    Error::unfit(path, format!("there are no rows to learn from{others}"))
}
