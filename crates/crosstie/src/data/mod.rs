//! Reading and writing tables: Parquet, CSV and Arrow IPC, as streams of
//! Arrow record batches.
//!
//! A [`Source`] is one or more files, cut into [`Block`]s that are read one
//! after the other or in any shuffled order. What it yields are [`Rows`], and
//! each [`Column`] of them gives text, numbers or labels whatever its type is,
//! so that the same table means the same in every format.
//!
//! ```
//! use crosstie::data::Source;
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("log.csv");
//! std::fs::write(&path, "user,price,click\nann,2.5,1\nbob,,0\n")?;
//!
//! let source = Source::open(&[path.to_str().unwrap()])?;
//! for rows in source.rows(&["price", "click"], 1024) {
//!     let rows = rows?;
//!     assert_eq!(rows.column("price")?.numbers()?, [Some(2.5), None]);
//!     assert_eq!(rows.column("click")?.labels()?, [1.0, 0.0]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ahead;
mod column;
mod csv;
mod file;
mod fingerprint;
mod format;
mod ipc;
mod memory;
mod parquet;
mod reading;
pub mod recipe;
mod rows;
mod sample;
mod source;
mod split;
pub mod summary;
pub mod survey;
pub mod synth;
mod text;
mod time;
mod write;

pub use ahead::{Pieces, WAITING, ahead, worked_ahead};
pub use column::Column;
pub use format::{is_table, panics_are_errors};
pub use reading::{Cells, Reading, elements};
pub use rows::{InOrder, Rows};
pub use sample::TextColumn;
pub use source::{Block, Source};
pub use split::{FILES, Split, Splits};
pub(crate) use text::number_of_single;
pub use time::{Moment, day};
pub use write::Writer;

#[cfg(test)]
mod tests;
