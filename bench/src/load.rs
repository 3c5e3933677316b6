//! Loading an artifact.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use crosstie::artifact;
use serde_json::{Value, json};

use crate::memory::peak_mib;

#[derive(Args)]
pub struct Load {
    /// The artifact's directory.
    #[arg(long)]
    artifact: PathBuf,
}

impl Load {
    pub fn run(&self) -> Result<Value> {
        let before = peak_mib();
        let start = Instant::now();
        let scorer = artifact::load(&self.artifact)?;
        let seconds = start.elapsed().as_secs_f64();
        let tensors = scorer.learned().tensors().map(|tensor| size_of_val(tensor.values)).sum::<usize>();
        let mib = tensors as f64 / (1 << 20) as f64;
        Ok(json!({
            "bytes": tensors,
            "tensors_mib": mib,
            "seconds": seconds,
            "before_mib": before,
            "peak_mib": peak_mib(),
            "peak_by_tensors": peak_mib().map(|peak| peak / mib),
        }))
    }
}
