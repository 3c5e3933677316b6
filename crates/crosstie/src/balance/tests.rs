use proptest::prelude::*;

use super::*;
use crate::batch::{self, Layout};
use crate::compute::{Init, Parameter};
use crate::layer::{Gating, Norm, Style};
use crate::model::{ModelConfig, Network};
use crate::objective::{Objective, ObjectiveConfig};
use crate::random::Stream;
use crate::schema::{Pooling, Role, Schema, Side};

/// Gradients given beforehand: `dense` numbers, then one table of width 2.
struct Given {
    tasks: Vec<Vec<f64>>,
    dense: usize,
}

impl Given {
    fn all(&self, values: &[f64]) -> Gradients {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        let (dense, rows) = values.split_at(self.dense);
        let seen = (0..rows.len() as u32 / 2).map(|row| 4 * row + 3).collect();
        Gradients { dense: dense.to_vec(), rows: vec![RowGradients::new(seen, rows.to_vec())] }
    }

    fn sum(&self, weights: &[f64]) -> Gradients {
        let mut sum = vec![0.0; self.tasks[0].len()];
        for (task, weight) in self.tasks.iter().zip(weights) {
            sum.iter_mut().zip(task).for_each(|(sum, g)| *sum += weight * g);
        }
        self.all(&sum)
    }
}

impl TaskGradients for Given {
    fn dense(&mut self, task: usize, into: &mut Vec<f32>) {
        *into = self.all(&self.tasks[task]).dense;
    }

    fn rows(&mut self, task: usize, into: &mut Vec<RowGradients>) {
        *into = self.all(&self.tasks[task]).rows;
    }

    /// As if every row of the table were a row of the batch.
    fn features(&mut self, task: usize, sets: &[usize]) -> f64 {
        assert_eq!(sets, [0]);
        self.tasks[task][self.dense..].iter().map(|g| g * g).sum()
    }
}

fn flat(gradients: &Gradients) -> Vec<f32> {
    gradients.dense.iter().chain(&gradients.rows[0].gradients).copied().collect()
}

/// A method for tasks that share the first two dense numbers and the table.
fn start(config: &BalanceConfig, tasks: usize) -> Box<dyn Balance> {
    let shared = || {
        let parts = vec![Part { range: 0..2, tasks: vec![true; tasks] }];
        Ok(Shared { parts, tables: vec![vec![true; tasks]], sets: vec![vec![true; tasks]] })
    };
    let init = Init::Glorot { inputs: 1, outputs: 1 };
    let parameters = [Parameter { name: "shared".into(), shape: vec![2], init, offset: 0, learned: true }];
    config.start(&Setting { tasks, seed: 5, parameters: &parameters, shared: &shared }).unwrap()
}

fn methods() -> Vec<BalanceConfig> {
    vec![
        BalanceConfig::Fixed(Fixed {}),
        BalanceConfig::Uncertainty(Uncertainty { learning_rate: 0.05 }),
        BalanceConfig::Dwa(Dwa::default()),
        BalanceConfig::GradNorm(GradNorm { learning_rate: 0.05, initial_steps: 1, ..GradNorm::default() }),
        BalanceConfig::PcGrad(PcGrad {}),
        BalanceConfig::MultiBalance(MultiBalance::default()),
        BalanceConfig::AdaTask(AdaTask {}),
    ]
}

/// One step; its gradient, and the weights afterwards.
fn follow(method: &mut dyn Balance, epoch: u64, means: &[f64], given: &mut Given) -> (Vec<f32>, Vec<f64>) {
    let mut total = given.sum(&method.weights(epoch));
    method.follow(&Losses { step: epoch, rows: 10, means }, &mut total, given);
    (flat(&total), method.weights(epoch))
}

/// Values of tests/golden/balance.py: six steps down two quadratic losses.
#[test]
fn two_quadratic_tasks_go_the_way_of_the_equations() {
    const A: [[f64; 8]; 2] = [[1.0, 2.0, 0.5, 0.0, 1.0, 0.5, 2.0, 1.0], [0.5, 3.0, 0.0, 4.0, 2.0, 1.0, 0.5, 3.0]];
    const C: [[f64; 8]; 2] = [[1.0, -1.0, 2.0, 0.0, 0.5, 1.0, -0.5, 1.5], [-2.0, 1.5, 0.0, 1.0, -1.0, 0.5, 1.0, 1.0]];
    let expected: [([f64; 8], [f64; 2]); 6] = [
        ([0.0, 0.492188, 0.529816, 0.953344, -0.441175, 0.415234, -0.164404, 1.072512], [1.0, 1.0]),
        ([-0.003411, 0.493713, 0.476268, 0.929718, -0.425811, 0.384171, -0.153762, 1.044403], [0.743247, 0.766769]),
        ([0.042298, 0.38783, 0.547509, 0.945938, -0.39998, 0.418924, -0.189863, 1.082381], [1.114673, 0.885327]),
        ([0.120949, 0.244034, 0.586763, 0.925338, -0.330356, 0.424729, -0.231617, 1.093736], [1.298277, 0.701723]),
        ([0.203252, 0.281484, 0.529816, 0.953344, -0.370504, 0.604302, -0.274664, 1.160636], [1.0, 1.0]),
        ([0.179608, 0.20716, 0.62583, 0.897821, -0.289065, 0.427293, -0.255548, 1.091094], [1.217652, 0.782348]),
    ];
    for (config, (expected, expected_weights)) in methods().iter().zip(expected) {
        let mut method = start(config, 2);
        let (mut x, mut weights) = ([0.0; 8], Vec::new());
        for step in 0..6 {
            let (mut tasks, mut means) = (vec![vec![0.0; 8]; 2], [0.0; 2]);
            for (task, k) in (0..2).flat_map(|task| (0..8).map(move |k| (task, k))) {
                let away = x[k] - C[task][k];
                means[task] += 0.5 * A[task][k] * away * away;
                tasks[task][k] = A[task][k] * away;
            }
            let (total, after) = follow(&mut *method, step / 2 + 1, &means, &mut Given { tasks, dense: 4 });
            x.iter_mut().zip(total).for_each(|(x, g)| *x -= 0.1 * f64::from(g));
            weights = after;
        }
        let close = |found: &[f64], expected: &[f64]| found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 3e-6);
        assert!(close(&x, &expected), "{config:?}: {x:?} instead of {expected:?}");
        assert!(close(&weights, &expected_weights), "{config:?}: {weights:?} instead of {expected_weights:?}");
    }
}

#[test]
fn conflicting_gradients_lose_exactly_the_projection_however_small_they_are() {
    for scale in [1.0, 1e-6] {
        // Dense 2 is not shared: it is summed, and no product sees it.
        let tasks = vec![vec![scale, 0.0, 7.0, 0.0, 0.0], vec![-scale, 0.0, 5.0, scale, 0.0]];
        let (total, weights) = follow(&mut *start(&methods()[4], 2), 1, &[1.0, 1.0], &mut Given { tasks, dense: 3 });
        // g1' = g1 + g2 / 2, g2' = g2 + g1.
        let expected = [0.5 * scale, 0.0, 12.0, 1.5 * scale, 0.0];
        for (found, expected) in total.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() <= 1e-6 * expected.abs(), "{total:?}");
        }
        assert_eq!(weights, [1.0, 1.0]);
    }
}

/// In which order PCGrad has task `i` of three meet the others.
fn order(step: u64, i: usize) -> Vec<usize> {
    let order = Stream::new(5, "pcgrad").part(step).part(i as u64).permutation(3);
    order.into_iter().filter(|j| *j != i).collect()
}

/// Values of tests/golden/pcgrad.py: TorchJD's sums, by which tasks meet the
/// later of their two others first.
#[test]
fn three_conflicting_gradients_sum_to_what_torchjd_finds_in_every_order() {
    let tasks = vec![vec![1.0, 2.0, -1.0, 0.5], vec![-2.0, -0.5, 1.0, 1.0], vec![0.5, -1.5, -1.5, -1.0]];
    let expected: [([bool; 3], [f64; 4]); 8] = [
        ([false, false, false], [-1.392278261, -0.696765217, -2.895165217, 0.881356522]),
        ([false, false, true], [-0.877078261, -0.136765217, -3.275965217, 0.870156522]),
        ([false, true, false], [-1.35053913, -0.248069565, -2.790817391, 1.084834783]),
        ([false, true, true], [-0.83533913, 0.311930435, -3.171617391, 1.073634783]),
        ([true, false, false], [-1.755756522, -0.352417391, -2.378643478, 1.263965217]),
        ([true, false, true], [-1.240556522, 0.207582609, -2.759443478, 1.252765217]),
        ([true, true, false], [-1.714017391, 0.096278261, -2.274295652, 1.467443478]),
        ([true, true, true], [-1.198817391, 0.656278261, -2.655095652, 1.456243478]),
    ];
    let mut given = Given { tasks, dense: 2 };
    let mut met = [false; 8];
    for step in 1..100 {
        let later_first = [0, 1, 2].map(|i| order(step, i).is_sorted_by(|a, b| a > b));
        let place = expected.iter().position(|(order, _)| *order == later_first).expect("every order is listed");
        met[place] = true;
        let (total, _) = follow(&mut *start(&methods()[4], 3), step, &[1.0; 3], &mut given);
        for (found, expected) in total.iter().zip(expected[place].1) {
            assert!((f64::from(*found) - expected).abs() < 2e-6, "{later_first:?}: {total:?}");
        }
    }
    assert_eq!(met, [true; 8], "all orders come up");
}

#[test]
fn gradnorm_takes_each_tasks_own_ratio() {
    // With one ratio for all, equal norms would move both weights alike.
    let mut method = start(&methods()[3], 2);
    let mut given = Given { tasks: vec![vec![1.0, 0.0, 0.0, 0.0], vec![0.0, 1.0, 0.0, 0.0]], dense: 2 };
    follow(&mut *method, 1, &[1.0, 1.0], &mut given);
    let (_, weights) = follow(&mut *method, 1, &[0.9, 0.3], &mut given);
    assert!(weights[0] > 1.02 && weights[1] < 0.98, "{weights:?}");
}

#[test]
fn gradnorm_moves_its_weights_in_every_third_step_if_told_so() {
    let mut method = start(&BalanceConfig::GradNorm(GradNorm { every: 3, ..GradNorm::default() }), 2);
    let mut given = Given { tasks: vec![vec![1.0, 0.0, 0.0, 0.0], vec![0.0, 3.0, 0.0, 0.0]], dense: 2 };
    let mut before = method.weights(1);
    for step in 1..=6 {
        let (_, after) = follow(&mut *method, step, &[1.0, 1.0], &mut given);
        assert_eq!(after != before, step.is_multiple_of(3), "step {step}");
        before = after;
    }
}

/// Values of tests/golden/balance.py.
#[test]
fn gradnorm_with_initial_steps_and_pauses_shares_among_the_tasks_that_a_batch_has() {
    const MEANS: [[f64; 3]; 10] = [
        [0.6, 0.2, 0.0],
        [0.5, 0.0, 0.01],
        [0.4, 0.3, 0.02],
        [0.5, 0.2, 0.0],
        [0.3, 0.1, 0.03],
        [0.2, 0.2, 0.01],
        [0.0, 0.1, 0.0],
        [0.3, 0.0, 0.02],
        [0.1, 0.1, 0.01],
        [0.2, 0.1, 0.03],
    ];
    let expected = [
        [0.95, 1.0, 1.05],
        [0.900937, 1.049063, 1.05],
        [0.839733, 1.08147, 1.078798],
        [0.792111, 1.08147, 1.126419],
        [0.744749, 1.079394, 1.175858],
    ];
    let config = GradNorm { learning_rate: 0.05, initial_steps: 3, every: 2, ..GradNorm::default() };
    let mut method = start(&BalanceConfig::GradNorm(config), 3);
    for (step, means) in (1u32..).zip(&MEANS) {
        let task = |norm: f64| vec![norm * f64::from(step), 0.0, 0.0, 0.0];
        let mut given = Given { tasks: [1.0, 0.5, 0.125].map(task).to_vec(), dense: 2 };
        let mut total = given.sum(&method.weights(1));
        method.follow(&Losses { step: u64::from(step), rows: 10, means }, &mut total, &mut given);
        if step % 2 == 0 {
            for (found, expected) in method.weights(1).iter().zip(expected[step as usize / 2 - 1]) {
                assert!((found - expected).abs() < 3e-6, "step {step}: {found} instead of {expected}");
            }
        }
    }
}

#[test]
fn multibalance_gives_all_tasks_the_same_norm_and_measures_as_often_as_told() {
    let config = MultiBalance { every: 3, ..MultiBalance::default() };
    let mut method = start(&BalanceConfig::MultiBalance(config), 3);
    let norms = [4.0, 1.0, 0.25];
    let mut given = Given { tasks: norms.map(|norm| vec![9.0, 9.0, norm, 0.0]).to_vec(), dense: 2 };
    for step in 1..=4 {
        let (_, weights) = follow(&mut *method, step, &[1.0; 3], &mut given);
        let weighted: Vec<f64> = weights.iter().zip(norms).map(|(weight, norm)| weight * norm).collect();
        let equal = weighted.iter().all(|one| (one - weighted[0]).abs() < 1e-12);
        assert_eq!(equal, step >= 3, "step {step}: {weights:?}");
    }
}

#[test]
fn adatask_hands_the_optimizer_the_rows_of_the_tasks_that_a_batch_has() {
    let mut method = start(&BalanceConfig::AdaTask(AdaTask {}), 3);
    assert_eq!(method.tables_apart(), [true]);
    let mut given = Given { tasks: [1.0, 2.0, 3.0].map(|g| vec![g; 4]).to_vec(), dense: 2 };
    let (total, weights) = follow(&mut *method, 1, &[0.5, 0.0, 0.1], &mut given);
    assert_eq!((total, weights), (vec![6.0; 4], vec![1.0; 3]));
    let found: Vec<(usize, Vec<f32>)> =
        method.apart().into_iter().map(|(part, rows)| (part, rows[0].gradients.clone())).collect();
    assert_eq!(found, [(0, vec![1.0; 2]), (2, vec![3.0; 2])]);
    follow(&mut *method, 2, &[0.0; 3], &mut given);
    assert!(method.apart().is_empty());
}

#[test]
fn equal_losses_stay_equal_under_uncertainty() {
    let mut method = start(&methods()[1], 3);
    let mut given = Given { tasks: vec![vec![0.0; 4]; 3], dense: 2 };
    for step in 0..100 {
        let (_, weights) = follow(&mut *method, 1, &[0.9 / (1.0 + f64::from(step)); 3], &mut given);
        assert!(weights[0] == weights[1] && weights[1] == weights[2] && weights[0].is_finite(), "{weights:?}");
    }
    assert!(method.weights(1)[0] > 1.0);
}

#[test]
fn a_task_without_a_loss_keeps_its_weight_and_the_others_share_the_rest() {
    for config in &methods() {
        let mut method = start(config, 3);
        let tasks = vec![vec![1.0, 2.0, 0.0, 0.0], vec![-0.1, 0.3, -2.0, 0.0], vec![0.0; 4]];
        let mut given = Given { tasks, dense: 2 };
        for epoch in 1..6 {
            let (total, weights) = follow(&mut *method, epoch, &[0.5 / epoch as f64, 0.1, 0.0], &mut given);
            assert!(total.iter().all(|g| g.is_finite()) && weights.iter().all(|w| *w > 0.0), "{config:?} {weights:?}");
            assert_eq!(weights[2], 1.0, "{config:?}");
            if !matches!(config, BalanceConfig::Uncertainty(_)) {
                assert!((weights.iter().sum::<f64>() - 3.0).abs() < 1e-6, "{config:?} {weights:?}");
            }
        }
        let before = method.weights(6);
        for epoch in [6, 7, 8] {
            let (_, weights) =
                follow(&mut *method, epoch, &[0.0; 3], &mut Given { tasks: vec![vec![0.0; 4]; 3], dense: 2 });
            assert!(weights == before, "{config:?}: {weights:?} instead of {before:?}");
        }
    }
}

proptest! {
    #[test]
    fn agreeing_gradients_are_summed_to_the_bit(values in prop::collection::vec(0f64..2.0, 24), seed in 0u64..9) {
        let tasks: Vec<Vec<f64>> = values.chunks(8).map(<[f64]>::to_vec).collect();
        let mut given = Given { tasks, dense: 4 };
        let plain = flat(&given.sum(&[1.0; 3]));
        let (total, _) = follow(&mut *start(&methods()[4], 3), seed, &[1.0; 3], &mut given);
        prop_assert_eq!(total, plain);
    }

    #[test]
    fn two_projected_gradients_agree_with_both(values in prop::collection::vec(-2f64..2.0, 16)) {
        let tasks: Vec<Vec<f64>> = values.chunks(8).map(<[f64]>::to_vec).collect();
        let mut given = Given { tasks: tasks.clone(), dense: 2 };
        let (total, _) = follow(&mut *start(&methods()[4], 2), 1, &[1.0; 2], &mut given);
        for task in tasks {
            let product: f64 = total.iter().zip(&task).map(|(total, g)| f64::from(*total) * g).sum();
            prop_assert!(product > -1e-4, "{}", product);
        }
    }

    #[test]
    fn three_conflicting_gradients_are_projected_as_a_plain_loop_does(
        values in prop::collection::vec(-2f64..2.0, 24),
        step in 1u64..99,
    ) {
        // Dense 2 and 3 are not shared.
        const SHARED: [usize; 6] = [0, 1, 4, 5, 6, 7];
        let dot = |a: &[f64], b: &[f64]| SHARED.iter().map(|k| a[*k] * b[*k]).sum::<f64>();
        let mut tasks: Vec<Vec<f64>> = values.chunks(8).map(<[f64]>::to_vec).collect();
        // The second turned against the first, the third against both.
        let turn = if dot(&tasks[0], &tasks[1]) > 0.0 { -1.0 } else { 1.0 };
        tasks[1].iter_mut().for_each(|g| *g *= turn);
        let norms = [0, 1].map(|task| dot(&tasks[task], &tasks[task]).sqrt());
        for k in SHARED {
            tasks[2][k] = -tasks[0][k] / norms[0] - tasks[1][k] / norms[1];
        }

        let mut expected = [0.0; 8];
        for i in 0..3 {
            let mut projected = tasks[i].clone();
            for j in order(step, i) {
                let product = dot(&projected, &tasks[j]);
                if product < 0.0 {
                    let scale = product / dot(&tasks[j], &tasks[j]);
                    SHARED.iter().for_each(|k| projected[*k] -= scale * tasks[j][*k]);
                }
            }
            expected.iter_mut().zip(&projected).for_each(|(sum, g)| *sum += g);
        }
        let (total, _) = follow(&mut *start(&methods()[4], 3), step, &[1.0; 3], &mut Given { tasks, dense: 4 });
        for (found, expected) in total.iter().zip(expected) {
            prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "{:?} instead of {:?}", total, expected);
        }
    }

    #[test]
    fn gradnorm_weights_sum_to_the_number_of_tasks(
        means in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0.0), 1e-6..2f64], 4), 1..30),
        values in prop::collection::vec(-1f64..1.0, 16),
    ) {
        let mut given = Given { tasks: values.chunks(4).map(<[f64]>::to_vec).collect(), dense: 2 };
        let mut method = start(&methods()[3], 4);
        for means in means {
            let before = method.weights(1);
            let (_, weights) = follow(&mut *method, 1, &means, &mut given);
            prop_assert!((weights.iter().sum::<f64>() - 4.0).abs() < 1e-4, "{:?}", weights);
            for task in 0..4 {
                prop_assert!(weights[task] > 0.0 && (means[task] > 0.0 || weights[task] == before[task]));
            }
        }
    }
}

const TASKS: &str = r#"
    [[task]]
    name = "click"
    [[task]]
    name = "buy"
    after = "click"
    [[task]]
    name = "like"
    [[field]]
    name = "x"
    kind = "numeric"
"#;

/// What the tasks of a model share, and its parameters' names by place.
fn shared(model: &str, norm: Norm) -> (Shared, Vec<Parameter>) {
    shared_in(model, &Style { norm, ..Style::default() })
}

fn shared_in(model: &str, style: &Style) -> (Shared, Vec<Parameter>) {
    let embedded = |name: &str, role| batch::Embedded {
        name: name.into(),
        table: 0,
        pooling: Pooling::Mean,
        side: Side::Item,
        role,
    };
    let layout = Layout {
        tasks: ["click", "buy", "like"].map(String::from).to_vec(),
        tables: vec![batch::Table { name: "item".into(), rows: 5, width: 6 }],
        embedded: vec![embedded("item", Role::Main), embedded("place", Role::Bias)],
        dense: Vec::new(),
        scenarios: vec!["other".into(), "home".into()],
        ..Layout::default()
    };
    let model = ModelConfig::named(model).unwrap();
    let schema = Schema::parse(TASKS).unwrap();
    let objective = Objective::new(&schema, &ObjectiveConfig::default(), model.model().space()).unwrap();
    let heads = Network::of_heads(model.model(), style, &layout, objective).unwrap();
    (Shared::find(&heads, layout.tables.len()).unwrap(), heads.program.parameters().to_vec())
}

#[test]
fn what_tasks_share_is_found_in_every_kind_of_network() {
    let names = |model: &str, norm: Norm| -> Vec<String> {
        let (shared, parameters) = shared(model, norm);
        let parts = |parameter: &Parameter| {
            let range = parameter.range();
            shared.parts.iter().filter(move |part| range.contains(&part.range.start))
        };
        let weights = || parameters.iter().filter(|parameter| parameter.is_weight());
        // Of the biases no more is asked: before batch normalisation none has an effect.
        let common = weights().flat_map(parts).all(|part| part.tasks == [true; 3]);
        assert!(common, "{model} with {norm:?}: {:?}", weights().flat_map(parts).collect::<Vec<_>>());
        let shares = |parameter: &&Parameter| parts(parameter).next().is_some();
        weights().filter(shares).map(|parameter| parameter.name.clone()).collect()
    };
    for norm in [Norm::None, Norm::Layer, Norm::Batch] {
        assert_eq!(names("mmoe", norm), ["expert.0.weight", "expert.1.weight"]);
        assert_eq!(names("shared-bottom", norm), ["bottom.0.weight", "bottom.1.weight"]);
        // Entire-space losses reach the click's tower, but it is the click's.
        assert_eq!(names("esmm", norm), [""; 0]);
        assert_eq!(names("single-task", norm), [""; 0]);
        assert_eq!(shared("esmm", norm).0.tables, [[true; 3]]);
        let alone = shared("single-task", norm).0.tables;
        assert_eq!(alone, [[true, false, false], [false, true, false], [false, false, true]]);
    }
    // The shared experts stand in one matrix with the tasks' own.
    let (shared, parameters) = shared("cgc", Norm::None);
    let part = shared.parts.iter().find(|part| part.range.len() > 1).unwrap();
    let parameter = parameters.iter().find(|parameter| parameter.range().contains(&part.range.start)).unwrap();
    assert!(parameter.name.contains("expert.0") && part.range.len() < parameter.len(), "{parameter:?} {part:?}");
}

#[test]
fn gradnorm_looks_at_no_gate_unit_unless_it_is_named() {
    let style = Style { gating: Some(Gating::default()), ..Style::default() };
    for (model, expected) in [
        ("shared-bottom", Some("bottom.1.weight")),
        ("mmoe", Some("expert.1.weight")),
        ("aem2tl", Some("task_expert.0.weight")),
        ("esmm", None),
    ] {
        let (shared, parameters) = shared_in(model, &style);
        let found = gradnorm::Weights::find(&shared, &parameters).unwrap();
        let of = |place: usize| parameters.iter().find(|found| found.range().contains(&place)).unwrap();
        assert_eq!(found.dense.first().map(|range| of(range.start).name.as_str()), expected, "{model}");
        assert_eq!(found.tables.is_empty(), expected.is_some(), "{model}");
    }
}

#[test]
fn gradnorm_says_so_where_nothing_is_shared_or_a_name_is_wrong() {
    let said = |model: &str, names: &[&str]| {
        let (found, parameters) = shared(model, Norm::None);
        let config = GradNorm { shared: names.iter().map(|name| name.to_string()).collect(), ..GradNorm::default() };
        let setting = Setting { tasks: 3, seed: 1, parameters: &parameters, shared: &|| Ok(found.clone()) };
        BalanceConfig::GradNorm(config).start(&setting).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(said("single-task", &[]).unwrap_err().contains("share nothing"));
    assert!(said("mmoe", &["expert.0.wieght"]).unwrap_err().contains("did you mean `expert.0.weight`?"));
    assert_eq!(said("esmm", &[]), Ok(()));
    assert_eq!(said("mmoe", &["embedding", "expert.0.weight"]), Ok(()));
}
