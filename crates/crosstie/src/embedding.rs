//! Embedding tables: looked up row by row, with gradients only where seen.

use std::ops::Range;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::{self, Batch, Ids, Layout};
use crate::compute::kernel::{self, vectorised};
use crate::compute::{CHUNK, zeros};
use crate::error::Result;
use crate::random::Stream;
use crate::schema::{Pooling, Role, Side};

/// Where each field stands among the columns of a model's input: the main
/// fields of the user, of the item, of the context, then the bias fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    parts: Vec<Part>,
    width: usize,
    sides: [Range<usize>; 3],
    bias: Range<usize>,
}

/// The columns of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// Its columns of the input.
    pub columns: Range<usize>,
    pub(crate) from: From,
}

/// Where the numbers of a field come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum From {
    /// `Batch::ids[index]`, rows of a table.
    Table { index: usize, table: usize, pooling: Pooling },
    /// Columns of `Batch::dense`.
    Dense { column: usize },
}

impl Part {
    /// Its first column among the batch's numbers, if it is made of these.
    pub(crate) fn dense_column(&self) -> Option<usize> {
        match self.from {
            From::Dense { column } => Some(column),
            From::Table { .. } => None,
        }
    }
}

impl Columns {
    /// Plans the input of a layout.
    pub fn new(layout: &Layout) -> Columns {
        let mut fields: Vec<(Role, Side, String, usize, From)> = Vec::new();
        for (index, field) in layout.embedded.iter().enumerate() {
            let from = From::Table { index, table: field.table, pooling: field.pooling };
            fields.push((field.role, field.side, field.name.clone(), layout.tables[field.table].width, from));
        }
        let mut column = 0;
        for field in &layout.dense {
            fields.push((field.role, field.side, field.name.clone(), field.width, From::Dense { column }));
            column += field.width;
        }
        fields.sort_by_key(|(role, side, ..)| (*role, *side));
        let mut at = 0;
        let mut parts = Vec::new();
        let mut ends = [0; 4];
        for (role, side, name, width, from) in fields {
            parts.push(Part { name, columns: at..at + width, from });
            at += width;
            let place = match (role, side) {
                (Role::Bias, _) => 3,
                (_, Side::User) => 0,
                (_, Side::Item) => 1,
                (_, Side::Context) => 2,
            };
            ends[place..].fill(at);
        }
        Columns { parts, width: at, sides: [0..ends[0], ends[0]..ends[1], ends[1]..ends[2]], bias: ends[2]..ends[3] }
    }

    /// All columns, main and bias.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The main fields.
    pub fn main(&self) -> Range<usize> {
        0..self.sides[2].end
    }

    /// The main fields of one side.
    pub fn side(&self, side: Side) -> Range<usize> {
        self.sides[side as usize].clone()
    }

    /// The main fields that read a table, one range each.
    pub fn embedded(&self) -> impl Iterator<Item = Range<usize>> {
        let main = self.parts.iter().filter(|part| part.columns.end <= self.main().end);
        main.filter(|part| matches!(part.from, From::Table { .. })).map(|part| part.columns.clone())
    }

    /// The bias fields.
    pub fn bias(&self) -> Range<usize> {
        self.bias.clone()
    }

    /// The fields, in the order of their columns.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

/// The `[embedding]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingConfig {
    /// Standard deviation of the tables' starting values.
    pub spread: f32,
}

impl Default for EmbeddingConfig {
    fn default() -> EmbeddingConfig {
        EmbeddingConfig { spread: 0.01 }
    }
}

/// The tables of one model. A model may hold several sets of tables over the
/// same fields, for networks that share nothing.
#[derive(Clone, Debug)]
pub struct Tables {
    columns: Columns,
    tables: Vec<Table>,
    per_set: usize,
}

/// One embedding table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name of its tensor in the artifact.
    pub name: String,
    /// Numbers of a row.
    pub width: usize,
    /// Number of rows.
    pub rows: usize,
    /// `rows × width`.
    pub weights: Vec<f32>,
}

/// Summed gradients of the rows that a batch has seen, in ascending order.
#[derive(Clone, Debug, Default)]
pub struct RowGradients {
    /// Rows of the table.
    pub rows: Vec<u32>,
    /// `rows × width`.
    pub gradients: Vec<f32>,
    /// Room for the next [`Tables::gather`].
    places: [Vec<Place>; 2],
}

impl RowGradients {
    /// The gradients of some rows.
    pub fn new(rows: Vec<u32>, gradients: Vec<f32>) -> RowGradients {
        RowGradients { rows, gradients, places: Default::default() }
    }
}

impl Tables {
    /// Tables with starting values: uniform with standard deviation `spread`,
    /// each number a function of (seed, table, row, column). The row of unknown
    /// values starts at zero: untrained, it adds nothing.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if there is no memory for them.
    pub fn new(layout: &Layout, sets: usize, seed: u64, spread: f32) -> Result<Tables> {
        Tables::with(layout, sets, |name, _, width, weights| {
            let stream = Stream::new(seed, name);
            weights.par_chunks_mut(1 << 14).enumerate().for_each(|(piece, weights)| {
                for (index, weight) in (piece << 14..).zip(weights) {
                    *weight = start(stream, index, width, spread);
                }
            });
            Ok(())
        })
    }

    /// Tables whose weights, `rows × width` zeros, `fill` fills, given the name of
    /// the tensor, the rows and the width.
    ///
    /// # Errors
    /// Those of `fill`; [`Error::Config`](crate::Error::Config) if there is no
    /// memory for them.
    pub fn with(
        layout: &Layout,
        sets: usize,
        mut fill: impl FnMut(&str, usize, usize, &mut [f32]) -> Result<()>,
    ) -> Result<Tables> {
        let mut tables = Vec::with_capacity(sets * layout.tables.len());
        for set in 0..sets {
            for batch::Table { name, rows, width } in &layout.tables {
                let (name, rows, width) = (tensor_name(name, set, sets), *rows, *width);
                let mut weights = zeros(&format!("table `{name}`"), &[rows, width])?;
                fill(&name, rows, width, &mut weights)?;
                tables.push(Table { name, width, rows, weights });
            }
        }
        Ok(Tables { columns: Columns::new(layout), tables, per_set: layout.tables.len() })
    }

    /// The starting values of one row of a table, both counted from 0; `seed`
    /// and `spread` are those of [`Tables::new`].
    pub fn start(&self, table: usize, row: u32, seed: u64, spread: f32) -> Vec<f32> {
        let Table { name, width, .. } = &self.tables[table];
        let (stream, first) = (Stream::new(seed, name), row as usize * width);
        (first..first + width).map(|index| start(stream, index, *width, spread)).collect()
    }

    /// The plan of the input.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The tables, set by set.
    pub fn all(&self) -> &[Table] {
        &self.tables
    }

    /// The tables, their weights to be changed.
    pub(crate) fn all_mut(&mut self) -> &mut [Table] {
        &mut self.tables
    }

    /// Writes the input of some rows, `rows × Columns::width`.
    pub fn look_up(&self, set: usize, batch: &Batch, rows: Range<usize>, into: &mut [f32]) {
        let width = self.columns.width;
        let dense_width = batch.dense.len() / batch.rows.max(1);
        for part in &self.columns.parts {
            let cells = into.chunks_exact_mut(width).map(|row| &mut row[part.columns.clone()]);
            match part.from {
                From::Dense { column } => {
                    for (row, cell) in rows.clone().zip(cells) {
                        cell.copy_from_slice(&batch.dense[row * dense_width + column..][..cell.len()]);
                    }
                }
                From::Table { index, table, pooling } => {
                    let table = &self.tables[set * self.per_set + table];
                    match &batch.ids[index] {
                        Ids::One(ids) => {
                            for (id, cell) in ids[rows.clone()].iter().zip(cells) {
                                cell.copy_from_slice(table.row(*id));
                            }
                        }
                        many => {
                            for (row, cell) in rows.clone().zip(cells) {
                                cell.fill(0.0);
                                let ids = many.row(row);
                                let share = pooling.share(ids.len());
                                for id in ids {
                                    kernel::add_scaled(cell, share, table.row(*id));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Sums the gradients of each seen row over its places in the batch, in
    /// the order of fields and rows, for each table. `inputs` holds, per set,
    /// the gradient of the input chunk by chunk (CHUNK rows each, the last may
    /// be shorter). What `into` held is overwritten, its memory used again.
    pub fn gather(&self, batch: &Batch, inputs: &[Vec<&[f32]>], into: &mut Vec<RowGradients>) {
        into.resize_with(self.tables.len(), RowGradients::default);
        into.par_iter_mut().enumerate().with_max_len(1).for_each(|(job, into)| {
            self.gather_table(job % self.per_set, &self.tables[job], batch, &inputs[job / self.per_set], into);
        });
    }

    fn gather_table(
        &self,
        index: usize,
        table: &Table,
        batch: &Batch,
        input: &[&[f32]],
        RowGradients { rows, gradients, places: [places, sorted] }: &mut RowGradients,
    ) {
        places.clear();
        for part in &self.columns.parts {
            let From::Table { index: ids, table: wanted, pooling } = part.from else { continue };
            if wanted != index {
                continue;
            }
            for row in 0..batch.rows {
                let ids = batch.ids[ids].row(row);
                let share = pooling.share(ids.len());
                let (row, column) = (row as u32, part.columns.start as u32);
                places.extend(ids.iter().map(|id| Place { id: *id, row, column, share }));
            }
        }
        // Brings the places of one row of the table together and keeps them in
        // order, whatever thread does it.
        sort_by_id(places, sorted);
        let of_row = places.chunk_by(|a, b| a.id == b.id);
        rows.clear();
        rows.extend(of_row.clone().map(|places| places[0].id));
        gradients.clear();
        gradients.resize(rows.len() * table.width, 0.0);
        vectorised(
            #[inline(always)]
            || {
                for (places, into) in of_row.zip(gradients.chunks_exact_mut(table.width)) {
                    for Place { row, column, share, .. } in places {
                        let (row, column) = (*row as usize, *column as usize);
                        let gradient = &input[row / CHUNK][row % CHUNK * self.columns.width + column..];
                        kernel::add_scaled(into, *share, &gradient[..table.width]);
                    }
                }
            },
        );
    }
}

/// Where a batch looks at a row of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Place {
    /// The row of the table.
    id: u32,
    /// The row of the batch.
    row: u32,
    /// The first column of the input.
    column: u32,
    /// The share of the vector that the input holds.
    share: f32,
}

/// Sorts by id and keeps the order of equal ids: digit by digit, which for the
/// few thousand places of a batch is several times faster than comparing.
/// `sorted` is room.
fn sort_by_id(places: &mut Vec<Place>, sorted: &mut Vec<Place>) {
    const DIGIT: u32 = 11;
    let bits = u32::BITS - places.iter().map(|place| place.id).max().unwrap_or(0).leading_zeros();
    sorted.resize(places.len(), Place::default());
    for shift in (0..bits).step_by(DIGIT as usize) {
        let digit = |place: &Place| (place.id >> shift & ((1 << DIGIT) - 1)) as usize;
        let mut next = [0u32; 1 << DIGIT];
        places.iter().for_each(|place| next[digit(place)] += 1);
        let mut at = 0;
        for next in &mut next {
            at += std::mem::replace(next, at);
        }
        for place in places.iter() {
            let next = &mut next[digit(place)];
            sorted[*next as usize] = *place;
            *next += 1;
        }
        std::mem::swap(places, sorted);
    }
}

/// A table's number `index` at the start.
fn start(stream: Stream, index: usize, width: usize, spread: f32) -> f32 {
    if index < width { 0.0 } else { (2.0 * stream.uniform(index as u64) as f32 - 1.0) * (spread * 3f32.sqrt()) }
}

impl Table {
    #[inline(always)]
    fn row(&self, id: u32) -> &[f32] {
        &self.weights[id as usize * self.width..][..self.width]
    }
}

impl Pooling {
    /// The factor of each of `count` vectors.
    fn share(self, count: usize) -> f32 {
        match self {
            Pooling::Mean => 1.0 / count.max(1) as f32,
            Pooling::Sum => 1.0,
        }
    }
}

/// `embedding.<table>`, with the set's number where there are several.
fn tensor_name(table: &str, set: usize, sets: usize) -> String {
    if sets == 1 { format!("embedding.{table}") } else { format!("embedding.{set}.{table}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let embedded = |name: &str, table, role, side| batch::Embedded {
            name: name.into(),
            table,
            pooling: Pooling::Mean,
            side,
            role,
        };
        Layout {
            tasks: vec!["click".into()],
            tables: vec![
                batch::Table { name: "ids".into(), rows: 6, width: 2 },
                batch::Table { name: "place".into(), rows: 4, width: 3 },
            ],
            embedded: vec![
                embedded("place", 1, Role::Bias, Side::Context),
                embedded("item", 0, Role::Main, Side::Item),
                embedded("seen", 0, Role::Main, Side::User),
            ],
            dense: vec![batch::Dense { name: "age".into(), width: 1, side: Side::User, role: Role::Main }],
            scenarios: vec!["all".into()],
            ..Layout::default()
        }
    }

    fn rows() -> Batch {
        Batch {
            rows: 2,
            ids: vec![
                Ids::One(vec![2, 3]),
                Ids::One(vec![4, 5]),
                Ids::Many { offsets: vec![0, 2, 2], values: vec![4, 3] },
            ],
            dense: vec![0.5, -0.5],
            scenarios: vec![0, 0],
            ..Batch::default()
        }
    }

    #[test]
    fn columns_stand_by_side_and_bias_comes_last() {
        let columns = Columns::new(&layout());
        assert_eq!(
            columns.parts().iter().map(|part| part.name.as_str()).collect::<Vec<_>>(),
            ["seen", "age", "item", "place"]
        );
        assert_eq!((columns.side(Side::User), columns.side(Side::Item)), (0..3, 3..5));
        assert_eq!((columns.side(Side::Context), columns.main(), columns.bias()), (5..5, 0..5, 5..8));
    }

    #[test]
    fn several_values_are_averaged_and_none_is_zero() {
        let tables = Tables::new(&layout(), 1, 1, 0.1).unwrap();
        let mut input = vec![f32::NAN; 16];
        tables.look_up(0, &rows(), 0..2, &mut input);
        let ids = &tables.all()[0].weights;
        assert_eq!(input[0], 0.5 * ids[8] + 0.5 * ids[6]);
        assert_eq!(&input[8..10], &[0.0, 0.0]);
        assert_eq!((input[2], input[10]), (0.5, -0.5));
        assert_eq!(&input[3..5], &ids[8..10]);
    }

    #[test]
    fn a_row_seen_by_two_fields_gets_both_gradients() {
        let tables = Tables::new(&layout(), 1, 1, 0.1).unwrap();
        let gradient: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let mut found = Vec::new();
        tables.gather(&rows(), &[vec![&gradient]], &mut found);
        let once = found.clone();
        tables.gather(&rows(), &[vec![&gradient]], &mut found);
        assert_eq!(found[0].gradients, once[0].gradients, "what was there is overwritten");
        assert_eq!(found[0].rows, [3, 4, 5]);
        // Row 4: half of columns 0..2 of row 0 as `seen`, plus columns 3..5 as `item`.
        assert_eq!(found[0].gradients, [0.0, 0.5, 0.0 + 3.0, 0.5 + 4.0, 11.0, 12.0]);
    }

    #[test]
    fn places_are_sorted_by_id_and_otherwise_stay_in_order() {
        let stream = Stream::new(5, "ids");
        for most in [1u64, 7, 1 << 11, 1 << 22, u64::from(u32::MAX)] {
            let place =
                |row: u32| Place { id: (stream.uniform(u64::from(row)) * most as f64) as u32, row, ..Place::default() };
            let mut places: Vec<Place> = (0..500).map(place).collect();
            let mut expected = places.clone();
            expected.sort_by_key(|place| place.id);
            sort_by_id(&mut places, &mut Vec::new());
            assert_eq!(places, expected, "up to {most}");
        }
        sort_by_id(&mut Vec::new(), &mut Vec::new());
    }

    #[test]
    fn the_start_of_a_row_can_be_told_later() {
        let tables = Tables::new(&layout(), 2, 3, 0.1).unwrap();
        for (table, Table { rows, width, weights, .. }) in tables.all().iter().enumerate() {
            for row in 0..*rows {
                assert_eq!(tables.start(table, row as u32, 3, 0.1), weights[row * width..][..*width]);
            }
        }
    }

    #[test]
    fn a_start_depends_on_seed_table_and_row_alone() {
        let mut larger = layout();
        larger.tables[0].rows = 100;
        let small = Tables::new(&layout(), 1, 9, 0.1).unwrap();
        let large = Tables::new(&larger, 1, 9, 0.1).unwrap();
        assert_eq!(small.all()[0].weights, large.all()[0].weights[..12]);
        assert_eq!(small.all()[0].weights[..2], [0.0, 0.0]);
    }
}
