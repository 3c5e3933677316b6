//! Matrix products, behind one function so that another crate can take the
//! place of `gemm`. The only file of this library with `unsafe`.

#![allow(unsafe_code)]

/// A strided view of a matrix: element (i, j) is `data[i * rows_by + j * columns_by]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    rows_by: usize,
    columns_by: usize,
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

    /// The rows `from..from + count`.
    pub(super) fn rows(self, from: usize, count: usize) -> Matrix<'a> {
        assert!(from + count <= self.rows, "rows {from}..{} of {}", from + count, self.rows);
        Matrix { data: &self.data[from * self.rows_by..], rows: count, ..self }
    }

    /// The columns `from..from + count`.
    fn columns(self, from: usize, count: usize) -> Matrix<'a> {
        self.transposed().rows(from, count).transposed()
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

/// A row-major view that can be written.
pub struct MatrixMut<'a> {
    data: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
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
        let needed = (rows - 1) * stride + columns;
        assert!(length >= needed, "{rows} × {columns} with stride {stride} needs {needed} elements, got {length}");
    }
}

/// `c = a · b`, or `c += a · b` if `accumulate`, on the calling thread.
///
/// # Shapes
/// `a`: m × k, `b`: k × n, `c`: m × n.
///
/// # Panics
/// If the shapes do not fit.
pub fn product(c: &mut MatrixMut<'_>, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
    check_shapes(c, a, b);
    if c.rows == 0 || c.columns == 0 {
        return;
    }
    if a.columns == 0 {
        if !accumulate {
            c.clear();
        }
        return;
    }
    let step = a.columns.div_ceil(a.columns.div_ceil(DEPTH));
    for from in (0..a.columns).step_by(step) {
        let depth = step.min(a.columns - from);
        let (a, b) = (a.columns(from, depth), b.rows(from, depth));
        if (accumulate || from > 0) && c.rows == 1 {
            add_row(c.row(0), a, b);
        } else {
            add_product(c, accumulate || from > 0, a, b);
        }
    }
}

/// `c += a · b` for a single row, which `gemm` would sum on top of c term by
/// term, and of several rows not.
fn add_row(c: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    let mut part = [0.0; 256];
    for (index, c) in c.chunks_mut(part.len()).enumerate() {
        let (from, width) = (index * part.len(), c.len());
        add_product(&mut MatrixMut::new(&mut part, 1, width, width), false, a, b.columns(from, width));
        c.iter_mut().zip(&part).for_each(|(c, part)| *c += part);
    }
}

/// Longest sum that `gemm` never cuts. Longer ones it cuts in a way that
/// depends on the number of rows and on the processor's caches, and a row's
/// score would then depend, in its last bits, on the rows beside it.
const DEPTH: usize = 512;

fn check_shapes(c: &MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(a.columns, b.rows, "inner widths of a product");
    assert_eq!((c.rows, c.columns), (a.rows, b.columns), "shape of a product");
}

/// The product, of shapes that are not empty, in one call.
fn add_product(c: &mut MatrixMut<'_>, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
    check_shapes(c, a, b);
    // SAFETY: the views checked their bounds when they were made or cut, the
    // shapes agree (asserted above), and `c` is exclusive, so it overlaps neither `a`
    // nor `b` (tests::product_equals_the_triple_loop runs over all layouts).
    unsafe {
        gemm::gemm(
            c.rows,
            c.columns,
            a.columns,
            c.data,
            1,
            c.stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.columns_by as isize,
            a.rows_by as isize,
            b.data.as_ptr(),
            b.columns_by as isize,
            b.rows_by as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let stream = crate::random::Stream::new(seed, "numbers");
        (0..count as u64).map(|i| (stream.uniform(i) - 0.5) as f32).collect()
    }

    #[test]
    fn product_equals_the_triple_loop() {
        for (m, k, n) in [(1, 1, 1), (1, 7, 5), (3, 600, 1), (17, 33, 65), (70, 5, 130), (5, 1100, 7)] {
            for transposed in 0..4 {
                for accumulate in [false, true] {
                    let (a_data, b_data) = (numbers((m + 2) * (k + 2), 1), numbers((n + 2) * (k + 2), 2));
                    let a = match transposed & 1 {
                        0 => Matrix::new(&a_data, m, k, k + 2),
                        _ => Matrix::new(&a_data, k, m, m + 2).transposed(),
                    };
                    let b = match transposed & 2 {
                        0 => Matrix::new(&b_data, k, n, n + 2),
                        _ => Matrix::new(&b_data, n, k, k + 2).transposed(),
                    };
                    let before = numbers(m * (n + 3), 3);
                    let mut after = before.clone();
                    product(&mut MatrixMut::new(&mut after, m, n, n + 3), accumulate, a, b);
                    for i in 0..m {
                        for j in 0..n + 3 {
                            let old = before[i * (n + 3) + j];
                            let expected: f64 = if j >= n {
                                old.into()
                            } else {
                                let start = if accumulate { f64::from(old) } else { 0.0 };
                                (0..k).fold(start, |sum, l| {
                                    let a = a.data[i * a.rows_by + l * a.columns_by];
                                    let b = b.data[l * b.rows_by + j * b.columns_by];
                                    sum + f64::from(a) * f64::from(b)
                                })
                            };
                            let found = f64::from(after[i * (n + 3) + j]);
                            assert!((found - expected).abs() < 1e-4, "{m}×{k}×{n} at {i},{j}: {found} {expected}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_of_a_deep_product_changed_with_the_number_of_rows() {
        for (k, n) in [(16, 1), (128, 16), (DEPTH, 3), (DEPTH + 1, 3), (700, 300), (1500, 5)] {
            let (a, b) = (numbers(256 * k, 1), numbers(k * n, 2));
            for accumulate in [false, true] {
                let first = |m: usize| {
                    let mut c = numbers(256 * n, 3)[..m * n].to_vec();
                    let (a, b) = (Matrix::new(&a, m, k, k), Matrix::new(&b, k, n, n));
                    product(&mut MatrixMut::new(&mut c, m, n, n), accumulate, a, b);
                    c[..n].to_vec()
                };
                for m in [1, 2, 44, 65, 256] {
                    assert_eq!(first(m), first(256), "{m}×{k}×{n}");
                }
            }
        }
    }

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
}
