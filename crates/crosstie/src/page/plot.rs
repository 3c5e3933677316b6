//! Drawings with two axes.

use std::fmt::Write;

use super::{escaped, plain};

/// Width and height of a drawing, in the unit that its text has 11 of. On a phone as on a
/// desk it is shown about so wide, in pixels, so the text keeps its size.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 36.0;
/// About the width of a letter.
const LETTER: f64 = 6.0;

/// An axis of a drawing.
#[derive(Clone, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    title: String,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From one number to another, which are widened where they are equal. The title is
    /// plain text; `write` tells a number.
    pub fn linear(title: &str, low: f64, high: f64, write: impl Fn(f64) -> String) -> Axis {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let step = step(high - low);
        let (from, to) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        let ticks = (from..=to).map(|tick| tick as f64 * step).map(|x| (x, write(x)));
        Axis { low, high, logarithmic: false, title: title.into(), ticks: ticks.collect() }
    }

    /// The same in logarithms. `low` is above 0.
    pub fn logarithmic(title: &str, low: f64, high: f64, write: impl Fn(f64) -> String) -> Axis {
        let (low, high) = if high > low { (low, high) } else { (low / 2.0, low * 2.0) };
        let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let all: Vec<(f64, f64)> =
            decades.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| (digit, digit * 10f64.powi(power)))).collect();
        let within = |digits: &[f64]| -> Vec<f64> {
            let close = |x: f64| x >= low * (1.0 - 1e-9) && x <= high * (1.0 + 1e-9);
            all.iter().filter(|(digit, x)| digits.contains(digit) && close(*x)).map(|(_, x)| *x).collect()
        };
        let mut ticks = within(&[1.0, 2.0, 5.0]);
        for digits in [&[1.0, 5.0][..], &[1.0]] {
            ticks = if ticks.len() > 5 { within(digits) } else { ticks };
        }
        let every = ticks.len().div_ceil(6).max(1);
        let ticks = ticks.into_iter().step_by(every).map(|x| (x, write(x))).collect();
        Axis { low, high, logarithmic: true, title: title.into(), ticks }
    }

    /// From one number to another, with ticks of the caller's.
    pub fn marked(title: &str, low: f64, high: f64, ticks: Vec<(f64, String)>) -> Axis {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        Axis { low, high, logarithmic: false, title: title.into(), ticks }
    }

    /// From just below the least to just above the greatest number.
    pub fn around(title: &str, numbers: impl IntoIterator<Item = f64>, write: impl Fn(f64) -> String) -> Axis {
        let super::Interval { low, high } =
            super::Interval::of(numbers).unwrap_or(super::Interval { low: 0.0, high: 1.0 });
        let room = if high > low { 0.06 * (high - low) } else { 0.05 * low.abs().max(0.1) };
        Axis::linear(title, low - room, high + room, write)
    }

    /// Where a number lies, from 0 to 1; what is beyond lies at the end.
    fn share(&self, x: f64) -> f64 {
        let at = |x: f64| if self.logarithmic { x.max(f64::MIN_POSITIVE).ln() } else { x };
        ((at(x) - at(self.low)) / (at(self.high) - at(self.low))).clamp(0.0, 1.0)
    }
}

/// A step of 1, 2 or 5 times a power of ten, of which about four fit.
fn step(range: f64) -> f64 {
    let power = 10f64.powf((range / 4.0).log10().floor());
    let fits = |step: &f64| range / (step * power) <= 5.0;
    [1.0, 2.0, 5.0].into_iter().find(fits).unwrap_or(10.0) * power
}

/// A drawing. Classes are those of the page's style.
#[derive(Clone, Debug)]
pub struct Plot {
    x: Axis,
    y: Axis,
    marks: String,
}

impl Plot {
    /// Nothing but axes.
    pub fn new(x: Axis, y: Axis) -> Plot {
        Plot { x, y, marks: String::new() }
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (across, up) = (self.x.share(x), self.y.share(y));
        (LEFT + (WIDTH - LEFT - RIGHT) * across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * up)
    }

    fn points(&self, points: impl IntoIterator<Item = (f64, f64)>) -> String {
        let written = points.into_iter().map(|point| self.at(point)).map(|(x, y)| format!("{x:.1},{y:.1}"));
        written.collect::<Vec<_>>().join(" ")
    }

    /// A line through points.
    pub fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let points = self.points(points);
        let _ = write!(self.marks, "<polyline class=\"{class}\" points=\"{points}\"/>");
    }

    /// What lies between two numbers at each place: (x, lower, upper).
    pub fn band(&mut self, class: &str, places: &[(f64, f64, f64)]) {
        let upper = places.iter().map(|(x, _, high)| (*x, *high));
        let points = self.points(upper.chain(places.iter().rev().map(|(x, low, _)| (*x, *low))));
        let _ = write!(self.marks, "<polygon class=\"{class}\" points=\"{points}\"/>");
    }

    /// A dot.
    pub fn dot(&mut self, class: &str, point: (f64, f64)) {
        let (x, y) = self.at(point);
        let _ = write!(self.marks, "<circle class=\"{class}\" r=\"3.5\" cx=\"{x:.1}\" cy=\"{y:.1}\"/>");
    }

    /// What chance leaves open, upright.
    pub fn whisker(&mut self, class: &str, x: f64, low: f64, high: f64) {
        let ((x, low), (_, high)) = (self.at((x, low)), self.at((x, high)));
        let _ = write!(
            self.marks,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\"/>"
        );
    }

    /// A line from the bottom to the top.
    pub fn upright(&mut self, class: &str, x: f64) {
        self.whisker(class, x, self.y.low, self.y.high);
    }

    /// The drawing; `told` says in plain text what is to be seen, for those who do not see.
    pub fn svg(&self, told: &str) -> String {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let mut axes = String::new();
        for (y, text) in &self.y.ticks {
            let (_, place) = self.at((self.x.low, *y));
            let class = if *y == 0.0 && self.y.low < 0.0 { "zero" } else { "grid" };
            let _ = write!(
                axes,
                "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{place:.1}\" y2=\"{place:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 5.0,
                place + 4.0,
                escaped(text)
            );
        }
        let mut room = 0.0;
        for (x, text) in &self.x.ticks {
            let (place, _) = self.at((*x, self.y.low));
            let (anchor, before) = match self.x.share(*x) {
                share if share > 0.95 => ("end", 1.0),
                share if share < 0.05 => ("start", 0.0),
                _ => ("middle", 0.5),
            };
            // A text that would stand on the one before is left out; its tick is not.
            let width = LETTER * text.chars().count() as f64;
            let start = place - before * width;
            let text = if start < room { "" } else { text };
            if !text.is_empty() {
                room = start + width + LETTER;
            }
            let _ = write!(
                axes,
                "<line class=\"axis\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
                 <text x=\"{place:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                bottom + 4.0,
                bottom + 15.0,
                escaped(text)
            );
        }
        let _ = write!(
            axes,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text x=\"2\" y=\"11\">{}</text><text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            escaped(&self.y.title),
            HEIGHT - 5.0,
            escaped(&self.x.title)
        );
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{axes}{}</svg>",
            escaped(told),
            self.marks
        )
    }
}

/// A share as the tick of an axis.
pub fn share_tick(share: f64) -> String {
    plain(100.0 * share) + " %"
}
