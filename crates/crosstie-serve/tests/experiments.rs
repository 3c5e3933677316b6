//! Experiments on a server: who answers whom, what is logged of it, what the log says.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crosstie::experiment::{ArmEvidence, Contract, Decision, Evidence, Ramp, State, Status};
use crosstie_serve::clock::Clock;
use crosstie_serve::engine::Turn;
use crosstie_serve::experiments::evidence;
use crosstie_serve::experiments::kept::Kept;
use crosstie_serve::log::join::{Joined, Outcome};
use crosstie_serve::log::{
    Candidate, CandidateName, Event, Exposure, Exposures, Feedback, Log, LogSettings, Time, segments,
};
use crosstie_serve::server::{Portless, Server, StartError};
use crosstie_serve::settings::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use common::{Client, Models, figures, told};

const EXPERIMENT: &str = r#"
    name = "trial"
    unit = "user_id"
    [[arm]]
    name = "before"
    model = "control"
    share = 50
    [[arm]]
    name = "after"
    model = "candidate:2"
    share = 50
    [[step]]
    traffic = 100
    [guard]
    calibration = { click = [0.5, 2.0] }
"#;

/// Two models, an experiment between them, and a log.
struct Trial {
    models: Models,
    place: TempDir,
}

impl Trial {
    fn new(text: &str) -> Trial {
        let trial = Trial { models: Models::new(), place: tempfile::tempdir().unwrap() };
        trial.models.put(1, "control", 1);
        trial.models.put(2, "candidate", 2);
        fs::write(trial.file(), text).unwrap();
        trial
    }

    fn file(&self) -> std::path::PathBuf {
        self.place.path().join("trial.toml")
    }

    fn log(&self) -> std::path::PathBuf {
        self.place.path().join("log")
    }

    fn settings(&self) -> Settings {
        let mut settings = self.models.settings();
        settings.experiments.directory = Some(self.place.path().to_path_buf());
        settings.log.directory = Some(self.log());
        settings
    }

    fn start(&self) -> Result<Server, StartError> {
        Server::start(self.settings())
    }

    /// A server that looks at the files when it is told to.
    fn start_without_ports(&self) -> Result<Portless, StartError> {
        Portless::start(self.settings(), Clock::simulated(Time(1_000_000_000)))
    }
}

fn request(user: Value) -> Value {
    json!({"model": "control", "user": {"user_id": user}, "candidates": [{"id": "a", "item_id": "i1"}, {"id": 7, "item_id": "i2"}]})
}

#[test]
fn a_unit_keeps_its_arm_and_what_it_was_shown_is_logged_with_it() {
    let trial = Trial::new(EXPERIMENT);
    let server = trial.start().unwrap();
    let mut client = Client::new(server.http());
    let mut arms: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..2 {
        for user in 0..30 {
            let answer = client.post("/v1/rank", &request(json!(user)));
            assert_eq!(answer.status, 200, "{answer:?}");
            let answer = answer.json();
            let arm = answer["arm"].as_str().unwrap().to_string();
            let model = if arm == "before" { ("control", "1") } else { ("candidate", "2") };
            assert_eq!((answer["model"].as_str().unwrap(), answer["version"].as_str().unwrap()), model);
            assert_eq!(answer["experiment"], "trial");
            assert_eq!(*arms.entry(user.to_string()).or_insert_with(|| arm.clone()), arm, "round {round}");
        }
    }
    // 30 units of two equal arms: fewer than 5 in one of them has a chance of 6e-5, and
    // the units are always the same.
    let after = arms.values().filter(|arm| *arm == "after").count();
    assert!((5..=25).contains(&after), "{after} of 30");

    for user in [Value::Null, json!("")] {
        let nobody = client.post("/v1/rank", &request(user)).json();
        assert_eq!((&nobody["model"], nobody.get("arm")), (&json!("control"), None));
        let note = nobody["notes"][0].as_str().unwrap();
        assert!(note.contains("`user_id` is not given, so the control answers"), "{nobody}");
    }
    let mut named = request(json!(1));
    named["version"] = json!("1");
    assert_eq!(client.post("/v1/rank", &named).json().get("experiment"), None);
    server.stop();

    let mut logged = Vec::new();
    for segment in segments(&trial.log()).unwrap() {
        let each = |record: crosstie_serve::log::Record| {
            if let Event::Exposure(exposure) = record.event {
                logged.push(exposure);
            }
            Ok(())
        };
        segment.read(each).unwrap();
    }
    assert_eq!(logged.len(), 63);
    for exposure in logged.iter().filter(|exposure| exposure.arm.is_some()) {
        assert_eq!(exposure.arm.as_ref(), arms.get(exposure.unit.as_ref().unwrap()), "{exposure:?}");
        assert_eq!(exposure.candidates[1].id.as_deref(), Some("7"));
        assert_eq!(exposure.candidates[1].features.values()["item_id"], "i2");
        assert_eq!(exposure.user.as_ref().unwrap().values()["user_id"].to_string(), *exposure.unit.as_ref().unwrap());
    }
}

#[test]
fn a_unit_is_the_same_however_its_number_is_written() {
    let trial = Trial::new(EXPERIMENT);
    let server = trial.start().unwrap();
    let mut client = Client::new(server.http());
    let mut arms_of = |users: &[Value]| -> Vec<Value> {
        users.iter().map(|user| client.post("/v1/rank", &request(user.clone())).json()["arm"].clone()).collect()
    };
    // By chance all of twenty would agree once in a million times.
    for user in 0..20 {
        let arms = arms_of(&[json!(user), json!(f64::from(user)), json!(user.to_string())]);
        assert_eq!((&arms[1], &arms[2]), (&arms[0], &arms[0]), "{user}");
    }
    let [yes, no] = [true, false].map(|truth| arms_of(&[json!(truth)]));
    assert_eq!((yes, no), (arms_of(&[json!(1)]), arms_of(&[json!(0)])));
    server.stop();
    let joined = Joined::read(&[trial.log()]).unwrap();
    let mut units = BTreeMap::new();
    let each = |exposure: Exposure, _: &[Outcome]| {
        *units.entry(exposure.unit.unwrap()).or_insert(0) += 1;
        Ok(())
    };
    joined.each(each).unwrap();
    let expected = (0..20).map(|user: u32| (user.to_string(), if user < 2 { 5 } else { 3 }));
    assert_eq!(units, expected.collect());
}

#[test]
fn requests_and_predictions_are_told_by_arm_while_the_experiment_is_there() {
    let trial = Trial::new(EXPERIMENT);
    let server = trial.start().unwrap();
    let mut client = Client::new(server.http());
    let mut expected: BTreeMap<String, f64> = BTreeMap::new();
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for user in 0..20 {
        let answer = client.post("/v1/rank", &request(json!(user))).json();
        let labels = format!("experiment=\"trial\",arm=\"{}\"", answer["arm"].as_str().unwrap());
        *expected.entry(labels.clone()).or_default() += 1.0;
        for candidate in answer["candidates"].as_array().unwrap() {
            let task = format!("{labels},task=\"click\"");
            *sums.entry(task).or_default() += candidate["tasks"]["click"]["from_impression"].as_f64().unwrap();
        }
    }
    // Of a unit that takes part, though it has no candidates that can be read.
    let mut wrong = request(json!(0));
    wrong["candidates"] = json!(3);
    assert_eq!(client.post("/v1/rank", &wrong).status, 400);
    // Takes no part.
    assert_eq!(client.post("/v1/rank", &request(Value::Null)).status, 200);
    let first = client.post("/v1/rank", &request(json!(0))).json()["arm"].as_str().unwrap().to_string();
    *expected.entry(format!("experiment=\"trial\",arm=\"{first}\"")).or_default() += 2.0;
    let now = told(&server);
    assert_eq!(figures(&now, "crosstie_experiment_request_total"), expected);
    // What was refused took no time that says anything.
    *expected.get_mut(&format!("experiment=\"trial\",arm=\"{first}\"")).unwrap() -= 1.0;
    assert_eq!(figures(&now, "crosstie_experiment_request_duration_seconds_count"), expected);
    assert!(figures(&now, "crosstie_experiment_failure_total").values().all(|count| *count == 0.0));
    let predicted = figures(&now, "crosstie_experiment_prediction_total");
    let clicks: f64 = predicted.iter().filter(|(labels, _)| labels.ends_with("task=\"click\"")).map(|(_, n)| n).sum();
    assert_eq!(clicks, 42.0);
    let found = figures(&now, "crosstie_experiment_prediction_sum_total");
    // One more request than was summed up here, of two candidates. Sums of another order may be less by a rounding.
    for (labels, sum) in sums {
        assert!((-1e-9..=2.0).contains(&(found[&labels] - sum)), "{labels}: {} {sum}", found[&labels]);
    }
    fs::remove_file(trial.file()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while told(&server).contains("experiment=\"trial\"") {
        assert!(Instant::now() < deadline, "the server has not taken notice");
        std::thread::yield_now();
    }
    server.stop();
}

#[test]
fn an_arm_that_fails_is_told_as_failing() {
    let trial = Trial::new(&EXPERIMENT.replace("candidate:2", "candidate:9"));
    let server = trial.start().unwrap();
    let mut client = Client::new(server.http());
    (0..20).for_each(|user| assert_eq!(client.post("/v1/rank", &request(json!(user))).status, 200));
    let told = told(&server);
    let after = "experiment=\"trial\",arm=\"after\"";
    let failed = figures(&told, "crosstie_experiment_failure_total")[after];
    assert!(failed > 0.0 && failed == figures(&told, "crosstie_experiment_request_total")[after], "{told}");
    // How long it would have taken nobody knows.
    assert_eq!(figures(&told, "crosstie_experiment_request_duration_seconds_count").get(after), None);
    server.stop();
}

/// Keeps the only compute thread and the only place in its queue until what it gives is dropped.
fn occupy(server: &Server) -> impl Sized {
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = || {
        let (state, held) = (Arc::clone(server.state()), Arc::clone(&held));
        let version = state.repository.version("control", None).unwrap();
        let work = move |_: &mut Turn| {
            let _ = held.lock().unwrap().recv();
            Ok(())
        };
        let deadline = Instant::now() + Duration::from_secs(3600);
        let mut request = Box::pin(async move { state.engine.run(version, deadline, work).await });
        let asked = runtime.block_on(async { tokio::time::timeout(Duration::ZERO, &mut request).await });
        assert!(asked.is_err(), "its turn lasts until it is released");
        request
    };
    let first = ask();
    while server.state().engine.waiting() > 0 {
        std::thread::yield_now();
    }
    let requests = [first, ask()];
    (release, requests, runtime)
}

/// Failures of all arms, and requests whose time counts, after a request that comes to `status`.
fn counted(change: impl FnOnce(&mut Settings), timeout_ms: Option<u64>, status: u16) -> (f64, f64) {
    let trial = Trial::new(EXPERIMENT);
    let mut settings = trial.settings();
    change(&mut settings);
    let server = Server::start(settings).unwrap();
    let mut request = request(json!(1));
    request["timeout_ms"] = json!(timeout_ms);
    let release = (status == 429).then(|| occupy(&server));
    assert_eq!(Client::new(server.http()).post("/v1/rank", &request).status, status);
    drop(release);
    let told = told(&server);
    server.stop();
    let sum = |name: &str| figures(&told, name).values().sum::<f64>();
    assert_eq!(sum("crosstie_experiment_request_total"), 1.0);
    (sum("crosstie_experiment_failure_total"), sum("crosstie_experiment_request_duration_seconds_count"))
}

#[test]
fn an_overload_was_no_failure_and_the_patience_of_a_client_was_one() {
    assert_eq!(counted(|settings| settings.compute.queue = 1, None, 429), (1.0, 0.0), "it is refused at once");
    assert_eq!(counted(|_| {}, Some(0), 504), (0.0, 1.0), "the client has waited for no time at all");
    assert_eq!(counted(|settings| settings.timeouts.request_seconds = 1e-9, None, 504), (1.0, 1.0));
    assert_eq!(counted(|settings| settings.timeouts.request_seconds = 1e-9, Some(9), 504), (1.0, 1.0));
    assert_eq!(counted(|_| {}, None, 200), (0.0, 1.0));
}

#[test]
fn the_dashboard_asks_for_figures_that_are_told() {
    let dashboard = include_str!("../../../deploy/grafana/dashboard.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let server = Trial::new(EXPERIMENT).start().unwrap();
    let mut client = Client::new(server.http());
    assert_eq!(client.post("/v1/rank", &request(json!(1))).status, 200);
    assert_eq!(client.post("/v1/rank", &json!({"candidates": 3})).status, 400);
    let told = told(&server);
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let words = target["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            // Counted where a version could not be loaded, and nowhere else.
            let names = words.filter(|word| word.starts_with("crosstie_") && !word.contains("load_failures"));
            for name in names {
                assert!(
                    told.contains(&format!("\n{name}{{")) || told.contains(&format!("\n{name} ")),
                    "{name}: {told}"
                );
                asked += 1;
            }
        }
    }
    assert!(asked > 30, "{asked}");
    server.stop();
}

#[test]
fn where_an_experiment_stands_survives_the_process_and_what_is_decided_by_hand_counts() {
    let trial = Trial::new(EXPERIMENT);
    let server = trial.start().unwrap();
    let kept = Kept::read(&trial.file()).unwrap();
    assert_eq!(kept.state().unwrap().unwrap().status, Status::Running);
    let rolled_back =
        kept.change(5, |state| Ramp::apply(&kept.contract, state, &Decision::RollBack("by hand".into()), 5));
    assert_eq!(rolled_back.unwrap().status, Status::RolledBack);
    // The server looks every second; nobody waits for longer than it takes.
    let mut client = Client::new(server.http());
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.post("/v1/rank", &request(json!(1))).json().get("arm").is_some() {
        assert!(Instant::now() < deadline, "the server has not taken notice");
        std::thread::yield_now();
    }
    drop(server);
    let server = trial.start().unwrap();
    let answer = Client::new(server.http()).post("/v1/rank", &request(json!(1))).json();
    assert_eq!((&answer["model"], answer.get("arm")), (&json!("control"), None));
    assert_eq!(kept.state().unwrap().unwrap().reason, "by hand");
    server.stop();
}

#[test]
fn a_damaged_state_stopped_all_without_a_word_of_what_to_do() {
    let trial = Trial::new(EXPERIMENT);
    let state = trial.place.path().join("trial.state.json");
    fs::write(&state, "{").unwrap();
    let error = trial.start_without_ports().unwrap_err().to_string();
    assert!(error.contains("trial.state.json") && error.contains("move it away"), "{error}");
    fs::remove_file(&state).unwrap();
    trial.start_without_ports().unwrap();
    assert!(state.exists());
}

#[test]
fn an_arm_that_is_not_served_leaves_its_units_to_the_control() {
    let trial = Trial::new(&EXPERIMENT.replace("candidate:2", "candidate:9"));
    let server = trial.start().unwrap();
    let mut client = Client::new(server.http());
    for user in 0..20 {
        let answer = client.post("/v1/rank", &request(json!(user)));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["model"], "control");
    }
    server.stop();
}

#[test]
fn a_file_that_is_no_experiment_ends_the_start() {
    let trial = Trial::new(&EXPERIMENT.replace("share = 50", "share = 60"));
    let said = trial.start().expect_err("the shares make 120").to_string();
    assert!(said.contains("trial.toml") && said.contains("add up to 120"), "{said}");
    fs::write(trial.file(), EXPERIMENT).unwrap();
    fs::write(trial.place.path().join("other.toml"), EXPERIMENT.replace("trial", "other")).unwrap();
    let said = trial.start().expect_err("both are about one model").to_string();
    assert!(said.contains("another experiment is about model `control`"), "{said}");
}

/// The experiment's text, about another model and under this name.
fn about_another_model(name: &str) -> String {
    let text = EXPERIMENT.replace("\"control\"", "\"other\"").replace("candidate:2", "control");
    text.replace("\"other\"", "\"candidate\"").replace("\"trial\"", &format!("\"{name}\""))
}

#[test]
fn of_two_files_of_one_name_one_was_switched_off_without_a_word() {
    let trial = Trial::new(EXPERIMENT);
    // It stands before the other's file.
    let other = trial.place.path().join("again.toml");
    let names_both = |said: &str| {
        assert!(said.contains("name: `trial` is taken by "), "{said}");
        assert!(said.contains("again.toml") && said.contains("trial.toml"), "{said}");
    };
    fs::write(&other, about_another_model("trial")).unwrap();
    names_both(&trial.start_without_ports().expect_err("both are called `trial`").to_string());
    assert!(!trial.place.path().join("trial.state.json").exists(), "what was refused has not begun");

    fs::remove_file(&other).unwrap();
    fs::remove_file(trial.place.path().join("again.state.json")).unwrap();
    let server = trial.start_without_ports().unwrap();
    let experiments = &server.state().experiments;
    let running = || experiments.states().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let arm = |model: &str| experiments.place(model, |_| Some("u1".into())).and_then(|placed| placed.arm);
    fs::write(&other, about_another_model("trial")).unwrap();
    for _ in 0..2 {
        names_both(&experiments.look().unwrap_err().to_string());
        assert_eq!(running(), ["trial"]);
        assert!(arm("control").is_some() && arm("candidate").is_none(), "who was first keeps the name");
    }
    fs::write(&other, about_another_model("second")).unwrap();
    experiments.look().unwrap();
    assert_eq!(running(), ["second", "trial"]);
    assert!(arm("control").is_some() && arm("candidate").is_some());

    fs::write(&other, about_another_model("trial")).unwrap();
    names_both(&experiments.look().unwrap_err().to_string());
    assert_eq!(running(), ["second", "trial"], "what is refused leaves its experiment as it was");
    // Under another name it begins anew.
    fs::remove_file(trial.place.path().join("again.state.json")).unwrap();
    fs::remove_file(trial.file()).unwrap();
    experiments.look().unwrap();
    assert_eq!(running(), ["trial"], "the name is free");
    assert!(arm("control").is_none() && arm("candidate").is_some());
}

#[test]
fn a_misspelt_task_of_a_guard_rail_was_taken_and_never_known() {
    let misspelt = EXPERIMENT.replace("{ click =", "{ clik =");
    let trial = Trial::new(&misspelt);
    let said = trial.start_without_ports().expect_err("no model predicts `clik`").to_string();
    assert!(said.contains("trial.toml: guard.calibration: there is no task `clik`; did you mean `click`?"), "{said}");
    fs::write(trial.file(), EXPERIMENT).unwrap();
    let server = trial.start_without_ports().unwrap();
    let experiments = &server.state().experiments;
    fs::write(trial.file(), &misspelt).unwrap();
    assert!(experiments.look().unwrap_err().to_string().contains("did you mean `click`?"));
    assert_eq!(experiments.states().len(), 1, "it goes on as it was");
    // Nobody knows what a model predicts that is not served. With another arm it begins anew.
    fs::remove_file(trial.place.path().join("trial.state.json")).unwrap();
    fs::write(trial.file(), misspelt.replace("candidate:2", "candidate:9")).unwrap();
    experiments.look().unwrap();
}

#[test]
fn shares_that_were_edited_in_mid_run_moved_units_to_other_arms() {
    let trial = Trial::new(EXPERIMENT);
    let server = trial.start_without_ports().unwrap();
    let experiments = &server.state().experiments;
    let arms = || -> Vec<Option<String>> {
        (0..50).map(|user| experiments.place("control", |_| Some(format!("u{user}"))).unwrap().arm).collect()
    };
    let before = arms();
    let edited = EXPERIMENT.replacen("share = 50", "share = 90", 1).replacen("share = 50", "share = 10", 1);
    fs::write(trial.file(), &edited).unwrap();
    let said = experiments.look().unwrap_err().to_string();
    assert!(said.contains("trial.toml: `arm` changed while the experiment runs"), "{said}");
    assert_eq!(arms(), before, "it goes on as it was");
    let mut settings = trial.settings();
    // The first server writes the log.
    settings.log.directory = None;
    let second = Portless::start(settings, Clock::simulated(Time(1_000_000_000)));
    let said = second.expect_err("a server that starts knows of no other file").to_string();
    assert!(said.contains("crosstie experiment restart"), "{said}");
    let kept = Kept::read(&trial.file()).unwrap();
    kept.change(9, |_| kept.contract.start(9)).unwrap();
    experiments.look().unwrap();
    assert_ne!(arms(), before);
}

#[test]
fn what_could_not_be_logged_was_counted_as_a_success() {
    let trial = Trial::new(EXPERIMENT);
    let mut settings = trial.settings();
    settings.log.exposures = Exposures::Required;
    // Each record begins a file, and there is no place for it.
    settings.log.segment_bytes = 1;
    let server = Server::start(settings).unwrap();
    fs::remove_dir_all(trial.log()).unwrap();
    let mut client = Client::new(server.http());
    let statuses: Vec<u16> = (0..12).map(|user| client.post("/v1/rank", &request(json!(user))).status).collect();
    let refused = statuses.iter().filter(|status| **status == 503).count() as f64;
    assert!(refused >= 11.0, "{statuses:?}");
    let told = told(&server);
    let sum = |name: &str| figures(&told, name).values().sum::<f64>();
    assert_eq!(sum("crosstie_inference_request_success_total"), 12.0 - refused);
    assert_eq!(sum("crosstie_inference_request_failure_total"), refused);
    assert_eq!(sum("crosstie_experiment_request_total"), 12.0);
    assert_eq!(sum("crosstie_experiment_failure_total"), refused, "guard rails see it");
    assert!(told.contains("reason=\"not_ready\""), "{told}");
    server.stop();
}

/// Logs what was shown to a unit, so many days ago, and what it was worth if it clicked.
fn show(log: &Log, runtime: &Runtime, unit: &str, arm: &str, days: i64, clicked: Option<f64>) {
    let time = Time::now().after(-days * 86_400_000_000);
    let candidate =
        Candidate { given_parent: vec![Some(0.25)], from_impression: vec![Some(0.25)], ..Candidate::default() };
    let exposure = Exposure {
        request: unit.into(),
        time,
        unit: Some(unit.into()),
        experiment: Some("trial".into()),
        arm: Some(arm.into()),
        tasks: vec!["click".into()],
        candidates: vec![candidate],
        ..Exposure::default()
    };
    runtime.block_on(log.exposure(exposure)).unwrap();
    if let Some(value) = clicked {
        let time = time.after(1_000_000);
        let feedback = Feedback {
            request: unit.into(),
            candidate: CandidateName::Number(0),
            action: "click".into(),
            value: Some(value),
            time,
            received: time,
            event: None,
        };
        runtime.block_on(log.feedback(vec![feedback])).unwrap();
    }
}

/// A log of nothing, its directory, and what it is written by.
fn new_log() -> (TempDir, Runtime, Log) {
    let place = tempfile::tempdir().unwrap();
    let log = Log::open(place.path(), &LogSettings::default()).unwrap();
    (place, Builder::new_current_thread().build().unwrap(), log)
}

/// What is known of an experiment that began so many days ago.
fn evidence_of(logs: &[&Path], days: u64) -> Evidence {
    let contract = Contract::parse(EXPERIMENT).unwrap();
    let began = Time::now().0 as u64 / 1_000_000 - days * 86_400;
    let logs: Vec<PathBuf> = logs.iter().map(|log| log.to_path_buf()).collect();
    evidence::read(&contract, &State::started(began), &logs, Duration::from_secs(86_400)).unwrap()
}

#[test]
fn the_log_tells_units_calibration_and_what_was_earned() {
    let (place, runtime, log) = new_log();
    for unit in 0..100 {
        let (arm, worth) = if unit % 2 == 0 { ("before", 1.0) } else { ("after", 2.0) };
        show(&log, &runtime, &format!("u{unit}"), arm, 3, (unit % 4 < 2).then_some(worth + f64::from(unit % 3)));
    }
    // Its window has not passed: it counts as a unit and no more.
    show(&log, &runtime, "new", "after", 0, Some(1_000.0));
    runtime.block_on(log.flush()).unwrap();
    let evidence = evidence_of(&[place.path()], 9);
    assert_eq!(evidence.arms.iter().map(|arm| arm.units).collect::<Vec<_>>(), [50, 51]);
    for arm in &evidence.arms {
        let found = arm.calibration["click"];
        assert!((found.predicted - 12.5).abs() < 1e-9 && found.happened == 25, "{found:?}");
    }
    assert!(evidence.sample_ratio.unwrap() > 0.05, "{:?}", evidence.sample_ratio);
    // 2 + 1 on average against 1 + 1.
    let lift = evidence.arms[1].ecpm_lift.unwrap();
    assert!(lift.contains(0.5), "{lift:?}");
    let units = |days: u64| evidence_of(&[place.path()], days).arms.iter().map(|arm| arm.units).sum::<u64>();
    assert_eq!((units(4), units(2)), (101, 1), "what was shown before the experiment began is no evidence");
}

#[test]
fn what_was_refunded_was_added_to_what_was_earned() {
    let (place, runtime, log) = new_log();
    for unit in 0..60 {
        let (name, arm) = (format!("u{unit}"), if unit % 2 == 0 { "before" } else { "after" });
        show(&log, &runtime, &name, arm, 3, Some(1.0 + f64::from(unit % 3)));
        let time = Time::now().after(-3 * 86_400_000_000 + 2_000_000);
        let refund = Feedback {
            request: name,
            candidate: CandidateName::Number(0),
            action: "refund".into(),
            value: Some(if arm == "after" { 100.0 + f64::from(unit) } else { 0.0 }),
            time,
            received: time,
            event: None,
        };
        runtime.block_on(log.feedback(vec![refund])).unwrap();
    }
    show(&log, &runtime, "new", "after", 0, None);
    runtime.block_on(log.flush()).unwrap();
    let began = Time::now().0 as u64 / 1_000_000 - 9 * 86_400;
    let lift = |unit: &str| {
        let contract = Contract::parse(&EXPERIMENT.replace("unit = \"user_id\"", unit)).unwrap();
        let logs = [place.path().to_path_buf()];
        let evidence = evidence::read(&contract, &State::started(began), &logs, Duration::from_secs(86_400)).unwrap();
        assert_eq!(evidence.valued, ["click", "refund"]);
        evidence.arms[1].ecpm_lift
    };
    assert_eq!(lift("unit = \"user_id\""), None, "nobody said which of the two is earned");
    let lift = lift("unit = \"user_id\"\nvalue = \"click\"").unwrap();
    assert!(lift.contains(0.0) && lift.high < 2.0, "{lift:?}");
}

#[test]
fn a_request_that_two_logs_tell_of_counts_once_and_feedback_counts_wherever_it_was_heard() {
    let place = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let [one, two] = ["one", "two"].map(|name| place.path().join(name));
    let [first, second] = [&one, &two].map(|log| Log::open(log, &LogSettings::default()).unwrap());
    for unit in 0..60 {
        let (unit, arm) = (format!("u{unit}"), if unit % 2 == 0 { "before" } else { "after" });
        show(&first, &runtime, &unit, arm, 3, None);
        // Asked for again at the other server, and told to it.
        show(&second, &runtime, &unit, arm, 3, Some(1.0));
    }
    show(&first, &runtime, "new", "after", 0, None);
    [&first, &second].into_iter().for_each(|log| runtime.block_on(log.flush()).unwrap());
    let both = evidence_of(&[&one, &two], 9);
    assert_eq!(both.arms.iter().map(|arm| arm.units).collect::<Vec<_>>(), [30, 31]);
    let click = |arm: &ArmEvidence| (arm.calibration["click"].predicted, arm.calibration["click"].happened);
    assert!(both.arms.iter().all(|arm| click(arm) == (7.5, 30)), "{both:?}");
    assert_eq!(click(&evidence_of(&[&one], 9).arms[0]), (7.5, 0));
    assert_eq!(evidence::logs(&one, None).unwrap().len(), 1);
    fs::create_dir(place.path().join("no-log")).unwrap();
    assert_eq!(evidence::logs(&one, Some(place.path())).unwrap().len(), 2, "the own log once, the other, no other");
}

#[test]
fn two_servers_over_one_experiment_decide_by_the_evidence_of_both() {
    let text = EXPERIMENT.replace("traffic = 100", "traffic = 100\nminimum_hours = 1\nminimum_units = 12");
    let text = text.replace("[guard]\n    calibration = { click = [0.5, 2.0] }", "[guard]\nerror_rate = 0.1");
    let trial = Trial::new(&text);
    let logs = trial.place.path().join("logs");
    let hour = 3_600_000_000;
    let clock = Clock::simulated(Time(1_000 * hour));
    let start = |name: &str| {
        let mut settings = trial.models.settings();
        settings.experiments.directory = Some(trial.place.path().to_path_buf());
        settings.experiments.logs = Some(logs.clone());
        settings.log.directory = Some(logs.join(name));
        Portless::start(settings, clock.clone()).unwrap()
    };
    let servers = [start("one"), start("two")];
    let ask = |server: &Portless, users: std::ops::Range<u64>| {
        let bodies = users.map(|user| request(json!(user)).to_string()).collect();
        let answers = server.post("/v1/rank", bodies);
        server.flush().unwrap();
        answers
            .into_iter()
            .map(|(status, body)| {
                assert_eq!(status, 200);
                serde_json::from_slice::<Value>(&body).unwrap()
            })
            .collect::<Vec<Value>>()
    };
    ask(&servers[0], 0..20);
    ask(&servers[1], 20..40);
    let kept = Kept::read(&trial.file()).unwrap();
    let state = kept.state().unwrap().unwrap();
    servers.iter().for_each(|server| server.state().experiments.check());
    assert_eq!(kept.state().unwrap().unwrap(), state, "an hour has not passed");
    let window = Duration::from_secs(86_400);
    let known = |names: &[&str]| {
        let logs: Vec<PathBuf> = names.iter().map(|name| logs.join(name)).collect();
        let evidence = evidence::read(&kept.contract, &state, &logs, window).unwrap();
        let requests = evidence.arms.iter().filter_map(|arm| arm.failures).map(|failures| failures.of).sum::<u64>();
        (evidence.arms.iter().map(|arm| arm.units).min().unwrap(), requests)
    };
    let (one, two, both) = (known(&["one"]), known(&["two"]), known(&["one", "two"]));
    assert!(one.0 < 12 && two.0 < 12, "neither knows of enough units: {one:?} {two:?}");
    assert!(both.0 >= 12 && both.1 == 40 && one.1 == 20, "{both:?} {one:?}");

    // The second ends and starts: what it counted is not lost.
    let [first, second] = servers;
    drop(second);
    let second = start("two");
    clock.set(Time(1_001 * hour));
    second.state().experiments.check();
    assert_eq!(kept.state().unwrap().unwrap().status, Status::Done);
    first.state().experiments.look().unwrap();
    for server in [&first, &second] {
        let answers = ask(server, 0..5);
        assert!(answers.iter().all(|answer| answer["model"] == "candidate"), "the candidate serves all");
        let nobody = server.post("/v1/rank", vec![request(Value::Null).to_string()]).remove(0).1;
        let nobody: Value = serde_json::from_slice(&nobody).unwrap();
        assert_eq!(nobody["model"], "candidate", "also those who do not say who they are");
        assert!(!nobody["notes"].to_string().contains("user_id` is not given, so"), "{nobody}");
    }
}
