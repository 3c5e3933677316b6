//! The numeric engine: a static graph over chunks of rows.
//!
//! A model declares a [`Graph`] once. Every node is a matrix with one row per
//! row of the batch and a fixed width. [`Graph::compile`] plans which steps run
//! forward and backward and which gradient buffers are overwritten or added
//! to; after that a step allocates nothing.
//!
//! A batch is cut into chunks of [`CHUNK`] rows. Forward and backward run
//! chunk by chunk on any number of threads; then the gradient of each
//! parameter is computed over all chunks in their order by one job. No sum
//! depends on which thread did what, so results are equal to the bit at any
//! number of threads.
//!
//! What is not here: embedding tables (a graph's sources are filled by the
//! caller), labels as such (they are sources too), files, optimizers.

#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
mod amx;
pub mod check;
mod graph;
pub mod kernel;
mod matmul;
pub mod op;
mod parameters;
mod workspace;

pub use graph::{Graph, Init, Node, Parameter, ParameterId, Program};
pub use matmul::{Matrix, MatrixMut, Products, Right, by_vectors, product};
pub use op::Op;
pub use parameters::Parameters;
pub use workspace::{CHUNK, Fill, Mode, NotFinite, Workspace};
