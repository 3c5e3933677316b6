//! A number drawn within a line of a table.

use std::fmt::Write;

/// From least to greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
}

impl Interval {
    /// Of all numbers that are finite; `None` without any.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Interval> {
        let wider = |so_far: Option<Interval>, x: f64| match so_far {
            None => Some(Interval { low: x, high: x }),
            Some(Interval { low, high }) => Some(Interval { low: low.min(x), high: high.max(x) }),
        };
        numbers.into_iter().filter(|x| x.is_finite()).fold(None, wider)
    }

    /// Where a number lies, from 0 to 100.
    fn place(self, x: f64) -> f64 {
        let span = self.high - self.low;
        if span > 0.0 { (100.0 * (x - self.low) / span).clamp(0.0, 100.0) } else { 50.0 }
    }
}

/// A number on a stretch that all lines of a table share.
#[derive(Clone, Debug)]
pub struct Strip {
    /// The stretch.
    pub within: Interval,
    /// Where a bar begins that ends at the number; without it the number is a tick.
    pub bar_from: Option<f64>,
    /// The number; nothing is drawn without it.
    pub value: Option<f64>,
    /// What chance leaves open.
    pub interval: Option<Interval>,
    /// A number that all lines are held against.
    pub rule: Option<f64>,
}

impl Strip {
    /// The drawing. It is stretched to the width of its column, so it has no text.
    pub(super) fn svg(&self) -> String {
        let mut drawn = String::from("<rect class=\"track\" x=\"0\" y=\"0\" width=\"100\" height=\"10\"/>");
        let mut rect = |class: &str, from: f64, to: f64, y: f64, height: f64, least: f64| {
            let (from, to) = (self.within.place(from.min(to)), self.within.place(from.max(to)));
            let width = (to - from).max(least);
            let x = (from - (width - (to - from)) / 2.0).clamp(0.0, 100.0 - width);
            let _ = write!(
                drawn,
                "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{height}\"/>"
            );
        };
        if let Some(value) = self.value {
            if let Some(from) = self.bar_from {
                rect("bar", from, value, 2.0, 6.0, 0.0);
            }
            if let Some(Interval { low, high }) = self.interval {
                rect(if self.bar_from.is_some() { "tick" } else { "span" }, low, high, 4.0, 2.0, 0.0);
            }
            if self.bar_from.is_none() {
                rect("tick", value, value, 1.0, 8.0, 1.0);
            }
        }
        if let Some(rule) = self.rule {
            rect("rule", rule, rule, 0.0, 10.0, 0.4);
        }
        format!("<svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{drawn}</svg>")
    }
}
