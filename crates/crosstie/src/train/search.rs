//! The search for every task's mask: iterative magnitude pruning with rewinding
//! (Frankle and Carbin, ICLR 2019, as NCS4CVR uses it; methods 3.3).

use super::loader::Cursor;
use super::trainer::Trainer;
use crate::model::Lottery;

/// The search, and where it stands. The tasks come one after the other. A round
/// trains a task alone within the mask of the round before, has its figure, and
/// makes a smaller mask of it. The whole mask has a figure, too, but is not
/// chosen; the last one is not pruned further.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Search {
    pub lottery: Lottery,
    /// Number of tasks.
    pub tasks: usize,
    /// Number of masked weights.
    pub connections: usize,
    /// The masks of the tasks that are done.
    pub masks: Vec<Vec<bool>>,
    /// The round of the task under way.
    pub round: u64,
    /// The mask of the round.
    pub mask: Vec<bool>,
    /// The task's best mask so far, with its figure.
    pub found: Option<(Option<f64>, Vec<bool>)>,
    /// The epoch of the round, from 1; 0 before its start.
    pub epoch: u64,
    /// The place in the epoch.
    pub cursor: Cursor,
}

impl Search {
    /// A search at its start.
    pub fn new(lottery: Lottery, trainer: &Trainer) -> Search {
        let connections = trainer.masked_weights().len();
        let tasks = trainer.learned().network().objective.names().len();
        let (mask, cursor) = (vec![true; connections], Cursor::default());
        Search { lottery, tasks, connections, masks: Vec::new(), round: 0, mask, found: None, epoch: 0, cursor }
    }

    /// Whether every task has its mask.
    pub fn is_done(&self) -> bool {
        self.lottery.rounds == 0 || self.masks.len() == self.tasks
    }

    /// Ends a round, of which the task's weights are left.
    pub fn end_round(&mut self, weights: &[f32]) {
        let Lottery { keep, rounds, .. } = self.lottery;
        (self.epoch, self.cursor) = (0, Cursor::default());
        if self.round < rounds {
            prune(weights, &mut self.mask, 1.0 - keep.powf(1.0 / rounds as f64));
            self.round += 1;
            return;
        }
        let whole = || vec![true; self.connections];
        let mask = self.found.take().map_or_else(whole, |(_, mask)| mask);
        self.masks.push(mask);
        (self.round, self.mask) = (0, whole());
    }
}

/// Strikes out a share (rounded to whole connections) of those that are kept:
/// the ones with the smallest weights, and of equal ones the first.
fn prune(weights: &[f32], kept: &mut [bool], share: f64) {
    let mut places: Vec<usize> = (0..kept.len()).filter(|place| kept[*place]).collect();
    let struck = (share * places.len() as f64).round() as usize;
    places.sort_by(|a, b| weights[*a].abs().total_cmp(&weights[*b].abs()));
    places[..struck].iter().for_each(|place| kept[*place] = false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn rounds_leave_the_shares_of_the_reference_and_the_largest_weights() {
        let stream = Stream::new(1, "weights");
        let weights: Vec<f32> = (0..10_000).map(|place| stream.normal(place) as f32).collect();
        let mut kept = vec![true; weights.len()];
        let mut left = Vec::new();
        for _ in 0..4 {
            let before = kept.clone();
            prune(&weights, &mut kept, 1.0 - 0.2f64.powf(0.25));
            assert!(kept.iter().zip(before).all(|(kept, before)| before || !kept), "what is struck stays struck");
            left.push(kept.iter().filter(|kept| **kept).count());
        }
        // methods 3.3: 66.87 %, 44.72 %, 29.91 %, 20.0 %.
        assert_eq!(left, [6687, 4472, 2991, 2000]);
        let of = |wanted: bool| {
            weights.iter().zip(&kept).filter(move |(_, kept)| **kept == wanted).map(|(weight, _)| weight.abs())
        };
        assert!(of(false).fold(0.0, f32::max) <= of(true).fold(f32::INFINITY, f32::min));
    }

    #[test]
    fn equal_weights_are_struck_in_order_and_no_more_than_due() {
        let mut kept = vec![true, false, true, true, true];
        prune(&[1.0, 0.0, -1.0, 1.0, 2.0], &mut kept, 0.5);
        assert_eq!(kept, [false, false, false, true, true]);
    }
}
