//! Inputs as the network reads them: rows of tables, numbers, scenarios.

use super::Asked;
use super::fed::{Fed, Ids};
use super::graph::{Graph, rows};
use super::onnx::{self, Length};
use super::sidecar::{Encoding, Input};
use crate::feature::{FieldEncoding, Finder};

/// Adds the inputs, and says how each is encoded.
pub fn add(graph: &mut Graph<'_>, asked: &Asked<'_>) -> (Fed, Vec<Input>) {
    let (mut fed, mut inputs) = (Fed::default(), Vec::new());
    for encoding in asked.features.encodings() {
        let FieldEncoding { field, column, ids, number, rates } = encoding;
        let name = &field.name;
        if let Some(ids) = ids {
            let table = &asked.features.layout().tables[ids.table];
            let by = match ids.finder {
                Finder::Vocabulary { values } => Encoding::vocabulary(&table.name, values),
                Finder::Hash { buckets } => Encoding::hash(buckets),
                Finder::Cuts(cuts) => Encoding::cuts(cuts),
            };
            let input = |name: String, axes: Vec<Length>| Input {
                field: Some(field.name.clone()),
                column: Some(column.into()),
                cells: asked.cells(column),
                separator: ids.separator.map(Into::into),
                rows_of_table: Some(table.rows),
                encoding: by,
                ..Input::new(&name, onnx::INT64, &axes)
            };
            let (input, ids): (Input, fn(String) -> Ids) = match ids.separator {
                None => (input(format!("{name}.id"), vec![rows()]), Ids::One),
                Some(_) => {
                    let axes = vec![rows(), Length::Named(format!("values of {name}"))];
                    (input(format!("{name}.ids"), axes), Ids::Many)
                }
            };
            fed.ids.push(ids(graph.input(&input.name, onnx::INT64, &input.axes)));
            inputs.push(input);
        }
        let (width, column, by) = match (number, &rates) {
            (Some(number), _) => (number.width(), Some(column.into()), Encoding::number(number)),
            (None, Some(rates)) => (rates.width(), None, Encoding::rates(&field.name, rates, asked.tasks)),
            (None, None) => continue,
        };
        let axes = [rows(), Length::Fixed(width as i64)];
        let input = Input {
            field: Some(field.name.clone()),
            cells: column.as_deref().and_then(|column| asked.cells(column)),
            column,
            encoding: by,
            ..Input::new(&format!("{name}.numbers"), onnx::FLOAT, &axes)
        };
        fed.numbers.push(graph.input(&input.name, onnx::FLOAT, &input.axes));
        inputs.push(input);
    }
    if asked.scenario {
        let column = asked.features.schema().scenario.clone();
        let input = Input {
            cells: column.as_deref().and_then(|column| asked.cells(column)),
            column,
            encoding: Encoding::scenario(&asked.features.layout().scenarios),
            ..Input::new("scenario", onnx::INT64, &[rows()])
        };
        fed.scenario = Some(graph.input(&input.name, onnx::INT64, &input.axes));
        inputs.push(input);
    }
    (fed, inputs)
}
