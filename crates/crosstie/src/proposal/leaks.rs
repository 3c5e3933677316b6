//! Columns that are known only once an action has happened or not.

use std::collections::HashMap;

use rayon::prelude::*;

use super::labels::Label;
use super::{Draft, Told, words};
use crate::data::survey::Sample;
use crate::metric::{ENOUGH, TWIN, column_auc};
use crate::random::Stream;

/// From this AUC on a person should look at it.
const SUSPECT: f64 = 0.9;
/// From this distance of the AUC from chance on a name such as `play_time` counts.
const TELLS: f64 = 0.05;
/// Share of the rows that stand out which may lack the action.
const MOST_WITHOUT: f64 = 0.005;

/// What a column tells of a label.
enum Leak {
    /// It is left out.
    Known(String),
    /// It stays, and is told.
    Suspect(String),
}

/// Leaves out what leaks, as far as the sample shows.
pub(super) fn leaks(draft: &mut Draft<'_>, labels: &[Told<Label>]) {
    let survey = draft.survey;
    let of_column = |index: usize| {
        let column = &survey.columns[index];
        let afterwards = words::is_afterwards(column.name());
        let leak = |label: &Told<Label>| {
            let truth = &survey.columns[label.what.column].sample.numbers;
            leak(&column.sample, truth, &label.what.task.name, afterwards)
        };
        let mut found: Vec<Leak> = labels.iter().filter_map(leak).collect();
        found.sort_by_key(|leak| matches!(leak, Leak::Suspect(_)));
        Some((index, found.into_iter().next()?))
    };
    let found: Vec<(usize, Leak)> = draft.open().into_par_iter().filter_map(of_column).collect();
    for (index, leak) in found {
        match leak {
            Leak::Known(why) => draft.never(index, why),
            // A person's habits are known beforehand.
            Leak::Suspect(_) if words::is_id_of(survey.columns[index].name(), words::USERS) => {}
            Leak::Suspect(what) => draft.unsure.push(format!("`{}` {what}", survey.columns[index].name())),
        }
    }
}

/// Whether a column gives a label away.
fn leak(sample: &Sample, truth: &[f64], task: &str, afterwards: bool) -> Option<Leak> {
    if let Some(what) = stands_out(sample, truth) {
        return Some(Leak::Known(format!("known only afterwards: it {what} only where `{task}` is 1")));
    }
    let auc = by_value(sample, truth).into_iter().chain(by_size(sample, truth)).fold(0.5, f64::max);
    let tells = format!("alone tells `{task}` (AUC {auc:.4})");
    match () {
        () if auc >= TWIN => Some(Leak::Known(format!("it {tells}"))),
        () if afterwards && auc >= 0.5 + TELLS => {
            Some(Leak::Known(format!("its name sounds as if known only afterwards, and it {tells}")))
        }
        () if afterwards => {
            Some(Leak::Suspect("sounds as if known only afterwards; if so, list it under `never`".into()))
        }
        () if auc >= SUSPECT => {
            Some(Leak::Suspect(format!("{tells}; if it is not known beforehand, list it under `never`")))
        }
        () => None,
    }
}

/// Whether a column is filled, or other than 0, only where the label is 1.
fn stands_out(sample: &Sample, truth: &[f64]) -> Option<&'static str> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    sample.values.iter().for_each(|value| *counts.entry(*value).or_default() += 1);
    let (usual, count) = counts.into_iter().max_by_key(|(value, count)| (*count, *value))?;
    let is_zero = sample.values.iter().zip(&sample.numbers).any(|(value, number)| *value == usual && *number == 0.0);
    if 2 * count < sample.values.len() || !is_zero && usual != 0 {
        return None;
    }
    let mut with = [0usize; 2];
    let mut all = [0usize; 2];
    for (value, truth) in sample.values.iter().zip(truth).filter(|(_, truth)| !truth.is_nan()) {
        let positive = usize::from(*truth == 1.0);
        all[positive] += 1;
        with[positive] += usize::from(*value != usual);
    }
    let rows = with[0] + with[1];
    let by_chance = rows as f64 * all[0] as f64 / (all[0] + all[1]).max(1) as f64;
    let only = with[1] >= ENOUGH && with[0] as f64 <= MOST_WITHOUT * rows as f64 && by_chance >= ENOUGH as f64;
    only.then_some(if is_zero { "is other than 0" } else { "is filled" })
}

/// AUC of the label's rate by value, each half of the rows judged by the other.
fn by_value(sample: &Sample, truth: &[f64]) -> Option<f64> {
    let mut counts: HashMap<u64, [[f64; 2]; 2]> = HashMap::new();
    let halves = Stream::new(0, "halves");
    let half = |row: usize| (halves.bits(row as u64) & 1) as usize;
    let known = || sample.values.iter().zip(truth).enumerate().filter(|(_, (_, truth))| !truth.is_nan());
    for (row, (value, truth)) in known() {
        let [rows, positives] = &mut counts.entry(*value).or_default()[half(row)];
        (*rows, *positives) = (*rows + 1.0, *positives + truth);
    }
    let score = |(row, (value, truth)): (usize, (&u64, &f64))| {
        let [rows, positives] = counts[value][1 - half(row)];
        ((positives + 0.5) / (rows + 1.0), *truth == 1.0)
    };
    column_auc(known().map(score))
}

/// AUC of the number itself, upwards or downwards.
fn by_size(sample: &Sample, truth: &[f64]) -> Option<f64> {
    let known = sample.numbers.iter().zip(truth).filter(|(number, truth)| !number.is_nan() && !truth.is_nan());
    let auc = column_auc(known.map(|(number, truth)| (*number, *truth == 1.0)))?;
    Some(auc.max(1.0 - auc))
}
