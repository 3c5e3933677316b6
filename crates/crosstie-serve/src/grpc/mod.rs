//! The Open Inference Protocol, version 2, over gRPC.

mod codec;
#[allow(missing_docs, clippy::all, clippy::unwrap_used)]
#[rustfmt::skip]
pub mod generated;
