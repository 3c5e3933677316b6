//! crosstie: multi-task, multi-scenario models of what people do after they
//! see something.
//!
//! Data flows one way: schema → data → feature → batch → model (embedding →
//! graph) → objective → optim → train → metric → artifact.

#![deny(unsafe_code, clippy::undocumented_unsafe_blocks)]

pub mod arrow;
pub mod artifact;
pub mod balance;
pub mod batch;
pub mod comparison;
pub mod compute;
pub mod config;
pub mod data;
pub mod durable;
pub mod embedding;
pub mod error;
pub mod feature;
pub mod layer;
pub mod learned;
pub mod metric;
pub mod model;
pub mod objective;
pub mod optim;
pub mod random;
pub mod schema;
pub mod scorer;
pub mod sealed;
pub mod spec;
pub mod spelling;
pub mod tensors;
pub mod train;

pub use error::{Error, Result};
