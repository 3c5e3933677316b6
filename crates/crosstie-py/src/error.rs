//! What Python is told when something goes wrong.

use std::any::Any;

use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

create_exception!(
    crosstie,
    CrosstieError,
    PyValueError,
    "What cannot be done, and why: the file, row, column or key, what was found there, and what was expected."
);

/// An error of the library, as the binary tells it.
pub fn raised(error: crosstie::Error) -> PyErr {
    CrosstieError::new_err(error.to_string())
}

/// A mistake of the library's own: no fault of what was asked, and no reason to end
/// the interpreter.
pub fn panicked(panic: &(dyn Any + Send)) -> PyErr {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    PyRuntimeError::new_err(format!("crosstie has failed, which is a mistake of its own: {}", said.unwrap_or("?")))
}
