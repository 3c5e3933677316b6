//! Ranking: what is answered, what is noted, what is refused, what is counted.

// Helpers are no tests to the lint.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crosstie::arrow::array::{ArrayRef, Float64Array, Int8Array, RecordBatch, StringArray};
use crosstie::artifact;
use crosstie::config::Config;
use crosstie::data::{Rows, Source};
use crosstie::model::ModelConfig;
use crosstie::schema::Schema;
use crosstie::train::{Next, train};
use crosstie_serve::engine::Engine;
use crosstie_serve::failure::Failure;
use crosstie_serve::log::join::Joined;
use crosstie_serve::metrics::Metrics;
use crosstie_serve::observe::{Observe, Observers};
use crosstie_serve::rank::{Request, Terms, rank};
use crosstie_serve::repository::{ROOM, Version};
use crosstie_serve::server::Server;
use crosstie_serve::settings::Settings;
use serde_json::{Value, json};

use common::Client;

const SCHEMA: &str = r#"
    scenario = "page"
    scenario_min_rows = 50

    [[task]]
    name = "click"
    [[task]]
    name = "buy"
    after = "click"

    [[field]]
    name = "user"
    kind = "categorical"
    side = "user"
    [[field]]
    name = "age"
    kind = "numeric"
    transform = "standard"
    side = "user"
    [[field]]
    name = "item"
    kind = "categorical"
    min_count = 1
    side = "item"
    [[field]]
    name = "price"
    kind = "numeric"
    transform = "binned"
    side = "item"
    [[field]]
    name = "tags"
    kind = "multi"
    separator = "|"
    side = "item"
"#;

/// 600 impressions. Items are whole numbers, as JSON may write them.
fn log() -> RecordBatch {
    let text = |f: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..600).map(f))) };
    let flag = |f: &dyn Fn(usize) -> bool| -> ArrayRef {
        Arc::new(Int8Array::from_iter_values((0..600).map(|row| i8::from(f(row)))))
    };
    let number = |f: &dyn Fn(usize) -> Option<f64>| -> ArrayRef { Arc::new((0..600).map(f).collect::<Float64Array>()) };
    let columns: [(&str, ArrayRef); 8] = [
        ("page", text(&|row| if row % 3 == 0 { "home".into() } else { "search".into() })),
        ("user", text(&|row| format!("u{}", row % 20))),
        ("age", number(&|row| Some(20.0 + (row % 20) as f64))),
        ("item", text(&|row| (row % 7).to_string())),
        ("price", number(&|row| (row % 11 > 0).then_some((row % 11) as f64 * 1.5))),
        ("tags", text(&|row| ["new", "new|red", "red|big", ""][row % 4].into())),
        ("click", flag(&|row| row % 20 < 8 || row % 7 == 0)),
        ("buy", flag(&|row| row % 20 < 4 && row % 7 < 3)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn artifact() -> &'static Path {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = || {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::from_batches("log", vec![log()]).unwrap();
        let mut config = Config::new(ModelConfig::named("mmoe").unwrap());
        config.train.epochs = 1;
        let trained = train(&config, &Schema::parse(SCHEMA).unwrap(), &source, &source, &mut |_| Next::GoOn).unwrap();
        artifact::save(&trained.scorer, &source, &directory.path().join("m")).unwrap();
        directory
    };
    DIRECTORY.get_or_init(made).path()
}

/// One model on one compute thread, without a network.
struct Served {
    version: Arc<Version>,
    engine: Engine,
    metrics: Arc<Metrics>,
}

impl Served {
    fn new() -> Served {
        let metrics = Arc::new(Metrics::new());
        let version = Arc::new(Version::load("m", 1, &artifact().join("m"), &[ROOM]).unwrap());
        metrics.loaded(&version, Duration::ZERO);
        let observers: Observers = Arc::new([Arc::clone(&metrics) as Arc<dyn Observe>]);
        Served { version, engine: Engine::start(1, 8, observers, Arc::default()).unwrap(), metrics }
    }

    fn rank_with(&self, request: &Value, formula: Option<&'static str>) -> Result<Value, Failure> {
        self.rank_text(&request.to_string(), formula)
    }

    fn rank_text(&self, request: &str, formula: Option<&'static str>) -> Result<Value, Failure> {
        let request = Request::parse(request.as_bytes())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let formula = formula.map(String::from);
        let terms = Terms { id: "r1".into(), most: 100, formula, ..Terms::default() };
        let work = move |turn: &mut _| rank(turn, &request, &terms).map(|ranking| ranking.json);
        let deadline = Instant::now() + Duration::from_secs(60);
        let done = runtime.block_on(self.engine.run(Arc::clone(&self.version), deadline, work))?;
        Ok(serde_json::from_slice(&done.value).unwrap())
    }

    fn rank(&self, request: &Value) -> Result<Value, Failure> {
        self.rank_with(request, None)
    }
}

/// Rows 0 to 11 of the log, which are of one user each, as a request of one candidate.
fn candidate(row: usize) -> Value {
    let tags = [json!(["new"]), json!(["new", "red"]), json!("red|big"), json!([])];
    let price = json!(Some(row % 11).filter(|price| *price > 0).map(|price| price as f64 * 1.5));
    json!({"item": row % 7, "price": price, "tags": tags[row % 4]})
}

fn two() -> Value {
    json!({
        "user": {"user": "u3", "age": 23}, "context": {"page": "home"},
        "candidates": [
            {"id": "a", "item": 1, "price": 3.0, "tags": ["new"], "bid": 2},
            {"id": 7, "item": 2, "price": 1.5, "tags": [], "bid": 5},
        ],
    })
}

fn close(found: &Value, expected: f64) -> bool {
    found.as_f64().is_some_and(|found| (found - expected).abs() <= 1e-12)
}

#[test]
fn a_candidate_has_the_probabilities_that_the_library_gives_its_row() {
    let served = Served::new();
    let scorer = served.version.scorer();
    let scores = scorer.score_rows(&mut scorer.workspace(600), &Rows::new(log(), "log")).unwrap();
    for user in 0..20 {
        let rows: Vec<usize> = (0..600).filter(|row| row % 20 == user).collect();
        for page in ["home", "search"] {
            let rows: Vec<usize> = rows.iter().copied().filter(|row| (row % 3 == 0) == (page == "home")).collect();
            let candidates: Vec<Value> = rows.iter().map(|row| candidate(*row)).collect();
            let request = json!({
                "user": {"age": 20 + user, "user": format!("u{user}")}, "context": {"page": page}, "candidates": candidates,
            });
            let answer = served.rank(&request).unwrap();
            assert_eq!(answer["notes"], json!([]));
            for (index, row) in rows.iter().enumerate() {
                let found = &answer["candidates"][index];
                assert_eq!(found["index"], index);
                for (task, name) in ["click", "buy"].into_iter().enumerate() {
                    let (given, from) = (scores.given_parent[row * 2 + task], scores.from_impression[row * 2 + task]);
                    assert!(close(&found["tasks"][name]["given_parent"], given), "row {row}: {found}");
                    assert!(close(&found["tasks"][name]["from_impression"], from), "row {row}: {found}");
                }
            }
        }
    }
}

#[test]
fn numbers_and_truth_values_are_the_tokens_that_a_table_would_hold() {
    let served = Served::new();
    let score = |item: Value| {
        let answer = served.rank(&json!({"candidates": [{"item": item}]})).unwrap();
        answer["candidates"][0]["tasks"].clone()
    };
    let known = score(json!("1"));
    for same in [json!(1), json!(1.0), json!(true)] {
        assert_eq!(score(same.clone()), known, "{same}");
    }
    assert_ne!(score(json!(2)), known);
    let answer = served.rank(&json!({"candidates": [{"item": 1, "price": "3"}, {"item": 1, "price": 3}]})).unwrap();
    assert_eq!(answer["candidates"][0]["tasks"], answer["candidates"][1]["tasks"], "a number in quotes");
}

#[test]
fn a_formula_sorts_and_cuts_and_what_has_no_score_comes_last() {
    let served = Served::new();
    let mut request = two();
    request["formula"] = json!("bid * buy.from_impression * 1000");
    let answer = served.rank(&request).unwrap();
    let found = answer["candidates"].as_array().unwrap();
    let bid = |index: &Value| if index == 0 { 2.0 } else { 5.0 };
    for candidate in found {
        let buy = candidate["tasks"]["buy"]["from_impression"].as_f64().unwrap();
        assert!(close(&candidate["score"], bid(&candidate["index"]) * buy * 1000.0), "{candidate}");
    }
    assert!(found[0]["score"].as_f64() > found[1]["score"].as_f64());
    let id = |candidate: &Value| if candidate["index"] == 0 { json!("a") } else { json!(7) };
    assert!(found.iter().all(|candidate| candidate["id"] == id(candidate)));

    // The other way round, by the model's own formula, cut to one.
    request.as_object_mut().unwrap().remove("formula");
    request["top"] = json!(1);
    let one = served.rank_with(&request, Some("-bid * buy.from_impression")).unwrap();
    assert_eq!(one["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(one["candidates"][0]["index"], found[1]["index"]);

    // A price that is missing, and a logarithm of nothing.
    let request = json!({
        "candidates": [{"item": 1, "bid": 1}, {"item": 1}, {"item": 1, "bid": 0}, {"item": 1, "bid": 3}],
        "formula": "log(bid)",
    });
    let answer = served.rank(&request).unwrap();
    let order: Vec<&Value> = answer["candidates"].as_array().unwrap().iter().map(|one| &one["index"]).collect();
    assert_eq!(order, [3, 0, 1, 2]);
    assert_eq!(answer["candidates"][2]["score"], Value::Null);
    let notes = answer["notes"].to_string();
    assert!(
        notes.contains("no finite value for 2 candidates, the first of them candidates[1]; they are ranked last"),
        "{notes}"
    );
}

#[test]
fn what_is_missing_extra_or_unknown_is_noted() {
    let request = json!({
        "user": {"usr": "u3", "age": 23},
        "candidates": [{"item": "none of these", "price": 3.0, "tags": ["new", "odd"]}, {"item": 2, "tags": "odd"}],
    });
    let answer = Served::new().rank(&request).unwrap();
    let notes: Vec<&str> = answer["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
    assert_eq!(
        notes,
        [
            "`user` is given nowhere: it counts as missing",
            "`price` is absent from 1 of 2 candidates",
            "`page` is given nowhere: it counts as missing",
            "`usr` is no field of the model; did you mean `user`?",
            "field `item`: 1 of 2 values are none that training knew",
            "field `tags`: 2 of 3 values are none that training knew",
        ]
    );
}

#[test]
fn a_field_that_only_candidates_give_late_is_missing_from_those_before() {
    let served = Served::new();
    let late = json!({"candidates": [{"item": 1}, {"item": 1, "price": 3}, {"price": 3, "item": 1}]});
    let answer = served.rank(&late).unwrap();
    let of = |index: usize| answer["candidates"][index]["tasks"].clone();
    assert_ne!(of(0), of(1));
    assert_eq!(of(1), of(2), "the order of the keys means nothing");
    let null = served.rank(&json!({"candidates": [{"item": 1, "price": null}]})).unwrap();
    assert_eq!(null["candidates"][0]["tasks"], of(0));
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let served = Served::new();
    let cases = [
        (json!([]), "found an array, expected an object"),
        (json!({"user": {}}), "field `candidates`: found nothing, expected a value"),
        (json!({"candidates": [], "candidate": []}), "did you mean `candidates`?"),
        (json!({"candidates": {"item": 1}}), "field `candidates`: found an object, expected an array of candidates"),
        (json!({"candidates": [1]}), "field `candidates[0]`: found 1, expected an object of fields"),
        (json!({"candidates": [{}, {"item": [1]}]}), "field `candidates[1].item`: found an array, expected a text"),
        (json!({"candidates": [{}, {"price": {}}]}), "field `candidates[1].price`: found an object, expected a number"),
        (json!({"candidates": [{"tags": [["a"]]}]}), "field `candidates[0].tags`: found an array, expected a text"),
        (
            json!({"candidates": [{"price": 1}, {"price": "dear"}]}),
            "field `candidates[1].price`: found \"dear\", expected",
        ),
        (json!({"candidates": [{}], "user": {"age": "old"}}), "field `user.age`: found \"old\", expected"),
        (json!({"candidates": [{}], "user": []}), "field `user`: found an array, expected an object of fields"),
        (
            json!({"candidates": [{}, {"id": 1.5}]}),
            "field `candidates[1].id`: found 1.5, expected a text or a whole number",
        ),
        (json!({"candidates": [{"item": 1e17}]}), "field `candidates[0].item`: found 1e17, expected a text: so large"),
        (
            json!({"candidates": [{"age": 3}], "user": {"age": 3}}),
            "field `candidates[0].age`: found a second value, expected none, since `user` gives it for all candidates",
        ),
        (
            json!({"candidates": [{}], "user": {"age": 3}, "context": {"age": 3}}),
            "field `context.age`: found a second value, expected none, since `user` gives it",
        ),
        (json!({"candidates": [{}], "timeout_ms": "soon"}), "field `timeout_ms`: found \"soon\", expected a whole"),
        (json!({"candidates": [{}], "model": 1}), "field `model`: found 1, expected a text"),
        (json!({"candidates": [{}], "formula": [1]}), "field `formula`: found an array, expected a text"),
        (json!({"candidates": null}), "field `candidates`: found null, expected an array of candidates"),
        (json!({"candidates": [{}, 7]}), "field `candidates[1]`: found 7, expected an object of fields"),
        (json!({"candidates": [{}], "top": 1}), "field `top`: found a number, expected a `formula` with it"),
        (json!({"candidates": [{}], "top": -1}), "field `top`: found -1, expected a whole number that is not negative"),
        (
            json!({"candidates": [{"bit": 1}], "formula": "1 + bid"}),
            "field `formula`: found `bid` at character 5, expected a field that the request gives; did you mean `bit`?",
        ),
        (
            json!({"candidates": [{}], "formula": "by.given_parent"}),
            "field `formula`: found `by` at character 1, expected a task of the model; did you mean `buy`?",
        ),
        (
            json!({"candidates": [{"item": "x"}], "formula": "item"}),
            "field `candidates[0].item`: found \"x\", expected a number, for the formula reads it",
        ),
    ];
    for (request, expected) in cases {
        let failure = served.rank(&request).expect_err(&request.to_string());
        assert!(failure.to_string().contains(expected), "{request}: {failure}");
        assert_eq!(failure.status(), 400, "{request}");
    }
    let many: Vec<Value> = (0..101).map(|_| json!({})).collect();
    assert_eq!(served.rank(&json!({ "candidates": many })).unwrap_err().status(), 413);
    let twice = Request::parse(br#"{"candidates": [{"item": 1, "item": 2}]}"#).unwrap();
    assert_eq!(twice.candidates.get(), r#"[{"item": 1, "item": 2}]"#);
    assert!(Request::parse(b"{\"candidates\": [").unwrap_err().to_string().contains("EOF"));
}

#[test]
fn a_value_of_no_field_that_the_log_could_not_be_read_with_is_refused() {
    let served = Served::new();
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let values =
        [(r#""hi \ud83d""#, "hex escape"), ("1e400", "number out of range"), (deep.as_str(), "recursion limit")];
    for (value, found) in values {
        for (path, request) in [
            ("user.q", format!(r#"{{"user": {{"age": 3, "q": {value}}}, "candidates": [{{}}]}}"#)),
            ("context.q", format!(r#"{{"context": {{"q": [{value}]}}, "candidates": [{{}}]}}"#)),
            ("candidates[1].q", format!(r#"{{"candidates": [{{"q": 1}}, {{"q": {{"a": {value}}}}}]}}"#)),
        ] {
            let failure = served.rank_text(&request, None).expect_err(&request);
            assert_eq!(failure.status(), 400, "{request}");
            let said = failure.to_string();
            assert!(said.starts_with(&format!("field `{path}`: found ")) && said.contains(found), "{request}: {said}");
        }
    }
    let whole = r#"{"candidates": [{"q": ["\ud83d\ude00", {"a": [1, -2, 0.5, true, null]}]}]}"#;
    assert_eq!(served.rank_text(whole, None).unwrap()["candidates"].as_array().unwrap().len(), 1);
}

#[test]
fn a_candidate_s_id_may_be_any_whole_number_of_64_bits() {
    let served = Served::new();
    for id in [json!(u64::MAX), json!(1u64 << 63), json!(i64::MIN), json!(7)] {
        let answer = served.rank(&json!({"candidates": [{"id": id}]})).unwrap();
        assert_eq!(answer["candidates"][0]["id"], id);
    }
}

/// A server of one model that logs what it shows.
fn logging(directory: &Path) -> Server {
    let mut settings = Settings { artifacts: vec![artifact().join("m")], ..common::settings() };
    settings.log.directory = Some(directory.to_path_buf());
    Server::start(settings).unwrap()
}

#[test]
fn a_request_s_id_that_feedback_could_not_name_is_refused() {
    let log = tempfile::tempdir().unwrap();
    let server = logging(log.path());
    let mut client = Client::new(server.http());
    let (longest, longer) = ("é".repeat(256), "é".repeat(257));
    for (id, refused) in [("", true), (longer.as_str(), true), ("a\nb", true), (longest.as_str(), false)] {
        let ranked = client.post("/v1/rank", &json!({"request": id, "candidates": [{}]}));
        let heard = client.post("/v1/feedback", &json!({"request": id, "candidate": 0, "action": "click"}));
        let expected = if refused { 400 } else { 200 };
        assert_eq!((ranked.status, heard.status), (expected, expected), "{id:?}");
        if refused {
            assert_eq!(ranked.error(), heard.error().replace(", row 1", ""), "{id:?}");
            assert!(ranked.error().starts_with("field `request`: found "), "{}", ranked.error());
        }
    }
    server.stop();
}

#[test]
fn no_candidates_are_an_answer_too() {
    let answer = Served::new().rank(&json!({"candidates": [], "formula": "bid"})).unwrap();
    assert_eq!(answer["candidates"], json!([]));
    assert_eq!((&answer["request"], &answer["model"], &answer["version"]), (&json!("r1"), &json!("m"), &json!("1")));
}

#[test]
fn what_was_ranked_is_counted() {
    let served = Served::new();
    served.rank(&two()).unwrap();
    served.rank(&json!({"candidates": [{"item": "x9"}, {"item": 1, "tags": ["odd", "new"]}]})).unwrap();
    let text = served.metrics.text();
    let line = |start: &str| {
        let found = text.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} in\n{text}")).rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    let of = |name: &str, field: &str| line(&format!("crosstie_{name}{{model=\"m\",version=\"1\",field=\"{field}\"}}"));
    assert_eq!(line("crosstie_inference_total{model=\"m\",version=\"1\"}"), 4.0);
    assert_eq!(line("crosstie_inference_exec_total{model=\"m\",version=\"1\"}"), 2.0);
    assert_eq!((of("field_values_total", "item"), of("field_unknown_values_total", "item")), (4.0, 1.0));
    assert_eq!((of("field_values_total", "tags"), of("field_unknown_values_total", "tags")), (3.0, 1.0));
    assert_eq!((of("field_rows_total", "tags"), of("field_missing_rows_total", "tags")), (4.0, 2.0));
    assert_eq!((of("field_rows_total", "age"), of("field_missing_rows_total", "age")), (4.0, 2.0));
    // In training 55 of 600 prices are missing, and every fourth row has no tags.
    assert!((of("field_training_missing_share", "price") - 55.0 / 600.0).abs() < 1e-9);
    assert!((of("field_training_missing_share", "tags") - 0.25).abs() < 1e-9);
    let task = |name: &str, scenario: &str| {
        line(&format!("crosstie_{name}_total{{model=\"m\",version=\"1\",task=\"buy\",scenario=\"{scenario}\"}}"))
    };
    assert_eq!((task("prediction", "home"), task("prediction", "other")), (2.0, 2.0));
    assert!(task("prediction_sum", "home") > 0.0 && task("prediction_sum", "home") < 2.0);
    served.metrics.retired(&served.version);
    assert!(!served.metrics.text().contains("field=\"item\""), "a version that has gone is not told of");
}

/// A server on ports of its own.
fn server() -> Server {
    let mut settings = Settings { artifacts: vec![artifact().join("m")], ..common::settings() };
    settings.rank.formulas.insert("m".into(), "buy.from_impression".into());
    Server::start(settings).unwrap()
}

#[test]
fn a_request_over_http_is_answered_named_and_counted() {
    let server = server();
    let mut client = Client::new(server.http());
    let named = [("x-request-id", "test-1"), ("traceparent", "00-1-2-01")];
    let answer = client.ask("POST", "/v1/rank", &named, two().to_string().as_bytes()).unwrap();
    assert_eq!((answer.status, answer.header("x-request-id")), (200, Some("test-1")), "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["request"].as_str().unwrap().len(), 16, "made, for the body names none");
    assert!(answer["candidates"][0]["score"].as_f64() >= answer["candidates"][1]["score"].as_f64(), "by the settings");
    for (body, status) in [("{", 400), (r#"{"candidates": [], "model": "n"}"#, 404), (r#"{"candidates": 1}"#, 400)] {
        let answer = client.ask("POST", "/v1/rank", &[], body.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.error());
        assert!(answer.header("x-request-id").is_some_and(|id| id.len() == 16), "{answer:?}");
    }
    let late = client.post("/v1/rank", &json!({"candidates": [{}], "timeout_ms": 0}));
    assert_eq!(late.status, 504, "{late:?}");
    let figures = Client::new(server.metrics()).get("/metrics");
    assert_eq!(figures.status, 200);
    assert!(figures.header("content-type").unwrap().starts_with("application/openmetrics-text"), "{figures:?}");
    let text = String::from_utf8(figures.body).unwrap();
    for line in [
        "crosstie_inference_request_success_total{model=\"m\",version=\"1\"} 1",
        "crosstie_inference_request_failure_total{model=\"\",reason=\"bad_request\"} 1",
        "crosstie_inference_request_failure_total{model=\"m\",reason=\"bad_request\"} 1",
        "crosstie_inference_request_failure_total{model=\"\",reason=\"not_found\"} 1",
        "crosstie_inference_request_failure_total{model=\"m\",reason=\"deadline\"} 1",
        "crosstie_inference_compute_duration_seconds_count{model=\"m\",version=\"1\"} 1",
        "crosstie_inference_batch_size_sum{model=\"m\",version=\"1\"} 2.0",
    ] {
        assert!(text.contains(&format!("{line}\n")), "no {line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    server.stop();
}

#[test]
fn calls_under_one_header_are_exposures_of_their_own() {
    let log = tempfile::tempdir().unwrap();
    let server = logging(log.path());
    let mut client = Client::new(server.http());
    let mut rank = |headers: &[(&str, &str)], body: Value| {
        let answer = client.ask("POST", "/v1/rank", headers, body.to_string().as_bytes()).unwrap();
        (answer.header("x-request-id").unwrap().to_string(), answer.json()["request"].as_str().unwrap().to_string())
    };
    let page = [("x-request-id", "page-1")];
    for _ in 0..2 {
        assert_eq!(rank(&page, two()).0, "page-1");
    }
    let (header, named) = rank(&[], two());
    assert_eq!(header, named, "where the server makes it, the messages of the server have it, too");
    let with_id = json!({"request": "r1", "candidates": [{"item": 1}]});
    for _ in 0..3 {
        assert_eq!(rank(&page, with_id.clone()), ("page-1".to_string(), "r1".to_string()));
    }
    server.stop();
    let joined = Joined::read(&[log.path().to_path_buf()]).unwrap();
    assert_eq!((joined.exposures(), joined.replaced()), (4, 2));
}

#[test]
fn what_is_described_is_served_and_its_examples_are_accepted() {
    let log = tempfile::tempdir().unwrap();
    let server = logging(log.path());
    let mut client = Client::new(server.http());
    let document = client.get("/openapi.json").json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            // After it there is nothing left to ask.
            if path.ends_with("/unload") {
                continue;
            }
            let path = path.replace("{model}", "m").replace("{version}", "1");
            let name = operation.pointer("/requestBody/content/application~1json/schema/$ref").and_then(Value::as_str);
            let schema = name.and_then(|name| document.pointer(&name[1..]));
            let example = schema.map(|schema| schema.get("example").cloned().unwrap_or(json!({})));
            let infer = path.ends_with("/infer");
            let body = if infer { golden_request() } else { example.map(|body| body.to_string()).unwrap_or_default() };
            let answer = client.ask(&method.to_uppercase(), &path, &[], body.as_bytes()).unwrap();
            let status = answer.status;
            // One model that was given by its path cannot be loaded anew from a repository.
            let expected: &[u16] = if path.ends_with("/load") { &[200, 404] } else { &[200] };
            assert!(expected.contains(&status), "{method} {path}: {answer:?}");
            assert!(operation["responses"].get(status.to_string()).is_some(), "{method} {path}: {status}");
        }
    }
    server.stop();
}

/// One row for inference, all of whose values are missing but one.
fn golden_request() -> String {
    let texts = ["page", "user", "item", "tags"]
        .map(|name| json!({"name": name, "datatype": "BYTES", "shape": [1, 1], "data": ["1"]}));
    let numbers =
        ["age", "price"].map(|name| json!({"name": name, "datatype": "FP64", "shape": [1, 1], "data": [3.0]}));
    let inputs = [&texts[..], &numbers[..]].concat();
    json!({ "inputs": inputs }).to_string()
}
