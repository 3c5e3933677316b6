//! The report for a terminal.

use crosstie::experiment::statistics::Interval;
use crosstie::experiment::{ArmFigures, Difference, ECPM, Lift, MISMATCH, StudyReport};

use crate::table::{self, count, figure, several, table};

/// A share as a lift, with its sign.
pub fn lift(share: f64) -> String {
    format!("{:+.2} %", 100.0 * share)
}

/// From where to where a lift may lie.
pub fn interval(interval: Interval) -> String {
    format!("{} to {}", lift(interval.low), lift(interval.high))
}

fn p(value: f64) -> String {
    if value < 1e-4 { format!("{value:.0e}") } else { format!("{value:.4}") }
}

/// What the sequence says by now.
pub fn verdict(lift: Option<&Lift>) -> &'static str {
    match lift.map(|lift| lift.sequence) {
        Some(Interval { low, .. }) if low > 0.0 => "higher",
        Some(Interval { high, .. }) if high < 0.0 => "lower",
        Some(_) => "open",
        None => "-",
    }
}

/// The value of a measure: a rate in per cent, anything else as a number.
fn value(measure: &str, value: Option<f64>) -> String {
    match value {
        Some(value) if !measure.ends_with(" rate") => table::number(value),
        rate => table::percent(rate),
    }
}

/// Rows of a table of the arms' figures, behind its header.
pub fn arms(report: &StudyReport) -> (Vec<String>, Vec<Vec<String>>) {
    let measures: Vec<&String> = report.arms.iter().flat_map(|arm| arm.values.keys()).take(measures(report)).collect();
    let header = ["arm", ">share", ">units", ">impressions"].map(String::from);
    let header = header.into_iter().chain(measures.iter().map(|measure| format!(">{measure}")));
    let row = |arm: &ArmFigures| {
        let front = [arm.name.clone(), table::percent(Some(arm.share)), count(arm.units), count(arm.impressions)];
        front.into_iter().chain(arm.values.iter().map(|(measure, found)| value(measure, *found))).collect()
    };
    (header.collect(), report.arms.iter().map(row).collect())
}

fn measures(report: &StudyReport) -> usize {
    report.arms.first().map_or(0, |arm| arm.values.len())
}

/// Rows of a table of calibration, behind its header; none where nothing is predicted.
pub fn calibration(report: &StudyReport) -> (Vec<String>, Vec<Vec<String>>) {
    let tasks: Vec<&String> = match report.arms.first() {
        Some(arm) => arm.calibration.iter().filter(|(_, seen)| seen.rows > 0).map(|(task, _)| task).collect(),
        None => Vec::new(),
    };
    let header = ["arm".to_string()].into_iter().chain(tasks.iter().map(|task| format!(">{task}"))).collect();
    let row = |arm: &ArmFigures| {
        let pcoc = tasks.iter().map(|task| figure(arm.calibration.get(*task).and_then(|seen| seen.pcoc())));
        [arm.name.clone()].into_iter().chain(pcoc).collect()
    };
    let rows = if tasks.is_empty() { Vec::new() } else { report.arms.iter().map(row).collect() };
    (header, rows)
}

/// Rows of a table of lifts, behind its header.
pub fn differences(report: &StudyReport, asked: Option<f64>) -> (Vec<String>, Vec<Vec<String>>) {
    let sure = 100.0 * (1.0 - report.settings.alpha);
    let header = ["measure", "arm", ">lift", "by now"].map(String::from);
    let header = header.into_iter().chain([
        format!(">sequence ({sure:.4} %)"),
        ">p".to_string(),
        format!(">at one look ({sure:.4} %)"),
        ">p ".to_string(),
        ">can find".to_string(),
    ]);
    let header = header.map(|name| name.replace(".0000 %", " %"));
    let header = header.chain(asked.map(|asked| format!(">units for {}", lift(asked))));
    let row = |difference: &Difference| {
        let mut row = vec![difference.measure.clone(), difference.arm.clone()];
        let Some(found) = difference.best() else {
            row.resize(9 + usize::from(asked.is_some()), "-".into());
            return row;
        };
        row.extend([lift(found.estimate), verdict(Some(found)).into()]);
        row.extend([interval(found.sequence), p(found.sequential_p), interval(found.interval), p(found.p)]);
        row.push(lift(found.least_detectable));
        let units = units(report, &difference.arm);
        row.extend(asked.map(|asked| count(found.units_needed(units, asked) as u64)));
        row
    };
    (header.collect(), report.differences.iter().map(row).collect())
}

/// Units of the control and an arm.
fn units(report: &StudyReport, arm: &str) -> u64 {
    report.arms.iter().enumerate().filter(|(place, of)| *place == 0 || of.name == arm).map(|(_, of)| of.units).sum()
}

/// Rows of a table of lifts by scenario, behind its header; none where there is one.
pub fn scenarios(report: &StudyReport) -> (Vec<String>, Vec<Vec<String>>) {
    let header = ["scenario", "measure", "arm", ">lift", "by now", ">sequence", ">p, corrected"].map(String::from);
    let several = report.scenarios.iter().any(|one| one.scenario != report.scenarios[0].scenario);
    let rows = report.scenarios.iter().filter(|_| several).map(|one| {
        let found = one.difference.plain.as_ref();
        let told = one.corrected_p.map_or("-", |corrected| match corrected < report.settings.alpha {
            true => verdict(found),
            false => "open",
        });
        vec![
            one.scenario.clone(),
            one.difference.measure.clone(),
            one.difference.arm.clone(),
            found.map_or("-".into(), |found| lift(found.estimate)),
            told.into(),
            found.map_or("-".into(), |found| interval(found.sequence)),
            one.corrected_p.map_or("-".into(), p),
        ]
    });
    (header.to_vec(), rows.collect())
}

/// First and last day, in words.
pub fn days(report: &StudyReport) -> String {
    match report.days {
        Some((first, last)) if first == last => format!("on {}", day(first)),
        Some((first, last)) => format!("from {} to {}", day(first), day(last)),
        None => String::new(),
    }
}

/// `2026-11-27`.
pub fn day(day: i64) -> String {
    crosstie::data::day(day)
}

/// Whether the arms have their shares, by the test that may be looked at every day and by chi-square.
enum Shares {
    Right,
    /// One look says so, which many looks together do not.
    InDoubt,
    Wrong,
}

impl Shares {
    fn of(report: &StudyReport) -> Shares {
        match (report.sequential_sample_ratio, report.sample_ratio) {
            (sequential, _) if sequential < MISMATCH => Shares::Wrong,
            (_, Some(once)) if once < MISMATCH => Shares::InDoubt,
            _ => Shares::Right,
        }
    }
}

/// What the sample ratio says.
pub fn sample_ratio(report: &StudyReport) -> String {
    let (sequential, once) = (p(report.sequential_sample_ratio), report.sample_ratio.map_or("-".into(), p));
    let told = match Shares::of(report) {
        Shares::Right => "the arms have their shares",
        Shares::InDoubt => "whether the arms have their shares is in doubt",
        Shares::Wrong => "the arms do not have their shares",
    };
    format!("Sample ratio: {told} (p = {sequential} at any look, {once} by chi-square at one)")
}

/// What makes all else doubtful.
pub fn warnings(report: &StudyReport) -> Vec<String> {
    let mut warnings = Vec::new();
    let of_arm = |arm: &ArmFigures| {
        let (units, share) = (several(arm.units, "unit", "units"), table::percent(Some(arm.share)));
        format!("{} has {units} for a share of {share}", arm.name)
    };
    let units = report.arms.iter().map(of_arm).collect::<Vec<_>>().join(", ");
    match Shares::of(report) {
        Shares::Right => {}
        Shares::InDoubt => warnings.push(format!(
            "the sample ratio is in doubt: {units}; looked at once that is no chance, looked at daily it may be"
        )),
        Shares::Wrong => warnings.push(format!(
            "sample-ratio mismatch: {units}; something loses units of one arm more than of another, so no figure below can be believed"
        )),
    }
    if report.crossed > 0 {
        warnings.push(format!(
            "{} served by more than one arm and left out",
            several(report.crossed, "unit was", "units were")
        ));
    }
    warnings
}

/// What CUPED did, if a time before is known.
pub fn adjusted(report: &StudyReport) -> Option<String> {
    let told = report.differences.iter().filter_map(|difference| {
        let (plain, adjusted) = (difference.plain.as_ref()?, difference.adjusted.as_ref()?);
        let left = 100.0 * adjusted.standard_error / plain.standard_error;
        Some(format!("{} {left:.0} %", difference.measure))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| {
        let what = "Lifts are less what units did before (CUPED). Of the standard errors is left:";
        format!("{what} {}.", told.join(", "))
    })
}

/// One sentence for each candidate: eCPM where there is one, else the first measure.
pub fn conclusion(report: &StudyReport) -> Vec<String> {
    let names: Vec<&str> = report.differences.iter().map(|difference| difference.measure.as_str()).collect();
    let Some(measure) = names.iter().find(|name| **name == ECPM).or(names.first()) else { return Vec::new() };
    let of = report.differences.iter().filter(|difference| difference.measure == *measure);
    let sentence = |difference: &Difference| {
        let (arm, control) = (&difference.arm, &report.arms[0].name);
        let Some(found) = difference.best() else { return format!("{arm}: nothing can be told of {measure} yet.") };
        let between = interval(found.sequence);
        match verdict(Some(found)) {
            "open" => format!("{arm}: {measure} cannot be told from that of {control} yet; the lift is {between}."),
            told => format!("{arm}: {measure} is {told} than that of {control}, by {between}."),
        }
    };
    of.map(sentence).collect()
}

/// The whole report.
pub fn report(report: &StudyReport, lift: Option<f64>) -> String {
    let draw = |(header, rows): (Vec<String>, Vec<Vec<String>>)| {
        (!rows.is_empty()).then(|| table(&header.iter().map(String::as_str).collect::<Vec<_>>(), rows))
    };
    let impressions: u64 = report.arms.iter().map(|arm| arm.impressions).sum();
    let units: u64 = report.arms.iter().map(|arm| arm.units).sum();
    let (impressions, units) = (several(impressions, "impression", "impressions"), several(units, "unit", "units"));
    let what = format!("{impressions} of {units} {}", days(report));
    let titled = |title: &str, table: Option<String>| table.map(|table| format!("{title}\n\n{table}"));
    let wrapped = |text: &str| table::wrapped(text, 0);
    let lifts = "Lift over the control (sequences may be looked at every day; the rest once):";
    let parts = [
        Some(wrapped(&what)),
        draw(arms(report)),
        titled("Predicted for one that happened (pcoc):", draw(calibration(report))),
        Some(wrapped(&sample_ratio(report))),
        titled(lifts, draw(differences(report, lift))),
        adjusted(report).map(|told| wrapped(&told)),
        titled("By scenario:", draw(scenarios(report))),
        Some(conclusion(report).iter().map(|told| wrapped(told)).collect::<Vec<_>>().join("\n")),
    ];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use crosstie::experiment::{Settings, Shown, Study};

    use super::*;

    /// The report on arms of equal shares and so many units.
    fn of_units(units: [u64; 2]) -> StudyReport {
        let (names, terms) = (["control", "candidate"], [(0.0, 1.0)]);
        let mut study = Study::new(&["click rate".into()], &[], Settings::default());
        for (arm, units) in names.iter().zip(units) {
            for unit in 0..units {
                let unit = &format!("{arm} {unit}");
                study.add(&Shown { unit, arm, day: 1, scenario: None, terms: &terms, predicted: &[] });
            }
        }
        study.report(&names.map(|name| (name.to_string(), 0.5)))
    }

    #[test]
    fn arms_had_their_shares_beside_a_chi_square_that_said_otherwise() {
        let said = |units| (sample_ratio(&of_units(units)), warnings(&of_units(units)).concat());
        let (told, warned) = said([800, 1_200]);
        assert!(told.contains("do not have") && warned.contains("sample-ratio mismatch"), "{told} {warned}");
        // Chi-square says 1.5e-4, one look among many .004.
        let (told, warned) = said([440, 560]);
        assert!(told.contains("in doubt") && warned.contains("in doubt: control has 440 units"), "{told} {warned}");
        let (told, warned) = said([490, 510]);
        assert!(told.contains("the arms have their shares") && warned.is_empty(), "{told} {warned}");
    }
}
