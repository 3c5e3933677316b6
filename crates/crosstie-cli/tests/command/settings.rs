//! From a config and `--set` to what is trained.

use crate::place::Place;

const CONFIG: &str = "[data]\ndir = \"day1\"\n[model]\nname = \"shared-bottom\"\nbottom_units = [8]\n\
                      [train]\nepochs = 1\nbatch_size = 256\n";

/// A day of many rows and one of few, and a config of the first.
fn place() -> Place {
    let place = Place::new();
    place.ok("synth --rows 2000 --scenarios 2 --out day1");
    place.ok("synth --rows 1000 --scenarios 2 --out 2024-01-02");
    place.write("ads.toml", CONFIG);
    place
}

#[test]
fn a_run_is_trained_again_on_another_days_data() {
    let place = place();
    place.ok("train ads.toml --out run").says(&["1,600 training rows"]);
    let again = place.ok("train run/config.toml --set data.dir=2024-01-02 --out again");
    again.says(&["warning: data.dir = \"2024-01-02\" takes the place of", "day1/train.parquet", "\n800 training rows"]);
    let config = place.read("again/config.toml");
    assert!(config.contains("train = [\"2024-01-02/train.parquet\"]") && !config.contains("day1"), "{config}");
    // What is said for a file stays.
    let set = "--set data.test=['day1/test.parquet'] --set data.dir=2024-01-02";
    let printed = without_comments(&place.ok(&format!("train run/config.toml {set} --print-config")).stdout);
    let expected = "schema = \"2024-01-02/schema.toml\"\ntrain = [\"2024-01-02/train.parquet\"]\n\
                    valid = [\"2024-01-02/valid.parquet\"]\ntest = [\"day1/test.parquet\"]\n";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn a_directory_without_a_test_file_is_trained_on() {
    let place = place();
    std::fs::remove_file(place.path("day1/test.parquet")).expect("removed");
    place.ok("train ads.toml --out run").prints(&["On the validation files"]);
    place
        .ok("train ads.toml --set data.dir=2024-01-02 --set data.test=[] --out run2")
        .prints(&["On the validation files"]);
    assert!(place.read("run2/config.toml").contains("test = []"));
}

#[test]
fn what_a_config_says_in_an_old_way_is_taken_and_told() {
    let place = place();
    let config = CONFIG.replace("\"shared-bottom\"\nbottom_units = [8]", "\"calibration\"\nstructure = \"cvr_concat\"");
    place.write("old.toml", &config);
    let said = "warning: model.structure: `cvr_concat` is spelt `cvr-concat` now";
    let printed = place.ok("train old.toml --print-config").says(&[said]).stdout;
    assert!(printed.contains("structure = \"cvr-concat\""), "{printed}");
    place.write("new.toml", &printed);
    assert_eq!(place.ok("train new.toml --print-config").stderr, "");
}

#[test]
fn a_setting_that_its_rule_does_not_use_is_refused() {
    let place = place();
    let set = "--set optimizer.dense.beta1=0.8 --set optimizer.dense.name=sgd";
    let said = ["optimizer.dense", "`sgd` has no `beta1`, which belongs to `adam` and `adamw`"];
    place.run(&format!("train ads.toml {set}")).exit(1).says(&said);
    place.write("rows.toml", &format!("{CONFIG}[optimizer.rows]\nbeta1 = 0.8\n"));
    place.run("train rows.toml").exit(1).says(&["rows.toml", "optimizer.rows", "`adagrad` has no `beta1`"]);
    assert!(!place.path("runs").exists());
}

/// A printed config without what is said of its keys.
pub fn without_comments(printed: &str) -> String {
    printed.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// Every default of a model, as a user reads it.
#[test]
fn the_whole_config_is_printed() {
    let place = Place::new();
    place.write(
        "ads.toml",
        "[data]\nschema = \"s.toml\"\ntrain = [\"a.csv\"]\nvalid = [\"b.csv\"]\n[model]\nname = \"mmoe\"\n",
    );
    let expected = "\
[data]
schema = \"s.toml\"
train = [\"a.csv\"]
valid = [\"b.csv\"]
test = []

[model]
name = \"mmoe\"
experts = 6
expert_units = [128, 64]
tower_units = [32]

[network]
activation = \"relu\"
dropout = 0.0
norm = \"none\"
products = \"float32\"

[embedding]
spread = 0.01

[objective]

[balance]
name = \"fixed\"

[optimizer]
clip = 0.0

[optimizer.dense]
name = \"adam\"
learning_rate = 0.001
beta1 = 0.9
beta2 = 0.999
epsilon = 0.00000001
l2 = 0.0

[optimizer.rows]
name = \"adagrad\"
learning_rate = 0.2
epsilon = 0.00000001
initial = 0.0001
l2 = 0.0

[optimizer.schedule]
name = \"constant\"

[train]
seed = 1
threads = 0
batch_size = 0
epochs = 20
eval_every = 0
monitor = \"mean.from_impression.ne\"
patience = 8
shuffle_rows = 262144
cache_mib = 2048
unknown_values = \"as-in-validation\"
carry_rates = true
average = true
checkpoint_every = \"10 minutes\"
tensorboard = false
report = true

[calibration]
enabled = true
";
    let printed = place.ok("train ads.toml --print-config").stdout;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(without_comments(&printed), expected);
    // Above every key stands what it means; of one that only a name has, what it means there.
    for (above, line) in
        lines.iter().zip(&lines[1..]).filter(|(_, line)| line.contains(" = ") && !line.starts_with('#'))
    {
        assert!(above.starts_with("# "), "nothing is said of {line}:\n{printed}");
    }
    let adam = printed.split("[optimizer.dense]").nth(1).unwrap().split("[optimizer.rows]").next().unwrap();
    assert!(adam.contains("beta1 = 0.9"), "{printed}");
    assert!(lines.iter().all(|line| line.len() <= 80), "{printed}");
}

#[test]
fn loss_weights_that_follow_from_the_training_rows_are_told_and_kept_with_the_model() {
    let place = place();
    let ran = place.ok("train ads.toml --set objective.weights=auto --out run");
    let told = ran.stderr.lines().find_map(|line| line.strip_prefix("weights of the tasks' losses: "));
    let told = told.unwrap_or_else(|| panic!("{}", ran.stderr));
    let weight = |task: &str| -> f64 {
        let said = told.split(", ").find_map(|part| part.strip_prefix(&format!("{task} ")));
        said.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{task} in {told}"))
    };
    assert_eq!(weight("click"), 1.0);
    assert!(weight("cart") > 2.0 && weight("buy") > 1.5 * weight("cart"), "{told}");
    // The run's config can be trained again on other rows; the model's own settings are numbers.
    assert!(place.read("run/config.toml").contains("weights = \"auto\""), "{}", place.read("run/config.toml"));
    let model = place.read("run/artifact/config.toml");
    assert!(model.contains("[objective.weights]") && !model.contains("auto"), "{model}");
    place.ok("train run/config.toml --set objective.weights={buy=3} --out again");
    assert!(place.read("again/config.toml").contains("[objective.weights]\nbuy = 3.0"));
    let said = ["objective.weights", "\"even\"", "`auto` or a table of weights"];
    place.run("train ads.toml --set objective.weights=even").exit(1).says(&said);
    place.run("train ads.toml --set objective.weights.crat=2").exit(1).says(&["did you mean `cart`?"]);
}
