//! Probabilities that are not identified, and what a training suspects aloud.

use crate::place::{Place, csv};

const SCHEMA: &str = "\
[[task]]
name = \"click\"
[[task]]
name = \"buy\"
after = \"click\"
[[task]]
name = \"like\"
after = \"click\"
direct = true
[[field]]
name = \"city\"
kind = \"categorical\"
[[field]]
name = \"price\"
kind = \"numeric\"
";

fn log(rows: usize) -> String {
    let row = |row: usize| {
        let lot = (row * 7919 + 13) % 10_007;
        let click = lot % 10 < 4;
        let [buy, like] = [click && lot.is_multiple_of(3), lot % 7 < if click { 3 } else { 1 }].map(u8::from);
        format!("c{},{},{},{buy},{like}\n", lot % 5, lot % 100, u8::from(click))
    };
    format!("city,price,click,buy,like\n{}", (0..rows).map(row).collect::<String>())
}

fn place(schema: &str, log: &str, model: &str) -> Place {
    let place = Place::new();
    place.write("schema.toml", schema);
    place.write("log.csv", log);
    let data = "schema = \"schema.toml\"\ntrain = [\"log.csv\"]\nvalid = [\"log.csv\"]\ntest = [\"log.csv\"]";
    place.write("config.toml", &format!("[data]\n{data}\n[train]\nepochs = 2\nbatch_size = 64\n[model]\n{model}\n"));
    place
}

const WHY: &str = "the space `product` does not identify p(like | click)";

#[test]
fn what_the_losses_do_not_determine_is_not_given() {
    let place = place(SCHEMA, &log(2000), "name = \"esmm\"\nunits = [4]");
    let ran = place.ok("train config.toml --out run").says(&[WHY, "predictions leave it empty"]);
    let ran = ran.prints(&["n/a: task `like`", "objective.spaces.like"]);
    // From the impression, then given the parent.
    let lines = |task: &str| -> Vec<usize> {
        let of = ran.stdout.lines().filter(|line| line.trim_start().starts_with(&format!("{task}  ")));
        of.map(|line| line.matches("n/a").count()).collect()
    };
    assert_eq!([lines("click"), lines("buy"), lines("like")], [vec![0], vec![0, 0], vec![0, 5]], "{}", ran.stdout);
    place.ok("evaluate run --json figures.json").prints(&["n/a: task `like`"]);
    let figures: serde_json::Value = serde_json::from_str(&place.read("figures.json")).expect("JSON");
    let of = |task: &str, meaning: &str| figures["tasks"][task][meaning]["auc"].clone();
    assert!(of("like", "given_parent").is_null() && of("like", "from_impression").is_f64(), "{figures}");
    assert!(of("buy", "given_parent").is_f64(), "{figures}");

    place.ok("predict run --data log.csv --out scores.csv").says(&[WHY]);
    let scores = csv(&place.path("scores.csv"));
    let column = |name: &str| scores[0].iter().position(|column| column == name).expect("a column");
    assert!(scores[1..].iter().all(|row| row[column("p_like")].is_empty() && !row[column("joint_like")].is_empty()));
    assert!(scores[1..].iter().all(|row| !row[column("p_buy")].is_empty()));
    place.ok("predict run --data log.csv --out scores.parquet");
    let source = crosstie::data::Source::open(&[place.path("scores.parquet").to_str().expect("UTF-8")]).expect("read");
    let rows = source.rows(&["p_like", "p_buy"], 5000).next().expect("rows").expect("read");
    let nulls = ["p_like", "p_buy"].map(|name| rows.column(name).expect("a column").nulls());
    assert_eq!(nulls, [2000, 0]);
}

#[test]
fn a_figure_of_what_is_not_identified_cannot_be_monitored() {
    let place = place(SCHEMA, &log(500), "name = \"esmm\"\nunits = [4]");
    let refused = place.run("train config.toml --out run --set train.monitor=like.auc").exit(1);
    refused.says(&["train.monitor: `like.auc` is not defined", WHY, "objective.spaces.like = \"parent\""]);
    place.ok("train config.toml --out a --set train.monitor=like.from_impression.auc").says(&[WHY]);
    let ran = place.ok("train config.toml --out b --set objective.spaces.like=parent --set train.monitor=like.auc");
    assert!(!ran.stderr.contains("identif") && !ran.stdout.contains("n/a"), "{}", ran.stderr);
}

#[test]
fn a_twin_of_a_label_and_a_separator_that_is_not_there_are_suspected() {
    let log: String = log(2000)
        .lines()
        .enumerate()
        .map(|(row, line)| match row {
            0 => format!("{line},spend,tags\n"),
            _ => {
                let bought = line.split(',').nth(3) == Some("1");
                format!("{line},{},a{}|b{}\n", if bought { row.to_string() } else { String::new() }, row % 3, row % 5)
            }
        })
        .collect();
    let fields = "[[field]]\nname = \"spend\"\nkind = \"numeric\"\n[[field]]\nname = \"tags\"\nkind = \"multi\"\n";
    let place = place(&format!("{SCHEMA}{fields}"), &log, "name = \"shared-bottom\"\nbottom_units = [4]");
    let ran = place.ok("train config.toml --out run");
    ran.says(&["field `spend` alone tells `buy` almost perfectly", "its separator `,`", "but `|` is in 100 %"]);
}

#[test]
fn a_training_that_diverges_says_so() {
    let place = place(SCHEMA, &log(1000), "name = \"shared-bottom\"\nbottom_units = [4]");
    let ran = place.ok("train config.toml --out run --set train.monitor=from_impression.logloss");
    assert!(!ran.stderr.contains("diverged"), "{}", ran.stderr);
    let steep = "--set optimizer.dense.learning_rate=30 --set optimizer.rows.learning_rate=30";
    place.ok(&format!("train config.toml --out steep {steep}")).says(&["warning: task `", "training has diverged"]);
}
