//! The triplet term: shared embeddings that tell how far a row comes, so that
//! the click and the conversion do not pull them apart.
//!
//! X. Xiao, "Calibration4CVR" (work of 2018), DataFunTalk 2023, names a triplet
//! term among the work to come: a clicked row that is not bought is a positive
//! of the click and a negative of the conversion, and both pull the same
//! embeddings. X. He et al., "Triplet-Center Loss", CVPR 2018, is the form.
//!
//! For a task t with a parent p, a row has a level l: 0 where the parent did
//! not happen, 1 where the parent happened and t did not, 2 where t happened,
//! by any path if it is direct. With the embedded fields x of the first set of
//! tables, without those of the role `bias`,
//!
//! ```text
//! z_t = x W_t
//! L_t = w · max(0, margin + ‖z_t - c_t,l‖² - min_{j ≠ l} ‖z_t - c_t,j‖²)
//! ```
//!
//! where w is the row's weight and W_t and the centres c_t,0, c_t,1, c_t,2 are
//! learned. No row's loss depends on another row. What training minimises has
//! `weight` · Σ_t L_t beside the tasks' losses, and scoring reads none of it.
//!
//! # Deviations and reconstructions
//! - All of it is a reconstruction: no formula of the term is published.
//! - Centres in place of other rows: triplets of rows would make a row's loss
//!   depend on its batch.
//! - He et al. halve the distances and use features as they are; here W_t maps
//!   them, since x is as wide as the fields are many.
//! - A row whose labels leave its level open has no loss. Nor has a row drawn
//!   by `[train.mix]`: it stands among the impressions of the epoch already, and
//!   a second time it would tell levels 1 and 2 to be more frequent than they
//!   are, and take from 0 what they push away.
//! - Where a model has several sets of tables, only the first one has the term;
//!   there nothing is shared that it could ease.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compute::op::{BackwardPass, ForwardPass, Op};
use crate::error::{Error, Result};
use crate::range::{ABOVE_ZERO, ZERO_OR_MORE};
use crate::schema::{Funnel, WIDEST};
use crate::spelling;

/// The parent did not happen; it did, but not the task; the task happened.
pub(crate) const LEVELS: usize = 3;

/// The `[objective.triplet]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TripletConfig {
    /// Weight of the term beside the tasks' losses.
    pub weight: f32,
    /// By how much the squared distance to a row's own centre must be below
    /// that to every other.
    pub margin: f32,
    /// Numbers in the vector of a row that the term compares with the centres.
    pub width: usize,
    /// Which conversions have the term; all tasks with a parent if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<String>>,
}

impl Default for TripletConfig {
    fn default() -> TripletConfig {
        TripletConfig { weight: 0.1, margin: 1.0, width: 16, tasks: None }
    }
}

impl TripletConfig {
    /// The tasks that have the term, in the order of `names`.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that make no sense, a task that is not
    /// there, and one that comes after no other.
    pub(super) fn resolve(&self, names: &[String], funnel: &Funnel) -> Result<Vec<usize>> {
        let wrong = |message: String| Err(Error::Config(format!("objective.triplet{message}")));
        ZERO_OR_MORE.check("objective.triplet.weight", self.weight)?;
        ABOVE_ZERO.check("objective.triplet.margin", self.margin)?;
        if !(1..=WIDEST).contains(&self.width) {
            return wrong(format!(".width must be from 1 to {WIDEST}, found {}", self.width));
        }
        let conversions: Vec<usize> = (0..names.len()).filter(|task| funnel.parents[*task].is_some()).collect();
        let Some(tasks) = &self.tasks else {
            if conversions.is_empty() {
                return wrong(": no task comes after another, so no row has a level; leave it out".into());
            }
            return Ok(conversions);
        };
        if tasks.is_empty() {
            return wrong(".tasks is empty; leave it out for every task that comes after another".into());
        }
        for name in tasks {
            match names.iter().position(|other| other == name) {
                Some(task) if funnel.parents[task].is_some() => {}
                Some(_) => return wrong(format!(".tasks: `{name}` comes after no other task, so no row has a level")),
                None => {
                    let hint = spelling::hint(name, conversions.iter().map(|task| names[*task].as_str()));
                    return wrong(format!(".tasks: there is no task `{name}`{hint}"));
                }
            }
        }
        Ok(conversions.into_iter().filter(|task| tasks.contains(&names[*task])).collect())
    }
}

/// `w · max(0, margin + ‖z - c_l‖² - min_{j ≠ l} ‖z - c_j‖²)` of every row and
/// task, l being the row's level; 0 where the labels leave that open.
///
/// # Shapes
/// Input 0: z, rows × (tasks · k). Input 1: centres, rows × (tasks · 3 · k).
/// Input 2: labels, rows × all tasks. Input 3: row weights, rows × 1. Output:
/// rows × tasks.
#[derive(Debug)]
pub struct Triplet {
    /// The tasks' relations.
    pub funnel: Funnel,
    /// The tasks that have the term.
    pub tasks: Vec<usize>,
    /// How much nearer a row's own centre must be.
    pub margin: f32,
}

/// Where one row stands among the centres of one task.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Its own centre.
    own: usize,
    /// The nearest of the others, the first of equals.
    other: usize,
    /// What is missing to the margin; 0 or less where nothing is.
    missing: f64,
}

/// How far a row comes, as far as its labels tell.
fn level(funnel: &Funnel, labels: &[f32], task: usize) -> Option<usize> {
    let parent = funnel.parents[task]?;
    match (funnel.from_impression(labels, task), funnel.from_impression(labels, parent)) {
        (Some(true), _) => Some(2),
        (Some(false), parent) => parent.map(usize::from),
        (None, _) => None,
    }
}

impl Triplet {
    fn standing(&self, task: usize, z: &[f32], centres: &[f32], labels: &[f32]) -> Option<Standing> {
        let own = level(&self.funnel, labels, task)?;
        let square = |(z, c): (&f32, &f32)| (f64::from(*z) - f64::from(*c)).powi(2);
        let distance = |level: usize| -> f64 { z.iter().zip(&centres[level * z.len()..]).map(square).sum() };
        let distances: [f64; LEVELS] = std::array::from_fn(distance);
        let others = (0..LEVELS).filter(|level| *level != own);
        let other = others.min_by(|a, b| distances[*a].total_cmp(&distances[*b]))?;
        Some(Standing { own, other, missing: f64::from(self.margin) + distances[own] - distances[other] })
    }
}

impl Op for Triplet {
    fn name(&self) -> &'static str {
        "triplet"
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let [z, centres, labels, weights] = [0, 1, 2, 3].map(|index| pass.input(index));
        let (count, width) = (self.tasks.len(), z.width() / self.tasks.len());
        for (row, losses) in pass.output.chunks_exact_mut(count).enumerate() {
            let of_tasks = z.row(row).chunks_exact(width).zip(centres.row(row).chunks_exact(LEVELS * width));
            for ((loss, task), (z, centres)) in losses.iter_mut().zip(&self.tasks).zip(of_tasks) {
                let standing = self.standing(*task, z, centres, labels.row(row));
                let missing = standing.map_or(0.0, |standing| standing.missing.max(0.0));
                *loss = weights.row(row)[0] * missing as f32;
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let [z, centres, labels, weights] = [0, 1, 2, 3].map(|index| pass.input(index));
        let (rows, count, width) = (pass.rows, self.tasks.len(), z.width() / self.tasks.len());
        // Calls `push` with each row and task that misses the margin, where
        // they stand, and twice the gradient of what is missing.
        let each = |gradient: &[f32], push: &mut dyn FnMut(usize, usize, Standing, f32)| {
            for row in 0..rows {
                for (index, task) in self.tasks.iter().enumerate() {
                    let of_task = &centres.row(row)[index * LEVELS * width..][..LEVELS * width];
                    let z = &z.row(row)[index * width..][..width];
                    let standing = self.standing(*task, z, of_task, labels.row(row));
                    if let Some(standing) = standing.filter(|standing| standing.missing > 0.0) {
                        push(row, index, standing, 2.0 * gradient[row * count + index] * weights.row(row)[0]);
                    }
                }
            }
        };
        let centre =
            |row: usize, index: usize, level: usize| &centres.row(row)[(index * LEVELS + level) * width..][..width];
        if let Some((gradient, mut into)) = pass.gradients(0) {
            into.start(rows);
            each(gradient, &mut |row, index, Standing { own, other, .. }, scale| {
                let pairs = centre(row, index, other).iter().zip(centre(row, index, own));
                let into = into.row(row)[index * width..].iter_mut();
                into.zip(pairs).for_each(|(into, (other, own))| *into += scale * (other - own));
            });
        }
        if let Some((gradient, mut into)) = pass.gradients(1) {
            into.start(rows);
            each(gradient, &mut |row, index, Standing { own, other, .. }, scale| {
                let z = &z.row(row)[index * width..][..width];
                for (level, scale) in [(own, scale), (other, -scale)] {
                    let pairs = centre(row, index, level).iter().zip(z);
                    let into = into.row(row)[(index * LEVELS + level) * width..].iter_mut();
                    into.zip(pairs).for_each(|(into, (centre, z))| *into += scale * (centre - z));
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::TASKS;
    use super::*;
    use crate::compute::check::Point;
    use crate::compute::op::Broadcast;
    use crate::compute::{CHUNK, Graph, Init, Mode, Program};
    use crate::random::Stream;
    use crate::schema::{GIVEN, Schema};

    const N: f32 = f32::NAN;
    const CLICK: usize = 0;
    const CART: usize = 1;
    const BUY: usize = 2;
    const LIKE: usize = 3;

    fn funnel() -> Funnel {
        Schema::parse(TASKS).unwrap().funnel()
    }

    fn op(tasks: &[usize]) -> Triplet {
        Triplet { funnel: funnel(), tasks: tasks.to_vec(), margin: 1.0 }
    }

    /// What one row of weight 1 costs.
    fn loss(z: &[f32], centres: &[f32], labels: &[f32], task: usize) -> f64 {
        op(&[task]).standing(task, z, centres, labels).map_or(0.0, |standing| standing.missing.max(0.0))
    }

    #[test]
    fn the_level_is_how_far_a_row_comes() {
        // click, cart after click, buy after cart, like after click or directly
        for (labels, cart, buy, like) in [
            ([0.0, 0.0, 0.0, 0.0], Some(0), Some(0), Some(0)),
            ([1.0, 0.0, 0.0, 0.0], Some(1), Some(0), Some(1)),
            ([1.0, 1.0, 0.0, 1.0], Some(2), Some(1), Some(2)),
            ([1.0, 1.0, 1.0, 0.0], Some(2), Some(2), Some(1)),
            // A like without a click; a cart without one has not come by the click.
            ([0.0, 1.0, 1.0, 1.0], Some(0), Some(0), Some(2)),
            // No label of its own: only a parent that did not happen tells, and nothing tells of a direct one.
            ([1.0, N, N, N], None, None, None),
            ([0.0, N, N, N], Some(0), Some(0), None),
            // No label of the parent.
            ([N, 0.0, 0.0, 0.0], None, None, None),
            ([N, 1.0, 0.0, 1.0], None, None, Some(2)),
            ([N, 0.0, 1.0, 1.0], None, None, Some(2)),
            // Drawn for its click.
            ([GIVEN, 1.0, 1.0, 1.0], None, None, None),
            ([GIVEN, 0.0, 0.0, 0.0], None, None, None),
        ] {
            let found = [CART, BUY, LIKE].map(|task| level(&funnel(), &labels, task));
            assert_eq!(found, [cart, buy, like], "{labels:?}");
        }
        assert_eq!(level(&funnel(), &[1.0; 4], CLICK), None);
    }

    #[test]
    fn the_loss_is_what_is_missing_to_the_margin() {
        let centres = [0.0, 0.0, 2.0, 0.0, 0.0, 3.0];
        let at = |labels: &[f32]| loss(&[1.0, 1.0], &centres, labels, CART);
        // Squared distances: 2 to level 0, 2 to level 1, 5 to level 2.
        assert_eq!(at(&[0.0, 0.0, 0.0, 0.0]), 1.0 + 2.0 - 2.0);
        assert_eq!(at(&[1.0, 0.0, 0.0, 0.0]), 1.0 + 2.0 - 2.0);
        assert_eq!(at(&[1.0, 1.0, 0.0, 0.0]), 1.0 + 5.0 - 2.0);
        assert_eq!(at(&[1.0, N, 0.0, 0.0]), 0.0, "the level is open");
    }

    proptest! {
        #[test]
        fn a_row_that_is_nearer_to_its_own_centre_by_the_margin_costs_nothing(
            own in prop::collection::vec(-2f32..2.0, 4),
            step in prop::collection::vec(-1f32..1.0, 4),
            away in prop::collection::vec(prop::collection::vec(-1f32..1.0, 4), 2),
            level in 0usize..3,
            closer in 0f32..0.99,
        ) {
            let square = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            let z: Vec<f32> = own.iter().zip(&step).map(|(c, s)| c + closer * s).collect();
            let mut centres = vec![own.clone(); LEVELS];
            let others = (0..LEVELS).filter(|other| *other != level);
            for (other, away) in others.clone().zip(&away) {
                centres[other] = own.iter().zip(away).map(|(c, a)| c + 3.0 * a).collect();
            }
            let labels = [[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]][level];
            let nearest = others.map(|other| square(&z, &centres[other])).fold(f64::INFINITY, f64::min);
            let lead = nearest - square(&z, &own);
            let found = loss(&z, &centres.concat(), &labels, CART);
            prop_assert!((found - (1.0 - lead).max(0.0)).abs() < 1e-5, "{} {}", found, lead);
            prop_assert!(lead < 1.0 + 1e-5 || found == 0.0);
        }
    }

    /// z, labels and weights as sources, the centres of two tasks as a parameter.
    fn program(tasks: &[usize], width: usize) -> (Program, crate::compute::Node) {
        let mut graph = Graph::new(2);
        let z = graph.source("z", tasks.len() * width, true);
        let labels = graph.source("labels", 4, false);
        let weights = graph.source("weights", 1, false);
        let shape = [tasks.len(), LEVELS, width];
        let centres = graph.parameter("centres", &shape, Init::Glorot { inputs: 1, outputs: 1 });
        let centres = graph.push("centres", Broadcast, &[], &[centres], shape.iter().product());
        let losses = graph.push("triplet", op(tasks), &[z, centres, labels, weights], &[], tasks.len());
        for index in 0..tasks.len() {
            graph.loss(&format!("{index}"), losses.columns(index, 1));
        }
        (graph.compile().unwrap(), z)
    }

    /// Rows that no small step takes over a kink: into or out of the margin, or
    /// from one nearest centre to another.
    fn rows_away_from_kinks(tasks: &[usize], width: usize, centres: &[f32], rows: usize) -> (Vec<f32>, Vec<f32>) {
        let stream = Stream::new(4, "rows");
        let (mut z, mut labels) = (Vec::new(), Vec::new());
        for draw in 0.. {
            let draw = stream.part(draw);
            let point: Vec<f32> =
                (0..(tasks.len() * width) as u64).map(|i| 4.0 * draw.uniform(i) as f32 - 2.0).collect();
            let row: Vec<f32> = (0..4).map(|task| f32::from(u8::from(draw.uniform(100 + task) < 0.6))).collect();
            let clear = tasks.iter().enumerate().all(|(index, task)| {
                let (z, centres) = (&point[index * width..][..width], &centres[index * LEVELS * width..]);
                let standing = op(tasks).standing(*task, z, centres, &row).unwrap();
                let square = |c: &[f32]| z.iter().zip(c).map(|(z, c)| f64::from(z - c).powi(2)).sum::<f64>();
                let third = LEVELS - standing.own - standing.other;
                let of = |level: usize| square(&centres[level * width..][..width]);
                standing.missing.abs() > 0.3 && of(third) - of(standing.other) > 0.3
            });
            if clear {
                z.extend(point);
                labels.extend(row);
            }
            if labels.len() == 4 * rows {
                break;
            }
        }
        (z, labels)
    }

    #[test]
    fn gradients_of_z_and_of_the_centres() {
        let (tasks, width, rows) = ([CART, LIKE], 3, CHUNK + 3);
        let (program, z) = program(&tasks, width);
        let parameters = program.initial(3).unwrap();
        let (points, labels) = rows_away_from_kinks(&tasks, width, &parameters, rows);
        let weights = (0..rows as u64).map(|row| Stream::new(1, "weights").uniform(row) as f32).collect();
        Point {
            parameters,
            sources: vec![points, labels, weights],
            learns: vec![Some(z), None, None],
            rows,
            segments: vec![0..100, 100..rows],
            seeds: vec![1.0, 0.5],
            mode: Mode::Train { seed: 1, step: 1 },
            program: &program,
        }
        .check(2e-3);
    }

    #[test]
    fn a_row_without_a_level_and_a_drawn_row_move_nothing() {
        let (program, z) = program(&[CART, BUY], 2);
        let parameters = program.initial(3).unwrap();
        let mut workspace = program.workspace(2, true);
        let labels = [N, N, N, 1.0, GIVEN, 1.0, 0.0, 1.0];
        let fill = |source: usize, _: std::ops::Range<usize>, into: &mut [f32]| match source {
            1 => into.copy_from_slice(&labels),
            _ => into.fill(1.5),
        };
        let mode = Mode::Train { seed: 1, step: 1 };
        program.train(&mut workspace, &parameters, 2, &[0..1, 1..2], &[1.0, 1.0], mode, &fill);
        let mut gradients = vec![N; program.length()];
        program.parameter_gradients(&workspace, &parameters, &mut gradients);
        assert_eq!(workspace.losses(&program).0, [0.0, 0.0]);
        assert!(gradients[program.parameters()[0].range()].iter().all(|gradient| *gradient == 0.0));
        let of_z: Vec<f32> = workspace.source_gradients(&program, z).flat_map(|(_, part)| part.to_vec()).collect();
        assert_eq!(of_z, [0.0; 8]);
    }

    #[test]
    fn tasks_stand_in_the_order_of_the_schema() {
        let names = ["click", "cart", "buy", "like"].map(String::from);
        let resolve = |tasks: Option<&[&str]>| {
            let tasks = tasks.map(|tasks| tasks.iter().map(|name| name.to_string()).collect());
            TripletConfig { tasks, ..TripletConfig::default() }.resolve(&names, &funnel())
        };
        assert_eq!(resolve(None).unwrap(), [CART, BUY, LIKE]);
        assert_eq!(resolve(Some(&["like", "cart", "like"])).unwrap(), [CART, LIKE]);
        let refused = |tasks: &[&str]| resolve(Some(tasks)).unwrap_err().to_string();
        assert!(refused(&["lik"]).contains("objective.triplet.tasks: there is no task `lik`; did you mean `like`?"));
        assert!(refused(&["click"]).contains("`click` comes after no other task"));
        assert!(refused(&[]).contains("objective.triplet.tasks is empty"));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let refused = |settings: &str| {
            let config: TripletConfig = toml::from_str(settings).unwrap();
            config.resolve(&["click".into(), "buy".into()], &funnel()).unwrap_err().to_string()
        };
        assert!(refused("weight = -1.0").contains("objective.triplet.weight"));
        assert!(refused("weight = nan").contains("objective.triplet.weight"));
        assert!(refused("margin = 0.0").contains("objective.triplet.margin"));
        assert!(refused("width = 0").contains("objective.triplet.width"));
        let alone = Schema::parse("[[task]]\nname = \"open\"\n[[field]]\nname = \"x\"\nkind = \"numeric\"").unwrap();
        let error = TripletConfig::default().resolve(&["open".into()], &alone.funnel()).unwrap_err().to_string();
        assert!(error.contains("no task comes after another"), "{error}");
    }
}
