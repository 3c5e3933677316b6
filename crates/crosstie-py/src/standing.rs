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
pub fn compare(models: Vec<Py<Standing>>) -> PyResult<String> {
    let mut found = Vec::new();
    for (place, model) in models.iter().enumerate() {
        let standing = &model.get().0;
        found.push(if place == 0 {
            standing.figures()
        } else {
            standing.against(&models[0].get().0).map_err(unlike)?
        });
    }
    standing::test(&mut found);
    Ok(json!(found).to_string())
}

fn unlike(mismatch: standing::Mismatch) -> PyErr {
    CrosstieError::new_err(format!("the models read the rows otherwise: {mismatch}"))
}
