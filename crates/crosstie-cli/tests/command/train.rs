//! Configs, run directories and how a training ends.

use crate::place::{Place, SMALL};
use crate::settings::without_comments;

fn place() -> Place {
    let place = Place::new();
    place.synth();
    place.write("ads.toml", SMALL);
    place
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest() {
    let place = place();
    place.write("typo.toml", &SMALL.replace("experts", "exprets"));
    place.run("train typo.toml").exit(1).says(&["typo.toml", "exprets", "did you mean `experts`?"]);
    place.run("train ads.toml --set train.epoch=3").exit(1).says(&["did you mean `epochs`?"]);
    place.run("train ads.toml --set model.name=mmeo").exit(1).says(&["did you mean `mmoe`?"]);
    place.run("train nowhere.toml").exit(1).says(&["nowhere.toml"]);
    assert!(!place.path("runs").exists(), "a refused config must not leave a run behind");
}

#[test]
fn bad_training_data_is_refused_with_its_place() {
    let place = Place::new();
    // Far enough down that it is found while learning, and not by a look at the first rows.
    place.write("log.csv", &format!("user,click\n{}c,2\n", "a,1\nb,0\n".repeat(1000)));
    place.write("schema.toml", "[[task]]\nname = \"click\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\n");
    let config =
        "[data]\nschema = \"schema.toml\"\ntrain = [\"log.csv\"]\nvalid = [\"log.csv\"]\n[model]\nname = \"esmm\"\n";
    place.write("ads.toml", config);
    place.run("train ads.toml --out run").exit(1).says(&["log.csv: row 2001, column `click`", "2"]);
    // What went wrong is in the run's log, too, and the run is no model.
    assert!(place.read("run/train.log").contains("row 2001, column `click`"));
    place.run("evaluate run").exit(1).says(&["its training did not end"]);
    place.write("other.csv", "usr,click\na,1\n");
    place.run("train ads.toml --set data.train=['other.csv']").exit(1).says(&["`user`", "`usr`"]);
}

#[test]
fn a_file_that_is_trained_on_and_judged_by_is_told() {
    let place = Place::new();
    for name in ["a.csv", "b.csv", "c.csv"] {
        place.write(name, &format!("user,click\n{}", "a,1\nb,0\nc,0\n".repeat(20)));
    }
    place.write("schema.toml", "[[task]]\nname = \"click\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\n");
    place.write(
        "ads.toml",
        "[data]\nschema = \"schema.toml\"\ntrain = \"a.csv\"\nvalid = \"b.csv\"\ntest = \"c.csv\"\n\
         [model]\nname = \"single-task\"\n[train]\nepochs = 1\n",
    );
    for (files, told) in [
        ("data.test=c.csv", &[][..]),
        ("data.valid=./a.csv", &["training files and the validation files"]),
        ("data.test=['c.csv','./a.csv']", &["training files and the test files"]),
        ("data.test=b.csv", &["validation files and the test files"]),
    ] {
        let ran = place.ok(&format!("train ads.toml --overwrite --out run --set {files}"));
        let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("is among both")).collect();
        assert_eq!(lines.len(), told.len(), "{files}: {}", ran.stderr);
        assert!(lines.iter().zip(told).all(|(line, told)| line.contains(told)), "{files}: {lines:?}");
    }
    let ran = place.run("train ads.toml --out twice --set data.train=['a.csv','./a*.csv']").exit(1);
    ran.says(&["a.csv: is there twice", "by \"./a*.csv\"", "name it once"]);
}

#[test]
fn the_printed_config_is_the_config() {
    let place = place();
    let printed = place.ok("train ads.toml --print-config --set train.epochs=7 --set network.gating.units=5").stdout;
    assert!(printed.contains("epochs = 7") && printed.contains("experts = 2"), "{printed}");
    let gating = "[network.gating]\nunits = 5\nscenario_width = 8\n";
    assert!(without_comments(&printed).contains(gating), "{printed}");
    assert!(printed.contains("learning_rate"), "defaults are printed, too: {printed}");
    place.write("printed.toml", &printed);
    assert_eq!(place.ok("train printed.toml --print-config").stdout, printed);
    assert!(!place.path("runs").exists());
}

#[test]
fn a_triplet_term_trains_beside_the_tasks() {
    let place = place();
    place.ok("train ads.toml --set train.epochs=1 --set objective.triplet.tasks=['buy','cart'] --out run");
    assert!(
        place.read("run/config.toml").contains("[objective.triplet]\nweight = 0.1"),
        "{}",
        place.read("run/config.toml")
    );
    place.ok("inspect run").prints(&["triplet.centres", "2 × 3 × 16"]);
    let history = place.read("run/metrics.jsonl");
    let line: serde_json::Value = serde_json::from_str(history.lines().next().unwrap_or_default()).expect("JSON");
    let terms = line["terms"].as_object().expect("what it costs is told beside the tasks' losses");
    let names: Vec<&str> = terms.keys().map(String::as_str).collect();
    assert_eq!(names, ["triplet buy", "triplet cart"], "{line}");
    // All centres lie within the margin of each other at the start: it is what a row costs about.
    assert!(terms.values().all(|mean| mean.as_f64().is_some_and(|mean| (0.1..2.0).contains(&mean))), "{line}");
    place.ok("inspect run --graph").prints(&["loss triplet cart", "loss triplet buy"]);
    place.run("train ads.toml --set objective.triplet.wieght=1").exit(1).says(&["did you mean `weight`?"]);
    place.run("train ads.toml --set objective.triplet.tasks=['crat']").exit(1).says(&["did you mean `cart`?"]);
    place.run("train ads.toml --set objective.triplet.margin=0").exit(1).says(&["objective.triplet.margin"]);
}

#[test]
fn a_run_directory_tells_everything_about_the_run() {
    let place = place();
    place
        .ok("train ads.toml --set train.epochs=1 --set train.seed=5 --out run")
        .prints(&["On the test files", "click"]);
    assert!(place.read("run/config.toml").contains("epochs = 1"));
    let history = place.read("run/metrics.jsonl");
    let line: serde_json::Value = serde_json::from_str(history.lines().next().unwrap_or_default()).expect("JSON");
    assert_eq!((&line["epoch"], &line["step"], &line["best"]), (&1.into(), &10.into(), &true.into()), "{line}");
    assert!(line["losses"]["click"].as_f64().is_some_and(|loss| (0.1..1.0).contains(&loss)), "{line}");
    assert_eq!(line["report"]["rows"], 300);
    let environment: serde_json::Value = serde_json::from_str(&place.read("run/env.json")).expect("JSON");
    assert_eq!(environment["seed"], 5);
    assert_eq!(environment["command"][1], "train");
    assert!(environment["ended"].as_str() > environment["started"].as_str(), "{environment}");
    assert!(place.read("run/train.log").contains("epoch 1, step 10"));
    let metrics: serde_json::Value = serde_json::from_str(&place.read("run/metrics.json")).expect("JSON");
    assert_eq!(metrics["rows"], 300);
    assert!(metrics["tasks"]["buy"]["from_impression"]["auc"].is_f64(), "{metrics}");
}

#[test]
fn masks_are_told_as_they_are_tried_and_inspected_afterwards() {
    let place = place();
    place.write(
        "masks.toml",
        "[data]\ndir = \"data\"\n[model]\nname = \"ncs4cvr\"\nunits = [8, 4]\nrounds = 2\nkeep = 0.25\n",
    );
    let train = "train masks.toml --set train.epochs=1 --set train.monitor=auc --out run";
    place.ok(train).says(&["click, round 1: 50.00 % of the connections, click.given_parent.auc 0."]);
    let lines = place.read("run/masks.jsonl");
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let clicks: Vec<&serde_json::Value> = lines.iter().filter(|line| line["task"] == "click").collect();
    assert_eq!(clicks.iter().map(|line| &line["round"]).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((&clicks[0]["kept"], &clicks[0]["best"]), (&1.0.into(), &false.into()));
    let chosen = clicks.iter().rfind(|line| line["best"] == true).expect("a mask is chosen");

    let inspected = place.ok("inspect run").prints(&["shared.0.mask.click"]).stdout;
    let lines: Vec<Vec<&str>> = inspected.lines().map(|line| line.split_whitespace().collect()).collect();
    let after = |header: &[&str]| {
        let header = lines.iter().position(|cells| cells.starts_with(header));
        &lines[header.unwrap_or_else(|| panic!("{inspected}")) + 2..]
    };
    // Task, connections, share of all.
    let click = &after(&["kept", "by", "connections", "of", "all", "shared.0", "shared.1"])[0];
    let share: f64 = click[2].parse().expect("a number");
    assert!((share / 100.0 - chosen["kept"].as_f64().expect("a share")).abs() < 1e-4, "{click:?} {chosen}");
    // Two tasks, connections of both, of either, overlap.
    let pair = &after(&["kept", "by", "and", "by"])[0];
    let [both, either] = [2, 3].map(|cell| pair[cell].replace(',', "").parse::<f64>().expect("a number"));
    assert!(pair[0] == "click" && both <= either && pair[4] == format!("{:.2}", 100.0 * both / either), "{pair:?}");
    // What an earlier run of masks left is replaced as a whole.
    place.ok(&format!("{train} --overwrite --set model.rounds=0"));
    assert!(!place.path("run/masks.jsonl").exists());
}

#[test]
fn a_run_is_not_overwritten_unasked() {
    let place = place();
    place.ok("train ads.toml --set train.epochs=1");
    place.ok("train ads.toml --set train.epochs=1");
    assert!(place.path("runs/ads-mmoe/artifact").is_dir() && place.path("runs/ads-mmoe-2/artifact").is_dir());
    let refused = place.run("train ads.toml --out runs/ads-mmoe").exit(1);
    refused.says(&["runs/ads-mmoe is not empty", "--overwrite"]);
    place.ok("train ads.toml --set train.epochs=1 --set train.seed=9 --out runs/ads-mmoe --overwrite");
    assert!(place.read("runs/ads-mmoe/config.toml").contains("seed = 9"));
    place.run("train ads.toml --overwrite").exit(2).says(&["--out"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_what_was_reached() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let place = place();
    let endless = "train ads.toml --out run --set train.epochs=1000000 --set train.patience=1000000";
    let mut child = place.command(endless).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("epoch 2")), "training never began");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    let rest: Vec<String> = lines.collect();
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("stopped by Ctrl-C; the weights of step")), "{rest:?}");
    assert!(place.read("run/env.json").contains("stopped by Ctrl-C"));
    place.ok("evaluate run --json again.json");
    assert_eq!(place.read("again.json"), place.read("run/metrics.json"));
}

/// Files may not grow beyond 48 KiB: the history does, the model does not.
#[cfg(unix)]
#[test]
fn a_history_that_cannot_be_written_does_not_lose_the_model() {
    let place = place();
    let command = format!(
        "trap '' XFSZ; ulimit -f 96; exec {} train ads.toml --out run --set train.epochs=40 --set train.patience=99 \
         --set train.checkpoint_every=never --set model.expert_units=[4] --set model.tower_units=[2]",
        env!("CARGO_BIN_EXE_crosstie")
    );
    let output = std::process::Command::new("sh").args(["-c", &command]).current_dir(place.path("")).output();
    let ran = crate::place::Ran::new("train, with small files", output.unwrap());
    ran.exit(1).says(&["metrics.jsonl is not whole"]);
    let history = place.read("run/metrics.jsonl");
    let lines = history.lines().count();
    assert!((1..40).contains(&lines), "{lines} lines: the test needs a history that is cut");
    let whole = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(history.ends_with('\n') && history.lines().all(whole), "no part of a line is left");
    place.ok("evaluate run").prints(&["click"]);
    place.ok("report run").prints(&["run/report.html"]);
}

/// Files may not grow beyond 8 KiB: the configuration fits, the model does not.
#[cfg(unix)]
#[test]
fn a_model_that_cannot_be_saved_says_how_to_go_on() {
    let place = place();
    let command =
        format!("trap '' XFSZ; ulimit -f 16; exec {} -q train ads.toml --out run", env!("CARGO_BIN_EXE_crosstie"));
    let output = std::process::Command::new("sh").args(["-c", &command]).current_dir(place.path("")).output();
    let ran = crate::place::Ran::new("train, with small files", output.unwrap());
    ran.exit(1).says(&["could not be saved", "`crosstie train --resume run` goes on"]);
    place.ok("train --resume run").prints(&["On the test files"]);
    place.ok("evaluate run").prints(&["click"]);
}
