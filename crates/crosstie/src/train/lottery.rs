//! The search for every task's mask: iterative magnitude pruning with rewinding
//! (Frankle and Carbin, ICLR 2019, as NCS4CVR uses it; methods 3.3).

use std::sync::atomic::{AtomicBool, Ordering};

use super::Event;
use super::loader::Loader;
use super::mix::Mix;
use super::step::Trainer;
use crate::error::Result;
use crate::metric::{FigureName, Meaning};
use crate::model::Lottery;
use crate::objective::Space;

/// What the search goes by.
pub(super) struct Search<'a> {
    pub lottery: Lottery,
    pub train: &'a Loader<'a>,
    pub valid: &'a Loader<'a>,
    pub mix: &'a Mix,
    /// Its kind of figure decides, for each task by itself.
    pub monitor: &'a FigureName,
    /// Whether a figure is better than another.
    pub better: &'a (dyn Fn(f64, f64) -> bool + Sync),
    pub stop: &'a AtomicBool,
}

impl Search<'_> {
    /// Finds the tasks' masks one after the other and leaves the model at its
    /// start, within them. Asked to stop, it leaves the best mask that the task
    /// under way has so far, and later tasks whole.
    pub fn run(&self, trainer: &mut Trainer, observer: &mut (dyn FnMut(&Event) + Send)) -> Result<()> {
        let tasks = trainer.scorer().tasks().len();
        let mut masks = Vec::new();
        if self.lottery.rounds > 0 {
            for task in 0..tasks {
                masks.push(self.mask(trainer, task, observer)?);
            }
        }
        trainer.rewind();
        for (task, mask) in masks.iter().enumerate() {
            trainer.set_mask(task, mask);
        }
        if !self.lottery.alternate {
            trainer.end_turns();
        }
        Ok(())
    }

    /// The best mask of one task: a round trains within the mask of the round
    /// before, has its figure, and makes a smaller one of it. The whole mask
    /// has a figure, too, but is not chosen; the last one is not pruned further.
    fn mask(
        &self,
        trainer: &mut Trainer,
        task: usize,
        observer: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<Vec<bool>> {
        let objective = &trainer.scorer().network().objective;
        let meaning = match objective.spaces()[task] {
            Space::Parent => Meaning::GivenParent,
            Space::Product | Space::Impression => Meaning::FromImpression,
        };
        let monitor = self.monitor.of_task(&objective.names()[task], meaning);
        let Lottery { keep, rounds, .. } = self.lottery;
        let share = 1.0 - keep.powf(1.0 / rounds as f64);
        let mut mask = vec![true; trainer.masked_weights().len()];
        let mut found: Option<(Option<f64>, Vec<bool>)> = None;
        for round in 0..=rounds {
            trainer.rewind();
            trainer.set_mask(task, &mask);
            if !self.teach(trainer, task)? {
                break;
            }
            let report = trainer.score_alone(task, |scorer| self.valid.evaluate(scorer))?;
            let figure = monitor.of(&report);
            // Masks come ever sparser; of equal ones the sparser is the better.
            let best = round > 0
                && found.as_ref().is_none_or(|(old, _)| match (figure, old) {
                    (Some(new), Some(old)) => !(self.better)(*old, new),
                    (new, old) => new.is_some() || old.is_none(),
                });
            let kept = mask.iter().filter(|kept| **kept).count() as f64 / mask.len() as f64;
            observer(&Event::Tried { task, round, kept, monitor: monitor.to_string(), figure, best });
            if best {
                found = Some((figure, mask.clone()));
            }
            if round < rounds {
                prune(&trainer.masked_weights(), &mut mask, share);
            }
        }
        Ok(found.map_or_else(|| vec![true; mask.len()], |(_, mask)| mask))
    }

    /// Teaches one task alone for the epochs of a round; whether it came to
    /// their end.
    fn teach(&self, trainer: &mut Trainer, task: usize) -> Result<bool> {
        let config = trainer.scorer().config().train.clone();
        let mut alive = true;
        for epoch in 1..=self.lottery.round_epochs {
            self.train.epoch(&config, self.mix, epoch, &mut |batch| {
                alive = !self.stop.load(Ordering::Relaxed);
                if alive {
                    trainer.step_alone(task, batch)?;
                }
                Ok(alive)
            })?;
            if !alive {
                break;
            }
        }
        Ok(alive)
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
