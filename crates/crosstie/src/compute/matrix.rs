//! Views of matrices in slices of numbers.

#![allow(unsafe_code)]

/// A strided view of a matrix: element (i, j) is `data[i * rows_by + j * columns_by]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) rows_by: usize,
    pub(super) columns_by: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major view of `rows × columns`, `stride` elements from row to row.
    ///
    /// # Panics
    /// If `data` is too short.
    pub fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Matrix<'a> {
        check_length(data.len(), rows, columns, stride);
        Matrix { data, rows, columns, rows_by: stride, columns_by: 1 }
    }

    /// One row, of a view whose rows stand in one piece.
    pub(super) fn row(self, row: usize) -> &'a [f32] {
        assert!(row < self.rows && self.columns_by == 1, "row {row} of {}", self.rows);
        &self.data[row * self.rows_by..][..self.columns]
    }

    /// The rows `from..from + count`.
    pub(super) fn rows(self, from: usize, count: usize) -> Matrix<'a> {
        assert!(from + count <= self.rows, "rows {from}..{} of {}", from + count, self.rows);
        Matrix { data: &self.data[from * self.rows_by..], rows: count, ..self }
    }

    /// The columns `from..from + count`.
    pub(super) fn columns(self, from: usize, count: usize) -> Matrix<'a> {
        self.transposed().rows(from, count).transposed()
    }

    /// Copies some rows.
    pub(super) fn rows_of(self, rows: &[usize]) -> Rows {
        let mut numbers = Vec::with_capacity(rows.len() * self.columns);
        rows.iter().for_each(|row| numbers.extend_from_slice(self.row(*row)));
        Rows { numbers, rows: rows.len(), columns: self.columns }
    }

    /// The same elements, rows and columns exchanged.
    pub fn transposed(self) -> Matrix<'a> {
        Matrix {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            rows_by: self.columns_by,
            columns_by: self.rows_by,
        }
    }
}

/// Some rows of a matrix, copied to stand one after the other.
pub(super) struct Rows {
    numbers: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Rows {
    pub fn as_matrix(&self) -> Matrix<'_> {
        Matrix::new(&self.numbers, self.rows, self.columns, self.columns)
    }

    pub fn as_mut(&mut self) -> MatrixMut<'_> {
        MatrixMut::new(&mut self.numbers, self.rows, self.columns, self.columns)
    }
}

/// A row-major view that can be written.
pub struct MatrixMut<'a> {
    pub(super) data: *mut f32,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) stride: usize,
    lifetime: std::marker::PhantomData<&'a mut [f32]>,
}

impl<'a> MatrixMut<'a> {
    /// A row-major view of `rows × columns`, `stride` elements from row to row.
    ///
    /// # Panics
    /// If `data` is too short.
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> MatrixMut<'a> {
        check_length(data.len(), rows, columns, stride);
        MatrixMut { data: data.as_mut_ptr(), rows, columns, stride, lifetime: std::marker::PhantomData }
    }

    /// The columns `from..from + width`, consuming the view.
    pub(super) fn columns(self, from: usize, width: usize) -> MatrixMut<'a> {
        assert!(from + width <= self.columns, "columns {from}..{} of {}", from + width, self.columns);
        // SAFETY: `from` is at most `columns`, so the pointer stays inside the
        // first row of the slice this view was made from (tests::columns_of_a_view).
        let data = unsafe { self.data.add(from) };
        MatrixMut { data, columns: width, ..self }
    }

    /// Splits into views of `width` columns each (the last may be narrower).
    /// The views are disjoint, so each may go to a thread of its own.
    pub(super) fn into_tiles(self, width: usize) -> Vec<MatrixMut<'a>> {
        let (columns, width) = (self.columns, width.max(1));
        (0..columns)
            .step_by(width)
            .map(|from| {
                let view = MatrixMut { lifetime: std::marker::PhantomData, ..self };
                view.columns(from, width.min(columns - from))
            })
            .collect()
    }

    /// Number of columns.
    pub(super) fn width(&self) -> usize {
        self.columns
    }

    /// Copies some rows.
    pub(super) fn rows_of(&mut self, rows: &[usize]) -> Rows {
        let mut numbers = Vec::with_capacity(rows.len() * self.columns);
        rows.iter().for_each(|row| numbers.extend_from_slice(self.row(*row)));
        Rows { numbers, rows: rows.len(), columns: self.columns }
    }

    /// Sets every element to zero.
    pub(super) fn clear(&mut self) {
        for row in 0..self.rows {
            self.row(row).fill(0.0);
        }
    }

    /// One row.
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: `new` checked that `rows` rows of `columns` elements, `stride`
        // apart, lie inside one exclusively borrowed slice; `columns` and
        // `into_tiles` only narrow the columns. The borrow of `self` keeps two
        // rows from being taken at once (tests::tiles_write_their_own_columns).
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride), self.columns) }
    }
}

// SAFETY: a view has exclusive use of its elements, like the `&mut [f32]` it
// was made from; tiles of one matrix share no element.
unsafe impl Send for MatrixMut<'_> {}

fn check_length(length: usize, rows: usize, columns: usize, stride: usize) {
    assert!(columns <= stride || rows <= 1, "a row of {columns} does not fit a stride of {stride}");
    if rows > 0 && columns > 0 {
        // What does not fit a usize fits no slice either.
        let needed = (rows - 1).checked_mul(stride).and_then(|before| before.checked_add(columns));
        assert!(
            needed.is_some_and(|needed| length >= needed),
            "{rows} × {columns} with stride {stride} needs {} elements, got {length}",
            needed.map_or("more than there can be".into(), |needed| needed.to_string()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_view() {
        let mut data = vec![0.0; 12];
        MatrixMut::new(&mut data, 3, 4, 4).columns(1, 2).row(2).copy_from_slice(&[5.0, 6.0]);
        assert_eq!(&data[8..], &[0.0, 5.0, 6.0, 0.0]);
    }

    #[test]
    fn tiles_write_their_own_columns() {
        let mut data = vec![0.0; 15];
        for (index, tile) in MatrixMut::new(&mut data, 3, 5, 5).into_tiles(2).iter_mut().enumerate() {
            for row in 0..3 {
                tile.row(row).iter_mut().for_each(|x| *x += 1.0 + index as f32);
            }
        }
        assert_eq!(data, [1.0, 1.0, 2.0, 2.0, 3.0].repeat(3));
    }

    #[test]
    #[should_panic(expected = "needs 8 elements")]
    fn a_view_longer_than_its_slice_is_refused() {
        Matrix::new(&[0.0; 7], 2, 4, 4);
    }

    #[test]
    fn a_shape_whose_size_overflows_fits_no_slice() {
        // (2^63 + 1 - 1) rows of stride 2 wrap to no elements at all; the second sum wraps, too.
        let most = usize::MAX;
        for (rows, columns, stride) in [(most / 2 + 2, 1, 2), (2, most, most), (most, 1, most)] {
            let view = std::panic::catch_unwind(|| Matrix::new(&[0.0; 8], rows, columns, stride).rows);
            assert!(view.is_err(), "{rows} × {columns} with stride {stride}");
            let view = std::panic::catch_unwind(|| MatrixMut::new(&mut [0.0; 8], rows, columns, stride).rows);
            assert!(view.is_err(), "{rows} × {columns} with stride {stride}, to be written");
        }
    }
}
