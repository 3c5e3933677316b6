//! What training rows and others see of rates.

use proptest::prelude::*;

use super::*;

/// A training row: key, time, outcome of the only task.
type Row = (u8, i32, Outcome);

fn rate(time: bool) -> schema::Rate {
    schema::Rate { key: vec!["k".into()], smoothing: Some(3.0), count: true, folds: 4, time: time.then(|| "at".into()) }
}

fn place(row: usize, time: f64) -> Place {
    Place { file: 0, row: row as u64, group: None, time }
}

fn learn_as(rate: &schema::Rate, rows: &[Row]) -> (Rates, History) {
    let mut learner = Learner::new(rate, 1);
    for (row, (key, at, outcome)) in rows.iter().enumerate() {
        learner.add(&[*key], &place(row, f64::from(*at)), &[*outcome]);
    }
    learner.finish().unwrap()
}

fn learn(rows: &[Row], time: bool) -> (Rates, History) {
    learn_as(&rate(time), rows)
}

/// The definition, by going through all rows again for each row.
fn expected(rows: &[Row], time: bool) -> Vec<[f64; 2]> {
    let labelled: Vec<bool> = rows.iter().filter_map(|row| row.2).collect();
    let ones = labelled.iter().filter(|one| **one).count() as f64;
    let least = 0.5 / (labelled.len() as f64 + 1.0);
    let mean = if labelled.is_empty() { 0.5 } else { (ones / labelled.len() as f64).clamp(least, 1.0 - least) };
    let count = rows.len() as f64;
    // Per row: rate and count, and the variance of both that means nothing.
    let raw: Vec<[f64; 4]> = (0..rows.len())
        .map(|row| {
            let apart = |other: usize| place(other, 0.0).fold(4) != place(row, 0.0).fold(4);
            let before = |other: usize| rows[other].1 < rows[row].1;
            let sees =
                |other: &usize| rows[*other].0 == rows[row].0 && if time { before(*other) } else { apart(*other) };
            let others = (0..rows.len()).filter(|other| apart(*other)).count() as f64;
            let times = if time || others == 0.0 { 1.0 } else { count / others };
            let seen: Vec<usize> = (0..rows.len()).filter(sees).collect();
            let labels: Vec<bool> = seen.iter().filter_map(|row| rows[*row].2).collect();
            let positives = times * labels.iter().filter(|one| **one).count() as f64;
            let (labels, seen) = (times * labels.len() as f64, times * seen.len() as f64);
            let r = (positives + 3.0 * mean) / (labels + 3.0);
            // d ln(r / (1 - r)) / d positives = 1 / (r (1 - r) (labels + 3)).
            let by_chance = labels * r * (1.0 - r) / (r * (1.0 - r) * (labels + 3.0)).powi(2);
            [(r / (1.0 - r)).ln(), (seen + 1.0).ln(), by_chance, 1.0]
        })
        .collect();
    let mean_of = |column: usize| raw.iter().map(|row| row[column]).sum::<f64>() / count;
    let scale = |column: usize| {
        let mean = mean_of(column);
        let variance = raw.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / count;
        let deviation = if variance < 1e-20 { 1.0 } else { variance.sqrt() };
        (mean, deviation.max(mean_of(column + 2).sqrt()))
    };
    let scales = [scale(0), scale(1)];
    raw.iter().map(|row| [0, 1].map(|column| (row[column] - scales[column].0) / scales[column].1)).collect()
}

proptest! {
    #[test]
    fn a_training_row_sees_other_folds_or_earlier_rows_only(
        rows in prop::collection::vec((0u8..4, 0i32..6, prop::option::of(any::<bool>())), 1..50),
        time in any::<bool>(),
    ) {
        let (rates, history) = learn(&rows, time);
        for (row, expected) in expected(&rows, time).iter().enumerate() {
            let (key, at, _) = rows[row];
            let found = history.columns(&rates, &[key], &place(row, f64::from(at)));
            for (found, expected) in found.iter().zip(expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "{} {}: {} {}", row, time, found, expected);
            }
        }
    }

    #[test]
    fn totals_do_not_depend_on_row_order(
        (rows, shuffled) in prop::collection::vec((0u8..4, 0i32..6, prop::option::of(any::<bool>())), 1..50)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        let ((one, _), (other, _)) = (learn(&rows, true), learn(&shuffled, true));
        prop_assert!(one.keys.iter().eq(other.keys.iter()));
        prop_assert_eq!(&one.smoothing, &other.smoothing);
        prop_assert_eq!(&one.values, &other.values);
    }
}

#[test]
fn few_keys_mean_the_same_to_training_rows_as_to_others() {
    // One key of 4000 rows, every fifth positive: nothing but chance differs.
    let rows: Vec<Row> = (0..4000).map(|row| (1, 0, Some(row % 5 == 0))).collect();
    let (rates, history) = learn(&rows, false);
    for (place, found) in rates.full(&[1]).iter().enumerate() {
        assert!(found.abs() < 1.0, "column {place} of the totals lies {found} deviations away");
        let training = |row: usize| history.columns(&rates, &[1], &self::place(row, 0.0))[place];
        assert!((0..4000).all(|row| training(row).abs() < 1.0), "column {place} of training rows");
    }
}

#[test]
fn rows_of_one_group_do_not_see_each_other() {
    // A session of four rows alike, each of its own item but for one in common.
    let group = |row: u64| Some(row / 4);
    let mut learner = Learner::new(&rate(false), 1);
    let at = |row: u64| Place { file: 0, row, group: group(row), time: 0.0 };
    (0..400).for_each(|row| learner.add(&[7], &at(row), &[Some(row / 4 % 2 == 0)]));
    let (rates, history) = learner.finish().unwrap();
    for session in 0..100 {
        let seen: Vec<&[f32]> = (0..4).map(|row| history.columns(&rates, &[7], &at(session * 4 + row))).collect();
        assert!(seen.windows(2).all(|two| two[0] == two[1]), "session {session}: {seen:?}");
    }
}

#[test]
fn training_rows_of_a_large_key_see_its_totals() {
    let rows: Vec<Row> = (0..1000).map(|row| (u8::from(row % 10 == 0), 0, Some(row % 3 == 0))).collect();
    let (rates, history) = learn(&rows, false);
    // 50 times the smoothing of 3 are 150 rows: 900 are large, 100 are not.
    let rate_of = |key: u8, row: usize| history.columns(&rates, &[key], &place(row, 0.0))[0];
    assert!((0..1000).filter(|row| row % 10 != 0).all(|row| rate_of(0, row) == rates.full(&[0])[0]));
    assert!((0..1000).filter(|row| row % 10 == 0).any(|row| rate_of(1, row) != rates.full(&[1])[0]));
}

#[test]
fn of_a_key_with_few_positives_a_training_row_does_not_see_its_own_label() {
    let rows: Vec<Row> = (0..2000).map(|row| ((row % 2) as u8, 0, Some(row % 200 == 0))).collect();
    let (rates, history) = learn(&rows, false);
    // 1,000 rows of key 0, of which 10 are positive; with its own each such row would see more.
    let seen = |row: usize| history.columns(&rates, &[0], &place(row, 0.0))[0];
    let mean_of = |rows: Vec<usize>| rows.iter().map(|row| f64::from(seen(*row))).sum::<f64>() / rows.len() as f64;
    let positives = mean_of((0..2000).step_by(200).collect());
    let negatives = mean_of((2..2000).step_by(2).filter(|row| row % 200 != 0).collect());
    assert!(positives < negatives, "{positives} {negatives}");
}

#[test]
fn rows_that_are_alike_make_no_key_large() {
    // 300 positives of a key, but of 15 groups of 20 rows each.
    let rate = schema::Rate { smoothing: Some(1.0), ..rate(false) };
    let mut learner = Learner::new(&rate, 1);
    let at = |row: u64| Place { file: 0, row, group: Some(row / 20), time: 0.0 };
    (0..1200).for_each(|row| learner.add(&[(row / 20 % 2) as u8], &at(row), &[Some(row / 40 % 2 == 0)]));
    let (rates, history) = learner.finish().unwrap();
    let full = rates.full(&[0])[0];
    assert!((0..30).all(|pair| history.columns(&rates, &[0], &at(pair * 40))[0] != full));
}

#[test]
fn keys_that_lie_within_groups_are_told() {
    let within = |group: fn(u64) -> Option<u64>| {
        let mut learner = Learner::new(&rate(false), 1);
        let at = |row: u64| Place { file: 0, row, group: group(row), time: 0.0 };
        (0..400).for_each(|row| learner.add(&[(row / 20) as u8], &at(row), &[Some(row % 3 == 0)]));
        learner.is_within_folds()
    };
    assert!(within(|row| Some(row / 40)), "two keys a group");
    assert!(!within(|row| Some(row % 40)), "ten groups a key");
    assert!(!within(|_| None), "no group");
}

#[test]
fn keys_alike_have_one_rate_and_say_so() {
    let rows: Vec<Row> = (0..3000).map(|row| ((row % 3) as u8, 0, Some(row / 3 % 4 == 0))).collect();
    let (rates, history) = learn_as(&schema::Rate { smoothing: None, ..rate(false) }, &rows);
    assert_eq!(rates.smoothing.smoothing, [None]);
    let of = |key: u8| rates.full(&[key])[0];
    assert!(of(0) == of(1) && of(1) == of(2) && of(2) == of(9));
    assert_eq!(history.columns(&rates, &[1], &place(1, 0.0))[0], of(9));
}

#[test]
fn a_new_key_has_the_mean_rate_and_no_rows() {
    let (rates, _) = learn(&[(1, 0, Some(true)), (1, 1, Some(false)), (1, 2, Some(false)), (2, 3, Some(false))], false);
    let scale = |column: usize, x: f64| rates.smoothing.scales[column].apply(x);
    assert_eq!(rates.full(&[9]), [scale(0, (0.25f64 / 0.75).ln()), scale(1, 0.0)]);
    // (1 + 3 · 0.25) / (3 + 3) positives of key 1, with 3 rows.
    assert_eq!(rates.full(&[1]), [scale(0, (1.75f64 / 4.25).ln()), scale(1, 4f64.ln())]);
}

#[test]
fn a_task_without_positives_has_finite_rates() {
    let (rates, _) = learn(&[(1, 0, Some(false)), (2, 1, Some(false)), (3, 1, None)], false);
    assert!(rates.values.iter().all(|x| x.is_finite()));
}
