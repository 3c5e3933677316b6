//! Where there is no matrix unit, or no way to ask for it.

use super::{Blocks, Laid, Line, Parts, Unit};
use crate::compute::matmul::{Matrix, MatrixMut};

pub fn permitted() -> bool {
    false
}

pub fn lay(_: Unit, _: Matrix<'_>, _: Blocks, _: usize, _: Parts, _: &mut [Line]) {
    unreachable!("no unit is handed out");
}

pub fn product(
    _: Unit,
    _: &mut MatrixMut<'_>,
    _: bool,
    _: (Matrix<'_>, Matrix<'_>),
    _: (Blocks, Option<Laid<'_>>),
    _: Parts,
) {
    unreachable!("no unit is handed out");
}
