//! Distinct tokens, how often they occur, and the ids they get.

use std::fmt;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Distinct byte strings, numbered from 0 in the order they came. All bytes
/// lie in one block of memory, so neither a lookup nor a new token allocates.
#[derive(Clone, Default)]
pub(super) struct Tokens {
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`.
    ends: Vec<usize>,
    numbers: HashTable<u32>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.len())
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[usize], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] };
    &bytes[start..ends[number]]
}

impl Tokens {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The token with this number.
    pub fn token(&self, number: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, number)
    }

    /// All tokens in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len() as u32).map(|number| self.token(number))
    }

    /// The number of a token.
    pub fn find(&self, token: &[u8]) -> Option<u32> {
        self.numbers.find(xxh3_64(token), |number| self.token(*number) == token).copied()
    }

    /// The number of a token, which is added if it is new.
    pub fn add(&mut self, token: &[u8]) -> u32 {
        let hash = xxh3_64(token);
        let (bytes, ends) = (&self.bytes, &self.ends);
        if let Some(number) = self.numbers.find(hash, |number| slice(bytes, ends, *number) == token) {
            return *number;
        }
        let number = ends.len() as u32;
        self.bytes.extend_from_slice(token);
        self.ends.push(self.bytes.len());
        let (bytes, ends) = (&self.bytes, &self.ends);
        self.numbers.insert_unique(hash, number, |number| xxh3_64(slice(bytes, ends, *number)));
        number
    }
}

/// Tokens with their counts: while learning in the order they came, afterwards
/// as a vocabulary, by descending count.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub tokens: Tokens,
    /// Number of training cells with the token.
    pub counts: Vec<u64>,
}

impl Counts {
    pub fn add(&mut self, token: &[u8]) -> u32 {
        self.add_many(token, 1)
    }

    pub fn add_many(&mut self, token: &[u8], count: u64) -> u32 {
        let number = self.tokens.add(token);
        match self.counts.get_mut(number as usize) {
            Some(counted) => *counted += count,
            None => self.counts.push(count),
        }
        number
    }

    /// The numbers of the tokens by descending count, ties by token: an order
    /// that does not depend on the order of the rows.
    pub fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.tokens.len() as u32).collect();
        order.sort_unstable_by(|a, b| {
            let by_count = self.counts[*b as usize].cmp(&self.counts[*a as usize]);
            by_count.then_with(|| self.tokens.token(*a).cmp(self.tokens.token(*b)))
        });
        order
    }

    /// The tokens counted at least `min_count` times, in [`Counts::order`].
    pub fn vocabulary(&self, min_count: u64) -> Counts {
        let mut vocabulary = Counts::default();
        for number in self.order() {
            let count = self.counts[number as usize];
            if count >= min_count {
                vocabulary.add_many(self.tokens.token(number), count);
            }
        }
        vocabulary
    }

    /// Number of all cells counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Tokens as text, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> {
        let text = |token: &[u8]| String::from_utf8_lossy(token).into_owned();
        self.tokens.iter().map(text).zip(self.counts.iter().copied())
    }
}

/// Counts the tokens of cells of several values: one that stands in a cell twice counts once.
#[derive(Default)]
pub(super) struct OncePerRow {
    row: usize,
    /// The numbers of the row's tokens, ascending.
    met: Vec<u32>,
}

impl OncePerRow {
    /// Adds a token of a row. Those of a row follow each other.
    pub fn add(&mut self, counts: &mut Counts, row: usize, token: &[u8]) {
        if std::mem::replace(&mut self.row, row) != row {
            self.met.clear();
        }
        let number = counts.add_many(token, 0);
        if let Err(place) = self.met.binary_search(&number) {
            self.met.insert(place, number);
            counts.counts[number as usize] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::arrow::array::{ArrayRef, RecordBatch, StringArray};
    use crate::data::Source;
    use crate::feature::{Features, Lookup};
    use crate::schema::Schema;

    fn count(tokens: &[String]) -> Counts {
        let mut counts = Counts::default();
        for token in tokens {
            counts.add(token.as_bytes());
        }
        counts
    }

    #[test]
    fn ids_go_by_count_then_by_token() {
        let tokens: Vec<String> = ["b", "c", "a", "c", "d", "a"].map(String::from).to_vec();
        let vocabulary: Vec<(String, u64)> = count(&tokens).vocabulary(1).iter().collect();
        let expected = [("a", 2), ("c", 2), ("b", 1), ("d", 1)];
        assert_eq!(vocabulary, expected.map(|(token, count)| (token.to_string(), count)));
        assert_eq!(count(&tokens).vocabulary(2).tokens.find(b"b"), None);
    }

    #[test]
    fn a_value_twice_in_one_list_counts_once() {
        let task = "[[task]]\nname = \"y\"\n";
        let field = "[[field]]\nname = \"tags\"\nkind = \"multi\"\nseparator = \"|\"\nmin_count = 2\n";
        let schema = Schema::parse(&format!("{task}{field}")).unwrap();
        let tags: ArrayRef = Arc::new(StringArray::from(vec!["a|b|a", "c|c|c", "b|d", "d|b|d"]));
        let labels: ArrayRef = Arc::new(StringArray::from(vec!["0", "1", "0", "1"]));
        let batch = RecordBatch::try_from_iter([("tags", tags), ("y", labels)]).unwrap();
        let learned = Features::learn(&schema, &Source::from_batches("made", vec![batch]).unwrap()).unwrap();
        let Lookup::Vocabulary(known) = &learned.features().tables[0] else { panic!("no vocabulary") };
        assert_eq!(known.iter().collect::<Vec<_>>(), [("b".to_string(), 3), ("d".to_string(), 2)]);
    }

    proptest! {
        #[test]
        fn ids_do_not_depend_on_row_order(
            (tokens, shuffled) in prop::collection::vec("[a-e]{0,2}", 0..60)
                .prop_flat_map(|tokens| (Just(tokens.clone()), Just(tokens).prop_shuffle())),
            min_count in 1u64..4,
        ) {
            let (one, other) = (count(&tokens).vocabulary(min_count), count(&shuffled).vocabulary(min_count));
            prop_assert_eq!(one.iter().collect::<Vec<_>>(), other.iter().collect::<Vec<_>>());
            for (number, (token, counted)) in one.iter().enumerate() {
                prop_assert_eq!(one.tokens.find(token.as_bytes()), Some(number as u32));
                prop_assert_eq!(tokens.iter().filter(|other| **other == token).count() as u64, counted);
            }
        }
    }
}
