//! An id for every request, and a line of the log.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::edge::keys::Caller;
use crate::failure::Failure;
use crate::stages::Stages;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: &str = "traceparent";
/// Characters of a client's own id.
const LONGEST: usize = 128;
/// What takes longer is told at the level `info`.
const SLOW: Duration = Duration::from_millis(500);

/// What a request is called: by its client in the header `x-request-id`, or by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    id: String,
    /// Whether it is the client's, who may call several requests so.
    given: bool,
}

impl RequestId {
    /// An id that no other request has: this one, if it is ours.
    pub fn of_its_own(self) -> String {
        if self.given { new_id() } else { self.id }
    }
}

/// Names a request, answers it, and says so, with who asked and how long its parts took in
/// milliseconds: at `info` what failed or took long, at `debug` what went well, and what was
/// refused for others that wait: of those there are too many.
pub async fn traced(mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let named = id_of(request.headers());
    let id = named.id.clone();
    let trace = text(request.headers(), TRACEPARENT).unwrap_or_default().to_string();
    let caller = request.extensions().get::<Caller>().map(|Caller(name)| name.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    request.extensions_mut().insert(named);
    let mut response = next.run(request).await;
    let (status, took) = (response.status(), start.elapsed());
    let went_well = matches!(status, StatusCode::OK | StatusCode::TOO_MANY_REQUESTS);
    let caller = caller.as_deref();
    let failure = response.extensions().get::<Failure>();
    let (reason, said) = failure.map(|failure| (failure.reason(), failure.to_string())).unwrap_or_default();
    let (status, milliseconds) = (status.as_u16(), took.as_secs_f64() * 1e3);
    let stages = response.extensions().get::<Stages>();
    let part = |of: fn(&Stages) -> Duration| stages.map(|stages| of(stages).as_secs_f64() * 1e3);
    let (queue, decode) = (part(|stages| stages.queue), part(|stages| stages.decode));
    let (compute, encode) = (part(|stages| stages.compute), part(|stages| stages.encode));
    let parts = stages.map(|_| [queue, decode, compute, encode].map(Option::unwrap_or_default));
    let (request, what) = (id.as_str(), (&method, path.as_str()));
    let sentence = Sentence { request, caller, what, status, milliseconds, parts, trace: &trace, said: &said };
    if went_well && took < SLOW {
        tracing::debug!(
            request, caller, %method, %path, status, milliseconds, queue, decode, compute, encode, traceparent = %trace,
            "{sentence}"
        );
    } else {
        tracing::info!(
            request, caller, %method, %path, status, milliseconds, queue, decode, compute, encode, traceparent = %trace,
            reason, said = %said, "{sentence}"
        );
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// What became of a request, for people. Its fields are for programs.
struct Sentence<'a> {
    request: &'a str,
    caller: Option<&'a str>,
    /// Method and path.
    what: (&'a Method, &'a str),
    status: u16,
    milliseconds: f64,
    /// Milliseconds of queue, decoding, computing and encoding, if it came to that.
    parts: Option<[f64; 4]>,
    trace: &'a str,
    /// Why it failed; empty if it did not.
    said: &'a str,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sentence { request, caller, what: (method, path), status, milliseconds, parts, trace, said } = self;
        write!(formatter, "request {request}: {method} {path}, answered {status} in {milliseconds:.1} ms")?;
        if let Some([queue, decode, compute, encode]) = parts {
            write!(
                formatter,
                " (queue {queue:.1}, decoding {decode:.1}, computing {compute:.1}, encoding {encode:.1})"
            )?;
        }
        if let Some(caller) = caller {
            write!(formatter, ", key {caller}")?;
        }
        if !trace.is_empty() {
            write!(formatter, ", traceparent {trace}")?;
        }
        if !said.is_empty() {
            // It has names of the request in it, which are not to begin lines of their own.
            write!(formatter, ": {}", said.replace(char::is_control, " "))?;
        }
        Ok(())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn id_of(headers: &HeaderMap) -> RequestId {
    let given = text(headers, REQUEST_ID.as_str()).filter(|id| !id.is_empty() && id.len() <= LONGEST);
    RequestId { id: given.map_or_else(new_id, String::from), given: given.is_some() }
}

/// A number that no other request has: a count, mixed with what is random to this process.
fn new_id() -> String {
    static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}", RANDOM.hash_one(COUNT.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_id_is_kept_and_others_are_all_different() {
        let mut headers = HeaderMap::new();
        let ours = id_of(&headers);
        assert_ne!(ours, id_of(&headers));
        assert_eq!(ours.clone().of_its_own(), ours.id);
        headers.insert(REQUEST_ID, HeaderValue::from_static("a-7"));
        assert_eq!(id_of(&headers), RequestId { id: "a-7".into(), given: true });
        assert_ne!(id_of(&headers).of_its_own(), id_of(&headers).of_its_own());
        headers.insert(REQUEST_ID, HeaderValue::try_from("x".repeat(LONGEST + 1)).unwrap());
        assert_eq!(id_of(&headers).id.len(), 16);
    }
}
