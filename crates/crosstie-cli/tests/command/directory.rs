//! The directory of a run: whose it is, and when an old one goes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::place::{Place, Ran};

const CONFIG: &str = "[data]\ndir = \"data\"\n[model]\nname = \"shared-bottom\"\nbottom_units = [8]\n\
                      [train]\nepochs = 1\nbatch_size = 256\nthreads = 1\n";

fn place() -> Place {
    let place = Place::new();
    place.ok("synth --rows 1000 --scenarios 2 --out data");
    place.write("ads.toml", CONFIG);
    place
}

/// The names in a directory, sorted.
fn names(place: &Place, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(place.path(directory)).expect("read");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("read").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn seed(config: &str) -> &str {
    config.lines().find(|line| line.starts_with("seed = ")).expect("a seed")
}

#[test]
fn a_run_is_not_removed_for_one_that_cannot_begin() {
    let place = place();
    place.ok("train ads.toml --out run");
    let before = names(&place, "run");
    // A cell that is found while learning, and not by a look at the first rows.
    let schema = "[[task]]\nname = \"click\"\n[[field]]\nname = \"price\"\nkind = \"numeric\"\n";
    place.write("bad/schema.toml", schema);
    place.write("bad/train.csv", &format!("price,click\n{}cheap,1\n", "1,0\n2,1\n".repeat(1000)));
    let bad = "data.schema=bad/schema.toml --set data.train=['bad/train.csv'] --set data.valid=['bad/train.csv']";
    for (set, said) in [
        ("train.monitor=clik.auc", vec!["did you mean `click`?"]),
        ("model.bottom_units=[0]", vec!["model.bottom_units"]),
        (bad, vec!["bad/train.csv: row 2001, column `price`", "the run that was in run is left as it was"]),
    ] {
        place.run(&format!("train ads.toml --out run --overwrite --set {set}")).exit(1).says(&said);
        assert_eq!(names(&place, "run"), before, "{set}");
        assert!(place.read("run/config.toml").contains("monitor = \"mean.from_impression.ne\""), "{set}");
    }
    place.ok("evaluate run");
    place.ok("train ads.toml --out run --overwrite --set train.seed=7");
    assert_eq!(names(&place, "run"), before);
    assert_eq!(seed(&place.read("run/config.toml")), "seed = 7");
    assert!(place.read("run/train.log").contains("800 training rows"));
}

#[test]
fn a_directory_that_holds_more_than_a_run_is_not_overwritten() {
    let place = place();
    place.ok("train ads.toml --out run");
    place.write("run/thesis.txt", "precious");
    place.run("train ads.toml --out run --overwrite").exit(1).says(&["run holds thesis.txt", "--out"]);
    place.ok("evaluate run");
    place.run("train ads.toml --out data --overwrite").exit(1).says(&["data holds "]);
    assert_eq!(names(&place, "data"), ["schema.toml", "test.parquet", "train.parquet", "valid.parquet"]);
}

/// Starts a training without end and waits until it is under way.
#[cfg(unix)]
fn endless(place: &Place) -> (Child, impl Iterator<Item = String>) {
    let arguments = "train ads.toml --out run --set train.epochs=1000000 --set train.patience=1000000 --overwrite";
    let mut command = place.command(arguments);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("epoch 2")), "training never began");
    (child, lines)
}

#[cfg(unix)]
#[test]
fn a_training_under_way_is_not_overwritten() {
    let place = place();
    place.ok("train ads.toml --out run --set train.seed=3");
    let (child, lines) = endless(&place);
    let id = child.id().to_string();
    let second = place.run("train ads.toml --out run --overwrite --set train.seed=2").exit(1);
    second.says(&[&format!("run is in use: process {id} trains there"), "--out"]);
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    lines.for_each(drop);
    Ran::new("train", child.wait_with_output().expect("ended")).exit(130);
    let config = place.read("run/config.toml");
    assert_eq!(seed(&config), "seed = 1");
    assert_eq!(seed(&place.read("run/artifact/config.toml")), "seed = 1");
    place.ok("train ads.toml --out run --overwrite --set train.seed=2");
}

#[test]
fn trainings_started_at_once_have_a_directory_each() {
    let place = place();
    let start = |seed: u32| {
        let mut command = place.command(&format!("train ads.toml --quiet --set train.seed={seed}"));
        command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("started")
    };
    let children: Vec<Child> = (1..=6).map(start).collect();
    for child in children {
        Ran::new("train", child.wait_with_output().expect("ended")).exit(0);
    }
    let runs = names(&place, "runs");
    assert_eq!(runs.len(), 6, "{runs:?}");
    let mut seeds = Vec::new();
    for run in runs {
        let config = place.read(&format!("runs/{run}/config.toml"));
        let artifact = place.read(&format!("runs/{run}/artifact/config.toml"));
        assert_eq!(seed(&config), seed(&artifact), "{run}");
        seeds.push(seed(&config).to_string());
    }
    seeds.sort();
    assert_eq!(seeds, ["seed = 1", "seed = 2", "seed = 3", "seed = 4", "seed = 5", "seed = 6"]);
}

#[test]
fn a_model_that_a_crash_left_under_a_hidden_name_is_found() {
    let place = place();
    place.ok("train ads.toml --out run");
    let hidden = place.path("run/.artifact.Ab12Cd.replaced");
    std::fs::rename(place.path("run/artifact"), &hidden).expect("renamed");
    place.ok("evaluate run").prints(&["click"]);
    assert!(!hidden.exists());
}
