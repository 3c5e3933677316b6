//! `crosstie prepare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use crosstie::data::recipe::{RECIPES, prepare};

use crate::aside::Aside;
use crate::files;
use crate::session::Session;

/// Turn a public data set, as downloaded, into Parquet files and a schema
///
/// Makes train.parquet, valid.parquet, test.parquet and schema.toml. Inputs
/// may be plain or .gz.
#[derive(Args, Debug)]
#[command(after_help = help())]
pub struct Prepare {
    /// The data set
    #[arg(value_parser = PossibleValuesParser::new(RECIPES.map(|recipe| recipe.name)), hide_possible_values = true)]
    pub recipe: String,
    /// Directory with the downloaded files
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Directory for the prepared files, made if need be
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Decides the splits that are random
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

fn help() -> String {
    let mut help = "Recipes:\n".to_string();
    for recipe in RECIPES {
        help += &format!("  {}\n      {}\n      {}\n", recipe.name, recipe.summary, recipe.source);
    }
    help + "\nExample:\n  crosstie prepare census-income --from downloads/census-income --out data/census-income"
}

impl Prepare {
    pub fn execute(&self, session: &Session) -> Result<()> {
        files::refuse_to_replace(&self.out, &[], "name another directory with --out")?;
        let bar = session.spinner(format!("preparing {}", self.recipe));
        let aside = Aside::of(&self.out)?;
        let prepared = prepare(&self.recipe, &self.from, aside.path(), self.seed);
        let report = prepared.map_err(|error| aside.named(error))?;
        aside.publish(&self.out)?;
        bar.finish_and_clear();
        for line in &report.lines {
            tracing::info!("{line}");
        }
        tracing::info!("written to {}: train.parquet, valid.parquet, test.parquet, schema.toml", self.out.display());
        Ok(())
    }
}
