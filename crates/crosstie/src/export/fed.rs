//! What a network is fed: rows as a [`Batch`](crate::batch::Batch) has them, as edges.

use super::graph::{Edge, Graph};
use super::onnx::{self, Attribute};
use crate::embedding::{From, Tables};
use crate::schema::Pooling;

/// Encoded rows.
#[derive(Default)]
pub struct Fed {
    /// Rows of tables, one entry per embedded field of the layout.
    pub ids: Vec<Ids>,
    /// Numbers, rows × width, one entry per dense field of the layout.
    pub numbers: Vec<Edge>,
    /// Index of the scenario.
    pub scenario: Option<Edge>,
}

/// Rows of one table.
pub enum Ids {
    /// One per row.
    One(Edge),
    /// Any number per row, rows × most; -1 where there is none.
    Many(Edge),
}

impl Fed {
    /// Looks the fields up: per set of tables an edge of rows × columns.
    pub fn look_up<'a>(&self, graph: &mut Graph<'a>, tables: &'a Tables, sets: usize) -> Vec<Edge> {
        let per_set = tables.all().len() / sets;
        let weights: Vec<Edge> = tables
            .all()
            .iter()
            .map(|table| graph.floats(&table.name, &[table.rows, table.width], &table.weights[..]))
            .collect();
        (0..sets).map(|set| self.set(graph, tables, &weights[set * per_set..][..per_set])).collect()
    }

    fn set(&self, graph: &mut Graph<'_>, tables: &Tables, weights: &[Edge]) -> Edge {
        // Columns ascend by fields among all numbers; the parts stand by side.
        let parts = tables.columns().parts();
        let mut starts: Vec<usize> = parts.iter().filter_map(|part| part.dense_column()).collect();
        starts.sort_unstable();
        let found: Vec<Edge> = parts
            .iter()
            .map(|part| match part.from {
                From::Dense { column } => {
                    let index = starts.partition_point(|start| *start < column);
                    self.numbers[index].clone()
                }
                From::Table { index, table, pooling } => match &self.ids[index] {
                    Ids::One(ids) => graph.node(&part.name, "Gather", &[&weights[table], ids], vec![]),
                    Ids::Many(ids) => pooled(graph, &part.name, &weights[table], ids, pooling),
                },
            })
            .collect();
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        match found[..] {
            [one] => one.into(),
            _ => graph.node("features", "Concat", &found, vec![Attribute::int("axis", 1)]),
        }
    }
}

/// The sum or the mean of the vectors of all ids of a row; zeros where it has none.
fn pooled(graph: &mut Graph<'_>, of: &str, table: &str, ids: &str, pooling: Pooling) -> Edge {
    let zero = graph.ints(of, vec![0]);
    let there = graph.node(of, "GreaterOrEqual", &[ids, &zero], vec![]);
    let there = graph.node(of, "Cast", &[&there], vec![Attribute::int("to", onnx::FLOAT.into())]);
    let safe = graph.node(of, "Max", &[ids, &zero], vec![]);
    let vectors = graph.node(of, "Gather", &[table, &safe], vec![]);
    let (last, values) = (graph.ints(of, vec![2]), graph.ints(of, vec![1]));
    let share = graph.node(of, "Unsqueeze", &[&there, &last], vec![]);
    let vectors = graph.node(of, "Mul", &[&vectors, &share], vec![]);
    let sum = graph.node(of, "ReduceSum", &[&vectors, &values], vec![Attribute::int("keepdims", 0)]);
    match pooling {
        Pooling::Sum => sum,
        Pooling::Mean => {
            let count = graph.node(of, "ReduceSum", &[&there, &values], vec![Attribute::int("keepdims", 1)]);
            let one = graph.floats(of, &[1], vec![1.0]);
            let count = graph.node(of, "Max", &[&count, &one], vec![]);
            graph.node(of, "Div", &[&sum, &count], vec![])
        }
    }
}
