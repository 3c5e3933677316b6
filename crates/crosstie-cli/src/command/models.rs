//! `crosstie models`.

use anyhow::Result;
use clap::Args;
use crosstie::model::MODELS;

use crate::{output, table};

/// Where what is told of a model begins.
const INDENT: usize = 16;

/// List the models, each with its paper and when to use it
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  crosstie models\n\nThe name goes into the config: [model] name = \"mmoe\"")]
pub struct Models {}

impl Models {
    pub fn execute(&self) -> Result<()> {
        let mut text = String::new();
        for model in MODELS {
            let (paper, when) = (table::wrapped(model.paper, INDENT), table::wrapped(model.when, INDENT));
            text += &format!("{:<INDENT$}{}\n{when}\n", model.name, paper.trim_start());
        }
        output::print(text.trim_end())
    }
}
