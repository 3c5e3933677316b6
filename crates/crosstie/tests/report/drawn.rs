//! The page, of numbers of all kinds.

use crosstie::metric::{Curves, Figures, Meaning, Meanings, Report, Scenario};
use crosstie::report::{
    Calibrated, Effect, FieldFacts, FieldImportance, Findings, History, Importance, Matrix, Moment, Reached, Seen,
    Shifted, TaskCurves, TaskFacts,
};

use super::markup::{check, texts};

/// Figures that depend on a number.
fn figures(number: usize) -> Figures {
    let auc = 0.6 + 0.01 * (number % 30) as f64;
    Figures {
        rows: 1000,
        positives: 100 + number as u64,
        auc: Some(auc),
        auc_error: Some(0.01),
        logloss: Some(0.3),
        ne: Some(0.9),
        pcoc: Some(1.02),
        ..Figures::default()
    }
}

fn curves(positives: usize) -> Calibrated {
    let labels: Vec<bool> = (0..200).map(|row| row % 7 == 0 && row / 7 < positives).collect();
    let scores: Vec<f64> = (0..200).map(|row| 0.02 + f64::from(row) / 500.0).collect();
    let curves = Curves::of(&labels, &scores, None).unwrap();
    Calibrated { uncalibrated: Some(curves.clone()), curves }
}

/// A report of so many tasks, each after the one before, and scenarios. Everything is
/// called `called`, with a number.
pub fn findings(tasks: usize, scenarios: usize, called: &str) -> Findings {
    let name = |number: usize| format!("{called}{number}");
    let meanings = |number: usize| Meanings { given_parent: figures(number), from_impression: figures(number + 1) };
    let by_task = |shift: usize| (0..tasks).map(|task| (name(task), meanings(task + shift))).collect();
    let matrix = |kind: &str| Matrix {
        kind: kind.into(),
        columns: (0..3).map(name).collect(),
        rows: (0..tasks).map(|task| (name(task), vec![Some(0.5), Some(0.3), None])).collect(),
    };
    let moment = |step: u64| Moment {
        epoch: 1,
        step,
        figure: Some(0.9),
        best: true,
        tasks: (0..tasks)
            .map(|task| {
                let reached = Reached { loss: Some(1.0 / step as f64), auc: Some(0.7), figure: Some(0.9) };
                (name(task), reached)
            })
            .collect(),
    };
    let scenario = |number: usize| (name(number), Scenario { rows: 1000 - number as u64, tasks: by_task(number) });
    Findings {
        name: called.into(),
        model: "mmoe".into(),
        facts: vec![("started".into(), "today".into()), ("command".into(), called.into())],
        tasks: (0..tasks)
            .map(|task| TaskFacts {
                name: name(task),
                after: task.checked_sub(1).map(name),
                direct: task == 2,
                given_parent: Some(0.1),
                from_impression: Some(0.01),
            })
            .collect(),
        fields: vec![FieldFacts { name: called.into(), kind: "categorical".into(), encoding: called.into() }],
        scenario: Some(called.into()),
        training_rows: 1_234_567,
        parameters: 1234,
        table_weights: 123_456,
        settings: Vec::new(),
        history: Some(History {
            monitor: "mean.from_impression.ne".into(),
            figure: "ne".into(),
            meaning: Meaning::FromImpression,
            kept: (0..tasks as u64).map(|task| 10 * (1 + task % 3)).collect(),
            moments: [10, 20, 30].map(moment).into(),
        }),
        on: "test files".into(),
        figures: Report { rows: 1000, tasks: by_task(0), scenarios: (0..scenarios).map(scenario).collect() },
        inside: vec![matrix("gate"), matrix("similarity")],
        seen: Some(Seen {
            drawn: 200,
            rows: 1000,
            tasks: (0..tasks)
                .map(|task| {
                    let given_parent = (task > 0).then(|| curves(20));
                    (name(task), TaskCurves { given_parent, from_impression: Some(curves(20)) })
                })
                .collect(),
            inside_by_scenario: (0..scenarios).map(|one| (name(one), vec![matrix("gate")])).collect(),
            importance: Some(Importance {
                meanings: vec![Meaning::FromImpression; tasks],
                rows: vec![200; tasks],
                logloss: vec![Some(0.3); tasks],
                fields: (0..30)
                    .map(|field| FieldImportance {
                        name: name(field),
                        tasks: vec![Some(Effect { change: 0.001 * field as f64, error: 0.0005 }); tasks],
                    })
                    .collect(),
            }),
            drift: vec![format!("field `{called}` has moved")],
            shifts: vec![Shifted {
                name: called.into(),
                what: "unknown".into(),
                is_share: true,
                training: 0.1,
                found: 0.3,
                chance: 0.01,
                told: true,
            }],
        }),
        warnings: vec![called.into()],
        missing: Vec::new(),
    }
}

/// Titles of the sections, in their order.
fn sections(page: &str) -> Vec<String> {
    texts(page, "h2")
}

#[test]
fn every_figure_has_a_caption_and_its_numbers() {
    let page = findings(3, 2, "action").page();
    let elements = check(&page);
    let count = |name: &str| elements.iter().filter(|element| *element == name).count();
    let all = [
        "Figures",
        "Learning curves",
        "Funnel",
        "Reliability",
        "Gain and lift",
        "Predictions",
        "Scenarios",
        "Fields",
        "Inside the model",
        "Drift",
        "What was trained",
    ];
    assert_eq!(sections(&page), all);
    assert_eq!(count("h1"), 1);
    assert_eq!(count("figure"), count("figcaption"));
    // Three curves of each task; reliability, gain, lift and histogram of each task and,
    // but of the first, once more given the parent.
    assert_eq!(page.matches("role=\"img\"").count(), 3 * 3 + 4 * 5);
    assert!(texts(&page, "figure").iter().all(|figure| figure.contains("<table")), "each has its numbers");
    for said in ["prefers-color-scheme", "width=device-width", "@media print"] {
        assert!(page.contains(said), "{said}");
    }
    // Named in the text: on which rows, in which unit.
    for caption in texts(&page, "figcaption").iter().filter(|caption| !caption.contains("Settings")) {
        assert!(caption.contains("row"), "{caption}");
    }
}

#[test]
fn what_a_model_and_its_data_do_not_have_is_left_out() {
    let mut one = findings(1, 0, "click");
    one.history = None;
    one.inside.clear();
    one.seen = None;
    let page = one.page();
    check(&page);
    assert_eq!(sections(&page), ["Figures", "Funnel", "What was trained"]);
    assert!(!page.contains("given the parent in training</th><td>"));
    one.missing = vec!["The test files are gone.".into()];
    assert!(one.page().contains("The test files are gone."));
}

#[test]
fn a_task_without_positives_is_drawn_as_far_as_it_can_be() {
    let mut two = findings(2, 2, "action");
    let nothing = Figures { rows: 1000, logloss: Some(0.01), ..Figures::default() };
    let nothing = Meanings { given_parent: nothing, from_impression: nothing };
    two.figures.tasks["action1"] = nothing;
    two.figures.scenarios.values_mut().for_each(|scenario| scenario.tasks["action1"] = nothing);
    let seen = two.seen.as_mut().unwrap();
    seen.tasks["action1"] = TaskCurves { given_parent: None, from_impression: Some(curves(0)) };
    seen.importance.as_mut().unwrap().logloss[1] = None;
    two.history.as_mut().unwrap().moments.iter_mut().for_each(|moment| {
        moment.tasks["action1"] = Reached::default();
    });
    let page = two.page();
    check(&page);
    assert!(!page.contains("NaN") && !page.contains("inf"), "every number that is drawn is one");
    // Its predictions are spread; nothing came true, so there is neither gain nor reliability.
    assert_eq!(page.matches("<h3>action1 from the impression</h3>").count(), 1);
}

#[test]
fn names_are_no_markup_wherever_they_stand() {
    let page = findings(3, 3, "<b onclick=\"x\">&amp;</b>").page();
    check(&page);
    assert!(!page.contains("<b onclick"), "escaped");
    assert!(page.contains("&lt;b onclick=&quot;x&quot;&gt;&amp;amp;&lt;/b&gt;0"));
}

#[test]
fn many_tasks_and_scenarios_stay_a_page_that_opens_from_a_mail() {
    let name = "an_action_with_a_very_long_name_that_somebody_has_thought_of_";
    let page = findings(20, 60, name).page();
    check(&page);
    assert!(page.len() < 4_000_000, "{} bytes", page.len());
    assert!(page.contains("36 others are among the numbers"), "of 60 scenarios 24 are drawn");
    let rows = page.matches(&format!("{name}59")).count();
    assert!(rows >= 20, "the smallest scenario is among the numbers of every task");
}

#[test]
fn the_kept_step_of_each_task_is_marked() {
    let page = findings(3, 0, "action").page();
    // Kept of steps 10, 20 and 30 of 30: a third, two thirds and all of the way across.
    let across: Vec<f64> = page
        .split("<line class=\"kept\" x1=\"")
        .skip(1)
        .take(3)
        .map(|part| part.split('"').next().unwrap().parse().unwrap())
        .collect();
    let step = across[1] - across[0];
    assert!(step > 0.0 && (across[2] - across[1] - step).abs() < 0.11, "{across:?}");
    assert!(page.contains("kept of step 20: 0.9000"));
}
