//! Embedding tables: looked up row by row, with gradients only where seen.

use std::mem::take;
use std::ops::Range;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::{self, Batch, Ids, Layout};
use crate::compute::kernel::{self, vectorised};
use crate::compute::zeros;
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
    seen: Seen,
}

impl RowGradients {
    /// The gradients of some rows.
    pub fn new(rows: Vec<u32>, gradients: Vec<f32>) -> RowGradients {
        RowGradients { rows, gradients, seen: Seen::default() }
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
                                copy(table.row(*id), cell);
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
    /// the gradient of the input chunk by chunk (of equally many rows, the last may
    /// have fewer). What `into` held is overwritten, its memory used again.
    pub fn gather(&self, batch: &Batch, inputs: &[Vec<&[f32]>], into: &mut Vec<RowGradients>) {
        into.resize_with(self.tables.len(), RowGradients::default);
        // A batch looks at the same rows in all sets.
        let mut seen: Vec<Seen> = into.iter_mut().take(self.per_set).map(|into| take(&mut into.seen)).collect();
        let finding = seen.par_iter_mut().enumerate().with_max_len(1);
        finding.for_each(|(table, seen)| self.find_seen(table, batch, seen));
        into.par_iter_mut().enumerate().with_max_len(1).for_each(|(job, into)| {
            self.sum_gradients(self.tables[job].width, &seen[job % self.per_set], &inputs[job / self.per_set], into);
        });
        into.iter_mut().zip(seen).for_each(|(into, seen)| into.seen = seen);
    }

    /// Finds where a batch looks at a table, and which of its rows that are.
    fn find_seen(&self, table: usize, batch: &Batch, Seen { places, rows, by_id: [by_id, room] }: &mut Seen) {
        places.clear();
        by_id.clear();
        for part in &self.columns.parts {
            let From::Table { index: ids, table: wanted, pooling } = part.from else { continue };
            if wanted != table {
                continue;
            }
            for row in 0..batch.rows {
                let ids = batch.ids[ids].row(row);
                let share = pooling.share(ids.len());
                let (row, column) = (row as u32, part.columns.start as u32);
                for id in ids {
                    by_id.push((*id, places.len() as u32));
                    places.push(Place { seen: 0, row, column, share });
                }
            }
        }
        sort_by_id(by_id, room);
        rows.clear();
        for (id, place) in by_id {
            if rows.last() != Some(id) {
                rows.push(*id);
            }
            places[*place as usize].seen = rows.len() as u32 - 1;
        }
    }

    /// Place by place, so that the input's rows are read in their order.
    fn sum_gradients(
        &self,
        width: usize,
        seen: &Seen,
        input: &[&[f32]],
        RowGradients { rows, gradients, .. }: &mut RowGradients,
    ) {
        let rows_of_chunk = input.first().map_or(1, |chunk| chunk.len() / self.columns.width.max(1)).max(1);
        rows.clone_from(&seen.rows);
        gradients.clear();
        gradients.resize(rows.len() * width, 0.0);
        vectorised(
            #[inline(always)]
            || {
                for Place { seen, row, column, share } in &seen.places {
                    let (row, column) = (*row as usize, *column as usize);
                    let at = row % rows_of_chunk * self.columns.width + column;
                    let gradient = &input[row / rows_of_chunk][at..][..width];
                    kernel::add_scaled(&mut gradients[*seen as usize * width..][..width], *share, gradient);
                }
            },
        );
    }
}

/// Where a batch looks at one table.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// In the order of fields and rows.
    places: Vec<Place>,
    /// The rows of the table, ascending.
    rows: Vec<u32>,
    /// Room to sort by id.
    by_id: [Vec<(u32, u32)>; 2],
}

/// Where a batch looks at a row of a table.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Which of the rows seen.
    seen: u32,
    /// The row of the batch.
    row: u32,
    /// The first column of the input.
    column: u32,
    /// The share of the vector that the input holds.
    share: f32,
}

/// Sorts pairs of an id and something by id, and keeps the order of equal ids: digit by
/// digit, which for the few thousand places of a batch is several times faster than
/// comparing. `sorted` is room.
fn sort_by_id(pairs: &mut Vec<(u32, u32)>, sorted: &mut Vec<(u32, u32)>) {
    const DIGIT: u32 = 11;
    let bits = u32::BITS - pairs.iter().map(|(id, _)| *id).max().unwrap_or(0).leading_zeros();
    sorted.resize(pairs.len(), (0, 0));
    for shift in (0..bits).step_by(DIGIT as usize) {
        let digit = |(id, _): &(u32, u32)| (id >> shift & ((1 << DIGIT) - 1)) as usize;
        let mut next = [0u32; 1 << DIGIT];
        pairs.iter().for_each(|pair| next[digit(pair)] += 1);
        let mut at = 0;
        for next in &mut next {
            at += std::mem::replace(next, at);
        }
        for pair in pairs.iter() {
            let next = &mut next[digit(pair)];
            sorted[*next as usize] = *pair;
            *next += 1;
        }
        std::mem::swap(pairs, sorted);
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

/// Copies a row, of the width that tables have by default without a call for it.
#[inline(always)]
fn copy(from: &[f32], into: &mut [f32]) {
    match (<&[f32; 16]>::try_from(from), <&mut [f32; 16]>::try_from(&mut *into)) {
        (Ok(from), Ok(into)) => *into = *from,
        _ => into.copy_from_slice(from),
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
    fn every_set_of_tables_gets_the_gradients_of_its_own_input() {
        let tables = Tables::new(&layout(), 2, 1, 0.1).unwrap();
        let alone = Tables::new(&layout(), 1, 1, 0.1).unwrap();
        let gradients: Vec<Vec<f32>> = (0..2).map(|set| (0..16).map(|i| (i * i + 7 * set) as f32).collect()).collect();
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        tables.gather(&rows(), &[vec![&gradients[0]], vec![&gradients[1]]], &mut found);
        for (set, gradient) in gradients.iter().enumerate() {
            alone.gather(&rows(), &[vec![gradient]], &mut expected);
            for (found, expected) in found[2 * set..].iter().zip(&expected) {
                assert_eq!((&found.rows, &found.gradients), (&expected.rows, &expected.gradients), "set {set}");
            }
        }
        assert_ne!(found[0].gradients, found[2].gradients);
    }

    #[test]
    fn places_are_sorted_by_id_and_otherwise_stay_in_order() {
        let stream = Stream::new(5, "ids");
        for most in [1u64, 7, 1 << 11, 1 << 22, u64::from(u32::MAX)] {
            let pair = |place: u32| ((stream.uniform(u64::from(place)) * most as f64) as u32, place);
            let mut pairs: Vec<(u32, u32)> = (0..500).map(pair).collect();
            let mut expected = pairs.clone();
            expected.sort_by_key(|(id, _)| *id);
            sort_by_id(&mut pairs, &mut Vec::new());
            assert_eq!(pairs, expected, "up to {most}");
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
