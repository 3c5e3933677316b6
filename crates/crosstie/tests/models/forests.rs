//! Every model on every kind of forest, in one scenario and in several, with
//! whatever labels are missing.

use crosstie::batch::Batch;
use crosstie::compute::portable::Value;
use crosstie::model::Input;
use crosstie::objective::Space;
use crosstie::optim::{Kind, OptimizerConfig, Rule};

use crate::trial::{self, GATED, Instance, SMALL, Trial};

/// Tasks as `name` or `name<parent`, with a `!` behind direct ones.
const FORESTS: [&[&str]; 5] = [
    &["click"],
    &["click", "visit"],
    &["click", "cart<click", "buy<cart"],
    &["click", "buy<click!"],
    &["click", "cart<click", "buy<cart", "like<click!", "visit", "share<visit!"],
];

/// Gates, and all that a row's neighbours could leak through.
const STYLES: [&str; 3] = ["", GATED, "dropout = 0.3\nnorm = \"batch\""];

fn instance(tasks: &[&str], scenarios: usize) -> Instance {
    let section = |task: &&str| {
        let (task, direct) = task.strip_suffix('!').map_or((*task, false), |task| (task, true));
        let (name, parent) = task.split_once('<').unwrap_or((task, ""));
        let after = if parent.is_empty() { String::new() } else { format!("after = \"{parent}\"\n") };
        format!("[[task]]\nname = \"{name}\"\n{after}direct = {direct}\n")
    };
    Instance::load().with(&tasks.iter().map(section).collect::<String>(), scenarios)
}

/// Calls `check` with every model in every style on every forest.
fn each(check: impl Fn(&str, &Instance, Trial)) {
    for tasks in FORESTS {
        for scenarios in [1, 3] {
            let instance = instance(tasks, scenarios);
            for (small, style) in SMALL.iter().flat_map(|small| STYLES.map(|style| (*small, style))) {
                let what = format!("{} {style} on {tasks:?} in {scenarios} scenarios", small.0);
                check(&what, &instance, Trial::new(&instance, &trial::config(small, style)));
            }
            for small in SMALL.iter().filter(|(name, _)| ["esm2", "aem2tl"].contains(name)) {
                let mut config = trial::config(*small, "");
                config.objective.space = Some(Space::Path);
                let what = format!("{} by path on {tasks:?} in {scenarios} scenarios", small.0);
                check(&what, &instance, Trial::new(&instance, &config));
            }
        }
    }
}

/// A batch with other labels: (task, label) -> label.
fn relabelled(batch: &Batch, tasks: usize, to: impl Fn(usize, f32) -> f32) -> Batch {
    let labels = batch.labels.iter().enumerate().map(|(index, label)| to(index % tasks, *label)).collect();
    Batch { labels, ..batch.clone() }
}

#[test]
fn every_model_learns_on_every_forest() {
    let sgd = Rule { kind: Kind::Sgd, learning_rate: 0.02, ..Rule::default() };
    let optimizer = OptimizerConfig { dense: sgd.clone(), rows: sgd, ..OptimizerConfig::default() };
    each(|what, instance, mut trial| {
        let batch = instance.random_batch(90);
        let loss = |trial: &Trial| -> f64 {
            let losses = trial.pass(&batch, trial::TRAIN).losses;
            losses.iter().zip(trial.seeds(batch.rows)).map(|(loss, seed)| loss * f64::from(seed)).sum()
        };
        let before = loss(&trial);
        trial.train(&batch, 20, &optimizer);
        let after = loss(&trial);
        assert!(after < before, "{what}: {before}, then {after}");
    });
}

#[test]
fn on_every_forest_a_score_is_a_probability_that_depends_on_its_row_alone() {
    each(|what, instance, mut trial| {
        let batch = instance.random_batch(270);
        trial.train(&batch.select(&(0..90).collect::<Vec<_>>()), 1, &OptimizerConfig::default());
        let whole = trial.logits(&batch);
        let objective = &trial.network().objective;
        let (heads, tasks) = (objective.heads().len(), objective.names().len());
        for (logits, row) in whole.chunks_exact(heads).zip(0..) {
            let (mut given, mut joint) = (vec![f64::NAN; tasks], vec![f64::NAN; tasks]);
            objective.probabilities(logits, &mut given, &mut joint);
            assert!(given.iter().chain(&joint).all(|p| (0.0..=1.0).contains(p)), "{what}: {given:?} {joint:?}");
            if row % 45 == 0 {
                assert_eq!(trial.logits(&batch.select(&[row])), logits, "{what}: row {row} alone");
            }
        }
        // The rows of a batch are sorted by scenario: reversed within each.
        let (first, rest) = (0..90, 90..270);
        let order: Vec<usize> = first.rev().chain(rest.rev()).collect();
        let reversed = trial.logits(&batch.select(&order));
        for (logits, row) in reversed.chunks_exact(heads).zip(order) {
            assert_eq!(logits, &whole[row * heads..][..heads], "{what}: row {row} in reverse");
        }
    });
}

#[test]
fn on_every_forest_other_engines_are_told_of_the_same_probabilities() {
    each(|what, instance, mut trial| {
        let batch = instance.random_batch(40);
        trial.train(&batch, 2, &OptimizerConfig::default());
        let (network, passes) = (trial.network(), trial.learned.passes());
        let (told, tasks) = network.portable(trial.learned.parameters(), &[]).unwrap();
        let source = |name: &str| {
            let set = name.strip_prefix("features ").and_then(|set| set.parse().ok()).expect("a feature set");
            let source = network.sources.iter().position(|source| *source == Input::Fields { set }).unwrap();
            let mut values = vec![0.0; batch.rows * network.sets[set].width()];
            passes.fill(&batch, source, 0..batch.rows, &mut values);
            values
        };
        let scenarios: Vec<usize> = batch.scenarios.iter().map(|scenario| *scenario as usize).collect();
        let scores = passes.score(&mut trial.learned.workspace(batch.rows), &batch);
        for (task, probabilities) in tasks.iter().enumerate() {
            let wanted: Vec<Value> =
                [Some(probabilities.from_impression), probabilities.given_parent].into_iter().flatten().collect();
            let found = told.compute(batch.rows, &source, &scenarios, &wanted);
            let expected = [scores.from_impression(task).collect::<Vec<_>>(), scores.given_parent(task).collect()];
            for (found, expected) in found.iter().zip(&expected) {
                for (found, expected) in found.iter().zip(expected) {
                    assert!((f64::from(*found) / expected).ln().abs() < 1e-4, "{what}: {found}, not {expected}");
                }
            }
        }
    });
}

#[test]
fn a_task_without_any_label_has_no_loss_of_its_own_and_nothing_breaks() {
    each(|what, instance, trial| {
        let (batch, tasks) = (instance.random_batch(30), instance.layout().tasks.len());
        let batches = (0..tasks).map(|missing| {
            let labels = move |task: usize, label: f32| if task == missing { f32::NAN } else { label };
            (vec![missing], relabelled(&batch, tasks, labels))
        });
        let unlabelled = ((0..tasks).collect(), relabelled(&batch, tasks, |_, _| f32::NAN));
        for (missing, batch) in batches.chain([unlabelled]) {
            for batch in [batch.select(&[3]), batch] {
                let pass = trial.pass(&batch, trial::TRAIN);
                assert!(pass.losses.iter().all(|loss| loss.is_finite()), "{what}: {:?}", pass.losses);
                let objective = &trial.network().objective;
                for task in &missing {
                    // Without a click it is known that no purchase followed, whatever its label.
                    let known =
                        !matches!(objective.spaces()[*task], Space::Parent | Space::Path) && missing.len() < tasks;
                    let known = known && objective.funnel().parents[*task].is_some();
                    assert!(known || pass.losses[*task] == 0.0, "{what}: {:?}", pass.losses);
                }
                let gradients = trial.gradients(&pass);
                assert!(gradients.values().flatten().all(|gradient| gradient.is_finite()), "{what}");
                let still = gradients.values().flatten().all(|gradient| *gradient == 0.0);
                assert!(
                    missing.len() < tasks || still || !trial.network().terms.is_empty(),
                    "{what}: nothing is known"
                );
            }
        }
    });
}

#[test]
fn a_batch_without_a_click_is_an_ordinary_batch() {
    each(|what, instance, mut trial| {
        let (objective, batch) = (trial.network().objective.clone(), instance.random_batch(30));
        let (funnel, tasks) = (objective.funnel(), objective.names().len());
        // What is direct may happen all the same.
        let batch = relabelled(&batch, tasks, |task, label| if funnel.direct[task] { label } else { 0.0 });
        for batch in [batch.select(&[3]), batch] {
            let losses = trial.pass(&batch, trial::TRAIN).losses;
            for task in (0..tasks).filter(|task| funnel.parents[*task].is_some() && !funnel.direct[*task]) {
                let counts = !matches!(objective.spaces()[task], Space::Parent | Space::Path);
                assert_eq!(losses[task] > 0.0, counts, "{what}: {}", objective.names()[task]);
            }
            trial.train(&batch, 3, &OptimizerConfig::default());
            assert!(trial.tensors().values().flatten().all(|weight| weight.is_finite()), "{what}");
        }
    });
}
