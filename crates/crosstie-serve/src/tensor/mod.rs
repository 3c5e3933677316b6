//! Requests for inference and their answers, whatever protocol brings them.
//!
//! An input is a column that the model reads, one value per row: shape `[N]` or `[N, 1]`.
//! Missing is NaN, empty text, or where `<input>.missing` (BOOL, `[N]`) is true. Several
//! values per row stand in one text with the schema's separator between them, or all rows'
//! values one behind the other beside `<input>.offsets` (`[N + 1]` integers from 0). An
//! output is FP64 of shape `[N]`; NaN where the model's losses do not determine it.

mod columns;
mod datatype;

use std::time::Duration;

use axum::body::Bytes;
use crosstie::arrow::array::ArrayRef;
use crosstie::spelling;

pub use datatype::Datatype;

use crate::engine::Turn;
use crate::failure::Failure;
use crate::stages::Stage;

/// A named tensor of a request.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The input's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// What its elements are.
    pub datatype: Datatype,
    /// Its elements, row-major.
    pub data: Data,
}

/// Elements of a tensor.
#[derive(Clone, Debug)]
pub enum Data {
    /// As the binary extension and `raw_input_contents` have them: little-endian numbers,
    /// bytes for truth values, and texts each behind its length as 32 bits.
    Raw(Bytes),
    /// As an Arrow array of any type that holds such elements.
    Array(ArrayRef),
}

/// An output that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Whether it is to come as binary; of the HTTP protocol only.
    pub binary: bool,
}

/// A request for inference.
#[derive(Clone, Debug, Default)]
pub struct InferRequest {
    /// Its inputs.
    pub inputs: Vec<Tensor>,
    /// The outputs wanted; all if there are none.
    pub outputs: Vec<Wanted>,
    /// Whether they come as binary then.
    pub binary: bool,
    /// Within what time it wants its answer.
    pub timeout: Option<Duration>,
}

/// An output: one number per row.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Whether it is to come as binary.
    pub binary: bool,
    /// Its numbers.
    pub values: Vec<f64>,
}

impl Output {
    /// The numbers as little-endian bytes.
    pub fn raw(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

/// What inference gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferAnswer {
    /// Number of rows.
    pub rows: usize,
    /// In the order in which they were asked for.
    pub outputs: Vec<Output>,
}

/// Answers a request, in its turn. At most so many candidates are taken.
///
/// # Errors
/// [`Failure::BadRequest`] naming input and row, [`Failure::TooLarge`],
/// [`Failure::DeadlinePassed`].
pub fn infer(turn: &mut Turn, request: InferRequest, candidates: usize) -> Result<InferAnswer, Failure> {
    let InferRequest { inputs, outputs: mut wanted, binary, timeout } = request;
    turn.answer_within(timeout)?;
    if wanted.is_empty() {
        wanted = turn.version().outputs().iter().map(|name| Wanted { name: name.clone(), binary }).collect();
    }
    let places = wanted.iter().map(|wanted| place_of(&wanted.name, turn.version().outputs()));
    let places = places.collect::<Result<Vec<usize>, Failure>>()?;
    let rows = turn.stage(Stage::Decode, |turn| columns::rows_of(turn.version().inputs(), inputs, candidates))?;
    let batch = turn.encode(&rows)?;
    let scores = turn.score(&batch)?;
    turn.stage(Stage::Encode, |_| {
        let output = |(wanted, place): (Wanted, usize)| {
            // Outputs stand in pairs, task by task.
            let values = match place.is_multiple_of(2) {
                true => scores.given_parent(place / 2).collect(),
                false => scores.from_impression(place / 2).collect(),
            };
            Output { name: wanted.name, binary: wanted.binary, values }
        };
        Ok(InferAnswer { rows: rows.len(), outputs: wanted.into_iter().zip(places).map(output).collect() })
    })
}

fn place_of(name: &str, outputs: &[String]) -> Result<usize, Failure> {
    outputs.iter().position(|output| output == name).ok_or_else(|| {
        let hint = spelling::hint(name, outputs.iter().map(String::as_str));
        Failure::field(name, "it among the outputs", format!("an output of the model{hint}"))
    })
}
