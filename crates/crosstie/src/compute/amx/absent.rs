//! Where there is no matrix unit, or no way to ask for it.

use super::{Blocks, Line, Operands, Parts, Unit};
use crate::compute::matrix::{Matrix, MatrixMut};

pub fn permitted() -> bool {
    false
}

pub fn lay(_: Unit, _: Matrix<'_>, _: Blocks, _: usize, _: Parts, _: &mut [Line]) {
    unreachable!("no unit is handed out");
}

pub fn product(_: Unit, _: &mut MatrixMut<'_>, _: bool, _: Operands<'_>, _: Parts) {
    unreachable!("no unit is handed out");
}
