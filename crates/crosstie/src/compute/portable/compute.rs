//! What the functions mean.

use super::{Function, Kind, Portable, Term, Value};

/// A term's numbers: row by row, or once for all rows.
struct Numbers {
    by_row: bool,
    values: Vec<f32>,
}

impl Numbers {
    /// Those of one row.
    fn row(&self, row: usize, length: usize) -> &[f32] {
        let from = if self.by_row { row * length } else { 0 };
        &self.values[from..from + length]
    }
}

impl Portable<'_> {
    /// Computes some terms for so many rows, `rows × width` each. `source` gives the
    /// numbers of a source by its name, `scenarios` the index of each row's scenario.
    pub fn compute(
        &self,
        rows: usize,
        source: &dyn Fn(&str) -> Vec<f32>,
        scenarios: &[usize],
        wanted: &[Value],
    ) -> Vec<Vec<f32>> {
        let mut all: Vec<Numbers> = Vec::new();
        for term in &self.terms {
            let values = match &term.kind {
                Kind::Source => source(term.of),
                Kind::Scenario { least } => scenarios.iter().map(|scenario| (*scenario).max(*least) as f32).collect(),
                Kind::Constant(numbers) => numbers.to_vec(),
                Kind::Of(function, inputs) => {
                    let terms: Vec<&Term<'_>> = inputs.iter().map(|input| self.term(*input)).collect();
                    let rows = if term.by_row { rows } else { 1 };
                    let row = |row: usize| {
                        let inputs = inputs.iter().zip(&terms);
                        let inputs: Vec<&[f32]> =
                            inputs.map(|(input, term)| all[input.0].row(row, term.shape.iter().product())).collect();
                        of_row(function, &terms, &inputs, &term.shape)
                    };
                    (0..rows).flat_map(row).collect()
                }
            };
            all.push(Numbers { by_row: term.by_row, values });
        }
        wanted.iter().map(|value| std::mem::take(&mut all[value.0].values)).collect()
    }
}

/// The function's numbers on one row.
fn of_row(function: &Function, terms: &[&Term<'_>], inputs: &[&[f32]], shape: &[usize]) -> Vec<f32> {
    use Function::*;
    let last = terms[0].shape.last().copied().unwrap_or(1);
    let each = |f: &dyn Fn(f32) -> f32| inputs[0].iter().map(|x| f(*x)).collect();
    let pairs = |f: &dyn Fn(f32, f32) -> f32| {
        let at = |input: usize, index: usize| inputs[input][place(&terms[input].shape, shape, index)];
        (0..shape.iter().product()).map(|index| f(at(0, index), at(1, index))).collect()
    };
    let lines = |f: &dyn Fn(&[f32]) -> Vec<f32>| inputs[0].chunks_exact(last).flat_map(f).collect();
    match function {
        Add => pairs(&|a, b| a + b),
        Subtract => pairs(&|a, b| a - b),
        Multiply => pairs(&|a, b| a * b),
        Divide => pairs(&|a, b| a / b),
        Minimum => pairs(&f32::min),
        Maximum => pairs(&f32::max),
        Relu => each(&|x| x.max(0.0)),
        LeakyRelu(slope) => each(&|x| if x > 0.0 { x } else { slope * x }),
        Sigmoid => each(&|x| 1.0 / (1.0 + (-x).exp())),
        Tanh => each(&f32::tanh),
        Exp => each(&f32::exp),
        Log => each(&f32::ln),
        Sqrt => each(&f32::sqrt),
        Reciprocal => each(&f32::recip),
        Softmax => lines(&|line| {
            let highest = line.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = line.iter().map(|x| (x - highest).exp()).collect();
            let sum: f32 = powers.iter().sum();
            powers.iter().map(|power| power / sum).collect()
        }),
        Sum => lines(&|line| vec![line.iter().sum()]),
        Mean => lines(&|line| vec![line.iter().sum::<f32>() / line.len() as f32]),
        Columns { from, width } => lines(&|line| line[*from..from + width].to_vec()),
        Take(places) => lines(&|line| places.iter().map(|place| line[*place]).collect()),
        Concat => {
            let count = inputs[0].len() / last;
            let of_line = |line: usize| {
                let part =
                    move |input: &&[f32]| input[line * input.len() / count..(line + 1) * input.len() / count].to_vec();
                inputs.iter().flat_map(part)
            };
            (0..count).flat_map(of_line).collect()
        }
        Parts(_) | Flat | EachRow => inputs[0].to_vec(),
        Transpose => {
            let lines = inputs[0].len() / last;
            (0..last).flat_map(|column| (0..lines).map(move |line| inputs[0][line * last + column])).collect()
        }
        Matmul => {
            let columns = shape[shape.len() - 1];
            let cell =
                |a: &[f32], column: usize| a.iter().enumerate().map(|(k, a)| a * inputs[1][k * columns + column]).sum();
            let line = |a: &[f32]| (0..columns).map(|column| cell(a, column)).collect::<Vec<f32>>();
            lines(&line)
        }
        OfScenario => {
            let length: usize = shape.iter().product();
            inputs[0][inputs[1][0] as usize * length..][..length].to_vec()
        }
    }
}

/// Where a term of a shape has the number that stands at a place of a larger one.
fn place(of: &[usize], in_shape: &[usize], mut index: usize) -> usize {
    let (mut place, mut step) = (0, 1);
    for (axis, length) in in_shape.iter().enumerate().rev() {
        let own = (axis + of.len()).checked_sub(in_shape.len()).map_or(1, |axis| of[axis]);
        place += if own == 1 { 0 } else { index % length * step };
        step *= own;
        index /= length;
    }
    place
}
