//! The log's own counts, as they are when figures are asked for.

use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::log::Counts;

/// All of it 0 where there is no log.
#[derive(Clone, Debug, Default)]
pub(super) struct Logged {
    counters: [Counter; 8],
    bytes: Gauge,
    pending: Gauge,
    segments: Gauge,
}

const COUNTERS: [(&str, &str); 8] = [
    ("log_exposures", "Exposures on the disk"),
    ("log_exposures_lost", "Exposures that could not be written"),
    ("log_feedback", "Feedback events on the disk"),
    ("log_feedback_repeated", "Feedback events that were there before"),
    ("log_feedback_refused", "Feedback events that could not be written"),
    ("log_syncs", "How often the disk was waited for"),
    ("log_cut_bytes", "Bytes of a torn record that the start cut off"),
    ("log_segments_removed", "Segments that are not kept any longer"),
];

impl Logged {
    pub fn register(&self, of: &mut Registry) {
        for ((name, help), counter) in COUNTERS.into_iter().zip(&self.counters) {
            of.register(name, help, counter.clone());
        }
        of.register_with_unit("log", "Size of the log", Unit::Bytes, self.bytes.clone());
        of.register_with_unit("log_pending", "What waits to be written to the log", Unit::Bytes, self.pending.clone());
        of.register("log_segments", "Files of the log", self.segments.clone());
    }

    pub fn set(&self, counts: &Counts) {
        let Counts { exposures, exposures_lost, feedback, repeated, refused, syncs, cut_bytes, removed, .. } = *counts;
        let totals = [exposures, exposures_lost, feedback, repeated, refused, syncs, cut_bytes, removed];
        self.counters.iter().zip(totals).for_each(|(counter, total)| counter.inner().store(total, Relaxed));
        for (gauge, value) in
            [(&self.bytes, counts.bytes), (&self.pending, counts.pending_bytes), (&self.segments, counts.segments)]
        {
            gauge.set(value as i64);
        }
    }
}
