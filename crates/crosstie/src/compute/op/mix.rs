//! Weighted sums of experts.

use super::{BackwardPass, ForwardPass, Function, Op, Portable, PortableStep, Value};
use crate::compute::kernel::{self, vectorised};

/// `y_o = Σ_k w_ok · expert_ok`: each output mixes the experts it may choose.
///
/// # Shapes
/// Input 0: rows × Σ choices, the weights, output by output. Inputs 1..: the
/// experts, each node holding any number of them, `width` columns each.
/// Output: rows × (outputs · width).
#[derive(Debug)]
pub struct Mix {
    /// Per output: the experts it mixes, as (expert node from 0, place in it).
    pub choices: Vec<Vec<(usize, usize)>>,
    /// Width of one expert.
    pub width: usize,
}

/// One expert in one output.
#[derive(Clone, Copy)]
struct Choice {
    /// Column of its weight.
    column: usize,
    /// First column of the output.
    output: usize,
    /// The expert's node.
    node: usize,
    /// The expert's first column there.
    from: usize,
}

impl Mix {
    fn terms(&self) -> Vec<Choice> {
        let choices = self.choices.iter().enumerate();
        choices
            .flat_map(|(output, experts)| experts.iter().map(move |expert| (output, expert)))
            .enumerate()
            .map(|(column, (output, (node, place)))| Choice {
                column,
                output: output * self.width,
                node: *node,
                from: place * self.width,
            })
            .collect()
    }
}

/// `into = Σ weight · vector`, or `into +=` it, some columns at a time so that
/// the sums stay in registers.
#[inline(always)]
fn weighted_sum<'a>(into: &mut [f32], accumulate: bool, terms: impl Iterator<Item = (f32, &'a [f32])> + Clone) {
    let done = weighted_blocks::<64>(into, 0, accumulate, terms.clone());
    let done = weighted_blocks::<16>(into, done, accumulate, terms.clone());
    weighted_blocks::<1>(into, done, accumulate, terms);
}

/// [`weighted_sum`] of as many columns behind the first `done` as come in blocks of `N`; how many
/// are done then. A width that the compiler knows keeps the sums in registers.
#[inline(always)]
fn weighted_blocks<'a, const N: usize>(
    into: &mut [f32],
    done: usize,
    accumulate: bool,
    terms: impl Iterator<Item = (f32, &'a [f32])> + Clone,
) -> usize {
    let (blocks, _) = into[done..].as_chunks_mut::<N>();
    for (index, into) in blocks.iter_mut().enumerate() {
        let mut sums = if accumulate { *into } else { [0.0; N] };
        for (weight, vector) in terms.clone() {
            let vector: &[f32] = &vector[done + index * N..][..N];
            for column in 0..N {
                sums[column] += weight * vector[column];
            }
        }
        *into = sums;
    }
    done + blocks.len() * N
}

/// Fills the parts of one row, each `width` wide: the place of a part, and what
/// each of its terms adds. A part without terms gets nothing.
#[inline(always)]
fn weighted_sums<'a>(
    into: &mut [f32],
    accumulate: bool,
    parts: &[&[Choice]],
    width: usize,
    place: impl Fn(&Choice) -> usize,
    read: impl Fn(&Choice) -> (f32, &'a [f32]),
) {
    if !accumulate && parts.len() * width < into.len() {
        into.fill(0.0);
    }
    for terms in parts {
        let into = &mut into[place(&terms[0])..][..width];
        weighted_sum(into, accumulate, terms.iter().map(&read));
    }
}

// Row by row: a row's numbers then stay in the nearest cache.
impl Op for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn portable<'a>(&self, to: &mut Portable<'a>, step: PortableStep<'_, 'a>) -> Option<Value> {
        let mut column = 0;
        let outputs = self.choices.iter().map(|experts| {
            if experts.is_empty() {
                let zeros = to.constant(&[self.width], vec![0.0; self.width]);
                return to.apply(Function::EachRow, &[zeros]);
            }
            let weights = to.columns(step.inputs[0], column, experts.len());
            column += experts.len();
            let expert =
                |(node, place): &(usize, usize)| to.columns(step.inputs[1 + node], place * self.width, self.width);
            let experts: Vec<Value> = experts.iter().map(expert).collect();
            let side_by_side = to.concat(&experts);
            let (weights, experts) = (to.parts(weights, 1), to.parts(side_by_side, experts.len()));
            let mixed = to.matmul(weights, experts);
            to.flat(mixed)
        });
        let outputs: Vec<Value> = outputs.collect();
        Some(to.concat(&outputs))
    }

    fn forward(&self, pass: &mut ForwardPass<'_>) {
        let (rows, width, terms) = (pass.rows, self.width, self.terms());
        let weights = pass.input(0);
        let experts: Vec<_> = (1..pass.inputs()).map(|index| pass.input(index)).collect();
        let of_output: Vec<&[Choice]> = terms.chunk_by(|a, b| a.output == b.output).collect();
        let outputs = pass.output.chunks_exact_mut(self.choices.len() * width).take(rows);
        vectorised(
            #[inline(always)]
            || {
                for (row, output) in outputs.enumerate() {
                    let read = |Choice { column, node, from, .. }: &Choice| {
                        (weights.row(row)[*column], &experts[*node].row(row)[*from..][..width])
                    };
                    weighted_sums(output, false, &of_output, width, |term| term.output, read);
                }
            },
        );
    }

    fn backward(&self, pass: &mut BackwardPass<'_>) {
        let (rows, width, terms) = (pass.rows, self.width, self.terms());
        let outputs = self.choices.len() * width;
        let weights = pass.input(0);
        let experts: Vec<_> = (1..pass.inputs()).map(|index| pass.input(index)).collect();
        if let Some((gradient, mut into)) = pass.gradients(0) {
            let accumulate = into.accumulate;
            vectorised(
                #[inline(always)]
                || {
                    for (row, gradient) in gradient.chunks_exact(outputs).take(rows).enumerate() {
                        let into = into.row(row);
                        for Choice { column, output, node, from } in &terms {
                            let expert = &experts[*node].row(row)[*from..][..width];
                            let slope = kernel::dot(&gradient[*output..][..width], expert);
                            into[*column] = if accumulate { into[*column] + slope } else { slope };
                        }
                    }
                },
            );
        }
        for wanted in 0..experts.len() {
            let Some((gradient, mut into)) = pass.gradients(1 + wanted) else { continue };
            let mut terms: Vec<Choice> = terms.iter().filter(|term| term.node == wanted).copied().collect();
            terms.sort_by_key(|term| term.from);
            let of_expert: Vec<&[Choice]> = terms.chunk_by(|a, b| a.from == b.from).collect();
            let accumulate = into.accumulate;
            vectorised(
                #[inline(always)]
                || {
                    for (row, gradient) in gradient.chunks_exact(outputs).take(rows).enumerate() {
                        let read = |term: &Choice| (weights.row(row)[term.column], &gradient[term.output..][..width]);
                        weighted_sums(into.row(row), accumulate, &of_expert, width, |term| term.from, read);
                    }
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::check::check_op;

    #[test]
    fn gradients() {
        // The third expert of the first node is in no output.
        let choices = vec![vec![(0, 0), (0, 1), (1, 0)], vec![(1, 0), (0, 1)]];
        check_op(&[5, 12, 4], |graph, inputs| {
            graph.push("mix", Mix { choices: choices.clone(), width: 4 }, inputs, &[], 8)
        });
    }

    #[test]
    fn an_output_without_experts_is_zero() {
        check_op(&[1, 2], |graph, inputs| {
            graph.push("mix", Mix { choices: vec![vec![], vec![(0, 0)]], width: 2 }, inputs, &[], 4)
        });
    }

    #[test]
    fn wide_experts_are_mixed_in_blocks() {
        check_op(&[2, 140], |graph, inputs| {
            graph.push("mix", Mix { choices: vec![vec![(0, 1), (0, 0)]], width: 70 }, inputs, &[], 70)
        });
    }
}
