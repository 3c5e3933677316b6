//! `crosstie export`.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;
use clap::{Args, ValueEnum};
use crosstie::artifact;
use crosstie::export::{self, EXTERNAL_ABOVE, Exported};

use crate::files::Outputs;
use crate::{interrupt, message, run};

/// Write a trained model for other engines, with what is needed to feed it
///
/// Makes a directory with model.onnx, from its inputs to the tasks' probabilities, and
/// model.json, which tells how rows become the inputs and what the outputs mean. See
/// docs/onnx.md.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie export runs/demo/mmoe --format onnx --out mmoe-onnx\n  \
                        crosstie export runs/demo/mmoe --format onnx --inputs raw --out mmoe-onnx")]
pub struct Export {
    /// An artifact, or a run
    #[arg(value_name = "ARTIFACT")]
    pub path: PathBuf,
    /// The format
    #[arg(long)]
    pub format: Format,
    /// What the model reads
    #[arg(long, default_value = "ids")]
    pub inputs: Inputs,
    /// The directory to write; an earlier export in it is replaced
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Weights of more bytes than this go to a file of their own, model.bin
    #[arg(long, value_name = "BYTES", default_value_t = EXTERNAL_ABOVE)]
    pub external_above: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// ONNX, opset 17
    Onnx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Inputs {
    /// Rows of tables and scaled numbers; whoever calls encodes them as model.json says
    Ids,
    /// Texts and numbers as they stand in the log; not for hashed fields and lists
    Raw,
}

impl Export {
    pub fn execute(&self) -> Result<()> {
        interrupt::listen()?;
        let start = SystemTime::now();
        let Format::Onnx = self.format;
        Outputs::of_directory(&self.out).spare_run(&self.path)?;
        let scorer = artifact::load(&run::artifact(&self.path)?)?;
        let inputs = match self.inputs {
            Inputs::Ids => export::Inputs::Ids,
            Inputs::Raw => export::Inputs::Raw,
        };
        // What is begun here takes moments, and is done before Ctrl-C is heeded.
        interrupt::check()?;
        let exported = export::export(&scorer, inputs, self.external_above, &self.out)?;
        let Exported { inputs, outputs, external, notes } = exported;
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        let weights = if external { ", its weights in model.bin" } else { "" };
        let (took, place) = (message::since(start), self.out.display());
        tracing::info!("model.onnx with {inputs} inputs and {outputs} outputs{weights} written to {place} in {took}");
        Ok(())
    }
}
