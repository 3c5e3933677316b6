//! What the tasks of a network share.

use std::ops::Range;

use crate::compute::kernel;
use crate::error::Result;
use crate::learned::Gradients;
use crate::model::{Network, Touched, touched};

/// Which tasks read which numbers: a task reads what its heads' logits depend
/// on. So the tower of a task is its own, even where its loss is counted
/// through another task's probability.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shared {
    /// Dense elements that more than one task reads.
    pub parts: Vec<Part>,
    /// Per embedding table, per task: whether it reads it.
    pub tables: Vec<Vec<bool>>,
    /// Per feature set, per task: whether it reads it.
    pub sets: Vec<Vec<bool>>,
}

/// Neighbouring elements of one parameter that the same tasks read.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Their places in the flat vector.
    pub range: Range<usize>,
    /// Per task: whether it reads them.
    pub tasks: Vec<bool>,
}

/// Numbers multiplied and summed at a time in single precision.
const PIECE: usize = 1024;

impl Shared {
    /// Asks a network of which every head is a loss ([`Network::of_heads`]),
    /// with `tables` tables in each set: on made-up inputs, and with parameters
    /// none of which is 0, a number is read by the tasks whose logits have a
    /// gradient there. Neither data nor seed play a part.
    pub fn find(heads: &Network, tables: usize) -> Result<Shared> {
        let program = &heads.program;
        let of_task = |task| {
            let mut seeds = vec![0.0; program.losses().len()];
            for (seed, head) in seeds.iter_mut().zip(heads.objective.heads()) {
                *seed = if head.task == task { 1.0 } else { 0.0 };
            }
            seeds
        };
        let seeds: Vec<Vec<f32>> = (0..heads.objective.funnel().tasks()).map(of_task).collect();
        let touched = touched(heads, &seeds)?;
        let (dense, sets): (Vec<_>, Vec<_>) = touched.into_iter().map(|Touched { dense, sets }| (dense, sets)).unzip();
        let sets: Vec<Vec<bool>> =
            (0..heads.sets.len()).map(|set| sets.iter().map(|of_task: &Vec<bool>| of_task[set]).collect()).collect();
        let tables = sets.iter().flat_map(|set| vec![set.clone(); tables]).collect();
        let mut shared = Shared { parts: Vec::new(), tables, sets };
        for parameter in program.parameters().iter().filter(|parameter| parameter.learned) {
            let places: Vec<usize> = parameter.range().collect();
            for run in places.chunk_by(|a, b| dense.iter().all(|task| task[*a] == task[*b])) {
                let tasks: Vec<bool> = dense.iter().map(|task| task[run[0]]).collect();
                if tasks.iter().filter(|reads| **reads).count() > 1 {
                    shared.parts.push(Part { range: run[0]..run[0] + run.len(), tasks });
                }
            }
        }
        Ok(shared)
    }

    /// Whether more than one task reads a table.
    pub fn shares(&self, table: usize) -> bool {
        self.tables[table].iter().filter(|reads| **reads).count() > 1
    }

    fn of_pair(&self, (i, j): (usize, usize)) -> (impl Iterator<Item = Range<usize>>, impl Iterator<Item = usize>) {
        let both = move |tasks: &[bool]| tasks[i] && tasks[j];
        let parts = self.parts.iter().filter(move |part| both(&part.tasks)).map(|part| part.range.clone());
        let tables = self.tables.iter().enumerate().filter(move |(_, tasks)| both(tasks)).map(|(table, _)| table);
        (parts, tables)
    }

    /// a · b over what two tasks share.
    pub fn product(&self, pair: (usize, usize), a: &Gradients, b: &Gradients) -> f64 {
        let (parts, tables) = self.of_pair(pair);
        let dense = parts.map(|range| product(&a.dense[range.clone()], &b.dense[range])).sum::<f64>();
        let rows = tables.map(|table| {
            debug_assert_eq!(a.rows[table].rows, b.rows[table].rows, "the rows of one batch");
            product(&a.rows[table].gradients, &b.rows[table].gradients)
        });
        dense + rows.sum::<f64>()
    }

    /// `y += scale · x` over what two tasks share.
    pub fn add_scaled(&self, pair: (usize, usize), y: &mut Gradients, scale: f32, x: &Gradients) {
        let (parts, tables) = self.of_pair(pair);
        for range in parts {
            add_scaled(&mut y.dense[range.clone()], scale, &x.dense[range]);
        }
        for table in tables {
            add_scaled(&mut y.rows[table].gradients, scale, &x.rows[table].gradients);
        }
    }
}

/// a · b, the same bits on any processor.
fn product(a: &[f32], b: &[f32]) -> f64 {
    kernel::vectorised(
        #[inline(always)]
        || a.chunks(PIECE).zip(b.chunks(PIECE)).map(|(a, b)| f64::from(kernel::dot(a, b))).sum(),
    )
}

fn add_scaled(y: &mut [f32], scale: f32, x: &[f32]) {
    kernel::vectorised(
        #[inline(always)]
        || kernel::add_scaled(y, scale, x),
    );
}
