//! Inference over gRPC, from a message to an answer.

#![no_main]

use axum::body::Body;
use axum::http::Request;
use crosstie_fuzz::server;
use libfuzzer_sys::fuzz_target;

/// Faults of the server, by their codes in gRPC: UNKNOWN, INTERNAL, DATA_LOSS.
const OURS: [&str; 3] = ["2", "13", "15"];

fuzz_target!(|message: &[u8]| {
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(message);
    let request = Request::post("/inference.GRPCInferenceService/ModelInfer")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from(body))
        .expect("a request");
    let answer = server().grpc(request);
    let status = answer.trailers.get("grpc-status").or_else(|| answer.headers.get("grpc-status"));
    let status = status.expect("a status").to_str().expect("a number");
    assert!(!OURS.contains(&status), "{status}: {:?} {:?}", answer.headers, answer.trailers);
});
