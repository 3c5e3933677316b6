//! From a text and settings to a configuration.

use super::*;
use crate::model::MODELS;
use crate::optim::{Kind, Rule};

const SMALL: &str = "[data]\ndir = \"d\"\n[model]\nname = \"mmoe\"\n";

fn refused(text: &str, overrides: &[&str]) -> String {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    Config::parse(text, &overrides).expect_err("the configuration should be refused").to_string()
}

#[test]
fn misspelt_keys_are_refused_with_the_nearest() {
    assert!(refused(&format!("{SMALL}[train]\nepoch = 3\n"), &[]).contains("did you mean `epochs`?"));
    assert!(refused(&format!("{SMALL}exprets = 3\n"), &[]).contains("did you mean `experts`?"));
    assert!(refused(SMALL, &["train.epoch=3"]).contains("did you mean `epochs`?"));
    assert!(refused(SMALL, &["model.name=mmeo"]).contains("did you mean `mmoe`?"));
}

#[test]
fn a_batch_size_with_a_slip_of_zeros_is_refused() {
    let said = refused(SMALL, &["train.batch_size=1000000000000"]);
    assert!(said.contains("train.batch_size must be at most 4294967295, found 1000000000000"), "{said}");
    assert!(Config::parse(SMALL, &["train.batch_size=1000000".into()]).is_ok());
}

#[test]
fn a_hundred_thousand_threads_took_the_machine_down() {
    let said = refused(SMALL, &["train.threads=100000"]);
    assert!(said.contains("train.threads must be at most 1024, or 0 for all cores, found 100000"), "{said}");
    assert!(Config::parse(SMALL, &["train.threads=1024".into()]).is_ok());
}

#[test]
fn overrides_reach_every_depth() {
    let overrides = ["optimizer.rows.learning_rate=0.5", "objective.spaces.buy=product", "train.monitor=click.auc"];
    let config = Config::parse(SMALL, &overrides.map(String::from)).unwrap();
    assert_eq!(config.optimizer.rows.learning_rate, 0.5);
    assert_eq!(config.objective.spaces["buy"], crate::objective::Space::Product);
    assert_eq!(config.train.monitor, "click.auc");
}

#[test]
fn the_printed_configuration_is_the_configuration() {
    for overrides in [vec![], vec!["train.mix.parent_rows=0.5".into()], vec!["network.gating={}".into()]] {
        let config = Config::parse(SMALL, &overrides).unwrap();
        assert_eq!(Config::parse(&config.to_toml(), &[]).unwrap(), config);
    }
}

#[test]
fn every_example_is_a_config_of_the_model_in_its_name() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut found = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let config = Config::read(&path, &[]).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let model = toml::Value::try_from(&config.model).unwrap()["name"].as_str().unwrap().to_string();
        assert!(name.ends_with(&format!("-{model}")) || name.contains(&format!("-{model}-")), "{name}: {model}");
        found += 1;
    }
    assert!(found >= 18, "{found} examples");
}

#[test]
fn settings_out_of_range_are_named() {
    assert!(refused(SMALL, &["network.dropout=1.0"]).contains("network.dropout"));
    assert!(refused(SMALL, &["network.gating.units=0"]).contains("network.gating.units"));
    assert!(refused(SMALL, &["network.gating.unit=3"]).contains("did you mean `units`?"));
    assert!(refused(SMALL, &["balance.name=dwa", "balance.temperature=0"]).contains("balance.temperature"));
    assert!(refused(SMALL, &["balance.name=gradnorm", "balance.every=0"]).contains("balance.every"));
    assert!(refused(SMALL, &["balance.name=pcgrad", "balance.alpha=1"]).contains("unknown field `alpha`"));
    assert!(refused(SMALL, &["balance.name=multibalance", "balance.memory=1"]).contains("balance.memory"));
    assert!(refused(SMALL, &["balance.name=multibalance", "balance.every=0"]).contains("balance.every"));
    assert!(refused(SMALL, &["optimizer.dense.beta1=1.5"]).contains("optimizer.dense.beta1"));
    assert!(refused("[data]\n[model]\nname = \"mmoe\"\n", &[]).contains("data.schema is missing"));
    assert!(refused(SMALL, &["train.mix.parent_rows=-1"]).contains("train.mix.parent_rows"));
    let endless = refused(SMALL, &["train.mix.parent_rows=1e-12", "train.mix.once=parent-rows"]);
    assert!(endless.contains("parent_rows is 0.000000000001") && endless.contains("0.001 or more"), "{endless}");
    let none = refused(SMALL, &["train.mix.parent_rows=0", "train.mix.once=parent-rows"]);
    assert!(none.contains("set it above 0, or leave train.mix out"), "{none}");
    let turns = ["model.name=ncs4cvr", "balance.name=pcgrad"];
    let said = refused(SMALL, &turns);
    assert!(said.contains("balance.name") && said.contains("model.alternate"), "{said}");
    let said = refused(SMALL, &[turns[0], "objective.triplet={}"]);
    assert!(said.contains("objective.triplet") && said.contains("model.alternate"), "{said}");
    for other in [turns[1], "objective.triplet={}"] {
        let overrides = [turns[0], other, "model.alternate=false"].map(String::from);
        assert!(Config::parse(SMALL, &overrides).is_ok());
    }
}

fn parsed(text: &str, settings: &[&str]) -> Config {
    let settings: Vec<String> = settings.iter().map(|text| text.to_string()).collect();
    Config::parse(text, &settings).unwrap_or_else(|error| panic!("{settings:?}: {error}"))
}

#[test]
fn a_fraction_may_lack_the_zero_before_its_point() {
    let config = parsed(SMALL, &["optimizer.rows.learning_rate=.5", "optimizer.dense.l2=.25", "data.dir=.5"]);
    assert_eq!((config.optimizer.rows.learning_rate, config.optimizer.dense.l2), (0.5, 0.25));
    assert_eq!(config.data.train, [".5/train.parquet"], "a directory is named as it is written");
    let weights = parsed(SMALL, &["objective.weights={click=.5, buy=1}"]);
    assert_eq!(weights, parsed(SMALL, &["objective.weights={click=0.5, buy=1}"]));
    assert!(refused(SMALL, &["optimizer.rows.learning_rate=1.2.5"]).contains("expected a number"));
}

#[test]
fn lists_of_texts_need_no_quotes_and_files_need_names() {
    let config = parsed(SMALL, &["data.train=[d/a-0.parquet, d/b*.csv]", "model.expert_units=[8,4]"]);
    assert_eq!(config.data.train, ["d/a-0.parquet", "d/b*.csv"]);
    for key in ["train", "valid", "schema"] {
        let said = refused(SMALL, &[&format!("data.{key}=")]);
        assert!(said.contains(&format!("data.{key}: found an empty text, expected a file")), "{said}");
    }
}

#[test]
fn settings_do_not_depend_on_their_order() {
    let file = format!("{SMALL}experts = 4\n[optimizer.rows]\nname = \"sgd\"\nl2 = 0.5\n");
    let settings = [
        "model.task_experts=3",
        "model.name=ple",
        "balance.alpha=1",
        "balance.name=gradnorm",
        "optimizer.rows.beta1=0.5",
        "optimizer.rows.name=adam",
        "optimizer.schedule.steps=9",
        "optimizer.schedule.name=warm-up",
        "network.gating.units=5",
        "network.gating={scenario_width=3}",
    ];
    let expected = parsed(&file, &settings);
    assert!(expected.to_toml().contains("task_experts = 3") && expected.to_toml().contains("steps = 9"));
    assert_eq!((expected.optimizer.rows.beta1, expected.optimizer.rows.l2), (0.5, 0.0));
    let mut turned = settings;
    for _ in 0..settings.len() {
        turned.rotate_left(1);
        assert_eq!(parsed(&file, &turned), expected, "{turned:?}");
    }
    turned.reverse();
    assert_eq!(parsed(&file, &turned), expected, "{turned:?}");
    assert_eq!(parsed(SMALL, &["train.epochs=3", "train.epochs=4"]).train.epochs, 4, "of one key the later counts");
}

#[test]
fn a_new_name_leaves_out_what_the_file_says_for_the_old_one_and_says_so() {
    let file = format!("{SMALL}experts = 4\n[balance]\nname = \"dwa\"\ntemperature = 3\n");
    let config = parsed(&file, &["model.name=ple", "balance.name=gradnorm"]);
    assert_eq!(config.warnings.len(), 2);
    for parts in [["model.name = \"ple\"", "`mmoe`: experts"], ["balance.name = \"gradnorm\"", "`dwa`: temperature"]] {
        let told = config.warnings.iter().any(|warning| parts.iter().all(|part| warning.contains(part)));
        assert!(told, "{:?}", config.warnings);
    }
    let config = parsed(&file, &["model.name=mmoe", "balance.name=dwa"]);
    assert_eq!(config, parsed(&file, &[]));
    let nameless = format!("{SMALL}[optimizer.rows]\nl2 = 0.5\n");
    assert_eq!(parsed(&nameless, &["optimizer.rows.name=adagrad"]).optimizer.rows.l2, 0.5);
}

/// Every key of a table with its value, but those of `[data]`.
fn leaves(table: &toml::Table, path: &str, into: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(table) => leaves(table, &format!("{path}{key}."), into),
            _ => into.push(format!("{path}{key}={value}")),
        }
    }
}

#[test]
fn a_key_said_again_with_the_value_it_has_changes_nothing() {
    let mut tried = 0;
    let models = MODELS.iter().map(|model| format!("model.name={}", model.name));
    let others = ["balance.name=gradnorm", "balance.name=dwa", "balance.name=uncertainty", "balance.name=pcgrad"];
    let others = others.into_iter().chain(["optimizer.rows.name=adam", "optimizer.dense.name=sgd"]);
    for first in models.chain(others.map(String::from)) {
        let expected = parsed(SMALL, &[&first]);
        let table: toml::Table = toml::from_str(&expected.to_toml()).unwrap();
        let mut again = Vec::new();
        leaves(&table, "", &mut again);
        for setting in again.iter().filter(|setting| !setting.starts_with("data.")) {
            assert_eq!(parsed(SMALL, &[&first, setting]), expected, "{first} {setting}");
            assert_eq!(parsed(&expected.to_toml(), &[setting]), expected, "{first} {setting}");
            tried += 1;
        }
    }
    assert!(tried > 400, "{tried}");
}

#[test]
fn a_value_is_taken_by_the_type_of_its_key() {
    for text in ["2024-01-01", "20240101", "1e5", "true", "0x10", "1979-05-27 07:32:00Z", "a b", "\"quoted\""] {
        let config = parsed(SMALL, &[&format!("data.dir={text}"), &format!("data.test=[{text:?}]")]);
        let text = text.trim_matches('"');
        assert_eq!(config.data.train, [format!("{text}/train.parquet")]);
        let other = parsed(SMALL, &["model.name=esm2", &format!("model.click={text}"), "model.action=1_0"]);
        let printed = other.to_toml();
        assert!(printed.contains(&format!("click = \"{text}\"")) && printed.contains("action = \"1_0\""), "{printed}");
    }
    let config = parsed(SMALL, &["data.train=[20240101, 'b', 2024-01-01]", "objective.via.buy=1e5"]);
    assert_eq!(config.data.train, ["20240101", "b", "2024-01-01"]);
    assert_eq!(config.objective.via["buy"], "1e5");
    let shared = parsed(SMALL, &["balance.name=gradnorm", "balance.shared=[1e5]"]);
    assert!(shared.to_toml().contains("shared = [\"1e5\"]"), "{}", shared.to_toml());
    assert_eq!(parsed(SMALL, &["model.expert_units=[8, 4]", "train.eval_every=20"]).train.eval_every, 20);
    assert!(refused(SMALL, &["train.epochs=many"]).contains("many"));
    assert!(refused(SMALL, &["train.epochs.x=1", "train.epochs=2"]).contains("`train.epochs.x=1`"));
    for wrong in ["train.epochs", "=3", "train..epochs=3"] {
        assert!(refused(SMALL, &[wrong]).contains("is not of the form key.path=value"));
    }
}

#[test]
fn another_directory_takes_the_place_of_a_runs_paths() {
    let yesterday = parsed(SMALL, &["data.dir=day1", "data.test=['day1/test.parquet']"]);
    let today = parsed(&yesterday.to_toml(), &["data.dir=day2", "train.seed=1"]);
    assert_eq!(today.data.schema(), Path::new("day2/schema.toml"));
    assert_eq!(
        (&today.data.train[..], &today.data.valid[..]),
        (&["day2/train.parquet".into()][..], &["day2/valid.parquet".into()][..])
    );
    assert!(today.data.test.is_empty(), "day2 has no test files");
    let said = &today.warnings[0];
    assert!(said.contains("data.dir = \"day2\"") && said.contains("data.train = [\"day1/train.parquet\"]"), "{said}");
    let again = parsed(&yesterday.to_toml(), &["data.dir=day1", "data.test=['day1/test.parquet']"]);
    assert_eq!(again, yesterday);
    // Written into the file beside all paths it would do nothing, and that is told.
    let edited = yesterday.to_toml().replace("[data]\n", "[data]\ndir = \"day2\"\n");
    assert!(parsed(&edited, &[]).warnings[0].contains("data.dir does nothing"));
    let mixed = parsed(&yesterday.to_toml(), &["data.train=['more.csv']", "data.dir=day2"]);
    assert_eq!((&mixed.data.train[0][..], &mixed.data.valid[0][..]), ("more.csv", "day2/valid.parquet"));
}

#[test]
fn a_directory_needs_no_test_file() {
    let root = tempfile::tempdir().unwrap();
    let dir = format!("data.dir={}", root.path().display());
    assert!(parsed(SMALL, &[&dir]).data.test.is_empty());
    let test = root.path().join("test.parquet");
    std::fs::write(&test, "").unwrap();
    assert_eq!(parsed(SMALL, &[&dir]).data.test, [test.to_string_lossy()]);
    assert!(parsed(SMALL, &[&dir, "data.test=[]"]).data.test.is_empty());
}

#[test]
fn a_setting_of_another_rule_is_refused_with_a_sentence() {
    let said = refused(SMALL, &["optimizer.dense.name=sgd", "optimizer.dense.beta1=0.9"]);
    assert!(said.contains("`sgd` has no `beta1`, which belongs to `adam` and `adamw`"), "{said}");
    assert!(said.contains("optimizer.dense"), "{said}");
    let text = format!("{SMALL}[optimizer.rows]\nbeta2 = 0.9\n");
    let said = refused(&text, &[]);
    assert!(said.contains("`adagrad` has no `beta2`") && said.contains("optimizer.rows"), "{said}");
    let said = refused(SMALL, &["optimizer.rows.inital=1"]);
    assert!(said.contains("did you mean `initial`?"), "{said}");
    assert!(refused(SMALL, &["optimizer.rows.name=adamm"]).contains("did you mean `adam`?"));
}

#[test]
fn a_key_of_a_rule_leaves_its_other_settings_as_they_are() {
    let optimizer = parsed(SMALL, &["optimizer.rows.l2=0.5", "optimizer.dense.l2=0.25"]).optimizer;
    assert_eq!(optimizer.rows, Rule { l2: 0.5, ..Rule::of(Kind::Adagrad) });
    assert_eq!(optimizer.dense, Rule { l2: 0.25, ..Rule::of(Kind::Adam) });
    assert_eq!((optimizer.rows.learning_rate, optimizer.dense.learning_rate), (0.2, 0.001));
    let printed = parsed(SMALL, &["optimizer.dense.name=sgd"]).to_toml();
    assert!(printed.contains("[optimizer.dense]\nname = \"sgd\"\nlearning_rate = 0.001\nl2 = 0.0\n"), "{printed}");
}

#[test]
fn a_config_with_the_settings_of_every_rule_loads_as_it_did() {
    let rule = "beta1 = 0.9\nbeta2 = 0.999\nepsilon = 1e-8\ninitial = 0.25\ndecay = 0.01\nl2 = 0.0\n";
    let old = format!(
        "{SMALL}[optimizer.dense]\nname = \"adam\"\nlearning_rate = 0.5\n{rule}\
         [optimizer.rows]\nname = \"adagrad\"\nlearning_rate = 0.01\n{rule}"
    );
    let config = parsed(&old, &[]);
    assert_eq!(config.optimizer.dense, Rule { learning_rate: 0.5, ..Rule::of(Kind::Adam) });
    assert_eq!(config.optimizer.rows, Rule { learning_rate: 0.01, initial: 0.25, ..Rule::of(Kind::Adagrad) });
    let said = config.warnings.join("\n");
    assert!(
        said.contains("optimizer.dense: initial, decay belong")
            && said.contains("optimizer.rows: beta1, beta2, decay belong"),
        "{said}"
    );
    assert!(refused(&old.replacen("decay = 0.01\n", "", 1), &[]).contains("`adam` has no `initial`"));
    assert_eq!(parsed(&config.to_toml(), &[]).optimizer, config.optimizer);
}

#[test]
fn old_spellings_are_taken_and_the_new_ones_named() {
    for (old, new) in [
        (
            "model.name=calibration model.structure=cvr_concat",
            "model.structure: `cvr_concat` is spelt `cvr-concat` now",
        ),
        (
            "model.name=calibration model.structure=ctr_scaled",
            "model.structure: `ctr_scaled` is spelt `ctr-scaled` now",
        ),
        (
            "model.name=ektm model.enhanced.loss=hard_example",
            "model.enhanced.loss: `hard_example` is spelt `hard-example` now",
        ),
        ("balance.name=grad_norm", "balance.name: `grad_norm` is spelt `gradnorm` now"),
        ("balance.name=pc-grad", "balance.name: `pc-grad` is spelt `pcgrad` now"),
    ] {
        let config = parsed(SMALL, &old.split(' ').collect::<Vec<_>>());
        assert_eq!(config.warnings, [new]);
        assert!(parsed(&config.to_toml(), &[]).warnings.is_empty());
    }
}

#[test]
fn how_often_checkpoints_are_written_is_said_in_words() {
    for (text, every) in [
        ("never", CheckpointEvery::Never),
        ("500 steps", CheckpointEvery::Steps(500)),
        ("90 seconds", CheckpointEvery::Seconds(90)),
        ("1 minutes", CheckpointEvery::Seconds(60)),
    ] {
        let config = Config::parse(SMALL, &[format!("train.checkpoint_every={text}")]).unwrap();
        assert_eq!(config.train.checkpoint_every, every);
        assert!(config.to_toml().contains(&format!("checkpoint_every = \"{text}\"")), "{}", config.to_toml());
    }
    for text in ["10", "0 steps", "ten minutes", "3 hours"] {
        let said = refused(SMALL, &[&format!("train.checkpoint_every={text}")]);
        assert!(said.contains("10 minutes") && said.contains(text), "{said}");
    }
}

#[test]
fn only_what_was_set_differs_from_the_defaults() {
    let text = "[data]\ntrain = \"a\"\nvalid = \"b\"\nschema = \"c\"\n[model]\nname = \"mmoe\"\n";
    assert_eq!(Config::parse(text, &[]).unwrap().differences(), []);
    let set = ["model.experts=4", "train.epochs=3", "train.mix.parent_rows=0.5", "optimizer.rows.name=sgd"];
    let found = Config::parse(text, &set.map(String::from)).unwrap().differences();
    let told = |key: &str| {
        let one = found.iter().find(|one| one.key == key).unwrap_or_else(|| panic!("{key}: {found:?}"));
        (one.value.clone(), one.default.clone())
    };
    assert_eq!(told("model.experts"), (Some("4".into()), Some("6".into())));
    assert_eq!(told("train.epochs").0.as_deref(), Some("3"));
    assert_eq!(told("train.mix.parent_rows"), (Some("0.5".into()), None));
    assert_eq!(told("optimizer.rows.name").0.as_deref(), Some("\"sgd\""));
    assert!(found.iter().all(|one| !one.key.starts_with("data") && one.value != one.default), "{found:?}");
}

#[test]
fn a_program_that_brings_its_data_need_not_name_any() {
    let parse = |text: &str| Config::parse_without_data(text, &["train.epochs=3".into()]);
    let config = parse("[model]\nname = \"mmoe\"\n").unwrap();
    assert_eq!((config.train.epochs, &config.data), (3, &DataConfig::default()));
    // What stands there plays no part, and errors name the lines of the text.
    assert_eq!(parse(SMALL).unwrap().data, DataConfig::default());
    let said =
        Config::parse_without_data("[model]\nname = \"mmoe\"\n[train]\nepoch = 1\n", &[]).unwrap_err().to_string();
    assert!(said.contains("line 4") && said.contains("did you mean `epochs`?"), "{said}");
    let said = parse("[train]\n").unwrap_err().to_string();
    assert!(said.contains("missing field `model`"), "{said}");
}

#[test]
fn a_wrong_value_of_a_section_with_a_name_is_told_with_its_key() {
    for (settings, blamed, said) in [
        (&["model.experts=six"][..], 0, "\"six\", expected a whole number that is not negative"),
        (&["model.expert_units=[a]"], 0, "\"a\", expected a whole number that is not negative"),
        (&["model.name=mmeo"], 0, "did you mean `mmoe`?"),
        (&["model.exprets=6"], 0, "did you mean `experts`?"),
        (&["model.name=ektm", "model.enhanced.loss=soft"], 1, "unknown variant `soft`"),
        (&["balance.name=dwa", "balance.temperature=hot"], 1, "expected a number"),
        (&["balance.name=gradnorm", "balance.shared=7"], 1, "`7`"),
        (&["optimizer.schedule.name=warm-up", "optimizer.schedule.steps=x"], 1, "expected a whole number"),
        (&["optimizer.dense.learning_rate=foo"], 0, "expected a number"),
        (&["optimizer.rows.learning_rate=foo"], 0, "expected a number"),
        (&["optimizer.dense.name=adamm"], 0, "did you mean `adam`?"),
        // Two are wrong in the same way: the first is told.
        (&["model.name=ple", "model.task_experts=x", "model.shared_experts=x"], 1, "expected a whole number"),
        // Sections without a name, and their names.
        (&["train.seed=3", "train.epochs=many"], 1, "expected a whole number"),
        (&["train.seed=3", "train.epoch=3"], 1, "did you mean `epochs`?"),
        (&["trian.seed=3"], 0, "did you mean `train`?"),
    ] {
        let found = refused(SMALL, settings);
        assert!(found.starts_with(&format!("setting `{}`: ", settings[blamed])), "{settings:?}: {found}");
        assert!(found.contains(said) && !found.contains("in `"), "{settings:?}: {found}");
    }
    let found = refused(SMALL, &["train.seed=18446744073709551615"]);
    assert!(found.contains("too large: a configuration has whole numbers up to 9223372036854775807"), "{found}");
    let said = refused(&format!("{SMALL}\nexperts = \"six\"\n"), &[]);
    assert!(said.contains("line 6, column 11") && said.contains("6 | experts = \"six\""), "{said}");
    let said = refused(&format!("{SMALL}[optimizer.rows]\nl2 = 0.5\nlearning_rate = \"foo\"\n"), &[]);
    assert!(said.contains("line 7, column 17") && said.contains("in `optimizer.rows.learning_rate`"), "{said}");
    let said = refused(SMALL, &["optimizer.schedule.name=step", "optimizer.schedule.steps=9"]);
    assert!(said.contains("missing field `factor`\nin `optimizer.schedule`"), "{said}");
}
