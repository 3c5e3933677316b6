//! Round after round, until every task has its mask.

use std::ops::ControlFlow;

use super::checkpoint::{Store, save};
use super::event::{Event, Next, Observer};
use super::job::Job;
use super::loader::Cursor;
use super::state::State;
use crate::error::Result;

impl State {
    /// One round of one task; broken off if the observer says stop.
    pub fn try_mask(
        &mut self,
        job: &Job<'_>,
        store: &Option<Store>,
        observer: &mut Observer<'_>,
    ) -> Result<ControlFlow<()>> {
        let config = &job.config.train;
        while let Some(search) = &mut self.search {
            let task = search.masks.len();
            if search.epoch == 0 {
                self.trainer.rewind()?;
                self.trainer.set_mask(task, &search.mask);
                search.epoch = 1;
            }
            if search.epoch > search.lottery.round_epochs {
                break;
            }
            let (epoch, round, from) = (search.epoch, search.round, search.cursor.clone());
            let whole = job.train.epoch(config, &job.mix, epoch, &from, &mut |batch, after| {
                self.trainer.step_alone(task, batch)?;
                self.search.as_mut().expect("it lasts").cursor = after;
                match observer(&Event::Trial { task, round, rows: batch.rows }) {
                    Next::Stop => return Ok(ControlFlow::Break(())),
                    Next::Checkpoint => save(store, self, observer),
                    Next::GoOn => {}
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if !whole {
                return Ok(ControlFlow::Break(()));
            }
            let search = self.search.as_mut().expect("it lasts");
            (search.epoch, search.cursor) = (epoch + 1, Cursor::default());
        }
        self.judge_mask(job, observer)
    }

    /// The figure of the mask under way, and the next mask.
    fn judge_mask(&mut self, job: &Job<'_>, observer: &mut Observer<'_>) -> Result<ControlFlow<()>> {
        let Some(search) = &mut self.search else { return Ok(ControlFlow::Continue(())) };
        let task = search.masks.len();
        let learned = self.trainer.learned();
        let objective = &learned.network().objective;
        let monitor = job.figure_of_task(objective, task);
        // By the network of its own loss: of other tasks it knows nothing.
        let network = self.trainer.turn(task).expect("tasks take turns while masks are looked for");
        let Some(report) = job.evaluate(learned.passes_of(network), observer)? else {
            return Ok(ControlFlow::Break(()));
        };
        let figure = monitor.of(&report);
        // Masks come ever sparser; of equal ones the sparser is the better.
        let best = search.round > 0
            && search.found.as_ref().is_none_or(|(old, _)| match (figure, old) {
                (Some(new), Some(old)) => !job.better(*old, new),
                (new, old) => new.is_some() || old.is_none(),
            });
        if best {
            search.found = Some((figure, search.mask.clone()));
        }
        let kept = search.mask.iter().filter(|kept| **kept).count() as f64 / search.connections as f64;
        let event = Event::Tried { task, round: search.round, kept, monitor: monitor.to_string(), figure, best };
        search.end_round(&self.trainer.masked_weights());
        self.progress.tried += 1;
        match observer(&event) {
            Next::Stop => Ok(ControlFlow::Break(())),
            Next::GoOn | Next::Checkpoint => Ok(ControlFlow::Continue(())),
        }
    }

    /// Leaves the model at its start, within the masks that were found.
    pub fn end_search(&mut self, job: &Job<'_>) -> Result<()> {
        let Some(search) = self.search.take() else { return Ok(()) };
        if search.lottery.rounds > 0 {
            self.trainer.rewind()?;
        }
        for (task, mask) in search.masks.iter().enumerate() {
            self.trainer.set_mask(task, mask);
        }
        if !search.lottery.alternate {
            self.trainer.end_turns(&job.config, job.features.schema())?;
        }
        self.trainer.prepare();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::search::Search;
    use super::super::trainer::Trainer;
    use super::*;
    use crate::batch::Batch;
    use crate::config::Config;
    use crate::data::Source;
    use crate::data::synth::Synth;
    use crate::feature::Features;
    use crate::schema::Schema;
    use crate::train::Fit;

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
        let rows = source.rows(&features.columns(), 400).next().unwrap().unwrap();
        let batch = features.encode(&rows).unwrap();
        let trainer = Trainer::new(&config, features.features().schema(), features.features().layout()).unwrap();
        (directory, config, trainer, batch)
    }

    fn parameters(trainer: &Trainer, wanted: impl Fn(&str) -> bool) -> Vec<u32> {
        let wanted = trainer.learned().dense_tensors().filter(|tensor| wanted(tensor.name));
        wanted.flat_map(|tensor| tensor.values).map(|number| number.to_bits()).collect()
    }

    fn tables(trainer: &Trainer) -> Vec<u32> {
        trainer.learned().table_tensors().flat_map(|tensor| tensor.values).map(|number| number.to_bits()).collect()
    }

    fn names(trainer: &Trainer) -> Vec<String> {
        trainer.learned().network().objective.names().to_vec()
    }

    #[test]
    fn after_rewinding_all_numbers_and_the_way_from_there_are_those_of_the_start() {
        let (_directory, _, mut trainer, batch) = small(&["network.norm=batch", "optimizer.rows.name=adam"]);
        let start = (parameters(&trainer, |_| true), tables(&trainer));
        trainer.step_alone(0, &batch).unwrap();
        let first = (parameters(&trainer, |_| true), tables(&trainer));
        trainer.step_alone(1, &batch).unwrap();
        trainer.set_mask(1, &vec![false; trainer.masked_weights().len()]);
        trainer.rewind().unwrap();
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
        let names = names(&trainer);
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

    /// Everything that a search leaves and tells; stopped after so many masks,
    /// it leaves what it has found so far.
    fn searched(settings: &[&str], stop_after: usize) -> (Trainer, Option<Search>, Vec<Tried>) {
        let (_directory, config, trainer, _) = small(&[settings, &["train.monitor=logloss"]].concat());
        let [train, valid] = [&config.data.train, &config.data.valid].map(|files| Source::open(files).unwrap());
        let features = Features::learn(&Schema::read(config.data.schema()).unwrap(), &train).unwrap();
        let names = names(&trainer);
        let mut seen = Vec::new();
        let mut observer = |event: &Event| {
            if let Event::Tried { task, round, kept, monitor, figure, best } = event {
                assert_eq!(*monitor, format!("{}.given_parent.logloss", names[*task]));
                seen.push(Tried { task: *task, round: *round, kept: *kept, figure: *figure, best: *best });
                if seen.len() == stop_after {
                    return Next::Stop;
                }
            }
            Next::GoOn
        };
        let mut fit = Fit::new(&config, &features, &train, &valid).unwrap();
        let found = fit.find_masks(&mut observer).unwrap();
        assert_eq!(found.is_break(), stop_after > 0);
        let State { trainer, search, .. } = fit.state;
        (trainer, search, seen)
    }

    /// The share of connections that a task's mask keeps.
    fn kept(trainer: &Trainer, task: &str) -> f64 {
        let mask = parameters(trainer, |name| name.starts_with("shared.") && name.ends_with(&format!(".mask.{task}")));
        mask.iter().filter(|bits| f32::from_bits(**bits) == 1.0).count() as f64 / mask.len() as f64
    }

    #[test]
    fn every_task_is_left_the_best_mask_of_its_rounds_at_the_start() {
        let (trainer, search, seen) = searched(&["model.rounds=2", "model.keep=0.25"], 0);
        assert!(search.is_none());
        let (_directory, _, mut start, _) = small(&[]);
        start.start_at(trainer.starts.clone());
        let learned = |name: &str| !name.contains(".mask.");
        assert!(parameters(&trainer, learned) == parameters(&start, learned) && tables(&trainer) == tables(&start));
        let names = names(&trainer);
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
    fn asked_to_stop_it_holds_the_masks_found_so_far() {
        // Both rounds of the first task and the first of the second.
        let (_, search, seen) = searched(&["model.rounds=1", "model.keep=0.25"], 3);
        let search = search.unwrap();
        assert_eq!((seen.len(), search.masks.len(), search.round, search.epoch), (3, 1, 1, 0));
        let share = |mask: &[bool]| mask.iter().filter(|kept| **kept).count() as f64 / mask.len() as f64;
        assert!((share(&search.masks[0]) - 0.25).abs() < 1e-3 && (share(&search.mask) - 0.25).abs() < 1e-3);
    }
}
