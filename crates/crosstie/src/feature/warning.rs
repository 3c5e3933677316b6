//! What about the data a person should know before training on them, or of
//! predictions made from them.

use super::vocabulary::Counts;
use super::{Features, Lookup, MISSING, UNKNOWN};
use crate::batch::{Batch, Ids};
use crate::schema::{Field, Funnel, Schema};
use crate::spelling;

/// What is listed under `never` and is no column: a slip of the pen there lets a field read
/// what it must not.
pub(super) fn never<'a>(never: &'a [String], columns: &'a [String]) -> impl Iterator<Item = String> + 'a {
    never.iter().filter(|name| !columns.contains(name)).filter_map(|name| {
        // What resembles no column may well be one of other files.
        let nearest = spelling::nearest(name, columns.iter().map(String::as_str))?;
        Some(format!("`never` lists `{name}`, which the training files do not have; did you mean `{nearest}`?"))
    })
}

/// Labels seen, per task.
pub(super) struct Labels {
    funnel: Funnel,
    tasks: Vec<Seen>,
}

#[derive(Clone, Default)]
struct Seen {
    /// On the task's sample space.
    positives: u64,
    negatives: u64,
    /// Label 1 although the parent's is 0.
    orphans: u64,
    rates: BaseRates,
}

/// How often an action happened in the training rows: rows with, and rows without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BaseRates {
    pub given_parent: [u64; 2],
    pub without_parent: [u64; 2],
    pub from_impression: [u64; 2],
}

impl Labels {
    pub fn new(schema: &Schema) -> Labels {
        Labels { funnel: schema.funnel(), tasks: vec![Seen::default(); schema.tasks.len()] }
    }

    /// Adds the labels of one row.
    pub fn add(&mut self, labels: &[f32]) {
        for (task, seen) in self.tasks.iter_mut().enumerate() {
            for (counts, happened) in [
                (&mut seen.rates.given_parent, self.funnel.given_parent(labels, task)),
                (&mut seen.rates.without_parent, self.funnel.without_parent(labels, task)),
                (&mut seen.rates.from_impression, self.funnel.from_impression(labels, task)),
            ] {
                if let Some(happened) = happened {
                    counts[usize::from(!happened)] += 1;
                }
            }
            match self.funnel.given_parent(labels, task) {
                Some(true) => seen.positives += 1,
                Some(false) => seen.negatives += 1,
                None => {}
            }
            if labels[task] == 1.0 && self.funnel.parents[task].is_some_and(|parent| labels[parent] == 0.0) {
                seen.orphans += 1;
            }
        }
    }

    /// How often each action happened.
    pub fn rates(&self) -> Vec<BaseRates> {
        self.tasks.iter().map(|seen| seen.rates.clone()).collect()
    }

    pub fn warnings(&self, schema: &Schema) -> Vec<String> {
        let mut warnings = Vec::new();
        for (task, seen) in schema.tasks.iter().zip(&self.tasks) {
            let space = match &task.after {
                Some(parent) => format!("the training rows where `{parent}` is 1"),
                None => "the training rows".into(),
            };
            let Seen { positives, negatives, orphans, .. } = *seen;
            if positives == 0 || negatives == 0 {
                let what = match (positives, negatives) {
                    (0, 0) => format!("no label at all among {space}"),
                    (0, _) => format!("no positive label among {space} ({negatives} with a label)"),
                    _ => format!("no negative label among {space} ({positives} with a label)"),
                };
                warnings.push(format!("task `{}`: {what}; there is nothing to learn for it", task.name));
            }
            if let (Some(parent), false, 1..) = (&task.after, task.direct, orphans) {
                warnings.push(format!(
                    "task `{}`: {orphans} training rows have label 1 although `{parent}` is 0 ({positives} have it \
                     where `{parent}` is 1); they do not count. If this action also happens without its parent, set \
                     `direct = true`",
                    task.name
                ));
            }
        }
        warnings
    }
}

/// Counts the values that training did not know: many of them, and the rows are
/// not of the kind that was learned from.
#[derive(Clone, Debug)]
pub struct Unknown<'a> {
    features: &'a Features,
    counts: Vec<ValueCounts>,
}

/// What was counted of one embedded field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValueCounts {
    /// Values that training did not know.
    pub unknown: u64,
    /// All values that are there.
    pub values: u64,
    /// Rows without a value.
    pub missing: u64,
}

impl<'a> Unknown<'a> {
    /// Starts without rows.
    pub fn new(features: &'a Features) -> Unknown<'a> {
        Unknown { features, counts: vec![ValueCounts::default(); features.layout().embedded.len()] }
    }

    /// Adds rows that these features encoded.
    pub fn add(&mut self, batch: &Batch) {
        for (counts, ids) in self.counts.iter_mut().zip(&batch.ids) {
            let (Ids::One(values) | Ids::Many { values, .. }) = ids;
            counts.unknown += values.iter().filter(|id| **id == UNKNOWN).count() as u64;
            let missing = values.iter().filter(|id| **id == MISSING).count() as u64;
            counts.values += values.len() as u64 - missing;
            counts.missing += match ids {
                Ids::One(_) => missing,
                Ids::Many { offsets, .. } => offsets.windows(2).filter(|ends| ends[0] == ends[1]).count() as u64,
            };
        }
    }

    /// What was counted, in the order of [`Layout::embedded`](crate::batch::Layout::embedded).
    pub fn counts(&self) -> &[ValueCounts] {
        &self.counts
    }

    /// Per embedded field the share of unknown values among those not missing.
    pub(crate) fn shares(&self) -> Vec<f64> {
        self.counts.iter().map(|counts| counts.unknown as f64 / counts.values.max(1) as f64).collect()
    }

    /// The fields of which most values were unknown though most were known in
    /// training, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (field, counts) in self.features.layout.embedded.iter().zip(&self.counts) {
            let ValueCounts { unknown, values: all, .. } = counts;
            let Lookup::Vocabulary(known) = &self.features.tables[field.table] else { continue };
            if unknown * 2 > *all && known.total() * 2 > self.features.rows {
                warnings.push(format!(
                    "field `{}`: {unknown} of {all} values, more than half, are none that training knew; is the column \
                     written as it was there?",
                    field.name
                ));
            }
        }
        warnings
    }
}

/// Says so where most values of a vocabulary's fields are too rare for it.
pub(super) fn vocabulary(table: &str, min_count: u64, counted: &Counts, kept: &Counts) -> Option<String> {
    let (all, known) = (counted.total(), kept.total());
    let (values, rare) = (counted.tokens.len(), counted.tokens.len() - kept.tokens.len());
    (known * 2 < all).then(|| {
        format!(
            "vocabulary `{table}`: {rare} of {values} values, which are {} of the {all} that training rows hold, are seen \
             fewer than {min_count} times and share the unknown row; rates tell them apart, where the field has them, \
             as a lower `min_count`, or `buckets`, would",
            all - known
        )
    })
}

/// Says so where a rate's keys do not differ.
pub(super) fn rates(schema: &Schema, field: &str, smoothing: &[Option<f64>]) -> Option<String> {
    let alike: Vec<String> = schema
        .tasks
        .iter()
        .zip(smoothing)
        .filter(|(_, smoothing)| smoothing.is_none())
        .map(|(task, _)| format!("`{}`", task.name))
        .collect();
    (!alike.is_empty()).then(|| {
        format!(
            "field `{field}`: the rates of {} differ between its keys by no more than chance; every key has the mean",
            alike.join(", ")
        )
    })
}

/// Says so where training rows see nothing of a rate's keys, since each lies within one group.
pub(super) fn rates_within(field: &Field, key: &[String], group: &str) -> String {
    let (name, key) = (&field.name, key.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", "));
    format!(
        "field `{name}`: most of its values have rows of one `{group}` alone, and a training row sees the rates of no \
         row of its own `{group}`, so that nothing is learned of them; a field of kind `rate` with \
         `key = [\"{group}\", {key}]` sees other rows of one `{group}`"
    )
}

/// Says which fields' rates say less of the validation rows than of the training rows, and per
/// task how much of it; nothing where none does.
pub(super) fn rates_that_fade(schema: &Schema, fields: &[(usize, Vec<f64>)]) -> Option<String> {
    let of_field = |(field, shares): &(usize, Vec<f64>)| {
        let less = schema.tasks.iter().zip(shares).filter(|(_, share)| **share < 1.0);
        let less: Vec<String> = less.map(|(task, share)| format!("`{}` {share:.2}", task.name)).collect();
        format!("`{}` ({})", schema.fields[*field].name, less.join(", "))
    };
    (!fields.is_empty()).then(|| {
        format!(
            "rates that say less of the validation rows than of the training rows, as of other days, count as much less \
             in all rows but those of the training (`train.carry_rates`): {}",
            fields.iter().map(of_field).collect::<Vec<_>>().join(", ")
        )
    })
}

/// Says so where a vocabulary has too many values for rates that nobody asked for.
pub(super) fn rates_left_out(field: &str, most: usize) -> String {
    format!(
        "field `{field}`: more than {most} values, or too many rows, to keep the rates of each in memory unasked; \
         `rates = true` asks for them, `rates = false` says that they are not wanted"
    )
}

/// Says which scenarios are too small to stand alone.
pub(super) fn scenarios(least: u64, counted: &Counts, kept: &Counts) -> Option<String> {
    let pooled: Vec<(String, u64)> =
        counted.vocabulary(1).iter().filter(|(token, _)| kept.tokens.find(token.as_bytes()).is_none()).collect();
    if pooled.is_empty() {
        return None;
    }
    let rows: u64 = pooled.iter().map(|(_, count)| count).sum();
    let mut names: Vec<&str> = pooled.iter().take(20).map(|(token, _)| token.as_str()).collect();
    if pooled.len() > names.len() {
        names.push("...");
    }
    Some(format!(
        "{} of {} scenarios have fewer than {least} training rows (`scenario_min_rows`), {rows} together, and are \
         pooled as `{}`: {}",
        pooled.len(),
        counted.tokens.len(),
        super::OTHER,
        names.join(", ")
    ))
}
