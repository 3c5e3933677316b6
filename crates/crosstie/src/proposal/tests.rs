//! Small logs, and what is made of them.

use std::path::Path;

use super::*;
use crate::arrow::array::RecordBatch;
use crate::data::survey::survey;
use crate::data::{FILES, Source};
use crate::random::Stream;
use crate::schema::{FieldKind, Side, Transform};

fn open(path: &Path) -> Result<Source> {
    Source::open(&[path.to_str().unwrap()])
}

/// A log of so many rows, each a function of its number; the header in front.
fn log(header: &str, rows: u64, row: impl Fn(u64) -> String) -> (tempfile::TempDir, Source) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.csv");
    let rows: Vec<String> = (0..rows).map(row).collect();
    std::fs::write(&path, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
    let source = open(&path).unwrap();
    (directory, source)
}

fn of(header: &str, rows: u64, row: impl Fn(u64) -> String, tasks: &[&str]) -> Result<Proposal> {
    let (_directory, source) = log(header, rows, row);
    let asked: Vec<Asked> = tasks.iter().map(|task| task.parse().unwrap()).collect();
    propose(&survey(&source).unwrap(), &asked)
}

fn draw(name: &str, row: u64) -> f64 {
    Stream::new(3, name).uniform(row)
}

fn click(row: u64) -> bool {
    draw("click", row) < 0.3
}

fn buy(row: u64) -> bool {
    click(row) && draw("buy", row) < 0.4
}

/// A log of one column beside a click, `value`.
fn beside(name: &str, value: impl Fn(u64) -> String) -> Proposal {
    of(&format!("{name},noise,click"), 3000, |row| format!("{},{},{}", value(row), row % 7, u8::from(click(row))), &[])
        .unwrap()
}

fn field<'a>(proposal: &'a Proposal, name: &str) -> &'a FieldKind {
    &proposal.fields.iter().find(|field| field.what.name == name).unwrap_or_else(|| panic!("{proposal:#?}")).what.kind
}

fn left<'a>(proposal: &'a Proposal, name: &str) -> &'a str {
    &proposal.left_out.iter().find(|left| left.what == name).unwrap_or_else(|| panic!("{proposal:#?}")).why
}

#[test]
fn numbers_codes_texts_and_lists_are_told_apart() {
    let numeric =
        |name: &str, value: &dyn Fn(u64) -> String| matches!(field(&beside(name, value), name), FieldKind::Numeric(_));
    assert!(numeric("price", &|row| format!("{:.2}", 100.0 * draw("price", row))));
    assert!(numeric("age", &|row| (18 + row % 50).to_string()));
    assert!(!numeric("level_code", &|row| (row % 50).to_string()), "a code by its name");
    assert!(!numeric("anything", &|row| (row % 5).to_string()), "few whole numbers");
    assert!(!numeric("anything", &|row| (row % 900).to_string()), "dense, and large ones as frequent as small");
    let thinning = |row: u64| (1.0 / draw("size", row)).floor().to_string();
    assert!(numeric("anything", &thinning), "counts thin out");
    assert!(!numeric("zip", &|row| format!("0{}", row % 90)), "leading zeros");
    let tags = beside("tags", |row| format!("a{}|b{}", row % 9, row % 11));
    let FieldKind::Multi(multi) = field(&tags, "tags") else { panic!("{tags:#?}") };
    assert_eq!(multi.separator, "|");
    let size = beside("package", |row| format!("{} {}", row % 30, ["oz", "lb"][row as usize / 30 % 2]));
    assert!(matches!(field(&size, "package"), FieldKind::Categorical(_)), "blanks part the words of a name");
    let city = beside("city", |row| format!("\"Town {}, ST{}\"", row % 40, row % 40 / 14));
    assert!(matches!(field(&city, "city"), FieldKind::Categorical(_)), "whole names, which differ in all their parts");
}

#[test]
fn a_long_tail_enters_as_a_logarithm_and_by_buckets() {
    let proposal = beside("amount", |row| (1e4 / draw("amount", row)).floor().to_string());
    assert_eq!(*field(&proposal, "amount"), FieldKind::Numeric(Transform::Log1p));
    assert!(matches!(field(&proposal, "amount bucket"), FieldKind::Numeric(Transform::Quantile(_))));
    proposal.schema().unwrap();
}

#[test]
fn a_slip_or_two_is_no_long_tail() {
    let width = |row: u64| format!("{:.2}", if row == 17 { 58.9 } else { 4.0 + 3.0 * draw("width", row) });
    let proposal = beside("width", width);
    assert!(matches!(field(&proposal, "width"), FieldKind::Numeric(Transform::Binned(_))), "{proposal:#?}");
}

#[test]
fn what_says_nothing_or_does_not_come_back_is_left_out() {
    assert_eq!(left(&beside("one", |_| "x".into()), "one"), "the same in every row");
    assert_eq!(left(&beside("none", |_| String::new()), "none"), "empty");
    assert!(left(&beside("row_id", |row| row.to_string()), "row_id").starts_with("an id"));
    assert!(left(&beside("anything", |row| row.to_string()), "anything").starts_with("an id"), "it counts the rows");
    assert!(left(&beside("hash", |row| format!("x{row}")), "hash").starts_with("a text or an id"));
    // As many values, but measured.
    let weight = beside("weight", |row| Stream::new(1, "weight").below(row, 1_000_000).to_string());
    assert!(matches!(field(&weight, "weight"), FieldKind::Numeric(_)));
}

#[test]
fn actions_are_recognised_and_ordered_by_what_they_need() {
    let row = |row: u64| {
        let like = draw("like", row) < 0.1;
        format!("{},{},{},{},{}", row % 3, u8::from(buy(row)), u8::from(like), u8::from(click(row)), row % 2)
    };
    let header = "device,buy,is_like,click,newbie";
    let proposal = of(header, 3000, row, &[]).unwrap();
    let tasks: Vec<_> = proposal.tasks.iter().map(|task| (&task.what.name[..], task.what.after.as_deref())).collect();
    assert_eq!(tasks, [("click", None), ("buy", Some("click")), ("like", None)]);
    assert_eq!(proposal.tasks[2].what.label.as_deref(), Some("is_like"));
    assert!(proposal.tasks[1].why.contains("and only there"), "{}", proposal.tasks[1].why);
    // What is asked for is what is predicted; other actions are no features.
    let proposal = of(header, 3000, row, &["newbie", "is_like after newbie"]).unwrap();
    let like = &proposal.tasks[1].what;
    assert_eq!((&like.name[..], like.after.as_deref(), like.direct), ("like", Some("newbie"), true));
    assert_eq!(proposal.never, ["buy", "click"]);
}

#[test]
fn a_task_that_is_none_is_refused_with_what_was_meant() {
    let row = |row: u64| format!("{},{},{}", row % 3, if row.is_multiple_of(2) { "yes" } else { "no" }, row / 2 % 2);
    let said = |tasks: &[&str]| of("device,answer,returned", 100, row, tasks).unwrap_err().to_string();
    assert!(said(&[]).contains("Columns of 0 and 1: `returned`; of two other values: `answer`"), "{}", said(&[]));
    assert!(said(&["retuned"]).contains("did you mean `returned`?"), "{}", said(&["retuned"]));
    assert!(said(&["device"]).contains("is no label: it has 3 values from 0 to 2"), "{}", said(&["device"]));
    assert!(said(&["returned after click"]).contains("`click` is no task"), "{}", said(&["returned after click"]));
}

#[test]
fn what_gives_a_label_away_is_left_out() {
    let row = |row: u64| {
        let spend = if buy(row) { format!("{:.2}", draw("spend", row)) } else { "0".into() };
        let when = if buy(row) { format!("2024-01-0{}", 1 + row % 9) } else { String::new() };
        let page = if click(row) { "thanks" } else { "list" };
        let price = 100.0 * draw("price", row);
        format!("{price:.2},{spend},{when},{page}{},{},{}", row % 4, u8::from(click(row)), u8::from(buy(row)))
    };
    let proposal = of("price,spend,bought_at,page,click,buy", 3000, row, &[]).unwrap();
    assert_eq!(proposal.never, ["spend", "bought_at", "page"]);
    assert!(left(&proposal, "spend").contains("only where `click` is 1"), "{}", left(&proposal, "spend"));
    assert!(left(&proposal, "bought_at").contains("it is filled only where"), "{}", left(&proposal, "bought_at"));
    assert!(left(&proposal, "page").contains("it alone tells `click` (AUC 1.0000)"), "{}", left(&proposal, "page"));
    assert_eq!(proposal.fields.len(), 1);
    // A state that goes with a label, as being a child with having no spouse, is none of its consequences.
    let row = |row: u64| {
        let child = click(row) && draw("child", row) < 0.3;
        format!("{},{},{}", if child { "child" } else { "no" }, row % 5, u8::from(click(row)))
    };
    assert_eq!(of("family,noise,click", 3000, row, &[]).unwrap().never, [""; 0]);
}

#[test]
fn rows_are_cut_between_moments_and_every_row_is_dealt() {
    let row = |row: u64| format!("2024-01-{:02},{},{}", 1 + row / 300, row % 9, u8::from(click(row)));
    let (directory, source) = log("date,device,click", 3000, row);
    let proposal = propose(&survey(&source).unwrap(), &[]).unwrap();
    let Cut::Time { ref column, valid, test, .. } = proposal.cut.what else { panic!("{:?}", proposal.cut) };
    assert_eq!((&column[..], test - valid), ("date", 86_400.0));
    assert!(
        proposal.cut.in_three().contains("validation from 2024-01-09 on, test from 2024-01-10 on"),
        "{}",
        proposal.cut.in_three()
    );
    assert_eq!(deal(&source, &proposal.cut.what, directory.path(), 1).unwrap(), [2400, 300, 300]);
    let part = open(&directory.path().join(FILES[2]));
    let rows = part.unwrap().rows(&["date"], 1000).next().unwrap().unwrap();
    assert_eq!(rows.column("date").unwrap().to_text().unwrap().value(0), "2024-01-10");
    assert!(left(&proposal, "date").starts_with("the time"));
}

#[test]
fn times_are_known_by_their_numbers_or_their_names() {
    let cut = |name: &str, value: &dyn Fn(u64) -> String| beside(name, value).cut.what;
    let is_time = |cut: Cut| matches!(cut, Cut::Time { .. });
    assert!(is_time(cut("anything", &|row| (1_700_000_000_000 + 7_000 * row).to_string())), "milliseconds");
    assert!(is_time(cut("anything", &|row| (20_240_100 + 1 + row % 28).to_string())), "days");
    assert!(is_time(cut("day", &|row| (1 + row / 300).to_string())), "a counter that goes on");
    assert!(!is_time(cut("day", &|row| (1 + row % 31).to_string())), "days of a month in any order");
    assert!(!is_time(cut("birth_date", &|row| format!("19{}-01-01", 50 + row % 50))));
    assert!(!is_time(cut("amount", &|row| (1 + row / 300).to_string())));
}

#[test]
fn dates_that_cannot_be_mistaken_are_the_time_however_they_are_written() {
    for (form, of) in [
        ("2019/01/31", (|day| format!("2019/01/{day:02}")) as fn(u64) -> String),
        ("31.01.2019", |day| format!("{day}.01.2019 8:30")),
        ("31-Jan-2019", |day| format!("{day:02}-Jan-2019")),
        ("2019-01", |day| format!("2019-{day:02}")),
    ] {
        let proposal = beside("date", |row| of(1 + row / 300));
        assert!(matches!(&proposal.cut.what, Cut::Time { column, .. } if column == "date"), "{form}: {proposal:#?}");
    }
}

#[test]
fn dates_that_cannot_be_read_are_told_and_are_no_feature() {
    let us = |row: u64| format!("01/{:02}/2019", 1 + row / 300);
    let with_clock = |row: u64| format!("1/{}/2019 0:00:00", 1 + row / 100);
    let with_slip = |row: u64| if row == 17 { "soon".into() } else { format!("2019-01-{:02}", 1 + row / 300) };
    for (value, told) in [
        (
            &us as &dyn Fn(u64) -> String,
            "`date` holds dates such as `01/01/2019`, which cannot be read; write dates as",
        ),
        (&with_clock, "`date` holds dates such as `1/1/2019 0:00:00`, which cannot be read"),
        (&with_slip, "`date` holds dates that can be read, but one is `soon`; write dates as 2019-01-31"),
    ] {
        let proposal = beside("date", value);
        assert_eq!(left(&proposal, "date"), "dates that cannot be read");
        assert!(proposal.unsure.iter().any(|unsure| unsure.starts_with(told)), "{:?}", proposal.unsure);
        let cut = proposal.cut.in_three();
        assert!(cut.starts_with("at random: there is no time that can be read (`date`) and nothing"), "{cut}");
    }
    // What is called a time and holds no dates may be a feature, but not in silence.
    let proposal = beside("time", |row| format!("{:02}:{:02}", row % 24, row / 24 % 60));
    assert!(matches!(field(&proposal, "time"), FieldKind::Categorical(_)), "{proposal:#?}");
    assert!(proposal.unsure[0].contains("`time` sounds like a time, and its cells, such as `00:00`"), "{proposal:#?}");
}

#[test]
fn a_panel_is_cut_by_its_years_though_the_rows_stand_by_person() {
    let row = |row: u64| format!("{},{},{},{}", row / 5, 1984 + row % 5, row % 9, u8::from(click(row)));
    let proposal = of("firm,year,noise,click", 3000, row, &[]).unwrap();
    assert!(proposal.cut.in_three().starts_with(
        "by the time `year`, of which no `firm` has the same twice; validation from 1987 on, test from 1988 on"
    ));
    assert!(proposal.unsure[0].contains("`year` is taken for the time since its name says so and no `firm` has"));
    // Years of anything else are told.
    let drawn = |name: &str, row: u64| Stream::new(5, name).below(row, 20);
    let row = |row: u64| format!("{},{},{},{}", row / 5, 1984 + drawn("year", row), row % 9, u8::from(click(row)));
    let proposal = of("firm,year,noise,click", 3000, row, &[]).unwrap();
    assert_eq!(proposal.cut.what, Cut::Rows);
    assert!(proposal.unsure[0].starts_with("`year` may be the time"), "{:?}", proposal.unsure);
}

#[test]
fn rows_of_an_id_that_comes_back_stay_together() {
    let row = |row: u64| format!("{},{},{}", row / 3, row % 9, u8::from(click(row)));
    let proposal = of("id,noise,click", 3000, row, &[]).unwrap();
    assert_eq!(proposal.cut.what, Cut::Group { column: "id".into() });
    assert!(proposal.unsure[0].contains("without a time the rows are cut by `id`"), "{:?}", proposal.unsure);
    // One that does not come back numbers the rows.
    let row = |row: u64| format!("{},{},{}", row, row % 9, u8::from(click(row)));
    assert_eq!(of("id,noise,click", 3000, row, &[]).unwrap().cut.what, Cut::Rows);
}

#[test]
fn without_a_time_rows_of_one_user_stay_together() {
    let row = |row: u64| format!("u{},{},{}", row % 300, row % 9, u8::from(click(row)));
    let (directory, source) = log("user_id,device,click", 3000, row);
    let proposal = propose(&survey(&source).unwrap(), &[]).unwrap();
    assert_eq!(proposal.cut.what, Cut::Group { column: "user_id".into() });
    assert_eq!(proposal.group.as_ref().map(|group| &group.what[..]), Some("user_id"));
    assert!(left(&proposal, "user_id").starts_with("the rows are cut by it"));
    assert_eq!(deal(&source, &proposal.cut.what, directory.path(), 1).unwrap().iter().sum::<u64>(), 3000);
    let users = |file: &str| {
        let rows = open(&directory.path().join(file)).unwrap().rows(&["user_id"], 5000).next().unwrap().unwrap();
        let users = rows.column("user_id").unwrap().to_text().unwrap();
        users.iter().flatten().map(String::from).collect::<std::collections::BTreeSet<_>>()
    };
    assert!(users(FILES[0]).is_disjoint(&users(FILES[2])) && !users(FILES[1]).is_empty());
}

#[test]
fn sides_follow_what_stays_the_same_within_a_user() {
    let row = |row: u64| {
        let (user, item) = (Stream::new(1, "user").below(row, 200), Stream::new(1, "item").below(row, 50));
        // `mood` sounds like nothing; `user_city` changes within the user.
        format!("{row},{user},{item},{},{},c{},{}", user % 5, item % 6, row % 4, u8::from(click(row)))
    };
    let proposal = of("time,user_id,item_id,mood,shape,user_city,click", 3000, row, &[]).unwrap();
    let side = |name: &str| proposal.fields.iter().find(|field| field.what.name == name).map(|field| field.what.side);
    let sides = ["user_id", "item_id", "mood", "shape", "user_city"].map(|name| side(name).unwrap());
    assert_eq!(sides, [Side::User, Side::Item, Side::User, Side::Item, Side::Context]);
}

#[test]
fn scenarios_are_slices_of_another_rate() {
    let scenario = |most: f64| {
        let row = |row: u64| {
            let tab = row % 3;
            format!("t{tab},{},{}", row % 7, u8::from(draw("click", row) < if tab == 0 { most } else { 0.2 }))
        };
        of("tab,device,click", 3000, row, &[]).unwrap().scenario.map(|scenario| scenario.what)
    };
    assert_eq!(scenario(0.5).as_deref(), Some("tab"));
    assert_eq!(scenario(0.22), None);
}

#[test]
fn the_schema_that_is_written_is_the_one_that_was_proposed() {
    let row = |row: u64| format!("{},\"a \"\"b\"\"|c{}\",{},{}", row % 40, row % 12, row % 30, u8::from(click(row)));
    let proposal = of("user age,\"ta.gs\",Tags,click", 3000, row, &[]).unwrap();
    let schema = Schema::parse(&proposal.schema().unwrap()).unwrap();
    let fields: Vec<Field> = proposal.fields.iter().map(|field| field.what.clone()).collect();
    assert_eq!(schema.fields, fields);
    assert_eq!(schema.tasks, proposal.tasks.iter().map(|task| task.what.clone()).collect::<Vec<_>>());
    let config = crate::config::Config::parse(&proposal.config("a \"b\""), &[]).unwrap();
    assert_eq!((config.model.name(), &config.data.train[0][..]), ("single-task", "a \"b\"/train.parquet"));
}

#[test]
fn what_is_parted_in_memory_is_what_is_dealt_to_files() {
    let (directory, source) =
        log("day,user,click", 2000, |row| format!("{},u{},{}", row / 100, row % 90, u8::from(click(row))));
    let time = Cut::Time { column: "day".into(), valid: 16.0, test: 18.0, told: ["16", "18"].map(String::from) };
    for cut in [time, Cut::Group { column: "user".into() }, Cut::Rows] {
        let dealt = deal(&source, &cut, directory.path(), 5).unwrap();
        let [learn, stop] = part(&source, &cut, 5).unwrap();
        assert_eq!(learn.total_rows(), Some(dealt[0] + dealt[1]), "{cut:?}");
        assert_eq!(stop.total_rows(), Some(dealt[2]), "{cut:?}");
        let read = |source: &Source| -> Vec<RecordBatch> {
            source.rows(&["day", "user", "click"], 4000).map(|rows| rows.unwrap().batch).collect()
        };
        assert_eq!(read(&stop), read(&open(&directory.path().join(FILES[2])).unwrap()), "{cut:?}");
    }
    let nothing = Cut::Time { column: "day".into(), valid: 16.0, test: 99.0, told: ["16", "99"].map(String::from) };
    let error = part(&source, &nothing, 5).unwrap_err().to_string();
    assert!(error.contains("2000 to learn from, 0 to stop by"), "{error}");
}

#[test]
fn a_label_with_one_bad_cell_is_no_feature() {
    let log = |tasks: &[&str], bad: &dyn Fn(u64) -> Option<&'static str>| {
        let row = |row: u64| {
            let click = bad(row).unwrap_or(if click(row) { "1" } else { "0" });
            format!("{},{},{click}", row % 7, u8::from(buy(row)))
        };
        of("noise,buy,click", 3000, row, tasks)
    };
    for cell in ["2", "?", "0.5", "unknown"] {
        let said = log(&[], &|row| (row == 17).then_some(cell)).unwrap_err().to_string();
        assert!(said.contains("column `click` has an action's name") && said.contains(&format!("but one is `{cell}`")));
        let proposal = log(&["buy"], &|row| (row == 17).then_some(cell)).unwrap();
        assert_eq!(proposal.never, ["click"], "whoever names the tasks may have such a column");
    }
    let said = log(&[], &|row| (row % 300 == 17).then_some("2")).unwrap_err().to_string();
    assert!(said.contains("but 10 are others, the first of them `2`"), "{said}");
    // With so many others it is a count, or a code.
    let proposal = log(&[], &|row| (row % 10 == 7).then_some("2")).unwrap();
    assert_eq!(proposal.tasks.len(), 1);
}

#[test]
fn a_label_that_the_first_rows_lack_is_one() {
    for [no, yes] in [["0.0", "1.0"], ["False", "True"]] {
        let row = |row: u64| {
            let cell = if row < 10_500 { "" } else { [no, yes][usize::from(click(row))] };
            format!("{},{cell}", row % 9)
        };
        let proposal = of("noise,click", 14_000, row, &["click"]).unwrap();
        assert!(proposal.tasks[0].why.starts_with("in 29."), "{yes}: {:?}", proposal.tasks);
    }
}

#[test]
fn a_label_of_two_words_is_told_by_them() {
    let row = |row: u64| format!("{},{},{}", row % 9, ["NO", "YES"][usize::from(click(row))], row % 2);
    let said = of("noise,driver,odd", 300, row, &["driver"]).unwrap_err().to_string();
    let words = "`driver` is no label: it holds `NO` and `YES`; a label holds 1 and 0: write 1 in place of the one to";
    assert!(said.contains(words), "{said}");
    let said = of("noise,driver,odd", 300, row, &[]).unwrap_err().to_string();
    assert!(said.contains("of two other values: `driver` (`NO`, `YES`). A label holds 1 and 0: write 1"), "{said}");
    // Beside another label it would be a feature that gives it away.
    let proposal = of("noise,buy,click", 300, row, &[]).unwrap();
    let told = "`buy` has an action's name and holds `NO` and `YES`, so it is taken for a feature";
    assert!(proposal.unsure.iter().any(|unsure| unsure.starts_with(told)), "{:?}", proposal.unsure);
}

#[test]
fn a_log_of_other_separators_or_without_rows_says_so() {
    for tasks in [&[][..], &["click"]] {
        let said = of("user;price;click", 9, |row| format!("{row};2;1"), tasks).unwrap_err().to_string();
        assert!(said.contains("one column, `user;price;click`; if ';' stands between its cells"), "{said}");
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("log.csv"), "user,click\n").unwrap();
    let nothing = survey(&open(&directory.path().join("log.csv")).unwrap()).unwrap();
    assert!(propose(&nothing, &[]).unwrap_err().to_string().contains("the log has no rows"));
}

#[test]
fn a_number_with_one_bad_cell_is_told() {
    let proposal = beside("price", |row| if row == 17 { "?".into() } else { format!("{}.5", row % 90) });
    assert!(matches!(field(&proposal, "price"), FieldKind::Categorical(_)));
    let told =
        "`price` is taken for a category: its cells are numbers, but one is `?`; a missing number is an empty cell";
    assert!(proposal.unsure.iter().any(|unsure| unsure == told), "{:?}", proposal.unsure);
    let proposal = beside("brand", |row| format!("b{}", row % 90));
    assert!(proposal.unsure.is_empty(), "{:?}", proposal.unsure);
}

#[test]
fn a_column_with_an_infinity_is_left_out_as_training_refuses_it() {
    let value = |row: u64| if row % 1000 == 1 { "inf".into() } else { format!("{:.3}", draw("x", row)) };
    let proposal = beside("x", value);
    assert_eq!(left(&proposal, "x"), "holds 3 infinities, which training refuses");
    assert!(proposal.schema().unwrap().contains("#   x: holds 3 infinities"));
    // Where nothing else is left, the error says why.
    let said = of("x,click", 3000, |row| format!("{},{}", value(row), u8::from(click(row))), &[]).unwrap_err();
    assert!(said.to_string().contains("no column is left to predict from"), "{said}");
    assert!(said.to_string().contains("`x`: holds 3 infinities"), "{said}");
}
