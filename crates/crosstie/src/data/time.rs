//! Dates and times as text, and back: the calendar of ISO 8601, reckoned with
//! whole numbers, so that any moment that a file can hold has a text.

use std::fmt::Write;

use crate::arrow::datatypes::TimeUnit;

const DAY: i64 = 86_400;

/// A moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds from the beginning of 1970.
    pub seconds: i64,
    /// Nanoseconds above them, fewer than a second has.
    pub nanoseconds: u32,
}

/// How many of a unit are a second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

impl Moment {
    /// So many of a unit from the beginning of 1970.
    pub fn new(ticks: i64, unit: TimeUnit) -> Moment {
        let per_second = per_second(unit);
        let part = ticks.rem_euclid(per_second) * (1_000_000_000 / per_second);
        Moment { seconds: ticks.div_euclid(per_second), nanoseconds: part as u32 }
    }

    /// `2024-01-31T08:00:00`, with as many digits behind the second as the
    /// moment needs.
    pub fn write(self, into: &mut String) {
        write_day(into, self.seconds.div_euclid(DAY));
        into.push('T');
        write_clock(into, self.seconds.rem_euclid(DAY), self.nanoseconds);
    }

    /// As [`Moment::write`], but midnight is the day alone: a table of days
    /// that was stored as moments is a table of days.
    pub fn write_short(self, into: &mut String) {
        if self.nanoseconds == 0 && self.seconds.rem_euclid(DAY) == 0 {
            write_day(into, self.seconds.div_euclid(DAY));
        } else {
            self.write(into);
        }
    }

    /// Seconds from the beginning of 1970: the number nearest to them, so the same one in
    /// whatever unit they came, as `ms / 1000` is everywhere, and later if the moment is later.
    pub fn number(self) -> f64 {
        const SECOND: i128 = 1_000_000_000;
        /// Binary digits that are more than a number has.
        const MORE: u32 = 34;
        let ticks = i128::from(self.seconds) * SECOND + i128::from(self.nanoseconds);
        if ticks.unsigned_abs() < 1 << f64::MANTISSA_DIGITS {
            return ticks as f64 / SECOND as f64;
        }
        // As a number they would be rounded once more. So they are divided as whole numbers,
        // with a last digit that tells whether anything is left.
        let (whole, left) = ((ticks << MORE).div_euclid(SECOND), (ticks << MORE).rem_euclid(SECOND));
        (whole | i128::from(left != 0)) as f64 / (1u64 << MORE) as f64
    }

    /// Reads a day, alone or with a time of day behind `T` or a blank, and that with `Z`,
    /// `UTC` or an offset such as `+01:00`; without one it is taken for UTC.
    ///
    /// A day is `2024-01-31` and whatever else cannot be mistaken: year first
    /// (`2024/1/31`), by dots (`31.01.2024`), with the month's name (`31-Jan-2024`,
    /// `Jan 31, 2024`), or as a month, which is its first day (`2024-01`). Of
    /// `01/02/2024` nobody knows which is the month.
    pub fn parse(text: &str) -> Option<Moment> {
        let (date, clock) = apart(text);
        let Date::Clear(year, month, day) = Date::of(date)? else { return None };
        let seconds = day_of((year, month, day))?.checked_mul(DAY)?;
        let Some(clock) = clock else { return Some(Moment { seconds, nanoseconds: 0 }) };
        let (clock, offset) = split_offset(clock)?;
        let (of_day, nanoseconds) = parse_clock(clock)?;
        Some(Moment { seconds: seconds.checked_add(of_day - offset)?, nanoseconds })
    }

    /// Whether a text is a date for people, though perhaps none that
    /// [`Moment::parse`] reads.
    pub(super) fn is_meant(text: &str) -> bool {
        Date::of(apart(text).0).is_some()
    }
}

/// A date, and the time of day behind it: from the last `T` or blank before a colon.
fn apart(text: &str) -> (&str, Option<&str>) {
    let before = text.find(':').map_or("", |colon| &text[..colon]);
    match before.rfind(['T', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// A day as a text, such as `2024-01-31`, by its number from the beginning of 1970.
pub fn day(number: i64) -> String {
    let mut text = String::new();
    write_day(&mut text, number);
    text
}

/// The day's date. Years that have not four digits bear a sign.
pub(super) fn write_day(into: &mut String, day: i64) {
    let (year, month, day) = date(day);
    // Writing to a string cannot fail.
    let _ = match year {
        0..=9999 => write!(into, "{year:04}-{month:02}-{day:02}"),
        _ => write!(into, "{year:+05}-{month:02}-{day:02}"),
    };
}

/// A time of day such as `08:00:00` or `08:00:00.250`.
pub(super) fn write_clock(into: &mut String, seconds: i64, nanoseconds: u32) {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let _ = write!(into, "{hours:02}:{minutes:02}:{:02}", seconds % 60);
    let _ = match nanoseconds {
        0 => Ok(()),
        n if n % 1_000_000 == 0 => write!(into, ".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => write!(into, ".{:06}", n / 1_000),
        n => write!(into, ".{n:09}"),
    };
}

/// A length of time as ISO 8601 writes it, in seconds: `PT90S`, `-PT0.5S`.
pub(super) fn write_duration(into: &mut String, ticks: i64, unit: TimeUnit) {
    let sign = if ticks < 0 { "-" } else { "" };
    let (ticks, per_second) = (ticks.unsigned_abs(), per_second(unit) as u64);
    let (seconds, part) = (ticks / per_second, ticks % per_second);
    let _ = match part {
        _ if ticks == 0 => write!(into, "P0D"),
        0 => write!(into, "{sign}PT{seconds}S"),
        _ => {
            let digits = per_second.ilog10() as usize;
            let part = format!("{part:0digits$}");
            write!(into, "{sign}PT{seconds}.{}S", part.trim_end_matches('0'))
        }
    };
}

/// Year, month and day of a day, counted from the beginning of 1970.
///
/// Years begin in March here, so that the leap day is their last, and 400 of
/// them have 146,097 days.
fn date(day: i64) -> (i64, i64, i64) {
    let since = day + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let january = month >= 10;
    (era * 400 + year + i64::from(january), if january { month - 9 } else { month + 3 }, day)
}

/// The inverse of [`date`]; `None` for a day that no month has.
fn day_of((year, month, day): (i64, i64, i64)) -> Option<i64> {
    let from_march = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let (era, of_era) = (from_march.0.div_euclid(400), from_march.0.rem_euclid(400));
    let of_year = (153 * from_march.1 + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let found = era.checked_mul(146_097)?.checked_add(days - 719_468)?;
    (date(found) == (year, month, day)).then_some(found)
}

/// What a text means as a date.
enum Date {
    /// Year, month and day, perhaps of none that a calendar has.
    Clear(i64, i64, i64),
    /// A day of which it is not sure which number is what.
    Unclear,
}

impl Date {
    fn of(text: &str) -> Option<Date> {
        match text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            true => Date::of_name(text),
            false => Date::of_numbers(text),
        }
    }

    /// Of numbers with the same letter between them.
    fn of_numbers(text: &str) -> Option<Date> {
        let (sign, digits) = match text.strip_prefix(['+', '-']) {
            Some(rest) => (if text.starts_with('-') { -1 } else { 1 }, rest),
            None => (1, text),
        };
        let separator = digits.chars().find(|letter| !letter.is_ascii_digit())?;
        let mut parts = digits.split(separator);
        let (one, two, three) = (parts.next()?, parts.next()?, parts.next());
        if !matches!(separator, '-' | '/' | '.') || parts.next().is_some() {
            return None;
        }
        let (first, second, third) = (whole(one)?, whole(two)?, whole(three.unwrap_or("1"))?);
        let small = |text: &str| text.len() <= 2;
        match three {
            None if separator != '.' && (1900..2100).contains(&first) && two.len() == 2 => {
                Some(Date::Clear(first, second, 1)).filter(|_| sign == 1 && (1..=12).contains(&second))
            }
            Some(three) if one.len() >= 4 && small(two) && small(three) => {
                Some(Date::Clear(sign * first, second, third))
            }
            Some(three) if small(one) && small(two) && (three.len() == 4 || separator == '/' && small(three)) => {
                match separator {
                    '.' => Some(Date::Clear(third, second, first)),
                    _ => Some(Date::Unclear).filter(|_| first.min(second) <= 12 && first.max(second) <= 31),
                }
            }
            _ => None,
        }
    }

    /// Of a month's name and two numbers.
    fn of_name(text: &str) -> Option<Date> {
        let mut words = text.split(['-', '/', '.', ' ', ',']).filter(|word| !word.is_empty());
        let (one, two, three) = (words.next()?, words.next()?, words.next()?);
        let (month, day) = match (month(one), month(two)) {
            (Some(month), None) => (month, two),
            (None, Some(month)) => (month, one),
            _ => return None,
        };
        let (day, year) = if day.len() == 4 { (three, day) } else { (day, three) };
        let (of_day, of_year) = (whole(day)?, whole(year)?);
        match (day.len(), year.len()) {
            _ if words.next().is_some() => None,
            (1 | 2, 4) => Some(Date::Clear(of_year, month, of_day)),
            (1 | 2, 2) => Some(Date::Unclear),
            _ => None,
        }
    }
}

/// The number of a month by its English name, whole or its first letters.
fn month(word: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let begins = |month: &str| month.get(..word.len()).is_some_and(|letters| letters.eq_ignore_ascii_case(word));
    let place = MONTHS.iter().position(|month| word.len() >= 3 && begins(month))?;
    Some(place as i64 + 1)
}

/// Seconds since midnight, and nanoseconds above them.
fn parse_clock(text: &str) -> Option<(i64, u32)> {
    let (clock, part) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    let mut next = |least: usize, most: i64| match parts.next() {
        Some(text) if (least..=2).contains(&text.len()) => whole(text).filter(|number| *number <= most),
        _ => None,
    };
    let (hours, minutes) = (next(1, 23)?, next(2, 59)?);
    let seconds = if clock.matches(':').count() > 1 { next(2, 59)? } else { 0 };
    if parts.next().is_some() || part.len() > 9 {
        return None;
    }
    let nanoseconds = whole(part)? * 10i64.pow(9 - part.len() as u32);
    Some((hours * 3600 + minutes * 60 + seconds, nanoseconds as u32))
}

/// A time of day without its offset, and that in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix("UTC").or_else(|| text.strip_suffix(['Z', 'z'])) {
        return Some((clock.trim_end(), 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset[1..].chars().filter(|c| *c != ':').collect();
    let number = whole(&digits)?;
    let (hours, minutes) = match digits.len() {
        2 => (number, 0),
        4 => (number / 100, number % 100),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some((clock.trim_end(), sign * (hours * 3600 + minutes * 60)))
}

/// A number of ASCII digits only.
fn whole(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(moment: Moment) -> String {
        let mut text = String::new();
        moment.write_short(&mut text);
        text
    }

    #[test]
    fn known_days_have_their_dates() {
        // 2000-02-29 is 30 years, 7 of them leap, and 59 days after 1970 began.
        assert_eq!(date(30 * 365 + 7 + 59), (2000, 2, 29));
        assert_eq!((date(0), date(-1)), ((1970, 1, 1), (1969, 12, 31)));
        assert_eq!(day_of((1900, 2, 29)), None, "1900 was no leap year");
        assert_eq!(day_of((2024, 4, 31)), None);
    }

    #[test]
    fn every_writer_of_a_moment_is_read() {
        let noon = Moment { seconds: 19_724 * DAY + DAY / 2, nanoseconds: 0 };
        for written in [
            "2024-01-02 12:00:00",
            "2024-01-02T12:00:00.000Z",
            "2024-01-02T12:00:00.000000",
            "2024-01-02 12:00:00+00:00",
            "2024-01-02 12:00:00 UTC",
            "2024-01-02 13:00:00.000+01",
            "2024-01-02T06:30:00-0530",
            "2024-01-02 12:00",
        ] {
            assert_eq!(Moment::parse(written), Some(noon), "{written}");
        }
        assert_eq!(text(noon), "2024-01-02T12:00:00");
        assert_eq!(text(Moment::parse("2024-01-02 00:00:00").unwrap()), "2024-01-02");
        for other in ["20240102", "2024-01-02T", "2024-01-02 25:00:00", "2024-02-30", "12:00:00", "a-b-c"] {
            assert_eq!(Moment::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_date_that_cannot_be_mistaken_is_read_and_another_is_seen_to_be_one() {
        for written in [
            "2024-1-2",
            "2024/01/02",
            "2024/1/2",
            "2024.01.02",
            "02.01.2024",
            "2.1.2024",
            "02-Jan-2024",
            "2-JAN-2024",
            "2 January 2024",
            "Jan 2, 2024",
            "2024-Jan-02",
            "2. Jan 2024",
        ] {
            assert_eq!(Moment::parse(written).map(text).as_deref(), Some("2024-01-02"), "{written}");
            assert!(Moment::is_meant(written), "{written}");
        }
        for (written, read) in [
            ("31-OCT-2024 8:05", "2024-10-31T08:05:00"),
            ("31.10.2024 08:05:09.5", "2024-10-31T08:05:09.500"),
            ("2024/10/31T08:05Z", "2024-10-31T08:05:00"),
            ("2024-10", "2024-10-01"),
            ("2024/10", "2024-10-01"),
        ] {
            assert_eq!(Moment::parse(written).map(text).as_deref(), Some(read), "{written}");
        }
        for unclear in ["01/31/2019", "9/30/1990 0:00:00", "31-01-2019", "1/2/19", "31-Jan-19", "1/31/2019 4:05 PM"] {
            assert!(Moment::parse(unclear).is_none() && Moment::is_meant(unclear), "{unclear}");
        }
        for other in
            ["2010-20", "1234-05", "13/14/2019", "a/b", "1.2.3", "10.0.0.1", "May", "may be so", "18-24", "", "-"]
        {
            assert!(Moment::parse(other).is_none() && !Moment::is_meant(other), "{other}");
        }
    }

    #[test]
    fn moments_beyond_any_calendar_have_a_text() {
        for ticks in [i64::MIN, i64::MAX] {
            for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
                assert!(text(Moment::new(ticks, unit)).len() > 10);
                let mut duration = String::new();
                write_duration(&mut duration, ticks, unit);
                assert!(duration.ends_with('S'));
            }
        }
        // 800 years, or twice 146,097 days, after 9383-09-21.
        assert_eq!(text(Moment { seconds: 3_000_000 * DAY, nanoseconds: 0 }), "+10183-09-21");
    }

    #[test]
    fn durations_are_written_in_seconds() {
        let text = |ticks, unit| {
            let mut text = String::new();
            write_duration(&mut text, ticks, unit);
            text
        };
        assert_eq!(text(90, TimeUnit::Second), "PT90S");
        assert_eq!(text(-500, TimeUnit::Millisecond), "-PT0.5S");
        assert_eq!(text(1_000_001, TimeUnit::Microsecond), "PT1.000001S");
        assert_eq!(text(0, TimeUnit::Nanosecond), "P0D");
    }

    proptest! {
        #[test]
        fn a_moment_is_the_same_number_in_every_unit_and_as_text(
            of_the_century in 0i64..4_000_000_000_000_000_000,
            any_ticks in any::<i64>(),
            unit in 0usize..4,
        ) {
            let unit = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond][unit];
            let of_the_century = of_the_century / (1_000_000_000 / per_second(unit));
            for ticks in [of_the_century, -of_the_century, any_ticks % 1_000_000, any_ticks] {
                let moment = Moment::new(ticks, unit);
                // Reading digits rounds once, as the standard library promises.
                let digits = per_second(unit).ilog10() as usize;
                let (sign, size) = (if ticks < 0 { "-" } else { "" }, i128::from(ticks).unsigned_abs());
                let written = format!("{size:0width$}", width = digits + 1);
                let (whole, part) = written.split_at(written.len() - digits);
                prop_assert_eq!(moment.number(), format!("{sign}{whole}.{part}0").parse::<f64>().unwrap());
                prop_assert_eq!(Moment::parse(&text(moment)).map_or(moment.number(), Moment::number), moment.number());
                if let Some(finer) = ticks.checked_mul(1_000_000_000 / per_second(unit)) {
                    prop_assert_eq!(Moment::new(finer, TimeUnit::Nanosecond).number(), moment.number());
                }
                if unit == TimeUnit::Millisecond && ticks.unsigned_abs() < 1 << 53 {
                    prop_assert_eq!(ticks as f64 / 1000.0, moment.number(), "as other engines reckon");
                }
                prop_assert!(Moment::new(ticks.saturating_sub(1), unit).number() <= moment.number());
            }
        }

        #[test]
        fn what_is_written_is_read_back(seconds in -100_000_000_000_000i64..100_000_000_000_000, nanoseconds in 0u32..1_000_000_000) {
            let moment = Moment { seconds, nanoseconds };
            prop_assert_eq!(Moment::parse(&text(moment)), Some(moment));
        }
    }
}
