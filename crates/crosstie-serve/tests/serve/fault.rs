//! Wrong requests are told what is wrong with them, and never are an error of the server's.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::common::{Client, Golden, Models, artifact, figures, serve, settings, told};
use crosstie_serve::server::Server;
use crosstie_serve::settings::Settings;

const INFER: &str = "/v2/models/seed-1/infer";

/// The input of a request that has this name.
fn input<'a>(request: &'a mut Value, name: &str) -> &'a mut Value {
    let inputs = request["inputs"].as_array_mut().unwrap();
    inputs.iter_mut().find(|input| input["name"] == name).unwrap()
}

#[test]
fn a_bad_request_is_answered_by_its_code_with_field_and_row() {
    let golden = Golden::of(&artifact(1));
    let mut limited = Settings { artifacts: vec![artifact(1)], ..settings() };
    limited.limits.candidates = 50;
    limited.limits.body_bytes = 100_000;
    let server = Server::start(limited).unwrap();
    let mut client = Client::new(server.http());
    let rows = golden.rows.len();
    type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let bad: Vec<(Change<'_>, u16, &[&str])> = vec![
        (Box::new(|r| input(r, "price")["data"][2] = json!("abc")), 400, &["field `price`, row 3", "a text"]),
        (
            Box::new(|r| {
                let price = input(r, "price");
                price["datatype"] = json!("BYTES");
                price["data"] = (0..rows).map(|row| if row == 4 { json!("dear") } else { json!("1") }).collect();
            }),
            400,
            &["field `price`, row 5", "dear", "a finite number"],
        ),
        (Box::new(|r| input(r, "price")["data"][1] = json!({})), 400, &["field `price`, row 2", "an object"]),
        (Box::new(|r| input(r, "price")["datatype"] = json!("FP63")), 400, &["field `price`", "FP63", "`FP64`"]),
        (Box::new(|r| input(r, "price")["datatype"] = json!("BYTES")), 400, &["field `price`", "numbers", "BYTES"]),
        (Box::new(|r| input(r, "city")["datatype"] = json!("INT32")), 400, &["field `city`", "texts", "INT32"]),
        (Box::new(|r| input(r, "price")["shape"] = json!([rows + 1])), 400, &["field `price`", "elements"]),
        (Box::new(|r| input(r, "price")["shape"] = json!([2, rows / 2])), 400, &["field `price`", "[N] or [N, 1]"]),
        (Box::new(|r| input(r, "price")["shape"] = json!([])), 400, &["field `price`", "[N] or [N, 1]"]),
        (
            Box::new(|r| input(r, "price")["shape"] = json!([-1])),
            400,
            &[".shape`: found -1, expected a whole number that is not"],
        ),
        (
            Box::new(|r| {
                let price = input(r, "price");
                price["shape"] = json!([1]);
                price["data"] = json!([1.0]);
            }),
            400,
            &["field `price`", "1 rows"],
        ),
        (Box::new(|r| input(r, "price")["name"] = json!("prise")), 400, &["field `prise`", "`price`"]),
        (Box::new(|r| drop(r["inputs"].as_array_mut().unwrap().remove(0))), 400, &["no input of this name"]),
        (
            Box::new(|r| {
                let again = input(r, "price").clone();
                r["inputs"].as_array_mut().unwrap().push(again);
            }),
            400,
            &["field `price`", "a second input"],
        ),
        (
            Box::new(|r| drop(input(r, "price").as_object_mut().unwrap().remove("data"))),
            400,
            &["field `price`", "neither"],
        ),
        (
            Box::new(|r| input(r, "price")["parameters"] = json!({"binary_data_size": 8})),
            400,
            &["field `price`", "both"],
        ),
        (
            Box::new(|r| {
                drop(input(r, "price").as_object_mut().unwrap().remove("data"));
                input(r, "price")["parameters"] = json!({"binary_data_size": 8 * rows});
            }),
            400,
            &["field `price`", "binary_data_size", "0 bytes"],
        ),
        (Box::new(|r| *r = json!([r["inputs"]])), 400, &["an array, expected an object"]),
        (Box::new(|r| *input(r, "price") = json!(["price", [1], "FP64", {}, [1]])), 400, &["expected an object"]),
        (Box::new(|r| input(r, "price")["parameters"] = json!([8])), 400, &["expected an object"]),
        (Box::new(|r| r["inputs"] = json!([])), 400, &["no input of this name"]),
        (Box::new(|r| drop(r.as_object_mut().unwrap().remove("inputs"))), 400, &["field `inputs`: found nothing"]),
        (Box::new(|r| r["outputs"] = json!([{"name": "buy.from_impresion"}])), 400, &["`buy.from_impression`"]),
        (
            Box::new(|r| r["outputs"] = json!([{"name": "buy.given_parent", "parameters": {"classification": 3}}])),
            400,
            &["field `buy.given_parent`", "classification"],
        ),
        (Box::new(|r| r["parameters"] = json!({"timeout": -1})), 400, &["field `timeout`", "-1", "microseconds"]),
        (
            Box::new(|r| {
                let missing = json!({"name": "price.missing", "shape": [1], "datatype": "BOOL", "data": [true]});
                r["inputs"].as_array_mut().unwrap().push(missing);
            }),
            400,
            &["field `price.missing`", "BOOL"],
        ),
        (
            Box::new(|r| {
                let offsets = json!({"name": "tags.offsets", "shape": [3], "datatype": "INT64", "data": [0, 2, 1]});
                r["inputs"].as_array_mut().unwrap().push(offsets);
            }),
            400,
            &["field `tags.offsets`", "offsets from 0"],
        ),
        (
            Box::new(|r| {
                let offsets = json!({"name": "city.offsets", "shape": [1], "datatype": "INT64", "data": [0]});
                r["inputs"].as_array_mut().unwrap().push(offsets);
            }),
            400,
            &["field `city.offsets`", "one value per row"],
        ),
        (
            Box::new(|r| {
                input(r, "price")["shape"] = json!([51]);
                input(r, "price")["data"] = vec![1.0; 51].into();
            }),
            413,
            &["candidates", "50", "limits.candidates"],
        ),
        (Box::new(|r| input(r, "city")["data"][0] = "x".repeat(100_000).into()), 413, &["limits.body_bytes"]),
    ];
    for (number, (change, status, said)) in bad.iter().enumerate() {
        let mut request = golden.request();
        change(&mut request);
        let answer = client.post(INFER, &request);
        let error = answer.error();
        assert_eq!(answer.status, *status, "{number}: {error}");
        said.iter().for_each(|part| assert!(error.contains(part), "{number}: {part:?} is not in {error:?}"));
    }
    assert_eq!(client.post(INFER, &golden.request()).status, 200, "what is right is still answered");
}

#[test]
fn an_input_that_is_there_twice_is_not_told_to_be_another() {
    let (server, golden) = (serve(1), Golden::of(&artifact(1)));
    let mut request = golden.request();
    let again = input(&mut request, "price").clone();
    request["inputs"].as_array_mut().unwrap().push(again);
    let error = Client::new(server.http()).post(INFER, &request).error();
    assert_eq!(error, "field `price`: found a second input of this name, expected the model's inputs, once each");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let golden = Golden::of(&artifact(1));
    let server = Server::start(Settings { artifacts: vec![artifact(1)], ..settings() }).unwrap();
    let mut client = Client::new(server.http());
    for (method, path, status, said) in [
        ("POST", "/v2/models/seed-2/infer", 404, "did you mean `seed-1`?"),
        ("POST", "/v2/models/seed-1/versions/7/infer", 404, "no version `7`; served are: 1"),
        ("POST", "/v2/models/seed-1/versions/x/infer", 404, "no version `x`"),
        ("GET", "/v2/models/seed-2", 404, "`seed-1`"),
        ("GET", "/v2/models/seed-2/ready", 404, "`seed-1`"),
        ("GET", "/v2/models/seed-2/stats", 404, "`seed-1`"),
        ("GET", "/v3", 404, "/v3"),
        ("GET", INFER, 405, "GET"),
        ("POST", "/v2/health/live", 405, "POST"),
        ("POST", "/v2/repository/models/seed-2/load", 404, "`seed-1`"),
        ("POST", "/v2/repository/models/seed-2/unload", 404, "`seed-2`"),
        ("GET", "/v2/trace/setting", 400, "no tracing"),
        ("POST", "/v2/logging", 400, "no tracing"),
        ("GET", "/v2/systemsharedmemory/status", 400, "shared memory"),
        ("POST", "/v2/cudasharedmemory/region/a/register", 400, "shared memory"),
        ("POST", "/v2/models/seed-1/trace/setting", 400, "no tracing"),
    ] {
        let body = if path.ends_with("infer") { golden.request().to_string() } else { String::new() };
        let answer = client.ask(method, path, &[], body.as_bytes()).unwrap();
        let error = answer.error();
        assert_eq!(answer.status, status, "{path}: {error}");
        assert!(error.contains(said), "{path}: {error}");
    }
}

#[test]
fn a_body_that_is_none_is_refused_before_it_fills_the_memory() {
    let mut limited = Settings { artifacts: vec![artifact(1)], ..settings() };
    limited.limits.body_bytes = 1 << 20;
    let server = Server::start(limited).unwrap();
    let mut client = Client::new(server.http());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 64 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 17, "what is sent is small");
    let length = "Inference-Header-Content-Length";
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);
    let cases: [Case<'_>; 7] = [
        (&[("Content-Encoding", "gzip")], &bomb, 413, "limits.body_bytes"),
        (&[("Content-Encoding", "gzip")], b"this is no gzip", 400, "cannot be read"),
        (&[("Content-Encoding", "br")], b"abc", 415, "gzip"),
        (&[], b"{\"inputs\": [", 400, "line 1"),
        (&[], b"\xff\xfe", 400, "line 1"),
        (&[(length, "1000")], b"{}", 400, "1000"),
        (&[(length, "two")], b"{}", 400, "two"),
    ];
    for (headers, body, status, said) in cases {
        let answer = client.ask("POST", INFER, headers, body).unwrap();
        let error = answer.error();
        assert_eq!(answer.status, status, "{error}");
        assert!(error.contains(said), "{error}");
        // What was not read to its end cannot be followed by another request.
        client = Client::new(server.http());
    }
}

#[test]
fn what_was_refused_before_it_was_read_was_in_no_figure() {
    let golden = Golden::of(&artifact(1)).request().to_string();
    let mut limited = Settings { artifacts: vec![artifact(1)], ..settings() };
    limited.limits.concurrency = 1;
    limited.limits.body_bytes = 1_000;
    limited.timeouts.body_seconds = 0.05;
    let server = Server::start(limited).unwrap();
    let ask = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        Client::new(server.http()).ask("POST", path, headers, body).unwrap().status
    };
    // A request that tells of ten bytes and sends one.
    let begin = |path: &str| {
        let mut stream = TcpStream::connect(server.http()).unwrap();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n{{").unwrap();
        stream
    };
    for path in [INFER, "/v1/rank"] {
        let permit = server.state().enter().unwrap();
        assert_eq!(ask(path, &[], b"{}"), 429);
        drop(permit);
        assert_eq!(ask(path, &[], golden.as_bytes()), 413);
        assert_eq!(ask(path, &[("Content-Encoding", "gzip")], b"this is no gzip"), 400);
        let mut answer = String::new();
        BufReader::new(begin(path)).read_line(&mut answer).unwrap();
        assert!(answer.contains(" 408 "), "{answer}");
        // Nobody is there to be answered; the figures tell when the server has noticed.
        let reason = |told: &str, reason: &str| {
            let model = if path == INFER { "seed-1" } else { "" };
            let labels = format!("model=\"{model}\",reason=\"{reason}\"");
            figures(told, "crosstie_inference_request_failure_total").get(&labels).copied()
        };
        begin(path).shutdown(Shutdown::Both).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while reason(&told(&server), "bad_request") != Some(2.0) {
            assert!(Instant::now() < deadline, "{}", told(&server));
            std::thread::yield_now();
        }
        for word in ["rejected", "too_large", "slow_body"] {
            assert_eq!(reason(&told(&server), word), Some(1.0), "{word}: {}", told(&server));
        }
    }
    assert_eq!(ask(INFER, &[("Inference-Header-Content-Length", "two")], b"{}"), 400);
    assert!(told(&server).contains("{model=\"seed-1\",reason=\"bad_request\"} 3"), "{}", told(&server));
}

#[test]
fn a_model_is_loaded_from_the_repository_only() {
    let models = Models::new();
    models.put(1, "click", 1);
    let server = models.serve();
    let mut client = Client::new(server.http());
    let answer = client.post("/v2/repository/models/click/load", &json!({"parameters": {"config": "{}"}}));
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("field `config`"));
}

#[test]
fn an_array_is_no_object_though_its_values_stand_in_the_right_order() {
    let models = Models::new();
    models.put(1, "click", 1);
    let server = models.serve();
    let mut client = Client::new(server.http());
    for (path, body) in [
        ("/v2/repository/index", json!([true])),
        ("/v2/repository/models/click/load", json!([{}])),
        ("/v1/rank", json!(["click", null, {}, {}, []])),
    ] {
        let answer = client.post(path, &body);
        assert_eq!((answer.status, answer.error().contains("expected an object")), (400, true), "{path}: {answer:?}");
    }
}
