//! `crosstie predict`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use crosstie::arrow::array::RecordBatch;
use crosstie::arrow::datatypes::{Schema, SchemaRef};
use crosstie::artifact;
use crosstie::data::{Source, Writer};
use crosstie::feature::Unknown;
use crosstie::scorer::Scorer;

use crate::files::Outputs;
use crate::session::Session;
use crate::{interrupt, message, run, table};

/// Score rows with a trained model
///
/// Writes one row per input row, in the same order, with two columns per task:
/// p_<task>, the probability given that the parent action happened, and
/// joint_<task>, the probability from the impression. Labels are not needed. p_<task>
/// is empty where the model's objective does not identify it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crosstie predict runs/demo/mmoe --data candidates.parquet --out scores.parquet\n  \
                        crosstie predict runs/demo/mmoe/artifact --data 'day-*.csv.gz' --keep user_id item_id \
                        --out scores.csv"
)]
pub struct Predict {
    /// An artifact, or a run
    #[arg(value_name = "ARTIFACT")]
    pub path: PathBuf,
    /// Files or globs to score
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub data: Vec<String>,
    /// The file to write; its extension, such as .parquet or .csv, is the format
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Columns of the data to copy, before the predictions; as text where they
    /// have other types in other files
    #[arg(long, value_name = "COLUMN", num_args = 1..)]
    pub keep: Vec<String>,
}

impl Predict {
    pub fn execute(&self, session: &Session) -> Result<()> {
        interrupt::listen()?;
        let start = std::time::SystemTime::now();
        Writer::check(&self.out)?;
        let outputs = Outputs::of([&self.out])?;
        outputs.spare_run(&self.path)?;
        let scorer = artifact::load(&run::artifact(&self.path)?)?;
        let source = Source::open(&self.data)?;
        outputs.spare_files(&source)?;
        let rows = predict(session, &scorer, &source, &self.keep, &self.out)?;
        let (rows, took) = (table::several(rows, "row", "rows"), message::since(start));
        tracing::info!("{rows} scored in {took}, written to {}", self.out.display());
        Ok(())
    }
}

/// Scores everything, a piece at a time, and gives the number of rows.
pub fn predict(session: &Session, scorer: &Scorer, source: &Source, keep: &[String], out: &Path) -> Result<u64> {
    let fields = scorer.prediction_fields();
    if let Some(taken) = keep.iter().find(|column| fields.iter().any(|field| field.name() == *column)) {
        bail!("--keep {taken}: the predictions have a column of this name");
    }
    let keep: Vec<&str> = keep.iter().map(String::as_str).collect();
    if let Some((_, twice)) = keep.iter().enumerate().find(|(index, column)| keep[..*index].contains(column)) {
        bail!("--keep names {twice} twice");
    }
    source.require(&keep)?;
    let kept = source.types(&keep)?;
    let fields = kept.fields().iter().cloned().chain(fields.into_iter().map(Arc::new));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    scorer.network().objective.unidentified().iter().for_each(|why| tracing::warn!("{why}; it is left empty"));

    let bar = session.bar(source.total_rows(), "scoring");
    let mut writer = Writer::create(out, schema.clone())?;
    let mut unknown = Unknown::new(scorer.features());
    let mut total = 0;
    scorer.score_each(source, &keep, &mut |rows, batch, scores| -> Result<()> {
        interrupt::check()?;
        unknown.add(batch);
        let columns = rows.with_types(&kept)?.columns().iter().cloned().chain(scores.columns()).collect();
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
        total += rows.len() as u64;
        bar.inc(rows.len() as u64);
        Ok(())
    })?;
    writer.finish()?;
    bar.finish_and_clear();
    unknown.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(total)
}
