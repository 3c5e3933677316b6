//! Models: one file per paper. A model declares its network in terms of
//! [layers](crate::layer) over the embedded fields and returns one logit per
//! head; what the heads mean is the [objective](crate::objective)'s business.
//!
//! "methods N" is section N of docs/methods.md.

mod adatt;
mod aem2tl;
mod aitm;
mod calibration;
mod cgc;
mod declare;
pub(crate) mod diagnostic;
mod ektm;
mod esm2;
mod esmm;
mod inputs;
mod mmoe;
mod ncs4cvr;
mod network;
mod ple;
mod registry;
mod shared_bottom;
mod single_task;
mod stem;
mod touched;
#[cfg(test)]
mod trial;

pub use adatt::Adatt;
pub use aem2tl::{Aem2tl, Scenarios};
pub use aitm::Aitm;
pub use calibration::{Calibration, Structure};
pub use cgc::Cgc;
pub use declare::{About, Declared, Lottery, Model, Needs};
pub use diagnostic::{Diagnosis, Diagnostic};
pub use ektm::{Ektm, Enhanced, EnhancedLoss, Router, SharedNetwork, Similarity, TableSharing, Transfer, Transmitter};
pub use esm2::Esm2;
pub use esmm::Esmm;
pub use inputs::{Fields, Input, Inputs, LossTerm, Masks, Shared};
pub use mmoe::Mmoe;
pub use ncs4cvr::Ncs4cvr;
pub use network::Network;
pub use ple::Ple;
pub use registry::{MODELS, ModelConfig};
pub use shared_bottom::SharedBottom;
pub use single_task::SingleTask;
pub use stem::Stem;
pub(crate) use touched::{Touched, touched};
