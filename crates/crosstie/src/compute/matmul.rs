//! Matrix products, behind one function: on the processor's matrix unit where it
//! has one ([`amx`]), else by the crate `gemm`, of which only this file knows.

#![allow(unsafe_code)]

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amx::{self, Blocks, Laid, Line, Operands, Parts, STRIP, Unit};
use super::kernel::vectorised;
use super::matrix::{Matrix, MatrixMut};

/// How exact the products of a network are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Products {
    /// Products of float32 numbers, with the rounding errors of float32.
    #[default]
    Float32,
    /// Both sides of a product are rounded to bfloat16 (8 bits instead of 24),
    /// products are summed in float32. Parameters and all else stay float32,
    /// and so do products that are less than 32 columns wide or terms deep.
    Bfloat16,
}

impl Products {
    fn parts(self) -> Parts {
        match self {
            Products::Float32 => Parts::Three,
            Products::Bfloat16 => Parts::One,
        }
    }

    /// How weights of `rows × columns`, with a cut between the first rows and the
    /// others, are laid out beforehand; `None` where that gains nothing.
    pub(super) fn layout(self, rows: usize, columns: usize, cut: usize) -> Option<RightLayout> {
        let unit = Unit::find().filter(|_| wide_enough(rows, columns))?;
        Some(RightLayout { unit, blocks: Blocks { inner: rows, cut }, columns, parts: self.parts() })
    }
}

/// Whether a product is for the matrix unit. Not a matter of how many rows the
/// left side has: a row's score must not depend on the rows beside it.
fn wide_enough(inner: usize, columns: usize) -> bool {
    inner >= 32 && columns >= 32
}

/// How a right side is laid out for the matrix unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct RightLayout {
    unit: Unit,
    blocks: Blocks,
    columns: usize,
    parts: Parts,
}

impl RightLayout {
    /// Lines that it takes, a multiple of [`RightLayout::strip`].
    pub fn lines(self) -> usize {
        amx::lines(self.blocks, self.columns, self.parts)
    }

    /// Lines of 32 columns.
    pub fn strip(self) -> usize {
        amx::lines(self.blocks, STRIP, self.parts)
    }

    /// Lays out strip `index` of a right side.
    pub fn lay(self, right: Matrix<'_>, index: usize, into: &mut [Line]) {
        self.unit.lay(right, self.blocks, index, self.parts, into);
    }

    /// What has been laid out.
    pub fn laid(self, lines: &[Line]) -> Laid<'_> {
        Laid::new(lines, self.blocks)
    }
}

/// The right side of a product.
#[derive(Clone, Copy)]
pub struct Right<'a> {
    matrix: Matrix<'a>,
    cut: usize,
    laid: Option<Laid<'a>>,
}

impl<'a> From<Matrix<'a>> for Right<'a> {
    fn from(matrix: Matrix<'a>) -> Right<'a> {
        Right { matrix, cut: 0, laid: None }
    }
}

impl<'a> Right<'a> {
    /// Weights of which the rows before `cut` may be asked for by themselves,
    /// perhaps laid out beforehand. What is laid out saves time and changes no bit.
    pub(super) fn new(matrix: Matrix<'a>, cut: usize, laid: Option<Laid<'a>>) -> Right<'a> {
        Right { matrix, cut, laid }
    }

    /// Whether one product with all of it gives the same bits as one with each
    /// part: on the matrix unit, which sums block by block.
    pub(super) fn whole_as_split(self, products: Products) -> bool {
        let (rows, columns) = (self.matrix.rows, self.matrix.columns);
        let parts = [self.cut, rows - self.cut];
        parts.into_iter().all(|rows| products.layout(rows, columns, 0).is_some())
    }

    /// The rows before the cut and those behind it.
    pub(super) fn split(self) -> (Right<'a>, Right<'a>) {
        let before = Blocks { inner: self.matrix.rows, cut: self.cut }.before_cut();
        let (lead, rest) = self.laid.map(|laid| laid.split(before)).unzip();
        let (rows, cut) = (self.matrix.rows, self.cut);
        (Right::new(self.matrix.rows(0, cut), 0, lead), Right::new(self.matrix.rows(cut, rows - cut), 0, rest))
    }
}

/// `c = a · b`, or `c += a · b` if `accumulate`, on the calling thread.
///
/// # Shapes
/// `a`: m × k, `b`: k × n, `c`: m × n.
///
/// # Panics
/// If the shapes do not fit.
pub fn product<'a>(
    products: Products,
    c: &mut MatrixMut<'_>,
    accumulate: bool,
    a: Matrix<'_>,
    b: impl Into<Right<'a>>,
) {
    product_by(Unit::find(), products, c, accumulate, a, b.into());
}

/// [`product`] with or without a matrix unit.
fn product_by(
    unit: Option<Unit>,
    products: Products,
    c: &mut MatrixMut<'_>,
    accumulate: bool,
    a: Matrix<'_>,
    Right { matrix: b, cut, laid }: Right<'_>,
) {
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
    if !wide_enough(a.columns, b.columns) {
        return by_vectors(c, accumulate, a, b);
    }
    match (unit, products) {
        (Some(unit), _) => {
            let blocks = Blocks { inner: a.columns, cut };
            unit.product(c, accumulate, Operands { a, b, blocks, laid }, products.parts());
        }
        (None, Products::Float32) => by_vectors(c, accumulate, a, b),
        (None, Products::Bfloat16) => rounded(a, b, |a, b| by_vectors(c, accumulate, a, b)),
    }
}

/// The product of float32 numbers without a matrix unit, by the crate `gemm`.
///
/// # Panics
/// If the shapes do not fit.
pub fn by_vectors(c: &mut MatrixMut<'_>, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
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

/// Hands copies of two matrices to `work`, rounded to bfloat16.
fn rounded(a: Matrix<'_>, b: Matrix<'_>, work: impl FnOnce(Matrix<'_>, Matrix<'_>)) {
    thread_local! {
        /// The copies, kept so that a step allocates nothing.
        static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let (size, other) = (a.rows * a.columns, b.rows * b.columns);
        if scratch.len() < size + other {
            scratch.resize(size + other, 0.0);
        }
        let (one, other) = scratch[..size + other].split_at_mut(size);
        work(rounded_into(a, one), rounded_into(b, other));
    });
}

/// A copy of a matrix with every number rounded to bfloat16, in the same order.
fn rounded_into<'a>(matrix: Matrix<'_>, into: &'a mut [f32]) -> Matrix<'a> {
    let Matrix { data, rows, columns, rows_by, columns_by } = matrix;
    if columns_by != 1 {
        return rounded_into(matrix.transposed(), into).transposed();
    }
    for (row, into) in into.chunks_exact_mut(columns).enumerate() {
        let row = &data[row * rows_by..][..columns];
        vectorised(
            #[inline(always)]
            || into.iter_mut().zip(row).for_each(|(into, number)| *into = nearest_bfloat16(*number)),
        );
    }
    Matrix::new(into, rows, columns, columns)
}

/// The nearest bfloat16 number; of two, the even one.
fn nearest_bfloat16(number: f32) -> f32 {
    let bits = number.to_bits();
    if number.is_nan() {
        return number;
    }
    f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
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
    // The kernels want columns that lie together, so rows that do are
    // multiplied the other way round: cᵀ += bᵀ · aᵀ.
    let ((rows, columns), (row_by, column_by), (one, other)) = if c.stride > 1 {
        ((c.columns, c.rows), (1, c.stride), (b.transposed(), a.transposed()))
    } else {
        ((c.rows, c.columns), (c.stride, 1), (a, b))
    };
    // SAFETY: the views checked their bounds when they were made or cut, the
    // shapes agree (asserted above), and `c` is exclusive, so it overlaps neither `a`
    // nor `b` (tests::product_equals_the_triple_loop runs over all layouts).
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            rows,
            columns,
            a.columns,
            c.data,
            column_by as isize,
            row_by as isize,
            accumulate,
            one.data.as_ptr(),
            one.columns_by as isize,
            one.rows_by as isize,
            other.data.as_ptr(),
            other.columns_by as isize,
            other.rows_by as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
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

    /// The ways to compute a product here: without a matrix unit, and with it.
    fn ways() -> Vec<Option<Unit>> {
        let unit = Unit::find();
        if unit.is_none() {
            eprintln!("skipped: products on the matrix unit, which this processor does not have");
        }
        std::iter::once(None).chain(unit.map(Some)).collect()
    }

    const BOTH: [Products; 2] = [Products::Float32, Products::Bfloat16];

    #[test]
    fn product_equals_the_triple_loop() {
        let shapes = [(1, 1, 1), (1, 7, 5), (3, 600, 1), (17, 33, 65), (70, 5, 130), (5, 1100, 40), (300, 64, 32)];
        for (way, products, (m, k, n)) in choices(&ways(), &BOTH, &shapes) {
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
                    let round = match products {
                        Products::Bfloat16 if wide_enough(k, n) => nearest_bfloat16,
                        _ => |number| number,
                    };
                    let before = numbers(m * (n + 3), 3);
                    let mut after = before.clone();
                    let mut c = MatrixMut::new(&mut after, m, n, n + 3);
                    product_by(way, products, &mut c, accumulate, a, b.into());
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
                                    sum + f64::from(round(a)) * f64::from(round(b))
                                })
                            };
                            let found = f64::from(after[i * (n + 3) + j]);
                            let what = format!("{way:?} {products:?} {m}×{k}×{n} at {i},{j}");
                            assert!((found - expected).abs() < 2e-5, "{what}: {found} {expected}");
                        }
                    }
                }
            }
        }
    }

    /// Every choice of three.
    fn choices<'a, A: Copy, B: Copy, C: Copy>(
        a: &'a [A],
        b: &'a [B],
        c: &'a [C],
    ) -> impl Iterator<Item = (A, B, C)> + 'a {
        a.iter().flat_map(move |a| b.iter().flat_map(move |b| c.iter().map(move |c| (*a, *b, *c))))
    }

    #[test]
    fn a_row_of_a_deep_product_changed_with_the_number_of_rows() {
        let shapes = [(16, 1), (128, 16), (DEPTH, 3), (DEPTH + 1, 3), (700, 300), (1500, 40)];
        for (way, products, (k, n)) in choices(&ways(), &BOTH, &shapes) {
            let (a, b) = (numbers(256 * k, 1), numbers(k * n, 2));
            for accumulate in [false, true] {
                let first = |m: usize| {
                    let mut c = numbers(256 * n, 3)[..m * n].to_vec();
                    let (a, b) = (Matrix::new(&a, m, k, k), Matrix::new(&b, k, n, n));
                    product_by(way, products, &mut MatrixMut::new(&mut c, m, n, n), accumulate, a, b.into());
                    c[..n].to_vec()
                };
                for m in [1, 2, 44, 65, 256] {
                    assert_eq!(first(m), first(256), "{way:?} {products:?} {m}×{k}×{n}");
                }
            }
        }
    }

    #[test]
    fn weights_laid_out_beforehand_and_cut_in_two_change_no_bit() {
        for (products, (rows, columns, cut)) in BOTH
            .into_iter()
            .flat_map(|products| [(320, 70, 0), (700, 40, 33), (96, 64, 64)].map(|shape| (products, shape)))
        {
            let Some(layout) = products.layout(rows, columns, cut) else { return };
            let (a, b) = (numbers(40 * rows, 1), numbers(rows * columns, 2));
            let (a, b) = (Matrix::new(&a, 40, rows, rows), Matrix::new(&b, rows, columns, columns));
            let mut lines = vec![amx::EMPTY; layout.lines()];
            lines.chunks_exact_mut(layout.strip()).enumerate().for_each(|(strip, into)| layout.lay(b, strip, into));
            let laid = Right::new(b, cut, Some(layout.laid(&lines)));
            let compute = |parts: &[(Matrix<'_>, Right<'_>)]| {
                let mut c = vec![0.0; 40 * columns];
                for (index, (a, b)) in parts.iter().enumerate() {
                    product(products, &mut MatrixMut::new(&mut c, 40, columns, columns), index > 0, *a, *b);
                }
                c
            };
            let expected = compute(&[(a, Right::new(b, cut, None))]);
            assert_eq!(compute(&[(a, laid)]), expected);
            if wide_enough(cut, columns) {
                for right in [laid, Right::new(b, cut, None)] {
                    let (lead, rest) = right.split();
                    assert_eq!(compute(&[(a.columns(0, cut), lead), (a.columns(cut, rows - cut), rest)]), expected);
                }
            }
        }
    }

    #[test]
    fn float32_on_the_matrix_unit_is_as_exact_as_by_vectors() {
        let Some(unit) = ways()[ways().len() - 1] else { return };
        // Sums of one sign, sums that nearly cancel, and operands of very different sizes.
        let spread = |number: f32, index: usize| number * [1.0, 1e-3, 1e4, 3e-7][index % 4];
        for (k, n, change) in [(320, 64, 0), (512, 128, 1), (64, 32, 2)] {
            let change = |(index, number): (usize, f32)| match change {
                0 => number.abs(),
                1 => number,
                _ => spread(number, index),
            };
            let a: Vec<f32> = numbers(64 * k, 1).into_iter().enumerate().map(change).collect();
            let b: Vec<f32> = numbers(k * n, 2).into_iter().enumerate().map(change).collect();
            let error = |way| {
                let mut c = vec![0.0; 64 * n];
                let (a, b) = (Matrix::new(&a, 64, k, k), Matrix::new(&b, k, n, n));
                product_by(way, Products::Float32, &mut MatrixMut::new(&mut c, 64, n, n), false, a, b.into());
                let error = c.iter().enumerate().map(|(place, found)| {
                    let terms = (0..k).map(|l| (a.data[place / n * k + l], b.data[l * n + place % n]));
                    let expected: f64 = terms.map(|(a, b)| f64::from(a) * f64::from(b)).sum();
                    (f64::from(*found) - expected).powi(2)
                });
                error.sum::<f64>().sqrt()
            };
            let (unit, vectors) = (error(Some(unit)), error(None));
            assert!(unit < vectors, "{k}×{n}: {unit:e} on the unit, {vectors:e} by vectors");
        }
    }

    #[test]
    fn rounding_to_bfloat16_is_to_the_nearest_and_then_to_the_even() {
        let steps = [1.0, 1.0 + 1.0 / 128.0, 1.0 + 2.0 / 128.0];
        for (number, expected) in [
            (1.0 + 0.9 / 256.0, steps[0]),
            (1.0 + 1.0 / 256.0, steps[0]),
            (1.0 + 1.1 / 256.0, steps[1]),
            (1.0 + 3.0 / 256.0, steps[2]),
            (-(1.0 + 3.0 / 256.0), -steps[2]),
            (f32::INFINITY, f32::INFINITY),
            (0.0, 0.0),
        ] {
            assert_eq!(nearest_bfloat16(number), expected, "{number}");
        }
        assert!(nearest_bfloat16(f32::NAN).is_nan());
    }
}
