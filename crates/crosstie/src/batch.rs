//! Encoded rows: what a model sees of the data.

use crate::error::{Error, Result};
use crate::schema::GIVEN;

/// Rows of the data after encoding. All vectors are row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Number of rows.
    pub rows: usize,
    /// Rows of embedding tables, one entry per embedded field of the [`Layout`].
    pub ids: Vec<Ids>,
    /// Numbers, `rows × Layout::dense_width()`.
    pub dense: Vec<f32>,
    /// Labels, `rows × tasks`: 0, 1, or NaN where missing; of rows drawn for
    /// training also [`GIVEN`]. Empty when rows are
    /// encoded for scoring only.
    pub labels: Vec<f32>,
    /// Weight per row. Empty means 1 everywhere.
    pub weights: Vec<f32>,
    /// Scenario per row, an index into [`Layout::scenarios`].
    pub scenarios: Vec<u32>,
    /// Hash of the group's value per row, [`NO_GROUP`] where it is missing.
    /// Empty without a group field.
    pub groups: Vec<u64>,
}

/// The group of rows that have none.
pub const NO_GROUP: u64 = u64::MAX;

/// Rows of one embedding table for one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Ids {
    /// One per row.
    One(Vec<u32>),
    /// Any number per row: those of row `i` are `values[offsets[i]..offsets[i + 1]]`.
    Many {
        /// `rows + 1` positions in `values`, from 0.
        offsets: Vec<u32>,
        /// The ids.
        values: Vec<u32>,
    },
}

/// What encoded rows look like: fixed once the features are learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// Task names, in the order of the labels' columns.
    pub tasks: Vec<String>,
    /// Embedding tables.
    pub tables: Vec<Table>,
    /// Fields that read a table, in the order of [`Batch::ids`].
    pub embedded: Vec<Embedded>,
    /// Groups of columns of [`Batch::dense`], in their order.
    pub dense: Vec<Dense>,
    /// Names of the scenarios; the first is `other` and stands for rare and
    /// unseen ones. Without a scenario field there is only `all`.
    pub scenarios: Vec<String>,
    /// Whether no training row is of the first scenario, so that nothing was learned of
    /// it; the second is then the one with most rows.
    pub other_is_empty: bool,
}

/// Shape of an embedding table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The field's name, or the shared table's.
    pub name: String,
    /// Number of rows. Row 0 is for unknown values, row 1 for missing ones.
    pub rows: usize,
    /// Width of a row.
    pub width: usize,
}

/// A field that reads an embedding table.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// The field's name.
    pub name: String,
    /// Index into [`Layout::tables`].
    pub table: usize,
    /// How several values become one vector.
    pub pooling: crate::schema::Pooling,
    /// Who or what the field describes.
    pub side: crate::schema::Side,
    /// How the field enters a model.
    pub role: crate::schema::Role,
}

/// A field that gives numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// The field's name.
    pub name: String,
    /// Number of columns.
    pub width: usize,
    /// Who or what the field describes.
    pub side: crate::schema::Side,
    /// How the field enters a model.
    pub role: crate::schema::Role,
}

impl Layout {
    /// Number of columns of [`Batch::dense`].
    pub fn dense_width(&self) -> usize {
        self.dense.iter().map(|dense| dense.width).sum()
    }
}

impl Ids {
    /// The ids of one row.
    pub fn row(&self, row: usize) -> &[u32] {
        match self {
            Ids::One(ids) => &ids[row..row + 1],
            Ids::Many { offsets, values } => &values[offsets[row] as usize..offsets[row + 1] as usize],
        }
    }

    /// Those of some rows, in any order.
    pub(crate) fn select(&self, rows: &[usize]) -> Ids {
        match self {
            Ids::One(ids) => Ids::One(rows.iter().map(|row| ids[*row]).collect()),
            Ids::Many { .. } => {
                let mut offsets = Vec::with_capacity(rows.len() + 1);
                let mut chosen = Vec::new();
                offsets.push(0);
                for row in rows {
                    chosen.extend_from_slice(self.row(*row));
                    offsets.push(chosen.len() as u32);
                }
                Ids::Many { offsets, values: chosen }
            }
        }
    }

    fn append(&mut self, other: &Ids) {
        match (self, other) {
            (Ids::One(ids), Ids::One(more)) => ids.extend_from_slice(more),
            (Ids::Many { offsets, values }, Ids::Many { offsets: more, values: added }) => {
                let start = values.len() as u32;
                offsets.extend(more[1..].iter().map(|offset| offset + start));
                values.extend_from_slice(added);
            }
            _ => panic!("batches of one layout agree on which fields have several values"),
        }
    }
}

impl Batch {
    /// Checks that these rows fit a layout: lengths, and that every id and
    /// scenario is one that the layout has. Labels, weights and groups may be
    /// absent; labels are 0, 1, NaN or [`GIVEN`].
    ///
    /// # Errors
    /// [`Error::Batch`] naming the field, the row, what was found and what was
    /// expected.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        let rows = self.rows;
        let wrong = |message: String| Err(Error::Batch(message));
        let length = |what: &str, found: usize, width: usize, may_be_absent: bool| {
            if found == rows * width || (found == 0 && may_be_absent) {
                return Ok(());
            }
            wrong(format!("{found} {what} in {rows} rows, expected {}", rows * width))
        };
        length("numbers", self.dense.len(), layout.dense_width(), false)?;
        length("labels", self.labels.len(), layout.tasks.len(), true)?;
        length("weights", self.weights.len(), 1, true)?;
        length("groups", self.groups.len(), 1, true)?;
        length("scenarios", self.scenarios.len(), 1, false)?;
        if self.ids.len() != layout.embedded.len() {
            return wrong(format!("ids of {} fields, expected {}", self.ids.len(), layout.embedded.len()));
        }
        for (ids, field) in self.ids.iter().zip(&layout.embedded) {
            let of = format!("ids of field `{}`", field.name);
            let values = match ids {
                Ids::One(values) => {
                    length(&of, values.len(), 1, false)?;
                    values
                }
                Ids::Many { offsets, values } => {
                    let ends = (offsets.first().copied(), offsets.last().map(|end| *end as usize));
                    if offsets.len() != rows + 1 || !offsets.is_sorted() || ends != (Some(0), Some(values.len())) {
                        return wrong(format!("{of}: expected {} offsets from 0 to {}", rows + 1, values.len()));
                    }
                    values
                }
            };
            let table = layout.tables[field.table].rows;
            if let Some(place) = values.iter().position(|id| *id as usize >= table) {
                return wrong(format!("{of}: found {}, in a table of {table} rows", values[place]));
            }
        }
        let scenarios = layout.scenarios.len();
        if let Some(row) = self.scenarios.iter().position(|scenario| *scenario as usize >= scenarios) {
            return wrong(format!("row {row}: scenario {} of {scenarios}", self.scenarios[row]));
        }
        let label = |label: &f32| *label == 0.0 || *label == 1.0 || label.is_nan() || *label == GIVEN;
        if let Some(place) = self.labels.iter().position(|found| !label(found)) {
            let (row, task) = (place / layout.tasks.len(), &layout.tasks[place % layout.tasks.len()]);
            let found = self.labels[place];
            return wrong(format!("row {row}, task `{task}`: found a label of {found}, expected 0, 1 or NaN for none"));
        }
        Ok(())
    }

    /// The given rows, in the given order.
    pub fn select(&self, rows: &[usize]) -> Batch {
        let per_row = |values: &[f32]| -> Vec<f32> {
            let width = values.len().checked_div(self.rows).unwrap_or(0);
            rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
        };
        Batch {
            rows: rows.len(),
            ids: self.ids.iter().map(|ids| ids.select(rows)).collect(),
            dense: per_row(&self.dense),
            labels: per_row(&self.labels),
            weights: per_row(&self.weights),
            scenarios: rows.iter().map(|row| self.scenarios[*row]).collect(),
            groups: if self.groups.is_empty() {
                Vec::new()
            } else {
                rows.iter().map(|row| self.groups[*row]).collect()
            },
        }
    }

    /// Puts the rows of another batch of the same layout behind this one's.
    ///
    /// # Panics
    /// If they are not alike: one has labels, weights or groups and the other
    /// has none, or a field has one value per row in one of them only.
    pub fn append(&mut self, other: &Batch) {
        if self.rows == 0 {
            *self = other.clone();
            return;
        }
        if other.rows == 0 {
            return;
        }
        let has = |batch: &Batch| [batch.labels.is_empty(), batch.weights.is_empty(), batch.groups.is_empty()];
        assert_eq!(has(self), has(other), "both have labels, weights and groups, or both have none");
        self.rows += other.rows;
        for (ids, more) in self.ids.iter_mut().zip(&other.ids) {
            ids.append(more);
        }
        self.dense.extend_from_slice(&other.dense);
        self.labels.extend_from_slice(&other.labels);
        self.weights.extend_from_slice(&other.weights);
        self.scenarios.extend_from_slice(&other.scenarios);
        self.groups.extend_from_slice(&other.groups);
    }
}
