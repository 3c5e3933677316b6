//! `crosstie serve`, as a process.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};

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

/// A server of the place's `serve.toml` on ports of its own.
struct Serving {
    process: Child,
    /// The lines of its messages that were not read yet.
    said: Lines<BufReader<ChildStderr>>,
    address: String,
}

impl Serving {
    /// Starts it, with further arguments, and waits until it listens.
    fn start(place: &Place, arguments: &str, key: Option<&str>) -> Serving {
        let ports = "--http 127.0.0.1:0 --grpc 127.0.0.1:0 --metrics 127.0.0.1:0";
        let mut command = place.command(&format!("serve --config serve.toml {ports} {arguments}"));
        command.envs(key.map(|key| ("CROSSTIE_KEYS", key)));
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut serving = Serving { process, said, address: String::new() };
        let listening = serving.says("listening on http://");
        serving.address = listening.split("http://").nth(1).unwrap().split(',').next().unwrap().to_string();
        serving
    }

    /// The next line that has this in it.
    fn says(&mut self, what: &str) -> String {
        self.said.by_ref().map(Result::unwrap).find(|line| line.contains(what)).unwrap()
    }

    fn ask_to_end(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap().success());
    }

    /// Its exit code. Its messages are read to their end, or it would wait for us.
    fn end(mut self) -> Option<i32> {
        self.said.by_ref().for_each(drop);
        self.process.wait().unwrap().code()
    }
}

#[test]
fn a_run_is_served_until_the_process_is_asked_to_end() {
    let place = plain::place();
    place.ok("train buy.toml --out run");
    place.write("serve.toml", "[timeouts]\ndrain_seconds = 0\n");
    let mut server = Serving::start(&place, "run", None);
    server.says("model run, version 1 serves");
    let address = server.address.clone();
    assert!(ask(&address, "GET /v2/models/run", "", "").contains("bought.from_impression"));
    server.ask_to_end();
    server.says("ending");
    assert_eq!(server.end(), Some(0));
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn the_message_of_a_request_tells_who_asked_and_where_its_time_went() {
    let place = plain::place();
    place.ok("train buy.toml --out run");
    place.write("serve.toml", "[timeouts]\ndrain_seconds = 0\n");
    let mut server = Serving::start(&place, "run -v --log-format json", Some("shop read 0123456789abcdef"));
    server.says("model run, version 1 serves");
    let key = "x-api-key: 0123456789abcdef\r\n";
    let answer = ask(&server.address, "POST /v1/rank", key, r#"{"candidates": [{}]}"#);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let message: Value = serde_json::from_str(&server.says("/v1/rank")).unwrap();
    let told = &message["fields"];
    assert_eq!((&told["caller"], &told["status"]), (&"shop".into(), &200.into()), "{told}");
    let parts = ["queue", "decode", "compute", "encode"].map(|part| told[part].as_f64().unwrap());
    assert!(parts[2] > 0.0 && parts.iter().sum::<f64>() <= told["milliseconds"].as_f64().unwrap(), "{told}");
    server.ask_to_end();
    assert_eq!(server.end(), Some(0));
}

#[test]
fn the_message_of_a_failed_request_was_an_empty_line() {
    let place = plain::place();
    place.ok("train buy.toml --out run");
    place.write("serve.toml", "[timeouts]\ndrain_seconds = 0\n");
    let mut server = Serving::start(&place, "run -v", Some("shop read 0123456789abcdef"));
    server.says("model run, version 1 serves");
    let head = "x-api-key: 0123456789abcdef\r\nx-request-id: seven\r\ntraceparent: 00-ab-cd-01\r\n";
    assert!(ask(&server.address, "POST /v1/rank", head, r#"{"candidates": [{}]}"#).starts_with("HTTP/1.1 200"));
    let said = server.said.next().unwrap().unwrap();
    assert!(said.starts_with("request seven: POST /v1/rank, answered 200 in "), "{said}");
    for part in [" ms (queue ", ", decoding ", ", computing ", ", encoding ", "), key shop, traceparent 00-ab-cd-01"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // What a client writes begins no line of its own.
    ask(&server.address, "POST /v1/rank", head, "{\"candidates\": [{}], \"a\\nb\": 1}");
    let said = server.said.next().unwrap().unwrap();
    assert!(said.starts_with("request seven: POST /v1/rank, answered 400 in "), "{said}");
    assert!(said.contains(" ms, key shop, traceparent 00-ab-cd-01: found "), "{said}");
    server.ask_to_end();
    assert_eq!(server.end(), Some(0));
}

#[test]
fn who_asks_a_server_to_end_before_it_is_ready_is_heard() {
    let place = plain::place();
    place.write("serve.toml", "[timeouts]\ndrain_seconds = 0\n[repository]\ndirectory = \".\"\n");
    let server = Serving::start(&place, "", None);
    server.ask_to_end();
    assert_eq!(server.end(), Some(0), "a signal that nobody listens to has no exit code");
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
