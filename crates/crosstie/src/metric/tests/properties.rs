//! What must hold for every input.

use proptest::prelude::*;

use super::agree;
use crate::metric::*;

/// Labels, scores on a coarse grid (so that ties are common), integer
/// weights and groups of up to 60 rows.
fn rows() -> impl Strategy<Value = Vec<(bool, f64, u8, u64)>> {
    let row = (any::<bool>(), (0..=20u8).prop_map(|score| f64::from(score) / 20.0), 0..4u8, 0..5u64);
    prop::collection::vec(row, 0..60)
}

struct Columns {
    labels: Vec<bool>,
    scores: Vec<f64>,
    weights: Vec<f64>,
    groups: Vec<u64>,
}

fn columns(rows: &[(bool, f64, u8, u64)]) -> Columns {
    Columns {
        labels: rows.iter().map(|row| row.0).collect(),
        scores: rows.iter().map(|row| row.1).collect(),
        weights: rows.iter().map(|row| f64::from(row.2)).collect(),
        groups: rows.iter().map(|row| row.3).collect(),
    }
}

/// Every figure there is.
fn all(columns: &Columns, weighted: bool) -> ([Option<f64>; 6], usize, usize) {
    let Columns { labels, scores, weights, groups } = columns;
    let weights = weighted.then_some(&weights[..]);
    let grouped = grouped_auc(labels, scores, weights, groups);
    let figures = [
        auc(labels, scores, weights),
        grouped.auc,
        log_loss(labels, scores, weights),
        normalized_entropy(labels, scores, weights),
        pcoc(labels, scores, weights),
        ece(labels, scores, weights, 7),
    ];
    (figures, grouped.groups, grouped.skipped)
}

fn agree_all(found: ([Option<f64>; 6], usize, usize), expected: ([Option<f64>; 6], usize, usize)) -> bool {
    let figures = found.0.into_iter().zip(expected.0).all(|(found, expected)| agree(found, expected));
    figures && (found.1, found.2) == (expected.1, expected.2)
}

/// The definition: the share of pairs in the right order.
fn auc_by_pairs(columns: &Columns) -> Option<f64> {
    let Columns { labels, scores, weights, .. } = columns;
    let (mut ordered, mut pairs) = (0.0, 0.0);
    for (i, score) in scores.iter().enumerate().filter(|(i, _)| labels[*i]) {
        for (j, other) in scores.iter().enumerate().filter(|(j, _)| !labels[*j]) {
            let right = if score > other { 1.0 } else { f64::from(u8::from(score == other)) / 2.0 };
            ordered += weights[i] * weights[j] * right;
            pairs += weights[i] * weights[j];
        }
    }
    (pairs > 0.0).then_some(ordered / pairs)
}

proptest! {
    #[test]
    fn auc_is_the_share_of_ordered_pairs(rows in rows()) {
        let columns = columns(&rows);
        prop_assert!(agree(auc(&columns.labels, &columns.scores, Some(&columns.weights)), auc_by_pairs(&columns)));
    }

    #[test]
    fn auc_sees_only_the_order(rows in rows()) {
        let Columns { labels, scores, weights, groups } = columns(&rows);
        let bent: Vec<f64> = scores.iter().map(|score| (3.0 * score).exp() - 7.0).collect();
        prop_assert_eq!(auc(&labels, &bent, Some(&weights)), auc(&labels, &scores, Some(&weights)));
        prop_assert_eq!(grouped_auc(&labels, &bent, None, &groups), grouped_auc(&labels, &scores, None, &groups));
    }

    #[test]
    fn negated_scores_turn_auc_around(rows in rows()) {
        let Columns { labels, scores, weights, .. } = columns(&rows);
        let negated: Vec<f64> = scores.iter().map(|score| -score).collect();
        let turned = auc(&labels, &scores, Some(&weights)).map(|auc| 1.0 - auc);
        prop_assert!(agree(auc(&labels, &negated, Some(&weights)), turned));
    }

    #[test]
    fn the_order_of_rows_does_not_matter((rows, shuffled) in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))) {
        prop_assert!(agree_all(all(&columns(&shuffled), true), all(&columns(&rows), true)));
    }

    #[test]
    fn a_weight_counts_as_so_many_rows(rows in rows()) {
        let repeated: Vec<_> = rows.iter().flat_map(|row| vec![*row; usize::from(row.2)]).collect();
        prop_assert!(agree_all(all(&columns(&rows), true), all(&columns(&repeated), false)));
    }

    #[test]
    fn the_mean_label_everywhere_is_the_baseline(rows in rows()) {
        let Columns { labels, weights, .. } = columns(&rows);
        let positive: f64 = labels.iter().zip(&weights).filter(|(label, _)| **label).map(|(_, weight)| weight).sum();
        let all: f64 = weights.iter().sum();
        prop_assume!(positive > 0.0 && positive < all);
        let constant = vec![positive / all; labels.len()];
        prop_assert_eq!(auc(&labels, &constant, Some(&weights)), Some(0.5));
        prop_assert!(agree(normalized_entropy(&labels, &constant, Some(&weights)), Some(1.0)));
        prop_assert!(agree(pcoc(&labels, &constant, Some(&weights)), Some(1.0)));
        prop_assert!(agree(ece(&labels, &constant, Some(&weights), ECE_BINS), Some(0.0)));
    }

    #[test]
    fn divergence_is_least_at_the_truth(pairs in prop::collection::vec((0.0..=1.0f64, 0.0..=1.0f64), 1..40)) {
        let (truth, predicted): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let (best, other) = (divergence(&truth, &truth).unwrap(), divergence(&predicted, &truth).unwrap());
        prop_assert!(best.kl.abs() < 1e-12);
        prop_assert!(other.kl > -1e-12);
        prop_assert!(agree(Some(other.cross_entropy), Some(best.cross_entropy + other.kl)));
    }
}

#[test]
fn undefined_is_none_and_never_a_number() {
    for (labels, scores) in [(&[][..], &[][..]), (&[true], &[0.4]), (&[false, false], &[0.1, 0.9])] {
        assert_eq!(auc(labels, scores, None), None);
        assert_eq!(normalized_entropy(labels, scores, None), None);
        assert_eq!(grouped_auc(labels, scores, None, &vec![1; labels.len()]).auc, None);
    }
    assert_eq!(log_loss(&[], &[], None), None);
    assert_eq!(ece(&[], &[], None, ECE_BINS), None);
    assert_eq!(ece(&[true], &[0.5], None, 0), None);
    assert_eq!(pcoc(&[false], &[0.5], None), None);
    assert_eq!(divergence(&[], &[]), None);
    assert_eq!(divergence(&[0.5], &[1.5]), None);
    assert_eq!(log_loss(&[true], &[f64::NAN], None), None);
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(auc(&[true, false], &[0.9, 0.1], Some(&[1.0, weight])), None);
    }
}

#[test]
fn minus_zero_ties_with_zero() {
    assert_eq!(auc(&[true, false], &[-0.0, 0.0], None), Some(0.5));
}

#[test]
fn rows_without_a_group_are_left_out_of_grouped_auc() {
    use crate::batch::NO_GROUP;
    let (labels, scores) = ([true, false, false, true, true, false], [0.9, 0.1, 0.8, 0.2, 0.4, 0.6]);
    let some = grouped_auc(&labels, &scores, None, &[1, 1, NO_GROUP, NO_GROUP, 2, 2]);
    let without = grouped_auc(&[true, false, true, false], &[0.9, 0.1, 0.4, 0.6], None, &[1, 1, 2, 2]);
    assert_eq!(some, Grouped { missing: 2, ..without });
    assert_eq!((some.auc, some.groups), (Some(0.5), 2));
    let none = grouped_auc(&labels, &scores, None, &[NO_GROUP; 6]);
    assert_eq!(none, Grouped { auc: None, groups: 0, skipped: 0, missing: 6 });
}
