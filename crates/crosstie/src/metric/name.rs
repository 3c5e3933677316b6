//! Names of figures, for early stopping and for comparing runs.

use std::fmt::{Display, Formatter};

use super::report::{Figures, Meaning, Report};
use crate::spelling;
use crate::{Error, Result};

/// A figure that can be named.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    /// `None` where the best value is neither the highest nor the lowest.
    higher_is_better: Option<bool>,
    of: fn(&Figures) -> Option<f64>,
}

static KINDS: [Kind; 6] = [
    Kind { name: "auc", higher_is_better: Some(true), of: |figures| figures.auc },
    Kind { name: "gauc", higher_is_better: Some(true), of: |figures| figures.gauc },
    Kind { name: "logloss", higher_is_better: Some(false), of: |figures| figures.logloss },
    Kind { name: "ne", higher_is_better: Some(false), of: |figures| figures.ne },
    Kind { name: "pcoc", higher_is_better: None, of: |figures| figures.pcoc },
    Kind { name: "ece", higher_is_better: Some(false), of: |figures| figures.ece },
];

const MEANINGS: [(&str, Meaning); 2] =
    [("given_parent", Meaning::GivenParent), ("from_impression", Meaning::FromImpression)];

/// The name of one overall number of a [`Report`], read: the path to it in
/// `metrics.json`, of which the task and the meaning may be left out.
///
/// | name | stands for |
/// |---|---|
/// | `auc` | mean of the tasks' AUC given the parent |
/// | `from_impression.auc` | mean of the tasks' AUC from the impression |
/// | `buy.auc` | the task's AUC given the parent |
/// | `buy.from_impression.auc` | the task's AUC from the impression |
/// | `mean.auc`, `mean.from_impression.auc` | the means, said aloud |
///
/// The last part is one of `auc`, `gauc`, `logloss`, `ne`, `pcoc`, `ece`. A
/// mean leaves out the tasks where the figure is not defined.
#[derive(Clone, Debug)]
pub struct FigureName {
    /// `None` for the mean over tasks.
    task: Option<String>,
    meaning: Meaning,
    kind: &'static Kind,
}

impl FigureName {
    /// Reads a name, given the tasks that there are.
    ///
    /// # Errors
    /// [`Error::Config`] with the wrong part and the nearest right one.
    pub fn parse<'a>(name: &str, tasks: impl IntoIterator<Item = &'a str>) -> Result<FigureName> {
        let tasks: Vec<&str> = tasks.into_iter().collect();
        let wrong = |message: String| Err(Error::Config(format!("figure `{name}`: {message}")));
        let parts: Vec<&str> = name.split('.').collect();
        let (subject, meaning, figure) = match parts[..] {
            [figure] => ("mean", None, figure),
            [first, figure] if MEANINGS.iter().any(|(meaning, _)| *meaning == first) => ("mean", Some(first), figure),
            [task, figure] => (task, None, figure),
            [task, meaning, figure] => (task, Some(meaning), figure),
            _ => return wrong("expected at most three parts, task.meaning.figure".into()),
        };
        let task = match tasks.iter().find(|task| **task == subject) {
            Some(task) => Some((*task).to_string()),
            None if subject == "mean" => None,
            None => {
                let meanings = MEANINGS.iter().map(|(meaning, _)| *meaning).filter(|_| parts.len() == 2);
                let known = tasks.iter().copied().chain(["mean"]).chain(meanings);
                return wrong(format!("there is no task `{subject}`{}", spelling::hint(subject, known)));
            }
        };
        let meaning = match meaning {
            None => Meaning::GivenParent,
            Some(found) => match MEANINGS.iter().find(|(meaning, _)| *meaning == found) {
                Some((_, meaning)) => *meaning,
                None => {
                    let hint = spelling::hint(found, MEANINGS.iter().map(|(meaning, _)| *meaning));
                    return wrong(format!("`{found}` is no meaning of a prediction{hint}"));
                }
            },
        };
        match kind(figure) {
            Ok(kind) => Ok(FigureName { task, meaning, kind }),
            Err(_) if tasks.contains(&figure) || MEANINGS.iter().any(|(meaning, _)| *meaning == figure) => {
                wrong(format!("the figure is left out; write for example `{name}.auc`"))
            }
            Err(message) => wrong(message),
        }
    }

    /// Every name there is: meaning by meaning and figure by figure, of all tasks and of the mean
    /// over them, which cannot be named where a task is called so.
    pub fn all<'a>(tasks: impl Iterator<Item = &'a str> + Clone) -> impl Iterator<Item = FigureName> {
        let mean = if tasks.clone().any(|task| task == "mean") { None } else { Some(None) };
        let figures = MEANINGS.iter().flat_map(|(_, meaning)| KINDS.iter().map(move |kind| (*meaning, kind)));
        figures.flat_map(move |(meaning, kind)| {
            let subjects = tasks.clone().map(|task| Some(task.to_string())).chain(mean.clone());
            subjects.map(move |task| FigureName { task, meaning, kind })
        })
    }

    /// The task it speaks of; `None` for the mean over tasks.
    pub fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// What the probabilities mean that it speaks of.
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// The same figure of one task, with a meaning.
    pub fn of_task(&self, task: &str, meaning: Meaning) -> FigureName {
        FigureName { task: Some(task.into()), meaning, kind: self.kind }
    }

    /// The figure's own name, such as `auc`.
    pub fn name(&self) -> &'static str {
        self.kind.name
    }

    /// Whether a higher value is a better one; `None` for `pcoc`, which is
    /// best at 1.
    pub fn higher_is_better(&self) -> Option<bool> {
        self.kind.higher_is_better
    }

    /// The number in a report; `None` where it is not defined.
    pub fn of(&self, report: &Report) -> Option<f64> {
        let value = |meanings: &super::Meanings| (self.kind.of)(meanings.get(self.meaning));
        match &self.task {
            Some(task) => report.tasks.get(task).and_then(value),
            None => {
                let values: Vec<f64> = report.tasks.values().filter_map(value).collect();
                (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
            }
        }
    }
}

impl Meaning {
    /// As it is written in the name of a figure.
    pub fn name(self) -> &'static str {
        MEANINGS.iter().find(|(_, meaning)| *meaning == self).map_or("", |(name, _)| name)
    }
}

impl Report {
    /// The overall figure that a [`FigureName`] such as `auc`,
    /// `buy.from_impression.logloss` or `mean.from_impression.auc` stands for;
    /// `None` where it is not defined.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a name that means nothing here, with the
    /// nearest that does.
    pub fn figure(&self, name: &str) -> Result<Option<f64>> {
        Ok(FigureName::parse(name, self.tasks.keys().map(String::as_str))?.of(self))
    }
}

impl Display for FigureName {
    /// The name in full.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let task = self.task.as_deref().unwrap_or("mean");
        write!(f, "{task}.{}.{}", self.meaning.name(), self.kind.name)
    }
}

fn kind(figure: &str) -> Result<&'static Kind, String> {
    KINDS
        .iter()
        .find(|kind| kind.name == figure)
        .ok_or_else(|| format!("`{figure}` is no figure{}", spelling::hint(figure, KINDS.iter().map(|kind| kind.name))))
}
