//! How much of what other tasks give a task takes over, chosen by the validation rows
//! once training is over: all, half, or nothing.
//!
//! Few rows say little, and what is given was learned from many more. So a task takes
//! all of it, unless the validation rows say that it does harm: unless the mean
//! log-loss is higher than with less of it by more than the standard error of the
//! difference, row by row.

use super::event::{Event, Observer};
use super::job::Job;
use crate::calibration::Evidence;
use crate::compute::ParameterId;
use crate::error::Result;
use crate::learned::Learned;
use crate::objective::Objective;

/// What is tried.
const SHARES: [f32; 3] = [0.0, 0.5, 1.0];

/// Sets the share of every task's heads, and tells it. Whether any takes less than all,
/// as it did in training.
pub(super) fn shrink(job: &Job<'_>, learned: &mut Learned, observer: &mut Observer<'_>) -> Result<bool> {
    let network = learned.network().clone();
    let Some(parameter) = network.shrinkage else { return Ok(false) };
    let objective = &network.objective;
    let mut tried = Vec::new();
    for share in SHARES {
        set(learned, parameter, |_| share);
        tried.push(losses(objective, &job.valid.evidence(learned.passes())?));
    }
    let mut chosen = Vec::new();
    for (task, name) in objective.names().iter().enumerate() {
        let of_task: Vec<&Vec<f64>> = tried.iter().map(|tried| &tried[task].losses).collect();
        let best = choose(&of_task);
        let logloss = SHARES.iter().zip(&tried).map(|(share, tried)| (f64::from(*share), tried[task].mean())).collect();
        observer(&Event::Shrunk { task: name.clone(), share: f64::from(SHARES[best]), logloss });
        chosen.push(SHARES[best]);
    }
    set(learned, parameter, |task| chosen[task]);
    Ok(chosen.iter().any(|share| *share < 1.0))
}

/// Sets a parameter of one number per head by the heads' tasks.
pub(super) fn set(learned: &mut Learned, parameter: ParameterId, of_task: impl Fn(usize) -> f32) {
    let network = learned.network().clone();
    let numbers = &mut learned.numbers_mut().1[network.program.parameter(parameter).range()];
    numbers.iter_mut().zip(network.objective.heads()).for_each(|(number, head)| *number = of_task(head.task));
    learned.prepare(true);
}

/// Log-losses of some rows.
#[derive(Clone, Debug, Default)]
struct Told {
    /// Of each row, times its weight.
    losses: Vec<f64>,
    /// Sum of the weights.
    mass: f64,
}

impl Told {
    /// Log-loss; `None` without rows.
    fn mean(&self) -> Option<f64> {
        (self.mass > 0.0).then(|| self.losses.iter().sum::<f64>() / self.mass)
    }
}

/// Per task, the log-loss given the parent of each row where that happened, or, where
/// the losses do not determine it, that from the impression of each row; of rows with a
/// label that count.
fn losses(objective: &Objective, evidence: &[Evidence]) -> Vec<Told> {
    let funnel = objective.funnel();
    let tasks = funnel.tasks();
    let (mut given, mut joint) = (vec![0.0; tasks], vec![0.0; tasks]);
    let mut told = vec![Told::default(); tasks];
    for row in evidence.iter().flat_map(Evidence::rows).filter(|row| row.weight > 0.0) {
        objective.probabilities(row.logits, &mut given, &mut joint);
        for (task, told) in told.iter_mut().enumerate() {
            let happened = funnel.parents[task].is_none_or(|parent| row.labels[parent] == 1.0);
            let (p, asked) = if objective.identified(task) { (given[task], happened) } else { (joint[task], true) };
            if asked && !row.labels[task].is_nan() {
                let p = if row.labels[task] == 1.0 { p } else { 1.0 - p };
                told.losses.push(-row.weight * p.max(f64::MIN_POSITIVE).ln());
                told.mass += row.weight;
            }
        }
    }
    told
}

/// The place of the largest share that does no harm beside the best one; the last
/// share is the largest.
fn choose(tried: &[&Vec<f64>]) -> usize {
    let sum = |losses: &Vec<f64>| losses.iter().sum::<f64>();
    let best = (0..tried.len()).rev().min_by(|a, b| sum(tried[*a]).total_cmp(&sum(tried[*b]))).unwrap_or(0);
    let harmless = |share: &usize| {
        let differences = || tried[*share].iter().zip(tried[best]).map(|(here, there)| here - there);
        let rows = tried[best].len() as f64;
        let mean = differences().sum::<f64>() / rows;
        let variance = differences().map(|difference| (difference - mean).powi(2)).sum::<f64>() / rows;
        mean <= (variance / rows).sqrt()
    };
    (best..tried.len()).rev().find(harmless).unwrap_or(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_loss_told_was_divided_by_the_rows_and_not_by_their_weights() {
        use crate::batch::Batch;
        use crate::objective::{ObjectiveConfig, Space};
        use crate::schema::Schema;

        let schema = "[[task]]\nname = 'click'\n[[field]]\nname = 'x'\nkind = 'numeric'\n";
        let schema = Schema::parse(schema).unwrap();
        let objective = Objective::new(&schema, &ObjectiveConfig::default(), Space::Parent).unwrap();
        let (labels, weights) = (vec![1.0, 0.0, 0.0, 0.0], vec![1.0, 50.0, 50.0, 0.0]);
        let batch = Batch { rows: 4, labels, weights, scenarios: vec![0; 4], ..Batch::default() };
        let told = &losses(&objective, &[Evidence::new(vec![0.0; 4], &batch)])[0];
        assert!((told.mean().unwrap() - 2f64.ln()).abs() < 1e-12, "{told:?}");
        assert_eq!(told.losses.len(), 3, "a row of weight 0 does not count");
        assert_eq!(Told::default().mean(), None);
    }

    #[test]
    fn a_task_takes_all_unless_that_does_harm_beyond_chance() {
        let noise = |row: usize| if row.is_multiple_of(2) { 0.1 } else { -0.1 };
        let losses = |harm: f64| (0..100).map(|row| 0.5 + noise(row / 2) * harm.signum() + harm).collect::<Vec<f64>>();
        let none: Vec<f64> = (0..100).map(|_| 0.5).collect();
        // Each row's difference is the harm ± .1: its standard error over 100 rows is .01.
        for (harm, share) in [(-0.02, 2), (0.005, 2), (0.02, 0)] {
            let (half, all) = (losses(harm), losses(harm));
            assert_eq!(choose(&[&none, &half, &all]), share, "{harm}");
        }
        let better = losses(-0.05);
        assert_eq!(choose(&[&none, &better, &losses(0.05)]), 1, "half of it helps and all of it harms");
        assert_eq!(choose(&[&Vec::new(), &Vec::new(), &Vec::new()]), 2, "no row says anything against it");
    }
}
