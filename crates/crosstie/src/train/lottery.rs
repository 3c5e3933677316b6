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
    fn mask(&self, trainer: &mut Trainer, task: usize, observer: &mut (dyn FnMut(&Event) + Send)) -> Result<Vec<bool>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::config::Config;
    use crate::data::Source;
    use crate::data::synth::Synth;
    use crate::feature::{Features, Purpose};
    use crate::random::Stream;
    use crate::schema::Schema;
    use crate::scorer::Scorer;

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

    /// A small training: its configuration, a trainer, and a batch.
    fn small(settings: &[&str]) -> (tempfile::TempDir, Config, Trainer, Batch) {
        let directory = tempfile::tempdir().unwrap();
        Synth { rows: 2_000, scenarios: 2, ..Synth::default() }.write(directory.path()).unwrap();
        let text = format!(
            "[data]\ndir = {:?}\n[model]\nname = \"ncs4cvr\"\nunits = [8, 6]\n[train]\nbatch_size = 400\n",
            directory.path().display().to_string()
        );
        let settings: Vec<String> = settings.iter().map(|setting| setting.to_string()).collect();
        let config = Config::parse(&text, &settings).unwrap();
        let source = Source::open(&config.data.train).unwrap();
        let features = Features::learn(&Schema::read(config.data.schema()).unwrap(), &source).unwrap();
        let rows = source.rows(&features.columns(Purpose::Training), 400).next().unwrap().unwrap();
        let batch = features.encode(&rows, Purpose::Training).unwrap();
        let trainer = Trainer::new(Scorer::new(&config, features).unwrap()).unwrap();
        (directory, config, trainer, batch)
    }

    fn parameters(trainer: &Trainer, wanted: impl Fn(&str) -> bool) -> Vec<u32> {
        let program = &trainer.scorer().network().program;
        let wanted = program.parameters().iter().filter(|parameter| wanted(&parameter.name));
        wanted.flat_map(|one| &trainer.scorer().parameters()[one.range()]).map(|number| number.to_bits()).collect()
    }

    fn tables(trainer: &Trainer) -> Vec<u32> {
        let tables = trainer.scorer().embeddings().tables().flat_map(|(.., weights)| weights);
        tables.map(|number| number.to_bits()).collect()
    }

    #[test]
    fn after_rewinding_all_numbers_and_the_way_from_there_are_those_of_the_start() {
        let (_directory, _, mut trainer, batch) = small(&["network.norm=batch", "optimizer.rows.name=adam"]);
        let start = (parameters(&trainer, |_| true), tables(&trainer));
        trainer.step_alone(0, &batch).unwrap();
        let first = (parameters(&trainer, |_| true), tables(&trainer));
        trainer.step_alone(1, &batch).unwrap();
        trainer.set_mask(1, &vec![false; trainer.masked_weights().len()]);
        trainer.rewind();
        assert!(start == (parameters(&trainer, |_| true), tables(&trainer)));
        trainer.step_alone(0, &batch).unwrap();
        assert!(first == (parameters(&trainer, |_| true), tables(&trainer)));
        assert!(first != start);
    }

    #[test]
    fn a_task_in_its_turn_moves_no_head_of_another_whatever_their_momentum() {
        let (_directory, _, mut trainer, batch) = small(&["optimizer.dense.l2=0.1", "network.norm=batch"]);
        let own = |name: &str, task: &str| {
            name.starts_with(&format!("head.{task}.")) || name.contains(&format!(".norm.{task}."))
        };
        let names = trainer.scorer().tasks().to_vec();
        for _ in 0..2 {
            for task in 0..names.len() {
                let before = names.iter().map(|name| parameters(&trainer, |one| own(one, name))).collect::<Vec<_>>();
                let shared = parameters(&trainer, |name| name == "shared.0.weight");
                trainer.step_alone(task, &batch).unwrap();
                for (other, before) in before.iter().enumerate() {
                    let after = parameters(&trainer, |one| own(one, &names[other]));
                    assert_eq!(after != *before, other == task, "{} in the turn of {}", names[other], names[task]);
                }
                assert!(shared != parameters(&trainer, |name| name == "shared.0.weight"));
            }
        }
    }

    #[test]
    fn a_struck_connection_rests_until_another_task_gives_it_momentum() {
        let (_directory, _, mut trainer, batch) = small(&[]);
        let mut mask = vec![true; trainer.masked_weights().len()];
        mask.iter_mut().step_by(2).for_each(|kept| *kept = false);
        trainer.set_mask(1, &mask);
        let moved = |trainer: &mut Trainer, task: usize| {
            let before = trainer.masked_weights();
            trainer.step_alone(task, &batch).unwrap();
            let after = trainer.masked_weights();
            let of =
                |struck: bool| mask.iter().zip(before.iter().zip(&after)).filter(move |(kept, _)| **kept != struck);
            [true, false].map(|struck| of(struck).filter(|(_, (before, after))| before != after).count())
        };
        let [struck, kept] = moved(&mut trainer, 1);
        assert!(struck == 0 && kept > 0, "{struck} {kept}");
        assert!(moved(&mut trainer, 0)[0] > 0, "the other task has these connections");
        assert!(moved(&mut trainer, 1)[0] > 0, "momentum");
    }

    /// A mask that was tried.
    #[derive(Debug)]
    struct Tried {
        task: usize,
        round: u64,
        kept: f64,
        figure: Option<f64>,
        best: bool,
    }

    /// Everything that a search leaves and tells.
    fn searched(settings: &[&str], stop_after: usize) -> (Trainer, Vec<Tried>) {
        let (_directory, config, mut trainer, _) = small(settings);
        let features = trainer.scorer().features().clone();
        let [train, valid] = [&config.data.train, &config.data.valid].map(|files| Source::open(files).unwrap());
        let train = Loader::new(&train, &features, Purpose::Training, 1 << 24);
        let valid = Loader::new(&valid, &features, Purpose::Evaluation, 1 << 24);
        let mix = Mix::new(&config.train, &trainer.scorer().network().objective).unwrap();
        let names = trainer.scorer().tasks().to_vec();
        let monitor = FigureName::parse("logloss", names.iter().map(String::as_str)).unwrap();
        let stop = AtomicBool::new(false);
        let mut seen = Vec::new();
        let search = Search {
            lottery: config.model.model().lottery().unwrap(),
            train: &train,
            valid: &valid,
            mix: &mix,
            monitor: &monitor,
            better: &|new, old| new < old,
            stop: &stop,
        };
        let mut observer = |event: &Event| {
            let Event::Tried { task, round, kept, monitor, figure, best } = event else { panic!("{event:?}") };
            assert_eq!(*monitor, format!("{}.given_parent.logloss", names[*task]));
            seen.push(Tried { task: *task, round: *round, kept: *kept, figure: *figure, best: *best });
            stop.store(seen.len() == stop_after, Ordering::Relaxed);
        };
        search.run(&mut trainer, &mut observer).unwrap();
        (trainer, seen)
    }

    /// The share of connections that a task's mask keeps.
    fn kept(trainer: &Trainer, task: &str) -> f64 {
        let mask = parameters(trainer, |name| name.starts_with("shared.") && name.ends_with(&format!(".mask.{task}")));
        mask.iter().filter(|bits| f32::from_bits(**bits) == 1.0).count() as f64 / mask.len() as f64
    }

    #[test]
    fn every_task_is_left_the_best_mask_of_its_rounds_at_the_start() {
        let (trainer, seen) = searched(&["model.rounds=2", "model.keep=0.25"], 0);
        let (_directory, _, start, _) = small(&[]);
        let learned = |name: &str| !name.contains(".mask.");
        assert!(parameters(&trainer, learned) == parameters(&start, learned) && tables(&trainer) == tables(&start));
        let names = trainer.scorer().tasks().to_vec();
        assert_eq!(seen.len(), 3 * names.len());
        for (task, tried) in seen.chunks_exact(3).enumerate() {
            let rounds: Vec<(usize, u64)> = tried.iter().map(|one| (one.task, one.round)).collect();
            assert_eq!(rounds, [(task, 0), (task, 1), (task, 2)]);
            for (round, Tried { kept, figure, .. }) in tried.iter().enumerate() {
                assert!((kept - 0.5f64.powi(round as i32)).abs() < 1e-3 && figure.is_some(), "{tried:?}");
            }
            let second_is_as_good = tried[2].figure <= tried[1].figure;
            assert_eq!([0, 1, 2].map(|round| tried[round].best), [false, true, second_is_as_good], "{tried:?}");
            let chosen = tried.iter().rfind(|one| one.best).unwrap();
            assert_eq!(kept(&trainer, &names[task]), chosen.kept);
        }
    }

    #[test]
    fn asked_to_stop_it_leaves_the_masks_found_so_far() {
        // Both rounds of the first task and the first of the second.
        let (trainer, seen) = searched(&["model.rounds=1", "model.keep=0.25"], 3);
        assert_eq!(seen.len(), 3);
        let names = trainer.scorer().tasks();
        assert!((kept(&trainer, &names[0]) - 0.25).abs() < 1e-3);
        assert_eq!((kept(&trainer, &names[1]), kept(&trainer, &names[2])), (1.0, 1.0));
    }
}
