//! crosstie: multi-task, multi-scenario models of what people do after they
//! see something.
//!
//! Data flows one way: schema → data → feature → batch → model (embedding →
//! graph) → objective → optim → train → metric → artifact.
//!
//! ```
//! use std::sync::Arc;
//!
//! use crosstie::arrow::array::{ArrayRef, Int8Array, RecordBatch, StringArray};
//! use crosstie::config::Config;
//! use crosstie::data::{Rows, Source};
//! use crosstie::model::ModelConfig;
//! use crosstie::schema::Schema;
//! use crosstie::train::{Next, train};
//! use crosstie::{Result, artifact};
//!
//! # fn main() -> Result<()> {
//! // The contract: what is known of an impression, and what may follow from it.
//! let schema = Schema::parse(r#"
//!     [[task]]
//!     name = "click"
//!     [[task]]
//!     name = "buy"
//!     after = "click"
//!     [[field]]
//!     name = "user"
//!     kind = "categorical"
//! "#)?;
//!
//! // Data: in memory, or `Source::open(&["day-*.parquet"])`.
//! let user = StringArray::from_iter_values((0..600).map(|row| format!("u{}", row % 20)));
//! let click = Int8Array::from_iter_values((0..600).map(|row| i8::from(row % 20 < 8)));
//! let buy = Int8Array::from_iter_values((0..600).map(|row| i8::from(row % 20 < 4)));
//! let columns: [(&str, ArrayRef); 3] = [("user", Arc::new(user)), ("click", Arc::new(click)), ("buy", Arc::new(buy))];
//! let log = RecordBatch::try_from_iter(columns).expect("columns of one length");
//! let source = Source::from_batches("log", vec![log.clone()])?;
//!
//! // A model, and how it is trained; every setting has a default.
//! let mut config = Config::new(ModelConfig::named("esmm").expect("a model of this name"));
//! config.train.epochs = 3;
//! let trained = train(&config, &schema, &source, &source, &mut |_| Next::GoOn)?;
//! assert!(trained.report.figure("click.auc")?.is_some_and(|auc| auc > 0.9));
//!
//! // An artifact holds all that scoring needs.
//! let directory = std::env::temp_dir().join(format!("crosstie-{}", std::process::id()));
//! artifact::save(&trained.scorer, &source, &directory)?;
//! let scorer = artifact::load(&directory)?;
//! let scores = scorer.score_rows(&mut scorer.workspace(600), &Rows::new(log, "log"))?;
//! let buys: Vec<f64> = scores.from_impression(1).collect();
//! assert!(buys[0] > buys[19]);
//! # std::fs::remove_dir_all(&directory).map_err(crosstie::Error::io(&directory))
//! # }
//! ```
//!
//! [`train::train_from`] keeps checkpoints and goes on from them; [`train::Fit`] is
//! the loop on features learned before; [`train::Trainer`] takes batches from
//! anywhere; [`learned::Learned`] is a network with its numbers, and the passes over
//! a batch.

#![deny(unsafe_code, clippy::undocumented_unsafe_blocks)]

pub mod arrow;
pub mod artifact;
pub mod balance;
pub mod batch;
pub mod calibration;
pub mod comparison;
pub mod compute;
pub mod config;
pub mod data;
pub mod durable;
pub mod embedding;
pub mod error;
pub mod experiment;
pub mod export;
pub mod feature;
pub mod layer;
pub mod learned;
pub mod metric;
pub mod model;
pub mod objective;
pub mod optim;
pub mod page;
pub mod proposal;
pub mod random;
mod range;
pub mod reference;
pub mod report;
pub mod schema;
pub mod scorer;
pub mod sealed;
pub mod spec;
pub mod spelling;
pub mod standing;
pub mod tensors;
mod text;
pub mod train;

pub use error::{Error, Result};
