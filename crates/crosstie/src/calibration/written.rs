//! The maps as they stand in an artifact.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Calibration, Validation, subject};
use crate::objective::{Condition, Map, Objective};
use crate::spelling;

/// `calibration.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    tasks: IndexMap<String, WrittenTask>,
}

/// One task: a map for each thing that it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTask {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given_parent: Option<WrittenMap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    without_parent: Option<WrittenMap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_impression: Option<WrittenMap>,
    /// PCOC on the validation files, through the maps.
    validation: Validation,
}

/// One map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMap {
    slope: f64,
    intercept: f64,
    /// Scenarios that have another one.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    scenarios: IndexMap<String, Map>,
}

impl WrittenTask {
    fn slot(&mut self, condition: Condition) -> Option<&mut Option<WrittenMap>> {
        match condition {
            Condition::GivenParent => Some(&mut self.given_parent),
            Condition::WithoutParent => Some(&mut self.without_parent),
            Condition::FromImpression => Some(&mut self.from_impression),
            Condition::WithAction | Condition::WithoutAction => None,
        }
    }
}

impl Calibration {
    /// As it stands in an artifact. `scenarios` are the layout's names.
    pub fn written(&self, objective: &Objective, scenarios: &[String]) -> Written {
        let mut tasks: IndexMap<String, WrittenTask> = self
            .validation
            .iter()
            .map(|(name, validation)| {
                let validation = *validation;
                let task = WrittenTask { given_parent: None, without_parent: None, from_impression: None, validation };
                (name.clone(), task)
            })
            .collect();
        for (task, condition) in objective.mapped() {
            let Some(common) = self.common[task].get(condition) else { continue };
            let own = scenarios.iter().zip(&self.maps).filter_map(|(name, maps)| {
                let map = maps[task].get(condition)?;
                (map != common).then(|| (name.clone(), map))
            });
            let Map { slope, intercept } = common;
            let written = WrittenMap { slope, intercept, scenarios: own.collect() };
            if let Some(slot) = tasks.get_mut(&objective.names()[task]).and_then(|task| task.slot(condition)) {
                *slot = Some(written);
            }
        }
        Written { tasks }
    }

    /// Reads what [`Calibration::written`] wrote for the same objective and scenarios.
    ///
    /// # Errors
    /// One sentence naming the task and what is wrong with it.
    pub fn read(mut written: Written, objective: &Objective, scenarios: &[String]) -> Result<Calibration, String> {
        let mut calibration = Calibration::identity(objective, scenarios.len());
        let names = || objective.names().iter().map(String::as_str);
        if let Some(strange) = written.tasks.keys().find(|name| !objective.names().contains(name)) {
            return Err(format!("there is no task `{strange}`{}", spelling::hint(strange, names())));
        }
        for (task, condition) in objective.mapped() {
            let about = subject(objective, task, condition);
            let found = written.tasks.get_mut(&objective.names()[task]).and_then(|task| task.slot(condition));
            let Some(WrittenMap { slope, intercept, scenarios: own }) = found.and_then(Option::take) else {
                return Err(format!("{about} has no map"));
            };
            let common = Map { slope, intercept };
            if let Some(wrong) = own.values().chain([&common]).find(|map| !map.is_sound()) {
                let Map { slope, intercept } = wrong;
                return Err(format!(
                    "{about}: slope {slope} and intercept {intercept}, where both must be finite and the slope above 0"
                ));
            }
            if let Some(strange) = own.keys().find(|name| !scenarios.contains(name)) {
                return Err(format!("{about}: there is no scenario `{strange}`"));
            }
            calibration.set(task, condition, common, scenarios.iter().map(|name| own.get(name).copied()).collect());
        }
        for (name, mut task) in written.tasks {
            let all = [Condition::GivenParent, Condition::WithoutParent, Condition::FromImpression];
            if all.into_iter().any(|condition| task.slot(condition).is_some_and(|slot| slot.is_some())) {
                return Err(format!("task `{name}` has a map of something that the model does not tell"));
            }
            calibration.validation.insert(name, task.validation);
        }
        Ok(calibration)
    }
}
