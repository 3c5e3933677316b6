//! The configuration of a training: one TOML file, every key of which has a
//! default but the data and the model's name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::balance::BalanceConfig;
use crate::error::{Error, Result};
use crate::layer::Style;
use crate::model::ModelConfig;
use crate::objective::ObjectiveConfig;
use crate::optim::OptimizerConfig;
use crate::spec::ModelSpec;

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the data are.
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
    /// The loop.
    #[serde(default)]
    pub train: TrainConfig,
}

/// The `[data]` section. Paths are relative to the working directory; files
/// may be globs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// A directory with schema.toml, train.parquet, valid.parquet and
    /// test.parquet, for those of the keys below that are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// The schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<PathBuf>,
    /// Files to learn from.
    pub train: Vec<String>,
    /// Files that early stopping looks at.
    pub valid: Vec<String>,
    /// Files that are looked at once, at the end. May be empty.
    pub test: Vec<String>,
}

/// The `[embedding]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingConfig {
    /// Standard deviation of the tables' starting values.
    pub spread: f32,
}

impl Default for EmbeddingConfig {
    fn default() -> EmbeddingConfig {
        EmbeddingConfig { spread: 0.01 }
    }
}

/// The `[train]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Addresses all randomness of the training.
    pub seed: u64,
    /// Number of threads; 0 means all cores. Results do not depend on it.
    pub threads: usize,
    /// Rows of a step.
    pub batch_size: usize,
    /// Most passes over the training files.
    pub epochs: u64,
    /// Steps between two evaluations; 0 means after every epoch.
    pub eval_every: u64,
    /// The validation figure that early stopping follows: `[task.][meaning.]figure`,
    /// as in `auc` (mean over tasks, given the parent), `click.auc`,
    /// `mean.from_impression.auc`, `buy.from_impression.logloss`.
    pub monitor: String,
    /// Evaluations without improvement after which training stops.
    pub patience: u64,
    /// Rows that are held in memory and shuffled together.
    pub shuffle_rows: usize,
    /// Encoded training and validation rows are kept in memory between epochs
    /// up to this many MiB; beyond, they are read and encoded again.
    pub cache_mib: usize,
    /// Rows that batches hold beside the impressions; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<MixConfig>,
}

/// The `[train.mix]` section: batches mixed of impressions and of rows drawn
/// for the conversions, as in Calibration4CVR.
///
/// A drawn row is one where a root task's action happened. It counts for the
/// tasks after that action which have a loss on such rows (the objective's
/// space `parent`), for no other task and not for the action itself; so the
/// probabilities stay what they are, and only the weight of the conversions
/// grows. Rows are drawn from the window of `shuffle_rows`; an epoch still holds
/// every impression once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixConfig {
    /// Rows drawn per impression, for each root task that others come after:
    /// 1 is one click to one conversion row, 0.5 is 2:1, 0 draws none.
    pub parent_rows: f64,
}

impl Default for MixConfig {
    fn default() -> MixConfig {
        MixConfig { parent_rows: 1.0 }
    }
}

impl Default for TrainConfig {
    fn default() -> TrainConfig {
        TrainConfig {
            seed: 1,
            threads: 0,
            batch_size: 1024,
            epochs: 20,
            eval_every: 0,
            monitor: "auc".into(),
            patience: 3,
            shuffle_rows: 262_144,
            cache_mib: 2048,
            mix: None,
        }
    }
}

impl Config {
    /// Reads a file and applies overrides such as `train.epochs=3`.
    ///
    /// # Errors
    /// [`Error::Unfit`] naming the key, its place and the nearest spelling,
    /// [`Error::Io`].
    pub fn read(path: impl AsRef<Path>, overrides: &[String]) -> Result<Config> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Config::parse(&text, overrides).map_err(|error| error.within(path))
    }

    /// Parses a text and applies overrides.
    ///
    /// # Errors
    /// [`Error::Toml`], [`Error::Config`].
    pub fn parse(text: &str, overrides: &[String]) -> Result<Config> {
        let wrong = |error: toml::de::Error| Error::toml("config", error);
        // Without overrides the text itself is parsed, so that errors name the line.
        let mut config: Config = if overrides.is_empty() {
            toml::from_str(text).map_err(wrong)?
        } else {
            let mut table: toml::Table = toml::from_str(text).map_err(wrong)?;
            for setting in overrides {
                set(&mut table, setting)?;
            }
            table.try_into().map_err(wrong)?
        };
        config.data.resolve()?;
        config.check()?;
        Ok(config)
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
        if !(self.optimizer.clip.is_finite() && self.optimizer.clip >= 0.0) {
            return wrong(format!("optimizer.clip must be 0 or more, found {}", self.optimizer.clip));
        }
        if !(self.embedding.spread.is_finite() && self.embedding.spread >= 0.0) {
            return wrong(format!("embedding.spread must be 0 or more, found {}", self.embedding.spread));
        }
        let train = &self.train;
        if train.batch_size == 0 || train.epochs == 0 {
            return wrong("train.batch_size and train.epochs must be at least 1".into());
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
        if let Some(MixConfig { parent_rows }) = train.mix
            && !(parent_rows.is_finite() && parent_rows >= 0.0)
        {
            return wrong(format!("train.mix.parent_rows must be 0 or more, found {parent_rows}"));
        }
        Ok(())
    }
}

impl DataConfig {
    fn resolve(&mut self) -> Result<()> {
        if let Some(dir) = self.dir.take() {
            self.schema.get_or_insert_with(|| dir.join("schema.toml"));
            for (files, name) in [(&mut self.train, "train"), (&mut self.valid, "valid"), (&mut self.test, "test")] {
                if files.is_empty() {
                    files.push(dir.join(format!("{name}.parquet")).to_string_lossy().into_owned());
                }
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
        Ok(())
    }

    /// The schema's path.
    pub fn schema(&self) -> &Path {
        self.schema.as_deref().unwrap_or(Path::new("schema.toml"))
    }
}

/// Sets one `key.path=value`. The value is TOML, or text if it is none.
fn set(table: &mut toml::Table, setting: &str) -> Result<()> {
    let Some((path, value)) = setting.split_once('=') else {
        return Err(Error::Config(format!("`{setting}` is not of the form key.path=value")));
    };
    let value = format!("value = {}", value.trim());
    let value = match toml::from_str::<toml::Table>(&value) {
        Ok(mut parsed) => parsed.remove("value").expect("the line above names it"),
        Err(_) => toml::Value::String(setting[path.len() + 1..].trim().to_string()),
    };
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let last = keys.pop().unwrap_or_default();
    let mut at = table;
    for key in keys {
        let next = at.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = next.as_table_mut().ok_or_else(|| Error::Config(format!("`{setting}`: `{key}` is not a section")))?;
    }
    // Another model's, or method's, settings do not fit this one's.
    if ["model.name", "balance.name"].contains(&path.trim()) && at.get("name") != Some(&value) {
        at.clear();
    }
    at.insert(last.to_string(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "[data]\ndir = \"d\"\n[model]\nname = \"mmoe\"\n";

    fn refused(text: &str, overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        Config::parse(text, &overrides).expect_err("the configuration should be refused").to_string()
    }

    #[test]
    fn misspelt_keys_are_refused_with_the_nearest() {
        assert!(refused(&format!("{SMALL}[train]\nepoch = 3\n"), &[]).contains("did you mean `epochs`?"));
        assert!(refused(&format!("{SMALL}exprets = 3\n"), &[]).contains("did you mean `experts`?"));
        assert!(refused(SMALL, &["train.epoch=3"]).contains("did you mean `epochs`?"));
        assert!(refused(SMALL, &["model.name=mmeo"]).contains("did you mean `mmoe`?"));
    }

    #[test]
    fn a_batch_size_with_a_slip_of_zeros_is_refused() {
        let said = refused(SMALL, &["train.batch_size=1000000000000"]);
        assert!(said.contains("train.batch_size must be at most 4294967295, found 1000000000000"), "{said}");
        assert!(Config::parse(SMALL, &["train.batch_size=1000000".into()]).is_ok());
    }

    #[test]
    fn overrides_reach_every_depth() {
        let overrides = ["optimizer.rows.learning_rate=0.5", "objective.spaces.buy=product", "train.monitor=click.auc"];
        let config = Config::parse(SMALL, &overrides.map(String::from)).unwrap();
        assert_eq!(config.optimizer.rows.learning_rate, 0.5);
        assert_eq!(config.objective.spaces["buy"], crate::objective::Space::Product);
        assert_eq!(config.train.monitor, "click.auc");
    }

    #[test]
    fn the_printed_configuration_is_the_configuration() {
        for overrides in [vec![], vec!["train.mix.parent_rows=0.5".into()], vec!["network.gating={}".into()]] {
            let config = Config::parse(SMALL, &overrides).unwrap();
            assert_eq!(Config::parse(&config.to_toml(), &[]).unwrap(), config);
        }
    }

    #[test]
    fn every_example_is_a_config_of_the_model_in_its_name() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let mut found = 0;
        for entry in std::fs::read_dir(examples).unwrap() {
            let path = entry.unwrap().path();
            let config = Config::read(&path, &[]).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let model = toml::Value::try_from(&config.model).unwrap()["name"].as_str().unwrap().to_string();
            assert!(name.ends_with(&format!("-{model}")) || name.contains(&format!("-{model}-")), "{name}: {model}");
            found += 1;
        }
        assert!(found >= 18, "{found} examples");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        assert!(refused(SMALL, &["network.dropout=1.0"]).contains("network.dropout"));
        assert!(refused(SMALL, &["network.gating.units=0"]).contains("network.gating.units"));
        assert!(refused(SMALL, &["network.gating.unit=3"]).contains("did you mean `units`?"));
        assert!(refused(SMALL, &["balance.name=dwa", "balance.temperature=0"]).contains("balance.temperature"));
        assert!(refused(SMALL, &["balance.name=gradnorm", "balance.every=0"]).contains("balance.every"));
        assert!(refused(SMALL, &["balance.name=pcgrad", "balance.alpha=1"]).contains("unknown field `alpha`"));
        assert!(refused(SMALL, &["optimizer.dense.beta1=1.5"]).contains("optimizer.dense.beta1"));
        assert!(refused("[data]\n[model]\nname = \"mmoe\"\n", &[]).contains("data.schema is missing"));
        assert!(refused(SMALL, &["train.mix.parent_rows=-1"]).contains("train.mix.parent_rows"));
        let turns = ["model.name=ncs4cvr", "balance.name=pcgrad"];
        let said = refused(SMALL, &turns);
        assert!(said.contains("balance.name") && said.contains("model.alternate"), "{said}");
        let said = refused(SMALL, &[turns[0], "objective.triplet={}"]);
        assert!(said.contains("objective.triplet") && said.contains("model.alternate"), "{said}");
        for other in [turns[1], "objective.triplet={}"] {
            let overrides = [turns[0], other, "model.alternate=false"].map(String::from);
            assert!(Config::parse(SMALL, &overrides).is_ok());
        }
    }
}
