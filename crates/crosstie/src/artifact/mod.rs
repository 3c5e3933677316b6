//! Artifacts: an immutable directory with all that scoring needs. The layout
//! is described in `docs/formats.md`.
//!
//! An artifact is written to a temporary sibling, forced to the disk, and
//! renamed, so it is there whole or not at all. Every file in it is listed in
//! the manifest with its size and checksum, and a few rows with their expected
//! scores are scored anew whenever it is loaded.

mod manifest;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use manifest::{FORMAT, Manifest};

use crate::calibration::Calibration;
use crate::compute::Products;
use crate::data::{Rows, Source, Writer};
use crate::durable::{recover, replace_directory};
use crate::embedding::EmbeddingConfig;
use crate::error::{Error, Result};
use crate::feature::{Features, Purpose};
use crate::layer::Style;
use crate::learned::{Learned, Scores, Tensor};
use crate::model::ModelConfig;
use crate::objective::ObjectiveConfig;
use crate::scorer::Scorer;
use crate::sealed;
use crate::spec::ModelSpec;
use crate::tensors::{self, Numbers, TensorFile};

/// Where the artifact of a run is in it.
pub const OF_RUN: &str = "artifact";
/// The list of an artifact's files.
pub const MANIFEST: &str = "manifest.json";
/// What the model is. Format 1 had the whole configuration of the training here,
/// with the same sections.
const CONFIG: &str = "config.toml";
const FEATURES: &str = "features";
const DENSE: &str = "dense.safetensors";
const EMBEDDING: &str = "embedding.safetensors";
/// The maps of the probabilities, where these are calibrated. Formats 1 and 2 had none.
const CALIBRATION: &str = "calibration.json";
/// The file of the golden rows.
pub const GOLDEN_ROWS: &str = "golden.parquet";
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
    /// Row by row, task by task; null where it is not identified. Older artifacts
    /// have numbers there that mean nothing.
    given_parent: Vec<Option<f64>>,
    /// Row by row, task by task.
    from_impression: Vec<f64>,
}

/// Writes an artifact. The first rows of `source` become the golden rows; it needs the
/// feature columns only.
///
/// # Errors
/// [`Error::Io`] of a full disk and the like, [`Error::Unfit`] without an
/// example; an existing directory is replaced as a whole.
pub fn save(scorer: &Scorer, source: &Source, directory: &Path) -> Result<()> {
    replace_directory(directory, |temporary| {
        let features = temporary.join(FEATURES);
        fs::create_dir(&features).map_err(Error::io(&features))?;
        scorer.features().save(&features)?;
        let config = temporary.join(CONFIG);
        fs::write(&config, scorer.spec().to_toml()).map_err(Error::io(&config))?;
        let parts = |Tensor { name, shape, values }| (name, shape, values);
        tensors::write(&temporary.join(DENSE), scorer.learned().dense_tensors().map(parts))?;
        tensors::write(&temporary.join(EMBEDDING), scorer.learned().table_tensors().map(parts))?;
        write_calibration(scorer, temporary)?;
        write_golden(scorer, source, temporary)?;
        sealed::write(&temporary.join(MANIFEST), &Manifest::of(scorer, temporary)?)
    })
}

fn write_calibration(scorer: &Scorer, directory: &Path) -> Result<()> {
    let Some(calibration) = scorer.calibration() else { return Ok(()) };
    let path = directory.join(CALIBRATION);
    let written = calibration.written(&scorer.network().objective, &scorer.features().layout().scenarios);
    let text = serde_json::to_string_pretty(&written).map_err(|error| Error::unwritten(&path, error))?;
    fs::write(&path, text).map_err(Error::io(&path))
}

/// The maps of an artifact, if it has any. A file that the manifest does not list is
/// none of its.
fn read_calibration(manifest: &Manifest, scorer: Scorer, directory: &Path) -> Result<Scorer> {
    if !manifest.files.contains_key(CALIBRATION) {
        return Ok(scorer);
    }
    let path = directory.join(CALIBRATION);
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let written =
        serde_json::from_str(&text).map_err(|error| Error::artifact(&path, error.to_string()).because(error))?;
    let calibration = Calibration::read(written, &scorer.network().objective, &scorer.features().layout().scenarios)
        .map_err(|message| Error::artifact(&path, message))?;
    Ok(scorer.with_calibration(calibration))
}

/// The rows by which an artifact checks itself: the first of a source, copied, with the
/// columns that scoring reads, in types that do not tell where they came from.
///
/// # Errors
/// Those of reading; [`Error::Unfit`] for a source without rows.
pub fn examples(scorer: &Scorer, source: &Source) -> Result<Source> {
    let columns = scorer.features().columns(Purpose::Scoring);
    let Some(rows) = source.rows(&columns, GOLDEN).next() else {
        return Err(Error::unfit(&source.files()[0], "there is not a single row to check the artifact with"));
    };
    Source::from_batches(&source.files()[0], vec![rows?.in_plain_types()?])
}

fn write_golden(scorer: &Scorer, source: &Source, directory: &Path) -> Result<()> {
    let columns = scorer.features().columns(Purpose::Scoring);
    let path = directory.join(GOLDEN_ROWS);
    for rows in examples(scorer, source)?.rows(&columns, GOLDEN) {
        let batch = rows?.batch;
        let mut writer = Writer::within(&path, batch.schema())?;
        writer.write(&batch)?;
        writer.finish()?;
    }
    // What is read back is what will be scored after loading.
    let Scores { given_parent, from_impression, .. } = score_golden(scorer, &path)?;
    let given_parent = given_parent.into_iter().map(|p| (!p.is_nan()).then_some(p)).collect();
    let golden = Golden { tasks: scorer.tasks().to_vec(), given_parent, from_impression };
    let path = directory.join(GOLDEN_SCORES);
    let text = serde_json::to_string_pretty(&golden).map_err(|error| Error::unwritten(&path, error))?;
    fs::write(&path, text).map_err(Error::io(&path))
}

fn score_golden(scorer: &Scorer, path: &Path) -> Result<Scores> {
    let source = Source::open(&[path.to_string_lossy()])?;
    let columns = scorer.features().columns(Purpose::Scoring);
    let mut scores = Scores::default();
    let mut workspace = scorer.workspace(GOLDEN);
    for rows in source.rows(&columns, GOLDEN) {
        let rows: Rows = rows?;
        let found = scorer.score_rows(&mut workspace, &rows)?;
        scores.given_parent.extend(found.given_parent);
        scores.from_impression.extend(found.from_impression);
    }
    Ok(scores)
}

/// Whether a directory is an artifact, sound or not.
pub fn is_artifact(path: &Path) -> bool {
    path.join(MANIFEST).is_file()
}

/// The artifact that a path means: that of a run, else itself.
pub fn meant_by(path: &Path) -> PathBuf {
    let of_run = path.join(OF_RUN);
    if !is_artifact(path) && of_run.is_dir() { of_run } else { path.to_path_buf() }
}

/// Loads an artifact: checks its version, every file's size and checksum, that its
/// maps are increasing, and the scores of its golden rows.
///
/// # Errors
/// [`Error::Artifact`] naming the file that is damaged, missing, or of a newer
/// version.
pub fn load(directory: &Path) -> Result<Scorer> {
    if !directory.exists() {
        recover(directory)?;
    }
    let manifest = Manifest::read(&directory.join(MANIFEST))?;
    sealed::verify(directory, &manifest.files)?;
    let mut spec = read_spec(&manifest, directory)?;
    let features = Arc::new(Features::load(&directory.join(FEATURES))?);
    let heads = spec.objective(features.schema())?;
    if heads.heads().iter().map(|head| &head.name).ne(&manifest.heads) {
        keep_ways(&mut spec, &manifest);
    }
    let network = Arc::new(spec.network(features.schema(), features.layout())?);
    let mut dense = TensorFile::open(&directory.join(DENSE))?;
    let mut tables = TensorFile::open(&directory.join(EMBEDDING))?;
    let read = |name: &str, shape: &[usize], into: &mut [f32]| {
        let file = if dense.len_of(name).is_some() { &mut dense } else { &mut tables };
        file.read(name, shape, Numbers::F32(into))
    };
    let learned = Learned::from_tensors(network, features.layout(), read)?;
    let scorer = read_calibration(&manifest, Scorer::new(spec, features, learned), directory)?;
    check_golden(&scorer, directory)?;
    Ok(scorer)
}

/// What the model is.
fn read_spec(manifest: &Manifest, directory: &Path) -> Result<ModelSpec> {
    /// The sections of a training's configuration that make a model.
    #[derive(Deserialize)]
    struct Config {
        train: Train,
        model: ModelConfig,
        network: Style,
        embedding: EmbeddingConfig,
        objective: ObjectiveConfig,
    }
    #[derive(Deserialize)]
    struct Train {
        seed: u64,
    }
    let path = directory.join(CONFIG);
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let text = as_meant(text, manifest.format);
    if manifest.format > 1 {
        return ModelSpec::parse(&text).map_err(|error| Error::artifact(&path, error.to_string()).because(error));
    }
    let Config { train, model, network, embedding, objective } =
        toml::from_str(&text).map_err(|error| Error::artifact(&path, error.to_string()).because(error))?;
    Ok(ModelSpec { seed: train.seed, model, network, embedding, objective })
}

/// Before format 4 EKTM transferred representations and AEM2TL's scenarios had separate
/// networks, before format 5 EKTM had no network that all tasks learn together, and nobody
/// had to say so. In format 5 it had one, whose settings were a section of their own. From
/// format 6 on a config says all that it means.
fn as_meant(text: String, format: u32) -> String {
    let Ok(mut config) = toml::from_str::<toml::Table>(&text) else { return text };
    let Some(model) = config.get_mut("model").and_then(toml::Value::as_table_mut) else { return text };
    let name = model.get("name").and_then(toml::Value::as_str).unwrap_or_default().to_string();
    let mut say = |key: &str, meant: toml::Value| drop(model.insert(key.into(), meant));
    match name.as_str() {
        "ektm" if format == 5 => {
            let Some(shared) = model.get_mut("shared").and_then(toml::Value::as_table_mut) else { return text };
            if let Some(toml::Value::Table(network)) = shared.remove("network") {
                shared.extend(network);
            }
            shared.insert("networks".into(), 1.into());
        }
        "ektm" if format < 5 => {
            say("shared", toml::Table::from_iter([("enabled".to_string(), false.into())]).into());
            if format < 4 {
                say("transfer", "representations".into());
            }
        }
        "aem2tl" if format < 4 => say("scenario_weights", "separate".into()),
        _ => return text,
    }
    config.to_string()
}

/// Has the ways of which the manifest has heads, whatever the model chooses where it is
/// not told: earlier versions split more conversions.
fn keep_ways(spec: &mut ModelSpec, manifest: &Manifest) {
    let tasks = || manifest.tasks.iter();
    for (task, action) in tasks().flat_map(|task| tasks().map(move |action| (task, action))) {
        if manifest.heads.contains(&format!("{task}_with_{action}")) {
            spec.objective.via.insert(task.clone(), action.clone());
        }
    }
}

fn check_golden(scorer: &Scorer, directory: &Path) -> Result<()> {
    let path = directory.join(GOLDEN_SCORES);
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let golden: Golden =
        serde_json::from_str(&text).map_err(|error| Error::artifact(&path, error.to_string()).because(error))?;
    let found = score_golden(scorer, &directory.join(GOLDEN_ROWS))?;
    let tolerance = tolerance(scorer.spec().network.products);
    let from_impression = golden.from_impression.into_iter().map(Some).collect();
    let pairs = [(golden.given_parent, &found.given_parent), (from_impression, &found.from_impression)];
    for (expected, found) in pairs {
        let same = |(expected, found): (&Option<f64>, &f64)| match expected {
            _ if found.is_nan() => true,
            Some(expected) => (expected - found).abs() <= tolerance,
            None => false,
        };
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
