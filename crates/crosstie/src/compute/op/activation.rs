//! Element-wise activations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackwardPass, ForwardPass, Function, Op, Portable, PortableStep, Value};
use crate::compute::kernel::{sigmoid, vectorised};

/// A function of one number whose derivative is known from its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// x.
    None,
    /// max(x, 0).
    #[default]
    Relu,
    /// x where positive, x / 100 elsewhere.
    LeakyRelu,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// tanh x.
    Tanh,
}

const LEAK: f32 = 0.01;

impl Activation {
    /// Applies the function in place.
    pub fn apply(self, values: &mut [f32]) {
        match self {
            Activation::None => {}
            _ => self.apply_to_sum::<0>(values, []),
        }
    }

    /// Adds the terms, in their order, to every row of as many columns, then
    /// applies the function.
    pub fn apply_to_sum<const N: usize>(self, rows: &mut [f32], terms: [&[f32]; N]) {
        // One loop per function: a choice inside the loop would keep it scalar.
        match self {
            Activation::None => apply_to_sum(rows, terms, |x| x),
            Activation::Relu => apply_to_sum(rows, terms, |x| x.max(0.0)),
            Activation::LeakyRelu => apply_to_sum(rows, terms, |x| if x > 0.0 { x } else { LEAK * x }),
            Activation::Sigmoid => apply_to_sum(rows, terms, sigmoid),
            Activation::Tanh => apply_to_sum(rows, terms, f32::tanh),
        }
    }

    /// The function in words that other engines know.
    pub(super) fn portable(self, to: &mut Portable<'_>, x: Value) -> Value {
        match self {
            Activation::None => x,
            Activation::Relu => to.apply(Function::Relu, &[x]),
            Activation::LeakyRelu => to.apply(Function::LeakyRelu(LEAK), &[x]),
            Activation::Sigmoid => to.apply(Function::Sigmoid, &[x]),
            Activation::Tanh => to.apply(Function::Tanh, &[x]),
        }
    }

    /// Multiplies the gradient by the derivative, given the function's values.
    pub fn derive(self, gradient: &mut [f32], values: &[f32]) {
        let pairs = gradient.iter_mut().zip(values);
        match self {
            Activation::None => {}
            Activation::Relu => vectorised(
                #[inline(always)]
                || pairs.for_each(|(g, y)| *g = if *y > 0.0 { *g } else { 0.0 }),
            ),
            Activation::LeakyRelu => vectorised(
                #[inline(always)]
                || pairs.for_each(|(g, y)| *g = if *y > 0.0 { *g } else { LEAK * *g }),
            ),
            Activation::Sigmoid => vectorised(
                #[inline(always)]
                || pairs.for_each(|(g, y)| *g *= y * (1.0 - y)),
            ),
            Activation::Tanh => vectorised(
                #[inline(always)]
                || pairs.for_each(|(g, y)| *g *= 1.0 - y * y),
            ),
        }
    }
}

#[inline(always)]
fn apply_to_sum<const N: usize>(rows: &mut [f32], terms: [&[f32]; N], of: impl Fn(f32) -> f32) {
    let width = terms.first().map_or(rows.len(), |term| term.len()).max(1);
    vectorised(
        #[inline(always)]
        || {
            let terms = terms.map(|term| &term[..width]);
            for row in rows.chunks_exact_mut(width) {
                for column in 0..width {
                    row[column] = of(terms.iter().fold(row[column], |sum, term| sum + term[column]));
                }
            }
        },
    );
}

/// `y = scale · f(x)`, element by element.
#[derive(Debug)]
pub struct Activate {
    /// f.
    pub activation: Activation,
    /// A constant factor.
    pub scale: f32,
}

impl Op for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let y = self.activation.portable(to, step.inputs[0]);
        Some(to.scale(y, self.scale))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let input = pass.input(0);
        for row in 0..pass.rows {
            pass.output[row * input.width()..][..input.width()].copy_from_slice(input.row(row));
        }
        self.activation.apply(pass.output);
        pass.output.iter_mut().for_each(|y| *y *= self.scale);
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width) = (pass.rows, pass.input(0).width());
        let output = pass.output();
        let mut values = vec![0.0; width];
        for row in 0..rows {
            let scaled = &output[row * width..][..width];
            values.iter_mut().zip(scaled).for_each(|(value, scaled)| *value = scaled / self.scale);
            self.activation.derive(&mut pass.gradient[row * width..][..width], &values);
        }
        let Some((gradient, mut into)) = pass.gradients(0) else { return };
        into.start(rows);
        for row in 0..rows {
            let from = &gradient[row * width..][..width];
            into.row(row).iter_mut().zip(from).for_each(|(into, g)| *into += self.scale * g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;

    #[test]
    fn gradients() {
        for activation in [Activation::None, Activation::Sigmoid, Activation::Tanh] {
            check_op(&[5], |graph, inputs| graph.push("activate", Activate { activation, scale: 2.0 }, inputs, &[], 5));
        }
    }

    /// Finite differences would step over the kink; the slopes are known.
    #[test]
    fn rectifiers_pass_the_gradient_where_they_pass_the_value() {
        for (activation, below) in [(Activation::Relu, 0.0), (Activation::LeakyRelu, LEAK)] {
            let (mut values, mut gradient) = ([-2.0, 3.0], [5.0, 7.0]);
            activation.apply(&mut values);
            activation.derive(&mut gradient, &values);
            assert_eq!((values, gradient), ([-2.0 * below, 3.0], [5.0 * below, 7.0]));
        }
    }
}
