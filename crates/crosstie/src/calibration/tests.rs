//! A world whose probabilities are known, and networks that distort them.

use proptest::prelude::*;

use super::*;
use crate::batch::Batch;
use crate::objective::{Head, ObjectiveConfig, Space};
use crate::random::Stream;
use crate::schema::Schema;

/// Sequential, parallel and direct.
const TASKS: &str = "[[task]]\nname = 'click'\n[[task]]\nname = 'cart'\nafter = 'click'\n[[task]]\nname = 'buy'\n\
                     after = 'cart'\n[[task]]\nname = 'like'\nafter = 'click'\ndirect = true\n";
const ONE: &str = "[[task]]\nname = 'click'\n";
const TWO: &str = "[[task]]\nname = 'click'\n[[task]]\nname = 'buy'\nafter = 'click'\n";

fn objective(tasks: &str, space: Space) -> Objective {
    let schema = Schema::parse(&format!("{tasks}[[field]]\nname = 'x'\nkind = 'numeric'\n")).unwrap();
    Objective::new(&schema, &ObjectiveConfig::default(), space).unwrap()
}

/// A like by way of the cart.
fn by_cart(space: Space) -> Objective {
    let config = ObjectiveConfig { via: [("like".into(), "cart".into())].into(), ..ObjectiveConfig::default() };
    let schema = Schema::parse(&format!("{TASKS}[[field]]\nname = 'x'\nkind = 'numeric'\n")).unwrap();
    Objective::new(&schema, &config, space).unwrap()
}

/// Rows of a world: the logits of the truth, and what happened.
struct World {
    truth: Vec<f32>,
    heads: usize,
    labels: Vec<f32>,
    scenarios: Vec<u32>,
}

/// Heads have logits around `mean` with deviation 1, lower by 2.5 per parent where they
/// tell of the whole way; rows take turns in the scenarios.
fn world(objective: &Objective, rows: usize, mean: f64, scenarios: u32, seed: u64) -> World {
    let (stream, draws) = (Stream::new(seed, "truth"), Stream::new(seed, "labels"));
    let (heads, tasks, funnel) = (objective.heads().len(), objective.names().len(), objective.funnel());
    let ancestors = |task: usize| std::iter::successors(funnel.parents[task], |parent| funnel.parents[*parent]).count();
    let lower = |cell: usize| match &objective.heads()[cell % heads] {
        Head { condition: Condition::FromImpression, task, .. } if !funnel.direct[*task] => {
            2.5 * ancestors(*task) as f64
        }
        _ => 0.0,
    };
    let truth: Vec<f32> =
        (0..rows * heads).map(|cell| (mean - lower(cell) + stream.normal(cell as u64)) as f32).collect();
    let mut labels = vec![0.0; rows * tasks];
    let (mut given, mut joint) = (vec![0.0; tasks], vec![0.0; tasks]);
    for row in 0..rows {
        objective.probabilities(&truth[row * heads..][..heads], &mut given, &mut joint);
        for task in &funnel.order {
            let cell = row * tasks + task;
            let happens = match funnel.parents[*task].map(|parent| (parent, labels[row * tasks + parent])) {
                // By all ways but the parent's.
                Some((parent, 0.0)) => (joint[*task] - joint[parent] * given[*task]) / (1.0 - joint[parent]),
                _ => given[*task],
            };
            let direct = funnel.direct[*task] || funnel.parents[*task].is_none_or(|p| labels[row * tasks + p] == 1.0);
            labels[cell] = f32::from(u8::from(direct && draws.uniform(cell as u64) < happens));
        }
    }
    World { truth, heads, labels, scenarios: (0..rows as u32).map(|row| row % scenarios).collect() }
}

impl World {
    /// What a network says that distorts every logit of a scenario.
    fn seen(&self, distorted: impl Fn(u32, f64) -> f64) -> Vec<Evidence> {
        self.weighted(distorted, Vec::new())
    }

    fn weighted(&self, distorted: impl Fn(u32, f64) -> f64, weights: Vec<f32>) -> Vec<Evidence> {
        let rows = self.scenarios.len();
        let logit =
            |(cell, logit): (usize, &f32)| distorted(self.scenarios[cell / self.heads], f64::from(*logit)) as f32;
        let logits = self.truth.iter().enumerate().map(logit).collect();
        let (labels, scenarios) = (self.labels.clone(), self.scenarios.clone());
        vec![Evidence::new(logits, &Batch { rows, labels, weights, scenarios, ..Batch::default() })]
    }
}

/// Figures of some rows, through maps or not.
fn report(objective: &Objective, scenarios: usize, calibration: Option<&Calibration>, evidence: &[Evidence]) -> Report {
    let names: Vec<String> = (0..scenarios).map(|scenario| format!("s{scenario}")).collect();
    let mut evaluation = crate::metric::Evaluation::new(objective.names(), objective.funnel(), &names);
    let tasks = objective.names().len();
    for evidence in evidence {
        let rows = evidence.outcome().rows;
        let (mut given, mut joint) = (vec![0.0; rows * tasks], vec![0.0; rows * tasks]);
        for (row, logits) in evidence.logits().enumerate() {
            let maps = calibration.map_or(&[][..], |maps| maps.maps(evidence.outcome().scenarios[row]));
            let cells = row * tasks..(row + 1) * tasks;
            objective.calibrated(logits, maps, &mut given[cells.clone()], &mut joint[cells]);
        }
        evaluation.add(evidence.outcome(), &given, &joint);
    }
    evaluation.report()
}

fn figure(report: &Report, name: &str) -> f64 {
    report.figure(name).unwrap().unwrap_or_else(|| panic!("{name} is defined"))
}

#[test]
fn distorted_logits_are_repaired_in_every_space() {
    let every = [Space::Parent, Space::Product, Space::Impression, Space::Path].map(|space| objective(TASKS, space));
    for objective in every.iter().chain(&[Space::Product, Space::Path].map(by_cart)) {
        let world = world(objective, 60_000, -1.0, 1, 1);
        let (right, wrong) = (world.seen(|_, z| z), world.seen(|_, z| 1.6 * z + 0.8));
        let (calibration, notes) = Calibration::fit(objective, 1, &wrong);
        assert!(notes.is_empty(), "{notes:?}");
        let truth = report(objective, 1, None, &right);
        let (before, after) = (report(objective, 1, None, &wrong), report(objective, 1, Some(&calibration), &wrong));
        for task in ["click", "cart", "buy", "like"] {
            for meaning in ["given_parent", "from_impression"] {
                let of = |report: &Report, kind: &str| figure(report, &format!("{task}.{meaning}.{kind}"));
                let said = || format!("{task} {meaning} {:?}", objective.spaces()[1]);
                // What is given the parent follows from two heads here, of which neither saw it alone.
                if objective.spaces()[1] == Space::Impression && meaning == "given_parent" && task != "click" {
                    continue;
                }
                // Where the heads contradict each other no label can follow both.
                let most = if objective.spaces()[1] == Space::Impression { 0.01 } else { 0.003 };
                let (loss, best) = (of(&after, "logloss"), of(&truth, "logloss"));
                assert!(loss < best + most, "{}: {loss} {best}", said());
                assert!(of(&before, "logloss") > loss, "{}: there is nothing to repair", said());
                let pcoc = of(&after, "pcoc");
                assert!((pcoc - 1.0).abs() < 0.05, "{}: {pcoc}", said());
            }
        }
        let Map { slope, intercept } = calibration.common[0].given_parent;
        assert!((slope - 1.0 / 1.6).abs() < 0.03 && (intercept + 0.8 / 1.6).abs() < 0.05, "{slope} {intercept}");
    }
}

#[test]
fn a_sound_network_with_few_positives_is_left_nearly_alone() {
    let objective = objective(ONE, Space::Parent);
    let (mut alone, mut moved, mut cost) = (0, 0.0, 0.0);
    for seed in 0..40 {
        // Some 30 of 1,000 rows.
        let few = world(&objective, 1000, -4.0, 1, seed);
        let (calibration, _) = Calibration::fit(&objective, 1, &few.seen(|_, z| z));
        let others = world(&objective, 20_000, -4.0, 1, 1000 + seed).seen(|_, z| z);
        let (before, after) = [None, Some(&calibration)].map(|maps| report(&objective, 1, maps, &others)).into();
        alone += usize::from(calibration.common[0] == Maps::IDENTITY);
        moved += (figure(&after, "click.pcoc") / figure(&before, "click.pcoc")).ln().abs() / 40.0;
        cost += (figure(&after, "click.logloss") - figure(&before, "click.logloss")) / 40.0;
    }
    // A map of greatest likelihood would move PCOC by 0.15 in the mean, and cost one nat in 1,000 rows.
    assert!(alone >= 20 && moved < 0.07 && cost < 0.0005, "{alone} of 40 alone, moved by {moved}, cost {cost}");
}

#[test]
fn pcoc_is_near_one_in_both_meanings_on_the_rows_of_the_fit() {
    let objective = objective(TWO, Space::Parent);
    let world = world(&objective, 30_000, -1.5, 1, 3);
    // The click is promised too seldom; some rows have no labels.
    let mut wrong = world.seen(|_, z| 0.7 * z - 1.0);
    let labels: Vec<f32> =
        world.labels.iter().enumerate().map(|(cell, y)| if cell % 14 < 2 { f32::NAN } else { *y }).collect();
    wrong[0] =
        Evidence::new(wrong[0].logits().flatten().copied().collect(), &Batch { labels, ..wrong[0].outcome().clone() });
    let (calibration, _) = Calibration::fit(&objective, 1, &wrong);
    let found = report(&objective, 1, Some(&calibration), &wrong);
    for name in ["click.pcoc", "buy.pcoc", "buy.from_impression.pcoc"] {
        let pcoc = figure(&found, name);
        assert!((pcoc - 1.0).abs() < 0.01, "{name} {pcoc}");
    }
}

#[test]
fn a_row_of_weight_two_counts_as_two_rows() {
    let objective = objective(TWO, Space::Product);
    let world = world(&objective, 3000, -1.0, 2, 5);
    let distorted = |_, z: f64| 0.8 * z + 0.4;
    let weights = (0..3000).map(|row| if row % 3 == 0 { 2.0 } else { f32::from(row % 3 == 1) }).collect();
    let weighted = world.weighted(distorted, weights);
    let repeat = |row: &usize| vec![*row; [2, 1, 0][row % 3]];
    let rows: Vec<usize> = (0..3000usize).collect::<Vec<_>>().iter().flat_map(repeat).collect();
    let logits: Vec<&[f32]> = weighted[0].logits().collect();
    let outcome = Batch { weights: Vec::new(), ..weighted[0].outcome().clone() };
    let repeated =
        Evidence::new(rows.iter().flat_map(|row| logits[*row].iter().copied()).collect(), &outcome.select(&rows));
    let least = |evidence: &[Evidence]| Calibration::least_losses(&objective, 2, evidence);
    for (weighted, repeated) in least(&weighted).into_iter().zip(least(&[repeated])) {
        let (a, b) = (weighted.loss / weighted.weight, repeated.loss / repeated.weight);
        assert!((a - b).abs() < 1e-9 && a > 0.0, "{a} {b}");
        // By how much chance moves a map, though, more rows would tell.
        assert!(repeated.rows == repeated.weight && weighted.rows < 0.9 * repeated.rows, "{weighted:?} {repeated:?}");
    }
}

impl World {
    /// Of the rows where nothing happened one in 50, which counts as much as 50 times `factor`,
    /// the others as much as `factor`.
    fn kept(&self, factor: f32, distorted: impl Fn(u32, f64) -> f64) -> Vec<Evidence> {
        let tasks = self.labels.len() / self.scenarios.len();
        let happened = |row: usize| self.labels[row * tasks] == 1.0;
        let weights = (0..self.scenarios.len()).map(|row| if happened(row) { factor } else { 50.0 * factor }).collect();
        let keep = |row: &usize| happened(*row) || row % 50 == 7;
        let kept: Vec<usize> = (0..self.scenarios.len()).filter(keep).collect();
        let all = self.weighted(distorted, weights);
        let logits: Vec<&[f32]> = all[0].logits().collect();
        let logits = kept.iter().flat_map(|row| logits[*row].iter().copied()).collect();
        vec![Evidence::new(logits, &all[0].outcome().select(&kept))]
    }
}

#[test]
fn weights_were_taken_for_counts_of_rows_by_maps() {
    let objective = objective(ONE, Space::Parent);
    let (mut alone, mut own, mut worse) = (0, 0, 0.0);
    for seed in 0..40 {
        let world = world(&objective, 30_000, -4.6, 7, 300 + seed);
        let (calibration, _) = Calibration::fit(&objective, 7, &world.kept(1.0, |_, z| z));
        let others = world.seen(|_, z| z);
        let [before, after] = [None, Some(&calibration)].map(|maps| report(&objective, 7, maps, &others));
        alone += usize::from(calibration.common[0] == Maps::IDENTITY);
        own += usize::from(calibration.own_maps() > 0);
        worse += (figure(&after, "click.logloss") / figure(&before, "click.logloss") - 1.0) / 40.0;
    }
    // The network is sound, so every map is one of chance. Weights that were taken for counts made
    // them in 29 and 40 of 40; with few heavy rows chance has longer tails than the sandwich knows.
    assert!(alone >= 24 && own <= 30 && worse < 0.003, "{alone} and {own} of 40, worse by {worse}");
}

#[test]
fn a_factor_of_all_weights_changed_the_maps() {
    let objective = objective(TWO, Space::Product);
    let world = world(&objective, 30_000, -3.0, 3, 17);
    let fitted = |factor| {
        let wrong = world.kept(factor, |scenario, z| 0.8 * z + 0.3 + 0.4 * f64::from(scenario));
        (Calibration::fit(&objective, 3, &wrong), Calibration::least_losses(&objective, 3, &wrong))
    };
    let ((once, notes), told) = fitted(1.0);
    assert!(once.common[0] != Maps::IDENTITY && once.own_maps() > 0 && notes.is_empty(), "{notes:?}");
    for factor in [1e-4, 1e4] {
        let ((scaled, notes), told_scaled) = fitted(factor);
        for (a, b) in once.maps.iter().flatten().zip(scaled.maps.iter().flatten()) {
            let (a, b) = (a.given_parent, b.given_parent);
            assert!((a.slope - b.slope).abs() < 1e-5 && (a.intercept - b.intercept).abs() < 1e-5, "{a:?} {b:?}");
        }
        assert!(notes.is_empty(), "{notes:?}");
        for (a, b) in told.iter().zip(told_scaled) {
            assert!((a.loss / b.loss - 1.0).abs() < 1e-5 && (a.rows / b.rows - 1.0).abs() < 1e-5, "{a:?} {b:?}");
        }
    }
}

#[test]
fn maps_are_equal_to_the_bit_at_any_number_of_threads() {
    let objective = objective(TASKS, Space::Product);
    let world = world(&objective, 20_000, -1.0, 3, 7);
    let wrong = world.seen(|scenario, z| 0.8 * z + 0.3 * f64::from(scenario));
    let fitted = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let Calibration { maps, .. } = pool.install(|| Calibration::fit(&objective, 3, &wrong)).0;
        let bits = |map: Map| [map.slope.to_bits(), map.intercept.to_bits()];
        let all = maps.into_iter().flatten();
        all.flat_map(|maps| [maps.given_parent, maps.without_parent].map(bits)).collect::<Vec<_>>()
    };
    let alone = fitted(1);
    assert!(alone == fitted(2) && alone == fitted(8));
}

#[test]
fn scenarios_have_maps_of_their_own_where_they_differ_by_more_than_chance() {
    let objective = objective(ONE, Space::Parent);
    let level = |calibration: &Calibration, scenario: u32| calibration.maps(scenario)[0].given_parent.of(-1.0);
    // The last scenario says too much. Of a fourth there are 20 rows, which say the same as the others.
    let mut world = world(&objective, 12_000, -1.0, 3, 9);
    world.scenarios.iter_mut().step_by(600).for_each(|scenario| *scenario = 3);
    let wrong = world.seen(|scenario, z| if scenario == 2 { z + 0.8 } else { z });
    let (calibration, _) = Calibration::fit(&objective, 4, &wrong);
    let found = [0, 1, 2].map(|scenario| level(&calibration, scenario));
    assert!((found[0] + 1.0).abs() < 0.1 && (found[1] + 1.0).abs() < 0.1, "{found:?}");
    assert!((found[2] + 1.8).abs() < 0.1, "{found:?}");
    let (small, task) = (level(&calibration, 3), calibration.common[0].given_parent.of(-1.0));
    assert!((small - task).abs() < 0.35, "{small} {task}");

    // Where they do not differ, maps of their own change next to nothing.
    let (mut apart, mut without) = (0.0f64, 0);
    for seed in 0..10 {
        let world = self::world(&objective, 6000, -2.0, 3, 100 + seed);
        let (calibration, _) = Calibration::fit(&objective, 3, &world.seen(|_, z| z + 0.5));
        without += usize::from(calibration.own_maps() == 0);
        let task = calibration.common[0].given_parent.of(-1.0);
        apart += (0..3).map(|scenario| (level(&calibration, scenario) - task).abs() / 30.0).sum::<f64>();
    }
    assert!(without >= 4 && apart < 0.04, "{without} of 10 have none, {apart} apart in the mean");
}

#[test]
fn a_task_without_a_positive_or_a_negative_stays_as_it_is_and_that_is_said() {
    let objective = objective(TWO, Space::Product);
    let mut world = world(&objective, 2000, -1.0, 1, 11);
    for (row, labels) in world.labels.chunks_mut(2).enumerate() {
        labels.fill(f32::from(u8::from(row % 3 == 0)));
    }
    let (calibration, notes) = Calibration::fit(&objective, 1, &world.seen(|_, z| z));
    assert_eq!(calibration.common[1], Maps::IDENTITY);
    assert_eq!(
        notes,
        ["`buy` after `click`: 0 validation rows where it did not happen, at least 10 are needed to calibrate: its \
          probabilities stay as they are"]
    );
    let (_, notes) = Calibration::fit(&objective, 1, &[]);
    assert!(notes.len() == 2 && notes[0].starts_with("`click`: 0 validation rows"), "{notes:?}");
}

#[test]
fn rows_in_perfect_order_or_in_none_give_a_finite_increasing_map() {
    let objective = objective(ONE, Space::Parent);
    for sign in [1.0, -1.0] {
        let labels: Vec<f32> = (0..400).map(|row| f32::from(u8::from(row >= 380))).collect();
        let logits = (0..400).map(|row| sign * (row as f32 / 50.0 - 7.0)).collect();
        let batch = Batch { rows: 400, labels, scenarios: vec![0; 400], ..Batch::default() };
        let (calibration, _) = Calibration::fit(&objective, 1, &[Evidence::new(logits, &batch)]);
        let map = calibration.common[0].given_parent;
        assert!(map.is_sound() && if sign > 0.0 { map.slope > 2.0 } else { map.slope < 0.5 }, "{map:?}");
    }
}

fn some_map() -> impl Strategy<Value = Map> {
    (-2.0..2.0f64, -4.0..4.0f64).prop_map(|(log_slope, intercept)| Map { slope: log_slope.exp(), intercept })
}

proptest! {
    #[test]
    fn maps_keep_the_order_the_product_and_the_funnel(
        maps in prop::collection::vec((some_map(), some_map(), some_map()), 4),
        logits in prop::collection::vec(-12.0..12.0f32, 8),
        more in 0.01..3.0f32,
        space in prop_oneof![Just(Space::Parent), Just(Space::Product), Just(Space::Impression)],
        via in any::<bool>(),
    ) {
        let objective = if via { by_cart(Space::Path) } else { objective(TASKS, space) };
        let (heads, parents) = (objective.heads().len(), &objective.funnel().parents);
        let maps: Vec<Maps> = maps
            .into_iter()
            .map(|(given_parent, without_parent, from_impression)| Maps { given_parent, without_parent, from_impression })
            .collect();
        let scored = |logits: &[f32], maps: &[Maps]| {
            let (mut given, mut joint) = ([0.0; 4], [0.0; 4]);
            objective.calibrated(logits, maps, &mut given, &mut joint);
            (given, joint)
        };
        let logits = &logits[..heads];
        let (given, joint) = scored(logits, &maps);
        prop_assert!(given.iter().chain(&joint).all(|p| (0.0..=1.0).contains(p)), "{:?} {:?}", given, joint);
        for task in [1, 2] {
            let parent = joint[parents[task].unwrap()];
            prop_assert!((joint[task] - parent * given[task]).abs() <= 1e-12 * parent, "task {}", task);
            prop_assert!(joint[task] <= parent, "task {}", task);
        }
        // One head says more: what grew before the maps grows behind them.
        for head in 0..heads {
            let mut raised = logits.to_vec();
            raised[head] += more;
            let (before, after) = (scored(logits, &[]), scored(&raised, &[]));
            let through = scored(&raised, &maps);
            for (task, was) in given.iter().enumerate() {
                let has_map = objective.mapped().any(|map| map == (task, Condition::GivenParent));
                let grew = after.0[task] - before.0[task];
                if has_map && grew.abs() > 1e-6 {
                    let grows = through.0[task] - was;
                    prop_assert!(grows * grew >= 0.0, "task {} head {}: {} {}", task, head, grew, grows);
                }
            }
        }
        // The identity is no change, to the bit, but that a conversion is not above its parent.
        if space != Space::Impression || via {
            prop_assert_eq!(scored(logits, &[Maps::IDENTITY; 4]), scored(logits, &[]));
        }
    }
}

#[test]
fn maps_are_read_as_they_were_written_and_impossible_ones_are_refused() {
    let objective = objective(TASKS, Space::Product);
    let scenarios = ["other", "feed", "search"].map(String::from);
    let world = world(&objective, 20_000, -1.0, 3, 13);
    let wrong = world.seen(|scenario, z| 0.8 * z + 0.7 * f64::from(scenario));
    let (calibration, _) = Calibration::fit(&objective, 3, &wrong);
    let calibration = calibration.validated(&report(&objective, 3, None, &wrong));
    assert!(calibration.own_maps() > 0 && calibration.validation()["buy"].given_parent.is_some());
    let text = serde_json::to_string(&calibration.written(&objective, &scenarios)).unwrap();
    let read = |text: &str| Calibration::read(serde_json::from_str(text).unwrap(), &objective, &scenarios);
    assert_eq!(read(&text).unwrap(), calibration);
    // Whatever a byte becomes: refused, or maps that increase.
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] = b"-0x\"9e"[place % 6];
        if let Some(Ok(read)) =
            serde_json::from_slice(&bytes).ok().map(|written| Calibration::read(written, &objective, &scenarios))
        {
            let sound = |maps: &Maps| maps.given_parent.is_sound() && maps.without_parent.is_sound();
            assert!(read.maps.iter().flatten().chain(&read.common).all(sound), "byte {place}");
        }
    }
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = value.clone();
        change(&mut value["tasks"]);
        read(&value.to_string()).unwrap_err()
    };
    let said = refused(&|tasks| tasks["cart"]["given_parent"]["slope"] = (-1.0).into());
    assert!(said.contains("`cart` after `click`: slope -1 and intercept"), "{said}");
    let said = refused(&|tasks| tasks["like"]["without_parent"]["scenarios"]["feed"]["slope"] = 0.0.into());
    assert!(said.contains("`like` without `click`: slope 0 and"), "{said}");
    let said = refused(&|tasks| {
        tasks["buy"]["given_parent"]["scenarios"]["faad"] = serde_json::json!({"slope": 1, "intercept": 0})
    });
    assert!(said.contains("no scenario `faad`"), "{said}");
    let said = refused(&|tasks| tasks["bye"] = tasks["buy"].clone());
    assert!(said.contains("there is no task `bye`"), "{said}");
    let said = refused(&|tasks| drop(tasks["buy"].as_object_mut().unwrap().remove("given_parent")));
    assert!(said.contains("`buy` after `cart` has no map"), "{said}");
    let said = refused(&|tasks| tasks["buy"]["from_impression"] = tasks["buy"]["given_parent"].clone());
    assert!(said.contains("`buy` has a map of something"), "{said}");
}
