//! Models for other engines: a directory with an ONNX model and what somebody needs
//! to feed it.
//!
//! | file | holds |
//! |---|---|
//! | `model.onnx` | the network, from its inputs to the tasks' probabilities |
//! | `model.bin` | its weights, where they are too large for one message |
//! | `model.json` | inputs and how rows become them, outputs and what they mean |
//! | `vocabulary/<table>.csv` | `value`, `row`: of inputs that are rows of tables |
//! | `rate/<field>.csv` | key columns, then the numbers of a key |
//!
//! The network is told by its operations ([`Op::portable`](crate::compute::Op::portable)),
//! the probabilities by the objective; here they become nodes.

mod fed;
mod graph;
mod ids;
mod network;
mod onnx;
mod raw;
mod sidecar;

use std::path::Path;

use serde::Serialize;

use crate::compute::Products;
use crate::compute::portable::Value as Term;
use crate::data::Cells;
use crate::durable::replace_directory;
use crate::error::{Error, Result};
use crate::feature::{Features, Finder, Value};
use crate::objective::Objective;
use crate::scorer::Scorer;
use fed::Fed;
use graph::Graph;
use network::Read;
use sidecar::{Input, Output, Precision, Sidecar, Task, Versions};

const MODEL: &str = "model.onnx";
const WEIGHTS: &str = "model.bin";
const SIDECAR: &str = "model.json";

/// Above so many bytes the weights are written to a file of their own: what reads
/// one message takes less than 2³¹ bytes.
pub const EXTERNAL_ABOVE: u64 = 1_500_000_000;

/// What a model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inputs {
    /// Rows of tables, and numbers as the network reads them; any feature can be so fed.
    #[default]
    Ids,
    /// Texts and numbers as they stand in the log.
    Raw,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Whether the weights are in a file of their own.
    pub external: bool,
    /// What somebody should know about the model, one sentence each.
    pub notes: Vec<String>,
}

/// What inputs are asked for.
struct Asked<'f> {
    features: &'f Features,
    tasks: &'f [String],
    /// Whether the network looks at the rows' scenarios.
    scenario: bool,
}

impl Asked<'_> {
    /// What a column holds, where that is known.
    fn cells(&self, column: &str) -> Option<Cells> {
        self.features.reading().map(|reading| reading.columns.get(column).copied().unwrap_or(Cells::Text))
    }
}

/// Writes a model and what belongs to it into a new directory, or in place of an earlier
/// export. Weights of more than `external_above` bytes in all go to a file of their own.
///
/// # Errors
/// [`Error::Schema`] with the fields that cannot be encoded in a graph, where that is
/// asked; [`Error::File`] where the directory holds what no export writes; [`Error::Io`].
pub fn export(scorer: &Scorer, inputs: Inputs, external_above: u64, directory: &Path) -> Result<Exported> {
    refuse_to_replace(directory)?;
    let (features, learned) = (scorer.features(), scorer.learned());
    let (network, objective) = (scorer.network(), &scorer.network().objective);
    let maps = scorer.calibration().map(|calibration| calibration.by_scenario()).unwrap_or_default();
    let (portable, probabilities) = network.portable(learned.parameters(), maps)?;
    let scenario = network::asks_scenario(&portable);
    let asked = Asked { features, tasks: objective.names(), scenario };
    let mut graph = Graph::default();
    let (fed, described): (Fed, Vec<Input>) = match inputs {
        Inputs::Ids => ids::add(&mut graph, &asked),
        Inputs::Raw => raw::add(&mut graph, &asked)?,
    };
    let sets = fed.look_up(&mut graph, learned.tables(), network.sets.len());
    let sources: Vec<(String, String)> =
        sets.into_iter().enumerate().map(|(set, edge)| (network.source_of(set), edge)).collect();
    let edges = network::add(&mut graph, portable, &Read { sources: &sources, scenario: fed.scenario.as_ref() });
    let mut outputs = Vec::new();
    for (task, probabilities) in objective.names().iter().zip(&probabilities) {
        let both =
            [("given_parent", probabilities.given_parent), ("from_impression", Some(probabilities.from_impression))];
        for (what, value) in both {
            let Some(value) = value else { continue };
            let name = format!("{task}.{what}");
            graph.output(&name, &edges[Term::index(value)]);
            outputs.push(Output { name, task: task.clone(), means: what.into() });
        }
    }
    let trained = match scorer.spec().network.products {
        Products::Float32 => "float32",
        Products::Bfloat16 => "bfloat16",
    };
    let mut exported =
        Exported { inputs: described.len(), outputs: outputs.len(), external: false, notes: objective.unidentified() };
    let mut sidecar = Sidecar {
        format: sidecar::FORMAT,
        crosstie: env!("CARGO_PKG_VERSION").into(),
        onnx: Versions { ir: onnx::IR_VERSION, opset: onnx::OPSET, ml: onnx::ML.1 },
        model: scorer.spec().model.name().into(),
        form: inputs,
        training_rows: features.rows(),
        precision: Precision { exported: "float32", trained },
        external_data: None,
        null: features.reading().map(|reading| reading.null.clone()).unwrap_or_default(),
        inputs: described,
        outputs,
        tasks: tasks(objective),
        heads: objective.heads().iter().map(|head| head.name.clone()).collect(),
        scenarios: features.layout().scenarios.clone(),
        calibrated: scorer.calibration().is_some(),
        left_out: objective.unidentified(),
    };
    if trained != "float32" {
        exported.notes.push(
            "the network multiplies in bfloat16 here and in float32 there: probabilities differ by up to some \
             thousandths"
                .into(),
        );
    }
    let about = format!("{} for {}, exported by crosstie", sidecar.model, objective.names().join(", "));
    replace_directory(directory, |temporary| {
        exported.external = graph.write(temporary, [MODEL, WEIGHTS], &about, external_above)?;
        sidecar.external_data = exported.external.then(|| WEIGHTS.into());
        let path = temporary.join(SIDECAR);
        let text = serde_json::to_string_pretty(&sidecar).map_err(|error| Error::unwritten(&path, error))?;
        std::fs::write(&path, text + "\n").map_err(Error::io(&path))?;
        if inputs == Inputs::Ids { write_tables(features, temporary) } else { Ok(()) }
    })?;
    Ok(exported)
}

/// Refuses a directory with anything in it that no export writes: it would be gone.
fn refuse_to_replace(directory: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let name = entry.map_err(Error::io(directory))?.file_name();
        if ![MODEL, WEIGHTS, SIDECAR, sidecar::VOCABULARY, sidecar::RATE].iter().any(|own| name == **own) {
            let message = format!("holds `{}`, which is of no export: name another directory", name.display());
            return Err(Error::file(directory, message));
        }
    }
    Ok(())
}

fn tasks(objective: &Objective) -> Vec<Task> {
    let (names, funnel) = (objective.names(), objective.funnel());
    let after = |task: usize| funnel.parents[task].map(|parent| names[parent].clone());
    let task =
        |(task, name): (usize, &String)| Task { name: name.clone(), after: after(task), direct: funnel.direct[task] };
    names.iter().enumerate().map(task).collect()
}

/// Writes the values of vocabularies with their rows, and the keys of rates with their
/// numbers.
fn write_tables(features: &Features, directory: &Path) -> Result<()> {
    let mut written = Vec::new();
    for encoding in features.encodings() {
        if let Some(ids) = encoding.ids.filter(|ids| matches!(ids.finder, Finder::Vocabulary { .. })) {
            let file = sidecar::vocabulary_file(&features.layout().tables[ids.table].name);
            if !written.contains(&file) {
                let values = features.values(ids.table).into_iter().flatten();
                write_table(
                    &directory.join(&file),
                    &["value", "row"],
                    values.filter_map(|(row, value)| match value {
                        Value::Token(token) => Some(vec![String::from_utf8_lossy(token).into_owned(), row.to_string()]),
                        Value::Bucket { .. } => None,
                    }),
                )?;
                written.push(file);
            }
        }
        if let Some(rates) = encoding.rates {
            let names = features.schema().tasks.iter().map(|task| task.name.as_str());
            let header: Vec<&str> =
                rates.key.iter().map(String::as_str).chain(names).chain(rates.count().then_some("rows")).collect();
            let rows = rates.keys().zip(rates.values().chunks_exact(rates.width())).map(|(key, values)| {
                let key = key.into_iter().map(|cell| cell.unwrap_or_default().to_string());
                key.chain(values.iter().map(f32::to_string)).collect()
            });
            write_table(&directory.join(sidecar::rate_file(&encoding.field.name)), &header, rows)?;
        }
    }
    Ok(())
}

/// Writes a CSV file, and makes its folder if need be.
fn write_table(path: &Path, header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let unwritten = |error: csv::Error| Error::unwritten(path, error);
    let mut writer = csv::Writer::from_path(path).map_err(unwritten)?;
    writer.write_record(header).map_err(unwritten)?;
    for row in rows {
        writer.write_record(row).map_err(unwritten)?;
    }
    writer.flush().map_err(Error::io(path))
}
