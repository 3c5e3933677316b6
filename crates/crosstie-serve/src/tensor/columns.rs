//! From tensors to the columns that a model reads.

use std::sync::Arc;

use crosstie::arrow::array::{Array, ArrayRef, AsArray, LargeListArray, RecordBatch, RecordBatchOptions, make_array};
use crosstie::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use crosstie::arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, UInt32Type, UInt64Type};
use crosstie::data::Rows;
use crosstie::spelling;

use super::{Data, Datatype, Tensor};
use crate::failure::{Failure, Fault};
use crate::repository::{Input, Kind};

const MISSING: &str = ".missing";
const OFFSETS: &str = ".offsets";
/// What messages call the rows of a request.
const REQUEST: &str = "request";

/// The rows that tensors are, with the columns in the order of the inputs.
pub(super) fn rows_of(inputs: &[Input], mut tensors: Vec<Tensor>, candidates: usize) -> Result<Rows, Failure> {
    let mut take = |name: &str| {
        let place = tensors.iter().position(|tensor| tensor.name == name)?;
        Some(tensors.swap_remove(place))
    };
    let mut columns: Vec<(&str, ArrayRef)> = Vec::with_capacity(inputs.len());
    let mut absent = None;
    for input in inputs {
        let Some(tensor) = take(&input.name) else {
            absent.get_or_insert(input);
            continue;
        };
        let offsets = take(&format!("{}{OFFSETS}", input.name));
        let missing = take(&format!("{}{MISSING}", input.name));
        columns.push((&input.name, column_of(input, tensor, offsets, missing, candidates)?));
    }
    let names = || inputs.iter().map(|input| input.name.as_str());
    if let Some(stranger) = tensors.first() {
        let twice = names().any(|name| name == stranger.name);
        let (found, hint) = match twice {
            true => ("a second input of this name", String::new()),
            false => ("an input that the model does not read", spelling::hint(&stranger.name, names())),
        };
        return Err(Failure::field(&stranger.name, found, format!("the model's inputs, once each{hint}")));
    }
    if let Some(input) = absent {
        return Err(Failure::field(&input.name, "no input of this name", "all inputs of the model"));
    }
    let rows = columns.first().map_or(0, |(_, first)| first.len());
    if let Some((name, other)) = columns.iter().find(|(_, other)| other.len() != rows) {
        let first = columns[0].0;
        return Err(Failure::field(*name, format!("{} rows", other.len()), format!("{rows}, as in `{first}`")));
    }
    if rows == 0 {
        return Err(Failure::request("no row", "at least one"));
    }
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new_with_options(schema, arrays, &options);
    Ok(Rows::new(batch.map_err(|error| Failure::Internal(error.to_string()))?, REQUEST))
}

fn column_of(
    input: &Input,
    tensor: Tensor,
    offsets: Option<Tensor>,
    missing: Option<Tensor>,
    candidates: usize,
) -> Result<ArrayRef, Failure> {
    let array = match offsets {
        None => array_of(tensor, candidates, LIMIT)?,
        Some(offsets) if matches!(input.kind, Kind::Values { .. }) => {
            // A row may have many values, which the body's size limits.
            let values = array_of(tensor, usize::MAX, LIMIT)?;
            lists_of(values, offsets, candidates)?
        }
        Some(offsets) => {
            return Err(Failure::field(
                offsets.name,
                "offsets",
                format!("none, since `{}` has one value per row", input.name),
            ));
        }
    };
    let Some(missing) = missing else { return Ok(array) };
    let name = missing.name.clone();
    let missing = array_of(missing, candidates, LIMIT)?;
    let Some(flags) = missing.as_boolean_opt().filter(|flags| flags.len() == array.len()) else {
        let found = format!("{} elements of {}", missing.len(), missing.data_type());
        return Err(Failure::field(name, found, format!("BOOL, one for each of the {} rows", array.len())));
    };
    let present: NullBuffer = flags.iter().map(|missing| missing != Some(true)).collect();
    let nulls = NullBuffer::union(Some(&present), array.nulls());
    let data = array.to_data().into_builder().nulls(nulls).build();
    Ok(make_array(data.map_err(|error| Failure::Internal(error.to_string()))?))
}

/// The setting that limits the rows.
const LIMIT: &str = "limits.candidates";

/// The elements of a tensor of one value per row.
fn array_of(tensor: Tensor, most: usize, setting: &'static str) -> Result<ArrayRef, Failure> {
    let Tensor { name, shape, datatype, data } = tensor;
    let count = match shape[..] {
        [rows] | [rows, 1] => usize::try_from(rows).ok(),
        _ => None,
    };
    let Some(count) = count else {
        return Err(Failure::field(name, format!("shape {shape:?}"), "[N] or [N, 1]"));
    };
    if count > most {
        return Err(Failure::TooLarge { what: "candidates", limit: most, setting });
    }
    match data {
        Data::Raw(raw) => datatype.read(raw, count).map_err(|(found, expected)| Failure::field(name, found, expected)),
        Data::Array(array) if array.len() != count => {
            Err(Failure::field(name, format!("{} elements", array.len()), format!("{count}, as its shape says")))
        }
        Data::Array(array) if !datatype.admits(&array) => {
            let found = format!("elements that are {}", word(array.data_type()));
            Err(Failure::field(name, found, format!("{}, as its datatype says", datatype.name())))
        }
        Data::Array(array) => Ok(array),
    }
}

/// What people call a type.
fn word(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "truth values",
        data_type if data_type.is_integer() => "whole numbers",
        data_type if data_type.is_floating() => "numbers",
        _ => "texts",
    }
}

fn lists_of(values: ArrayRef, offsets: Tensor, candidates: usize) -> Result<ArrayRef, Failure> {
    let name = offsets.name.clone();
    let array = array_of(offsets, candidates.saturating_add(1), LIMIT)?;
    let Some(ends) = integers(&array) else {
        return Err(Failure::field(name, word(array.data_type()), "INT32 or INT64, one more than there are rows"));
    };
    let expected = || format!("offsets from 0 to {}, none below the one before", values.len());
    if ends.first() != Some(&0) || ends.last().and_then(|last| usize::try_from(*last).ok()) != Some(values.len()) {
        let found = format!("offsets from {:?} to {:?}", ends.first(), ends.last());
        return Err(Failure::field(name, found.replace("Some(", "").replace(')', ""), expected()));
    }
    if let Some(row) = ends.windows(2).position(|pair| pair[0] > pair[1]) {
        let found = format!("{} behind {}", ends[row + 1], ends[row]);
        return Err(Failure::BadRequest(Fault {
            field: Some(name),
            row: Some(row as u64 + 1),
            found,
            expected: expected(),
        }));
    }
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let lists = LargeListArray::try_new(item, OffsetBuffer::new(ScalarBuffer::from(ends)), values, None);
    Ok(Arc::new(lists.map_err(|error| Failure::Internal(error.to_string()))?))
}

fn integers(array: &ArrayRef) -> Option<Vec<i64>> {
    if array.null_count() > 0 {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int32 => array.as_primitive::<Int32Type>().values().iter().map(|x| i64::from(*x)).collect(),
        DataType::Int64 => array.as_primitive::<Int64Type>().values().to_vec(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().values().iter().map(|x| i64::from(*x)).collect(),
        DataType::UInt64 => {
            let values = array.as_primitive::<UInt64Type>().values().iter();
            values.map(|x| i64::try_from(*x).ok()).collect::<Option<_>>()?
        }
        _ => return None,
    })
}

/// The type that is told as an input's.
impl Input {
    /// The datatype that metadata tells. Others of the same meaning are taken, too.
    pub fn datatype(&self) -> Datatype {
        match self.kind {
            Kind::Number => Datatype::Fp64,
            Kind::Value | Kind::Values { .. } => Datatype::Bytes,
        }
    }
}
