//! `crosstie inspect` of data and of embeddings, and bad data wherever it is read.

use crate::place::Place;

const SCHEMA: &str = r#"
scenario = "tab"

[[task]]
name = "click"

[[task]]
name = "buy"
after = "click"

[[field]]
name = "price"
kind = "numeric"
"#;
const LOG: &str = "tab,price,click,buy\nhome,1.5,1,1\nhome,2.5,1,0\nfeed,,0,0\nfeed,4,0,0\n";

fn place(log: &str, schema: &str) -> Place {
    let place = Place::new();
    place.write("log.csv", log);
    place.write("schema.toml", schema);
    place
}

/// The cells of the last line of stdout that begins with this word: of a task,
/// not of the column with its label.
fn line(stdout: &str, word: &str) -> Vec<String> {
    let of = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
    stdout.lines().rev().map(of).find(|cells| cells.first().is_some_and(|cell| cell == word)).unwrap_or_default()
}

#[test]
fn data_is_told_with_the_schema_beside_it() {
    let ran = place(LOG, SCHEMA).ok("inspect log.csv").says(&["schema.toml"]).prints(&["4 rows, 4 columns, 1 file"]);
    assert_eq!(line(&ran.stdout, "price"), ["price", "text", "25.00", "%", "3", "1.5000", "2.6667", "4"]);
    // Of the two clicked rows one was bought: a half there, a quarter of all.
    assert_eq!(line(&ran.stdout, "buy"), ["buy", "click", "2", "1", "50.00", "%", "25.00", "%", "0", "0"]);
    assert_eq!(line(&ran.stdout, "feed"), ["feed", "2", "50.00", "%", "0.00", "%", "-"]);
}

#[test]
fn a_whole_file_is_told_as_tables() {
    let expected = "\
4 rows, 4 columns, 1 file

 column  type  missing  distinct   least    mean  greatest
───────────────────────────────────────────────────────────
 tab     text   0.00 %         2
 price   text  25.00 %         3  1.5000  2.6667         4
 click   text   0.00 %         2       0  0.5000         1
 buy     text   0.00 %         2       0  0.2500         1

 task   after  rows  positives     rate  of all rows  no parent  no label
──────────────────────────────────────────────────────────────────────────
 click  -         4          2  50.00 %      50.00 %          0         0
 buy    click     2          1  50.00 %      25.00 %          0         0

 scenario  rows    share     click      buy
────────────────────────────────────────────
 feed         2  50.00 %    0.00 %        -
 home         2  50.00 %  100.00 %  50.00 %
";
    assert_eq!(place(LOG, SCHEMA).ok("inspect log.csv").stdout, expected);
}

#[test]
fn a_schema_may_lie_elsewhere() {
    let place = Place::new();
    place.write("log.csv", LOG);
    place.write("schemas/mine.toml", SCHEMA);
    let ran = place.ok("inspect log.csv").says(&["--schema"]);
    assert!(line(&ran.stdout, "feed").is_empty(), "scenarios without a schema");
    let ran = place.ok("inspect log.csv --schema schemas/mine.toml");
    assert!(!line(&ran.stdout, "feed").is_empty());
}

#[test]
fn bad_data_is_refused_with_its_place() {
    let label = place(&LOG.replace("feed,,0,0", "feed,,2,0"), SCHEMA);
    label.run("inspect log.csv").exit(1).says(&["log.csv: row 3, column `click`", "2"]);
    let column = place(LOG, &SCHEMA.replace("price", "prise"));
    column.run("inspect log.csv").exit(1).says(&["there is no column `prise`", "`price`"]);
    let empty = place("", SCHEMA);
    empty.run("inspect log.csv").exit(1).says(&["log.csv", "empty"]);
    let ragged = place(&LOG.replace("home,2.5,1,0", "home,2.5"), SCHEMA);
    ragged.run("inspect log.csv").exit(1).says(&["log.csv", "row 2"]);
    let parent = place(LOG, &SCHEMA.replace("after = \"click\"", "after = \"clik\""));
    parent.run("inspect log.csv").exit(1).says(&["schema.toml", "`clik`", "`click`"]);
    Place::new().run("inspect nowhere.parquet").exit(1).says(&["nowhere.parquet"]);
    place(LOG, SCHEMA).run("inspect log.csv --graph").exit(1).says(&["no run or artifact"]);
}

/// A log of ten thousand rows, and a config of a model on it.
fn trained(models: &[(&str, &str)]) -> Place {
    let place = Place::new();
    place.ok("synth --rows 10000 --scenarios 2 --out data");
    for (run, model) in models {
        let config = format!("[data]\ndir = \"data\"\n[model]\n{model}\n[train]\nepochs = 1\nbatch_size = 256\n");
        place.write(&format!("{run}.toml"), &config);
        place.ok(&format!("train {run}.toml --out {run}"));
    }
    place
}

/// The lines of a table after its header, cell by cell.
fn compared(stdout: &str) -> Vec<Vec<String>> {
    let lines = stdout.lines().skip_while(|line| !line.contains('─')).skip(1).take_while(|line| !line.is_empty());
    // Cells may hold a blank, but never two.
    lines
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(String::from).collect())
        .collect()
}

#[test]
fn the_tables_of_tasks_are_compared_pair_by_pair() {
    let place = trained(&[("run", "name = \"single-task\"\nunits = [8]")]);
    let ran = place.ok("inspect run --embeddings").prints(&["neighbours:", "adjusted Rand"]);
    let lines = compared(&ran.stdout);
    let tables: std::collections::BTreeSet<&str> = lines.iter().map(|line| line[0].as_str()).collect();
    // Five tasks are ten pairs.
    assert_eq!(lines.len(), 10 * tables.len(), "{}", ran.stdout);
    assert!(tables.contains("user_id") && tables.contains("device"), "{tables:?}");
    let of = |table: &str| lines.iter().find(|line| line[..3] == [table, "click", "like"]).expect("click and like");
    assert_eq!(of("device")[4..], ["too few", "-", "-"]);
    let users = of("user_id");
    let figures: Vec<f64> = users[4..].iter().map(|figure| figure.parse().expect("a figure")).collect();
    let values: f64 = users[3].parse().expect("a count");
    assert!((figures[1] - 10.0 / (values - 1.0)).abs() < 1e-4, "{users:?}");
    assert!((0.0..1.0).contains(&figures[0]) && (-0.5..1.0).contains(&figures[2]), "{users:?}");
    let fewer = compared(&place.ok("inspect run --embeddings --values 20").stdout);
    assert!(fewer.iter().any(|line| line[3] == "20" && line[5] == "0.5263"), "{fewer:?}");
    assert_eq!(place.ok("inspect run --embeddings").stdout, ran.stdout);
}

#[test]
fn what_all_tasks_learn_together_had_no_name() {
    let shared = "[model.shared]\nexpert_units = [8]\ntower_units = [8]";
    let place = trained(&[("run", &format!("name = \"ektm\"\nbottom_units = [8]\n{shared}"))]);
    let lines = compared(&place.ok("inspect run --embeddings").stdout);
    let others: Vec<&str> =
        lines.iter().filter(|line| line[..2] == ["user_id", "click"]).map(|line| &*line[2]).collect();
    assert_eq!(others, ["like", "follow", "cart", "buy", "shared 1", "shared 2"]);
}

#[test]
fn the_tables_of_two_models_are_compared() {
    let one = "name = \"shared-bottom\"";
    let place = trained(&[("one", one), ("two", "name = \"single-task\"\nunits = [8]")]);
    place.ok("inspect one --embeddings").prints(&["the tasks share one set of tables", "--against"]);
    let same = compared(&place.ok("inspect one --embeddings --against one/artifact").stdout);
    let users = same.iter().find(|line| line[0] == "user_id").expect("users");
    assert_eq!([&users[1], &users[2], &users[4], &users[6]], ["all tasks", "all tasks", "1.0000", "1.0000"]);
    let other = compared(&place.ok("inspect one --embeddings --against two").stdout);
    let others: Vec<&str> = other.iter().filter(|line| line[0] == "user_id").map(|line| line[2].as_str()).collect();
    assert_eq!(others, ["click", "like", "follow", "cart", "buy"]);
    place.run("inspect one --against two").exit(1).says(&["one is no data file; --embeddings"]);
    place.run("inspect one --embeddings --graph").exit(2).says(&["cannot be used with"]);
    place.run("inspect one --embeddings --against nowhere").exit(1).says(&["nowhere", "no such directory"]);
    place
        .run("inspect data/train.parquet --embeddings")
        .exit(1)
        .says(&["data/train.parquet is no run and no artifact"]);
}

#[test]
fn tables_need_not_have_the_same_values_or_widths() {
    let place = trained(&[("one", "name = \"shared-bottom\"")]);
    let schema = place.read("data/schema.toml");
    let user = "name = \"user_id\"\nkind = \"categorical\"\nside = \"user\"\nmin_count = 10";
    let other = schema.replace(user, &user.replace("10", "25\nwidth = 3"));
    place.write("two/schema.toml", &other.replace("name = \"brand\"", "name = \"maker\"\ncolumn = \"brand\""));
    place.write("hashed/schema.toml", &schema.replace(user, &user.replace("min_count = 10", "buckets = 5000")));
    for other in ["two", "hashed"] {
        place.ok(&format!("train one.toml --set data.schema='{other}/schema.toml' --out {other}/run"));
    }
    let of = |ran: crate::place::Ran, table: &str| {
        compared(&ran.stdout).into_iter().find(|line| line[0] == table).expect("the table")
    };
    let users = |arguments: &str| -> (usize, String) {
        let line = of(place.ok(&format!("inspect {arguments}")), "user_id");
        (line[3].parse().expect("a count"), line[4].clone())
    };
    let (all, _) = users("one --embeddings --against one");
    let (some, neighbours) = users("one --embeddings --against two/run");
    assert!(some < all && neighbours.parse::<f64>().expect("a figure") < 1.0, "{some} of {all}: {neighbours}");
    assert_eq!(of(place.ok("inspect one --embeddings --against two/run"), "brand")[4], "not in other");
    // Of 5,000 buckets those count that have learned: at most one for each of 200 users.
    let (hashed, neighbours) = users("hashed/run --embeddings --against hashed/run");
    assert!((150..=200).contains(&hashed) && neighbours == "1.0000", "{hashed}: {neighbours}");
    assert_eq!(users("one --embeddings --against hashed/run"), (0, "too few".into()));
}

#[test]
fn models_that_started_alike_are_told() {
    let place = trained(&[("one", "name = \"shared-bottom\"")]);
    place.ok("train one.toml --set train.seed=2 --out two");
    let said = "started from the same numbers";
    place.ok("inspect one --embeddings --against one").prints(&[said]);
    let ran = place.ok("inspect one --embeddings --against two");
    assert!(!ran.stdout.contains(said), "{}", ran.stdout);
}
