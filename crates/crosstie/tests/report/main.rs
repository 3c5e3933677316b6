//! Reports: the numbers of every figure, and the page that shows them.

// A helper of a test may panic as the test may.
#![allow(clippy::unwrap_used)]

mod curves;
mod drawn;
mod gathered;
mod markup;
mod page;
mod screenshot;
