use crosstie::data::{Column, Source};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::log::{Accepted, Candidate, Features, Log, LogSettings};

const HOUR: i64 = 3_600_000_000;
/// 2026-11-26T22:00:00Z.
const START: i64 = 1_795_730_400_000_000;

fn features(value: Value) -> Features {
    let text = RawValue::from_string(value.to_string()).unwrap();
    Features::from(&*text)
}

/// A request, so many hours after the start, of candidates `a`, `b` and `c`; `c` is first.
fn exposure(request: &str, hours: i64) -> Exposure {
    let candidate = |index: u32, id: &str, item: Value| Candidate {
        index,
        id: Some(id.into()),
        position: 3 - index,
        score: Some(f64::from(index)),
        given_parent: vec![Some(0.5), None],
        from_impression: vec![Some(0.5), Some(0.25)],
        features: features(json!({"item": item, "tags": ["x", id]})),
    };
    Exposure {
        request: request.into(),
        time: Time(START + hours * HOUR),
        unit: Some("u1".into()),
        experiment: None,
        arm: Some("b".into()),
        model: "shop".into(),
        version: "7".into(),
        artifact: "f00d".into(),
        tasks: vec!["click".into(), "buy".into()],
        user: Some(features(json!({"user": "u1", "age": 31}))),
        context: Some(features(json!({"hour": 20.5, "item": "none"}))),
        candidates: vec![candidate(0, "a", json!(1)), candidate(1, "b", json!("two")), candidate(2, "c", json!(null))],
    }
}

/// Something done with a candidate, so many hours after the start, and heard of at once.
fn feedback(request: &str, candidate: CandidateName, action: &str, hours: i64) -> Feedback {
    let time = Time(START + hours * HOUR);
    let (request, action) = (request.into(), action.into());
    Feedback { request, candidate, action, value: None, time, received: time, event: None }
}

fn index(index: u32) -> CandidateName {
    CandidateName::Number(index)
}

fn log(directory: &Path, exposures: Vec<Exposure>, feedback: Vec<Feedback>) -> Accepted {
    let log = Log::open(directory, &LogSettings::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let accepted = log.feedback(feedback).await.unwrap();
        for exposure in exposures {
            log.exposure(exposure).await.unwrap();
        }
        log.flush().await.unwrap();
        accepted
    })
}

fn files(schema: Option<&crosstie::schema::Schema>) -> Files<'_> {
    Files { window: 24 * HOUR, now: None, schema, position: None }
}

/// Joins logs into `out` beside the first and gives what the report says.
fn join(logs: &[&Path], files: &Files) -> (PathBuf, Report) {
    let out = logs[0].join("out");
    let logs: Vec<PathBuf> = logs.iter().map(|log| log.to_path_buf()).collect();
    let report = files.write(&Joined::read(&logs).unwrap(), &out).unwrap();
    (out, report)
}

/// One column of all files, as text.
fn column(out: &Path, name: &str) -> Vec<String> {
    let pattern = out.join("*.parquet");
    let source = Source::open(&[pattern.to_str().unwrap()]).unwrap();
    let mut texts = Vec::new();
    for rows in source.rows(&[name], 1000) {
        let rows = rows.unwrap();
        let column: Column = rows.column(name).unwrap();
        match column.is_list() {
            true => texts.extend(column.to_text().unwrap().iter().map(|text| text.unwrap_or_default().to_string())),
            false => column.each_text(|_, text| texts.push(text.unwrap_or_default().into())).unwrap(),
        }
    }
    texts
}

#[test]
fn a_number_that_was_an_id_marked_the_candidate_at_that_place() {
    let directory = tempfile::tempdir().unwrap();
    let numbered = |request: &str, ids: [Option<&str>; 3]| {
        let mut exposure = exposure(request, 0);
        exposure.candidates.iter_mut().zip(ids).for_each(|(of, id)| of.id = id.map(String::from));
        exposure
    };
    let clicked = |request: &str, number: u32| feedback(request, CandidateName::Number(number), "click", 1);
    let shown = vec![
        numbered("r1", [Some("2"), Some("7"), Some("0")]),
        numbered("r2", [None, None, None]),
        exposure("r3", 0),
        exposure("late", 30),
    ];
    log(directory.path(), shown, vec![clicked("r1", 2), clicked("r1", 1), clicked("r2", 2), clicked("r3", 0)]);
    let (out, report) = join(&[directory.path()], &files(None));
    // The third candidate stands first in the answer.
    let rows: Vec<String> =
        column(&out, "request").iter().zip(column(&out, "click")).map(|(r, c)| format!("{r}{c}")).collect();
    let of =
        |request: &str| rows.iter().filter(|row| row.starts_with(request)).map(|row| &row[2..]).collect::<String>();
    assert_eq!((of("r1"), of("r2"), of("r3")), ("001".into(), "100".into(), "001".into()));
    assert_eq!(report.unmatched, Unmatched { requests: 0, candidates: 1 }, "no candidate of `r1` has the id 1");
}

#[test]
fn a_row_has_what_was_shown_and_what_came_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let buy = |event: &str, value: f64| Feedback {
        value: Some(value),
        event: Some(event.into()),
        ..feedback("r1", CandidateName::Id("b".into()), "buy", 2)
    };
    let heard = vec![
        feedback("r1", index(1), "click", 1),
        buy("e1", 2.5),
        buy("e2", 4.0),
        // Past the window of `r1`, and within that of `r2`.
        feedback("r1", index(2), "click", 25),
        feedback("r2", index(2), "share", 25),
        feedback("r2", index(9), "click", 25),
        feedback("r9", index(0), "click", 26),
    ];
    log(place, vec![exposure("r2", 3), exposure("r1", 0)], heard);
    let (out, report) = join(&[place], &files(None));

    // Until the window has passed nothing is said, and `r2` is the next day's.
    assert_eq!(column(&out, "request"), ["r1", "r1", "r1", "r2", "r2", "r2"]);
    assert_eq!(column(&out, "click"), ["0", "1", "0", "", "", ""]);
    assert_eq!(column(&out, "buy"), ["0", "1", "0", "", "", ""]);
    assert_eq!(column(&out, "share"), ["0", "0", "0", "", "", ""]);
    assert_eq!(column(&out, "buy_value"), ["", "6.5", "", "", "", ""]);
    assert_eq!(report.files, ["2026-11-26.parquet", "2026-11-27.parquet"].map(|name| out.join(name)));
    assert_eq!((report.exposures, report.rows, report.labelled), (2, 6, 3));
    let actions = [("buy", 1, 6.5), ("click", 1, 0.0), ("share", 0, 0.0)];
    assert_eq!(report.actions, actions.map(|(action, times, value)| (action.to_string(), times, value)));
    assert_eq!(report.unmatched, Unmatched { requests: 1, candidates: 1 });

    // As answered: `c` first. A candidate's own feature stands before the context's.
    assert_eq!(column(&out, "candidate")[..3], ["2", "1", "0"]);
    assert_eq!(column(&out, "item")[..3], ["", "two", "1"]);
    assert_eq!(column(&out, "tags")[..3], ["x,c", "x,b", "x,a"]);
    for (name, expected) in [
        ("position", "1"),
        ("score", "2"),
        ("user", "u1"),
        ("age", "31"),
        ("hour", "20.5"),
        ("unit", "u1"),
        ("arm", "b"),
        ("experiment", ""),
        ("model", "shop"),
        ("version", "7"),
        ("artifact", "f00d"),
        ("time", "2026-11-26T22:00:00"),
        ("p_click", "0.5"),
        ("p_buy", ""),
        ("joint_buy", "0.25"),
    ] {
        assert_eq!(column(&out, name)[0], expected, "{name}");
    }

    let later = Files { now: Some(Time(START + 27 * HOUR)), ..files(None) };
    let (out, report) = join(&[place], &later);
    assert_eq!(column(&out, "share"), ["0", "0", "0", "1", "0", "0"]);
    assert_eq!(report.labelled, 6);
}

#[test]
fn what_is_repeated_late_or_out_of_order_changes_nothing() {
    let (one, two, three) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut heard = Vec::new();
    for (place, request) in ["r1", "r2", "r3"].into_iter().enumerate() {
        heard.push(feedback(request, index(place as u32), "click", 4));
        heard.push(Feedback { value: Some(3.0), ..feedback(request, index(place as u32), "buy", 5) });
    }
    heard.push(feedback("r0", index(0), "click", 60));
    let exposures = || vec![exposure("r1", 0), exposure("r2", 1), exposure("r3", 2)];
    log(one.path(), exposures(), heard.clone());
    let (plain, report) = join(&[one.path()], &files(None));
    assert_eq!(column(&plain, "click"), ["0", "0", "1", "0", "1", "0", "1", "0", "0"]);

    // Two servers that both hear everything, backwards; one candidate is named by its id.
    heard.reverse();
    let again = heard.iter().map(|event| Feedback {
        candidate: match event.candidate {
            CandidateName::Number(index) => CandidateName::Id(["a", "b", "c"][index as usize].into()),
            CandidateName::Id(_) => unreachable!(),
        },
        ..event.clone()
    });
    log(two.path(), vec![exposure("r3", 2), exposure("r1", 0)], heard.clone());
    log(three.path(), vec![exposure("r2", 1)], again.collect());
    for logs in [[two.path(), three.path()], [three.path(), two.path()]] {
        let (out, other) = join(&logs, &files(None));
        assert_eq!(other.actions, report.actions);
        for file in &report.files {
            let name = file.file_name().unwrap();
            assert!(std::fs::read(file).unwrap() == std::fs::read(out.join(name)).unwrap(), "{name:?} differs");
        }
    }
}

#[test]
fn a_clock_that_goes_wrong_moves_no_action_out_of_its_window() {
    let directory = tempfile::tempdir().unwrap();
    let early = Feedback { time: Time(START - 9000 * HOUR), ..feedback("r1", index(0), "click", 1) };
    let future = Feedback { time: Time(START + 9000 * HOUR), ..feedback("r1", index(1), "click", 2) };
    log(directory.path(), vec![exposure("r1", 0), exposure("r2", 30)], vec![early, future]);
    let (out, _) = join(&[directory.path()], &files(None));
    assert_eq!(column(&out, "click"), ["0", "1", "1", "", "", ""]);
}

#[test]
fn of_a_request_that_came_twice_the_last_answer_counts() {
    let directory = tempfile::tempdir().unwrap();
    let again = Exposure { version: "8".into(), ..exposure("r1", 1) };
    log(directory.path(), vec![again, exposure("r1", 0)], vec![feedback("r1", index(0), "click", 2)]);
    let (out, report) = join(&[directory.path()], &files(None));
    assert_eq!(report.exposures, 1);
    assert_eq!(Joined::read(&[directory.path().into()]).unwrap().replaced(), 1);
    assert_eq!(column(&out, "version"), ["8", "8", "8"]);
}

#[test]
fn columns_of_one_name_are_told_apart_and_labels_keep_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let mut exposure = exposure("r1", 0);
    exposure.context = Some(features(json!({"click": 7, "position": 5, "p_buy": 1})));
    log(directory.path(), vec![exposure], vec![feedback("r1", index(0), "click", 30)]);
    let (out, report) = join(&[directory.path()], &files(None));
    let renamed = [("click", "feature_click"), ("position", "logged_position"), ("p_buy", "logged_p_buy")];
    assert_eq!(report.renamed, renamed.map(|(name, as_)| (name.to_string(), as_.to_string())));
    assert_eq!(column(&out, "click"), ["0", "0", "0"]);
    assert_eq!(column(&out, "feature_click"), ["7", "7", "7"]);
    assert_eq!((column(&out, "position"), column(&out, "logged_position")[0].as_str()), (vec!["5".into(); 3], "1"));
}

#[test]
fn a_bias_learned_from_the_place_that_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut exposure = exposure("r1", 0);
    exposure.context = Some(features(json!({"position": 1})));
    log(directory.path(), vec![exposure], Vec::new());
    let schema =
        "[[task]]\nname = \"click\"\n[[field]]\nname = \"position\"\nkind = \"categorical\"\nrole = \"bias\"\n";
    let schema = crosstie::schema::Schema::parse(schema).unwrap();
    let (out, report) = join(&[directory.path()], &files(Some(&schema)));
    assert_eq!((column(&out, "position"), report.asked), (vec!["1".to_string(); 3], vec!["position".to_string()]));
    let (out, report) = join(&[directory.path()], &Files { position: Some("position"), ..files(Some(&schema)) });
    assert_eq!((column(&out, "position"), report.asked.len()), (["1", "2", "3"].map(String::from).to_vec(), 0));
    assert!(report.renamed.is_empty(), "{:?}", report.renamed);
    // Where no request says it, the server's own column has the name.
    let unsaid = tempfile::tempdir().unwrap();
    log(unsaid.path(), vec![self::exposure("r1", 0)], Vec::new());
    let (out, report) = join(&[unsaid.path()], &files(Some(&schema)));
    assert_eq!((column(&out, "position"), report.asked.len()), (["1", "2", "3"].map(String::from).to_vec(), 0));
    // Under another name it stands beside the server's own.
    let (out, _) = join(&[directory.path()], &Files { position: Some("place"), ..files(None) });
    assert_eq!(
        (column(&out, "place"), column(&out, "position")),
        (column(&out, "logged_position"), vec!["1".into(); 3])
    );
}

#[test]
fn an_action_that_is_no_task_takes_the_name_of_no_feature_and_of_no_id() {
    let directory = tempfile::tempdir().unwrap();
    let mut exposure = exposure("r1", 0);
    exposure.context = Some(features(json!({"price": 9.5, "buy_value": 3})));
    let value = |action: &str| Feedback { value: Some(2.0), ..feedback("r1", index(0), action, 1) };
    let heard = vec![value("price"), value("buy"), feedback("r1", index(0), "request", 30)];
    log(directory.path(), vec![exposure], heard);
    let schema = |task: &str| {
        crosstie::schema::Schema::parse(&format!(
            "[[task]]\nname = \"{task}\"\n[[field]]\nname = \"user\"\nkind = \"categorical\""
        ))
        .unwrap()
    };
    for schema in [None, Some(schema("buy"))] {
        let (out, report) = join(&[directory.path()], &files(schema.as_ref()));
        let mut renamed = report.renamed.clone();
        renamed.sort();
        let expected = [("buy_value", "logged_buy_value"), ("price", "action_price"), ("request", "action_request")];
        assert_eq!(renamed, expected.map(|(name, called)| (name.to_string(), called.to_string())));
        for (name, expected) in [
            ("price", ["9.5", "9.5", "9.5"]),
            ("buy_value", ["3", "3", "3"]),
            ("request", ["r1", "r1", "r1"]),
            ("action_price", ["0", "0", "1"]),
            ("action_price_value", ["", "", "2"]),
            ("action_request", ["0", "0", "0"]),
            ("buy", ["0", "0", "1"]),
            ("logged_buy_value", ["", "", "2"]),
        ] {
            assert_eq!(column(&out, name), expected, "{name}");
        }
    }
    // What a schema trains on is a label, whoever else has its name.
    let (out, _) = join(&[directory.path()], &files(Some(&schema("price"))));
    assert_eq!(
        (column(&out, "price"), column(&out, "feature_price")[0].as_str()),
        (vec!["0".into(), "0".into(), "1".to_string()], "9.5")
    );
}

#[test]
fn a_value_that_cannot_be_read_costs_no_other_of_its_object() {
    let directory = tempfile::tempdir().unwrap();
    let text = r#"{"user": "u1", "q": "hi \ud83d", "age": 31, "zz": 1e400}"#;
    let user = Features::from(&*RawValue::from_string(text.into()).unwrap());
    assert_eq!(user.text("user").as_deref(), Some("u1"));
    log(directory.path(), vec![Exposure { user: Some(user), ..exposure("r1", 0) }], vec![]);
    let joined = Joined::read(&[directory.path().into()]).unwrap();
    assert_eq!(joined.unreadable().collect::<Vec<_>>(), ["q", "zz"]);
    let (out, _) = join(&[directory.path()], &files(None));
    assert_eq!((column(&out, "user"), column(&out, "age")), (vec!["u1".to_string(); 3], vec!["31".to_string(); 3]));
}

#[test]
fn a_schema_names_the_labels_and_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    log(directory.path(), vec![exposure("r1", 0)], vec![feedback("r1", index(0), "buy", 30)]);
    let schema = crosstie::schema::Schema::parse(
        "group = \"user\"\n[[task]]\nname = \"buy\"\nlabel = \"bought\"\n[[field]]\nname = \"city\"\nkind = \"categorical\"\n\
         [[field]]\nname = \"age\"\nkind = \"numeric\"",
    );
    let schema = schema.unwrap();
    let (out, report) = join(&[directory.path()], &files(Some(&schema)));
    assert_eq!(column(&out, "bought"), ["0", "0", "0"]);
    assert_eq!(report.missing, ["city"]);
}

#[test]
fn a_directory_that_is_no_log_and_a_log_without_exposures_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let said = Joined::read(&[directory.path().into()]).unwrap_err().to_string();
    assert!(said.contains("is no log"), "{said}");
    log(directory.path(), vec![], vec![feedback("r1", index(0), "click", 0)]);
    let joined = Joined::read(&[directory.path().into()]).unwrap();
    let said = files(None).write(&joined, &directory.path().join("out")).unwrap_err().to_string();
    assert!(said.contains("the log has no exposure"), "{said}");
}

#[test]
fn a_day_of_which_a_part_was_removed_from_the_log_does_not_replace_the_whole_one() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    log(place, vec![exposure("r1", 0)], vec![]);
    log(place, vec![exposure("r2", 1), exposure("r3", 3)], vec![]);
    log(place, vec![exposure("r4", 80)], vec![feedback("r3", index(0), "click", 4)]);
    let names = |files: &[PathBuf]| -> Vec<String> {
        files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into()).collect()
    };
    let days = ["2026-11-26.parquet", "2026-11-27.parquet", "2026-11-30.parquet"];
    let (out, report) = join(&[place], &files(None));
    assert_eq!((names(&report.files), report.left.len()), (days.map(String::from).into(), 0));
    let before = column(&out, "request");
    std::fs::remove_file(place.join("00000001.log")).unwrap();
    let (out, report) = join(&[place], &files(None));
    assert_eq!(names(&report.files), days[1..]);
    assert_eq!(names(&report.left), days[..1]);
    assert_eq!(column(&out, "request"), before);
    // Where there is none yet, a part of a day is better than nothing.
    std::fs::remove_file(out.join(days[0])).unwrap();
    let (out, report) = join(&[place], &files(None));
    assert_eq!(names(&report.files), days);
    assert_eq!(column(&out, "request"), before[3..]);
}

#[test]
fn a_log_is_cut_where_its_oldest_segments_were_removed_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let cut = || crate::log::cut_at(&[place.to_path_buf()]).unwrap();
    log(place, vec![exposure("r1", 1)], vec![]);
    // What a crash may leave: a segment's head and nothing else.
    let first = place.join("00000001.log");
    let head = std::fs::read_to_string(&first).unwrap().split_inclusive('\n').next().unwrap().to_string();
    std::fs::write(first, head).unwrap();
    log(place, vec![exposure("r2", 5)], vec![]);
    assert_eq!(cut(), None);
    let segments = crate::log::segments(place).unwrap();
    let (last, older) = segments.split_last().unwrap();
    older.iter().for_each(|segment| std::fs::remove_file(&segment.path).unwrap());
    assert_eq!(cut(), Some(exposure("r2", 5).time));
    std::fs::remove_file(&last.path).unwrap();
    assert_eq!(cut(), None, "of nothing there is no first event");
}

#[test]
fn a_segment_that_goes_while_the_log_is_read_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    log(place, vec![exposure("r1", 0)], vec![]);
    log(place, vec![exposure("r2", 1)], vec![]);
    let joined = Joined::read(&[place.to_path_buf()]).unwrap();
    std::fs::remove_file(place.join("00000001.log")).unwrap();
    let said = joined.each(|_, _| Ok(())).unwrap_err().to_string();
    assert!(said.contains("00000001.log") && said.contains("read it again"), "{said}");
}
