//! Numbers that are mostly one, as an amount that is mostly 0: of those the exact value
//! often means something, and a bucket mixes it with others.
//!
//! Such a number has rates of its values besides, as a `rate` field with its column as the
//! key. By the first training rows it is one where
//!
//! - more than half of its cells are one number,
//! - the others come back: there are at least two rows for each different one, and
//! - there are at least 20 different ones, and more than buckets.

use std::collections::{HashMap, HashSet};

use super::column_of;
use crate::data::Source;
use crate::error::Result;
use crate::schema::{Field, FieldKind, Rate, Schema, Transform};

/// Rows that are looked at.
const LOOKED_AT: usize = 16_384;
/// Rows of each rarer number.
const COMES_BACK: usize = 2;
/// Different numbers.
const LEAST: usize = 20;

/// The schema with such rates, and the names of the fields that nobody asked for.
///
/// # Errors
/// Those of reading; [`Error::Schema`](crate::Error::Schema) where a name is taken.
pub(super) fn with_rates(schema: &Schema, source: &Source) -> Result<(Schema, HashSet<String>)> {
    let (mut schema, mut added) = (schema.clone(), HashSet::new());
    let asked: Vec<Field> = schema.fields.iter().filter(|field| may_have_rates(field, &schema)).cloned().collect();
    let mut columns: Vec<&str> = Vec::new();
    super::add(&mut columns, asked.iter().map(column_of));
    let mut numbers = Numbers { rows: 0, counts: vec![HashMap::new(); columns.len()] };
    if !columns.is_empty() {
        for rows in source.rows(&columns, LOOKED_AT) {
            let rows = rows?;
            let (before, left) = (numbers.rows, LOOKED_AT - numbers.rows);
            for (column, counts) in columns.iter().zip(&mut numbers.counts) {
                for number in rows.column(column)?.numbers()?.into_iter().take(left).flatten() {
                    // 0 and -0 are one number.
                    *counts.entry((number + 0.0).to_bits()).or_default() += 1;
                }
            }
            numbers.rows = before + rows.len().min(left);
            if numbers.rows == LOOKED_AT {
                break;
            }
        }
    }
    for field in &asked {
        let FieldKind::Numeric(Transform::Binned(buckets) | Transform::Quantile(buckets)) = &field.kind else {
            continue;
        };
        let place = columns.iter().position(|column| *column == column_of(field));
        let is_mostly_one = |place: usize| numbers.are_mostly_one(place, buckets.among(numbers.rows as u64));
        let has_rates = buckets.rates == Some(true) || place.is_some_and(is_mostly_one);
        // A field of the same column may just have got them.
        if !has_rates || !may_have_rates(field, &schema) {
            continue;
        }
        let (name, kind) = (format!("{} rate", field.name), FieldKind::Rate(Rate::of_column(column_of(field))));
        schema.fields.push(Field { name: name.clone(), column: None, kind, ..field.clone() });
        match (schema.check(), buckets.rates) {
            (Ok(()), None) => drop(added.insert(name)),
            (Ok(()), Some(_)) => {}
            // Its name would not do.
            (Err(_), None) => drop(schema.fields.pop()),
            (Err(error), Some(_)) => return Err(error),
        }
    }
    Ok((schema, added))
}

/// Whether a field's column may have rates that the schema does not name.
fn may_have_rates(field: &Field, schema: &Schema) -> bool {
    let FieldKind::Numeric(Transform::Binned(buckets) | Transform::Quantile(buckets)) = &field.kind else {
        return false;
    };
    let tells_values = |other: &Field| match &other.kind {
        FieldKind::Categorical(_) | FieldKind::Multi(_) => column_of(other) == column_of(field),
        FieldKind::Rate(rate) => rate.key == [column_of(field)],
        FieldKind::Numeric(_) => false,
    };
    buckets.rates != Some(false) && !schema.fields.iter().any(tells_values)
}

/// How often each number of some columns occurs in the first rows.
struct Numbers {
    rows: usize,
    counts: Vec<HashMap<u64, usize>>,
}

impl Numbers {
    fn are_mostly_one(&self, column: usize, buckets: u32) -> bool {
        let counts = &self.counts[column];
        let (all, most) = (counts.values().sum::<usize>(), counts.values().max().copied().unwrap_or_default());
        let others = counts.len().saturating_sub(1);
        2 * most > all && counts.len() >= LEAST.max(buckets as usize + 1) && all - most >= COMES_BACK * others
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::arrow::array::{Float64Array, RecordBatch};
    use crate::feature::Features;

    /// A log of an amount and an action that follows its exact value.
    fn source(amount: impl Fn(usize) -> f64) -> Source {
        let column = |value: &dyn Fn(usize) -> f64| Arc::new(Float64Array::from_iter_values((0..4000).map(value))) as _;
        let click = |row: usize| f64::from(u8::from(amount(row) as usize % 3 == 1));
        let batch = RecordBatch::try_from_iter([("amount", column(&amount)), ("click", column(&click))]).unwrap();
        Source::from_batches("made", vec![batch]).unwrap()
    }

    /// 0 in two of three rows, else one of so many amounts.
    fn mostly_0(values: usize) -> impl Fn(usize) -> f64 {
        move |row| if row.is_multiple_of(3) { (1 + row / 3 % values) as f64 } else { 0.0 }
    }

    fn fields(more: &str, amount: impl Fn(usize) -> f64) -> Vec<String> {
        let schema = format!("[[task]]\nname = 'click'\n[[field]]\nname = 'amount'\nkind = 'numeric'\n{more}");
        let learned = Features::learn(&Schema::parse(&schema).unwrap(), &source(amount)).unwrap();
        learned.features().schema().fields.iter().map(|field| field.name.clone()).collect()
    }

    #[test]
    fn an_amount_that_is_mostly_0_has_the_rates_of_its_values() {
        let both = ["amount", "amount rate"];
        assert_eq!(fields("", mostly_0(100)), both);
        assert_eq!(fields("transform = 'quantile'", mostly_0(100)), both);
        assert_eq!(fields("rates = true", mostly_0(3)), both, "asked for");
        for (more, said) in [
            ("rates = false", "refused"),
            ("transform = 'log1p'", "without buckets"),
            ("buckets = 101", "each has its own"),
        ] {
            assert_eq!(fields(more, mostly_0(100)), ["amount"], "{said}");
        }
        assert_eq!(fields("", mostly_0(3)), ["amount"], "each has its bucket");
        assert_eq!(fields("", mostly_0(900)), ["amount"], "they do not come back");
        assert_eq!(fields("", |row| (row % 100) as f64), ["amount"], "none is most of them");
        let twice = "[[field]]\nname = 'bucket'\ncolumn = 'amount'\nkind = 'numeric'\ntransform = 'quantile'\n";
        assert_eq!(fields(twice, mostly_0(100)), ["amount", "bucket", "amount rate"], "once for a column");
        let long = "n".repeat(245);
        let schema = format!(
            "[[task]]\nname = 'click'\n[[field]]\nname = '{long}'\ncolumn = 'amount'\nkind = 'numeric'\nrates = true\n"
        );
        let said = Features::learn(&Schema::parse(&schema).unwrap(), &source(mostly_0(100))).unwrap_err().to_string();
        assert!(said.contains("at most 247"), "{said}");
        let unasked = Schema::parse(&schema.replace("rates = true\n", "")).unwrap();
        assert_eq!(Features::learn(&unasked, &source(mostly_0(100))).unwrap().features().schema().fields.len(), 1);
        let named = "[[field]]\nname = 'value'\ncolumn = 'amount'\nkind = 'categorical'\n";
        assert_eq!(fields(named, mostly_0(100)), ["amount", "value"], "its values are told already");
        let named = "[[field]]\nname = 'Amount rate'\nkind = 'rate'\nkey = 'amount'\n";
        assert_eq!(fields(named, mostly_0(100)), ["amount", "Amount rate"]);
    }

    #[test]
    fn a_row_of_an_amount_has_the_rate_of_its_value_and_keeps_it_when_saved() {
        let schema = Schema::parse("[[task]]\nname = 'click'\n[[field]]\nname = 'amount'\nkind = 'numeric'\n").unwrap();
        let source = source(mostly_0(100));
        let learned = Features::learn(&schema, &source).unwrap();
        let directory = tempfile::tempdir().unwrap();
        learned.features().save(directory.path()).unwrap();
        let loaded = Features::load(directory.path()).unwrap();
        let dense = loaded.layout().dense.iter().position(|dense| dense.name == "amount rate").unwrap();
        let rows = source.rows(&["amount"], 400).next().unwrap().unwrap();
        let batch = loaded.encode(&rows, crate::feature::Purpose::Scoring).unwrap();
        let width: usize = loaded.layout().dense.iter().map(|dense| dense.width).sum();
        let start: usize = loaded.layout().dense[..dense].iter().map(|dense| dense.width).sum();
        let rate = |amount: usize| batch.dense[(3 * (amount - 1)) * width + start];
        // Of 4, 7 and 10 it always happened, of 2, 5 and 6 never.
        let least = [4, 7, 10].map(rate).into_iter().fold(f32::MAX, f32::min);
        assert!([2, 5, 6].into_iter().all(|amount| rate(amount) < least));
    }
}
