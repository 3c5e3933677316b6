//! The server, asked over sockets as others will ask it.

// A helper of a test may panic as the test may.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod about;
mod ending;
mod fault;
mod infer;
mod overload;
mod swap;
