//! What is in an artifact.

use std::path::Path;

use anyhow::Result;
use crosstie::artifact::{MANIFEST, Manifest, load};
use crosstie::feature::FieldSummary;
use crosstie::learned::Tensor;
use crosstie::objective::Condition;
use crosstie::scorer::Scorer;

use super::masks;
use crate::{output, run, table};

/// Most frequent values told per field.
const FREQUENT: usize = 3;

pub fn inspect(path: &Path, graph: bool) -> Result<()> {
    let directory = run::artifact(path)?;
    let scorer = load(&directory)?;
    if graph {
        return output::print(scorer.network().program.mermaid().trim_end());
    }
    let manifest = Manifest::read(&directory.join(MANIFEST))?;
    let features = scorer.features().summary();

    let about = [
        table::sentence(&[
            format!("{} in {}:", manifest.model, directory.display()),
            format!("format {},", manifest.format),
            format!("written by crosstie {},", manifest.crosstie),
            format!("trained on {} rows", table::count(features.rows)),
        ]),
        table::wrapped(&format!("tasks: {}", manifest.tasks.join(", ")), 0),
        table::wrapped(&format!("scenarios: {}", manifest.scenarios.join(", ")), 0),
    ];
    let mut parts = vec![about.join("\n")];
    parts.push(table::table(
        &["field", "~kind", "~how it is read", "~table", ">size", ">width", "~most frequent"],
        features.fields.iter().map(field),
    ));

    let shape = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
    let tensor = |file: &str, tensor: Tensor<'_>| {
        vec![tensor.name.into(), file.into(), shape(&tensor.shape), table::count(tensor.values.len() as u64)]
    };
    let tables = scorer.learned().table_tensors().map(|one| tensor("embedding", one));
    let tensors = tables.chain(scorer.learned().dense_tensors().map(|one| tensor("dense", one)));
    parts.push(table::table(&["tensor", "~file", ">shape", ">weights"], tensors));

    parts.extend(masks::tables(&scorer));
    parts.extend(maps(&scorer));

    let files = manifest.files.iter().map(|(name, entry)| vec![name.clone(), table::bytes(entry.bytes)]);
    parts.push(table::table(&["file", ">size"], files));
    output::print(parts.join("\n\n"))
}

/// The maps of the tasks, of a calibrated model.
fn maps(scorer: &Scorer) -> Option<String> {
    let (calibration, objective) = (scorer.calibration()?, &scorer.network().objective);
    let lines = objective.mapped().filter_map(|(task, condition)| {
        let (map, own) = calibration.map(task, condition)?;
        let on = match condition {
            Condition::WithoutParent => "without parent",
            Condition::FromImpression => "from impression",
            _ => "given parent",
        };
        let (slope, intercept) = (table::figure(Some(map.slope)), table::figure(Some(map.intercept)));
        Some(vec![objective.names()[task].clone(), on.into(), slope, intercept, own.to_string()])
    });
    Some(table::table(&["calibration of", "on", ">slope", ">intercept", ">scenarios with their own"], lines))
}

fn field(field: &FieldSummary) -> Vec<String> {
    let frequent =
        field.frequent.iter().take(FREQUENT).map(|(value, rows)| format!("{value} ({})", table::count(*rows)));
    vec![
        field.name.clone(),
        field.kind.into(),
        field.encoding.clone(),
        field.table.clone().unwrap_or_else(|| "-".into()),
        if field.size > 0 { table::count(field.size as u64) } else { "-".into() },
        field.width.to_string(),
        frequent.collect::<Vec<_>>().join(", "),
    ]
}
