//! The report of a run: its numbers, and its page.

use std::fs;
use std::path::Path;

use anyhow::Result;
use crosstie::config::Config;
use crosstie::durable::write_file;
use crosstie::metric::Report;
use crosstie::model::Diagnosis;
use crosstie::report::{Findings, Gathered, History};
use crosstie::scorer::Scorer;

use crate::calibration;
use crate::run::{Run, write_json};

/// What the files of a run tell beside figures of the rows that are called `on`. `kept` are
/// the steps whose weights are kept, where they are known.
pub fn of_run(
    run: &Run,
    scorer: &Scorer,
    config: &Config,
    (figures, diagnosis): (Report, &Diagnosis),
    on: &str,
    kept: Option<Vec<u64>>,
) -> Result<Findings> {
    let mut warnings = calibration::warnings(&figures, scorer, &format!("the {on} files"));
    warnings.extend(scorer.features().warnings().iter().cloned());
    let mut findings = Findings::new(&name(run.path()), scorer, config, figures, diagnosis, &format!("{on} files"));
    findings.facts = run.environment()?.facts();
    findings.warnings = warnings;
    let path = run.history();
    match fs::read_to_string(&path) {
        Ok(lines) => {
            let (history, unreadable) = History::read(&lines);
            findings.history = history;
            for line in unreadable {
                tracing::warn!("{}, {line}; it is left out of the report", path.display());
                findings.missing.push(format!("Learning curves: {}, {line}.", path.display()));
            }
        }
        Err(error) => findings.missing.push(format!("Learning curves: cannot read {}: {error}.", path.display())),
    }
    let tasks = findings.tasks.len();
    if let (Some(history), Some(kept)) = (&mut findings.history, kept.filter(|kept| kept.len() == tasks)) {
        history.kept = kept;
    }
    Ok(findings)
}

/// The same, with what was gathered of the rows.
pub fn gathered(
    run: &Run,
    scorer: &Scorer,
    config: &Config,
    Gathered { report, diagnosis, seen, .. }: Gathered,
    on: &str,
    kept: Option<Vec<u64>>,
) -> Result<Findings> {
    let findings = of_run(run, scorer, config, (report, &diagnosis), on, kept)?;
    Ok(Findings { seen: Some(seen), ..findings })
}

/// Writes the page and its numbers into a run.
pub fn write(findings: &Findings, run: &Run) -> Result<()> {
    write_json(&run.findings(), findings)?;
    Ok(write_file(&run.report(), findings.page())?)
}

/// A run is called as its directory is.
fn name(directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
    directory.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned())
}
