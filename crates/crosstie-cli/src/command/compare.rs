//! `crosstie compare`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use crosstie::artifact;
use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::metric::Meaning;
use crosstie::standing::{self, Contrast, Contrasts, ENOUGH, Standing};
use indexmap::IndexMap;
use serde::Serialize;

use crate::files::{self, Outputs};
use crate::session::Session;
use crate::{output, run, table};

/// Compare trained models on the same rows: by how much they differ, and how sure that is
///
/// All are held against the first. A difference has a standard error for what other rows of
/// the same kind would have shown: the rows being the same for both models, it is much smaller
/// than the errors of the figures themselves. Rows of one group (the schema's `group`), such as
/// those of a user, count as one observation.
///
/// Runs of one config with several seeds are one model: its figures are means, and their errors
/// hold what another seed would have made of it, too. Where the models were not trained alike
/// beside `[model]`, that is told.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie compare runs/demo/single-task runs/demo/mmoe runs/demo/ektm\n  \
                        crosstie compare --valid runs/mmoe-1 runs/mmoe-2 runs/ektm-1 runs/ektm-2\n  \
                        crosstie compare runs/now/artifact runs/next --data today/*.parquet --json next.json")]
pub struct Compare {
    /// Runs or artifacts, the one first that the others are held against
    #[arg(value_name = "RUN_OR_ARTIFACT", required = true, num_args = 2..)]
    pub paths: Vec<PathBuf>,
    /// Labelled files or globs [default: the test files of the runs' configs]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub data: Vec<String>,
    /// Compare on the validation files, as long as there is still something to choose: the
    /// test files are for what was chosen
    #[arg(long, conflicts_with = "data")]
    pub valid: bool,
    /// Compare the probabilities given the parent action, on the rows where it happened
    /// [default: from the impression, on all rows]
    #[arg(long)]
    pub given_parent: bool,
    /// Write the figures into this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A run or an artifact that was named.
struct Named<'a> {
    path: &'a Path,
    /// Absent for an artifact of no run.
    config: Option<Config>,
}

/// What the JSON file holds.
#[derive(Serialize)]
struct Comparison {
    files: Vec<String>,
    meaning: Meaning,
    /// The first is the one that the others are held against.
    models: Vec<Model>,
}

/// A model, trained once or several times.
#[derive(Serialize)]
struct Model {
    name: String,
    runs: Vec<PathBuf>,
    tasks: IndexMap<String, Contrasts>,
}

/// Settings that no result depends on, and the seed.
const OF_NO_MATTER: [&str; 6] =
    ["train.seed", "train.threads", "train.cache_mib", "train.checkpoint_every", "train.tensorboard", "train.report"];

/// Share of comparisons of models that are alike in which any difference is called one.
const LEVEL: f64 = 0.05;

impl Compare {
    pub fn execute(&self, session: &Session) -> Result<()> {
        let outputs = Outputs::of(&self.json)?;
        for (place, path) in self.paths.iter().enumerate() {
            outputs.spare_run(path)?;
            if self.paths[..place].iter().any(|other| files::same(other, path)) {
                bail!("{} is named twice", path.display());
            }
        }
        let named = self.paths.iter().map(|path| Named::open(path)).collect::<Result<Vec<_>>>()?;
        let files = self.files(&named)?;
        let source = Source::open(&files)?;
        outputs.spare_files(&source)?;
        let groups = grouped(&named);
        let names = names(&groups);
        let comparison = self.compared(session, &source, &files, groups.iter().zip(names))?;
        if let Some(json) = &self.json {
            run::write_json(json, &comparison)?;
        }
        output::print(comparison.told())?;
        let alike = groups.iter().zip(&comparison.models).skip(1);
        for (group, model) in alike {
            if let Some(otherwise) = otherwise(group[0], groups[0][0]) {
                let first = &comparison.models[0].name;
                tracing::warn!("{} was not trained as {first} was, beside [model]: {otherwise}", model.name);
            }
        }
        Ok(())
    }

    /// The files that all are compared on.
    fn files(&self, named: &[Named<'_>]) -> Result<Vec<String>> {
        if !self.data.is_empty() {
            return Ok(self.data.clone());
        }
        let (kind, key) = if self.valid { ("validation", "valid") } else { ("test", "test") };
        let of = |named: &Named<'_>| {
            let path = named.path.display();
            let config =
                named.config.as_ref().with_context(|| format!("{path} is of no run: name the files by --data"))?;
            let files = if self.valid { &config.data.valid } else { &config.data.test };
            if files.is_empty() {
                let or = if self.valid { "" } else { ", or give --valid" };
                bail!("the config of {path} names no {kind} files (data.{key}): name files by --data{or}");
            }
            Ok(files.clone())
        };
        let first = of(&named[0])?;
        for other in &named[1..] {
            if of(other)? != first {
                let (one, other) = (named[0].path.display(), other.path.display());
                bail!("{one} and {other} have other {kind} files (data.{key}): name those to compare on by --data");
            }
        }
        Ok(first)
    }

    fn compared<'a>(
        &self,
        session: &Session,
        source: &Source,
        files: &[String],
        groups: impl Iterator<Item = (&'a Vec<&'a Named<'a>>, String)>,
    ) -> Result<Comparison> {
        let meaning = if self.given_parent { Meaning::GivenParent } else { Meaning::FromImpression };
        let mut first: Option<(&Path, Standing)> = None;
        let mut models = Vec::new();
        for (group, name) in groups {
            let mut standing: Option<Standing> = None;
            for Named { path, .. } in group {
                let bar = session.spinner(format!("scoring by {}", path.display()));
                let scorer = artifact::load(&run::artifact(path)?)?;
                let of_run = Standing::of(&scorer.score_labelled(source)?, meaning);
                bar.finish_and_clear();
                match &mut standing {
                    Some(standing) => standing.add_training(of_run).with_context(|| unlike(group[0].path, path))?,
                    None => standing = Some(of_run),
                }
            }
            let Some(standing) = standing else { continue };
            let path = group[0].path;
            let tasks = match &first {
                None => standing.figures(),
                Some((one, first)) => {
                    let tasks = standing.against(first).with_context(|| unlike(one, path))?;
                    if tasks.is_empty() {
                        bail!(
                            "{} and {} have no task in common: {} and {}",
                            one.display(),
                            path.display(),
                            listed(first),
                            listed(&standing)
                        );
                    }
                    let strange: Vec<&str> = standing.tasks().filter(|task| !tasks.contains_key(*task)).collect();
                    if !strange.is_empty() {
                        let (one, path) = (one.display(), path.display());
                        tracing::warn!("{} of {path} is left out: {one} has no such task", strange.join(", "));
                    }
                    tasks
                }
            };
            models.push(Model { name, runs: group.iter().map(|named| named.path.to_path_buf()).collect(), tasks });
            first.get_or_insert((path, standing));
        }
        standing::test(models.iter_mut().map(|model: &mut Model| &mut model.tasks));
        Ok(Comparison { files: files.to_vec(), meaning, models })
    }
}

fn unlike(one: &Path, other: &Path) -> String {
    format!("{} and {} read the files otherwise", one.display(), other.display())
}

fn listed(standing: &Standing) -> String {
    standing.tasks().map(|task| format!("`{task}`")).collect::<Vec<_>>().join(", ")
}

impl<'a> Named<'a> {
    fn open(path: &'a Path) -> Result<Named<'a>> {
        // What is neither is told before anything is scored.
        if !artifact::is_artifact(&run::artifact(path)?) {
            bail!("{} is no run and no artifact: there is no {} in it", path.display(), artifact::MANIFEST);
        }
        let config = run::config(path).map(|config| Config::read(config, &[])).transpose()?;
        Ok(Named { path, config })
    }

    /// The name of the run's directory, or of the artifact's.
    fn name(&self) -> String {
        let config = run::config(self.path);
        let directory = config.as_deref().and_then(Path::parent).unwrap_or(self.path);
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
        directory
            .file_name()
            .map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }
}

/// Settings beside the seed in which a run differs from another, each with the other's; those of
/// `[model]` as well.
fn different(one: &Config, other: &Config) -> Vec<(String, String)> {
    let settings = one.differences_from(other);
    // What belongs to a name is another with another name.
    let renamed: Vec<String> =
        settings.iter().filter_map(|found| found.key.strip_suffix("name")).map(String::from).collect();
    let of_a_name = |key: &str| renamed.iter().any(|section| key.starts_with(section) && !key.ends_with(".name"));
    let told = |value: Option<String>| value.unwrap_or_else(|| "none".into());
    let kept = settings.into_iter().filter(|found| !OF_NO_MATTER.contains(&&*found.key) && !of_a_name(&found.key));
    let mut found: Vec<(String, String)> =
        kept.map(|found| (found.key, format!("{} in place of {}", told(found.value), told(found.default)))).collect();
    let data = [
        ("data.schema", one.data.schema() != other.data.schema()),
        ("data.train", one.data.train != other.data.train),
        ("data.valid", one.data.valid != other.data.valid),
    ];
    let changed = data.into_iter().filter(|(_, differs)| *differs);
    found.extend(changed.map(|(key, _)| (key.to_string(), "others".to_string())));
    found
}

/// What tells why a comparison with the first model is not of models alone.
fn otherwise(one: &Named<'_>, first: &Named<'_>) -> Option<String> {
    let found = different(one.config.as_ref()?, first.config.as_ref()?);
    let beside = found.iter().filter(|(key, _)| !key.starts_with("model."));
    let told: Vec<String> = beside.map(|(key, values)| format!("{key} {values}")).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// Runs that are trainings of one model by other seeds stand together.
fn grouped<'a>(named: &'a [Named<'a>]) -> Vec<Vec<&'a Named<'a>>> {
    let mut groups: Vec<Vec<&Named<'_>>> = Vec::new();
    for one in named {
        let of_the_same = |group: &&mut Vec<&Named<'_>>| match (&one.config, &group[0].config) {
            (Some(config), Some(other)) => {
                let seed = config.train.seed;
                let is_new = group.iter().flat_map(|named| &named.config).all(|config| config.train.seed != seed);
                is_new && different(config, other).is_empty()
            }
            _ => false,
        };
        match groups.iter_mut().find(of_the_same) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

/// How models are called: by what the names of their runs begin with; where two would be called
/// alike, as they were named.
fn names(groups: &[Vec<&Named<'_>>]) -> Vec<String> {
    let short = |group: &Vec<&Named<'_>>| {
        let names: Vec<String> = group.iter().map(|named| named.name()).collect();
        let alike = |length: &usize| names.iter().all(|name| name.get(..*length) == names[0].get(..*length));
        let length = (0..=names[0].len()).rev().find(alike).unwrap_or_default();
        let common = match names.len() {
            1 => &names[0],
            _ => names[0][..length].trim_end_matches(|letter: char| letter.is_ascii_digit() || "-_.".contains(letter)),
        };
        if common.is_empty() { names[0].clone() } else { common.to_string() }
    };
    let names: Vec<String> = groups.iter().map(short).collect();
    let several: BTreeSet<&String> =
        names.iter().filter(|name| names.iter().filter(|other| other == name).count() > 1).collect();
    let called = names.iter().zip(groups).map(|(name, group)| {
        let name = if several.contains(name) { group[0].path.display().to_string() } else { name.clone() };
        if group.len() > 1 { format!("{name} ({} runs)", group.len()) } else { name }
    });
    called.collect()
}

impl Comparison {
    fn told(&self) -> String {
        let first = &self.models[0];
        let files = self.files.join(", ");
        let on = match self.meaning {
            Meaning::FromImpression => format!("From the impression, on all rows of {files}."),
            Meaning::GivenParent => format!("Given the parent action, on the rows of {files} where it happened."),
        };
        let what = format!("{on} Differences are to {}, ± their standard error.", first.name);
        let mut told = table::wrapped(&what, 0) + "\n";
        for (task, contrasts) in &first.tasks {
            let (positives, rows) = (table::count(contrasts.positives), table::several(contrasts.rows, "row", "rows"));
            let _ = write!(told, "\n{task}: {positives} of {rows}\n{}\n", self.table_of(task));
        }
        let mut notes = Vec::new();
        let differences = self.models.iter().flat_map(|model| model.tasks.values()).flat_map(figures);
        let tested: Vec<f64> = differences.filter_map(|difference| difference.p).collect();
        if tested.iter().any(|p| *p < LEVEL) {
            notes.push(format!(
                "* more than chance. Of models that are alike, one comparison in twenty has such a mark anywhere among \
                 {} (Holm 1979).",
                table::several(tested.len() as u64, "difference", "differences")
            ));
        } else if !tested.is_empty() {
            notes.push("No difference is more than chance (Holm 1979, at 5 %).".into());
        }
        let few = first.tasks.iter().filter(|(_, contrasts)| fewer(contrasts) < ENOUGH);
        let few: Vec<String> = few.map(|(task, _)| format!("`{task}`")).collect();
        if !few.is_empty() {
            notes.push(format!(
                "Too few rows tell of {}: fewer than {ENOUGH} with the action, or without it, tell no difference from chance.",
                few.join(", ")
            ));
        }
        if self.models.iter().any(|model| model.runs.len() == 1) {
            notes.push(
                "These errors are by the rows. A model that was trained once would have other figures with another seed, \
                 too: train it with several (--set train.seed=2), and name all runs."
                    .into(),
            );
        }
        for note in notes {
            told += &format!("\n{}\n", table::wrapped(&note, 0));
        }
        told.trim_end().to_string()
    }

    fn table_of(&self, task: &str) -> String {
        let of_task = self.models.iter().filter_map(|model| Some((&model.name, model.tasks.get(task)?)));
        let rows = of_task.map(|(name, contrasts)| {
            let told = figures(contrasts).map(|contrast| [figure(contrast.figure), difference(contrast)]);
            let pcoc = contrasts.pcoc.map_or("n/a".into(), |pcoc| table::decimals(pcoc, 2));
            [name.clone()].into_iter().chain(told.into_iter().flatten()).chain([pcoc]).collect()
        });
        table::table(&["model", ">auc", ">difference", ">ne", ">difference", ">pcoc"], rows)
    }
}

/// The figures whose differences are told.
fn figures(contrasts: &Contrasts) -> [&Contrast; 2] {
    [&contrasts.auc, &contrasts.ne]
}

/// Rows of the rarer class.
fn fewer(contrasts: &Contrasts) -> u64 {
    contrasts.positives.min(contrasts.rows - contrasts.positives)
}

fn figure(value: Option<f64>) -> String {
    value.map_or("n/a".into(), |value| table::figure(Some(value)))
}

/// As in `+0.0012 ±0.0004 *`.
fn difference(contrast: &Contrast) -> String {
    let Some(difference) = contrast.difference else { return String::new() };
    let error = contrast.difference_error.map_or(String::new(), |error| format!(" ±{error:.4}"));
    format!("{difference:+.4}{error}{}", if contrast.p.is_some_and(|p| p < LEVEL) { " *" } else { "  " })
}
