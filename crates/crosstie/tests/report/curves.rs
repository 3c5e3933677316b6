//! Figures that are drawn, against their definitions.

use crosstie::metric::{Bin, Curves, DECILES, Evaluation, GAIN_SHARES, auc, auc_error};
use crosstie::random::Stream;
use crosstie::schema::Funnel;

/// Labels and scores of so many rows, which have to do with each other; scores are on a
/// grid, so that ties are common.
fn rows(seed: u64, count: u64) -> (Vec<bool>, Vec<f64>) {
    let stream = Stream::new(seed, "rows");
    let score = |row: u64| (40.0 * stream.uniform(2 * row)).floor() / 50.0 + 0.1;
    (0..count).map(|row| (stream.uniform(2 * row + 1) < score(row), score(row))).unzip()
}

/// DeLong's standard error by its definition: the placements of all rows, pair by pair.
fn by_pairs(labels: &[bool], scores: &[f64]) -> f64 {
    let of = |class: bool| -> Vec<f64> {
        labels.iter().zip(scores).filter(|(label, _)| **label == class).map(|(_, score)| *score).collect()
    };
    let (positives, negatives) = (of(true), of(false));
    let wins = |a: f64, b: f64| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
    let variance = |placed: Vec<f64>| {
        let mean = placed.iter().sum::<f64>() / placed.len() as f64;
        let squares: f64 = placed.iter().map(|x| (x - mean).powi(2)).sum();
        squares / (placed.len() as f64 - 1.0) / placed.len() as f64
    };
    let mean = |x: &mut dyn Iterator<Item = f64>, of: usize| x.sum::<f64>() / of as f64;
    let of_positives = positives.iter().map(|a| mean(&mut negatives.iter().map(|b| wins(*a, *b)), negatives.len()));
    let of_negatives = negatives.iter().map(|b| mean(&mut positives.iter().map(|a| wins(*a, *b)), positives.len()));
    (variance(of_positives.collect()) + variance(of_negatives.collect())).sqrt()
}

#[test]
fn the_error_of_an_auc_is_that_of_its_definition() {
    for seed in 0..5 {
        let (labels, scores) = rows(seed, 60 + 20 * seed);
        let (found, expected) = (auc_error(&labels, &scores, None).unwrap(), by_pairs(&labels, &scores));
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

/// Negative rows are kept one in 20, and count as much as 20.
fn kept(seed: u64, rows: (Vec<bool>, Vec<f64>)) -> (Vec<bool>, Vec<f64>, Vec<f64>) {
    let stream = Stream::new(seed, "kept");
    let keep = |row: &usize| rows.0[*row] || stream.uniform(*row as u64) < 1.0 / 20.0;
    let kept: Vec<usize> = (0..rows.0.len()).filter(keep).collect();
    let weights = kept.iter().map(|row| if rows.0[*row] { 1.0 } else { 20.0 }).collect();
    (kept.iter().map(|row| rows.0[*row]).collect(), kept.iter().map(|row| rows.1[*row]).collect(), weights)
}

#[test]
fn the_error_of_an_auc_is_how_much_it_differs_from_draw_to_draw() {
    told_is_found(|seed| {
        let (labels, scores) = rows(1000 + seed, 200);
        (auc(&labels, &scores, None).unwrap(), auc_error(&labels, &scores, None).unwrap())
    });
}

#[test]
fn weights_were_taken_for_counts_of_rows_by_the_error_of_an_auc() {
    told_is_found(|seed| {
        let (labels, scores, weights) = kept(seed, rows(1000 + seed, 800));
        let times = |factor: f64| weights.iter().map(|weight| factor * weight).collect::<Vec<f64>>();
        let error = |factor| auc_error(&labels, &scores, Some(&times(factor))).unwrap();
        assert!((error(1e-4) / error(1.0) - 1.0).abs() < 1e-9);
        (auc(&labels, &scores, Some(&weights)).unwrap(), error(1.0))
    });
}

#[test]
fn weights_were_taken_for_counts_of_rows_by_the_intervals_of_what_happened() {
    let (mut held, mut of) = (0, 0);
    for seed in 0..60 {
        let (labels, scores, weights) = kept(seed, rows(1000 + seed, 8000));
        let curves = |factor: f64| {
            let weights: Vec<f64> = weights.iter().map(|weight| factor * weight).collect();
            Curves::of(&labels, &scores, Some(&weights)).unwrap()
        };
        for (bin, scaled) in curves(1.0).reliability.into_iter().zip(curves(1.0 / 1024.0).reliability) {
            assert!((bin.low - scaled.low).abs() < 1e-9 && (bin.high - scaled.high).abs() < 1e-9);
            // A label happens as often as its score says.
            held += u32::from(bin.low <= bin.predicted && bin.predicted <= bin.high);
            of += 1;
        }
    }
    // With few negatives in a bin not all of 95 %.
    let share = f64::from(held) / f64::from(of);
    assert!((0.9..0.98).contains(&share), "{share} of {of}");
}

/// The errors that draws of (AUC, error) tell are those that are found from one to the next.
fn told_is_found(draw: impl Fn(u64) -> (f64, f64)) {
    let drawn: Vec<(f64, f64)> = (0..400).map(draw).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| drawn.iter().map(of).sum::<f64>() / drawn.len() as f64;
    let (middle, told) = (mean(|draw| draw.0), mean(|draw| draw.1));
    let spread = (drawn.iter().map(|(auc, _)| (auc - middle).powi(2)).sum::<f64>() / 399.0).sqrt();
    // The standard error of a spread of 400 draws is 1 / √800 of it; these are four.
    assert!((told / spread - 1.0).abs() < 4.0 / 800f64.sqrt(), "told {told}, found {spread}");
}

#[test]
fn without_two_rows_of_each_class_an_auc_has_no_error() {
    assert_eq!(auc_error(&[true, true], &[0.1, 0.2], None), None);
    assert_eq!(auc_error(&[true, false, false], &[0.1, 0.2, 0.3], None), None);
    assert_eq!(auc_error(&[true, true, false, false], &[0.4, 0.3, 0.2, 0.1], None), Some(0.0));
}

#[test]
fn reliability_is_that_of_the_figures_with_wilsons_intervals() {
    let (labels, scores) = rows(3, 500);
    let curves = Curves::of(&labels, &scores, None).unwrap();
    let funnel = Funnel { parents: vec![None], direct: vec![false], order: vec![0] };
    let mut evaluation = Evaluation::new(&["a".into()], &funnel, &["all".into()]);
    let batch = crosstie::batch::Batch {
        rows: labels.len(),
        labels: labels.iter().map(|label| f32::from(u8::from(*label))).collect(),
        scenarios: vec![0; labels.len()],
        ..Default::default()
    };
    evaluation.add(&batch, &scores, &scores);
    let deciles = evaluation.report().tasks["a"].given_parent.reliability.unwrap();
    let told: Vec<_> = deciles.iter().filter(|decile| decile.rows > 0).collect();
    assert_eq!(told.len(), curves.reliability.len());
    for (bin, decile) in curves.reliability.iter().zip(told) {
        assert_eq!(
            (bin.rows, Some(bin.predicted), Some(bin.happened)),
            (decile.rows, decile.predicted, decile.happened)
        );
    }
    assert_eq!(curves.reliability.iter().map(|bin| bin.rows).sum::<u64>(), 500);

    // The interval of 0 of 10, and of 5 of 10, as Agresti and Coull (1998) give them.
    let tenth = |happened: usize| -> Bin {
        let labels: Vec<bool> = (0..10).map(|row| row < happened).collect();
        Curves::of(&labels, &[0.3; 10], None).unwrap().reliability[0]
    };
    let digits = |bin: Bin| ((bin.low * 1e4).round(), (bin.high * 1e4).round());
    assert_eq!(digits(tenth(0)), (0.0, 2775.0));
    assert_eq!(digits(tenth(5)), (2366.0, 7634.0));
}

#[test]
fn gain_counts_the_positives_from_the_top() {
    // Ten rows, of which the first, the second and the fifth are positive.
    let labels: Vec<bool> = (0..10).map(|row| [0, 1, 4].contains(&row)).collect();
    let scores: Vec<f64> = (0..10).map(|row| 0.9 - 0.05 * f64::from(row)).collect();
    let curves = Curves::of(&labels, &scores, None).unwrap();
    assert_eq!(curves.gain.len(), GAIN_SHARES.len());
    let at = |share: f64| curves.gain.iter().find(|gain| gain.share == share).copied().unwrap();
    for (share, expected) in [(0.1, 1.0 / 3.0), (0.2, 2.0 / 3.0), (0.4, 2.0 / 3.0), (0.5, 1.0), (1.0, 1.0)] {
        assert!((at(share).positives - expected).abs() < 1e-9, "{share}: {:?}", at(share));
        assert!((at(share).lift() - expected / share).abs() < 1e-9);
    }
    // Half of the first row holds half of its positive.
    assert!((at(0.05).positives - 1.0 / 6.0).abs() < 1e-9);
    // Where all are alike, the top is any.
    let alike = Curves::of(&labels, &[0.3; 10], None).unwrap();
    assert!(alike.gain.iter().all(|gain| (gain.lift() - 1.0).abs() < 1e-9), "{:?}", alike.gain);
    assert!(Curves::of(&[false; 10], &scores, None).unwrap().gain.is_empty());
}

#[test]
fn every_row_is_in_one_interval_of_the_histogram() {
    let (labels, scores) = rows(5, 300);
    let buckets = Curves::of(&labels, &scores, None).unwrap().histogram;
    for bucket in &buckets {
        let inside = |class: bool| {
            let rows = labels.iter().zip(&scores).filter(|(label, _)| **label == class);
            rows.filter(|(_, p)| **p > bucket.low - 1e-9 && **p < bucket.high - 1e-9).count() as f64
        };
        // The greatest prediction is in the last interval, at its end.
        let last = bucket.high > 0.879;
        assert!(last || (bucket.positives, bucket.negatives) == (inside(true), inside(false)), "{bucket:?}");
    }
    let sum = |of: fn(&crosstie::metric::Bucket) -> f64| buckets.iter().map(of).sum::<f64>();
    let positives = labels.iter().filter(|label| **label).count() as f64;
    assert_eq!((sum(|bucket| bucket.positives), sum(|bucket| bucket.negatives)), (positives, 300.0 - positives));
    assert!(buckets.windows(2).all(|pair| (pair[0].high - pair[1].low).abs() < 1e-12));
    assert_eq!(
        Curves::of(&[true; 3], &[0.2; 3], None).unwrap().histogram.iter().map(|b| b.positives).sum::<f64>(),
        3.0
    );
}

#[test]
fn no_rows_have_no_curves() {
    assert_eq!(Curves::of(&[], &[], None), None);
    assert_eq!(Curves::of(&[true], &[f64::NAN], None), None);
    assert!(Curves::of(&[true, false], &[0.5, 0.5], None).unwrap().reliability.len() <= DECILES);
}
