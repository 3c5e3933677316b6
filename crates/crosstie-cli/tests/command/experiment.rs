//! Where an experiment stands, and what is decided by hand.

use crosstie_serve::log::{Candidate, CandidateName, Exposure, Feedback, Log, LogSettings, Time};

use crate::place::Place;

const FILE: &str = r#"
    name = "trial"
    unit = "user"
    [[arm]]
    name = "before"
    model = "single"
    share = 80
    [[arm]]
    name = "after"
    model = "ektm:3"
    share = 20
    [[step]]
    traffic = 10
    [[step]]
    traffic = 50
"#;

#[test]
fn what_is_decided_by_hand_is_kept_and_told() {
    let place = Place::new();
    place.write("trial.toml", FILE);
    place.ok("experiment status trial.toml").prints(&["trial: not started"]);
    place.run("experiment advance trial.toml").exit(1).says(&["`trial` was not started"]);
    place.write("trial.state.json", r#"{"step":0,"since":7,"status":"running","reason":"started"}"#);
    place.ok("experiment status trial.toml").prints(&[
        "trial: running",
        "step 1 of 2: 10 % take part, by user",
        "before (single): 8 % of all",
        "after (ektm:3): 2 % of all",
    ]);
    place.ok("experiment advance trial.toml").prints(&[
        "running for 0.0 hours",
        "step 2 of 2",
        "(ektm:3): 10 % of all",
    ]);
    place.ok("experiment roll-back trial.toml").prints(&["trial: rolled back for 0.0 hours, by hand"]);
    place.run("experiment advance trial.toml").exit(1).says(&["runs no more (rolled back); `restart` begins anew"]);
    place.ok("experiment restart trial.toml").prints(&["step 1 of 2"]);
    place.ok("experiment stop trial.toml").prints(&["trial: stopped"]);
    place.ok("experiment status trial.toml").prints(&["trial: stopped"]);
}

#[test]
fn a_file_that_was_changed_in_mid_run_went_on_with_the_evidence_of_before() {
    let place = Place::new();
    place.write("trial.toml", FILE);
    place.write("trial.state.json", r#"{"step":0,"since":7,"status":"running","reason":"started"}"#);
    place.ok("experiment restart trial.toml").prints(&["step 1 of 2"]);
    place.write("trial.toml", &FILE.replace("ektm:3", "ektm:4"));
    let changed = ["trial.toml: `arm` changed while the experiment runs", "restart"];
    place.run("experiment advance trial.toml").exit(1).says(&changed);
    place.ok("experiment status trial.toml").prints(&["Servers go on without it", "`arm` changed"]);
    place.ok("experiment roll-back trial.toml").prints(&["rolled back"]);
    place.ok("experiment restart trial.toml").prints(&["step 1 of 2", "ektm:4"]);
    place.ok("experiment advance trial.toml").prints(&["step 2 of 2"]);
}

#[test]
fn a_state_that_is_none_is_named() {
    let place = Place::new();
    place.write("trial.toml", FILE);
    place.write("trial.state.json", "{");
    place.run("experiment status trial.toml").exit(1).says(&["trial.state.json", "no state"]);
    place.run("experiment status trail.toml").exit(1).says(&["trail.toml"]);
    place.run("experiment pause trial.toml").exit(2).says(&["pause", "roll-back"]);
}

/// Ten requests of a server, each to a unit of its own in an arm of eight or two, shown days
/// ago and clicked after a minute; and one now, so that their windows have passed.
fn log(directory: &std::path::Path, from: u32) {
    let log = Log::open(directory, &LogSettings::default()).unwrap();
    let logged = async {
        for unit in from..from + 10 {
            let time = Time::now().after(-3 * 86_400_000_000);
            let candidate =
                Candidate { given_parent: vec![Some(0.5)], from_impression: vec![Some(0.5)], ..Candidate::default() };
            let exposure = Exposure {
                request: format!("r{unit}"),
                time,
                unit: Some(format!("u{unit}")),
                experiment: Some("trial".into()),
                arm: Some(if unit % 5 == 0 { "after" } else { "before" }.into()),
                tasks: vec!["click".into()],
                candidates: vec![candidate],
                ..Exposure::default()
            };
            log.exposure(exposure).await.unwrap();
            let (candidate, received) = (CandidateName::Number(0), time.after(60_000_000));
            let (request, action) = (format!("r{unit}"), "click".to_string());
            let value = Some(f64::from(unit));
            let event = Feedback { request, candidate, action, value, time: received, received, event: None };
            log.feedback(vec![event]).await.unwrap();
        }
        let now = Exposure { request: format!("now{from}"), time: Time::now(), ..Exposure::default() };
        log.exposure(now).await.unwrap();
        log.flush().await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(logged);
}

#[test]
fn logs_of_several_servers_are_one_evidence() {
    let place = Place::new();
    place.write("trial.toml", &format!("{FILE}minimum_units = 4\n[guard]\ncalibration = {{ click = [0.4, 0.6] }}\n"));
    place.write("trial.state.json", r#"{"step":1,"since":7,"began":7,"status":"running","reason":"started"}"#);
    log(&place.path("one"), 0);
    // Five of its requests were answered by the other server, too, to whom a client turned.
    log(&place.path("two"), 5);
    let both = "--log one --log two";
    place.ok(&format!("experiment status trial.toml {both}")).prints(&[
        "step 2 of 2: 50 %",
        "12",
        "0.500",
        "stays: arm `after` has 3 of 4 units",
        "p = ",
    ]);
    place.ok("experiment status trial.toml --log one").prints(&["arm `after` has 2 of 4 units"]);
    let refused = place.run(&format!("experiment advance trial.toml {both}"));
    refused.exit(1).says(&["`trial` stays: arm `after` has 3 of 4 units; without --log"]);
    place.ok("experiment advance trial.toml").prints(&["trial: done"]);

    let abtest = "abtest one two --window 1d --experiment trial.toml";
    place.ok(abtest).prints(&["before", "80.00 %", "12"]);
    place.run("abtest one two").exit(1).says(&["one is a log: --window"]);
    place.ok("experiment restart trial.toml").prints(&["step 1 of 2"]);
    place.ok(&format!("experiment status trial.toml {both}")).prints(&["calibration.click is not known"]);
    place.run(abtest).says(&["15 rows took no part"]);
}

#[test]
fn a_log_that_reaches_back_no_further_than_into_the_experiment_says_so() {
    let place = Place::new();
    place.write("trial.toml", FILE);
    let [began, shown] = [5, 3].map(|days| Time::now().after(-days * 86_400_000_000));
    let seconds = began.0 / 1_000_000;
    let state = format!(r#"{{"step":1,"since":{seconds},"began":{seconds},"status":"running","reason":"started"}}"#);
    place.write("trial.state.json", &state);
    log(&place.path("log"), 0);
    log(&place.path("log"), 10);
    let (status, abtest) = ("experiment status trial.toml --log log", "abtest log --window 1d --experiment trial.toml");
    assert!(!place.ok(status).stdout.contains("removed"));
    assert!(!place.ok(abtest).stderr.contains("removed"));
    std::fs::remove_file(place.path("log/00000001.log")).unwrap();
    let (from, began) = (format!("whole from {}", shown.day()), began.day());
    place.ok(status).prints(&[&from, "removed"]);
    let written = format!("{abtest} --json told.json --html told.html");
    place.ok(&written).says(&[&from, &format!("the experiment began {began}"), "removed", "log.keep_hours"]);
    let told: serde_json::Value = serde_json::from_str(&place.read("told.json")).unwrap();
    assert!(told["warnings"][0].as_str().unwrap().contains(&from), "{}", told["warnings"]);
    assert!(place.read("told.html").contains(&from));
    // One that began anew is in it whole.
    place.ok("experiment restart trial.toml");
    assert!(!place.ok(status).stdout.contains("removed"));
}
