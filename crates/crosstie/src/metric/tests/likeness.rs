//! Against scikit-learn (tests/golden/metrics/likeness.py) and closed forms.

use proptest::prelude::*;
use serde::Deserialize;

use super::agree;
use crate::metric::{Directions, adjusted_rand, clusters, neighbour_overlap};
use crate::random::Stream;

#[derive(Deserialize)]
struct Golden {
    partitions: Vec<Partition>,
    overlaps: Vec<Overlap>,
}

#[derive(Deserialize)]
struct Partition {
    one: Vec<usize>,
    other: Vec<usize>,
    adjusted_rand: f64,
}

#[derive(Deserialize)]
struct Overlap {
    k: usize,
    widths: [usize; 2],
    one: Vec<f32>,
    other: Vec<f32>,
    overlap: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/metrics/likeness.json")).unwrap()
}

/// Points on a circle, at these degrees.
fn circle(degrees: &[f64]) -> Directions {
    let points = degrees.iter().map(|degree| degree.to_radians()).flat_map(|angle| [angle.cos(), angle.sin()]);
    Directions::new(&points.map(|x| x as f32).collect::<Vec<_>>(), 2)
}

fn random(seed: u64, points: usize, width: usize) -> Vec<f32> {
    let stream = Stream::new(seed, "points");
    (0..(points * width) as u64).map(|index| stream.normal(index) as f32).collect()
}

#[test]
fn the_adjusted_rand_index_equals_scikit_learn() {
    for Partition { one, other, adjusted_rand: expected } in golden().partitions {
        let found = adjusted_rand(&one, &other);
        assert!(agree(found, Some(expected)), "{one:?} {other:?}: {found:?}, expected {expected}");
    }
    assert_eq!(adjusted_rand(&[1], &[1]), None);
}

#[test]
fn the_overlap_of_neighbours_equals_scikit_learn() {
    for Overlap { k, widths, one, other, overlap: expected } in golden().overlaps {
        let found = neighbour_overlap(&Directions::new(&one, widths[0]), &Directions::new(&other, widths[1]), k);
        assert!(agree(found, Some(expected)), "k = {k}: {found:?}, expected {expected}");
    }
}

#[test]
fn neighbours_are_those_of_the_direction() {
    // Two pairs, the nearest of each its partner; in the other set the pairs are crossed.
    let (one, crossed) = (circle(&[0.0, 10.0, 90.0, 105.0]), circle(&[0.0, 90.0, 10.0, 105.0]));
    assert_eq!(neighbour_overlap(&one, &one, 1), Some(1.0));
    assert_eq!(neighbour_overlap(&one, &crossed, 1), Some(0.0));
    // The two nearest: the outer ones keep both, the inner ones change one of them.
    assert_eq!(neighbour_overlap(&one, &crossed, 2), Some(0.75));
    assert_eq!(neighbour_overlap(&one, &crossed, 3), None, "all the others are neighbours of all");
    assert_eq!(neighbour_overlap(&one, &one, 0), None);
    // Lengths play no part.
    let longer = Directions::new(&[3.0, 0.0, 0.985, 0.174, 0.0, 0.1, -2.59, 9.66], 2);
    assert_eq!(neighbour_overlap(&longer, &crossed, 2), Some(0.75));
}

#[test]
fn ties_count_what_chance_would_make_of_them() {
    // One column: a direction is a sign. 4 of one sign and 3 of the other.
    let one = Directions::new(&[1.0, 2.0, 0.5, 4.0, -1.0, -2.0, -3.0], 1);
    let alike = Directions::new(&[1.0; 7], 1);
    assert!(alike.constant() && !one.constant());
    // All the same: every other of the 6 is a neighbour by k/6.
    assert!(agree(neighbour_overlap(&one, &alike, 2), Some(2.0 / 6.0)));
    // With itself: 2 of the 3 others for the four; both others for the three.
    assert!(agree(neighbour_overlap(&one, &one, 2), Some((4.0 * (3.0 * 4.0 / 9.0) / 2.0 + 3.0) / 7.0)));
}

#[test]
fn clusters_that_stand_apart_are_found() {
    let around = |angle: f64| (0..20).map(move |index| angle + f64::from(index) * 0.7);
    let truth: Vec<usize> = (0..80).map(|index| index / 20).collect();
    let points = circle(&[0.0, 80.0, 170.0, 250.0].into_iter().flat_map(around).collect::<Vec<_>>());
    for seed in 0..20 {
        let found = clusters(&points, 4, Stream::new(seed, "clusters"));
        assert_eq!(adjusted_rand(&found, &truth), Some(1.0), "seed {seed}: {found:?}");
    }
}

#[test]
fn clusters_are_a_function_of_the_points_and_the_stream() {
    let points = Directions::new(&random(1, 200, 5), 5);
    let found = |seed| clusters(&points, 6, Stream::new(seed, "clusters"));
    assert_eq!(found(1), found(1));
    assert!(found(1).iter().all(|cluster| *cluster < 6));
    assert!((0..6).all(|cluster| found(1).contains(&cluster)));
}

#[test]
fn fewer_distinct_points_than_clusters_are_no_harm() {
    let points = circle(&[0.0, 0.0, 90.0, 0.0, 90.0]);
    let found = clusters(&points, 4, Stream::new(1, "clusters"));
    assert_eq!(adjusted_rand(&found, &[0, 0, 1, 0, 1]), Some(1.0));
    assert_eq!(clusters(&Directions::new(&[0.0; 6], 2), 2, Stream::new(1, "clusters")), [0; 3]);
    assert_eq!(clusters(&Directions::new(&[], 2), 2, Stream::new(1, "clusters")), [0usize; 0]);
}

#[test]
fn unrelated_sets_agree_as_by_chance() {
    let [one, other] = [1, 2].map(|seed| Directions::new(&random(seed, 400, 8), 8));
    let overlap = neighbour_overlap(&one, &other, 10).unwrap();
    // 4,000 draws of 10 in 399: four standard errors are 0.01.
    assert!((overlap - 10.0 / 399.0).abs() < 0.01, "{overlap}");
    let [one, other] = [one, other].map(|points| clusters(&points, 8, Stream::new(0, "clusters")));
    let agreement = adjusted_rand(&one, &other).unwrap();
    assert!(agreement.abs() < 0.03, "{agreement}");
}

proptest! {
    #[test]
    fn neither_figure_depends_on_the_order_or_on_names(
        (order, shuffled) in Just((0..24usize).collect::<Vec<_>>()).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        seed in 0u64..50,
        k in 1usize..12,
    ) {
        let points = [random(seed, 24, 3), random(seed + 100, 24, 2)];
        let sets = |order: &[usize]| {
            let of = |points: &[f32], width: usize| {
                Directions::new(&order.iter().flat_map(|i| points[i * width..][..width].to_vec()).collect::<Vec<_>>(), width)
            };
            (of(&points[0], 3), of(&points[1], 2))
        };
        let overlap = |order: &[usize]| {
            let (one, other) = sets(order);
            (neighbour_overlap(&one, &other, k), neighbour_overlap(&other, &one, k))
        };
        let (one, other) = (overlap(&order), overlap(&shuffled));
        prop_assert!(agree(one.0, other.0) && agree(one.0, one.1), "{:?} {:?}", one, other);

        let part = |of: usize, parts: u64| (Stream::new(seed, "parts").below(of as u64, parts)) as usize;
        let rand = |order: &[usize], rename: usize| {
            let one: Vec<usize> = order.iter().map(|i| part(*i, 4) * rename).collect();
            let other: Vec<usize> = order.iter().map(|i| part(100 + i, 3)).collect();
            (adjusted_rand(&one, &other), adjusted_rand(&other, &one))
        };
        let (one, other) = (rand(&order, 1), rand(&shuffled, 17));
        prop_assert!(agree(one.0, other.0) && agree(one.0, one.1), "{:?} {:?}", one, other);
    }
}
