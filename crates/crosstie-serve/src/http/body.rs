//! Bodies of requests, within their limits.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::failure::Failure;
use crate::object;
use crate::observe::Protocol;
use crate::settings::{Settings, Timeouts};
use crate::state::State;

/// Lets a request in and reads its body; it is under way until the permit is dropped. The
/// observers are told of one that is refused or does not arrive; `model` is empty where only the
/// body says which is asked for.
///
/// # Errors
/// As of [`State::enter`] and [`read`].
pub async fn take_in(
    state: &State,
    (protocol, model): (Protocol, &str),
    headers: &HeaderMap,
    body: Body,
) -> Result<(OwnedSemaphorePermit, Bytes), Failure> {
    let taken = async {
        let permit = state.enter()?;
        Ok((permit, read(&state.settings, headers, body).await?))
    };
    taken.await.inspect_err(|failure| state.refused(protocol, model, failure))
}

/// Reads a body to its end, unpacked. Of one that is too large as much again is passed
/// over, so that its sender, who is still sending, comes to read the answer.
///
/// # Errors
/// [`Failure::TooLarge`], [`Failure::SlowBody`], and [`Failure::BadRequest`] for one that
/// breaks off or cannot be unpacked.
pub async fn read(settings: &Settings, headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    let limit = settings.limits.body_bytes;
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let room = told.and_then(|told| usize::try_from(told).ok()).unwrap_or(0).min(limit);
    let within = Timeouts::of(settings.timeouts.body_seconds);
    let reading = tokio::time::timeout(within, collect(body, limit, room));
    reading.await.unwrap_or(Err(Failure::SlowBody(within)))
}

async fn collect(mut body: Body, limit: usize, room: usize) -> Result<Bytes, Failure> {
    // What is told may never come: it is believed in part.
    let mut read = Vec::with_capacity(room.min(1 << 16));
    let mut bytes = 0usize;
    while let Some(frame) = body.frame().await {
        let broken = |error| Failure::request(format!("a body that cannot be read: {error}"), "a whole body");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        bytes = bytes.saturating_add(data.len());
        if bytes <= limit {
            read.extend_from_slice(&data);
        } else if bytes > limit.saturating_mul(2) {
            break;
        }
    }
    match bytes <= limit {
        true => Ok(read.into()),
        false => Err(Failure::TooLarge { what: "bytes in the body", limit, setting: "limits.body_bytes" }),
    }
}

/// A body as JSON; an empty one as an empty object.
///
/// # Errors
/// As of [`object::read`].
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    object::read(if body.is_empty() { b"{}" } else { body })
}
