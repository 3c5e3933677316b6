//! Every model's gradients against finite differences.

use crosstie::compute::CHUNK;
use crosstie::compute::check::Point;
use crosstie::embedding::Columns;
use crosstie::model::Input;
use crosstie::random::Stream;

use crosstie::config::Config;

use crate::trial::{self, Instance, Trial};

/// Gate units have a rectifier whatever the style, and a finite difference
/// would step over its kink. Large biases hold each unit on or off; small
/// weights behind them keep the sigmoids awake. What a unit reads through a
/// stopped gradient, the features at the end of its input, has no finite
/// difference; it reads them with weights of zero. The golden cases hold the
/// gradients of the rest.
fn hold_gates(trial: &mut Trial, main: usize) {
    let gates = trial.parameters().iter().filter(|parameter| parameter.name.contains("personal_gate."));
    for parameter in gates.cloned().collect::<Vec<_>>() {
        let values = &mut trial.numbers()[parameter.range()];
        if parameter.name.ends_with(".0.bias") {
            values.iter_mut().enumerate().for_each(|(unit, bias)| *bias = if unit % 2 == 0 { 12.0 } else { -12.0 });
        } else if parameter.name.ends_with(".0.weight") {
            let [_, inputs, units] = parameter.shape[..] else { unreachable!("a layer has three axes") };
            values[(inputs - main) * units..].fill(0.0);
        } else if parameter.name.ends_with(".1.weight") {
            values.iter_mut().for_each(|weight| *weight *= 0.05);
        }
    }
}

/// Checks a model on rows of three scenarios, one of them empty.
fn check(instance: &Instance, config: &Config, rows: usize) {
    let mut trial = Trial::new(instance, config);
    // Not at the start of training: there biases are zero, and a norm divides
    // an unknown value's row by a variance of nothing.
    let stream = Stream::new(7, "parameters");
    for (index, value) in trial.numbers().iter_mut().enumerate() {
        let uniform = stream.uniform(index as u64) as f32 - 0.5;
        *value = uniform + 0.25f32.copysign(uniform);
    }
    hold_gates(&mut trial, Columns::new(&instance.layout()).main().len());
    let batch = instance.random_batch(rows);
    let (network, passes) = (trial.network(), trial.learned.passes());
    let sources = network.sources.iter().enumerate().map(|(index, source)| {
        let width = match source {
            Input::Fields { set } => network.sets[*set].width(),
            Input::Labels => network.objective.names().len(),
            Input::Weights => 1,
        };
        let mut values = vec![f32::NAN; batch.rows * width];
        passes.fill(&batch, index, 0..batch.rows, &mut values);
        values
    });
    let learns = network.sources.iter().map(|source| match source {
        Input::Fields { set } => Some(network.sets[*set]),
        _ => None,
    });
    Point {
        parameters: trial.learned.parameters().clone(),
        sources: sources.collect(),
        learns: learns.collect(),
        rows: batch.rows,
        segments: passes.segments(&batch),
        seeds: trial.seeds(1),
        mode: trial::TRAIN,
        program: &network.program,
    }
    .check(1e-2);
}

#[test]
fn every_model_with_every_norm_and_dropout() {
    let instance = Instance::load();
    for (name, settings) in trial::SMALL {
        for norm in ["none", "layer", "batch"] {
            let style = format!("activation = \"tanh\"\ndropout = 0.2\nnorm = \"{norm}\"");
            check(&instance, &trial::config((name, settings), &style), 60);
        }
    }
}

#[test]
fn every_model_with_gated_towers() {
    let instance = Instance::load();
    for small in trial::SMALL {
        check(&instance, &trial::config(*small, &format!("activation = \"tanh\"\n{}", trial::GATED)), 60);
    }
}

#[test]
fn every_space_over_more_than_one_chunk() {
    let instance = Instance::load();
    for space in ["parent", "product", "impression", "path"] {
        let mut config = trial::config(trial::SMALL[1], "activation = \"tanh\"\nnorm = \"batch\"");
        config.objective = toml::from_str(&format!("space = \"{space}\"")).unwrap();
        check(&instance, &config, CHUNK + 44);
    }
}
