//! The server by a client that others wrote: `tests/clients/triton.py`, run where there
//! is a Python with `tritonclient[http,grpc]` (`CROSSTIE_PYTHON`, else `python3`).

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Golden, Models, artifact};
use serde_json::{Value, json};

fn python() -> Option<String> {
    let python = std::env::var("CROSSTIE_PYTHON").unwrap_or_else(|_| "python3".into());
    let modules = "import numpy, tritonclient.grpc, tritonclient.http";
    let found = Command::new(&python).args(["-c", modules]).output().is_ok_and(|output| output.status.success());
    found.then_some(python)
}

#[test]
fn tritonclient_works_unchanged() {
    let Some(python) = python() else {
        eprintln!(
            "skipped: no Python with tritonclient[http,grpc] and numpy (CROSSTIE_PYTHON says where there is one)"
        );
        return;
    };
    let models = Models::new();
    models.put(1, "first", 1);
    models.put(2, "second", 3);
    let server = models.serve();
    let expected = |seed: u64, version: u64| -> Value {
        let golden = Golden::of(&artifact(seed));
        let outputs = golden.outputs().into_iter();
        let outputs: serde_json::Map<String, Value> = outputs.map(|(name, scores)| (name, json!(scores))).collect();
        json!({ "version": version.to_string(), "inputs": golden.inputs(), "outputs": outputs })
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let case = json!({
        "http": server.http().to_string(),
        "grpc": server.grpc().to_string(),
        "models": { "first": expected(1, 1), "second": expected(2, 3) },
        "descriptors": root.join("src/grpc/descriptors.bin"),
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("case.json");
    std::fs::write(&path, case.to_string()).unwrap();
    let script = root.join("tests/clients/triton.py");
    let output = Command::new(python).arg(script).arg(path).output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{wrong}");
    assert!(said.contains("checks hold"), "{said}");
}
