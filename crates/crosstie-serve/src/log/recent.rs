//! The events that were logged last.

use std::collections::{HashSet, VecDeque};

/// Keys of so many events are remembered: some ten megabytes.
pub(super) const CAPACITY: usize = 1 << 18;

/// The keys of the last [`CAPACITY`] events.
#[derive(Debug, Default)]
pub(super) struct Recent {
    keys: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Recent {
    pub fn contains(&self, key: u128) -> bool {
        self.keys.contains(&key)
    }

    pub fn insert(&mut self, key: u128) {
        if !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut recent = Recent::default();
        (0..=CAPACITY as u128).for_each(|key| recent.insert(key));
        assert!(!recent.contains(0) && recent.contains(1) && recent.contains(CAPACITY as u128));
        assert_eq!(recent.keys.len(), CAPACITY);
    }
}
