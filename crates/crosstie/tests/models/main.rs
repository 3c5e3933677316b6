//! Every model against values of an independent script, of its authors' code
//! where they have published any, against finite differences, and against its
//! own promises.
//!
//! To add a model: a line in [`trial::SMALL`], and a case in
//! tests/golden/models/make.py with its name in [`golden::CASES`].

// A helper of a test may panic as the test may.
#![allow(clippy::unwrap_used)]

mod balance;
mod calibration;
mod forests;
mod gating;
mod golden;
mod gradients;
mod kinship;
mod masks;
mod properties;
mod scenarios;
mod trial;
mod triplet;
