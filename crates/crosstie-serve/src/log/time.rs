//! Moments as the log writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use crosstie::arrow::datatypes::TimeUnit;
use crosstie::data::Moment;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds from the beginning of 1970, in UTC. As text RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// By the clock of this machine.
    pub fn now() -> Time {
        Time::of(SystemTime::now())
    }

    /// A moment of the system's clock; from before 1970 the beginning of 1970.
    pub fn of(moment: SystemTime) -> Time {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Reads RFC 3339, such as `2026-11-27T08:00:00.250Z` or `2026-11-27 09:00:00+01:00`; a
    /// day alone is its beginning.
    pub fn parse(text: &str) -> Option<Time> {
        let Moment { seconds, nanoseconds } = Moment::parse(text)?;
        seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanoseconds / 1_000)).map(Time)
    }

    /// Seconds from the beginning of 1970, of years that have four digits.
    pub fn from_seconds(seconds: f64) -> Option<Time> {
        let micros = (seconds * 1e6).round();
        // The last second of the year 9999 is 253,402,300,799.
        ((0.0..253_402_300_800e6).contains(&micros)).then_some(Time(micros as i64))
    }

    /// Later by so many microseconds.
    pub fn after(self, micros: i64) -> Time {
        Time(self.0.saturating_add(micros))
    }

    /// The day as `2026-11-27`.
    pub fn day(self) -> String {
        let mut text = self.to_string();
        text.truncate(text.find('T').unwrap_or(text.len()));
        text
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        Moment::new(self.0, TimeUnit::Microsecond).write(&mut text);
        write!(formatter, "{text}Z")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Time::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no time as in RFC 3339")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_back_from_its_text() {
        for micros in [0, 1, 999_999, 1_000_000, 1_795_762_800_250_000, -1] {
            assert_eq!(Time::parse(&Time(micros).to_string()), Some(Time(micros)), "{}", Time(micros));
        }
        assert_eq!(Time(1_795_762_800_250_000).to_string(), "2026-11-27T07:00:00.250Z");
        assert_eq!(Time::parse("2026-11-27T08:00:00.25+01:00"), Some(Time(1_795_762_800_250_000)));
        assert_eq!(Time(1_795_762_800_250_000).day(), "2026-11-27");
    }

    #[test]
    fn seconds_outside_the_calendar_are_no_time() {
        assert_eq!(Time::from_seconds(1_795_762_800.25), Some(Time(1_795_762_800_250_000)));
        for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e12, 1e300] {
            assert_eq!(Time::from_seconds(wrong), None, "{wrong}");
        }
    }
}
