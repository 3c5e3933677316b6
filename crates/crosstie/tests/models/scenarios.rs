//! Scenarios that training has not met.

use crosstie::batch::Batch;
use crosstie::optim::OptimizerConfig;

use crate::trial::{self, GATED, Instance, Trial};

/// The rows, as if all were of one scenario.
fn all_in(batch: &Batch, scenario: u32) -> Batch {
    Batch { scenarios: vec![scenario; batch.rows], ..batch.clone() }
}

/// A model trained on rows of the scenarios `from` alone.
fn trained(instance: &Instance, model: (&str, &str), style: &str, from: [u32; 2]) -> (Trial, Batch) {
    let mut batch = instance.random_batch(200);
    batch.scenarios = (0..batch.rows).map(|row| from[usize::from(row >= 100)]).collect();
    let mut trial = Trial::new(instance, &trial::config(model, style));
    trial.train(&batch, 4, &OptimizerConfig::default());
    (trial, batch)
}

/// Names and shapes of what scenarios have of their own.
fn own(trial: &Trial) -> Vec<(String, Vec<usize>)> {
    let of_scenario = |name: &str| name.contains(".residual.") || name == "scenario.weight";
    let found = trial.parameters().iter().filter(|parameter| of_scenario(&parameter.name));
    found.map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect()
}

#[test]
fn a_scenario_that_training_has_not_met_is_scored_by_what_all_share() {
    let models = [
        (("aem2tl", ""), ""),
        (("aem2tl", "scenario_rank = 0\ntask_cgc = false"), "norm = \"batch\""),
        (("aem2tl", "scenario_cgc = false"), GATED),
        (("mmoe", ""), GATED),
    ];
    let instance = Instance::load();
    for (model, style) in models {
        for unmet in [0, 1] {
            let (mut trial, batch) = trained(&instance, model, style, [1 - unmet, 2]);
            let [unseen, met] = [unmet, 2].map(|scenario| trial.logits(&all_in(&batch, scenario)));
            assert_ne!(unseen, met, "{model:?}: scenarios learn nothing of their own");
            for (name, shape) in own(&trial) {
                trial.set(&name, &shape, &vec![0.0; shape.iter().product()]);
            }
            let shared = trial.logits(&all_in(&batch, 2));
            assert_eq!(unseen, shared, "{model:?} {style}, scenario {unmet}");
        }
    }
}

/// The paper's networks have nothing in common: those of a scenario without rows are as
/// they were drawn.
#[test]
fn separate_networks_score_a_scenario_without_training_rows_as_the_largest() {
    let model = ("aem2tl", "scenario_weights = \"separate\"");
    for (instance, alike) in [(Instance::load(), false), (Instance::load().without_other(), true)] {
        let (trial, batch) = trained(&instance, model, "", [1, 2]);
        let [other, largest, third] = [0, 1, 2].map(|scenario| trial.logits(&all_in(&batch, scenario)));
        assert_eq!(other == largest, alike);
        assert_ne!(largest, third);
        // Rows of several scenarios in one batch.
        let mut mixed = batch.clone();
        mixed.scenarios = (0..batch.rows).map(|row| [0, 1, 2][row * 3 / batch.rows]).collect();
        let heads = trial.network().objective.heads().len();
        for (row, logits) in trial.logits(&mixed).chunks_exact(heads).enumerate() {
            let of = [&other, &largest, &third][mixed.scenarios[row] as usize];
            assert_eq!(logits, &of[row * heads..][..heads], "row {row}");
        }
    }
}
