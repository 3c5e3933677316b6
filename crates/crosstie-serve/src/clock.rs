//! What time it is: by this machine, or as somebody says.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::log::Time;

/// The time that events are logged with and that experiments go by. Copies tell the same.
///
/// Deadlines, time limits and times of load are always by the machine: they are about work
/// that is really done.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's.
    pub fn machine() -> Clock {
        Clock(None)
    }

    /// One that stands still until it is [set](Clock::set).
    pub fn simulated(now: Time) -> Clock {
        Clock(Some(Arc::new(AtomicI64::new(now.0))))
    }

    /// Whether somebody sets it.
    pub fn is_simulated(&self) -> bool {
        self.0.is_some()
    }

    /// Sets a simulated clock; the machine's goes on as it does.
    pub fn set(&self, now: Time) {
        if let Some(time) = &self.0 {
            time.store(now.0, Ordering::Release);
        }
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.0.as_ref().map_or_else(Time::now, |time| Time(time.load(Ordering::Acquire)))
    }

    /// The same in seconds since the beginning of 1970.
    pub fn seconds(&self) -> u64 {
        u64::try_from(self.now().0.div_euclid(1_000_000)).unwrap_or(0)
    }

    /// How long something takes that begins now. On a simulated clock nothing takes time.
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch((!self.is_simulated()).then(Instant::now))
    }
}

/// Tells how long ago it was started.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Option<Instant>);

impl Stopwatch {
    /// The time since then.
    pub fn elapsed(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |start| start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_clock_tells_what_it_was_set_to_and_takes_no_time() {
        let clock = Clock::simulated(Time(5_000_000));
        let copy = clock.clone();
        let stopwatch = copy.stopwatch();
        clock.set(Time(7_500_000));
        assert_eq!((copy.now(), copy.seconds(), stopwatch.elapsed()), (Time(7_500_000), 7, Duration::ZERO));
        assert!(Clock::machine().now() > Time(1_700_000_000_000_000), "a clock of after 2023");
    }
}
