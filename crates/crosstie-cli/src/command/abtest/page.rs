//! The report as one file for a browser: no scripts, nothing fetched, light and dark,
//! as wide as a phone or a desk.

use std::fmt::Write;

use crosstie::experiment::{Difference, Lift, StudyReport};

use super::told;
use crate::table;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2430; --dim: #5f6b7a; --line: #d5dae1; --paper: #ffffff; --mark: #1f6fb2; --band: #1f6fb233; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --dim: #98a3b3; --line: #39424f; --paper: #14181e; --mark: #6db3ea; --band: #6db3ea33; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0.5rem 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
p { margin: 0.4rem 0; }
.dim, figcaption { color: var(--dim); font-size: 0.9rem; }
.warning { border-left: 4px solid #c8502d; padding-left: 0.7rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem 0.25rem 0; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
.number { text-align: right; }
figure { margin: 1rem 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--dim); font: 13px system-ui, sans-serif; }
.band { fill: var(--band); }
.lift { fill: none; stroke: var(--mark); stroke-width: 2; }
.point { fill: var(--mark); }
.grid { stroke: var(--line); }
.zero { stroke: var(--ink); }
";

/// The page.
pub fn page(report: &StudyReport, name: &str) -> String {
    let name = escaped(name);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{name}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
    );
    for warning in told::warnings(report) {
        let _ = writeln!(page, "<p class=\"warning\">{}</p>", escaped(&warning));
    }
    for sentence in told::conclusion(report) {
        let _ = writeln!(page, "<p>{}</p>", escaped(&sentence));
    }
    let units: u64 = report.arms.iter().map(|arm| arm.units).sum();
    let _ = writeln!(page, "<p class=\"dim\">{} units {}</p>", table::count(units), told::days(report));
    section(&mut page, "Arms", told::arms(report));
    let _ = writeln!(page, "<p class=\"dim\">{}.</p>", escaped(&told::sample_ratio(report)));
    section(&mut page, "Predicted for one that happened", told::calibration(report));
    section(&mut page, "Lift over the control", told::differences(report, None));
    if let Some(adjusted) = told::adjusted(report) {
        let _ = writeln!(page, "<p class=\"dim\">{}</p>", escaped(&adjusted));
    }
    let _ = writeln!(page, "<h2>Lift over time</h2>");
    let sure = 100.0 * (1.0 - report.settings.alpha);
    let _ = writeln!(
        page,
        "<p class=\"dim\">The line is the lift as it stood at the end of each day; the band holds the true lift on \
         all days together with a probability of {sure} %.</p>"
    );
    for (place, difference) in report.differences.iter().enumerate() {
        page.push_str(&figure(report, place, difference));
    }
    section(&mut page, "By scenario", told::scenarios(report));
    page.push_str("</body>\n</html>\n");
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn section(page: &mut String, title: &str, (header, rows): (Vec<String>, Vec<Vec<String>>)) {
    if !rows.is_empty() {
        let _ = writeln!(page, "<h2>{title}</h2>\n{}", table_of(&header, &rows));
    }
}

/// A table; columns whose heading begins with `>` hold numbers.
fn table_of(header: &[String], rows: &[Vec<String>]) -> String {
    let class = |place: usize| if header[place].starts_with('>') { " class=\"number\"" } else { "" };
    let cells = |tag: &str, row: &[String]| {
        let cell = |(place, text): (usize, &String)| {
            format!("<{tag}{}>{}</{tag}>", class(place), escaped(text.trim_start_matches('>')))
        };
        format!("<tr>{}</tr>", row.iter().enumerate().map(cell).collect::<String>())
    };
    let rows: String = rows.iter().map(|row| cells("td", row)).collect();
    format!("<div class=\"wide\"><table>{}{rows}</table></div>", cells("th", header))
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;

/// Where days and lifts are in a drawing.
struct Frame {
    days: (i64, i64),
    low: f64,
    high: f64,
}

impl Frame {
    fn x(&self, day: i64) -> f64 {
        let span = (self.days.1 - self.days.0).max(1) as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * (day - self.days.0) as f64 / span
    }

    fn y(&self, lift: f64) -> f64 {
        let share = (lift.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }
}

/// A step of 1, 2 or 5 times a power of ten, of which about four fit.
fn step(range: f64) -> f64 {
    let power = 10f64.powf((range / 4.0).log10().floor());
    let fits = |step: &f64| range / (step * power) <= 5.0;
    [1.0, 2.0, 5.0].into_iter().find(fits).unwrap_or(10.0) * power
}

/// The lift of one measure and arm over time. What the first days leave open reaches
/// beyond the drawing.
fn figure(report: &StudyReport, place: usize, difference: &Difference) -> String {
    let days: Vec<(i64, &Lift)> =
        report.over_time.iter().filter_map(|day| Some((day.day, day.differences[place].best()?))).collect();
    let (Some((first, _)), Some((last, lift))) = (days.first(), days.last()) else { return String::new() };
    let width = lift.sequence.high - lift.sequence.low;
    let frame = Frame {
        days: (*first, *last),
        low: (lift.sequence.low - 0.75 * width).min(-0.1 * width),
        high: (lift.sequence.high + 0.75 * width).max(0.1 * width),
    };
    let mut svg = String::new();
    let step = step(frame.high - frame.low);
    let (from, to) = ((frame.low / step).ceil() as i64, (frame.high / step).floor() as i64);
    for tick in from..=to {
        let (lift, class) = (tick as f64 * step, if tick == 0 { "zero" } else { "grid" });
        let y = frame.y(lift);
        let _ =
            write!(svg, "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>", WIDTH - RIGHT);
        let decimals = (-(100.0 * step).log10().floor()).max(0.0) as usize;
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{:+.decimals$} %</text>",
            LEFT - 8.0,
            y + 4.0,
            100.0 * lift
        );
    }
    let point = |day: i64, lift: f64| format!("{:.1},{:.1}", frame.x(day), frame.y(lift));
    let upper = days.iter().map(|(day, lift)| point(*day, lift.sequence.high));
    let lower = days.iter().rev().map(|(day, lift)| point(*day, lift.sequence.low));
    let band: Vec<String> = upper.chain(lower).collect();
    let line: Vec<String> = days.iter().map(|(day, lift)| point(*day, lift.estimate)).collect();
    let _ = write!(svg, "<polygon class=\"band\" points=\"{}\"/>", band.join(" "));
    let _ = write!(svg, "<polyline class=\"lift\" points=\"{}\"/>", line.join(" "));
    let _ = write!(
        svg,
        "<circle class=\"point\" r=\"4\" cx=\"{:.1}\" cy=\"{:.1}\"/>",
        frame.x(*last),
        frame.y(lift.estimate)
    );
    for (day, anchor) in [(*first, "start"), (*last, "end")].into_iter().take(if first == last { 1 } else { 2 }) {
        let (x, y) = (frame.x(day), HEIGHT - 8.0);
        let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>", told::day(day));
    }
    let title = escaped(&format!("{} of {}", difference.measure, difference.arm));
    let told = format!("{}, sequence {}", told::lift(lift.estimate), told::interval(lift.sequence));
    let rows: Vec<Vec<String>> = days
        .iter()
        .map(|(day, lift)| vec![told::day(*day), told::lift(lift.estimate), told::interval(lift.sequence)])
        .collect();
    let header = ["day", ">lift", ">sequence"].map(String::from);
    format!(
        "<figure>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {told}\">{svg}</svg>\n\
         <figcaption>{title}: {told}</figcaption>\n<details><summary class=\"dim\">by day</summary>{}</details>\n</figure>\n",
        table_of(&header, &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (range, expected) in [(0.4, 0.1), (0.5, 0.1), (0.9, 0.2), (0.07, 0.02), (3.0, 1.0), (2.0, 0.5)] {
            assert!((step(range) / expected - 1.0).abs() < 1e-9, "{range}: {}", step(range));
        }
    }

    #[test]
    fn names_are_no_markup() {
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
        assert!(table_of(&[">a".into()], &[vec!["<i>".into()]]).contains("<td class=\"number\">&lt;i&gt;</td>"));
    }
}
