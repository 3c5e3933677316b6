//! `crosstie init`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use crosstie::data::survey::{Survey, survey};
use crosstie::data::{FILES, Source};
use crosstie::durable;
use crosstie::proposal::{Asked, Proposal, Told, deal, propose};
use crosstie::schema::{Field, FieldKind, Side};

use crate::aside::Aside;
use crate::session::Session;
use crate::{files, output, table};

/// Propose a schema and a config for a log of your own, and cut it into three files
///
/// Reads the log once, says what it takes the columns for and why, and what it is
/// unsure of, and writes schema.toml, config.toml, train.parquet, valid.parquet and
/// test.parquet. These train as they are; look the schema through first.
///
/// The rows are cut by time where the log has one: the last tenth is the test, the
/// tenth before validates. Else by group, such as the user, or at random.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie init log.csv\n  \
                        crosstie init 'logs/day-*.parquet' --task click --task 'buy after click' --out ads")]
pub struct Init {
    /// The log: CSV, TSV (also .gz and .zst), Parquet or Arrow IPC files, or globs
    #[arg(value_name = "LOG", required = true)]
    pub logs: Vec<PathBuf>,
    /// An action to predict: a column of 0 and 1, as in `click` or `buy after click`
    /// [default: the columns that look like actions]
    #[arg(long = "task", value_name = "TASK")]
    pub tasks: Vec<Asked>,
    /// Directory for the files, made if need be; must not hold them yet [default: the
    /// name of the log without its extension]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Decides the cuts that are random
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

impl Init {
    pub fn execute(&self, session: &Session) -> Result<()> {
        let advice = |_: &Path| "`crosstie init --out` names another directory".to_string();
        let config = self.propose(session, advice)?.write(session)?;
        let name = config.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        output::print(format!("\nTrain it: crosstie train {} --out runs/{name}", config.display()))
    }

    /// Reads the log, and writes nothing. `advice` tells what to do where the directory
    /// holds such files already.
    pub fn propose(&self, session: &Session, advice: impl Fn(&Path) -> String) -> Result<Proposed> {
        let source = Source::open(&self.logs.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>())?;
        let out = self.out.clone().unwrap_or_else(|| directory_of(&source));
        files::refuse_to_replace(&out, &["config.toml"], &advice(&out))?;
        let bar = session.spinner("reading the log");
        let survey = survey(&source)?;
        bar.finish_and_clear();
        let of_log = |error: crosstie::Error| error.within(Path::new(&source.called("the log")));
        let proposal = propose(&survey, &self.tasks).map_err(of_log)?;
        let (schema, config) = (proposal.schema()?, proposal.config(&out.to_string_lossy()));
        Ok(Proposed { source, survey, proposal, out, schema, config, seed: self.seed })
    }
}

/// What a log seems to be, and the files to write.
pub struct Proposed {
    source: Source,
    survey: Survey,
    proposal: Proposal,
    /// Where the files will be.
    pub out: PathBuf,
    /// The text of schema.toml.
    pub schema: String,
    /// The text of config.toml.
    pub config: String,
    seed: u64,
}

impl Proposed {
    /// Writes the files and tells what was decided; gives the config's path.
    pub fn write(&self, session: &Session) -> Result<PathBuf> {
        let Proposed { source, survey, proposal, out, schema, config: text, seed } = self;
        let bar = session.spinner("writing the three files");
        let aside = Aside::of(out)?;
        let dealt = deal(source, &proposal.cut.what, aside.path(), *seed).and_then(|rows| {
            durable::write_file(&aside.path().join("schema.toml"), schema)?;
            durable::write_file(&aside.path().join("config.toml"), text)?;
            Ok(rows)
        });
        let cannot = || format!("{} cannot be cut into three files", source.called("the log"));
        let rows = dealt.map_err(|error| aside.named(error)).with_context(cannot)?;
        aside.publish(out)?;
        let config = out.join("config.toml");
        bar.finish_and_clear();
        output::print(story(source, survey, proposal, rows))?;
        tracing::info!("written to {}: config.toml, schema.toml, {}", out.display(), FILES.join(", "));
        Ok(config)
    }
}

/// The log's name without what tells its format.
fn directory_of(source: &Source) -> PathBuf {
    let called = source.called("log");
    let stem = called.split('.').find(|part| !part.is_empty()).unwrap_or("log");
    PathBuf::from(stem)
}

/// What was decided, in one screen.
fn story(source: &Source, survey: &Survey, proposal: &Proposal, rows: [u64; 3]) -> String {
    let mut lines = vec![format!(
        "{}: {}, {}\n",
        source.called("the log"),
        table::several(survey.rows, "row", "rows"),
        table::several(survey.columns.len() as u64, "column", "columns")
    )];
    let mut say = |what: &str, text: String| {
        let text = table::wrapped(&text, LONGEST + 4);
        lines.push(format!("  {what:<LONGEST$}  {}", text.trim_start()));
    };
    for task in &proposal.tasks {
        let name = match &task.what.after {
            Some(after) => format!("{} after {after}", task.what.name),
            None => task.what.name.clone(),
        };
        say("task", format!("{name}: {}", task.why));
    }
    let [_, to_stop, to_judge] = rows;
    let [train, valid, test] = rows.map(table::count);
    let cut = proposal.cut.in_three();
    say("cut", format!("{cut}; {train} rows to learn from, {valid} to stop by, {test} to judge by"));
    for (what, told) in [("group", &proposal.group), ("scenario", &proposal.scenario)] {
        if let Some(told) = told {
            say(what, format!("{}: {}", told.what, told.why));
        }
    }
    for (kind, side) in KINDS.into_iter().flat_map(|kind| SIDES.map(|side| (kind, side))) {
        let is = |field: &&Told<Field>| kind_of(&field.what) == kind && field.what.side == side.0;
        let names: Vec<&str> = proposal.fields.iter().filter(is).map(|field| field.what.name.as_str()).collect();
        if !names.is_empty() {
            say(kind, format!("of the {}: {}", side.1, few(&names)));
        }
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for left in &proposal.left_out {
        match reasons.iter_mut().find(|(why, _)| *why == left.why) {
            Some((_, names)) => names.push(&left.what),
            None => reasons.push((&left.why, vec![&left.what])),
        }
    }
    for (why, names) in reasons {
        say("left out", format!("{}: {why}", few(&names)));
    }
    for unsure in &proposal.unsure {
        say("unsure", unsure.clone());
    }
    for (what, rows) in [("stop", to_stop), ("judge", to_judge)].into_iter().filter(|(_, rows)| *rows < FEW_ROWS) {
        say("unsure", format!("{} to {what} by: figures of so few are chance", table::several(rows, "row", "rows")));
    }
    lines.join("\n")
}

const LONGEST: usize = "categorical".len();
const KINDS: [&str; 3] = ["categorical", "numeric", "multi"];
const SIDES: [(Side, &str); 3] = [(Side::User, "user"), (Side::Item, "item"), (Side::Context, "context")];
/// Fewer rows tell next to nothing of an action, be it frequent.
const FEW_ROWS: u64 = 100;
/// Names told one by one.
const MOST_NAMES: usize = 24;

fn kind_of(field: &Field) -> &'static str {
    match field.kind {
        FieldKind::Categorical(_) => KINDS[0],
        FieldKind::Numeric(_) | FieldKind::Rate(_) => KINDS[1],
        FieldKind::Multi(_) => KINDS[2],
    }
}

fn few(names: &[&str]) -> String {
    let names: Vec<&str> = names.iter().map(|name| if name.is_empty() { "(no name)" } else { name }).collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..MOST_NAMES].join(", ")),
    }
}
