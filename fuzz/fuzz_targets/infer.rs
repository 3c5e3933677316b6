//! Inference over HTTP: JSON, and the binary tensors behind it. A NUL, of which JSON has
//! none, ends the JSON.

#![no_main]

use axum::body::Body;
use axum::http::{Request, StatusCode};
use crosstie_fuzz::{MODEL, server};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const HEADER_LENGTH: &str = "inference-header-content-length";

fuzz_target!(|bytes: &[u8]| {
    let mut request = Request::post(format!("/v2/models/{MODEL}/infer"));
    let body = match bytes.iter().position(|byte| *byte == 0) {
        Some(length) => {
            request = request.header(HEADER_LENGTH, length);
            [&bytes[..length], &bytes[length + 1..]].concat()
        }
        None => bytes.to_vec(),
    };
    let answer = server().http(request.body(Body::from(body)).expect("a request"));
    let length = answer.headers.get(HEADER_LENGTH).map(|length| length.to_str().expect("a text"));
    let length = length.map_or(answer.body.len(), |length| length.parse().expect("a number"));
    let said: Value = serde_json::from_slice(&answer.body[..length]).expect("JSON");
    if answer.status != StatusCode::OK {
        assert!(said["error"].is_string(), "{said}");
        return;
    }
    let outputs = said["outputs"].as_array().expect("outputs");
    let binary = outputs.iter().filter_map(|output| output["parameters"]["binary_data_size"].as_u64());
    assert_eq!(binary.sum::<u64>(), (answer.body.len() - length) as u64);
});
