//! What is compared.

use serde::{Deserialize, Serialize};

/// What about a field, a task or a scenario is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Share of an embedded field's values that training did not know, or too
    /// rarely.
    Unknown,
    /// Share of the rows without a value of a field.
    Missing,
    /// Mean of a field's numbers, in standard deviations from that of training.
    Mean,
    /// Share of a field's numbers beyond all those of training.
    Beyond,
    /// Mean of a rate field's rates of a task, as the model sees them: log-odds,
    /// standardised.
    Rate,
    /// Mean of a rate field's numbers of rows, as the model sees them.
    Count,
    /// Share of positive labels among the rows where the parent's action happened.
    GivenParent,
    /// Share of positive labels among all rows.
    FromImpression,
    /// Share of the rows that are of a scenario.
    Scenario,
}

/// A thing that is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quantity {
    /// What about it.
    pub kind: Kind,
    /// The field, task or scenario.
    pub name: String,
    /// Of which task, for a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

impl Kind {
    /// Whether it is a share, from 0 to 1, and not a mean.
    pub fn is_share(self) -> bool {
        !matches!(self, Kind::Mean | Kind::Rate | Kind::Count)
    }
}

impl Quantity {
    pub(super) fn new(kind: Kind, name: &str) -> Quantity {
        Quantity { kind, name: name.into(), task: None }
    }

    /// What about it is compared, in a few words.
    pub fn what(&self) -> String {
        match self.kind {
            Kind::Unknown => "unknown".into(),
            Kind::Missing => "missing".into(),
            Kind::Mean => "mean".into(),
            Kind::Beyond => "beyond".into(),
            Kind::Rate => format!("rate of {}", self.task.as_deref().unwrap_or_default()),
            Kind::Count => "count".into(),
            Kind::GivenParent => "given its parent".into(),
            Kind::FromImpression => "positive".into(),
            Kind::Scenario => "share of rows".into(),
        }
    }

    /// What it belongs to: of one field, task or of all scenarios the worst line is
    /// enough.
    pub(super) fn subject(&self) -> (&'static str, &str) {
        match self.kind {
            Kind::GivenParent | Kind::FromImpression => ("task", &self.name),
            Kind::Scenario => ("scenario", ""),
            _ => ("field", &self.name),
        }
    }
}
