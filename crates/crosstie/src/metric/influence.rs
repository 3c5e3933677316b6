//! How much each row has to do with a figure: what tells by how much two models differ on the
//! same rows, and how sure that is.

use rayon::prelude::*;

use super::calibration::{log_loss_of, surprise};
use super::rank::{placed, sorted_auc};
use super::row::{Row, by_score, masses, rows};
use crate::batch::NO_GROUP;

/// A figure, and what each row adds to it, which is 0 in the sum over rows. Other rows of the
/// same kind would have given another figure; its variance is that of these numbers' sum. The
/// influences of two models on the same rows may be subtracted: what makes a row hard for both
/// is then gone, and what remains tells how sure the difference of their figures is.
#[derive(Clone, Debug, PartialEq)]
pub struct Influences {
    /// The figure.
    pub figure: f64,
    /// One per row; 0 for a row of weight 0.
    pub rows: Vec<f64>,
}

/// [`super::auc`] with the influence of each row: how far the share of rows of the other class
/// that are on its right side is from the mean of such shares, over the number of its class
/// (DeLong, DeLong and Clarke-Pearson, Biometrics 1988). `None` where the AUC is. Time
/// O(n log n).
///
/// # Panics
/// If the slices differ in length.
pub fn auc_influences(labels: &[bool], scores: &[f64], weights: Option<&[f64]>) -> Option<Influences> {
    let mut sorted = rows(labels, scores, weights, None)?;
    sorted.sort_unstable_by(by_score);
    let figure = sorted_auc(&sorted)?;
    let (positives, all) = masses(&sorted);
    let negatives = all - positives;
    // By score, what a negative row and a positive one add, per weight.
    let added = |(tie, above, below): (&[Row], f64, f64)| {
        (tie[0].score, [(below - figure) / negatives, (above - figure) / positives])
    };
    let added: Vec<(f64, [f64; 2])> = placed(&sorted).map(added).collect();
    let of_row = |index: usize| {
        let weight = weights.map_or(1.0, |weights| weights[index]);
        // Zeros of both signs are one score.
        let place = added.partition_point(|(score, _)| *score < scores[index]);
        if weight > 0.0 { weight * added[place].1[usize::from(labels[index])] } else { 0.0 }
    };
    Some(Influences { figure, rows: (0..labels.len()).map(of_row).collect() })
}

/// [`super::log_loss`] with the influence of each row: how far its own loss is from the mean,
/// over the number of rows. `None` where the log-loss is.
///
/// # Panics
/// If the slices differ in length.
pub fn log_loss_influences(labels: &[bool], probabilities: &[f64], weights: Option<&[f64]>) -> Option<Influences> {
    let counted = rows(labels, probabilities, weights, None)?;
    let figure = log_loss_of(&counted)?;
    let (_, all) = masses(&counted);
    let of_row = |index: usize| {
        let weight = weights.map_or(1.0, |weights| weights[index]);
        weight * (surprise(probabilities[index], labels[index]) - figure) / all
    };
    Some(Influences { figure, rows: (0..labels.len()).into_par_iter().map(of_row).collect() })
}

/// The standard error of a sum of influences. Rows of a group, such as those of a user, are one
/// observation, as they share what made them likely; those of [`NO_GROUP`] are each its own. Each
/// class is taken for itself, as in [`super::auc_error`], if there are `labels`; that is for
/// figures in whose influences either class has no sum (Obuchowski, Biometrics 1997). `None`
/// unless each class has two observations.
///
/// # Panics
/// If the slices differ in length.
pub fn influence_error(influences: &[f64], labels: Option<&[bool]>, groups: Option<&[u64]>) -> Option<f64> {
    let lengths = [labels.map_or(influences.len(), <[bool]>::len), groups.map_or(influences.len(), <[u64]>::len)];
    assert_eq!(lengths, [influences.len(); 2], "labels and groups must be as many as influences");
    let group = |row: usize| groups.map_or(NO_GROUP, |groups| groups[row]);
    let mut order: Vec<usize> = (0..influences.len()).collect();
    order.par_sort_by_key(|row| group(*row));
    // By observation, what its rows of each class come to; `None` where it has none.
    let observations: Vec<[Option<f64>; 2]> = order
        .chunk_by(|a, b| group(*a) == group(*b) && group(*a) != NO_GROUP)
        .map(|rows| {
            let mut sums = [None; 2];
            for row in rows {
                let sum = &mut sums[usize::from(labels.is_some_and(|labels| labels[*row]))];
                *sum = Some(sum.unwrap_or(0.0) + influences[*row]);
            }
            sums
        })
        .collect();
    let mut scales = [0.0; 2];
    for (class, scale) in scales.iter_mut().enumerate().take(1 + usize::from(labels.is_some())) {
        let count = observations.iter().filter(|sums| sums[class].is_some()).count() as f64;
        if count < 2.0 {
            return None;
        }
        *scale = (count / (count - 1.0)).sqrt();
    }
    let square = |sums: &[Option<f64>; 2]| {
        let [negative, positive] = sums.map(Option::unwrap_or_default);
        (scales[0] * negative + scales[1] * positive).powi(2)
    };
    Some(observations.iter().map(square).sum::<f64>().sqrt())
}
