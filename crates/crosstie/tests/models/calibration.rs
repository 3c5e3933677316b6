//! Calibration4CVR against networks that are not calibrated.

use std::collections::BTreeMap;

use crate::trial::{self, Instance, Trial};

/// The heads of the instance: click, cart after click, buy after cart, like
/// after click with and without it.
const HEADS: usize = 5;

const STRUCTURES: [&str; 4] = ["ctr", "ctr-scaled", "cvr", "cvr-concat"];

fn calibrated(instance: &Instance, structure: &str) -> Trial {
    let settings = "units = [5, 4]\nlayers = [0, 1]\nbias_units = [16]\nreduction = 2";
    let settings = format!("structure = \"{structure}\"\n{settings}");
    Trial::new(instance, &trial::config(("calibration", &settings), ""))
}

fn assert_close(what: &str, one: &[f32], other: &[f32]) {
    assert_eq!(one.len(), other.len(), "{what}");
    for (index, (one, other)) in one.iter().zip(other).enumerate() {
        assert!((one - other).abs() <= 1e-6, "{what}, logit {index}: {one} {other}");
    }
}

/// One head's logits.
fn column(logits: &[f32], head: usize) -> Vec<f32> {
    logits.iter().skip(head).step_by(HEADS).copied().collect()
}

/// A task's part of the first layers, which stand side by side: `[inputs,
/// tasks · width]`, or `[tasks · width]`.
fn of_task(values: &[f32], task: usize, tasks: usize, width: usize) -> Vec<f32> {
    values.chunks_exact(tasks * width).flat_map(|row| row[task * width..][..width].to_vec()).collect()
}

#[test]
fn without_calibration_it_is_single_task_networks_over_one_embedding() {
    let instance = Instance::load();
    let plain = calibrated(&instance, "none");
    let mut single = Trial::new(&instance, &trial::config(("single-task", "units = [5, 4]"), ""));
    let (from, tasks): (BTreeMap<_, _>, _) = (plain.tensors(), instance.layout().tasks);
    for index in 0..tasks.len() {
        for table in instance.layout().tables {
            let values = &from[&format!("embedding.{}", table.name)];
            single.set(&format!("embedding.{index}.{}", table.name), &[table.rows, table.width], values);
        }
    }
    for parameter in single.parameters().to_vec() {
        let [network, task, layer, kind] = parameter.name.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
        // A direct task has two networks there, and one with two logits here.
        if task == "like" {
            continue;
        }
        let values = match from.get(&parameter.name) {
            Some(values) => values.clone(),
            None => {
                let index = tasks.iter().position(|name| name == task).unwrap();
                let width = if network == "bias" { 16 } else { 5 };
                of_task(&from[&format!("{network}.{layer}.{kind}")], index, tasks.len(), width)
            }
        };
        single.set(&parameter.name, &parameter.shape, &values);
    }
    let batch = instance.random_batch(300);
    let (plain, single) = (plain.logits(&batch), single.logits(&batch));
    for (head, task) in tasks.iter().enumerate().take(3) {
        assert_close(task, &column(&plain, head), &column(&single, head));
    }
}

/// Nothing beside a conversion's own numbers, or a factor of one for each of
/// them, is no calibration.
#[test]
fn a_calibration_that_says_nothing_changes_nothing() {
    let instance = Instance::load();
    let batch = instance.random_batch(300);
    let mut plain = calibrated(&instance, "none");
    for structure in STRUCTURES {
        let mut trial = calibrated(&instance, structure);
        let parameters = trial.parameters().to_vec();
        for parameter in &parameters {
            let Some((_, layer)) = parameter.name.split_once(".calibration.") else { continue };
            let says = match (structure, layer) {
                ("ctr", "1.bias") => -1.0,
                ("ctr-scaled", "scale.bias") | ("cvr-concat", "1.bias") => -200.0,
                ("cvr", "1.bias") => 200.0,
                (_, "1.weight" | "scale.weight") => 0.0,
                _ => continue,
            };
            trial.numbers()[parameter.range()].fill(says);
        }
        for parameter in plain.parameters().to_vec() {
            let wider = parameters.iter().find(|other| other.name == parameter.name).unwrap();
            // What is read beside the own numbers stands behind them.
            let values = trial.learned.parameters()[wider.range()][..parameter.len()].to_vec();
            plain.set(&parameter.name, &parameter.shape, &values);
        }
        assert_close(structure, &plain.logits(&batch), &trial.logits(&batch));
    }
}

#[test]
fn every_task_is_calibrated_by_its_ancestors_and_by_nobody_else() {
    let instance = Instance::load();
    let (batch, tasks) = (instance.random_batch(40), instance.layout().tasks);
    let followers = [
        ("click", [true, true, true, true, true]),
        ("cart", [false, true, true, false, false]),
        ("buy", [false, false, true, false, false]),
        ("like", [false, false, false, true, true]),
    ];
    for (structure, part) in STRUCTURES.iter().flat_map(|structure| [(structure, "network"), (structure, "bias")]) {
        for (task, expected) in followers {
            let mut trial = calibrated(&instance, structure);
            let before = trial.logits(&batch);
            let first = trial.parameters().iter().find(|p| p.name == format!("{part}.0.bias")).unwrap();
            let (start, width) = (first.offset, first.len() / tasks.len());
            let index = tasks.iter().position(|name| name == task).unwrap();
            trial.numbers()[start + index * width..][..width].iter_mut().for_each(|value| *value += 0.5);
            let after = trial.logits(&batch);
            let moved: Vec<bool> = (0..HEADS).map(|head| column(&before, head) != column(&after, head)).collect();
            assert_eq!(moved, expected, "{structure}: {part} of {task}");
        }
    }
}
