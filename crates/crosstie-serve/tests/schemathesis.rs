//! The server held to its own description by a tool that others wrote: `schemathesis`, run
//! where there is a Python with it (`CROSSTIE_PYTHON`, else `python3`). `CROSSTIE_EXAMPLES`
//! says how many requests of each kind it makes up, 5 if it says nothing.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::process::Command;

use common::{Client, Models};
use crosstie_serve::server::Server;

const ADMIN: &str = "fedcba9876543210";

const EXPERIMENT: &str = r#"
    name = "trial"
    unit = "user_id"
    [[arm]]
    name = "before"
    model = "m"
    share = 50
    [[arm]]
    name = "after"
    model = "other"
    share = 50
    [[step]]
    traffic = 100
"#;

/// What a model reads, no description can tell; all else that is described is taken.
const SETTINGS: &str = r#"
    [parameters]
    "path.model" = "m"
    "path.version" = "1"
    [[operations]]
    include-path-regex = "infer$|rank$"
    checks.positive_data_acceptance.enabled = false
"#;

fn python() -> Option<String> {
    let python = std::env::var("CROSSTIE_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python).args(["-m", "schemathesis.cli", "--version"]).output();
    found.is_ok_and(|output| output.status.success()).then_some(python)
}

#[test]
fn schemathesis_finds_no_answer_that_is_not_as_described() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with schemathesis (CROSSTIE_PYTHON says where there is one)");
        return;
    };
    let (models, place) = (Models::new(), tempfile::tempdir().unwrap());
    models.put(1, "m", 1);
    models.put(2, "other", 1);
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("experiments")).unwrap();
    fs::write(path("experiments/trial.toml"), EXPERIMENT).unwrap();
    fs::write(path("keys"), format!("reader read 0123456789abcdef\nroller admin {ADMIN}\n")).unwrap();
    fs::write(path("schemathesis.toml"), SETTINGS).unwrap();
    let mut settings = models.settings();
    settings.experiments.directory = Some(path("experiments"));
    settings.log.directory = Some(path("log"));
    settings.keys.file = Some(path("keys"));
    let server = Server::start(settings).unwrap();
    let examples = std::env::var("CROSSTIE_EXAMPLES").unwrap_or_else(|_| "5".into());
    // Serving no more is the last thing to try.
    for which in [["--exclude-path-regex", "unload$"], ["--include-path-regex", "unload$"]] {
        let mut command = Command::new(&python);
        command.args(["-m", "schemathesis.cli", "run", &format!("http://{}/openapi.json", server.http())]);
        command.args(["-H", &format!("x-api-key: {ADMIN}"), "--phases", "examples,coverage,fuzzing"]).args(which);
        command.args(["--seed", "1", "--max-examples", &examples, "--continue-on-failure", "--no-color"]);
        let output = command.current_dir(place.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let failed = Client::new(server.metrics()).ask("GET", "/metrics", &[("x-api-key", ADMIN)], b"").unwrap();
    let told = String::from_utf8(failed.body).unwrap();
    assert!(
        told.contains("crosstie_inference_request_success_total") && !told.contains("reason=\"internal\""),
        "{told}"
    );
    server.stop();
}
