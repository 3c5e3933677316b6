//! The command line, driven end to end in temporary directories.

// A helper of a test may panic as the test may.
#![allow(clippy::unwrap_used)]

mod abtest;
mod beforehand;
mod calibration;
mod compare;
mod directory;
mod drift;
mod experiment;
mod export;
mod init;
mod inspect;
mod interrupted;
mod join;
#[path = "../../../crosstie/tests/report/markup.rs"]
mod markup;
mod place;
mod plain;
mod report;
mod resume;
mod score;
mod serve;
mod settings;
mod simulate;
mod suspect;
mod tables;
mod tensorboard;
mod train;
mod tutorial;
mod usage;
