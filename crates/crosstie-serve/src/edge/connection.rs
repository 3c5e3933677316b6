//! One connection, from its first byte to its last.
//!
//! hyper has a time-out for the head of a request, but none for telling HTTP/1 from
//! HTTP/2, none for an answer that nobody reads, and none that holds for HTTP/2. So
//! there is one rule of ours here for all of it, by what was last heard of the
//! connection ([`Activity`]).

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::response::Response;
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::Limits;

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    leaving: watch::Receiver<bool>,
) {
    let activity = Arc::new(Activity::new());
    // Answers are written whole: nothing is won by waiting for more.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return drive(stream, peer, router, limits, activity, leaving).await;
    };
    match timeout_at(activity.start + limits.header, tls.accept(stream)).await {
        Ok(Ok(stream)) => drive(stream, peer, router, limits, activity, leaving).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS connection with {peer}: {error}"),
        Err(_) => tracing::debug!(%peer, "no TLS handshake in time with {peer}"),
    }
}

/// Serves the requests of a connection whose bytes are in the clear.
async fn drive<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    activity: Arc<Activity>,
    mut leaving: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = hyper::service::service_fn({
        let activity = activity.clone();
        move |request: Request<Incoming>| {
            let open = Open::new(activity.clone());
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = router.clone().oneshot(request);
            async move { Ok::<_, Infallible>(open.until_sent(answer.await?)) }
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keep_alive)
        .keep_alive_timeout(limits.keep_alive)
        .max_concurrent_streams(limits.streams);
    let counted = Counted { stream, activity: activity.clone() };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(counted), service));
    // A request that ends may bring the time nearer, by no more than the idle time.
    let next_look = || activity.due(&limits).min(Instant::now() + limits.idle);
    let mut check = pin!(sleep_until(next_look()));
    let mut asked_to_leave = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "connection with {peer} lost: {error}");
                }
                return;
            }
            () = check.as_mut() => {
                let now = Instant::now();
                if activity.due(&limits) > now {
                    check.as_mut().reset(next_look());
                } else if activity.is_idle() && !asked_to_leave {
                    // An HTTP/2 client is told, and may have sent another request meanwhile.
                    asked_to_leave = true;
                    connection.as_mut().graceful_shutdown();
                    check.as_mut().reset(now + limits.header);
                } else if asked_to_leave && activity.last_moved() + limits.header > now {
                    // An answer has been handed on whole, and is still being read.
                    check.as_mut().reset(activity.last_moved() + limits.header);
                } else {
                    tracing::debug!(%peer, "connection with {peer} cut off: nothing heard in time");
                    return;
                }
            }
            _ = leaving.wait_for(|leave| *leave), if !asked_to_leave => {
                asked_to_leave = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// What was last heard of a connection. Times are milliseconds from its start.
struct Activity {
    start: Instant,
    /// Requests whose head has come and whose answer has not been sent.
    open: AtomicUsize,
    /// When a byte last moved.
    moved: AtomicU64,
    /// When the last of the open requests ended; 0: there was no request yet.
    ended: AtomicU64,
}

impl Activity {
    fn new() -> Activity {
        Activity {
            start: Instant::now(),
            open: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When a byte last moved.
    fn last_moved(&self) -> Instant {
        self.start + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    /// Whether there were requests, and all have been answered.
    fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0 && self.ended.load(Ordering::Relaxed) > 0
    }

    /// When the connection has to go unless something is heard of it.
    fn due(&self, limits: &Limits) -> Instant {
        if self.open.load(Ordering::Relaxed) > 0 {
            self.last_moved() + limits.idle
        } else if self.is_idle() {
            self.start + Duration::from_millis(self.ended.load(Ordering::Relaxed)) + limits.idle
        } else {
            self.start + limits.header
        }
    }
}

/// A request that is open until it is dropped.
struct Open(Arc<Activity>);

impl Open {
    fn new(activity: Arc<Activity>) -> Open {
        activity.open.fetch_add(1, Ordering::Relaxed);
        Open(activity)
    }

    /// The answer; the request stays open until the body has been sent or dropped.
    fn until_sent(self, answer: Response) -> Response<Sending> {
        answer.map(|body| Sending { body, _open: self })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.ended.store(self.0.now().max(1), Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer.
struct Sending {
    body: Body,
    _open: Open,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that notes when bytes move.
struct Counted<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Counted<S> {
    fn note(&self, moved: bool) {
        if moved {
            self.activity.moved.store(self.activity.now(), Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(buffer.filled().len() > before);
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(done.is_ready());
        done
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.note(done.is_ready());
        done
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
