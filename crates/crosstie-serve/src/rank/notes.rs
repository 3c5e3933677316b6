//! What is odd about a request, though it can be answered.

use std::collections::HashMap;

use crosstie::feature::{Features, Unknown};
use crosstie::spelling;

use super::columns::{Candidates, Plan};
use super::id::Id;

/// Of what the request gives and lacks.
pub(super) fn columns(plan: &Plan<'_>, candidates: &Candidates) -> Vec<String> {
    let mut notes = Vec::new();
    for (place, name) in plan.names().enumerate() {
        match (candidates.givers[place], candidates.absent[place]) {
            (None, _) => notes.push(format!("`{name}` is given nowhere: it counts as missing")),
            (Some(_), 0) => {}
            (Some(_), absent) => {
                notes.push(format!("`{name}` is absent from {absent} of {} candidates", candidates.len()));
            }
        }
    }
    for stranger in &candidates.strangers {
        let lacks = |place: usize| candidates.givers[place].is_none() || candidates.absent[place] > 0;
        let lacking = plan.names().enumerate().filter(|(place, _)| lacks(*place));
        let hint = spelling::nearest(stranger, lacking.map(|(_, name)| name));
        let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        notes.push(format!("`{stranger}` is no field of the model{hint}"));
    }
    if candidates.more_strangers {
        notes.push("further names are no fields of the model".into());
    }
    notes
}

/// Of candidates that have one id: the first two that do.
pub(super) fn same_ids(ids: &[Option<Id>]) -> Option<String> {
    let mut places = HashMap::with_capacity(ids.len());
    let ids = ids.iter().enumerate().filter_map(|(place, id)| Some((place, id.as_ref()?)));
    let mut again = ids.filter_map(|(place, id)| Some((id, places.insert(id, place)?, place)));
    again.next().map(|(id, one, other)| {
        let id = match id {
            Id::Text(text) => text.clone(),
            Id::Number(number) => number.to_string(),
        };
        format!(
            "candidates[{one}] and candidates[{other}] have one id, `{id}`: feedback about it counts for the one that is \
             ranked higher"
        )
    })
}

/// Of values that training did not know. Rates may be known of values that are too rare for
/// a vocabulary.
pub(super) fn unknown(features: &Features, unknown: &Unknown<'_>) -> Vec<String> {
    let layout = features.layout();
    let fields = layout.embedded.iter().zip(unknown.counts());
    fields
        .filter(|(_, counts)| counts.unknown > 0)
        .map(|(field, counts)| {
            let (name, found, all) = (&field.name, counts.unknown, counts.values);
            let has_rates = layout.dense.iter().any(|dense| dense.name == *name);
            match has_rates {
                true => format!(
                    "field `{name}`: {found} of {all} values are too rare in training, or not there, for a vector of \
                     their own; what is known of their rates counts"
                ),
                false => format!("field `{name}`: {found} of {all} values are none that training knew"),
            }
        })
        .collect()
}

/// Of candidates without a finite score.
pub(super) fn not_finite(values: &[f64]) -> Option<String> {
    let which: Vec<usize> = (0..values.len()).filter(|row| !values[*row].is_finite()).collect();
    let first = which.first()?;
    Some(match which.len() {
        1 => format!("the formula has no finite value for candidates[{first}], which is ranked last"),
        many => format!(
            "the formula has no finite value for {many} candidates, the first of them candidates[{first}]; they are \
             ranked last"
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crosstie::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use crosstie::data::{Rows, Source};
    use crosstie::feature::Purpose;
    use crosstie::schema::Schema;

    use super::*;

    #[test]
    fn an_id_that_has_rates_is_not_called_unknown() {
        let schema = "[[task]]\nname = \"click\"\n[[field]]\nname = \"id\"\nkind = \"categorical\"\nrates = true\n\
                      [[field]]\nname = \"page\"\nkind = \"categorical\"\n";
        let text = |name: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((0..60).map(|row| format!("{name}{}", row / 3))))
        };
        let click: ArrayRef = Arc::new(Int64Array::from_iter_values((0..60).map(|row| i64::from(row % 4 == 0))));
        let log = RecordBatch::try_from_iter([("id", text("i")), ("page", text("p")), ("click", click)]).unwrap();
        let source = Source::from_batches("log", vec![log.clone()]).unwrap();
        let learned = crosstie::feature::Features::learn(&Schema::parse(schema).unwrap(), &source).unwrap();
        let features = learned.features();
        let mut counts = Unknown::new(features);
        counts.add(&features.encode(&Rows::new(log.slice(0, 1), "candidates"), Purpose::Scoring).unwrap());
        let [of_id, of_page] = &unknown(features, &counts)[..] else { panic!() };
        assert!(of_id.starts_with("field `id`: 1 of 1 values are too rare in training, or not there, for a vector"));
        assert_eq!(of_page, "field `page`: 1 of 1 values are none that training knew");
    }

    #[test]
    fn two_candidates_of_one_id_are_told() {
        let id = |text: &str| Some(Id::Text(text.into()));
        assert_eq!(same_ids(&[id("a"), None, id("b"), None, Some(Id::Number(1))]), None);
        let told = same_ids(&[id("a"), id("b"), None, id("b"), id("a")]).unwrap();
        assert!(told.starts_with("candidates[1] and candidates[3] have one id, `b`: "), "{told}");
    }
}
