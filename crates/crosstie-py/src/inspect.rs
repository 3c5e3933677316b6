//! What is in a model, for people and programs.

use crosstie::feature::FieldSummary;
use crosstie::learned::Tensor;
use crosstie::scorer::Scorer;
use serde_json::{Map, Value, json};

pub fn inspect(scorer: &Scorer) -> Value {
    let (features, layout) = (scorer.features(), scorer.features().layout());
    let (network, summary) = (scorer.network(), features.summary());
    let tensor = |Tensor { name, shape, .. }: Tensor<'_>| json!({ "name": name, "shape": shape });
    let maps = scorer.calibration().map(|maps| maps.written(&network.objective, &layout.scenarios));
    let shown = network.diagnostics.iter().map(|shown| (shown.name(), json!(shown.columns)));
    json!({
        "model": scorer.spec().model.name(),
        "spec": scorer.spec(),
        "schema": features.schema(),
        "tasks": scorer.tasks(),
        "scenarios": summary.scenarios,
        "training_rows": summary.rows,
        "fields": summary.fields.iter().map(field).collect::<Vec<_>>(),
        "tables": scorer.learned().table_tensors().map(tensor).collect::<Vec<_>>(),
        "parameters": scorer.learned().dense_tensors().map(tensor).collect::<Vec<_>>(),
        "masks": masks(scorer),
        "calibration": maps,
        "diagnostics": shown.collect::<Map<_, _>>(),
        "unidentified": network.objective.unidentified(),
    })
}

fn field(field: &FieldSummary) -> Value {
    json!({
        "name": field.name,
        "kind": field.kind,
        "side": field.side,
        "encoding": field.encoding,
        "table": field.table,
        "size": field.size,
        "width": field.width,
        "frequent": field.frequent,
    })
}

/// Of a model whose tasks have subnetworks of one network: of each layer, which share of
/// its connections each task keeps.
fn masks(scorer: &Scorer) -> Value {
    let (network, parameters) = (scorer.network(), scorer.learned().parameters());
    let layers = network.masks.iter().map(|masks| {
        let kept = scorer.tasks().iter().zip(&masks.of_task).map(|(task, mask)| {
            let mask = &parameters[network.program.parameter(*mask).range()];
            let kept = mask.iter().filter(|kept| **kept != 0.0).count();
            (task.clone(), json!(kept as f64 / mask.len().max(1) as f64))
        });
        let name = network.program.parameter(masks.weight).name.trim_end_matches(".weight");
        json!({ "layer": name, "kept": kept.collect::<Map<_, _>>() })
    });
    Value::Array(layers.collect())
}
