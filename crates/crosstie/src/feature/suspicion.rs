//! What looks wrong in a sample of the training rows: fields that know a label, and
//! lists that are not taken apart.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::{Features, column_of};
use crate::batch::{Batch, Ids};
use crate::data::Rows;
use crate::data::survey::SEPARATORS;
use crate::error::Result;
use crate::metric::{TWIN, column_auc};
use crate::schema::{Field, FieldKind, Multi};

/// Cells that it takes to suspect a separator.
const CELLS: usize = 20;
/// Share of the cells in which another separator occurs.
const OFTEN: f64 = 0.2;
/// Mean length from which on cells that all differ are suspected to be lists.
const LONG: usize = 20;

/// All that is suspected, one sentence each.
pub(super) fn suspicions(features: &Features, sample: &[(Rows, Batch)]) -> Result<Vec<String>> {
    let fields = &features.schema.fields;
    // Of several fields that read one column the first is enough.
    let first = |place: &usize| {
        let column = |field: &Field| column_of(field).to_string();
        fields[..*place].iter().all(|other| column(other) != column(&fields[*place]))
    };
    let places: Vec<usize> = (0..fields.len()).filter(first).collect();
    let of_field = |place: usize| -> Result<Vec<String>> {
        let field = &fields[place];
        let mut said = Vec::new();
        if let FieldKind::Multi(multi) = &field.kind {
            said.extend(separator(features, field, multi, sample)?);
        }
        said.extend(twins(features, field, sample)?);
        Ok(said)
    };
    let said: Vec<Result<Vec<String>>> = places.into_par_iter().map(of_field).collect();
    Ok(said.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The tasks whose label a field tells all by itself.
fn twins(features: &Features, field: &Field, sample: &[(Rows, Batch)]) -> Result<Vec<String>> {
    let (schema, funnel) = (&features.schema, features.schema.funnel());
    let place = features.layout.embedded.iter().position(|embedded| embedded.name == field.name);
    let mut numbers = Vec::new();
    if let FieldKind::Numeric(_) = field.kind {
        for (rows, _) in sample {
            let read = features.reading.as_ref().map(|reading| rows.read_as(reading));
            numbers.extend(read.as_ref().unwrap_or(rows).column(column_of(field))?.numbers()?);
        }
    }
    let mut said = Vec::new();
    for (task, contract) in schema.tasks.iter().enumerate() {
        let labels: Vec<Option<bool>> = sample
            .iter()
            .flat_map(|(_, batch)| batch.labels.chunks_exact(schema.tasks.len()))
            .map(|labels| funnel.given_parent(labels, task))
            .collect();
        let auc = match (&field.kind, place) {
            (FieldKind::Numeric(_), _) => {
                // A missing value may tell as much as a number.
                let scores = numbers.iter().map(|x| x.unwrap_or(f64::NEG_INFINITY));
                column_auc(scores.zip(&labels).filter_map(|(x, label)| Some((x, (*label)?))))
            }
            (FieldKind::Categorical(_) | FieldKind::Multi(_), Some(place)) => of_values(place, &labels, sample),
            _ => None,
        };
        if let Some(auc) = auc.map(|auc| auc.max(1.0 - auc)).filter(|auc| *auc > TWIN) {
            said.push(format!(
                "field `{}` alone tells `{}` almost perfectly (AUC {auc:.4} on a sample of the training rows): is it known \
                 before the impression? If not, list its column under `never` instead",
                field.name, contract.name
            ));
        }
    }
    Ok(said)
}

/// How well the rates of a field's values tell labels that they have not seen: those
/// of every other row the labels of the rows between. The worse of both halves.
fn of_values(place: usize, labels: &[Option<bool>], sample: &[(Rows, Batch)]) -> Option<f64> {
    let ids: Vec<&[u32]> = sample.iter().flat_map(|(_, batch)| rows_of(&batch.ids[place], batch.rows)).collect();
    let half = |learned: usize| {
        // By value and not by the rows of the table, of which there may be billions.
        let mut counts: HashMap<u32, [f64; 2]> = HashMap::new();
        let (mut positives, mut rows) = (0.0, 0.0);
        for (ids, label) in ids.iter().zip(labels).skip(learned).step_by(2) {
            let Some(label) = label else { continue };
            let label = f64::from(u8::from(*label));
            (positives, rows) = (positives + label, rows + 1.0);
            for id in *ids {
                let [yes, all] = counts.entry(*id).or_default();
                (*yes, *all) = (*yes + label, *all + 1.0);
            }
        }
        let mean = if rows > 0.0 { positives / rows } else { return None };
        let rate = |id: &u32| {
            let [yes, all] = counts.get(id).copied().unwrap_or_default();
            (yes + mean) / (all + 1.0)
        };
        let others = ids.iter().zip(labels).skip(1 - learned).step_by(2);
        let score = |ids: &[u32]| ids.iter().map(rate).reduce(f64::max).unwrap_or(mean);
        column_auc(others.filter_map(|(ids, label)| Some((score(ids), (*label)?))))
    };
    Some(half(0)?.min(half(1)?))
}

fn rows_of(ids: &Ids, rows: usize) -> impl Iterator<Item = &[u32]> {
    (0..rows).map(move |row| ids.row(row))
}

/// Says so where a field's separator occurs in no cell, though they look like lists.
fn separator(features: &Features, field: &Field, multi: &Multi, sample: &[(Rows, Batch)]) -> Result<Option<String>> {
    let (mut cells, mut length, mut occurs) = (0, 0, false);
    let mut distinct: HashSet<String> = HashSet::new();
    let mut others = [0usize; SEPARATORS.len()];
    let mut example = None;
    for (rows, _) in sample {
        let read = features.reading.as_ref().map(|reading| rows.read_as(reading));
        let column = read.as_ref().unwrap_or(rows).column(column_of(field))?;
        if column.is_list() {
            return Ok(None);
        }
        column.each_text(|_, text| {
            // Brackets are taken apart whatever the separator is.
            let Some(text) = text.map(str::trim).filter(|text| !text.starts_with('[')) else { return };
            (cells, length) = (cells + 1, length + text.chars().count());
            occurs |= text.contains(&multi.separator);
            for (other, count) in SEPARATORS.iter().zip(&mut others) {
                if text.contains(other) {
                    *count += 1;
                    example.get_or_insert_with(|| text.to_string());
                }
            }
            if distinct.len() < CELLS || 2 * distinct.len() < cells {
                distinct.insert(text.to_string());
            }
        })?;
    }
    if occurs || cells < CELLS {
        return Ok(None);
    }
    let share = |count: usize| count as f64 / cells as f64;
    let mut often: Vec<(&str, f64)> = SEPARATORS.iter().copied().zip(others.map(share)).collect();
    often.retain(|(_, share)| *share >= OFTEN);
    often.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut written = String::new();
    multi.separator.escape_debug().for_each(|letter| written.push(letter));
    let none = format!("field `{}`: its separator `{written}` is in none of {cells} training cells", field.name);
    if !often.is_empty() {
        let often =
            often.iter().map(|(other, share)| format!("`{}` is in {:.0} %", other.escape_debug(), 100.0 * share));
        let mut example: String = example.unwrap_or_default();
        if let Some((end, _)) = example.char_indices().nth(40) {
            example.replace_range(end.., "...");
        }
        let often = often.collect::<Vec<_>>().join(", ");
        return Ok(Some(format!("{none}, but {often}, as in `{example}`; should `separator` be another?")));
    }
    let suspect = length >= LONG * cells && distinct.len() >= CELLS && 2 * distinct.len() >= cells;
    Ok(suspect.then(|| format!("{none}, and most of them differ, as single values hardly do; is it the right one?")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    use crate::data::Source;
    use crate::random::Stream;
    use crate::schema::Schema;

    const SCHEMA: &str = "[[task]]\nname = \"visit\"\n[[task]]\nname = \"buy\"\nafter = \"visit\"\n\
                          [[field]]\nname = \"age\"\nkind = \"numeric\"\n[[field]]\nname = \"spend\"\nkind = \"numeric\"\n\
                          [[field]]\nname = \"spend_log\"\ncolumn = \"spend\"\nkind = \"numeric\"\ntransform = \"log1p\"\n\
                          [[field]]\nname = \"page\"\nkind = \"categorical\"\nmin_count = 1\n\
                          [[field]]\nname = \"user\"\nkind = \"categorical\"\nmin_count = 1\n\
                          [[field]]\nname = \"tags\"\nkind = \"multi\"\n";

    /// What is said of a log in which `spend` is there for those who buy, and `page`
    /// is where a visit ends, if they leak.
    fn said(leaks: bool, tags: impl Fn(u64) -> String) -> Vec<String> {
        let draw = |name: &str, row: u64| Stream::new(5, name).uniform(row);
        let visit = |row: u64| draw("visit", row) < 0.1 + 0.3 * draw("age", row);
        let buy = |row: u64| visit(row) && draw("buy", row) < 0.3;
        let rows = 0..4000u64;
        let label = |of: &dyn Fn(u64) -> bool| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(rows.clone().map(|row| f64::from(u8::from(of(row))))))
        };
        let spend = |row: u64| (buy(row) || !leaks && row.is_multiple_of(3)).then(|| 1.0 + draw("spend", row));
        let page = |row: u64| {
            let end = if leaks && visit(row) { "end" } else { "page" };
            format!("{end} {}", row % 7)
        };
        let text =
            |of: &dyn Fn(u64) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.clone().map(of))) };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("age", Arc::new(Float64Array::from_iter_values(rows.clone().map(|row| draw("age", row))))),
            ("spend", Arc::new(rows.clone().map(spend).collect::<Float64Array>())),
            ("page", text(&page)),
            // As many values as rows: by heart they would tell every label.
            ("user", text(&|row| format!("u{row}"))),
            ("tags", text(&tags)),
            ("visit", label(&visit)),
            ("buy", label(&buy)),
        ];
        let source = Source::from_batches("log", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap();
        let learned = Features::learn(&Schema::parse(SCHEMA).unwrap(), &source).unwrap();
        learned.features().warnings().to_vec()
    }

    #[test]
    fn a_field_that_alone_tells_a_label_is_suspected() {
        assert_eq!(said(false, |row| format!("a{},b{}", row % 3, row % 5)), Vec::<String>::new());
        let found = said(true, |row| format!("a{},b{}", row % 3, row % 5));
        let expected =
            ["field `spend` alone tells `buy` almost perfectly (AUC 1.0000", "field `page` alone tells `visit`"];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        assert!(found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected)), "{found:#?}");
    }

    #[test]
    fn a_separator_that_never_occurs_is_suspected() {
        let of = |tags: &dyn Fn(u64) -> String| said(false, tags);
        let found = of(&|row| format!("a{}|b{}", row % 3, row % 5));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].contains("`,` is in none of 4000 training cells, but `|` is in 100 %, as in `a0|b0`"),
            "{found:#?}"
        );
        let found = of(&|row| format!("{:032x}", Stream::new(1, "long").bits(row)));
        assert!(found.iter().any(|said| said.contains("most of them differ")), "{found:#?}");
        // One value in each cell, and lists in brackets, are nothing to speak of.
        assert_eq!(of(&|row| format!("tag{}", row % 9)), Vec::<String>::new());
        let brackets = of(&|row| format!("[{} {}]", row % 9, row % 4));
        assert!(!brackets.iter().any(|said| said.contains("separator")), "{brackets:#?}");
    }
}
