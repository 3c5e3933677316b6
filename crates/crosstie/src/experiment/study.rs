//! What was shown and what came of it, summed by unit, and the report on it.

use std::collections::HashMap;

use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};

use super::ramp::{ArmEvidence, Evidence};
use super::statistics::{Effect, Interval, Moments, Observation, SampleRatio, Scale, TUNING};
use super::statistics::{benjamini_hochberg, chi_square, holm};

/// What a study calls what was earned for a thousand candidates shown.
pub const ECPM: &str = "eCPM";

/// How sure a report is to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Intervals leave out the truth with at most this probability.
    pub alpha: f64,
    /// Units of both arms at which confidence sequences are narrowest.
    pub tuning: f64,
    /// The probability with which the least detectable difference is found.
    pub power: f64,
    /// How p-values of several scenarios are corrected.
    pub correction: Correction,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { alpha: 0.05, tuning: TUNING, power: 0.8, correction: Correction::Holm }
    }
}

/// How p-values of several scenarios are corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correction {
    /// At most `alpha` of reports have any false alarm, whatever scenarios have in
    /// common.
    Holm,
    /// At most `alpha` of the alarms are false. Finds more.
    BenjaminiHochberg,
    /// None.
    None,
}

/// One candidate that was shown to somebody.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Whom the arm was chosen for.
    pub unit: &'a str,
    /// The arm that served it.
    pub arm: &'a str,
    /// The day, in days since 1970.
    pub day: i64,
    /// The slice of traffic, if it is to be told apart.
    pub scenario: Option<&'a str>,
    /// Of each measure numerator and denominator; zeros where not yet known.
    pub terms: &'a [(f64, f64)],
    /// Of each task the predicted probability and whether it happened, where both are
    /// known.
    pub predicted: &'a [Option<(f64, bool)>],
}

/// Sums by unit of two or more arms. Rows may come in any order.
pub struct Study {
    measures: Vec<String>,
    tasks: Vec<String>,
    settings: Settings,
    places: HashMap<Box<str>, usize>,
    units: Vec<Unit>,
    arms: IndexSet<Box<str>>,
    scenarios: IndexSet<Box<str>>,
    has_past: bool,
}

/// Numerator and denominator of each measure.
type Terms = Box<[(f64, f64)]>;

#[derive(Default)]
struct Unit {
    /// Index into the arms; `None`: known of the time before only.
    arm: Option<usize>,
    crossed: bool,
    impressions: u64,
    /// Per task.
    calibration: Box<[Predicted]>,
    days: Vec<Day>,
    before: Vec<(f64, f64)>,
}

struct Day {
    day: i64,
    scenario: Option<usize>,
    terms: Terms,
}

/// Predicted and actual positives of one unit.
#[derive(Clone, Copy, Default)]
struct Predicted {
    rows: u64,
    sum: f64,
    happened: u64,
}

/// Predicted and actual positives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Rows whose label is known.
    pub rows: u64,
    /// Sum of the predicted probabilities.
    pub predicted: f64,
    /// How often it happened.
    pub happened: u64,
    /// How much more that varies from unit to unit than if every row were a matter of its own: the
    /// variance of a unit's positives about those predicted, to what it would be then. 0 where
    /// nothing happened.
    #[serde(default)]
    pub dispersion: f64,
}

impl Calibration {
    fn of<'a>(units: impl Iterator<Item = &'a Predicted> + Clone) -> Calibration {
        let mut all = Calibration::default();
        for unit in units.clone() {
            all.rows += unit.rows;
            all.predicted += unit.sum;
            all.happened += unit.happened;
        }
        let (count, happened) = (units.clone().filter(|unit| unit.rows > 0).count() as f64, all.happened as f64);
        if all.happened > 0 && all.predicted > 0.0 && count > 1.0 {
            let beyond = |unit: &Predicted| unit.happened as f64 - unit.sum * happened / all.predicted;
            let squares: f64 = units.map(|unit| beyond(unit).powi(2)).sum();
            all.dispersion = squares * count / (count - 1.0) / happened;
        }
        all
    }

    /// Predicted positives for one that happened (PCOC).
    pub fn pcoc(&self) -> Option<f64> {
        (self.happened > 0).then(|| self.predicted / self.happened as f64)
    }
}

/// What a study says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyReport {
    /// How sure it is to be.
    pub settings: Settings,
    /// First and last day, in days since 1970.
    pub days: Option<(i64, i64)>,
    /// The control and the candidates.
    pub arms: Vec<ArmFigures>,
    /// Units that were seen in more than one arm, and are left out.
    pub crossed: u64,
    /// Whether the arms got their shares: p by chi-square, looked at once.
    pub sample_ratio: Option<f64>,
    /// The same by a test that may be looked at every day.
    pub sequential_sample_ratio: f64,
    /// Each candidate against the control, by measure.
    pub differences: Vec<Difference>,
    /// The same by scenario.
    pub scenarios: Vec<Scenario>,
    /// The same as it stood at the end of each day.
    pub over_time: Vec<Snapshot>,
}

/// The figures of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmFigures {
    /// Its name.
    pub name: String,
    /// The share of units that it should have.
    pub share: f64,
    /// Units that it has.
    pub units: u64,
    /// What was shown to them, without that to units of several arms.
    pub impressions: u64,
    /// By measure: ratio of sums.
    pub values: IndexMap<String, Option<f64>>,
    /// By task.
    pub calibration: IndexMap<String, Calibration>,
}

/// The relative difference of a candidate from the control.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lift {
    /// 0.03 is a lift of 3 %.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Holds the true lift at every look.
    pub sequence: Interval,
    /// As `sequence`: chance between equal arms, at any look.
    pub sequential_p: f64,
    /// Holds the true lift if looked at once, at a time fixed before.
    pub interval: Interval,
    /// As `interval`.
    pub p: f64,
    /// The least true lift that so many units find, looked at once.
    pub least_detectable: f64,
}

impl Lift {
    fn of(effect: &Effect, settings: &Settings) -> Lift {
        Lift {
            estimate: effect.estimate,
            standard_error: effect.standard_error,
            sequence: effect.sequence(settings.alpha, settings.tuning),
            sequential_p: effect.sequential_p(settings.alpha, settings.tuning),
            interval: effect.interval(settings.alpha),
            p: effect.p(),
            least_detectable: effect.least_detectable(settings.alpha, settings.power),
        }
    }

    /// How many units find another lift with the power asked for, where `units` find
    /// the least detectable one.
    pub fn units_needed(&self, units: u64, lift: f64) -> f64 {
        (units as f64 * (self.least_detectable / lift).powi(2)).ceil()
    }
}

/// A candidate against the control in one measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The measure.
    pub measure: String,
    /// The candidate.
    pub arm: String,
    /// As it was measured; `None` where it cannot be told.
    pub plain: Option<Lift>,
    /// Less what the time before the experiment explains (CUPED).
    pub adjusted: Option<Lift>,
}

impl Difference {
    /// The adjusted figures, if there are any.
    pub fn best(&self) -> Option<&Lift> {
        self.adjusted.as_ref().or(self.plain.as_ref())
    }
}

/// A candidate against the control in one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The scenario.
    pub scenario: String,
    /// Measure, candidate and figures. Units' past is not told by scenario.
    #[serde(flatten)]
    pub difference: Difference,
    /// The p-value of the confidence sequence, corrected for the number of scenarios.
    pub corrected_p: Option<f64>,
}

/// How things stood at the end of a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// In days since 1970.
    pub day: i64,
    /// Units of each arm by then.
    pub units: Vec<u64>,
    /// Each candidate against the control, by measure.
    pub differences: Vec<Difference>,
}

/// An arm of the report: its name, the share of units that it should have, and its
/// place among the arms that were seen.
type Asked<'a> = (&'a str, f64, Option<usize>);

/// Moments of each measure and arm.
struct Table(Vec<Vec<Moments>>);

impl Table {
    fn new(measures: usize, arms: usize) -> Table {
        Table(vec![vec![Moments::default(); arms]; measures])
    }
}

impl Study {
    /// Of so many measures, and of tasks that are predicted.
    pub fn new(measures: &[String], tasks: &[String], settings: Settings) -> Study {
        Study {
            measures: measures.to_vec(),
            tasks: tasks.to_vec(),
            settings,
            places: HashMap::new(),
            units: Vec::new(),
            arms: IndexSet::new(),
            scenarios: IndexSet::new(),
            has_past: false,
        }
    }

    /// The arms that were seen.
    pub fn arms(&self) -> impl Iterator<Item = &str> {
        self.arms.iter().map(|name| &**name)
    }

    fn unit(&mut self, name: &str) -> &mut Unit {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.places.insert(name.into(), self.units.len());
                self.units.push(Unit::default());
                self.units.len() - 1
            }
        };
        &mut self.units[place]
    }

    /// Takes in what was shown.
    ///
    /// # Panics
    /// If there are fewer terms than measures, or fewer predictions than tasks.
    pub fn add(&mut self, shown: &Shown<'_>) {
        let place_in = |names: &mut IndexSet<Box<str>>, name: &str| match names.get_index_of(name) {
            Some(place) => place,
            None => names.insert_full(name.into()).0,
        };
        let scenario = shown.scenario.map(|name| place_in(&mut self.scenarios, name));
        let (arm, day) = (place_in(&mut self.arms, shown.arm), shown.day);
        let terms = &shown.terms[..self.measures.len()];
        let tasks = self.tasks.len();
        let unit = self.unit(shown.unit);
        unit.crossed |= *unit.arm.get_or_insert(arm) != arm;
        unit.impressions += 1;
        if unit.calibration.is_empty() {
            unit.calibration = vec![Predicted::default(); tasks].into();
        }
        for (seen, predicted) in unit.calibration.iter_mut().zip(&shown.predicted[..tasks]) {
            if let Some((probability, happened)) = *predicted {
                seen.rows += 1;
                seen.sum += probability;
                seen.happened += u64::from(happened);
            }
        }
        match unit.days.iter_mut().rev().find(|known| known.day == day && known.scenario == scenario) {
            Some(known) => add(&mut known.terms, terms),
            None => unit.days.push(Day { day, scenario, terms: terms.into() }),
        }
    }

    /// Takes in what is known of a unit from before the experiment; what is known of
    /// units that take no part is let pass.
    ///
    /// # Panics
    /// If there are fewer terms than measures.
    pub fn add_before(&mut self, unit: &str, terms: &[(f64, f64)]) {
        self.has_past = true;
        let measures = self.measures.len();
        let unit = self.unit(unit);
        unit.before.resize(measures, (0.0, 0.0));
        add(&mut unit.before, &terms[..measures]);
    }

    /// Whether a unit was shown anything.
    pub fn knows(&self, unit: &str) -> bool {
        self.places.contains_key(unit)
    }

    /// Units that count, with the place of their arm among those asked for.
    fn counted(&self, asked: &[Asked<'_>]) -> impl Iterator<Item = (usize, &Unit)> {
        let place = |seen: usize| asked.iter().position(|(.., place)| *place == Some(seen));
        let places: Vec<Option<usize>> = (0..self.arms.len()).map(place).collect();
        let units = self.units.iter().filter(|unit| !unit.crossed);
        units.filter_map(move |unit| Some((places[unit.arm?]?, unit)))
    }

    /// The report on arms, the control first, with the shares of units that they should
    /// have, each over 0. Units of other arms are left out.
    pub fn report(&self, arms: &[(String, f64)]) -> StudyReport {
        let asked: Vec<Asked<'_>> =
            arms.iter().map(|(name, share)| (name.as_str(), *share, self.arms.get_index_of(name.as_str()))).collect();
        let (snapshots, table, ratio) = self.over_time(&asked);
        let last = snapshots.last().map_or_else(|| vec![0; arms.len()], |snapshot| snapshot.units.clone());
        let mut figures: Vec<ArmFigures> = Vec::with_capacity(asked.len());
        for (arm, (name, share, _)) in asked.iter().enumerate() {
            figures.push(ArmFigures {
                name: name.to_string(),
                share: *share,
                units: last[arm],
                impressions: 0,
                values: self.measures.iter().cloned().zip(table.0.iter().map(|measure| measure[arm].value())).collect(),
                calibration: IndexMap::new(),
            });
        }
        let mut units: Vec<Vec<&Unit>> = vec![Vec::new(); asked.len()];
        self.counted(&asked).for_each(|(arm, unit)| units[arm].push(unit));
        for (figures, units) in figures.iter_mut().zip(&units) {
            figures.impressions = units.iter().map(|unit| unit.impressions).sum();
            let of_task = |(place, task): (usize, &String)| {
                (task.clone(), Calibration::of(units.iter().filter_map(|unit| unit.calibration.get(place))))
            };
            figures.calibration = self.tasks.iter().enumerate().map(of_task).collect();
        }
        let shares: Vec<f64> = arms.iter().map(|(_, share)| *share).collect();
        StudyReport {
            settings: self.settings,
            days: snapshots.first().zip(snapshots.last()).map(|(first, last)| (first.day, last.day)),
            arms: figures,
            crossed: self.units.iter().filter(|unit| unit.crossed).count() as u64,
            sample_ratio: chi_square(&last, &shares),
            sequential_sample_ratio: ratio.p(),
            differences: self.differences(&asked, &table, self.has_past),
            scenarios: self.by_scenario(&asked),
            over_time: snapshots,
        }
    }

    fn differences(&self, asked: &[Asked<'_>], table: &Table, adjust: bool) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (measure, moments) in self.measures.iter().zip(&table.0) {
            for (arm, (name, ..)) in asked.iter().enumerate().skip(1) {
                let measured = |effect: Option<Effect>| effect.map(|effect| Lift::of(&effect, &self.settings));
                let (control, candidate) = (&moments[0], &moments[arm]);
                let adjusted = adjust.then(|| Effect::adjusted(control, candidate, Scale::Relative)).flatten();
                differences.push(Difference {
                    measure: measure.clone(),
                    arm: name.to_string(),
                    plain: measured(Effect::of(control, candidate, Scale::Relative)),
                    adjusted: measured(adjusted),
                });
            }
        }
        differences
    }

    /// How things stood at the end of each day, and the moments and the sample ratio at
    /// the end of the last.
    fn over_time(&self, asked: &[Asked<'_>]) -> (Vec<Snapshot>, Table, SampleRatio) {
        let units: Vec<(usize, &Unit)> = self.counted(asked).collect();
        let mut entries: Vec<(i64, usize, &Day)> = Vec::new();
        for (place, (_, unit)) in units.iter().enumerate() {
            entries.extend(unit.days.iter().map(|day| (day.day, place, day)));
        }
        entries.sort_by_key(|(day, place, _)| (*day, *place));
        let mut table = Table::new(self.measures.len(), asked.len());
        let mut ratio = SampleRatio::new(&asked.iter().map(|(_, share, _)| *share).collect::<Vec<f64>>());
        let mut sums: Vec<Option<Terms>> = vec![None; units.len()];
        let mut snapshots: Vec<Snapshot> = Vec::new();
        let mut total = vec![0; asked.len()];
        for entries in entries.chunk_by(|one, other| one.0 == other.0) {
            let mut new = vec![0; asked.len()];
            for (_, place, day) in entries {
                let (arm, unit) = units[*place];
                let before = sums[*place].clone();
                let now = sums[*place].get_or_insert_with(|| vec![(0.0, 0.0); self.measures.len()].into());
                add(now, &day.terms);
                new[arm] += u64::from(before.is_none());
                for (measure, moments) in table.0.iter_mut().enumerate() {
                    if let Some(before) = &before {
                        moments[arm].remove(&observation(unit, before, measure));
                    }
                    moments[arm].add(&observation(unit, now, measure));
                }
            }
            ratio.add(&new);
            total.iter_mut().zip(new).for_each(|(total, new)| *total += new);
            let differences = self.differences(asked, &table, self.has_past);
            snapshots.push(Snapshot { day: entries[0].0, units: total.clone(), differences });
        }
        (snapshots, table, ratio)
    }

    fn by_scenario(&self, asked: &[Asked<'_>]) -> Vec<Scenario> {
        let mut tables: Vec<Table> =
            self.scenarios.iter().map(|_| Table::new(self.measures.len(), asked.len())).collect();
        for (arm, unit) in self.counted(asked) {
            let mut sums: IndexMap<usize, Terms> = IndexMap::new();
            for day in &unit.days {
                let Some(scenario) = day.scenario else { continue };
                sums.entry(scenario).and_modify(|sum| add(sum, &day.terms)).or_insert_with(|| day.terms.clone());
            }
            for (scenario, sum) in sums {
                for (measure, moments) in tables[scenario].0.iter_mut().enumerate() {
                    moments[arm].add(&[sum[measure].0, sum[measure].1, 0.0, 0.0]);
                }
            }
        }
        let mut scenarios = Vec::new();
        for (name, table) in self.scenarios.iter().zip(&tables) {
            let differences = self.differences(asked, table, false).into_iter();
            scenarios.extend(differences.map(|difference| Scenario {
                scenario: name.to_string(),
                difference,
                corrected_p: None,
            }));
        }
        self.correct(&mut scenarios, asked.len() - 1);
        scenarios
    }

    /// Corrects the p-values of one measure and candidate over all scenarios.
    fn correct(&self, scenarios: &mut [Scenario], candidates: usize) {
        let each = self.measures.len() * candidates;
        for kind in 0..each {
            let places: Vec<usize> = (kind..scenarios.len()).step_by(each).collect();
            let known = |place: &usize| Some((*place, scenarios[*place].difference.plain?.sequential_p));
            let (places, p): (Vec<usize>, Vec<f64>) = places.iter().filter_map(known).unzip();
            let corrected = match self.settings.correction {
                Correction::Holm => holm(&p),
                Correction::BenjaminiHochberg => benjamini_hochberg(&p),
                Correction::None => p,
            };
            places.into_iter().zip(corrected).for_each(|(place, p)| scenarios[place].corrected_p = Some(p));
        }
    }
}

impl StudyReport {
    /// What of it a ramp asks for; `ecpm` is the measure that is eCPM.
    pub fn evidence(&self, ecpm: &str) -> Evidence {
        let of_arm = |arm: &ArmFigures| {
            let lift = self.differences.iter().find(|found| found.arm == arm.name && found.measure == ecpm);
            ArmEvidence {
                units: arm.units,
                calibration: arm.calibration.clone(),
                ecpm_lift: lift.and_then(Difference::best).map(|lift| lift.sequence),
                ..ArmEvidence::default()
            }
        };
        let (arms, sample_ratio) = (self.arms.iter().map(of_arm).collect(), Some(self.sequential_sample_ratio));
        Evidence { arms, sample_ratio, ..Evidence::default() }
    }
}

fn add(sums: &mut [(f64, f64)], terms: &[(f64, f64)]) {
    for ((numerator, denominator), term) in sums.iter_mut().zip(terms) {
        *numerator += term.0;
        *denominator += term.1;
    }
}

fn observation(unit: &Unit, sums: &[(f64, f64)], measure: usize) -> Observation {
    let (numerator, denominator) = sums[measure];
    let (numerator_before, denominator_before) = unit.before.get(measure).copied().unwrap_or_default();
    [numerator, denominator, numerator_before, denominator_before]
}

#[cfg(test)]
mod tests;
