//! Memory that starts where a line of the processor's cache starts.

#![allow(unsafe_code)]

/// 64 bytes of an operand, as somebody has laid it out.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Line(pub(super) [u32; 16]);

/// No numbers.
pub const EMPTY: Line = Line([0; 16]);

/// float32 numbers of a line.
pub const NUMBERS: usize = 16;

/// The numbers of some lines.
pub fn numbers(lines: &[Line]) -> &[f32] {
    // SAFETY: a line is sixteen 32-bit numbers without gaps, and any bits are a
    // float32 (tests::lines_hold_numbers).
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * NUMBERS) }
}

/// The numbers of some lines, to be written.
pub fn numbers_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as in `numbers`; the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * NUMBERS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hold_numbers() {
        let mut lines = [EMPTY; 3];
        numbers_mut(&mut lines)[17] = 2.5;
        assert_eq!(numbers(&lines).len(), 48);
        assert_eq!(lines[1].0[1], 2.5f32.to_bits());
        assert_eq!(numbers(&lines)[17], 2.5);
    }
}
