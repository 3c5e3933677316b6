//! What logs say of an experiment, summed by unit.

use crosstie::Result;
use crosstie::experiment::{Contract, ECPM, Settings, Shown, State, Study, StudyReport};

use crate::log::join::Joined;
use crate::log::{Exposure, Features, Time};

/// What is asked of logs.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The experiment.
    pub contract: &'a Contract,
    /// When it began, in seconds since the beginning of 1970: what was shown before does not
    /// count.
    pub began: u64,
    /// How long after an exposure an action counts, in microseconds.
    pub window: i64,
    /// Tasks whose rate and calibration are told, in this order.
    pub tasks: &'a [String],
    /// Whether the tasks' rates are measures, too.
    pub rates: bool,
    /// The action whose values are what is earned. If absent, the only one that has values; where
    /// several have, nobody knows what is earned, and it counts as nothing.
    pub earned: Option<&'a str>,
    /// How sure the study is to be.
    pub settings: Settings,
}

impl<'a> Question<'a> {
    /// What a ramp asks: eCPM, and calibration of the tasks that its guard rails name.
    pub fn of_ramp(contract: &'a Contract, state: &State, tasks: &'a [String], window: i64) -> Question<'a> {
        let settings = Settings::default();
        Question {
            contract,
            began: state.began,
            window,
            tasks,
            rates: false,
            earned: contract.value.as_deref(),
            settings,
        }
    }

    fn measures(&self) -> Vec<String> {
        let rates = self.tasks.iter().filter(|_| self.rates).map(|task| format!("{task} rate"));
        rates.chain([ECPM.to_string()]).collect()
    }

    /// Sums what the logs say. An action counts if it was done within the window, and a
    /// candidate once the window has passed; units count at once.
    ///
    /// What units were shown `before` the experiment, from that time on until it began, is
    /// taken for what is known of their past.
    ///
    /// # Errors
    /// Those of [`Joined::each`].
    pub fn ask(&self, joined: &Joined, before: Option<Time>) -> Result<Study> {
        let mut study = Study::new(&self.measures(), self.tasks, self.settings);
        let began = Time(i64::try_from(self.began).unwrap_or(i64::MAX).saturating_mul(1_000_000));
        let valued: Vec<&str> = joined.valued().collect();
        let earned = self.earned.or((valued.len() == 1).then(|| valued[0]));
        let passed = joined.newest().map_or(Time(i64::MIN), |newest| newest.after(-self.window));
        joined.each(|exposure, outcomes| {
            let (known, past) = (exposure.time <= passed, exposure.time < began);
            if past && before.is_none_or(|before| exposure.time < before) {
                return Ok(());
            }
            let own = || self.unit_of(&exposure).filter(|_| past);
            // Logs of before may tell of units without a name.
            let named = exposure.unit.clone().filter(|unit| !unit.is_empty());
            let Some(unit) = named.or_else(own) else { return Ok(()) };
            let day = exposure.time.0.div_euclid(86_400_000_000);
            let arm = exposure.arm.as_ref().filter(|_| exposure.experiment.as_ref() == Some(&self.contract.name));
            let end = exposure.time.after(self.window);
            for (place, candidate) in exposure.candidates.iter().enumerate() {
                let within = || outcomes.iter().filter(|of| of.candidate == place && of.time <= end);
                let happened = |task: &str| within().any(|of| joined.actions()[of.action] == task);
                let earns = |action: usize| earned == Some(joined.actions()[action].as_str());
                let value: f64 = within().filter(|of| earns(of.action)).filter_map(|of| of.value).sum();
                let of_task = |task: &String| (f64::from(u8::from(happened(task))), 1.0);
                let rates = self.tasks.iter().filter(|_| self.rates).map(of_task);
                let terms: Vec<(f64, f64)> = match known {
                    true => rates.chain([(1000.0 * value, 1.0)]).collect(),
                    false => vec![(0.0, 0.0); self.measures().len()],
                };
                if past {
                    study.add_before(&unit, &terms);
                    continue;
                }
                let Some(arm) = arm else { continue };
                let predicted = self.tasks.iter().map(|task| {
                    let of = exposure.tasks.iter().position(|name| name == task).filter(|_| known)?;
                    let probability = candidate.from_impression.get(of).copied().flatten()?;
                    Some((probability, happened(task)))
                });
                let predicted: Vec<Option<(f64, bool)>> = predicted.collect();
                study.add(&Shown { unit: &unit, arm, day, scenario: None, terms: &terms, predicted: &predicted });
            }
            Ok(())
        })?;
        Ok(study)
    }

    /// The experiment's unit, of a request that was no part of it.
    fn unit_of(&self, exposure: &Exposure) -> Option<String> {
        let of = |features: &Features| features.text(&self.contract.unit);
        exposure.user.as_ref().and_then(of).or_else(|| exposure.context.as_ref().and_then(of))
    }

    /// The report on the experiment's arms.
    pub fn report(&self, study: &Study) -> StudyReport {
        let arms = self.contract.arms.iter().zip(self.contract.shares());
        study.report(&arms.map(|(arm, share)| (arm.name.clone(), share)).collect::<Vec<_>>())
    }
}
