//! Who or what a column describes: the person, the thing shown, or the moment; and by
//! which columns rows belong together.

use std::collections::HashMap;

use super::kinds::{Kind, What};
use super::labels::Label;
use super::{Draft, Told, words};
use crate::data::survey::Sample;
use crate::schema::Side;

/// Pairs of rows with the same user that it takes to see what changes within one.
const PAIRS: usize = 100;
/// Share of them in which what describes a user is the same.
const SAME: f64 = 0.98;
/// Share of any two rows in which it is the same, at most: else it says nothing.
const CHANCE: f64 = 0.9;
/// Most values of a scenario, and least rows of one in the sample.
const MOST_SCENARIOS: u64 = 50;
const SCENARIO_ROWS: f64 = 300.0;
/// How much more often an action happens in one scenario than in another.
const DIFFERS: f64 = 1.5;
/// Standard errors between the two rates.
const ERRORS: f64 = 5.0;
/// Rows per user from which on they can be ranked among themselves.
pub(super) const OFTEN: f64 = 1.5;

/// The column of the user; where none is called so, an `id` that comes back: whatever it
/// numbers, rows of one belong together.
pub(super) fn user(draft: &Draft<'_>) -> Option<usize> {
    let comes_back = |index: &usize| draft.column(*index).rows_per_value(draft.survey.rows) >= OFTEN;
    entity(draft, |name| words::is_id_of(name, words::USERS))
        .or_else(|| entity(draft, words::is_bare_id).filter(comes_back))
}

fn entity(draft: &Draft<'_>, is_called: impl Fn(&str) -> bool) -> Option<usize> {
    let is = |index: &usize| {
        let column = draft.column(*index);
        let number = column.counts.numbers.is_some() && !column.whole;
        is_called(column.name()) && column.distinct() >= 10 && !number
    };
    draft.open().into_iter().filter(is).max_by_key(|index| draft.column(*index).distinct())
}

/// Columns that number visits, queries or orders.
pub(super) fn sessions(draft: &Draft<'_>) -> Vec<usize> {
    let is = |index: &usize| {
        let column = draft.column(*index);
        words::is_id_of(column.name(), words::SESSIONS)
            && (column.whole || column.counts.numbers.is_none())
            && column.distinct() as f64 >= 0.01 * draft.survey.rows as f64
            && column.distinct() >= 10
    };
    draft.open().into_iter().filter(is).collect()
}

/// The column for grouped AUC: the user, else a visit or a query.
pub(super) fn group(draft: &Draft<'_>, user: Option<usize>, sessions: &[usize]) -> Option<Told<String>> {
    let rows = |index: usize| draft.column(index).rows_per_value(draft.survey.rows);
    let index = user.into_iter().chain(sessions.iter().copied()).find(|index| rows(*index) >= OFTEN)?;
    let column = draft.column(index);
    Some(Told::new(column.name().to_string(), format!("{} values, {:.1} rows each", column.distinct(), rows(index))))
}

/// A column that weighs the rows; it is no feature.
pub(super) fn weight(draft: &mut Draft<'_>) -> Option<String> {
    let is = |index: &usize| {
        let column = draft.column(*index);
        let words = words::words(column.name());
        words.len() == 2
            && words[1] == "weight"
            && words::has(&words, "sample instance row case importance observation")
            && column.counts.numbers.is_some_and(|numbers| numbers.min >= 0.0)
    };
    let index = draft.open().into_iter().find(is)?;
    let name = draft.column(index).name().to_string();
    draft.leave(index, "a weight of the rows, it seems; `weight` in the schema would use it");
    draft.unsure.push(format!("`{name}` is not used; should it weigh the rows, take the # away before `weight`"));
    Some(name)
}

/// The column of scenarios: by its name, where the actions are of different rates.
pub(super) fn scenario(draft: &Draft<'_>, kinds: &[(usize, Kind)], labels: &[Told<Label>]) -> Option<Told<String>> {
    let of = |(index, kind): &(usize, Kind)| {
        let column = draft.column(*index);
        let named = words::ends(&words::words(column.name()), words::SCENARIOS);
        if !named || kind.what != What::Categorical || !(2..=MOST_SCENARIOS).contains(&column.distinct()) {
            return None;
        }
        labels.iter().find_map(|label| {
            let [least, most] = differ(&column.sample, &draft.column(label.what.column).sample.numbers)?;
            let why = format!("{} in {:.2} to {:.2} % of its rows", label.what.task.name, 100.0 * least, 100.0 * most);
            Some(Told::new(column.name().to_string(), why))
        })
    };
    kinds.iter().find_map(of)
}

/// The least and the greatest rate of a label among the values with enough rows, where
/// they differ by much, and by more than chance.
fn differ(sample: &Sample, truth: &[f64]) -> Option<[f64; 2]> {
    let mut counts: HashMap<u64, (f64, f64)> = HashMap::new();
    for (value, truth) in sample.values.iter().zip(truth).filter(|(_, truth)| !truth.is_nan()) {
        let (rows, positives) = counts.entry(*value).or_default();
        (*rows, *positives) = (*rows + 1.0, *positives + truth);
    }
    let rates = counts.into_values().filter(|(rows, _)| *rows >= SCENARIO_ROWS);
    let mut rates: Vec<(f64, f64)> = rates.map(|(rows, positives)| (positives / rows, rows)).collect();
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ((least, few), (most, many)) = (*rates.first()?, *rates.last()?);
    let error = (least * (1.0 - least) / few + most * (1.0 - most) / many).sqrt();
    (most >= DIFFERS * least && most - least > ERRORS * error).then_some([least, most])
}

/// The side of each feature: by what stays the same within a user or a thing, where
/// enough of them come back in the sample, else by its name.
pub(super) fn sides(draft: &Draft<'_>, kinds: &[(usize, Kind)], user: Option<usize>) -> Vec<Side> {
    let item = entity(draft, |name| words::is_id_of(name, words::ITEMS));
    let pairs = |index: Option<usize>| index.map_or(Vec::new(), |index| pairs(&draft.column(index).sample));
    let (of_user, of_item) = (pairs(user), pairs(item));
    let side = |(index, _): &(usize, Kind)| {
        if Some(*index) == user {
            return Side::User;
        }
        if Some(*index) == item {
            return Side::Item;
        }
        let column = draft.column(*index);
        let seen =
            [(Side::User, &of_user), (Side::Item, &of_item)].map(|(side, pairs)| (side, same(&column.sample, pairs)));
        let stays = |side: Side| seen.iter().find(|(of, _)| *of == side).and_then(|(_, same)| *same);
        match words::side(column.name()) {
            Some(named) => match stays(named) {
                // Seen to change within what its name speaks of.
                Some(false) => {
                    seen.iter().find(|(_, same)| *same == Some(true)).map_or(Side::Context, |(side, _)| *side)
                }
                _ => named,
            },
            None => seen.iter().find(|(_, same)| *same == Some(true)).map_or(Side::Context, |(side, _)| *side),
        }
    };
    kinds.iter().map(side).collect()
}

/// Rows of the sample with the same value as the one before them that has it.
pub(super) fn pairs(sample: &Sample) -> Vec<(usize, usize)> {
    let mut last: HashMap<u64, usize> = HashMap::new();
    let rows = sample.values.iter().enumerate().filter(|(_, value)| **value != 0);
    rows.filter_map(|(row, value)| last.insert(*value, row).map(|before| (before, row))).collect()
}

/// Whether a column is the same in both rows of the pairs; `None` where that would say
/// nothing.
fn same(sample: &Sample, pairs: &[(usize, usize)]) -> Option<bool> {
    if pairs.len() < PAIRS || by_chance(sample) > CHANCE {
        return None;
    }
    Some(alike(sample, pairs) as f64 >= SAME * pairs.len() as f64)
}

/// In how many of the pairs a column is the same.
pub(super) fn alike(sample: &Sample, pairs: &[(usize, usize)]) -> usize {
    pairs.iter().filter(|(one, other)| sample.values[*one] == sample.values[*other]).count()
}

/// Share of any two rows in which a column is the same.
pub(super) fn by_chance(sample: &Sample) -> f64 {
    let rows = sample.values.len().max(1) as f64;
    let mut counts: HashMap<u64, f64> = HashMap::new();
    sample.values.iter().for_each(|value| *counts.entry(*value).or_default() += 1.0);
    counts.values().map(|count| (count / rows).powi(2)).sum()
}
