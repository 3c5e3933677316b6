//! Feedback over HTTP.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crosstie_serve::log::{Event, LogSettings, segments};
use crosstie_serve::server::{Server, StartError};
use crosstie_serve::settings::{RepositorySettings, Settings};
use serde_json::{Value, json};

/// A server without any model, which takes feedback all the same.
fn settings(place: &Path, log: Option<&Path>) -> Settings {
    Settings {
        repository: RepositorySettings { directory: Some(place.into()), ..RepositorySettings::default() },
        log: LogSettings { directory: log.map(Path::to_path_buf), ..LogSettings::default() },
        ..common::settings()
    }
}

fn post(server: &Server, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.http()).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /v1/feedback HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn feedback_is_on_the_disk_when_it_is_answered_and_counted_once() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let models = tempfile::tempdir().unwrap();
    let server = Server::start(settings(models.path(), Some(&log))).unwrap();
    let event = r#"{"request": "r1", "candidate": 3, "action": "click"}"#;
    let other = r#"{"request": "r1", "candidate": "i9", "action": "buy", "value": 2.5, "event": "e1"}"#;
    assert_eq!(post(&server, event), (200, json!({"accepted": 1, "repeated": 0})));
    assert_eq!(post(&server, &format!("[{event}, {other}]")), (200, json!({"accepted": 1, "repeated": 1})));
    let mut found = Vec::new();
    for segment in segments(&log).unwrap() {
        let read = segment.read(|record| {
            if let Event::Feedback(feedback) = record.event {
                found.push(feedback.action);
            }
            Ok(())
        });
        read.unwrap();
    }
    assert_eq!(found, ["click", "buy"]);

    let (status, said) = post(&server, &format!("[{event}, {{\"request\": \"r1\", \"candidate\": true}}]"));
    assert_eq!(status, 400);
    assert!(said["error"].as_str().unwrap().starts_with("field `candidate`, row 2: found true, expected"), "{said}");
    assert_eq!(post(&server, "{").0, 400);

    let second = Server::start(settings(models.path(), Some(&log)));
    assert!(matches!(&second, Err(StartError::Log(error)) if error.to_string().contains("another process")));
    server.stop();
    Server::start(settings(models.path(), Some(&log))).unwrap().stop();
}

#[test]
fn a_server_without_a_log_says_so() {
    let models = tempfile::tempdir().unwrap();
    let server = Server::start(settings(models.path(), None)).unwrap();
    let (status, said) = post(&server, r#"{"request": "r1", "candidate": 3, "action": "click"}"#);
    assert_eq!(status, 404);
    assert!(said["error"].as_str().unwrap().contains("log.directory"), "{said}");
    server.stop();
}
