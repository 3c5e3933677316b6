//! The triplet term beside every model.

use crosstie::model::Network;
use crosstie::optim::{Kind, OptimizerConfig, Rule};

use crosstie::config::Config;

use crate::trial::{self, Instance, SMALL, Trial};

fn with_term(small: (&str, &str), settings: &str) -> Config {
    let mut config = trial::config(small, "");
    config.objective.triplet = Some(toml::from_str(settings).unwrap());
    config
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn it_moves_the_embeddings_and_no_score_reads_it() {
    let instance = Instance::load();
    let batch = instance.random_batch(300);
    for small in SMALL {
        let plain = Trial::new(&instance, &trial::config(*small, ""));
        let trial = Trial::new(&instance, &with_term(*small, ""));
        assert_eq!(bits(&plain.logits(&batch)), bits(&trial.logits(&batch)), "{}", small.0);
        let names: Vec<&str> = trial.network().terms.iter().rev().take(3).map(|term| term.name.as_str()).collect();
        assert_eq!(names, ["triplet like", "triplet buy", "triplet cart"], "{}", small.0);
        let (before, after) = (plain.pass(&batch, trial::TRAIN), trial.pass(&batch, trial::TRAIN));
        assert!(before.losses == after.losses[..before.losses.len()], "{}: other losses have changed", small.0);
        let (before, after) = (plain.gradients(&before), trial.gradients(&after));
        let moved: Vec<&str> = before.keys().filter(|name| before[*name] != after[*name]).map(String::as_str).collect();
        // Of the first set of tables; the position is of the role `bias`.
        let tables = if trial.network().sets.len() > 1 { "embedding.0" } else { "embedding" };
        assert_eq!(moved, [format!("{tables}.items"), format!("{tables}.user")], "{}", small.0);
    }
}

/// What balancing finds by place in one graph it uses in the other.
#[test]
fn parameters_stand_in_the_same_places_where_every_head_is_a_loss() {
    let instance = Instance::load();
    let config = with_term(("mmoe", ""), "");
    let trial = Trial::new(&instance, &config);
    let network = trial.network();
    let (model, objective) = (config.model.model(), network.objective.clone());
    let of_heads = Network::of_heads(model, &config.network, &instance.layout(), objective).unwrap();
    assert_eq!(network.program.parameters(), of_heads.program.parameters());
    assert!(of_heads.terms.is_empty());
}

#[test]
fn it_is_equal_to_the_bit_at_any_number_of_threads() {
    let instance = Instance::load();
    let batch = instance.random_batch(1100);
    let config = with_term(("calibration", ""), "tasks = [\"like\", \"buy\"]");
    let found = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut trial = Trial::new(&instance, &config);
            trial.train(&batch, 3, &OptimizerConfig::default());
            trial.tensors().into_iter().map(|(name, values)| (name, bits(&values))).collect::<Vec<_>>()
        })
    };
    let alone = found(1);
    for threads in [2, 8] {
        assert!(alone == found(threads), "{threads} threads");
    }
}

#[test]
fn training_brings_rows_to_the_centres_of_their_levels() {
    let instance = Instance::load();
    // The label is the user's: the first two convert, the next is clicked, the last two are not.
    let mut batch = instance.random_batch(300);
    for row in 0..batch.rows {
        let labels = match batch.ids[3].row(row)[0] {
            0 | 1 => [1.0, 1.0, 0.0, 0.0],
            2 => [1.0, 0.0, 0.0, 0.0],
            _ => [0.0, 0.0, 0.0, 0.0],
        };
        batch.labels[4 * row..][..4].copy_from_slice(&labels);
    }
    let sgd = Rule { kind: Kind::Sgd, learning_rate: 0.05, ..Rule::default() };
    let optimizer = OptimizerConfig { dense: sgd.clone(), rows: sgd, ..OptimizerConfig::default() };
    let settings = "weight = 1.0\nwidth = 4\ntasks = [\"cart\"]";
    let mut trial = Trial::new(&instance, &with_term(("shared-bottom", "bottom_units = [8]"), settings));
    let cost = |trial: &Trial| *trial.pass(&batch, trial::TRAIN).losses.last().unwrap() / batch.rows as f64;
    let before = cost(&trial);
    trial.train(&batch, 300, &optimizer);
    let after = cost(&trial);
    assert!(after < 0.1 * before, "{before}, then {after}");
}
