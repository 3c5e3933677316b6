//! Keys of rates: the cells of one or several columns as one string of bytes.
//! A null cell is a value of its own, and no two different rows of cells give
//! the same key.

use crate::data::InOrder;
use crate::error::Result;

/// One byte string per row.
#[derive(Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    /// Where each row's string ends.
    ends: Vec<usize>,
}

impl Keys {
    /// The keys of all rows, from the named columns together.
    pub fn read(columns: &mut InOrder<'_>, names: &[String]) -> Result<Keys> {
        let mut parts = Vec::with_capacity(names.len());
        for name in names {
            let mut part = Keys::default();
            columns.column(name)?.each_text(|_, cell| {
                push(&mut part.bytes, cell);
                part.ends.push(part.bytes.len());
            })?;
            parts.push(part);
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let mut joined = Keys::default();
        for row in 0..columns.rows() {
            parts.iter().for_each(|part| joined.bytes.extend_from_slice(part.row(row)));
            joined.ends.push(joined.bytes.len());
        }
        Ok(joined)
    }

    pub fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}

/// Appends a cell: 0 for null; else 1, the length as four bytes, the text.
pub(super) fn push(key: &mut Vec<u8>, cell: Option<&str>) {
    match cell {
        None => key.push(0),
        Some(text) => {
            key.push(1);
            key.extend_from_slice(&(text.len() as u32).to_le_bytes());
            key.extend_from_slice(text.as_bytes());
        }
    }
}

/// The cells of a key made by [`push`].
pub(super) fn parts(mut key: &[u8]) -> Vec<Option<&str>> {
    let mut parts = Vec::new();
    while let Some((tag, rest)) = key.split_first() {
        key = rest;
        match rest.split_first_chunk::<4>() {
            Some((length, rest)) if *tag == 1 => {
                let (text, rest) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
                parts.push(std::str::from_utf8(text).ok());
                key = rest;
            }
            _ => parts.push(None),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_gives_back_its_cells(cells in prop::collection::vec(prop::option::of("\\PC{0,3}|[\u{0}\u{1}]{0,3}"), 0..4)) {
            let mut key = Vec::new();
            cells.iter().for_each(|cell| push(&mut key, cell.as_deref()));
            prop_assert_eq!(parts(&key), cells.iter().map(Option::as_deref).collect::<Vec<_>>());
        }
    }
}
