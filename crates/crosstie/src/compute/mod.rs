//! The numeric engine: a static graph over chunks of rows.
//!
//! A model declares a [`Graph`] once. Every node is a matrix with one row per
//! row of the batch and a fixed width. [`Graph::compile`] plans which steps run
//! forward and backward and which gradient buffers are overwritten or added
//! to. A [`Workspace`] holds the buffers, and grows with the largest batch: no
//! later pass asks for memory for them. (Made anew are lists of a few words each, such
//! as an op's parameters, and the rows of a chunk that have a gradient where few have.)
//!
//! A batch is cut into chunks of [`CHUNK`] rows, or of fewer where threads would have none.
//! Forward and backward run chunk by chunk, on the calling thread or on a pool ([`Threads`]);
//! then the gradient of each parameter is computed over all chunks in their order, one job per
//! tile of a matrix. No sum depends on which thread did what; where one depends on where a chunk
//! ends, all chunks have [`CHUNK`] rows. So results are equal to the bit at any number of threads.
//!
//! What is not here: embedding tables (a graph's sources are filled by the
//! caller), labels as such (they are sources too), files, optimizers.

#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
mod amx;
mod buffer;
pub mod check;
mod graph;
pub mod kernel;
mod line;
mod matmul;
mod matrix;
mod memory;
mod node;
pub mod op;
mod parameters;
mod pass;
pub mod portable;
mod program;
mod threads;
mod vectors;
mod weights;
mod workspace;

pub use buffer::{CHUNK, Mode};
pub use graph::Graph;
pub use line::Line;
pub use matmul::{Products, Right, by_vectors, laid_for_vectors, product, vector_kernel};
pub use matrix::{Matrix, MatrixMut};
pub use memory::{give_back, keep_large_apart, zeros};
pub use node::{Init, Node, Parameter, ParameterId};
pub use op::Op;
pub use parameters::Parameters;
pub use program::Program;
pub use threads::Threads;
pub use workspace::{Fill, NotFinite, Workspace, sum_by_parts};
