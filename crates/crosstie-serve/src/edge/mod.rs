//! The edge: where connections come in, for every port alike. An accept loop of
//! ours, with TLS, and with bounds to what a connection may cost before and
//! between its requests. Who asks is [`keys`].

mod connection;
pub mod keys;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use tls::Tls;

use crate::settings::{Settings, Timeouts};

/// How long to wait where a connection cannot be accepted, since the process has
/// no file descriptor left: until some connection has ended.
const NO_DESCRIPTOR: Duration = Duration::from_millis(50);

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of one port that are open at once. More wait to be accepted.
    pub connections: usize,
    /// From a connection to the end of the head of its first request, with the
    /// TLS handshake. Who takes longer is cut off.
    pub header: Duration,
    /// How long a connection stays open without a request, or with requests of
    /// which no byte moves in either direction.
    pub idle: Duration,
    /// How often the other side of an HTTP/2 connection is asked whether it is
    /// still there, and how long it may take to answer.
    pub keep_alive: Duration,
    /// Requests that are open at once in one HTTP/2 connection.
    pub streams: u32,
}

impl Limits {
    /// Those of a server's settings.
    pub fn of(settings: &Settings) -> Limits {
        Limits {
            connections: settings.limits.connections,
            header: Timeouts::of(settings.timeouts.header_seconds),
            idle: Timeouts::of(settings.timeouts.idle_seconds),
            ..Limits::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 10_000,
            header: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            keep_alive: Duration::from_secs(20),
            streams: 256,
        }
    }
}

/// Why a port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file of TLS or of keys cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what TLS needs there.
    #[error("`{}`: {found}; expected {expected}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is in it.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// A list of keys has none.
    #[error("{place}: {found}; expected one key or more, or no such list: without keys a server is open to all")]
    NoKeys {
        /// The list: a file or a variable.
        place: String,
        /// What is there.
        found: &'static str,
    },
    /// A line of a list of keys is none.
    #[error("{place}, line {line}: {found}; expected {expected}")]
    Key {
        /// The list: a file or a variable.
        place: String,
        /// From 1.
        line: usize,
        /// What is there, never with the key.
        found: String,
        /// What should be.
        expected: &'static str,
    },
}

/// A port that is open, and whose connections wait to be served.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

impl Listener {
    /// Opens a port; with port 0 one that is free.
    ///
    /// # Errors
    ///
    /// [`EdgeError::Listen`].
    pub async fn open(address: SocketAddr, tls: Option<Tls>, limits: Limits) -> Result<Listener, EdgeError> {
        let failed = |source| EdgeError::Listen { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Listener { socket, address, tls: tls.map(|tls| tls.acceptor()), limits })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves HTTP/1 and HTTP/2 until `stop`. Then it accepts nothing more, ends
    /// the requests that are open and closes each connection after its last one.
    /// What is still open after `grace` is cut off; the answer says how many
    /// connections that were.
    ///
    /// Every request has the address that it came from as
    /// [`ConnectInfo`](axum::extract::ConnectInfo)`<SocketAddr>`.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>, grace: Duration) -> usize {
        let Listener { socket, tls, limits, .. } = self;
        let (leave, leaving) = watch::channel(false);
        let mut open = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = open.join_next() => {}
                (stream, peer) = accept(&socket), if open.len() < limits.connections => {
                    let (tls, router, leaving) = (tls.clone(), router.clone(), leaving.clone());
                    open.spawn(connection::serve(stream, peer, tls, router, limits, leaving));
                }
            }
        }
        drop(socket);
        leave.send_replace(true);
        let all_ended = async { while open.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(grace, all_ended).await;
        let cut_off = open.len();
        open.shutdown().await;
        cut_off
    }
}

/// The next connection.
async fn accept(socket: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match socket.accept().await {
            Ok(connection) => return connection,
            // The other side has gone already.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted: {error}");
                tokio::time::sleep(NO_DESCRIPTOR).await;
            }
        }
    }
}
