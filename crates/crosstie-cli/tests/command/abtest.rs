//! Two models are compared by what was shown and what came of it.

use std::path::Path;

use crosstie_serve::log::{Candidate, Exposure, Features, Log, LogSettings, Time};
use serde_json::value::RawValue;

use crate::place::Place;

/// Numbers that look random, from a counter.
fn noise(place: u64) -> f64 {
    let mut bits = place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// A log of units that come on ten days; of the candidate's impressions more are
/// clicked, by this factor.
fn log(units: u64, factor: f64) -> String {
    let mut text = String::from("request,unit,time,experiment,arm,scenario,click,click_value,joint_click\n");
    for row in 0..units * 10 {
        let (unit, day) = (row / 10, row % 10 + 1);
        let arm = ["control", "candidate"][(unit % 2) as usize];
        let rate = 0.25 * [1.0, factor][(unit % 2) as usize];
        let scenario = ["feed", "search"][(noise(7 * row + 3) < 0.5) as usize];
        let click = u8::from(noise(3 * row) < rate);
        let (click, value) = match (day, click) {
            (10, _) if unit % 50 == 0 => (String::new(), String::new()),
            (_, 1) => ("1".into(), format!("{:.2}", 0.5 + noise(5 * row))),
            _ => ("0".into(), String::new()),
        };
        text += &format!("r{row},u{unit},2026-11-{day:02}T08:00:00Z,t,{arm},{scenario},{click},{value},0.25\n");
    }
    text
}

#[test]
fn a_better_arm_is_told_from_the_control() {
    let place = Place::new();
    place.write("log.csv", &log(1_000, 1.4));
    let ran = place.ok("abtest log.csv --json out.json --html out.html --lift 0.02");
    let ran = ran.prints(&["10,000 impressions of 1,000 units from 2026-11-01 to 2026-11-10", "click rate", "eCPM"]);
    ran.prints(&[
        "the arms have their shares",
        "candidate: eCPM is higher than that of control",
        "By scenario",
        "search",
    ]);
    let report: serde_json::Value = serde_json::from_str(&place.read("out.json")).unwrap();
    let ecpm = report["differences"].as_array().unwrap().iter().find(|one| one["measure"] == "eCPM").unwrap();
    let (low, high) = (&ecpm["plain"]["sequence"]["low"], &ecpm["plain"]["sequence"]["high"]);
    assert!(low.as_f64().unwrap() > 0.0 && high.as_f64().unwrap() < 1.0, "{ecpm}");
    assert_eq!(report["over_time"].as_array().unwrap().len(), 10);
    let seen = &report["arms"][0]["calibration"]["click"];
    assert_eq!(seen["rows"], 4_980, "labels that are not yet known do not count");
    let page = place.read("out.html");
    for part in ["<svg", "prefers-color-scheme", "width=device-width", "2026-11-10", "eCPM of candidate"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains("http"), "nothing runs and nothing is fetched");
}

#[test]
fn equal_arms_are_not_told_apart() {
    let place = Place::new();
    place.write("log.csv", &log(600, 1.0));
    place.ok("abtest log.csv").prints(&["candidate: eCPM cannot be told from that of control yet"]);
}

#[test]
fn a_sample_ratio_that_is_off_is_warned_of() {
    let place = Place::new();
    place.write("log.csv", &log(1_000, 1.0));
    let experiment = "name = \"t\"\nunit = \"user\"\n[[arm]]\nname = \"control\"\nmodel = \"a\"\nshare = 70\n\
                      [[arm]]\nname = \"candidate\"\nmodel = \"b\"\nshare = 30\n[[step]]\ntraffic = 100\n";
    place.write("t.toml", experiment);
    place
        .ok("abtest log.csv --experiment t.toml")
        .says(&["sample-ratio mismatch", "control has 500 units for a share of 70"]);
    place.write("t.toml", &experiment.replace("\"candidate\"", "\"candidat\""));
    place.run("abtest log.csv --experiment t.toml").exit(1).says(&["no arm `candidate`; did you mean `candidat`?"]);
}

#[test]
fn the_time_before_makes_lifts_surer() {
    let place = Place::new();
    let spend = |unit: u64| 10.0 + 20.0 * noise(unit);
    let mut before = String::from("unit,spent\n");
    let mut log = String::from("unit,time,arm,spent\n");
    for unit in 0..400u64 {
        before += &format!("u{unit},{}\n", spend(unit));
        let arm = ["control", "new"][(unit % 2) as usize];
        log += &format!("u{unit},2026-11-01,{arm},{}\n", spend(unit) * (1.0 + 0.1 * noise(unit + 9_000)));
    }
    place.write("before.csv", &before);
    place.write("log.csv", &log);
    let plain = place.ok("abtest log.csv --value spent --json plain.json").stdout;
    assert!(!plain.contains("CUPED"), "{plain}");
    place.ok("abtest log.csv --value spent --before before.csv --json adjusted.json").prints(&["(CUPED)"]);
    place.write("strangers.csv", &before.replace("\nu", "\nv"));
    let ran = place.ok("abtest log.csv --value spent --before strangers.csv");
    ran.says(&["no row of --before is of a unit that takes part (400 rows with the column `unit`)"]);
    let error = |file: &str, kind: &str| {
        let report: serde_json::Value = serde_json::from_str(&place.read(file)).unwrap();
        report["differences"][0][kind]["standard_error"].as_f64().unwrap()
    };
    assert_eq!(error("plain.json", "plain"), error("adjusted.json", "plain"));
    assert!(error("adjusted.json", "adjusted") < 0.3 * error("plain.json", "plain"));
}

#[test]
fn what_a_log_lacks_is_named() {
    let place = Place::new();
    place.write("log.csv", &log(20, 1.0));
    for (arguments, words) in [
        ("--action clik", vec!["no action `clik`; did you mean `click`?"]),
        ("--value click_valu", vec!["no column `click_valu`; did you mean `click_value`?"]),
        ("--control contrl", vec!["no arm `contrl`; did you mean `control`?"]),
        ("--unit usr", vec!["log.csv", "usr"]),
        ("--alpha 5", vec!["--alpha: found 5"]),
        ("--json log.csv", vec!["log.csv"]),
    ] {
        place.run(&format!("abtest log.csv {arguments}")).exit(1).says(&words);
    }
    place.write("two.csv", &log(20, 1.0).replacen(",t,", ",other,", 1));
    place.run("abtest two.csv").exit(1).says(&["experiments `other` and `t`; --name says which"]);
    place.ok("abtest two.csv --name t").says(&["1 row took no part"]);
    place.write("broken.csv", "unit,time,arm,click,click_value\nu1,soon,control,1,2\n");
    place.run("abtest broken.csv").exit(1).says(&["broken.csv: row 1, column `time`"]);
}

#[test]
fn rows_from_the_experiment_are_not_taken_for_those_of_before() {
    let place = Place::new();
    place.write("log.csv", &log(20, 1.0));
    let ran = place.run("abtest log.csv --before log.csv").exit(1);
    ran.says(&["log.csv: row 1, column `time`", "2026-11-01T08:00:00Z", "when the experiment begins"]);
    let october = log(20, 1.0).replace("2026-11-", "2026-10-");
    place.write("before.csv", &october);
    place.ok("abtest log.csv --before before.csv").prints(&["(CUPED)"]);
    place.write("before.csv", &october.replacen("2026-10-03", "2026-11-02", 1));
    let ran = place.run("abtest log.csv --before before.csv").exit(1);
    ran.says(&["before.csv: row 3, column `time`: found \"2026-11-02T08:00:00Z\", expected a time before"]);
}

#[test]
fn what_cannot_be_compared_is_told_instead_of_figures_of_nothing() {
    let place = Place::new();
    let all = log(20, 1.0);
    place.write("log.csv", &all);
    place.write("alone.csv", &all.replace(",experiment,", ",trial,"));
    place.write("armless.csv", &all.replace(",control,", ",,").replace(",candidate,", ",,"));
    place.write("impossible.csv", &all.replacen(",0.25\n", ",7\n", 1));
    place.write("bare.csv", "unit,time,arm\nu1,1700000000,control\n");
    place.write("plain.csv", "unit,time,arm,position,tap\nu1,1700000000,control,1,1\n");
    for (arguments, said) in [
        ("alone.csv --name foo", "--name foo: the log has no column `experiment`"),
        (
            "log.csv --name foo",
            "200 rows took no part, which are all: it takes a unit (column `unit`), an arm (column `arm`), the experiment `foo`",
        ),
        ("armless.csv", "200 rows took no part, which are all: it takes a unit (column `unit`), an arm (column `arm`)"),
        (
            "impossible.csv",
            "impossible.csv: row 1, column `joint_click`: found \"7\", expected a probability from 0 to 1",
        ),
        ("bare.csv", "expected a column of an action (1, 0 or nothing) beside unit, time, arm"),
        ("plain.csv", "--action names the actions, and --value what is earned, among these columns: tap"),
    ] {
        place.run(&format!("abtest {arguments}")).exit(1).says(&[said]);
    }
    let both = |arm: &str| format!("u1,1700000000,{arm},1,0.5\nu2,1700000000,{arm},1,0.5\n");
    place.write("mixed.csv", &format!("unit,time,arm,click,joint_click\n{}{}", both("control"), both("new")));
    let said = "no unit is left to compare: 2 units were served by more than one arm and left out";
    place.run("abtest mixed.csv").exit(1).says(&[said]);
}

#[test]
fn a_lift_to_find_may_be_a_loss() {
    let place = Place::new();
    place.write("log.csv", &log(40, 1.0));
    place.ok("abtest log.csv --lift -0.02").prints(&["units for -2.00 %"]);
}

/// A log of a server with an experiment: one request of two candidates for each unit, by turns
/// of either arm, with these features.
fn log_of_a_server(directory: &Path, units: &[&str], context: &str) {
    let log = Log::open(directory, &LogSettings::default()).unwrap();
    let candidate = |index: u32| Candidate {
        index,
        position: index + 1,
        given_parent: vec![Some(0.25)],
        from_impression: vec![Some(0.25)],
        ..Candidate::default()
    };
    let logged = async {
        for (place, unit) in units.iter().enumerate() {
            let context: Box<RawValue> = serde_json::from_str(context).unwrap();
            // 2026-11-26T00:00:00Z, and a day later for the last, when all windows have passed.
            let day = if place + 1 == units.len() { 86_400_000_000 } else { 0 };
            let exposure = Exposure {
                request: format!("r{place}"),
                time: Time(1_795_651_200_000_000 + day),
                unit: Some(unit.to_string()),
                experiment: Some("t".into()),
                arm: Some(["control", "candidate"][place % 2].into()),
                tasks: vec!["click".into()],
                context: Some(Features::from(&*context)),
                candidates: vec![candidate(0), candidate(1)],
                ..Exposure::default()
            };
            log.exposure(exposure).await.unwrap();
        }
        log.flush().await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(logged);
}

#[test]
fn a_unit_without_a_name_takes_no_part_and_costs_no_other() {
    let place = Place::new();
    log_of_a_server(&place.path("log"), &["u1", "", "u2", "u3", "u4"], "{}");
    place
        .ok("abtest log --window 1h")
        .says(&["2 rows took no part"])
        .prints(&["8 impressions of 4 units from 2026-11-26 to 2026-11-27"]);
}

#[test]
fn a_log_that_cannot_be_compared_is_named_and_not_the_file_it_was_joined_to() {
    let place = Place::new();
    log_of_a_server(&place.path("log"), &["u1", "u2"], r#"{"price": "dear"}"#);
    let ran = place.run("abtest log --window 1h --value price").exit(1);
    let ran = ran.says(&["log, joined: 2026-11-26.parquet: row 1, column `price`: found \"dear\""]);
    assert!(!ran.stderr.contains("crosstie-abtest-"), "{}", ran.stderr);
}

#[test]
fn features_that_are_called_as_the_log_s_own_columns_are_not_taken_for_them() {
    let place = Place::new();
    let features = r#"{"time": 20, "arm": "left", "unit": "metre", "experiment": 7, "joint_click": 0.75}"#;
    log_of_a_server(&place.path("log"), &["u1", "u2", "u3", "u4"], features);
    let shown = ["8 impressions of 4 units from 2026-11-26 to 2026-11-27", "control", "candidate"];
    place.ok("abtest log --window 1h --name t --json out.json").prints(&shown);
    let report: serde_json::Value = serde_json::from_str(&place.read("out.json")).unwrap();
    let seen = &report["arms"][0]["calibration"]["click"];
    assert_eq!(seen["predicted"].as_f64().unwrap() / seen["rows"].as_f64().unwrap(), 0.25, "{seen}");
    place.ok("join log --window 1h --out joined");
    place.ok("abtest joined/*.parquet").prints(&shown);
    place.run("abtest joined/*.parquet --arm arm").exit(1).says(&["the column `arm` has one arm, `left`"]);
}
