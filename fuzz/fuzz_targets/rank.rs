//! `POST /v1/rank`, from bytes to an answer.

#![no_main]

use axum::body::Body;
use axum::http::{Request, StatusCode};
use crosstie_fuzz::server;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let request = Request::post("/v1/rank").body(Body::from(body.to_vec())).expect("a request");
    let answer = server().http(request);
    let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
    if answer.status != StatusCode::OK {
        assert!(said["error"].is_string(), "{said}");
        return;
    }
    for candidate in said["candidates"].as_array().expect("candidates") {
        for probabilities in candidate["tasks"].as_object().expect("tasks").values() {
            let known = |kind: &str| probabilities[kind].as_f64();
            assert!(known("from_impression").is_some_and(|p| (0.0..=1.0).contains(&p)), "{said}");
            assert!(known("given_parent").is_none_or(|p| (0.0..=1.0).contains(&p)), "{said}");
        }
    }
});
