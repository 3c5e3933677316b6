//! The parts of a request that take time.

use std::time::Duration;

/// How long each part of a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// Until its turn came.
    pub queue: Duration,
    /// From the request's bytes to ids and numbers.
    pub decode: Duration,
    /// In the network.
    pub compute: Duration,
    /// From scores to the answer.
    pub encode: Duration,
}

/// A part of a request that takes time on a compute thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// See [`Stages::decode`].
    Decode,
    /// See [`Stages::compute`].
    Compute,
    /// See [`Stages::encode`].
    Encode,
}
