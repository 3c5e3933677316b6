//! `crosstie models`.

use anyhow::Result;
use clap::Args;
use crosstie::model::MODELS;

use crate::output;

/// List the models, each with its paper and when to use it
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  crosstie models\n\nThe name goes into the config: [model] name = \"mmoe\"")]
pub struct Models {}

impl Models {
    pub fn execute(&self) -> Result<()> {
        let mut text = String::new();
        for model in MODELS {
            text += &format!("{:<15} {}\n{:15} {}\n", model.name, model.paper, "", model.when);
        }
        output::print(text.trim_end())
    }
}
