//! The statistics of experiments are held to account: tests whose truth is known are
//! simulated, looked at every day, and what is said of them is counted.
//!
//! `docs/results/experiments.md` has the figures of 500 tests each; they are made by
//!
//! ```sh
//! cargo test --release --workspace --test experiment -- --ignored --nocapture
//! ```

use std::io::Write;
use std::process::{Command, Stdio};

use crosstie::experiment::statistics::{Effect, Moments, Scale, chi_square};
use crosstie::experiment::{Settings, Shown, Study, StudyReport};
use crosstie::random::Stream;

/// Days that a test lasts.
const DAYS: i64 = 14;

/// A market in which units differ: some come every day and some once, some click often
/// and some seldom, and orders are worth very different sums.
struct Market {
    stream: Stream,
    units: u64,
    /// How much oftener the candidate's clicks are followed by an order.
    lift: f64,
    /// Whether what the units did in 14 days before is known.
    past: bool,
}

impl Market {
    fn report(&self) -> StudyReport {
        let arms = ["control", "candidate"];
        let mut study = Study::new(&["ecpm".into()], &[], Settings::default());
        for unit in 0..self.units {
            let own = self.stream.part(unit);
            let name = format!("u{unit}");
            let arm = own.below(0, 2) as usize;
            // Comes on one day in seven to all days, from a first day on.
            let (first, often) = (own.below(1, DAYS as u64) as i64, own.uniform(2).powi(2) * 0.86 + 0.14);
            let taste = (-1.7 + 0.7 * own.normal(3)).exp();
            if self.past {
                self.visits(&own.part(11), often, taste, 0.0).for_each(|(_, term)| study.add_before(&name, &[term]));
            }
            let lift = [0.0, self.lift][arm];
            for (day, term) in self.visits(&own.part(12), often, taste, lift).filter(|(day, _)| *day >= first) {
                study.add(&Shown { unit: &name, arm: arms[arm], day, scenario: None, terms: &[term], predicted: &[] });
            }
        }
        study.report(&arms.map(|name| (name.to_string(), 0.5)))
    }

    /// What the ten impressions of each day on which a unit comes bring: earned, shown.
    fn visits(&self, own: &Stream, often: f64, taste: f64, lift: f64) -> impl Iterator<Item = (i64, (f64, f64))> {
        let own = *own;
        (0..DAYS).filter(move |day| own.part(1).uniform(*day as u64) < often).map(move |day| {
            let visit = own.part(2).part(day as u64);
            let order = |place: u64| {
                let bought = visit.uniform(place) < 0.25 * taste.min(0.8) * (1.0 + lift);
                if bought { 1_000.0 * (visit.part(place).normal(0)).exp() } else { 0.0 }
            };
            (day, ((0..10).map(order).sum(), 10.0))
        })
    }
}

/// How often the things that reports say are wrong.
#[derive(Debug, Default)]
struct Account {
    /// Called by the sequence on any day.
    sequence_calls: u64,
    /// Called by the fixed interval on any day: what looking every day would do to it.
    fixed_calls: u64,
    /// Called by the fixed interval on the last day.
    last_calls: u64,
    /// All intervals of the sequence hold the true lift.
    sequence_holds: u64,
    /// The fixed interval of the last day holds it.
    interval_holds: u64,
    /// A sample-ratio mismatch below 1 in 1000 was called on any day.
    mismatches: u64,
    /// Mean standard error of the lift.
    standard_error: f64,
}

fn account(tests: u64, units: u64, seed: u64, lift: f64, past: bool) -> Account {
    let mut account = Account::default();
    for test in 0..tests {
        let report = Market { stream: Stream::new(seed, "market").part(test), units, lift, past }.report();
        let days: Vec<_> = report.over_time.iter().filter_map(|day| day.differences[0].best()).collect();
        let last = report.differences[0].best().expect("a lift");
        let count = |truth: bool| u64::from(truth);
        account.sequence_calls += count(days.iter().any(|day| !day.sequence.contains(0.0)));
        account.fixed_calls += count(days.iter().any(|day| !day.interval.contains(0.0)));
        account.last_calls += count(!last.interval.contains(0.0));
        account.sequence_holds += count(days.iter().all(|day| day.sequence.contains(lift)));
        account.interval_holds += count(last.interval.contains(lift));
        account.mismatches += count(report.sequential_sample_ratio < 1e-3);
        account.standard_error += last.standard_error / tests as f64;
    }
    account
}

/// At most 5 % may be called; of 60 tests eight or more would be by a chance of 1 %.
#[test]
fn equal_arms_looked_at_every_day_are_seldom_called_different() {
    let account = account(60, 2_000, 1, 0.0, false);
    assert!(account.sequence_calls <= 3, "{account:?}");
    assert!(account.fixed_calls > account.sequence_calls, "looking every day is what sequences are for: {account:?}");
    assert!(account.mismatches == 0, "{account:?}");
}

/// 95 % should hold it; of 60 tests fewer than 51 do by a chance of 1 %.
#[test]
fn the_true_lift_lies_in_the_intervals() {
    let account = account(60, 2_000, 2, 0.1, false);
    assert!(account.interval_holds >= 51, "{account:?}");
    assert!(account.sequence_holds >= 57, "{account:?}");
}

#[test]
fn what_was_before_makes_the_same_test_surer() {
    let (plain, adjusted) = (account(30, 2_000, 3, 0.1, false), account(30, 2_000, 3, 0.1, true));
    assert!(adjusted.standard_error < plain.standard_error, "{plain:?} {adjusted:?}");
    assert!(adjusted.interval_holds >= 24, "{adjusted:?}");
}

/// What tea-tasting (1.14) makes of units read from stdin: numerator, denominator, both
/// before, arm.
const TEA_TASTING: &str = r#"
import json, sys
import pyarrow as pa, scipy.stats, tea_tasting as tt

rows = [[float(cell) for cell in line.split()] for line in sys.stdin]
names = ["numerator", "denominator", "numerator_before", "denominator_before", "variant"]
data = pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})
found = tt.Experiment(
    mean=tt.Mean("numerator"),
    ratio=tt.RatioOfMeans("numerator", "denominator"),
    cuped=tt.Mean("numerator", "numerator_before"),
    ratio_cuped=tt.RatioOfMeans(*names[:4]),
).analyze(data, control=0)
told = {
    name: [metric.effect_size, metric.effect_size_ci_lower, metric.effect_size_ci_upper, metric.pvalue]
    for name, metric in found.items()
}
arms = [sum(row[4] == arm for row in rows) for arm in (0, 1)]
told["sample_ratio"] = [scipy.stats.chisquare(arms).pvalue]
json.dump(told, sys.stdout)
"#;

/// Runs where `CROSSTIE_PYTHON`, or else python3, has tea-tasting.
#[test]
fn effects_are_those_of_tea_tasting() {
    let python = std::env::var("CROSSTIE_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python).args(["-c", "import tea_tasting, pyarrow"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {python} has no tea-tasting");
        return;
    }
    let stream = Stream::new(17, "tea");
    let (mut text, mut counts) = (String::new(), [0, 0]);
    let (mut ratios, mut means) = ([Moments::default(); 2], [Moments::default(); 2]);
    for unit in 0..3_000 {
        let own = stream.part(unit);
        let (arm, taste) = ((own.uniform(0) < 0.52) as usize, own.normal(1).exp());
        let [shown, before] = [2, 3].map(|draw| 1.0 + own.below(draw, 20) as f64);
        let earned = |shown: f64, draw: u64| shown * taste * (own.normal(draw) / 2.0).exp();
        let observation = [earned(shown, 4) * [1.0, 1.05][arm], shown, earned(before, 5), before];
        counts[arm] += 1;
        ratios[arm].add(&observation);
        means[arm].add(&[observation[0], 1.0, observation[2], 1.0]);
        text += &format!("{} {arm}\n", observation.map(|value| value.to_string()).join(" "));
    }
    let mut child = Command::new(&python)
        .args(["-c", TEA_TASTING])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ended");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let agree = |name: &str, effect: Option<Effect>, near: f64| {
        let effect = effect.expect(name);
        let interval = effect.interval(0.05);
        for (place, found) in [effect.estimate, interval.low, interval.high].into_iter().enumerate() {
            let expected = told[name][place].as_f64().expect("a number");
            let far = (found - expected).abs() / effect.standard_error;
            assert!(far < near, "{name} {place}: found {found}, expected {expected}");
        }
        let (found, expected) = (effect.p(), told[name][3].as_f64().expect("a number"));
        assert!((found - expected).abs() < near, "{name}: p is {found}, expected {expected}");
    };
    let [control, candidate] = &means;
    agree("mean", Effect::of(control, candidate, Scale::Absolute), 1e-6);
    // It takes both arms' units together for θ, which the difference of arms moves a little.
    agree("cuped", Effect::adjusted(control, candidate, Scale::Absolute), 0.01);
    let [control, candidate] = &ratios;
    agree("ratio", Effect::of(control, candidate, Scale::Absolute), 1e-6);
    agree("ratio_cuped", Effect::adjusted(control, candidate, Scale::Absolute), 0.01);
    let (found, expected) = (chi_square(&counts, &[0.5, 0.5]).expect("units"), told["sample_ratio"][0].as_f64());
    assert!((found / expected.expect("a number") - 1.0).abs() < 1e-6, "{found}, {expected:?}");
}

#[test]
#[ignore = "500 tests each; their figures are in docs/results/experiments.md"]
fn five_hundred_tests_each() {
    const TESTS: u64 = 500;
    let share = |count: u64| format!("{:.1} %", 100.0 * count as f64 / TESTS as f64);
    println!(
        "| arms | units | sequence calls | interval calls | last interval calls | sequences hold | last interval holds |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, units, seed, lift, past) in [
        ("equal", 2_000, 11, 0.0, false),
        ("equal", 5_000, 11, 0.0, false),
        ("equal, CUPED", 5_000, 11, 0.0, true),
        ("10 % better", 5_000, 12, 0.1, false),
        ("10 % better, CUPED", 5_000, 12, 0.1, true),
        ("30 % better", 5_000, 13, 0.3, false),
    ] {
        let account = account(TESTS, units, seed, lift, past);
        let Account { sequence_calls, fixed_calls, last_calls, sequence_holds, interval_holds, .. } = account;
        let told = [sequence_calls, fixed_calls, last_calls, sequence_holds, interval_holds].map(share).join(" | ");
        println!("| {name} | {units} | {told} |");
        assert!(interval_holds * 100 >= 93 * TESTS && sequence_holds * 100 >= 93 * TESTS, "{name}: {account:?}");
        assert!(lift > 0.0 || sequence_calls * 100 <= 5 * TESTS, "{name}: {account:?}");
    }
}
