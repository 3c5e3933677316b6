//! Where rows come from.

use std::sync::Arc;

use crosstie::data::Source;
use pyo3::prelude::*;
use tempfile::TempDir;

use crate::error::raised;
use crate::stream;

/// Rows that can be read more than once: files, or a table in memory.
#[pyclass(frozen, module = "crosstie._native")]
pub struct Data {
    pub source: Source,
    of_files: bool,
    /// Where the files are, if they go with these rows.
    #[expect(dead_code, reason = "held, so that it is there as long as they are")]
    directory: Option<Arc<TempDir>>,
}

impl From<Source> for Data {
    fn from(source: Source) -> Data {
        Data { source, of_files: false, directory: None }
    }
}

impl Data {
    /// Rows of files in a directory that is removed with the last of them.
    pub fn within(source: Source, directory: &Arc<TempDir>) -> Data {
        Data { source, of_files: true, directory: Some(Arc::clone(directory)) }
    }

    /// Whether the rows are read from files.
    pub fn is_of_files(&self) -> bool {
        self.of_files
    }
}

#[pymethods]
impl Data {
    /// Files and globs, read as the binary reads them.
    #[staticmethod]
    fn files(py: Python<'_>, paths: Vec<String>) -> PyResult<Data> {
        let source = py.detach(|| Source::open(&paths)).map_err(raised)?;
        Ok(Data { source, of_files: true, directory: None })
    }

    /// Anything with `__arrow_c_stream__`, held as it is. `name` is what errors call it.
    #[staticmethod]
    fn table(name: &str, stream: &Bound<'_, PyAny>) -> PyResult<Data> {
        let source = Source::from_batches(name, stream::batches(name, stream)?).map_err(raised)?;
        Ok(source.into())
    }

    /// Names of the columns; of several files those of the first.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.source.columns().to_vec()
    }

    /// Number of rows, where that is known without reading them.
    #[getter]
    fn rows(&self) -> Option<u64> {
        self.source.total_rows()
    }
}
