//! The native part of the Python package `crosstie`: the module `crosstie._native`.
//!
//! It turns Python's values into calls of the library, and what these give into
//! Python's values; what people type is written in Python, in `python/crosstie`. Long
//! calls run without the interpreter's lock, on threads of this process's own pool
//! (`process.rs`), and every error of the library is a `CrosstieError`.

mod arrays;
mod data;
mod error;
mod event;
mod inspect;
mod keys;
mod model;
mod process;
mod propose;
mod standing;
mod stream;
mod training;

use pyo3::prelude::*;

/// The native part of the package `crosstie`.
#[pymodule(name = "_native", gil_used = true)]
mod native {
    #[pymodule_export]
    use crate::data::Data;
    #[pymodule_export]
    use crate::error::CrosstieError;
    #[pymodule_export]
    use crate::keys::{keys, schema_columns};
    #[pymodule_export]
    use crate::model::Model;
    #[pymodule_export]
    use crate::propose::Cut;
    #[pymodule_export]
    use crate::standing::{Standing, compare};
    #[pymodule_export]
    use crate::stream::Stream;
    #[pymodule_export]
    use crate::training::{Training, train};
    #[pymodule_export]
    use crate::version;
}

/// The version of the library.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
