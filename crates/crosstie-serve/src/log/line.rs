//! A record is a line: a checksum, a blank, JSON.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// Digits of the checksum.
const DIGITS: usize = 16;

/// The line of a JSON text, which has no line feed in it.
pub(super) fn encode(json: &[u8]) -> Vec<u8> {
    let mut line = format!("{:0DIGITS$x} ", xxh3_64(json)).into_bytes();
    line.extend_from_slice(json);
    line.push(b'\n');
    line
}

/// The JSON text of a line without its end, if its checksum is right.
fn decode(line: &[u8]) -> Option<&[u8]> {
    let (checksum, rest) = line.split_at_checked(DIGITS)?;
    let json = rest.strip_prefix(b" ")?;
    (checksum == format!("{:0DIGITS$x}", xxh3_64(json)).as_bytes()).then_some(json)
}

/// A part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A whole record: its JSON, and where its line stands.
    Record(&'a [u8], Range<usize>),
    /// A line that is no record.
    Damaged(Range<usize>),
    /// What stands behind the last line.
    Unfinished(Range<usize>),
}

/// Cuts the bytes of a segment into its pieces. A damaged line costs nothing but itself.
pub(super) fn pieces(bytes: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &bytes[at..];
        if rest.is_empty() {
            return None;
        }
        let start = at;
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            at = bytes.len();
            return Some(Piece::Unfinished(start..at));
        };
        at = start + end + 1;
        Some(match decode(&rest[..end]) {
            Some(json) => Piece::Record(json, start..at),
            None => Piece::Damaged(start..at),
        })
    })
}

/// Where the last whole record ends. Behind it there is nothing that was acknowledged.
pub(super) fn end_of_records(bytes: &[u8]) -> usize {
    let ends =
        pieces(bytes).filter_map(|piece| if let Piece::Record(_, place) = piece { Some(place.end) } else { None });
    ends.last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
        let whole = |piece| if let Piece::Record(json, _) = piece { Some(json.to_vec()) } else { None };
        pieces(bytes).filter_map(whole).collect()
    }

    /// JSON as it is written: any text, escaped.
    fn json() -> impl Strategy<Value = Vec<u8>> {
        any::<String>().prop_map(|text| serde_json::to_vec(&text).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(texts in prop::collection::vec(json(), 0..8)) {
            let bytes: Vec<u8> = texts.iter().flat_map(|text| encode(text)).collect();
            prop_assert_eq!(records(&bytes), texts);
            prop_assert_eq!(end_of_records(&bytes), bytes.len());
        }

        #[test]
        fn pieces_cover_any_bytes_without_gap(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut at = 0;
            for piece in pieces(&bytes) {
                let (Piece::Record(_, place) | Piece::Damaged(place) | Piece::Unfinished(place)) = piece;
                prop_assert_eq!(place.start, at);
                at = place.end;
            }
            prop_assert_eq!(at, bytes.len());
        }

        #[test]
        fn a_changed_byte_costs_at_most_the_records_it_touches(
            texts in prop::collection::vec(json(), 1..6), place in any::<prop::sample::Index>(), mask in 1u8..,
        ) {
            let mut bytes: Vec<u8> = texts.iter().flat_map(|text| encode(text)).collect();
            let place = place.index(bytes.len());
            bytes[place] ^= mask;
            let found = records(&bytes);
            // A line feed that is gone joins two lines.
            prop_assert!(found.len() + 2 >= texts.len() && found.len() < texts.len());
            prop_assert!(found.iter().all(|text| texts.contains(text)));
        }

        #[test]
        fn rubbish_between_records_hides_none(
            texts in prop::collection::vec(json(), 1..6), rubbish in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut bytes = Vec::new();
            for text in &texts {
                bytes.extend_from_slice(&rubbish);
                bytes.push(b'\n');
                bytes.extend(encode(text));
            }
            prop_assert_eq!(records(&bytes), texts);
        }
    }

    #[test]
    fn for_every_cut_of_the_last_record_all_others_are_kept() {
        let texts: Vec<Vec<u8>> = (0..5).map(|number| format!("{{\"number\":{number}}}").into_bytes()).collect();
        let lines: Vec<Vec<u8>> = texts.iter().map(|text| encode(text)).collect();
        let bytes = lines.concat();
        let before = bytes.len() - lines[4].len();
        for length in before..bytes.len() {
            assert_eq!(records(&bytes[..length]), texts[..4], "{length} bytes");
            assert_eq!(end_of_records(&bytes[..length]), before);
            // What a file system may leave of a write that it had begun.
            let zeros = [&bytes[..length], &vec![0; bytes.len() - length][..]].concat();
            assert_eq!(records(&zeros), texts[..4]);
            assert_eq!(end_of_records(&zeros), before);
        }
        assert_eq!(records(&bytes), texts);
    }
}
