//! Bodies of requests, within their limits.

use std::error::Error;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::settings::{Settings, Timeouts};

/// Reads a body to its end, unpacked.
///
/// # Errors
/// [`Failure::TooLarge`] as soon as it is, [`Failure::SlowBody`], and
/// [`Failure::BadRequest`] for one that breaks off or cannot be unpacked.
pub async fn read(settings: &Settings, headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    let limit = settings.limits.body_bytes;
    let too_large = Failure::TooLarge { what: "bytes in the body", limit, setting: "limits.body_bytes" };
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > limit as u64) {
        return Err(too_large);
    }
    let within = Timeouts::of(settings.timeouts.body_seconds);
    match tokio::time::timeout(within, Limited::new(body, limit).collect()).await {
        Err(_) => Err(Failure::SlowBody(within)),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if caused_by_length(&*error) => Err(too_large),
        Ok(Err(error)) => Err(Failure::request(format!("a body that cannot be read: {error}"), "a whole body")),
    }
}

fn caused_by_length(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(caused_by_length)
}

/// A body as JSON; an empty one as an empty object.
///
/// # Errors
/// [`Failure::BadRequest`] with line and column.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| not_as_expected(&error))
}

/// What serde says of a body's JSON.
pub fn not_as_expected(error: &serde_json::Error) -> Failure {
    let found = format!("a body that cannot be read: {}", crosstie::spelling::explain(&error.to_string()));
    Failure::request(found, "JSON as of the Open Inference Protocol")
}
