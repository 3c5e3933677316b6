//! Trainings that go on from their checkpoints.

use serde_json::Value;

use crate::place::{Place, SMALL};

fn config() -> String {
    format!("{SMALL}checkpoint_every = \"3 steps\"\n")
}

pub fn place() -> Place {
    let place = Place::new();
    place.synth();
    place.write("ads.toml", &config());
    place
}

/// What two trainings with the same end have in common: the artifact's files, and
/// the histories but for the times.
fn left(place: &Place, run: &str) -> (Value, Vec<Value>) {
    let manifest: Value = serde_json::from_str(&place.read(&format!("{run}/artifact/manifest.json"))).unwrap();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for clock in ["seconds", "time", "rows_per_second"] {
            line.as_object_mut().unwrap().remove(clock).unwrap();
        }
        line
    };
    (manifest["files"].clone(), place.read(&format!("{run}/metrics.jsonl")).lines().map(line).collect())
}

/// Makes of a finished run one that was killed: after the first of its two
/// checkpoints, with a line of its history that no checkpoint knows of.
pub fn kill(place: &Place, run: &str) {
    let run = place.path(run);
    // The last of the loop, and the one at the end.
    let checkpoints = std::fs::read_dir(run.join("checkpoint")).unwrap().map(|entry| entry.unwrap().path());
    let mut checkpoints: Vec<_> = checkpoints.collect();
    checkpoints.sort();
    assert_eq!(checkpoints.len(), 2, "{checkpoints:?}");
    std::fs::remove_dir_all(&checkpoints[1]).unwrap();
    std::fs::remove_dir_all(run.join("artifact")).unwrap();
    std::fs::remove_file(run.join("metrics.json")).unwrap();
    let environment = std::fs::read_to_string(run.join("env.json")).unwrap();
    let mut environment: Value = serde_json::from_str(&environment).unwrap();
    environment["ended"] = Value::Null;
    std::fs::write(run.join("env.json"), environment.to_string()).unwrap();
}

#[test]
fn a_killed_training_goes_on_to_the_artifact_and_the_history_of_one_that_was_not() {
    let place = place();
    place.ok("train ads.toml --out whole");
    place.ok("train ads.toml --out run");
    kill(&place, "run");
    place.run("evaluate run").exit(1).says(&["its training did not end"]);
    place.ok("train --resume run").says(&["going on from step"]).prints(&["On the test files"]);
    assert_eq!(left(&place, "run"), left(&place, "whole"));
    assert!(place.read("run/env.json").contains("\"resumed\""));
    // All that was said is still there.
    assert_eq!(place.read("run/train.log").matches("training rows").count(), 2);
}

#[test]
fn a_finished_training_says_so_or_goes_on_for_longer() {
    let place = place();
    place.ok("train ads.toml --out run");
    place.ok("train --resume run").says(&["is finished", "train.epochs=N"]);
    place.ok("train --resume run --set train.epochs=4");
    place.ok("train ads.toml --set train.epochs=4 --out whole");
    assert_eq!(left(&place, "run"), left(&place, "whole"));
    assert!(place.read("run/config.toml").contains("epochs = 4"));
}

#[test]
fn what_would_change_what_was_computed_is_refused_by_name_and_changes_nothing() {
    let place = place();
    place.ok("train ads.toml --out run");
    let config = place.read("run/config.toml");
    for (setting, says) in [
        ("train.batch_size=128", "train.batch_size is 128, was 256"),
        ("model.experts=3", "model.experts is 3, was 2"),
        ("train.epochs=1", "is in epoch 2 already"),
    ] {
        place.run(&format!("train --resume run --set {setting}")).exit(1).says(&[says]);
    }
    let table = std::fs::read(place.path("data/test.parquet")).unwrap();
    std::fs::write(place.path("data/train.parquet"), table).unwrap();
    place.run("train --resume run --set train.epochs=3").exit(1).says(&["data/train.parquet has changed"]);
    assert_eq!(place.read("run/config.toml"), config);
    place.ok("predict run --data data/valid.parquet --out scores.csv");
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_one_before_taken() {
    let place = place();
    place.ok("train ads.toml --out whole");
    place.ok("train ads.toml --out run");
    let newest = std::fs::read_dir(place.path("run/checkpoint")).unwrap().map(|entry| entry.unwrap().path()).max();
    let numbers = newest.unwrap().join("numbers.safetensors");
    let mut bytes = std::fs::read(&numbers).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&numbers, bytes).unwrap();
    std::fs::remove_file(place.path("run/env.json")).unwrap();
    place.ok("train --resume run").says(&["numbers.safetensors", "going on from the one before"]);
    assert_eq!(left(&place, "run"), left(&place, "whole"));
    for entry in std::fs::read_dir(place.path("run/checkpoint")).unwrap() {
        std::fs::write(entry.unwrap().path().join("checkpoint.json"), "").unwrap();
    }
    place
        .run("train --resume run --set train.epochs=3")
        .exit(1)
        .says(&["no checkpoint that is whole", "checkpoint.json"]);
}

#[test]
fn a_run_that_came_to_no_checkpoint_starts_from_its_beginning() {
    let place = place();
    place.ok("train ads.toml --out run --set train.checkpoint_every=never");
    assert!(!place.path("run/checkpoint").exists());
    let before = left(&place, "run");
    std::fs::remove_file(place.path("run/env.json")).unwrap();
    place.ok("train --resume run").says(&["has no checkpoint: starting from its beginning"]);
    assert_eq!(left(&place, "run"), before);
    place.run("train --resume data").exit(1).says(&["data is no run"]);
    place.run("train ads.toml --resume run").exit(2);
}

#[test]
fn a_file_that_is_gone_is_told_by_what_stands_in_the_config() {
    let place = place();
    place.ok("train ads.toml --out run");
    let config = place.read("run/config.toml");
    assert!(config.contains("test = [\"data/test.parquet\"]") && !config.contains("dir ="), "{config}");
    std::fs::rename(place.path("data/test.parquet"), place.path("data/test.arrow")).unwrap();
    let ran = place.run("train run/config.toml --out again").exit(1);
    ran.says(&["no data/test.parquet, which data.test names", "set data.test = \"data/test.arrow\""]);
    // To go on it must be the file of before.
    let ran = place.run("train --resume run --set train.epochs=3").exit(1);
    let ran = ran.says(&["a training goes on with the files that it began with", "data/test.parquet"]);
    assert!(!ran.stderr.contains("set data.test"), "{}", ran.stderr);
}
