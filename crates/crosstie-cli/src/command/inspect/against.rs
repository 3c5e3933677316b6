//! How data files differ from the rows that a model was trained on.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use crosstie::artifact::load;
use crosstie::data::Source;
use crosstie::feature::{Drift, Kind, Shift};

use crate::session::Session;
use crate::{output, run, table};

/// Most characters of a name and of what is compared, so that lines fit a terminal.
const NAME: usize = 20;
const WHAT: usize = 16;

/// Lines of the table, unless more differ by more than chance or all are wanted.
const LINES: usize = 40;

pub fn inspect(session: &Session, paths: &[PathBuf], against: &Path, all: bool) -> Result<()> {
    let directory = run::artifact(against)?;
    let scorer = load(&directory)?;
    let source = Source::open(&paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>())?;
    let bar = session.spinner("comparing");
    let drift = scorer.features().compare(&source)?;
    bar.finish_and_clear();
    let Some(drift) = drift else {
        bail!(
            "{} does not say what its training rows were like: it was written by an older crosstie; train it anew",
            directory.display()
        );
    };
    let files = source.called("these files");
    output::print(format!("{} of {files}, beside the training rows of", table::several(drift.rows, "row", "rows")))?;
    output::print(format!("{}\n", directory.display()))?;
    output::print(text(&drift, all))
}

fn text(drift: &Drift, all: bool) -> String {
    if drift.shifts.is_empty() {
        return "These rows are too few to be compared: chance would explain any difference.".into();
    }
    let header = ["", "of", "what", ">training", ">here", ">by chance"];
    // What matters comes first.
    let told = drift.shifts.iter().filter(|shift| shift.told).count();
    let shown = if all { drift.shifts.len() } else { LINES.max(told) };
    let mut parts = vec![table::table(&header, drift.shifts.iter().take(shown).map(line))];
    if let more @ 1.. = drift.shifts.len().saturating_sub(shown) {
        let more = table::several(more as u64, "line is", "lines are");
        parts.push(format!("{more} left out, none of which matters: --all shows them."));
    }
    parts.push(
        "!: matters, and is more than chance explains; what matters most comes first.\n\
         unknown: of the values; missing: of the rows; beyond: of the numbers, below or\n\
         above all of training. mean, rate, count: in standard deviations from the mean\n\
         of training, of rates and counts as the model sees them. positive: of the rows\n\
         with a label. by chance: so much may be chance."
            .into(),
    );
    if !drift.shifts.iter().any(|shift| shift.quantity.kind == Kind::FromImpression) {
        let why = match drift.labelled {
            true => "Too few rows have labels",
            false => "These files hold no labels, or not of all tasks",
        };
        parts.push(format!("{why}: how often actions happen is not compared."));
    }
    if !drift.unlabelled.is_empty() {
        parts.push(format!("No row has a label that counts for: {}.", drift.unlabelled.join(", ")));
    }
    parts.join("\n\n")
}

fn line(shift: &Shift) -> Vec<String> {
    let value = |x: f64| if shift.quantity.kind.is_share() { table::percent(Some(x)) } else { table::decimals(x, 2) };
    vec![
        if shift.told { "!".into() } else { String::new() },
        shorten(&shift.quantity.name, NAME),
        shorten(&shift.quantity.what(), WHAT),
        value(shift.training),
        value(shift.found),
        format!("± {}", value(shift.chance)),
    ]
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most - 1) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
        _ => text.into(),
    }
}
