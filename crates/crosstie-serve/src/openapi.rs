//! What the HTTP listener serves, as OpenAPI 3.1 describes it.
//!
//! Types that are ours describe themselves; those of the Open Inference Protocol are
//! written down here.

use std::sync::OnceLock;

use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::openapi::ComponentsBuilder;

use crate::rank;

/// What is said of a route.
struct About {
    method: Method,
    path: &'static str,
    summary: &'static str,
    /// The schema of its body, and whether it must have one.
    body: Option<(&'static str, bool)>,
    /// The schema of its answer; none for one without a body.
    answer: Option<&'static str>,
}

const MODEL: &str = "/v2/models/{model}";

/// Every route that does something; of those of a model, the ones that name no version.
fn all() -> Vec<About> {
    let get = |path, summary, answer| About { method: Method::GET, path, summary, body: None, answer };
    let post = |path, summary, body, answer| About { method: Method::POST, path, summary, body, answer: Some(answer) };
    vec![
        post("/v1/rank", "Scores and sorts candidates", Some(("RankRequest", true)), "RankAnswer"),
        post("/v1/feedback", "Takes what was done with what was shown", Some(("Feedback", true)), "Accepted"),
        get("/openapi.json", "This description", Some("Object")),
        get("/v2", "Name, version and extensions of the server", Some("Server")),
        get("/v2/health", "What is ready and what is wrong", Some("Health")),
        get("/v2/health/live", "Whether the process answers", None),
        get("/v2/health/ready", "Whether requests should be sent here", None),
        get("/v2/models/stats", "What all models have answered", Some("Statistics")),
        post("/v2/repository/index", "Versions and how they are", Some(("IndexRequest", false)), "Index"),
        post("/v2/repository/models/{model}/load", "Loads a model anew", Some(("LoadRequest", false)), "Object"),
        post("/v2/repository/models/{model}/unload", "Serves a model no more", None, "Object"),
        get(MODEL, "Inputs and outputs", Some("Model")),
        get("/v2/models/{model}/ready", "Whether it answers", None),
        get("/v2/models/{model}/config", "Its configuration in Triton's words", Some("Object")),
        get("/v2/models/{model}/stats", "What it has answered", Some("Statistics")),
        post("/v2/models/{model}/infer", "Scores rows", Some(("InferRequest", true)), "InferAnswer"),
    ]
}

/// The description, as `GET /openapi.json` gives it.
pub fn document() -> Value {
    let mut paths = Map::new();
    for about in all() {
        let versioned = about.path.strip_prefix(MODEL).map(|rest| format!("{MODEL}/versions/{{version}}{rest}"));
        for path in [Some(about.path.to_string()), versioned].into_iter().flatten() {
            let operation = operation(&about, &path);
            let method = about.method.as_str().to_lowercase();
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[method] = operation;
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "crosstie",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Ranking, and the Open Inference Protocol, version 2.",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            },
        },
        // Where the server has no keys, everybody may ask.
        "security": [{}, { "bearer": [] }, { "key": [] }],
    })
}

/// `GET /openapi.json`.
pub(crate) async fn answer() -> Response {
    static WRITTEN: OnceLock<String> = OnceLock::new();
    let written = WRITTEN.get_or_init(|| document().to_string());
    ([(CONTENT_TYPE, "application/json")], written.as_str()).into_response()
}

fn operation(about: &About, path: &str) -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let content = |name: &str| json!({ "application/json": { "schema": reference(name) } });
    let mut success = json!({ "description": "As asked" });
    if let Some(name) = about.answer {
        success["content"] = content(name);
    }
    let mut responses = json!({ "200": success });
    let mut failures = vec![(429, "As many requests as may wait do"), (500, "A mistake of the server")];
    failures.extend([(401, "Nobody whom the server knows"), (403, "Not allowed")]);
    if path.contains('{') || path == "/v1/rank" {
        failures.extend([(404, "No such model or version"), (503, "Not ready"), (504, "Not answered in time")]);
    }
    match path {
        "/v2/health/ready" => failures.push((503, "Not ready")),
        "/v1/feedback" => failures.extend([(404, "There is no log"), (503, "The log cannot be written now")]),
        _ => {}
    }
    if about.method == Method::POST || path.contains('{') {
        failures.push((400, "What is wrong, where, and what was expected"));
    }
    if about.method == Method::POST {
        failures.extend([(408, "The body did not arrive"), (413, "Beyond a limit")]);
        failures.push((415, "An encoding that is not read"));
    }
    for (status, description) in failures {
        responses[status.to_string()] = json!({ "description": description, "content": content("Failure") });
    }
    let id: String = format!("{} {path}", about.method.as_str().to_lowercase())
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_");
    let named = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = named
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let mut operation =
        json!({ "operationId": id, "summary": about.summary, "parameters": parameters, "responses": responses });
    if let Some((name, required)) = about.body {
        operation["requestBody"] = json!({ "required": required, "content": content(name) });
    }
    if path.ends_with("/infer") {
        describe_binary(&mut operation);
    }
    if matches!(path, "/v2/health/live" | "/v2/health/ready") {
        operation["security"] = json!([]);
    }
    operation
}

/// The extension of binary tensors: behind the JSON of a body, in both directions.
fn describe_binary(operation: &mut Value) {
    let length = json!({
        "description": "Bytes of the body's JSON, where binary tensors follow it",
        "schema": { "type": "integer", "minimum": 0 },
    });
    let mut parameter = length.clone();
    (parameter["name"], parameter["in"]) = ("Inference-Header-Content-Length".into(), "header".into());
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.push(parameter);
    }
    let success = &mut operation["responses"]["200"];
    success["headers"] = json!({ "Inference-Header-Content-Length": length });
    success["content"]["application/octet-stream"] = json!({});
}

fn schemas() -> Value {
    let ours = ComponentsBuilder::new()
        .schema_from::<rank::Request>()
        .schema_from::<rank::Answer<'_>>()
        .schema_from::<rank::Ranked<'_>>()
        .schema_from::<rank::Id>()
        .schema_from::<rank::Probability>()
        .build();
    let mut schemas = serde_json::to_value(ours.schemas).unwrap_or_default();
    if let Some(schemas) = schemas.as_object_mut() {
        schemas.extend([feedback(), protocol()].into_iter().filter_map(|more| more.as_object().cloned()).flatten());
    }
    schemas
}

/// What `POST /v1/feedback` takes and gives, as [`feedback`](crate::http) reads it.
fn feedback() -> Value {
    // Without control characters.
    let pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";
    let text = json!({ "type": "string", "minLength": 1, "maxLength": 256, "pattern": pattern });
    let whole = json!({ "type": "integer", "minimum": 0 });
    let number = json!({ "type": "integer", "minimum": i64::MIN, "maximum": u64::MAX });
    let moment = json!({ "type": "string", "format": "date-time" });
    let seconds = json!({ "type": "number", "minimum": 0, "exclusiveMaximum": 253_402_300_800_u64 });
    let nothing = json!({ "type": "null" });
    let event = json!({
        "type": "object",
        "required": ["request", "candidate", "action"],
        "additionalProperties": false,
        "properties": {
            "request": text, "candidate": { "oneOf": [number, { "type": "string" }] }, "action": text,
            "value": { "type": ["number", "null"] }, "time": { "oneOf": [moment, seconds, nothing] },
            "event": { "oneOf": [text, nothing] },
        },
    });
    json!({
        "Feedback": {
            "oneOf": [event, { "type": "array", "items": event }],
            "example": { "request": "9f2c", "candidate": "a", "action": "buy", "value": 9.5 },
        },
        "Accepted": {
            "type": "object",
            "required": ["accepted", "repeated"],
            "properties": { "accepted": whole, "repeated": whole },
        },
    })
}

/// The types of the Open Inference Protocol.
fn protocol() -> Value {
    let text = json!({ "type": "string" });
    let whole = json!({ "type": "integer", "minimum": 0 });
    let list = |items: Value| json!({ "type": "array", "items": items });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "properties": properties });
    let tensor = object(
        &["name", "datatype", "shape"],
        json!({ "name": text, "datatype": text, "shape": list(json!({ "type": "integer" })) }),
    );
    let entry =
        object(&["name", "version", "state"], json!({ "name": text, "version": text, "state": text, "reason": text }));
    let parameters = json!({ "type": "object" });
    json!({
        "Failure": object(&["error"], json!({ "error": text })),
        "Object": { "type": "object" },
        "Server": object(&["name", "version", "extensions"], json!({ "name": text, "version": text, "extensions": list(text.clone()) })),
        "Health": object(&["live", "ready"], json!({
            "live": { "type": "boolean" }, "ready": { "type": "boolean" }, "reason": text,
            "models": list(entry.clone()), "troubles": list(entry.clone()), "waiting": whole,
        })),
        "Model": object(&["name", "versions", "platform", "inputs", "outputs"], json!({
            "name": text, "versions": list(text.clone()), "platform": text,
            "inputs": list(tensor.clone()), "outputs": list(tensor), "parameters": parameters,
        })),
        "Statistics": object(&["model_stats"], json!({ "model_stats": list(json!({ "type": "object" })) })),
        "IndexRequest": object(&[], json!({ "ready": { "type": "boolean" } })),
        "Index": list(entry),
        "LoadRequest": object(&[], json!({ "parameters": { "type": "object", "maxProperties": 0 } })),
        "InferRequest": object(&["inputs"], json!({
            "id": text,
            "parameters": parameters,
            "inputs": list(object(&["name", "shape", "datatype"], json!({
                "name": text, "shape": list(whole.clone()), "datatype": text, "parameters": parameters, "data": { "type": "array" },
            }))),
            "outputs": list(object(&["name"], json!({ "name": text, "parameters": parameters }))),
        })),
        "InferAnswer": object(&["model_name", "model_version", "outputs"], json!({
            "model_name": text, "model_version": text, "id": text, "parameters": parameters,
            "outputs": list(object(&["name", "datatype", "shape"], json!({
                "name": text, "datatype": text, "shape": list(whole), "parameters": parameters,
                "data": list(json!({ "type": ["number", "null"] })),
            }))),
        })),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::routes;

    #[test]
    fn every_route_that_does_something_is_described_and_nothing_else() {
        let served: BTreeSet<(String, String)> = routes()
            .into_iter()
            .filter_map(|(method, path, _)| Some((method?.as_str().to_lowercase(), path)))
            .collect();
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())))
            .collect();
        assert_eq!(served, described);
    }

    #[test]
    fn every_reference_leads_to_a_schema_and_operations_have_names_of_their_own() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(all) => all.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
        }
        let paths = document["paths"].as_object().unwrap().values();
        let ids: Vec<&Value> =
            paths.flat_map(|item| item.as_object().unwrap().values().map(|one| &one["operationId"])).collect();
        let different: BTreeSet<String> = ids.iter().map(|id| id.to_string()).collect();
        assert_eq!(ids.len(), different.len());
    }
}
