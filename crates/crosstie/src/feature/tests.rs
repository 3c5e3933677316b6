use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::batch::{Ids, NO_GROUP};
use crate::error::Error;

const SCHEMA: &str = r#"
    scenario = "tab"
    scenario_min_rows = 2
    group = "user"
    weight = "w"
    [[task]]
    name = "click"
    [[task]]
    name = "like"
    after = "click"
    [[field]]
    name = "user"
    kind = "categorical"
    min_count = 2
    table = "ids"
    [[field]]
    name = "seen"
    column = "tags"
    kind = "multi"
    separator = "|"
    min_count = 2
    table = "ids"
    [[field]]
    name = "hashed"
    column = "user"
    kind = "categorical"
    buckets = 5
    [[field]]
    name = "plain"
    column = "price"
    kind = "numeric"
    transform = "none"
    [[field]]
    name = "price"
    kind = "numeric"
    transform = "standard"
    [[field]]
    name = "log_price"
    column = "price"
    kind = "numeric"
    transform = "log1p"
    [[field]]
    name = "price_bucket"
    column = "price"
    kind = "numeric"
    transform = "quantile"
    buckets = 2
    width = 4
    [[field]]
    name = "user_rate"
    kind = "rate"
    key = ["user"]
    smoothing = 20
    count = true
    folds = 3
    [[field]]
    name = "pair_rate"
    kind = "rate"
    key = ["user", "tab"]
    smoothing = 20
    count = true
    time = "at"
"#;

const HEADER: &str = "user,tags,price,tab,at,w,click,like";

/// A table with a file of its own.
struct Table {
    directory: TempDir,
    path: PathBuf,
}

impl Table {
    fn new(header: &str, lines: &[String]) -> Table {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.csv");
        std::fs::write(&path, format!("{header}\n{}\n", lines.join("\n"))).unwrap();
        Table { directory, path }
    }

    fn source(&self) -> Source {
        Source::open(&[self.path.to_str().unwrap()]).unwrap()
    }

    fn learn_training(&self) -> TrainingFeatures {
        Features::learn(&schema(), &self.source()).unwrap()
    }

    fn learn(&self) -> Arc<Features> {
        self.learn_training().features().clone()
    }

    fn encode(&self, features: &Features, purpose: Purpose, piece: usize) -> Batch {
        self.encode_with(&features.columns(purpose), piece, |rows| features.encode(rows, purpose))
    }

    fn encode_training(&self, features: &TrainingFeatures, piece: usize) -> Batch {
        self.encode_with(&features.columns(), piece, |rows| features.encode(rows))
    }

    fn encode_with(&self, columns: &[&str], piece: usize, encode: impl Fn(&Rows) -> Result<Batch>) -> Batch {
        let mut whole = Batch::default();
        for rows in self.source().rows(columns, piece) {
            whole.append(&encode(&rows.unwrap()).unwrap());
        }
        whole
    }
}

fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| line.to_string()).collect()
}

impl Table {
    /// The lines but for the header.
    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.path).unwrap().lines().skip(1).map(str::to_string).collect()
    }
}

fn small() -> Table {
    Table::new(
        HEADER,
        &lines(&[
            "ann,x|bob,1.5,home,1,1,1,1",
            "bob,x,2,home,2,1,0,0",
            "ann,,,feed,3,2,1,",
            "cid,y|x,4,home,4,1,0,0",
            ",rare,9,feed,5,1,,0",
            "ann,x,1,solo,6,1,1,0",
        ]),
    )
}

#[test]
fn the_labels_of_rows_that_weigh_nothing_are_in_no_rate() {
    let table = small();
    let mut with_others = table.lines();
    with_others.extend(lines(&["ann,x,1,home,7,0,0,0", "bob,x,1,home,8,0,1,1", "cid,x,1,feed,9,0,1,1"]));
    let learned = [table, Table::new(HEADER, &with_others)].map(|table| table.learn_training());
    let [alone, beside] = &learned;
    assert_eq!(alone.base_rates, beside.base_rates);
    let means = |features: &TrainingFeatures| {
        let rates = features.features().encoders.iter().filter_map(|encoder| encoder.rates());
        rates.map(|rates| rates.smoothing.means.clone()).collect::<Vec<_>>()
    };
    assert_eq!(means(alone).len(), 2);
    assert_eq!(means(alone), means(beside));
}

#[test]
fn cells_become_the_ids_that_the_rules_say() {
    let table = small();
    let training = table.learn_training();
    let layout = training.features().layout();
    // Counts over both fields: x 4, ann 3, bob 2, and cid, y, rare 1 each.
    let rows: Vec<(&str, usize, usize)> =
        layout.tables.iter().map(|table| (table.name.as_str(), table.rows, table.width)).collect();
    assert_eq!(rows, [("ids", 5, 16), ("hashed", 7, 16), ("price_bucket", 4, 4)]);
    let batch = table.encode_training(&training, 100);
    assert!(batch.check(layout).is_ok());
    assert_eq!(batch.ids[0], Ids::One(vec![3, 4, 3, 0, 1, 3]));
    let many = Ids::Many { offsets: vec![0, 2, 3, 3, 5, 6, 7], values: vec![2, 4, 2, 0, 2, 0, 2] };
    assert_eq!(batch.ids[1], many);
    let Ids::One(hashed) = &batch.ids[2] else { panic!("one value per row") };
    assert_eq!(hashed[0], 2 + (xxh3_64(b"ann") % 5) as u32);
    assert_eq!(hashed[4], MISSING);
    // Of 1, 1.5, 2, 4, 9 the cut point is that at 5/2: 2.
    assert_eq!(batch.ids[3], Ids::One(vec![2, 3, 1, 3, 3, 2]));
    assert_eq!(layout.scenarios, ["other", "home", "feed"]);
    assert_eq!(batch.scenarios, [1, 1, 2, 1, 2, 0]);
    assert_eq!(batch.weights, [1.0, 1.0, 2.0, 1.0, 1.0, 1.0]);
    assert_eq!(batch.groups[0], xxh3_64(b"ann"));
    assert_eq!(batch.groups[4], NO_GROUP);
    assert_eq!(batch.labels[..4], [1.0, 1.0, 0.0, 0.0]);
    assert!(batch.labels[5].is_nan());
}

#[test]
fn numbers_are_transformed_and_missing_ones_are_zero_and_told() {
    let table = small();
    let features = table.learn();
    let width = features.layout().dense_width();
    assert_eq!(width, 3 * 2 + 2 * 3);
    let batch = table.encode(&features, Purpose::Scoring, 100);
    let column = |column: usize| batch.dense.iter().skip(column).step_by(width).copied().collect::<Vec<f32>>();
    assert_eq!(column(0), [1.5, 2.0, 0.0, 4.0, 9.0, 1.0]);
    // Mean 3.5, variance (4 + 2.25 + 0.25 + 30.25 + 6.25) / 5 = 8.6.
    let expected = [1.5f64, 2.0, 3.5, 4.0, 9.0, 1.0].map(|x| ((x - 3.5) / 8.6f64.sqrt()) as f32);
    for missing in [1, 3, 5] {
        assert_eq!(column(missing), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    }
    for (found, expected) in column(2).iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    let logs = column(4);
    assert!(logs[2] == 0.0 && logs[5] < logs[0] && logs[0] < logs[3] && logs[3] < logs[4]);
    assert_eq!(numeric::log1p(-1.0), -(2f64.ln()));
}

#[test]
fn the_first_row_of_a_key_in_time_sees_no_rows() {
    let mut rows = small().lines();
    rows.push("ann,x,1,home,9,1,0,".into());
    let table = Table::new(HEADER, &rows);
    let training = table.learn_training();
    let width = training.features().layout().dense_width();
    let batch = table.encode_training(&training, 100);
    // Keys (ann, home), (bob, home), ... are all different: none but the last has a past.
    let seen = |row: usize| batch.dense[row * width + 9..row * width + 12].to_vec();
    assert!((1..6).all(|row| seen(row) == seen(0)));
    assert_ne!(seen(6), seen(0));
    let scored = table.encode(training.features(), Purpose::Evaluation, 100);
    assert_ne!(scored.dense[9..12], batch.dense[9..12]);
}

#[test]
fn training_rows_of_another_source_than_the_learned_one_are_refused() {
    let training = small().learn_training();
    let other = small();
    let rows = other.source().rows(&training.columns(), 100).next().unwrap().unwrap();
    let said = training.encode(&rows).unwrap_err().to_string();
    assert!(said.contains("log.csv") && said.contains("its own label"), "{said}");
    // The same file, longer than it was.
    let table = small();
    let training = table.learn_training();
    let line = "eve,x,1,home,9,1,0,0\n";
    std::fs::write(&table.path, std::fs::read_to_string(&table.path).unwrap() + line).unwrap();
    let rows = table.source().rows(&training.columns(), 100).next().unwrap().unwrap();
    assert!(training.encode(&rows).is_err());
}

#[test]
fn a_sketch_has_the_names_and_widths_of_what_is_learned() {
    let (sketch, learned) = (Features::sketch(&schema()).unwrap(), small().learn());
    let (sketch, learned) = (sketch.layout(), learned.layout());
    assert_eq!((&sketch.embedded, &sketch.tasks), (&learned.embedded, &learned.tasks));
    // What depends on the rows is not known: whether numbers are missing, whether there are many values.
    let names = |layout: &Layout| layout.dense.iter().map(|dense| dense.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(sketch), names(learned));
    let shape = |layout: &Layout| -> Vec<(String, usize)> {
        layout.tables.iter().map(|table| (table.name.clone(), table.width)).collect()
    };
    assert_eq!(shape(sketch), shape(learned));
}

#[test]
fn learning_stops_when_told_to() {
    let said = Features::learn_watched(&schema(), &small().source(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(said, Err(Error::Stopped(_))));
}

#[test]
fn scoring_reads_features_only() {
    let training = small().learn_training();
    let features = training.features();
    assert_eq!(features.columns(Purpose::Scoring), ["user", "tags", "price", "tab"]);
    assert_eq!(features.columns(Purpose::Evaluation), ["user", "tags", "price", "tab", "click", "like", "w"]);
    assert!(training.columns().contains(&"at"));
    let table = Table::new("user,tags,price,tab", &lines(&["zoe,x,1,nowhere", "ann,,,home"]));
    let batch = table.encode(features, Purpose::Scoring, 100);
    assert_eq!(batch.ids[0], Ids::One(vec![UNKNOWN, 3]));
    assert_eq!(batch.scenarios, [0, 1]);
    assert!(batch.labels.is_empty() && batch.weights.is_empty() && batch.groups.is_empty());
}

#[test]
fn without_a_scenario_field_there_is_one() {
    let table = small();
    let schema = Schema { scenario: None, ..schema() };
    let training = Features::learn(&schema, &table.source()).unwrap();
    assert_eq!(training.features().layout().scenarios, ["all"]);
    assert_eq!(table.encode(training.features(), Purpose::Scoring, 100).scenarios, [0; 6]);
}

#[test]
fn a_scenario_called_other_joins_those_pooled() {
    let table = Table::new(HEADER, &["other", "other", "b", "b"].map(|tab| format!("ann,x,1,{tab},1,1,1,0")));
    let features = table.learn();
    assert_eq!(features.layout().scenarios, ["other", "b"]);
    assert_eq!(table.encode(&features, Purpose::Scoring, 100).scenarios, [0, 0, 1, 1]);
}

#[test]
fn that_no_row_is_of_other_is_known_also_of_what_was_saved() {
    let directory = tempfile::tempdir().unwrap();
    for (tabs, empty) in [(["a", "a", "b", "b"], true), (["a", "a", "b", "c"], false), (["a", "a", "b", ""], false)] {
        let features = Table::new(HEADER, &tabs.map(|tab| format!("ann,x,1,{tab},1,1,1,0"))).learn();
        assert_eq!(features.layout().other_is_empty, empty, "{tabs:?}");
        let saved = directory.path().join(tabs.concat());
        std::fs::create_dir(&saved).unwrap();
        features.save(&saved).unwrap();
        assert_eq!(Features::load(&saved).unwrap().layout(), features.layout());
    }
}

#[test]
fn what_was_saved_scores_the_same() {
    let table = small();
    let learned = table.learn();
    let directory = table.directory.path().join("artifact [1]");
    std::fs::create_dir(&directory).unwrap();
    learned.save(&directory).unwrap();
    let loaded = Features::load(&directory).unwrap();
    assert_eq!(loaded.layout(), learned.layout());
    assert_eq!(loaded.schema(), learned.schema());
    assert_eq!(loaded.summary(), learned.summary());
    let (one, other) = [&*learned, &loaded].map(|features| table.encode(features, Purpose::Evaluation, 100)).into();
    // NaN labels are not equal to themselves.
    assert_eq!(Batch { labels: Vec::new(), ..one }, Batch { labels: Vec::new(), ..other });

    // Saved again, it is the same to the byte.
    let again = table.directory.path().join("again");
    std::fs::create_dir(&again).unwrap();
    loaded.save(&again).unwrap();
    for file in ["schema.toml", "features.json", "vocabulary/ids.parquet", "rate/pair_rate.parquet"] {
        assert_eq!(std::fs::read(directory.join(file)).unwrap(), std::fs::read(again.join(file)).unwrap(), "{file}");
    }
}

#[test]
fn a_number_of_single_precision_falls_where_its_text_falls() {
    use crate::arrow::array::{ArrayRef, Float32Array, Int8Array, RecordBatch};
    let prices: Vec<f32> = (0..600).map(|row| (row % 59) as f32 / 10.0).collect();
    let table = Table::new("price,click", &prices.iter().map(|price| format!("{price},1")).collect::<Vec<_>>());
    let parquet = table.directory.path().join("log.parquet");
    let columns: [(&str, ArrayRef); 2] = [
        ("price", Arc::new(Float32Array::from(prices))),
        ("click", Arc::new(Int8Array::from_iter_values((0..600).map(|_| 1)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = crate::data::Writer::create(&parquet, batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let both = [table.path.clone(), parquet].map(|path| Source::open(&[path.to_str().unwrap()]).unwrap());

    let schema = "[[task]]\nname = \"click\"\n[[field]]\nname = \"price\"\nkind = \"numeric\"\n";
    let schema = Schema::parse(&format!("{schema}transform = \"quantile\"\nbuckets = 100\n")).unwrap();
    let mut learned =
        both.each_ref().map(|source| Features::learn(&schema, source).unwrap().features().clone()).to_vec();
    // As the first versions saved what they had learned of single precision.
    let directory = table.directory.path().join("artifact");
    std::fs::create_dir(&directory).unwrap();
    learned[0].save(&directory).unwrap();
    let json = directory.join("features.json");
    let mut statistics: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    for cut in statistics["cuts"]["price"].as_array_mut().unwrap() {
        *cut = f64::from(cut.as_f64().unwrap() as f32).into();
    }
    std::fs::write(&json, serde_json::to_vec(&statistics).unwrap()).unwrap();
    learned.push(Arc::new(Features::load(&directory).unwrap()));

    let expected = Ids::One((0..600).map(|row| 2 + row % 59).collect());
    for features in &learned {
        for source in &both {
            let rows = source.rows(&features.columns(Purpose::Scoring), 1000).next().unwrap().unwrap();
            assert_eq!(
                features.encode(&rows, Purpose::Scoring).unwrap().ids[0],
                expected,
                "{}",
                source.called("files")
            );
        }
    }
}

#[test]
fn damaged_files_are_named() {
    let table = small();
    let directory = table.directory.path().join("artifact");
    std::fs::create_dir(&directory).unwrap();
    table.learn().save(&directory).unwrap();
    let refused = || Features::load(&directory).unwrap_err().to_string();

    let json = directory.join("features.json");
    let text = std::fs::read_to_string(&json).unwrap();
    for (from, to, says) in [
        ("\"cuts\"", "\"cits\"", "cits"),
        ("\"price_bucket\"", "\"prize\"", "list of cuts"),
        ("\"standard_deviation\": ", "\"standard_deviation\": -", "cannot be used"),
        ("\"user_rate\"", "\"luser_rate\"", "`user_rate` are missing"),
    ] {
        std::fs::write(&json, text.replace(from, to)).unwrap();
        let said = refused();
        assert!(said.contains("features.json") && said.contains(says), "{said}");
    }
    std::fs::write(&json, text).unwrap();

    let rates = directory.join("rate/user_rate.parquet");
    std::fs::write(&rates, b"PAR1 and nothing else").unwrap();
    assert!(refused().contains("user_rate.parquet"));
    std::fs::remove_file(directory.join("vocabulary/ids.parquet")).unwrap();
    assert!(refused().contains("ids.parquet"));
}

#[test]
fn a_missing_column_is_told_with_the_nearest() {
    let table = Table::new("user,tags,price,tab,at,w,clik,like", &lines(&["ann,x,1,home,1,1,1,0"]));
    let said = Features::learn(&schema(), &table.source()).unwrap_err().to_string();
    assert!(said.contains("log.csv") && said.contains("did you mean `clik`?"), "{said}");
}

#[test]
fn bad_cells_are_told_by_row() {
    for (line, column) in
        [("ann,x,cheap,home,1,1,1,0", "price"), ("ann,x,1,home,1,1,2,0", "click"), ("ann,x,1,home,,1,1,0", "at")]
    {
        let table = Table::new(HEADER, &lines(&["ann,x,1,home,1,1,1,0", line]));
        match Features::learn(&schema(), &table.source()) {
            Err(Error::Cell { row: 2, column: found, .. }) => assert_eq!(found, column),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_rows_are_refused() {
    let said = Features::learn(&schema(), &Table::new(HEADER, &[]).source()).unwrap_err().to_string();
    assert!(said.contains("no rows to learn from"), "{said}");
}

#[test]
fn a_slip_of_the_pen_under_never_is_told() {
    let schema = |never: &str| Schema::parse(&format!("never = {never}\n{SCHEMA}")).unwrap();
    let warnings = |never| Features::learn(&schema(never), &small().source()).unwrap().features().warnings().join("\n");
    let told = warnings("[\"Pryce\", \"refund\"]");
    assert!(told.contains("`never` lists `Pryce`") && told.contains("did you mean `price`?"), "{told}");
    assert!(!told.contains("refund"), "which only other files may have: {told}");
}

#[test]
fn warnings_tell_what_is_odd() {
    let table = Table::new(HEADER, &["a", "b", "c"].map(|user| format!("{user},{user}{user},1,{user},1,1,0,1")));
    let warnings = table.learn().warnings().join("\n");
    for told in [
        "task `click`: no positive label",
        "task `like`: no label at all among the training rows where `click` is 1",
        "3 training rows have label 1 although `click` is 0",
        "vocabulary `ids`: 6 of 6 values, which are 6 of the 6 that training rows hold",
        "3 of 3 scenarios have fewer than 2 training rows (`scenario_min_rows`), 3 together",
    ] {
        assert!(warnings.contains(told), "{told}\n{warnings}");
    }
    assert_eq!(small().learn().warnings().len(), 1, "{:?}", small().learn().warnings());
}

#[test]
fn a_vocabulary_of_many_values_has_rates_and_one_of_few_has_none() {
    let schema = |rates: &str| {
        let field = |name: &str| format!("[[field]]\nname = \"{name}\"\nkind = \"categorical\"\n{rates}");
        Schema::parse(&format!("[[task]]\nname = \"click\"\n{}{}", field("user"), field("tab"))).unwrap()
    };
    let rows: Vec<String> =
        (0..600).map(|row| format!("u{},x,1,{},1,1,{},0", row % 60, row % 3, u8::from(row % 7 == 0))).collect();
    let table = Table::new(HEADER, &rows);
    let dense = |rates: &str| -> Vec<String> {
        let training = Features::learn(&schema(rates), &table.source()).unwrap();
        training.features().layout().dense.iter().map(|dense| dense.name.clone()).collect()
    };
    assert_eq!(dense(""), ["user"]);
    assert_eq!(dense("rates = true\n"), ["user", "tab"]);
    assert_eq!(dense("rates = false\n"), [""; 0]);
}

/// Rows of 60 users, of whom every second clicks; `turned`, those who did not.
fn rows_of_users(turned: bool) -> Table {
    let click = |row: u64| {
        let likely = (row % 60).is_multiple_of(2) != turned;
        u8::from(crate::random::Stream::new(u64::from(turned), "click").uniform(row) < if likely { 0.6 } else { 0.2 })
    };
    let line = |row: u64| format!("u{},x,1,home,{row},1,{},", row % 60, click(row));
    Table::new(HEADER, &(0..1800).map(line).collect::<Vec<_>>())
}

const USERS: &str = "[[task]]\nname = \"click\"\n[[task]]\nname = \"like\"\nafter = \"click\"\n[[field]]\nname = \"user\"\n\
                     kind = \"categorical\"\n[[field]]\nname = \"by time\"\nkind = \"rate\"\nkey = [\"user\"]\ntime = \"at\"\n\
                     count = true\n";

#[test]
fn a_rate_that_says_nothing_of_other_rows_is_neutral_in_all_but_training_rows() {
    let (table, others) = (rows_of_users(false), rows_of_users(true));
    let learn = || Features::learn(&Schema::parse(USERS).unwrap(), &table.source()).unwrap();
    let (before, after) = (learn(), learn().carry_over(&others.source()).unwrap());
    let of_training = |features: &TrainingFeatures| without_labels(table.encode_training(features, 100));
    assert_eq!(of_training(&after), of_training(&before));
    let encode = |features: &TrainingFeatures| others.encode(features.features(), Purpose::Scoring, 100);
    let (before_of_others, of_others) = (encode(&before), encode(&after));
    // Columns: both rates of the user, then both by time, and their count.
    assert_eq!(after.features().layout().dense_width(), 5);
    let rows = of_others.dense.chunks(5).zip(before_of_others.dense.chunks(5));
    for (row, (found, expected)) in rows.enumerate() {
        assert_eq!([found[0], found[2]], [0.0; 2], "row {row}");
        // Of `like` nothing is known.
        assert_eq!([found[1], found[3], found[4]], [expected[1], expected[3], expected[4]], "row {row}");
    }
    let warning = after.features().warnings().last().unwrap();
    assert!(
        warning.starts_with("rates that say less")
            && warning.ends_with(": `user` (`click` 0.00), `by time` (`click` 0.00)"),
        "{warning}"
    );
    // It is part of what is saved.
    let directory = tempfile::tempdir().unwrap();
    after.features().save(directory.path()).unwrap();
    let loaded = Features::load(directory.path()).unwrap();
    assert_eq!(others.encode(&loaded, Purpose::Scoring, 100), of_others);
    let path = directory.path().join("features.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"carried\": [\n        0.0", "\"carried\": [\n        1.5", 1)).unwrap();
    let said = Features::load(directory.path()).unwrap_err().to_string();
    assert!(said.contains("found 1.5 for a share that carries over"), "{said}");
}

#[test]
fn rates_that_hold_of_other_rows_change_no_bit() {
    let (table, others) = (rows_of_users(false), rows_of_users(false));
    let before = Features::learn(&Schema::parse(USERS).unwrap(), &table.source()).unwrap();
    let expected = others.encode(before.features(), Purpose::Scoring, 100);
    let warnings = before.features().warnings().to_vec();
    let after = before.carry_over(&others.source()).unwrap();
    assert_eq!(others.encode(after.features(), Purpose::Scoring, 100), expected);
    assert_eq!(after.features().warnings(), warnings);
}

#[test]
fn values_that_became_unknown_are_told() {
    let table = small();
    let features = table.learn();
    let warnings = |lines: &[&str]| {
        let mut unknown = Unknown::new(&features);
        unknown.add(&Table::new("user,tags,price,tab", &self::lines(lines)).encode(&features, Purpose::Scoring, 100));
        unknown.warnings()
    };
    assert_eq!(warnings(&["ann,x,1,home", "bob,x,1,home", "zoe,x,1,home", ",x,1,home"]), [""; 0]);
    let [warning] = &warnings(&["Ann,x,1,home", "Bob,x,1,home", "ann,x,1,home"])[..] else { panic!() };
    assert!(warning.starts_with("field `user`: 2 of 3 values, more than half"), "{warning}");
}

#[test]
fn rare_values_are_counted_as_values_and_not_as_rows() {
    let schema = "[[task]]\nname = \"click\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\nmin_count = 3\n";
    let lines: Vec<String> = (0..20).map(|row| format!("u{},{}", row / 2, row % 2)).collect();
    let features = Features::learn(&Schema::parse(schema).unwrap(), &Table::new("user,click", &lines).source());
    let warnings = features.unwrap().features().warnings().to_vec();
    let told =
        "vocabulary `user`: 10 of 10 values, which are 20 of the 20 that training rows hold, are seen fewer than 3";
    assert!(warnings.iter().any(|warning| warning.starts_with(told)), "{warnings:?}");
}

#[test]
fn many_narrow_buckets_told_which_hour_a_row_was_of() {
    let buckets = |rows: usize, more: &str| {
        let schema = format!("[[task]]\nname = 'click'\n[[field]]\nname = 'pressure'\nkind = 'numeric'\n{more}");
        let lines: Vec<String> = (0..rows).map(|row| format!("{},{}", row * 7919 % rows, row % 2)).collect();
        let table = Table::new("pressure,click", &lines);
        let learned = Features::learn(&Schema::parse(&schema).unwrap(), &table.source()).unwrap();
        let Lookup::Quantile { cuts } = &learned.features().tables[0] else { panic!("a number has buckets") };
        cuts.len() + 1
    };
    assert_eq!(buckets(20_000, ""), 16);
    assert_eq!(buckets(3_000, ""), 12, "rows are few");
    assert_eq!(buckets(20_000, "buckets = 64\n"), 64, "asked for");
}

fn random_lines() -> impl Strategy<Value = Vec<String>> {
    let line = (
        ("[a-d]?", "[a-d]?(\\|[a-d]){0,2}", prop::option::of(-5i32..5), "[x-z]?"),
        (0i32..4, prop::option::of(0..2), prop::option::of(0..2)),
    );
    let number = |x: Option<i32>| x.map(|x| x.to_string()).unwrap_or_default();
    let line = line.prop_map(move |((user, tags, price, tab), (at, click, like))| {
        format!("{user},{tags},{},{tab},{at},1,{},{}", number(price), number(click), number(like))
    });
    prop::collection::vec(line, 1..25)
}

/// Everything but the labels, where NaN is not equal to itself.
fn without_labels(batch: Batch) -> Batch {
    Batch { labels: Vec::new(), ..batch }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn nothing_depends_on_how_rows_are_split(lines in random_lines(), piece in 1usize..9) {
        let table = Table::new(HEADER, &lines);
        let whole = table.learn_training();
        let split = learn::learn(&schema(), &table.source(), piece, &mut |_| ControlFlow::Continue(())).unwrap();
        let expected = without_labels(table.encode_training(&whole, 100));
        prop_assert_eq!(&expected, &without_labels(table.encode_training(&split, 100)));
        prop_assert_eq!(&expected, &without_labels(table.encode_training(&whole, 1)));
        let (whole, split) = (whole.features(), split.features());
        prop_assert_eq!(whole.layout(), split.layout());
        prop_assert_eq!(whole.summary(), split.summary());
        for purpose in [Purpose::Evaluation, Purpose::Scoring] {
            let expected = without_labels(table.encode(whole, purpose, 100));
            prop_assert_eq!(&expected, &without_labels(table.encode(split, purpose, 100)));
            // Row by row is the same as all at once.
            prop_assert_eq!(&expected, &without_labels(table.encode(whole, purpose, 1)));
        }
    }

    #[test]
    fn every_id_is_a_row_of_its_table(lines in random_lines(), others in random_lines()) {
        let features = Table::new(HEADER, &lines).learn();
        let layout = features.layout();
        let batch = Table::new(HEADER, &others).encode(&features, Purpose::Evaluation, 100);
        for (ids, field) in batch.ids.iter().zip(&layout.embedded) {
            let (Ids::One(ids) | Ids::Many { values: ids, .. }) = ids;
            prop_assert!(ids.iter().all(|id| (*id as usize) < layout.tables[field.table].rows));
        }
        prop_assert!(batch.scenarios.iter().all(|id| (*id as usize) < layout.scenarios.len()));
        prop_assert_eq!(batch.dense.len(), others.len() * layout.dense_width());
        prop_assert!(batch.dense.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn ids_do_not_depend_on_row_order(
        (lines, shuffled) in random_lines().prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle())),
    ) {
        let (one, other) = (Table::new(HEADER, &lines).learn(), Table::new(HEADER, &shuffled).learn());
        prop_assert_eq!(one.layout(), other.layout());
        let table = Table::new(HEADER, &lines);
        let (one, other) =
            (table.encode(&one, Purpose::Scoring, 100), table.encode(&other, Purpose::Scoring, 100));
        prop_assert_eq!(one.ids, other.ids);
        prop_assert_eq!(one.scenarios, other.scenarios);
    }
}
