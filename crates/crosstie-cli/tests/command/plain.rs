//! Logs without ids, without rates, with one task: numbers in, a probability out.

use crate::place::{Place, csv};

const SCHEMA: &str = "[[task]]\nname = \"bought\"\n[[field]]\nname = \"age\"\nkind = \"numeric\"\n\
                      [[field]]\nname = \"income\"\nkind = \"numeric\"\n";

/// Rows of a number that decides, one that does not and is missing at times, and
/// the label.
fn rows(from: u32, to: u32) -> String {
    let row = |row: u32| {
        let (age, luck) = (row * 37 % 60 + 20, row * 7919 % 100);
        let income = if row.is_multiple_of(9) { String::new() } else { format!("{}.5", row * 31 % 5000) };
        format!("{age},{income},{}\n", u32::from(age + luck / 2 > 75))
    };
    format!("age,income,bought\n{}", (from..to).map(row).collect::<String>())
}

pub fn place() -> Place {
    let place = Place::new();
    place.write("schema.toml", SCHEMA);
    place.write("train.csv", &rows(0, 1500));
    place.write("valid.csv", &rows(1500, 2000));
    place.write("test.csv", &rows(2000, 2500));
    place.write(
        "buy.toml",
        "[data]\nschema = \"schema.toml\"\ntrain = [\"train.csv\"]\nvalid = [\"valid.csv\"]\ntest = [\"test.csv\"]\n\
         [model]\nname = \"single-task\"\n[train]\nbatch_size = 128\nepochs = 3\n",
    );
    place
}

#[test]
fn numbers_alone_and_one_task_go_from_a_csv_file_to_scores() {
    let place = place();
    place.ok("inspect train.csv").prints(&["1,500 rows, 3 columns", "bought"]);
    let trained = place.ok("train buy.toml --out run").prints(&["On the test files", "bought"]);
    assert!(!trained.stderr.contains("warning"), "{}", trained.stderr);
    assert!(!trained.stdout.contains("parent") && !trained.stdout.contains("gauc"), "{}", trained.stdout);
    let evaluated = place.ok("evaluate run --json figures.json").stdout;
    let line = evaluated.lines().rfind(|line| line.starts_with(" bought")).expect("a line of figures");
    let auc: f64 = line.split_whitespace().nth(3).and_then(|cell| cell.parse().ok()).expect("an AUC");
    assert!(auc > 0.85, "{evaluated}");
    place.ok("inspect run").prints(&["tasks: bought", "scenarios: all"]);
    place.ok("inspect run --graph").prints(&["flowchart"]);
    place.ok("inspect run --embeddings").prints(&["nothing to compare"]);
    place.write("new.csv", "income,age\n1200.5,71\n,22\n");
    place.ok("predict run --data new.csv --out scores.csv --keep age");
    let scores = csv(&place.path("scores.csv"));
    assert_eq!(scores[0], ["age", "p_bought", "joint_bought"]);
    let old_and_young: Vec<f64> = scores[1..].iter().map(|row| row[1].parse().expect("a number")).collect();
    assert!(old_and_young[0] > old_and_young[1], "{scores:?}");
    place.ok("train --resume run --set train.epochs=4");
}

#[test]
fn a_model_for_several_tasks_says_that_there_is_one() {
    let place = place();
    let said = [
        ("shared-bottom", "has one task, and what `shared-bottom` shares between tasks has no use"),
        ("mmoe", "what `mmoe` shares"),
        ("cgc", "what `cgc` shares"),
        ("ple", "what `ple` shares"),
        ("adatt", "what `adatt` shares"),
        ("stem", "what `stem` shares"),
        ("ncs4cvr", "what `ncs4cvr` shares"),
        ("esmm", "has no task that comes `after` another, which is what `esmm` is for"),
        ("esm2", "is what `esm2` is for"),
        ("aitm", "is what `aitm` is for"),
        ("calibration", "is what `calibration` is for"),
        ("aem2tl", "is what `aem2tl` is for"),
        ("ektm", "what `ektm` shares"),
    ];
    for (model, said) in said {
        let ran = place.ok(&format!("train buy.toml --set model.name={model} --set train.epochs=1 --out {model}"));
        ran.says(&["warning: the schema ", said, "model.name = \"single-task\" does as well here"]);
    }
    let both = place.ok("inspect mmoe --embeddings --against ple");
    both.prints(&["no field has a table of values"]);
}

#[test]
fn settings_that_need_several_tasks_are_refused_with_words() {
    let place = place();
    for name in ["uncertainty", "dwa", "gradnorm", "pcgrad"] {
        let ran = place.run(&format!("train buy.toml --set balance.name={name}")).exit(1);
        ran.says(&["balance: the schema has one task, so there is nothing to balance"]);
    }
    place.run("train buy.toml --set objective.triplet.weight=0.1").exit(1).says(&["no task comes after another"]);
    place.run("train buy.toml --set train.mix.parent_rows=1").exit(1).says(&["train.mix: no task has a loss"]);
    place.run("train buy.toml --set train.monitor=click.auc").exit(1).says(&["there is no task `click`", "bought"]);
    assert!(!place.path("runs").exists());
}

#[test]
fn a_rate_without_a_key_says_which_column_it_takes() {
    let place = place();
    place.write("schema.toml", &format!("{SCHEMA}[[field]]\nname = \"age_rate\"\nkind = \"rate\"\n"));
    let ran = place.run("train buy.toml").exit(1);
    ran.says(&[
        "train.csv",
        "no column `age_rate`",
        "it names none",
        "key = [\"COLUMN\"]",
        "there are: age, income, bought",
    ]);

    let schema = "[[task]]\nname = \"bought\"\n[[field]]\nname = \"age\"\nkind = \"rate\"\n";
    place.write("schema.toml", schema);
    let ran = place.ok("train buy.toml --out run --set train.epochs=1");
    ran.says(&["field `age`: its rates are counted for the values of column `age`"]);

    place.write("schema.toml", &schema.replace("name = \"age\"", "name = \"age_rate\"\nkey = [\"age\"]"));
    let ran = place.ok("train buy.toml --out named --set train.epochs=1");
    assert!(!ran.stderr.contains("are counted for"), "{}", ran.stderr);
}

#[test]
fn one_file_needs_no_brackets_and_a_directory_of_csv_says_what_to_write() {
    let place = place();
    place.write(
        "one.toml",
        "[data]\nschema = \"schema.toml\"\ntrain = \"train.csv\"\nvalid = \"valid.csv\"\n[model]\nname = \"single-task\"\n",
    );
    let printed = place.ok("train one.toml --print-config --set data.test=test.csv").stdout;
    assert!(printed.contains("train = [\"train.csv\"]") && printed.contains("test = [\"test.csv\"]"), "{printed}");
    place.write("dir.toml", "[data]\ndir = \".\"\n[model]\nname = \"single-task\"\n");
    let ran = place.run("train dir.toml").exit(1);
    ran.says(&[
        "no ./train.parquet, which data.train names or data.dir stands for",
        "set data.train = \"./train.csv\"",
    ]);
    place.ok("train dir.toml --print-config --set data.train=train.csv --set data.valid=valid.csv");
}

#[test]
fn a_training_that_diverges_ends_with_words_and_not_with_exit_code_0() {
    let place = place();
    let ran = place.run("train buy.toml --out run --set optimizer.dense.learning_rate=1e30").exit(1);
    ran.says(&["error: step ", "task `bought`", "is not finite"]);
    assert!(place.read("run/train.log").contains("is not finite"));
    place.run("evaluate run").exit(1).says(&["its training did not end"]);
}
