//! One map, fitted to the rows that tell of it.
//!
//! The map z' = a · z + b with the greatest likelihood is found by Fisher scoring.
//! It is then drawn back towards the identity, to 1 - k / T of the way: T is twice
//! the gain in log-likelihood, and k what T is in the mean where the identity is
//! right, 2 numbers · 1 likelihood, or 2 · 2 where both likelihoods of a conversion
//! are added, of which the second then hardly tells anything new. Where T ≤ k the
//! map is the identity. This is the mean of the posterior under a normal prior
//! around the identity, whose covariance is g times that of the estimate (Zellner,
//! 1986), g being T / k - 1, as the data say that it is (George and Foster, 2000).
//!
//! A weight says how much a row counts, and not that it stands for so many rows that
//! were seen. Rows of weight w, score s and information H have scores with a variance
//! J = Σ w² s s', which is Σ w s s' = H only where all weights are 1; and T is in the
//! mean tr H⁻¹ J where the identity is right (White, 1982). So what the rows gain is
//! divided by how much a row counts in it, tr H⁻¹ Σ w² s s' / tr H⁻¹ Σ w s s'. It is 1
//! where all weights are, and a factor of all weights falls out.

use std::fmt::{Display, Formatter};

use rayon::prelude::*;

use crate::objective::{Map, Told};

/// Fewest rows of each kind, with and without the action, that a map is fitted to:
/// below, a likelihood is far from normal. Whatever they weigh.
pub const FEWEST: usize = 10;

/// A slope is held within e^-3 (0.05) and e^3 (20): rows that a network has in
/// perfect order, or in none, would drive it to infinity, or to 0.
const STEEPEST: f64 = 3.0;

/// How well some rows can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Least {
    /// Log-loss, summed.
    pub loss: f64,
    /// The rows' weight.
    pub weight: f64,
    /// How many rows of weight 1 tell as much.
    pub rows: f64,
}

/// Rows that are summed by one thread, whatever their number.
const PIECE: usize = 4096;

/// One row that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub told: Told,
    /// Above 0: how much its loss counts.
    pub weight: f64,
    pub scenario: u32,
}

/// A map as it is fitted: z' = e^log_slope · (z - centre) + level. Around the
/// centre of the rows slope and level hardly depend on each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Curve {
    log_slope: f64,
    level: f64,
    centre: f64,
}

impl Curve {
    fn of(map: Map, centre: f64) -> Curve {
        Curve { log_slope: map.slope.ln(), level: map.of(centre), centre }
    }

    pub fn map(self) -> Map {
        let slope = self.log_slope.exp();
        Map { slope, intercept: self.level - slope * self.centre }
    }

    fn moved(self, step: [f64; 2], share: f64) -> Curve {
        let log_slope = (self.log_slope + share * step[0]).clamp(-STEEPEST, STEEPEST);
        Curve { log_slope, level: self.level + share * step[1], ..self }
    }
}

/// A symmetric matrix of two rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Symmetric {
    pub first: f64,
    pub across: f64,
    pub second: f64,
}

impl Symmetric {
    pub fn plus(self, other: Symmetric, times: f64) -> Symmetric {
        Symmetric {
            first: self.first + times * other.first,
            across: self.across + times * other.across,
            second: self.second + times * other.second,
        }
    }

    pub fn times(&self, [a, b]: [f64; 2]) -> [f64; 2] {
        [self.first * a + self.across * b, self.across * a + self.second * b]
    }

    /// The solution of a system, with so little more on the diagonal that there is
    /// always one.
    pub fn solve(&self, [a, b]: [f64; 2]) -> [f64; 2] {
        let more = 1e-9 * (self.first + self.second) + f64::MIN_POSITIVE.sqrt();
        let (first, second) = (self.first + more, self.second + more);
        let determinant = first * second - self.across * self.across;
        [(second * a - self.across * b) / determinant, (first * b - self.across * a) / determinant]
    }
}

/// Minus the log-likelihood of some rows, how it falls with (log_slope, level), and
/// the information that the rows have of these.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub loss: f64,
    pub score: [f64; 2],
    pub information: Symmetric,
}

impl Sums {
    /// Over all rows. Pieces of a fixed size are added in their order, so the number
    /// of threads changes no bit.
    pub fn of(rows: &[Row], curve: Curve) -> Sums {
        let piece = |rows: &[Row]| {
            let mut sums = Sums::default();
            rows.iter().for_each(|row| sums.add(row, curve));
            sums
        };
        let pieces: Vec<Sums> = rows.par_chunks(PIECE).map(piece).collect();
        pieces.iter().fold(Sums::default(), |all, piece| Sums {
            loss: all.loss + piece.loss,
            score: [all.score[0] + piece.score[0], all.score[1] + piece.score[1]],
            information: all.information.plus(piece.information, 1.0),
        })
    }

    fn add(&mut self, row: &Row, curve: Curve) {
        let Row { told, weight, .. } = *row;
        let along = curve.log_slope.exp() * (told.logit - curve.centre);
        let logit = along + curve.level;
        // Both logarithms of one exponential: this is what fitting takes its time for.
        let small = (-logit.abs()).exp();
        let more = small.ln_1p();
        let (likely, unlikely) = (1.0 / (1.0 + small), small / (1.0 + small));
        let (ln_yes, ln_no) = if logit < 0.0 { (logit - more, -more) } else { (-more, -logit - more) };
        let (yes, no) = if logit < 0.0 { (unlikely, likely) } else { (likely, unlikely) };
        let (mut slope, mut curvature) = (0.0, 0.0);
        if let Some(label) = told.own {
            self.loss -= weight * if label { ln_yes } else { ln_no };
            slope += if label { no } else { -yes };
            curvature += yes * no;
        }
        if let Some(label) = told.whole {
            let happens = (told.way * yes + told.yes).max(f64::MIN_POSITIVE);
            let not = (told.way * no + told.no).max(f64::MIN_POSITIVE);
            let moved = told.way * yes * no;
            self.loss -= weight * if label { happens.ln() } else { not.ln() };
            slope += if label { moved / happens } else { -moved / not };
            curvature += (moved / happens) * (moved / not);
        }
        let (slope, curvature) = (weight * slope, weight * curvature);
        self.score = [self.score[0] + slope * along, self.score[1] + slope];
        let information = Symmetric { first: curvature * along * along, across: curvature * along, second: curvature };
        self.information = self.information.plus(information, 1.0);
    }
}

/// The likeliest curve, or with a precision around the start the one that is
/// likeliest under that normal prior.
pub(super) fn maximum(rows: &[Row], start: Curve, precision: Symmetric) -> Curve {
    let mut curve = start;
    let from_start = |curve: Curve| [curve.log_slope - start.log_slope, curve.level - start.level];
    let posterior = |curve: Curve| {
        let (mut sums, away) = (Sums::of(rows, curve), from_start(curve));
        let pull = precision.times(away);
        sums.loss += (away[0] * pull[0] + away[1] * pull[1]) / 2.0;
        sums.score = [sums.score[0] - pull[0], sums.score[1] - pull[1]];
        sums.information = sums.information.plus(precision, 1.0);
        sums
    };
    let mut sums = posterior(curve);
    for _ in 0..60 {
        let step = sums.information.solve(sums.score);
        // Twice what the step would gain, in nats.
        if step[0] * sums.score[0] + step[1] * sums.score[1] < 1e-9 {
            break;
        }
        let halves = (0..30).map(|half| curve.moved(step, 0.5f64.powi(half)));
        let better = halves.map(|curve| (curve, posterior(curve))).find(|(_, found)| found.loss < sums.loss);
        let Some((found, of_found)) = better else { break };
        let gained = sums.loss - of_found.loss;
        (curve, sums) = (found, of_found);
        if gained < 1e-10 {
            break;
        }
    }
    curve
}

/// How many likelihoods the rows add.
pub(super) fn likelihoods(rows: &[Row]) -> f64 {
    if rows.iter().any(|row| row.told.whole.is_some()) { 2.0 } else { 1.0 }
}

/// How much a row counts in what some rows tell around a curve: what their weights are
/// divided by, so that they tell no more than as many rows do that were seen.
pub(super) fn counted(rows: &[Row], curve: Curve) -> f64 {
    let weight = rows.first().map_or(1.0, |row| row.weight);
    if rows.iter().all(|row| row.weight == weight) {
        return weight;
    }
    let piece = |rows: &[Row]| {
        let mut squares = [Symmetric::default(); 2];
        for row in rows {
            let mut alone = Sums::default();
            alone.add(row, curve);
            let [first, second] = alone.score;
            let square = Symmetric { first: first * first, across: first * second, second: second * second };
            squares = [squares[0].plus(square, 1.0), squares[1].plus(square, 1.0 / row.weight)];
        }
        squares
    };
    let pieces: Vec<[Symmetric; 2]> = rows.par_chunks(PIECE).map(piece).collect();
    let add = |all: [Symmetric; 2], piece: &[Symmetric; 2]| [0, 1].map(|times| all[times].plus(piece[times], 1.0));
    let information = Sums::of(rows, curve).information;
    let trace = |square: Symmetric| {
        information.solve([square.first, square.across])[0] + information.solve([square.across, square.second])[1]
    };
    let [twice, once] = pieces.iter().fold([Symmetric::default(); 2], add).map(trace);
    let counted = twice / once;
    // Rows in perfect order have scores of 0 throughout.
    if counted.is_finite() && counted > 0.0 { counted } else { mean_weight(rows) }
}

/// Mean weight of a row.
pub(super) fn mean_weight(rows: &[Row]) -> f64 {
    rows.iter().map(|row| row.weight).sum::<f64>() / rows.len() as f64
}

/// Why there is no map, in words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TooFew {
    yes: usize,
    no: usize,
}

impl Display for TooFew {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let (few, what) =
            if self.yes < self.no { (self.yes, "where it happened") } else { (self.no, "where it did not happen") };
        write!(
            f,
            "{few} validation rows {what}, at least {FEWEST} are needed to calibrate: its probabilities stay as they are"
        )
    }
}

/// The least log-loss of some rows under any map, where there are too few for one the loss
/// as it is.
pub(super) fn least(rows: &[Row]) -> Least {
    let start = Curve::of(Map::IDENTITY, 0.0);
    let curve = fit(rows).map_or(start, |found| maximum(rows, found, Symmetric::default()));
    let weight: f64 = rows.iter().map(|row| row.weight).sum();
    Least { loss: Sums::of(rows, curve).loss, weight, rows: weight / counted(rows, curve) }
}

/// The map of some rows.
pub(super) fn fit(rows: &[Row]) -> Result<Curve, TooFew> {
    let (mut few, mut sum, mut mass) = (TooFew { yes: 0, no: 0 }, 0.0, 0.0);
    for row in rows {
        if let Some(label) = row.told.own {
            *(if label { &mut few.yes } else { &mut few.no }) += 1;
            sum += row.weight * row.told.logit;
            mass += row.weight;
        }
    }
    if few.yes.min(few.no) < FEWEST {
        return Err(few);
    }
    let centre = sum / mass;
    let start = Curve::of(Map::IDENTITY, centre);
    let found = maximum(rows, start, Symmetric::default());
    let gained = 2.0 * (Sums::of(rows, start).loss - Sums::of(rows, found).loss) / counted(rows, found);
    let chance = 2.0 * likelihoods(rows);
    let share = if gained > chance { 1.0 - chance / gained } else { return Ok(start) };
    let Map { slope, intercept } = found.map();
    Ok(Curve::of(Map { slope: 1.0 + share * (slope - 1.0), intercept: share * intercept }, centre))
}
