//! Against scikit-learn and numpy: tests/golden/metrics/make.py.

use serde::Deserialize;

use super::agree;
use crate::batch::Batch;
use crate::metric::*;
use crate::schema::Funnel;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    evaluation: Whole,
    divergence: Truth,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    labels: Vec<u8>,
    scores: Vec<f64>,
    weights: Option<Vec<f64>>,
    groups: Option<Vec<u64>>,
    figures: Figures,
}

#[derive(Deserialize)]
struct Whole {
    labels: Vec<Option<f32>>,
    weights: Vec<f32>,
    groups: Vec<u64>,
    scenarios: Vec<u32>,
    given_parent: Vec<f64>,
    from_impression: Vec<f64>,
    report: Report,
}

#[derive(Deserialize)]
struct Truth {
    predicted: Vec<f64>,
    truth: Vec<f64>,
    cross_entropy: f64,
    kl: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/metrics/metrics.json")).unwrap()
}

fn assert_figures(place: &str, found: &Figures, expected: &Figures) {
    let counts = |figures: &Figures| (figures.rows, figures.positives, figures.gauc_groups, figures.gauc_skipped);
    assert_eq!(counts(found), counts(expected), "{place}");
    let values = |of: &Figures| {
        [("auc", of.auc), ("gauc", of.gauc), ("logloss", of.logloss), ("ne", of.ne), ("pcoc", of.pcoc), ("ece", of.ece)]
    };
    for ((name, found), (_, expected)) in values(found).into_iter().zip(values(expected)) {
        assert!(agree(found, expected), "{place}: {name} is {found:?}, expected {expected:?}");
    }
}

fn assert_tasks<'a>(place: &str, found: impl Iterator<Item = (&'a String, &'a Meanings)>, expected: &Report) {
    let expected = if place == "all" { &expected.tasks } else { &expected.scenarios[place].tasks };
    let found: Vec<_> = found.collect();
    assert_eq!(found.iter().map(|(task, _)| *task).collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (task, meanings) in found {
        let place = format!("{place}, {task}");
        assert_figures(&format!("{place} given parent"), &meanings.given_parent, &expected[task].given_parent);
        assert_figures(&format!("{place} from impression"), &meanings.from_impression, &expected[task].from_impression);
    }
}

#[test]
fn each_figure_equals_scikit_learn() {
    for case in golden().cases {
        let labels: Vec<bool> = case.labels.iter().map(|label| *label == 1).collect();
        let (scores, weights) = (&case.scores, case.weights.as_deref());
        let counts = |index: usize| weights.is_none_or(|weights| weights[index] > 0.0);
        let grouped =
            case.groups.map_or_else(Grouped::default, |groups| grouped_auc(&labels, scores, weights, &groups));
        let found = Figures {
            rows: (0..labels.len()).filter(|row| counts(*row)).count() as u64,
            positives: (0..labels.len()).filter(|row| counts(*row) && labels[*row]).count() as u64,
            auc: auc(&labels, scores, weights),
            auc_error: auc_error(&labels, scores, weights),
            gauc: grouped.auc,
            gauc_groups: grouped.groups as u64,
            gauc_skipped: grouped.skipped as u64,
            gauc_missing: grouped.missing as u64,
            logloss: log_loss(&labels, scores, weights),
            ne: normalized_entropy(&labels, scores, weights),
            pcoc: pcoc(&labels, scores, weights),
            ece: ece(&labels, scores, weights, ECE_BINS),
            uncalibrated: None,
            reliability: None,
        };
        assert_figures(&case.name, &found, &case.figures);
    }
}

#[test]
fn a_whole_report_equals_scikit_learn_however_the_rows_are_batched() {
    let whole = golden().evaluation;
    let tasks = ["click", "buy", "like"].map(String::from);
    let funnel =
        Funnel { parents: vec![None, Some(0), Some(0)], direct: vec![false, false, true], order: vec![0, 1, 2] };
    let rows = whole.weights.len();
    for batch_rows in [rows, 7] {
        let mut evaluation = Evaluation::new(&tasks, &funnel, &["other", "feed", "search"].map(String::from));
        for start in (0..rows).step_by(batch_rows) {
            let (rows, cells) =
                (start..(start + batch_rows).min(rows), start * 3..((start + batch_rows) * 3).min(rows * 3));
            let batch = Batch {
                rows: rows.len(),
                labels: whole.labels[cells.clone()].iter().map(|label| label.unwrap_or(f32::NAN)).collect(),
                weights: whole.weights[rows.clone()].to_vec(),
                scenarios: whole.scenarios[rows.clone()].to_vec(),
                groups: whole.groups[rows].to_vec(),
                ..Batch::default()
            };
            evaluation.add(&batch, &whole.given_parent[cells.clone()], &whole.from_impression[cells]);
        }
        let report = evaluation.report();
        assert_eq!(report.rows, whole.report.rows);
        assert_tasks("all", report.tasks.iter(), &whole.report);
        assert_eq!(report.scenarios.keys().collect::<Vec<_>>(), ["other", "feed", "search"]);
        for (name, scenario) in &report.scenarios {
            assert_eq!(scenario.rows, whole.report.scenarios[name].rows);
            assert_tasks(name, scenario.tasks.iter(), &whole.report);
        }
    }
}

#[test]
fn divergence_equals_scikit_learn() {
    let Truth { predicted, truth, cross_entropy, kl } = golden().divergence;
    let found = divergence(&predicted, &truth).unwrap();
    assert_eq!(found.rows, 50);
    assert!(agree(Some(found.cross_entropy), Some(cross_entropy)), "{found:?}");
    assert!(agree(Some(found.kl), Some(kl)), "{found:?}");
}
