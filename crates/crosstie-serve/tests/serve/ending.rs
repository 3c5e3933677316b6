//! A server that is asked to end.

use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crosstie_serve::engine::Turn;
use crosstie_serve::server::Server;
use crosstie_serve::settings::Settings;

use crate::common::{Client, Golden, artifact, settings};

const INFER: &str = "/v2/models/seed-1/infer";

#[test]
fn it_is_not_ready_at_once_serves_on_and_ends_what_is_open() {
    let golden = Golden::of(&artifact(1));
    let mut settings = Settings { artifacts: vec![artifact(1)], ..settings() };
    settings.timeouts.drain_seconds = 0.5;
    let server = Server::start(settings).unwrap();
    let (address, state) = (server.http(), server.state().clone());
    let (release, held) = mpsc::channel::<()>();
    let mut client = Client::new(address);
    assert_eq!(client.get("/v2/health/ready").status, 200);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| server.stop());
        while !state.is_draining() {
            std::thread::yield_now();
        }
        assert_eq!(client.get("/v2/health/ready").status, 503);
        assert!(client.get("/v2/health/ready").error().contains("ending"));
        assert_eq!(client.get("/v2/health/live").status, 200);
        assert_eq!(client.post(INFER, &golden.request()).status, 200, "who has not noticed yet is served");
        // A request that is open when the drain is over.
        let (began, begun) = mpsc::channel();
        let busy = state.clone();
        scope.spawn(move || {
            let version = busy.repository.version("seed-1", None).unwrap();
            let work = move |_: &mut Turn| {
                began.send(()).unwrap();
                let _ = held.recv();
                Ok(())
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(busy.engine.run(version, Instant::now() + Duration::from_secs(3600), work)).unwrap();
        });
        begun.recv().unwrap();
        let open = scope.spawn(move || client.post(INFER, &golden.request()).status);
        while state.engine.waiting() == 0 {
            std::thread::yield_now();
        }
        while TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
        drop(release);
        assert_eq!(open.join().unwrap(), 200, "what was open is answered");
        stopping.join().unwrap();
    });
    assert!(TcpStream::connect(address).is_err());
}
