//! Matrix products, behind one function: on the processor's matrix unit where it
//! has one ([`amx`]), else by its vector instructions ([`vectors`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amx::{self, Blocks, Parts, STRIP, Unit};
use super::buffer::CHUNK;
use super::line::{EMPTY, Line};
use super::matrix::{Matrix, MatrixMut};
use super::vectors::{self, Kernel};

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
    /// Faster where the processor multiplies such numbers (AMX, AVX-512 with
    /// bfloat16).
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
    /// others, are laid out beforehand.
    pub(super) fn layout(self, rows: usize, columns: usize, cut: usize) -> RightLayout {
        let way = match Unit::find().filter(|_| wide_enough(rows, columns)) {
            Some(unit) => Way::Unit(unit, self.parts()),
            None => Way::Vectors(Kernel::find(), self.rounds(rows, columns)),
        };
        RightLayout { way, blocks: Blocks { inner: rows, cut }, columns }
    }

    /// Rows of a product of which what is written stays in the second-level cache, and
    /// that make no product slower. On the matrix unit, all.
    pub(super) fn rows_near(self) -> usize {
        if Unit::find().is_some() { CHUNK } else { 64 }
    }

    /// Columns of a weight gradient that one thread computes. As many as stay in the second-level
    /// cache while a batch is summed up, and fewer where many threads would have
    /// none. The matrix unit lays the left side out anew for each such part.
    pub(super) fn columns_near(self, threads: usize) -> usize {
        match threads {
            _ if Unit::find().is_some() => 512,
            9..=16 if self.cut_anywhere() => 128,
            17.. if self.cut_anywhere() => 64,
            _ => 256,
        }
    }

    /// Whether a sum over rows is the same to the bit wherever it is cut, and with or without rows
    /// of zeros: by vectors, which add term by term. The matrix unit adds by blocks of rows, and
    /// of few rows nothing is rounded to bfloat16.
    pub(super) fn cut_anywhere(self) -> bool {
        self == Products::Float32 && Unit::find().is_none()
    }

    /// Whether vectors multiply rounded numbers.
    fn rounds(self, inner: usize, columns: usize) -> bool {
        self == Products::Bfloat16 && wide_enough(inner, columns)
    }
}

/// Whether a product is for the matrix unit. Not a matter of how many rows the
/// left side has: a row's score must not depend on the rows beside it.
fn wide_enough(inner: usize, columns: usize) -> bool {
    inner >= 32 && columns >= 32
}

/// How a right side is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct RightLayout {
    way: Way,
    blocks: Blocks,
    columns: usize,
}

/// For whom.
#[derive(Clone, Copy, Debug)]
enum Way {
    Unit(Unit, Parts),
    /// Rounded to bfloat16 or not.
    Vectors(Kernel, bool),
}

impl RightLayout {
    /// Lines that it takes, a multiple of [`RightLayout::strip`].
    pub fn lines(self) -> usize {
        match self.way {
            Way::Unit(_, parts) => amx::lines(self.blocks, self.columns, parts),
            Way::Vectors(kernel, rounded) => kernel.lines(self.blocks.inner, self.columns, rounded),
        }
    }

    /// Lines of the columns that are laid out together.
    pub fn strip(self) -> usize {
        match self.way {
            Way::Unit(_, parts) => amx::lines(self.blocks, STRIP, parts),
            Way::Vectors(kernel, rounded) => kernel.lines_of_panel(self.blocks.inner, rounded),
        }
    }

    /// Lays out strip `index` of a right side.
    pub fn lay(self, right: Matrix<'_>, index: usize, into: &mut [Line]) {
        match self.way {
            Way::Unit(unit, parts) => unit.lay(right, self.blocks, index, parts, into),
            Way::Vectors(kernel, rounded) => kernel.lay(right, index, rounded, into),
        }
    }

    /// What has been laid out.
    pub fn laid(self, lines: &[Line]) -> Laid<'_> {
        match self.way {
            Way::Unit(..) => Laid::Unit(amx::Laid::new(lines, self.blocks)),
            Way::Vectors(_, rounded) => Laid::Vectors(vectors::Laid::new(lines, self.blocks.inner, rounded)),
        }
    }
}

/// A right side that has been laid out.
#[derive(Clone, Copy)]
pub(super) enum Laid<'a> {
    Unit(amx::Laid<'a>),
    Vectors(vectors::Laid<'a>),
}

impl<'a> Laid<'a> {
    /// What stands before a cut, and what behind.
    fn split(self, blocks: Blocks) -> (Laid<'a>, Laid<'a>) {
        match self {
            Laid::Unit(laid) => {
                let (lead, rest) = laid.split(blocks.before_cut());
                (Laid::Unit(lead), Laid::Unit(rest))
            }
            Laid::Vectors(laid) => {
                let (lead, rest) = laid.split(blocks.cut);
                (Laid::Vectors(lead), Laid::Vectors(rest))
            }
        }
    }

    fn for_unit(self) -> Option<amx::Laid<'a>> {
        match self {
            Laid::Unit(laid) => Some(laid),
            Laid::Vectors(_) => None,
        }
    }

    fn for_vectors(self) -> Option<vectors::Laid<'a>> {
        match self {
            Laid::Unit(_) => None,
            Laid::Vectors(laid) => Some(laid),
        }
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
    /// part: where all are computed in the same way. On the matrix unit sums are made
    /// block by block, and by vectors term by term.
    pub(super) fn whole_as_split(self, products: Products) -> bool {
        let (rows, columns) = (self.matrix.rows, self.matrix.columns);
        let way = |rows: usize| match wide_enough(rows, columns) {
            true => (Unit::find().is_some(), products == Products::Bfloat16),
            false => (false, false),
        };
        [self.cut, rows - self.cut].into_iter().all(|part| way(part) == way(rows))
    }

    /// The rows before the cut and those behind it.
    pub(super) fn split(self) -> (Right<'a>, Right<'a>) {
        let blocks = Blocks { inner: self.matrix.rows, cut: self.cut };
        let (lead, rest) = self.laid.map(|laid| laid.split(blocks)).unzip();
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
    product_by(Unit::find(), Kernel::find(), products, c, accumulate, a, b.into());
}

/// [`product`] with or without a matrix unit, and by one kind of vectors.
fn product_by(
    unit: Option<Unit>,
    kernel: Kernel,
    products: Products,
    c: &mut MatrixMut<'_>,
    accumulate: bool,
    a: Matrix<'_>,
    Right { matrix: b, cut, laid }: Right<'_>,
) {
    check_shapes(c, a, b);
    match unit.filter(|_| c.rows > 0 && wide_enough(a.columns, b.columns)) {
        Some(unit) => {
            let (blocks, laid) = (Blocks { inner: a.columns, cut }, laid.and_then(Laid::for_unit));
            unit.product(c, accumulate, amx::Operands { a, b, blocks, laid }, products.parts());
        }
        None => {
            let (rounded, laid) = (products.rounds(a.columns, b.columns), laid.and_then(Laid::for_vectors));
            kernel.product(c, accumulate, vectors::Operands { a, b, laid, rounded });
        }
    }
}

/// The product of float32 numbers without a matrix unit, to be measured.
///
/// # Panics
/// If the shapes do not fit.
pub fn by_vectors<'a>(c: &mut MatrixMut<'_>, accumulate: bool, a: Matrix<'_>, b: impl Into<Right<'a>>) {
    product_by(None, Kernel::find(), Products::Float32, c, accumulate, a, b.into());
}

/// A right side laid out for [`by_vectors`], as weights are once per step. `lines` is the
/// memory that it takes.
pub fn laid_for_vectors<'a>(matrix: Matrix<'a>, lines: &'a mut Vec<Line>) -> Right<'a> {
    let blocks = Blocks { inner: matrix.rows, cut: 0 };
    let layout = RightLayout { way: Way::Vectors(Kernel::find(), false), blocks, columns: matrix.columns };
    lines.resize(layout.lines(), EMPTY);
    lines.chunks_exact_mut(layout.strip().max(1)).enumerate().for_each(|(strip, into)| layout.lay(matrix, strip, into));
    Right::new(matrix, 0, Some(layout.laid(lines)))
}

/// The name of the vector instructions by which products are computed here.
pub fn vector_kernel() -> String {
    format!("{:?}", Kernel::find())
}

fn check_shapes(c: &MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(a.columns, b.rows, "inner widths of a product");
    assert_eq!((c.rows, c.columns), (a.rows, b.columns), "shape of a product");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::vectors::nearest_bfloat16;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let stream = crate::random::Stream::new(seed, "numbers");
        (0..count as u64).map(|i| (stream.uniform(i) - 0.5) as f32).collect()
    }

    /// A way to compute a product here: perhaps with a matrix unit, else by vectors.
    type Way = (Option<Unit>, Kernel);

    fn ways() -> Vec<Way> {
        let by_vectors = Kernel::all().into_iter().map(|kernel| (None, kernel));
        by_vectors.chain(Unit::find().map(|unit| (Some(unit), Kernel::find()))).collect()
    }

    /// All other tests pass with whatever kernels there are.
    #[test]
    fn the_kernels_of_this_processor_are_told() {
        let names: Vec<String> = Kernel::all().iter().map(|kernel| format!("{kernel:?}")).collect();
        assert_eq!(names.last().map(String::as_str), Some("portable"));
        let unit = if Unit::find().is_some() { "exercised" } else { "not there" };
        // Not through a macro: those are silent in tests that pass.
        let said = format!("products were exercised by: {}; matrix unit: {unit}\n", names.join(", "));
        std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).unwrap();
    }

    const BOTH: [Products; 2] = [Products::Float32, Products::Bfloat16];

    #[test]
    fn product_equals_the_triple_loop() {
        let shapes = [(1, 1, 1), (1, 7, 5), (3, 600, 1), (17, 33, 65), (70, 5, 130), (5, 1100, 40), (300, 64, 32)];
        for ((unit, kernel), products, (m, k, n)) in choices(&ways(), &BOTH, &shapes) {
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
                    product_by(unit, kernel, products, &mut c, accumulate, a, b.into());
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
                            let what = format!("{unit:?} {kernel:?} {products:?} {m}×{k}×{n} at {i},{j}");
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
        let shapes = [(16, 1), (128, 16), (384, 3), (385, 3), (700, 300), (1500, 40)];
        for ((unit, kernel), products, (k, n)) in choices(&ways(), &BOTH, &shapes) {
            let (a, b) = (numbers(256 * k, 1), numbers(k * n, 2));
            for accumulate in [false, true] {
                let first = |m: usize| {
                    let mut c = numbers(256 * n, 3)[..m * n].to_vec();
                    let (a, b) = (Matrix::new(&a, m, k, k), Matrix::new(&b, k, n, n));
                    product_by(unit, kernel, products, &mut MatrixMut::new(&mut c, m, n, n), accumulate, a, b.into());
                    c[..n].to_vec()
                };
                for m in [1, 2, 44, 65, 256] {
                    assert_eq!(first(m), first(256), "{unit:?} {kernel:?} {products:?} {m}×{k}×{n}");
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
            let layout = products.layout(rows, columns, cut);
            let (a, b) = (numbers(40 * rows, 1), numbers(rows * columns, 2));
            let (a, b) = (Matrix::new(&a, 40, rows, rows), Matrix::new(&b, rows, columns, columns));
            let mut lines = vec![EMPTY; layout.lines()];
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
            if laid.whole_as_split(products) {
                for right in [laid, Right::new(b, cut, None)] {
                    let (lead, rest) = right.split();
                    assert_eq!(compute(&[(a.columns(0, cut), lead), (a.columns(cut, rows - cut), rest)]), expected);
                }
            }
        }
    }

    #[test]
    fn float32_on_the_matrix_unit_is_as_exact_as_by_vectors() {
        let Some(unit) = Unit::find() else { return };
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
            let error = |unit| {
                let mut c = vec![0.0; 64 * n];
                let (a, b) = (Matrix::new(&a, 64, k, k), Matrix::new(&b, k, n, n));
                let c_view = &mut MatrixMut::new(&mut c, 64, n, n);
                product_by(unit, Kernel::find(), Products::Float32, c_view, false, a, b.into());
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
