//! Balancing with whole networks: AdaTask's steps against plain loops, and what the
//! scale of a loss does to what tasks share.

use crosstie::balance::{AdaTask, BalanceConfig, MultiBalance};
use crosstie::batch::Batch;
use crosstie::embedding::{RowGradients, Table};
use crosstie::learned::Gradients;
use crosstie::optim::{Kind, OptimizerConfig, Rule};
use crosstie::train::Trainer;

use crate::trial::{self, Instance, SMALL, TRAIN, Trial};

/// Dense parameters that stay where they are, and a rule for rows that is blind to scale.
fn rows_alone(kind: Kind, l2: f32) -> OptimizerConfig {
    let still = Rule { learning_rate: 0.0, ..Rule::of(Kind::Sgd) };
    // Far below the root of any square that is not 0.
    let rows = Rule { initial: 0.0, epsilon: 1e-30, l2, learning_rate: 0.05, ..Rule::of(kind) };
    OptimizerConfig { dense: still, rows, ..OptimizerConfig::default() }
}

fn trial(model: &str, balance: BalanceConfig, weights: &str) -> Trial {
    let small = SMALL.iter().find(|(name, _)| *name == model).unwrap();
    let mut config = trial::config(*small, "");
    config.balance = balance;
    config.objective.weights = toml::from_str(weights).unwrap();
    Trial::new(&Instance::load(), &config)
}

fn tables(trial: &Trial) -> Vec<Vec<f32>> {
    trial.learned.tables().all().iter().map(|table| table.weights.clone()).collect()
}

/// The gradients of the tables' rows, of single losses: of tasks, then of the model's terms.
fn row_gradients(trial: &Trial, batch: &Batch, seeds: &[f32]) -> Vec<Vec<f32>> {
    let (network, passes) = (trial.network(), trial.learned.passes());
    let mut workspace = network.program.workspace(batch.rows, true);
    passes.losses(&mut workspace, batch, seeds, TRAIN).unwrap();
    let mut found = Gradients::default();
    passes.gradients(&workspace, batch, &mut found);
    let whole = |(table, seen): (&Table, &RowGradients)| {
        let mut whole = vec![0.0; table.weights.len()];
        for (row, gradient) in seen.rows.iter().zip(seen.gradients.chunks_exact(table.width)) {
            whole[*row as usize * table.width..][..table.width].copy_from_slice(gradient);
        }
        whole
    };
    trial.learned.tables().all().iter().zip(&found.rows).map(whole).collect()
}

#[test]
fn adatask_goes_the_way_of_a_plain_loop_over_the_tasks() {
    let instance = Instance::load();
    let batch = instance.random_batch(80);
    // AITM has a term beside the tasks' losses.
    for (model, kind, l2) in [("mmoe", Kind::Adagrad, 0.0), ("aitm", Kind::Adagrad, 0.02), ("esmm", Kind::Adam, 0.02)] {
        let optimizer = rows_alone(kind, l2);
        let start = || trial(model, BalanceConfig::AdaTask(AdaTask {}), "cart = 3.0");
        let (mut now, all) = (start(), start().seeds(batch.rows));
        let (tasks, count) = (now.network().objective.names().len(), all.len());
        let terms: Vec<usize> = (tasks..count).collect();
        let parts: Vec<Vec<usize>> =
            (0..tasks).map(|task| vec![task]).chain((count > tasks).then_some(terms)).collect();
        let seen: Vec<Vec<bool>> = {
            let found = now.pass(&batch, TRAIN).rows;
            let of = |(table, rows): (&Vec<f32>, &RowGradients)| {
                let width = rows.gradients.len() / rows.rows.len();
                (0..table.len()).map(|place| rows.rows.contains(&((place / width) as u32))).collect()
            };
            tables(&now).iter().zip(&found).map(of).collect()
        };
        let mut expected: Vec<Vec<f64>> =
            tables(&now).iter().map(|table| table.iter().map(|w| f64::from(*w)).collect()).collect();
        let zeros: Vec<Vec<f64>> = expected.iter().map(|table| vec![0.0; table.len()]).collect();
        let (mut first, mut second) = (vec![zeros.clone(); parts.len()], vec![zeros; parts.len()]);
        for step in 1..=3 {
            let of_parts = parts.iter().map(|part| {
                let seeds: Vec<f32> =
                    all.iter().enumerate().map(|(loss, seed)| if part.contains(&loss) { *seed } else { 0.0 }).collect();
                row_gradients(&now, &batch, &seeds)
            });
            for (part, gradients) in of_parts.collect::<Vec<_>>().into_iter().enumerate() {
                for (table, place) in (0..seen.len()).flat_map(|t| (0..seen[t].len()).map(move |place| (t, place))) {
                    if !seen[table][place] {
                        continue;
                    }
                    let w = &mut expected[table][place];
                    let g = f64::from(gradients[table][place]) + f64::from(l2) / parts.len() as f64 * *w;
                    let (m, v) = (&mut first[part][table][place], &mut second[part][table][place]);
                    let (up, down) = if kind == Kind::Adam {
                        (*m, *v) = (0.9 * *m + 0.1 * g, 0.999 * *v + 0.001 * g * g);
                        (*m / (1.0 - 0.9f64.powi(step)), *v / (1.0 - 0.999f64.powi(step)))
                    } else {
                        *v += g * g;
                        (g, *v)
                    };
                    *w -= 0.05 * up / (down.sqrt() + 1e-30);
                }
            }
            now = start();
            now.train(&batch, step as u64, &optimizer);
            for (table, (found, expected)) in tables(&now).iter().zip(&expected).enumerate() {
                for (found, expected) in found.iter().zip(expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 2e-4, "{model}, step {step}, table {table}: {found} instead of {expected}");
                }
            }
        }
    }
}

#[test]
fn under_adatask_the_scale_of_a_loss_does_not_reach_the_rows_that_tasks_share() {
    let batch = Instance::load().random_batch(80);
    for model in ["shared-bottom", "mmoe", "ple", "esmm", "calibration", "aem2tl"] {
        for (balance, alike) in [(BalanceConfig::AdaTask(AdaTask {}), true), (BalanceConfig::default(), false)] {
            let after = |weights: &str| {
                let mut trial = trial(model, balance.clone(), weights);
                let before = tables(&trial);
                trial.train(&batch, 3, &rows_alone(Kind::Adagrad, 0.0));
                assert_ne!(tables(&trial), before, "{model}");
                tables(&trial)
            };
            // A power of 2, so that nothing is rounded otherwise.
            assert_eq!(after("buy = 1.0") == after("buy = 1024.0"), alike, "{model}, {balance:?}");
        }
    }
}

#[test]
fn under_multibalance_the_scale_of_a_loss_does_not_reach_what_tasks_share() {
    let instance = Instance::load();
    let batch = instance.random_batch(80);
    for model in ["shared-bottom", "mmoe", "ple", "esmm", "aem2tl"] {
        let all_weights = |buy: f32| -> Vec<f64> {
            let small = SMALL.iter().find(|(name, _)| *name == model).unwrap();
            let mut config = trial::config(*small, "");
            config.balance = BalanceConfig::MultiBalance(MultiBalance::default());
            config.objective.weights = toml::from_str(&format!("buy = {buy:?}")).unwrap();
            // Norms of one state alone.
            let still = Rule { learning_rate: 0.0, ..Rule::of(Kind::Sgd) };
            config.optimizer = OptimizerConfig { dense: still.clone(), rows: still, ..OptimizerConfig::default() };
            let mut trainer = Trainer::new(&config, &instance.schema(), &instance.layout()).unwrap();
            let taught = (0..3).map(|_| trainer.step(1, &batch).unwrap()).last().unwrap();
            let fixed = trainer.learned().network().objective.weights();
            assert!((taught.weights.iter().sum::<f64>() - 4.0).abs() < 1e-9, "{taught:?}");
            taught.weights.iter().zip(fixed).map(|(weight, fixed)| weight * f64::from(*fixed)).collect()
        };
        let (one, other) = (all_weights(1.0), all_weights(1000.0));
        for (a, b) in one.iter().zip(&other) {
            let (found, expected) = (a / one[0], b / other[0]);
            assert!((found / expected - 1.0).abs() < 1e-4, "{model}: {one:?} {other:?}");
        }
    }
}

#[test]
fn a_model_that_shares_no_tables_is_told_so() {
    for (name, settings) in [("adatask", "name = 'adatask'"), ("multibalance", "name = 'multibalance'")] {
        let mut config = trial::config(("single-task", ""), "");
        config.balance = toml::from_str(settings).unwrap();
        let instance = Instance::load();
        let said = Trainer::new(&config, &instance.schema(), &instance.layout());
        let said = said.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(&format!("`{name}`")) && said.contains("share none"), "{said}");
    }
}
