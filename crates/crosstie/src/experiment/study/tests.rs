//! What a study tells of units whose outcomes are known.

use super::*;
use crate::random::Stream;

fn study() -> Study {
    Study::new(&["click".into(), "ecpm".into()], &["click".into()], Settings::default())
}

const NAMES: [&str; 2] = ["control", "candidate"];

fn report(study: &Study) -> StudyReport {
    study.report(&NAMES.map(|name| (name.to_string(), 0.5)))
}

fn shown<'a>(unit: &'a str, arm: usize, day: i64, terms: &'a [(f64, f64)]) -> Shown<'a> {
    Shown { unit, arm: NAMES[arm], day, scenario: None, terms, predicted: &[None] }
}

/// Units with some days each; the candidate's are clicked more often.
fn filled(order: impl Fn(Vec<u64>) -> Vec<u64>) -> Study {
    let stream = Stream::new(3, "study");
    let mut study = study();
    for row in order((0..6_000).collect()) {
        let unit = stream.below(row, 400);
        let arm = (unit % 2) as usize;
        let click = stream.part(1).uniform(row) < [0.2, 0.3][arm];
        let terms = [(f64::from(u8::from(click)), 1.0), (if click { 20.0 } else { 0.0 }, 1.0)];
        let name = format!("u{unit}");
        let scenario = ["feed", "search"][(row % 2) as usize];
        let day = 100 + stream.part(2).below(row, 5) as i64;
        let predicted = [Some((0.25, click))];
        study.add(&Shown {
            unit: &name,
            arm: NAMES[arm],
            day,
            scenario: Some(scenario),
            terms: &terms,
            predicted: &predicted,
        });
    }
    study
}

#[test]
fn figures_are_ratios_of_sums_over_units() {
    let mut study = study();
    study.add(&shown("a", 0, 7, &[(1.0, 1.0), (30.0, 1.0)]));
    study.add(&shown("a", 0, 9, &[(0.0, 1.0), (0.0, 1.0)]));
    study.add(&shown("b", 0, 8, &[(0.0, 0.0), (0.0, 1.0)]));
    study.add(&shown("c", 1, 8, &[(1.0, 1.0), (60.0, 1.0)]));
    study.add_before("nobody", &[(1.0, 1.0), (1.0, 1.0)]);
    let report = report(&study);
    assert_eq!(report.days, Some((7, 9)));
    assert_eq!(report.arms[0].values["click"], Some(0.5), "a label that is not known does not count");
    assert_eq!(report.arms[0].values["ecpm"], Some(10.0));
    assert_eq!((report.arms[0].units, report.arms[0].impressions), (2, 3));
    assert_eq!(report.arms[1].values["ecpm"], Some(60.0));
    assert_eq!(report.arms[1].units, 1);
    let units: Vec<(i64, Vec<u64>)> = report.over_time.iter().map(|day| (day.day, day.units.clone())).collect();
    assert_eq!(units, [(7, vec![1, 0]), (8, vec![2, 1]), (9, vec![2, 1])]);
    assert!(report.differences.iter().all(|difference| difference.plain.is_none()), "one unit has no spread");
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let (forward, backward) = (report(&filled(|rows| rows)), report(&filled(|rows| rows.into_iter().rev().collect())));
    assert_eq!(forward.differences, backward.differences);
    assert_eq!(forward.over_time, backward.over_time);
    assert_eq!(forward.sample_ratio, backward.sample_ratio);
    let last = forward.over_time.last().unwrap();
    assert_eq!((last.day, &last.differences), (104, &forward.differences), "the last day is the report");
}

#[test]
fn a_report_is_the_effect_of_its_units() {
    let study = filled(|rows| rows);
    let mut arms = [Moments::default(), Moments::default()];
    for (arm, unit) in study.counted(&NAMES.map(|name| (name, 0.5, study.arms.get_index_of(name)))) {
        let sum = |of: fn(&(f64, f64)) -> f64| unit.days.iter().map(|day| of(&day.terms[1])).sum();
        arms[arm].add(&[sum(|term| term.0), sum(|term| term.1), 0.0, 0.0]);
    }
    let effect = Effect::of(&arms[0], &arms[1], Scale::Relative).unwrap();
    let report = report(&study);
    let ecpm = report.differences.iter().find(|difference| difference.measure == "ecpm").unwrap().plain.unwrap();
    assert!((ecpm.estimate - effect.estimate).abs() < 1e-12 && (ecpm.p - effect.p()).abs() < 1e-12);
    assert!(ecpm.sequence.low > 0.0, "half as many clicks again are found: {ecpm:?}");
    assert!(ecpm.sequence.low < ecpm.interval.low && ecpm.interval.high < ecpm.sequence.high);
    let arm = &report.arms[1];
    assert_eq!(arm.calibration["click"].rows, arm.impressions);
    let pcoc = arm.calibration["click"].pcoc().unwrap();
    assert!((pcoc - 0.25 / arm.values["click"].unwrap()).abs() < 1e-9, "{pcoc}");
}

/// By hand: of 12 that happened where 8 were predicted, units have 9, 3 and 0 and should have 6, 3 and 3.
/// Squares of 3, 0 and 3 are 18, as three units say of two 27, and of 12 2.25.
#[test]
fn positives_that_come_by_unit_vary_more_than_rows_would() {
    let unit = |sum: f64, happened: u64| Predicted { rows: 10, sum, happened };
    let units = [unit(4.0, 9), unit(2.0, 3), unit(2.0, 0), Predicted::default()];
    let found = Calibration::of(units.iter());
    assert_eq!(found, Calibration { rows: 30, predicted: 8.0, happened: 12, dispersion: 2.25 });
    assert_eq!(Calibration::of(units[2..].iter()).dispersion, 0.0, "nothing happened");
    assert_eq!(Calibration::of(units[..1].iter()).dispersion, 0.0, "one unit has no spread");
}

#[test]
fn scenarios_are_told_apart_and_corrected() {
    let report = report(&filled(|rows| rows));
    let told: Vec<(&str, &str)> =
        report.scenarios.iter().map(|one| (one.scenario.as_str(), one.difference.measure.as_str())).collect();
    assert_eq!(told, [("feed", "click"), ("feed", "ecpm"), ("search", "click"), ("search", "ecpm")]);
    for measure in ["click", "ecpm"] {
        let of = report.scenarios.iter().filter(|one| one.difference.measure == measure);
        let (plain, corrected): (Vec<f64>, Vec<f64>) =
            of.map(|one| (one.difference.plain.unwrap().sequential_p, one.corrected_p.unwrap())).unzip();
        assert_eq!(corrected, holm(&plain));
    }
}

#[test]
fn units_of_two_arms_are_counted_and_left_out() {
    let mut study = filled(|rows| rows);
    let before = report(&study);
    study.add(&shown("u1", 0, 100, &[(1.0, 1.0), (1e6, 1.0)]));
    let report = report(&study);
    assert_eq!((before.crossed, report.crossed), (0, 1));
    assert_eq!(report.arms[1].units, before.arms[1].units - 1);
    assert_eq!(report.arms[0].values, before.arms[0].values);
}

#[test]
fn impressions_and_calibration_of_units_of_two_arms_stayed_in_their_arms() {
    let mut study = filled(|rows| rows);
    let before = report(&study);
    let shown = |unit, arm| Shown { predicted: &[Some((0.9, false))], ..shown(unit, arm, 100, &[(0.0, 1.0); 2]) };
    [0, 1, 1].into_iter().for_each(|arm| study.add(&shown("x", arm)));
    let after = report(&study);
    assert_eq!(after.crossed, 1);
    assert_eq!(after.arms, before.arms);
    study.add(&shown("y", 1));
    let after = report(&study);
    assert_eq!(after.arms[1].impressions, before.arms[1].impressions + 1);
    assert_eq!(after.arms[1].calibration["click"].rows, before.arms[1].calibration["click"].rows + 1);
}

#[test]
fn what_units_did_before_makes_intervals_narrower() {
    let stream = Stream::new(5, "past");
    let mut study = study();
    for unit in 0..600u64 {
        let taste = 50.0 + 20.0 * stream.normal(unit);
        let name = format!("u{unit}");
        let arm = (unit % 2) as usize;
        let spent = taste * [1.0, 1.1][arm] + 5.0 * stream.part(1).normal(unit);
        study.add_before(&name, &[(0.0, 0.0), (taste + 5.0 * stream.part(2).normal(unit), 1.0)]);
        study.add(&shown(&name, arm, 7, &[(0.0, 0.0), (spent, 1.0)]));
    }
    let report = report(&study);
    let ecpm = &report.differences[1];
    let (plain, adjusted) = (ecpm.plain.unwrap(), ecpm.adjusted.unwrap());
    // Two noises of 5 against a taste of 20: a third of the standard error is left.
    assert!(adjusted.standard_error < 0.5 * plain.standard_error, "{plain:?} {adjusted:?}");
    assert!(adjusted.interval.contains(0.1), "{adjusted:?}");
    assert_eq!(report.differences[0].best(), None, "nobody clicks");
}

#[test]
fn a_report_is_evidence_for_a_ramp_and_json() {
    let report = report(&filled(|rows| rows));
    let evidence = report.evidence("ecpm");
    assert_eq!(evidence.arms[1].ecpm_lift, report.differences[1].plain.map(|lift| lift.sequence));
    assert_eq!(evidence.arms[0].ecpm_lift, None);
    assert_eq!(evidence.arms[0].calibration, report.arms[0].calibration);
    assert_eq!(evidence.sample_ratio, Some(report.sequential_sample_ratio));
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<StudyReport>(&text).unwrap(), report);
}
