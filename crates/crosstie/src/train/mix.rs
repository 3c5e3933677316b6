//! Batches mixed of impressions and of rows drawn anew for the tasks that come
//! after an action (Calibration4CVR; methods 3.1).

use std::ops::Range;

use crate::batch::Batch;
use crate::config::{Once, TrainConfig};
use crate::error::{Error, Result};
use crate::objective::Objective;
use crate::random::Stream;
use crate::schema::{Funnel, GIVEN};

/// How batches are mixed. Off, every batch is impressions alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mix {
    impressions: usize,
    rate: f64,
    once: Once,
    funnel: Funnel,
    actions: Vec<Action>,
}

/// A window's rows, dealt out to batches.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Deal {
    /// The parent rows of each action, in random order.
    pools: Vec<Vec<usize>>,
    /// Each batch's impressions, by their places in a random order of all rows.
    impressions: Vec<Range<usize>>,
    /// Rows of that order that are done with; the others begin the next window.
    dealt: usize,
}

impl Deal {
    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.impressions.len()
    }

    /// Rows, in the random order, that are done with.
    pub fn dealt(&self) -> usize {
        self.dealt
    }
}

/// A root task whose rows are drawn.
#[derive(Clone, Debug, PartialEq)]
struct Action {
    task: usize,
    /// The tasks of which such a row says no more and no less than any other
    /// row where the action happened.
    after: Vec<usize>,
    /// Those of them with a loss on the rows where their parent's action happened.
    learners: Vec<usize>,
}

impl Mix {
    /// Reads `[train.mix]`.
    ///
    /// # Errors
    /// [`Error::Config`] where no task could learn from a drawn row, or a batch
    /// is too small for the ratio.
    pub fn new(config: &TrainConfig, objective: &Objective) -> Result<Mix> {
        let funnel = objective.funnel();
        let (rate, once) = config.mix.as_ref().map_or((0.0, Once::default()), |mix| (mix.parent_rows, mix.once));
        let batch_size = config.rows_of_step(None);
        let off = Mix { impressions: batch_size, rate, once, funnel: funnel.clone(), actions: Vec::new() };
        if rate == 0.0 {
            return Ok(off);
        }
        let roots = (0..funnel.tasks()).filter(|task| funnel.parents[*task].is_none());
        let actions = roots.map(|task| {
            let after: Vec<usize> = (0..funnel.tasks()).filter(|other| root(funnel, *other) == Some(task)).collect();
            let learners = after.iter().copied().filter(|task| objective.asks_given_parent(*task)).collect();
            Action { task, after, learners }
        });
        let actions: Vec<Action> = actions.filter(|action| !action.learners.is_empty()).collect();
        if actions.is_empty() {
            return Err(Error::Config(
                "train.mix: no task has a loss on the rows where its parent's action happened; leave train.mix out, \
                 or set objective.space = \"parent\""
                    .into(),
            ));
        }
        let most = |count: usize| count as f64 + actions.len() as f64 * (count as f64 * rate).ceil();
        let Some(impressions) = (1..=batch_size).rev().find(|count| most(*count) <= batch_size as f64) else {
            let message = format!("train.mix.parent_rows = {rate} does not fit train.batch_size = {batch_size}");
            return Err(Error::Config(message));
        };
        Ok(Mix { impressions, actions, ..off })
    }

    /// Impressions of a full batch.
    pub fn impressions(&self) -> usize {
        self.impressions
    }

    /// How a window is dealt out to batches; `last` if no window comes after it.
    pub fn deal(&self, window: &Batch, last: bool, stream: Stream) -> Deal {
        let (rows, size, pools) = (window.rows, self.impressions, self.pools(window, stream));
        if self.once == Once::Impressions || self.actions.is_empty() {
            let dealt = if last { rows } else { rows / size * size };
            let batches = (0..dealt).step_by(size).map(|from| from..(from + size).min(dealt)).collect();
            return Deal { pools, impressions: batches, dealt };
        }
        // As many as the parent rows take, in batches of about one size: what a window
        // had left over would have more parent rows than other rows have.
        let most = pools.iter().map(Vec::len).max().unwrap_or(0);
        let drawn = (most as f64 / self.rate).ceil() as usize;
        let count = drawn.div_ceil(size);
        let batches = (0..count).map(|index| drawn * index / count..drawn * (index + 1) / count).collect();
        Deal { pools, impressions: batches, dealt: rows }
    }

    /// The parent rows of a window, for each action, in random order.
    fn pools(&self, window: &Batch, stream: Stream) -> Vec<Vec<usize>> {
        let tasks = self.funnel.tasks();
        let labels = |row: usize| &window.labels[row * tasks..(row + 1) * tasks];
        let counts = |action: &Action, row: usize| {
            let given = |task: &usize| self.funnel.given_parent(labels(row), *task).is_some();
            labels(row)[action.task] == 1.0 && action.learners.iter().any(given)
        };
        let pool = |action: &Action| {
            let rows: Vec<usize> = (0..window.rows).filter(|row| counts(action, *row)).collect();
            stream.part(action.task as u64).permutation(rows.len()).into_iter().map(|index| rows[index]).collect()
        };
        self.actions.iter().map(pool).collect()
    }

    /// Which of the pool's rows go with some of a window's impressions.
    fn drawn(&self, pool: &[usize], impressions: &Range<usize>, deal: &Deal) -> Range<usize> {
        let all = deal.impressions.last().map_or(0, |last| last.end);
        if pool.is_empty() || all == 0 {
            return 0..0;
        }
        if self.once == Once::ParentRows {
            return pool.len() * impressions.start / all..pool.len() * impressions.end / all;
        }
        let due = |count: usize| count as f64 * self.rate;
        let (from, most) = (due(impressions.start) as usize, due(impressions.len()).ceil() as usize);
        // Products that should be whole may be rounded down: a batch has no room for that row.
        from..(due(impressions.end) as usize).min(from + most)
    }

    /// One of the batches that a window is dealt out to: impressions, taken in `order`,
    /// and the parent rows that go with them. Where either runs out it is gone through
    /// once more, so every row is there as often as any other, give or take one.
    pub fn batch(&self, window: &Batch, order: &[usize], deal: &Deal, index: usize) -> Batch {
        let impressions = &deal.impressions[index];
        let mut rows: Vec<usize> = impressions.clone().map(|place| order[place % order.len()]).collect();
        let mut ends = Vec::new();
        for pool in &deal.pools {
            rows.extend(self.drawn(pool, impressions, deal).map(|place| pool[place % pool.len()]));
            ends.push(rows.len());
        }
        let mut batch = window.select(&rows);
        let (tasks, mut row) = (self.funnel.tasks(), impressions.len());
        for (action, end) in self.actions.iter().zip(ends) {
            for labels in batch.labels[row * tasks..end * tasks].chunks_exact_mut(tasks) {
                for (task, label) in labels.iter_mut().enumerate() {
                    // Such rows are not like the impressions: what is not
                    // asked on the rows of this action they must not teach.
                    if task == action.task {
                        *label = GIVEN;
                    } else if !action.after.contains(&task) {
                        *label = f32::NAN;
                    }
                }
            }
            row = end;
        }
        batch
    }
}

/// The root whose action has happened wherever the parent's has; `None` for a
/// root, and where a direct action on the way does not tell.
fn root(funnel: &Funnel, task: usize) -> Option<usize> {
    let parent = funnel.parents[task]?;
    match funnel.parents[parent] {
        None => Some(parent),
        Some(_) if funnel.direct[parent] => None,
        Some(_) => root(funnel, parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MixConfig;
    use crate::objective::{ObjectiveConfig, Space};
    use crate::schema::Schema;

    /// Two roots; the cart also happens without a click.
    const TASKS: [(&str, &str); 6] = [
        ("click", ""),
        ("cart", "after = \"click\"\ndirect = true"),
        ("buy", "after = \"cart\""),
        ("like", "after = \"click\""),
        ("reply", "after = \"like\""),
        ("open", ""),
    ];

    fn objective(tasks: &[(&str, &str)], space: Space) -> Objective {
        let mut text = String::from("[[field]]\nname = \"x\"\nkind = \"numeric\"\n");
        for (name, settings) in tasks {
            text += &format!("[[task]]\nname = \"{name}\"\n{settings}\n");
        }
        Objective::new(&Schema::parse(&text).unwrap(), &ObjectiveConfig::default(), space).unwrap()
    }

    fn config(parent_rows: f64, batch_size: usize) -> TrainConfig {
        let mix = MixConfig { parent_rows, ..MixConfig::default() };
        TrainConfig { batch_size, mix: Some(mix), ..TrainConfig::default() }
    }

    /// All batches of the last window, of which an impression has its place in `order`.
    fn batches(mix: &Mix, window: &Batch, order: &[usize]) -> Vec<(usize, Batch)> {
        let deal = mix.deal(window, true, Stream::new(1, "test"));
        assert_eq!(deal.dealt(), window.rows);
        let batch = |index: usize| (deal.impressions[index].len(), mix.batch(window, order, &deal, index));
        (0..deal.batches()).map(batch).collect()
    }

    /// Row i has the number i and the labels given.
    fn window(labels: &[[f32; 6]]) -> Batch {
        let rows = labels.len();
        let dense = (0..rows).map(|row| row as f32).collect();
        Batch { rows, dense, labels: labels.concat(), scenarios: vec![0; rows], ..Batch::default() }
    }

    const N: f32 = f32::NAN;

    #[test]
    fn drawn_rows_count_for_what_comes_after_the_action_and_for_nothing_else() {
        let objective = objective(&TASKS, Space::Parent);
        let mix = Mix::new(&config(2.0, 9), &objective).unwrap();
        // The last: a click of which nothing is known. The one before: none.
        let rows = [[1.0, 1.0, 1.0, 1.0, 0.0, 1.0], [1.0, N, N, 0.0, N, 0.0], [0.0; 6], [1.0, N, N, N, N, 1.0]];
        let window = window(&rows);
        assert_eq!(mix.impressions(), 3);
        let (_, batch) = batches(&mix, &window, &[2, 0, 3, 1]).swap_remove(0);
        assert_eq!(batch.rows, 9);
        assert_eq!(batch.dense[..3], [2.0, 0.0, 3.0]);
        let funnel = objective.funnel();
        let said = |labels: &[f32]| {
            let of = |answer: fn(&Funnel, &[f32], usize) -> Option<bool>| {
                (0..6).map(|task| answer(funnel, labels, task)).collect::<Vec<_>>()
            };
            [of(Funnel::given_parent), of(Funnel::without_parent), of(Funnel::from_impression)]
        };
        for (row, labels) in batch.labels.chunks_exact(6).enumerate().skip(3) {
            let origin = batch.dense[row] as usize;
            let [given, without, joint] = said(labels);
            // Whether they buy tells of carts without a click, too.
            let expected = match origin {
                0 => [None, Some(true), None, Some(true), Some(false), None],
                1 => [None, None, None, Some(false), None, None],
                _ => panic!("row {origin} has nothing to say"),
            };
            assert_eq!((given, without, joint), (expected.to_vec(), vec![None; 6], vec![None; 6]), "row {origin}");
        }
        for (row, origin) in [(0, 2), (1, 0), (2, 3)] {
            assert_eq!(said(&batch.labels[row * 6..][..6]), said(&rows[origin]), "an impression stays as it is");
        }
    }

    #[test]
    fn rows_are_drawn_at_the_ratio_and_each_as_often_as_the_others() {
        let objective = objective(&TASKS, Space::Parent);
        let clicked = |row: usize| row.is_multiple_of(3);
        let labels: Vec<[f32; 6]> = (0..200).map(|row| [f32::from(u8::from(clicked(row))); 6]).collect();
        let window = window(&labels);
        for (rate, impressions) in [(1.0, 16), (0.5, 21), (2.0, 10), (0.29, 24), (0.0, 32)] {
            let mix = Mix::new(&config(rate, 32), &objective).unwrap();
            assert_eq!(mix.impressions(), impressions, "{rate}");
            let order: Vec<usize> = (0..window.rows).collect();
            let mut counts = vec![0; window.rows];
            for (impressions, batch) in batches(&mix, &window, &order) {
                assert!(batch.rows <= 32, "{rate}");
                batch.dense[impressions..].iter().for_each(|row| counts[*row as usize] += 1);
            }
            let of_clicked: Vec<usize> = (0..200).filter(|row| clicked(*row)).map(|row| counts[row]).collect();
            let (drawn, all): (usize, usize) = (of_clicked.iter().sum(), counts.iter().sum());
            assert_eq!(drawn, all, "{rate}: only clicked rows are drawn");
            assert!(drawn.abs_diff((200.0 * rate) as usize) <= 1, "{rate}: {drawn}");
            assert!(of_clicked.iter().max().unwrap() - of_clicked.iter().min().unwrap() <= 1, "{rate}: {of_clicked:?}");
        }
    }

    #[test]
    fn a_window_without_the_action_adds_no_rows() {
        let mix = Mix::new(&config(1.0, 8), &objective(&TASKS, Space::Parent)).unwrap();
        let window = window(&[[0.0; 6]; 4]);
        assert_eq!(batches(&mix, &window, &[0, 1, 2, 3]), [(4, window.clone())]);
        let mix = Mix { once: Once::ParentRows, ..mix };
        assert_eq!(batches(&mix, &window, &[0, 1, 2, 3]), [], "and where these are to be matched, none at all");
    }

    /// Two roots with parent rows: a fifth of the rows, and a tenth.
    #[test]
    fn an_epoch_of_parent_rows_holds_each_once_and_impressions_to_match() {
        const LIKES: [(&str, &str); 4] =
            [("click", ""), ("buy", "after = \"click\""), ("open", ""), ("read", "after = \"open\"")];
        let objective = objective(&LIKES, Space::Parent);
        let rows = 1000;
        let happened = |row: usize, every: usize| f32::from(u8::from(row.is_multiple_of(every)));
        let labels = (0..rows).flat_map(|row| [happened(row, 5), 0.0, happened(row, 10), 0.0]).collect();
        let dense = (0..rows).map(|row| row as f32).collect();
        let window = Batch { rows, dense, labels, scenarios: vec![0; rows], ..Batch::default() };
        let order = Stream::new(2, "test").permutation(rows);
        for (rate, impressions) in [(1.0, 200), (0.5, 400), (2.0, 100), (0.3, 667), (0.1, 2000)] {
            let mix = Mix { once: Once::ParentRows, ..Mix::new(&config(rate, 64), &objective).unwrap() };
            let (mut seen, mut drawn) = (vec![0; rows], vec![[0; 2]; rows]);
            let batches = batches(&mix, &window, &order);
            for (count, batch) in &batches {
                assert!(batch.rows <= 64, "{rate}: {}", batch.rows);
                batch.dense[..*count].iter().for_each(|row| seen[*row as usize] += 1);
                let tasks = batch.labels.chunks_exact(4);
                for (row, labels) in batch.dense.iter().zip(tasks).skip(*count) {
                    drawn[*row as usize][usize::from(labels[2] == GIVEN)] += 1;
                }
                assert!(count.abs_diff(batches[0].0) <= 1, "{rate}: batches of about one size");
            }
            assert_eq!(seen.iter().sum::<usize>(), impressions, "{rate}");
            assert!(seen.iter().max().unwrap() - seen.iter().min().unwrap() <= 1, "{rate}: {seen:?}");
            for (row, drawn) in drawn.iter().enumerate() {
                let expected = [5, 10].map(|every| usize::from(row.is_multiple_of(every)));
                assert_eq!(*drawn, expected, "{rate}: row {row} as a clicked one and as an opened one");
            }
        }
    }

    #[test]
    fn a_mix_that_teaches_nothing_or_does_not_fit_is_refused() {
        let refused = |tasks: &[(&str, &str)], space, config: &TrainConfig| {
            Mix::new(config, &objective(tasks, space)).unwrap_err().to_string()
        };
        assert!(refused(&TASKS, Space::Product, &config(1.0, 32)).contains("objective.space = \"parent\""));
        assert!(refused(&TASKS[5..], Space::Parent, &config(1.0, 32)).contains("leave train.mix out"));
        let said = refused(&TASKS, Space::Parent, &config(50.0, 32));
        assert!(said.contains("parent_rows = 50 does not fit train.batch_size = 32"), "{said}");
        let said = refused(&TASKS, Space::Parent, &config(1e18, 32));
        assert!(said.contains("does not fit train.batch_size = 32"), "no sum has wrapped: {said}");
        // A direct task is asked given its parent in this space, too.
        assert_eq!(Mix::new(&config(1.0, 32), &objective(&TASKS, Space::Impression)).unwrap().actions[0].learners, [1]);
    }
}
