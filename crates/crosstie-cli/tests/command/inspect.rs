//! `crosstie inspect` of data, and bad data wherever it is read.

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
