//! Batches mixed of impressions and of rows drawn anew for the tasks that come
//! after an action (Calibration4CVR; methods 3.1).

use crate::batch::Batch;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::objective::Objective;
use crate::random::Stream;
use crate::schema::{Funnel, GIVEN};

/// How batches are mixed. Off, every batch is impressions alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mix {
    impressions: usize,
    rate: f64,
    funnel: Funnel,
    actions: Vec<Action>,
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
        let rate = config.mix.as_ref().map_or(0.0, |mix| mix.parent_rows);
        let batch_size = config.rows_of_step(None);
        let off = Mix { impressions: batch_size, rate, funnel: funnel.clone(), actions: Vec::new() };
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
        let most = |impressions: usize| impressions + actions.len() * (impressions as f64 * rate).ceil() as usize;
        let Some(impressions) = (1..=batch_size).rev().find(|count| most(*count) <= batch_size) else {
            let message = format!("train.mix.parent_rows = {rate} does not fit train.batch_size = {batch_size}");
            return Err(Error::Config(message));
        };
        Ok(Mix { impressions, actions, ..off })
    }

    /// Impressions of a full batch.
    pub fn impressions(&self) -> usize {
        self.impressions
    }

    /// The rows of a window that may be drawn, for each action, in random order.
    pub fn pools(&self, window: &Batch, stream: Stream) -> Vec<Vec<usize>> {
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

    /// A batch of impressions, of which `before` stand in earlier batches of
    /// the window, and of the rows drawn for them. Each pool is gone through
    /// round by round, so every row of it is drawn as often as any other, give
    /// or take one.
    pub fn batch(&self, window: &Batch, impressions: &[usize], before: usize, pools: &[Vec<usize>]) -> Batch {
        let mut rows = impressions.to_vec();
        let mut ends = Vec::new();
        let due = |count: usize| count as f64 * self.rate;
        let (from, most) = (due(before) as usize, due(impressions.len()).ceil() as usize);
        // Products that should be whole may be rounded down: a batch has no room for that row.
        let to = (due(before + impressions.len()) as usize).min(from + most);
        for pool in pools {
            let drawn = if pool.is_empty() { 0..0 } else { from..to };
            rows.extend(drawn.map(|index| pool[index % pool.len()]));
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
        TrainConfig { batch_size, mix: Some(MixConfig { parent_rows }), ..TrainConfig::default() }
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
        let pools = mix.pools(&window, Stream::new(1, "test"));
        assert_eq!(mix.impressions(), 3);
        let batch = mix.batch(&window, &[2, 0, 3], 0, &pools);
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
            let pools = mix.pools(&window, Stream::new(1, "test"));
            let order: Vec<usize> = (0..window.rows).collect();
            let mut counts = vec![0; window.rows];
            for (index, chosen) in order.chunks(impressions).enumerate() {
                let batch = mix.batch(&window, chosen, index * impressions, &pools);
                assert!(batch.rows <= 32, "{rate}");
                batch.dense[chosen.len()..].iter().for_each(|row| counts[*row as usize] += 1);
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
        let pools = mix.pools(&window, Stream::new(1, "test"));
        assert_eq!(mix.batch(&window, &[0, 1, 2, 3], 0, &pools), window);
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
        // A direct task is asked given its parent in this space, too.
        assert_eq!(Mix::new(&config(1.0, 32), &objective(&TASKS, Space::Impression)).unwrap().actions[0].learners, [1]);
    }
}
