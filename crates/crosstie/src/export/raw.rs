//! Inputs as they stand in the log: texts and numbers, encoded in the graph.

use std::collections::BTreeMap;

use super::Asked;
use super::fed::{Fed, Ids};
use super::graph::{Edge, Graph, rows};
use super::onnx::{self, Attribute};
use super::sidecar::{Encoding, Input};
use crate::error::{Error, Result};
use crate::feature::{FieldEncoding, Finder, KNOWN, MISSING, Number, RateEncoding, UNKNOWN, Value};
use crate::schema::Schema;

/// Most values that a graph looks up by their text: reading more takes engines too
/// long and too much memory.
const MOST: usize = 1_000_000;

/// Adds the inputs and the nodes that encode them.
///
/// # Errors
/// [`Error::Schema`] with every field that a graph cannot encode, and why.
pub fn add(graph: &mut Graph<'_>, asked: &Asked<'_>) -> Result<(Fed, Vec<Input>)> {
    let reasons: Vec<String> = asked.features.encodings().filter_map(|encoding| impossible(&encoding)).collect();
    if !reasons.is_empty() {
        return Err(Error::Schema(format!(
            "rows as they stand in the log cannot be encoded within an ONNX model: {}; export with `--inputs ids` and \
             encode them as its model.json says",
            reasons.join(", ")
        )));
    }
    let mut raw = Raw { graph, asked, texts: BTreeMap::new(), numbers: BTreeMap::new(), inputs: Vec::new() };
    let mut fed = Fed::default();
    for FieldEncoding { field, column, ids, number, rates } in asked.features.encodings() {
        if let Some(ids) = &ids {
            fed.ids.push(Ids::One(match ids.finder {
                Finder::Cuts(cuts) => raw.bucket(&field.name, column, cuts),
                _ => raw.token(&field.name, column, ids.table),
            }));
        }
        if let Some(number) = number {
            fed.numbers.push(raw.number(&field.name, column, number));
        }
        if let Some(rates) = rates {
            fed.numbers.push(raw.rates(&field.name, &rates));
        }
    }
    if let (true, Some(column)) = (asked.scenario, &asked.features.schema().scenario) {
        fed.scenario = Some(raw.scenario(column));
    }
    let inputs = raw.inputs;
    Ok((fed, inputs))
}

/// Why a field cannot be encoded in a graph.
fn impossible(FieldEncoding { field, ids, rates, .. }: &FieldEncoding<'_>) -> Option<String> {
    let name = &field.name;
    let of_ids = ids.as_ref().and_then(|ids| match (&ids.separator, &ids.finder) {
        (Some(_), _) => Some("has several values in a cell".into()),
        (_, Finder::Hash { .. }) => Some("is hashed (XXH3), for which ONNX has no operator".into()),
        (_, Finder::Vocabulary { values }) if *values > MOST => {
            Some(format!("has {values} values, and more than {MOST} are not looked up by text"))
        }
        _ => None,
    });
    let of_rates = rates.as_ref().and_then(|rates| match (rates.key.len(), rates.keys().len()) {
        (columns @ 2.., _) => Some(format!("has rates of a key of {columns} columns")),
        (_, keys) if keys > MOST => {
            Some(format!("has rates of {keys} keys, and more than {MOST} are not looked up by text"))
        }
        _ => None,
    });
    of_ids.or(of_rates).map(|reason: String| format!("field `{name}` {reason}"))
}

/// A column of numbers.
#[derive(Clone)]
struct Numbers {
    /// float64, rows × 1; 0 where missing.
    present: Edge,
    /// Whether it is missing, rows × 1.
    missing: Edge,
}

struct Raw<'g, 'a, 'f> {
    graph: &'g mut Graph<'a>,
    asked: &'f Asked<'f>,
    texts: BTreeMap<String, Edge>,
    numbers: BTreeMap<String, Numbers>,
    inputs: Vec<Input>,
}

impl Raw<'_, '_, '_> {
    fn input(&mut self, name: &str, column: &str, kind: i32) -> Edge {
        let input = Input {
            column: Some(column.into()),
            cells: self.asked.cells(column),
            encoding: Encoding::AsItStands,
            ..Input::new(name, kind, &[rows()])
        };
        let edge = self.graph.input(&input.name, kind, &input.axes);
        self.inputs.push(input);
        edge
    }

    /// The text of a column's cells.
    fn text(&mut self, column: &str) -> Edge {
        if let Some(edge) = self.texts.get(column) {
            return edge.clone();
        }
        let edge = self.input(column, column, onnx::STRING);
        self.texts.insert(column.into(), edge.clone());
        edge
    }

    /// The numbers of a column, whose input has another name where its text is read, too.
    fn column(&mut self, column: &str) -> Numbers {
        if let Some(numbers) = self.numbers.get(column) {
            return numbers.clone();
        }
        let name = match reads_text(self.asked, column) {
            true => format!("{column}.number"),
            false => column.into(),
        };
        let input = self.input(&name, column, onnx::DOUBLE);
        let (graph, of) = (&mut *self.graph, column);
        let axis = graph.ints(of, vec![1]);
        let x = graph.node(of, "Unsqueeze", &[&input, &axis], vec![]);
        let mut missing = graph.node(of, "IsNaN", &[&x], vec![]);
        let nulls = self.asked.features.reading().map(|reading| &reading.null[..]).unwrap_or_default();
        for null in nulls.iter().filter_map(|null| null.parse::<f64>().ok()).filter(|null| !null.is_nan()) {
            let null = graph.doubles(of, vec![null]);
            let same = graph.node(of, "Equal", &[&x, &null], vec![]);
            missing = graph.node(of, "Or", &[&missing, &same], vec![]);
        }
        let zero = graph.doubles(of, vec![0.0]);
        let present = graph.node(of, "Where", &[&missing, &zero, &x], vec![]);
        let numbers = Numbers { present, missing };
        self.numbers.insert(column.into(), numbers.clone());
        numbers
    }

    /// A number for each of some texts, and one for all others.
    fn look_up(&mut self, of: &str, column: &str, keys: Vec<(Vec<u8>, i64)>, other: i64) -> Edge {
        let input = self.text(column);
        let (keys, values) = keys.into_iter().unzip();
        let attributes = vec![
            Attribute::strings("keys_strings", keys),
            Attribute::ints("values_int64s", values),
            Attribute::int("default_int64", other),
        ];
        self.graph.node_of(onnx::ML.0, of, "LabelEncoder", &[&input], attributes)
    }

    /// The texts that say that nothing is there, each with the number of that.
    fn nothing(&self, number: i64) -> Vec<(Vec<u8>, i64)> {
        let nulls = self.asked.features.reading().map(|reading| &reading.null[..]).unwrap_or_default();
        let mut texts: Vec<&str> = nulls.iter().map(String::as_str).chain([""]).collect();
        texts.sort_unstable();
        texts.dedup();
        texts.into_iter().map(|text| (text.into(), number)).collect()
    }

    fn token(&mut self, of: &str, column: &str, table: usize) -> Edge {
        let mut keys = self.nothing(MISSING.into());
        let values = self.asked.features.values(table).into_iter().flatten();
        keys.extend(values.filter_map(|(row, value)| match value {
            Value::Token(token) => Some((token.to_vec(), row.into())),
            Value::Bucket { .. } => None,
        }));
        self.look_up(of, column, keys, UNKNOWN.into())
    }

    fn scenario(&mut self, column: &str) -> Edge {
        let known = self.asked.features.layout().scenarios.iter().zip(0..).skip(1);
        let keys = known.map(|(name, number)| (name.clone().into_bytes(), number)).collect();
        self.look_up("scenario", column, keys, 0)
    }

    fn rates(&mut self, of: &str, rates: &RateEncoding<'_>) -> Edge {
        let count = rates.keys().len();
        let known = rates.keys().zip(0..).map(|(key, number)| (key.into_iter().next().flatten(), number));
        let (mut keys, mut nothing) = (Vec::new(), count as i64);
        for (text, number) in known {
            match text {
                Some(text) => keys.push((text.as_bytes().to_vec(), number)),
                None => nothing = number,
            }
        }
        keys.extend(self.nothing(nothing));
        let key = self.look_up(of, &rates.key[0], keys, count as i64);
        let values = self.graph.floats(of, &[count + 1, rates.width()], rates.values().to_vec());
        self.graph.node(of, "Gather", &[&values, &key], vec![])
    }

    fn bucket(&mut self, of: &str, column: &str, cuts: &[f64]) -> Edge {
        let Numbers { present, missing } = self.column(column);
        let graph = &mut *self.graph;
        let known = graph.ints(of, vec![KNOWN.into()]);
        let reached = match cuts {
            [] => {
                let none = graph.node(of, "Cast", &[&present], vec![to(onnx::INT64)]);
                graph.node(of, "Sub", &[&none, &none], vec![])
            }
            _ => {
                let cuts = graph.doubles(of, cuts.to_vec());
                let reached = graph.node(of, "GreaterOrEqual", &[&present, &cuts], vec![]);
                let reached = graph.node(of, "Cast", &[&reached], vec![to(onnx::INT64)]);
                let axis = graph.ints(of, vec![1]);
                graph.node(of, "ReduceSum", &[&reached, &axis], vec![Attribute::int("keepdims", 1)])
            }
        };
        let row = graph.node(of, "Add", &[&reached, &known], vec![]);
        let nothing = graph.ints(of, vec![MISSING.into()]);
        let row = graph.node(of, "Where", &[&missing, &nothing, &row], vec![]);
        let axis = graph.ints(of, vec![1]);
        graph.node(of, "Squeeze", &[&row, &axis], vec![])
    }

    /// In float64 until it is what the network reads.
    fn number(&mut self, of: &str, column: &str, Number { log, scale, indicator }: Number) -> Edge {
        let Numbers { present: mut x, missing } = self.column(column);
        let graph = &mut *self.graph;
        if log {
            let one = graph.doubles(of, vec![1.0]);
            let (size, sign) = (graph.node(of, "Abs", &[&x], vec![]), graph.node(of, "Sign", &[&x], vec![]));
            let size = graph.node(of, "Add", &[&size, &one], vec![]);
            let size = graph.node(of, "Log", &[&size], vec![]);
            x = graph.node(of, "Mul", &[&sign, &size], vec![]);
        }
        if let Some(scale) = scale {
            if let Some([least, most]) = scale.range {
                let [least, most] = [least, most].map(|bound| graph.doubles(of, vec![bound]));
                x = graph.node(of, "Max", &[&x, &least], vec![]);
                x = graph.node(of, "Min", &[&x, &most], vec![]);
            }
            let [mean, deviation] =
                [scale.mean, scale.standard_deviation].map(|number| graph.doubles(of, vec![number]));
            x = graph.node(of, "Sub", &[&x, &mean], vec![]);
            x = graph.node(of, "Div", &[&x, &deviation], vec![]);
        }
        let [least, most] = [f32::MIN, f32::MAX].map(|bound| graph.doubles(of, vec![bound.into()]));
        x = graph.node(of, "Max", &[&x, &least], vec![]);
        x = graph.node(of, "Min", &[&x, &most], vec![]);
        x = graph.node(of, "Cast", &[&x], vec![to(onnx::FLOAT)]);
        let zero = graph.floats(of, &[1], vec![0.0]);
        x = graph.node(of, "Where", &[&missing, &zero, &x], vec![]);
        if indicator {
            let told = graph.node(of, "Cast", &[&missing], vec![to(onnx::FLOAT)]);
            x = graph.node(of, "Concat", &[&x, &told], vec![Attribute::int("axis", 1)]);
        }
        x
    }
}

fn to(kind: i32) -> Attribute {
    Attribute::int("to", kind.into())
}

/// Whether anything reads a column's text.
fn reads_text(asked: &Asked<'_>, column: &str) -> bool {
    let Schema { scenario, .. } = asked.features.schema();
    let by_field = asked.features.encodings().any(|FieldEncoding { column: own, ids, rates, .. }| {
        let text = ids.is_some_and(|ids| !matches!(ids.finder, Finder::Cuts(_)));
        own == column && text || rates.is_some_and(|rates| rates.key.iter().any(|key| key == column))
    });
    by_field || asked.scenario && scenario.as_deref() == Some(column)
}
