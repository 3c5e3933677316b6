//! The server over gRPC, by a client that was generated from the protocol file, and
//! its keys over both protocols.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use common::{Client, Golden, Models, artifact, difference, figures, serve, settings, told};
use crosstie::data::Column;
use crosstie::feature::Purpose;
use crosstie_serve::grpc::generated::grpc_inference_service_client::GrpcInferenceServiceClient;
use crosstie_serve::grpc::generated::infer_parameter::ParameterChoice;
use crosstie_serve::grpc::generated::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crosstie_serve::grpc::generated::*;
use crosstie_serve::server::Server;
use crosstie_serve::settings::Settings;
use tokio::runtime::Runtime;
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;
use tonic::codegen::tokio_stream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

type Inference = GrpcInferenceServiceClient<Channel>;

fn client(runtime: &Runtime, address: SocketAddr) -> Inference {
    runtime.block_on(Inference::connect(format!("http://{address}"))).unwrap()
}

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(format!("http://{}", server.grpc())).unwrap().connect().await.unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A column as an input whose elements are typed, and as raw bytes.
fn input(column: &Column<'_>, rows: usize) -> (InferInputTensor, Bytes) {
    let mut contents = InferTensorContents::default();
    let mut raw = Vec::new();
    let datatype = if ["number", "integer"].contains(&column.kind()) {
        contents.fp64_contents =
            column.numbers().unwrap().into_iter().map(|number| number.unwrap_or(f64::NAN)).collect();
        raw.extend(contents.fp64_contents.iter().flat_map(|number| number.to_le_bytes()));
        "FP64"
    } else {
        column
            .each_text(|_, text| {
                let text = text.unwrap_or_default();
                contents.bytes_contents.push(Bytes::copy_from_slice(text.as_bytes()));
                raw.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
                raw.extend(text.as_bytes());
            })
            .unwrap();
        "BYTES"
    };
    let tensor = InferInputTensor {
        name: column.name().into(),
        datatype: datatype.into(),
        shape: vec![rows as i64, 1],
        contents: Some(contents),
        ..Default::default()
    };
    (tensor, raw.into())
}

/// A request for the scores of golden rows, with typed elements or with raw ones.
fn request(golden: &Golden, model: &str, raw: bool) -> ModelInferRequest {
    let names = golden.scorer.features().columns(Purpose::Scoring).into_iter();
    let inputs = names.map(|name| input(&golden.rows.column(name).unwrap(), golden.rows.len()));
    let (mut inputs, contents): (Vec<_>, Vec<_>) = inputs.unzip();
    if raw {
        inputs.iter_mut().for_each(|input| input.contents = None);
    }
    ModelInferRequest {
        model_name: model.into(),
        id: "seven".into(),
        inputs,
        raw_input_contents: if raw { contents } else { Vec::new() },
        ..Default::default()
    }
}

fn numbers(raw: &[u8]) -> Vec<f64> {
    raw.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn assert_golden(answer: &ModelInferResponse, golden: &Golden) {
    let expected = golden.outputs();
    assert_eq!((answer.outputs.len(), answer.raw_output_contents.len()), (expected.len(), expected.len()));
    for ((output, raw), (name, scores)) in answer.outputs.iter().zip(&answer.raw_output_contents).zip(&expected) {
        assert_eq!((&output.name, &output.datatype[..], &output.shape[..]), (name, "FP64", &[scores.len() as i64][..]));
        assert!(difference(&numbers(raw), scores) < 1e-6, "{name}");
        assert!(output.contents.is_none(), "clients read raw contents alone");
    }
}

fn parameter(value: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(value) }
}

#[test]
fn golden_rows_have_the_librarys_scores_whatever_they_are_sent_as() {
    let (server, golden, runtime) = (serve(1), Golden::of(&artifact(1)), runtime());
    use CompressionEncoding::{Deflate, Gzip, Zstd};
    for encoding in [None, Some(Gzip), Some(Deflate), Some(Zstd)] {
        let mut client = client(&runtime, server.grpc());
        for other in [Gzip, Deflate, Zstd] {
            client = client.accept_compressed(other);
        }
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding);
        }
        for raw in [false, true] {
            let answer = runtime.block_on(client.model_infer(request(&golden, "seed-1", raw))).unwrap();
            let packed = answer.metadata().get("grpc-encoding").map(|name| name.to_str().unwrap().to_string());
            assert_eq!(packed, encoding.map(|encoding| encoding.to_string()), "compressed as the question was");
            let answer = answer.into_inner();
            assert_golden(&answer, &golden);
            assert_eq!((&answer.id[..], &answer.model_name[..], &answer.model_version[..]), ("seven", "seed-1", "1"));
        }
    }
}

#[test]
fn outputs_come_as_asked_for_and_in_that_order() {
    let (server, golden, runtime) = (serve(1), Golden::of(&artifact(1)), runtime());
    let (last, first) = (golden.outputs().pop().unwrap(), golden.outputs().swap_remove(0));
    let wanted = |name: &str| InferRequestedOutputTensor { name: name.into(), ..Default::default() };
    let mut asked = request(&golden, "seed-1", true);
    asked.outputs = vec![wanted(&last.0), wanted(&first.0)];
    let answer = runtime.block_on(client(&runtime, server.grpc()).model_infer(asked)).unwrap().into_inner();
    for (raw, (name, scores)) in answer.raw_output_contents.iter().zip([last, first]) {
        assert!(difference(&numbers(raw), &scores) < 1e-6, "{name}");
    }
}

type Spoil = fn(&mut ModelInferRequest);

#[test]
fn a_bad_request_gets_its_code_and_a_word_about_what_is_wrong() {
    let golden = Golden::of(&artifact(1));
    let settings = Settings { artifacts: vec![artifact(1)], ..settings() };
    let rows = golden.rows.len();
    let few = {
        let mut few = settings.clone();
        few.limits.candidates = rows - 1;
        Server::start(few).unwrap()
    };
    let (server, runtime) = (Server::start(settings).unwrap(), runtime());
    let mut client = client(&runtime, server.grpc());
    let cases: &[(Spoil, Code, &str)] = &[
        (|r| r.model_name = "seed-2".into(), Code::NotFound, "did you mean `seed-1`?"),
        (|r| r.model_version = "9".into(), Code::NotFound, "served are: 1"),
        (|r| r.model_version = "one".into(), Code::NotFound, "no version `one`"),
        (|r| r.inputs[0].datatype = "INT65".into(), Code::InvalidArgument, "did you mean `INT64`?"),
        (|r| r.inputs[0].shape = vec![-1], Code::InvalidArgument, "found -1 in its shape"),
        (|r| r.inputs[0].shape = vec![2, 2], Code::InvalidArgument, "expected [N] or [N, 1]"),
        (|r| r.inputs[0].shape = vec![i64::MAX], Code::InvalidArgument, "candidates"),
        (|r| r.inputs.truncate(1), Code::InvalidArgument, "one for each of the 1 inputs"),
        (|r| drop(r.raw_input_contents.pop()), Code::InvalidArgument, "elements of `raw_input_contents`"),
        (|r| r.raw_input_contents[0] = Bytes::from_static(b"1234"), Code::InvalidArgument, "found 4 bytes"),
        (
            |r| {
                // A text that is longer than the message.
                r.inputs[0].datatype = "BYTES".into();
                r.inputs[0].shape = vec![1];
                r.raw_input_contents[0] = Bytes::from_static(b"\xff\xff\xff\xff");
            },
            Code::InvalidArgument,
            "within text 1",
        ),
        (|r| r.inputs[0].contents = Some(InferTensorContents::default()), Code::InvalidArgument, "one of the two"),
        (
            |r| {
                r.raw_input_contents.clear();
                let wrong = InferTensorContents { int_contents: vec![1], ..Default::default() };
                r.inputs[0].contents = Some(wrong);
            },
            Code::InvalidArgument,
            "found elements in `int_contents`, expected them in `fp64_contents`",
        ),
        (|r| r.inputs[0].name = "stranger".into(), Code::InvalidArgument, "`stranger`"),
        (
            |r| r.outputs = vec![InferRequestedOutputTensor { name: "clik".into(), ..Default::default() }],
            Code::InvalidArgument,
            "field `clik`",
        ),
        (
            |r| drop(r.parameters.insert("timeout".into(), parameter(ParameterChoice::Int64Param(-5)))),
            Code::InvalidArgument,
            "a whole number of microseconds",
        ),
        (
            |r| drop(r.parameters.insert("timeout".into(), parameter(ParameterChoice::Int64Param(1)))),
            Code::DeadlineExceeded,
            "time was over",
        ),
        (
            |r| {
                let region = parameter(ParameterChoice::StringParam("region".into()));
                drop(r.inputs[0].parameters.insert("shared_memory_region".into(), region));
            },
            Code::Unimplemented,
            "there is no shared memory",
        ),
    ];
    for (spoil, code, expected) in cases {
        let mut asked = request(&golden, "seed-1", true);
        spoil(&mut asked);
        let status = runtime.block_on(client.model_infer(asked)).unwrap_err();
        assert_eq!(status.code(), *code, "{status:?}");
        assert!(status.message().contains(expected), "expected `{expected}`: {status:?}");
    }
    let mut few = self::client(&runtime, few.grpc());
    let status = runtime.block_on(few.model_infer(request(&golden, "seed-1", true))).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("limits.candidates"), "{status:?}");
}

/// A call whose path, message and head are what they are.
fn call(runtime: &Runtime, server: &Server, call: &str, message: &[u8], head: &[(&str, &str)]) -> Status {
    runtime.block_on(async {
        let mut channel = channel(server).await;
        let mut body = vec![u8::from(head.iter().any(|(name, _)| *name == "grpc-encoding"))];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        let mut request = axum::http::Request::builder()
            .method("POST")
            .uri(format!("http://{}/inference.GRPCInferenceService/{call}", server.grpc()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in head {
            request = request.header(*name, *value);
        }
        let request = request.body(tonic::body::Body::new(axum::body::Body::from(body))).unwrap();
        let response = tower::ServiceExt::ready(&mut channel).await.unwrap();
        let response = tower::Service::call(response, request).await.unwrap();
        Status::from_header_map(response.headers()).expect("no message, but a status")
    })
}

#[test]
fn what_is_no_message_is_the_clients_fault_and_what_is_not_served_says_so() {
    let (server, runtime) = (serve(1), runtime());
    let garbage = call(&runtime, &server, "ModelInfer", b"\xff\xff\xff", &[]);
    assert_eq!((garbage.code(), garbage.message().starts_with("not a message")), (Code::InvalidArgument, true));
    let unpacked = call(&runtime, &server, "ModelInfer", b"not gzip", &[("grpc-encoding", "gzip")]);
    assert_eq!(unpacked.code(), Code::InvalidArgument, "{unpacked:?}");
    for unserved in ["TraceSetting", "LogSettings", "SystemSharedMemoryStatus", "Anything"] {
        let status = call(&runtime, &server, unserved, b"", &[]);
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().contains(unserved), "{status:?}");
    }
}

#[test]
fn calls_whose_message_was_not_read_were_in_no_figure() {
    let mut limited = Settings { artifacts: vec![artifact(1)], ..settings() };
    limited.limits.concurrency = 1;
    limited.limits.body_bytes = 1_000;
    let (server, runtime, golden) = (Server::start(limited).unwrap(), runtime(), Golden::of(&artifact(1)));
    let mut client = client(&runtime, server.grpc());
    let permit = server.state().enter().unwrap();
    let busy = runtime.block_on(client.model_infer(ModelInferRequest::default())).unwrap_err();
    assert_eq!(busy.code(), Code::ResourceExhausted);
    let named = ModelInferRequest { model_name: "seed-1".into(), ..Default::default() };
    let streamed = runtime.block_on(async {
        let mut answers = client.model_stream_infer(tokio_stream::iter([named])).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap()
    });
    assert!(streamed.error_message.contains("busy"), "{streamed:?}");
    drop(permit);
    assert!(runtime.block_on(client.model_infer(request(&golden, "seed-1", true))).is_err());
    call(&runtime, &server, "ModelInfer", b"\xff\xff\xff", &[]);
    call(&runtime, &server, "ModelInfer", b"not gzip", &[("grpc-encoding", "gzip")]);
    // Read, and told once.
    let unknown = ModelInferRequest { model_name: "nobody".into(), ..Default::default() };
    assert!(runtime.block_on(client.model_infer(unknown)).is_err());
    let told = told(&server);
    let failures = figures(&told, "crosstie_inference_request_failure_total");
    let expected = [("", "bad_request", 2.0), ("", "not_found", 1.0), ("", "rejected", 1.0), ("", "too_large", 1.0)];
    let expected = expected.into_iter().chain([("seed-1", "rejected", 1.0)]);
    let expected = expected.map(|(model, reason, count)| (format!("model=\"{model}\",reason=\"{reason}\""), count));
    assert_eq!(failures, expected.collect());
}

#[test]
fn who_finds_the_server_full_is_told_at_once_and_when_to_come_back() {
    let mut settings = Settings { artifacts: vec![artifact(1)], ..settings() };
    settings.limits.concurrency = 1;
    let (server, golden, runtime) = (Server::start(settings).unwrap(), Golden::of(&artifact(1)), runtime());
    let mut client = client(&runtime, server.grpc());
    let other = server.state().enter().unwrap();
    let status = runtime.block_on(client.model_infer(request(&golden, "seed-1", true))).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
    drop(other);
    assert_golden(
        &runtime.block_on(client.model_infer(request(&golden, "seed-1", true))).unwrap().into_inner(),
        &golden,
    );
}

#[test]
fn a_stream_answers_in_order_and_goes_on_after_an_error() {
    let (server, golden, runtime) = (serve(1), Golden::of(&artifact(1)), runtime());
    let asked: Vec<ModelInferRequest> = ["a", "b", "c"]
        .into_iter()
        .map(|id| {
            let model = if id == "b" { "nobody" } else { "seed-1" };
            ModelInferRequest { id: id.into(), ..request(&golden, model, true) }
        })
        .collect();
    let answers: Vec<ModelStreamInferResponse> = runtime.block_on(async {
        let mut client = Inference::connect(format!("http://{}", server.grpc())).await.unwrap();
        let answers = client.model_stream_infer(tokio_stream::iter(asked)).await.unwrap().into_inner();
        answers.map(Result::unwrap).collect().await
    });
    let ids: Vec<&str> = answers.iter().map(|answer| &answer.infer_response.as_ref().unwrap().id[..]).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert!(answers[1].error_message.contains("no model `nobody`"), "{}", answers[1].error_message);
    for answer in [&answers[0], &answers[2]] {
        assert_golden(answer.infer_response.as_ref().unwrap(), &golden);
        assert_eq!(answer.error_message, "");
    }
}

#[test]
fn what_is_asked_about_models_is_answered_as_over_http() {
    let models = Models::new();
    models.put(1, "m", 1);
    models.put(2, "m", 2);
    let (server, runtime) = (models.serve(), runtime());
    let (mut client, mut http) = (client(&runtime, server.grpc()), Client::new(server.http()));
    let (name, version) = ("m".to_string(), String::new());

    let metadata = ModelMetadataRequest { name: name.clone(), version: version.clone() };
    let metadata = runtime.block_on(client.model_metadata(metadata)).unwrap().into_inner();
    let expected = http.get("/v2/models/m").json();
    let tensors = |tensors: &[model_metadata_response::TensorMetadata]| -> serde_json::Value {
        let tensor = |tensor: &model_metadata_response::TensorMetadata| serde_json::json!({ "name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape });
        tensors.iter().map(tensor).collect()
    };
    assert_eq!(tensors(&metadata.inputs), expected["inputs"]);
    assert_eq!(tensors(&metadata.outputs), expected["outputs"]);
    assert_eq!(serde_json::json!(metadata.versions), expected["versions"]);

    let config = ModelConfigRequest { name: name.clone(), version: version.clone() };
    let config = runtime.block_on(client.model_config(config)).unwrap().into_inner().config.unwrap();
    let expected = http.get("/v2/models/m/config").json();
    assert_eq!(serde_json::json!(config.max_batch_size), expected["max_batch_size"]);
    for (input, expected) in config.input.iter().zip(expected["input"].as_array().unwrap()) {
        assert_eq!(input.name, expected["name"].as_str().unwrap());
        assert_eq!(input.data_type().as_str_name(), expected["data_type"].as_str().unwrap());
        assert_eq!(serde_json::json!(input.dims), expected["dims"]);
    }

    let golden = Golden::of(&artifact(2));
    runtime.block_on(client.model_infer(request(&golden, "m", true))).unwrap();
    let statistics = ModelStatisticsRequest { name: name.clone(), version: version.clone() };
    let statistics = runtime.block_on(client.model_statistics(statistics)).unwrap().into_inner().model_stats;
    let rows: Vec<(&str, u64)> = statistics.iter().map(|of| (&of.version[..], of.inference_count)).collect();
    assert!(rows.contains(&("2", golden.rows.len() as u64)), "{rows:?}");

    let unload = RepositoryModelUnloadRequest { model_name: name.clone(), ..Default::default() };
    runtime.block_on(client.repository_model_unload(unload)).unwrap();
    let ready = ModelReadyRequest { name: name.clone(), version };
    assert!(!runtime.block_on(client.model_ready(ready.clone())).unwrap().into_inner().ready);
    let only_ready = RepositoryIndexRequest { ready: true, ..Default::default() };
    assert!(runtime.block_on(client.repository_index(only_ready)).unwrap().into_inner().models.is_empty());
    let load = RepositoryModelLoadRequest { model_name: name, ..Default::default() };
    runtime.block_on(client.repository_model_load(load.clone())).unwrap();
    assert!(runtime.block_on(client.model_ready(ready)).unwrap().into_inner().ready);
    let content = ModelRepositoryParameter {
        parameter_choice: Some(model_repository_parameter::ParameterChoice::StringParam("{}".into())),
    };
    let load = RepositoryModelLoadRequest { parameters: [("config".into(), content)].into(), ..load };
    let refused = runtime.block_on(client.repository_model_load(load)).unwrap_err();
    assert!(refused.code() == Code::InvalidArgument && refused.message().contains("`config`"), "{refused:?}");
}

#[test]
fn health_and_reflection_tell_what_there_is() {
    let (server, runtime) = (serve(1), runtime());
    runtime.block_on(async {
        let mut health = HealthClient::new(channel(&server).await);
        let mut check = async |service: &str| {
            let answer = health.check(HealthCheckRequest { service: service.into() }).await;
            answer.map(|answer| answer.into_inner().status().as_str_name())
        };
        assert_eq!(check("").await.unwrap(), "SERVING");
        assert_eq!(check("inference.GRPCInferenceService").await.unwrap(), "SERVING");
        assert_eq!(check("seed-1").await.unwrap(), "SERVING");
        assert_eq!(check("seed-9").await.unwrap_err().code(), Code::NotFound);

        let asked = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut reflection = ServerReflectionClient::new(channel(&server).await);
        let mut told = reflection.server_reflection_info(tokio_stream::iter([asked])).await.unwrap().into_inner();
        let Some(MessageResponse::ListServicesResponse(list)) = told.message().await.unwrap().unwrap().message_response
        else {
            panic!("no list of services");
        };
        let names: Vec<&str> = list.service.iter().map(|service| &service.name[..]).collect();
        assert!(names.contains(&"inference.GRPCInferenceService") && names.contains(&"grpc.health.v1.Health"));
    });
}

#[test]
fn who_watches_health_is_told_of_the_end_and_does_not_hold_it_up() {
    let (server, runtime) = (serve(1), runtime());
    runtime.block_on(async {
        let mut health = HealthClient::new(channel(&server).await);
        let mut told = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(told.message().await.unwrap().unwrap().status().as_str_name(), "SERVING");
        let end = std::thread::spawn(|| server.stop());
        assert_eq!(told.message().await.unwrap().unwrap().status().as_str_name(), "NOT_SERVING");
        assert!(told.message().await.unwrap().is_none());
        tokio::task::spawn_blocking(|| end.join().unwrap()).await.unwrap();
    });
}

#[test]
fn keys_hold_for_both_protocols() {
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("keys");
    std::fs::write(&file, "ranking read 0123456789abcdef\nrollout admin fedcba9876543210\n").unwrap();
    let models = Models::new();
    models.put(1, "m", 1);
    let mut settings = models.settings();
    settings.keys.file = Some(file);
    let (server, golden, runtime) = (Server::start(settings).unwrap(), Golden::of(&artifact(1)), runtime());

    let mut grpc = client(&runtime, server.grpc());
    let mut infer = |key: &str| {
        let mut asked = Request::new(request(&golden, "m", true));
        asked.set_timeout(Duration::from_secs(60));
        if !key.is_empty() {
            asked.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        runtime.block_on(grpc.model_infer(asked)).map(|answer| assert_golden(&answer.into_inner(), &golden))
    };
    infer("0123456789abcdef").unwrap();
    infer("fedcba9876543210").unwrap();
    assert_eq!(infer("").unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(infer("0123456789abcdee").unwrap_err().code(), Code::Unauthenticated);

    let mut http = Client::new(server.http());
    assert_eq!(http.get("/v2/health/ready").status, 200);
    assert_eq!(http.get("/v2/models/m").error(), "no key; expected `authorization: Bearer KEY` or `x-api-key: KEY`");
    let mut unload =
        |key: &str| http.ask("POST", "/v2/repository/models/m/unload", &[("x-api-key", key)], b"").unwrap();
    let refused = unload("0123456789abcdef");
    assert_eq!((refused.status, refused.error().contains("`ranking`")), (403, true));
    assert_eq!(unload("fedcba9876543210").status, 200);
}
