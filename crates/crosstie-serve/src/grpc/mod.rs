//! The Open Inference Protocol, version 2, over gRPC, with the services of gRPC that
//! tell health and what is served.

mod codec;
mod convert;
#[allow(missing_docs, clippy::all, clippy::unwrap_used)]
#[rustfmt::skip]
pub mod generated;
mod health;
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder as Reflection;

use crate::failure::Failure;
use crate::observe::Protocol;
use crate::settings::Timeouts;
use crate::state::State;
use generated::grpc_inference_service_server::GrpcInferenceServiceServer;

/// The descriptors of `proto/inference.proto`, with its comments, encoded.
pub const DESCRIPTORS: &[u8] = include_bytes!("descriptors.bin");

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Everything that is served over gRPC: inference, health, reflection.
///
/// Messages may be compressed by gzip, deflate or zstd; an answer is compressed as its
/// question was. So clients that can read compressed answers, but did not ask for them,
/// do not pay for them.
pub fn router(state: Arc<State>) -> Router {
    let mut inference = GrpcInferenceServiceServer::new(service::Inference(Arc::clone(&state)))
        .max_decoding_message_size(state.settings.limits.body_bytes)
        .max_encoding_message_size(usize::MAX);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate, CompressionEncoding::Zstd] {
        inference = inference.accept_compressed(encoding).send_compressed(encoding);
    }
    let mut routes = Routes::builder();
    routes.add_service(inference);
    routes.add_service(HealthServer::new(health::Health(Arc::clone(&state))));
    let reflection = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Newer clients ask the one, older ones the other.
    if let (Ok(new), Ok(old)) = (reflection().build_v1(), reflection().build_v1alpha()) {
        routes.add_service(new).add_service(old);
    }
    routes.routes().into_axum_router().layer(middleware::from_fn_with_state(state, around))
}

/// What holds for every call: it is let in before its message is read, its message has
/// so long to come, and its answer is compressed as it was itself.
async fn around(Shared(state): Shared<Arc<State>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_string();
    let headers = request.headers_mut();
    match headers.get(ENCODING).cloned() {
        Some(encoding) => headers.insert(ACCEPTED, encoding),
        None => headers.remove(ACCEPTED),
    };
    let mut response = if path.ends_with("/ModelInfer") {
        let refuse = |failure: Failure| {
            state.refused(Protocol::Grpc, "", &failure);
            Status::from(failure).into_http::<Body>()
        };
        let permit = match state.enter() {
            Ok(permit) => permit,
            Err(failure) => return refuse(failure),
        };
        let heard = Heard::default();
        request.extensions_mut().insert(heard.clone());
        let Timeouts { body_seconds, request_seconds, .. } = state.settings.timeouts;
        let answer = timeout(Timeouts::of(body_seconds + request_seconds), next.run(request)).await;
        drop(permit);
        match (answer, heard.0.load(Ordering::Relaxed)) {
            (Ok(response), true) => response,
            (Ok(response), false) => {
                let status = Status::from_header_map(response.headers());
                state.refused(Protocol::Grpc, "", &unread(&state, &status.unwrap_or_else(|| Status::unknown(""))));
                response
            }
            (Err(_), _) => return refuse(Failure::DeadlinePassed),
        }
    } else {
        next.run(request).await
    };
    explain(&path, response.headers_mut());
    response
}

/// Whether a call's message was read: from then on the observers are told of it by who
/// answers.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<AtomicBool>);

/// What the library says of a message that it could not read, in our words.
fn unread(state: &State, status: &Status) -> Failure {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            let limit = state.settings.limits.body_bytes;
            Failure::TooLarge { what: "bytes in the message", limit, setting: "limits.body_bytes" }
        }
        Code::Unimplemented => Failure::Unsupported(status.message().into()),
        _ => Failure::request(format!("a message that cannot be read: {}", status.message()), "a whole message"),
    }
}

/// Mends what the library says of calls that do not come to ours: one that there is not
/// is answered without a word, and what cannot be unpacked is told as our fault.
fn explain(path: &str, headers: &mut HeaderMap) {
    let code = headers.get(STATUS).map(|status| Code::from_bytes(status.as_bytes()));
    let message = headers.get(MESSAGE);
    let status = match (code, message) {
        (Some(Code::Unimplemented), None) => Status::unimplemented(format!("`{path}` is not served")),
        (Some(Code::Internal), Some(message)) if message.as_bytes().starts_with(b"Error%20decompressing") => {
            Status::invalid_argument("the message cannot be unpacked by its `grpc-encoding`")
        }
        _ => return,
    };
    for (name, value) in status.into_http::<Body>().headers() {
        if name == STATUS || name == MESSAGE {
            headers.insert(name, value.clone());
        }
    }
}

/// Within what time a call wants its answer: `grpc-timeout`, a number of at most eight
/// digits and its unit.
fn wanted_within(timeout: Option<&HeaderValue>) -> Option<Duration> {
    let (unit, digits) = timeout?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_grpc_writes_it() {
        let read = |text: &'static str| wanted_within(Some(&HeaderValue::from_static(text)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("17u"), Some(Duration::from_micros(17)));
        for none in ["", "m", "1", "1s", "-1m", "1 m", "123456789n"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
