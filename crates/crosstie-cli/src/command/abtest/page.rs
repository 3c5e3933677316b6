//! The report as one file for a browser.

use crosstie::experiment::{Difference, Lift, StudyReport};
use crosstie::page::{Axis, Page, Plot, panels, signed_percent, table};

use super::told;
use crate::table::several;

/// The page; `warnings` stand first.
pub fn page(report: &StudyReport, name: &str, warnings: &[String]) -> String {
    let mut page = Page::new(name);
    warnings.iter().for_each(|warning| page.warn(warning));
    told::conclusion(report).iter().for_each(|sentence| page.say(sentence));
    let units: u64 = report.arms.iter().map(|arm| arm.units).sum();
    page.remark(&format!("{} {}", several(units, "unit", "units"), told::days(report)));
    section(&mut page, "Arms", told::arms(report));
    page.remark(&format!("{}.", told::sample_ratio(report)));
    section(&mut page, "Predicted for one that happened", told::calibration(report));
    section(&mut page, "Lift over the control", told::differences(report, None));
    told::adjusted(report).iter().for_each(|adjusted| page.remark(adjusted));
    over_time(&mut page, report);
    section(&mut page, "By scenario", told::scenarios(report));
    page.finish()
}

fn section(page: &mut Page, title: &str, (header, rows): (Vec<String>, Vec<Vec<String>>)) {
    if !rows.is_empty() {
        page.section(title);
        page.push(table(&header, rows));
    }
}

fn over_time(page: &mut Page, report: &StudyReport) {
    let (mut drawn, mut rows) = (Vec::new(), Vec::new());
    for (place, difference) in report.differences.iter().enumerate() {
        let name = format!("{} of {}", difference.measure, difference.arm);
        let days = days(report, place);
        drawn.extend(drawing(&name, &days).map(|drawing| (name.clone(), drawing)));
        rows.extend(days.iter().map(|(day, lift)| {
            vec![name.clone(), told::day(*day), told::lift(lift.estimate), told::interval(lift.sequence)]
        }));
    }
    if drawn.is_empty() {
        return;
    }
    page.section("Lift over time");
    let sure = 100.0 * (1.0 - report.settings.alpha);
    let caption = format!(
        "The line is the lift over the control, in per cent, as it stood at the end of each day; the band holds the \
         true lift on all days together with a probability of {sure} %."
    );
    page.figure(&caption, &panels(&drawn), &table(&["of", "day", ">lift", ">sequence"], rows));
}

/// The days on which a difference was known.
fn days(report: &StudyReport, place: usize) -> Vec<(i64, &Lift)> {
    report.over_time.iter().filter_map(|day| Some((day.day, Difference::best(&day.differences[place])?))).collect()
}

/// The lift of one measure and arm over time. What the first days leave open reaches
/// beyond the drawing.
fn drawing(name: &str, days: &[(i64, &Lift)]) -> Option<String> {
    let ((first, _), (last, lift)) = (days.first()?, days.last()?);
    let width = lift.sequence.high - lift.sequence.low;
    let low = (lift.sequence.low - 0.75 * width).min(-0.1 * width);
    let high = (lift.sequence.high + 0.75 * width).max(0.1 * width);
    let mut ticks = vec![(*first as f64, told::day(*first)), (*last as f64, told::day(*last))];
    ticks.dedup();
    let x = Axis::marked("", *first as f64, *last as f64, ticks);
    let mut plot = Plot::new(x, Axis::linear("", low, high, signed_percent));
    let band: Vec<(f64, f64, f64)> =
        days.iter().map(|(day, lift)| (*day as f64, lift.sequence.low, lift.sequence.high)).collect();
    plot.band("band", &band);
    plot.line("line", days.iter().map(|(day, lift)| (*day as f64, lift.estimate)));
    plot.dot("point", (*last as f64, lift.estimate));
    Some(plot.svg(&format!("{name}: {}, sequence {}", told::lift(lift.estimate), told::interval(lift.sequence))))
}
