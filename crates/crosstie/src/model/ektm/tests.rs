//! What only a right EKTM does.

use super::super::touched;
use super::super::trial::{CHAINS, Trial};
use super::*;
use crate::objective::Space;

fn small() -> Ektm {
    Ektm {
        bottom_units: vec![5, 4],
        tower_units: vec![3],
        transfer: Transfer::Representations,
        tables: TableSharing::Shared,
        transmitter: Transmitter { units: vec![3], ..Transmitter::default() },
        enhanced: Enhanced { loss: EnhancedLoss::HardExample, ..Enhanced::default() },
        ..Ektm::default()
    }
}

/// The same of logits.
fn of_logits() -> Ektm {
    let (enhanced, shared) = (Enhanced::default(), SharedNetwork { enabled: false, ..SharedNetwork::default() });
    Ektm { transfer: Transfer::Logits, tables: TableSharing::Own, enhanced, shared, ..small() }
}

#[test]
fn what_logits_add_starts_at_nothing_and_reaches_no_task_but_its_own() {
    let mut trial = Trial::new(&of_logits(), CHAINS, None);
    let single = super::super::SingleTask { units: vec![5, 4] };
    let alone = Trial::new(&single, CHAINS, None);
    // Trials start with weights none of which is 0.
    trial.set("enhanced_tower.weight", |_| 0.0);
    trial.set("enhanced_tower.bias", |_| 0.0);
    trial.copy(&alone);
    assert_eq!(trial.logits(), alone.logits());

    // With no label but those of the click, no original head but that of the click
    // learns, whatever the enhanced heads make of it.
    trial.set("enhanced_tower.weight", |_| 0.3);
    let tasks = trial.network.objective.names().len();
    trial.labels.chunks_exact_mut(tasks).for_each(|labels| labels[1..].fill(f32::NAN));
    let learns = |name: &str| trial.gradient(&format!("network.{name}.0.weight")).iter().any(|g| *g != 0.0);
    let names = trial.network.objective.names();
    assert_eq!(names.iter().map(|name| learns(name)).collect::<Vec<_>>(), [true, false, false, false, false, false]);
}

#[test]
fn every_head_is_told_what_all_others_think_unless_the_router_is_off() {
    for (enabled, expected) in [(true, vec![true; 8]), (false, (0..8).map(|head| head == 2).collect())] {
        let mut model = of_logits();
        model.router.enabled = enabled;
        let mut trial = Trial::new(&model, CHAINS, None);
        let before = trial.logits();
        trial.set("network.buy.2.bias", |bias| bias + 0.5);
        assert_eq!(moved(&before, &trial.logits()), expected, "router {enabled}");
    }
}

#[test]
fn a_share_of_nothing_leaves_the_original_heads() {
    let mut trial = Trial::new(&of_logits(), CHAINS, None);
    let alone = Trial::new(&super::super::SingleTask { units: vec![5, 4] }, CHAINS, None);
    trial.copy(&alone);
    assert_ne!(trial.logits(), alone.logits());
    trial.set("shrinkage", |_| 0.0);
    assert_eq!(trial.logits(), alone.logits());
}

#[test]
fn logits_have_no_shared_set_beside_the_own_ones() {
    let said = Ektm { tables: TableSharing::Both, ..of_logits() }.check().unwrap_err().to_string();
    assert!(said.contains("model.tables") && said.contains("representations"), "{said}");
}

/// The same beside so many shared networks.
fn with_shared(networks: usize) -> Ektm {
    let shared = SharedNetwork {
        networks,
        experts: 2,
        expert_units: vec![4],
        tower_units: vec![3],
        row_rate: 8.0,
        ..SharedNetwork::default()
    };
    Ektm { shared, ..of_logits() }
}

/// One of the networks that all tasks learn together in a trial, as an MMoE.
fn shared_network(trial: &Trial, prefix: &str, features: &[f32]) -> Trial {
    let mut shared = Trial::new(&with_shared(1).shared.network(), CHAINS, None);
    let names: Vec<String> = shared.network.program.parameters().iter().map(|of| of.name.clone()).collect();
    for name in names {
        let mut values = trial.values(&format!("{prefix}.{name}")).to_vec().into_iter();
        shared.set(&name, |_| values.next().unwrap());
    }
    shared.features.copy_from_slice(features);
    shared
}

#[test]
fn what_all_tasks_learn_together_is_a_share_of_every_score() {
    for prefixes in [&["shared"][..], &["shared.1", "shared.2"]] {
        let mut trial = Trial::new(&with_shared(prefixes.len()), CHAINS, None);
        let mut alone = Trial::new(&of_logits(), CHAINS, None);
        trial.copy(&alone);
        // Their features are those that the trial looks up in the sets of tables.
        let (own, of_shared) = trial.features.split_at(alone.features.len());
        alone.features.copy_from_slice(own);
        let of_shared = prefixes.iter().zip(of_shared.chunks_exact(of_shared.len() / prefixes.len()));
        let shared: Vec<_> =
            of_shared.map(|(prefix, features)| shared_network(&trial, prefix, features).logits()).collect();
        for share in [0.0, 0.25, 1.0] {
            trial.set("share", |_| share);
            for (row, (mixed, alone)) in trial.logits().iter().zip(alone.logits()).enumerate() {
                for (head, (mixed, alone)) in mixed.iter().zip(alone).enumerate() {
                    let shared = shared.iter().map(|of| of[row][head]).sum::<f32>() / prefixes.len() as f32;
                    let expected = (1.0 - share) * alone + share * shared;
                    assert!((mixed - expected).abs() < 1e-5, "{share}: {mixed}, {alone}, {shared}");
                }
            }
        }
    }
}

#[test]
fn nothing_passes_between_a_tasks_own_network_and_those_of_all() {
    let trial = Trial::new(&with_shared(2), CHAINS, None);
    let network = &trial.network;
    let tasks = network.objective.names().len();
    // Of the losses behind those of the tasks: 1 or 2 by the network, as the terms are told.
    let shared = |loss: usize| {
        let term = &network.terms[loss.checked_sub(tasks)?];
        let number = term.name.strip_prefix("shared.")?.split(' ').next()?.parse::<usize>().unwrap();
        assert!(term.balanced.is_some(), "{}", term.name);
        Some(number)
    };
    let losses = network.program.losses().len();
    assert_eq!((0..losses).filter(|loss| shared(*loss).is_some()).count(), 2 * tasks);
    let alone = |loss| (0..losses).map(|other| f32::from(u8::from(other == loss))).collect();
    let touched = touched(network, &(0..losses).map(alone).collect::<Vec<Vec<f32>>>()).unwrap();
    for (loss, touched) in touched.iter().enumerate() {
        for parameter in network.program.parameters() {
            let changed = touched.dense[parameter.range()].contains(&true);
            let of_loss = match shared(loss) {
                Some(number) => parameter.name.starts_with(&format!("shared.{number}.")),
                None => !parameter.name.starts_with("shared."),
            };
            assert!(!changed || of_loss, "{loss} {}", parameter.name);
        }
        let sets: Vec<usize> = (0..tasks + 2).filter(|set| touched.sets[*set]).collect();
        match shared(loss) {
            Some(number) => assert_eq!(sets, [tasks + number - 1], "{loss}"),
            None => assert!(sets.iter().all(|set| *set < tasks), "{loss} {sets:?}"),
        }
    }
    assert_eq!(network.row_rates, [vec![1.0; tasks], vec![8.0; 2]].concat());
}

#[test]
fn settings_of_the_shared_networks_that_make_none_are_refused() {
    let refused = |change: fn(&mut SharedNetwork), said: &str| {
        let mut model = with_shared(1);
        change(&mut model.shared);
        let found = model.check().unwrap_err().to_string();
        assert!(found.ends_with(said), "{found}");
    };
    refused(|shared| shared.row_rate = 0.0, "model.shared.row_rate must be above 0, found 0");
    refused(|shared| shared.networks = 0, "model.shared.networks must be at least 1, found 0");
    refused(|shared| shared.experts = 0, "model.shared.experts must be at least 1, found 0");
}

/// What stands behind a stop-gradient has no finite difference.
fn without_stops(similarity: Similarity) -> Ektm {
    let mut model = small();
    model.router.similarity = similarity;
    model.transmitter.stop_gradient = false;
    model.enhanced.beta = 0.0;
    model
}

#[test]
fn gradients() {
    for similarity in [Similarity::Cosine, Similarity::Learned, Similarity::Uniform] {
        Trial::new(&without_stops(similarity), CHAINS, None).check_gradients();
    }
    let mut plain = without_stops(Similarity::Cosine);
    plain.enhanced.enabled = false;
    Trial::new(&plain, CHAINS, Some(Space::Product)).check_gradients();
    Trial::new(&without_stops(Similarity::Cosine), "[[task]]\nname = \"click\"\n", None).check_gradients();
}

/// Uniform similarity, no transmitter, no enhancement: every conversion's
/// tower reads the plain mean of its click's representation and all
/// conversions'. With bottoms that are alike the mean is each of them.
#[test]
fn uniform_similarity_alone_is_plain_averaging() {
    let mut model = small();
    model.router.similarity = Similarity::Uniform;
    (model.transmitter.enabled, model.enhanced.enabled) = (false, false);
    let mut mean = Trial::new(&model, CHAINS, None);
    model.router.enabled = false;
    let mut apart = Trial::new(&model, CHAINS, None);
    apart.copy(&mean);
    assert_ne!(mean.logits(), apart.logits());

    // A last layer that is affine would let us average weights; tanh does
    // not, so the representations themselves are averaged by hand.
    let expected = averaged_by_hand(&mean);
    for (found, expected) in mean.logits().iter().zip(&expected) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    for trial in [&mut mean, &mut apart] {
        for name in ["0.weight", "0.bias", "1.weight", "1.bias"] {
            trial.set(&format!("ctr_bottom.{name}"), |_| 0.1);
            trial.set(&format!("cvr_bottom.{name}"), |_| 0.1);
        }
    }
    for (mean, apart) in mean.logits().iter().zip(&apart.logits()) {
        mean.iter().zip(apart).for_each(|(mean, apart)| assert!((mean - apart).abs() < 1e-5, "{mean} {apart}"));
    }
}

/// The logits of `CHAINS` in plain loops.
fn averaged_by_hand(trial: &Trial) -> Vec<Vec<f32>> {
    let layer = |name: &str, x: &[f32], groups: usize, group: usize, tanh: bool| -> Vec<f32> {
        let (weight, bias) = (trial.values(&format!("{name}.weight")), trial.values(&format!("{name}.bias")));
        let outputs = bias.len() / groups;
        // The first layers of networks that read one input are one matrix.
        let stacked = name.ends_with("bottom.0") || name.ends_with("bias.0");
        let at = |input: usize, output: usize| {
            if stacked {
                weight[input * bias.len() + group * outputs + output]
            } else {
                weight[(group * x.len() + input) * outputs + output]
            }
        };
        let sums = (0..outputs).map(|output| {
            let sum: f32 = x.iter().enumerate().map(|(input, x)| x * at(input, output)).sum();
            sum + bias[group * outputs + output]
        });
        sums.map(|sum| if tanh { sum.tanh() } else { sum }).collect()
    };
    let two = |name: &str, x: &[f32], groups: usize, group: usize, tanh: bool| {
        let hidden = layer(&format!("{name}.0"), x, groups, group, true);
        layer(&format!("{name}.1"), &hidden, groups, group, tanh)
    };
    trial
        .features
        .chunks_exact(8)
        .map(|features| {
            let (main, bias) = features.split_at(6);
            let ctr: Vec<Vec<f32>> = (0..2).map(|click| two("ctr_bottom", main, 2, click, true)).collect();
            let cvr: Vec<Vec<f32>> = (0..6).map(|head| two("cvr_bottom", main, 6, head, true)).collect();
            let logit = |kind: &str, x: &[f32], groups: usize, place: usize| {
                let tower = two(&format!("{kind}_tower"), x, groups, place, false)[0];
                tower + two(&format!("{kind}_bias"), bias, groups, place, false)[0]
            };
            let mean = |click: usize| -> Vec<f32> {
                let column = |k: usize| (ctr[click][k] + cvr.iter().map(|f| f[k]).sum::<f32>()) / 7.0;
                (0..4).map(column).collect()
            };
            let conversion = |place: usize| logit("original", &mean(usize::from(place > 3)), 6, place);
            // click, cart, buy, like, like without click, visit, share, share without visit.
            let mut logits = vec![logit("ctr", &ctr[0], 2, 0)];
            logits.extend((0..4).map(conversion));
            logits.push(logit("ctr", &ctr[1], 2, 1));
            logits.extend((4..6).map(conversion));
            logits
        })
        .collect()
}

#[test]
fn with_all_modules_off_every_head_is_a_network_of_its_own() {
    let mut model = small();
    (model.router.enabled, model.transmitter.enabled, model.enhanced.enabled) = (false, false, false);
    let mut trial = Trial::new(&model, CHAINS, None);
    let before = trial.logits();
    trial.set_block("cvr_bottom.1.weight", 1, |weight| weight + 0.5);
    let moved = moved(&before, &trial.logits());
    assert_eq!(moved, [false, false, true, false, false, false, false, false], "only `buy`");
}

fn moved(before: &[Vec<f32>], after: &[Vec<f32>]) -> Vec<bool> {
    let heads = before[0].len();
    (0..heads).map(|head| before.iter().zip(after).any(|(one, other)| one[head] != other[head])).collect()
}

#[test]
fn a_conversion_reaches_all_conversions_and_no_click() {
    for similarity in [Similarity::Cosine, Similarity::Learned, Similarity::Uniform] {
        let mut model = small();
        model.router.similarity = similarity;
        let mut trial = Trial::new(&model, CHAINS, None);
        let before = trial.logits();
        trial.set_block("cvr_bottom.1.weight", 1, |weight| weight + 0.5);
        let moved = moved(&before, &trial.logits());
        assert_eq!(moved, [false, true, true, true, true, false, true, true], "{similarity:?}");
    }
}

/// With every conversion's own loss off but one, the bottoms of the others
/// learn only where gradients may pass.
#[test]
fn stop_gradient_lets_a_task_change_its_own_representation_only() {
    for similarity in [Similarity::Cosine, Similarity::Learned, Similarity::Uniform] {
        for stop_gradient in [true, false] {
            let mut model = small();
            model.router.similarity = similarity;
            model.transmitter.stop_gradient = stop_gradient;
            let mut trial = Trial::new(&model, CHAINS, None);
            let tasks = trial.network.objective.names().len();
            // All labels missing but click and cart: no other task has a loss.
            for labels in trial.labels.chunks_exact_mut(tasks) {
                labels[0] = 1.0;
                labels[2..].fill(f32::NAN);
            }
            let gradients = trial.gradient("cvr_bottom.1.weight");
            let learns: Vec<bool> = gradients.chunks_exact(20).map(|block| block.iter().any(|g| *g != 0.0)).collect();
            let others = !stop_gradient;
            assert_eq!(learns, [true, others, others, others, others, others], "{similarity:?} {stop_gradient}");
        }
    }
}

#[test]
fn similarity_is_a_softmax_of_cosines_and_sharpens_with_the_temperature() {
    let own = |temperature: f32| {
        let mut model = small();
        model.router.temperature = temperature;
        let rows = Trial::new(&model, CHAINS, None).diagnostic("similarity cart");
        for row in &rows {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            // A representation is most alike to itself.
            assert!(row[1..].iter().all(|other| *other <= row[0]), "{row:?}");
        }
        rows.iter().map(|row| row[0]).sum::<f32>() / rows.len() as f32
    };
    let (sharp, blunt) = (own(0.01), own(100.0));
    assert!(sharp > 0.9 && (blunt - 1.0 / 6.0).abs() < 0.01, "{sharp} {blunt}");
}

#[test]
fn hard_examples_weigh_one_plus_beta_times_the_error_to_the_gamma() {
    let (beta, gamma) = (3.0, 1.5);
    let mut model = small();
    (model.enhanced.beta, model.enhanced.gamma) = (beta, gamma);
    let weighted = Trial::new(&model, CHAINS, None);
    model.enhanced.beta = 0.0;
    let plain = Trial::new(&model, CHAINS, None);
    // Labels of cart after a click, alone.
    let (mut expected, tasks) = (0.0, plain.network.objective.names().len());
    // Without the transmitter's and the enhanced tower's say, the enhanced
    // head is a constant logit, and the original one too.
    let mut trials = [weighted, plain];
    for trial in &mut trials {
        for name in ["enhanced_tower", "enhanced_bias", "original_tower", "original_bias"] {
            trial.set(&format!("{name}.1.weight"), |_| 0.0);
            trial.set(&format!("{name}.1.bias"), |_| if name == "original_tower" { 0.5 } else { -0.3 });
        }
    }
    let p = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    let (original, enhanced) = (p(0.5 - 0.3), p(-0.3 - 0.3));
    for (labels, weight) in trials[0].labels.chunks_exact(tasks).zip(&trials[0].weights) {
        if labels[0] == 1.0 && !labels[1].is_nan() {
            let y = f64::from(labels[1]);
            let loss = -(y * enhanced + (1.0 - y) * (1.0 - enhanced)).ln();
            let factor = 1.0 + f64::from(beta) * (y - original).abs().powf(f64::from(gamma));
            expected += f64::from(*weight) * factor * loss;
        }
    }
    let (weighted, plain) = (trials[0].losses(), trials[1].losses());
    assert!((weighted[1] - expected).abs() < 1e-4 * expected, "{} {expected}", weighted[1]);
    assert_eq!((weighted[0], weighted[4]), (plain[0], plain[4]), "clicks are not weighted");
}

#[test]
fn the_guard_costs_what_the_enhanced_head_loses_against_the_original() {
    let mut model = small();
    (model.enhanced.loss, model.enhanced.lambda) = (EnhancedLoss::Guard, 2.0);
    let trial = Trial::new(&model, CHAINS, None);
    let names: Vec<&str> = trial.network.terms.iter().map(|term| term.name.as_str()).collect();
    assert_eq!(names[..4], ["original cart", "guard cart", "original buy", "guard buy"]);
    assert_eq!((trial.network.terms[0].weight, trial.network.terms[1].weight), (1.0, 2.0));
    let losses = trial.losses();
    // max(a - b, 0) is never below the difference of the sums.
    assert!(losses[7] > 0.0 && losses[7] >= losses[1] - losses[6] - 1e-3, "{losses:?}");

    // An enhanced head equal to the original one owes nothing.
    let mut same = trial;
    for name in ["original", "enhanced"] {
        for part in ["tower", "bias"] {
            same.set(&format!("{name}_{part}.1.weight"), |_| 0.0);
            same.set(&format!("{name}_{part}.1.bias"), |_| 0.3);
        }
    }
    let losses = same.losses();
    assert_eq!((losses[7], losses[1]), (0.0, losses[6]));
}

#[test]
fn enhanced_beats_original_counts_the_rows_of_each_task() {
    let trial = Trial::new(&small(), CHAINS, None);
    let rows = trial.diagnostic("enhanced beats original");
    let tasks = trial.network.objective.names().len();
    let counted = |place: usize| rows.iter().filter(|row| !row[place].is_nan()).count();
    let clicked = |labels: &&[f32]| labels[0] == 1.0 && !labels[1].is_nan();
    assert_eq!(counted(0), trial.labels.chunks_exact(tasks).filter(clicked).count());
    let share = rows.iter().map(|row| row[0]).filter(|won| *won == 1.0).count();
    assert!(share > 0 && share < counted(0), "{share} of {}", counted(0));
}

#[test]
fn settings_out_of_range_are_named() {
    let mut model = small();
    model.router.temperature = 0.0;
    assert!(model.check().unwrap_err().to_string().contains("model.router.temperature"));
    let text = "name = \"ektm\"\n[router]\nsimilarity = \"cosin\"\n";
    let said = toml::from_str::<super::super::ModelConfig>(text).unwrap_err().to_string();
    assert!(said.contains("cosin"), "{said}");
}

#[test]
fn tasks_have_tables_of_their_own_if_told_so() {
    let sets = |tables: TableSharing| {
        let trial = Trial::new(&Ektm { tables, ..small() }, CHAINS, None);
        (trial.network.sets.len(), trial.network.objective.names().len())
    };
    let (shared, tasks) = sets(TableSharing::Shared);
    assert_eq!(shared, 1);
    // All heads of a task read its one set; the shared one comes on top.
    assert_eq!(sets(TableSharing::Own).0, tasks);
    assert_eq!(sets(TableSharing::Both).0, tasks + 1);
}
