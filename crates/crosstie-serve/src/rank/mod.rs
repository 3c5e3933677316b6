//! Ranking: one user, one context and some candidates as plain JSON, scored and sorted.

mod cell;
mod columns;
mod exposure;
mod id;
mod notes;
mod request;

use std::cmp::Ordering;
use std::sync::Arc;

use crosstie::data::Rows;
use crosstie::feature::Unknown;
use crosstie::learned::Scores;
use crosstie::spelling;

pub use columns::{Candidates, Giver};
pub use id::Id;
pub use request::{Answer, Probability, Ranked, Request};

use crate::clock::Clock;
use crate::engine::Turn;
use crate::experiments::Placed;
use crate::failure::{Failure, Fault};
use crate::formula::{Formula, Named, Values};
use crate::log::Exposure;
use crate::stages::Stage;
use columns::Plan;

/// What errors of the library call the rows of a request.
const ROWS: &str = "candidates";

/// What an answer depends on besides the request.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The request's id.
    pub id: String,
    /// How many candidates it may have.
    pub most: usize,
    /// The model's own formula, for a request without one.
    pub formula: Option<String>,
    /// The experiment's arm that answers.
    pub placed: Option<Placed>,
    /// Whether what is shown is logged.
    pub logged: bool,
    /// By which it is logged.
    pub clock: Clock,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// The answer, as JSON.
    pub json: Vec<u8>,
    /// What to log, if it is to be.
    pub exposure: Option<Exposure>,
    /// Values that training did not know.
    pub unknown: u64,
    /// All values that are there, of embedded fields.
    pub values: u64,
    /// By task, the sum over all candidates of the probability from the impression.
    pub predictions: Vec<(String, f64)>,
}

/// Answers a request in its turn.
///
/// # Errors
/// The candidate and field, what was found and what was expected.
pub fn rank(turn: &mut Turn, request: &Request, terms: &Terms) -> Result<Ranking, Failure> {
    let version = Arc::clone(turn.version());
    let (tasks, features) = (version.scorer().tasks(), version.scorer().features());
    let plan = Plan::new(version.inputs());
    let formula = terms.formula.as_deref();
    let prepared = turn.stage(Stage::Decode, |_| Prepared::new(&plan, tasks, request, terms.most, formula))?;
    let batch = turn.encode(&prepared.rows).map_err(|failure| prepared.located(failure))?;
    let scores = turn.score(&batch)?;
    turn.stage(Stage::Encode, |_| {
        let mut unknown = Unknown::new(features);
        unknown.add(&batch);
        let values = prepared.values(&scores);
        let placed = terms.placed.as_ref();
        let mut notes: Vec<String> = placed.and_then(|placed| placed.note.clone()).into_iter().collect();
        notes.extend(notes::columns(&plan, &prepared.candidates));
        notes.extend(notes::same_ids(&prepared.candidates.ids));
        notes.extend(notes::unknown(features, &unknown));
        notes.extend(values.as_deref().and_then(notes::not_finite));
        let arm = placed.and_then(|placed| placed.arm.as_deref());
        let answer = Answer {
            request: &terms.id,
            model: version.model(),
            version: &version.number().to_string(),
            artifact: version.artifact(),
            experiment: arm.and(placed).map(|placed| placed.experiment.as_str()),
            arm,
            candidates: prepared.ranked(tasks, &scores, values.as_deref(), request.top),
            notes,
        };
        let json = serde_json::to_vec(&answer);
        let json = json.map_err(|error| Failure::Internal(format!("the answer is no JSON: {error}")))?;
        let exposure = terms.logged.then(|| exposure::of(request, &answer, terms)).transpose()?;
        let counts = unknown.counts().iter();
        let (unknown, values) =
            counts.fold((0, 0), |(unknown, values), field| (unknown + field.unknown, values + field.values));
        let sum = |(task, name): (usize, &String)| (name.clone(), scores.from_impression(task).sum());
        let predictions = tasks.iter().enumerate().map(sum).collect();
        Ok(Ranking { json, exposure, unknown, values, predictions })
    })
}

/// A request whose candidates are ready to be scored.
struct Prepared<'a> {
    plan: &'a Plan<'a>,
    formula: Option<Formula>,
    candidates: Candidates,
    /// Per field of the formula, per candidate.
    fields: Vec<Vec<f64>>,
    /// The candidates as rows of the model's columns.
    rows: Rows,
}

impl<'a> Prepared<'a> {
    fn new(
        plan: &'a Plan<'a>,
        tasks: &[String],
        request: &Request,
        most: usize,
        formula: Option<&str>,
    ) -> Result<Prepared<'a>, Failure> {
        let formula = match (&request.formula, formula) {
            (Some(text), _) => Some(Formula::parse(text, tasks)?),
            // It fits its own model, but an experiment's arm may be another.
            (None, Some(text)) => Some(Formula::parse(text, tasks).map_err(|error| {
                Failure::NotReady(format!("the formula that the settings give the model, {error}"))
            })?),
            (None, None) => None,
        };
        if formula.is_none() && request.top.is_some() {
            return Err(Failure::field("top", "a number", "a `formula` with it, for the model has none of its own"));
        }
        let named = formula.as_ref().map_or(&[][..], Formula::fields);
        let extras: Vec<&str> =
            named.iter().map(|field| field.name.as_str()).filter(|name| plan.place(name).is_none()).collect();
        let candidates = Candidates::read(plan, &extras, request, most)?;
        let fields = named.iter().map(|field| numbers(plan, field, &extras, &candidates)).collect::<Result<_, _>>()?;
        let rows = Rows::new(candidates.batch(plan)?, ROWS);
        Ok(Prepared { plan, formula, candidates, fields, rows })
    }

    /// What is wrong with a row, where it stands in the request.
    fn located(&self, failure: Failure) -> Failure {
        match failure {
            Failure::BadRequest(Fault { field: Some(column), row: Some(row), found, expected }) => {
                let row = usize::try_from(row.saturating_sub(1)).unwrap_or(usize::MAX);
                let place = self.plan.place(&column).unwrap_or(usize::MAX);
                Failure::field(self.candidates.path(place, row, &column), found, expected)
            }
            other => other,
        }
    }

    /// The formula's value of each candidate.
    fn values(&self, scores: &Scores) -> Option<Vec<f64>> {
        let formula = self.formula.as_ref()?;
        let (mut stack, mut fields) = (Vec::new(), vec![0.0; self.fields.len()]);
        let value = |row: usize| {
            fields.iter_mut().zip(&self.fields).for_each(|(field, all)| *field = all[row]);
            let of = row * scores.tasks..(row + 1) * scores.tasks;
            let (given_parent, from_impression) = (&scores.given_parent[of.clone()], &scores.from_impression[of]);
            formula.score(Values { given_parent, from_impression, fields: &fields }, &mut stack)
        };
        Some((0..self.candidates.len()).map(value).collect())
    }

    /// The candidates with their scores, the best first if they have values, cut to `top`.
    fn ranked<'b>(
        &'b self,
        tasks: &'b [String],
        scores: &Scores,
        values: Option<&[f64]>,
        top: Option<usize>,
    ) -> Vec<Ranked<'b>> {
        let mut order: Vec<usize> = (0..self.candidates.len()).collect();
        if let Some(values) = values {
            order.sort_by(|a, b| best_first(&values[*a], &values[*b]));
        }
        order.truncate(top.unwrap_or(usize::MAX));
        let ranked = |index: usize| {
            let of = index * scores.tasks..(index + 1) * scores.tasks;
            let both = scores.given_parent[of.clone()].iter().zip(&scores.from_impression[of]);
            let probability = |(given_parent, from_impression): (&f64, &f64)| Probability {
                given_parent: *given_parent,
                from_impression: *from_impression,
            };
            Ranked {
                index,
                id: self.candidates.ids[index].as_ref(),
                score: values.map(|values| values[index]),
                tasks: tasks.iter().map(String::as_str).zip(both.map(probability)).collect(),
            }
        };
        order.into_iter().map(ranked).collect()
    }
}

/// The numbers that a formula reads under one name.
fn numbers(plan: &Plan<'_>, field: &Named, extras: &[&str], candidates: &Candidates) -> Result<Vec<f64>, Failure> {
    let Named { name, character } = field;
    let extra = || extras.iter().position(|extra| extra == name).map(|extra| plan.len() + extra);
    let place = plan.place(name).or_else(extra).unwrap_or_default();
    if candidates.givers[place].is_none() && !candidates.is_empty() {
        let given = plan.names().enumerate().filter(|(place, _)| candidates.givers[*place].is_some());
        let given = given.map(|(_, name)| name).chain(candidates.strangers.iter().map(String::as_str));
        let hint = spelling::nearest(name, given).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        let found = format!("`{name}` at character {character}");
        return Err(Failure::field("formula", found, format!("a field that the request gives{hint}")));
    }
    cell::numbers(&candidates.arrays[place]).map_err(|(row, found)| {
        Failure::field(candidates.path(place, row, name), found, "a number, for the formula reads it")
    })
}

/// The greater first; what is not finite last. Equals stay as they were.
fn best_first(a: &f64, b: &f64) -> Ordering {
    b.is_finite().cmp(&a.is_finite()).then(if a.is_finite() { b.total_cmp(a) } else { Ordering::Equal })
}
