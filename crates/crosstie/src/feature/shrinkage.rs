//! How strongly rates are to be drawn towards their mean.
//!
//! A key's rate holds what is particular to the key and what is chance. Chance is
//! independent between folds, so the variance between keys is what the folds of
//! one key have in common: with d = positives - mean · rows of a cell (a key's rows
//! in a fold), the products of two different cells of a key add up to the variance
//! times the products of their rows, in expectation, however rows hang together
//! within a fold. The best linear shrinkage then is (variance of a row by chance) /
//! (variance between keys), in rows (Bühlmann 1967; moments as in Kleinman, JASA
//! 1973, with folds in place of a binomial assumption).

/// Labelled rows and positives of a key in one fold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub key: u32,
    pub rows: f64,
    pub positives: f64,
}

/// Weights and smoothing follow from each other; a few rounds are enough.
const ROUNDS: usize = 8;
/// By so many standard errors folds must agree.
const AGREE: f64 = 2.0;
/// Not even two keys that are all 0 and all 1 are believed at once.
const LEAST: f64 = 1.0;
/// Where the first round begins.
const START: f64 = 20.0;

/// How well the folds of a key agree: sums over the keys, each with its weight.
#[derive(Clone, Copy, Debug, Default)]
struct Agreement {
    /// Products of d of two different cells of a key, and of their rows.
    common: f64,
    pairs: f64,
    /// Squares of d of the cells, and of their rows.
    squares: f64,
    own: f64,
    rows: f64,
    /// The variance of `common` where keys do not differ.
    chance: f64,
}

/// One key's.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    rows: f64,
    difference: f64,
    rows_squared: f64,
    difference_squared: f64,
    difference_fourth: f64,
}

impl Agreement {
    fn add(&mut self, key: &Key, smoothing: f64) {
        // Nearly the inverse variance of what a key tells of the variance between keys.
        let weight = (smoothing + key.rows).powi(-2);
        self.common += weight * (key.difference * key.difference - key.difference_squared);
        self.pairs += weight * (key.rows * key.rows - key.rows_squared);
        self.squares += weight * key.difference_squared;
        self.own += weight * key.rows_squared;
        self.rows += weight * key.rows;
        let chance = key.difference_squared * key.difference_squared - key.difference_fourth;
        self.chance += 2.0 * weight * weight * chance.max(0.0);
    }
}

/// What the rows of a log say of its keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    /// In rows; `None` where keys differ by no more than chance.
    pub smoothing: Option<f64>,
    /// How many rows tell as much as one that is independent of the others: their variance by
    /// chance, in that of such rows.
    pub alike: f64,
}

/// Estimates the smoothing. Cells of a key come one after the other. `mean` is the rate of
/// all rows together.
pub(super) fn estimate(cells: impl Iterator<Item = Cell> + Clone, mean: f64) -> Estimate {
    let mut smoothing = START;
    let mut alike = 1.0;
    for _ in 0..ROUNDS {
        let sums = agreement(cells.clone(), mean, smoothing);
        let between = sums.common / sums.pairs;
        let differ = sums.common > AGREE * sums.chance.sqrt() && between > 0.0;
        let between = if differ { between } else { 0.0 };
        let by_chance = (sums.squares - between * sums.own) / sums.rows;
        // Not a number where there are no rows.
        alike = (by_chance / (mean * (1.0 - mean) - between).max(0.0)).max(1.0);
        if !differ {
            return Estimate { smoothing: None, alike };
        }
        let last = std::mem::replace(&mut smoothing, (by_chance / between).max(LEAST));
        if (smoothing - last).abs() <= 0.01 * last {
            break;
        }
    }
    Estimate { smoothing: Some(smoothing), alike }
}

fn agreement(cells: impl Iterator<Item = Cell>, mean: f64, smoothing: f64) -> Agreement {
    let (mut sums, mut key, mut number) = (Agreement::default(), Key::default(), None);
    for cell in cells {
        if number != Some(cell.key) {
            sums.add(&std::mem::take(&mut key), smoothing);
            number = Some(cell.key);
        }
        let difference = cell.positives - mean * cell.rows;
        key.rows += cell.rows;
        key.difference += difference;
        key.rows_squared += cell.rows * cell.rows;
        key.difference_squared += difference * difference;
        key.difference_fourth += difference.powi(4);
    }
    sums.add(&key, smoothing);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// Cells of five folds of `keys` keys of about `rows` rows, of rates that have
    /// the given standard deviation, in clusters of so many rows alike.
    fn cells(seed: u64, keys: u32, rows: u64, deviation: f64, cluster: u64) -> Vec<Cell> {
        let stream = Stream::new(seed, "cells");
        let mut cells = Vec::new();
        for key in 0..keys {
            let of_key = stream.part(key.into());
            let rate = 0.2 + deviation * if of_key.bits(0) & 1 == 0 { 1.0 } else { -1.0 };
            for fold in 0..5 {
                let draws = of_key.part(fold + 1);
                let clusters = rows / 5 / cluster;
                let positives = (0..clusters).filter(|draw| draws.uniform(*draw) < rate).count() as u64 * cluster;
                cells.push(Cell { key, rows: (clusters * cluster) as f64, positives: positives as f64 });
            }
        }
        cells
    }

    fn estimate(cells: &[Cell]) -> Estimate {
        let sum = |of: fn(&Cell) -> f64| cells.iter().map(of).sum::<f64>();
        super::estimate(cells.iter().copied(), sum(|cell| cell.positives) / sum(|cell| cell.rows))
    }

    #[test]
    fn the_smoothing_is_chance_over_the_variance_between_keys() {
        // Of a row: .2 · .8 less the variance .01 between keys; 15 rows.
        for (keys, rows) in [(4000, 20), (1000, 300), (300, 3000)] {
            let found = estimate(&cells(1, keys, rows, 0.1, 1));
            let smoothing = found.smoothing.unwrap();
            assert!((12.0..18.0).contains(&smoothing), "{keys} keys of {rows} rows: {found:?}");
            assert!((1.0..1.1).contains(&found.alike), "{keys} keys of {rows} rows: {found:?}");
        }
    }

    #[test]
    fn rows_that_hang_together_tell_less() {
        // Ten rows alike are one: ten times the chance.
        let found = estimate(&cells(2, 2000, 200, 0.1, 10));
        assert!((120.0..180.0).contains(&found.smoothing.unwrap()), "{found:?}");
        assert!((9.0..11.0).contains(&found.alike), "{found:?}");
    }

    #[test]
    fn keys_that_differ_by_chance_all_have_the_mean() {
        for (keys, rows) in [(3, 10_000), (300, 300), (10_000, 10)] {
            let differ =
                (0..100).filter(|seed| estimate(&cells(*seed, keys, rows, 0.0, 1)).smoothing.is_some()).count();
            // Few keys give a skewed sum: somewhat more than the normal 2.3 %.
            assert!(differ <= 12, "{keys} keys: {differ} of 100");
        }
    }

    #[test]
    fn nothing_or_a_single_key_has_the_mean() {
        for cells in [vec![], cells(3, 1, 1000, 0.1, 1)] {
            let found = estimate(&cells);
            assert!(found.smoothing.is_none() && found.alike >= 1.0, "{found:?}");
        }
    }
}
