//! Who may create and change Processors: C1 of the review, in which a Processor read files of nodes and Secrets of Destinations.

use crate::plane::{PASSWORD, Plane};
use odigos_api::{API_VERSION, names};
use odigos_testkit::collector::expanded;
use odigos_testkit::control_plane::{NAMESPACE, apply};
use serde_json::{Value, json};

/// Every form of reference, with what a collector makes of it: own variables alone are replaced.
const TEXTS: [(&str, &str); 10] = [
    ("${file:/etc/hostname}", "${file:/etc/hostname}"),
    ("${http://169.254.169.254/latest}", "${http://169.254.169.254/latest}"),
    ("$$${file:/etc/hostname}", "$${file:/etc/hostname}"),
    ("${env:${env:NODE_NAME}}", "${env:local}"),
    ("node ${env:NODE_NAME}", "node local"),
    ("$1", "$1"),
    ("$$1", "$1"),
    ("${1}", "${1}"),
    ("$${1}", "${1}"),
    ("$$$", "$$"),
];

fn processor(name: &str, type_: &str, settings: &Value) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Processor", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "type": type_, "signals": ["TRACES", "METRICS", "LOGS"],
            "collectorRoles": ["CLUSTER_GATEWAY", "NODE_COLLECTOR"], "processorConfig": settings,
        },
    })
}

/// A reference in a Processor is text on both collectors: the attacker gets no password, no file and no answer of another server.
pub(crate) async fn references_are_text_on_both_collectors(plane: &Plane) {
    let client = plane.persona("o-processor", "processors", &["get", "create", "patch", "update"]).await;
    let gateway = plane.configuration(names::GATEWAY, "${env:D_").await;
    let variable =
        gateway.split("${env:").find_map(|rest| rest.strip_prefix("D_")?.split('}').next()).unwrap().to_owned();
    let secret = format!("${{env:D_{variable}}}");
    let mut actions: Vec<Value> = TEXTS
        .iter()
        .enumerate()
        .map(|(number, (text, _))| json!({"key": format!("t{number}"), "action": "upsert", "value": text}))
        .collect();
    actions.push(json!({"key": "stolen", "action": "upsert", "value": secret}));
    apply(&client, &processor("thief", "resource", &json!({"attributes": actions}))).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let variables = [(format!("D_{variable}"), PASSWORD.to_owned())];
    for group in [names::GATEWAY, names::NODE_COLLECTOR] {
        let text = plane.configuration(group, "resource/thief").await;
        let read = expanded(&text, directory.path(), &variables).unwrap();
        let config: Value = serde_yaml::from_str(&read).unwrap();
        let values = config["processors"]["resource/thief"]["attributes"].as_array().unwrap().clone();
        for (number, (written, expected)) in TEXTS.iter().enumerate() {
            assert_eq!(values[number]["value"], *expected, "{written} in {group}");
        }
        assert_eq!(values[TEXTS.len()]["value"], secret.as_str(), "{group}");
    }
    let message = plane.comes_to_say("Processor", "thief", "AddedToCollectorConfig", "True/ConfigUpdated_").await;
    assert!(message.contains("${file:/etc/hostname} is used as it is written"), "{message}");
}

/// Types that reach beyond the items that pass them are rejected by the webhook, and by the policy of the chart where it does not answer.
pub(crate) async fn types_that_reach_further_are_rejected(plane: &mut Plane) {
    let client = plane.persona("o-processor-types", "processors", &["get", "create", "patch", "update"]).await;
    let tap = processor("tap", "remotetap", &json!({"endpoint": "0.0.0.0:12001"}));
    let rejected = format!("{:#}", apply(&client, &tap).await.unwrap_err());
    assert!(rejected.contains("remotetap") && rejected.contains("processors.additionalTypes"), "{rejected}");
    plane.stop(names::INSTRUMENTOR);
    let rejected = format!("{:#}", apply(&client, &tap).await.unwrap_err());
    assert!(rejected.contains("ValidatingAdmissionPolicy 'odigos-processors.odigos-system'"), "{rejected}");
    apply(&client, &processor("kept", "resource", &json!({"attributes": []}))).await.unwrap();
    let mut renamed = processor("kept", "resource_detection", &json!({}));
    assert!(apply(&client, &renamed).await.is_err(), "nor by a change of one that is there");
    renamed["spec"]["type"] = json!("k8sattributes");
    assert!(apply(&client, &renamed).await.is_err(), "whatever the spelling");
}

/// A Processor that takes all the memory of gateways goes alone; what others have stays.
pub(crate) async fn glutton_goes_alone(plane: &Plane) {
    let client = plane.persona("o-processor-memory", "processors", &["get", "create", "patch", "update"]).await;
    let settings = json!({"wait_duration": "1h", "num_traces": 100_000_000});
    let mut glutton = processor("glutton", "groupbytrace", &settings);
    glutton["spec"]["signals"] = json!(["TRACES"]);
    glutton["spec"]["collectorRoles"] = json!(["CLUSTER_GATEWAY"]);
    apply(&client, &glutton).await.unwrap();
    plane.configuration(names::GATEWAY, "groupbytrace/glutton").await;
    plane.gateways_run_out_of_memory("groupbytrace/glutton").await;
    let said = plane.comes_to_say("Processor", "glutton", "AddedToCollectorConfig", "False/ProcessorStartFailed").await;
    assert!(said.contains("ran out of memory"), "{said}");
    for (kind, name, condition) in
        [("Destination", "payments-vault", "DestinationConfigured"), ("Processor", "thief", "AddedToCollectorConfig")]
    {
        let (status, message) = plane.condition(kind, name, condition).await;
        assert!(status.starts_with("True/"), "{kind} {name}: {status} {message}");
    }
    plane.comes_to_say("CollectorsGroup", names::GATEWAY, "ConfigValid", "False/ProcessorQuarantined").await;
}

/// A mask that takes all memory is not left out: what it hides would be exported. Its rollout is held, and old gateways serve.
pub(crate) async fn mask_that_takes_all_memory_is_held(plane: &Plane) {
    let mask = json!({
        "apiVersion": API_VERSION, "kind": "Action", "metadata": {"name": "mask", "namespace": NAMESPACE},
        "spec": {"signals": ["TRACES"], "piiMasking": {"piiCategories": ["UUID"]}},
    });
    apply(&plane.client, &mask).await.unwrap();
    plane.configuration(names::GATEWAY, "action/mask").await;
    plane.gateways_run_out_of_memory("action/mask").await;
    let said = plane.comes_to_say("CollectorsGroup", names::GATEWAY, "ConfigValid", "False/CollectorOutOfMemory").await;
    assert!(said.contains("before it was ready"), "{said}");
    let (added, message) = plane.condition("Action", "mask", "AddedToCollectorConfig").await;
    assert!(added.starts_with("True/"), "{added} {message}");
    let (status, message) = plane.condition("Destination", "payments-vault", "DestinationConfigured").await;
    assert!(status.starts_with("True/"), "{status} {message}");
}
