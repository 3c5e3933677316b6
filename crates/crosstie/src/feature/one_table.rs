//! One table, one meaning: whoever wrote it, in whatever format, it gives the
//! same ids and numbers.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::arrow::array::*;
use crate::arrow::datatypes::{Int32Type, Int64Type};
use crate::data::Writer;

const SCHEMA: &str = r#"
    scenario = "tab"
    scenario_min_rows = 1
    group = "user"
    [[task]]
    name = "click"
    [[field]]
    name = "user"
    kind = "categorical"
    min_count = 1
    [[field]]
    name = "hashed"
    column = "user"
    kind = "categorical"
    buckets = 1000
    [[field]]
    name = "flag"
    kind = "categorical"
    min_count = 1
    [[field]]
    name = "day"
    kind = "categorical"
    min_count = 1
    [[field]]
    name = "at"
    kind = "categorical"
    min_count = 1
    [[field]]
    name = "small"
    kind = "categorical"
    min_count = 1
    [[field]]
    name = "cost"
    kind = "categorical"
    min_count = 1
    [[field]]
    name = "city"
    kind = "categorical"
    min_count = 1
    [[field]]
    name = "tags"
    kind = "multi"
    min_count = 1
    [[field]]
    name = "flag_number"
    column = "flag"
    kind = "numeric"
    [[field]]
    name = "cost_number"
    column = "cost"
    kind = "numeric"
    [[field]]
    name = "rate"
    kind = "rate"
    key = ["user", "flag"]
    time = "at"
"#;

/// A row: user, flag, day, second of the day, thousandths, cents, city, tags,
/// click.
type Row = ((Option<u8>, Option<bool>, u8), (u32, u8, u16), (Option<u8>, Vec<u8>, bool));

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        (prop::option::of(0u8..9), prop::option::of(any::<bool>()), 0u8..5),
        (prop::sample::select(vec![0u32, 1, 3600, 86_399]), 0u8..4, 0u16..300),
        (prop::option::of(0u8..3), prop::collection::vec(0u8..6, 1..4), any::<bool>()),
    );
    prop::collection::vec(row, 2..30)
}

const CITIES: [&str; 3] = ["Oslo", "São Paulo", "7.0b"];

/// As a data frame holds it: a user that may be missing is a float.
fn frame(rows: &[Row]) -> RecordBatch {
    let column = |array: ArrayRef| array;
    let user = rows.iter().map(|((user, ..), ..)| user.map(f64::from)).collect::<Float64Array>();
    let flag = rows.iter().map(|((_, flag, _), ..)| *flag).collect::<BooleanArray>();
    let midnight = |day: u8| i64::from(day) * 86_400_000_000;
    let day = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|((.., day), ..)| midnight(*day)));
    let at = rows.iter().map(|((.., day), (second, ..), _)| midnight(*day) + i64::from(*second) * 1_000_000);
    let at = TimestampMicrosecondArray::from_iter_values(at);
    let small = Float64Array::from_iter_values(rows.iter().map(|(_, (_, small, _), _)| f64::from(*small) * 1e-6));
    let cost = Decimal128Array::from_iter_values(rows.iter().map(|(_, (.., cents), _)| i128::from(*cents)));
    let city = rows.iter().map(|(.., (city, ..))| city.map(|city| CITIES[city as usize])).collect::<StringArray>();
    let tags = rows.iter().map(|(.., (_, tags, _))| Some(tags.iter().map(|tag| Some(i64::from(*tag)))));
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>(tags);
    let click = rows.iter().map(|(.., click)| Some(i32::from(click.2))).collect::<PrimitiveArray<Int32Type>>();
    let tab = rows.iter().map(|((.., day), ..)| i32::from(*day) % 2);
    RecordBatch::try_from_iter_with_nullable([
        ("user", column(Arc::new(user)), true),
        ("flag", column(Arc::new(flag)), true),
        ("day", column(Arc::new(day)), true),
        ("at", column(Arc::new(at)), true),
        ("small", column(Arc::new(small)), true),
        ("cost", column(Arc::new(cost.with_precision_and_scale(10, 2).unwrap())), true),
        ("city", column(Arc::new(city)), true),
        ("tags", column(Arc::new(tags)), true),
        ("tab", column(Arc::new(Int32Array::from_iter_values(tab))), true),
        ("click", column(Arc::new(click)), true),
    ])
    .unwrap()
}

/// How a program writes CSV.
struct Writing {
    flags: [&'static str; 2],
    nothing: &'static str,
    day: fn(u8) -> String,
    at: fn(u8, u32) -> String,
    small: fn(u8) -> String,
    list: fn(&[u8]) -> String,
}

fn clock(second: u32) -> String {
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

fn bracketed(tags: &[u8], between: &str) -> String {
    format!("\"[{}]\"", tags.iter().map(u8::to_string).collect::<Vec<_>>().join(between))
}

const WRITERS: [(&str, Writing); 4] = [
    (
        "pandas",
        Writing {
            flags: ["False", "True"],
            nothing: "",
            day: |day| format!("1970-01-{:02}", day + 1),
            at: |day, second| format!("1970-01-{:02} {}", day + 1, clock(second)),
            small: |small| ["0.0", "1e-06", "2e-06", "3e-06"][usize::from(small)].into(),
            list: |tags| bracketed(tags, ", "),
        },
    ),
    (
        "polars",
        Writing {
            flags: ["false", "true"],
            nothing: "",
            day: |day| format!("1970-01-{:02}T00:00:00.000000", day + 1),
            at: |day, second| format!("1970-01-{:02}T{}.000000", day + 1, clock(second)),
            small: |small| ["0.0", "1e-6", "2e-6", "3e-6"][usize::from(small)].into(),
            list: |tags| bracketed(tags, " "),
        },
    ),
    (
        "spark",
        Writing {
            flags: ["false", "true"],
            nothing: "\\N",
            day: |day| format!("1970-01-{:02}T00:00:00.000Z", day + 1),
            at: |day, second| format!("1970-01-{:02}T{}.000Z", day + 1, clock(second)),
            small: |small| ["0.0", "1.0E-6", "2.0E-6", "3.0E-6"][usize::from(small)].into(),
            list: |tags| bracketed(tags, ","),
        },
    ),
    (
        "duckdb",
        Writing {
            flags: ["false", "true"],
            nothing: "NULL",
            day: |day| format!("1970-01-{:02} 00:00:00", day + 1),
            at: |day, second| format!("1970-01-{:02} {}", day + 1, clock(second)),
            small: |small| ["0.0", "1e-06", "2e-06", "3e-06"][usize::from(small)].into(),
            list: |tags| bracketed(tags, ", "),
        },
    ),
];

impl Writing {
    fn write(&self, path: &Path, rows: &[Row]) {
        let mut text = String::from("user,flag,day,at,small,cost,city,tags,tab,click\n");
        for ((user, flag, day), (second, small, cents), (city, tags, click)) in rows {
            let user = user.map_or(self.nothing.into(), |user| format!("{user}.0"));
            let flag = flag.map_or(self.nothing, |flag| self.flags[usize::from(flag)]);
            // Text that is missing is empty in all of them here: else it would be a value.
            let city = city.map_or("", |city| CITIES[usize::from(city)]);
            let (at, tags) = ((self.at)(*day, *second), (self.list)(tags));
            let (euros, cents) = (cents / 100, cents % 100);
            text += &format!(
                "{user},{flag},{},{at},{},{euros}.{cents:02},{city},{tags},{},{}\n",
                (self.day)(*day),
                (self.small)(*small),
                day % 2,
                u8::from(*click)
            );
        }
        std::fs::write(path, text).unwrap();
    }
}

fn encoded(source: &Source, columns: &[&str], encode: impl Fn(&Rows) -> Result<Batch>) -> Batch {
    let mut whole = Batch::default();
    for rows in source.rows(columns, 7) {
        whole.append(&encode(&rows.unwrap()).unwrap());
    }
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_table_means_the_same_whoever_wrote_it(mut rows in rows()) {
        // A column without a single value has no kind that training could see.
        let (user, flag, _) = &mut rows[0].0;
        (*user, *flag) = (user.or(Some(1)), flag.or(Some(true)));
        let directory = tempfile::tempdir().unwrap();
        let frame = frame(&rows);
        let mut files = Vec::new();
        for extension in ["parquet", "arrow", "csv"] {
            let path = directory.path().join(format!("ours.{extension}"));
            let mut writer = Writer::create(&path, frame.schema()).unwrap();
            writer.write(&frame).unwrap();
            writer.finish().unwrap();
            files.push(path);
        }
        for (name, writing) in &WRITERS {
            let path = directory.path().join(format!("{name}.csv"));
            writing.write(&path, &rows);
            files.push(path);
        }
        let schema = Schema::parse(SCHEMA).unwrap();
        let sources: Vec<Source> = files.iter().map(|path| Source::open(&[path.to_str().unwrap()]).unwrap()).collect();
        let learned: Vec<TrainingFeatures> =
            sources.iter().map(|source| Features::learn(&schema, source).unwrap()).collect();
        let columns = learned[0].columns();
        let training = |number: usize| encoded(&sources[number], &columns, |rows| learned[number].encode(rows));
        let scored = |learned: &TrainingFeatures, source: &Source| {
            let (features, purpose) = (learned.features(), Purpose::Evaluation);
            encoded(source, &features.columns(purpose), |rows| features.encode(rows, purpose))
        };
        let expected = (training(0), scored(&learned[0], &sources[0]));
        for (number, (features, learned_from)) in learned.iter().zip(&files).enumerate() {
            prop_assert_eq!(training(number), expected.0.clone(), "{:?}", learned_from);
            for (source, scored_from) in sources.iter().zip(&files) {
                prop_assert_eq!(&scored(features, source), &expected.1, "{:?} {:?}", learned_from, scored_from);
            }
        }
    }
}
