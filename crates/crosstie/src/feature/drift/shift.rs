//! One set of counts against another.

use std::collections::BTreeMap;

use super::quantity::{Kind, Quantity};
use super::{Measured, Range};
use crate::feature::Features;
use crate::schema::{Encoding, FieldKind, Multi};

/// Standard errors that chance explains. So many, since many quantities are compared
/// and their errors are estimated themselves.
const CHANCE: f64 = 5.0;
/// Rows, or values, by which shares must differ at least: fewer may be one event.
const FEWEST: f64 = 10.0;
/// What matters at least: for means, and for differences of shares by Cohen's h
/// ("Statistical Power Analysis", 1988), what he calls a small effect; of a label's
/// rate a factor of 1.2.
const SMALL: f64 = 0.2;
/// Lines that are told.
const LINES: usize = 5;

/// Rows held against the training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// Rows that were compared.
    pub rows: u64,
    /// Whether a label of any task is known of them.
    pub labelled: bool,
    /// Tasks of which no label is known that counts, where labels of others are.
    pub unlabelled: Vec<String>,
    /// Everything compared, what matters most first.
    pub shifts: Vec<Shift>,
}

/// One quantity, of the training rows and of others.
#[derive(Clone, Debug, PartialEq)]
pub struct Shift {
    /// What is compared.
    pub quantity: Quantity,
    /// Of the training rows.
    pub training: f64,
    /// Of the rows compared.
    pub found: f64,
    /// What it should be by the training rows. Of unknown values that is more than
    /// [`Shift::training`]: some training values are known by a few rows, which
    /// others do not have.
    pub expected: f64,
    /// By how much chance may move it from there.
    pub chance: f64,
    /// How much it matters: in standard deviations of training for a mean, Cohen's h
    /// for a share, the logarithm of the factor for the rate of a label.
    pub weight: f64,
    /// Whether it matters, and is more than chance explains.
    pub told: bool,
    /// From the least to the greatest number of training, of a share beyond them.
    range: Option<(f64, f64)>,
}

impl Drift {
    pub(super) fn new(
        features: &Features,
        (rows, labelled): (u64, bool),
        unlabelled: Vec<String>,
        training: &[Measured],
        found: &[Measured],
    ) -> Drift {
        let of_training: BTreeMap<&Quantity, &Measured> = training.iter().map(|one| (&one.quantity, one)).collect();
        let numbers = features.profile.as_ref().map(|profile| &profile.numbers);
        let range = |quantity: &Quantity| match quantity.kind {
            Kind::Beyond => numbers.and_then(|numbers| numbers.get(&quantity.name)),
            _ => None,
        };
        let pairs = found.iter().filter_map(|found| Some((*of_training.get(&found.quantity)?, found)));
        let mut shifts: Vec<Shift> =
            pairs.map(|(training, found)| Shift::new(features, training, found, range(&found.quantity))).collect();
        shifts.sort_by(|a, b| b.told.cmp(&a.told).then(b.weight.total_cmp(&a.weight)));
        Drift { rows, labelled, unlabelled, shifts }
    }

    /// Tasks without labels, and what matters and is more than chance explains, one
    /// sentence each and the worst of each field and task only. `files` is how the rows are called.
    pub fn sentences(&self, files: &str) -> Vec<String> {
        let mut told: Vec<&Shift> = Vec::new();
        for shift in self.shifts.iter().filter(|shift| shift.told) {
            if told.iter().all(|other| other.quantity.subject() != shift.quantity.subject()) {
                told.push(shift);
            }
        }
        let unlabelled = |task| format!("task `{task}`: no row of {files} has a label that counts for it");
        let mut sentences: Vec<String> = self.unlabelled.iter().map(unlabelled).collect();
        sentences.extend(told.iter().take(LINES).map(|shift| shift.sentence(files)));
        if let (Some(last), more @ 1..) = (sentences.last_mut(), told.len().saturating_sub(LINES)) {
            *last += &format!(" (and {more} more: `crosstie inspect --against RUN FILE...` shows all)");
        }
        sentences
    }
}

impl Shift {
    fn new(features: &Features, training: &Measured, found: &Measured, range: Option<&Range>) -> Shift {
        let kind = found.quantity.kind;
        // None of the training rows lies beyond all of them; the next one may.
        let next = 2.0 / (training.count + 1.0);
        let (expected, error) = if kind == Kind::Beyond { (next, next) } else { (training.value, training.error) };
        let seen = training.seen.unwrap_or(training.value);
        let mut variance = error.powi(2) + found.error.powi(2) + by_values(features, training);
        if kind.is_share() {
            // Of few parts or events the errors may be too small, but never below this.
            let both = training.count + found.count;
            let share = (expected * training.count + found.value * found.count) / both;
            variance = variance.max(share * (1.0 - share) * (1.0 / training.count + 1.0 / found.count));
        }
        let freedom = training.parts.min(found.parts) as f64 - 1.0;
        // Student's quantile by the normal one (Fisher and Cornish, Technometrics 1960).
        let errors = CHANCE * (1.0 + (CHANCE * CHANCE + 1.0) / (4.0 * freedom));
        let chance = errors * variance.sqrt();
        let difference = (found.value - expected).abs();
        let weight = match kind {
            Kind::GivenParent | Kind::FromImpression => {
                let rate = |share: f64, count: f64| (share * count + 0.5) / (count + 1.0);
                (rate(found.value, found.count) / rate(expected, training.count)).ln().abs()
            }
            _ if kind.is_share() => 2.0 * (found.value.sqrt().asin() - expected.clamp(0.0, 1.0).sqrt().asin()).abs(),
            _ => difference,
        };
        let enough = !kind.is_share() || difference * found.count.min(training.count) >= FEWEST;
        Shift {
            quantity: found.quantity.clone(),
            training: seen,
            found: found.value,
            expected,
            chance,
            weight,
            told: enough && difference > chance && weight >= SMALL,
            range: range.map(|range| (range.least, range.greatest)),
        }
    }

    /// In one sentence.
    fn sentence(&self, files: &str) -> String {
        let Quantity { kind, name, task } = &self.quantity;
        let (found, training) = (percent(self.found), percent(self.training));
        let task = task.as_deref().unwrap_or_default();
        let deviations = || {
            let difference = self.found - self.expected;
            let way = if difference > 0.0 { "higher" } else { "lower" };
            format!("{:.1} standard deviations {way}", difference.abs())
        };
        match kind {
            Kind::Unknown => {
                // More than of the training rows: some values are known by these alone.
                let expected = percent(self.expected);
                format!(
                    "field `{name}`: {found} of the values of {files} are unknown, where {expected} were to be expected"
                )
            }
            Kind::Missing => {
                format!("field `{name}`: {found} of the rows of {files} have none, {training} of the training rows")
            }
            Kind::Mean => format!("field `{name}`: its mean in {files} is {} than in the training rows", deviations()),
            Kind::Beyond => {
                let (least, greatest) = self.range.unwrap_or_default();
                format!(
                    "field `{name}`: {found} of the numbers of {files} lie beyond those of the training rows ({} to {})",
                    number(least),
                    number(greatest)
                )
            }
            Kind::Rate => format!(
                "field `{name}`: its rate of `{task}` in {files} is {} than what training rows saw",
                deviations()
            ),
            Kind::Count => {
                format!("field `{name}`: its number of rows in {files} is {} than what training rows saw", deviations())
            }
            Kind::GivenParent => format!(
                "task `{name}`: given its parent, {found} of the rows of {files} are positive, {training} of the training \
                 rows"
            ),
            Kind::FromImpression => {
                format!("task `{name}`: {found} of the rows of {files} are positive, {training} of the training rows")
            }
            Kind::Scenario => {
                format!("scenario `{name}`: {found} of the rows of {files}, {training} of the training rows")
            }
        }
    }
}

/// What the share of unknown values may differ since values at the edge of being
/// known come as a whole, many rows or none: by their number in the training rows,
/// and in what other rows would have been trained on.
fn by_values(features: &Features, training: &Measured) -> f64 {
    let Some(seen) = training.seen else { return 0.0 };
    let schema = &features.schema;
    let field = schema.fields.iter().find(|field| field.name == training.quantity.name);
    let least = field.map_or(1, |field| min_count(&field.kind).unwrap_or(1).max(1));
    let sample = features.profile.as_ref().map_or(1, |profile| profile.rows.max(1));
    let values = training.count * (features.rows.max(1) as f64 / sample as f64);
    2.0 * least as f64 * (training.value - seen).max(0.0) / values
}

fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "0 %".into(),
        percent if percent >= 10.0 => format!("{percent:.0} %"),
        percent if percent >= 1.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.2} %"),
    }
}

fn number(x: f64) -> String {
    let text = format!("{x:.3}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// By how many rows a value must be known.
pub(super) fn min_count(kind: &FieldKind) -> Option<u64> {
    match kind {
        FieldKind::Categorical(kind) | FieldKind::Multi(Multi { categorical: kind, .. }) => match kind.encoding {
            Encoding::Vocabulary { min_count } => Some(min_count),
            Encoding::Hashed { .. } => None,
        },
        FieldKind::Numeric(_) | FieldKind::Rate(_) => None,
    }
}
