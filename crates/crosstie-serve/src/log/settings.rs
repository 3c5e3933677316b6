//! How events are logged.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The section `[log]` of the server's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Directory of the log; nothing is logged, and no feedback is taken, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Whether an answer waits until its exposure is on the disk.
    pub exposures: Exposures,
    /// A segment of the log that has so many bytes is followed by a new one.
    pub segment_bytes: usize,
    /// A segment that is so old is followed by a new one.
    pub segment_seconds: f64,
    /// Bytes that may wait to be written; above it events are refused.
    pub queue_bytes: usize,
    /// A segment with nothing younger in it is removed; 0 for never. Not less than
    /// `experiments.window_hours`, and longer than an experiment runs, which is judged by
    /// what is kept. The last segment stays.
    pub keep_hours: f64,
    /// Where the log has more bytes the oldest segments are removed, but for what is younger
    /// than `experiments.window_hours`; 0 for never.
    pub keep_bytes: u64,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings {
            directory: None,
            exposures: Exposures::BestEffort,
            segment_bytes: 64 << 20,
            segment_seconds: 3600.0,
            queue_bytes: 64 << 20,
            keep_hours: 0.0,
            keep_bytes: 0,
        }
    }
}

/// What an exposure that cannot be written means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exposures {
    /// The answer waits until its exposure is on the disk, and is refused where that fails.
    Required,
    /// The answer does not wait; exposures that cannot be written are counted as lost.
    #[default]
    BestEffort,
}
