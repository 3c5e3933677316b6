//! The command line, driven end to end in temporary directories.

// A helper of a test may panic as the test may.
#![allow(clippy::unwrap_used)]

mod inspect;
mod place;
mod score;
mod train;
mod usage;
