//! What is odd about a request, though it can be answered.

use crosstie::feature::{Features, Unknown};
use crosstie::spelling;

use super::columns::{Candidates, Plan};

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

/// Of values that training did not know.
pub(super) fn unknown(features: &Features, unknown: &Unknown<'_>) -> Vec<String> {
    let fields = features.layout().embedded.iter().zip(unknown.counts());
    fields
        .filter(|(_, counts)| counts.unknown > 0)
        .map(|(field, counts)| {
            let (name, found, all) = (&field.name, counts.unknown, counts.values);
            format!("field `{name}`: {found} of {all} values are none that training knew")
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
