//! Small trained models, a server over them, and a client that knows nothing of the server.

// Not every test binary uses all of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crosstie::artifact;
use crosstie::config::Config;
use crosstie::data::Rows;
use crosstie::data::synth::Synth;
use crosstie::data::{Column, Source};
use crosstie::feature::Purpose;
use crosstie::learned::Scores;
use crosstie::model::ModelConfig;
use crosstie::scorer::Scorer;
use crosstie::train::{Next, train};
use crosstie_serve::server::Server;
use crosstie_serve::settings::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The artifact of a small model of a synthetic log. Another seed gives other scores of the
/// same columns. It is trained once in a test binary.
pub fn artifact(seed: u64) -> PathBuf {
    static MADE: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    // Below the build's own directory, which is nobody's home.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
    let mut known = MADE.lock().unwrap();
    if known.is_empty() {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
    }
    let artifact = directory.join(format!("seed-{seed}"));
    if !known.contains(&seed) {
        make(seed, &artifact);
        known.push(seed);
    }
    artifact
}

fn make(seed: u64, artifact: &Path) {
    let log = tempfile::tempdir().unwrap();
    let synth = Synth { rows: 3_000, ..Synth::default() };
    synth.write(log.path()).unwrap();
    let source = |name: &str| Source::open(&[log.path().join(name).to_str().unwrap()]).unwrap();
    let mut config = Config::new(ModelConfig::named("shared-bottom").unwrap());
    config.train.epochs = 1;
    config.train.seed = seed;
    let (training, valid) = (source("train.parquet"), source("valid.parquet"));
    let trained = train(&config, &synth.schema(), &training, &valid, &mut |_| Next::GoOn).unwrap();
    artifact::save(&trained.scorer, &source("test.parquet"), artifact).unwrap();
}

/// The golden rows of an artifact.
pub fn golden(artifact: &Path, scorer: &Scorer) -> Rows {
    let source = Source::open(&[artifact.join("golden.parquet").to_str().unwrap()]).unwrap();
    source.rows(&scorer.features().columns(Purpose::Scoring), 100).next().unwrap().unwrap()
}

/// The golden rows of an artifact, and their scores by the library, as `crosstie predict`
/// computes them.
pub struct Golden {
    pub scorer: Scorer,
    pub rows: Rows,
    pub scores: Scores,
}

impl Golden {
    pub fn of(artifact: &Path) -> Golden {
        let scorer = crosstie::artifact::load(artifact).unwrap();
        let rows = golden(artifact, &scorer);
        let scores = scorer.score_rows(&mut scorer.workspace(100), &rows).unwrap();
        Golden { scorer, rows, scores }
    }

    /// By output, the expected numbers.
    pub fn outputs(&self) -> Vec<(String, Vec<f64>)> {
        let tasks = self.scorer.tasks().iter().enumerate();
        let pair = |(task, name): (usize, &String)| {
            [
                (format!("{name}.given_parent"), self.scores.given_parent(task).collect()),
                (format!("{name}.from_impression"), self.scores.from_impression(task).collect()),
            ]
        };
        tasks.flat_map(pair).collect()
    }

    /// The golden rows as the inputs of a JSON request.
    pub fn inputs(&self) -> Vec<Value> {
        let names = self.scorer.features().columns(Purpose::Scoring);
        names.into_iter().map(|name| json_input(&self.rows.column(name).unwrap(), self.rows.len())).collect()
    }

    /// A JSON request for their scores.
    pub fn request(&self) -> Value {
        json!({ "inputs": self.inputs() })
    }
}

fn json_input(column: &Column<'_>, rows: usize) -> Value {
    let input = |datatype: &str, data: Vec<Value>| json!({ "name": column.name(), "shape": [rows, 1], "datatype": datatype, "data": data });
    match column.kind() {
        "number" => input("FP64", column.numbers().unwrap().into_iter().map(|x| json!(x)).collect()),
        "integer" => {
            input("INT64", column.numbers().unwrap().into_iter().map(|x| json!(x.map(|x| x as i64))).collect())
        }
        _ => {
            let mut data = Vec::new();
            column.each_text(|_, text| data.push(json!(text))).unwrap();
            input("BYTES", data)
        }
    }
}

/// Settings for a test: free ports, nothing waits.
pub fn settings() -> Settings {
    let text = "[http]\naddress = \"127.0.0.1:0\"\n[grpc]\naddress = \"127.0.0.1:0\"\n[metrics]\naddress = \
                \"127.0.0.1:0\"\n[compute]\nthreads = 1\nnetwork_threads = 1\n[timeouts]\ndrain_seconds = 0\n\
                [repository]\npoll_seconds = 0";
    Settings::parse(text).unwrap()
}

/// A server of one artifact, as model `seed-<seed>`.
pub fn serve(seed: u64) -> Server {
    Server::start(Settings { artifacts: vec![artifact(seed)], ..settings() }).unwrap()
}

/// A repository in a directory of its own.
pub struct Models(pub TempDir);

impl Models {
    pub fn new() -> Models {
        Models(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, model: &str, version: u64) -> PathBuf {
        self.0.path().join(model).join(version.to_string())
    }

    /// Puts an artifact there, all at once.
    pub fn put(&self, seed: u64, model: &str, version: u64) -> PathBuf {
        let (path, aside) = (self.path(model, version), self.0.path().join(".aside"));
        copy(&artifact(seed), &aside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::rename(&aside, &path).unwrap();
        path
    }

    pub fn settings(&self) -> Settings {
        let mut settings = settings();
        settings.repository.directory = Some(self.0.path().to_path_buf());
        settings
    }

    pub fn serve(&self) -> Server {
        Server::start(self.settings()).unwrap()
    }
}

/// Copies a directory.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }

    pub fn json(&self) -> Value {
        let shown = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {shown}", self.status))
    }

    /// What is wrong, of an answer that says so in the protocol's way.
    pub fn error(&self) -> String {
        assert_ne!(self.status, 200);
        self.json()["error"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_string()
    }

    /// The numbers of an output in JSON; null is NaN.
    pub fn output(&self, name: &str) -> Vec<f64> {
        let answer = self.json();
        assert_eq!(self.status, 200, "{answer}");
        let outputs = answer["outputs"].as_array().unwrap();
        let output = outputs.iter().find(|output| output["name"] == name).unwrap_or_else(|| panic!("{name}: {answer}"));
        output["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect()
    }
}

/// A connection that is kept open, over plain sockets.
pub struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        Client { address, stream: None }
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"").unwrap()
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes()).unwrap()
    }

    /// One request and its answer. A connection that the server has closed is opened anew.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(self.address)?),
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        stream.get_mut().write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
        let answer = read_answer(&mut stream)?;
        if answer.header("Connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
    let mut line = || {
        let mut line = String::new();
        match stream.read_line(&mut line)? {
            0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
            _ => Ok(line.trim_end().to_string()),
        }
    };
    let first = line()?;
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_string(), value.trim().to_string()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if let Some(length) = answer.header("Content-Length") {
        answer.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut answer.body)?;
    } else if answer.header("Transfer-Encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).unwrap() + 2];
            stream.read_exact(&mut chunk)?;
            if chunk.len() == 2 {
                break;
            }
            answer.body.extend(&chunk[..chunk.len() - 2]);
        }
    }
    Ok(answer)
}

/// What Prometheus is told.
pub fn told(server: &Server) -> String {
    String::from_utf8(Client::new(server.metrics()).get("/metrics").body).unwrap()
}

/// The figures of a name, by their labels.
pub fn figures(told: &str, name: &str) -> BTreeMap<String, f64> {
    let figure = |line: &str| {
        let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
        Some((labels.to_string(), value.parse().unwrap()))
    };
    told.lines().filter_map(figure).collect()
}

/// Largest difference of two lists of numbers; where one has none, both have.
pub fn difference(one: &[f64], other: &[f64]) -> f64 {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().zip(other).filter(|(one, other)| !(one.is_nan() && other.is_nan()));
    pairs
        .map(|(one, other)| if (one - other).is_nan() { f64::INFINITY } else { (one - other).abs() })
        .fold(0.0, f64::max)
}
