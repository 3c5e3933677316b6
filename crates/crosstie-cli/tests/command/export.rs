//! Models for other engines: what is written, what is refused, and that onnxruntime
//! scores as crosstie does, where there is a Python that has it.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crosstie::model::MODELS;
use crosstie::random::Stream;
use serde_json::Value;

use crate::place::{Place, csv};

const TASKS: &str = "scenario = \"tab\"\nscenario_min_rows = 50\nwidth = 8\n\
     [[task]]\nname = \"click\"\n[[task]]\nname = \"cart\"\nafter = \"click\"\n\
     [[task]]\nname = \"buy\"\nafter = \"cart\"\n[[task]]\nname = \"like\"\nafter = \"click\"\ndirect = true\n";

/// Fields of every kind that a graph can encode.
const PLAIN: &[&str] = &[
    "name = \"user\"\nkind = \"categorical\"\nside = \"user\"\nmin_count = 2",
    "name = \"item\"\nkind = \"categorical\"\nside = \"item\"\nrates = true",
    "name = \"device\"\nkind = \"categorical\"\nrates = false",
    "name = \"price\"\nkind = \"numeric\"\ntransform = \"log1p\"",
    "name = \"age\"\nkind = \"numeric\"\ntransform = \"binned\"\nbuckets = 8",
    "name = \"stay\"\nkind = \"numeric\"\ntransform = \"standard\"",
    "name = \"depth\"\nkind = \"numeric\"\ntransform = \"none\"",
    "name = \"hour\"\nkind = \"numeric\"\ntransform = \"quantile\"\nbuckets = 6\nside = \"user\"",
    "name = \"hour_text\"\nkind = \"categorical\"\ncolumn = \"hour\"\nrole = \"bias\"",
    "name = \"device_rate\"\nkind = \"rate\"\nkey = [\"device\"]\ncount = true",
];

/// And of those that it cannot.
const OTHER: &[&str] = &[
    "name = \"item_hashed\"\nkind = \"categorical\"\ncolumn = \"item\"\nbuckets = 32",
    "name = \"tags\"\nkind = \"multi\"\nseparator = \"|\"\nmin_count = 1",
    "name = \"topics\"\nkind = \"multi\"\nseparator = \"|\"\npooling = \"sum\"\nbuckets = 16",
    "name = \"pair\"\nkind = \"rate\"\nkey = [\"user\", \"tab\"]",
];

/// A log with missing values; with `odd` also with values that training never sees.
fn log(name: &str, rows: u64, odd: bool) -> String {
    let mut text = String::from("user,item,device,tags,topics,price,age,stay,depth,hour,tab,click,cart,buy,like\n");
    for row in 0..rows {
        let stream = Stream::new(row, name);
        let below = |place: u64, most: u64| stream.below(place, most);
        let or_nothing = |place: u64, text: String| if below(place, 12) == 0 { String::new() } else { text };
        let list = |place: u64, letter: char, most: u64| {
            let values = (0..below(place, 4)).map(|at| format!("{letter}{}", below(place + 1 + at, most)));
            values.collect::<Vec<_>>().join("|")
        };
        let (user, item) = (below(1, 60), below(2, 40));
        let (mut user_text, mut item_text) = (or_nothing(3, format!("u{user}")), or_nothing(4, format!("i{item}")));
        let (mut price, mut tab) =
            (or_nothing(5, format!("{}.25", below(6, 90))), ["home", "feed"][below(7, 2) as usize]);
        let (mut age, mut tags) = (format!("{}", 15 + below(8, 60)), list(20, 't', 12));
        if odd && below(9, 3) == 0 {
            (user_text, item_text, tab) = ("new".into(), "\"never, \"\"seen\"\"\"".into(), "rare");
            (price, age, tags) = ("-5.25".into(), "2000000".into(), "t99|t1".into());
        }
        let device = ["ios", "android", "web", ""][below(10, 4) as usize];
        let (stay, hour) = (or_nothing(11, below(12, 500).to_string()), or_nothing(13, below(14, 24).to_string()));
        let depth = below(15, 1000) as f64 / 250.0 - 2.0;
        let click = below(16, 100) < if (user + item).is_multiple_of(3) { 60 } else { 25 };
        let cart = click && below(17, 100) < 40;
        let buy = cart && below(18, 2) == 0;
        let like = below(19, 100) < if click { 30 } else { 5 };
        let [click, cart, buy, like] = [click, cart, buy, like].map(u8::from);
        let topics = list(30, 's', 9);
        writeln!(
            text,
            "{user_text},{item_text},{device},{tags},{topics},{price},{age},{stay},{depth},{hour},{tab},{click},{cart},\
             {buy},{like}"
        )
        .unwrap();
    }
    text
}

fn place() -> Place {
    let place = Place::new();
    let fields = |fields: &[&str]| fields.iter().map(|field| format!("[[field]]\n{field}\n")).collect::<String>();
    place.write("plain.toml", &format!("{TASKS}{}", fields(PLAIN)));
    place.write("full.toml", &format!("{TASKS}{}{}", fields(PLAIN), fields(OTHER)));
    place.write("train.csv", &log("train", 1200, false));
    place.write("valid.csv", &log("valid", 500, false));
    place.write("rows.csv", &log("rows", 4200, true));
    place
}

/// Trains a model on all fields, or on those that a graph can encode, for one epoch.
fn train(place: &Place, fields: &str, model: &str) -> String {
    let run = format!("{fields}-{model}");
    place.write(
        "config.toml",
        &format!(
            "[data]\nschema = \"{fields}.toml\"\ntrain = \"train.csv\"\nvalid = \"valid.csv\"\n\
             [train]\nepochs = 1\nbatch_size = 256\n[model]\nname = \"{model}\"\n"
        ),
    );
    place.ok(&format!("train config.toml --out {run}"));
    run
}

/// The Python that has what the check needs; none, and a line that says so, where it is
/// not there.
fn python() -> Option<String> {
    let python = std::env::var("CROSSTIE_PYTHON").unwrap_or_else(|_| "python3".into());
    let needs = "import numpy, onnx, onnxruntime, xxhash";
    let able = Command::new(&python).args(["-c", needs]).output().is_ok_and(|output| output.status.success());
    if !able {
        eprintln!("skipped: `{python} -c \"{needs}\"` fails; CROSSTIE_PYTHON may name a Python that has these");
    }
    able.then_some(python)
}

/// Holds exported models against the predictions, and tells what it printed.
fn check(place: &Place, python: &str, pairs: &[String]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/onnx/check.py");
    let mut command = Command::new(python);
    command.arg(script).arg("rows.csv").args(pairs).current_dir(place.path("."));
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn every_model_scores_in_onnxruntime_as_here() {
    let Some(python) = python() else { return };
    let place = place();
    let mut pairs = Vec::new();
    for (model, (fields, inputs)) in
        MODELS.iter().flat_map(|model| [(model, ("full", "ids")), (model, ("plain", "raw"))])
    {
        let run = train(&place, fields, model.name);
        place.ok(&format!("export {run} --format onnx --inputs {inputs} --out {run}-onnx"));
        place.ok(&format!("predict {run} --data rows.csv --out {run}.csv"));
        pairs.push(format!("{run}-onnx={run}.csv"));
    }
    // With --nocapture this is the table of docs/onnx.md.
    print!("{}", check(&place, &python, &pairs));
}

#[test]
fn weights_above_the_limit_are_in_a_file_of_their_own() {
    let place = place();
    let run = train(&place, "full", "mmoe");
    place.ok(&format!("export {run} --format onnx --out small"));
    place.ok(&format!("export {run} --format onnx --external-above 4096 --out large")).says(&["in model.bin"]);
    let size = |name: &str| std::fs::metadata(place.path(name)).unwrap().len();
    let about = |name: &str| serde_json::from_str::<Value>(&place.read(name)).unwrap()["external_data"].clone();
    assert!(!place.path("small/model.bin").exists() && about("small/model.json").is_null());
    assert_eq!(about("large/model.json"), "model.bin");
    assert!(size("large/model.bin") > size("large/model.onnx") && size("large/model.onnx") < size("small/model.onnx"));
    if let Some(python) = python() {
        place.ok(&format!("predict {run} --data rows.csv --out scores.csv"));
        check(&place, &python, &["large=scores.csv".into()]);
    }
}

#[test]
fn an_export_takes_the_place_of_nothing_but_an_export() {
    let place = place();
    let run = train(&place, "full", "shared-bottom");
    place.ok(&format!("export {run} --format onnx --out model"));
    place.ok(&format!("export {run} --format onnx --out model"));
    place.write("mine/notes.txt", "a thesis");
    place.run(&format!("export {run} --format onnx --out mine")).exit(1).says(&["mine", "holds `notes.txt`"]);
    assert_eq!(place.read("mine/notes.txt"), "a thesis");
    place.run(&format!("export {run} --format onnx --out {run}")).exit(1).says(&["which is of no export"]);
    place.run(&format!("export {run} --format onnx --out {run}/artifact")).exit(1).says(&["is a file of the run"]);
    place.ok(&format!("predict {run} --data rows.csv --out scores.csv"));
}

#[test]
fn what_a_graph_cannot_encode_is_refused_with_the_reason() {
    let place = place();
    let run = train(&place, "full", "shared-bottom");
    place.run(&format!("export {run} --format onnx --inputs raw --out raw")).exit(1).says(&[
        "field `item_hashed` is hashed (XXH3)",
        "field `tags` has several values",
        "field `pair` has rates of a key of 2 columns",
        "--inputs ids",
    ]);
    assert!(!place.path("raw").exists());
}

#[test]
fn the_file_beside_the_model_tells_how_each_input_is_encoded() {
    let place = place();
    let run = train(&place, "full", "shared-bottom");
    place.ok(&format!("export {run} --format onnx --out model"));
    let about: Value = serde_json::from_str(&place.read("model/model.json")).unwrap();
    let inputs = about["inputs"].as_array().unwrap();
    let input = |name: &str| {
        let found = inputs.iter().find(|input| input["name"] == name);
        found.unwrap_or_else(|| panic!("no input is called {name}"))
    };
    assert_eq!(input("item_hashed.id")["encoding"]["buckets"], 32);
    assert_eq!(input("tags.ids")["shape"], serde_json::json!(["rows", "values of tags"]));
    assert_eq!(input("price.numbers")["encoding"]["log1p"], true);
    let vocabulary = &input("device.id")["encoding"];
    let lines = csv(&place.path(&format!("model/{}", vocabulary["file"].as_str().unwrap())));
    let mut devices: Vec<&str> = lines[1..].iter().map(|line| line[0].as_str()).collect();
    devices.sort_unstable();
    assert_eq!((devices, vocabulary["missing"].as_u64()), (vec!["android", "ios", "web"], Some(1)));
    let rates = csv(&place.path("model/rate/pair.csv"));
    assert_eq!(rates[0], ["user", "tab", "click", "cart", "buy", "like"]);
    let outputs: Vec<&str> =
        about["outputs"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(outputs.len(), 8, "{outputs:?}");
}
