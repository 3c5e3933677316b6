//! What the log says of an experiment.

use std::path::Path;
use std::time::Duration;

use crosstie::Result;
use crosstie::experiment::{Contract, Evidence, Settings, Shown, Study};

use crate::log::join::Joined;
use crate::log::{Exposure, Time};

/// What the study calls what was earned for a thousand candidates shown.
const ECPM: &str = "eCPM";

/// Units, calibration and eCPM of an experiment's arms, from the whole log. An action counts
/// if it was done within the window, and a candidate once the window has passed; units count
/// at once. Without a log nothing is known.
///
/// # Errors
/// Those of [`Joined::read`] and [`Joined::each`].
pub fn read(contract: &Contract, log: Option<&Path>, window: Duration) -> Result<Evidence> {
    let Some(log) = log else { return Ok(Evidence::default()) };
    let joined = Joined::read(&[log.to_path_buf()])?;
    let tasks: Vec<String> = contract.guard.calibration.keys().cloned().collect();
    let mut study = Study::new(&[ECPM.into()], &tasks, Settings::default());
    let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
    let passed = joined.newest().map_or(Time(i64::MIN), |newest| newest.after(-window));
    joined.each(|exposure, outcomes| {
        let Exposure { unit: Some(unit), arm: Some(arm), .. } = &exposure else { return Ok(()) };
        if exposure.experiment.as_ref() != Some(&contract.name) {
            return Ok(());
        }
        let known = exposure.time <= passed;
        let day = exposure.time.0.div_euclid(86_400_000_000);
        for (place, candidate) in exposure.candidates.iter().enumerate() {
            let within = || {
                let in_time = exposure.time.after(window);
                outcomes.iter().filter(move |outcome| outcome.candidate == place && outcome.time <= in_time)
            };
            let value: f64 = within().filter_map(|outcome| outcome.value).sum();
            let terms = if known { [(1000.0 * value, 1.0)] } else { [(0.0, 0.0)] };
            let predicted = tasks.iter().map(|task| {
                let of = exposure.tasks.iter().position(|name| name == task).filter(|_| known)?;
                let probability = candidate.from_impression.get(of).copied().flatten()?;
                Some((probability, within().any(|outcome| joined.actions()[outcome.action] == *task)))
            });
            let predicted: Vec<Option<(f64, bool)>> = predicted.collect();
            study.add(&Shown { unit, arm, day, scenario: None, terms: &terms, predicted: &predicted });
        }
        Ok(())
    })?;
    let arms: Vec<(String, f64)> =
        contract.arms.iter().zip(contract.shares()).map(|(arm, share)| (arm.name.clone(), share)).collect();
    Ok(study.report(&arms).evidence(ECPM))
}
