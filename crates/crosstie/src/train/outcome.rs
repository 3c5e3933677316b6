//! What a training came to, where that is nothing.

use crate::metric::{Figures, Meaning, Report};

/// How much worse than a constant's a log-loss must be to be spoken of.
const WORSE: f64 = 1.01;
/// From here on it is not for want of training.
const FAR_WORSE: f64 = 1.2;

/// Of the state that is kept: the tasks that are predicted worse than by one number
/// for all rows, or by one number, one sentence each.
pub(super) fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    for (task, meanings) in &report.tasks {
        let of = [(Meaning::FromImpression, "from the impression"), (Meaning::GivenParent, "given its parent")];
        let found = of.iter().find_map(|(meaning, on)| said(meanings.get(*meaning)).map(|said| (on, said)));
        warnings.extend(found.map(|(on, said)| format!("task `{task}`, {on}: {said}")));
    }
    warnings
}

fn said(figures: &Figures) -> Option<String> {
    let (logloss, ne) = (figures.logloss?, figures.ne?);
    let constant = logloss / ne;
    if ne > WORSE {
        let why = match ne > FAR_WORSE {
            true => "training has diverged, or learned by heart; lower learning rates may help",
            false => "it has learned too little, or by heart",
        };
        return Some(format!(
            "the log-loss of the kept state on the validation files is {logloss:.4}, worse than {constant:.4}, that of their \
             mean rate for every row: {why}"
        ));
    }
    (figures.auc == Some(0.5) && figures.positives > 1).then(|| {
        "the kept state gives every row of the validation files the same probability: it has learned nothing".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Meanings;

    #[test]
    fn a_task_that_came_to_nothing_is_told() {
        let figures = |auc: f64, ne: f64| Figures {
            rows: 100,
            positives: 30,
            auc: Some(auc),
            logloss: Some(0.6 * ne),
            ne: Some(ne),
            ..Figures::default()
        };
        let of = |from_impression: Figures, given_parent: Figures| {
            let tasks = [("buy".to_string(), Meanings { given_parent, from_impression })].into_iter().collect();
            warnings(&Report { tasks, ..Report::default() })
        };
        let fine = figures(0.7, 0.9);
        assert_eq!(of(fine, fine), Vec::<String>::new());
        assert_eq!(of(Figures::default(), Figures::default()), Vec::<String>::new());
        let told = of(figures(0.6, 2.0), figures(0.6, 3.0));
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("task `buy`, from the impression: the log-loss"), "{told:?}");
        assert!(told[0].contains("1.2000, worse than 0.6000") && told[0].contains("diverged"), "{told:?}");
        assert!(!of(figures(0.6, 1.05), fine)[0].contains("diverged"));
        assert!(of(fine, figures(0.6, 3.0))[0].starts_with("task `buy`, given its parent"));
        assert!(of(figures(0.5, 1.0), fine)[0].contains("the same probability"));
    }
}
