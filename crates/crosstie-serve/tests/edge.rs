//! Connections: slow ones, idle ones, many, with TLS, and at the end.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use crosstie_serve::edge::{Limits, Listener, Tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// What nothing here takes, unless it hangs.
const HANGS: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(600);
const REQUEST: &[u8] = b"GET /peer HTTP/1.1\r\nhost: here\r\n\r\n";

struct Served {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    end: JoinHandle<usize>,
}

impl Served {
    async fn new(router: Router, tls: Option<Tls>, limits: Limits, grace: Duration) -> Served {
        let listener = Listener::open("127.0.0.1:0".parse().unwrap(), tls, limits).await.unwrap();
        let address = listener.address();
        let (stop, stopped) = oneshot::channel();
        let end = tokio::spawn(listener.serve(
            router,
            async {
                let _ = stopped.await;
            },
            grace,
        ));
        Served { address, stop: Some(stop), end }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

fn router() -> Router {
    Router::new().route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
}

/// Reads one answer, whose body is the address of the client and so not empty.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    loop {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        if text.split_once("\r\n\r\n").is_some_and(|(_, body)| !body.is_empty()) {
            return text;
        }
    }
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(REQUEST).await.unwrap();
    answer(stream).await
}

/// Waits until the other side closes; what it said before that.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end, too: what was sent had not been read.
    let _ = tokio::time::timeout(HANGS, stream.read_to_end(&mut said)).await.expect("it is closed");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_sockets_are_closed_and_others_are_served_meanwhile() {
    let limits = Limits { header: Duration::from_secs(2), ..Limits::default() };
    let served = Served::new(router(), None, limits, HANGS).await;
    let mut slow = Vec::new();
    for index in 0..1000 {
        let mut stream = served.connect().await;
        // Nothing; the start of HTTP/1; of HTTP/2; of a head that goes on for ever; all
        // of HTTP/2's greeting, and no request.
        let start: &[u8] =
            [b"" as &[u8], b"G", b"P", b"GET /peer HTTP/1.1\r\nhost: h", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
                [index % 5];
        stream.write_all(start).await.unwrap();
        slow.push(stream);
    }
    let mut kept = served.connect().await;
    for _ in 0..50 {
        assert!(ask(&mut served.connect().await).await.starts_with("HTTP/1.1 200"));
        assert!(ask(&mut kept).await.starts_with("HTTP/1.1 200"));
    }
    for stream in &mut slow {
        closed(stream).await;
    }
    assert!(ask(&mut kept).await.starts_with("HTTP/1.1 200"), "who asked stays");
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_the_idle_time() {
    let limits = Limits { idle: Duration::from_millis(100), header: LONG, ..Limits::default() };
    let served = Served::new(router(), None, limits, HANGS).await;
    let mut stream = served.connect().await;
    assert!(ask(&mut stream).await.contains(&stream.local_addr().unwrap().to_string()));
    assert!(closed(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let dropped = Arc::new(Notify::new());
    struct Tell(Arc<Notify>, Vec<u8>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    impl AsRef<[u8]> for Tell {
        fn as_ref(&self) -> &[u8] {
            &self.1
        }
    }
    let tell = dropped.clone();
    let large = move || async move { bytes::Bytes::from_owner(Tell(tell, vec![0; 1 << 26])) };
    let short = Duration::from_millis(100);
    let limits = Limits { idle: short, header: short, ..Limits::default() };
    let served = Served::new(Router::new().route("/large", get(large)), None, limits, HANGS).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    tokio::time::timeout(HANGS, dropped.notified()).await.expect("the answer is let go of");
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_one_to_end() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let served = Served::new(router(), None, limits, HANGS).await;
    let mut first = served.connect().await;
    ask(&mut first).await;
    let mut second = served.connect().await;
    second.write_all(REQUEST).await.unwrap();
    for _ in 0..20 {
        ask(&mut first).await;
    }
    let mut byte = [0];
    assert!(second.try_read(&mut byte).is_err(), "not accepted yet");
    drop(first);
    assert!(answer(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_end_waits_for_open_requests_and_accepts_no_more() {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (asked, go) = (asked.clone(), go.clone());
        move || async move {
            asked.notify_one();
            go.notified().await;
            "done"
        }
    };
    let router = router().route("/slow", get(slow));
    let mut served = Served::new(router, None, Limits::default(), HANGS).await;
    let (mut idle, mut fresh, mut busy) = (served.connect().await, served.connect().await, served.connect().await);
    ask(&mut idle).await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    asked.notified().await;
    served.stop();
    closed(&mut idle).await;
    closed(&mut fresh).await;
    assert!(TcpStream::connect(served.address).await.is_err(), "nothing listens any more");
    go.notify_one();
    let answered = String::from_utf8(closed(&mut busy).await).unwrap();
    assert!(answered.starts_with("HTTP/1.1 200") && answered.ends_with("done"), "{answered}");
    assert_eq!(served.end.await.unwrap(), 0);
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_off_and_counted() {
    let asked = Arc::new(Notify::new());
    let never = {
        let asked = asked.clone();
        move || async move {
            asked.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let router = Router::new().route("/never", get(never));
    let mut served = Served::new(router, None, Limits::default(), Duration::from_millis(50)).await;
    let mut busy = served.connect().await;
    busy.write_all(b"GET /never HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    asked.notified().await;
    served.stop();
    assert!(closed(&mut busy).await.is_empty());
    assert_eq!(served.end.await.unwrap(), 1);
}

#[tokio::test]
async fn tls_serves_the_certificate_of_the_files_and_nothing_in_the_clear() {
    let directory = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let (certificate, key) = (directory.path().join("certificate.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let tls = Tls::read(&certificate, &key).unwrap();
    let limits = Limits { header: Duration::from_secs(2), ..Limits::default() };
    let served = Served::new(router(), Some(tls), limits, HANGS).await;

    let mut roots = RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, served.connect().await).await.unwrap();
    assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));

    let mut clear = served.connect().await;
    clear.write_all(REQUEST).await.unwrap();
    assert!(!closed(&mut clear).await.starts_with(b"HTTP"));
    let mut silent = served.connect().await;
    assert!(closed(&mut silent).await.is_empty(), "no handshake in time");

    let swapped = Tls::read(&key, &certificate).unwrap_err().to_string();
    assert!(swapped.contains("key.pem`: none found; expected certificates as PEM"), "{swapped}");
    let other = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    let unfit = Tls::read(&certificate, &key).unwrap_err().to_string();
    assert!(unfit.contains("expected the key of the certificate"), "{unfit}");
    let missing = Tls::read(&certificate, &directory.path().join("none.pem")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read `"), "{missing}");
}
