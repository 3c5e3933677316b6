//! The generator's law, on rows on which nothing was calibrated.

use super::*;

fn world(relation: Relation, direct_rate: f64) -> World {
    World::new(&Synth { seed: 5, scenarios: 3, relation, direct_rate, ..Synth::default() }, 400, 100)
}

/// Truths of rows on which nothing was calibrated.
fn truths(world: &World) -> Vec<Truth> {
    let rows = 2 * CALIBRATION_ROWS..3 * CALIBRATION_ROWS;
    rows.map(|row| world.truth(&world.impression(row))).collect()
}

fn mean(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, weights) = values.fold((0.0, 0.0), |sum, (value, weight)| (sum.0 + value * weight, sum.1 + weight));
    sum / weights
}

#[test]
fn every_task_has_its_rate_on_its_own_sample_space() {
    let truths = truths(&world(Relation::Related, 0.0));
    for task in 0..TASKS.len() {
        let weight = |truth: &Truth| PARENTS[task].map_or(1.0, |parent| truth.joint()[parent]);
        let rate = mean(truths.iter().map(|truth| (truth.given_parent[task], weight(truth))));
        assert!((rate / RATES[task] - 1.0).abs() < 0.1, "{}: {rate}", TASKS[task]);
    }
}

#[test]
fn labels_follow_the_truth_and_the_funnel() {
    for direct_rate in [0.0, 0.4] {
        let world = world(Relation::Related, direct_rate);
        let mut excess = [0.0; 5];
        let mut variance = [0.0; 5];
        for row in 0..20_000 {
            let truth = world.truth(&world.impression(row));
            let labels = world.labels(row, &truth);
            for (task, joint) in truth.joint().into_iter().enumerate() {
                excess[task] += f64::from(u8::from(labels[task])) - joint;
                variance[task] += joint * (1.0 - joint);
                let parent = PARENTS[task].is_none_or(|parent| labels[parent]);
                assert!(!labels[task] || parent || (direct_rate > 0.0 && DIRECT[task]));
            }
        }
        for task in 0..TASKS.len() {
            let deviation = excess[task] / variance[task].sqrt();
            assert!(deviation.abs() < 4.0, "{}: {deviation} standard deviations", TASKS[task]);
        }
    }
}

#[test]
fn the_direct_rate_is_the_share_of_likes_without_a_click() {
    let truths = truths(&world(Relation::Related, 0.3));
    for task in [1, 2] {
        let without: f64 = truths.iter().map(|truth| (1.0 - truth.given_parent[0]) * truth.direct[task]).sum();
        let all: f64 = truths.iter().map(|truth| truth.joint()[task]).sum();
        assert!((without / all - 0.3).abs() < 0.03, "{}: {}", TASKS[task], without / all);
    }
}

#[test]
fn clicked_rows_are_not_like_all_rows() {
    let truths = truths(&world(Relation::Unrelated, 0.0));
    for task in [1, 2, 3] {
        let clicked = mean(truths.iter().map(|truth| (truth.given_parent[task], truth.given_parent[0])));
        let unclicked = mean(truths.iter().map(|truth| (truth.given_parent[task], 1.0 - truth.given_parent[0])));
        assert!(clicked > 1.3 * unclicked, "{}: {clicked} and {unclicked}", TASKS[task]);
    }
}

#[test]
fn the_relation_decides_which_conversions_go_together() {
    let (like, follow, cart) = (1, 2, 3);
    let correlation = |relation: Relation, a: usize, b: usize| {
        let logit = |p: f64| (p / (1.0 - p)).ln();
        let pairs: Vec<(f64, f64)> = truths(&world(relation, 0.0))
            .iter()
            .map(|truth| (logit(truth.given_parent[a]), logit(truth.given_parent[b])))
            .collect();
        let center = |of: fn(&(f64, f64)) -> f64| mean(pairs.iter().map(|pair| (of(pair), 1.0)));
        let (x, y) = (center(|pair| pair.0), center(|pair| pair.1));
        let covariance = |f: &dyn Fn(&(f64, f64)) -> f64| mean(pairs.iter().map(|pair| (f(pair), 1.0)));
        covariance(&|pair| (pair.0 - x) * (pair.1 - y))
            / (covariance(&|pair| (pair.0 - x).powi(2)) * covariance(&|pair| (pair.1 - y).powi(2))).sqrt()
    };
    let related = correlation(Relation::Related, like, cart);
    let unrelated = correlation(Relation::Unrelated, like, cart);
    assert!(related > unrelated + 0.2, "{related} and {unrelated}");
    let within = correlation(Relation::TwoGroups, like, follow);
    let between = correlation(Relation::TwoGroups, like, cart);
    assert!(within > between + 0.2, "{within} and {between}");
}

#[test]
fn the_ceiling_of_the_click_auc_leaves_room_above_chance_and_below_certainty() {
    let truths = truths(&World::new(&Synth::default(), 2_000, 500));
    // Expected concordance of a positive and a negative, over neighbours in random order.
    let (mut wins, mut pairs) = (0.0, 0.0);
    for (a, b) in truths.iter().zip(truths.iter().skip(7)) {
        let (p, q) = (a.given_parent[0], b.given_parent[0]);
        let (up, down) = (p * (1.0 - q), q * (1.0 - p));
        wins += if p > q { up } else { down };
        pairs += up + down;
    }
    let ceiling: f64 = wins / pairs;
    assert!((0.74..0.81).contains(&ceiling), "{ceiling}");
}

#[test]
fn levels_have_uncorrelated_tastes_of_variance_one() {
    let shares = shares(CATEGORIES);
    let tastes = levels(9, "test", &shares);
    for a in 0..DIMENSIONS {
        assert!(mean(tastes.iter().zip(&shares).map(|(taste, share)| (taste[a], *share))).abs() < 1e-12);
        for b in 0..DIMENSIONS {
            let product = mean(tastes.iter().zip(&shares).map(|(taste, share)| (taste[a] * taste[b], *share)));
            assert!((product - f64::from(u8::from(a == b))).abs() < 1e-12, "{a} and {b}: {product}");
        }
    }
}

#[test]
fn without_selection_conversions_are_as_alike_as_their_relation_says() {
    let alike = |relation: Relation| {
        let log = Synth { seed: 5, scenarios: 1, relation, selection: 0.0, ..Synth::default() };
        let world = World::new(&log, 400, 100);
        let logits: Vec<[f64; 5]> = (0..CALIBRATION_ROWS).map(|row| world.logits(&world.impression(row))).collect();
        let correlation = |a: usize, b: usize| {
            let mean = |of: &dyn Fn(&[f64; 5]) -> f64| logits.iter().map(of).sum::<f64>() / logits.len() as f64;
            let (mean_a, mean_b) = (mean(&|row| row[a]), mean(&|row| row[b]));
            let product =
                |a: usize, mean_a: f64, b: usize, mean_b: f64| mean(&|row| (row[a] - mean_a) * (row[b] - mean_b));
            product(a, mean_a, b, mean_b) / (product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b)).sqrt()
        };
        // Like and follow, which no price moves; like and buy, which it does.
        [correlation(1, 2), correlation(1, 4)]
    };
    let ([near, far], [like, buy]) = (alike(Relation::Related), alike(Relation::Unrelated));
    assert!(near > 0.85 && far > 0.75, "{near} {far}");
    // A hundred items and some categories correlate by chance, too.
    assert!(like.abs() < 0.25 && buy.abs() < 0.25, "{like} {buy}");
    let [near, far] = alike(Relation::TwoGroups);
    assert!(near > 0.85 && far.abs() < 0.25, "{near} {far}");
}
