//! Trained models held against each other on the same rows.

use serde_json::Value;

use crate::place::Place;

const CONFIG: &str = "[data]\ndir = \"data\"\n[model]\nname = \"shared-bottom\"\n[train]\nepochs = 2\nbatch_size = 256\nreport = false\n";

fn json(place: &Place, name: &str) -> Value {
    serde_json::from_str(&place.read(name)).expect("JSON")
}

/// Two seeds of a model, and another that has hardly learned.
fn trained() -> Place {
    let place = Place::new();
    place.ok("synth --rows 12000 --out data");
    place.write("ads.toml", CONFIG);
    place.ok("train ads.toml --out runs/wide-1 --set train.threads=1");
    place.ok("train ads.toml --out runs/wide-2 --set train.seed=2");
    place.ok("train ads.toml --out runs/blind --set train.epochs=1 --set model.bottom_units=[1] --set optimizer.dense.learning_rate=1e-5");
    place
}

#[test]
fn runs_are_held_against_the_first_task_by_task() {
    let place = trained();
    let ran = place.ok("compare runs/blind runs/wide-1 runs/wide-2 --json found.json");
    let ran = ran.prints(&[
        "From the impression, on all rows of data/test.parquet. Differences are to blind,",
        "wide (2 runs)",
        "Too few rows tell of `",
    ]);
    let ran =
        ran.says(&["wide (2 runs) was not trained as blind was, beside [model]: ", "train.epochs 2 in place of 1"]);
    assert!(!ran.stderr.contains("train.seed") && !ran.stderr.contains("train.threads"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("model.bottom_units"), "{}", ran.stderr);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert!(
        ran.stdout.lines().any(|line| line.starts_with(" wide (2 runs)") && line.contains(" * ")),
        "{}",
        ran.stdout
    );

    let found = json(&place, "found.json");
    assert_eq!(found["meaning"], "from_impression");
    let models = found["models"].as_array().expect("models");
    let names: Vec<&str> = models.iter().filter_map(|model| model["name"].as_str()).collect();
    assert_eq!(names, ["blind", "wide (2 runs)"]);
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    for task in ["click", "like", "cart", "buy"] {
        let known = |run: &str, figure: &str| {
            number(&json(&place, &format!("runs/{run}/metrics.json"))["tasks"][task]["from_impression"][figure])
        };
        for (figure, name) in [("auc", "auc"), ("logloss", "logloss"), ("ne", "ne")] {
            let [blind, wide] = [0, 1].map(|model: usize| &models[model]["tasks"][task][figure]);
            let mean = (known("wide-1", name) + known("wide-2", name)) / 2.0;
            assert!((number(&blind["figure"]) - known("blind", name)).abs() < 1e-9, "{task} {figure}");
            assert!((number(&wide["figure"]) - mean).abs() < 1e-9, "{task} {figure}");
            let difference = number(&wide["figure"]) - number(&blind["figure"]);
            assert!((number(&wide["difference"]) - difference).abs() < 1e-9 && blind["difference"].is_null());
            assert!(number(&wide["difference_error"]) > 0.0, "{task} {figure}");
        }
    }
}

#[test]
fn what_is_still_to_be_chosen_is_compared_on_the_validation_files() {
    let place = trained();
    let ran = place.ok("compare --valid --given-parent runs/wide-1 runs/blind");
    ran.prints(&[
        "Given the parent action, on the rows of data/valid.parquet where it happened.",
        "(--set train.seed=2)",
    ]);
    let ran = place.ok("compare runs/wide-1/artifact runs/blind --data data/valid.parquet");
    ran.prints(&["on all rows of data/valid.parquet. Differences are to"]);
}

#[test]
fn models_that_cannot_be_compared_are_refused_with_the_reason() {
    let place = trained();
    let refused = |arguments: &str, parts: &[&str]| drop(place.run(arguments).exit(1).says(parts));
    refused("compare runs/blind runs/blind/", &["runs/blind/ is named twice"]);
    refused("compare runs/blind data", &["data is no run and no artifact: there is no manifest.json in it"]);
    refused("compare runs/blind runs/gone", &["runs/gone is no run and no artifact"]);
    place.run("compare runs/blind").exit(2);
    place.ok("train ads.toml --out runs/other --set data.test=data/valid.parquet");
    refused(
        "compare runs/blind runs/other",
        &["have other test files (data.test): name those to compare on by --data"],
    );
    place.ok("train ads.toml --out runs/untested --set data.test=[]");
    refused("compare runs/untested runs/blind", &["names no test files (data.test)", "--valid"]);
    place.ok("compare --valid runs/untested runs/blind");
    refused("compare runs/blind runs/wide-1 --json runs/wide-1/metrics.json", &["metrics.json is a file of the run"]);

    // A model for which another column is the click.
    let schema = place.read("data/schema.toml").replacen("name = \"click\"", "name = \"click\"\nlabel = \"cart\"", 1);
    place.write("swapped.toml", &schema);
    place.ok("train ads.toml --out runs/swapped --set data.schema=swapped.toml");
    refused(
        "compare runs/blind runs/swapped",
        &["runs/blind and runs/swapped read the files otherwise", "for `click` the label"],
    );
}
