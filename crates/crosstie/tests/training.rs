//! A small training from files to artifact, and what may go wrong with either.

// A test may panic, and to the lint the helpers here are no tests.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crosstie::artifact;
use crosstie::batch::Batch;
use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::data::synth::Synth;
use crosstie::feature::Features;
use crosstie::schema::Schema;
use crosstie::scorer::Scorer;
use crosstie::train::{Event, Fit, Next, Observer, Reason, Trained, Trainer, train};
use crosstie::{Error, Result};

fn synth(directory: &Path) {
    Synth { rows: 4000, scenarios: 3, ..Synth::default() }.write(directory).expect("synth writes");
}

fn config(directory: &Path, model: &str, settings: &[&str]) -> Config {
    let text = format!("[data]\ndir = {:?}\n[model]\nname = \"{model}\"\n", directory.display().to_string());
    let overrides: Vec<String> =
        ["train.epochs=2", "train.batch_size=500"].iter().chain(settings).map(|text| text.to_string()).collect();
    Config::parse(&text, &overrides).expect("the configuration is right")
}

fn run(config: &Config) -> Result<Trained> {
    run_watched(config, &mut |_| Next::GoOn)
}

fn run_watched(config: &Config, observer: &mut Observer<'_>) -> Result<Trained> {
    let schema = Schema::read(config.data.schema())?;
    let (training, valid) = (Source::open(&config.data.train)?, Source::open(&config.data.valid)?);
    train(config, &schema, &training, &valid, observer)
}

fn weights(scorer: &Scorer) -> Vec<u32> {
    scorer.learned().tensors().flat_map(|tensor| tensor.values).map(|weight| weight.to_bits()).collect()
}

#[test]
fn trained_weights_are_equal_to_the_bit_at_1_2_8_and_20_threads() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    for (model, extra) in [
        ("mmoe", "network.dropout=0.2"),
        ("single-task", "network.norm=batch"),
        ("ple", "optimizer.clip=0.1"),
        ("aem2tl", "network.norm=layer"),
        ("calibration", "train.mix.parent_rows=0.5"),
        ("esm2", "objective.space=path"),
        ("esmm", "network.gating={}"),
        ("ncs4cvr", "model.rounds=1"),
        ("mmoe", "network.products=bfloat16"),
    ] {
        let trained = |threads: usize| {
            let threads = format!("train.threads={threads}");
            let Trained { scorer, report, .. } = run(&config(directory.path(), model, &[&threads, extra])).unwrap();
            (weights(&scorer), scorer.calibration().cloned().expect("calibrated by default"), report)
        };
        let one = trained(1);
        assert!(
            [2, 8, 20].into_iter().all(|threads| one == trained(threads)),
            "{model} depends on the number of threads"
        );
    }
}

/// Room for what is read ahead was as large as the window.
#[test]
fn a_window_larger_than_any_log_asked_for_room_that_nobody_has() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let of_window = |rows: &str| {
        let window = format!("train.shuffle_rows={rows}");
        weights(&run(&config(directory.path(), "shared-bottom", &[&window])).unwrap().scorer)
    };
    assert!(of_window("1000000") == of_window("9000000000000000000"));
}

#[test]
fn products_of_bfloat16_numbers_learn_as_well() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let run_with = |products: &str| {
        let config = config(directory.path(), "mmoe", &[products]);
        let scorer = run(&config).unwrap().scorer;
        let valid = Source::open(&config.data.valid).unwrap();
        let report = scorer.evaluate(&valid).unwrap();
        // Loading compares golden rows with what they scored in training.
        let saved = directory.path().join(products);
        artifact::save(&scorer, &valid, &saved).unwrap();
        let loaded = artifact::load(&saved).unwrap();
        assert!(loaded.evaluate(&valid).unwrap() == report);
        (weights(&scorer), report.figure("click.auc").unwrap().unwrap())
    };
    let (whole, rounded) = (run_with("network.products=float32"), run_with("network.products=bfloat16"));
    assert!(whole.0 != rounded.0, "the setting has no effect");
    assert!((whole.1 - rounded.1).abs() < 0.01, "AUC of clicks: {} in float32, {} in bfloat16", whole.1, rounded.1);
}

/// The losses of a step, and the tasks' weights in it.
type Step = (Vec<f64>, Vec<f64>);

/// Trains and collects all steps.
fn balanced(config: &Config) -> (Scorer, Vec<Step>) {
    let mut seen = Vec::new();
    let mut observer = |event: &Event| {
        if let Event::Step { losses, weights, .. } = event {
            seen.push((losses.clone(), weights.clone()));
        }
        Next::GoOn
    };
    let trained = run_watched(config, &mut observer).expect("it trains");
    (trained.scorer, seen)
}

#[test]
fn every_way_of_balancing_learns_and_is_equal_to_the_bit_at_1_and_8_threads() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let mut without_effect = Vec::new();
    for (method, model, extra) in [
        ("uncertainty", "mmoe", "network.dropout=0.2"),
        // The first weights that are not 1 are those of the third epoch.
        ("dwa", "shared-bottom", "train.epochs=3"),
        ("gradnorm", "cgc", "network.norm=batch"),
        ("gradnorm", "esmm", "optimizer.clip=0.1"),
        ("pcgrad", "ple", "network.norm=batch"),
        ("pcgrad", "shared-bottom", "train.epochs=2"),
        ("pcgrad", "esmm", "optimizer.clip=0.1"),
    ] {
        let trained = |threads: usize, method: &str| {
            let settings = [format!("train.threads={threads}"), format!("balance.name={method}")];
            let settings = ["train.epochs=1", "train.monitor=auc", &settings[0], &settings[1], extra];
            let (scorer, seen) = balanced(&config(directory.path(), model, &settings));
            (weights(&scorer), seen)
        };
        let one = trained(1, method);
        assert!(one == trained(8, method), "{method} depends on the number of threads");
        if one.0 == trained(2, "fixed").0 {
            without_effect.push((method, model));
        }
        let used: Vec<&Vec<f64>> = one.1.iter().map(|(_, weights)| weights).collect();
        let (first, last) = (used[0], used[used.len() - 1]);
        assert!(first.iter().all(|weight| *weight == 1.0));
        assert_eq!(first != last, method != "pcgrad", "{method}: {last:?}");
        assert!(used.iter().copied().flatten().all(|weight| weight.is_finite() && *weight > 0.0), "{method}: {last:?}");
        if ["dwa", "gradnorm"].contains(&method) {
            assert!((last.iter().sum::<f64>() - last.len() as f64).abs() < 1e-5, "{method}: {last:?}");
        }
    }
    // Entire-space losses may well agree: at first all of them lower the click's probability.
    assert!(without_effect.iter().all(|found| *found == ("pcgrad", "esmm")), "{without_effect:?}");
}

/// A click on every eighth row, sometimes with a purchase; `like` has no label.
/// There is room for far more users than there are.
fn rare(directory: &Path) {
    let schema = r#"
        [[task]]
        name = "click"
        [[task]]
        name = "buy"
        after = "click"
        [[task]]
        name = "like"
        [[field]]
        name = "user"
        kind = "categorical"
        buckets = 500
        width = 4
    "#;
    fs::write(directory.join("schema.toml"), schema).unwrap();
    let row = |row: usize| {
        let (click, buy) = (u8::from(row.is_multiple_of(8)), u8::from(row.is_multiple_of(24)));
        format!("u{},{click},{buy},\n", row * 7 % 30)
    };
    let table = format!("user,click,buy,like\n{}", (0..120).map(row).collect::<String>());
    for name in ["train.csv", "valid.csv"] {
        fs::write(directory.join(name), &table).unwrap();
    }
}

#[test]
fn every_way_of_balancing_takes_batches_without_a_click_and_tasks_without_a_label() {
    let directory = tempfile::tempdir().unwrap();
    rare(directory.path());
    let [training, valid] = ["train", "valid"].map(|name| directory.path().join(name).display().to_string());
    let files = [format!("data.train=['{training}.csv']"), format!("data.valid=['{valid}.csv']")];
    for (method, size) in
        ["fixed", "uncertainty", "dwa", "gradnorm", "pcgrad"].into_iter().flat_map(|m| [(m, 1), (m, 5)])
    {
        let settings = [format!("balance.name={method}"), format!("train.batch_size={size}")];
        // Adam moves whatever it ever saw, and a penalty whatever it sees.
        let rows = ["optimizer.rows.name=adam", "optimizer.rows.l2=0.1", "train.epochs=3", "train.monitor=click.auc"];
        let settings: Vec<&str> = files.iter().chain(&settings).map(String::as_str).chain(rows).collect();
        for model in ["shared-bottom", "esmm"] {
            let what = format!("{method} with {model}, {size} rows a batch");
            let config = config(directory.path(), model, &settings);
            let (scorer, steps) = balanced(&config);
            assert!(steps.iter().flat_map(|(losses, weights)| losses.iter().chain(weights)).all(|x| x.is_finite()));
            assert!(steps.iter().all(|(losses, weights)| losses[2] == 0.0 && weights[2] == 1.0), "{what}");
            if model == "shared-bottom" {
                let without_click = steps.iter().filter(|(losses, _)| losses[1] == 0.0).count();
                assert!((1..steps.len()).contains(&without_click), "{what}: {without_click} of {}", steps.len());
                let keeps = |pair: &[Step]| pair[0].0[1] > 0.0 || pair[1].1[1] == pair[0].1[1];
                assert!(
                    method == "dwa" || steps.windows(2).all(keeps),
                    "{what}: a batch without a click moves a weight"
                );
            }
            // Only rows of users that the data have are ever touched.
            let features = scorer.features();
            let start = config.spec().start(features.schema(), features.layout()).unwrap();
            let changed = start.tables().all().iter().zip(scorer.learned().tables().all()).map(|(before, after)| {
                let rows = |weights| <[f32]>::chunks_exact(weights, before.width);
                rows(&before.weights).zip(rows(&after.weights)).filter(|(before, after)| before != after).count()
            });
            assert!((20..=30).contains(&changed.sum::<usize>()), "{what}");
        }
    }
}

#[test]
fn networks_that_share_nothing_have_no_conflicts() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let trained = |method| weights(&run(&config(directory.path(), "single-task", &[method])).unwrap().scorer);
    assert!(trained("balance.name=pcgrad") == trained("balance.name=fixed"));
    let said = run(&config(directory.path(), "single-task", &["balance.name=gradnorm"])).unwrap_err().to_string();
    assert!(said.contains("share nothing"), "{said}");
}

#[test]
fn a_cache_that_does_not_fit_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let trained = |cache: &str| weights(&run(&config(directory.path(), "esmm", &[cache])).unwrap().scorer);
    assert!(trained("train.cache_mib=0") == trained("train.cache_mib=100"));
}

#[test]
fn an_artifact_scores_as_the_model_did_and_any_damage_is_named() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let config = config(directory.path(), "cgc", &["network.norm=layer", "network.gating={}"]);
    let trained = run(&config).unwrap();
    let (test, path) = (Source::open(&config.data.test).unwrap(), directory.path().join("artifact"));
    artifact::save(&trained.scorer, &test, &path).unwrap();
    let loaded = artifact::load(&path).unwrap();
    assert_eq!(loaded.evaluate(&test).unwrap(), trained.scorer.evaluate(&test).unwrap());
    assert_eq!(weights(&loaded), weights(&trained.scorer));

    let names = || artifact::Manifest::read(&path.join("manifest.json")).unwrap().files.into_keys();
    assert!(names().count() > 8);
    for name in names() {
        let file = path.join(&name);
        let good = fs::read(&file).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 4;
        for bad in [flipped, good[..good.len() - 1].to_vec()] {
            fs::write(&file, bad).unwrap();
            let said = artifact::load(&path).unwrap_err().to_string();
            assert!(said.contains(file.file_name().unwrap().to_str().unwrap()), "{said}");
        }
        fs::remove_file(&file).unwrap();
        assert!(artifact::load(&path).unwrap_err().to_string().contains(file.file_name().unwrap().to_str().unwrap()));
        fs::write(&file, good).unwrap();
    }
    artifact::load(&path).unwrap();

    let manifest = path.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let (written, newer) = (artifact::FORMAT, artifact::FORMAT + 1);
    fs::write(&manifest, text.replacen(&format!("\"format\": {written}"), "\"format\": 1", 1)).unwrap();
    let said = artifact::load(&path).unwrap_err().to_string();
    assert!(said.contains("manifest.json") && said.contains("checksum"), "{said}");
    fs::write(&manifest, format!("{{ \"format\": {newer}, \"crosstie\": \"9.9\" }}")).unwrap();
    let said = artifact::load(&path).unwrap_err().to_string();
    assert!(said.contains("manifest.json") && said.contains("use a newer crosstie"), "{said}");
    fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    assert!(artifact::load(&path).unwrap_err().to_string().contains("damaged"));
}

#[test]
fn the_best_state_is_kept_not_the_last() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    // A learning rate far too high makes later epochs worse than the first.
    // Scenarios with maps of their own change the order between them.
    let settings = [
        "train.epochs=6",
        "train.patience=9",
        "train.monitor=click.auc",
        "optimizer.dense.learning_rate=0.05",
        "calibration.enabled=false",
    ];
    let config = config(directory.path(), "shared-bottom", &settings);
    let mut figures = Vec::new();
    let mut observer = |event: &Event| {
        if let Event::Evaluated { step, figure: Some(figure), .. } = event {
            figures.push((*step, *figure));
        }
        Next::GoOn
    };
    let trained = run_watched(&config, &mut observer).unwrap();
    let valid = Source::open(&config.data.valid).unwrap();
    let (step, best) = figures.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert!(step < trained.steps, "the test needs a best state before the last: {figures:?}");
    let again = trained.scorer.evaluate(&valid).unwrap();
    assert_eq!((trained.best_step, again.figure("click.auc").unwrap()), (step, Some(best)));
}

#[test]
fn asked_to_stop_it_ends_with_what_was_reached() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let config = config(directory.path(), "esmm", &["train.epochs=50"]);
    let mut observer =
        |event: &Event| if matches!(event, Event::Step { step: 3, .. }) { Next::Stop } else { Next::GoOn };
    let trained = run_watched(&config, &mut observer).unwrap();
    assert_eq!((trained.reason, trained.steps, trained.best_step), (Reason::Asked, 3, 3));
}

#[test]
fn asked_to_stop_while_evaluating_it_ends_with_the_best_before() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let config = config(directory.path(), "esmm", &["train.epochs=50", "train.eval_every=2"]);
    let mut evaluations = 0;
    let mut observer = |event: &Event| {
        evaluations += u32::from(matches!(event, Event::Evaluated { .. }));
        if evaluations == 1 && matches!(event, Event::Scored { .. }) { Next::Stop } else { Next::GoOn }
    };
    let trained = run_watched(&config, &mut observer).unwrap();
    assert_eq!((trained.reason, trained.steps, trained.best_step), (Reason::Asked, 4, 2));
}

#[test]
fn asked_to_stop_before_the_first_step_it_leaves_no_model() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    for (model, stop) in [
        ("esmm", (|event| matches!(event, Event::Learning { .. })) as fn(&Event) -> bool),
        ("ncs4cvr", |event| matches!(event, Event::Trial { .. })),
        ("ncs4cvr", |event| matches!(event, Event::Tried { .. })),
    ] {
        let config = config(directory.path(), model, &[]);
        let mut observer = |event: &Event| if stop(event) { Next::Stop } else { Next::GoOn };
        assert!(matches!(run_watched(&config, &mut observer), Err(Error::Stopped(_))), "{model}");
    }
}

#[test]
fn a_monitored_figure_that_is_never_defined_keeps_the_latest_weights_not_the_first() {
    let directory = tempfile::tempdir().unwrap();
    rare(directory.path());
    let [training, valid] = ["train", "valid"].map(|name| directory.path().join(name).display().to_string());
    let files = [format!("data.train=['{training}.csv']"), format!("data.valid=['{valid}.csv']")];
    let settings = ["train.monitor=like.auc", "train.epochs=7", "train.patience=1"];
    let settings: Vec<&str> = files.iter().map(String::as_str).chain(settings).collect();
    let trained = run(&config(directory.path(), "shared-bottom", &settings)).unwrap();
    assert_eq!((trained.reason, trained.best_step), (Reason::Epochs, trained.steps));
}

#[test]
fn a_training_copies_no_features() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let config = config(directory.path(), "esmm", &["train.epochs=1"]);
    let schema = Schema::read(config.data.schema()).unwrap();
    let [training, valid] = [&config.data.train, &config.data.valid].map(|files| Source::open(files).unwrap());
    let features = Features::learn(&schema, &training).unwrap();
    let fit = Fit::new(&config, &features, &training, &valid).unwrap();
    let scorer = fit.run(&mut |_| Next::GoOn).unwrap().scorer;
    assert!(Arc::ptr_eq(scorer.features(), features.features()));
}

#[test]
fn settings_that_do_not_fit_are_refused_before_the_data_are_read() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    // Not a single row can be read from it.
    fs::write(directory.path().join("broken.csv"), "user_id,item_id\n\"").unwrap();
    let broken = format!("data.train=['{}']", directory.path().join("broken.csv").display());
    for (model, setting, says) in [
        ("mmoe", "model.experts=0", "model.experts"),
        ("single-task", "balance.name=gradnorm", "share nothing"),
        ("mmoe", "train.monitor=clik.auc", "did you mean `click`?"),
        ("mmoe", "train.monitor=foo", "train.monitor: figure `foo`"),
        ("esmm", "train.mix.parent_rows=1", "train.mix"),
    ] {
        let said = run(&config(directory.path(), model, &[setting, &broken])).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn an_epoch_of_parent_rows_is_as_long_as_they_are_many() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let steps = |settings: &[&str]| {
        let mut rows = Vec::new();
        let mut observer = |event: &Event| {
            if let Event::Step { rows: of_batch, .. } = event {
                rows.push(*of_batch);
            }
            Next::GoOn
        };
        let config = config(directory.path(), "calibration", &[settings, &["train.epochs=1"]].concat());
        run_watched(&config, &mut observer).unwrap();
        rows
    };
    let impressions: usize = steps(&[]).iter().sum();
    let mixed = |once: &str| steps(&["train.mix.parent_rows=1", &format!("train.mix.once={once}")]);
    assert_eq!(mixed("impressions").iter().sum::<usize>(), 2 * impressions);
    let of_parents = mixed("parent-rows");
    let clicks: usize = of_parents.iter().sum::<usize>() / 2;
    assert!(clicks > 100 && clicks < impressions / 2, "{clicks} of {impressions}");
    assert!(of_parents.iter().all(|rows| *rows <= 500 && rows.is_multiple_of(2)), "{of_parents:?}");
    let most = of_parents.iter().max().unwrap() - of_parents.iter().min().unwrap();
    assert!(most <= 2, "batches of about one size: {of_parents:?}");
}

#[test]
fn tasks_that_take_turns_learn_from_mixed_batches_and_tasks_at_once_from_any_balance() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    for settings in [
        ["train.mix.parent_rows=0.5", "model.alternate=true", "model.rounds=1"],
        ["balance.name=pcgrad", "model.alternate=false", "model.rounds=0"],
    ] {
        let config = config(directory.path(), "ncs4cvr", &settings);
        let mut losses = Vec::new();
        let mut observer = |event: &Event| {
            if let Event::Step { losses: of_tasks, rows, .. } = event {
                losses.push(of_tasks.iter().sum::<f64>() / *rows as f64);
            }
            Next::GoOn
        };
        run_watched(&config, &mut observer).unwrap();
        let last = losses[losses.len() - 4..].iter().sum::<f64>() / 4.0;
        assert!(last < losses[0], "{settings:?}: {losses:?}");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_with_the_place() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let config = config(directory.path(), "mmoe", &["optimizer.dense.name=sgd", "optimizer.dense.learning_rate=1e12"]);
    let said = run(&config).unwrap_err().to_string();
    assert!(said.starts_with("step ") && said.contains("is not finite") && said.contains("task `"), "{said}");
}

#[test]
fn ektm_shows_how_alike_conversions_are_and_how_often_the_transfer_helps() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let representations = ["model.transfer=representations", "model.enhanced.loss=guard", "train.epochs=1"];
    let config = config(directory.path(), "ektm", &representations);
    let scorer = run(&config).unwrap().scorer;
    let test = Source::open(&config.data.test).unwrap();
    let found = crosstie::report::gather(&scorer, &test, "the test files", crosstie::report::Settings::FIGURES);
    let diagnosis = found.unwrap().diagnosis;
    let tasks = &diagnosis["enhanced beats original"];
    assert!(tasks.len() > 1 && !tasks.contains_key("click"), "{tasks:?}");
    for (task, share) in tasks {
        assert!(share.is_some_and(|share| (0.0..=1.0).contains(&share)), "{tasks:?}");
        let row = &diagnosis[&format!("similarity {task}")];
        let sum: f64 = row.values().copied().map(|mean| mean.unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{row:?}");
        assert!(row.values().all(|mean| *mean <= row[task]), "{task} is most alike to itself: {row:?}");
    }
    assert_eq!(diagnosis.len(), tasks.len() + 1);
}

/// A trainer, and batches for it.
fn trainer(directory: &Path, model: &str, settings: &[&str]) -> (Trainer, Vec<Batch>) {
    let config = config(directory, model, settings);
    let source = Source::open(&config.data.train).unwrap();
    let features = Features::learn(&Schema::read(config.data.schema()).unwrap(), &source).unwrap();
    let batches = source.rows(&features.columns(), 400).map(|rows| features.encode(&rows.unwrap()).unwrap()).collect();
    let features = features.features();
    (Trainer::new(&config, features.schema(), features.layout()).unwrap(), batches)
}

#[test]
fn ektms_original_heads_are_single_task_training_to_the_bit() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let tensors = |model: &str, wanted: &str| -> BTreeMap<String, Vec<u32>> {
        let (mut trainer, batches) = trainer(directory.path(), model, &[wanted]);
        batches.iter().for_each(|batch| drop(trainer.step(1, batch).unwrap()));
        let learned = trainer.into_learned();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
        learned.tensors().map(|tensor| (tensor.name.to_string(), bits(tensor.values))).collect()
    };
    for average in ["train.average=true", "train.average=false"] {
        let (alone, ektm) = (tensors("single-task", average), tensors("ektm", average));
        assert!(ektm.len() > alone.len());
        for (name, values) in &alone {
            assert!(ektm[name] == *values, "{name} with {average}");
        }
    }
}

#[test]
fn what_is_kept_is_of_steps_that_were_evaluated_and_of_one_where_tasks_learn_together() {
    let directory = tempfile::tempdir().unwrap();
    // Of few positives a task goes with the others.
    Synth { rows: 20_000, ..Synth::default() }.write(directory.path()).unwrap();
    let kept = |model: &str, settings: &[&str]| {
        let (mut steps, mut seen) = (Vec::new(), Vec::new());
        let config = config(directory.path(), model, &[&["train.epochs=3", "train.eval_every=8"], settings].concat());
        run_watched(&config, &mut |event| {
            match event {
                Event::Evaluated { step, .. } => seen.push(*step),
                Event::Stopped { kept, best_step, .. } => {
                    assert_eq!(kept.iter().max(), Some(best_step));
                    steps.clone_from(kept);
                }
                _ => {}
            }
            Next::GoOn
        })
        .unwrap();
        assert!(steps.iter().all(|step| seen.contains(step)), "{model}: {steps:?} of {seen:?}");
        steps.into_iter().collect::<BTreeSet<u64>>().len()
    };
    assert_eq!((kept("mmoe", &["model.expert_units=[16]"]), kept("esmm", &["model.units=[16]"])), (1, 1));
    assert_eq!(
        kept("single-task", &["model.units=[16]", "objective.space=product"]),
        1,
        "a loss on products joins the tasks"
    );
    assert_eq!(
        kept("single-task", &["model.units=[16]", "train.monitor=click.auc"]),
        1,
        "who follows one task has its moment"
    );
}

#[test]
fn what_is_kept_is_the_average_of_the_weights() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let learned = |average: &str, steps: usize| {
        let (mut trainer, batches) = trainer(directory.path(), "mmoe", &[average]);
        batches.iter().take(steps).for_each(|batch| drop(trainer.step(1, batch).unwrap()));
        let learned = trainer.into_learned();
        learned.tensors().flat_map(|tensor| tensor.values.to_vec()).collect::<Vec<f32>>()
    };
    let ways: Vec<Vec<f32>> = (1..=4).map(|steps| learned("train.average=false", steps)).collect();
    let average = learned("train.average=true", 4);
    // β_t = (t - 1) / (t + 8), so the first step leaves nothing of the start.
    let mut expected = ways[0].clone();
    for (step, way) in ways.iter().enumerate().skip(1) {
        let rest = step as f32 / (step as f32 + 9.0);
        expected.iter_mut().zip(way).for_each(|(mean, weight)| *mean += (1.0 - rest) * (weight - *mean));
    }
    // Rows that no step has seen stand still, and no average moves them.
    for (found, expected) in average.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn what_scores_goes_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Scorer>();
    check::<crosstie::feature::Features>();
    check::<crosstie::Error>();
}
