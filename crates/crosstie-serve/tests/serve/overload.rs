//! More requests than there are threads for.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crosstie::batch::Batch;
use crosstie::learned::Scores;
use crosstie_serve::engine::{Done, Turn};
use crosstie_serve::failure::Failure;
use crosstie_serve::observe::{Answered, Observe};
use crosstie_serve::repository::Version;
use crosstie_serve::server::Server;
use crosstie_serve::settings::Settings;
use serde_json::json;

use crate::common::{Client, Golden, artifact, settings};

const INFER: &str = "/v2/models/seed-1/infer";

/// Counts what the server does.
#[derive(Debug, Default)]
struct Counts {
    scored: AtomicUsize,
    answered: AtomicUsize,
}

impl Observe for Counts {
    fn scored(&self, _: &Version, _: &Batch, _: &Scores) {
        self.scored.fetch_add(1, Ordering::SeqCst);
    }

    fn answered(&self, _: &Answered<'_>) {
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// Keeps the only compute thread busy until the sender is dropped.
fn occupy(server: &Server) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (began, begun) = mpsc::channel();
    let state = Arc::clone(server.state());
    std::thread::spawn(move || {
        let version = state.repository.version("seed-1", None).unwrap();
        let work = move |_: &mut Turn| {
            began.send(()).unwrap();
            let _ = held.recv();
            Ok(())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let deadline = Instant::now() + Duration::from_secs(3600);
        let _ = runtime.block_on(state.engine.run(version, deadline, work));
    });
    begun.recv().unwrap();
    release
}

/// Waits until so many requests wait.
fn until_waiting(server: &Server, requests: usize) {
    while server.state().engine.waiting() < requests {
        std::thread::yield_now();
    }
}

fn started(change: impl FnOnce(&mut Settings)) -> (Server, Arc<Counts>) {
    let mut settings = Settings { artifacts: vec![artifact(1)], ..settings() };
    change(&mut settings);
    let counts = Arc::new(Counts::default());
    (Server::start_observed(settings, vec![Arc::clone(&counts) as Arc<dyn Observe>]).unwrap(), counts)
}

#[test]
fn where_the_queue_is_full_the_next_request_is_refused_while_others_wait() {
    let golden = Golden::of(&artifact(1));
    let (server, _) = started(|settings| settings.compute.queue = 2);
    let release = occupy(&server);
    std::thread::scope(|scope| {
        let ask = || Client::new(server.http()).post(INFER, &golden.request()).status;
        let waiting: Vec<_> = (0..2).map(|_| scope.spawn(ask)).collect();
        until_waiting(&server, 2);
        // The thread is held until this answer is here: it cannot have waited for it.
        let answer = Client::new(server.http()).post(INFER, &golden.request());
        assert_eq!((answer.status, answer.header("Retry-After")), (429, Some("1")));
        assert!(answer.error().contains("2 requests are waiting"));
        assert_eq!(Client::new(server.http()).get("/v2/health/ready").status, 200, "busy is not down");
        drop(release);
        waiting.into_iter().for_each(|client| assert_eq!(client.join().unwrap(), 200));
    });
}

/// A request to the engine, for whoever polls it.
type Asked = Pin<Box<dyn Future<Output = Result<Done<()>, Failure>>>>;

#[test]
fn in_an_overload_few_wait_until_as_many_as_the_queue_holds_had_their_turn() {
    let (server, _) = started(|settings| settings.compute.queue = 4);
    let engine = &server.state().engine;
    let version = server.state().repository.version("seed-1", None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // A turn lasts until it is told to end.
    let (end, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let request = || -> Asked {
        let (state, version, held) = (Arc::clone(server.state()), Arc::clone(&version), Arc::clone(&held));
        let work = move |_: &mut Turn| {
            held.lock().unwrap().recv().unwrap();
            Ok(())
        };
        let deadline = Instant::now() + Duration::from_secs(3600);
        Box::pin(async move { state.engine.run(version, deadline, work).await })
    };
    let mut under_way: VecDeque<Asked> = VecDeque::new();
    // Whether a request may wait.
    let may_wait = |under_way: &mut VecDeque<Asked>| {
        let mut request = request();
        let refused = runtime.block_on(async { tokio::time::timeout(Duration::ZERO, &mut request).await });
        if refused.is_err() {
            under_way.push_back(request);
        }
        refused.is_err()
    };
    // Lets so many of those under way end, until all but the next are waiting again.
    let turns = |under_way: &mut VecDeque<Asked>, count: usize| {
        for request in under_way.drain(..count) {
            end.send(()).unwrap();
            assert!(runtime.block_on(request).is_ok());
        }
        while engine.waiting() >= under_way.len().max(1) {
            std::thread::yield_now();
        }
    };
    assert!(may_wait(&mut under_way));
    turns(&mut under_way, 0);
    let burst: Vec<bool> = (0..5).map(|_| may_wait(&mut under_way)).collect();
    assert_eq!(burst, [true, true, true, true, false], "a burst may fill the queue");
    turns(&mut under_way, 3);
    assert_eq!(engine.waiting(), 1);
    assert!(!may_wait(&mut under_way), "one, once it was too many");
    turns(&mut under_way, 2);
    for _ in 0..3 {
        assert!(may_wait(&mut under_way));
        let before = under_way.len() - 1;
        turns(&mut under_way, before);
    }
    let burst: Vec<bool> = (0..5).map(|_| may_wait(&mut under_way)).collect();
    assert_eq!(burst, [true, true, true, true, false], "four had their turn and none was refused");
    let left = under_way.len();
    turns(&mut under_way, left);
}

#[test]
fn a_request_whose_time_is_over_is_dropped_unscored() {
    let golden = Golden::of(&artifact(1));
    let (server, counts) = started(|settings| settings.timeouts.request_seconds = 0.05);
    let release = occupy(&server);
    let mut client = Client::new(server.http());
    let answer = client.post(INFER, &golden.request());
    assert_eq!(answer.status, 504, "its answer does not wait for the thread");
    drop(release);
    // The next one is answered after it, on the only thread.
    while client.post(INFER, &golden.request()).status != 200 {}
    assert_eq!(counts.scored.load(Ordering::SeqCst), 1, "only the last was scored");
}

#[test]
fn a_request_may_ask_for_less_time_than_it_is_given() {
    let golden = Golden::of(&artifact(1));
    let (server, counts) = started(|_| ());
    let release = occupy(&server);
    let mut request = golden.request();
    request["parameters"] = json!({ "timeout": 1 });
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::new(server.http()).post(INFER, &request).status);
        until_waiting(&server, 1);
        // One microsecond has passed for sure when this has.
        std::thread::sleep(Duration::from_millis(1));
        drop(release);
        assert_eq!(client.join().unwrap(), 504);
    });
    assert_eq!(counts.scored.load(Ordering::SeqCst), 0);
    assert_eq!(counts.answered.load(Ordering::SeqCst), 1);
}

#[test]
fn a_request_whose_sender_has_gone_makes_room() {
    let golden = Golden::of(&artifact(1));
    let (server, counts) = started(|settings| settings.compute.queue = 1);
    let release = occupy(&server);
    let state = server.state();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = || {
        let version = state.repository.version("seed-1", None).unwrap();
        state.engine.run(version, Instant::now() + Duration::from_secs(3600), |_: &mut Turn| Ok(()))
    };
    // Polled once, so that it waits, and forsaken.
    let forsaken = runtime.block_on(async { tokio::time::timeout(Duration::ZERO, run()).await });
    assert!(forsaken.is_err());
    assert_eq!(state.engine.waiting(), 1);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::new(server.http()).post(INFER, &golden.request()).status);
        while counts.answered.load(Ordering::SeqCst) == 0 && !client.is_finished() {
            if state.engine.waiting() == 1 {
                break;
            }
        }
        drop(release);
        assert_eq!(client.join().unwrap(), 200);
    });
}

#[test]
fn a_panic_is_the_error_of_its_request_alone() {
    let golden = Golden::of(&artifact(1));
    let (server, _) = started(|_| ());
    let state = server.state();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let version = state.repository.version("seed-1", None).unwrap();
    let work = |_: &mut Turn| -> Result<(), Failure> { std::panic::panic_any("a mistake of ours") };
    let failure =
        runtime.block_on(state.engine.run(version, Instant::now() + Duration::from_secs(60), work)).unwrap_err();
    assert_eq!(failure, Failure::Internal("panic: a mistake of ours".into()));
    assert!(!failure.to_string().contains("mistake"), "what is inside is not for the sender");
    assert_eq!(Client::new(server.http()).post(INFER, &golden.request()).status, 200);
}

#[test]
fn no_more_requests_are_under_way_than_may_be() {
    let golden = Golden::of(&artifact(1));
    let (server, _) = started(|settings| settings.limits.concurrency = 1);
    let permit = server.state().enter().unwrap();
    let answer = Client::new(server.http()).post(INFER, &golden.request());
    assert_eq!(answer.status, 429);
    drop(permit);
    assert_eq!(Client::new(server.http()).post(INFER, &golden.request()).status, 200);
}
