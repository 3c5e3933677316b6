//! Whether each arm got its share of the units. Where it did not, something loses
//! units of one arm more than of another, and no other figure can be believed.

use serde::{Deserialize, Serialize};

use super::distribution::{chi_square_above, ln_gamma};

/// How near to their expected shares the alternatives have the arms: as if so many units had
/// been seen before. A wide one finds a gross mismatch in a hundred units, a narrow one a slight
/// mismatch in many; each would be blind to what another finds.
pub const CONCENTRATIONS: [f64; 4] = [10.0, 100.0, 1_000.0, 10_000.0];

/// Pearson's chi-square: how probable at least such a mismatch is by chance, looked at
/// once. `None` without units or with fewer than two shares over 0.
pub fn chi_square(units: &[u64], shares: &[f64]) -> Option<f64> {
    let total = units.iter().sum::<u64>() as f64;
    let whole: f64 = shares.iter().sum();
    let expected = |share: f64| total * share / whole;
    let cells = || units.iter().zip(shares).filter(|(_, share)| **share > 0.0);
    if total == 0.0 || cells().count() < 2 {
        return None;
    }
    let distance = cells().map(|(units, share)| (*units as f64 - expected(*share)).powi(2) / expected(*share)).sum();
    chi_square_above(distance, cells().count() as f64 - 1.0)
}

/// A test of the sample ratio that stays valid however often one looks: the Bayes
/// factor of shares drawn around the expected ones (Dirichlet) against just these
/// (Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS
/// 2022). It is the mean of those of several concentrations, which is a martingale, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRatio {
    shares: Vec<f64>,
    alternatives: Vec<Alternative>,
    p: f64,
}

/// Shares of one concentration around the expected ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Alternative {
    /// The Dirichlet, with the units seen.
    weights: Vec<f64>,
    log_bayes_factor: f64,
}

impl SampleRatio {
    /// For arms that should get these shares, in any unit; each is over 0.
    pub fn new(shares: &[f64]) -> SampleRatio {
        SampleRatio::with_concentrations(shares, &CONCENTRATIONS)
    }

    /// With other concentrations.
    pub fn with_concentrations(shares: &[f64], concentrations: &[f64]) -> SampleRatio {
        let whole: f64 = shares.iter().sum();
        let shares: Vec<f64> = shares.iter().map(|share| share / whole).collect();
        let of = |concentration: &f64| Alternative {
            weights: shares.iter().map(|share| share * concentration).collect(),
            log_bayes_factor: 0.0,
        };
        SampleRatio { alternatives: concentrations.iter().map(of).collect(), shares, p: 1.0 }
    }

    /// Takes in the new units of each arm since the last look.
    pub fn add(&mut self, units: &[u64]) {
        for alternative in &mut self.alternatives {
            alternative.add(units, &self.shares);
        }
        let logs = || self.alternatives.iter().map(|alternative| alternative.log_bayes_factor);
        let highest = logs().fold(f64::NEG_INFINITY, f64::max);
        let mean = logs().map(|log| (log - highest).exp()).sum::<f64>() / self.alternatives.len() as f64;
        self.p = self.p.min((-highest - mean.ln()).exp());
    }

    /// How probable it is that arms which do get their shares ever look like this.
    pub fn p(&self) -> f64 {
        self.p
    }
}

impl Alternative {
    fn add(&mut self, units: &[u64], shares: &[f64]) {
        let total = units.iter().sum::<u64>() as f64;
        let before: f64 = self.weights.iter().sum();
        // What both hypotheses have in common, the multinomial coefficient, is left out.
        self.log_bayes_factor += ln_gamma(before) - ln_gamma(before + total);
        for ((weight, share), units) in self.weights.iter_mut().zip(shares).zip(units) {
            let units = *units as f64;
            self.log_bayes_factor += ln_gamma(*weight + units) - ln_gamma(*weight) - units * share.ln();
            *weight += units;
        }
    }
}
