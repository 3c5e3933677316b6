//! What a model shows of its inside, averaged over the rows of a data set.

use indexmap::IndexMap;

use crate::compute::Node;

/// A node of a network that is averaged over rows after an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// What it is of, such as `gate`; those of one kind and with the same columns are the
    /// rows of one matrix.
    pub kind: String,
    /// Which row of the matrix it is; empty where it is alone.
    pub row: String,
    /// The names of its columns.
    pub columns: Vec<String>,
    pub(crate) node: Node,
}

impl Diagnostic {
    /// Its name in files.
    pub fn name(&self) -> String {
        format!("{} {}", self.kind, self.row).trim_end().into()
    }
}

/// The mean of every column of every diagnostic, by their names; `None` where
/// no row counted.
pub type Diagnosis = IndexMap<String, IndexMap<String, Option<f64>>>;

/// Sums the columns of one diagnostic.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    sums: Vec<(f64, u64)>,
}

impl Means {
    pub fn new(diagnostic: &Diagnostic) -> Means {
        Means { sums: vec![(0.0, 0); diagnostic.columns.len()] }
    }

    /// Adds one row. A NaN does not count.
    pub fn add(&mut self, row: &[f32]) {
        for ((sum, count), value) in self.sums.iter_mut().zip(row).filter(|(_, value)| !value.is_nan()) {
            *sum += f64::from(*value);
            *count += 1;
        }
    }

    pub fn finish(self) -> impl Iterator<Item = Option<f64>> {
        self.sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / count as f64))
    }
}
