//! `crosstie init`, and `crosstie train` of a log.

use crate::place::Place;

/// Ten days of a shop; a refund follows some purchases.
fn place() -> Place {
    let place = Place::new();
    let mut log = String::from("day,user,price,device,click,buy,refund\n");
    let mut seed = 11u64;
    let mut draw = || {
        seed = seed * 16_807 % 2_147_483_647;
        seed as f64 / 2_147_483_647.0
    };
    for row in 0..4000 {
        let (user, price, phone) = ((100.0 * draw()) as u64, 5.0 + 95.0 * draw(), draw() < 0.6);
        let click = draw() < if phone { 0.4 } else { 0.2 };
        let buy = click && draw() < 0.6 - price / 200.0;
        let refund = buy && draw() < 0.2;
        let [click, buy, refund] = [click, buy, refund].map(u8::from);
        let device = if phone { "phone" } else { "desk" };
        log += &format!("{},u{user},{price:.2},{device},{click},{buy},{refund}\n", 1 + row / 400);
    }
    place.write("log.csv", &log);
    place
}

#[test]
fn a_log_that_is_too_short_is_named_and_leaves_no_directory() {
    let place = Place::new();
    place.write("short.csv", "price,click\n1,0\n2,1\n3,0\n");
    place.run("init short.csv --task click --out deep/short").exit(1).says(&["short.csv"]);
    assert_eq!(std::fs::read_dir(place.path("")).expect("read").count(), 1);
}

#[test]
fn a_column_without_a_name_is_told_of_in_words() {
    let place = Place::new();
    let rows: String = (0..300).map(|row| format!("{row},{},{}\n", row * 7 % 11, u8::from(row % 3 == 0))).collect();
    place.write("log.csv", &format!(",price,click\n{rows}"));
    place.ok("init log.csv").prints(&["(no name): an id whose values do not come back"]);
}

#[test]
fn what_init_writes_trains_as_it_is() {
    let place = place();
    let ran = place.ok("init log.csv").says(&["written to log: config.toml, schema.toml, train.parquet"]);
    let told = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "log.csv: 4,000 rows, 7 columns",
        "buy after click: in",
        "by the time `day`",
        "3,200 rows to learn from, 400 to stop by, 400 to judge",
        "user: 100 values, 40.0 rows each",
        "refund: known only afterwards",
        "Train it: crosstie train log/config.toml --out runs/log",
    ] {
        assert!(told.contains(part), "no {part:?} in\n{}", ran.stdout);
    }
    assert!(
        ran.stdout.lines().count() < 24 && ran.stdout.lines().all(|line| line.chars().count() <= 80),
        "{}",
        ran.stdout
    );
    let schema = place.read("log/schema.toml");
    assert!(schema.contains("never = [\"refund\"]") && schema.contains("after = \"click\""), "{schema}");
    place.ok("train log/config.toml --set train.epochs=1 --out runs/log").prints(&["On the test files", "buy"]);
    place.ok("inspect log/valid.parquet").prints(&["400 rows, 7 columns"]).says(&["log/schema.toml"]);
}

#[test]
fn a_log_is_trained_at_once() {
    let place = place();
    place
        .ok("train log.csv --task click --set train.epochs=1")
        .prints(&["task         click: in", "On the test files"]);
    assert!(place.path("runs/log-single-task/artifact").is_dir());
    let again = place.run("train log.csv --task click").exit(1);
    again.says(&["log/train.parquet is there already; `crosstie train log/config.toml` trains by it"]);
    std::fs::remove_file(place.path("log/config.toml")).unwrap();
    let again = place.run("train log.csv --task click").exit(1);
    again.says(&["log/train.parquet is there already; `crosstie init log.csv --out DIR` proposes into"]);
    place.write("log/config.toml", "");
    place.run("train log/config.toml --task click").exit(1).says(&["--task", "log/config.toml is a config"]);
}

#[test]
fn a_slip_in_a_setting_is_told_before_a_log_is_cut() {
    let place = place();
    for (setting, said) in [
        ("train.epoch=1", "did you mean `epochs`?"),
        ("train.monitor=clik.auc", "did you mean `click`?"),
        ("model.experts=six", "setting `model.experts=six`: "),
    ] {
        let ran = place.run(&format!("train log.csv --task click --task buy --set {setting}")).exit(1).says(&[said]);
        assert!(!ran.stderr.contains("config.toml"), "it stands in no file: {}", ran.stderr);
        assert!(!place.path("log").exists() && !place.path("runs").exists(), "{setting}");
    }
    place.write("taken/notes.txt", "mine");
    place.run("train log.csv --task click --out taken").exit(1).says(&["taken is not empty", "--out"]);
    assert!(!place.path("log").exists(), "the log is not cut for a run that has no place");
    let printed = place.ok("train log.csv --task click --set train.epochs=1 --print-config").stdout;
    assert!(!place.path("log").exists(), "a printed config is all that was asked for");
    // It is the config of the training.
    place.ok("train log.csv --task click --set train.epochs=1");
    assert_eq!(place.ok("train log/config.toml --set train.epochs=1 --print-config").stdout, printed);
}

#[test]
fn init_replaces_nothing_and_says_what_is_no_task() {
    let place = place();
    place.run("init log.csv --task clik").exit(1).says(&["no column `clik`", "did you mean `click`?"]);
    place.run("init log.csv --task price").exit(1).says(&["column `price` is no label", "from 5"]);
    place.run("init nowhere.csv").exit(1).says(&["nowhere.csv"]);
    assert!(!place.path("log").exists(), "nothing is written before all is decided");
    place.write("mine/schema.toml", "# by hand");
    place.run("init log.csv --out mine").exit(1).says(&["mine/schema.toml is there already", "--out"]);
    assert_eq!(place.read("mine/schema.toml"), "# by hand");
    place.write("plain.csv", "a,b\n1,yes\n2,no\n3,yes\n");
    place.run("init plain.csv").exit(1).says(&["no column looks like an action", "`b`"]);
}
