//! A training that was interrupted and goes on ends with the bits of one that
//! never was.

// A test may panic, and to the lint the helpers here are no tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::data::synth::Synth;
use crosstie::model::MODELS;
use crosstie::schema::Schema;
use crosstie::train::{Checkpoint, Checkpoints, Event, Next, Observer, Reason, Trained, train_from};
use crosstie::{Error, Result};
use proptest::prelude::*;

/// Rows whose batches, windows and blocks all end at different places.
fn synth(directory: &Path) {
    Synth { rows: 1300, scenarios: 3, ..Synth::default() }.write(directory).expect("synth writes");
}

fn config(directory: &Path, model: &str, settings: &[&str]) -> Config {
    let text = format!("[data]\ndir = {:?}\n[model]\nname = \"{model}\"\n", directory.display().to_string());
    let fixed = ["train.epochs=3", "train.batch_size=90", "train.shuffle_rows=200", "train.eval_every=4"];
    let overrides: Vec<String> = fixed.iter().chain(settings).map(|text| text.to_string()).collect();
    Config::parse(&text, &overrides).expect("the configuration is right")
}

fn run(config: &Config, checkpoints: Checkpoints, observer: &mut Observer<'_>) -> Result<Trained> {
    let schema = Schema::read(config.data.schema())?;
    let (training, valid) = (Source::open(&config.data.train)?, Source::open(&config.data.valid)?);
    train_from(config, &schema, &training, &valid, checkpoints, observer)
}

/// What a training leaves and tells, to the bit.
#[derive(Debug, Default, PartialEq)]
struct Story {
    weights: Vec<u32>,
    told: Vec<String>,
    best_step: u64,
    steps: u64,
}

fn told(event: &Event, into: &mut Vec<String>) {
    if matches!(event, Event::Evaluated { .. } | Event::Tried { .. }) {
        // A figure's shortest decimals tell all its bits.
        into.push(format!("{event:?}"));
    }
}

fn story(trained: &Trained, told: Vec<String>) -> Story {
    let tensors = trained.scorer.learned().tensors().flat_map(|tensor| tensor.values);
    let weights = tensors.map(|weight| weight.to_bits()).collect();
    Story { weights, told, best_step: trained.best_step, steps: trained.steps }
}

fn uninterrupted(config: &Config) -> Story {
    let mut seen = Vec::new();
    let trained = run(config, Checkpoints::default(), &mut |event| {
        told(event, &mut seen);
        Next::GoOn
    });
    story(&trained.unwrap(), seen)
}

/// Batches of a whole training, those of masks that are tried among them.
fn batches(config: &Config) -> usize {
    let mut count = 0;
    run(config, Checkpoints::default(), &mut |event| {
        count += usize::from(matches!(event, Event::Step { .. } | Event::Trial { .. }));
        Next::GoOn
    })
    .unwrap();
    count
}

/// How a training is interrupted.
#[derive(Clone, Copy, Debug)]
enum How {
    /// It is asked to stop after so many batches.
    Stopped(usize),
    /// It writes a checkpoint after so many batches, and is dead some time later.
    Killed(usize),
}

/// Trains up to an interruption, and goes on from the checkpoint.
fn interrupted(first: &Config, second: &Config, how: How) -> Story {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("checkpoint");
    let mut count = 0;
    let mut before = Vec::new();
    let mut observer = |event: &Event| {
        told(event, &mut before);
        if !matches!(event, Event::Step { .. } | Event::Trial { .. }) {
            return Next::GoOn;
        }
        count += 1;
        match how {
            How::Stopped(at) if count == at => Next::Stop,
            How::Killed(at) if count == at => Next::Checkpoint,
            _ => Next::GoOn,
        }
    };
    let kept = Checkpoints { directory: Some(directory.clone()), resume: None };
    match run(first, kept, &mut observer) {
        Ok(_) | Err(Error::Stopped(_)) => {}
        Err(error) => panic!("{error}"),
    }
    if let How::Killed(_) = how {
        // What came after the first checkpoint never was.
        newest_of(&directory).iter().skip(1).for_each(|path| fs::remove_dir_all(path).unwrap());
    }
    let (checkpoint, damaged) = Checkpoint::newest(&directory).unwrap();
    let checkpoint = checkpoint.expect("one was written");
    assert!(damaged.is_empty());
    let told_before = (checkpoint.evaluations() + checkpoint.tried()) as usize;
    before.truncate(told_before);
    let resumed = Checkpoints { directory: Some(directory), resume: Some(checkpoint) };
    let trained = run(second, resumed, &mut |event| {
        told(event, &mut before);
        Next::GoOn
    });
    story(&trained.unwrap(), before)
}

/// Checkpoints, oldest first.
fn newest_of(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn assert_equal(what: &str, found: &Story, expected: &Story) {
    assert_eq!((found.best_step, found.steps), (expected.best_step, expected.steps), "{what}");
    assert_eq!(found.told, expected.told, "{what}");
    assert!(found.weights == expected.weights, "{what}: other weights");
}

#[test]
fn every_model_goes_on_as_if_it_had_never_stopped() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    for (place, about) in MODELS.iter().enumerate() {
        let settings = ["network.norm=batch", "optimizer.rows.name=adam", "train.threads=1"];
        let first = config(directory.path(), about.name, &settings);
        let second = config(directory.path(), about.name, &[settings[0], settings[1], "train.threads=2"]);
        let expected = uninterrupted(&first);
        let (all, at) = (batches(&first), 3 + 5 * place);
        for how in [How::Stopped(1 + at % all), How::Killed(1 + (at + all / 2) % all)] {
            assert_equal(&format!("{}, {how:?} of {all}", about.name), &interrupted(&first, &second, how), &expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_balance_mix_cache_and_thread_count_goes_on_wherever_it_was_interrupted(
        (model, balance) in prop_oneof![
            (prop::sample::select(vec!["mmoe", "ple", "aem2tl", "esmm"]),
             prop::sample::select(vec!["fixed", "uncertainty", "dwa", "gradnorm", "pcgrad", "adatask", "multibalance"])),
            Just(("ncs4cvr", "fixed")),
        ],
        mix in any::<bool>(),
        caches in any::<[bool; 2]>(),
        threads in prop::array::uniform2(1usize..3),
        csv in any::<bool>(),
        every in prop::sample::select(vec![0, 3, 7]),
        killed in any::<bool>(),
        at in 0.0f64..1.0,
    ) {
        let directory = tempfile::tempdir().unwrap();
        synth(directory.path());
        let mut settings = vec![format!("balance.name={balance}"), format!("train.eval_every={every}"), "train.patience=2".into()];
        // An entire-space objective has nothing to ask of a drawn row.
        if mix && !["esmm", "aem2tl"].contains(&model) {
            settings.push("train.mix.parent_rows=0.5".into());
            settings.push(format!("train.mix.once={}", if csv { "parent-rows" } else { "impressions" }));
        }
        if model == "ncs4cvr" {
            settings.extend(["model.rounds=1".into(), format!("model.alternate={}", threads[0] == 1)]);
        }
        if csv {
            // One block per file, and a training that reads it again piece by piece.
            let files: Vec<String> = ["train", "valid"].iter().map(|name| to_csv(directory.path(), name)).collect();
            settings.extend([format!("data.train=['{}']", files[0]), format!("data.valid=['{}']", files[1])]);
        }
        let with = |place: usize| {
            let mut settings = settings.clone();
            settings.push(format!("train.cache_mib={}", if caches[place] { 100 } else { 0 }));
            settings.push(format!("train.threads={}", threads[place]));
            config(directory.path(), model, &settings.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let (first, second) = (with(0), with(1));
        let expected = uninterrupted(&first);
        let batch = 1 + (at * batches(&first) as f64) as usize;
        let how = if killed { How::Killed(batch) } else { How::Stopped(batch) };
        assert_equal(&format!("{model}, {balance}, {how:?}"), &interrupted(&first, &second, how), &expected);
    }
}

#[test]
fn what_balancing_remembers_of_every_task_is_in_a_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    for (model, settings) in [
        // AITM has a term beside the tasks' losses, which has memories of its own.
        ("aitm", ["balance.name=adatask", "optimizer.rows.name=adam", "objective.weights=auto"]),
        ("mmoe", ["balance.name=multibalance", "balance.every=2", "objective.weights=auto"]),
    ] {
        let config = config(directory.path(), model, &settings);
        let expected = uninterrupted(&config);
        for how in [How::Stopped(7), How::Killed(13)] {
            assert_equal(&format!("{model}, {how:?}"), &interrupted(&config, &config, how), &expected);
        }
    }
}

/// The rows of a Parquet file as CSV.
fn to_csv(directory: &Path, name: &str) -> String {
    let source = Source::open(&[directory.join(format!("{name}.parquet")).to_str().unwrap()]).unwrap();
    let path = directory.join(format!("{name}.csv"));
    let columns: Vec<&str> = source.columns().iter().map(String::as_str).collect();
    let mut writer = None;
    for rows in source.rows(&columns, 500) {
        let batch = rows.unwrap().batch;
        writer
            .get_or_insert_with(|| crosstie::data::Writer::create(&path, batch.schema()).unwrap())
            .write(&batch)
            .unwrap();
    }
    writer.unwrap().finish().unwrap();
    path.display().to_string()
}

#[test]
fn a_finished_training_goes_on_to_more_epochs_as_if_it_had_been_asked_for_them() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    // The last evaluation of three epochs is not one of six: 15 batches are not a multiple of 4.
    let settings = ["train.patience=99"];
    let three = config(directory.path(), "mmoe", &settings);
    let six = config(directory.path(), "mmoe", &[settings[0], "train.epochs=6"]);
    let (whole, found) = (uninterrupted(&six), interrupted(&three, &six, How::Stopped(usize::MAX)));
    assert_equal("three epochs and three more", &found, &whole);
    assert!(found.steps > uninterrupted(&three).steps);
}

#[test]
fn a_training_that_ran_out_of_patience_goes_on_with_more() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let with = |patience: &str| {
        let settings = ["train.epochs=9", "optimizer.dense.learning_rate=0.05", patience];
        config(directory.path(), "shared-bottom", &settings)
    };
    let (short, long) = (with("train.patience=1"), with("train.patience=4"));
    let mut reason = None;
    run(&short, Checkpoints::default(), &mut |event| {
        if let Event::Stopped { reason: found, .. } = event {
            reason = Some(*found);
        }
        Next::GoOn
    })
    .unwrap();
    assert_eq!(reason, Some(Reason::Patience), "the test needs a training that runs out of it");
    assert_equal("patience", &interrupted(&short, &long, How::Stopped(usize::MAX)), &uninterrupted(&long));
}

/// A checkpoint of a small training.
fn checkpoint(directory: &Path, config: &Config) -> Checkpoint {
    let checkpoints = directory.join("checkpoint");
    let kept = Checkpoints { directory: Some(checkpoints.clone()), resume: None };
    let stop = |event: &Event| if matches!(event, Event::Step { step: 20, .. }) { Next::Stop } else { Next::GoOn };
    run(config, kept, &mut { stop }).unwrap();
    Checkpoint::newest(&checkpoints).unwrap().0.unwrap()
}

#[test]
fn other_settings_another_schema_and_other_data_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let first = config(directory.path(), "mmoe", &[]);
    let refused = |second: &Config| {
        let resume = Some(checkpoint(directory.path(), &first));
        let resumed = Checkpoints { directory: None, resume };
        let trained = run(second, resumed, &mut |_| Next::GoOn);
        trained.expect_err("it should be refused").to_string()
    };
    for (setting, says) in [
        ("train.batch_size=91", "train.batch_size is 91, was 90"),
        ("train.seed=9", "train.seed is 9, was 1"),
        ("model.experts=5", "model.experts is 5"),
        ("train.mix.parent_rows=0.5", "train.mix.parent_rows is 0.5, was not set"),
        ("train.monitor=click.auc", "train.monitor"),
        ("train.epochs=1", "is in epoch 2 already"),
    ] {
        let said = refused(&config(directory.path(), "mmoe", &[setting]));
        assert!(said.contains(says), "{said}");
    }
    let schema = directory.path().join("schema.toml");
    let text = fs::read_to_string(&schema).unwrap();
    fs::write(&schema, text.replacen("width = 8", "width = 9", 1).replacen("width = 16", "width = 17", 1)).unwrap();
    let said = refused_by_schema(directory.path(), &first, &text);
    assert!(said.contains("the schema is another"), "{said}");
    fs::write(&schema, text).unwrap();

    let resume = checkpoint(directory.path(), &first);
    let valid = directory.path().join("valid.parquet");
    fs::copy(directory.path().join("test.parquet"), &valid).unwrap();
    let resumed = Checkpoints { directory: None, resume: Some(resume) };
    let said = run(&first, resumed, &mut |_| Next::GoOn).unwrap_err().to_string();
    assert!(said.contains("valid.parquet has changed") && !said.contains("train.parquet"), "{said}");
}

/// What is said of a schema that has changed since the checkpoint.
fn refused_by_schema(directory: &Path, config: &Config, before: &str) -> String {
    let (schema, changed) = (directory.join("schema.toml"), fs::read_to_string(directory.join("schema.toml")).unwrap());
    assert_ne!(changed, before, "the test needs a schema with a width");
    fs::write(&schema, before).unwrap();
    let resume = checkpoint(directory, config);
    fs::write(&schema, changed).unwrap();
    let resumed = Checkpoints { directory: None, resume: Some(resume) };
    run(config, resumed, &mut |_| Next::GoOn).unwrap_err().to_string()
}

#[test]
fn data_that_lie_elsewhere_but_are_the_same_are_gone_on_with() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    synth(directory.path());
    let first = config(directory.path(), "esmm", &[]);
    let expected = uninterrupted(&first);
    for name in ["schema.toml", "train.parquet", "valid.parquet", "test.parquet"] {
        fs::copy(directory.path().join(name), elsewhere.path().join(name)).unwrap();
    }
    let second = config(elsewhere.path(), "esmm", &[]);
    assert_equal("elsewhere", &interrupted(&first, &second, How::Killed(9)), &expected);
}

#[test]
fn a_byte_flipped_or_missing_at_any_offset_of_a_checkpoint_is_refused_in_favour_of_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let (schema, table) =
        ("[[task]]\nname = \"click\"\n[[field]]\nname = \"x\"\nkind = \"numeric\"\n", |rows: usize| {
            (0..rows).map(|row| format!("{},{}\n", row % 7, row % 2)).collect::<String>()
        });
    fs::write(directory.path().join("schema.toml"), schema).unwrap();
    for name in ["train", "valid"] {
        fs::write(directory.path().join(format!("{name}.csv")), format!("x,click\n{}", table(30))).unwrap();
    }
    let text = format!(
        "[data]\nschema = {0:?}\ntrain = [{1:?}]\nvalid = [{2:?}]\n[model]\nname = \"shared-bottom\"\nbottom_units = [2]\n\
         tower_units = []\n[train]\nbatch_size = 7\nepochs = 4\n",
        directory.path().join("schema.toml"),
        directory.path().join("train.csv"),
        directory.path().join("valid.csv"),
    );
    let config = Config::parse(&text, &[]).unwrap();
    let checkpoints = directory.path().join("checkpoint");
    let kept = Checkpoints { directory: Some(checkpoints.clone()), resume: None };
    run(&config, kept, &mut |event| match event {
        Event::Step { step, .. } if step.is_multiple_of(3) => Next::Checkpoint,
        _ => Next::GoOn,
    })
    .unwrap();
    let [old, new] = &newest_of(&checkpoints)[..] else { panic!("two are kept") };
    for name in ["checkpoint.json", "numbers.safetensors"] {
        let file = new.join(name);
        let good = fs::read(&file).unwrap();
        let refused = |bad: &[u8], what: &str| {
            fs::write(&file, bad).unwrap();
            let said = Checkpoint::open(new).expect_err(what).to_string();
            assert!(said.contains(name), "{what}: {said}");
        };
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1 << (place % 8);
            refused(&bad, &format!("byte {place} of {name}"));
            refused(&good[..place], &format!("{place} bytes of {name}"));
        }
        let (found, damaged) = Checkpoint::newest(&checkpoints).unwrap();
        assert_eq!((found.unwrap().path(), damaged.len()), (old.as_path(), 1));
        fs::write(&file, good).unwrap();
    }
    // One moment is not another: parts of two checkpoints are none.
    fs::copy(old.join("numbers.safetensors"), new.join("numbers.safetensors")).unwrap();
    assert!(Checkpoint::open(new).is_err());
}

#[test]
fn a_checkpoint_that_cannot_be_written_does_not_end_the_training() {
    let directory = tempfile::tempdir().unwrap();
    synth(directory.path());
    let config = config(directory.path(), "esmm", &["train.epochs=1"]);
    // There is a file where the directory should be.
    let place = directory.path().join("checkpoint");
    fs::write(&place, "").unwrap();
    let kept = Checkpoints { directory: Some(place), resume: None };
    let mut said = Vec::new();
    let trained = run(&config, kept, &mut |event| {
        if let Event::NotSaved { message } = event {
            said.push(message.clone());
        }
        if matches!(event, Event::Step { step: 5, .. }) { Next::Checkpoint } else { Next::GoOn }
    });
    assert_eq!(trained.unwrap().reason, Reason::Epochs);
    assert!(said.len() == 2 && said[0].contains("checkpoint"), "{said:?}");
}
