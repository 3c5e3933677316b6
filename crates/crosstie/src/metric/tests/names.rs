//! Names of figures.

use crate::metric::*;

fn report(tasks: &[(&str, Option<f64>, Option<f64>)]) -> Report {
    let leaf = |auc| Figures { auc, logloss: Some(0.25), ..Figures::default() };
    let tasks = tasks.iter().map(|(name, given_parent, from_impression)| {
        ((*name).to_string(), Meanings { given_parent: leaf(*given_parent), from_impression: leaf(*from_impression) })
    });
    Report { tasks: tasks.collect(), ..Report::default() }
}

fn refused(name: &str) -> String {
    let report = report(&[("click", None, None), ("buy", None, None)]);
    report.figure(name).expect_err("the name should be refused").to_string()
}

#[test]
fn a_name_is_the_path_in_metrics_json_with_parts_left_out() {
    let report = report(&[("click", Some(0.5), Some(0.75)), ("buy", Some(1.0), Some(0.25)), ("like", None, None)]);
    for (name, expected) in [
        ("auc", Some(0.75)), // `like` is left out
        ("mean.auc", Some(0.75)),
        ("given_parent.auc", Some(0.75)),
        ("from_impression.auc", Some(0.5)),
        ("mean.from_impression.auc", Some(0.5)),
        ("click.auc", Some(0.5)),
        ("click.given_parent.auc", Some(0.5)),
        ("buy.from_impression.auc", Some(0.25)),
        ("buy.from_impression.logloss", Some(0.25)),
        ("like.auc", None),
        ("ece", None),
    ] {
        assert_eq!(report.figure(name).unwrap(), expected, "{name}");
    }
}

#[test]
fn every_name_is_read_as_itself() {
    for tasks in [vec!["click", "buy"], vec!["auc", "mean"]] {
        let names: Vec<FigureName> = FigureName::all(tasks.iter().copied()).collect();
        assert_eq!(names.len(), 2 * 6 * if tasks.contains(&"mean") { 2 } else { 3 });
        for name in names {
            let read = FigureName::parse(&name.to_string(), tasks.iter().copied()).unwrap();
            assert_eq!((read.to_string(), read.task()), (name.to_string(), name.task()));
        }
    }
}

#[test]
fn tasks_with_the_grammars_own_words_can_still_be_named() {
    let report = report(&[("auc", Some(0.75), None), ("from_impression", Some(0.5), None)]);
    assert_eq!(report.figure("auc").unwrap(), Some(0.625));
    assert_eq!(report.figure("auc.auc").unwrap(), Some(0.75));
    assert_eq!(report.figure("from_impression.given_parent.auc").unwrap(), Some(0.5));
    assert_eq!(report.figure("from_impression.logloss").unwrap(), Some(0.25), "always the mean");
}

#[test]
fn a_wrong_part_is_named_with_the_nearest_right_one() {
    for (name, said) in [
        ("acu", "`acu` is no figure; did you mean `auc`?"),
        ("log_loss", "did you mean `logloss`?"),
        ("clik.auc", "there is no task `clik`; did you mean `click`?"),
        ("from_impresion.auc", "did you mean `from_impression`?"),
        ("buy.given_parents.auc", "`given_parents` is no meaning of a prediction; did you mean `given_parent`?"),
        ("val.metric.auc", "there is no task `val`; there are: click, buy, mean"),
        ("click", "the figure is left out; write for example `click.auc`"),
        ("buy.from_impression", "write for example `buy.from_impression.auc`"),
        ("buy.accuracy", "`accuracy` is no figure; there are: auc, gauc, logloss, ne, pcoc, ece"),
        ("a.b.c.d", "at most three parts"),
        ("", "is no figure"),
    ] {
        let found = refused(name);
        assert!(found.starts_with("config: figure `") && found.contains(said), "{name}: {found}");
    }
}

#[test]
fn early_stopping_knows_which_way_is_up() {
    let names = [("buy.from_impression.gauc", Some(true)), ("logloss", Some(false)), ("mean.ne", Some(false))];
    for (name, higher) in names.into_iter().chain([("click.pcoc", None)]) {
        assert_eq!(FigureName::parse(name, ["click", "buy"]).unwrap().higher_is_better(), higher, "{name}");
    }
}
