//! What a network says of labelled rows, and what happened on them.

use crate::batch::Batch;

/// The logits of some rows with what happened on them; the features are gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// `rows × heads`, in the order of the rows.
    logits: Vec<f32>,
    outcome: Batch,
}

/// One row.
pub(crate) struct Seen<'a> {
    pub logits: &'a [f32],
    pub labels: &'a [f32],
    pub weight: f64,
    pub scenario: u32,
}

impl Evidence {
    /// Of the logits of a batch, head by head in each row.
    ///
    /// # Panics
    /// If there are not as many logits in every row.
    pub fn new(logits: Vec<f32>, batch: &Batch) -> Evidence {
        assert!(logits.len().is_multiple_of(batch.rows.max(1)), "every row has as many logits");
        let Batch { rows, labels, weights, scenarios, groups, .. } = batch;
        let (labels, weights) = (labels.clone(), weights.clone());
        let (scenarios, groups) = (scenarios.clone(), groups.clone());
        let outcome = Batch { rows: *rows, labels, weights, scenarios, groups, ..Batch::default() };
        Evidence { logits, outcome }
    }

    /// The rows without their features.
    pub fn outcome(&self) -> &Batch {
        &self.outcome
    }

    /// Logits row by row.
    pub fn logits(&self) -> impl Iterator<Item = &[f32]> {
        self.logits.chunks_exact((self.logits.len() / self.outcome.rows.max(1)).max(1))
    }

    /// All labelled rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Seen<'_>> {
        let Batch { rows, labels, weights, scenarios, .. } = &self.outcome;
        let labels = labels.chunks_exact((labels.len() / rows.max(&1)).max(1));
        let others = labels.zip(scenarios).enumerate();
        self.logits().zip(others).map(|(logits, (row, (labels, scenario)))| Seen {
            logits,
            labels,
            weight: weights.get(row).map_or(1.0, |weight| f64::from(*weight)),
            scenario: *scenario,
        })
    }
}
