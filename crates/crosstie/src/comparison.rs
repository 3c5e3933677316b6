//! Two sets of embedding tables side by side: whether one task, or one model,
//! has learned the same of a value as another.

use rayon::prelude::*;

use crate::balance::Shared;
use crate::error::{Error, Result};
use crate::metric::{Directions, adjusted_rand, clusters, neighbour_overlap};
use crate::random::Stream;
use crate::scorer::Scorer;

/// Nearest neighbours that are compared.
pub const NEIGHBOURS: usize = 10;
/// Most clusters.
pub const CLUSTERS: usize = 8;
/// Fewest values per cluster, on average.
const PER_CLUSTER: usize = 4;

/// One table in two sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The table's name.
    pub table: String,
    /// Place of the one set among its model's, and of the other.
    pub sets: (usize, usize),
    /// Values that were compared.
    pub values: usize,
    /// What was found.
    pub finding: Finding,
}

/// What the comparison of a table finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finding {
    /// How alike it is.
    Likeness {
        /// Mean share of a value's [`NEIGHBOURS`] nearest, by cosine, that both have.
        neighbours: f64,
        /// What chance gives.
        chance: f64,
        /// Adjusted Rand index of the clusters of both.
        clusters: f64,
    },
    /// There are fewer values than neighbours and two more.
    TooFew,
    /// In one of them all values have the same direction.
    Constant,
    /// The other model has no such table.
    Absent,
}

/// The tasks that read each set of a model's tables.
///
/// # Errors
/// [`Error::Config`] for a model without tables.
pub fn readers(scorer: &Scorer) -> Result<Vec<Vec<String>>> {
    let layout = scorer.features().layout();
    let tables = layout.tables.len();
    if tables == 0 {
        return Err(Error::Config("the model has no embedding tables: all its fields are numbers".into()));
    }
    let heads = scorer.spec().network_of_heads(scorer.features().schema(), layout)?;
    let shared = Shared::find(&heads, tables)?;
    let of_set = |reads: &Vec<bool>| {
        let tasks = scorer.tasks().iter().zip(reads).filter(|(_, reads)| **reads);
        tasks.map(|(task, _)| task.clone()).collect()
    };
    Ok(shared.tables.iter().step_by(tables).map(of_set).collect())
}

/// Compares the tables of categorical and multi fields: of every two sets of
/// one model, or of every set of one with every set of the other. A value
/// counts if both sets know it and training has moved it in both; of those, the
/// `most` that `one` has seen most often. A hashed table has buckets in place of
/// values, in no order of how often they were seen.
///
/// # Cost
/// Grows with the square of `most`, for every table and two sets.
pub fn compare(one: &Scorer, other: Option<&Scorer>, most: usize) -> Vec<Comparison> {
    let sets = |scorer: &Scorer| scorer.network().sets.len();
    let pairs: Vec<(usize, usize)> = match other {
        Some(other) => (0..sets(one)).flat_map(|i| (0..sets(other)).map(move |j| (i, j))).collect(),
        None => (0..sets(one)).flat_map(|i| (i + 1..sets(one)).map(move |j| (i, j))).collect(),
    };
    let tables = one.features().layout().tables.iter().enumerate();
    let tables: Vec<(usize, &str)> = tables
        .filter(|(table, _)| one.features().values(*table).is_some())
        .map(|(place, table)| (place, table.name.as_str()))
        .collect();
    let jobs: Vec<_> = tables.iter().flat_map(|table| pairs.iter().map(move |sets| (*table, *sets))).collect();
    let compare = |((table, name), sets): ((usize, &str), (usize, usize))| {
        let (values, finding) = compare_table(one, other.unwrap_or(one), table, sets, most);
        Comparison { table: name.into(), sets, values, finding }
    };
    jobs.into_par_iter().with_max_len(1).map(compare).collect()
}

fn compare_table(one: &Scorer, other: &Scorer, table: usize, sets: (usize, usize), most: usize) -> (usize, Finding) {
    let name = &one.features().layout().tables[table].name;
    let twin = other.features().layout().tables.iter().position(|table| table.name == *name);
    let (Some(values), Some(twin)) = (one.features().values(table), twin) else { return (0, Finding::Absent) };
    let (of_one, of_other) = (Rows::new(one, sets.0, table), Rows::new(other, sets.1, twin));
    let both = values
        .filter_map(|(row, value)| Some((of_one.moved(row)?, of_other.moved(other.features().row(twin, value)?)?)));
    let (one, other): (Vec<&[f32]>, Vec<&[f32]>) = both.take(most).unzip();
    let finding =
        find(&Directions::new(&one.concat(), of_one.width), &Directions::new(&other.concat(), of_other.width));
    (one.len(), finding)
}

fn find(one: &Directions, other: &Directions) -> Finding {
    let Some(neighbours) = neighbour_overlap(one, other, NEIGHBOURS) else { return Finding::TooFew };
    if one.constant() || other.constant() {
        return Finding::Constant;
    }
    let count = CLUSTERS.min(one.len() / PER_CLUSTER);
    // Both start at the same values, so that the same points give the same clusters.
    let clusters = |points| clusters(points, count, Stream::new(0, "clusters"));
    let agreement = adjusted_rand(&clusters(one), &clusters(other));
    let chance = NEIGHBOURS as f64 / (one.len() - 1) as f64;
    agreement.map_or(Finding::TooFew, |clusters| Finding::Likeness { neighbours, chance, clusters })
}

/// The rows of one table of one set.
struct Rows<'a> {
    scorer: &'a Scorer,
    place: usize,
    width: usize,
    weights: &'a [f32],
}

impl<'a> Rows<'a> {
    fn new(scorer: &'a Scorer, set: usize, table: usize) -> Rows<'a> {
        let place = set * scorer.features().layout().tables.len() + table;
        let table = scorer.learned().tables().all().get(place);
        let (width, weights) = table.map_or((1, &[][..]), |table| (table.width, table.weights.as_slice()));
        Rows { scorer, place, width, weights }
    }

    /// A row, if training has moved it: two that have not moved are alike for
    /// no other reason than that they started alike.
    fn moved(&self, row: u32) -> Option<&'a [f32]> {
        let spec = self.scorer.spec();
        let start = self.scorer.learned().tables().start(self.place, row, spec.seed, spec.embedding.spread);
        let found = self.weights.get(row as usize * self.width..)?.get(..self.width)?;
        (found != start).then_some(found)
    }
}
