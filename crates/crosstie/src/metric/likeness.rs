//! How alike two sets of points are that stand for the same things: whether
//! the same ones are near each other, and whether they fall into the same
//! clusters. The sets may have different numbers of columns, since nothing is
//! measured from one to the other.

use crate::random::Stream;

/// Times that k-means starts anew; the tightest clusters are kept.
const STARTS: u64 = 4;
/// Most rounds of one start.
const ROUNDS: usize = 100;

/// Points of which only the direction counts: each is scaled to length 1, so
/// that their product is the cosine. One of length 0 stays there.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    values: Vec<f64>,
    width: usize,
}

impl Directions {
    /// The directions of points of `width` numbers each, row by row.
    ///
    /// # Panics
    /// If `width` is 0 or does not divide the numbers.
    pub fn new(points: &[f32], width: usize) -> Directions {
        assert!(points.len().is_multiple_of(width), "{} numbers are no points of {width}", points.len());
        let mut values: Vec<f64> = points.iter().map(|x| f64::from(*x)).collect();
        for point in values.chunks_exact_mut(width) {
            let length = product(point, point).sqrt();
            if length > 0.0 {
                point.iter_mut().for_each(|x| *x /= length);
            }
        }
        Directions { values, width }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether all are the same.
    pub fn constant(&self) -> bool {
        self.points().all(|point| point == self.point(0))
    }

    fn point(&self, index: usize) -> &[f64] {
        &self.values[index * self.width..][..self.width]
    }

    fn points(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    /// How much every point counts among the `k` nearest of one: 1 or 0, or a
    /// share where several tie for the last places.
    fn nearness(&self, of: usize, k: usize, into: &mut Vec<f64>, sorted: &mut Vec<f64>) {
        into.clear();
        into.extend(self.points().map(|point| product(point, self.point(of))));
        into[of] = f64::NEG_INFINITY;
        sorted.clone_from(into);
        let (_, last, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        let last = *last;
        let (above, tied) = into.iter().fold((0, 0), |(above, tied), cosine| {
            (above + usize::from(*cosine > last), tied + usize::from(*cosine == last))
        });
        let share = (k - above) as f64 / tied as f64;
        for cosine in into {
            *cosine = if *cosine > last {
                1.0
            } else if *cosine == last {
                share
            } else {
                0.0
            };
        }
    }
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn square(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// The mean share of a point's `k` nearest, by cosine, that both sets have;
/// `k / (n - 1)` is what chance gives. Ties for the last places count by the
/// share that breaking them at random would give. `None` unless there are more
/// than `k` + 1 points, and `k` is at least 1.
///
/// # Panics
/// If the sets differ in length.
pub fn neighbour_overlap(one: &Directions, other: &Directions, k: usize) -> Option<f64> {
    assert_eq!(one.len(), other.len(), "the same things in both");
    if k == 0 || one.len() < k + 2 {
        return None;
    }
    let (mut a, mut b, mut sorted) = (Vec::new(), Vec::new(), Vec::new());
    let shared = |of: usize| {
        one.nearness(of, k, &mut a, &mut sorted);
        other.nearness(of, k, &mut b, &mut sorted);
        product(&a, &b) / k as f64
    };
    Some((0..one.len()).map(shared).sum::<f64>() / one.len() as f64)
}

/// k-means (Lloyd 1982) from starts by k-means++ (Arthur and Vassilvitskii
/// 2007): the cluster of every point, from 0 to below `count`. The same points
/// and the same stream give the same clusters.
pub fn clusters(points: &Directions, count: usize, stream: Stream) -> Vec<usize> {
    if points.is_empty() || count == 0 {
        return vec![0; points.len()];
    }
    let starts = (0..STARTS).map(|start| {
        let mut centres = first_centres(points, count, stream.part(start));
        let mut of_point = nearest(points, &centres);
        for _ in 0..ROUNDS {
            move_centres(points, &of_point, &mut centres);
            let again = nearest(points, &centres);
            if again == of_point {
                break;
            }
            of_point = again;
        }
        let spread: f64 = points.points().zip(&of_point).map(|(point, own)| square(point, &centres[*own])).sum();
        (spread, of_point)
    });
    // Of equals the first.
    starts.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, of_point)| of_point).unwrap_or_default()
}

/// Each centre is a point, drawn with the square of its distance from the
/// nearest one before.
fn first_centres(points: &Directions, count: usize, stream: Stream) -> Vec<Vec<f64>> {
    let mut centres = vec![points.point(stream.below(0, points.len() as u64) as usize).to_vec()];
    let mut squares = vec![f64::INFINITY; points.len()];
    while centres.len() < count {
        let newest = &centres[centres.len() - 1];
        squares.iter_mut().zip(points.points()).for_each(|(least, point)| *least = least.min(square(point, newest)));
        let mut left = stream.uniform(centres.len() as u64) * squares.iter().sum::<f64>();
        let drawn = squares.iter().position(|square| {
            left -= square;
            left < 0.0
        });
        // Rounding may leave a rest, and points that are all the same have no distances.
        let drawn = drawn.unwrap_or_else(|| squares.iter().rposition(|square| *square > 0.0).unwrap_or(0));
        centres.push(points.point(drawn).to_vec());
    }
    centres
}

fn nearest(points: &Directions, centres: &[Vec<f64>]) -> Vec<usize> {
    let nearest = |point: &[f64]| {
        let squares = centres.iter().map(|centre| square(point, centre)).enumerate();
        squares.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(index, _)| index)
    };
    points.points().map(nearest).collect()
}

/// To the means of their points; one that has none stays.
fn move_centres(points: &Directions, of_point: &[usize], centres: &mut [Vec<f64>]) {
    for (index, centre) in centres.iter_mut().enumerate() {
        let own = || points.points().zip(of_point).filter(|(_, of)| **of == index).map(|(point, _)| point);
        let count = own().count();
        if count > 0 {
            centre.fill(0.0);
            own().for_each(|point| centre.iter_mut().zip(point).for_each(|(sum, x)| *sum += x));
            centre.iter_mut().for_each(|sum| *sum /= count as f64);
        }
    }
}

/// The adjusted Rand index (Hubert and Arabie 1985) of two partitions, given as
/// the part of every thing: 1 where they are the same, 0 on average where
/// chance made them. `None` for fewer than two things.
///
/// # Panics
/// If they differ in length.
pub fn adjusted_rand(one: &[usize], other: &[usize]) -> Option<f64> {
    assert_eq!(one.len(), other.len(), "the same things in both");
    if one.len() < 2 {
        return None;
    }
    let pairs = |count: u64| (count * count.saturating_sub(1) / 2) as f64;
    let both: Vec<(usize, usize)> = one.iter().copied().zip(other.iter().copied()).collect();
    let of_both = of_equal(both).map(pairs).sum::<f64>();
    let (of_one, of_other): (f64, f64) =
        (of_equal(one.to_vec()).map(pairs).sum(), of_equal(other.to_vec()).map(pairs).sum());
    let expected = of_one * of_other / pairs(one.len() as u64);
    let most = (of_one + of_other) / 2.0;
    // No pair, or every pair, is together in both.
    Some(if most == expected { 1.0 } else { (of_both - expected) / (most - expected) })
}

/// How many there are of each distinct item.
fn of_equal<T: Ord>(mut items: Vec<T>) -> impl Iterator<Item = u64> {
    items.sort_unstable();
    items.chunk_by(|a, b| a == b).map(|run| run.len() as u64).collect::<Vec<_>>().into_iter()
}
