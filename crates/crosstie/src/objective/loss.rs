//! The loss of every task on every row, and its gradient.

use super::{Logs, Objective, Space};
use crate::compute::kernel::log_sigmoid;
use crate::compute::op::{BackwardPass, ForwardPass, Op};

/// Cross-entropy of every task on its sample space.
///
/// # Shapes
/// Input 0: logits, rows × heads. Input 1: labels, rows × tasks, NaN where
/// missing. Input 2: row weights, rows × 1. Input 3, optional: factors, rows ×
/// tasks, which get no gradient. Output: rows × tasks; 0 where a row does not
/// count.
#[derive(Debug)]
pub struct FunnelLoss {
    /// Spaces and heads.
    pub objective: Objective,
}

fn sigmoid(x: f64) -> f64 {
    log_sigmoid(x).exp()
}

/// -ln p(label).
fn cross_entropy(logs: Logs, label: bool) -> f64 {
    if label { -logs.yes } else { -logs.no }
}

impl FunnelLoss {
    /// Whether a row has any label that counts for a task.
    pub(super) fn counts(&self, labels: &[f32], task: usize) -> bool {
        let product = self.is_product(task) && self.objective.funnel.from_impression(labels, task).is_some();
        product || self.terms(labels, task).next().is_some()
    }

    /// (head, label) pairs of heads that are trained on a label directly.
    fn terms(&self, labels: &[f32], task: usize) -> impl Iterator<Item = (usize, bool)> {
        let (heads, funnel) = (self.objective.of_task[task], &self.objective.funnel);
        let given = funnel.given_parent(labels, task);
        let without = match funnel.parents[task] {
            Some(parent) if labels[parent] == 0.0 && !labels[task].is_nan() => Some(labels[task] == 1.0),
            _ => None,
        };
        let product = self.is_product(task);
        let terms = [
            heads.given.filter(|_| !product).zip(given),
            heads.without.filter(|_| !product).zip(without),
            heads.impression.zip(funnel.from_impression(labels, task)),
        ];
        terms.into_iter().flatten()
    }

    fn is_product(&self, task: usize) -> bool {
        self.objective.spaces[task] == Space::Product && self.objective.funnel.parents[task].is_some()
    }

    /// One row's losses, without its weight.
    pub(super) fn row(&self, logits: &[f32], labels: &[f32], losses: &mut [f32]) {
        let logs = self.objective.logs(logits);
        for (task, loss) in losses.iter_mut().enumerate() {
            let mut sum: f64 = self
                .terms(labels, task)
                .map(|(head, label)| cross_entropy(Logs::of_logit(f64::from(logits[head])), label))
                .sum();
            let joint = self.objective.funnel.from_impression(labels, task);
            if let Some(label) = joint.filter(|_| self.is_product(task)) {
                sum += cross_entropy(logs[task], label);
            }
            *loss = sum as f32;
        }
    }

    /// Adds the gradient of `Σ scale_task · loss_task` with respect to the logits.
    fn row_gradient(&self, logits: &[f32], labels: &[f32], scales: &[f32], gradient: &mut [f64]) {
        let logs = self.objective.logs(logits);
        for (task, scale) in scales.iter().enumerate().filter(|(_, scale)| **scale != 0.0) {
            let scale = f64::from(*scale);
            for (head, label) in self.terms(labels, task) {
                let logit = f64::from(logits[head]);
                gradient[head] += scale * if label { -sigmoid(-logit) } else { sigmoid(logit) };
            }
            if self.is_product(task) {
                match self.objective.funnel.from_impression(labels, task) {
                    Some(true) => self.objective.trace(task, -scale, 0.0, logits, &logs, gradient),
                    Some(false) => self.objective.trace(task, 0.0, -scale, logits, &logs, gradient),
                    None => {}
                }
            }
        }
    }
}

impl Objective {
    /// Follows the gradient of a task's ln p (`yes`) and ln (1 - p) (`no`)
    /// down to the logits, by way of its ancestors. Each share is the
    /// probability of the way taken, so nothing is divided by a small number.
    pub(super) fn trace(&self, task: usize, yes: f64, no: f64, logits: &[f32], logs: &[Logs], gradient: &mut [f64]) {
        let heads = self.of_task[task];
        let of = |head: usize| f64::from(logits[head]);
        let (given, parent) = match (heads.impression, heads.given, self.funnel.parents[task]) {
            (None, Some(given), Some(parent)) => (given, parent),
            (head, given, _) => {
                let Some(head) = head.or(given) else { return };
                gradient[head] += yes * sigmoid(-of(head)) - no * sigmoid(of(head));
                return;
            }
        };
        let (own, up) = (Logs::of_logit(of(given)), logs[parent]);
        let (mut up_yes, mut up_no) = (0.0, 0.0);
        // Shares of the way through the parent action.
        let yes_way = match heads.without {
            Some(_) => (up.yes + own.yes - logs[task].yes).exp(),
            None => 1.0,
        };
        let no_way = (up.yes + own.no - logs[task].no).exp();
        up_yes += yes * yes_way + no * no_way;
        gradient[given] += yes * yes_way * sigmoid(-of(given)) - no * no_way * sigmoid(of(given));
        up_no += no * (1.0 - no_way);
        if let Some(without) = heads.without {
            up_no += yes * (1.0 - yes_way);
            gradient[without] +=
                yes * (1.0 - yes_way) * sigmoid(-of(without)) - no * (1.0 - no_way) * sigmoid(of(without));
        }
        self.trace(parent, up_yes, up_no, logits, logs, gradient);
    }
}

impl Op for FunnelLoss {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (logits, labels, weights) = (pass.input(0), pass.input(1), pass.input(2));
        let factors = (pass.inputs() > 3).then(|| pass.input(3));
        for (row, losses) in pass.output.chunks_exact_mut(labels.width()).enumerate() {
            self.row(logits.row(row), labels.row(row), losses);
            losses.iter_mut().for_each(|loss| *loss *= weights.row(row)[0]);
            if let Some(factors) = factors {
                losses.iter_mut().zip(factors.row(row)).for_each(|(loss, factor)| *loss *= factor);
            }
        }
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, logits, labels, weights) = (pass.rows, pass.input(0), pass.input(1), pass.input(2));
        let factors = (pass.inputs() > 3).then(|| pass.input(3));
        let tasks = labels.width();
        let mut sums = vec![0.0; logits.width()];
        let mut scales = vec![0.0; tasks];
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        into.start(rows);
        for row in 0..rows {
            let weight = weights.row(row)[0];
            scales.iter_mut().zip(&gradient[row * tasks..]).for_each(|(scale, g)| *scale = g * weight);
            if let Some(factors) = factors {
                scales.iter_mut().zip(factors.row(row)).for_each(|(scale, factor)| *scale *= factor);
            }
            sums.fill(0.0);
            self.row_gradient(logits.row(row), labels.row(row), &scales, &mut sums);
            into.row(row).iter_mut().zip(&sums).for_each(|(into, sum)| *into += *sum as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::TASKS;
    use super::super::*;
    use super::*;
    use crate::random::Stream;

    fn loss(space: Space, one_task: Option<(&str, Space)>) -> FunnelLoss {
        let spaces = one_task.map(|(task, space)| (task.to_string(), space)).into_iter().collect();
        let config = ObjectiveConfig { spaces, ..ObjectiveConfig::default() };
        FunnelLoss { objective: Objective::new(&Schema::parse(TASKS).unwrap(), &config, space).unwrap() }
    }

    fn logits(loss: &FunnelLoss, seed: u64) -> Vec<f32> {
        let stream = Stream::new(seed, "logits");
        (0..loss.objective.heads().len() as u64).map(|i| 6.0 * stream.uniform(i) as f32 - 3.0).collect()
    }

    #[test]
    fn gradients_equal_finite_differences_in_every_space_and_for_missing_labels() {
        let nan = f32::NAN;
        let rows = [
            [1.0, 1.0, 1.0, 1.0],
            [1.0, 1.0, 0.0, 0.0],
            [1.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 0.0, 0.0],
            [nan, 1.0, 0.0, 1.0],
            [1.0, nan, nan, nan],
        ];
        for space in [Space::Parent, Space::Product, Space::Impression] {
            for one_task in [None, Some(("cart", Space::Impression)), Some(("buy", Space::Product))] {
                let loss = loss(space, one_task);
                for (index, labels) in rows.iter().enumerate() {
                    let logits = logits(&loss, index as u64);
                    let scales = [1.0, 2.0, 0.5, 3.0];
                    let mut gradient = vec![0.0; logits.len()];
                    loss.row_gradient(&logits, labels, &scales, &mut gradient);
                    for head in 0..logits.len() {
                        let at = |shift: f32| -> f64 {
                            let mut moved = logits.clone();
                            moved[head] += shift;
                            let mut losses = [0.0; 4];
                            loss.row(&moved, labels, &mut losses);
                            losses.iter().zip(scales).map(|(loss, scale)| f64::from(loss * scale)).sum()
                        };
                        let numeric = (at(0.02) - at(-0.02)) / 0.04;
                        assert!(
                            (numeric - gradient[head]).abs() < 2e-3,
                            "{space:?} {labels:?} {head}: {numeric} {gradient:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_direct_task_sums_over_both_ways() {
        let loss = loss(Space::Product, None);
        let logits = logits(&loss, 3);
        let (mut given, mut joint) = ([0.0; 4], [0.0; 4]);
        loss.objective.probabilities(&logits, &mut given, &mut joint);
        let p = |name: &str| {
            let head = loss.objective.heads().iter().position(|head| head.name == name).unwrap();
            sigmoid(f64::from(logits[head]))
        };
        let click = p("click");
        let like = click * p("like") + (1.0 - click) * p("like_without_parent");
        assert!((joint[3] - like).abs() < 1e-12 && (given[3] - p("like")).abs() < 1e-12);
        assert!((joint[2] - click * p("cart") * p("buy")).abs() < 1e-12);
    }

    #[test]
    fn a_row_without_any_label_costs_nothing_and_moves_nothing() {
        for space in [Space::Parent, Space::Product, Space::Impression] {
            let loss = loss(space, None);
            let (mut losses, mut gradient) = ([1.0; 4], vec![0.0; loss.objective.heads().len()]);
            loss.row(&logits(&loss, 1), &[f32::NAN; 4], &mut losses);
            loss.row_gradient(&logits(&loss, 1), &[f32::NAN; 4], &[1.0; 4], &mut gradient);
            assert_eq!(losses, [0.0; 4]);
            assert!(gradient.iter().all(|g| *g == 0.0));
        }
    }

    #[test]
    fn extreme_logits_stay_finite() {
        for space in [Space::Parent, Space::Product] {
            let loss = loss(space, None);
            for logit in [-200.0, 200.0] {
                let logits = vec![logit; loss.objective.heads().len()];
                for labels in [[1.0; 4], [0.0; 4]] {
                    let (mut losses, mut gradient) = ([0.0; 4], vec![0.0; logits.len()]);
                    loss.row(&logits, &labels, &mut losses);
                    loss.row_gradient(&logits, &labels, &[1.0; 4], &mut gradient);
                    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
                    assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_task_is_named_with_the_nearest() {
        let config =
            ObjectiveConfig { space: None, spaces: [("clik".into(), Space::Parent)].into(), weights: BTreeMap::new() };
        let error = Objective::new(&Schema::parse(TASKS).unwrap(), &config, Space::Parent).unwrap_err().to_string();
        assert!(error.contains("did you mean `click`?"), "{error}");
    }
}
