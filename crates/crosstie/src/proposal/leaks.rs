//! Columns that are known only once an action has happened or not.

use std::collections::HashMap;

use rayon::prelude::*;

use super::labels::Label;
use super::{Draft, Told, words};
use crate::data::survey::Sample;
use crate::metric;

/// From this AUC on a column alone tells a label. What people do is not so sure.
const TWIN: f64 = 0.995;
/// From this distance of the AUC from chance on a name such as `play_time` counts.
const TELLS: f64 = 0.2;
/// Rows that it takes to say so, with the action and, by chance, without.
const ENOUGH: usize = 20;
/// Share of the rows that stand out which may lack the action.
const MOST_WITHOUT: f64 = 0.005;

/// Leaves out what leaks, as far as the sample shows.
pub(super) fn leaks(draft: &mut Draft<'_>, labels: &[Told<Label>]) {
    let survey = draft.survey;
    let found: Vec<(usize, String)> = draft
        .open()
        .into_par_iter()
        .filter_map(|index| {
            let column = &survey.columns[index];
            let afterwards = words::is_afterwards(column.name());
            let leak = labels.iter().find_map(|label| {
                let truth = &survey.columns[label.what.column].sample.numbers;
                leak(&column.sample, truth, &label.what.task.name, afterwards)
            });
            leak.map(|leak| (index, leak))
        })
        .collect();
    for (index, leak) in found {
        draft.never(index, leak);
    }
}

/// How a column gives a label away.
fn leak(sample: &Sample, truth: &[f64], task: &str, afterwards: bool) -> Option<String> {
    if let Some(what) = stands_out(sample, truth) {
        return Some(format!("known only afterwards: it {what} only where `{task}` is 1"));
    }
    let auc = by_value(sample, truth).into_iter().chain(by_size(sample, truth)).fold(0.5, f64::max);
    match () {
        () if auc >= TWIN => Some(format!("it alone tells `{task}` (AUC {auc:.4})")),
        () if afterwards && auc >= 0.5 + TELLS => {
            Some(format!("its name sounds as if known only afterwards, and it tells `{task}` (AUC {auc:.2})"))
        }
        () => None,
    }
}

/// Whether a column is filled, or has another value than its usual one, only where
/// the label is 1.
fn stands_out(sample: &Sample, truth: &[f64]) -> Option<&'static str> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    sample.values.iter().for_each(|value| *counts.entry(*value).or_default() += 1);
    let (usual, count) = counts.into_iter().max_by_key(|(value, count)| (*count, *value))?;
    if 2 * count < sample.values.len() {
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
    only.then_some(if usual == 0 { "is filled" } else { "has another value than its usual one" })
}

/// AUC of the label's rate by value, each half of the rows judged by the other.
fn by_value(sample: &Sample, truth: &[f64]) -> Option<f64> {
    let mut counts: HashMap<u64, [[f64; 2]; 2]> = HashMap::new();
    let known = || sample.values.iter().zip(truth).enumerate().filter(|(_, (_, truth))| !truth.is_nan());
    for (row, (value, truth)) in known() {
        let [rows, positives] = &mut counts.entry(*value).or_default()[row % 2];
        (*rows, *positives) = (*rows + 1.0, *positives + truth);
    }
    let score = |(row, (value, truth)): (usize, (&u64, &f64))| {
        let [rows, positives] = counts[value][1 - row % 2];
        ((positives + 0.5) / (rows + 1.0), *truth == 1.0)
    };
    auc(known().map(score))
}

/// AUC of the number itself, upwards or downwards.
fn by_size(sample: &Sample, truth: &[f64]) -> Option<f64> {
    let known = sample.numbers.iter().zip(truth).filter(|(number, truth)| !number.is_nan() && !truth.is_nan());
    let auc = auc(known.map(|(number, truth)| (*number, *truth == 1.0)))?;
    Some(auc.max(1.0 - auc))
}

fn auc(rows: impl Iterator<Item = (f64, bool)>) -> Option<f64> {
    let (scores, labels): (Vec<f64>, Vec<bool>) = rows.unzip();
    let positives = labels.iter().filter(|label| **label).count();
    let enough = positives >= ENOUGH && labels.len() - positives >= ENOUGH;
    if enough { metric::auc(&labels, &scores, None) } else { None }
}
