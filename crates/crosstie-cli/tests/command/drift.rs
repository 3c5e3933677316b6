//! What differs from the training rows, said while training, by `evaluate`, and by
//! `inspect --against`.

use crate::place::{Place, Ran};

const SCHEMA: &str = "\
scenario = \"tab\"
scenario_min_rows = 10
[[task]]
name = \"click\"
[[field]]
name = \"city\"
kind = \"categorical\"
[[field]]
name = \"price\"
kind = \"numeric\"
[[field]]
name = \"a_very_long_name_of_a_field_that_nobody_wants_to_type\"
column = \"price\"
kind = \"numeric\"
[[field]]
name = \"city_rate\"
kind = \"rate\"
key = [\"city\"]
";
const CONFIG: &str = "\
[data]
schema = \"schema.toml\"
train = [\"train.csv\"]
valid = [\"valid.csv\"]
test = [\"test.csv\"]
[model]
name = \"single-task\"
units = [4]
[train]
epochs = 1
";

/// Rows that follow a rule; `city` and `price` may go another way.
fn log(rows: usize, start: usize, city: &str, price: f64) -> String {
    let row = |row: usize| {
        let lot = (row * 7919 + 13) % 10_007;
        let click = u8::from(lot % 10 < 3);
        format!("{},{city}{},{},{click}\n", ["home", "feed"][lot / 7 % 2], lot % 5, price + (lot % 100) as f64)
    };
    format!("tab,city,price,click\n{}", (start..start + rows).map(row).collect::<String>())
}

fn place(valid: &str, test: &str) -> Place {
    let place = Place::new();
    place.write("schema.toml", SCHEMA);
    place.write("train.csv", &log(4000, 0, "c", 0.0));
    place.write("valid.csv", valid);
    place.write("test.csv", test);
    place.write("config.toml", CONFIG);
    place
}

fn like(rows: usize) -> String {
    log(rows, 5000, "c", 0.0)
}

fn warnings(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect()
}

#[test]
fn files_like_the_training_rows_are_trained_on_without_a_word() {
    let place = place(&like(1000), &like(1500));
    let ran = place.ok("train config.toml --out run");
    assert!(warnings(&ran).is_empty(), "{}", ran.stderr);
    let ran = place.ok("evaluate run");
    assert!(warnings(&ran).is_empty(), "{}", ran.stderr);
    let ran = place.ok("inspect --against run test.csv").prints(&["1,500 rows of test.csv"]);
    assert!(!ran.stdout.lines().any(|line| line.trim_start().starts_with("! ")), "{}", ran.stdout);
}

#[test]
fn what_differs_from_the_training_rows_is_named_in_one_line_each() {
    let place = place(&log(1000, 5000, "City ", 0.0), &log(1500, 5000, "c", 500.0));
    let unknown = "field `city`: 100 % of the values of valid.csv are unknown, where 0 % were to be expected";
    let beyond = "field `price`: 100 % of the numbers of test.csv lie beyond those of the training rows (0 to 99)";
    let ran = place.ok("train config.toml --out run").says(&[unknown, beyond]);
    assert_eq!(ran.stderr.matches("field `city`: ").count(), 1, "{}", ran.stderr);
    assert!(!ran.stderr.contains("of the values of test.csv"), "{}", ran.stderr);
    assert!(place.read("run/train.log").contains(unknown), "the log of the run has it, too");
    place.ok("evaluate run").says(&[beyond]);
    place.ok("evaluate run --data valid.csv").says(&[unknown]);
}

#[test]
fn any_file_is_compared_with_the_training_rows_of_an_artifact() {
    let place = place(&like(1000), &like(1000));
    place.ok("train config.toml --out run");
    place.write("a.csv", &log(600, 5000, "City ", 500.0));
    place.write("b.csv", &log(600, 6000, "City ", 500.0));
    let ran = place.ok("inspect --against run a.csv b.csv").prints(&["1,200 rows of these files"]);
    let told: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let line = |name: &str, what: &str| {
        told.iter()
            .find(|cells| cells.contains(&name) && cells.contains(&what))
            .unwrap_or_else(|| panic!("{name} {what}"))
    };
    assert_eq!(line("city", "unknown")[..7], ["!", "city", "unknown", "0.00", "%", "100.00", "%"]);
    assert_eq!(line("price", "beyond")[0], "!");
    assert_eq!(line("click", "positive")[0], "click", "as often as in training");
    let wide: Vec<&str> = ran.stdout.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");

    // Without labels all but the actions is compared.
    let unlabelled: String =
        like(500).lines().map(|line| line.rsplit_once(',').map_or(line, |cut| cut.0).to_string() + "\n").collect();
    place.write("c.csv", &unlabelled);
    let ran = place.ok("inspect --against run/artifact c.csv").prints(&["how often actions happen is not compared"]);
    assert!(!ran.stdout.contains("positive  "), "{}", ran.stdout);
    assert!(ran.stdout.contains("These files hold no labels, or not of all tasks"), "{}", ran.stdout);

    // A row says nothing, though it has all labels.
    for rows in [0, 1] {
        place.write("one.csv", &log(rows, 5000, "c", 0.0));
        let ran = place.ok("inspect --against run one.csv").prints(&["These rows are too few to be compared"]);
        assert!(!ran.stdout.contains("labels"), "{}", ran.stdout);
    }

    // An artifact of before training rows were described says so.
    std::fs::remove_file(place.path("run/artifact/features/profile.json")).expect("it is there");
    place.run("inspect --against run a.csv").exit(1).says(&["profile.json"]);
    place.run("inspect --against run nowhere.csv").exit(1);
    place.run("inspect --against run --schema schema.toml a.csv").exit(2).says(&["cannot be used with"]);
}

#[test]
fn of_a_wide_log_what_matters_is_shown_and_the_rest_on_demand() {
    let place = Place::new();
    let names: Vec<String> = (0..60).map(|column| format!("x{column}")).collect();
    let fields = names.iter().map(|name| format!("[[field]]\nname = \"{name}\"\nkind = \"numeric\"\n"));
    place.write("schema.toml", &(String::from("[[task]]\nname = \"click\"\n") + &fields.collect::<String>()));
    // Every column moves for whoever looks at `moved`.
    let log = |seed: u32, moved: bool| {
        let cell = |row: u32, column: u32| (row * 61 + column * 17 + seed).wrapping_mul(2_654_435_761) >> 22;
        let cells =
            |row| (0..60).map(|column| (cell(row, column) + 500 * u32::from(moved)).to_string()).collect::<Vec<_>>();
        let row = |row: u32| format!("{},{}\n", cells(row).join(","), u32::from(row.is_multiple_of(5)));
        format!("{},click\n{}", names.join(","), (0..1500).map(row).collect::<String>())
    };
    for (name, seed) in [("train.csv", 1), ("valid.csv", 2), ("test.csv", 3)] {
        place.write(name, &log(seed, false));
    }
    place.write("moved.csv", &log(4, true));
    place.write(
        "ads.toml",
        "[data]\nschema = \"schema.toml\"\ntrain = [\"train.csv\"]\nvalid = [\"valid.csv\"]\n\
         [model]\nname = \"shared-bottom\"\n[train]\nepochs = 1\nreport = false\n",
    );
    place.ok("train ads.toml --out run");
    let lines = |ran: &Ran| ran.stdout.lines().filter(|line| line.contains(" ± ")).count();
    let few =
        place.ok("inspect --against run test.csv").prints(&["lines are left out, none of which matters: --all shows"]);
    assert_eq!(lines(&few), 40, "{}", few.stdout);
    let all = place.ok("inspect --against run test.csv --all");
    assert!(lines(&all) >= 120 && !all.stdout.contains("left out"), "{}", all.stdout);
    // What matters is never left out.
    let moved = place.ok("inspect --against run moved.csv");
    let marked = moved.stdout.lines().filter(|line| line.contains(" ± ") && line.trim_start().starts_with('!')).count();
    assert!(marked >= 60 && lines(&moved) == marked, "{marked} {}", moved.stdout);
}
