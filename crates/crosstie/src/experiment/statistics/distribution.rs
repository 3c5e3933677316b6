//! Normal, Student's t, chi-square and Poisson, as far as the tests of this room need them.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal, StudentsT};
pub(super) use statrs::function::gamma::ln_gamma;

/// Degrees of freedom beyond which t is the normal distribution to seven digits.
const MANY: f64 = 1e7;

/// P(X ≤ `x`) of the standard normal distribution.
pub(super) fn normal_below(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

/// The number below which the standard normal distribution has this share, within
/// (0, 1).
pub(in super::super) fn normal_quantile(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
}

/// Student's t; `freedom` is over 0.
fn student(freedom: f64) -> Option<StudentsT> {
    (freedom < MANY).then(|| StudentsT::new(0.0, 1.0, freedom).ok()).flatten()
}

/// P(|T| ≥ |`t`|) of Student's t with so many degrees of freedom, over 0: how likely a difference of
/// so many standard errors is by chance.
pub fn student_beyond(t: f64, freedom: f64) -> f64 {
    2.0 * student(freedom).map_or_else(|| normal_below(-t.abs()), |student| student.sf(t.abs()))
}

/// The number below which Student's t has this share, within (0, 1).
pub(in super::super) fn student_quantile(share: f64, freedom: f64) -> f64 {
    student(freedom).map_or_else(|| normal_quantile(share), |student| student.inverse_cdf(share))
}

/// P(X ≥ `x`) of chi-square with so many degrees of freedom, over 0.
pub(super) fn chi_square_above(x: f64, freedom: f64) -> Option<f64> {
    Some(ChiSquared::new(freedom).ok()?.sf(x))
}

/// P(N ≤ `number`) of a Poisson number of this mean: 1 of a mean that is not over 0. Between whole
/// numbers, from -1 on, it goes smoothly.
pub(in super::super) fn poisson_at_most(number: f64, mean: f64) -> f64 {
    // Events of a stream: the one after `number` comes beyond `mean`.
    chi_square_above(2.0 * mean, 2.0 * (number + 1.0)).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-9, "found {found}, expected {expected}");
    }

    /// Source of the numbers: scipy 1.17.1, `norm`, `t`, `chi2` and `poisson`.
    #[test]
    fn distributions_agree_with_tables() {
        near(normal_quantile(0.975), 1.959963984540054);
        near(normal_quantile(0.8), 0.8416212335729143);
        near(normal_below(-3.0), 0.0013498980316300933);
        near(student_beyond(3.0, f64::INFINITY), 0.0026997960632601866);
        near(student_quantile(0.975, 3.0), 3.182446305284263);
        near(student_quantile(0.975, 55.5), 2.003639051056381);
        near(student_quantile(0.975, 5813.0), 1.9603721656608752);
        near(student_beyond(2.0, 10.0), 0.07338803477074028);
        near(student_beyond(-4.0, 1000.0), 6.800991920878163e-5);
        near(chi_square_above(3.841458820694124, 1.0).unwrap(), 0.05);
        near(chi_square_above(30.0, 4.0).unwrap(), 4.894437128029217e-6);
        near(poisson_at_most(7.0, 20.0), 0.000778590082507362);
        near(poisson_at_most(99_999.0, 101_000.0), 0.0008084215129255896);
        let many = poisson_at_most(100_000_000.0, 100_030_000.0);
        assert!((many / 0.001351523685398878 - 1.0).abs() < 1e-4, "{many}");
        assert_eq!(poisson_at_most(0.0, 0.0), 1.0);
    }
}
