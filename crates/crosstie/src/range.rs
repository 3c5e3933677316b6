//! The ranges of numbers that people set.

use std::fmt::Display;

use crate::error::{Error, Result};

/// A range, and how it is told. What is no finite number is in none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    expected: &'static str,
    holds: fn(f64) -> bool,
}

pub(crate) const ZERO_OR_MORE: Range = Range { expected: "0 or more", holds: |found| found >= 0.0 };
pub(crate) const ABOVE_ZERO: Range = Range { expected: "above 0", holds: |found| found > 0.0 };
pub(crate) const ZERO_TO_ONE: Range = Range { expected: "from 0 to 1", holds: |found| (0.0..=1.0).contains(&found) };
pub(crate) const BELOW_ONE: Range =
    Range { expected: "at least 0 and below 1", holds: |found| (0.0..1.0).contains(&found) };
pub(crate) const UP_TO_ONE: Range =
    Range { expected: "above 0 and at most 1", holds: |found| found > 0.0 && found <= 1.0 };

impl Range {
    /// Refuses a number outside of the range.
    ///
    /// # Errors
    /// [`Error::Config`] with the key, what was found and what was expected.
    pub fn check(self, key: impl Display, found: impl Copy + Display + Into<f64>) -> Result<()> {
        self.refusal(key, found).map_or(Ok(()), |message| Err(Error::Config(message)))
    }

    /// What is to be said of a number outside of the range.
    pub fn refusal(self, key: impl Display, found: impl Copy + Display + Into<f64>) -> Option<String> {
        let number = found.into();
        let holds = number.is_finite() && (self.holds)(number);
        (!holds).then(|| format!("{key} must be {}, found {found}", self.expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_is_told_as_it_was_written() {
        let said = |range: Range, found: f32| range.refusal("key", found);
        assert_eq!(said(ZERO_OR_MORE, -0.1).as_deref(), Some("key must be 0 or more, found -0.1"));
        let edges = [(ZERO_OR_MORE, "10111"), (ABOVE_ZERO, "00111"), (ZERO_TO_ONE, "10110"), (BELOW_ONE, "10100")];
        for (range, held) in edges.into_iter().chain([(UP_TO_ONE, "00110")]) {
            let found = [0.0, -0.5, 0.5, 1.0, 1.5].map(|found| if said(range, found).is_none() { '1' } else { '0' });
            assert_eq!(found.into_iter().collect::<String>(), held, "{range:?}");
            let none = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
            assert!(none.into_iter().all(|found| said(range, found).is_some()), "{range:?}");
        }
    }
}
