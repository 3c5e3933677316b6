//! Matrix products by the processor's vector instructions.
//!
//! Every element of a product is **one chain**: its terms are added in their
//! order, each by one fused multiply-add, on top of zero or of what was there.
//! So neither the number of rows nor how a product is cut into pieces, by rows,
//! columns or terms, changes a bit; and all kernels with fused instructions
//! (AVX-512, AVX2, NEON) find the same bits. The portable kernel rounds every
//! product before it adds it.
//!
//! Rounded to bfloat16, two terms fit where one did, and some processors multiply such **pairs**
//! at once. The chain stays what it is ([`pairs`]).
//!
//! A **tile** of the result, some rows by some vectors of columns, stays in
//! registers while its terms are added ([`tile`]). The right side is laid out for that, in
//! **panels** of a tile's width, term by term, perhaps beforehand ([`Laid`]). What is
//! missing to a whole panel is zero. The left is read as it stands, or laid out in blocks
//! of a tile's rows, in pieces that stay in the second-level cache, where that is faster; where
//! it is rounded, a rounded copy is read ([`sweep`]).
//!
//! A tile of **few columns** would be mostly empty. There rows become columns: the product
//! is computed transposed, or by a loop of its own ([`few`]).

#![allow(unsafe_code)]

mod few;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod portable;
mod sweep;
mod tile;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::RefCell;
use std::fmt;
use std::sync::OnceLock;

use super::line::{self, Line};
use super::matrix::{Matrix, MatrixMut};

/// Columns of a panel are a multiple of this.
const PANEL: usize = line::NUMBERS;

thread_local! {
    /// Kept so that a step allocates nothing.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { packed: Vec::new(), laid: Vec::new() }) };
}

/// What products lay out for themselves.
struct Scratch {
    /// Sides whose terms are packed in pairs.
    packed: Vec<Line>,
    /// Blocks of a left side and panels of a right one.
    laid: Vec<Line>,
}

/// A set of instructions that this processor has.
#[derive(Clone, Copy)]
pub struct Kernel(&'static Functions);

/// A kernel's functions.
struct Functions {
    name: &'static str,
    /// Columns of a panel.
    width: usize,
    /// Whether rounded terms are laid out in pairs.
    pairs: bool,
    /// Lays out a right side's columns `width · panel` and on.
    ///
    /// # Safety
    /// The processor has the instructions; there is room for the panel.
    lay: unsafe fn(right: Matrix<'_>, rounded: bool, into: &mut [f32], scratch: &mut Scratch),
    /// The product of shapes that fit and are not empty.
    ///
    /// # Safety
    /// The processor has the instructions.
    product: unsafe fn(c: &mut MatrixMut<'_>, accumulate: bool, operands: Operands<'_>, scratch: &mut Scratch),
}

/// The sides of a product.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    pub a: Matrix<'a>,
    pub b: Matrix<'a>,
    /// b as [`Kernel::lay`] lays it out, if anybody has.
    pub laid: Option<Laid<'a>>,
    /// Whether both are rounded to bfloat16.
    pub rounded: bool,
}

/// A right side, laid out: the terms `from..from + count` of `whole` in each of
/// its panels.
#[derive(Clone, Copy)]
pub struct Laid<'a> {
    lines: &'a [Line],
    whole: usize,
    from: usize,
    count: usize,
    rounded: bool,
}

impl<'a> Laid<'a> {
    /// All `terms` of a right side that [`Kernel::lay`] laid out.
    pub fn new(lines: &'a [Line], terms: usize, rounded: bool) -> Laid<'a> {
        Laid { lines, whole: terms, from: 0, count: terms, rounded }
    }

    /// The terms before a cut and those behind it.
    pub fn split(self, before: usize) -> (Laid<'a>, Laid<'a>) {
        let behind = Laid { from: self.from + before, count: self.count - before, ..self };
        (Laid { count: before, ..self }, behind)
    }

    /// The same counted in pairs of terms, where no cut goes through a pair.
    #[cfg(target_arch = "x86_64")]
    fn pairs(self) -> Option<Laid<'a>> {
        let Laid { whole, from, count, .. } = self;
        let uncut = from.is_multiple_of(2) && (count.is_multiple_of(2) || from + count == whole);
        uncut.then(|| Laid { whole: whole.div_ceil(2), from: from / 2, count: count.div_ceil(2), ..self })
    }

    /// A panel's numbers from term `from` on.
    fn panel(self, panel: usize, width: usize, from: usize) -> &'a [f32] {
        let panel = &line::numbers(self.lines)[panel * self.whole * width..][..self.whole * width];
        &panel[(self.from + from) * width..(self.from + self.count) * width]
    }
}

impl Kernel {
    /// The fastest that this processor has. Asks it once.
    pub fn find() -> Kernel {
        static FOUND: OnceLock<Kernel> = OnceLock::new();
        *FOUND.get_or_init(|| Kernel::all()[0])
    }

    /// All that this processor has, the fastest first.
    pub fn all() -> Vec<Kernel> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if pairs::supported() {
                all.push(Kernel(&pairs::AVX512_BFLOAT16));
            }
            if is_x86_feature_detected!("avx512f") {
                all.push(Kernel(&x86::AVX512));
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Kernel(&x86::AVX2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Kernel(&neon::NEON));
        all.push(Kernel(&portable::PORTABLE));
        all
    }

    /// Lines that a right side takes, a multiple of those of a panel.
    pub fn lines(self, terms: usize, columns: usize, rounded: bool) -> usize {
        columns.div_ceil(self.0.width) * self.lines_of_panel(terms, rounded)
    }

    /// Lines of a panel.
    pub fn lines_of_panel(self, terms: usize, rounded: bool) -> usize {
        let terms = if rounded && self.0.pairs { terms.div_ceil(2) } else { terms };
        terms * self.0.width / PANEL
    }

    /// Lays out a panel of a right side, with `rounded` rounded to bfloat16.
    ///
    /// # Panics
    /// If there are fewer lines than a panel has.
    pub fn lay(self, right: Matrix<'_>, panel: usize, rounded: bool, into: &mut [Line]) {
        let from = panel * self.0.width;
        let columns = right.columns(from, self.0.width.min(right.columns - from));
        let into = line::numbers_mut(&mut into[..self.lines_of_panel(right.rows, rounded)]);
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: a kernel is handed out only where the processor has its
            // instructions, and there is room for a panel.
            unsafe { (self.0.lay)(columns, rounded, into, scratch) };
        });
    }

    /// `c = a · b`, or `c += a · b` if `accumulate`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn product(self, c: &mut MatrixMut<'_>, accumulate: bool, operands: Operands<'_>) {
        let Operands { a, b, laid, rounded } = operands;
        assert_eq!((a.rows, b.columns, b.rows), (c.rows, c.columns, a.columns), "shapes of a product");
        if c.rows == 0 || c.columns == 0 {
            return;
        }
        if a.columns == 0 {
            if !accumulate {
                c.clear();
            }
            return;
        }
        // What was laid out for another rounding does not help.
        let laid = laid.filter(|laid| laid.rounded == rounded);
        if let Some(laid) = laid {
            assert_eq!(laid.count, b.rows, "terms of a side that was laid out");
        }
        // Not in the kernel: what is passed to a function of the standard library is
        // compiled without the kernel's instructions.
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: a kernel is handed out only where the processor has its instructions.
            unsafe { (self.0.product)(c, accumulate, Operands { laid, ..operands }, scratch) };
        });
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// The nearest bfloat16 number; of two, the even one.
#[inline(always)]
pub fn nearest_bfloat16(number: f32) -> f32 {
    let bits = number.to_bits();
    let rounded = f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000);
    if number.is_nan() { number } else { rounded }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::line::EMPTY;
    use super::*;

    /// A product's shape and how its sides lie in memory.
    #[derive(Clone, Copy, Debug)]
    struct Case {
        rows: usize,
        terms: usize,
        columns: usize,
        /// Numbers between rows that belong to nobody.
        gap: usize,
        transposed: [bool; 2],
        accumulate: bool,
        rounded: bool,
        laid: bool,
    }

    fn cases() -> impl Strategy<Value = Case> {
        let size = || prop_oneof![1 => 0..2usize, 3 => 1..70usize, 1 => 250..420usize];
        let choices = (any::<[bool; 2]>(), any::<[bool; 3]>());
        ([size(), size(), size()], 0..3usize, choices).prop_map(|([rows, terms, columns], gap, choices)| {
            let (transposed, [accumulate, rounded, laid]) = choices;
            Case { rows, terms, columns, gap, transposed, accumulate, rounded, laid }
        })
    }

    fn numbers(count: usize, seed: u64) -> impl Iterator<Item = f32> {
        let stream = crate::random::Stream::new(seed, "numbers");
        (0..count as u64).map(move |index| (stream.uniform(index) - 0.5) as f32)
    }

    /// Numbers for a matrix, with others between its rows; it ends with its last number.
    fn data(rows: usize, columns: usize, gap: usize, other: f32, seed: u64) -> Vec<f32> {
        let mut numbers = numbers(rows * columns, seed);
        let mut data = Vec::new();
        for row in 0..rows {
            data.extend(numbers.by_ref().take(columns));
            data.extend(std::iter::repeat_n(other, if row + 1 < rows { gap } else { 0 }));
        }
        data
    }

    fn side(data: &[f32], [rows, columns]: [usize; 2], gap: usize, transposed: bool) -> Matrix<'_> {
        match transposed {
            true => Matrix::new(data, columns, rows, rows + gap).transposed(),
            false => Matrix::new(data, rows, columns, columns + gap),
        }
    }

    fn number(matrix: Matrix<'_>, row: usize, column: usize, rounded: bool) -> f32 {
        let number = matrix.data[row * matrix.rows_by + column * matrix.columns_by];
        if rounded { nearest_bfloat16(number) } else { number }
    }

    /// The result of a kernel, and what it was before.
    fn computed(kernel: Kernel, case: Case) -> [Vec<f32>; 2] {
        let Case { rows, terms, columns, gap, accumulate, rounded, .. } = case;
        let [a_data, b_data] = sides(case);
        let [a, b] = views(case, &a_data, &b_data);
        let before = data(rows, columns, gap, 7.0, 3);
        let mut after = before.clone();
        let mut lines = vec![EMPTY; kernel.lines(terms, columns, rounded)];
        for (panel, into) in lines.chunks_exact_mut(kernel.lines_of_panel(terms, rounded).max(1)).enumerate() {
            kernel.lay(b, panel, rounded, into);
        }
        let laid = case.laid.then(|| Laid::new(&lines, terms, rounded));
        let mut c = MatrixMut::new(&mut after, rows, columns, columns + gap);
        kernel.product(&mut c, accumulate, Operands { a, b, laid, rounded });
        [before, after]
    }

    fn sides(Case { rows, terms, columns, gap, transposed, .. }: Case) -> [Vec<f32>; 2] {
        let side = |rows: usize, columns: usize, transposed: bool, seed| match transposed {
            true => data(columns, rows, gap, f32::NAN, seed),
            false => data(rows, columns, gap, f32::NAN, seed),
        };
        [side(rows, terms, transposed[0], 1), side(terms, columns, transposed[1], 2)]
    }

    fn views<'a>(case: Case, a: &'a [f32], b: &'a [f32]) -> [Matrix<'a>; 2] {
        let Case { rows, terms, columns, gap, transposed, .. } = case;
        [side(a, [rows, terms], gap, transposed[0]), side(b, [terms, columns], gap, transposed[1])]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// So a row's result depends on nothing but the row, whatever stands beside it.
        #[test]
        fn every_element_is_one_chain_to_the_bit_and_nothing_else_is_written(case in cases()) {
            let [a_data, b_data] = sides(case);
            let [a, b] = views(case, &a_data, &b_data);
            for kernel in Kernel::all() {
                let [before, after] = computed(kernel, case);
                for (place, (before, after)) in before.iter().zip(&after).enumerate() {
                    let (row, column) = (place / (case.columns + case.gap), place % (case.columns + case.gap));
                    let expected = match column < case.columns {
                        true => (0..case.terms).fold(if case.accumulate { *before } else { 0.0 }, |sum, term| {
                            let a = number(a, row, term, case.rounded);
                            let b = number(b, term, column, case.rounded);
                            if kernel.0.name == "portable" { sum + a * b } else { a.mul_add(b, sum) }
                        }),
                        false => *before,
                    };
                    prop_assert_eq!(after.to_bits(), expected.to_bits(), "{:?} at {},{}", kernel, row, column);
                }
            }
        }

        #[test]
        fn products_agree_with_those_in_double_precision(case in cases()) {
            let [a_data, b_data] = sides(case);
            let [a, b] = views(case, &a_data, &b_data);
            for kernel in Kernel::all() {
                let [before, after] = computed(kernel, case);
                for (row, column) in (0..case.rows).flat_map(|row| (0..case.columns).map(move |column| (row, column))) {
                    let place = row * (case.columns + case.gap) + column;
                    let start = if case.accumulate { before[place] } else { 0.0 };
                    let expected = (0..case.terms).fold(f64::from(start), |sum, term| {
                        let (a, b) = (number(a, row, term, case.rounded), number(b, term, column, case.rounded));
                        sum + f64::from(a) * f64::from(b)
                    });
                    let error = (f64::from(after[place]) - expected).abs();
                    prop_assert!(error < 2e-5, "{:?} at {},{}: {}", kernel, row, column, error);
                }
            }
        }
    }

    /// Each way of computing a product begins and ends at some of these sizes.
    #[test]
    fn small_products_of_every_shape_agree_with_those_in_double_precision() {
        let kernels = Kernel::all();
        for (rows, terms, columns) in (1..=40)
            .flat_map(|rows| (1..=40).flat_map(move |terms| (1..=40).map(move |columns| (rows, terms, columns))))
        {
            let kind: usize = rows + 3 * terms + 5 * columns;
            let transposed = [kind.is_multiple_of(2), kind.is_multiple_of(3)];
            let (gap, accumulate) = (kind % 4, kind.is_multiple_of(5));
            let case = Case { rows, terms, columns, gap, transposed, accumulate, rounded: false, laid: kind % 7 < 3 };
            let [a_data, b_data] = sides(case);
            let [a, b] = views(case, &a_data, &b_data);
            let found: Vec<[Vec<f32>; 2]> = kernels.iter().map(|kernel| computed(*kernel, case)).collect();
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let place = row * (columns + gap) + column;
                let expected = (0..terms).fold(0.0, |sum, term| {
                    sum + f64::from(number(a, row, term, false)) * f64::from(number(b, term, column, false))
                });
                for (kernel, [before, after]) in kernels.iter().zip(&found) {
                    let start = if accumulate { before[place] } else { 0.0 };
                    let error = (f64::from(after[place]) - f64::from(start) - expected).abs();
                    assert!(error < 3e-6, "{kernel:?} {case:?} at {row},{column}: {error}");
                }
            }
        }
    }

    /// Both sides end where a page ends behind which nobody may read, and so does the
    /// result.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn kernels_read_and_write_nothing_else() {
        const PAGE: usize = 4096;
        /// A copy of some numbers right before a page that may not be touched.
        fn at_the_edge(numbers: &[f32]) -> &'static mut [f32] {
            let room = size_of_val(numbers).next_multiple_of(PAGE).max(PAGE);
            // SAFETY: fresh memory of our own, which is never given back; the numbers fit
            // before the page that is taken away from it.
            unsafe {
                let (how, whose) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                let start = libc::mmap(std::ptr::null_mut(), room + PAGE, how, whose, -1, 0);
                assert_ne!(start, libc::MAP_FAILED);
                let end = start.byte_add(room);
                assert_eq!(libc::mprotect(end, PAGE, libc::PROT_NONE), 0);
                let copy = std::slice::from_raw_parts_mut(end.cast::<f32>().sub(numbers.len()), numbers.len());
                copy.copy_from_slice(numbers);
                copy
            }
        }
        for kernel in Kernel::all() {
            let shapes = [[1, 1, 1], [15, 17, 33], [7, 9, 16], [3, 16, 31], [29, 5, 47]];
            // Few columns, and rows that fill vectors, or nearly.
            let few =
                [[32, 4, 1], [33, 5, 1], [47, 7, 2], [40, 16, 3], [64, 6, 4], [16, 9, 5], [48, 3, 12], [33, 2, 1]];
            for [rows, terms, columns] in shapes.into_iter().chain(few) {
                let both = [false, true];
                let ways = both.into_iter().flat_map(|a| both.into_iter().flat_map(move |b| both.map(|c| ([a, b], c))));
                for (transposed, rounded) in ways {
                    let [accumulate, laid] = [true, false];
                    let case = Case { rows, terms, columns, gap: 1, transposed, accumulate, rounded, laid };
                    let [a, b] = sides(case).map(|side| at_the_edge(&side));
                    let [a, b] = views(case, a, b);
                    let [before, expected] = computed(kernel, case);
                    let after = at_the_edge(&before);
                    let mut c = MatrixMut::new(after, rows, columns, columns + 1);
                    kernel.product(&mut c, accumulate, Operands { a, b, laid: None, rounded });
                    let mut panel = vec![EMPTY; kernel.lines_of_panel(terms, rounded)];
                    kernel.lay(b, (columns - 1) / kernel.0.width, rounded, &mut panel);
                    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(after), bits(&expected), "{kernel:?} {case:?}");
                }
            }
        }
    }
}
