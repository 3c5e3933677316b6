//! AliExpress search (Li et al., KDD 2020), features already joined: one row
//! per impression with 16 categorical and 63 numeric features.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::table::{Column, Kind, PIECE, arrow_schema, batch_of, columns, fields, finish, open, typed, write_schema};
use super::{PrepareReport, find_all};
use crate::data::{Split, Splits};
use crate::error::Result;
use crate::random::Stream;

const CATEGORICAL: usize = 16;
const NUMERICAL: usize = 63;
/// Share of the training file's searches that validate.
const VALID: f64 = 0.1;

pub(super) fn prepare(from: &Path, to: &Path, seed: u64, report: &mut PrepareReport) -> Result<()> {
    let categorical: Vec<String> = (1..=CATEGORICAL).map(|i| format!("categorical_{i}")).collect();
    let numerical: Vec<String> = (1..=NUMERICAL).map(|i| format!("numerical_{i}")).collect();
    let (categorical, numerical): (Vec<&str>, Vec<&str>) =
        (categorical.iter().map(String::as_str).collect(), numerical.iter().map(String::as_str).collect());
    let wanted: Vec<Column> = [
        columns(Kind::Text, &["search_id"]),
        columns(Kind::Text, &categorical),
        columns(Kind::Number, &numerical),
        columns(Kind::Label, &["click", "conversion"]),
    ]
    .concat();
    let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let marks = ["search_id", "click", "conversion"];
    let (train, test) = (find_all(from, "train", &marks)?, find_all(from, "test", &marks)?);

    let schema = arrow_schema(&wanted);
    let mut splits = Splits::create(to, &schema)?;
    let draw = Stream::new(seed, "valid");
    for (files, is_train) in [(train, true), (test, false)] {
        let mut count = 0;
        for rows in open(&files)?.rows(&names, PIECE) {
            let rows = rows?;
            count += rows.len();
            let mut chosen = vec![Some(Split::Test); rows.len()];
            if is_train {
                rows.column("search_id")?.each_text(|row, search| {
                    let valid = draw.uniform(xxh3_64(search.unwrap_or_default().as_bytes())) < VALID;
                    chosen[row] = Some(if valid { Split::Valid } else { Split::Train });
                })?;
            }
            splits.write(&batch_of(&rows.path, &schema, typed(&rows, &wanted)?)?, &chosen)?;
        }
        let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        report.say(format!("read {count} rows from {}", files.join(", ")));
    }
    report.say(format!("split: a tenth of the training file's searches, drawn with seed {seed}, validate"));
    finish(splits, report)?;

    let text = format!(
        "group = \"search_id\"\n\n[[task]]\nname = \"click\"\n\n[[task]]\nname = \"conversion\"\nafter = \"click\"\n{}{}",
        fields(&categorical, "kind = \"categorical\""),
        fields(&numerical, "kind = \"numeric\""),
    );
    write_schema(to, "schema.toml", &text, report)
}
