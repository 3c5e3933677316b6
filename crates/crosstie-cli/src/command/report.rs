//! `crosstie report`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use crosstie::artifact;
use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::durable::write_file;
use crosstie::metric::Report as Figures;
use crosstie::model::Diagnosis;
use crosstie::report::{Findings, Settings, gather};
use serde::de::DeserializeOwned;

use crate::files::{self, Outputs};
use crate::run::Run;
use crate::session::Session;
use crate::{findings, message, output, run, table};

/// Make a page of a run: what was learned, how good it is, and by what
///
/// The page is one file, without scripts, that fetches nothing; it opens from a mail, in
/// light and dark, and prints. `train` and `demo` end with one (train.report = false leaves
/// it out). This makes it anew, from more rows of the run's test files, or of its validation
/// files if there are none: curves of at most 400,000 rows drawn by lot, the importance of
/// fields by 20,000, where `train` takes 100,000 and 800.
///
/// Where the files are gone, the page is drawn from what the run has kept of them
/// (report.json, else metrics.json), and says what is missing.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie report runs/demo/mmoe\n  \
                        crosstie report runs/demo/ektm --out ektm.html")]
pub struct Report {
    /// A run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Write the page into this file [default: report.html in the run, and its numbers
    /// in report.json]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl Report {
    pub fn execute(&self, session: &Session) -> Result<()> {
        let Some(path) = run::config(&self.run) else {
            bail!("{} is no run: there is no config.toml in it", self.run.display());
        };
        let directory = path.parent().unwrap_or(&self.run);
        // The page's own place may be named, too.
        let own = Run::look_at(directory).report();
        let out = self.out.as_ref().filter(|out| !files::same(out, &own));
        Outputs::of(out)?.spare_run(&self.run)?;
        let run = match out {
            Some(_) => Run::look_at(directory),
            None => Run::reopen(directory)?,
        };
        let config = Config::read(&path, &[])?;
        let scorer = artifact::load(&run::artifact(run.path())?)?;
        // What this command writes itself it does not need.
        let before = read::<Findings>(&run.findings()).unwrap_or_else(|error| {
            tracing::warn!("{}; the report is made anew without it", message::chain(&error));
            None
        });
        let kept = before.as_ref().and_then(|before| Some(before.history.as_ref()?.kept.clone()));
        let (files, on) = match &config.data.test[..] {
            [] => (&config.data.valid[..], "validation"),
            test => (test, "test"),
        };
        let gathered = Source::open(files).and_then(|source| {
            let bar = session.spinner(format!("reading the {on} files"));
            let gathered = gather(&scorer, &source, &source.called(&format!("the {on} files")), Settings::THOROUGH);
            bar.finish_and_clear();
            gathered
        });
        let report = match (gathered, before) {
            (Ok(gathered), _) => findings::gathered(&run, &scorer, &config, gathered, on, kept)?,
            (Err(error), Some(before)) => {
                tracing::warn!("{error}: the page is drawn from {}", run.findings().display());
                let note =
                    "These files could not be read again; what is shown was found when the report was made last.";
                Findings { missing: vec![note.into()], ..before }
            }
            (Err(error), None) => {
                let figures = read::<Figures>(&run.metrics())?
                    .with_context(|| format!("{error}; and there is no {}", run.metrics().display()))?;
                tracing::warn!("{error}: the page shows what {} tells", run.metrics().display());
                let diagnosis = read::<Diagnosis>(&run.diagnostics())?.unwrap_or_default();
                let mut report = findings::of_run(&run, &scorer, &config, (figures, &diagnosis), on, kept)?;
                report.missing.push(format!(
                    "The {on} files could not be read ({error}). Missing are reliability, gain and lift, how predictions \
                     are spread, the importance of fields and drift."
                ));
                report
            }
        };
        let place = match out {
            Some(out) => {
                write_file(out, report.page())?;
                out.clone()
            }
            None => {
                findings::write(&report, &run)?;
                run.report()
            }
        };
        output::print(table::sentence(&[format!("{}:", place.display()), format!("the report of {}", report.name)]))
    }
}

/// What a JSON file of a run holds; `None` where there is none.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?))
}
