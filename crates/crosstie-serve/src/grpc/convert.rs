//! Between messages and the server's own requests and answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crosstie::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, UInt32Array, UInt64Array,
};

use super::generated::infer_parameter::ParameterChoice;
use super::generated::model_infer_request::InferInputTensor;
use super::generated::model_infer_response::InferOutputTensor;
use super::generated::{self as message, InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};
use crate::failure::Failure;
use crate::repository::Version;
use crate::tensor::{Data, Datatype, InferAnswer, InferRequest, Tensor, Wanted};

type Parameters = BTreeMap<String, InferParameter>;

/// A message's tensors.
///
/// # Errors
/// [`Failure::BadRequest`] that names the input; [`Failure::Unsupported`] for shared memory.
pub(super) fn request_of(request: ModelInferRequest) -> Result<InferRequest, Failure> {
    let ModelInferRequest { inputs, outputs, raw_input_contents, parameters, .. } = request;
    let raw = !raw_input_contents.is_empty();
    if raw && raw_input_contents.len() != inputs.len() {
        let found = format!("{} elements of `raw_input_contents`", raw_input_contents.len());
        return Err(Failure::request(found, format!("one for each of the {} inputs, or none", inputs.len())));
    }
    let mut contents = raw_input_contents.into_iter();
    let tensors = inputs.into_iter().map(|input| {
        no_shared_memory(&input.name, &input.parameters)?;
        let InferInputTensor { name, datatype, shape, contents: typed, .. } = input;
        let wrong = |found: String, expected: String| Failure::field(&name, found, expected);
        let datatype =
            Datatype::named(&datatype).map_err(|expected| wrong(format!("datatype `{datatype}`"), expected))?;
        let shape = shape.into_iter().map(|size| u64::try_from(size).map_err(|_| size));
        let shape = shape.collect::<Result<Vec<u64>, i64>>();
        let shape = shape.map_err(|size| wrong(format!("{size} in its shape"), "0 or more".into()))?;
        let data = match (contents.next(), typed) {
            (Some(_), Some(_)) => {
                return Err(wrong("`contents` beside `raw_input_contents`".into(), "one of the two".into()));
            }
            (Some(bytes), None) => Data::Raw(bytes),
            (None, typed) => {
                let array = array_of(typed.unwrap_or_default(), datatype);
                Data::Array(array.map_err(|(found, expected)| wrong(found, expected))?)
            }
        };
        Ok(Tensor { name, shape, datatype, data })
    });
    let inputs = tensors.collect::<Result<_, Failure>>()?;
    let wanted = outputs.into_iter().map(|output| {
        no_shared_memory(&output.name, &output.parameters)?;
        Ok(Wanted { name: output.name, binary: true })
    });
    let (outputs, timeout) = (wanted.collect::<Result<_, Failure>>()?, timeout_of(&parameters)?);
    Ok(InferRequest { inputs, outputs, binary: true, timeout })
}

fn no_shared_memory(name: &str, parameters: &Parameters) -> Result<(), Failure> {
    match parameters.keys().find(|key| key.starts_with("shared_memory")) {
        Some(key) => {
            Err(Failure::Unsupported(format!("`{name}` has the parameter `{key}`; there is no shared memory")))
        }
        None => Ok(()),
    }
}

/// The parameter `timeout`, in microseconds; 0 for none.
fn timeout_of(parameters: &Parameters) -> Result<Option<Duration>, Failure> {
    let Some(given) = parameters.get("timeout") else { return Ok(None) };
    let microseconds = match &given.parameter_choice {
        Some(ParameterChoice::Int64Param(number)) => u64::try_from(*number).ok(),
        Some(ParameterChoice::Uint64Param(number)) => Some(*number),
        _ => None,
    };
    let Some(microseconds) = microseconds else {
        let found = format!("{:?}", given.parameter_choice);
        return Err(Failure::field("timeout", found, "a whole number of microseconds"));
    };
    Ok((microseconds > 0).then(|| Duration::from_micros(microseconds)))
}

/// The elements in the list that is of a datatype.
///
/// # Errors
/// What was found, and what was expected, where they are in another.
fn array_of(contents: InferTensorContents, datatype: Datatype) -> Result<ArrayRef, (String, String)> {
    let filled = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    let (list, array): (&str, ArrayRef) = match datatype {
        Datatype::Bool => ("bool_contents", Arc::new(BooleanArray::from(contents.bool_contents))),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => {
            ("int_contents", Arc::new(Int32Array::from(contents.int_contents)))
        }
        Datatype::Int64 => ("int64_contents", Arc::new(Int64Array::from(contents.int64_contents))),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => {
            ("uint_contents", Arc::new(UInt32Array::from(contents.uint_contents)))
        }
        Datatype::Uint64 => ("uint64_contents", Arc::new(UInt64Array::from(contents.uint64_contents))),
        Datatype::Fp32 => ("fp32_contents", Arc::new(Float32Array::from(contents.fp32_contents))),
        Datatype::Fp64 => ("fp64_contents", Arc::new(Float64Array::from(contents.fp64_contents))),
        Datatype::Bytes => ("bytes_contents", Arc::new(BinaryArray::from_iter_values(contents.bytes_contents.iter()))),
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(("no raw contents".into(), format!("{} in `raw_input_contents`", datatype.name())));
        }
    };
    match filled.into_iter().find(|(other, count)| *other != list && *count > 0) {
        Some((other, _)) => {
            Err((format!("elements in `{other}`"), format!("them in `{list}`, as {} are", datatype.name())))
        }
        None => Ok(array),
    }
}

/// The message of an answer: always with raw contents, which is what clients read.
pub(super) fn answer_of(answer: InferAnswer, version: &Version, id: String) -> ModelInferResponse {
    let rows = i64::try_from(answer.rows).unwrap_or(i64::MAX);
    let raw = answer.outputs.iter().map(|output| output.raw().into()).collect();
    let outputs = answer.outputs.into_iter().map(|output| {
        let (datatype, shape) = (Datatype::Fp64.name().to_string(), vec![rows]);
        InferOutputTensor { name: output.name, datatype, shape, ..InferOutputTensor::default() }
    });
    let artifact = InferParameter { parameter_choice: Some(ParameterChoice::StringParam(version.artifact().into())) };
    ModelInferResponse {
        model_name: version.model().to_string(),
        model_version: version.number().to_string(),
        id,
        parameters: [("artifact".to_string(), artifact)].into(),
        outputs: outputs.collect(),
        raw_output_contents: raw,
    }
}

/// The configuration's word for a datatype.
pub(super) fn type_of(datatype: Datatype) -> message::DataType {
    match datatype {
        Datatype::Bool => message::DataType::TypeBool,
        Datatype::Uint8 => message::DataType::TypeUint8,
        Datatype::Uint16 => message::DataType::TypeUint16,
        Datatype::Uint32 => message::DataType::TypeUint32,
        Datatype::Uint64 => message::DataType::TypeUint64,
        Datatype::Int8 => message::DataType::TypeInt8,
        Datatype::Int16 => message::DataType::TypeInt16,
        Datatype::Int32 => message::DataType::TypeInt32,
        Datatype::Int64 => message::DataType::TypeInt64,
        Datatype::Fp16 => message::DataType::TypeFp16,
        Datatype::Bf16 => message::DataType::TypeBf16,
        Datatype::Fp32 => message::DataType::TypeFp32,
        Datatype::Fp64 => message::DataType::TypeFp64,
        Datatype::Bytes => message::DataType::TypeString,
    }
}
