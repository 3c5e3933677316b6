//! Recipes on tiny tables, and on the public data where they are at hand.

// A test may panic, and to the lint the helpers here are no tests.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use crosstie::data::Source;
use crosstie::data::recipe::{PrepareReport, RECIPES, prepare};
use crosstie::schema::{FieldKind, Schema};

const SPLITS: [&str; 3] = ["train.parquet", "valid.parquet", "test.parquet"];

/// A folder of the public data, from the variable `CROSSTIE_DATA`, else beside
/// the workspace; tells where to put it if it is absent.
fn data(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CROSSTIE_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let path = root.join(folder);
    if !path.is_dir() {
        println!("skipped: {} is not there (CROSSTIE_DATA names its parent)", path.display());
        return None;
    }
    Some(path)
}

fn column(directory: &Path, file: &str, name: &str) -> Vec<Option<String>> {
    let source = Source::open(&[directory.join(file).to_str().unwrap()]).unwrap();
    let mut cells = Vec::new();
    for rows in source.rows(&[name], 1 << 16) {
        let rows = rows.unwrap();
        rows.column(name).unwrap().each_text(|_, text| cells.push(text.map(str::to_string))).unwrap();
    }
    cells
}

fn texts(directory: &Path, file: &str, name: &str) -> Vec<String> {
    column(directory, file, name).into_iter().map(Option::unwrap_or_default).collect()
}

fn rows(directory: &Path) -> [u64; 3] {
    SPLITS.map(|file| Source::open(&[directory.join(file).to_str().unwrap()]).unwrap().total_rows().unwrap())
}

/// The schema, after checking that every file has all its columns and no
/// label is missing.
fn schema(directory: &Path, file: &str) -> Schema {
    let schema = Schema::read(directory.join(file)).unwrap();
    let mut wanted = schema.feature_columns();
    wanted.extend(schema.tasks.iter().map(|task| task.column()));
    wanted.extend(schema.group.as_deref());
    wanted.extend(schema.never.iter().map(String::as_str));
    for split in SPLITS {
        Source::open(&[directory.join(split).to_str().unwrap()]).unwrap().require(&wanted).unwrap();
        for task in &schema.tasks {
            assert!(column(directory, split, task.column()).iter().all(Option::is_some), "{}", task.name);
        }
    }
    schema
}

fn said(report: &PrepareReport, words: &str) -> bool {
    report.lines.iter().any(|line| line.contains(words))
}

fn refused(recipe: &str, from: &Path) -> String {
    let to = tempfile::tempdir().unwrap();
    prepare(recipe, from, to.path(), 1).unwrap_err().to_string()
}

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).unwrap();
}

fn write_gz(directory: &Path, name: &str, text: &str) {
    use std::io::Write;
    let file = std::fs::File::create(directory.join(name)).unwrap();
    let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    file.write_all(text.as_bytes()).unwrap();
    file.finish().unwrap();
}

#[test]
fn an_unknown_recipe_is_named_with_the_nearest() {
    let said = refused("census-incme", Path::new("."));
    assert!(said.contains("did you mean `census-income`?"), "{said}");
}

#[test]
fn missing_inputs_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let expected = ["log_standard_4_25_to_5_08_pure.csv", "census-income.test.gz", "*train*.csv", "*train*.csv.gz"];
    for (recipe, expected) in RECIPES.iter().zip(expected) {
        let said = refused(recipe.name, empty.path());
        assert!(said.contains(expected), "{}: {said}", recipe.name);
    }
    let said = refused("ali-ccp", &empty.path().join("absent"));
    assert!(said.contains("is no directory"), "{said}");
}

const LOG: &str = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,\
                   long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n";

fn impression(user: &str, video: u32, date: u32) -> String {
    format!("{user},{video},{date},1530,{date}0,1,0,0,0,0,0,1,900,4000,0,0,0,0,1\n")
}

fn kuairand(directory: &Path, log: &str) {
    let onehot: Vec<String> = (0..18).map(|i| format!("onehot_feat{i}")).collect();
    let users = format!(
        "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,\
         follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,\
         register_days_range,{}\na,full,0,1,1,5,\"(1,10]\",6,x,7,x,8,x{}\n",
        onehot.join(","),
        ",3.0".repeat(18)
    );
    write(directory, "user_features_pure.csv", &users);
    let videos = "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,\
                  server_height,music_id,music_type,tag\n\
                  1,10,NORMAL,2022-04-10,Web,0.0,4000.0,720.0,1280.0,100,9.0,\"4,7\"\n\
                  2,11,AD,2022-04-30,Web,0.0,,720.0,1280.0,0,,\n";
    write_gz(directory, "video_features_basic_pure.csv.gz", videos);
    write(directory, "log_standard_4_25_to_5_08_pure.csv", &format!("{LOG}{log}"));
}

#[test]
fn kuairand_drops_duplicates_joins_and_splits_by_day() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let days = [20220429, 20220430, 20220501, 20220502, 20220503, 20220504, 20220505];
    let mut log: String = days.iter().map(|day| impression("a", 1, *day)).collect();
    log += &impression("a", 1, days[0]);
    log += &impression("a", 2, days[6]);
    log += &impression("stranger", 1, days[1]);
    kuairand(from.path(), &log);
    let report = prepare("kuairand-pure", from.path(), to.path(), 1).unwrap();
    assert!(said(&report, "dropped 1 exact duplicates"), "{report:?}");
    assert!(said(&report, "1 rows have a user without features"), "{report:?}");
    assert_eq!(rows(to.path()), [3, 2, 4]);
    assert_eq!(texts(to.path(), SPLITS[1], "date"), ["20220501", "20220502"]);
    assert_eq!(texts(to.path(), SPLITS[0], "user_active_degree"), ["full", "full", ""]);
    assert_eq!(texts(to.path(), SPLITS[0], "onehot_feat4"), ["3", "3", ""]);
    assert_eq!(texts(to.path(), SPLITS[2], "author_id"), ["10", "10", "10", "11"]);
    assert_eq!(texts(to.path(), SPLITS[2], "tag"), ["4,7", "4,7", "4,7", ""]);
    assert_eq!(texts(to.path(), SPLITS[2], "hour"), ["15"; 4]);
    // From 10 April to 3, 4, 5 May; from 30 April to 5 May.
    assert_eq!(texts(to.path(), SPLITS[2], "video_age_days"), ["23", "24", "25", "5"]);
    // 2 · log2(4 s) = 4.
    assert_eq!(texts(to.path(), SPLITS[2], "duration_bucket"), ["4"; 4]);
}

#[test]
fn kuairand_keeps_what_is_known_only_afterwards_out_of_the_features() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    kuairand(from.path(), &(20220501..20220508).map(|day| impression("a", 1, day)).collect::<String>());
    prepare("kuairand-pure", from.path(), to.path(), 1).unwrap();
    for file in ["schema.toml", "schema-ids.toml"] {
        let schema = schema(to.path(), file);
        for column in ["play_time_ms", "profile_stay_time", "comment_stay_time", "is_hate"] {
            assert!(schema.never.iter().any(|never| never == column), "{column}");
        }
        let embeds_id = schema.fields.iter().any(|field| {
            matches!(field.kind, FieldKind::Categorical(_)) && ["user_id", "video_id"].contains(&field.name.as_str())
        });
        let has_rates = schema.fields.iter().any(|field| matches!(field.kind, FieldKind::Rate(_)));
        assert_eq!((embeds_id, has_rates), if file == "schema.toml" { (false, true) } else { (true, false) });
    }
}

#[test]
fn kuairand_names_a_wrong_cell() {
    let from = tempfile::tempdir().unwrap();
    kuairand(from.path(), &(impression("a", 1, 20220501) + &impression("a", 1, 20221301)));
    let said = refused("kuairand-pure", from.path());
    assert!(said.contains("row 2, column `date`: found \"20221301\", expected a day"), "{said}");
    kuairand(from.path(), &impression("a", 1, 20220501));
    let said = refused("kuairand-pure", from.path());
    assert!(said.contains("1 days, too few"), "{said}");
}

#[test]
fn kuairand_as_in_the_note() {
    let Some(from) = data("kuairand-pure") else { return };
    let to = tempfile::tempdir().unwrap();
    let report = prepare("kuairand-pure", &from, to.path(), 1).unwrap();
    assert!(said(&report, "dropped 5460 exact duplicates"), "{report:?}");
    assert!(!said(&report, "without features"), "{report:?}");
    assert_eq!(rows(to.path()), [150_055, 30_329, 42_485]);
    assert_eq!(schema(to.path(), "schema.toml").tasks.len(), 7);
}

fn person(age: u32, marital: &str, income: &str) -> String {
    let mut cells = vec!["Not in universe"; 42];
    let age = age.to_string();
    cells[0] = &age;
    for number in [5, 16, 17, 18, 24, 30, 39] {
        cells[number] = "0";
    }
    cells[7] = marital;
    cells[41] = income;
    cells.join(", ") + "\n"
}

#[test]
fn census_splits_the_test_file_two_to_one() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let people: String = (0..60)
        .map(|age| {
            let marital = if age < 20 { "Never married" } else { "Widowed" };
            person(age, marital, if age >= 50 { "50000+." } else { "- 50000." })
        })
        .collect();
    write_gz(from.path(), "census-income.test.gz", &people);
    prepare("census-income", from.path(), to.path(), 1).unwrap();
    assert_eq!(rows(to.path()), [36, 4, 20]);
    let mut ages = Vec::new();
    for file in SPLITS {
        let income = texts(to.path(), file, "income");
        let never_married = texts(to.path(), file, "never_married");
        for (row, age) in texts(to.path(), file, "age").into_iter().enumerate() {
            let age: u32 = age.parse().unwrap();
            assert_eq!((income[row] == "1", never_married[row] == "1"), (age >= 50, age < 20));
            ages.push(age);
        }
    }
    ages.sort_unstable();
    assert!(ages.into_iter().eq(0..60), "every person is in one file");
    let schema = schema(to.path(), "schema.toml");
    assert!(schema.fields.iter().flat_map(|field| field.columns()).all(|column| column != "marital_stat"));
    assert_eq!(schema.weight, None);

    // With the official training file the split is the official one.
    write(from.path(), "census-income.data", &people.replace('.', ""));
    prepare("census-income", from.path(), to.path(), 1).unwrap();
    assert_eq!(rows(to.path()), [60, 30, 30]);
}

#[test]
fn census_names_a_wrong_cell() {
    let from = tempfile::tempdir().unwrap();
    write(from.path(), "census-income.test", &(person(1, "Widowed", "50000+.") + &person(2, "Widowed", "rich")));
    let told = refused("census-income", from.path());
    assert!(told.contains("row 2, column `income_50k`: found \"rich\""), "{told}");
    write(from.path(), "census-income.test", &(person(1, "Widowed", "50000+.") + "1, 2, 3\n"));
    let told = refused("census-income", from.path());
    assert!(told.contains("row 2: found 3 cells, expected 42"), "{told}");
}

#[test]
fn census_as_in_the_note() {
    let Some(from) = data("census-income") else { return };
    let to = tempfile::tempdir().unwrap();
    prepare("census-income", &from, to.path(), 1).unwrap();
    assert_eq!(rows(to.path()), [59_858, 6_650, 33_254]);
    for (task, expected) in [("income", 0.0620), ("never_married", 0.4325)] {
        let labels: Vec<String> = SPLITS.iter().flat_map(|file| texts(to.path(), file, task)).collect();
        let rate = labels.iter().filter(|label| *label == "1").count() as f64 / labels.len() as f64;
        assert!((rate - expected).abs() < 0.00005, "{task}: {rate}");
    }
    assert!(texts(to.path(), SPLITS[0], "hisp_origin").iter().any(|text| text == "NA"));
}

fn aliexpress(rows: &[u32]) -> String {
    let columns: Vec<String> =
        (1..=16).map(|i| format!("categorical_{i}")).chain((1..=63).map(|i| format!("numerical_{i}"))).collect();
    let mut text = format!("search_id,{},click,conversion\n", columns.join(","));
    rows.iter().for_each(|search| text += &format!("{search}{}{},1,0\n", ",4".repeat(16), ",0.5".repeat(63)));
    text
}

#[test]
fn aliexpress_keeps_a_search_together() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(from.path(), "AliExpress_NL_train.csv", &aliexpress(&(0..600).map(|row| row / 3).collect::<Vec<_>>()));
    write_gz(from.path(), "AliExpress_NL_test.csv.gz", &aliexpress(&[1, 2]));
    write(from.path(), "another_train.csv", "a,b\n1,2\n");
    prepare("aliexpress", from.path(), to.path(), 1).unwrap();
    let [train, valid, test] = rows(to.path());
    assert_eq!((train + valid, test), (600, 2));
    assert!((30..=90).contains(&valid), "{valid} of 600 rows validate");
    let train = texts(to.path(), SPLITS[0], "search_id");
    assert!(texts(to.path(), SPLITS[1], "search_id").iter().all(|search| !train.contains(search)));
    let schema = schema(to.path(), "schema.toml");
    assert_eq!((schema.group.as_deref(), schema.parent(1), schema.fields.len()), (Some("search_id"), Some(0), 79));
}

#[test]
fn ali_ccp_needs_its_columns() {
    let from = tempfile::tempdir().unwrap();
    write(from.path(), "ali_ccp_train.csv", "click,purchase,101\n1,0,2\n");
    let told = refused("ali-ccp", from.path());
    assert!(told.contains("click, purchase, 101, 301, found none; without them: ali_ccp_train.csv"), "{told}");
}

#[test]
fn samples_of_ali_data_sets() {
    let Some(from) = data("schema-samples") else { return };
    let to = tempfile::tempdir().unwrap();
    prepare("ali-ccp", &from, to.path(), 1).unwrap();
    assert_eq!(rows(to.path()), [100, 50, 50]);
    let ccp = schema(to.path(), "schema.toml");
    assert_eq!((ccp.fields.len(), ccp.scenario.as_deref(), ccp.group.as_deref()), (31, Some("301"), Some("101")));
    prepare("aliexpress", &from, to.path(), 1).unwrap();
    let [train, valid, test] = rows(to.path());
    assert_eq!((train + valid, test), (100, 20));
    schema(to.path(), "schema.toml");
}
