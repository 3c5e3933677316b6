//! What a server says about itself and its models.

use serde_json::{Value, json};

use crate::common::{Client, Golden, artifact, serve};

#[test]
fn metadata_names_what_requests_bring_and_what_they_get() {
    let (server, golden) = (serve(1), Golden::of(&artifact(1)));
    let mut client = Client::new(server.http());
    let about = client.get("/v2").json();
    let extensions: Vec<&str> = about["extensions"].as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect();
    assert!(extensions.contains(&"binary_tensor_data") && extensions.contains(&"model_repository"), "{about}");
    let about = client.get("/v2/models/seed-1").json();
    let names = |key: &str| -> Vec<String> {
        about[key].as_array().unwrap().iter().map(|tensor| tensor["name"].as_str().unwrap().to_string()).collect()
    };
    let columns = golden.scorer.features().columns(crosstie::feature::Purpose::Scoring);
    assert_eq!(names("inputs"), columns);
    assert_eq!(names("outputs"), golden.outputs().into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!(about["versions"], json!(["1"]));
    let datatype = |name: &str| {
        let inputs = about["inputs"].as_array().unwrap();
        inputs.iter().find(|input| input["name"] == name).unwrap()["datatype"].clone()
    };
    assert_eq!(
        (datatype("price"), datatype("tags"), datatype("user_id")),
        (json!("FP64"), json!("BYTES"), json!("BYTES"))
    );
    let config = client.get("/v2/models/seed-1/versions/1/config").json();
    assert_eq!(config["input"].as_array().unwrap().len(), columns.len());
    assert_eq!(config["max_batch_size"], server.state().settings.limits.candidates);
}

#[test]
fn statistics_count_answers_failures_and_rows() {
    let (server, golden) = (serve(1), Golden::of(&artifact(1)));
    let mut client = Client::new(server.http());
    let path = "/v2/models/seed-1/infer";
    for request in [golden.request(), golden.request(), json!({"inputs": []})] {
        client.post(path, &request);
    }
    let statistics = client.get("/v2/models/seed-1/stats").json()["model_stats"][0].clone();
    assert_eq!(client.get("/v2/models/stats").json()["model_stats"][0], statistics);
    assert_eq!(statistics["inference_count"], 2 * golden.rows.len());
    let count = |what: &str| statistics["inference_stats"][what]["count"].clone();
    assert_eq!((count("success"), count("fail"), count("compute_infer")), (json!(2), json!(1), json!(2)));
    let time = |what: &str| statistics["inference_stats"][what]["ns"].as_u64().unwrap();
    assert!(time("compute_infer") > 0 && time("compute_infer") + time("queue") <= time("success"));
}

#[test]
fn health_and_index_tell_what_serves() {
    let server = serve(1);
    let mut client = Client::new(server.http());
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/seed-1/ready", "/v2/models/seed-1/versions/1/ready"]
    {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    let health = client.get("/v2/health").json();
    assert_eq!((&health["ready"], &health["troubles"]), (&json!(true), &json!([])));
    let ready = json!([{ "name": "seed-1", "version": "1", "state": "READY", "reason": "" }]);
    let index = |client: &mut Client, body: &Value| client.post("/v2/repository/index", body).json();
    assert_eq!(index(&mut client, &json!({})), ready);
    assert_eq!(client.post("/v2/repository/models/seed-1/unload", &json!({})).status, 200);
    assert_eq!(index(&mut client, &json!({}))[0]["state"], "UNAVAILABLE");
    assert_eq!(index(&mut client, &json!({ "ready": true })), json!([]));
    assert_eq!(client.get("/v2/models/seed-1/ready").status, 503);
    assert_eq!(client.get("/v2/health/ready").status, 503, "nothing is served");
    assert_eq!(client.post("/v2/repository/models/seed-1/load", &json!({})).status, 200);
    assert_eq!(index(&mut client, &json!({})), ready);
    assert_eq!(client.get("/v2/health/ready").status, 200);
}
