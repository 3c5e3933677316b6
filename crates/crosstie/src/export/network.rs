//! From a network in portable words to nodes.

use super::graph::{Edge, Graph};
use super::onnx::Attribute;
use crate::compute::portable::{Function, Kind, Portable, Term};

/// What a network reads, as edges.
pub struct Read<'e> {
    /// Of every feature set, by the name of its source, rows × columns.
    pub sources: &'e [(String, Edge)],
    /// The index of each row's scenario.
    pub scenario: Option<&'e Edge>,
}

/// Whether a network looks at the rows' scenarios.
pub fn asks_scenario(portable: &Portable<'_>) -> bool {
    portable.terms().iter().any(|term| matches!(term.kind, Kind::Scenario { .. }))
}

/// Adds the nodes of all terms; their edges, in the order of the terms.
pub fn add<'a>(graph: &mut Graph<'a>, portable: Portable<'a>, read: &Read<'_>) -> Vec<Edge> {
    let rows = read.sources.first().map(|(_, edge)| edge.as_str()).unwrap_or_default();
    let mut edges: Vec<Edge> = Vec::new();
    for term in portable.terms() {
        let edge = match &term.kind {
            Kind::Source => {
                let found = read.sources.iter().find(|(name, _)| name == term.of);
                found.map(|(_, edge)| edge.clone()).expect("the network's own sources")
            }
            Kind::Scenario { least } => {
                let scenario = read.scenario.expect("a scenario, since it is asked");
                match *least {
                    0 => scenario.clone(),
                    least => {
                        let least = graph.ints("scenario", vec![least as i64]);
                        graph.node("scenario", "Max", &[scenario, &least], vec![])
                    }
                }
            }
            Kind::Constant(numbers) => graph.floats(term.of, &term.shape, numbers.clone()),
            Kind::Of(function, inputs) => {
                let terms: Vec<&Term<'_>> = inputs.iter().map(|input| portable.term(*input)).collect();
                let inputs: Vec<&str> = inputs.iter().map(|input| edges[input.index()].as_str()).collect();
                of_function(graph, term, function, &terms, &inputs, rows)
            }
        };
        edges.push(edge);
    }
    edges
}

/// The nodes of one function. `rows` is an edge with as many rows as all others.
fn of_function(
    graph: &mut Graph<'_>,
    term: &Term<'_>,
    function: &Function,
    terms: &[&Term<'_>],
    inputs: &[&str],
    rows: &str,
) -> Edge {
    use Function::*;
    let of = term.of;
    // Of a row's axes in the graph, the rows come first.
    let last = (terms[0].shape.len() + usize::from(terms[0].by_row)) as i64 - 1;
    let shape = || std::iter::once(0).chain(term.shape.iter().map(|length| *length as i64)).collect::<Vec<i64>>();
    match function {
        Add => graph.node(of, "Add", inputs, vec![]),
        Subtract => graph.node(of, "Sub", inputs, vec![]),
        Multiply => graph.node(of, "Mul", inputs, vec![]),
        Divide => graph.node(of, "Div", inputs, vec![]),
        Minimum => graph.node(of, "Min", inputs, vec![]),
        Maximum => graph.node(of, "Max", inputs, vec![]),
        Matmul => graph.node(of, "MatMul", inputs, vec![]),
        Relu => graph.node(of, "Relu", inputs, vec![]),
        LeakyRelu(slope) => graph.node(of, "LeakyRelu", inputs, vec![Attribute::float("alpha", *slope)]),
        Sigmoid => graph.node(of, "Sigmoid", inputs, vec![]),
        Tanh => graph.node(of, "Tanh", inputs, vec![]),
        Exp => graph.node(of, "Exp", inputs, vec![]),
        Log => graph.node(of, "Log", inputs, vec![]),
        Sqrt => graph.node(of, "Sqrt", inputs, vec![]),
        Reciprocal => graph.node(of, "Reciprocal", inputs, vec![]),
        Softmax => graph.node(of, "Softmax", inputs, vec![Attribute::int("axis", last)]),
        Sum => {
            let axes = graph.ints(of, vec![last]);
            graph.node(of, "ReduceSum", &[inputs[0], &axes], vec![Attribute::int("keepdims", 1)])
        }
        Mean => {
            let attributes = vec![Attribute::ints("axes", vec![last]), Attribute::int("keepdims", 1)];
            graph.node(of, "ReduceMean", inputs, attributes)
        }
        Columns { from, width } => {
            let [start, end, axis] = [*from as i64, (from + width) as i64, last].map(|x| graph.ints(of, vec![x]));
            graph.node(of, "Slice", &[inputs[0], &start, &end, &axis], vec![])
        }
        Take(places) => {
            let places = graph.ints(of, places.iter().map(|place| *place as i64).collect());
            graph.node(of, "Gather", &[inputs[0], &places], vec![Attribute::int("axis", last)])
        }
        Concat => graph.node(of, "Concat", inputs, vec![Attribute::int("axis", last)]),
        Parts(_) | Flat => {
            let shape = graph.ints(of, shape());
            graph.node(of, "Reshape", &[inputs[0], &shape], vec![])
        }
        Transpose => {
            let mut axes: Vec<i64> = (0..=last).collect();
            axes.swap(last as usize - 1, last as usize);
            graph.node(of, "Transpose", inputs, vec![Attribute::ints("perm", axes)])
        }
        EachRow => {
            let first = vec![Attribute::int("start", 0), Attribute::int("end", 1)];
            let count = graph.node(of, "Shape", &[rows], first);
            let width = graph.ints(of, shape()[1..].to_vec());
            let shape = graph.node(of, "Concat", &[&count, &width], vec![Attribute::int("axis", 0)]);
            graph.node(of, "Expand", &[inputs[0], &shape], vec![])
        }
        OfScenario if terms[0].by_row => {
            let axis = graph.ints(of, vec![1]);
            let place = graph.node(of, "Unsqueeze", &[inputs[1], &axis], vec![]);
            graph.node(of, "GatherND", &[inputs[0], &place], vec![Attribute::int("batch_dims", 1)])
        }
        OfScenario => graph.node(of, "Gather", inputs, vec![Attribute::int("axis", 0)]),
    }
}
