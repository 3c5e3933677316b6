//! What became of requests, arm by arm, since the ramp's last step.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crosstie::experiment::{Count, Evidence};

/// Times are counted in classes, each 5 % wider than the one before, from 10 µs on.
const CLASSES: usize = 400;
const FIRST: f64 = 1e-5;
const RATIO: f64 = 1.05;

/// Counts of all arms.
#[derive(Debug)]
pub struct Live(Mutex<Vec<Counts>>);

#[derive(Clone, Debug)]
struct Counts {
    requests: u64,
    failures: u64,
    unknown: u64,
    values: u64,
    times: Vec<u64>,
}

impl Live {
    /// Nothing counted yet, of so many arms.
    pub fn new(arms: usize) -> Live {
        let none = Counts { requests: 0, failures: 0, unknown: 0, values: 0, times: vec![0; CLASSES] };
        Live(Mutex::new(vec![none; arms]))
    }

    /// Counts a request: how long it took, if it came to that, and of its values those that
    /// training did not know.
    pub fn count(&self, arm: usize, took: Option<Duration>, failed: bool, unknown: u64, values: u64) {
        let class = took.map(|took| (took.as_secs_f64() / FIRST).max(1.0).ln() / RATIO.ln());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = &mut counts[arm];
        counts.requests += 1;
        counts.failures += u64::from(failed);
        counts.unknown += unknown;
        counts.values += values;
        if let Some(class) = class {
            counts.times[(class as usize).min(CLASSES - 1)] += 1;
        }
    }

    /// Adds what was counted to what is known otherwise.
    pub fn add_to(&self, evidence: &mut Evidence) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        evidence.arms.resize_with(counts.len(), Default::default);
        for (arm, counts) in evidence.arms.iter_mut().zip(counts.iter()) {
            let of = |number, of| (of > 0).then_some(Count { number, of });
            arm.failures = of(counts.failures, counts.requests);
            arm.unknown = of(counts.unknown, counts.values);
            arm.p99_ms = counts.p99_ms();
        }
    }
}

impl Counts {
    /// The upper end of the class that the 99th percentile falls into.
    fn p99_ms(&self) -> Option<f64> {
        let timed: u64 = self.times.iter().sum();
        let mut left = (timed as f64 * 0.99).ceil() as u64;
        let class = self.times.iter().position(|count| {
            let found = *count >= left;
            left = left.saturating_sub(*count);
            found
        });
        (timed > 0).then_some(class).flatten().map(|class| FIRST * RATIO.powi(class as i32 + 1) * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_arm_by_arm() {
        let live = Live::new(2);
        for request in 0..200u64 {
            let took = Duration::from_millis(if request < 197 { 2 } else { 50 });
            live.count(1, Some(took), request < 4, request % 2, 5);
        }
        // Of what was not answered nobody knows how long it would have taken.
        (0..100).for_each(|_| live.count(1, None, true, 0, 0));
        let mut evidence = Evidence::default();
        live.add_to(&mut evidence);
        assert_eq!(evidence.arms[0].p99_ms, None);
        assert_eq!(evidence.arms[0].failures, None);
        let arm = &evidence.arms[1];
        assert_eq!(arm.failures, Some(Count { number: 104, of: 300 }));
        assert_eq!(arm.unknown, Some(Count { number: 100, of: 1000 }));
        // Of 200 requests the 198th in order took 50 ms; a class is 5 % wide.
        let p99 = arm.p99_ms.unwrap();
        assert!((50.0..=52.5).contains(&p99), "{p99}");
    }

    #[test]
    fn no_time_is_too_short_or_too_long_to_be_counted() {
        let live = Live::new(1);
        live.count(0, Some(Duration::ZERO), false, 0, 0);
        let mut evidence = Evidence::default();
        live.add_to(&mut evidence);
        assert!(evidence.arms[0].p99_ms.unwrap() < 0.011);
        (0..200).for_each(|_| live.count(0, Some(Duration::from_secs(1 << 20)), false, 0, 0));
        live.add_to(&mut evidence);
        assert!(evidence.arms[0].p99_ms.unwrap() > 1e3);
    }
}
