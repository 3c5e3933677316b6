//! Inference: from a body to tensors, from outputs to an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::values::Values;
use super::{HEADER_LENGTH, body};
use crate::engine::Turn;
use crate::failure::{Failure, Fault};
use crate::object::{self, Object, Objects};
use crate::observe::Protocol;
use crate::repository::Version;
use crate::stages::Stage;
use crate::state::{self, Target};
use crate::tensor::{self, Data, Datatype, InferAnswer, InferRequest, Tensor, Wanted};

/// The model of a path.
#[derive(Clone, Debug, Deserialize)]
pub struct Named {
    /// Its name.
    pub model: String,
    /// Its version, if the path names one.
    pub version: Option<String>,
}

/// `POST /v2/models/{model}[/versions/{version}]/infer`.
pub async fn infer(
    State(state): State<Arc<state::State>>,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let Named { model, version } = named;
    let length = header_length(&headers).inspect_err(|failure| state.refused(Protocol::Http, &model, failure))?;
    let (_permit, body) = body::take_in(&state, (Protocol::Http, &model), &headers, body).await?;
    let candidates = state.settings.limits.candidates;
    let target = Target { protocol: Protocol::Http, model, version, timeout: None };
    // A body is taken apart in its turn, too: what is refused costs nothing but reading it.
    let work = move |turn: &mut Turn| {
        let (id, request) = turn.stage(Stage::Decode, |_| decode(&body, length))?;
        let answer = tensor::infer(turn, request, candidates)?;
        turn.stage(Stage::Encode, |turn| encode(turn.version(), id, &answer))
    };
    let (_, done) = state.answer(&target, work).await?;
    Ok((Extension(done.stages), done.value).into_response())
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Failure> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|value| value.parse().ok());
    let found = || format!("header Inference-Header-Content-Length: {value:?}");
    length.map(Some).ok_or_else(|| Failure::request(found(), "a number of bytes"))
}

/// A request as JSON has it. Keys that others' servers know and that change nothing here are
/// passed over.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Object<RequestParameters>,
    inputs: Objects<WrittenInput>,
    #[serde(default)]
    outputs: Objects<WrittenOutput>,
}

#[derive(Default, Deserialize)]
struct RequestParameters {
    /// In microseconds.
    timeout: Option<Value>,
    #[serde(default)]
    binary_data_output: bool,
}

#[derive(Deserialize)]
struct WrittenInput {
    name: String,
    shape: Vec<u64>,
    datatype: String,
    #[serde(default)]
    parameters: Object<InputParameters>,
    data: Option<Values>,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<u64>,
    shared_memory_region: Option<String>,
}

#[derive(Deserialize)]
struct WrittenOutput {
    name: String,
    #[serde(default)]
    parameters: Object<OutputParameters>,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    binary_data: Option<bool>,
    #[serde(default)]
    classification: u64,
    shared_memory_region: Option<String>,
}

/// The request in a body, and its id.
fn decode(body: &Bytes, length: Option<usize>) -> Result<(Option<String>, InferRequest), Failure> {
    let length = length.unwrap_or(body.len());
    let Some((head, _)) = body.split_at_checked(length) else {
        let found = format!("a body of {} bytes", body.len());
        return Err(Failure::request(found, format!("{length} at least, as Inference-Header-Content-Length says")));
    };
    let written: Written = object::read(head)?;
    let mut rest = body.slice(length..);
    let inputs = written.inputs.0.into_iter().map(|input| tensor_of(input, &mut rest));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    if !rest.is_empty() {
        let found = format!("{} bytes behind the last binary input", rest.len());
        return Err(Failure::request(found, "none: the inputs' binary_data_size in all"));
    }
    let Object(RequestParameters { timeout: within, binary_data_output: binary }) = written.parameters;
    let outputs = written.outputs.0.into_iter().map(|output| wanted(output, binary));
    let (outputs, timeout) = (outputs.collect::<Result<_, _>>()?, within.map(timeout).transpose()?.flatten());
    Ok((written.id, InferRequest { inputs, outputs, binary, timeout }))
}

/// Within what time an answer is wanted; 0 says nothing.
fn timeout(written: Value) -> Result<Option<Duration>, Failure> {
    let microseconds = match &written {
        Value::String(text) => text.parse().ok(),
        written => written.as_u64(),
    };
    match microseconds {
        Some(0) => Ok(None),
        Some(microseconds) => Ok(Some(Duration::from_micros(microseconds))),
        None => Err(Failure::field("timeout", written.to_string(), "a whole number of microseconds")),
    }
}

fn wanted(output: WrittenOutput, binary: bool) -> Result<Wanted, Failure> {
    let Object(OutputParameters { binary_data, classification, shared_memory_region }) = output.parameters;
    if classification > 0 {
        return Err(Failure::field(output.name, "parameter classification", "none: outputs are probabilities"));
    }
    if shared_memory_region.is_some() {
        return Err(Failure::field(output.name, "parameter shared_memory_region", "none: there is no shared memory"));
    }
    Ok(Wanted { name: output.name, binary: binary_data.unwrap_or(binary) })
}

fn tensor_of(input: WrittenInput, rest: &mut Bytes) -> Result<Tensor, Failure> {
    let WrittenInput { name, shape, datatype, parameters: Object(parameters), data } = input;
    if parameters.shared_memory_region.is_some() {
        return Err(Failure::field(name, "parameter shared_memory_region", "none: there is no shared memory"));
    }
    let datatype = Datatype::named(&datatype)
        .map_err(|expected| Failure::field(&name, format!("datatype {datatype:?}"), expected))?;
    let data = match (data, parameters.binary_data_size) {
        (Some(values), None) => Data::Array(values.into_array().map_err(|stranger| {
            let (found, expected) = (stranger.found.into(), stranger.expected.into());
            Failure::BadRequest(Fault { field: Some(name.clone()), row: Some(stranger.row), found, expected })
        })?),
        (None, Some(size)) => match usize::try_from(size).ok().filter(|size| *size <= rest.len()) {
            Some(size) => Data::Raw(rest.split_to(size)),
            None => {
                let found = format!("binary_data_size {size}");
                return Err(Failure::field(name, found, format!("at most the {} bytes that are left", rest.len())));
            }
        },
        (Some(_), Some(_)) => return Err(Failure::field(name, "both data and binary_data_size", "one of them")),
        (None, None) => return Err(Failure::field(name, "neither data nor binary_data_size", "one of them")),
    };
    Ok(Tensor { name, shape, datatype, data })
}

#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    parameters: Value,
    outputs: Vec<AnswerOutput<'a>>,
}

#[derive(Serialize)]
struct AnswerOutput<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: [usize; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    /// What is no number is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a [f64]>,
}

fn encode(version: &Version, id: Option<String>, answer: &InferAnswer) -> Result<Response, Failure> {
    let outputs = answer.outputs.iter().map(|output| AnswerOutput {
        name: &output.name,
        datatype: Datatype::Fp64.name(),
        shape: [output.values.len()],
        parameters: output.binary.then(|| serde_json::json!({ "binary_data_size": 8 * output.values.len() })),
        data: (!output.binary).then_some(&output.values[..]),
    });
    let written = Answer {
        model_name: version.model(),
        model_version: version.number().to_string(),
        id: id.filter(|id| !id.is_empty()),
        parameters: serde_json::json!({ "artifact": version.artifact() }),
        outputs: outputs.collect(),
    };
    let mut bytes = serde_json::to_vec(&written).map_err(|error| Failure::Internal(error.to_string()))?;
    if answer.outputs.iter().all(|output| !output.binary) {
        return Ok(([(CONTENT_TYPE, "application/json")], bytes).into_response());
    }
    let length = HeaderValue::from(bytes.len());
    answer.outputs.iter().filter(|output| output.binary).for_each(|output| bytes.extend(output.raw()));
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(CONTENT_TYPE, kind), (HEADER_LENGTH, length)], bytes).into_response())
}
