//! The page of a run.

use crosstie::report::Findings;

use crate::markup::{check, texts};
use crate::place::{Place, SMALL};

fn trained(more: &str) -> Place {
    let place = Place::new();
    place.synth();
    place.write("ads.toml", SMALL);
    place.ok(&format!("train ads.toml --out run {more}"));
    place
}

fn findings(place: &Place) -> Findings {
    serde_json::from_str(&place.read("run/report.json")).unwrap()
}

#[test]
fn every_training_ends_with_a_report() {
    let place = trained("");
    let page = place.read("run/report.html");
    check(&page);
    let sections = texts(&page, "h2");
    for section in ["Figures", "Learning curves", "Reliability", "Scenarios", "Fields", "Inside the model"] {
        assert!(sections.iter().any(|found| found == section), "{section}: {sections:?}");
    }
    assert!(page.contains("train.batch_size") && page.contains("model.expert_units"), "what is not the default");
    let found = findings(&place);
    assert_eq!(found.page(), page, "the page is drawn from the numbers beside it");
    let metrics: serde_json::Value = serde_json::from_str(&place.read("run/metrics.json")).unwrap();
    assert_eq!(serde_json::to_value(&found.figures).unwrap(), metrics);
    let history = found.history.unwrap();
    assert_eq!(history.moments.len(), place.read("run/metrics.jsonl").lines().count());
    assert!(history.kept.iter().all(|step| history.moments.iter().any(|moment| moment.step == *step)));
}

#[test]
fn a_report_that_nobody_wants_is_not_made() {
    let place = trained("--set train.report=false");
    assert!(!place.path("run/report.html").exists() && !place.path("run/report.json").exists());
    let metrics = place.read("run/metrics.json");
    place.ok("report run").prints(&["run/report.html"]);
    place.ok("report run --out run/report.html").prints(&["run/report.html"]);
    check(&place.read("run/report.html"));
    assert_eq!(place.read("run/metrics.json"), metrics);
    let seen = findings(&place).seen.unwrap();
    assert!(seen.importance.unwrap().rows[0] > 0 && seen.drawn == seen.rows);
}

#[test]
fn where_the_data_are_gone_the_run_tells_what_it_can() {
    let place = trained("");
    std::fs::remove_dir_all(place.path("data")).unwrap();
    place.ok("report run --out kept.html").says(&["report.json"]).prints(&["kept.html"]);
    let kept = place.read("kept.html");
    assert!(kept.contains("could not be read again") && texts(&kept, "h2").contains(&"Reliability".to_string()));
    std::fs::remove_file(place.path("run/report.json")).unwrap();
    place.ok("report run").says(&["metrics.json"]);
    let page = place.read("run/report.html");
    check(&page);
    assert!(page.contains("could not be read") && page.contains("Missing are reliability"));
    let sections = texts(&page, "h2");
    assert_eq!(sections, ["Figures", "Learning curves", "Funnel", "Scenarios", "Inside the model", "What was trained"]);
}

#[test]
fn a_report_that_is_damaged_is_made_anew() {
    let place = trained("");
    let whole = place.read("run/report.json");
    place.write("run/report.json", &whole[..whole.len() / 2]);
    place.ok("report run").says(&["warning: run/report.json is damaged"]).prints(&["run/report.html"]);
    assert_eq!(findings(&place).page(), place.read("run/report.html"));
}

#[test]
fn what_is_no_run_is_refused() {
    let place = Place::new();
    place.run("report nowhere").exit(1).says(&["nowhere is no run"]);
}

#[test]
fn a_torn_line_of_the_history_is_left_out_and_told() {
    let place = trained("");
    let history = place.read("run/metrics.jsonl");
    let (first, rest) = history.split_once('\n').unwrap();
    // A torn line and the next, as a full disk once glued them together.
    place.write("run/metrics.jsonl", &format!("{}{first}\n{rest}", &first[..first.len() / 2]));
    place.ok("report run").says(&["warning: run/metrics.jsonl, line 1: "]).prints(&["run/report.html"]);
    assert_eq!(findings(&place).history.unwrap().moments.len(), rest.lines().count());
    assert!(place.read("run/report.html").contains("run/metrics.jsonl, line 1: "));
}
