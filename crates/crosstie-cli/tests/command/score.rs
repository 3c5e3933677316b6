//! From a trained model to figures and predictions.

use std::path::Path;

use crate::place::{Place, csv};
use crosstie::data::{Source, Writer};

const TASKS: [&str; 5] = ["click", "like", "follow", "cart", "buy"];

/// A log and a model trained on it, in `run`.
fn place() -> Place {
    let place = Place::new();
    place.synth();
    place.write(
        "ads.toml",
        "[data]\ndir = \"data\"\n[model]\nname = \"shared-bottom\"\n[train]\nepochs = 1\nbatch_size = 256\n",
    );
    place.ok("train ads.toml --out run");
    place
}

/// Copies some columns of a table into another file.
fn copy(from: &Path, columns: &[&str], to: &Path) {
    let source = Source::open(&[from.to_str().expect("UTF-8")]).expect("opened");
    let mut writer = None;
    for rows in source.rows(columns, 1000) {
        let rows = rows.expect("read");
        let writer = writer.get_or_insert_with(|| Writer::create(to, rows.batch.schema()).expect("created"));
        writer.write(&rows.batch).expect("written");
    }
    writer.expect("there are rows").finish().expect("finished");
}

fn numbers(path: &Path, column: &str) -> Vec<f64> {
    let source = Source::open(&[path.to_str().expect("UTF-8")]).expect("opened");
    let rows = source.rows(&[column], 1000).map(|rows| rows.and_then(|rows| rows.column(column)?.numbers()));
    rows.flat_map(|numbers| numbers.expect("numbers")).map(|number| number.expect("no missing value")).collect()
}

#[test]
fn evaluating_a_run_gives_its_metrics() {
    let place = place();
    place.ok("evaluate run --json run.json").prints(&["300 rows of data/test.parquet", "by scenario"]);
    assert_eq!(place.read("run.json"), place.read("run/metrics.json"));
    place.ok("evaluate run/artifact --json artifact.json");
    assert_eq!(place.read("artifact.json"), place.read("run/metrics.json"));
    place.ok("evaluate run --data data/test.parquet data/valid.parquet").prints(&["600 rows"]);
    place.run("evaluate nowhere").exit(1).says(&["nowhere", "no such directory"]);
    place.run("evaluate data").exit(1).says(&["data/manifest.json", "no artifact"]);
}

#[cfg(unix)]
#[test]
fn figures_to_stdout_stand_beside_the_tables_in_a_pipe_and_in_a_file() {
    let place = place();
    let metrics = place.read("run/metrics.json");
    place.ok("evaluate run --json /dev/stdout").prints(&[metrics.trim_end(), "300 rows of data/test.parquet"]);
    let file = |name: &str| std::fs::File::create(place.path(name)).expect("created");
    let ran = place.command("-q evaluate run --json /dev/stdout").stdout(file("both.txt")).status();
    assert!(ran.expect("ran").success());
    let both = place.read("both.txt");
    assert!(both.contains(metrics.trim_end()) && both.contains("300 rows of data/test.parquet"), "{both}");
    // What is appended to stays.
    place.write("log.txt", "before\n");
    let log = std::fs::File::options().append(true).open(place.path("log.txt")).expect("opened");
    let ran = place.command("-q evaluate run --json /dev/stderr").stdout(file("tables.txt")).stderr(log).status();
    assert!(ran.expect("ran").success());
    assert_eq!(place.read("log.txt"), format!("before\n{metrics}"));
    std::os::unix::fs::symlink("deep/figures.json", place.path("link.json")).expect("linked");
    place.run("evaluate run --json link.json").exit(1).says(&["link.json", "there is no directory"]);
    std::fs::create_dir(place.path("deep")).expect("made");
    place.ok("evaluate run --json link.json");
    assert_eq!(place.read("deep/figures.json"), metrics);
}

#[test]
fn predictions_are_the_same_in_every_format() {
    let place = place();
    place.ok("predict run --data data/test.parquet --out scores.csv --keep item_id user_id");
    place.ok("predict run/artifact --data data/test.parquet --out scores.parquet --keep item_id user_id");
    let table = csv(&place.path("scores.csv"));
    let mut header = vec!["item_id".to_string(), "user_id".to_string()];
    header.extend(TASKS.iter().flat_map(|task| [format!("p_{task}"), format!("joint_{task}")]));
    assert_eq!(table[0], header);
    assert_eq!(table.len(), 1 + 300);
    for (index, column) in header.iter().enumerate().skip(2) {
        let text: Vec<f64> = table[1..].iter().map(|row| row[index].parse().expect("a number")).collect();
        assert_eq!(text, numbers(&place.path("scores.parquet"), column), "{column}");
        assert!(text.iter().all(|probability| (0.0..=1.0).contains(probability)), "{column}");
    }
    // Without direct ways, all actions along the way must have happened.
    let of = |column: &str| numbers(&place.path("scores.parquet"), column);
    let product = of("p_click").into_iter().zip(of("p_cart")).zip(of("p_buy")).map(|((a, b), c)| a * b * c);
    assert!(product.zip(of("joint_buy")).all(|(product, joint)| (product - joint).abs() < 1e-12));
    // Rows in the order of the input.
    copy(&place.path("data/test.parquet"), &["item_id", "user_id"], &place.path("keys.csv"));
    let keys: Vec<Vec<String>> = table.iter().map(|row| row[..2].to_vec()).collect();
    assert_eq!(keys, csv(&place.path("keys.csv")));
}

#[test]
fn scoring_needs_neither_labels_nor_parquet() {
    let place = place();
    let schema = crosstie::schema::Schema::read(place.path("data/schema.toml")).expect("a schema");
    let mut columns = schema.feature_columns();
    copy(&place.path("data/test.parquet"), &columns, &place.path("unlabelled.csv.gz"));
    place.ok("predict run --data unlabelled.csv.gz --out text.csv");
    place.ok("predict run --data data/test.parquet --out parquet.csv");
    for task in TASKS {
        let of = |file: &str| numbers(&place.path(file), &format!("p_{task}"));
        let worst = of("text.csv").iter().zip(of("parquet.csv")).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // Text holds the digits of a float, Parquet its bits.
        assert!(worst < 1e-6, "{task}: {worst}");
    }

    columns.retain(|column| *column != "price");
    copy(&place.path("data/test.parquet"), &columns, &place.path("priceless.parquet"));
    let ran = place.run("predict run --data priceless.parquet --out scores.csv").exit(1);
    ran.says(&["priceless.parquet", "no column `price`"]);
    assert!(!place.path("scores.csv").exists());
}

#[test]
fn predictions_are_refused_where_they_would_do_harm() {
    let place = place();
    let before = std::fs::read(place.path("data/test.parquet")).expect("read");
    place
        .run("predict run --data data/test.parquet --out data/../data/test.parquet")
        .exit(1)
        .says(&["among the data that run/config.toml names"]);
    assert_eq!(std::fs::read(place.path("data/test.parquet")).expect("read"), before);
    place.run("predict run --data data/test.parquet --out scores.txt").exit(1).says(&["scores.txt", "`txt`"]);
    place.run("predict run --data data/test.parquet --out a.csv --keep usr_id").exit(1).says(&["`user_id`"]);
    place.run("predict run --data data/test.parquet --out a.csv --keep city city").exit(1).says(&["twice"]);
}

#[test]
fn a_damaged_artifact_is_refused_with_the_files_name() {
    let place = place();
    let file = place.path("run/artifact/dense.safetensors");
    let mut bytes = std::fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    for command in ["evaluate run", "predict run --data data/test.parquet --out a.csv", "inspect run"] {
        place.run(command).exit(1).says(&["dense.safetensors", "checksum"]);
    }
}

#[test]
fn an_artifact_can_be_inspected() {
    let place = place();
    let parts = ["shared-bottom in run/artifact", "trained on 2,400 rows", "user_id", "dense.safetensors", "×"];
    place.ok("inspect run").prints(&parts);
    let graph = place.ok("inspect run --graph").stdout;
    assert!(graph.starts_with("flowchart") || graph.starts_with("graph"), "{graph}");
}

#[test]
fn the_demo_compares_models_with_the_best_possible() {
    let place = Place::new();
    let ran = place.ok("demo --rows 1000 --quiet --out first");
    let ran = ran.prints(&[
        "best possible",
        "single-task",
        "shared-bottom",
        "esmm",
        "mmoe",
        "ple",
        "ektm",
        "What to do next",
    ]);
    // What it says to do next works.
    let next: Vec<&str> = ran.stdout.lines().filter_map(|line| line.trim().strip_prefix("crosstie ")).collect();
    assert_eq!(next.len(), 7);
    for command in next {
        place.ok(command);
    }
    place.run("demo --rows 1000 --out first").exit(1).says(&["first is not empty"]);
}
