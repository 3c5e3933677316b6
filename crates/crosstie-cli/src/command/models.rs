//! `crosstie models`.

use anyhow::Result;
use clap::Args;
use crosstie::model::MODELS;

use crate::{output, table};

/// List the models, each with its paper and when to use it
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  crosstie models\n\nThe name goes into the config: [model] name = \"mmoe\"")]
pub struct Models {}

impl Models {
    pub fn execute(&self) -> Result<()> {
        let rows = MODELS.iter().map(|model| [model.name, model.paper, model.when].map(String::from).to_vec());
        output::print(table::table(&["name", "paper", "when to use it"], rows))
    }
}
