//! Versions come and go while requests are answered.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crosstie_serve::repository::ROOM;
use crosstie_serve::server::{Server, StartError};
use crosstie_serve::settings::Settings;
use serde_json::{Value, json};

use crate::common::{Client, Golden, Models, artifact, copy, difference, settings};

const INFER: &str = "/v2/models/click/infer";

/// A repository of one version of `click`, a server of it, what that answers, and who asks.
fn one_served() -> (Models, Server, Golden, Client) {
    let models = Models::new();
    models.put(1, "click", 1);
    let server = models.serve();
    let client = Client::new(server.http());
    (models, server, Golden::of(&artifact(1)), client)
}

fn version(client: &mut Client, golden: &Golden) -> Value {
    let answer = client.post(INFER, &golden.request());
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    answer.json()["model_version"].clone()
}

fn look(client: &mut Client, server: &Server) {
    server.state().repository.look_and_wait().unwrap();
    assert_eq!(client.get("/v2/health/live").status, 200);
}

/// `CROSSTIE_SWAPS` says how many swaps there are.
#[test]
fn a_swap_under_load_loses_no_request_and_mixes_no_answer() {
    let swaps: u64 = std::env::var("CROSSTIE_SWAPS").map_or(11, |swaps| swaps.parse().unwrap());
    let models = Models::new();
    models.put(1, "click", 1);
    let server = models.serve();
    let golden = [Golden::of(&artifact(1)), Golden::of(&artifact(2))];
    let expected = golden.each_ref().map(|golden| golden.outputs());
    let apart = expected[0].iter().zip(&expected[1]).map(|((_, one), (_, other))| difference(one, other));
    assert!(apart.fold(0.0, f64::max) > 1e-3, "the two models can be told apart");
    let request = golden[0].request();
    let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = std::thread::scope(|scope| {
        let ask = || {
            let mut client = Client::new(server.http());
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let answer = client.post(INFER, &request);
                assert_eq!(answer.status, 200, "{:?}", answer.json());
                let version: u64 = answer.json()["model_version"].as_str().unwrap().parse().unwrap();
                // Odd versions are the first model, even ones the second.
                for (name, expected) in &expected[usize::from(version.is_multiple_of(2))] {
                    assert!(difference(&answer.output(name), expected) <= 1e-6, "version {version}, {name}");
                }
                seen.insert(version);
                answers.fetch_add(1, Ordering::Relaxed);
            }
            seen
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        for version in 2..=swaps + 1 {
            models.put(1 + (version + 1) % 2, "click", version);
            fs::remove_dir_all(models.path("click", version - 1)).unwrap();
            server.state().repository.look_and_wait().unwrap();
            assert_eq!(server.state().repository.version("click", None).unwrap().number(), version);
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<BTreeSet<_>>()
    });
    assert!(seen.len() > 2, "requests were answered meanwhile: {seen:?}");
    println!("{swaps} swaps; {answers:?} answers by {} of the versions, each wholly of one", seen.len());
}

#[cfg(target_os = "linux")]
#[test]
fn what_loads_lets_what_answers_go_first() {
    let (models, server, _, _) = one_served();
    // Both of them have worked by then, and so begun.
    models.put(1, "click", 2);
    server.state().repository.look_and_wait().unwrap();
    // The scheduling policies of threads that bear a name, servers of other tests' among them.
    let policies = |name: &str| -> BTreeSet<u64> {
        let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
        let of_name =
            threads.filter(|thread| fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim() == name));
        let stat = of_name.filter_map(|thread| fs::read_to_string(thread.join("stat")).ok());
        // Behind the name in parentheses; proc(5): the forty-first field of all.
        stat.map(|stat| stat.rsplit_once(") ").unwrap().1.split(' ').nth(38).unwrap().parse().unwrap()).collect()
    };
    const SCHED_OTHER: u64 = 0;
    const SCHED_IDLE: u64 = 5;
    assert_eq!(policies("compute-0"), [SCHED_OTHER].into());
    assert!(policies("loader").contains(&SCHED_IDLE) && policies("load").contains(&SCHED_IDLE));
}

/// The first request to a new version took twice as long as others: it wrote every page of its
/// buffers for the first time.
#[test]
fn a_new_version_has_room_for_the_requests_of_the_one_before() {
    let models = Models::new();
    models.put(1, "click", 1);
    let (server, golden) = (models.serve(), Golden::of(&artifact(1)));
    let rooms = || server.state().repository.version("click", None).unwrap().rooms();
    assert_eq!(rooms(), [ROOM], "before the first request");
    let mut request = golden.request();
    let rows = ROOM + 44;
    for input in request["inputs"].as_array_mut().unwrap() {
        let cells = input["data"].as_array().unwrap();
        input["data"] = cells.iter().cycle().take(rows).cloned().collect();
        input["shape"] = json!([rows]);
    }
    let mut client = Client::new(server.http());
    let answer = client.post(INFER, &request);
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    // An answer may be here before its buffers are.
    let has = |wanted: usize| std::iter::repeat_with(rooms).take(1_000_000).any(|rooms| rooms == [wanted]);
    assert!(has(rows), "{:?}", rooms());
    models.put(2, "click", 2);
    look(&mut client, &server);
    assert_eq!(version(&mut client, &golden), "2");
    assert!(has(rows), "{:?}", rooms());
}

#[test]
fn an_old_version_is_freed_when_its_last_request_ends() {
    let models = Models::new();
    models.put(1, "click", 1);
    let server = models.serve();
    let repository = &server.state().repository;
    let held = repository.version("click", None).unwrap();
    let gone = std::sync::Arc::downgrade(&held);
    models.put(2, "click", 2);
    repository.look_and_wait().unwrap();
    assert_eq!(repository.version("click", None).unwrap().number(), 2);
    // Two more commands: whatever is not held is gone by then.
    repository.look_and_wait().unwrap();
    repository.look_and_wait().unwrap();
    assert!(gone.upgrade().is_some(), "a request holds it");
    drop(held);
    repository.look_and_wait().unwrap();
    repository.look_and_wait().unwrap();
    assert!(gone.upgrade().is_none());
}

#[test]
fn a_bad_artifact_keeps_the_old_one_serving_and_is_told() {
    let (models, server, golden, mut client) = one_served();
    let dense = models.put(2, "click", 2).join("dense.safetensors");
    let mut bytes = fs::read(&dense).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&dense, bytes).unwrap();
    look(&mut client, &server);
    assert_eq!(version(&mut client, &golden), "1");
    let health = client.get("/v2/health").json();
    assert_eq!(health["ready"], json!(true));
    let trouble = &health["troubles"][0];
    assert_eq!(
        (&trouble["name"], &trouble["version"], &trouble["state"]),
        (&json!("click"), &json!("2"), &json!("UNAVAILABLE"))
    );
    assert!(trouble["reason"].as_str().unwrap().contains("dense.safetensors"), "{trouble}");
    let answer = client.post("/v2/models/click/versions/2/infer", &golden.request());
    assert_eq!(answer.status, 503, "it is there, but not served");
    let answer = client.post("/v2/repository/models/click/load", &json!({}));
    assert_eq!(answer.status, 503);
    assert!(answer.error().contains("dense.safetensors"));
    assert_eq!(version(&mut client, &golden), "1");
}

#[test]
fn a_version_whose_tasks_its_model_s_formula_does_not_fit_is_not_served() {
    let models = Models::new();
    models.put(1, "click", 1);
    models.put(1, "other", 1);
    let mut settings = models.settings();
    settings.rank.formulas.insert("click".into(), "2 * clck.from_impression".into());
    let server = Server::start(settings.clone()).unwrap();
    let health = Client::new(server.http()).get("/v2/health").json();
    assert_eq!(health["troubles"].as_array().map(Vec::len), Some(1), "the other serves");
    let reason = health["troubles"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("rank.formulas.click, character 5: found `clck`") && reason.contains("click`?"),
        "{reason}"
    );
    // One that was named has to be served.
    settings.repository.directory = None;
    settings.artifacts = vec![artifact(1), models.path("click", 1)];
    settings.rank.formulas = [("1".to_string(), "click".to_string())].into();
    let error = Server::start(settings).unwrap_err();
    assert!(matches!(&error, StartError::Artifact { model, .. } if model == "1"), "{error}");
}

#[test]
fn what_never_served_is_not_said_to_serve() {
    let models = Models::new();
    let broken = models.put(1, "broken", 1);
    fs::remove_file(broken.join("manifest.json")).unwrap();
    models.put(1, "click", 1);
    models.put(2, "shop", 1);
    let server = models.serve();
    let mut client = Client::new(server.http());
    let error = client.post("/v1/rank", &json!({"candidates": [{}]})).error();
    assert_eq!(error, "field `model`: found none, expected one of click, shop, for several are served");
    let load = "/v2/repository/models/broken/load";
    let error = client.post(load, &json!({})).error();
    assert!(error.starts_with("model `broken` cannot be loaded: "), "{error}");
    copy(&artifact(1), &broken);
    assert_eq!(client.post(load, &json!({})).status, 200);
    fs::remove_file(broken.join("manifest.json")).unwrap();
    let error = client.post(load, &json!({})).error();
    assert!(error.starts_with("model `broken` cannot be loaded; what served before serves on: "), "{error}");
}

#[test]
fn a_half_copied_version_is_not_served_and_tried_again_when_it_is_whole() {
    let (models, server, golden, mut client) = one_served();
    let path = models.path("click", 2);
    fs::create_dir_all(&path).unwrap();
    for file in ["manifest.json", "config.toml"] {
        fs::copy(artifact(2).join(file), path.join(file)).unwrap();
        look(&mut client, &server);
        assert_eq!(version(&mut client, &golden), "1");
    }
    copy(&artifact(2), &path);
    look(&mut client, &server);
    assert_eq!(version(&mut client, &golden), "2");
    assert_eq!(client.get("/v2/health").json()["troubles"], json!([]));
}

#[test]
fn a_broken_newest_version_leaves_the_one_before_it_at_the_start() {
    let models = Models::new();
    models.put(1, "click", 1);
    fs::remove_file(models.put(2, "click", 2).join("manifest.json")).unwrap();
    fs::create_dir_all(models.0.path().join("click/tmp")).unwrap();
    let (server, golden) = (models.serve(), Golden::of(&artifact(1)));
    assert!(server.is_ready());
    assert_eq!(version(&mut Client::new(server.http()), &golden), "1");
}

#[test]
fn pinned_versions_are_served_side_by_side() {
    let models = Models::new();
    for (seed, version) in [(1, 1), (2, 2), (1, 3)] {
        models.put(seed, "click", version);
    }
    let mut settings = models.settings();
    settings.repository.versions.insert("click".into(), vec![1, 2]);
    let server = Server::start(settings).unwrap();
    let mut client = Client::new(server.http());
    let golden = [Golden::of(&artifact(1)), Golden::of(&artifact(2))];
    assert_eq!(version(&mut client, &golden[0]), "2", "the largest of the pinned ones answers by default");
    for (number, golden) in [(1, &golden[0]), (2, &golden[1])] {
        let answer = client.post(&format!("/v2/models/click/versions/{number}/infer"), &golden.request());
        for (name, expected) in golden.outputs() {
            assert!(difference(&answer.output(&name), &expected) <= 1e-6, "{number}, {name}");
        }
    }
    assert_eq!(client.post("/v2/models/click/versions/3/infer", &golden[0].request()).status, 404);
}

#[test]
fn an_unloaded_model_stays_so_until_it_is_asked_for() {
    let (models, server, golden, mut client) = one_served();
    assert_eq!(client.post("/v2/repository/models/click/unload", &json!({})).status, 200);
    models.put(2, "click", 2);
    look(&mut client, &server);
    let answer = client.post(INFER, &golden.request());
    assert_eq!(answer.status, 503);
    assert!(answer.error().contains("unloaded"), "{}", answer.error());
    assert_eq!(client.post("/v2/repository/models/click/load", &json!({})).status, 200);
    assert_eq!(version(&mut client, &golden), "2");
}

#[test]
fn a_model_that_is_taken_away_is_served_no_more_and_others_are() {
    let models = Models::new();
    models.put(1, "click", 1);
    models.put(2, "buy", 1);
    let (server, golden) = (models.serve(), Golden::of(&artifact(1)));
    let mut client = Client::new(server.http());
    fs::remove_dir_all(models.0.path().join("buy")).unwrap();
    look(&mut client, &server);
    assert_eq!(client.get("/v2/models/buy/ready").status, 404);
    assert_eq!(version(&mut client, &golden), "1");
}

#[test]
fn a_repository_whose_mount_was_gone_unloaded_all_models() {
    let (models, server, golden, mut client) = one_served();
    fs::remove_dir_all(models.0.path().join("click")).unwrap();
    look(&mut client, &server);
    assert_eq!(version(&mut client, &golden), "1");
    models.put(2, "click", 2);
    look(&mut client, &server);
    assert_eq!(version(&mut client, &golden), "2", "it is back");
    assert_eq!(client.post("/v2/repository/models/click/unload", &json!({})).status, 200);
    fs::remove_dir_all(models.0.path().join("click")).unwrap();
    look(&mut client, &server);
    assert_eq!(client.get("/v2/models/click/ready").status, 404, "what serves nothing may go");
}

#[test]
fn an_artifact_that_was_named_and_is_bad_ends_the_start() {
    let models = Models::new();
    let path = models.put(1, "click", 1);
    fs::remove_file(path.join("config.toml")).unwrap();
    let error = Server::start(Settings { artifacts: vec![path.clone()], ..settings() }).unwrap_err();
    assert!(matches!(&error, StartError::Artifact { reason, .. } if reason.contains("config.toml")), "{error}");
    let twice = vec![artifact(1), artifact(1)];
    let error = Server::start(Settings { artifacts: twice, ..settings() }).unwrap_err();
    assert!(error.to_string().contains("both called `seed-1`"), "{error}");
}
