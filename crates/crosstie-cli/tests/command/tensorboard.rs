//! Event files, read by a decoder of their format that knows nothing of what writes
//! them, and by TensorBoard where there is a Python that has it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::place::Place;
use crate::resume::{kill, place};

/// CRC-32C bit by bit, as its polynomial says.
fn crc(bytes: &[u8]) -> u32 {
    let shifted = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shifted(crc)))
}

/// Takes the checksum that stands at the head of `rest` off it, and holds it to `bytes`.
fn check(bytes: &[u8], rest: &mut &[u8]) {
    let masked = u32::from_le_bytes(*rest.split_off(..4).unwrap().first_chunk().unwrap());
    assert_eq!(masked.wrapping_sub(0xa282_ead8).rotate_left(15), crc(bytes));
}

/// The whole records of a file, and how many bytes behind them are of none.
fn records(mut file: &[u8]) -> (Vec<&[u8]>, usize) {
    let mut records = Vec::new();
    loop {
        let mut rest = file;
        let Some(length) = rest.split_off(..8) else { return (records, file.len()) };
        let size = u64::from_le_bytes(*length.first_chunk().unwrap()) as usize;
        if rest.len() < 4 + size + 4 {
            return (records, file.len());
        }
        check(length, &mut rest);
        let record = rest.split_off(..size).unwrap();
        check(record, &mut rest);
        records.push(record);
        file = rest;
    }
}

/// The fields of a message by their numbers, as the wire format of protocol buffers
/// says. Numbers of a fixed size are given by their bytes, others by their value's.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for place in 0.. {
            let byte = *message.split_off_first().unwrap();
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let size = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut message).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            wire => panic!("wire type {wire}"),
        };
        fields.push((key >> 3, message.split_off(..size).unwrap().to_vec()));
    }
    fields
}

fn field(message: &[u8], number: u64) -> Option<Vec<u8>> {
    fields(message).into_iter().find(|(found, _)| *found == number).map(|(_, bytes)| bytes)
}

#[derive(Default)]
struct Events {
    /// By step, by tag.
    scalars: BTreeMap<u64, BTreeMap<String, f32>>,
    /// Time by step of scalars.
    times: Vec<f64>,
    texts: Vec<(u64, String, String)>,
}

fn read(bytes: &[u8]) -> Events {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (records, rest) = records(bytes);
    assert_eq!(rest, 0);
    assert_eq!(field(records[0], 3).map(text).as_deref(), Some("brain.Event:2"));
    let mut events = Events::default();
    for record in &records[1..] {
        let step = field(record, 2).map_or(0, |bytes| u64::from_le_bytes(*bytes.first_chunk().unwrap()));
        let mut scalars = BTreeMap::new();
        for (_, value) in fields(&field(record, 5).unwrap()) {
            let tag = text(field(&value, 1).unwrap());
            match field(&value, 2) {
                Some(number) => {
                    let number = f32::from_le_bytes(*number.first_chunk().unwrap());
                    assert_eq!(scalars.insert(tag, number), None);
                }
                None => {
                    let plugin = field(&field(&value, 9).unwrap(), 1).unwrap();
                    assert_eq!(field(&plugin, 1).map(text).as_deref(), Some("text"));
                    let tensor = field(&value, 8).unwrap();
                    assert_eq!(field(&tensor, 1), Some(7u64.to_le_bytes().to_vec()), "a tensor of texts");
                    events.texts.push((step, tag, text(field(&tensor, 8).unwrap())));
                }
            }
        }
        if !scalars.is_empty() {
            events.times.push(f64::from_le_bytes(*field(record, 1).unwrap().first_chunk().unwrap()));
            assert!(events.scalars.insert(step, scalars).is_none(), "step {step} stands there twice");
        }
    }
    events
}

/// The one event file of a run.
fn file(place: &Place, run: &str) -> PathBuf {
    let entries = std::fs::read_dir(place.path(&format!("{run}/tensorboard"))).unwrap();
    let files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents.1"), "{files:?}");
    files.into_iter().next().unwrap()
}

fn history(place: &Place, run: &str) -> Vec<Value> {
    place.read(&format!("{run}/metrics.jsonl")).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Holds an event file to the `metrics.jsonl` beside it.
fn agree(place: &Place, run: &str) -> Events {
    let (events, history) = (read(&std::fs::read(file(place, run)).unwrap()), history(place, run));
    let steps = history.iter().map(|line| line["step"].as_u64().unwrap());
    assert_eq!(events.scalars.keys().copied().collect::<Vec<_>>(), steps.collect::<Vec<_>>());
    for ((scalars, time), line) in events.scalars.values().zip(&events.times).zip(&history) {
        assert_eq!(*time, line["time"].as_f64().unwrap());
        assert_eq!(scalars["rows_per_second"], line["rows_per_second"].as_f64().unwrap() as f32);
        let mut means = BTreeMap::<String, Vec<f64>>::new();
        for (task, meanings) in line["report"]["tasks"].as_object().unwrap() {
            assert_eq!(scalars[&format!("loss/{task}")], line["losses"][task].as_f64().unwrap() as f32);
            for meaning in ["given_parent", "from_impression"] {
                for figure in ["auc", "gauc", "logloss", "ne", "pcoc", "ece"] {
                    let expected = meanings[meaning][figure].as_f64();
                    let group = format!("{figure}_{meaning}");
                    assert_eq!(scalars.get(&format!("{group}/{task}")).copied(), expected.map(|value| value as f32));
                    means.entry(group).or_default().extend(expected);
                }
            }
        }
        for (group, values) in means.iter().filter(|(_, values)| !values.is_empty()) {
            let mean = (values.iter().sum::<f64>() / values.len() as f64) as f32;
            assert!((scalars[&format!("{group}/mean")] - mean).abs() < 1e-6, "{group}");
        }
    }
    events
}

#[test]
fn event_files_say_what_the_history_says_and_the_config_and_the_end() {
    let place = place();
    place.ok("train ads.toml --out none");
    assert!(!place.path("none/tensorboard").exists());
    place.ok(
        "train ads.toml --out run --set train.tensorboard=true --set train.eval_every=5 \
         --set optimizer.schedule.name=warm-up --set optimizer.schedule.steps=20 --set optimizer.dense.learning_rate=0.01",
    );
    let events = agree(&place, "run");
    assert!(events.scalars.len() > 2 && events.scalars[&5].contains_key("auc_from_impression/mean"));
    assert_eq!(events.scalars[&5]["learning_rate/dense"], 0.0025, "a quarter of the way");
    assert_eq!(*events.scalars.values().next_back().unwrap().get("learning_rate/dense").unwrap(), 0.01);

    let [config, figures] = &events.texts[..] else { panic!("{:?}", events.texts) };
    assert_eq!((config.0, config.1.as_str()), (0, "config"));
    assert!(config.2.contains(place.read("run/config.toml").trim()), "{}", config.2);
    let last = history(&place, "run").last().unwrap()["step"].as_u64();
    assert_eq!((Some(figures.0), figures.1.as_str()), (last, "figures on the test files"));
    assert!(figures.2.contains("From the impression, on all rows"), "{}", figures.2);
}

#[test]
fn a_killed_training_goes_on_without_a_step_twice() {
    let place = place();
    let asked = "--set train.tensorboard=true";
    place.ok(&format!("train ads.toml --out run --set train.eval_every=5 {asked}"));
    let steps = agree(&place, "run").scalars.len();
    kill(&place, "run");
    // The process may have died in the midst of a record.
    let file_before = file(&place, "run");
    let bytes = std::fs::read(&file_before).unwrap();
    std::fs::write(&file_before, &bytes[..bytes.len() - 7]).unwrap();
    assert!(records(&bytes[..bytes.len() - 7]).0.len() > steps);
    place.ok("train --resume run").says(&["going on from step"]);
    let events = agree(&place, "run");
    assert_eq!((events.scalars.len(), events.texts.len()), (steps, 2));
}

#[test]
fn event_files_asked_for_late_have_the_whole_history() {
    let place = place();
    place.ok("train ads.toml --out run --set train.eval_every=5");
    place.ok("train --resume run --set train.epochs=3 --set train.tensorboard=true");
    let steps = history(&place, "run").iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(steps[0], 5);
    assert_eq!(agree(&place, "run").scalars.len(), steps.len());
}

const TENSORBOARD: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0}).Reload()
tags = events.Tags()
text = lambda tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
json.dump({
    "scalars": {tag: [[one.step, one.wall_time, one.value] for one in events.Scalars(tag)] for tag in tags["scalars"]},
    "texts": {tag: text(tag) for tag in tags["tensors"]},
    "text_plugin": sorted(events.PluginTagToContent("text")),
}, sys.stdout)
"#;

/// Runs where `CROSSTIE_PYTHON`, or else python3, has TensorBoard.
#[test]
fn tensorboard_reads_what_is_written_also_of_a_killed_training() {
    let python = std::env::var("CROSSTIE_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {python} has no TensorBoard");
        return;
    }
    let place = place();
    place.ok("train ads.toml --out run --set train.tensorboard=true --set train.eval_every=5");
    let events = agree(&place, "run");
    let by_tensorboard = || {
        let output = Command::new(&python).args(["-c", TENSORBOARD]).arg(place.path("run/tensorboard")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let read = by_tensorboard();
    assert_eq!(read["text_plugin"], serde_json::json!(["config", "figures on the test files"]));
    for (_, tag, text) in &events.texts {
        assert_eq!(read["texts"][tag].as_str(), Some(text.as_str()));
    }
    let mut found = 0;
    for (tag, points) in read["scalars"].as_object().unwrap() {
        for point in points.as_array().unwrap() {
            let [step, value] = [0, 2].map(|at| point[at].as_f64().unwrap());
            assert_eq!(events.scalars[&(step as u64)][tag], value as f32, "{tag}");
            found += 1;
        }
    }
    assert_eq!(found, events.scalars.values().map(BTreeMap::len).sum::<usize>());

    let path = file(&place, "run");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    let cut = by_tensorboard();
    assert_eq!(cut["scalars"], read["scalars"], "the last record, of which a part is left, is a text");
    assert_eq!(cut["text_plugin"], serde_json::json!(["config"]));
}
