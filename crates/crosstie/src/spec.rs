//! What a model is, apart from what it has learned and how it was trained.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::Layout;
use crate::embedding::EmbeddingConfig;
use crate::error::{Error, Result};
use crate::feature::Features;
use crate::layer::Style;
use crate::learned::Learned;
use crate::model::{ModelConfig, Network};
use crate::objective::{Objective, ObjectiveConfig};
use crate::schema::Schema;

/// All that decides what a model is: with a schema it gives the network, and
/// with the seed every number of its start. Of a training's configuration this
/// alone enters an artifact, as its `config.toml`.
///
/// ```
/// use crosstie::spec::ModelSpec;
///
/// let spec = ModelSpec::parse("seed = 7\n[model]\nname = \"mmoe\"\nexperts = 4\n")?;
/// assert_eq!(ModelSpec::parse(&spec.to_toml())?, spec);
/// # Ok::<(), crosstie::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Addresses all randomness of the model's start.
    pub seed: u64,
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
}

impl ModelSpec {
    /// A model with the defaults of everything else.
    pub fn new(model: ModelConfig) -> ModelSpec {
        ModelSpec {
            seed: 1,
            model,
            network: Style::default(),
            embedding: EmbeddingConfig::default(),
            objective: ObjectiveConfig::default(),
        }
    }

    /// Reads a text as [`ModelSpec::to_toml`] writes it.
    ///
    /// # Errors
    /// [`Error::Toml`] naming the key, its place and the nearest spelling.
    pub fn parse(text: &str) -> Result<ModelSpec> {
        toml::from_str(text).map_err(|error| Error::toml("config", error))
    }

    /// Every key, as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a model's settings hold nothing that TOML cannot")
    }

    /// Refuses settings that make no sense with this schema, without having seen
    /// data: a network is declared over tables of a few rows.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key; [`Error::Schema`].
    pub fn check(&self, schema: &Schema) -> Result<()> {
        self.network(schema, Features::sketch(schema)?.layout()).map(|_| ())
    }

    /// What the model's heads mean.
    ///
    /// # Errors
    /// [`Error::Config`] for an objective that does not fit the schema.
    pub fn objective(&self, schema: &Schema) -> Result<Objective> {
        self.model.model().objective(schema, &self.objective)
    }

    /// Declares and compiles the network.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that make no sense.
    pub fn network(&self, schema: &Schema, layout: &Layout) -> Result<Network> {
        Network::new(self.model.model(), &self.network, layout, self.objective(schema)?)
    }

    /// The network of which every head is a loss: [`Network::of_heads`].
    ///
    /// # Errors
    /// As of [`ModelSpec::network`].
    pub fn network_of_heads(&self, schema: &Schema, layout: &Layout) -> Result<Network> {
        Network::of_heads(self.model.model(), &self.network, layout, self.objective(schema)?)
    }

    /// The network of one task's loss: [`Network::of_task`].
    ///
    /// # Errors
    /// As of [`ModelSpec::network`].
    pub fn network_of_task(&self, schema: &Schema, layout: &Layout, task: usize) -> Result<Network> {
        Network::of_task(self.model.model(), &self.network, layout, self.objective(schema)?, task)
    }

    /// The model at its start.
    ///
    /// # Errors
    /// As of [`ModelSpec::network`].
    pub fn start(&self, schema: &Schema, layout: &Layout) -> Result<Learned> {
        let network = Arc::new(self.network(schema, layout)?);
        Learned::new(network, layout, self.seed, self.embedding.spread)
    }
}
