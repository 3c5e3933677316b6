//! Two models are compared by what was shown and what came of it.

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
    place.ok("abtest two.csv --name t").says(&["1 rows took no part"]);
    place.write("broken.csv", "unit,time,arm,click,click_value\nu1,soon,control,1,2\n");
    place.run("abtest broken.csv").exit(1).says(&["broken.csv: row 1, column `time`"]);
}
