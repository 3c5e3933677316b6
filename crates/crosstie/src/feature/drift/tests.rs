//! A log whose truth is known: without a fault nothing may be told, and each kind
//! of fault must be.

use std::sync::Arc;

use super::*;
use crate::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use crate::random::Stream;
use crate::schema::Schema;

const SCHEMA: &str = r#"
    scenario = "tab"
    scenario_min_rows = 50
    group = "user"
    [[task]]
    name = "click"
    [[task]]
    name = "buy"
    after = "click"
    [[field]]
    name = "user"
    kind = "categorical"
    min_count = 3
    [[field]]
    name = "item"
    kind = "categorical"
    min_count = 10
    [[field]]
    name = "city"
    kind = "categorical"
    [[field]]
    name = "tags"
    kind = "multi"
    [[field]]
    name = "age"
    kind = "numeric"
    [[field]]
    name = "spent"
    kind = "numeric"
    transform = "log1p"
    [[field]]
    name = "price"
    kind = "numeric"
    transform = "quantile"
    buckets = 8
    [[field]]
    name = "city_rate"
    kind = "rate"
    key = ["city"]
    [[field]]
    name = "tab_rate"
    kind = "rate"
    key = ["tab"]
    count = true
"#;

/// What is wrong with rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    /// A third of the cities are written in another way.
    Spelling,
    /// A third of the ages are not there.
    Gone,
    /// Money counts in cents.
    Unit,
    /// Prices have risen a little, and some beyond all that there were.
    Risen,
    /// Everybody clicks more.
    Clicks,
    /// Who clicks buys less.
    Buys,
    /// More traffic in one tab.
    Traffic,
    /// Nobody knows yet who buys.
    Unlabelled,
}

/// Rows of a world of users, who have habits, and items, of which few are shown
/// often.
fn log(seed: u64, rows: usize, users: u64, fault: Fault) -> Source {
    let draw = |name: &str| Stream::new(seed, name);
    let habit = |name: &str, user: u64| Stream::new(11, name).normal(user);
    let hit = |row: usize| draw("fault").uniform(row as u64) < 0.33;
    let of = |cell: &dyn Fn(u64, u64) -> Option<f64>| -> Vec<Option<f64>> {
        (0..rows as u64).map(|row| cell(row, draw("user").below(row, users))).collect()
    };
    let text = |numbers: Vec<Option<f64>>, with: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter(numbers.iter().map(|x| x.map(|x| format!("{with}{x}")))))
    };
    let number = |numbers: Vec<Option<f64>>| -> ArrayRef { Arc::new(Float64Array::from(numbers)) };
    let tab = |row: u64| {
        let share = if fault == Fault::Traffic { 0.6 } else { 0.4 };
        if draw("tab").uniform(row) < share { 0.0 } else { 1.0 + draw("other tab").below(row, 2) as f64 }
    };
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    let click = |row: u64, user: u64| {
        let more = if fault == Fault::Clicks { 0.6 } else { 0.0 };
        let p = logistic(-2.0 + more + 0.8 * habit("click", user) + 0.3 * tab(row));
        f64::from(u8::from(draw("click").uniform(row) < p))
    };
    let buy = |row: u64, user: u64| {
        let p = if fault == Fault::Buys { 0.12 } else { 0.25 };
        click(row, user) * f64::from(u8::from(draw("buy").uniform(row) < p))
    };
    // Zipf's law, more or less.
    let item = |name: &str, row: u64| (3000.0f64.powf(draw(name).uniform(row))).floor();
    let price = |row: u64| {
        let risen = if fault == Fault::Risen { 2.0 } else { 0.0 };
        (2.0 * draw("price").normal(row)).exp() * 1.0 + risen * 1e3
    };
    let tags = (0..rows as u64).map(|row| {
        let tags: Vec<String> = (0..row % 4).map(|tag| item(&format!("tag {tag}"), row).to_string()).collect();
        (!tags.is_empty()).then(|| tags.join(","))
    });
    let cities = (0..rows).map(|row| {
        let city = 40.0f64.powf(draw("city").uniform(row as u64)).floor();
        let written = if fault == Fault::Spelling && hit(row) { "City of " } else { "city " };
        Some(format!("{written}{city}"))
    });
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user", text(of(&|_, user| Some(user as f64)), "u")),
        ("item", text(of(&|row, _| Some(item("item", row))), "i")),
        ("city", Arc::new(StringArray::from_iter(cities))),
        ("tags", Arc::new(StringArray::from_iter(tags))),
        (
            "age",
            number(of(&|row, user| {
                let gone = habit("secret", user) > 1.5 || (fault == Fault::Gone && hit(row as usize));
                (!gone).then(|| 40.0 + 12.0 * habit("age", user))
            })),
        ),
        (
            "spent",
            number(of(&|row, user| {
                let unit = if fault == Fault::Unit { 100.0 } else { 1.0 };
                Some(unit * (habit("wealth", user) + 2.0 * draw("spent").normal(row)).exp())
            })),
        ),
        ("price", number(of(&|row, _| Some(price(row))))),
        ("tab", text(of(&|row, _| Some(tab(row))), "tab")),
        ("click", number(of(&|row, user| Some(click(row, user))))),
        ("buy", number(of(&|row, user| (fault != Fault::Unlabelled).then(|| buy(row, user))))),
    ];
    Source::from_batches("log", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap()
}

fn told(features: &Features, source: &Source) -> Vec<String> {
    features.compare(source).unwrap().unwrap().sentences("new.csv")
}

/// `CROSSTIE_SEEDS` asks for more logs.
#[test]
fn rows_of_the_same_kind_are_not_told_of() {
    let schema = Schema::parse(SCHEMA).unwrap();
    let mut alarms = Vec::new();
    let seeds = std::env::var("CROSSTIE_SEEDS").map_or(40, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        // Small and large, of many users and of few, who have many rows each.
        let rows = [300, 1500, 6000, 20_000][seed as usize % 4];
        let users = rows / [3, 20][seed as usize / 4 % 2];
        let features = Features::learn(&schema, &log(2 * seed, rows as usize, users, Fault::Nothing)).unwrap();
        for others in [rows / 5, rows] {
            let found = told(features.features(), &log(2 * seed + 1, others as usize, users, Fault::Nothing));
            alarms.extend(found.into_iter().map(|sentence| format!("{rows} {users} {others}: {sentence}")));
        }
    }
    assert!(alarms.is_empty(), "{} in {}: {alarms:#?}", alarms.len(), 2 * seeds);
}

#[test]
fn every_kind_of_fault_is_named() {
    let schema = Schema::parse(SCHEMA).unwrap();
    for seed in 0..3 {
        let learned = Features::learn(&schema, &log(100 + seed, 12_000, 2000, Fault::Nothing)).unwrap();
        for (fault, expected) in [
            (Fault::Spelling, "field `city`: 3"),
            (Fault::Gone, "field `age`: 3"),
            (Fault::Unit, "field `spent`: its mean in new.csv is "),
            (Fault::Risen, "field `price`: "),
            (Fault::Clicks, "task `click`: "),
            (Fault::Buys, "task `buy`: "),
            (Fault::Traffic, "scenario `tab0`: "),
        ] {
            let found = told(learned.features(), &log(200 + seed, 4000, 2000, fault));
            assert!(found.iter().any(|sentence| sentence.starts_with(expected)), "{fault:?}: {found:#?}");
        }
    }
}

#[test]
fn labels_that_are_all_missing_are_not_told_as_actions_that_never_happen() {
    let schema = Schema::parse(SCHEMA).unwrap();
    let learned = Features::learn(&schema, &log(100, 12_000, 2000, Fault::Nothing)).unwrap();
    let drift = learned.features().compare(&log(200, 4000, 2000, Fault::Unlabelled)).unwrap().unwrap();
    assert_eq!(drift.sentences("new.csv"), ["task `buy`: no row of new.csv has a label that counts for it"]);
    assert!(drift.shifts.iter().all(|shift| shift.quantity.name != "buy"), "{drift:#?}");
}

#[test]
fn rates_that_training_rows_saw_otherwise_are_named() {
    let schema = Schema::parse(SCHEMA).unwrap();
    let source = log(300, 12_000, 2000, Fault::Nothing);
    let learned = Features::learn(&schema, &source).unwrap();
    let features = learned.features();
    let new = log(301, 4000, 2000, Fault::Nothing);
    // As if the counts of the whole log were not on the scale of what training rows
    // see, or a rate that hardly differs between keys were blown up.
    let start = |name: &str| {
        let before = features.layout.dense.iter().take_while(|dense| dense.name != name);
        before.map(|dense| dense.width).sum::<usize>()
    };
    for (column, expected) in [
        (start("city_rate"), "field `city_rate`: its rate of `click` in new.csv is "),
        (start("tab_rate") + schema.tasks.len(), "field `tab_rate`: its number of rows in new.csv is "),
    ] {
        let mut tally = features.tally().unwrap();
        for rows in new.rows(&features.columns(Purpose::Evaluation), 1000) {
            let rows = rows.unwrap();
            let mut batch = features.encode(&rows, Purpose::Evaluation).unwrap();
            batch.dense.iter_mut().skip(column).step_by(features.layout.dense_width()).for_each(|x| *x += 3.0);
            tally.add(&rows, &batch).unwrap();
        }
        let found = tally.drift().sentences("new.csv");
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:#?}");
    }
}

#[test]
fn rare_ids_are_expected_to_be_unknown_as_often_as_new_rows_would_be() {
    // Every value has three rows or so, and is known by two: of new rows of the same
    // kind far more are unknown than of the training rows.
    let text = "[[task]]\nname = \"click\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\nmin_count = 2\n";
    let schema = Schema::parse(text).unwrap();
    let learned = Features::learn(&schema, &log(400, 12_000, 4000, Fault::Nothing)).unwrap();
    let drift = learned.features().compare(&log(401, 6000, 4000, Fault::Nothing)).unwrap().unwrap();
    let unknown = drift.shifts.iter().find(|shift| shift.quantity.kind == Kind::Unknown).unwrap();
    assert!(unknown.training < 0.06 && unknown.found > 0.15 && !unknown.told, "{unknown:?}");
    assert!((unknown.expected - unknown.found).abs() < 0.03, "{unknown:?}");
    let others = learned.features().compare(&log(401, 6000, 8000, Fault::Nothing)).unwrap().unwrap();
    assert!(others.sentences("new.csv")[0].starts_with("field `user`: "), "{:#?}", others.sentences("new.csv"));
}

#[test]
fn what_was_saved_tells_the_same() {
    let schema = Schema::parse(SCHEMA).unwrap();
    let learned = Features::learn(&schema, &log(500, 3000, 500, Fault::Nothing)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    learned.features().save(directory.path()).unwrap();
    let new = log(501, 3000, 500, Fault::Unit);
    let found = told(learned.features(), &new);
    assert!(!found.is_empty());
    assert_eq!(found, told(&Features::load(directory.path()).unwrap(), &new));
    // Artifacts of before training rows were described say nothing.
    std::fs::remove_file(directory.path().join("profile.json")).unwrap();
    assert!(Features::load(directory.path()).unwrap().tally().is_none());
}
