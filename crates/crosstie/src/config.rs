//! The configuration of a training: one TOML file, every key of which has a
//! default but the data and the model's name.
//!
//! Keys are written in snake_case, values in kebab-case; the name of a method is
//! one word, as in `gradnorm`.

mod blame;
mod difference;
mod setting;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use difference::Difference;

use crate::balance::BalanceConfig;
use crate::calibration::CalibrationConfig;
use crate::compute::Threads;
use crate::embedding::EmbeddingConfig;
use crate::error::{Error, Result};
use crate::layer::Style;
use crate::model::ModelConfig;
use crate::objective::ObjectiveConfig;
use crate::optim::{self, OptimizerConfig};
use crate::range::ZERO_OR_MORE;
use crate::schema::one_or_many::{self, OneOrMany};
use crate::spec::ModelSpec;
use crate::text;

/// A whole configuration.
///
/// ```
/// let config = crosstie::config::Config::parse(r#"
///     [data]
///     dir = "data/kuairand"
///     [model]
///     name = "mmoe"
/// "#, &["model.experts=4".into()])?;
/// assert_eq!(config.data.train, ["data/kuairand/train.parquet"]);
/// assert!(config.to_toml().contains("experts = 4"));
/// # Ok::<(), crosstie::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the data are. Paths are relative to the working directory. Files are
    /// Parquet, CSV (also .gz and .zst) or Arrow IPC, and may be named by globs such as
    /// `logs/day-*.parquet`.
    pub data: DataConfig,
    /// Which model, with its settings.
    pub model: ModelConfig,
    /// What all hidden layers have in common.
    #[serde(default)]
    pub network: Style,
    /// Embedding tables.
    #[serde(default)]
    pub embedding: EmbeddingConfig,
    /// Where each task's loss is counted, and its weight.
    #[serde(default)]
    pub objective: ObjectiveConfig,
    /// How the tasks' losses become one step.
    #[serde(default)]
    pub balance: BalanceConfig,
    /// How gradients move numbers.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// How long, in which steps, and with what means the model is trained.
    #[serde(default)]
    pub train: TrainConfig,
    /// What becomes of the finished model's probabilities.
    #[serde(default)]
    pub calibration: CalibrationConfig,
    /// What the user should know about the text and the settings it was made of,
    /// one sentence each: old spellings, and what was left out.
    #[serde(skip)]
    #[schemars(skip)]
    pub warnings: Vec<String>,
}

/// The `[data]` section. Paths are relative to the working directory; files
/// may be globs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// A directory with schema.toml, train.parquet, valid.parquet and, if there
    /// is one, test.parquet, for those of `schema`, `train`, `valid` and `test` that
    /// are absent. Without it all but `test` must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// The schema file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<PathBuf>,
    /// Files to learn from, as in `["logs/day-*.csv.gz"]`.
    #[serde(deserialize_with = "one_or_many::list")]
    #[schemars(with = "OneOrMany")]
    pub train: Vec<String>,
    /// Files that early stopping looks at; best those of days after the training days.
    #[serde(deserialize_with = "one_or_many::list")]
    #[schemars(with = "OneOrMany")]
    pub valid: Vec<String>,
    /// Files that are looked at once, at the end. May be empty, also where
    /// `dir` has some.
    #[serde(deserialize_with = "one_or_many::list")]
    #[schemars(with = "OneOrMany")]
    pub test: Vec<String>,
}

/// Least `train.mix.parent_rows` of an epoch that holds parent rows once.
const LEAST_PARENT_ROWS: f64 = 0.001;

/// What is in the directory `data.dir`, by the key that may name it otherwise.
const IN_DIR: [(&str, &str); 4] =
    [("schema", "schema.toml"), ("train", "train.parquet"), ("valid", "valid.parquet"), ("test", "test.parquet")];

/// The `[train]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Where all randomness of the training comes from: the same seed, data and settings
    /// give the same model to the bit.
    pub seed: u64,
    /// Number of threads, at most 1024; 0 means all cores. Results do not depend on it.
    pub threads: usize,
    /// Rows of a step; 0 means by the number of training rows: the power of two that
    /// its square root is nearest to in ratio, from 64 to 4096.
    pub batch_size: usize,
    /// Most passes over the training files; at least 1.
    pub epochs: u64,
    /// Steps between two evaluations; 0 means after every quarter of an epoch, but no
    /// fewer than 10.
    pub eval_every: u64,
    /// The validation figure that early stopping follows, written
    /// `[task.][meaning.]figure`. The task is one of the schema's, or `mean`, which is
    /// meant if it is left out: the mean over tasks, in which one with few positives, whose
    /// figure is mostly chance, counts positives / (positives + 500). The meaning is `given_parent`, which
    /// is meant if it is left out (on the rows where the parent action happened), or
    /// `from_impression` (on all rows). The figure is `auc` or `gauc`, of which more is
    /// better, or `logloss`, `ne` or `ece`, of which less is. So `auc` is the mean of the
    /// tasks' AUC given the parent, `buy.auc` that of one task,
    /// `from_impression.logloss` the mean log-loss on all rows,
    /// `buy.from_impression.auc` the AUC of one task there. With a figure of the mean,
    /// tasks that learn nothing in common (those of `single-task` and `ektm`) are each
    /// kept at their own best step, by their own figure on the rows that their loss is
    /// about; that of a task with few positives is drawn towards the mean of all tasks.
    pub monitor: String,
    /// Evaluations without improvement after which training stops, at least 1; where tasks are kept
    /// at their own best steps, without improvement of any.
    pub patience: u64,
    /// Rows that are held in memory and shuffled together. The next ones are read and
    /// encoded meanwhile: as many again, at most 524288, at least 8192 for each thread
    /// (of up to 8).
    pub shuffle_rows: usize,
    /// Encoded training rows are kept in memory between epochs up to this many MiB, and
    /// validation rows up to a quarter as many besides; beyond, they are read and
    /// encoded again.
    pub cache_mib: usize,
    /// The share of training rows' known values that become unknown, at random, in
    /// every epoch anew, so that unknown values are met before they come: a number
    /// from 0 to 1, or `as-in-validation`, so many for each field that it has as
    /// many unknown values as the validation rows have. Only fields with a vocabulary
    /// and without rates of their values take part.
    pub unknown_values: UnknownValues,
    /// Whether rates that say less of the validation rows than of the training rows, as
    /// they do where days differ, count less by that in all rows but those of the training.
    pub carry_rates: bool,
    /// Whether what is evaluated and kept is the average of the weights over the steps
    /// (polynomial-decay averaging, Shamir and Zhang, ICML 2013): better on most logs,
    /// for the memory of the tables once more.
    pub average: bool,
    /// How often a training writes a checkpoint that it can go on from: `10 minutes`,
    /// `30 seconds`, `500 steps` (batches), or `never`. Unless it is `never` there
    /// is one at the end, too.
    pub checkpoint_every: CheckpointEvery,
    /// Whether the run directory gets event files for TensorBoard, in `tensorboard/`: at
    /// every evaluation the tasks' losses in training and all validation figures, the
    /// learning rates and the speed; the config and the figures at the end as text.
    pub tensorboard: bool,
    /// Whether `crosstie train` ends with a report to look at: `report.html` in the run, and
    /// its numbers in `report.json`.
    pub report: bool,
    /// Rows that batches hold beside the impressions; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<MixConfig>,
}

/// How many of the training rows' known values become unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum UnknownValues {
    /// So many that a field has as many as the validation rows have.
    #[default]
    AsInValidation,
    /// This share of every field with a vocabulary and without rates.
    Share(f64),
}

const AS_IN_VALIDATION: &str = "as-in-validation";

impl Serialize for UnknownValues {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            UnknownValues::AsInValidation => serializer.serialize_str(AS_IN_VALIDATION),
            UnknownValues::Share(share) => serializer.serialize_f64(*share),
        }
    }
}

impl<'de> Deserialize<'de> for UnknownValues {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<UnknownValues, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        let wrong = |found: String| {
            serde::de::Error::custom(format!("found {found}, expected `{AS_IN_VALIDATION}` or a number from 0 to 1"))
        };
        match Written::deserialize(deserializer)? {
            Written::Text(text) if text == AS_IN_VALIDATION => Ok(UnknownValues::AsInValidation),
            Written::Text(text) => match text.parse() {
                // As `--set` may give it.
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(UnknownValues::Share(share)),
                _ => Err(wrong(format!("`{text}`"))),
            },
            Written::Number(share) if (0.0..=1.0).contains(&share) => Ok(UnknownValues::Share(share)),
            Written::Number(share) => Err(wrong(share.to_string())),
        }
    }
}

impl JsonSchema for UnknownValues {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "UnknownValues".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let share = json!({ "type": "number", "minimum": 0, "maximum": 1 });
        json_schema!({ "anyOf": [{ "type": "string", "const": AS_IN_VALIDATION }, share] })
    }
}

/// How often a training writes a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum CheckpointEvery {
    /// Not at all.
    Never,
    /// After so many batches.
    Steps(u64),
    /// After the first batch that ends so many seconds after the last one.
    Seconds(u64),
}

impl Default for CheckpointEvery {
    fn default() -> CheckpointEvery {
        CheckpointEvery::Seconds(600)
    }
}

impl TryFrom<String> for CheckpointEvery {
    type Error = String;

    fn try_from(text: String) -> Result<CheckpointEvery, String> {
        let wrong = || format!("found `{text}`, expected `never` or as in `10 minutes`, `30 seconds`, `500 steps`");
        if text.trim() == "never" {
            return Ok(CheckpointEvery::Never);
        }
        let (number, unit) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let number: u64 = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
        match unit.trim() {
            "step" | "steps" => Ok(CheckpointEvery::Steps(number)),
            "second" | "seconds" => Ok(CheckpointEvery::Seconds(number)),
            "minute" | "minutes" => Ok(CheckpointEvery::Seconds(number.checked_mul(60).ok_or_else(wrong)?)),
            _ => Err(wrong()),
        }
    }
}

impl From<CheckpointEvery> for String {
    fn from(every: CheckpointEvery) -> String {
        match every {
            CheckpointEvery::Never => "never".into(),
            CheckpointEvery::Steps(steps) => format!("{steps} steps"),
            CheckpointEvery::Seconds(seconds) if seconds % 60 == 0 => format!("{} minutes", seconds / 60),
            CheckpointEvery::Seconds(seconds) => format!("{seconds} seconds"),
        }
    }
}

/// The `[train.mix]` section: batches mixed of impressions and of parent rows,
/// those where a root task's action happened, as in Calibration4CVR.
///
/// A parent row counts for the tasks after that action which have a loss on such
/// rows (the objective's space `parent` or `path`), for no other task and not for
/// the action itself; an impression counts for whatever it counts for without this
/// section. So the probabilities stay what they are, and only the weight of the
/// conversions grows. Rows are drawn within the window of `shuffle_rows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MixConfig {
    /// Parent rows per impression, for each root task that others come after:
    /// 1 is one impression to one clicked row, 0.5 is 2:1, 0 adds none. With `once` of
    /// parent rows at least 0.001.
    pub parent_rows: f64,
    /// What an epoch holds once; of the other it holds as many as that takes.
    pub once: Once,
}

/// What an epoch of mixed batches holds once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Once {
    /// Every impression. Parent rows are repeated, each as often as the others: at 1:1
    /// and one click in five impressions, five times.
    #[default]
    Impressions,
    /// Every parent row. Impressions are drawn to match, anew in every epoch and none
    /// twice before all were drawn: at 1:1 and one click in five impressions, a fifth of
    /// them. Where several root tasks have parent rows, to match the most.
    ParentRows,
}

impl Default for MixConfig {
    fn default() -> MixConfig {
        MixConfig { parent_rows: 1.0, once: Once::default() }
    }
}

impl Default for TrainConfig {
    fn default() -> TrainConfig {
        TrainConfig {
            seed: 1,
            threads: 0,
            batch_size: 0,
            epochs: 20,
            eval_every: 0,
            monitor: "mean.from_impression.ne".into(),
            patience: 8,
            shuffle_rows: 262_144,
            cache_mib: 2048,
            unknown_values: UnknownValues::default(),
            carry_rates: true,
            average: true,
            checkpoint_every: CheckpointEvery::default(),
            tensorboard: false,
            report: true,
            mix: None,
        }
    }
}

impl TrainConfig {
    /// Rows of a step where there are so many training rows. Where nobody knows
    /// yet, as for batches that a program makes, it is 1024 unless it is set.
    pub fn rows_of_step(&self, rows: Option<u64>) -> usize {
        match (self.batch_size, rows) {
            (0, None) => 1024,
            (0, Some(rows)) => {
                let exponent = ((rows.max(1) as f64).log2() / 2.0).round() as u32;
                1 << exponent.clamp(6, 12)
            }
            (size, _) => size,
        }
    }
}

impl Config {
    /// Reads a file and applies settings such as `train.epochs=3`.
    ///
    /// # Errors
    /// [`Error::Unfit`] naming the key, its place and the nearest spelling,
    /// [`Error::Io`].
    pub fn read(path: impl AsRef<Path>, settings: &[String]) -> Result<Config> {
        let path = path.as_ref();
        let text = text::read(path)?;
        Config::parse(&text, settings).map_err(|error| error.within(path))
    }

    /// Parses a text and applies settings, in whatever order they come: each
    /// replaces what the text says for its key. A value is taken by the type of
    /// its key, so `data.dir=2024-01-01` is a path and no date. A new name of a
    /// section whose settings depend on it, such as `model.name`, leaves out what
    /// the text says for the old one, and a new `data.dir` the text's other paths.
    ///
    /// # Errors
    /// [`Error::Toml`], [`Error::Config`].
    pub fn parse(text: &str, settings: &[String]) -> Result<Config> {
        let (mut config, tests) = Config::understand(text, settings)?;
        config.data.resolve(tests)?;
        config.check()?;
        Ok(config)
    }

    /// As [`Config::parse`], for programs that bring their own data: the text need not
    /// name any, and what it says of data plays no part.
    ///
    /// # Errors
    /// As of [`Config::parse`].
    pub fn parse_without_data(text: &str, settings: &[String]) -> Result<Config> {
        let written: toml::Table = toml::from_str(text).map_err(|error| Error::toml("config", error))?;
        // Behind the text, so that errors name its lines.
        let text = if written.contains_key("data") { text.into() } else { format!("{text}\n[data]\n") };
        let (mut config, _) = Config::understand(&text, settings)?;
        config.data = DataConfig::default();
        config.check()?;
        Ok(config)
    }

    /// A config as it stands in a text and settings, and whether it names test files, be
    /// it none.
    fn understand(text: &str, settings: &[String]) -> Result<(Config, bool)> {
        let wrong = |error: toml::de::Error| Error::toml("config", error);
        let written: toml::Table = toml::from_str(text).map_err(wrong)?;
        let (mut table, mut warnings) = (written.clone(), Vec::new());
        leave_out_other_rules(&mut table, &mut warnings);
        setting::apply(&mut table, settings, &mut warnings)?;
        // Where nothing was changed the text itself is parsed, so that errors name the line.
        let unchanged = (table == written).then_some(text);
        let config = unchanged.map_or_else(|| table.clone().try_into(), toml::from_str);
        let mut config: Config =
            config.map_err(|error| setting::refused(settings, blame::at_its_key(error, &table, unchanged)))?;
        if let Ok(now) = toml::Table::try_from(&config) {
            find_old_spellings(&table, &now, "", &mut warnings);
        }
        let named = |key: &str| table["data"].get(key).is_some();
        if named("dir") && IN_DIR.iter().all(|(key, _)| named(key)) {
            warnings.push("data.dir does nothing where data.schema, train, valid and test are all named".into());
        }
        config.warnings = warnings;
        Ok((config, named("test")))
    }

    /// The model with its defaults, and nothing said of data: for programs that
    /// bring their own.
    pub fn new(model: ModelConfig) -> Config {
        Config {
            data: DataConfig::default(),
            model,
            network: Style::default(),
            embedding: EmbeddingConfig::default(),
            objective: ObjectiveConfig::default(),
            balance: BalanceConfig::default(),
            optimizer: OptimizerConfig::default(),
            train: TrainConfig::default(),
            calibration: CalibrationConfig::default(),
            warnings: Vec::new(),
        }
    }

    /// What the model is.
    pub fn spec(&self) -> ModelSpec {
        ModelSpec {
            seed: self.train.seed,
            model: self.model.clone(),
            network: self.network.clone(),
            embedding: self.embedding.clone(),
            objective: self.objective.clone(),
        }
    }

    /// The configuration with every key, as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration holds nothing that TOML cannot")
    }

    /// Refuses settings that make no sense whatever the schema. [`Config::parse`]
    /// does so; a program that has set fields itself may ask. What depends on the
    /// schema is checked by [`train::check`](crate::train::check).
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::Config(message));
        self.network.check()?;
        self.balance.check()?;
        self.optimizer.dense.check("optimizer.dense")?;
        self.optimizer.rows.check("optimizer.rows")?;
        self.optimizer.schedule.check()?;
        ZERO_OR_MORE.check("optimizer.clip", self.optimizer.clip)?;
        ZERO_OR_MORE.check("embedding.spread", self.embedding.spread)?;
        let train = &self.train;
        Threads::check("train.threads", train.threads)?;
        if train.epochs == 0 {
            return wrong("train.epochs must be at least 1, found 0".into());
        }
        if train.patience == 0 {
            return wrong("train.patience must be at least 1, found 0".into());
        }
        // The rows of a batch are counted in 32 bits.
        if u32::try_from(train.batch_size).is_err() {
            return wrong(format!("train.batch_size must be at most {}, found {}", u32::MAX, train.batch_size));
        }
        let alternate = self.model.model().lottery().is_some_and(|lottery| lottery.alternate);
        if alternate && !matches!(self.balance, BalanceConfig::Fixed(_)) {
            return wrong(
                "balance.name: balancing makes one step of all tasks' losses, but with model.alternate = true every \
                 task has steps of its own; leave [balance] out, or set model.alternate = false"
                    .into(),
            );
        }
        if alternate && self.objective.triplet.is_some() {
            return wrong(
                "objective.triplet: its losses belong to a step of all tasks, but with model.alternate = true every task \
                 has steps of its own; leave [objective.triplet] out, or set model.alternate = false"
                    .into(),
            );
        }
        if let Some(MixConfig { parent_rows, once }) = train.mix {
            ZERO_OR_MORE.check("train.mix.parent_rows", parent_rows)?;
            if parent_rows > 0.0 && parent_rows < LEAST_PARENT_ROWS && once == Once::ParentRows {
                return wrong(format!(
                    "train.mix.parent_rows is {parent_rows}: with train.mix.once = \"parent-rows\" it must be \
                     {LEAST_PARENT_ROWS} or more, since each parent row brings 1 / parent_rows impressions"
                ));
            }
            if parent_rows == 0.0 && once == Once::ParentRows {
                return wrong(
                    "train.mix.parent_rows is 0, so no number of impressions matches the parent rows that \
                     train.mix.once = \"parent-rows\" asks for; set it above 0, or leave train.mix out"
                        .into(),
                );
            }
        }
        Ok(())
    }
}

impl DataConfig {
    /// Puts the files of `dir` in the place of those that are absent. `tests`
    /// tells whether test files were named, be it none.
    fn resolve(&mut self, tests: bool) -> Result<()> {
        if let Some(dir) = self.dir.take() {
            let [schema, train, valid, test] = IN_DIR.map(|(_, name)| dir.join(name));
            self.schema.get_or_insert(schema);
            for (files, path) in [(&mut self.train, train), (&mut self.valid, valid)] {
                if files.is_empty() {
                    files.push(path.to_string_lossy().into_owned());
                }
            }
            if !tests && test.exists() {
                self.test.push(test.to_string_lossy().into_owned());
            }
        }
        for (key, missing) in
            [("schema", self.schema.is_none()), ("train", self.train.is_empty()), ("valid", self.valid.is_empty())]
        {
            if missing {
                return Err(Error::Config(format!(
                    "data.{key} is missing: name it, or set data.dir to a directory that `crosstie prepare` or \
                     `crosstie synth` wrote"
                )));
            }
        }
        let schema = self.schema.iter().map(|path| ("schema", path.as_os_str().is_empty()));
        let files = [("train", &self.train), ("valid", &self.valid), ("test", &self.test)];
        let files = files.into_iter().flat_map(|(key, files)| files.iter().map(move |file| (key, file.is_empty())));
        match schema.chain(files).find(|(_, nameless)| *nameless) {
            Some((key, _)) => Err(Error::Config(format!("data.{key}: found an empty text, expected a file"))),
            None => Ok(()),
        }
    }

    /// The schema's path.
    pub fn schema(&self) -> &Path {
        self.schema.as_deref().unwrap_or(Path::new("schema.toml"))
    }
}

/// Leaves out what stands in a file that crosstie wrote before version 0.2 and
/// belongs to other rules than the file's: it acted nowhere then either.
fn leave_out_other_rules(table: &mut toml::Table, warnings: &mut Vec<String>) {
    let Some(optimizer) = table.get_mut("optimizer").and_then(toml::Value::as_table_mut) else { return };
    for (key, default) in [("dense", optim::DENSE), ("rows", optim::ROWS)] {
        let Some(section) = optimizer.get_mut(key).and_then(toml::Value::as_table_mut) else { continue };
        let strange = optim::of_other_rules(section, default);
        if !strange.is_empty() {
            strange.iter().for_each(|setting| drop(section.remove(*setting)));
            let strange = strange.join(", ");
            warnings.push(format!("optimizer.{key}: {strange} belong to other rules and do nothing; leave them out"));
        }
    }
}

/// Warns of values that are spelt otherwise today.
fn find_old_spellings(written: &toml::Table, now: &toml::Table, path: &str, warnings: &mut Vec<String>) {
    use toml::Value::{String, Table};
    for (key, value) in written {
        match (value, now.get(key)) {
            (Table(value), Some(Table(now))) => find_old_spellings(value, now, &format!("{path}{key}."), warnings),
            (String(value), Some(String(now))) if value != now => {
                warnings.push(format!("{path}{key}: `{value}` is spelt `{now}` now"));
            }
            _ => {}
        }
    }
}
