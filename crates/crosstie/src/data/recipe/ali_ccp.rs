//! Ali-CCP (Ma et al., SIGIR 2018): clicks and purchases after
//! recommendations, in the sampled layout with 23 sparse features and 8 dense
//! ones, which the original calls by number.

use std::path::Path;

use super::table::{Column, Kind, PIECE, arrow_schema, batch_of, columns, fields, finish, open, typed, write_schema};
use super::{PrepareReport, find_all};
use crate::data::{Split, Splits};
use crate::error::Result;

/// The user: id, attributes, and whom and what they dealt with before.
const USER: [&str; 13] =
    ["101", "121", "122", "124", "125", "126", "127", "128", "129", "109_14", "110_14", "127_14", "150_14"];
/// The item: id, category, shop, intention, brand.
const ITEM: [&str; 5] = ["205", "206", "207", "210", "216"];
/// The user's history with the item's category, shop, intention and brand.
const BOTH: [&str; 4] = ["508", "509", "702", "853"];
/// The position of the display: three scenarios.
const SCENARIO: &str = "301";
const USER_DENSE: [&str; 4] = ["D109_14", "D110_14", "D127_14", "D150_14"];
const BOTH_DENSE: [&str; 4] = ["D508", "D509", "D702", "D853"];

pub(super) fn prepare(from: &Path, to: &Path, _: u64, report: &mut PrepareReport) -> Result<()> {
    let wanted: Vec<Column> = [
        columns(Kind::Label, &["click", "purchase"]),
        columns(Kind::Text, &USER),
        columns(Kind::Text, &ITEM),
        columns(Kind::Text, &BOTH),
        columns(Kind::Text, &[SCENARIO]),
        columns(Kind::Number, &USER_DENSE),
        columns(Kind::Number, &BOTH_DENSE),
    ]
    .concat();
    let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let marks = ["click", "purchase", "101", SCENARIO];
    let files = [
        (find_all(from, "train", &marks)?, Split::Train),
        (find_all(from, "val", &marks)?, Split::Valid),
        (find_all(from, "test", &marks)?, Split::Test),
    ];

    let schema = arrow_schema(&wanted);
    let mut splits = Splits::create(to, &schema)?;
    for (files, split) in files {
        let mut count = 0;
        for rows in open(&files)?.rows(&names, PIECE) {
            let rows = rows?;
            count += rows.len();
            splits.write(&batch_of(&rows.path, &schema, typed(&rows, &wanted)?)?, &vec![Some(split); rows.len()])?;
        }
        let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        report.say(format!("read {count} rows from {}", files.join(", ")));
    }
    report.say("split: as published, into training, validation and test files".into());
    finish(splits, report)?;

    let text = format!(
        "scenario = \"{SCENARIO}\"\ngroup = \"101\"\n\n[[task]]\nname = \"click\"\n\n\
         [[task]]\nname = \"purchase\"\nafter = \"click\"\n{}{}{}{}{}",
        fields(&USER, "kind = \"categorical\"\nside = \"user\""),
        fields(&ITEM, "kind = \"categorical\"\nside = \"item\""),
        fields(&[&BOTH[..], &[SCENARIO]].concat(), "kind = \"categorical\""),
        fields(&USER_DENSE, "kind = \"numeric\"\nside = \"user\""),
        fields(&BOTH_DENSE, "kind = \"numeric\""),
    );
    write_schema(to, "schema.toml", &text, report)
}
