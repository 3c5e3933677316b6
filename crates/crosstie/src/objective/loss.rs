//! The loss of every task on every row, and its gradient.

use super::{Chances, Given, Logs, Objective, Room, Space, happened};
use crate::compute::kernel::log_sigmoid;
use crate::compute::op::{BackwardPass, ForwardPass, Op};

/// Cross-entropy of every task on its sample space, or along its path.
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

/// The same of a head, of which the other label's logarithm is not asked.
fn of_head(logit: f64, label: bool) -> f64 {
    -log_sigmoid(if label { logit } else { -logit })
}

/// A probability that is held against a label.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// What one head says.
    Head(usize),
    /// p(action | parent action) of a task that no single head says.
    Given(usize),
    /// p(action and its ancestors | impression) of a task.
    Joint(usize),
    /// p(action) of a task on the path that the row's labels tell.
    Path(usize),
}

/// A row's logits with what follows from them, and the gradient that is
/// being gathered.
struct Trace<'a> {
    objective: &'a Objective,
    logits: &'a [f32],
    chances: &'a [Chances],
    gradient: &'a mut [f64],
}

/// What the gradients of ln p (`yes`) and ln (1 - p) (`no`) are worth.
#[derive(Clone, Copy, Debug)]
struct Slopes {
    yes: f64,
    no: f64,
}

impl Slopes {
    /// Hands the slopes of [`Logs::total`] on to (way, with, without). Each
    /// share is the probability that the way was taken, so nothing is divided
    /// by a small number.
    fn split(self, total: Logs, way: Logs, with: Logs) -> (Slopes, Slopes, Slopes) {
        let yes_share = (way.yes + with.yes - total.yes).exp();
        let no_share = (way.yes + with.no - total.no).exp();
        let with = Slopes { yes: self.yes * yes_share, no: self.no * no_share };
        let without = Slopes { yes: self.yes * (1.0 - yes_share), no: self.no * (1.0 - no_share) };
        (Slopes { yes: with.yes + with.no, no: without.yes + without.no }, with, without)
    }
}

impl FunnelLoss {
    /// Whether a row has any label that counts for a task.
    pub(super) fn counts(&self, labels: &[f32], task: usize) -> bool {
        self.terms(labels, task).next().is_some()
    }

    /// What a row's labels say of a task: each answer with its label.
    fn terms(&self, labels: &[f32], task: usize) -> impl Iterator<Item = (Answer, bool)> {
        let (heads, funnel) = (self.objective.of_task[task], &self.objective.funnel);
        let parent = funnel.parents[task];
        let path = self.objective.spaces[task] == Space::Path;
        let product = parent.is_some() && self.objective.spaces[task] == Space::Product;
        let apart = !product && !path;
        let given = heads.given.map(|given| match given {
            Given::Head(head) => Answer::Head(head),
            Given::Via { .. } => Answer::Given(task),
        });
        let whole = if product { Some(Answer::Joint(task)) } else { heads.impression.map(Answer::Head) };
        let terms = [
            given.filter(|_| apart).zip(funnel.given_parent(labels, task)),
            heads.without.filter(|_| apart).map(Answer::Head).zip(funnel.without_parent(labels, task)),
            whole.zip(funnel.from_impression(labels, task)),
            path.then_some(Answer::Path(task)).zip(self.objective.path_label(task, labels)),
        ];
        terms.into_iter().flatten()
    }

    /// Every task's probabilities, if any answer is more than what one head says.
    fn chances<'a>(&self, logits: &[f32], room: &'a mut Room) -> &'a [Chances] {
        let mut tasks = self.objective.spaces.iter().zip(&self.objective.of_task);
        let heads_alone = tasks.all(|(space, heads)| {
            matches!(space, Space::Parent | Space::Impression) && !matches!(heads.given, Some(Given::Via { .. }))
        });
        if heads_alone { &[] } else { self.objective.chances(logits, &[], room) }
    }

    /// One row's losses, without its weight.
    pub(super) fn row(&self, logits: &[f32], labels: &[f32], losses: &mut [f32]) {
        let mut room = Room::new();
        let chances = self.chances(logits, &mut room);
        for (task, loss) in losses.iter_mut().enumerate() {
            let terms = self.terms(labels, task).map(|(answer, label)| {
                let logs = match answer {
                    Answer::Head(head) => return of_head(f64::from(logits[head]), label),
                    Answer::Given(task) => chances[task].given,
                    Answer::Joint(task) => chances[task].joint,
                    Answer::Path(task) => self.objective.path(task, logits, labels, chances),
                };
                cross_entropy(logs, label)
            });
            *loss = terms.sum::<f64>() as f32;
        }
    }

    /// Adds the gradient of `Σ scale_task · loss_task` with respect to the logits.
    fn row_gradient(&self, logits: &[f32], labels: &[f32], scales: &[f32], gradient: &mut [f64]) {
        let mut room = Room::new();
        let chances = self.chances(logits, &mut room);
        let mut trace = Trace { objective: &self.objective, logits, chances, gradient };
        for (task, scale) in scales.iter().enumerate().filter(|(_, scale)| **scale != 0.0) {
            let scale = f64::from(*scale);
            for (answer, label) in self.terms(labels, task) {
                let slopes = Slopes { yes: if label { -scale } else { 0.0 }, no: if label { 0.0 } else { -scale } };
                match answer {
                    Answer::Head(head) => trace.head(head, slopes),
                    Answer::Given(task) => trace.given(task, slopes),
                    Answer::Joint(task) => trace.joint(task, slopes),
                    Answer::Path(task) => trace.path(task, labels, slopes),
                }
            }
        }
    }
}

/// Each follows the slopes of a probability down to the logits.
impl Trace<'_> {
    fn logs(&self, head: usize) -> Logs {
        Logs::of_logit(f64::from(self.logits[head]))
    }

    fn head(&mut self, head: usize, slopes: Slopes) {
        let logit = f64::from(self.logits[head]);
        // Of a label one is zero, and a sigmoid is dear.
        if slopes.yes != 0.0 {
            self.gradient[head] += slopes.yes * sigmoid(-logit);
        }
        if slopes.no != 0.0 {
            self.gradient[head] -= slopes.no * sigmoid(logit);
        }
    }

    fn given(&mut self, task: usize, slopes: Slopes) {
        match self.objective.of_task[task].given {
            Some(Given::Head(head)) => self.head(head, slopes),
            Some(Given::Via { action, with, without }) => {
                let (way, total) = (self.chances[action].given, self.chances[task].given);
                let (of_way, of_with, of_without) = slopes.split(total, way, self.logs(with));
                self.given(action, of_way);
                self.head(with, of_with);
                self.head(without, of_without);
            }
            None => {}
        }
    }

    fn joint(&mut self, task: usize, slopes: Slopes) {
        let heads = self.objective.of_task[task];
        match (heads.impression, self.objective.funnel.parents[task]) {
            (Some(head), _) => self.head(head, slopes),
            (None, None) => self.given(task, slopes),
            (None, Some(parent)) => {
                let chances = self.chances[task];
                let (of_way, of_with, of_without) =
                    slopes.split(chances.joint, self.chances[parent].joint, chances.given);
                self.joint(parent, of_way);
                self.given(task, of_with);
                if let Some(without) = heads.without {
                    self.head(without, of_without);
                }
            }
        }
    }

    fn path(&mut self, task: usize, labels: &[f32], slopes: Slopes) {
        let heads = self.objective.of_task[task];
        if heads.impression.is_some() {
            return self.joint(task, slopes);
        }
        match self.objective.funnel.parents[task].map(|parent| (parent, happened(labels[parent]))) {
            None | Some((_, Some(true))) => self.way(task, labels, slopes),
            Some((_, Some(false))) => heads.without.into_iter().for_each(|head| self.head(head, slopes)),
            // Where no way is open, no logit is asked.
            Some((parent, None)) if self.objective.may_happen(task, labels) => {
                let of = |task: usize| self.objective.path(task, self.logits, labels, self.chances);
                let (total, way) = (of(task), of(parent));
                let (of_way, of_with, of_without) = slopes.split(total, way, self.chances[task].given);
                self.path(parent, labels, of_way);
                self.given(task, of_with);
                heads.without.into_iter().for_each(|head| self.head(head, of_without));
            }
            Some(_) => {}
        }
    }

    fn way(&mut self, task: usize, labels: &[f32], slopes: Slopes) {
        match self.objective.of_task[task].given {
            Some(Given::Via { action, with, without }) => match happened(labels[action]) {
                Some(true) => self.head(with, slopes),
                Some(false) => self.head(without, slopes),
                None => {
                    let of = |task: usize| self.objective.way(task, self.logits, labels);
                    let (total, way) = (of(task), of(action));
                    let (of_way, of_with, of_without) = slopes.split(total, way, self.logs(with));
                    self.way(action, labels, of_way);
                    self.head(with, of_with);
                    self.head(without, of_without);
                }
            },
            _ => self.given(task, slopes),
        }
    }
}

impl Objective {
    /// Adds the gradient of `Σ scale_task · p_task` with respect to the logits,
    /// p being p(action and its ancestors | impression).
    pub(super) fn joint_gradient(&self, logits: &[f32], scales: &[f32], gradient: &mut [f64]) {
        let mut room = Room::new();
        let chances = self.chances(logits, &[], &mut room);
        let mut trace = Trace { objective: self, logits, chances, gradient };
        for (task, scale) in scales.iter().enumerate().filter(|(_, scale)| **scale != 0.0) {
            // dp = p · d ln p.
            let yes = f64::from(*scale) * chances[task].joint.yes.exp();
            trace.joint(task, Slopes { yes, no: 0.0 });
        }
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
    use crate::schema::GIVEN;

    const EVERY: [Space; 4] = [Space::Parent, Space::Product, Space::Impression, Space::Path];

    fn loss(space: Space, one_task: Option<(&str, Space)>) -> FunnelLoss {
        let spaces = one_task.map(|(task, space)| (task.to_string(), space)).into_iter().collect();
        let config = ObjectiveConfig { spaces, ..ObjectiveConfig::default() };
        FunnelLoss { objective: Objective::new(&Schema::parse(TASKS).unwrap(), &config, space).unwrap() }
    }

    fn logits(loss: &FunnelLoss, seed: u64) -> Vec<f32> {
        let stream = Stream::new(seed, "logits");
        (0..loss.objective.heads().len() as u64).map(|i| 6.0 * stream.uniform(i) as f32 - 3.0).collect()
    }

    /// A like by way of the cart.
    fn by_cart(space: Space) -> FunnelLoss {
        let config = ObjectiveConfig { via: [("like".into(), "cart".into())].into(), ..ObjectiveConfig::default() };
        FunnelLoss { objective: Objective::new(&Schema::parse(TASKS).unwrap(), &config, space).unwrap() }
    }

    /// p of a head.
    fn chance(loss: &FunnelLoss, logits: &[f32], name: &str) -> f64 {
        sigmoid(f64::from(logits[place(loss, name)]))
    }

    fn place(loss: &FunnelLoss, name: &str) -> usize {
        loss.objective.heads().iter().position(|head| head.name == name).unwrap()
    }

    fn assert_gradients(loss: &FunnelLoss) {
        let nan = f32::NAN;
        let rows = [
            [1.0, 1.0, 1.0, 1.0],
            [1.0, 1.0, 0.0, 0.0],
            [1.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 0.0, 0.0],
            [nan, 1.0, 0.0, 1.0],
            [1.0, nan, nan, nan],
            [1.0, nan, 0.0, 1.0],
            [nan, nan, 1.0, 0.0],
            [0.0, nan, 0.0, 1.0],
            [GIVEN, nan, 1.0, 0.0],
        ];
        for (index, labels) in rows.iter().enumerate() {
            let logits = logits(loss, index as u64);
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
                let (found, spaces) = (gradient[head], &loss.objective.spaces);
                assert!((numeric - found).abs() < 2e-3, "{spaces:?} {labels:?} {head}: {numeric} {found}");
            }
        }
    }

    #[test]
    fn gradients_equal_finite_differences_in_every_space_and_for_missing_labels() {
        for space in EVERY {
            let single = [("cart", Space::Impression), ("buy", Space::Product), ("buy", Space::Path)];
            for one_task in std::iter::once(None).chain(single.map(Some)) {
                assert_gradients(&loss(space, one_task));
            }
        }
        for space in [Space::Parent, Space::Product, Space::Path] {
            assert_gradients(&by_cart(space));
        }
    }

    #[test]
    fn a_loss_asks_the_heads_that_its_gradient_reaches() {
        let mixed = Some(("cart", Space::Impression));
        let plain = EVERY.map(|space| loss(space, None));
        let others = [loss(Space::Product, mixed), loss(Space::Path, mixed)];
        let by_cart = [Space::Parent, Space::Product, Space::Path].map(by_cart);
        for loss in plain.iter().chain(&others).chain(&by_cart) {
            let logits = logits(loss, 1);
            for task in 0..4 {
                let mut scales = [0.0; 4];
                scales[task] = 1.0;
                let mut reached = vec![false; 4];
                for labels in 0..81 {
                    let labels = [1, 3, 9, 27].map(|place| [0.0, 1.0, f32::NAN][labels / place % 3]);
                    let mut gradient = vec![0.0; logits.len()];
                    loss.row_gradient(&logits, &labels, &scales, &mut gradient);
                    let moved = loss.objective.heads.iter().zip(gradient).filter(|(_, gradient)| *gradient != 0.0);
                    moved.for_each(|(head, _)| reached[head.task] = true);
                }
                assert_eq!(loss.objective.asked_by(task), reached, "{:?}, task {task}", loss.objective.spaces);
            }
        }
    }

    /// A probability is determined, at a row, if every change of the logits that
    /// changes it changes what a loss sees: if its gradient is a sum of theirs.
    #[test]
    fn a_probability_is_identified_where_the_losses_determine_it() {
        let mixed = Some(("like", Space::Parent));
        let plain = EVERY.map(|space| loss(space, None));
        let others =
            [loss(Space::Product, mixed), by_cart(Space::Parent), by_cart(Space::Product), by_cart(Space::Path)];
        let mut found = [0, 0];
        for loss in plain.iter().chain(&others) {
            let (logits, heads) = (logits(loss, 2), loss.objective.heads().len());
            let mut seen: Vec<Vec<f64>> = Vec::new();
            // What of a gradient is no sum of those seen.
            let rest = |seen: &[Vec<f64>], mut gradient: Vec<f64>| {
                for _ in 0..2 {
                    for direction in seen {
                        let along: f64 = direction.iter().zip(&gradient).map(|(a, b)| a * b).sum();
                        gradient.iter_mut().zip(direction).for_each(|(g, d)| *g -= along * d);
                    }
                }
                let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
                (length, gradient)
            };
            for (labels, task) in (0..16).flat_map(|labels| (0..4).map(move |task| (labels, task))) {
                let labels = [1, 2, 4, 8].map(|bit| f32::from(u8::from(labels & bit != 0)));
                let (mut scales, mut gradient) = ([0.0; 4], vec![0.0; heads]);
                scales[task] = 1.0;
                loss.row_gradient(&logits, &labels, &scales, &mut gradient);
                let (length, direction) = rest(&seen, gradient);
                if length > 1e-6 {
                    seen.push(direction.iter().map(|g| g / length).collect());
                }
            }
            let given = |logits: &[f32]| {
                let (mut given, mut joint) = ([0.0; 4], [0.0; 4]);
                loss.objective.probabilities(logits, &mut given, &mut joint);
                given
            };
            for task in 0..4 {
                let slope = |head: usize| {
                    let at = |step: f32| {
                        let mut moved = logits.clone();
                        moved[head] += step;
                        given(&moved)[task]
                    };
                    (at(0.0625) - at(-0.0625)) / 0.125
                };
                let gradient: Vec<f64> = (0..heads).map(slope).collect();
                let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
                // A ratio that is cut at 1 does not move at all.
                let determined = rest(&seen, gradient).0 <= 0.02 * length;
                let objective = &loss.objective;
                assert_eq!(objective.identified(task), determined, "{:?}, task {task}", objective.spaces);
                assert_eq!(objective.unidentified_task(task).is_none(), determined);
                found[usize::from(determined)] += 1;
            }
        }
        assert_eq!(found, [2, 30]);
    }

    /// AEM2TL's (19) and (21) with the likes as installs (methods 1.5).
    #[test]
    fn by_way_of_an_action_the_probability_is_total_over_the_paths() {
        for space in [Space::Parent, Space::Product] {
            let loss = by_cart(space);
            let logits = logits(&loss, 4);
            let (mut given, mut joint) = ([0.0; 4], [0.0; 4]);
            loss.objective.probabilities(&logits, &mut given, &mut joint);
            let p = |name: &str| chance(&loss, &logits, name);
            let (y1, y4) = (p("click"), p("cart"));
            let (y2, y3, y5) = (p("like_without_cart"), p("like_without_parent"), p("like_with_cart"));
            let paths = [y1 * (1.0 - y4) * y2, y1 * y4 * y5, (1.0 - y1) * y3];
            let without_like =
                [y1 * (1.0 - y4) * (1.0 - y2), y1 * y4 * (1.0 - y5), (1.0 - y1) * (1.0 - y3)].iter().sum::<f64>();
            assert!((joint[3] - paths.iter().sum::<f64>()).abs() < 1e-12);
            assert!((joint[3] + without_like - 1.0).abs() < 1e-12, "the paths are all there are");
            assert!((given[3] - (y2 * (1.0 - y4) + y4 * y5)).abs() < 1e-12);
            assert!((joint[1] - y1 * y4).abs() < 1e-12);
            let (mut losses, labels) = ([0.0; 4], [1.0, 0.0, 0.0, 1.0]);
            loss.row(&logits, &labels, &mut losses);
            let expected = if space == Space::Product { -joint[3].ln() } else { -given[3].ln() };
            assert!((f64::from(losses[3]) - expected).abs() < 1e-6);
        }
    }

    /// What makes it a likelihood: over all that can happen it adds up to 1. The space
    /// `product` counts the click again in what follows it.
    #[test]
    fn by_path_the_losses_are_the_likelihood_of_a_row() {
        let total = |loss: &FunnelLoss| -> f64 {
            let logits = logits(loss, 5);
            let possible = |labels: &[f32; 4]| labels[1] <= labels[0] && labels[2] <= labels[1];
            let rows = (0..16).map(|row| [1, 2, 4, 8].map(|bit| f32::from(u8::from(row & bit != 0))));
            let likelihood = |labels: [f32; 4]| {
                let mut losses = [0.0; 4];
                loss.row(&logits, &labels, &mut losses);
                (-losses.iter().map(|loss| f64::from(*loss)).sum::<f64>()).exp()
            };
            rows.filter(possible).map(likelihood).sum()
        };
        for loss in [by_cart(Space::Path), loss(Space::Path, None)] {
            assert!((total(&loss) - 1.0).abs() < 1e-6, "{}", total(&loss));
        }
        assert!((total(&by_cart(Space::Product)) - 1.0).abs() > 0.1);
    }

    /// (19) and its neighbours of methods 6.1, one label after the other withheld.
    #[test]
    fn by_path_a_missing_label_leaves_the_sum_over_what_it_may_have_been() {
        let nan = f32::NAN;
        let loss = by_cart(Space::Path);
        let logits = logits(&loss, 3);
        let p = |name: &str| chance(&loss, &logits, name);
        let of = |labels: [f32; 4], task: usize| {
            let mut losses = [0.0; 4];
            loss.row(&logits, &labels, &mut losses);
            (-f64::from(losses[task])).exp()
        };
        let (y1, y4) = (p("click"), p("cart"));
        let (y2, y3, y5) = (p("like_without_cart"), p("like_without_parent"), p("like_with_cart"));
        let given = y4 * y5 + (1.0 - y4) * y2;
        let cases = [
            ([1.0, 1.0, 0.0, 1.0], 3, y5),
            ([1.0, 0.0, 0.0, 1.0], 3, y2),
            ([0.0, 0.0, 0.0, 1.0], 3, y3),
            ([1.0, nan, nan, 1.0], 3, given),
            ([1.0, nan, nan, 0.0], 3, 1.0 - given),
            ([nan, nan, nan, 1.0], 3, y1 * given + (1.0 - y1) * y3),
            ([1.0, nan, 1.0, nan], 2, y4 * p("buy")),
            ([nan, nan, 1.0, nan], 2, y1 * y4 * p("buy")),
            ([nan, 0.0, 0.0, nan], 1, 1.0 - y1 * y4),
            // Where nothing can have happened there is nothing to learn.
            ([0.0, nan, 0.0, nan], 2, 1.0),
            ([0.0, 0.0, 0.0, nan], 1, 1.0),
        ];
        for (labels, task, expected) in cases {
            let found = of(labels, task);
            assert!((found - expected).abs() < 1e-6, "{labels:?}, task {task}: {found} {expected}");
        }
        // A row drawn for its click tells of what follows it, never of how often there is one.
        let drawn = [GIVEN, nan, 1.0, 1.0];
        assert!((of(drawn, 0) - 1.0).abs() < 1e-12 && (of(drawn, 3) - given).abs() < 1e-6);
        assert!((of(drawn, 2) - 1.0).abs() < 1e-12, "by a way that is not told");
    }

    /// ESM2 with an action that never happens is ESMM.
    #[test]
    fn an_action_that_never_happens_leaves_the_plain_product() {
        let (split, plain) = (by_cart(Space::Product), loss(Space::Product, None));
        let mut of_split = logits(&split, 6);
        of_split[place(&split, "cart")] = -60.0;
        let twin = |name: &str| if name == "like" { "like_without_cart" } else { name }.to_string();
        let of_plain: Vec<f32> =
            plain.objective.heads().iter().map(|head| of_split[place(&split, &twin(&head.name))]).collect();
        for labels in [[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]] {
            let (mut found, mut expected) = ([0.0; 4], [0.0; 4]);
            split.row(&of_split, &labels, &mut found);
            plain.row(&of_plain, &labels, &mut expected);
            assert_eq!(found, expected);
            let (mut found, mut expected) = (vec![0.0; of_split.len()], vec![0.0; of_plain.len()]);
            split.row_gradient(&of_split, &labels, &[1.0; 4], &mut found);
            plain.row_gradient(&of_plain, &labels, &[1.0; 4], &mut expected);
            assert!(found[place(&split, "like_with_cart")].abs() < 1e-12);
            for (head, expected) in plain.objective.heads().iter().zip(expected) {
                assert!((found[place(&split, &twin(&head.name))] - expected).abs() < 1e-12, "{}", head.name);
            }
        }
    }

    #[test]
    fn a_way_that_cannot_be_taken_is_refused() {
        let refused = |via: &[(&str, &str)], space: Space| {
            let via = via.iter().map(|(task, action)| (task.to_string(), action.to_string())).collect();
            let config = ObjectiveConfig { via, ..ObjectiveConfig::default() };
            Objective::new(&Schema::parse(TASKS).unwrap(), &config, space).unwrap_err().to_string()
        };
        assert!(refused(&[("like", "crat")], Space::Product).contains("did you mean `cart`?"));
        assert!(refused(&[("like", "buy")], Space::Product).contains("two tasks after the same parent"));
        assert!(refused(&[("like", "like")], Space::Product).contains("two tasks after the same parent"));
        assert!(refused(&[("like", "cart")], Space::Impression).contains("in the space `impression`"));
        let circle = refused(&[("like", "cart"), ("cart", "like")], Space::Product);
        assert!(circle.contains("in a circle") && !circle.contains("click"), "{circle}");
    }

    #[test]
    fn a_direct_task_sums_over_both_ways() {
        let loss = loss(Space::Product, None);
        let logits = logits(&loss, 3);
        let (mut given, mut joint) = ([0.0; 4], [0.0; 4]);
        loss.objective.probabilities(&logits, &mut given, &mut joint);
        let p = |name: &str| chance(&loss, &logits, name);
        let click = p("click");
        let like = click * p("like") + (1.0 - click) * p("like_without_parent");
        assert!((joint[3] - like).abs() < 1e-12 && (given[3] - p("like")).abs() < 1e-12);
        assert!((joint[2] - click * p("cart") * p("buy")).abs() < 1e-12);
    }

    #[test]
    fn a_row_without_any_label_costs_nothing_and_moves_nothing() {
        for space in EVERY {
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
        let every = [Space::Parent, Space::Product, Space::Path]
            .into_iter()
            .flat_map(|space| [loss(space, None), by_cart(space)]);
        for loss in every {
            for logit in [-200.0, 200.0] {
                let logits = vec![logit; loss.objective.heads().len()];
                let nan = f32::NAN;
                for labels in [[1.0; 4], [0.0; 4], [nan, nan, 1.0, 1.0], [1.0, nan, 0.0, 0.0], [0.0, nan, 0.0, 1.0]] {
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
        let config = ObjectiveConfig { spaces: [("clik".into(), Space::Parent)].into(), ..ObjectiveConfig::default() };
        let error = Objective::new(&Schema::parse(TASKS).unwrap(), &config, Space::Parent).unwrap_err().to_string();
        assert!(error.contains("did you mean `click`?"), "{error}");
    }
}
