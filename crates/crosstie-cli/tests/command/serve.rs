//! `crosstie serve`, as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::place::Place;
use crate::plain;

/// The whole answer to a request; `headers` each end their line.
fn ask(address: &str, what: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("{what} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}");
    write!(stream, "{head}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_run_is_served_until_the_process_is_asked_to_end() {
    let place = plain::place();
    place.ok("train buy.toml --out run");
    place.write("serve.toml", "[timeouts]\ndrain_seconds = 0\n");
    let ports = "--http 127.0.0.1:0 --grpc 127.0.0.1:0 --metrics 127.0.0.1:0";
    let mut command = place.command(&format!("serve run --config serve.toml {ports}"));
    let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let listening = said.find(|line| line.contains("listening on http://")).unwrap();
    let address = listening.split("http://").nth(1).unwrap().split(',').next().unwrap().to_string();
    said.find(|line| line.contains("model run, version 1 serves")).unwrap();
    assert!(ask(&address, "GET /v2/models/run", "", "").contains("bought.from_impression"));
    let asked = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(asked.success());
    said.find(|line| line.contains("ending")).unwrap();
    // Its messages are read to their end, or it would wait for us.
    said.for_each(drop);
    assert_eq!(server.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn the_message_of_a_request_tells_who_asked_and_where_its_time_went() {
    let place = plain::place();
    place.ok("train buy.toml --out run");
    place.write("serve.toml", "[timeouts]\ndrain_seconds = 0\n");
    let ports = "--http 127.0.0.1:0 --grpc 127.0.0.1:0 --metrics 127.0.0.1:0";
    let mut command = place.command(&format!("serve run --config serve.toml {ports} -v --log-format json"));
    command.env("CROSSTIE_KEYS", "shop read 0123456789abcdef");
    let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let listening = said.find(|line| line.contains("listening on http://")).unwrap();
    let address = listening.split("http://").nth(1).unwrap().split(',').next().unwrap().to_string();
    said.find(|line| line.contains("model run, version 1 serves")).unwrap();
    let answer = ask(&address, "POST /v1/rank", "x-api-key: 0123456789abcdef\r\n", r#"{"candidates": [{}]}"#);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let message: Value = serde_json::from_str(&said.find(|line| line.contains("/v1/rank")).unwrap()).unwrap();
    let told = &message["fields"];
    assert_eq!((&told["caller"], &told["status"]), (&"shop".into(), &200.into()), "{told}");
    let parts = ["queue", "decode", "compute", "encode"].map(|part| told[part].as_f64().unwrap());
    assert!(parts[2] > 0.0 && parts.iter().sum::<f64>() <= told["milliseconds"].as_f64().unwrap(), "{told}");
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    said.for_each(drop);
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn who_asks_a_server_to_end_before_it_is_ready_is_heard() {
    let place = plain::place();
    place.write("serve.toml", "[timeouts]\ndrain_seconds = 0\n[repository]\ndirectory = \".\"\n");
    let ports = "--http 127.0.0.1:0 --grpc 127.0.0.1:0 --metrics 127.0.0.1:0";
    let mut server =
        place.command(&format!("serve --config serve.toml {ports}")).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    said.find(|line| line.contains("listening on http://")).unwrap();
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    said.for_each(drop);
    assert_eq!(server.wait().unwrap().code(), Some(0), "a signal that nobody listens to has no exit code");
}

#[test]
fn settings_are_printed_as_a_file_that_can_be_read() {
    let place = Place::new();
    let printed = place.ok("serve --print-config --repository models --http 127.0.0.1:9000").stdout;
    assert!(printed.contains("\naddress = \"127.0.0.1:9000\"\n") && printed.contains("\ndirectory = \"models\"\n"));
    place.write("serve.toml", &printed);
    assert_eq!(place.ok("serve --print-config --config serve.toml").stdout, printed);
    place.write("wrong.toml", "[compute]\nqueu = 3\n");
    place.run("serve --config wrong.toml").exit(1).says(&["wrong.toml", "line 2", "did you mean `queue`?"]);
}

#[test]
fn what_cannot_be_served_is_said_before_anything_listens() {
    let place = Place::new();
    place.run("serve").exit(1).says(&["nothing to serve", "--repository"]);
    place.run("serve nowhere").exit(1).says(&["nowhere is no run and no artifact"]);
    place.run("serve --repository . --http 0.0.0.0:0").exit(1).says(&["http.address is 0.0.0.0:0", "--insecure"]);
}
