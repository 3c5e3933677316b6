//! One file per command: its arguments, its help, and what it does.

pub mod abtest;
pub mod compare;
pub mod demo;
pub mod evaluate;
pub mod experiment;
pub mod export;
pub mod init;
pub mod inspect;
pub mod join;
pub mod models;
pub mod predict;
pub mod prepare;
pub mod reference;
pub mod report;
pub mod serve;
pub mod simulate;
pub mod synth;
pub mod train;
