//! Help, options and exit codes.

use std::process::Stdio;

use crate::place::{Place, Ran};

const COMMANDS: [&str; 16] = [
    "synth",
    "prepare",
    "inspect",
    "models",
    "reference",
    "train",
    "evaluate",
    "predict",
    "init",
    "export",
    "serve",
    "join",
    "experiment",
    "abtest",
    "simulate",
    "demo",
];

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    let overview = place.ok("--help");
    for command in COMMANDS {
        assert!(overview.stdout.contains(&format!("\n  {command} ")), "{command} is not in the overview");
        let example = format!("  crosstie {command}");
        place.ok(&format!("{command} --help")).prints(&["Example", &example, "--quiet", "--log-format"]);
    }
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let place = Place::new();
    place.run("trane config.toml").exit(2).says(&["trane", "'train'"]);
    place.run("synth --out data").exit(2).says(&["--rows"]);
    place.run("synth --rows 100 --out data --relation relatd").exit(2).says(&["related"]);
    place.run("prepare kuairand --from . --out data").exit(2).says(&["kuairand-pure"]);
    place.run("models --quiet --verbose").exit(2).says(&["cannot be used with"]);
}

#[cfg(target_os = "linux")]
#[test]
fn help_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    for arguments in ["--help", "train --help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("opened");
        let output = place.command(arguments).stdout(full).output().expect("ran");
        Ran::new(arguments, output).exit(1).says(&["error: cannot write to stdout", "No space left"]);
    }
}

#[test]
fn an_error_is_told_on_stderr_with_exit_code_1() {
    let place = Place::new();
    let ran = place.run("synth --rows 3 --out data").exit(1).says(&["error: ", "3 rows are too few"]);
    assert_eq!(ran.stdout, "");
}

#[test]
fn messages_can_be_json() {
    let place = Place::new();
    let ran = place.run("synth --rows 100 --out data --log-format json").exit(0);
    let mut said = 0;
    for line in ran.stderr.lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(message["level"], "INFO", "{line}");
        said += 1;
    }
    assert!(said > 0, "nothing was said");
    let ran = place.run("synth --rows 3 --out data --log-format json").exit(1);
    let message: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(message["level"], "ERROR");
}

#[test]
fn quiet_keeps_to_results() {
    let place = Place::new();
    let ran = place.ok("synth --rows 100 --out data --quiet").prints(&["click"]);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_closed_stdout_is_no_error() {
    let place = Place::new();
    let mut child = place.command("models").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn models_are_listed() {
    let names = [
        "single-task",
        "shared-bottom",
        "esmm",
        "mmoe",
        "cgc",
        "ple",
        "adatt",
        "stem",
        "esm2",
        "aitm",
        "calibration",
        "aem2tl",
        "ektm",
        "ncs4cvr",
    ];
    let listed = Place::new().ok("models").stdout;
    let lines = listed.lines().filter(|line| !line.starts_with(' '));
    assert_eq!(lines.filter_map(|line| line.split(' ').next()).collect::<Vec<_>>(), names);
}

#[test]
fn every_key_is_explained() {
    let place = Place::new();
    let schema = place.ok("reference schema").stdout;
    for key in ["scenario_min_rows", "never", "null", "separator", "pooling", "folds", "time", "role", "table", "after"]
    {
        assert!(schema.contains(&format!("- **`{key}`** (")), "{key}: {schema}");
    }
    place.ok("reference config train.monitor").prints(&["[task.][meaning.]figure", "`buy.from_impression.auc`"]);
    let ektm = place.ok("reference config ektm").prints(&["similarity", "`[model.router]` of `ektm`"]).stdout;
    assert!(!ektm.contains("task_experts"), "of other models: {ektm}");
    place.run("reference config model.expert").exit(1).says(&["did you mean `model.experts`?"]);
    let written = place.ok("reference schema --json-schema").stdout;
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["properties"]["width"]["type"], "integer");
    for line in schema.lines().chain(place.ok("reference config").stdout.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
