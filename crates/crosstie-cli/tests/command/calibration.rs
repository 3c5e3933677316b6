//! Probabilities that come true as often as they say, and what is told where they do not.

use serde_json::Value;

use crate::place::{Place, csv};

const CONFIG: &str =
    "[data]\ndir = \"data\"\n[model]\nname = \"shared-bottom\"\n[train]\nepochs = 2\nbatch_size = 256\n";

fn json(place: &Place, name: &str) -> Value {
    serde_json::from_str(&place.read(name)).expect("JSON")
}

/// A log in which one of `every` impressions is clicked, more of some items.
fn log(rows: u32, every: u32) -> String {
    let row = |row: u32| {
        let (item, draw) = (row * 7 % 10, row.wrapping_mul(2_654_435_761) >> 8);
        format!("{item},{}\n", u32::from(draw % (every * 10) < 6 + item))
    };
    format!("item,click\n{}", (0..rows).map(row).collect::<String>())
}

#[test]
fn calibration_is_on_and_shows_before_and_after_within_80_columns() {
    let place = Place::new();
    place.ok("synth --rows 12000 --scenarios 2 --out data");
    place.write("ads.toml", CONFIG);
    let ran = place.ok("train ads.toml --out run").prints(&["Before and after calibration:"]);
    // Twelve hundred validation rows hold a handful of buys.
    ran.says(&["`buy` after `cart`: ", "at least 10 are needed to calibrate", "calibrated by the validation files"]);
    let told = place.ok("evaluate run --reliability").prints(&["Before and after calibration:", "click by tenths"]);
    let tables = told.stdout.split("Before and after").nth(1).expect("it is told").split("AUC given").next();
    assert!(tables.expect("a part").lines().all(|line| line.chars().count() <= 80), "{}", told.stdout);
    place.ok("inspect run").prints(&["calibration of", "calibration.json"]);

    place.ok("train ads.toml --set calibration.enabled=false --out plain");
    assert!(place.path("run/artifact/calibration.json").exists());
    assert!(!place.path("plain/artifact/calibration.json").exists());
    let (on, off) = (json(&place, "run/metrics.json"), json(&place, "plain/metrics.json"));
    for task in ["click", "like", "cart", "buy"] {
        for meaning in ["given_parent", "from_impression"] {
            let of = |report: &Value| report["tasks"][task][meaning].clone();
            let (on, off) = (of(&on), of(&off));
            // The network is the same; only what becomes of its logits is not.
            for figure in ["pcoc", "logloss"] {
                let [before, plain] =
                    [&on["uncalibrated"][figure], &off[figure]].map(|n| n.as_f64().expect("a number"));
                assert!((before - plain).abs() < 1e-9, "{task} {meaning} {figure}: {before} {plain}");
            }
            let deciles = on["reliability"].as_array().expect("ten of them");
            let rows: u64 = deciles.iter().map(|decile| decile["rows"].as_u64().expect("a number")).sum();
            assert_eq!((deciles.len(), Some(rows)), (10, on["rows"].as_u64()), "{task} {meaning}");
            assert!(off["uncalibrated"].is_null() && !off["reliability"].is_null());
        }
    }
    let line = place.read("run/metrics.jsonl").lines().next().expect("an evaluation").to_string();
    assert!(!line.contains("reliability") && !line.contains("uncalibrated"), "{line}");
}

#[test]
fn what_training_promised_too_often_is_mended_by_the_validation_files() {
    let place = Place::new();
    place.write("schema.toml", "[[task]]\nname = \"click\"\n[[field]]\nname = \"item\"\nkind = \"categorical\"\n");
    place.write("train.csv", &log(6000, 4));
    place.write("valid.csv", &log(3000, 8));
    place.write("test.csv", &log(2999, 8));
    place.write(
        "ads.toml",
        "[data]\nschema = \"schema.toml\"\ntrain = [\"train.csv\"]\nvalid = [\"valid.csv\"]\ntest = [\"test.csv\"]\n\
         [model]\nname = \"shared-bottom\"\n[train]\nepochs = 3\nbatch_size = 128\n",
    );
    let ran = place.ok("train ads.toml --out run");
    assert!(!ran.stderr.contains("is predicted"), "{}", ran.stderr);
    place.ok("train ads.toml --out plain --set calibration.enabled=false").says(&["the model is not calibrated"]);
    let click = json(&place, "run/metrics.json")["tasks"]["click"]["from_impression"].clone();
    let [before, after] = [&click["uncalibrated"]["pcoc"], &click["pcoc"]].map(|pcoc| pcoc.as_f64().expect("a number"));
    assert!(before > 1.5 && (after - 1.0).abs() < 0.1, "{before} {after}");
    // Predictions are those that were evaluated, and come in the same order as before.
    place.ok("predict run --data test.csv --out on.csv");
    place.ok("predict plain --data test.csv --out off.csv");
    let [on, off] = ["on.csv", "off.csv"].map(|file| {
        let cells = csv(&place.path(file)).into_iter().skip(1).map(|row| row[0].parse().expect("a number"));
        cells.collect::<Vec<f64>>()
    });
    let clicks = click["positives"].as_f64().expect("a number");
    assert!((on.iter().sum::<f64>() / clicks - after).abs() < 1e-9);
    for (a, b) in on.iter().zip(&off).zip(on.iter().zip(&off).skip(1)) {
        assert_eq!(a.0.total_cmp(b.0), a.1.total_cmp(b.1), "{a:?} {b:?}");
    }
}

#[test]
fn days_that_differ_are_warned_of_and_days_that_do_not_are_not() {
    let place = Place::new();
    place.write("schema.toml", "[[task]]\nname = \"click\"\n[[field]]\nname = \"item\"\nkind = \"categorical\"\n");
    place.write("train.csv", &log(6000, 4));
    place.write("valid.csv", &log(3000, 4));
    place.write("same.csv", &log(2999, 4));
    place.write("later.csv", &log(3000, 8));
    let config = |test: &str| {
        format!(
            "[data]\nschema = \"schema.toml\"\ntrain = [\"train.csv\"]\nvalid = [\"valid.csv\"]\ntest = [\"{test}\"]\n\
             [model]\nname = \"shared-bottom\"\n[train]\nepochs = 3\nbatch_size = 128\n"
        )
    };
    place.write("same.toml", &config("same.csv"));
    place.write("later.toml", &config("later.csv"));
    let ran = place.ok("train same.toml --out same");
    assert!(!ran.stderr.contains("is predicted"), "{}", ran.stderr);
    let warning = ["click is predicted", "times too often on the test files; validation had ", "the days differ"];
    place.ok("train later.toml --out later").says(&warning);
    place.ok("evaluate later").says(&warning);
    place.ok("evaluate same --data later.csv").says(&["times too often on these files; validation had "]);
    place.ok("train later.toml --set calibration.enabled=false --out plain").says(&["the model is not calibrated"]);
}

#[test]
fn calibration_may_be_switched_between_a_checkpoint_and_what_goes_on_from_it() {
    let place = Place::new();
    place.synth();
    place.write("ads.toml", CONFIG);
    place.ok("train ads.toml --out run");
    assert!(place.path("run/artifact/calibration.json").exists());
    place.ok("train --resume run --set calibration.enabled=false --set train.epochs=3");
    assert!(!place.path("run/artifact/calibration.json").exists());
    place.ok("evaluate run");
}

#[test]
fn what_few_rows_tell_is_said_and_nothing_is_said_to_be_calibrated() {
    let place = Place::new();
    place.write("log.csv", &log(300, 10));
    let ran = place.ok("train log.csv --task click --set train.epochs=1 --out run");
    let (told, shown) = (&ran.stderr, &ran.stdout.split_whitespace().collect::<Vec<_>>().join(" "));
    assert!(told.contains("its probabilities stay as they are") && !told.contains("calibrated by the"), "{told}");
    assert!(shown.contains("rows to judge by: figures of so few are chance"), "{shown}");
    assert!(shown.contains("few rows tell of `click` ("), "{shown}");
    assert!(shown.contains(" with it): such figures may be far off by chance"), "{shown}");
}
