//! Artifacts: an immutable directory with all that scoring needs. The layout
//! is described in `docs/formats.md`.
//!
//! An artifact is written to a temporary sibling, forced to the disk, and
//! renamed, so it is there whole or not at all. Every file in it is listed in
//! the manifest with its size and checksum, and a few rows with their expected
//! scores are scored anew whenever it is loaded.

mod durable;
mod manifest;
mod tensors;

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use durable::replace_directory;
pub use manifest::{FORMAT, FileEntry, Manifest};

use crate::compute::Products;
use crate::config::Config;
use crate::data::{Rows, Source, Writer};
use crate::error::{Error, Result};
use crate::feature::{Features, Purpose};
use crate::scorer::{Scorer, Scores};

const MANIFEST: &str = "manifest.json";
const CONFIG: &str = "config.toml";
const FEATURES: &str = "features";
const DENSE: &str = "dense.safetensors";
const EMBEDDING: &str = "embedding.safetensors";
const GOLDEN_ROWS: &str = "golden.parquet";
const GOLDEN_SCORES: &str = "golden.json";

/// Rows that an artifact keeps for its self-check.
pub const GOLDEN: usize = 8;

/// Largest difference between a golden row's expected and computed
/// probabilities: what another processor's order of additions may change, and
/// with bfloat16 which of two neighbours a number is then rounded to.
fn tolerance(products: Products) -> f64 {
    match products {
        Products::Float32 => 1e-5,
        Products::Bfloat16 => 1e-3,
    }
}

/// Expected scores of the golden rows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    tasks: Vec<String>,
    /// Row by row, task by task.
    given_parent: Vec<f64>,
    /// Row by row, task by task.
    from_impression: Vec<f64>,
}

/// Writes an artifact. `examples` is a source whose first rows become the
/// golden rows; it needs the feature columns only.
///
/// # Errors
/// [`Error::Io`] of a full disk and the like; an existing directory is
/// replaced as a whole.
pub fn save(scorer: &Scorer, examples: &Source, directory: &Path) -> Result<()> {
    replace_directory(directory, |temporary| {
        let features = temporary.join(FEATURES);
        fs::create_dir(&features).map_err(Error::io(&features))?;
        scorer.features().save(&features)?;
        let config = temporary.join(CONFIG);
        fs::write(&config, scorer.config().to_toml()).map_err(Error::io(&config))?;
        let program = &scorer.network().program;
        let dense = program.parameters().iter().map(|parameter| {
            (parameter.name.as_str(), parameter.shape.clone(), &scorer.parameters()[parameter.range()])
        });
        tensors::write(&temporary.join(DENSE), dense)?;
        let tables =
            scorer.embeddings().tables().map(|(name, rows, width, weights)| (name, vec![rows, width], weights));
        tensors::write(&temporary.join(EMBEDDING), tables)?;
        write_golden(scorer, examples, temporary)?;
        Manifest::of(scorer, temporary)?.write(&temporary.join(MANIFEST))
    })
}

fn write_golden(scorer: &Scorer, examples: &Source, directory: &Path) -> Result<()> {
    let columns = scorer.features().columns(Purpose::Scoring);
    let Some(rows) = examples.rows(&columns, GOLDEN).next() else {
        return Err(Error::Config("there is not a single row to check the artifact with".into()));
    };
    let rows = rows?;
    let path = directory.join(GOLDEN_ROWS);
    let mut writer = Writer::create(&path, rows.batch.schema())?;
    writer.write(&rows.batch)?;
    writer.finish()?;
    // What is read back is what will be scored after loading.
    let Scores { given_parent, from_impression } = score_golden(scorer, &path)?;
    let golden = Golden { tasks: scorer.tasks().to_vec(), given_parent, from_impression };
    let path = directory.join(GOLDEN_SCORES);
    let text = serde_json::to_string_pretty(&golden).map_err(|error| Error::artifact(&path, error.to_string()))?;
    fs::write(&path, text).map_err(Error::io(&path))
}

fn score_golden(scorer: &Scorer, path: &Path) -> Result<Scores> {
    let source = Source::open(&[path.to_string_lossy()])?;
    let columns = scorer.features().columns(Purpose::Scoring);
    let mut scores = Scores::default();
    let mut workspace = scorer.workspace();
    for rows in source.rows(&columns, GOLDEN) {
        let rows: Rows = rows?;
        let found = scorer.score_rows(&mut workspace, &rows)?;
        scores.given_parent.extend(found.given_parent);
        scores.from_impression.extend(found.from_impression);
    }
    Ok(scores)
}

/// Loads an artifact: checks its version, every file's size and checksum, and
/// the scores of its golden rows.
///
/// # Errors
/// [`Error::Artifact`] naming the file that is damaged, missing, or of a newer
/// version.
pub fn load(directory: &Path) -> Result<Scorer> {
    let manifest = Manifest::read(&directory.join(MANIFEST))?;
    manifest.verify(directory)?;
    let path = directory.join(CONFIG);
    let config = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let config = Config::parse(&config, &[]).map_err(|error| Error::artifact(&path, error.to_string()))?;
    let features = Features::load(&directory.join(FEATURES))?;
    let mut scorer = Scorer::new(&config, features)?;
    load_tensors(&mut scorer, directory)?;
    scorer.prepare();
    check_golden(&scorer, directory)?;
    Ok(scorer)
}

fn load_tensors(scorer: &mut Scorer, directory: &Path) -> Result<()> {
    let dense = tensors::read(&directory.join(DENSE))?;
    for parameter in scorer.network.program.parameters() {
        let values = dense.take(&parameter.name, &parameter.shape)?;
        scorer.parameters[parameter.range()].copy_from_slice(&values);
    }
    let tables = tensors::read(&directory.join(EMBEDDING))?;
    let shapes: Vec<[usize; 2]> = scorer.embeddings.tables().map(|(_, rows, width, _)| [rows, width]).collect();
    for ((name, weights), shape) in scorer.embeddings.weights_mut().zip(shapes) {
        *weights = tables.take(name, &shape)?;
    }
    Ok(())
}

fn check_golden(scorer: &Scorer, directory: &Path) -> Result<()> {
    let path = directory.join(GOLDEN_SCORES);
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let golden: Golden = serde_json::from_str(&text).map_err(|error| Error::artifact(&path, error.to_string()))?;
    let found = score_golden(scorer, &directory.join(GOLDEN_ROWS))?;
    let tolerance = tolerance(scorer.config.network.products);
    let pairs = [(&golden.given_parent, &found.given_parent), (&golden.from_impression, &found.from_impression)];
    for (expected, found) in pairs {
        let same = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance;
        if expected.len() != found.len() || !expected.iter().zip(found).all(same) {
            return Err(Error::artifact(
                &path,
                "the golden rows score differently here than where the artifact was made; it would not predict what \
                 it predicted then",
            ));
        }
    }
    Ok(())
}
