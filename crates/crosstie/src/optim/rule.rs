//! Update rules, element by element.

use std::ops::Range;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compute::kernel::vectorised;
use crate::error::Result;
use crate::range::{BELOW_ONE, ZERO_OR_MORE};

/// The family of an update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Plain gradient descent: w -= rate · g.
    Sgd,
    /// Steps by mean and spread of each number's gradients (Kingma and Ba, ICLR 2015).
    #[default]
    Adam,
    /// Adam with decay of the weights apart from the gradient (Loshchilov and
    /// Hutter, ICLR 2019).
    Adamw,
    /// Steps that shrink with the sum of a number's squared gradients: for rows that are
    /// seen seldom or often (Duchi, Hazan and Singer, JMLR 2011).
    Adagrad,
}

/// An update rule with its settings. Those that do not belong to its kind
/// ([`Kind::settings`]) act nowhere; a config that sets one is refused.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The family.
    #[serde(rename = "name")]
    pub kind: Kind,
    /// Step size.
    pub learning_rate: f64,
    /// Adam: memory of the mean gradient.
    pub beta1: f64,
    /// Adam: memory of the mean squared gradient.
    pub beta2: f64,
    /// Adam, Adagrad: added to the root.
    pub epsilon: f32,
    /// Adagrad: the sum of squares before the first step. While what steps
    /// add to it is far less, a number moves by `learning_rate` / √`initial`
    /// times its gradient; once it is far more, steps shrink.
    pub initial: f32,
    /// AdamW: share of a weight that a step of rate 1 takes away.
    pub decay: f32,
    /// Strength of the penalty l2/2 · w². Dense parameters: weights, not
    /// biases, at every step. Rows: each time a row is seen.
    pub l2: f32,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule {
            kind: Kind::Adam,
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            initial: 1e-4,
            decay: 0.01,
            l2: 0.0,
        }
    }
}

/// What a rule remembers of each element.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// Adam: mean gradient. Otherwise empty.
    pub first: Vec<f32>,
    /// Adam: mean squared gradient; Adagrad: sum of squares. Otherwise empty.
    pub second: Vec<f32>,
}

/// Some consecutive rows of a table, and those of them that a batch has seen.
#[derive(Debug)]
pub struct SeenRows<'a> {
    /// Numbers of a row.
    pub width: usize,
    /// The table's row that `weights` begins with.
    pub start: usize,
    /// The rows' numbers.
    pub weights: &'a mut [f32],
    /// [`Moments::first`] of them.
    pub first: &'a mut [f32],
    /// [`Moments::second`] of them.
    pub second: &'a mut [f32],
    /// The step in which each row was last moved, 0 if never. Empty for a rule
    /// without a mean gradient.
    pub last: &'a mut [u32],
    /// The rows seen, ascending.
    pub rows: &'a [u32],
    /// Their gradients, one after the other.
    pub gradients: &'a [f32],
}

impl<'a> SeenRows<'a> {
    /// Cuts off the first `count` rows seen, or all if there are fewer.
    pub fn split(self, count: usize) -> (SeenRows<'a>, SeenRows<'a>) {
        let SeenRows { width, start, weights, first, second, last, rows, gradients } = self;
        let middle = rows.get(count).map_or(start + weights.len() / width, |row| *row as usize);
        let numbers = (middle - start) * width;
        let count = count.min(rows.len());
        let (rows, gradients) = (rows.split_at(count), gradients.split_at(count * width));
        let (first, second) = (cut(first, numbers), cut(second, numbers));
        let (weights, last) = (cut(weights, numbers), cut(last, middle - start));
        let piece = |start, weights, first, second, last, rows, gradients| SeenRows {
            width,
            start,
            weights,
            first,
            second,
            last,
            rows,
            gradients,
        };
        (
            piece(start, weights.0, first.0, second.0, last.0, rows.0, gradients.0),
            piece(middle, weights.1, first.1, second.1, last.1, rows.1, gradients.1),
        )
    }
}

/// As `split_at_mut`, but what a rule does not keep is empty and stays so.
fn cut<T>(values: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
    values.split_at_mut(at.min(values.len()))
}

/// A step, as all that it moves knows it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Counts from 1.
    pub number: u64,
    /// What the learning rate is multiplied with, by the schedule for example.
    pub factor: f64,
    /// What every gradient is multiplied with.
    pub scale: f32,
}

impl Step {
    /// One that changes neither the learning rate nor the gradients.
    pub fn plain(number: u64) -> Step {
        Step { number, factor: 1.0, scale: 1.0 }
    }
}

/// What a rule makes of a step, the same for every element.
#[derive(Clone, Copy)]
struct Now {
    rate: f32,
    /// Adam: 1 / (1 - β₁ᵗ) and 1 / (1 - β₂ᵗ).
    correction: (f32, f32),
    scale: f32,
}

impl Rule {
    /// A rule with the default settings of its kind: Adagrad's rate is 0.2,
    /// that of all others 0.001.
    pub fn of(kind: Kind) -> Rule {
        let learning_rate = if kind == Kind::Adagrad { 0.2 } else { 1e-3 };
        Rule { kind, learning_rate, ..Rule::default() }
    }

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key under `section`.
    pub fn check(&self, section: &str) -> Result<()> {
        let key = |name: &str| format!("{section}.{name}");
        ZERO_OR_MORE.check(key("learning_rate"), self.learning_rate)?;
        BELOW_ONE.check(key("beta1"), self.beta1)?;
        BELOW_ONE.check(key("beta2"), self.beta2)?;
        let numbers = [("epsilon", self.epsilon), ("initial", self.initial), ("decay", self.decay), ("l2", self.l2)];
        numbers.into_iter().try_for_each(|(name, value)| ZERO_OR_MORE.check(key(name), value))
    }

    /// Memory for so many elements.
    pub fn moments(&self, elements: usize) -> Moments {
        let adam = matches!(self.kind, Kind::Adam | Kind::Adamw);
        let first = if adam { vec![0.0; elements] } else { Vec::new() };
        let second = match self.kind {
            Kind::Sgd => Vec::new(),
            Kind::Adagrad => vec![self.initial; elements],
            Kind::Adam | Kind::Adamw => vec![0.0; elements],
        };
        Moments { first, second }
    }

    fn now(&self, Step { number, factor, scale }: Step) -> Now {
        let correction = |beta: f64| (1.0 / (1.0 - power(beta, number))) as f32;
        let rate = (self.learning_rate * factor) as f32;
        Now { rate, correction: (correction(self.beta1), correction(self.beta2)), scale }
    }

    /// Moves all elements. `penalised` tells the elements that L2 and decay shrink,
    /// all of them if it is empty.
    pub fn update(
        &self,
        weights: &mut [f32],
        gradients: &[f32],
        moments: &mut Moments,
        penalised: &[bool],
        step: Step,
    ) {
        let all = 0..weights.len();
        self.update_range(all, weights, gradients, moments, penalised, step);
    }

    /// As [`Rule::update`], but moves only the elements of a range.
    pub fn update_range(
        &self,
        range: Range<usize>,
        weights: &mut [f32],
        gradients: &[f32],
        moments: &mut Moments,
        penalised: &[bool],
        step: Step,
    ) {
        const PIECE: usize = 1 << 14;
        let now = self.now(step);
        let (weights, gradients) = (&mut weights[range.clone()], &gradients[range.clone()]);
        let [first, second] = [&mut moments.first, &mut moments.second].map(|moment| match moment.is_empty() {
            true => &mut moment[..],
            false => &mut moment[range.clone()],
        });
        let penalised = if penalised.is_empty() { penalised } else { &penalised[range] };
        let pieces = weights.len().div_ceil(PIECE);
        let mut first: Vec<&mut [f32]> = first.chunks_mut(PIECE).collect();
        let mut second: Vec<&mut [f32]> = second.chunks_mut(PIECE).collect();
        first.resize_with(pieces, Default::default);
        second.resize_with(pieces, Default::default);
        let mut penalised: Vec<&[bool]> = penalised.chunks(PIECE).collect();
        penalised.resize(pieces, &[]);
        let work = weights.par_chunks_mut(PIECE).zip(gradients.par_chunks(PIECE)).zip(penalised);
        work.zip(first).zip(second).for_each(|((((weights, gradients), penalised), first), second)| {
            vectorised(
                #[inline(always)]
                || match penalised.is_empty() || !self.penalises() {
                    true => self.elements(weights, gradients, first, second, now, |_| 1.0),
                    false => {
                        let penalised = &penalised[..weights.len()];
                        let share = |index: usize| f32::from(u8::from(penalised[index]));
                        self.elements(weights, gradients, first, second, now, share);
                    }
                },
            );
        });
    }

    /// Whether weights shrink of themselves.
    fn penalises(&self) -> bool {
        self.l2 > 0.0 || (self.kind == Kind::Adamw && self.decay > 0.0)
    }

    /// Moves the rows that a batch has seen. For each step in which a row was
    /// not seen, Adam's moments decay now, and the weights stay where they were.
    pub fn update_rows(&self, seen: SeenRows<'_>, step: Step) {
        let now = self.now(step);
        let SeenRows { width, start, weights, first, second, last, rows, gradients } = seen;
        vectorised(
            #[inline(always)]
            || {
                for (row, gradient) in rows.iter().zip(gradients.chunks_exact(width)) {
                    let row = *row as usize - start;
                    let cells = row * width..(row + 1) * width;
                    let weights = &mut weights[cells.clone()];
                    let second = if second.is_empty() { &mut [][..] } else { &mut second[cells.clone()] };
                    let first = if first.is_empty() { &mut [][..] } else { &mut first[cells] };
                    if let Some(last) = last.get_mut(row) {
                        let missed = if *last == 0 { 0 } else { step.number - 1 - u64::from(*last) };
                        if *last == 0 {
                            // Zeros already. But a page that is read before it is written the system
                            // hands out twice.
                            first.fill(0.0);
                            second.fill(0.0);
                        }
                        *last = step.number as u32;
                        if missed > 0 {
                            let decay = (power(self.beta1, missed) as f32, power(self.beta2, missed) as f32);
                            first.iter_mut().for_each(|m| *m *= decay.0);
                            second.iter_mut().for_each(|v| *v *= decay.1);
                        }
                    }
                    self.elements(weights, gradient, first, second, now, |_| 1.0);
                }
            },
        );
    }

    /// Moves some elements; L2 and decay shrink each by the given share.
    #[inline(always)]
    fn elements(
        &self,
        weights: &mut [f32],
        gradients: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        Now { rate, correction, scale }: Now,
        share: impl Fn(usize) -> f32,
    ) {
        let (epsilon, l2) = (self.epsilon, self.l2);
        match self.kind {
            Kind::Sgd => {
                for (index, (w, g)) in weights.iter_mut().zip(gradients).enumerate() {
                    *w -= rate * (g * scale + share(index) * l2 * *w);
                }
            }
            Kind::Adagrad => {
                for (index, ((w, g), v)) in weights.iter_mut().zip(gradients).zip(second).enumerate() {
                    let g = g * scale + share(index) * l2 * *w;
                    *v += g * g;
                    *w -= rate * g / (v.sqrt() + epsilon);
                }
            }
            Kind::Adam | Kind::Adamw => {
                let (beta1, beta2) = (self.beta1 as f32, self.beta2 as f32);
                let (rest1, rest2) = ((1.0 - self.beta1) as f32, (1.0 - self.beta2) as f32);
                let decay = if self.kind == Kind::Adamw { rate * self.decay } else { 0.0 };
                let moments = first.iter_mut().zip(second);
                for (index, ((w, g), (m, v))) in weights.iter_mut().zip(gradients).zip(moments).enumerate() {
                    let g = g * scale + share(index) * l2 * *w;
                    *m = beta1 * *m + rest1 * g;
                    *v = beta2 * *v + rest2 * g * g;
                    *w -= share(index) * decay * *w;
                    *w -= rate * (*m * correction.0) / ((*v * correction.1).sqrt() + epsilon);
                }
            }
        }
    }
}

/// `base` to a whole power, in the same way on every machine.
#[inline(always)]
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut power = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            power *= base;
        }
        base *= base;
        exponent /= 2;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_steps(rule: Rule) -> Vec<f32> {
        let mut moments = rule.moments(2);
        let mut weights = vec![1.0, -2.0];
        for (step, gradient) in [(1, [0.5, -0.1]), (2, [-0.2, -0.3])] {
            rule.update(&mut weights, &gradient, &mut moments, &[true, true], Step::plain(step));
        }
        weights
    }

    /// Values of torch.optim (2.15) for the same two gradients; the script is
    /// tests/golden/optimizers.py.
    #[test]
    fn two_steps_equal_those_of_pytorch() {
        let expected = [
            (Kind::Sgd, 0.0, [0.97, -1.96]),
            (Kind::Adam, 0.0, [0.865_439_5, -1.808_221_8]),
            (Kind::Adam, 0.1, [0.847_519_1, -1.801_552_9]),
            (Kind::Adamw, 0.0, [0.863_540_5, -1.804_323_9]),
            (Kind::Adagrad, 0.0, [0.947_510_2, -1.902_766_8]),
        ];
        for (kind, l2, expected) in expected {
            let rule = Rule { kind, learning_rate: 0.1, l2, initial: 0.1, ..Rule::default() };
            let found = two_steps(rule);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{kind:?}, l2 {l2}: {found} instead of {expected}");
            }
        }
    }

    #[test]
    fn without_a_list_of_penalised_elements_nothing_moved() {
        let rule = Rule { kind: Kind::Sgd, learning_rate: 0.5, l2: 1.0, ..Rule::default() };
        let mut weights = [1.0, -2.0];
        rule.update(&mut weights, &[0.0, 1.0], &mut rule.moments(2), &[], Step::plain(1));
        assert_eq!(weights, [0.5, -1.5]);
    }

    #[test]
    fn a_row_that_was_not_seen_decays_its_moments_and_keeps_its_weights() {
        let rule = Rule { kind: Kind::Adam, learning_rate: 0.1, ..Rule::default() };
        let mut moments = rule.moments(1);
        let mut dense = vec![1.0];
        for step in 1..=4 {
            let gradient = if step == 1 || step == 4 { 0.5 } else { 0.0 };
            rule.update(&mut dense, &[gradient], &mut moments, &[true], Step::plain(step));
        }
        let mut row = [1.0f32];
        let (mut first, mut second, mut last) = ([0.0], [0.0], [0]);
        let mut after = Vec::new();
        for step in [1, 4] {
            let seen = SeenRows {
                width: 1,
                start: 0,
                weights: &mut row,
                first: &mut first,
                second: &mut second,
                last: &mut last,
                rows: &[0],
                gradients: &[0.5],
            };
            rule.update_rows(seen, Step::plain(step));
            after.push(row[0]);
        }
        let after_one = after[0];
        assert!((first[0] - moments.first[0]).abs() < 1e-7 && (second[0] - moments.second[0]).abs() < 1e-9);
        assert!(row[0] < after_one && dense[0] < row[0], "{row:?} {dense:?}");
    }

    #[test]
    fn a_power_is_the_product() {
        for exponent in [0, 1, 2, 3, 7, 64, 1000] {
            let expected: f64 = (0..exponent).map(|_| 0.999).product();
            assert!((power(0.999, exponent) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn rows_cut_in_pieces_move_as_they_do_whole() {
        let rule = Rule { kind: Kind::Adam, learning_rate: 0.1, ..Rule::default() };
        let moved = |cut: usize| {
            let (mut weights, mut moments, mut last) = (vec![1.0; 14], rule.moments(14), vec![0; 7]);
            let gradients: Vec<f32> = (0..8).map(|i| i as f32 - 3.5).collect();
            let seen = SeenRows {
                width: 2,
                start: 0,
                weights: &mut weights,
                first: &mut moments.first,
                second: &mut moments.second,
                last: &mut last,
                rows: &[1, 2, 5, 6],
                gradients: &gradients,
            };
            let (left, right) = seen.split(cut);
            assert_eq!(left.rows.len(), cut);
            rule.update_rows(right, Step::plain(1));
            rule.update_rows(left, Step::plain(1));
            (weights, last)
        };
        let whole = moved(4);
        assert_eq!(whole.1, [0, 1, 1, 0, 0, 1, 1]);
        (0..4).for_each(|cut| assert_eq!(moved(cut), whole));
    }
}
