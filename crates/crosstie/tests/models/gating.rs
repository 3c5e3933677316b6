//! Gated towers, in any model.

use crate::kinship::apart;
use crate::trial::{self, GATED, Instance, SMALL, Trial};

/// A model without gates; AEM2TL has some of its own.
fn ungated((name, settings): (&str, &str)) -> Trial {
    let off = if name == "aem2tl" { "\npersonalised_gating = false" } else { "" };
    Trial::new(&Instance::load(), &trial::config((name, &format!("{settings}{off}")), ""))
}

fn gated(small: (&str, &str)) -> Trial {
    Trial::new(&Instance::load(), &trial::config(small, GATED))
}

/// Fills the last layers of all gate units: the weights with zero, the biases
/// by place.
fn set_gates(trial: &mut Trial, bias: impl Fn(usize) -> f32) {
    let parameters = trial.parameters().to_vec();
    for parameter in parameters.iter().filter(|parameter| parameter.name.contains("personal_gate.")) {
        let values = &mut trial.numbers()[parameter.range()];
        if parameter.name.ends_with(".1.weight") {
            values.fill(0.0);
        } else if parameter.name.ends_with(".1.bias") {
            values.iter_mut().enumerate().for_each(|(unit, value)| *value = bias(unit));
        }
    }
}

#[test]
fn a_gate_unit_whose_last_layer_is_zero_is_no_gate() {
    let batch = Instance::load().random_batch(300);
    for small in SMALL {
        let (plain, mut trial) = (ungated(*small), gated(*small));
        set_gates(&mut trial, |_| 0.0);
        for parameter in plain.parameters() {
            let values = &plain.learned.parameters()[parameter.range()];
            let other = trial.parameters().iter().find(|other| other.name == parameter.name);
            let shape = other.unwrap_or_else(|| panic!("{}: {} is gone", small.0, parameter.name)).shape.clone();
            match (&parameter.shape[..], &shape[..]) {
                (plain, gated) if plain == gated => trial.set(&parameter.name, &shape, values),
                // Towers that read one input are one matrix; gated ones are apart.
                (_, [heads, _, width]) => trial.set(&parameter.name, &shape, &apart(values, *heads, *width)),
                shapes => panic!("{}: {} has the shapes {shapes:?}", small.0, parameter.name),
            }
        }
        for (found, expected) in trial.logits(&batch).iter().zip(plain.logits(&batch)) {
            assert!((found - expected).abs() <= 2e-6, "{}: {found} {expected}", small.0);
        }
    }
}

#[test]
fn every_head_of_every_model_is_gated() {
    let batch = Instance::load().random_batch(60);
    for small in SMALL {
        let mut trial = gated(*small);
        set_gates(&mut trial, |_| 0.0);
        let before = trial.logits(&batch);
        set_gates(&mut trial, |unit| if unit % 2 == 0 { 1.0 } else { -0.5 });
        let after = trial.logits(&batch);
        let heads = trial.network().objective.heads();
        for (place, head) in heads.iter().enumerate() {
            let of_head = |logits: &[f32]| logits.iter().copied().skip(place).step_by(heads.len()).collect::<Vec<_>>();
            assert_ne!(of_head(&before), of_head(&after), "{}: {}", small.0, head.name);
        }
    }
}

#[test]
fn every_feature_set_learns_its_scenarios_and_bias_networks_have_no_gates() {
    let batch = Instance::load().random_batch(60);
    for small in SMALL {
        let trial = gated(*small);
        let gradients = trial.gradients(&trial.pass(&batch, trial::TRAIN));
        let scenarios: Vec<&String> = gradients.keys().filter(|name| name.starts_with("scenario.")).collect();
        // Further sets of EKTM's and STEM-Net's are for bottoms and experts, not for towers.
        let gating = if ["ektm", "stem"].contains(&small.0) { 1 } else { trial.network().sets.len() };
        assert_eq!(scenarios.len(), gating, "{}: one vector per feature set", small.0);
        for name in scenarios {
            // Scenario 1 has no rows.
            let moved: Vec<bool> = gradients[name].chunks(3).map(|vector| vector.iter().any(|g| *g != 0.0)).collect();
            assert_eq!(moved, [true, false, true], "{}: {name}", small.0);
        }
        let towers = gradients.keys().filter_map(|name| Some(name.split_once("personal_gate.")?.0));
        assert!(towers.clone().count() > 0 && towers.clone().all(|towers| !towers.contains("bias")), "{}", small.0);
    }
}

#[test]
fn gates_cut_in_parts_serve_each_tower_alone() {
    let batch = Instance::load().random_batch(60);
    let mut trial = gated(("shared-bottom", "bottom_units = [7]\ntower_units = [6]"));
    set_gates(&mut trial, |_| 0.0);
    let before = trial.logits(&batch);
    // The first layer's gate has one factor for each of 7 inputs of 5 heads.
    let bias = trial.parameters().iter().find(|found| found.name == "personal_gate.0.1.bias").unwrap();
    let (start, heads) = (bias.offset, bias.len() / 7);
    trial.numbers()[start + 2 * 7..start + 3 * 7].fill(1.0);
    let after = trial.logits(&batch);
    let moved: Vec<bool> = (0..heads)
        .map(|head| before.iter().zip(&after).skip(head).step_by(heads).any(|(before, after)| before != after))
        .collect();
    assert_eq!(moved, [false, false, true, false, false]);
}

#[test]
fn aem2tl_is_gated_once_and_never_against_its_own_setting() {
    let small = *SMALL.iter().find(|(name, _)| *name == "aem2tl").unwrap();
    let shapes = |trial: &Trial| {
        let parameters = trial.parameters().iter();
        parameters.map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect::<Vec<_>>()
    };
    let own = Trial::new(&Instance::load(), &trial::config(small, ""));
    let network = gated(small);
    let names = |trial: &Trial| {
        let mut names: Vec<String> = shapes(trial).into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&own), names(&network), "the same gate units, whoever asks for them");
    let units = |trial: &Trial| shapes(trial).into_iter().find(|(name, _)| name == "personal_gate.0.0.bias").unwrap().1;
    assert_eq!((units(&own), units(&network)), (vec![5], vec![4]), "of [network.gating]'s size where that is set");

    let off = trial::config((small.0, "personalised_gating = false"), GATED);
    let instance = Instance::load();
    let objective = off.model.model().objective(&instance.schema(), &off.objective).unwrap();
    let refused = crosstie::model::Network::new(off.model.model(), &off.network, &instance.layout(), objective);
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("model.personalised_gating") && said.contains("[network.gating]"), "{said}");
}
