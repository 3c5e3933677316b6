//! KuaiRand-Pure (Gao et al., CIKM 2022): impressions of short videos with
//! several actions each, in several tabs of an app.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_select::take::take;
use xxhash_rust::xxh3::Xxh3;

use super::table::{
    Column, Kind, PIECE, arrow_schema, batch_of, columns, fields, finish, open, read_all, typed, write_schema, wrong,
};
use super::{PrepareReport, find, need};
use crate::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use crate::arrow::datatypes::{DataType, Field, Int64Type};
use crate::data::{Rows, Source};
use crate::data::{Split, Splits};
use crate::error::{Error, Result};

/// The log as published in two files, or a later excerpt of it in one.
const LOGS: [&[&str]; 2] = [
    &["log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv"],
    &["log_standard_4_25_to_5_08_pure.csv"],
];
const USERS: &str = "user_features_pure.csv";
const VIDEOS: &str = "video_features_basic_pure.csv";

const TEST_DAYS: usize = 3;
const VALID_DAYS: usize = 2;

/// The log's own columns.
fn log_columns() -> Vec<Column> {
    [
        columns(Kind::Text, &["user_id", "video_id"]),
        columns(
            Kind::Label,
            &[
                "is_click",
                "long_view",
                "is_like",
                "is_profile_enter",
                "is_follow",
                "is_comment",
                "is_forward",
                "is_hate",
            ],
        ),
        columns(Kind::Text, &["tab"]),
        columns(
            Kind::Integer,
            &["date", "hourmin", "time_ms", "duration_ms", "play_time_ms", "profile_stay_time", "comment_stay_time"],
        ),
    ]
    .concat()
}

/// What is worked out row by row.
const DERIVED: [&str; 3] = ["hour", "video_age_days", "duration_bucket"];

/// Attributes of the user that are categories, though some are numbers.
const USER_CATEGORIES: [&str; 26] = [
    "user_active_degree",
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    "onehot_feat0",
    "onehot_feat1",
    "onehot_feat2",
    "onehot_feat3",
    "onehot_feat4",
    "onehot_feat5",
    "onehot_feat6",
    "onehot_feat7",
    "onehot_feat8",
    "onehot_feat9",
    "onehot_feat10",
    "onehot_feat11",
    "onehot_feat12",
    "onehot_feat13",
    "onehot_feat14",
    "onehot_feat15",
    "onehot_feat16",
    "onehot_feat17",
];
const USER_NUMBERS: [&str; 4] = ["follow_user_num", "fans_user_num", "friend_user_num", "register_days"];
const VIDEO_IDS: [&str; 2] = ["author_id", "music_id"];
const VIDEO_CATEGORIES: [&str; 4] = ["video_type", "upload_type", "visible_status", "music_type"];
const VIDEO_NUMBERS: [&str; 2] = ["server_width", "server_height"];

pub(super) fn prepare(from: &Path, to: &Path, _: u64, report: &mut PrepareReport) -> Result<()> {
    let logs = logs(from)?;
    let users = Joined::read(&need(from, USERS)?, "user_id", &user_columns())?;
    let videos = Joined::read(&need(from, VIDEOS)?, "video_id", &video_columns())?;
    let log = open(&logs)?;
    let days = Days::of(&log)?;

    let wanted = log_columns();
    let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let derived = DERIVED.map(|name| Field::new(name, DataType::Int64, true).into());
    let schema = Arc::new(crate::arrow::datatypes::Schema::new(
        [
            arrow_schema(&wanted).fields().to_vec(),
            derived.to_vec(),
            users.batch.schema_ref().fields()[1..].to_vec(),
            videos.batch.schema_ref().fields()[1..].to_vec(),
        ]
        .concat(),
    ));
    let mut splits = Splits::create(to, &schema)?;
    let mut seen = HashSet::new();
    let (mut count, mut duplicates, mut strangers) = (0u64, 0u64, [0u64; 2]);
    // A duplicate is a row equal in every column, those not kept included.
    let every: Vec<&str> = log.columns().iter().map(String::as_str).collect();
    log.require(&names)?;
    for rows in log.rows(&every, PIECE) {
        let rows = rows?;
        count += rows.len() as u64;
        let arrays = typed(&rows, &wanted)?;
        let batch = batch_of(&rows.path, &arrow_schema(&wanted), arrays)?;
        let fresh: Vec<bool> = fingerprints(&rows, &every)?.into_iter().map(|print| seen.insert(print)).collect();
        duplicates += fresh.iter().filter(|fresh| !**fresh).count() as u64;

        let user = users.rows_of(&rows, "user_id")?;
        let video = videos.rows_of(&rows, "video_id")?;
        for (strangers, found) in strangers.iter_mut().zip([&user, &video]) {
            *strangers += (0..rows.len()).filter(|row| fresh[*row] && found.is_null(*row)).count() as u64;
        }
        let (user, video) = (users.take(&user)?, videos.take(&video)?);
        let integers = |name: &str| -> Result<Int64Array> {
            let array = batch.column(batch.schema_ref().index_of(name).map_err(|error| wrong(&rows.path, error))?);
            Ok(array.as_primitive::<Int64Type>().clone())
        };
        let dates = integers("date")?;
        let derived = derive(&dates, &integers("hourmin")?, &integers("duration_ms")?, &videos.upload_days(&video)?);
        let chosen: Vec<Option<Split>> =
            (0..rows.len()).map(|row| if fresh[row] { Some(days.split(dates.value(row))) } else { None }).collect();
        let all = [batch.columns(), &derived, &user, &video].concat();
        let batch = batch_of(&rows.path, &schema, all)?;
        splits.write(&batch, &chosen)?;
    }
    let files: Vec<String> = logs.iter().map(|path| path.display().to_string()).collect();
    report.say(format!("read {count} rows from {}", files.join(", ")));
    report.say(format!("dropped {duplicates} exact duplicates of earlier rows"));
    report.say(format!("joined {} users and {} videos", users.batch.num_rows(), videos.batch.num_rows()));
    for (count, what) in strangers.into_iter().zip(["user", "video"]).filter(|(count, _)| *count > 0) {
        report.say(format!("{count} rows have a {what} without features, which are left missing"));
    }
    report.say(days.sentence());
    finish(splits, report)?;
    write_schema(to, "schema.toml", &schema_text(true), report)?;
    write_schema(to, "schema-ids.toml", &schema_text(false), report)
}

fn logs(from: &Path) -> Result<Vec<PathBuf>> {
    for names in LOGS {
        let found: Vec<PathBuf> = names.iter().filter_map(|name| find(from, name)).collect();
        if found.len() == names.len() {
            return Ok(found);
        }
        if let [found] = &found[..] {
            let missing = names.iter().find(|name| find(from, name).is_none()).copied().unwrap_or_default();
            let message = format!("found {}, but neither {missing} nor {missing}.gz beside it", found.display());
            return Err(Error::unfit(from, message));
        }
    }
    let names = LOGS.map(|names| names.join(" with "));
    Err(Error::unfit(from, format!("looked for the log, plain or .gz, found neither {}", names.join(" nor "))))
}

fn user_columns() -> Vec<Column> {
    // Codes such as 3.0 are read as integers, so that they become 3.
    let (text, codes) = USER_CATEGORIES.split_at(8);
    [
        columns(Kind::Text, &["user_id"]),
        columns(Kind::Text, text),
        columns(Kind::Integer, codes),
        columns(Kind::Integer, &USER_NUMBERS),
    ]
    .concat()
}

fn video_columns() -> Vec<Column> {
    [
        columns(Kind::Text, &["video_id"]),
        columns(Kind::Text, &VIDEO_IDS),
        columns(Kind::Text, &["video_type", "upload_type"]),
        columns(Kind::Integer, &["visible_status", "music_type"]),
        columns(Kind::Text, &["tag", "upload_dt"]),
        columns(Kind::Number, &["video_duration"]),
        columns(Kind::Number, &VIDEO_NUMBERS),
    ]
    .concat()
}

/// A small table that is joined by its first column.
struct Joined {
    batch: RecordBatch,
    rows: HashMap<String, u32>,
    path: PathBuf,
}

impl Joined {
    fn read(path: &PathBuf, key: &str, columns: &[Column]) -> Result<Joined> {
        let batch = read_all(path, columns)?;
        let mut rows = HashMap::new();
        let mut twice = None;
        Rows::new(batch.clone(), path).column(key)?.each_text(|row, text| {
            if rows.insert(text.unwrap_or_default().to_string(), row as u32).is_some() {
                twice.get_or_insert(row);
            }
        })?;
        match twice {
            Some(row) => {
                Err(Rows::new(batch, path).column(key)?.error(row, "each value once, for it is the key of a join"))
            }
            None => Ok(Joined { batch, rows, path: path.clone() }),
        }
    }

    /// The row of this table that belongs to each of the given rows.
    fn rows_of(&self, rows: &Rows, key: &str) -> Result<UInt32Array> {
        let mut found = Vec::with_capacity(rows.len());
        rows.column(key)?.each_text(|_, text| found.push(self.rows.get(text.unwrap_or_default()).copied()))?;
        Ok(UInt32Array::from(found))
    }

    /// Those rows' columns, without the key.
    fn take(&self, rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
        let wrong = |error| wrong(&self.path, error);
        self.batch.columns()[1..].iter().map(|column| take(column, rows, None).map_err(wrong)).collect()
    }

    /// The day of `upload_dt` (2022-04-10) among columns taken from this table.
    fn upload_days(&self, taken: &[ArrayRef]) -> Result<Vec<Option<i64>>> {
        let index = self.batch.schema_ref().index_of("upload_dt").map_err(|error| wrong(&self.path, error))?;
        let texts = taken[index - 1].as_string::<i32>();
        texts
            .iter()
            .map(|text| {
                let Some(text) = text else { return Ok(None) };
                let number = text.replace('-', "").parse().ok().and_then(day_number);
                number.map(Some).ok_or_else(|| {
                    Error::file(
                        &self.path,
                        format!("column `upload_dt`: found \"{text}\", expected a day as in 2022-04-10"),
                    )
                })
            })
            .collect()
    }
}

/// One number per row that two rows share if all their cells are equal.
fn fingerprints(rows: &Rows, columns: &[&str]) -> Result<Vec<u128>> {
    let mut states = vec![Xxh3::new(); rows.len()];
    for name in columns {
        rows.column(name)?.each_text(|row, text| {
            // The length keeps "1","23" apart from "12","3"; none is not "".
            let length = text.map_or(u64::MAX, |text| text.len() as u64);
            states[row].update(&length.to_le_bytes());
            states[row].update(text.unwrap_or_default().as_bytes());
        })?;
    }
    Ok(states.iter().map(Xxh3::digest128).collect())
}

/// The columns [`DERIVED`].
fn derive(dates: &Int64Array, times: &Int64Array, durations: &Int64Array, uploads: &[Option<i64>]) -> [ArrayRef; 3] {
    let hours: Int64Array = times.iter().map(|time| time.map(|time| time / 100)).collect();
    let ages: Int64Array =
        dates.iter().zip(uploads).map(|(date, upload)| Some(date.and_then(day_number)? - upload.as_ref()?)).collect();
    // Half octaves of seconds: 1, 1.4, 2, 2.8, 4 ...
    let bucket = |duration: i64| (2.0 * (duration.max(1000) as f64 / 1000.0).log2()).floor().min(20.0) as i64;
    let buckets: Int64Array = durations.iter().map(|duration| duration.map(bucket)).collect();
    [Arc::new(hours), Arc::new(ages), Arc::new(buckets)]
}

/// Days since 1970-01-01 of a date written as 20220425 (after H. Hinnant's
/// days_from_civil); `None` where the month or day cannot be.
fn day_number(date: i64) -> Option<i64> {
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468)
}

/// The days of the log, in order.
struct Days(Vec<i64>);

impl Days {
    fn of(log: &Source) -> Result<Days> {
        let mut days = BTreeSet::new();
        for rows in log.rows(&["date"], PIECE) {
            let rows = rows?;
            let column = rows.column("date")?;
            for (row, date) in column.numbers()?.into_iter().enumerate() {
                let day = date.filter(|date| date.fract() == 0.0).map(|date| date as i64);
                match day.filter(|day| day_number(*day).is_some()) {
                    Some(day) => days.insert(day),
                    None => return Err(column.error(row, "a day as in 20220425")),
                };
            }
        }
        let days = Days(days.into_iter().collect());
        if days.0.len() <= TEST_DAYS + VALID_DAYS {
            let message =
                format!("the log has {} days, too few to keep {} apart", days.0.len(), TEST_DAYS + VALID_DAYS);
            return Err(Error::unfit(&log.files()[0], message));
        }
        Ok(days)
    }

    fn parts(&self) -> (&[i64], &[i64], &[i64]) {
        let (earlier, test) = self.0.split_at(self.0.len() - TEST_DAYS);
        let (train, valid) = earlier.split_at(earlier.len() - VALID_DAYS);
        (train, valid, test)
    }

    fn split(&self, date: i64) -> Split {
        let (_, valid, test) = self.parts();
        match date {
            date if date >= test[0] => Split::Test,
            date if date >= valid[0] => Split::Valid,
            _ => Split::Train,
        }
    }

    fn sentence(&self) -> String {
        let (train, valid, test) = self.parts();
        let span = |days: &[i64]| format!("{} to {}", days[0], days[days.len() - 1]);
        format!("split by day: {} to train, {} to validate, {} to test", span(train), span(valid), span(test))
    }
}

/// With `rates`, raw ids only enter through their history: on a log of this
/// size their embeddings overfit within an epoch or two.
fn schema_text(rates: bool) -> String {
    let mut text = String::from(SCHEMA);
    if rates {
        for (side, key) in RATES {
            text += &format!(
                "\n[[field]]\nname = \"{key}_rate\"\nkind = \"rate\"\nkey = [\"{key}\"]\ncount = true\nside = \"{side}\"\n"
            );
        }
    } else {
        text += &fields(&["user_id"], "kind = \"categorical\"\nside = \"user\"");
        text += &fields(&["video_id"], "kind = \"categorical\"\nside = \"item\"");
        text += &fields(&VIDEO_IDS, "kind = \"categorical\"\nside = \"item\"");
    }
    let varied = |names: &[&'static str]| -> Vec<&'static str> {
        names.iter().copied().filter(|name| !CONSTANT.contains(name)).collect()
    };
    text += &fields(&["tab", "hour", "duration_bucket"], "kind = \"categorical\"");
    text += &fields(&varied(&USER_CATEGORIES), "kind = \"categorical\"\nside = \"user\"");
    text += &fields(&USER_NUMBERS, "kind = \"numeric\"\ntransform = \"log1p\"\nside = \"user\"");
    text += &fields(&varied(&VIDEO_CATEGORIES), "kind = \"categorical\"\nside = \"item\"");
    text += &fields(&["tag"], "kind = \"multi\"\nmin_count = 10\nside = \"item\"");
    text += &fields(&["duration_ms"], "kind = \"numeric\"\ntransform = \"log1p\"\nside = \"item\"");
    text += &fields(&VIDEO_NUMBERS, "kind = \"numeric\"\nside = \"item\"");
    // Not `video_age_days`: these videos were uploaded within three days, so
    // their age is the calendar, and the test days lie beyond the training's.
    text
}

/// The same for every user or video of the full data set.
const CONSTANT: [&str; 2] = ["is_lowactive_period", "visible_status"];

/// Keys of the rate fields, with the side that they describe. Combinations
/// such as user × tag lowered the validation AUC of the rare actions.
const RATES: [(&str, &str); 5] =
    [("user", "user_id"), ("item", "video_id"), ("item", "author_id"), ("item", "music_id"), ("item", "tag")];

/// Every action after the click also occurs without one, if rarely: in the
/// last two weeks 250 of 70,522 long views, 691 of 3,874 likes.
const SCHEMA: &str = r#"# Tasks may happen without their parent, hence `direct`.
scenario = "tab"
group = "user_id"
never = ["play_time_ms", "profile_stay_time", "comment_stay_time", "is_hate"]

[[task]]
name = "click"
label = "is_click"

[[task]]
name = "long_view"
after = "click"
direct = true

[[task]]
name = "like"
label = "is_like"
after = "click"
direct = true

[[task]]
name = "profile_enter"
label = "is_profile_enter"
after = "click"
direct = true

[[task]]
name = "follow"
label = "is_follow"
after = "click"
direct = true

[[task]]
name = "comment"
label = "is_comment"
after = "click"
direct = true

[[task]]
name = "forward"
label = "is_forward"
after = "click"
direct = true
"#;
