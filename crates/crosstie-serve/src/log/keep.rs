//! How much of a log is kept.

use std::collections::VecDeque;
use std::time::Duration;

use super::settings::LogSettings;
use super::time::Time;

/// A segment that no more is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rolled {
    pub number: u64,
    pub bytes: u64,
    /// When it was written to last.
    pub last: Time,
}

/// What may be removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// In microseconds.
    age: Option<i64>,
    bytes: Option<u64>,
    /// What is younger is never removed: what came of it is not known yet.
    window: i64,
}

impl Keep {
    pub fn of(settings: &LogSettings, window: Duration) -> Keep {
        let micros = |hours: f64| (hours * 3.6e9) as i64;
        Keep {
            age: (settings.keep_hours > 0.0).then(|| micros(settings.keep_hours)),
            bytes: (settings.keep_bytes > 0).then_some(settings.keep_bytes),
            window: i64::try_from(window.as_micros()).unwrap_or(i64::MAX),
        }
    }

    /// How many of the oldest segments are kept no longer, `now`, beside so many bytes of
    /// the one that is being written. No segment goes before an older one: feedback stays
    /// as long as what it is about.
    pub fn outdated(&self, rolled: &VecDeque<Rolled>, open: u64, now: Time) -> usize {
        if self.age.is_none() && self.bytes.is_none() {
            return 0;
        }
        let mut bytes = open + rolled.iter().map(|segment| segment.bytes).sum::<u64>();
        let goes = |segment: &&Rolled| {
            let age = now.0.saturating_sub(segment.last.0);
            let beyond = self.age.is_some_and(|most| age > most) || self.bytes.is_some_and(|most| bytes > most);
            bytes -= segment.bytes;
            beyond && age > self.window
        };
        rolled.iter().take_while(goes).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of 100 bytes that were written to last so many hours before [`NOW`].
    fn rolled(hours: &[i64]) -> VecDeque<Rolled> {
        let segment = |(number, hours): (usize, &i64)| Rolled {
            number: number as u64 + 1,
            bytes: 100,
            last: Time(NOW.0 - hours * 3_600_000_000),
        };
        hours.iter().enumerate().map(segment).collect()
    }

    const NOW: Time = Time(1_795_762_800_000_000);

    fn outdated(keep_hours: f64, keep_bytes: u64, hours: &[i64]) -> usize {
        let settings = LogSettings { keep_hours, keep_bytes, ..LogSettings::default() };
        Keep::of(&settings, Duration::from_secs(24 * 3600)).outdated(&rolled(hours), 50, NOW)
    }

    #[test]
    fn nothing_is_removed_unless_somebody_says_so() {
        assert_eq!(outdated(0.0, 0, &[1_000_000, 50, 25]), 0);
    }

    #[test]
    fn what_is_older_than_is_kept_goes() {
        assert_eq!(outdated(72.0, 0, &[80, 73, 72, 30]), 2);
        assert_eq!(outdated(72.0, 0, &[60, 30]), 0);
    }

    #[test]
    fn the_oldest_go_until_the_rest_is_small_enough() {
        // With 50 bytes that are being written.
        assert_eq!(outdated(0.0, 450, &[90, 80, 70, 60]), 0);
        assert_eq!(outdated(0.0, 449, &[90, 80, 70, 60]), 1);
        assert_eq!(outdated(0.0, 250, &[90, 80, 70, 60]), 2);
        assert_eq!(outdated(0.0, 1, &[90, 80, 70, 60]), 4);
    }

    #[test]
    fn what_is_younger_than_the_window_stays_however_large_it_is() {
        assert_eq!(outdated(0.0, 1, &[90, 25, 24, 1]), 2);
    }

    #[test]
    fn none_goes_before_an_older_one() {
        // A clock that was set back, or a file that somebody touched.
        assert_eq!(outdated(72.0, 0, &[30, 100, 90]), 0);
    }
}
