//! What is gathered of rows, against other ways to the same numbers.

use std::sync::Arc;

use crosstie::arrow::array::{ArrayRef, Int8Array, RecordBatch, StringArray};
use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::metric::{Meaning, Report};
use crosstie::model::ModelConfig;
use crosstie::random::Stream;
use crosstie::report::{Findings, Gathered, Settings, gather};
use crosstie::schema::Schema;
use crosstie::scorer::Scorer;
use crosstie::train::{Next, train};

const SCHEMA: &str = r#"
    scenario = "tab"
    scenario_min_rows = 20
    [[task]]
    name = "click"
    [[task]]
    name = "buy"
    after = "click"
    [[field]]
    name = "item"
    kind = "categorical"
    rates = false
    [[field]]
    name = "noise"
    kind = "categorical"
    rates = false
"#;

/// Rows whose clicks and purchases hang on the item, and in no way on the noise.
fn source(seed: u64, rows: u64, pieces: usize) -> Source {
    let stream = Stream::new(seed, "log");
    let item = |row: u64| stream.below(4 * row, 4);
    let click = |row: u64| stream.uniform(4 * row + 1) < 0.2 + 0.2 * item(row) as f64;
    let buy = |row: u64| click(row) && stream.uniform(4 * row + 2) < 0.15 + 0.2 * item(row) as f64;
    let column = |of: &dyn Fn(u64) -> String| Arc::new(StringArray::from_iter_values((0..rows).map(of))) as ArrayRef;
    let label =
        |of: &dyn Fn(u64) -> bool| Arc::new(Int8Array::from_iter_values((0..rows).map(|row| i8::from(of(row)))));
    let columns: [(&str, ArrayRef); 5] = [
        ("item", column(&|row| format!("i{}", item(row)))),
        ("noise", column(&|row| format!("n{}", stream.below(4 * row + 3, 3)))),
        ("tab", column(&|row| ["home", "video"][usize::from(row % 3 == 0)].into())),
        ("click", label(&click)),
        ("buy", label(&buy)),
    ];
    let all = RecordBatch::try_from_iter(columns).unwrap();
    let length = (rows as usize).div_ceil(pieces);
    let pieces = (0..pieces).map(|piece| all.slice(piece * length, length.min(rows as usize - piece * length)));
    Source::from_batches("log", pieces.collect()).unwrap()
}

fn trained(model: &str) -> (Config, Scorer) {
    let mut config = Config::new(ModelConfig::named(model).unwrap());
    config.train.epochs = 3;
    let schema = Schema::parse(SCHEMA).unwrap();
    let trained = train(&config, &schema, &source(1, 3000, 1), &source(2, 1000, 1), &mut |_| Next::GoOn).unwrap();
    (config, trained.scorer)
}

fn all_of(scorer: &Scorer, rows: u64, settings: Settings) -> Gathered {
    gather(scorer, &source(3, rows, 3), "the test files", settings).unwrap()
}

#[test]
fn one_reading_finds_what_two_would() {
    for model in ["mmoe", "ektm"] {
        let (_, scorer) = trained(model);
        let found = all_of(&scorer, 900, Settings::default());
        let (report, drift) = scorer.evaluate_and_compare(&source(3, 900, 1)).unwrap();
        assert_eq!(found.report, report, "{model}");
        assert_eq!(found.drift, drift, "{model}");
        let plain = all_of(&scorer, 900, Settings::FIGURES);
        assert_eq!((plain.report, plain.diagnosis.clone()), (report, found.diagnosis.clone()), "{model}");
        assert!(
            plain.seen.importance.is_none() && plain.seen.tasks.values().all(|task| task.from_impression.is_none())
        );
    }
}

#[test]
fn curves_are_of_rows_by_lot_and_the_same_at_every_reading() {
    let (_, scorer) = trained("shared-bottom");
    let settings = Settings { drawn: 400, handed_around: 50 };
    let found = all_of(&scorer, 5000, settings);
    assert_eq!((found.seen.drawn, found.seen.rows), (400, 5000));
    let click = found.seen.tasks["click"].from_impression.as_ref().unwrap();
    assert_eq!(click.curves.rows, 400);
    assert!(found.seen.tasks["click"].given_parent.is_none(), "it has no parent");
    let buy = found.seen.tasks["buy"].given_parent.as_ref().unwrap();
    assert_eq!(buy.curves.rows, click.curves.positives, "a purchase is asked where there was a click");
    let again = gather(&scorer, &source(3, 5000, 7), "the test files", settings).unwrap();
    assert_eq!(found.seen, again.seen, "however the rows are cut");

    // Where all are drawn, the mean prediction and label are those of the figures.
    let whole = all_of(&scorer, 900, Settings::default());
    let Report { tasks, .. } = &whole.report;
    let bins = &whole.seen.tasks["buy"].from_impression.as_ref().unwrap().curves.reliability;
    let sum = |of: fn(&crosstie::metric::Bin) -> f64| bins.iter().map(|bin| bin.rows as f64 * of(bin)).sum::<f64>();
    let figures = tasks["buy"].from_impression;
    assert!((sum(|bin| bin.happened) - figures.positives as f64).abs() < 1e-6);
    assert!((sum(|bin| bin.predicted) / sum(|bin| bin.happened) - figures.pcoc.unwrap()).abs() < 1e-5);
}

#[test]
fn gates_by_scenario_come_to_those_over_all() {
    let (config, scorer) = trained("mmoe");
    let found = all_of(&scorer, 900, Settings::default());
    let findings = Findings::new("run", &scorer, &config, found.report.clone(), &found.diagnosis, "test files");
    let [gates] = &findings.inside[..] else { panic!("{:?}", findings.inside) };
    assert_eq!((gates.kind.as_str(), gates.columns.len(), gates.rows.len()), ("gate", 6, 2));
    assert_eq!(gates.rows[0].0, "click");
    for (row, (name, means)) in gates.rows.iter().enumerate() {
        let sum: f64 = means.iter().map(|mean| mean.unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{name}: the weights of a gate come to 1: {sum}");
        for (expert, mean) in means.iter().enumerate() {
            let part = |(scenario, matrices): (&String, &Vec<crosstie::report::Matrix>)| {
                found.report.scenarios[scenario].rows as f64 * matrices[0].rows[row].1[expert].unwrap()
            };
            let parts: f64 = found.seen.inside_by_scenario.iter().map(part).sum();
            assert!((parts / 900.0 - mean.unwrap()).abs() < 1e-9);
        }
    }
    assert_eq!(found.seen.inside_by_scenario.len(), 2);
}

#[test]
fn handing_a_field_around_costs_what_strangers_values_cost() {
    let (_, scorer) = trained("shared-bottom");
    let settings = Settings { drawn: 100, handed_around: 4000 };
    let importance = all_of(&scorer, 4000, settings).seen.importance.unwrap();
    assert_eq!(importance.meanings, [Meaning::FromImpression, Meaning::GivenParent]);
    let names: Vec<&str> = importance.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["item", "noise", "tab"]);
    let effect = |field: usize, task: usize| importance.fields[field].tasks[task].unwrap();
    for task in [0, 1] {
        let (item, noise) = (effect(0, task), effect(1, task));
        assert!(item.change > 8.0 * item.error, "{task}: {item:?}");
        assert!(noise.change.abs() < 0.1 * item.change, "{task}: {noise:?}");
    }

    // Every row with the item of every other row: the mean over all pairs, which a
    // permutation draws from. The row's own labels stay.
    let rows = source(3, 4000, 1).rows(&scorer.features().columns(crosstie::feature::Purpose::Evaluation), 4000);
    let rows: Vec<_> = rows.map(|rows| rows.unwrap()).collect();
    let batch = scorer.features().encode(&rows[0], crosstie::feature::Purpose::Evaluation).unwrap();
    let loss = |shift: usize| -> f64 {
        let order: Vec<usize> = (0..batch.rows).map(|row| (row + shift) % batch.rows).collect();
        let mut handed = batch.clone();
        let crosstie::batch::Ids::One(ids) = &batch.ids[0] else { panic!("one item per row") };
        handed.ids[0] = crosstie::batch::Ids::One(order.iter().map(|row| ids[*row]).collect());
        let scores = scorer.score(&mut scorer.workspace(4096), &handed).unwrap();
        let click = batch.labels.iter().step_by(2).zip(scores.from_impression(0));
        click.map(|(label, p)| if *label == 1.0 { -p.ln() } else { -(1.0 - p).ln() }).sum::<f64>() / batch.rows as f64
    };
    let whole = loss(0);
    assert!((importance.logloss[0].unwrap() - whole).abs() < 1e-6);
    let shifts = [7, 101, 503, 1009, 1511, 2003, 2503, 3001];
    let expected = shifts.map(|shift| loss(shift) - whole).iter().sum::<f64>() / shifts.len() as f64;
    let found = effect(0, 0);
    assert!((found.change - expected).abs() < 4.0 * found.error, "{found:?}, expected {expected}");
}

#[test]
fn what_is_found_is_kept_as_json() {
    let (config, scorer) = trained("mmoe");
    let found = all_of(&scorer, 900, Settings::default());
    let mut findings = Findings::new("run", &scorer, &config, found.report, &found.diagnosis, "test files");
    findings.seen = Some(found.seen);
    assert_eq!(findings.settings.len(), 1, "{:?}", findings.settings);
    assert_eq!(findings.settings[0].key, "train.epochs");
    let told = findings.tasks.iter().find(|task| task.name == "buy").unwrap();
    assert!(told.given_parent.unwrap() > told.from_impression.unwrap());
    let text = serde_json::to_string(&findings).unwrap();
    let again: Findings = serde_json::from_str(&text).unwrap();
    assert_eq!(again, findings);
    assert_eq!(again.page(), findings.page());
}
