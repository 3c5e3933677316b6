//! What kind of feature a column is, if it is one.

use std::collections::HashMap;

use super::{Draft, Told, words};
use crate::data::survey::{ColumnSurvey, Survey};
use crate::schema::{Buckets, Categorical, Encoding, Field, FieldKind, Multi, Pooling, Role, Side, Transform};

/// Whole numbers of so many values or fewer are categories.
const FEW: u64 = 10;
/// Distinct numbers that a bucketed number has buckets for, one each.
const EACH_ITS_OWN: u64 = 256;
/// Deviations above the mean from which on numbers have a long tail.
const TAIL: f64 = 20.0;
/// Numbers that reach half as far: fewer are slips of whoever measured.
const IN_TAIL: usize = 3;
/// Rows per value from which on the values of a text or an id come back.
const COMES_BACK: f64 = 1.5;
/// Share of the cells of a list that have several values.
const SEVERAL: f64 = 0.05;
/// Separators that stand within single values, too, such as names.
const WEAK: [&str; 5] = [" ", "/", ":", "&", "#"];
/// Rows from which on it says something that all values differ.
const ENOUGH: u64 = 50;

/// A kind, and why.
pub(super) type Kind = Told<What>;

/// What a feature is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Categorical,
    /// The number and its bucket; of a long tail, the number as its logarithm.
    Numeric {
        tail: bool,
    },
    Multi(Option<&'static str>),
}

/// Why a column says nothing, if it does not.
pub(super) fn says_nothing(column: &ColumnSurvey, rows: u64) -> Option<String> {
    let counts = &column.counts;
    match () {
        () if counts.kind == "other" => Some("of a type that is neither number nor text".into()),
        () if counts.missing == rows => Some("empty".into()),
        () if column.distinct() == 1 && counts.missing == 0 => Some("the same in every row".into()),
        () => None,
    }
}

/// The kind of a column; without one it is left out.
pub(super) fn kind(draft: &mut Draft<'_>, index: usize) -> Option<Kind> {
    let (column, rows) = (draft.column(index), draft.survey.rows);
    let name_words = words::words(column.name());
    let distinct = column.distinct();
    let values = format!("{distinct} values");
    if column.counts.kind == "list" {
        return Some(Told::new(What::Multi(None), format!("lists of {values}")));
    }
    if let Some(lists) = column.lists.as_ref().filter(|lists| lists.share >= SEVERAL && lists.cells > lists.values) {
        // Of texts that come back whole, blanks part the words of a name; a time is one value.
        let weak = lists.separator.is_some_and(|separator| WEAK.contains(&separator));
        let whole = weak && column.rows_per_value(rows) >= COMES_BACK || words::ends(&name_words, words::TIMES);
        if column.counts.numbers.is_none() && !column.is_time && distinct > FEW && !whole {
            let why = format!("{} values, several in {:.0} % of the cells", lists.values, 100.0 * lists.share);
            return Some(Told::new(What::Multi(lists.separator), why));
        }
    }
    if column.is_time || column.counts.kind == "time" {
        return Some(Told::new(What::Numeric { tail: false }, "moments, as seconds from 1970"));
    }
    let numeric = |why: String| {
        let tail = has_tail(column);
        let why = if tail { format!("{why}, a long tail") } else { why };
        Some(Told::new(What::Numeric { tail }, why))
    };
    if let Some(infinite) = column.counts.numbers.map(|numbers| numbers.infinite).filter(|infinite| *infinite > 0) {
        let what = if infinite == 1 { "an infinity".into() } else { format!("{infinite} infinities") };
        draft.leave(index, format!("holds {what}, which training refuses"));
        return None;
    }
    let range = column
        .counts
        .numbers
        .map_or(String::new(), |numbers| format!("{values} from {} to {}", short(numbers.min), short(numbers.max)));
    let is_id = words::ends(&name_words, "id index row key hash");
    let comes_back = column.rows_per_value(rows) >= COMES_BACK && !column.counts.distinct_exceeded
        || rows < ENOUGH
        || column.counts.distinct_exceeded && sample_comes_back(column);
    if column.counts.numbers.is_none() {
        if !comes_back {
            draft.leave(index, "a text or an id whose values do not come back");
            return None;
        }
        let others = &column.not_numbers;
        if others.are_few(rows - column.counts.missing) {
            let said = "is taken for a category: its cells are numbers, but";
            draft.unsure.push(format!("`{}` {said} {others}; a missing number is an empty cell", column.name()));
        }
        return Some(Told::new(What::Categorical, values));
    }
    if !column.whole {
        return numeric(range);
    }
    let counts_rows = column.ascending && column.rows_per_value(rows) <= 1.0 && rows >= ENOUGH;
    if !comes_back && (is_id || counts_rows) {
        draft.leave(index, "an id whose values do not come back");
        return None;
    }
    let (code, amount) = (words::has(&name_words, words::CODES), words::has(&name_words, words::AMOUNTS));
    let entity = words::is_id_of(column.name(), words::USERS) || words::is_id_of(column.name(), words::ITEMS);
    match () {
        () if entity || distinct <= FEW || is_id => Some(Told::new(What::Categorical, values)),
        () if amount && !code => numeric(range),
        () if code && !amount => Some(Told::new(What::Categorical, format!("{values}; its name is that of a code"))),
        () if distinct <= EACH_ITS_OWN => numeric(range),
        () if looks_like_code(column) => {
            draft.unsure.push(format!(
                "`{}` ({range}) is taken for a code: its numbers lie densely, and large ones are as frequent as small",
                column.name()
            ));
            Some(Told::new(What::Categorical, format!("{values}, dense as those of a code")))
        }
        () => numeric(range),
    }
}

/// Whether the values of the sample occur more than once.
fn sample_comes_back(column: &ColumnSurvey) -> bool {
    let mut values: Vec<u64> = column.sample.values.iter().copied().filter(|value| *value != 0).collect();
    let all = values.len();
    values.sort_unstable();
    values.dedup();
    values.len() as f64 * COMES_BACK <= all as f64
}

fn has_tail(column: &ColumnSurvey) -> bool {
    let Some(numbers) = column.counts.numbers else { return false };
    let known: Vec<f64> = column.sample.numbers.iter().copied().filter(|number| !number.is_nan()).collect();
    let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let variance = known.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / known.len().max(1) as f64;
    let beyond = |deviations: f64| mean + deviations * variance.sqrt();
    let in_tail = known.iter().filter(|number| **number > beyond(TAIL / 2.0)).count();
    numbers.min >= 0.0 && column.distinct() > EACH_ITS_OWN && numbers.max > beyond(TAIL) && in_tail >= IN_TAIL
}

/// Whether whole numbers fill their range, and large ones are about as frequent as
/// small ones. Counts and amounts thin out.
fn looks_like_code(column: &ColumnSurvey) -> bool {
    let Some(numbers) = column.counts.numbers else { return false };
    let dense = column.distinct() as f64 >= 0.3 * (numbers.max - numbers.min + 1.0);
    let middle = (numbers.min + numbers.max) / 2.0;
    let (mut small, mut large) = (HashMap::new(), HashMap::new());
    for number in column.sample.numbers.iter().filter(|number| !number.is_nan()) {
        let half = if *number <= middle { &mut small } else { &mut large };
        *half.entry(number.to_bits()).or_insert(0usize) += 1;
    }
    let mean = |half: &HashMap<u64, usize>| half.values().sum::<usize>() as f64 / half.len().max(1) as f64;
    dense && large.len() * 3 >= small.len() && mean(&large) * 3.0 >= mean(&small)
}

/// A number as people write it.
fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// The fields of the schema.
pub(super) fn fields(survey: &Survey, kinds: &[(usize, Kind)], sides: &[Side]) -> Vec<Told<Field>> {
    let mut fields: Vec<Told<Field>> = Vec::new();
    for ((index, kind), side) in kinds.iter().zip(sides) {
        let column = survey.columns[*index].name();
        let taken = |name: &str, fields: &[Told<Field>]| {
            fields.iter().any(|field| field.what.name.to_lowercase() == name.to_lowercase())
        };
        let mut add = |wanted: String, what: FieldKind, why: String| {
            let mut name = wanted.clone();
            let mut number = 1;
            while taken(&name, &fields) {
                number += 1;
                name = format!("{wanted} {number}");
            }
            let column = (name != column).then(|| column.to_string());
            fields.push(Told::new(Field { name, column, side: *side, role: Role::Main, kind: what }, why));
        };
        let name = field_name(column);
        let buckets = || Buckets { buckets: None, width: None, rates: None };
        let why = kind.why.clone();
        match kind.what {
            What::Categorical => add(name, FieldKind::Categorical(vocabulary()), why),
            What::Multi(separator) => {
                let separator = separator.unwrap_or(",").to_string();
                let multi = Multi { categorical: vocabulary(), separator, pooling: Pooling::Mean };
                add(name, FieldKind::Multi(multi), why);
            }
            What::Numeric { tail: false } => add(name, FieldKind::Numeric(Transform::Binned(buckets())), why),
            What::Numeric { tail: true } => {
                add(name.clone(), FieldKind::Numeric(Transform::Log1p), why);
                let why = "the same number by its bucket".to_string();
                add(format!("{name} bucket"), FieldKind::Numeric(Transform::Quantile(buckets())), why);
            }
        }
    }
    fields
}

fn vocabulary() -> Categorical {
    Categorical { encoding: Encoding::Vocabulary { min_count: 10 }, width: None, table: None, rates: None }
}

/// A column's name as a field may have it.
fn field_name(column: &str) -> String {
    let fine = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '+') { c } else { '_' };
    let name: String = column.chars().map(fine).take(60).collect();
    if name.is_empty() { "field".into() } else { name }
}
