//! `crosstie serve`: trained models behind HTTP and gRPC.
//!
//! A request goes one way: a connection ([`edge`]) brings it, a protocol
//! ([`http`], [`grpc`]) reads it and asks [`State`](state::State)
//! for an answer; that looks the model's [`Version`](repository::Version) up, holds it, and
//! gives the work a [`Turn`](engine::Turn) on one compute thread, where it is taken apart
//! ([`tensor`], [`rank`]), encoded, scored, and turned into bytes.
//! [`Observe`](observe::Observe)rs are told, [`metrics`] among them. What goes wrong is a
//! [`Failure`](failure::Failure), which has a code in every protocol.
//!
//! ```no_run
//! use crosstie_serve::server::Server;
//! use crosstie_serve::settings::Settings;
//!
//! let server = Server::start(Settings { artifacts: vec!["runs/demo/mmoe".into()], ..Settings::default() })?;
//! println!("http://{}/v2", server.http());
//! server.stop();
//! # Ok::<(), crosstie_serve::server::StartError>(())
//! ```

#![forbid(unsafe_code)]

pub mod clock;
pub mod edge;
pub mod engine;
pub mod experiments;
pub mod failure;
pub mod formula;
pub mod grpc;
pub mod http;
pub mod log;
pub mod market;
pub mod metrics;
mod object;
pub mod observe;
pub mod openapi;
pub mod rank;
pub mod repository;
pub mod server;
pub mod settings;
pub mod stages;
pub mod state;
pub mod statistics;
pub mod tensor;
