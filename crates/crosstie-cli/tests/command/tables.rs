//! Tables that other programs wrote.

use std::sync::Arc;

use crate::place::{Place, csv};
use crosstie::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use crosstie::data::{Source, Writer};

const SCHEMA: &str = "group = \"user\"\n[[task]]\nname = \"click\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\n\
                      min_count = 1\n[[field]]\nname = \"item\"\nkind = \"categorical\"\nmin_count = 1\n";

/// A log of 400 rows with 20 users and 7 items, each cell written by `cell`.
fn log(cell: impl Fn(u32) -> String) -> String {
    let row = |row: u32| {
        let (user, item) = (row * 7 % 20, row * 3 % 7);
        format!("{},{},{}\n", cell(user), cell(item), u32::from((row * 11 + user + item).is_multiple_of(3)))
    };
    format!("user,item,click\n{}", (0..400).map(row).collect::<String>())
}

/// A model trained on that log, in `run`.
fn place(schema: &str) -> Place {
    let place = Place::new();
    place.write("schema.toml", schema);
    place.write("log.csv", &log(|number| number.to_string()));
    place.write(
        "ads.toml",
        "[data]\nschema = \"schema.toml\"\ntrain = [\"log.csv\"]\nvalid = [\"log.csv\"]\ntest = []\n\
         [model]\nname = \"shared-bottom\"\n[train]\nepochs = 2\nbatch_size = 64\n",
    );
    place
}

#[test]
fn characters_that_steer_a_terminal_are_told_and_not_sent() {
    let place = Place::new();
    place.write("log.csv", "\"a\u{1b}[31m\nb\",click\n1,1\n2,0\n");
    let ran = place.ok("inspect log.csv").prints(&["a\\u{1b}[31m\\nb"]);
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    let ran = place.run("init log.csv --task \u{1b}[2J").exit(1);
    assert!(!ran.stderr.contains('\u{1b}') && ran.stderr.contains("\\u{1b}[2J"), "{}", ran.stderr);
}

#[test]
fn numbers_written_as_floats_or_missing_in_any_way_score_the_same() {
    let place = place(SCHEMA);
    place.ok("train ads.toml --out run");
    place.ok("predict run --data log.csv --out integers.csv");
    place.write("floats.csv", &log(|number| format!("{number}.0")));
    place.ok("predict run --data floats.csv --out floats-scored.csv");
    assert_eq!(place.read("integers.csv"), place.read("floats-scored.csv"));

    place.write("nothing.csv", "user,item\n,1\n");
    place.ok("predict run --data nothing.csv --out nothing-scored.csv");
    for marker in ["NaN", "NULL", "\\N", "None", "<NA>"] {
        place.write("marked.csv", &format!("user,item\n{marker},1.0\n"));
        place.ok("predict run --data marked.csv --out marked-scored.csv");
        assert_eq!(place.read("nothing-scored.csv"), place.read("marked-scored.csv"), "{marker}");
    }
}

#[test]
fn values_that_training_did_not_know_are_told_of() {
    let place = place(SCHEMA);
    place.ok("train ads.toml --out run");
    place.write("other.csv", &log(|number| format!("u{number}")));
    place.ok("predict run --data other.csv --out scored.csv").says(&["warning: field `user`: 400 of 400 values"]);
}

#[test]
fn lists_written_as_text_are_read_and_told_of() {
    let place = place("[[task]]\nname = \"click\"\n[[field]]\nname = \"tags\"\nkind = \"multi\"\nmin_count = 1\n");
    let lines = (0..200).map(|row| format!("\"[{}, {}]\",{}\n", row % 5, row % 3, row % 2)).collect::<String>();
    place.write("log.csv", &format!("tags,click\n{lines}"));
    place.ok("train ads.toml --out run").says(&["warning: column `tags`: text such as \"[0, 0]\" is read as a list"]);
    place.ok("inspect run").prints(&["vocabulary of 5"]);
}

#[test]
fn kept_columns_may_have_other_types_in_other_files() {
    let place = place(SCHEMA);
    place.ok("train ads.toml --out run");
    let save = |name: &str, users: ArrayRef| {
        let items: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter_with_nullable([("user", users, true), ("item", items, true)]);
        let batch = batch.expect("a table");
        let mut writer = Writer::create(&place.path(name), batch.schema()).expect("created");
        writer.write(&batch).expect("written");
        writer.finish().expect("finished");
    };
    save("day1.parquet", Arc::new(Int64Array::from(vec![3, 4])));
    save("day2.parquet", Arc::new(Float64Array::from(vec![Some(3.0), None])));
    place.ok("predict run --data day1.parquet day2.parquet --keep user item --out scored.csv");
    place.ok("predict run --data day1.parquet day2.parquet --keep user item --out scored.parquet");
    let rows = csv(&place.path("scored.csv"));
    let users: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(users, ["user", "3", "4", "3", ""]);
    assert_eq!(rows[1][2], rows[3][2], "user 3 and item 1 score the same");
    let path = place.path("scored.parquet");
    let source = Source::open(&[path.to_str().expect("UTF-8")]).expect("opened");
    let rows = source.rows(&["user", "item"], 10).next().expect("rows").expect("read");
    let kind = |name: &str| rows.column(name).expect("a column").kind();
    assert_eq!((kind("user"), kind("item")), ("text", "integer"));
}

#[test]
fn rows_without_a_group_are_left_out_of_grouped_auc_and_told_of() {
    let place = place(SCHEMA);
    place.ok("train ads.toml --out run");
    let whole = log(|number| number.to_string());
    let known: String = whole.lines().filter(|line| !line.starts_with("7,")).map(|line| format!("{line}\n")).collect();
    place.write("known.csv", &known);
    place.write("all.csv", &whole.replace("\n7,", "\n,"));
    place.ok("evaluate run --data known.csv --json known.json");
    place.ok("evaluate run --data all.csv --json all.json").prints(&["20 rows have no group and are left out of gauc"]);
    let gauc = |name: &str| {
        let text = place.read(name);
        let line = text.lines().find(|line| line.contains("\"gauc\"")).expect("a gauc").to_string();
        (line, text.contains("\"gauc_missing\": 20"))
    };
    assert_eq!(gauc("known.json").0, gauc("all.json").0);
    assert_eq!((gauc("known.json").1, gauc("all.json").1), (false, true));
}

#[test]
fn a_damaged_file_is_refused_by_name_without_the_text_of_a_panic() {
    let place = Place::new();
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
    let batch = batch.expect("a table");
    let path = place.path("t.parquet");
    let mut writer = Writer::create(&path, batch.schema()).expect("created");
    writer.write(&batch).expect("written");
    writer.finish().expect("finished");
    let whole = std::fs::read(&path).expect("read");
    let mut refused = 0;
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, bytes).expect("written");
        let ran = place.run("inspect t.parquet");
        assert!(!ran.stderr.contains("panicked"), "byte {at}: {}", ran.stderr);
        if ran.code == Some(1) {
            refused += 1;
            ran.says(&["error: t.parquet: is damaged or no Parquet file"]);
        }
    }
    assert!(refused > whole.len() / 12, "{refused} of {}", whole.len());
}

#[test]
fn a_scenario_that_is_a_label_is_refused() {
    let place = place(&format!("scenario = \"click\"\n{SCHEMA}"));
    place.run("train ads.toml --out run").exit(1).says(&["`scenario` reads `click`, the label of a task"]);
    assert!(!place.path("run").exists());
}

/// Six actions with names as long as they get, a scenario, and a field.
fn long_names() -> (Place, Vec<String>) {
    let place = Place::new();
    let names: Vec<String> = ["view", "cart", "purchase", "return", "review", "recommendation"]
        .map(|name| format!("{name}_of_the_item_in_the_app"))
        .into();
    let task = |(index, name): (usize, &String)| {
        let after = if index == 0 { String::new() } else { format!("after = \"{}\"\n", names[0]) };
        format!("[[task]]\nname = \"{name}\"\n{after}")
    };
    let tasks: String = names.iter().enumerate().map(task).collect();
    let field = "[[field]]\nname = \"category_of_the_item_in_the_shop\"\nkind = \"categorical\"\nmin_count = 1\n";
    place.write("schema.toml", &format!("scenario = \"place_where_the_item_was_shown\"\n{tasks}{field}"));
    let row = |row: usize| {
        let view = usize::from(row % 3 < 2);
        let others = (2..7).map(|every| format!(",{}", if row.is_multiple_of(every) { view } else { 0 }));
        format!("home-{},category-{}-of-many,{view}{}\n", row % 2, row % 5, others.collect::<String>())
    };
    let header = format!("place_where_the_item_was_shown,category_of_the_item_in_the_shop,{}", names.join(","));
    place.write("log.csv", &format!("{header}\n{}", (0..1200).map(row).collect::<String>()));
    place.write(
        "long.toml",
        "[data]\nschema = \"schema.toml\"\ntrain = [\"log.csv\"]\nvalid = [\"log.csv\"]\n[model]\nname = \"mmoe\"\n\
         experts = 2\nexpert_units = [8]\n[train]\nepochs = 2\nmonitor = \"mean.from_impression.logloss\"\n",
    );
    (place, names)
}

#[track_caller]
fn fits(text: &str) {
    // Sentences may be broken by the terminal; commands are there to be copied.
    let told = text.lines().filter(|line| !line.starts_with("warning: ") && !line.starts_with("  crosstie "));
    for line in told {
        assert!(line.chars().count() <= 80, "{} characters: {line}\n{text}", line.chars().count());
    }
}

#[test]
fn six_tasks_with_long_names_are_told_whole_in_80_columns() {
    let (place, names) = long_names();
    let masked = "train long.toml --out masked --set model.name=ncs4cvr --set model.units=[8] --set model.rounds=1 --set train.epochs=1";
    let own = "train long.toml --out own --set model.name=single-task --set train.epochs=1";
    for command in [
        "train long.toml --out run",
        "evaluate run",
        "inspect log.csv",
        "inspect run",
        masked,
        "inspect masked",
        own,
        "inspect own --embeddings",
    ] {
        let ran = place.ok(command);
        fits(&ran.stdout);
        fits(&ran.stderr);
        for name in &names {
            assert!(ran.stdout.contains(name.as_str()), "{command}: {name} is not whole in\n{}", ran.stdout);
        }
    }
    fits(&place.ok("models").stdout);
    fits(&place.ok("demo --rows 2000 --out demo").stdout);
}

#[test]
fn an_epoch_tells_training_loss_auc_and_pcoc_of_every_task() {
    let (place, names) = long_names();
    let ran = place.ok("train long.toml --out run --set train.epochs=1");
    let lines: Vec<&str> = ran.stderr.lines().skip_while(|line| !line.starts_with("epoch 1, step ")).collect();
    assert!(lines[..2].concat().contains("mean.from_impression.logloss 0."), "{lines:?}");
    for name in names {
        let at = lines.iter().position(|line| line.trim_start().starts_with(&name)).expect("a line for every task");
        let told = lines[at..=at + 1].concat();
        for figure in ["loss 0.", "auc 0.", "pcoc ", "logloss 0."] {
            assert!(told.contains(figure), "no {figure:?} of {name}: {told}");
        }
    }
    let ran = place.ok("train long.toml --out auc --set train.epochs=1 --set train.monitor=auc").stderr;
    assert!(!ran.contains("logloss"), "what is not asked for is not told: {ran}");
}
