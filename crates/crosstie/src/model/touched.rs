//! What losses change.

use std::ops::Range;

use super::inputs::Input;
use super::network::Network;
use crate::compute::Mode;
use crate::error::Result;
use crate::random::Stream;

/// Rows per scenario of the made-up batch: enough for every unit of a
/// rectifier to be on in some of them.
const ROWS: usize = 64;

/// What has a gradient.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    /// Per dense element.
    pub dense: Vec<bool>,
    /// Per set of tables.
    pub sets: Vec<bool>,
}

/// What each of several weightings of a network's losses has a gradient for: on
/// made-up inputs and labels, of which some are missing, and with parameters none of which
/// is 0. Neither data nor seed play a part.
pub(crate) fn touched(network: &Network, seeds: &[Vec<f32>]) -> Result<Vec<Touched>> {
    let program = &network.program;
    let names = ["inputs", "weights", "parameters", "labels"];
    let [inputs, weights, start, labels] = names.map(|name| Stream::new(0, name));
    let mut parameters = program.initial(0)?;
    for range in program.parameters().iter().filter(|parameter| parameter.learned).map(|found| found.range()) {
        for index in range {
            parameters[index] += 0.2 * start.uniform(index as u64) as f32 - 0.1;
        }
    }
    let scenarios = program.scenarios();
    let rows = ROWS * scenarios.max(4);
    let segments: Vec<Range<usize>> =
        (0..scenarios).map(|scenario| rows * scenario / scenarios..rows * (scenario + 1) / scenarios).collect();
    let funnel = network.objective.funnel();
    // Three in four happen where the parent action did, so that every task has both kinds;
    // some are missing, where other heads may be asked.
    let label = |row: usize, task: usize| {
        let mut way = std::iter::successors(Some(task), |task| funnel.parents[*task]);
        let chance = |task: usize| labels.part(task as u64).uniform(row as u64);
        if chance(task) > 0.9 { f32::NAN } else { f32::from(u8::from(way.all(|task| chance(task) < 0.75))) }
    };
    let fill = |source: usize, rows: Range<usize>, into: &mut [f32]| match network.sources[source] {
        Input::Fields { set } => {
            let first = rows.start * (into.len() / rows.len());
            let stream = inputs.part(set as u64);
            for (index, value) in into.iter_mut().enumerate() {
                *value = 2.0 * stream.uniform((first + index) as u64) as f32 - 1.0;
            }
        }
        Input::Labels => {
            let tasks = funnel.tasks();
            for (row, into) in rows.zip(into.chunks_exact_mut(tasks)) {
                into.iter_mut().enumerate().for_each(|(task, into)| *into = label(row, task));
            }
        }
        // Different ones: batch normalisation makes plain sums over the rows constant.
        Input::Weights => into.iter_mut().zip(rows).for_each(|(w, row)| *w = weights.uniform(row as u64) as f32),
    };
    let mut workspace = program.workspace(rows, true);
    let mode = Mode::Train { seed: 0, step: 0 };
    let mut gradients = vec![0.0; program.length()];
    let mut found = Vec::with_capacity(seeds.len());
    for (index, seeds) in seeds.iter().enumerate() {
        if index == 0 {
            program.train(&mut workspace, &parameters, rows, &segments, seeds, mode, &fill);
        } else {
            program.backward(&mut workspace, &parameters, seeds, mode);
        }
        program.parameter_gradients(&workspace, &parameters, &mut gradients);
        let reads = |set| workspace.source_gradients(program, set).any(|(_, chunk)| chunk.iter().any(|g| *g != 0.0));
        found.push(Touched {
            dense: gradients.iter().map(|g| *g != 0.0).collect(),
            sets: network.sets.iter().map(|set| reads(*set)).collect(),
        });
    }
    Ok(found)
}
