//! By how much the log-odds of an action rise with a column, and how sure that is.

use super::sums::Sums;

/// By so many standard errors slopes must differ.
const DIFFER: f64 = 3.0;
/// Of Newton's method.
const ROUNDS: usize = 50;

/// Rows that have the same rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Alike {
    /// The column.
    pub x: f64,
    /// Rows whose label is not missing.
    pub rows: f64,
    pub positives: f64,
}

/// By how much the log-odds of an action rise with a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slope {
    value: f64,
    /// Its standard error, as if rows were independent.
    error: f64,
}

impl Slope {
    /// The most likely one; `None` where there is none: of one class, of one rate, or
    /// where rates tell the classes apart.
    pub fn of(rows: impl Iterator<Item = Alike> + Clone) -> Option<Slope> {
        let (all, positives) = rows.clone().fold((0.0, 0.0), |sums, of| (sums.0 + of.rows, sums.1 + of.positives));
        if positives <= 0.0 || positives >= all {
            return None;
        }
        let (mut intercept, mut slope) = ((positives / (all - positives)).ln(), 0.0);
        for _ in 0..ROUNDS {
            // The gradient of the log-likelihood, and its negative second derivatives.
            let (mut gradient, mut second) = ([0.0; 2], [0.0; 3]);
            for Alike { x, rows, positives } in rows.clone() {
                let p = 1.0 / (1.0 + (-(intercept + slope * x)).exp());
                let (residual, weight) = (positives - rows * p, rows * p * (1.0 - p));
                gradient = [gradient[0] + residual, gradient[1] + residual * x];
                second = [second[0] + weight, second[1] + weight * x, second[2] + weight * x * x];
            }
            let determinant = second[0] * second[2] - second[1] * second[1];
            // Of numbers that are all the same it is 0, but for rounding.
            if determinant.is_nan() || determinant <= 1e-9 * second[0] * second[2] {
                return None;
            }
            let step = [
                (second[2] * gradient[0] - second[1] * gradient[1]) / determinant,
                (second[0] * gradient[1] - second[1] * gradient[0]) / determinant,
            ];
            // From far away, Newton's steps may lead farther.
            intercept += step[0].clamp(-1.0, 1.0);
            slope += step[1].clamp(-1.0, 1.0);
            if step.iter().all(|step| step.abs() < 1e-9) {
                return Some(Slope { value: slope, error: (second[0] / determinant).sqrt() });
            }
        }
        None
    }

    /// Per task, that of the labels of some entries in its column. `values` are the columns of one
    /// entry after the other.
    pub fn of_tasks(
        values: &[f32],
        sums: &Sums,
        entries: impl ExactSizeIterator<Item = usize> + Clone,
    ) -> Vec<Option<Slope>> {
        let width = values.len() / entries.len().max(1);
        let of_task = |task: usize| {
            let alike = |(place, entry): (usize, usize)| {
                let (x, entry) = (values[place * width + task], sums.entry(entry));
                Alike { x: x.into(), rows: entry.labelled(task), positives: entry.positives(task) }
            };
            Slope::of(entries.clone().enumerate().map(alike))
        };
        // One after the other: whoever only checks a schema comes here, too, and has no threads to wait for.
        (0..sums.tasks).map(of_task).collect()
    }

    /// The share that is left of it in another slope, if that is smaller by more than chance.
    pub fn left_in(self, other: Slope) -> Option<f64> {
        let means_something = self.value > DIFFER * self.error;
        let differs = self.value - other.value > DIFFER * self.error.hypot(other.error);
        (means_something && differs).then(|| (other.value / self.value).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// Rows at each of some places, as many of them positive as a line says.
    fn by_line(xs: &[f64], rows: f64, intercept: f64, slope: f64) -> Vec<Alike> {
        let alike = |x: &f64| Alike { x: *x, rows, positives: rows / (1.0 + (-(intercept + slope * x)).exp()) };
        xs.iter().map(alike).collect()
    }

    fn slope(rows: &[Alike]) -> Option<Slope> {
        Slope::of(rows.iter().copied())
    }

    #[test]
    fn the_slope_is_that_of_the_line_that_the_log_odds_follow() {
        for (intercept, expected) in [(-4.0, 0.8), (0.5, -1.5), (2.0, 0.0), (-1.0, 6.0)] {
            let found = slope(&by_line(&[-2.0, -0.5, 0.1, 1.5], 100.0, intercept, expected)).unwrap();
            assert!((found.value - expected).abs() < 1e-8, "{found:?}, expected {expected}");
        }
    }

    #[test]
    fn its_error_is_how_far_it_lies_from_draw_to_draw() {
        let expected = by_line(&[-1.0, 0.0, 1.0], 400.0, -1.0, 0.7);
        let draw = |seed: u64| {
            let drawn = |(place, alike): (u64, &Alike)| {
                let draws = Stream::new(seed, "labels").part(place);
                let positives = (0..400).filter(|row| draws.uniform(*row) < alike.positives / 400.0).count();
                Alike { positives: positives as f64, ..*alike }
            };
            slope(&(0..).zip(&expected).map(drawn).collect::<Vec<_>>()).unwrap()
        };
        let all: Vec<Slope> = (0..400).map(draw).collect();
        let mean = |of: &dyn Fn(&Slope) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        let deviation = mean(&|slope| (slope.value - 0.7).powi(2)).sqrt();
        // The standard error of a deviation by 400 draws is 3.5 %.
        assert!((deviation / mean(&|slope| slope.error) - 1.0).abs() < 0.12, "{deviation}");
    }

    #[test]
    fn one_class_or_one_rate_has_no_slope() {
        let rows = by_line(&[-1.0, 1.0], 50.0, 0.0, 1.0);
        let with = |positives: f64| rows.iter().map(|alike| Alike { positives, ..*alike }).collect::<Vec<_>>();
        assert_eq!(slope(&with(0.0)), None);
        assert_eq!(slope(&with(50.0)), None);
        assert_eq!(slope(&by_line(&[0.3, 0.3], 50.0, 0.0, 1.0)), None);
        assert_eq!(slope(&[]), None);
        // All positives on one side: no slope is steep enough.
        let apart = [Alike { positives: 0.0, ..rows[0] }, Alike { positives: 50.0, ..rows[1] }];
        assert_eq!(slope(&apart), None);
    }

    #[test]
    fn what_is_left_is_told_where_it_is_less_by_more_than_chance() {
        let slope = |value, error| Slope { value, error };
        assert_eq!(slope(1.0, 0.02).left_in(slope(0.5, 0.04)), Some(0.5));
        assert_eq!(slope(1.0, 0.02).left_in(slope(-0.5, 0.04)), Some(0.0));
        assert_eq!(slope(1.0, 0.02).left_in(slope(0.9, 0.04)), None);
        assert_eq!(slope(1.0, 0.02).left_in(slope(1.5, 0.04)), None);
        // What it says of the training rows may be chance.
        assert_eq!(slope(1.0, 0.4).left_in(slope(-3.0, 0.04)), None);
    }
}
