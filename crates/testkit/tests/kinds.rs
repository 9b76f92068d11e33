//! The kinds on a real API server: documented manifests are stored unchanged under strict validation, and what cannot
//! work is refused by the schema itself, without any webhook.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

use kube::Client;
use odigos_api::API_VERSION;
use odigos_kit::apply::covered;
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::control_plane::{NAMESPACE, create_namespace};
use odigos_tools::root;
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::Command;

async fn create(client: &Client, object: &Value) -> Result<Value, String> {
    let kind = object["kind"].as_str().unwrap();
    let plural = odigos_api::crds::all().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap().spec.names.plural;
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    let uri = format!("/apis/{API_VERSION}/namespaces/{namespace}/{plural}?fieldValidation=Strict");
    let request = tonic::codegen::http::Request::post(uri).header("content-type", "application/json");
    let request = request.body(serde_json::to_vec(object).unwrap()).unwrap();
    client.request(request).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn documented_manifests_are_stored_unchanged_and_bad_ones_refused() {
    let api = ApiServer::start().await.unwrap();
    let client = api.client().await.unwrap();
    create_namespace(&client, NAMESPACE).await.unwrap();
    let text = std::fs::read_to_string(root().join("crates/api/tests/documented/kinds.yaml")).unwrap();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let object = Value::deserialize(document).unwrap();
        let stored = create(&client, &object).await.unwrap_or_else(|error| panic!("{error}\n{object}"));
        assert!(covered(&object, &stored), "stored otherwise: {object}\n{stored}");
    }
    // Under the name of older releases too, as scripts have it.
    for name in ["instrumentationconfigs", "instrumentedapplications", "instrumentedapplication", "ic"] {
        let mut kubectl = Command::new(odigos_tools::find("kubectl").unwrap());
        kubectl.arg("--kubeconfig").arg(api.kubeconfig()).args(["get", name, "--all-namespaces", "-o", "name"]);
        let output = kubectl.output().unwrap();
        let listed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            listed.trim(),
            "instrumentationconfig.odigos.io/deployment-shop",
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let mut wrong = Vec::new();
    for (kind, spec, expected) in refused() {
        let object = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"generateName": "bad-", "namespace": NAMESPACE}, "spec": spec});
        match create(&client, &object).await {
            Ok(_) => wrong.push(format!("accepted: {object}")),
            Err(error) if !error.contains(expected) => wrong.push(format!("{object}: {error}")),
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Kind, spec, and what the refusal says.
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let workload =
        |namespace: &str, kind: &str| json!({"workload": {"name": "x", "namespace": namespace, "kind": kind}});
    vec![
        ("Source", json!({}), "spec.workload"),
        ("Source", workload(NAMESPACE, "Namespace"), "must name its own namespace"),
        (
            "Destination",
            json!({"type": "jaeger", "destinationName": "j", "data": {}, "signals": ["SPANS"]}),
            "Unsupported value",
        ),
        ("Destination", json!({"destinationName": "j", "data": {}, "signals": ["TRACES"]}), "spec.type"),
        (
            "Destination",
            json!({"type": "jaeger", "destinationName": "j", "data": {"A": 1}, "signals": ["TRACES"]}),
            "spec.data.A",
        ),
        ("Action", json!({"signals": ["TRACES"]}), "exactly one of"),
        (
            "Action",
            json!({"signals": ["TRACES"], "inferDbAttributes": {}, "deleteAttribute": {"attributeNamesToDelete": ["a"]}}),
            "exactly one of",
        ),
        ("Action", json!({"signals": ["TRACES"], "piiMasking": {"piiCategories": ["PHONE"]}}), "Unsupported value"),
        (
            "Action",
            json!({"signals": ["TRACES"], "extractAttribute": {"extractions": [{"targetAttributeName": "a", "regex": "(a)", "lookupKey": "k", "dataFormat": "json"}]}}),
            "either regex, or lookupKey",
        ),
        ("Action", json!({"signals": ["TRACES"], "inferDbAttributes": {"scope": {}}}), "unknown field"),
        ("Sampling", json!({"noisyOperations": [{"percentageAtMost": 101}]}), "must be between 0 and 100"),
        ("Sampling", json!({"highlyRelevantOperations": [{"percentageAtLeast": -1}]}), "must be between 0 and 100"),
        ("Sampling", json!({"costReductionRules": [{}]}), "percentageAtMost"),
        (
            "Processor",
            json!({"type": "x", "signals": ["TRACES"], "collectorRoles": ["NODE"], "processorConfig": {}}),
            "Unsupported value",
        ),
        (
            "Processor",
            json!({"type": "k8s_attributes", "signals": ["TRACES"], "collectorRoles": ["NODE_COLLECTOR"], "dataStreams": ["a"], "processorConfig": {}}),
            "remove dataStreams",
        ),
        ("DataStream", json!({"samplingView": "both"}), "Unsupported value"),
        (
            "InstrumentationRule",
            json!({"payloadCollection": {"dbQuery": {"sanitizationPolicy": "some"}}}),
            "Unsupported value",
        ),
        ("InstrumentationConfig", json!({"containers": [{"agentEnabled": true}]}), "containerName"),
    ]
}
