//! From a server's log to rows to train on.

use std::path::Path;

use crosstie_serve::log::{Candidate, CandidateName, Exposure, Features, Feedback, Log, LogSettings, Time};

use crate::place::Place;

const MINUTE: i64 = 60_000_000;
/// 2026-11-26T00:00:00Z.
const START: i64 = 1_795_651_200_000_000;

fn features(text: String) -> Features {
    let text: Box<serde_json::value::RawValue> = serde_json::from_str(&text).unwrap();
    Features::from(&*text)
}

/// Requests of ten candidates, one each five minutes, of which those with an even `item`
/// are clicked, and heard of again and again. Items are numbers, but for every seventh.
fn log(directory: &Path, requests: u32) {
    let log = Log::open(directory, &LogSettings::default()).unwrap();
    let candidate = |request: u32, index: u32| {
        let item = (request * 3 + index * 7) % 40;
        let item = if item.is_multiple_of(7) { format!("\"i{item}\"") } else { item.to_string() };
        Candidate {
            index,
            position: index + 1,
            given_parent: vec![Some(0.1)],
            from_impression: vec![Some(0.1)],
            features: features(format!("{{\"item\": {item}, \"price\": {index}.5}}")),
            ..Candidate::default()
        }
    };
    let click = |request: u32, index: u32| {
        let time = Time(START + i64::from(request) * 5 * MINUTE + MINUTE);
        let (candidate, action) = (CandidateName::Number(index), "click".into());
        let request = format!("r{request}");
        Feedback { request, candidate, action, value: None, time, received: time, event: None }
    };
    let logged = async {
        for request in 0..requests {
            let exposure = Exposure {
                request: format!("r{request}"),
                time: Time(START + i64::from(request) * 5 * MINUTE),
                model: "shop".into(),
                tasks: vec!["click".into()],
                user: Some(features(format!("{{\"user\": \"u{}\"}}", request % 20))),
                candidates: (0..10).map(|index| candidate(request, index)).collect(),
                ..Exposure::default()
            };
            log.exposure(exposure).await.unwrap();
            let clicked = (0..10).filter(|index| (request * 3 + index * 7) % 40 % 2 == 0);
            let clicks: Vec<Feedback> = clicked.map(|index| click(request, index)).collect();
            log.feedback(clicks.clone()).await.unwrap();
            log.feedback(clicks).await.unwrap();
        }
    };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(logged);
}

#[test]
fn a_log_is_joined_and_trained_on_as_it_is() {
    let place = Place::new();
    log(&place.path("log"), 400);
    place.write(
        "schema.toml",
        "[[task]]\nname = \"click\"\n[[field]]\nname = \"item\"\nkind = \"categorical\"\n\
         [[field]]\nname = \"price\"\nkind = \"numeric\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\n",
    );
    let ran = place.ok("join log --window 1h --schema schema.toml --out joined");
    // 33 hours; of the last one, 12 requests and the one under way, nothing is known yet.
    ran.says(&["400 requests, 4,000 candidates; the window has passed for 3,880", "joined: 2 files"])
        .prints(&["click", "1,940", "50.00 %"]);

    place.write(
        "shop.toml",
        "[data]\nschema = \"schema.toml\"\ntrain = \"joined/2026-11-26.parquet\"\nvalid = \"joined/2026-11-27.parquet\"\n\
         [model]\nname = \"single-task\"\n[train]\nepochs = 2\nbatch_size = 64\n",
    );
    place.ok("train shop.toml --out run");
    let report: serde_json::Value = serde_json::from_str(&place.read("run/metrics.json")).unwrap();
    let click = &report["tasks"]["click"]["from_impression"];
    assert_eq!(click["rows"], 1000, "the 1,120 of the second day without those whose window has not passed");
    assert!(click["auc"].as_f64().unwrap() > 0.9, "items tell clicks from none: {click}");
}

#[test]
fn requests_that_a_later_one_of_the_same_id_replaced_are_told() {
    let place = Place::new();
    log(&place.path("one"), 3);
    log(&place.path("two"), 2);
    place
        .ok("join one two --window 1h --out joined")
        .says(&["2 requests do not count: a later one has the same id", "3 requests, 30 candidates"]);
}

#[test]
fn a_log_that_cannot_be_joined_is_told() {
    let place = Place::new();
    place.write("data/a.txt", "");
    place.run("join data --window 24h --out joined").exit(1).says(&["data", "is no log", "00000001.log"]);
    place.run("join data --window 24 --out joined").exit(2).says(&["--window", "24h"]);
    place.run("join data --window 24h --now noon --out joined").exit(2).says(&["--now", "2026-11-27T08:00:00Z"]);
    place.run("join nowhere --window 24h --out joined").exit(1).says(&["nowhere", "No such file"]);
}
