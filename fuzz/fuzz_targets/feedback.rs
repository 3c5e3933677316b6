//! `POST /v1/feedback`, from bytes to the disk.

#![no_main]

use axum::body::Body;
use axum::http::{Request, StatusCode};
use crosstie_fuzz::server;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let ask = || {
        let request = Request::post("/v1/feedback").body(Body::from(body.to_vec())).expect("a request");
        let answer = server().http(request);
        let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status, said)
    };
    let (status, said) = ask();
    if status != StatusCode::OK {
        assert!(said["error"].is_string(), "{said}");
        return;
    }
    let counts = |said: &Value| ["accepted", "repeated"].map(|key| said[key].as_u64().expect("a number"));
    let (first, second) = (counts(&said), counts(&ask().1));
    // What was accepted once is there.
    assert_eq!(second, [0, first[0] + first[1]], "{said}");
});
