//! The end of a training: what the kept network says becomes probabilities.

use super::event::{Event, Observer};
use super::job::Job;
use crate::calibration::Calibration;
use crate::error::Result;
use crate::metric::Report;
use crate::scorer::Scorer;

/// Calibrates a scorer by the validation rows, if that is wanted; `report` is of the
/// network as it is. One more pass over the rows, which the observer cannot cut short:
/// a training that is stopped leaves a model like any other.
pub(super) fn calibrate(
    job: &Job<'_>,
    scorer: Scorer,
    report: Report,
    observer: &mut Observer<'_>,
) -> Result<(Scorer, Report)> {
    if !job.config.calibration.enabled {
        return Ok((scorer, report));
    }
    let evidence = job.valid.evidence(scorer.learned().passes())?;
    let scenarios = job.features.layout().scenarios.len();
    let (calibration, warnings) = Calibration::fit(&scorer.network().objective, scenarios, &evidence);
    observer(&Event::Calibrated { scenarios: calibration.own_maps(), warnings });
    let scorer = scorer.with_calibration(calibration.clone());
    let report = scorer.report(evidence.into_iter().map(Ok))?;
    let calibration = calibration.validated(&report);
    Ok((scorer.with_calibration(calibration), report))
}
