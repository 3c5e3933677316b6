//! What `metrics.json` holds.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::calibration::{
    DECILES, Decile, ECE_BINS, Level, log_loss_of, normalized_entropy_of, pcoc_of, sorted_ece, sorted_reliability,
};
use super::rank::{sorted_auc, sorted_auc_error, sorted_grouped_auc};
use super::row::Row;

/// The figures of one task on one set of rows: a leaf of `metrics.json`.
/// `None`, null in JSON, is "not defined on these rows"; all but the counts
/// are so where a model gave one of the rows no prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Rows that count: neither their label is missing nor their weight 0.
    pub rows: u64,
    /// Those of them where the action happened.
    pub positives: u64,
    /// See [`super::auc`].
    pub auc: Option<f64>,
    /// Its standard error by the labels; see [`super::auc_error`].
    #[serde(default)]
    pub auc_error: Option<f64>,
    /// See [`super::grouped_auc`]; `None` without a group field.
    pub gauc: Option<f64>,
    /// Groups that count for `gauc`.
    pub gauc_groups: u64,
    /// Groups left out of `gauc`, having one class only.
    pub gauc_skipped: u64,
    /// Rows left out of `gauc`, having no group.
    #[serde(default)]
    pub gauc_missing: u64,
    /// See [`super::log_loss`].
    pub logloss: Option<f64>,
    /// See [`super::normalized_entropy`].
    pub ne: Option<f64>,
    /// See [`super::pcoc`].
    pub pcoc: Option<f64>,
    /// See [`super::ece`], with [`ECE_BINS`] bins.
    pub ece: Option<f64>,
    /// Of a calibrated model: what its network says, before it is calibrated. Absent
    /// from the figures of scenarios and from those that early stopping looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncalibrated: Option<Level>,
    /// Prediction and outcome by decile of the predictions, the lowest first. Absent
    /// from the figures of scenarios.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<[Decile; DECILES]>,
}

impl Figures {
    /// Figures of rows sorted by score. Leaves them sorted by group.
    pub(super) fn of(rows: &mut [Row], grouped: bool) -> Figures {
        let positives = rows.iter().filter(|row| row.label).count() as u64;
        let counts = Figures { rows: rows.len() as u64, positives, ..Figures::default() };
        if !rows.iter().all(Row::is_sound) {
            return counts;
        }
        let auc = sorted_auc(rows);
        let figures = Figures {
            auc,
            auc_error: auc.and_then(|auc| sorted_auc_error(rows, auc)),
            logloss: log_loss_of(rows),
            ne: normalized_entropy_of(rows),
            pcoc: pcoc_of(rows),
            ece: sorted_ece(rows, ECE_BINS),
            reliability: sorted_reliability(rows),
            ..counts
        };
        if !grouped {
            return figures;
        }
        // A stable sort: within a group the order by score remains.
        rows.sort_by_key(|row| row.group);
        let grouped = sorted_grouped_auc(rows);
        Figures {
            gauc: grouped.auc,
            gauc_groups: grouped.groups as u64,
            gauc_skipped: grouped.skipped as u64,
            gauc_missing: grouped.missing as u64,
            ..figures
        }
    }
}

/// What a prediction of a task speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// p(action | parent action), on rows where the parent action happened.
    GivenParent,
    /// p(action and all its ancestors | impression), on all impressions; for
    /// a direct action p(action | impression), by whatever path.
    FromImpression,
}

/// Figures of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meanings {
    /// p(action | parent action) on the task's own sample space.
    pub given_parent: Figures,
    /// p(action | impression) on all impressions.
    pub from_impression: Figures,
}

impl Meanings {
    /// The figures of one meaning.
    pub fn get(&self, meaning: Meaning) -> &Figures {
        match meaning {
            Meaning::GivenParent => &self.given_parent,
            Meaning::FromImpression => &self.from_impression,
        }
    }
}

/// Figures of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// All its rows.
    pub rows: u64,
    /// Figures by task, in the schema's order.
    pub tasks: IndexMap<String, Meanings>,
}

/// Everything that one evaluation found; as JSON it is `metrics.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// All rows, with or without labels.
    pub rows: u64,
    /// Figures by task, in the schema's order.
    pub tasks: IndexMap<String, Meanings>,
    /// The same by scenario; empty where there are not at least two.
    pub scenarios: IndexMap<String, Scenario>,
}

impl Report {
    /// The same without [`Figures::reliability`], as it stands in `metrics.jsonl`.
    pub fn without_reliability(mut self) -> Report {
        for meanings in self.tasks.values_mut() {
            (meanings.given_parent.reliability, meanings.from_impression.reliability) = (None, None);
        }
        self
    }
}
