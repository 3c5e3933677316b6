//! The statistics of experiments are held to account: tests whose truth is known are
//! simulated, looked at every day, and what is said of them is counted.
//!
//! `docs/results/experiments.md` has the figures of 500 tests each; they are made by
//!
//! ```sh
//! cargo test --release --workspace --test experiment -- --ignored --nocapture
//! ```

use crosstie::experiment::{Settings, Shown, Study, StudyReport};
use crosstie::random::Stream;

/// Days that a test lasts.
const DAYS: i64 = 14;

/// Units of a test.
const UNITS: u64 = 2_000;

/// A market in which units differ: some come every day and some once, some click often
/// and some seldom, and orders are worth very different sums.
struct Market {
    stream: Stream,
    /// How much oftener the candidate's clicks are followed by an order.
    lift: f64,
    /// Whether what the units did in 14 days before is known.
    past: bool,
}

impl Market {
    fn report(&self) -> StudyReport {
        let arms = [("control".to_string(), 0.5), ("candidate".to_string(), 0.5)];
        let mut study = Study::new(&arms, &["ecpm".into()], &[], Settings::default());
        for unit in 0..UNITS {
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
                study.add(&Shown { unit: &name, arm, day, scenario: None, terms: &[term], predicted: &[] });
            }
        }
        study.report()
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
    /// The sequence's last interval holds it.
    last_sequence_holds: u64,
    /// The fixed interval of the last day holds it.
    interval_holds: u64,
    /// A sample-ratio mismatch below 1 in 1000 was called on any day.
    mismatches: u64,
    /// Mean standard error of the lift.
    standard_error: f64,
}

fn account(tests: u64, seed: u64, lift: f64, past: bool) -> Account {
    let mut account = Account::default();
    for test in 0..tests {
        let report = Market { stream: Stream::new(seed, "market").part(test), lift, past }.report();
        let days: Vec<_> = report.over_time.iter().filter_map(|day| day.differences[0].best()).collect();
        let last = report.differences[0].best().expect("a lift");
        let count = |truth: bool| u64::from(truth);
        account.sequence_calls += count(days.iter().any(|day| !day.sequence.contains(0.0)));
        account.fixed_calls += count(days.iter().any(|day| !day.interval.contains(0.0)));
        account.last_calls += count(!last.interval.contains(0.0));
        account.sequence_holds += count(days.iter().all(|day| day.sequence.contains(lift)));
        account.last_sequence_holds += count(last.sequence.contains(lift));
        account.interval_holds += count(last.interval.contains(lift));
        account.mismatches += count(report.sequential_sample_ratio < 1e-3);
        account.standard_error += last.standard_error / tests as f64;
    }
    account
}

/// At most 5 % may be called; of 60 tests eight or more would be by a chance of 1 %.
#[test]
fn equal_arms_looked_at_every_day_are_seldom_called_different() {
    let account = account(60, 1, 0.0, false);
    assert!(account.sequence_calls <= 3, "{account:?}");
    assert!(account.fixed_calls > account.sequence_calls, "looking every day is what sequences are for: {account:?}");
    assert!(account.mismatches == 0, "{account:?}");
}

/// 95 % should hold it; of 60 tests fewer than 51 do by a chance of 1 %.
#[test]
fn the_true_lift_lies_in_the_intervals() {
    let account = account(60, 2, 0.1, false);
    assert!(account.interval_holds >= 51, "{account:?}");
    assert!(account.sequence_holds >= 57, "{account:?}");
}

#[test]
fn what_was_before_makes_the_same_test_surer() {
    let (plain, adjusted) = (account(30, 3, 0.1, false), account(30, 3, 0.1, true));
    assert!(adjusted.standard_error < plain.standard_error, "{plain:?} {adjusted:?}");
    assert!(adjusted.interval_holds >= 24, "{adjusted:?}");
}

#[test]
#[ignore = "500 tests each; their figures are in docs/results/experiments.md"]
fn five_hundred_tests_each() {
    const TESTS: u64 = 500;
    let share = |count: u64| format!("{:.1} %", 100.0 * count as f64 / TESTS as f64);
    println!(
        "| arms | sequence calls, any day | interval calls, any day | interval calls, last day | sequence holds the truth, all days | interval holds the truth, last day | mean standard error |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, seed, lift, past) in [
        ("equal", 11, 0.0, false),
        ("equal, CUPED", 11, 0.0, true),
        ("10 % better", 12, 0.1, false),
        ("10 % better, CUPED", 12, 0.1, true),
        ("30 % better", 13, 0.3, false),
    ] {
        let account = account(TESTS, seed, lift, past);
        let Account { sequence_calls, fixed_calls, last_calls, sequence_holds, interval_holds, .. } = account;
        let told = [sequence_calls, fixed_calls, last_calls, sequence_holds, interval_holds].map(share).join(" | ");
        println!("| {name} | {told} | {:.4} |", account.standard_error);
        assert!(interval_holds * 100 >= 93 * TESTS && sequence_holds * 100 >= 93 * TESTS, "{name}: {account:?}");
        assert!(lift > 0.0 || sequence_calls * 100 <= 5 * TESTS, "{name}: {account:?}");
    }
}
