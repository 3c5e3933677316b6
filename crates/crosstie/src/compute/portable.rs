//! What a program computes in scoring, in words that other engines know.
//!
//! [`Program::portable`] retells the steps that score rows as a list of terms:
//! sources, constants, and about twenty [`Function`]s of terms before them. Who
//! writes for another engine translates the functions and knows no operation.
//! [`Portable::compute`] says what each means, and is what a translation is held
//! against; it is slow.

mod compute;

use std::borrow::Cow;

use super::node::Node;
use super::program::Program;
use crate::error::{Error, Result};

/// A function of terms. Each works on every row for itself; "last" is the last
/// axis of a row's numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// a + b. This and the next five broadcast axes of length 1, aligned at the last.
    Add,
    /// a - b.
    Subtract,
    /// a · b.
    Multiply,
    /// a / b.
    Divide,
    /// The smaller of two.
    Minimum,
    /// The larger of two.
    Maximum,
    /// Matrix product over the last axis of a and the last but one of b.
    Matmul,
    /// max(x, 0).
    Relu,
    /// x where positive, so many times x elsewhere.
    LeakyRelu(f32),
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// e^x.
    Exp,
    /// ln x.
    Log,
    /// √x.
    Sqrt,
    /// 1 / x.
    Reciprocal,
    /// Softmax over the last axis.
    Softmax,
    /// Sum over the last axis, which stays with length 1.
    Sum,
    /// Mean over the last axis, which stays with length 1.
    Mean,
    /// Consecutive places of the last axis.
    Columns {
        /// The first.
        from: usize,
        /// How many.
        width: usize,
    },
    /// Some places of the last axis.
    Take(Vec<usize>),
    /// Several side by side along the last axis.
    Concat,
    /// Cuts the last axis into so many equal parts: `[w]` becomes `[n, w / n]`.
    Parts(usize),
    /// All numbers of a row along one axis.
    Flat,
    /// Exchanges the last two axes.
    Transpose,
    /// A constant as the same numbers on each row.
    EachRow,
    /// Of the first input the part, along its first axis, that the second says:
    /// the row's scenario. The first is a constant or has numbers for each row.
    OfScenario,
}

/// A term, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(usize);

impl Value {
    /// Its place among [`Portable::terms`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One term.
#[derive(Clone, Debug)]
pub struct Term<'a> {
    /// Name of the step that it is a part of, or of the source.
    pub of: &'a str,
    /// The shape of a row's numbers, or of all where rows do not differ.
    pub shape: Vec<usize>,
    /// Whether each row has numbers of its own.
    pub by_row: bool,
    /// How its numbers come about.
    pub kind: Kind<'a>,
}

/// How a term's numbers come about.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// Given from outside, as the program's source of this name.
    Source,
    /// The index of the row's scenario, or `least` where that is more.
    Scenario {
        /// The least index.
        least: usize,
    },
    /// Always the same, row-major.
    Constant(Cow<'a, [f32]>),
    /// A function of terms before.
    Of(Function, Vec<Value>),
}

/// What an operation is told of its step.
#[derive(Clone, Copy, Debug)]
pub struct PortableStep<'s, 'a> {
    /// The inputs, of which each row has one axis of numbers.
    pub inputs: &'s [Value],
    /// The parameters' numbers.
    pub parameters: &'s [&'a [f32]],
    /// Width of the output.
    pub width: usize,
}

/// Terms in an order in which they can be computed.
#[derive(Clone, Debug, Default)]
pub struct Portable<'a> {
    terms: Vec<Term<'a>>,
    of: &'a str,
    least: usize,
}

impl<'a> Portable<'a> {
    /// All terms.
    pub fn terms(&self) -> &[Term<'a>] {
        &self.terms
    }

    /// One term.
    pub fn term(&self, value: Value) -> &Term<'a> {
        &self.terms[value.0]
    }

    /// Length of a term's last axis.
    pub fn width(&self, value: Value) -> usize {
        self.term(value).shape.last().copied().unwrap_or(1)
    }

    /// Names what is told from here on.
    pub fn name(&mut self, of: &'a str) {
        self.of = of;
    }

    /// From here on a row of a scenario below `least` counts as one of `least`.
    pub fn least_scenario(&mut self, least: usize) {
        self.least = least;
    }

    fn push(&mut self, shape: Vec<usize>, by_row: bool, kind: Kind<'a>) -> Value {
        self.terms.push(Term { of: self.of, shape, by_row, kind });
        Value(self.terms.len() - 1)
    }

    fn source(&mut self, name: &'a str, width: usize) -> Value {
        self.terms.push(Term { of: name, shape: vec![width], by_row: true, kind: Kind::Source });
        Value(self.terms.len() - 1)
    }

    /// Numbers that are always the same.
    ///
    /// # Panics
    /// If there are not as many as the shape says.
    pub fn constant(&mut self, shape: &[usize], numbers: impl Into<Cow<'a, [f32]>>) -> Value {
        let numbers = numbers.into();
        assert_eq!(numbers.len(), shape.iter().product::<usize>(), "a constant of shape {shape:?}");
        self.push(shape.to_vec(), false, Kind::Constant(numbers))
    }

    /// One number.
    pub fn number(&mut self, number: f32) -> Value {
        self.constant(&[1], vec![number])
    }

    /// A function of terms.
    ///
    /// # Panics
    /// If their shapes do not fit.
    pub fn apply(&mut self, function: Function, inputs: &[Value]) -> Value {
        let by_row = function == Function::EachRow || inputs.iter().any(|input| self.term(*input).by_row);
        let shape = self.shape(&function, inputs);
        self.push(shape, by_row, Kind::Of(function, inputs.to_vec()))
    }

    fn shape(&self, function: &Function, inputs: &[Value]) -> Vec<usize> {
        use Function::*;
        let of = |index: usize| &self.term(inputs[index]).shape;
        let with_last = |shape: &[usize], last: usize| [&shape[..shape.len() - 1], &[last]].concat();
        match function {
            Add | Subtract | Multiply | Divide | Minimum | Maximum => broadcast(of(0), of(1)),
            Relu | LeakyRelu(_) | Sigmoid | Tanh | Exp | Log | Sqrt | Reciprocal | Softmax | EachRow => of(0).clone(),
            Sum | Mean => with_last(of(0), 1),
            Columns { from, width } => {
                assert!(from + width <= self.width(inputs[0]), "{width} columns from {from} on of {:?}", of(0));
                with_last(of(0), *width)
            }
            Take(places) => with_last(of(0), places.len()),
            Concat => with_last(of(0), inputs.iter().map(|input| self.width(*input)).sum()),
            Parts(count) => {
                let width = self.width(inputs[0]);
                assert_eq!(width % count, 0, "{count} equal parts of {width}");
                [&of(0)[..of(0).len() - 1], &[*count, width / count]].concat()
            }
            Flat => vec![of(0).iter().product()],
            Transpose => {
                let mut shape = of(0).clone();
                let axes = shape.len();
                shape.swap(axes - 2, axes - 1);
                shape
            }
            Matmul => {
                let (a, b) = (of(0), of(1));
                assert_eq!(a.last(), b.iter().rev().nth(1), "a product of {a:?} and {b:?}");
                with_last(a, self.width(inputs[1]))
            }
            OfScenario => of(0)[1..].to_vec(),
        }
    }

    /// a + b.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.apply(Function::Add, &[a, b])
    }

    /// a · b.
    pub fn multiply(&mut self, a: Value, b: Value) -> Value {
        self.apply(Function::Multiply, &[a, b])
    }

    /// So many times x.
    pub fn scale(&mut self, x: Value, scale: f32) -> Value {
        if scale == 1.0 {
            return x;
        }
        let scale = self.number(scale);
        self.multiply(x, scale)
    }

    /// A matrix product.
    pub fn matmul(&mut self, a: Value, b: Value) -> Value {
        self.apply(Function::Matmul, &[a, b])
    }

    /// Some columns; all of them are the term itself.
    pub fn columns(&mut self, x: Value, from: usize, width: usize) -> Value {
        if width == self.width(x) { x } else { self.apply(Function::Columns { from, width }, &[x]) }
    }

    /// Several side by side; one alone is itself.
    pub fn concat(&mut self, parts: &[Value]) -> Value {
        if let [one] = parts { *one } else { self.apply(Function::Concat, parts) }
    }

    /// The last axis in equal parts.
    pub fn parts(&mut self, x: Value, count: usize) -> Value {
        self.apply(Function::Parts(count), &[x])
    }

    /// All numbers of a row along one axis.
    pub fn flat(&mut self, x: Value) -> Value {
        self.apply(Function::Flat, &[x])
    }

    /// The part of the row's scenario.
    pub fn of_scenario(&mut self, x: Value) -> Value {
        let least = self.least;
        let known = |term: &Term<'_>| matches!(term.kind, Kind::Scenario { least: other } if other == least);
        let scenario = match self.terms.iter().position(known) {
            Some(index) => Value(index),
            None => self.push(Vec::new(), true, Kind::Scenario { least }),
        };
        self.apply(Function::OfScenario, &[x, scenario])
    }
}

/// The shape of a function of two terms: axes of length 1 stretch.
fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let axes = a.len().max(b.len());
    let length = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(axes).map_or(1, |axis| shape[axis]);
    let fit = |axis: usize| match (length(a, axis), length(b, axis)) {
        (1, length) | (length, 1) => length,
        (one, other) => {
            assert_eq!(one, other, "{a:?} and {b:?}");
            one
        }
    };
    (0..axes).map(fit).collect()
}

impl Program {
    /// Tells how an output is computed in scoring, given the parameters' numbers. Each
    /// source that is read becomes a term of its name.
    ///
    /// # Errors
    /// [`Error::Config`] naming an operation that is not
    /// [told](super::Op::portable) in other words.
    pub fn portable<'a>(&'a self, to: &mut Portable<'a>, parameters: &'a [f32], output: Node) -> Result<Value> {
        let mut buffers: Vec<Option<Value>> = vec![None; self.widths.len()];
        let read = |to: &mut Portable<'a>, buffers: &[Option<Value>], node: &Node| {
            let whole = buffers[node.buffer].expect("a step reads what is computed before");
            to.columns(whole, node.from, node.width)
        };
        for (index, step) in self.steps.iter().enumerate().filter(|(index, _)| self.score[*index]) {
            for input in &self.scoring[index] {
                let source = self.sources.iter().find(|(_, buffer)| *buffer == input.buffer);
                if let (None, Some((name, buffer))) = (buffers[input.buffer], source) {
                    buffers[*buffer] = Some(to.source(name, self.widths[*buffer]));
                }
            }
            to.name(&step.name);
            let inputs: Vec<Value> = self.scoring[index].iter().map(|node| read(to, &buffers, node)).collect();
            let numbers: Vec<&[f32]> =
                step.parameters.iter().map(|id| &parameters[self.parameter(*id).range()]).collect();
            let step_of = PortableStep { inputs: &inputs, parameters: &numbers, width: step.output.width };
            let Some(value) = step.op.portable(to, step_of) else {
                let message = format!("`{}` ({}) cannot be told to another engine", step.name, step.op.name());
                return Err(Error::Config(message));
            };
            assert_eq!(to.term(value).shape, [step.output.width], "`{}` in other words", step.name);
            buffers[step.output.buffer] = Some(value);
        }
        Ok(read(to, &buffers, &output))
    }
}
