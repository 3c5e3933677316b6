//! What an evaluation does with the rows it gets.

use crate::batch::Batch;
use crate::metric::*;
use crate::schema::Funnel;

const MISSING: f32 = f32::NAN;

fn evaluation(scenarios: &[&str]) -> Evaluation {
    let funnel = Funnel { parents: vec![None, Some(0)], direct: vec![false, false], order: vec![0, 1] };
    let scenarios: Vec<String> = scenarios.iter().map(|name| (*name).to_string()).collect();
    Evaluation::new(&["click", "buy"].map(String::from), &funnel, &scenarios)
}

fn batch(labels: &[f32]) -> Batch {
    Batch { rows: labels.len() / 2, labels: labels.to_vec(), scenarios: vec![0; labels.len() / 2], ..Batch::default() }
}

#[test]
fn a_task_given_its_parent_counts_on_its_own_sample_space_only() {
    let mut evaluation = evaluation(&["all"]);
    let labels = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, MISSING, MISSING, 1.0, MISSING, 0.0];
    // On clicked rows the prediction is right, over all impressions it is not.
    evaluation.add(&batch(&labels), &[0.5, 0.9, 0.5, 0.1, 0.5, 0.95, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], &[0.4; 12]);
    let report = evaluation.report();
    assert_eq!(report.rows, 6);
    assert!(report.scenarios.is_empty(), "one scenario would repeat the whole");
    let buy = &report.tasks["buy"];
    assert_eq!((buy.given_parent.rows, buy.given_parent.positives, buy.given_parent.auc), (2, 1, Some(1.0)));
    assert_eq!((buy.from_impression.rows, buy.from_impression.positives), (3, 1));
    assert_eq!(buy.from_impression.auc, Some(0.5));
    assert_eq!(buy.given_parent.gauc, None, "there is no group field");
}

#[test]
fn a_prediction_the_model_does_not_define_gives_nulls_and_spoils_no_other_leaf() {
    let mut evaluation = evaluation(&["other", "feed"]);
    let mut rows = batch(&[1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    rows.scenarios = vec![0, 0, 1, 1];
    let joint = [0.9, f64::NAN, 0.1, 0.2, 0.9, 0.8, 0.1, 0.2];
    evaluation.add(&rows, &[0.5; 8], &joint);
    let report = evaluation.report();
    let undefined = Figures { rows: 4, positives: 2, ..Figures::default() };
    assert_eq!(report.tasks["buy"].from_impression, undefined);
    assert_eq!(report.tasks["click"].from_impression.auc, Some(1.0));
    assert_eq!(report.scenarios["other"].tasks["buy"].from_impression.auc, None);
    assert_eq!(report.scenarios["feed"].tasks["buy"].from_impression.auc, Some(1.0));
}

#[test]
fn rows_of_weight_zero_do_not_count() {
    let mut evaluation = evaluation(&["all"]);
    let mut rows = batch(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    rows.weights = vec![1.0, 0.0, 1.0];
    evaluation.add(&rows, &[0.5, 0.5, 0.9, 0.5, 0.1, 0.5], &[0.5; 6]);
    let click = evaluation.report().tasks["click"].given_parent;
    assert_eq!((click.rows, click.auc), (2, Some(1.0)));
}

#[test]
fn rows_without_labels_and_no_rows_at_all_give_nulls() {
    let mut evaluation = evaluation(&["other", "feed"]);
    assert_eq!(evaluation.report().tasks["click"], Meanings::default());
    let unlabelled = Batch { rows: 2, scenarios: vec![1, 1], ..Batch::default() };
    evaluation.add(&unlabelled, &[0.5; 4], &[0.5; 4]);
    let report = evaluation.report();
    assert_eq!((report.rows, report.scenarios["feed"].rows), (2, 2));
    assert_eq!(report.tasks["click"], Meanings::default());
}

#[test]
fn the_order_of_rows_does_not_change_a_bit() {
    // Many ties, and weights and losses whose sums are rounded.
    let row =
        |i: u32| (f32::from(u8::from(i.is_multiple_of(3))), f64::from(i * 37 % 10) / 9.0, 1.0 / (1 + i % 71) as f32);
    let rows: Vec<(f32, f64, f32)> = (0..2000).map(row).collect();
    let report = |rows: Vec<(f32, f64, f32)>| {
        let mut evaluation = evaluation(&["other", "feed"]);
        let batch = Batch {
            rows: rows.len(),
            labels: rows.iter().flat_map(|row| [row.0, MISSING]).collect(),
            weights: rows.iter().map(|row| row.2).collect(),
            scenarios: rows.iter().map(|row| u32::from(row.1 > 0.3)).collect(),
            groups: rows.iter().map(|row| (row.2 * 99.0) as u64).collect(),
            ..Batch::default()
        };
        let scores: Vec<f64> = rows.iter().flat_map(|row| [row.1, f64::NAN]).collect();
        evaluation.add(&batch, &scores, &scores);
        evaluation.report()
    };
    assert_eq!(report(rows.iter().rev().copied().collect()), report(rows));
}

#[test]
fn metrics_json_has_the_promised_shape_and_survives_reading() {
    let mut evaluation = evaluation(&["other", "feed"]);
    let rows = batch(&[1.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    evaluation.add(&rows, &[0.7, 0.3, 0.4, 0.1, 0.3, 0.2], &[0.7, 0.1, 0.4, 0.1, 0.3, 0.2]);
    let report = evaluation.report();
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["rows"], 3);
    assert_eq!(value["tasks"]["click"]["given_parent"]["auc"], 0.5);
    assert_eq!(value["scenarios"]["other"]["tasks"]["buy"]["from_impression"]["rows"], 3);
    let empty = &value["scenarios"]["feed"]["tasks"]["buy"]["given_parent"];
    let nothing = r#"{"rows":0,"positives":0,"auc":null,"auc_error":null,"gauc":null,"gauc_groups":0,"gauc_skipped":0,"gauc_missing":0,"logloss":null,"ne":null,"pcoc":null,"ece":null}"#;
    assert_eq!(*empty, serde_json::from_str::<serde_json::Value>(nothing).unwrap());
    assert!(json.find("\"click\"") < json.find("\"buy\""), "tasks stand in the schema's order: {json}");
}
