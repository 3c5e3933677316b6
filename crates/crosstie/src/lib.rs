//! crosstie: multi-task, multi-scenario models of what people do after they
//! see something.
//!
//! Data flows one way: schema → data → feature → batch → model (embedding →
//! graph) → objective → optim → train → metric → artifact.

#![deny(unsafe_code)]

pub mod batch;
pub mod data;
pub mod error;
pub mod feature;
pub mod metric;
pub mod random;
pub mod schema;
pub mod spelling;

pub use error::{Error, Result};
