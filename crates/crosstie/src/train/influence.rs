//! The weights of the tasks' losses under `objective.weights = "auto"`, and in what a
//! model lets all tasks learn together: what brings the tasks' influence on what they
//! share to the same size (methods 4).
//!
//! A loss is summed over the rows that it asks and divided by all rows of the batch, so
//! a task that is asked seldom, or that seldom happens, has a small gradient. At the
//! base rate p of n rows, the gradient of the cross-entropy in the logit, p - y, has
//! over these rows the sum of squares
//!
//! ```text
//! N = n p (1 - p) = ones · zeros / (ones + zeros)
//! ```
//!
//! and a root mean square per impression that goes as √N. With the weights
//!
//! ```text
//! w_t = √(max_j N_j / N_t)
//! ```
//!
//! times the schema's, it is the same for all tasks. Near the start of a training this is nearly all of a
//! gradient: how rows differ from the base rate is still to be learned.

use crate::config::Config;
use crate::error::Result;
use crate::feature::BaseRates;
use crate::objective::{LossWeights, Objective, Space};
use crate::schema::{Schema, Task};

/// Settles `objective.weights` where it is `auto`. Gives what weighs the tasks in what they
/// learn together beside the objective's weights: w, unless these hold it already.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for an objective that makes no sense.
pub(super) fn settle(config: &mut Config, schema: &Schema, rates: &[BaseRates]) -> Result<Vec<f64>> {
    let weights = weights(&config.spec().objective(schema)?, rates);
    if config.objective.weights != LossWeights::Auto {
        return Ok(weights);
    }
    let of = |(task, weight): (&Task, &f64)| (task.name.clone(), three_digits(weight * f64::from(task.weight)));
    config.objective.weights = LossWeights::Of(schema.tasks.iter().zip(&weights).map(of).collect());
    Ok(vec![1.0; weights.len()])
}

/// w of every task.
fn weights(objective: &Objective, rates: &[BaseRates]) -> Vec<f64> {
    let noise: Vec<f64> = rates.iter().enumerate().map(|(task, rates)| noise(objective, task, rates)).collect();
    let loudest = noise.iter().copied().fold(0.0, f64::max);
    noise.iter().map(|noise| (loudest / noise).sqrt()).collect()
}

/// N of a task, over all the losses that it has.
fn noise(objective: &Objective, task: usize, rates: &BaseRates) -> f64 {
    let (has_parent, direct) = (objective.funnel().parents[task].is_some(), objective.funnel().direct[task]);
    // One row more of each, as where the heads start: so it is never 0.
    let of = |[ones, zeros]: [u64; 2]| (ones as f64 + 1.0) * (zeros as f64 + 1.0) / (ones as f64 + zeros as f64 + 2.0);
    let second = |rates: [u64; 2]| if direct { of(rates) } else { 0.0 };
    match objective.spaces()[task] {
        _ if !has_parent => of(rates.given_parent),
        Space::Parent | Space::Path => of(rates.given_parent) + second(rates.without_parent),
        Space::Product => of(rates.from_impression),
        Space::Impression => of(rates.from_impression) + second(rates.given_parent),
    }
}

/// What a person would write.
fn three_digits(weight: f64) -> f32 {
    format!("{weight:.2e}").parse().unwrap_or(weight as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;

    /// Rows with and rows without.
    fn rates(given_parent: [u64; 2], without_parent: [u64; 2], from_impression: [u64; 2]) -> BaseRates {
        BaseRates { given_parent, without_parent, from_impression }
    }

    fn settled(space: &str, tasks: &str, rates: &[BaseRates]) -> Vec<f32> {
        let schema = Schema::parse(&format!("{tasks}[[field]]\nname = 'x'\nkind = 'numeric'\n")).unwrap();
        let mut config = Config::new(ModelConfig::named("mmoe").unwrap());
        config.objective = toml::from_str(&format!("space = '{space}'\nweights = 'auto'")).unwrap();
        settle(&mut config, &schema, rates).unwrap();
        schema.tasks.iter().map(|task| config.objective.weights.get(&task.name).unwrap()).collect()
    }

    const CHAIN: &str = "[[task]]\nname = 'click'\n[[task]]\nname = 'cart'\nafter = 'click'\nweight = 2.0\n[[task]]\nname = 'buy'\nafter = 'cart'\n";

    #[test]
    fn a_task_weighs_more_by_the_root_of_its_noise_and_by_the_schemas_weight() {
        // A fifth is clicked, a tenth of that carted, an eighth of that bought.
        let of = [
            rates([200_000, 800_000], [0, 0], [200_000, 800_000]),
            rates([20_000, 180_000], [0, 0], [20_000, 980_000]),
            rates([2_500, 17_500], [0, 0], [2_500, 997_500]),
        ];
        // √(160000 / 18000) · 2, √(160000 / 2187.5).
        assert_eq!(settled("parent", CHAIN, &of), [1.0, 5.96, 8.55]);
        // Over all impressions: 19600 and 2493.75.
        assert_eq!(settled("product", CHAIN, &of), [1.0, 5.71, 8.01]);
        assert_eq!(settled("impression", CHAIN, &of), [1.0, 5.71, 8.01]);
    }

    #[test]
    fn a_direct_task_has_the_noise_of_both_its_losses_and_one_without_labels_stays_finite() {
        let tasks = "[[task]]\nname = 'click'\n[[task]]\nname = 'like'\nafter = 'click'\ndirect = true\n[[task]]\nname = 'never'\n";
        let of = [
            rates([499_999, 499_999], [0, 0], [0, 0]),
            rates([99_999, 299_999], [49_999, 449_999], [149_999, 849_999]),
            BaseRates::default(),
        ];
        // 250000 against 75000 + 45000, against 150000 · 850000 / 1000000, against half a row.
        assert_eq!(settled("parent", tasks, &of), [1.0, 1.44, 707.0]);
        assert_eq!(settled("product", tasks, &of), [1.0, 1.40, 707.0]);
        assert_eq!(settled("impression", tasks, &of), [1.0, 1.11, 707.0]);
    }

    #[test]
    fn the_loudest_task_weighs_one_be_it_a_root_or_not() {
        let of =
            [rates([10, 990], [0, 0], [10, 990]), rates([5, 5], [0, 0], [5, 985]), rates([500, 500], [0, 0], [0, 0])];
        let two_roots = CHAIN.replace("after = 'cart'\n", "");
        let weights = settled("parent", &two_roots, &of);
        assert_eq!(weights[2], 1.0);
        assert!(weights[0] > 4.0, "{weights:?}");
    }
}
