//! Two models on the same rows.

use proptest::prelude::*;

use super::*;
use crate::batch::{Batch, NO_GROUP};
use crate::metric::{auc, auc_error, log_loss};
use crate::random::Stream;
use crate::schema::Funnel;

/// Whether two figures agree up to rounding.
fn agree(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
        (found, expected) => found == expected,
    }
}

/// Users with a taste each and ten rows, and two models that see it through noise of their own.
struct Log {
    labels: Vec<bool>,
    scores: [Vec<f64>; 2],
    users: Vec<u64>,
}

fn log(seed: u64, users: u64) -> Log {
    let [taste, noise, label] = ["taste", "noise", "label"].map(|name| Stream::new(seed, name));
    let rows = users * 10;
    let score = |model: u64, row: u64| {
        let user = row / 10;
        // Part of what a model gets wrong about a user it gets wrong in all rows of that user.
        let blur = 0.7 * noise.part(model).normal(rows + user) + 0.3 * noise.part(model).normal(row);
        1.0 / (1.0 + (1.0 - taste.normal(user) - blur).exp())
    };
    Log {
        labels: (0..rows).map(|row| label.uniform(row) < 1.0 / (1.0 + (1.0 - taste.normal(row / 10)).exp())).collect(),
        scores: [0, 1].map(|model| (0..rows).map(|row| score(model, row)).collect()),
        users: (0..rows).map(|row| row / 10).collect(),
    }
}

type OfFigure = fn(&[bool], &[f64], Option<&[f64]>) -> Option<Influences>;

/// The difference of a figure of the two models, and its standard error.
fn apart(Log { labels, scores, users }: &Log, of: OfFigure, by_class: bool, by_user: bool) -> (f64, f64) {
    let [one, two] = [0, 1].map(|model| of(labels, &scores[model], None).unwrap());
    let rows: Vec<f64> = one.rows.iter().zip(&two.rows).map(|(one, two)| one - two).collect();
    let error = influence_error(&rows, by_class.then_some(&labels[..]), by_user.then_some(&users[..]));
    (one.figure - two.figure, error.unwrap())
}

#[test]
fn the_error_of_a_difference_is_what_leaving_out_one_user_after_the_other_tells() {
    let log = log(1, 400);
    let without = |user: u64, of: OfFigure| {
        let kept: Vec<usize> = (0..log.labels.len()).filter(|row| log.users[*row] != user).collect();
        let labels: Vec<bool> = kept.iter().map(|row| log.labels[*row]).collect();
        let [one, two] = [0, 1].map(|model: usize| {
            let scores: Vec<f64> = kept.iter().map(|row| log.scores[model][*row]).collect();
            of(&labels, &scores, None).unwrap().figure
        });
        one - two
    };
    for (of, by_class) in [(auc_influences as OfFigure, true), (log_loss_influences, false)] {
        let found: Vec<f64> = (0..400).map(|user| without(user, of)).collect();
        let mean = found.iter().sum::<f64>() / 400.0;
        let jackknife = (found.iter().map(|figure| (figure - mean).powi(2)).sum::<f64>() * 399.0 / 400.0).sqrt();
        let (_, error) = apart(&log, of, by_class, true);
        assert!((error / jackknife - 1.0).abs() < 0.01, "{error} {jackknife}");
        let (_, of_rows) = apart(&log, of, by_class, false);
        assert!(of_rows < 0.95 * error, "rows of a user stand and fall together: {of_rows} {error}");
    }
}

#[test]
fn models_that_are_alike_differ_by_as_much_as_the_error_says() {
    let logs: Vec<Log> = (0..300).map(|seed| log(seed, 100)).collect();
    for (of, by_class) in [(auc_influences as OfFigure, true), (log_loss_influences, false)] {
        let of_log = |log: &Log| {
            let (difference, error) = apart(log, of, by_class, true);
            (difference / error).powi(2)
        };
        let mean = logs.iter().map(of_log).sum::<f64>() / 300.0;
        // The mean of 300 squares of normal numbers has a standard error of .08.
        assert!((mean - 1.0).abs() < 0.25, "{mean}");
    }
}

#[test]
fn every_row_twice_in_its_user_tells_no_more_than_once() {
    let Log { labels, scores, users } = log(2, 60);
    let error = |times: usize, users: &dyn Fn(usize) -> u64| {
        let each = |row: usize| std::iter::repeat_n(row, times);
        let rows: Vec<usize> = (0..labels.len()).flat_map(each).collect();
        let labels: Vec<bool> = rows.iter().map(|row| labels[*row]).collect();
        let scores: Vec<f64> = rows.iter().map(|row| scores[0][*row]).collect();
        let users: Vec<u64> = rows.iter().map(|row| users(*row)).collect();
        let found = auc_influences(&labels, &scores, None).unwrap();
        influence_error(&found.rows, Some(&labels), Some(&users)).unwrap()
    };
    let user = |row: usize| users[row];
    assert!((error(2, &user) / error(1, &user) - 1.0).abs() < 1e-9);
    // Rows of nobody are each its own.
    let nobody = |_: usize| NO_GROUP;
    assert!((error(1, &nobody) / error(2, &nobody) - 2f64.sqrt()).abs() < 0.01);
}

proptest! {
    #[test]
    fn influences_have_no_sum_and_give_the_known_error(
        rows in prop::collection::vec((any::<bool>(), 0..=20u8), 0..60)
    ) {
        let labels: Vec<bool> = rows.iter().map(|row| row.0).collect();
        let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.1) / 20.0).collect();
        let found = auc_influences(&labels, &scores, None);
        prop_assert!(agree(found.as_ref().map(|found| found.figure), auc(&labels, &scores, None)));
        if let Some(found) = found {
            for class in [false, true] {
                let of_class = found.rows.iter().zip(&labels).filter(|(_, label)| **label == class);
                prop_assert!(of_class.map(|(influence, _)| influence).sum::<f64>().abs() < 1e-12);
            }
            let error = influence_error(&found.rows, Some(&labels), None);
            prop_assert!(agree(error, auc_error(&labels, &scores, None)), "{error:?}");
        }
        let found = log_loss_influences(&labels, &scores, None);
        prop_assert!(agree(found.as_ref().map(|found| found.figure), log_loss(&labels, &scores, None)));
        prop_assert!(found.is_none_or(|found| found.rows.iter().sum::<f64>().abs() < 1e-9));
    }
}

/// An evaluation of two tasks, of which the second comes after the first.
fn evaluation(labels: &[[f32; 2]], scores: &[f64]) -> Evaluation {
    let funnel = Funnel { parents: vec![None, Some(0)], direct: vec![false, false], order: vec![0, 1] };
    let mut evaluation = Evaluation::new(&["click", "buy"].map(String::from), &funnel, &["all".to_string()]);
    let rows = labels.len();
    let batch = Batch { rows, labels: labels.concat(), scenarios: vec![0; rows], ..Batch::default() };
    let both: Vec<f64> = scores.iter().flat_map(|score| [*score; 2]).collect();
    evaluation.add(&batch, &both, &both);
    evaluation
}

const LABELS: [[f32; 2]; 6] = [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]];

fn standing(scores: &[f64; 6]) -> Standing {
    Standing::of(&evaluation(&LABELS, scores), Meaning::FromImpression)
}

#[test]
fn several_trainings_are_one_model_whose_error_holds_how_they_differ() {
    let trainings = [[0.9, 0.4, 0.3, 0.5, 0.8, 0.1], [0.9, 0.6, 0.7, 0.2, 0.8, 0.1]];
    let alone = trainings.map(|scores| standing(&scores).figures()["click"].auc.figure.unwrap());
    let mut both = standing(&trainings[0]);
    both.add_training(standing(&trainings[1])).unwrap();
    let first = standing(&[0.5, 0.4, 0.3, 0.5, 0.8, 0.1]);
    let click = both.against(&first).unwrap()["click"];
    assert!(agree(click.auc.figure, Some((alone[0] + alone[1]) / 2.0)));
    let before = first.figures()["click"].auc;
    assert!(agree(click.auc.difference, Some(click.auc.figure.unwrap() - before.figure.unwrap())));
    // Trainings that are all the same leave what the rows tell.
    let mut twice = standing(&trainings[0]);
    twice.add_training(standing(&trainings[0])).unwrap();
    assert_eq!(twice.figures(), standing(&trainings[0]).figures());
    let by_rows = both.figures()["click"].logloss.error.unwrap();
    let click_alone = Evaluation::new(
        &["click".to_string()],
        &Funnel { parents: vec![None], direct: vec![false], order: vec![0] },
        &["all".to_string()],
    );
    let other = Standing::of(&click_alone, Meaning::FromImpression);
    assert_eq!(both.clone().add_training(other), Err(Mismatch::Tasks));
    let losses = trainings.map(|scores| standing(&scores).figures()["click"].logloss.figure.unwrap());
    let of_trainings = (losses[0] - losses[1]).abs() / 2.0;
    assert!(by_rows > of_trainings, "two that lie d apart have a mean with an error of d / 2");
    // Two trainings leave one degree of freedom for what they have of the error.
    let freedom = (click.logloss.difference_error.unwrap() / of_trainings).powi(4);
    assert!(agree(click.logloss.freedom, Some(freedom)), "{:?} {freedom}", click.logloss.freedom);
    assert_eq!(standing(&trainings[0]).against(&first).unwrap()["click"].logloss.freedom, None);
}

#[test]
fn a_model_is_no_better_than_itself() {
    let one = standing(&[0.9, 0.4, 0.3, 0.5, 0.8, 0.1]);
    for contrasts in one.against(&one).unwrap().values() {
        for contrast in [contrasts.auc, contrasts.logloss, contrasts.ne] {
            assert_eq!((contrast.difference, contrast.difference_error), (Some(0.0), Some(0.0)));
        }
    }
}

#[test]
fn rows_that_are_not_the_same_are_not_compared() {
    let one = standing(&[0.5; 6]);
    let mut labels = LABELS;
    labels[4][1] = f32::NAN;
    let fewer = Standing::of(&evaluation(&labels, &[0.5; 6]), Meaning::FromImpression);
    let told = fewer.against(&one).unwrap_err().to_string();
    assert_eq!(told, "5 rows count for `buy` with the one, 6 with the other");
    labels = LABELS;
    labels[1][1] = 1.0;
    let other = Standing::of(&evaluation(&labels, &[0.5; 6]), Meaning::FromImpression);
    let told = other.against(&one).unwrap_err().to_string();
    assert_eq!(told, "for `buy` the label or the weight of row 2 is not the same with both");
}

#[test]
fn a_probability_that_is_not_given_leaves_the_other_figures() {
    let one = standing(&[0.9, 0.4, f64::NAN, 0.5, 0.8, 0.1]);
    let contrasts = one.against(&standing(&[0.5; 6])).unwrap()["click"];
    assert_eq!((contrasts.rows, contrasts.positives, contrasts.pcoc), (6, 3, None));
    assert_eq!([contrasts.auc, contrasts.ne], [Contrast::default(); 2]);
}

#[test]
fn differences_are_tested_where_there_are_rows_enough_and_all_together() {
    let contrast =
        |difference: f64| Contrast { difference: Some(difference), difference_error: Some(1.0), ..Contrast::default() };
    let task = |positives: u64, difference: f64| Contrasts {
        rows: 100,
        positives,
        auc: contrast(difference),
        ne: contrast(0.0),
        ..Contrasts::default()
    };
    let model = |differences: [f64; 3]| -> IndexMap<String, Contrasts> {
        let [click, buy, rare] = differences;
        [("click", task(50, click)), ("buy", task(80, buy)), ("rare", task(19, rare))]
            .map(|(name, task)| (name.to_string(), task))
            .into()
    };
    let mut models = [model([4.0, 2.5, 9.0]), model([0.0, 1.0, 9.0])];
    test(&mut models);
    let p = |model: usize, task: &str| models[model][task].auc.p;
    // Eight are tested: each p-value counts by how many are not smaller. Source: scipy 1.17.1, 2 * norm.sf.
    for (found, expected) in [(p(0, "click"), 8.0 * 6.334248366623996e-5), (p(0, "buy"), 7.0 * 0.012419330651552318)] {
        assert!((found.unwrap() / expected - 1.0).abs() < 1e-9, "{found:?} {expected}");
    }
    assert_eq!((p(1, "buy"), p(0, "rare"), models[0]["click"].logloss.p), (Some(1.0), None, None));
    // An error that two trainings make has fat tails.
    models[0]["click"].auc.freedom = Some(1.0);
    test(&mut models[..1]);
    assert!(models[0]["click"].auc.p.unwrap() > 0.4);
}
