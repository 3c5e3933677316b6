//! `crosstie predict`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use anyhow::{Result, bail};
use clap::Args;
use crosstie::arrow::array::{Float64Array, RecordBatch};
use crosstie::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crosstie::artifact;
use crosstie::data::{Rows, Source, Writer, ahead};
use crosstie::feature::{Purpose, Unknown};
use crosstie::learned::Scores;
use crosstie::objective::Objective;
use crosstie::scorer::Scorer;

use crate::session::Session;
use crate::{files, interrupt, message, run, table};

/// Rows read, scored and written at a time.
const ROWS: usize = 1 << 14;

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
        let scorer = artifact::load(&run::artifact(&self.path)?)?;
        let source = Source::open(&self.data)?;
        let rows = predict(session, &scorer, &source, &self.keep, &self.out)?;
        let (rows, took) = (table::count(rows), message::since(start));
        tracing::info!("{rows} rows scored in {took}, written to {}", self.out.display());
        Ok(())
    }
}

/// Scores everything, a piece at a time, and gives the number of rows.
pub fn predict(session: &Session, scorer: &Scorer, source: &Source, keep: &[String], out: &Path) -> Result<u64> {
    files::refuse_input(out, source)?;
    let predictions: Vec<String> =
        scorer.tasks().iter().flat_map(|task| [format!("p_{task}"), format!("joint_{task}")]).collect();
    if let Some(taken) = keep.iter().find(|column| predictions.contains(column)) {
        bail!("--keep {taken}: the predictions have a column of this name");
    }
    let keep: Vec<&str> = keep.iter().map(String::as_str).collect();
    if let Some((_, twice)) = keep.iter().enumerate().find(|(index, column)| keep[..*index].contains(column)) {
        bail!("--keep names {twice} twice");
    }
    let mut columns = scorer.features().columns(Purpose::Scoring);
    columns.extend(&keep);
    source.require(&columns)?;
    let schema = schema_of(&*source.types(&keep)?, &predictions, &scorer.network().objective);
    scorer.network().objective.unidentified().iter().for_each(|why| tracing::warn!("{why}; it is left empty"));

    let bar = session.bar(source.total_rows(), "scoring");
    let mut workspace = scorer.workspace(ROWS);
    let mut writer = Writer::create(out, schema.clone())?;
    let mut unknown = Unknown::new(scorer.features());
    let mut total = 0;
    let encode = |sender: &SyncSender<_>| {
        for rows in source.rows(&columns, ROWS) {
            let rows = rows?;
            let batch = scorer.features().encode(&rows, Purpose::Scoring)?;
            if sender.send(Ok((rows, batch))).is_err() {
                break;
            }
        }
        Ok(())
    };
    ahead(encode, |pieces| -> Result<()> {
        for piece in pieces {
            interrupt::check()?;
            let (rows, batch) = piece?;
            unknown.add(&batch);
            writer.write(&table_of(&rows, &schema, &scorer.score(&mut workspace, &batch)?)?)?;
            total += rows.len() as u64;
            bar.inc(rows.len() as u64);
        }
        Ok(())
    })?;
    writer.finish()?;
    bar.finish_and_clear();
    unknown.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(total)
}

/// The kept columns, then the predictions.
fn schema_of(kept: &Schema, predictions: &[String], objective: &Objective) -> SchemaRef {
    // Two for each task, of which the first may not be identified.
    let empty = |place: usize| place.is_multiple_of(2) && !objective.identified(place / 2);
    let predictions = predictions.iter().enumerate();
    let predictions = predictions.map(|(place, name)| Arc::new(Field::new(name, DataType::Float64, empty(place))));
    Arc::new(Schema::new(kept.fields().iter().cloned().chain(predictions).collect::<Vec<_>>()))
}

/// The kept columns and the predictions of some rows.
fn table_of(rows: &Rows, schema: &SchemaRef, scores: &Scores) -> Result<RecordBatch> {
    let kept: Vec<usize> = (0..schema.fields().len() - 2 * scores.tasks).collect();
    let mut arrays = rows.with_types(&schema.project(&kept)?)?.columns().to_vec();
    for task in 0..scores.tasks {
        let given = scores.given_parent(task).map(|p| (!p.is_nan()).then_some(p));
        arrays.push(Arc::new(given.collect::<Float64Array>()));
        arrays.push(Arc::new(Float64Array::from_iter_values(scores.from_impression(task))));
    }
    Ok(RecordBatch::try_new(schema.clone(), arrays)?)
}
