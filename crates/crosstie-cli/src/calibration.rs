//! How far predictions come true: tables, and a warning where they do not.

use crosstie::metric::{Decile, Figures, Meaning, Report};
use crosstie::scorer::Scorer;

use crate::table;

const MEANINGS: [(Meaning, &str); 2] =
    [(Meaning::GivenParent, "given parent"), (Meaning::FromImpression, "from impression")];

/// PCOC within these is nothing to speak of.
const SOUND: std::ops::RangeInclusive<f64> = 0.9..=1.1;

/// What calibration has changed, one line per task and meaning; nothing of a model
/// that is not calibrated.
pub fn before_and_after(report: &Report) -> Option<String> {
    let mut lines = Vec::new();
    for (task, meanings) in &report.tasks {
        for (meaning, on) in MEANINGS {
            // Without a parent both are the same.
            if meaning == Meaning::GivenParent && meanings.given_parent == meanings.from_impression {
                continue;
            }
            let figures = meanings.get(meaning);
            let before = figures.uncalibrated?;
            let mut line = vec![task.clone(), on.to_string()];
            line.extend([before.pcoc, figures.pcoc, before.logloss, figures.logloss].map(table::figure));
            lines.push(line);
        }
    }
    let header = ["task", "", ">pcoc was", ">is", ">logloss was", ">is"];
    Some(format!("Before and after calibration:\n{}", table::table(&header, lines)))
}

/// Prediction and outcome by tenths of the rows, a table per task.
pub fn reliability(report: &Report) -> String {
    let tables = report.tasks.iter().map(|(task, meanings)| {
        let deciles = |figures: &Figures| figures.reliability.unwrap_or_default();
        let [given, joint] = MEANINGS.map(|(meaning, _)| deciles(meanings.get(meaning)));
        let cells = |decile: &Decile| {
            [table::count(decile.rows), table::percent(decile.predicted), table::percent(decile.happened)]
        };
        let lines = given.iter().zip(&joint).enumerate().map(|(tenth, (given, joint))| {
            let number = [(tenth + 1).to_string()].into_iter();
            number.chain(cells(given)).chain(["│".into()]).chain(cells(joint)).collect()
        });
        let header = [">tenth", ">rows", ">predicted", ">happened", "│", ">rows", ">predicted", ">happened"];
        format!(
            "{task} by tenths of the rows, given the parent │ from the impression:\n{}",
            table::table(&header, lines)
        )
    });
    tables.collect::<Vec<_>>().join("\n\n")
}

/// One sentence for each probability that comes true too seldom, or too often, by
/// more than chance. `on` names the rows that the report speaks of.
pub fn warnings(report: &Report, scorer: &Scorer, on: &str) -> Vec<String> {
    let objective = &scorer.network().objective;
    let parents = &objective.funnel().parents;
    let mut warnings = Vec::new();
    for (task, name) in objective.names().iter().enumerate() {
        let Some(meanings) = report.tasks.get(name) else { continue };
        let parent = parents[task].map(|parent| &objective.names()[parent]);
        for (meaning, _) in MEANINGS {
            let subject = match (meaning, parent) {
                (Meaning::GivenParent, None) => continue,
                (Meaning::GivenParent, Some(parent)) => format!("{name} given {parent}"),
                (Meaning::FromImpression, None) => name.clone(),
                (Meaning::FromImpression, Some(_)) => format!("{name} from the impression"),
            };
            let Figures { positives, pcoc: Some(pcoc), .. } = *meanings.get(meaning) else { continue };
            // The logarithm of PCOC has a standard error of 1 / √positives.
            if SOUND.contains(&pcoc) || pcoc.ln().abs() * (positives as f64).sqrt() < 2.0 {
                continue;
            }
            let found = scorer.calibration().map(|calibration| calibration.validation()[name]);
            let then = found.map(|found| match meaning {
                Meaning::GivenParent => found.given_parent,
                Meaning::FromImpression => found.from_impression,
            });
            let why = match then {
                None => ": the model is not calibrated".into(),
                Some(Some(then)) if SOUND.contains(&then) => {
                    format!("; validation had {then:.2}: the days differ, or the rows")
                }
                Some(Some(then)) => format!("; validation had {then:.2}, which its map could not mend"),
                Some(None) => "; validation had none of it".into(),
            };
            warnings.push(format!("{subject} is predicted {} on {on}{why}", by(pcoc)));
        }
    }
    warnings
}

/// How a prediction with such a PCOC errs.
fn by(pcoc: f64) -> String {
    match 1.0 / pcoc {
        _ if pcoc > 1.0 => format!("{pcoc:.2} times too often"),
        times if times.is_finite() => format!("{times:.2} times too seldom"),
        _ => "with probability 0, though it happens,".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_predicted_is_not_said_to_be_predicted_infinitely_too_seldom() {
        assert_eq!(by(2.0), "2.00 times too often");
        assert_eq!(by(0.5), "2.00 times too seldom");
        assert_eq!(by(0.0), "with probability 0, though it happens,");
    }
}
