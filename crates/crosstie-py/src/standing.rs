//! Models side by side on the same rows.

use crosstie::metric::Meaning;
use crosstie::standing;
use pyo3::prelude::*;
use serde_json::json;

use crate::data::Data;
use crate::error::{CrosstieError, raised};
use crate::model::Model;
use crate::process::with_pool;

/// How a model stands on labelled rows, from one training or several.
#[pyclass(frozen, module = "crosstie._native")]
pub struct Standing(standing::Standing);

#[pymethods]
impl Standing {
    /// Judges trainings of one model, each by its own reading of the same rows.
    #[new]
    fn new(
        py: Python<'_>,
        trainings: Vec<(Py<Model>, Py<Data>)>,
        given_parent: bool,
        threads: usize,
    ) -> PyResult<Standing> {
        let meaning = if given_parent { Meaning::GivenParent } else { Meaning::FromImpression };
        let mut found: Option<standing::Standing> = None;
        for (model, data) in &trainings {
            let of_training = with_pool(py, threads, |_| {
                let evaluation = model.get().scorer().score_labelled(&data.get().source).map_err(raised)?;
                Ok(standing::Standing::of(&evaluation, meaning))
            })?;
            match &mut found {
                Some(found) => found.add_training(of_training).map_err(unlike)?,
                None => found = Some(of_training),
            }
        }
        found.map(Standing).ok_or_else(|| CrosstieError::new_err("a model to compare has no training"))
    }
}

/// The figures of models beside those of the first: JSON, a list in their order, as
/// `crosstie compare --json` has `tasks`.
#[pyfunction]
pub fn compare(py: Python<'_>, models: Vec<Py<Standing>>, threads: usize) -> PyResult<String> {
    with_pool(py, threads, |_| {
        let Some((first, others)) = models.split_first() else { return Ok("[]".into()) };
        let first = &first.get().0;
        let others = others.iter().map(|model| model.get().0.against(first));
        let mut found =
            [Ok(first.figures())].into_iter().chain(others).collect::<Result<Vec<_>, _>>().map_err(unlike)?;
        standing::test(&mut found);
        Ok(json!(found).to_string())
    })
}

fn unlike(mismatch: standing::Mismatch) -> PyErr {
    CrosstieError::new_err(format!("the models read the rows otherwise: {mismatch}"))
}
