//! Scores over HTTP are those of `crosstie predict`.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::common::{Answer, Client, Golden, artifact, difference, serve};

const INFER: &str = "/v2/models/seed-1/infer";
/// The issue's: equal to `crosstie predict` within this.
const TOLERANCE: f64 = 1e-6;

/// A request with its inputs as binary: the JSON, and all bytes.
fn binary(golden: &Golden, outputs: Option<Value>) -> (usize, Vec<u8>) {
    let mut request = golden.request();
    let mut tensors = Vec::new();
    for input in request["inputs"].as_array_mut().unwrap() {
        let datatype = input["datatype"].as_str().unwrap().to_string();
        let data = input.as_object_mut().unwrap().remove("data").unwrap();
        let before = tensors.len();
        for element in data.as_array().unwrap() {
            match &datatype[..] {
                "FP64" => tensors.extend(element.as_f64().unwrap_or(f64::NAN).to_le_bytes()),
                "INT64" => tensors.extend(element.as_i64().unwrap().to_le_bytes()),
                _ => {
                    let text = element.as_str().unwrap_or("");
                    tensors.extend((text.len() as u32).to_le_bytes());
                    tensors.extend(text.as_bytes());
                }
            }
        }
        input["parameters"] = json!({ "binary_data_size": tensors.len() - before });
    }
    match outputs {
        Some(outputs) => request["outputs"] = outputs,
        None => request["parameters"] = json!({ "binary_data_output": true }),
    }
    let head = request.to_string();
    (head.len(), [head.into_bytes(), tensors].concat())
}

/// The outputs of a binary answer.
fn outputs(answer: &Answer) -> Vec<(String, Vec<f64>)> {
    let length: usize = answer.header("Inference-Header-Content-Length").unwrap().parse().unwrap();
    let (head, mut rest) = answer.body.split_at(length);
    let head: Value = serde_json::from_slice(head).unwrap();
    let mut found = Vec::new();
    for output in head["outputs"].as_array().unwrap() {
        let name = output["name"].as_str().unwrap().to_string();
        let values = match output["parameters"]["binary_data_size"].as_u64() {
            Some(size) => {
                let (mine, after) = rest.split_at(size as usize);
                rest = after;
                mine.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
            }
            None => output["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect(),
        };
        found.push((name, values));
    }
    assert!(rest.is_empty());
    found
}

fn assert_golden(golden: &Golden, found: &[(String, Vec<f64>)]) {
    let expected = golden.outputs();
    assert_eq!(
        expected.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        found.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    for ((name, expected), (_, found)) in expected.iter().zip(found) {
        assert!(difference(expected, found) <= TOLERANCE, "{name}: {expected:?} {found:?}");
    }
}

#[test]
fn golden_rows_in_json_score_as_the_library_scores_them() {
    let (server, golden) = (serve(1), Golden::of(&artifact(1)));
    let mut client = Client::new(server.http());
    let mut request = golden.request();
    request["id"] = json!("seven");
    for path in [INFER, "/v2/models/seed-1/versions/1/infer", "/v2/models/seed%2D1/infer"] {
        let answer = client.post(path, &request);
        for (name, expected) in golden.outputs() {
            assert!(difference(&answer.output(&name), &expected) <= TOLERANCE, "{name}");
        }
        let answer = answer.json();
        assert_eq!((&answer["model_name"], &answer["model_version"]), (&json!("seed-1"), &json!("1")));
        assert_eq!(answer["id"], "seven");
        assert_eq!(answer["parameters"]["artifact"].as_str().unwrap().len(), 64);
        assert_eq!(answer["outputs"][0]["shape"], json!([golden.rows.len()]));
    }
}

#[test]
fn golden_rows_as_binary_score_the_same_with_every_compression() {
    let (server, golden) = (serve(1), Golden::of(&artifact(1)));
    let mut client = Client::new(server.http());
    let (length, body) = binary(&golden, None);
    let length = length.to_string();
    for encoding in ["", "gzip", "deflate"] {
        let mut headers = vec![("Inference-Header-Content-Length", &length[..])];
        let sent = match encoding {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&body).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&body).unwrap();
                encoder.finish().unwrap()
            }
            _ => body.clone(),
        };
        if !encoding.is_empty() {
            headers.extend([("Content-Encoding", encoding), ("Accept-Encoding", encoding)]);
        }
        let mut answer = client.ask("POST", INFER, &headers, &sent).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.header("Content-Encoding").unwrap_or(""), encoding);
        let mut unpacked = Vec::new();
        match encoding {
            "gzip" => drop(GzDecoder::new(&answer.body[..]).read_to_end(&mut unpacked).unwrap()),
            "deflate" => drop(ZlibDecoder::new(&answer.body[..]).read_to_end(&mut unpacked).unwrap()),
            _ => unpacked = answer.body.clone(),
        }
        answer.body = unpacked;
        assert_golden(&golden, &outputs(&answer));
    }
}

#[test]
fn outputs_come_in_the_order_and_the_form_in_which_they_are_asked_for() {
    let (server, golden) = (serve(1), Golden::of(&artifact(1)));
    let mut client = Client::new(server.http());
    let wanted = json!([
        { "name": "buy.from_impression", "parameters": { "binary_data": true } },
        { "name": "click.given_parent", "parameters": { "binary_data": false } },
    ]);
    let (length, body) = binary(&golden, Some(wanted));
    let headers = [("Inference-Header-Content-Length", &length.to_string()[..])];
    let found = outputs(&client.ask("POST", INFER, &headers, &body).unwrap());
    assert_eq!(
        found.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(),
        ["buy.from_impression", "click.given_parent"]
    );
    for (name, values) in found {
        let expected = golden.outputs().into_iter().find(|(known, _)| *known == name).unwrap().1;
        assert!(difference(&values, &expected) <= TOLERANCE);
    }
}

#[test]
fn values_with_offsets_are_those_of_one_text() {
    let (server, golden) = (serve(1), Golden::of(&artifact(1)));
    let mut client = Client::new(server.http());
    let mut request = golden.request();
    let inputs = request["inputs"].as_array_mut().unwrap();
    let tags = inputs.iter_mut().find(|input| input["name"] == "tags").unwrap();
    let (mut values, mut offsets) = (Vec::new(), vec![0]);
    for text in tags["data"].as_array().unwrap() {
        values.extend(text.as_str().unwrap().split(',').filter(|tag| !tag.is_empty()).map(str::to_string));
        offsets.push(values.len());
    }
    assert!(values.len() > golden.rows.len(), "some row has several");
    *tags = json!({ "name": "tags", "datatype": "BYTES", "shape": [values.len()], "data": values });
    inputs.push(json!({ "name": "tags.offsets", "datatype": "INT32", "shape": [offsets.len()], "data": offsets }));
    let answer = client.post(INFER, &request);
    for (name, expected) in golden.outputs() {
        assert!(difference(&answer.output(&name), &expected) <= TOLERANCE, "{name}");
    }
}

#[test]
fn nothing_can_be_said_in_three_ways() {
    let (server, golden) = (serve(1), Golden::of(&artifact(1)));
    let mut client = Client::new(server.http());
    let mut with = |change: &dyn Fn(&mut Value), more: Option<Value>| {
        let mut request = golden.request();
        let inputs = request["inputs"].as_array_mut().unwrap();
        change(&mut inputs.iter_mut().find(|input| input["name"] == "price").unwrap()["data"][0]);
        change(&mut inputs.iter_mut().find(|input| input["name"] == "city").unwrap()["data"][0]);
        inputs.extend(more.into_iter().flat_map(|more| more.as_array().unwrap().clone()));
        client.post(INFER, &request).output("click.from_impression")
    };
    let null = with(&|element| *element = Value::Null, None);
    let flags: Vec<bool> = (0..golden.rows.len()).map(|row| row == 0).collect();
    let flag = |name: &str| json!({ "name": name, "datatype": "BOOL", "shape": [flags.len()], "data": flags });
    let flagged = with(&|_| (), Some(json!([flag("price.missing"), flag("city.missing")])));
    assert_eq!(null, flagged);
    let there = with(&|_| (), None);
    assert_ne!(null[0], there[0]);
    assert_eq!(null[1..], there[1..], "a row depends on itself alone");
}
