//! Values and gradients of small instances in float64: by JAX from the papers'
//! equations, tests/golden/models/make.py, and by the authors' published code,
//! tests/golden/authors/make.py.

use std::collections::BTreeMap;

use crosstie::model::MODELS;
use serde::Deserialize;

use crosstie::config::Config;

use crate::trial::{self, Instance, Trial};

/// The stored cases.
const CASES: &[&str] = &[
    "single-task",
    "shared-bottom",
    "esmm",
    "mmoe",
    "cgc",
    "ple-2",
    "ple-3",
    "adatt",
    "adatt-single",
    "stem",
    "stem-levels",
    "stem-unstopped",
    "aitm",
    "aitm-towers",
    "aitm-gated",
    "calibration-ctr",
    "calibration-ctr-scaled",
    "calibration-cvr",
    "calibration-cvr-concat",
    "ektm",
    "ektm-logits",
    "ektm-shared",
    "ektm-guard",
    "ektm-average",
    "ektm-own-tables",
    "ektm-both-tables",
    "calibration-triplet",
    "single-task-triplet",
    "esmm-by-cart",
    "esm2",
    "esm2-path",
    "shared-bottom-path",
    "aem2tl",
    "aem2tl-in-part",
    "aem2tl-residual",
    "aem2tl-shifted",
    "mmoe-gated",
    "single-task-gated",
    "calibration-gated",
    "ncs4cvr",
    "ncs4cvr-flat",
];

/// Cases of the forest with two roots, forest.json.
const OF_FOREST: &[&str] =
    &["aitm-forest", "calibration-forest", "mmoe-forest", "ektm-forest", "ektm-shared-forest", "esm2-forest"];

/// The cases by authors' code.
const OF_AUTHORS: &[&str] = &["stem", "stem-levels", "adatt", "adatt-single"];

#[derive(Deserialize)]
struct Case {
    config: String,
    tensors: BTreeMap<String, Tensor>,
    logits: Vec<f64>,
    objectives: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Outcome {
    objective: String,
    heads: Vec<String>,
    losses: Vec<f64>,
    #[serde(default)]
    further: BTreeMap<String, f64>,
    given: Vec<f64>,
    joint: Vec<f64>,
    gradients: BTreeMap<String, Vec<f64>>,
}

/// Float32's share of error in a sum of some hundred terms.
fn assert_close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= 1e-5 * expected.abs().max(1.0), "{what}[{index}] is {found}, expected {expected}");
    }
}

/// The same for a gradient: relative to the tensor's largest element.
fn assert_gradient(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.1, |most: f64, value| most.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= 1e-5 * largest, "gradient of {what}[{index}] is {found}, expected {expected}");
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

fn compare(instance: &Instance, name: &str, case: &Case, outcome: &Outcome) {
    let objective = toml::from_str(&outcome.objective).unwrap();
    let config = Config { objective, ..trial::parse(&case.config) };
    let what = |part: &str| format!("{name}, {}: {part}", outcome.objective.replace('\n', " "));
    let mut trial = Trial::new(instance, &config);
    for (tensor, Tensor { shape, values }) in &case.tensors {
        trial.set(tensor, shape, values);
    }
    let known: Vec<String> = trial.tensors().into_keys().collect();
    assert_eq!(known, case.tensors.keys().cloned().collect::<Vec<_>>(), "{}", what("names of tensors"));
    let heads: Vec<&str> = trial.network().objective.heads().iter().map(|head| head.name.as_str()).collect();
    assert_eq!(heads, outcome.heads, "{}", what("heads"));

    let batch = instance.batch();
    let logits = trial.logits(&batch);
    assert_close(&what("logits"), &wide(&logits), &case.logits);
    let tasks = outcome.losses.len();
    let (mut given, mut joint) = (vec![0.0; batch.rows * tasks], vec![0.0; batch.rows * tasks]);
    for (row, logits) in logits.chunks_exact(heads.len()).enumerate() {
        let cells = row * tasks..(row + 1) * tasks;
        trial.network().objective.probabilities(logits, &mut given[cells.clone()], &mut joint[cells]);
    }
    assert_close(&what("p given the parent"), &given, &outcome.given);
    assert_close(&what("p from the impression"), &joint, &outcome.joint);

    let pass = trial.pass(&batch, trial::TRAIN);
    let (losses, further) = pass.losses.split_at(tasks);
    assert_close(&what("losses"), losses, &outcome.losses);
    let names = trial.network().terms.iter().map(|term| term.name.clone());
    let further: BTreeMap<String, f64> = names.zip(further.iter().copied()).collect();
    assert!(further.keys().eq(outcome.further.keys()), "{}: {:?}", what("further losses"), further.keys());
    for (name, expected) in &outcome.further {
        assert_close(&what(name), &[further[name]], &[*expected]);
    }
    let gradients = trial.gradients(&pass);
    for (tensor, expected) in &outcome.gradients {
        assert_gradient(&what(tensor), &gradients[tensor], expected);
    }
}

fn compare_all(instance: &Instance, folder: &str, names: &[&str]) {
    for name in names {
        let case: Case = trial::golden(&format!("{folder}/{name}"));
        let trial = Trial::new(instance, &trial::parse(&case.config));
        let learned = trial.parameters().iter().filter(|parameter| parameter.learned).count();
        let tables = case.tensors.keys().filter(|name| name.starts_with("embedding.")).count();
        assert_eq!(case.objectives[0].gradients.len(), learned + tables, "{name}: every gradient is stored once");
        for outcome in &case.objectives {
            compare(instance, name, &case, outcome);
        }
    }
}

#[test]
fn values_and_gradients_equal_those_of_an_independent_script() {
    compare_all(&Instance::load(), "models", CASES);
    compare_all(&trial::golden("models/forest"), "models", OF_FOREST);
}

#[test]
fn values_and_gradients_equal_those_of_the_authors_code() {
    compare_all(&trial::golden("authors/instance"), "authors", OF_AUTHORS);
}

#[test]
fn every_model_has_a_stored_case_and_a_small_config() {
    let stored: Vec<String> = CASES
        .iter()
        .map(|name| {
            let case: Case = trial::golden(&format!("models/{name}"));
            toml::from_str::<toml::Table>(&case.config).unwrap()["model"]["name"].as_str().unwrap().to_string()
        })
        .collect();
    for model in MODELS {
        assert!(stored.iter().any(|name| name == model.name), "{} has no case in make.py", model.name);
        assert!(trial::SMALL.iter().any(|(name, _)| *name == model.name), "{} has no small config", model.name);
    }
}
