//! What a kernel needs of a set of vector instructions.

#![allow(unsafe_code)]

/// Numbers in a vector register, and the shape of a tile of them.
///
/// # Safety
/// Of every function: the processor has the instructions. Pointers need not be
/// aligned.
pub trait Vector: Copy {
    /// Numbers of a vector, 16 at most.
    const LANES: usize;
    /// Most rows of a tile.
    const ROWS: usize;
    /// Vectors of a tile's row.
    const VECTORS: usize;
    /// Columns of a tile and of a panel.
    const WIDTH: usize = Self::LANES * Self::VECTORS;
    /// Numbers of one term in a block of the left side: room for a tile's rows.
    const BLOCK: usize = Self::ROWS.next_multiple_of(Self::LANES);

    /// Zeros.
    unsafe fn zero() -> Self;

    /// One number in every lane.
    unsafe fn all(number: f32) -> Self;

    /// # Safety
    /// Reads [`Vector::LANES`] numbers.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// Writes [`Vector::LANES`] numbers.
    unsafe fn store(self, into: *mut f32);

    /// The first `count` numbers, fewer than a vector has, then zeros.
    ///
    /// # Safety
    /// Reads these numbers and no other.
    unsafe fn load_some(from: *const f32, count: usize) -> Self;

    /// # Safety
    /// Writes the first `count` numbers, fewer than a vector has, and no other.
    unsafe fn store_some(self, into: *mut f32, count: usize);

    /// `self + a · b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;

    /// The numbers of two vectors in turns: the first halves', the second halves'.
    unsafe fn interleave(self, other: Self) -> [Self; 2];

    /// The first four columns of [`Vector::LANES`] rows that are `by` numbers apart.
    ///
    /// # Safety
    /// Reads these numbers and no other.
    unsafe fn columns(from: *const f32, by: usize) -> [Self; 4];

    /// The nearest bfloat16 numbers.
    unsafe fn nearest_bfloat16(self) -> Self {
        let mut numbers = [0.0; 16];
        // SAFETY: a vector has no more numbers.
        unsafe {
            self.store(numbers.as_mut_ptr());
            numbers = numbers.map(super::nearest_bfloat16);
            Self::load(numbers.as_ptr())
        }
    }

    /// Asks for the line of a number that will soon be read, wherever that points.
    unsafe fn fetch(_from: *const f32) {}

    /// Asks for the line of a number that will soon be read and written, likewise.
    unsafe fn fetch_to_write(_from: *const f32) {}

    /// Computes a tile.
    ///
    /// # Safety
    /// See [`Tile`].
    unsafe fn tile(tile: Tile);
}

/// A tile and the sides that it is the product of.
///
/// # Safety
/// Whoever computes it reads the `rows` times `depth` numbers of `left`, and `depth`
/// times as many vectors as `columns` need at `right`, `right_by` apart; and reads and
/// writes `rows` times `columns` numbers at `into`, `into_by` apart. `rows` is 1 to
/// [`Vector::ROWS`], `columns` 1 to [`Vector::WIDTH`].
#[derive(Clone, Copy)]
pub struct Tile {
    pub left: Left,
    pub right: *const f32,
    pub right_by: usize,
    pub depth: usize,
    pub into: *mut f32,
    pub into_by: usize,
    pub rows: usize,
    pub columns: usize,
    /// Whether to begin with what is there rather than with zero.
    pub add: bool,
}

/// The left side of a tile.
#[derive(Clone, Copy)]
pub enum Left {
    /// The numbers of a term follow each other; the next term's are so many further on.
    ByTerms(*const f32, usize),
    /// The numbers of a row follow each other; the next row's are so many further on.
    ByRows(*const f32, usize),
}
