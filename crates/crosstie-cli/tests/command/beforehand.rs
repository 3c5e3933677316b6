//! What can be known before the work is told before it.

use std::fs;

use crate::place::Place;

const CONFIG: &str = "[data]\ndir = \"data\"\n[model]\nname = \"shared-bottom\"\nbottom_units = [8]\n\
                      [train]\nepochs = 1\nbatch_size = 256\n";

/// A log, and a small one as CSV with its schema.
fn place() -> Place {
    let place = Place::new();
    place.ok("synth --rows 1000 --scenarios 2 --out data");
    place.write("ads.toml", CONFIG);
    place.write("log.csv", "user,price,click\na,1.5,1\nb,2.5,0\nc,,1\n");
    place.write("schema.toml", SCHEMA);
    place.write(
        "small.toml",
        "[data]\nschema = \"schema.toml\"\ntrain = [\"log.csv\"]\nvalid = [\"log.csv\"]\ntest = [\"log.csv\"]\n\
         [model]\nname = \"shared-bottom\"\nbottom_units = [8]\n[train]\nepochs = 1\n",
    );
    place
}

const SCHEMA: &str = "[[task]]\nname = \"click\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\n\
                      [[field]]\nname = \"price\"\nkind = \"numeric\"\n";

#[test]
fn files_that_do_not_fit_the_schema_are_told_before_training() {
    let place = place();
    place.write("unlabelled.csv", "user,price\na,1\n");
    place.write("words.csv", "user,price,click\na,cheap,1\n");
    place.write("maybe.csv", "user,price,click\na,1,maybe\n");
    place.write("none.csv", "user,price,click\n");
    for (files, said) in [
        ("['unlabelled.csv']", ["unlabelled.csv", "no column `click`"]),
        ("['log.csv','words.csv']", ["words.csv: row 1, column `price`", "cheap"]),
        ("['maybe.csv']", ["maybe.csv: row 1, column `click`", "maybe"]),
        ("['none.csv']", ["none.csv", "there is not a single row"]),
    ] {
        for key in ["train", "valid", "test"] {
            let ran = place.run(&format!("train small.toml --set data.{key}={files}")).exit(1).says(&said);
            assert!(!ran.stderr.contains("training rows"), "{}", ran.stderr);
            assert!(!place.path("runs").exists(), "{key} {files}");
        }
    }
    place.ok("train small.toml");
}

#[test]
fn a_field_that_cannot_be_a_file_is_told_before_training() {
    let place = place();
    let long = "a".repeat(250);
    place.write("schema.toml", &SCHEMA.replace("name = \"user\"", &format!("name = \"{long}\"\ncolumn = \"user\"")));
    place.run("train small.toml").exit(1).says(&["schema.toml", "has 250 bytes, at most 247", "`column`"]);
    assert!(!place.path("runs").exists());
}

#[test]
fn a_place_where_nothing_can_be_written_is_told_first() {
    let place = place();
    place.ok("train ads.toml --out run");
    // What is wrong besides would be told later.
    place
        .run("evaluate nowhere --json no/such/x.json")
        .exit(1)
        .says(&["no/such/x.json", "there is no directory no/such"]);
    place.run("evaluate nowhere --json data").exit(1).says(&["data", "it is a directory"]);
    place.run("predict nowhere --data absent.csv --out no/such/x.csv").exit(1).says(&["no/such/x.csv", "no directory"]);
    place.run("predict nowhere --data absent.csv --out x.txt").exit(1).says(&["x.txt", "`txt`"]);
    place.run("train ads.toml --out ads.toml").exit(1).says(&["ads.toml"]);
    fs::create_dir_all(place.path("full/test.parquet")).expect("made");
    let said = ["full/test.parquet is there already"];
    place.run("synth --rows 1000 --out full").exit(1).says(&said);
    place.run("prepare census-income --from data --out full").exit(1).says(&said);
    assert_eq!(fs::read_dir(place.path("full")).expect("read").count(), 1);
}

#[test]
fn a_synthetic_log_takes_the_place_of_no_other() {
    let place = place();
    let before = fs::read(place.path("data/train.parquet")).expect("read");
    place.run("synth --rows 2000 --out data").exit(1).says(&["data/train.parquet is there already", "--out"]);
    assert_eq!(fs::read(place.path("data/train.parquet")).expect("read"), before);
}

#[test]
fn figures_are_not_written_over_the_data_they_come_from() {
    let place = place();
    place.ok("train ads.toml --out run");
    let before = fs::read(place.path("data/test.parquet")).expect("read");
    let ran = place.run("evaluate run --json data/test.parquet").exit(1);
    ran.says(&["data/test.parquet is among the data that run/config.toml names"]);
    assert_eq!(fs::read(place.path("data/test.parquet")).expect("read"), before);
    assert_eq!(fs::read_dir(place.path("data")).expect("read").count(), 4, "nothing is left beside it");
}

#[test]
fn what_a_command_reads_or_leaves_is_never_written_over() {
    let place = place();
    place.ok("train ads.toml --out run");
    let files = ["data/test.parquet", "data/train.parquet", "run/config.toml", "run/artifact/manifest.json"];
    let before = files.map(|file| fs::read(place.path(file)).expect("read"));
    place.write("log.csv", "unit,time,arm,click,joint_click\nu1,2026-11-01,a,1,0.5\n");
    for (command, said) in [
        ("report run --out data/test.parquet", "data/test.parquet is among the data that run/config.toml names"),
        ("report run --out run/config.toml", "run/config.toml is a file of the run run"),
        ("evaluate run --json run/artifact/manifest.json", "run/artifact/manifest.json is a file of the run run"),
        ("evaluate run/artifact --json run/metrics.json", "run/metrics.json is a file of the run run"),
        ("evaluate run --json data/train.parquet", "data/train.parquet is among the data that run/config.toml names"),
        ("evaluate run --json data/schema.toml", "data/schema.toml is among the data"),
        ("predict run --data log.csv --out data/train.parquet", "data/train.parquet is among the data"),
        ("export run --format onnx --out run/checkpoint", "run/checkpoint is a file of the run run"),
        ("abtest log.csv --json x.json --html ./x.json", "./x.json is named for two outputs"),
        ("abtest log.csv --before ads.csv --json log.csv", "log.csv is among the files"),
    ] {
        fs::write(place.path("ads.csv"), "unit,time\nu1,2026-10-01\n").expect("written");
        place.run(command).exit(1).says(&[said]);
    }
    assert_eq!(files.map(|file| fs::read(place.path(file)).expect("read")), before);
    assert!(!place.path("x.json").exists() && !place.path("run/checkpoint/model.onnx").exists());
    // A copy of an artifact belongs to no run.
    fs::create_dir(place.path("served")).expect("made");
    fs::rename(place.path("run/artifact"), place.path("served/1")).expect("moved");
    let ran = place.run("evaluate served/1 --data data/test.parquet --json served/1/manifest.json").exit(1);
    ran.says(&["served/1/manifest.json is a part of served/1"]);
    place.ok("evaluate served/1 --data data/test.parquet --json /dev/null");
}

#[test]
fn a_model_is_saved_though_its_test_file_goes_bad_further_down() {
    let place = place();
    place.write("late.csv", &format!("user,price,click\n{}a,1,2\n", "a,1,1\nb,2,0\n".repeat(1000)));
    let ran = place.run("train small.toml --set data.test=['late.csv'] --out run").exit(1);
    ran.says(&[
        "the model is saved in run/artifact, but could not be evaluated\n  because late.csv: row 2001, column `click`",
    ]);
    place.ok("evaluate run --data log.csv").prints(&["3 rows of log.csv"]);
}
