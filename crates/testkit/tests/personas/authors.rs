//! Who has a role of the chart: each reaches the kinds of the table in docs/security.md and nothing else, and what authors of Actions, Samplings
//! and InstrumentationRules write reaches no secret, no file, and no stream of others, and keeps no pod from starting.

use crate::plane::{PASSWORD, Plane, bound};
use kube::Client;
use kube::api::{Api, PostParams};
use odigos_api::{API_VERSION, names};
use odigos_testkit::collector::expanded;
use odigos_testkit::control_plane::{NAMESPACE, apply, create_namespace, get_object};
use odigos_testkit::instrumentor::{self, LIMIT};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;

/// Each role with the kinds whose objects its holder may write.
const ROLES: [(&str, &[&str]); 8] = [
    ("odigos-source-editor", &["sources"]),
    ("odigos-destination-editor", &["destinations"]),
    ("odigos-action-editor", &["actions"]),
    ("odigos-sampling-editor", &["samplings"]),
    ("odigos-rule-editor", &["instrumentationrules"]),
    ("odigos-processor-editor", &["actions", "processors", "samplings"]),
    ("odigos-viewer", &[]),
    ("", &[]),
];

/// Kinds that somebody may write, with those that give power over the product.
const KINDS: [(&str, &str); 15] = [
    ("odigos.io", "sources"),
    ("odigos.io", "destinations"),
    ("odigos.io", "actions"),
    ("odigos.io", "samplings"),
    ("odigos.io", "instrumentationrules"),
    ("odigos.io", "processors"),
    ("odigos.io", "datastreams"),
    ("odigos.io", "collectorsgroups"),
    ("odigos.io", "instrumentationconfigs"),
    ("", "secrets"),
    ("", "configmaps"),
    ("", "pods"),
    ("", "serviceaccounts"),
    ("apps", "deployments"),
    ("apps", "daemonsets"),
];

async fn may(client: &Client, namespace: &str, verb: &str, (group, resource): (&str, &str)) -> bool {
    let review: SelfSubjectAccessReview = serde_json::from_value(json!({
        "spec": {"resourceAttributes": {"namespace": namespace, "verb": verb, "group": group, "resource": resource}},
    }))
    .unwrap();
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    api.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

/// What the roles of the chart give, as the real API server reads them.
pub(crate) async fn roles_give_what_the_table_says(plane: &Plane) {
    for (role, kinds) in ROLES {
        let client = bound(&plane.api, &plane.client, &format!("holder-of-{role}"), role).await;
        let expected: BTreeSet<&str> = kinds.iter().copied().collect();
        for verb in ["create", "update", "patch", "delete"] {
            let mut allowed = BTreeSet::new();
            for kind in KINDS {
                if may(&client, NAMESPACE, verb, kind).await {
                    allowed.insert(kind.1);
                }
                assert!(!may(&client, "shop", verb, kind).await, "{role} may {verb} {} in another namespace", kind.1);
            }
            assert_eq!(allowed, expected, "{role}: {verb}");
        }
        for kind in ["secrets", "configmaps"] {
            assert!(!may(&client, NAMESPACE, "get", ("", kind)).await, "{role} reads {kind}");
        }
    }
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

/// Each form of a reference, to a variable that the gateway has.
fn references(variable: &str) -> String {
    format!("${{env:{variable}}} ${{file:/etc/hostname}} $${{env:{variable}}} $$${{env:{variable}}} ${variable}")
}

/// The variable of the gateway that holds the password of others.
async fn password_variable(plane: &Plane) -> String {
    let text = plane.configuration(names::GATEWAY, "${env:D_").await;
    let name = text.split("${env:").find_map(|rest| rest.strip_prefix("D_")?.split('}').next()).unwrap().to_owned();
    format!("D_{name}")
}

/// No value of the collector reaches what an author wrote; what is its own does.
fn holds_no_secret(text: &str, variable: &str, of: &str) {
    let directory = tempfile::tempdir().unwrap();
    let read = expanded(text, directory.path(), &[(variable.to_owned(), PASSWORD.to_owned())]).unwrap();
    let config: Value = serde_yaml::from_str(&read).unwrap();
    let processors = config["processors"].to_string();
    assert!(processors.contains(&format!("${{env:{variable}}}")), "{of} stays as it is written: {processors}");
    assert!(!processors.contains(PASSWORD), "{of} reads the password of others: {processors}");
}

/// Who may create Actions, and nothing else.
pub(crate) async fn action_author_reads_nothing_and_chooses_no_stream(plane: &mut Plane) {
    let client = bound(&plane.api, &plane.client, "action-author", "odigos-action-editor").await;
    let variable = password_variable(plane).await;
    let text = references(&variable);
    let info = json!({"clusterAttributes": [{"attributeName": "stolen", "attributeStringValue": text}]});
    let spec = json!({"signals": ["TRACES", "LOGS"], "addClusterInfo": info});
    apply(&client, &object("Action", "thief", &spec)).await.unwrap();
    holds_no_secret(&plane.configuration(names::GATEWAY, "action/thief").await, &variable, "an Action");
    let reroute = json!({"signals": ["TRACES"], "renameAttribute": {"renames": {"mine": "odigos.stream.class"}}});
    let refused = format!("{:#}", apply(&client, &object("Action", "reroute", &reroute)).await.unwrap_err());
    assert!(refused.contains("odigos."), "{refused}");
    // Nor where the webhook does not answer: it is stored, and no collector runs it.
    plane.stop(names::INSTRUMENTOR);
    apply(&client, &object("Action", "reroute", &reroute)).await.unwrap();
    plane.comes_to_say("Action", "reroute", "TransformedToProcessor", "False/InvalidAction").await;
    assert!(!plane.configuration(names::GATEWAY, "action/thief").await.contains("action/reroute"));
}

/// Who may create Samplings, and nothing else.
pub(crate) async fn sampling_author_reads_nothing(plane: &Plane) {
    let client = bound(&plane.api, &plane.client, "sampling-author", "odigos-sampling-editor").await;
    let variable = password_variable(plane).await;
    let route = format!("/{}", references(&variable).replace(' ', "-"));
    let spec = json!({
        "name": references(&variable),
        "costReductionRules": [{"percentageAtMost": 10, "name": references(&variable), "operation": {"httpServer": {"route": route}}}],
    });
    apply(&client, &object("Sampling", "thief", &spec)).await.unwrap();
    holds_no_secret(&plane.configuration(names::GATEWAY, "tail_sampling").await, &variable, "a Sampling");
    let large = format!("{:#}", apply(&client, &object("Sampling", "large", &rules("large", 120))).await.unwrap_err());
    assert!(large.contains("may have 256 KiB"), "{large}");
    let many = format!("{:#}", apply(&client, &object("Sampling", "many", &rules("m", 251))).await.unwrap_err());
    assert!(many.contains("251 rules") && many.contains("may have 250"), "{many}");
}

/// As many rules, each of which takes several kilobytes of a gateway's configuration where the name is long.
fn rules(name: &str, count: usize) -> Value {
    let length = if name == "large" { 900 } else { 1 };
    let rule = |number: usize| {
        let route = format!("/{name}/{number}/{}", "x".repeat(length));
        json!({"percentageAtMost": 10, "operation": {"httpServer": {"route": route}}})
    };
    json!({"costReductionRules": (0..count).map(rule).collect::<Vec<Value>>()})
}

/// What is stored while no webhook answers is a condition of that object; rules and Destinations of others stay. No instrumentor runs.
pub(crate) async fn sampling_beyond_the_limits_stops_nothing(plane: &Plane) {
    let client = bound(&plane.api, &plane.client, "sampling-author", "odigos-sampling-editor").await;
    apply(&client, &object("Sampling", "large", &rules("large", 120))).await.unwrap();
    let said = plane.comes_to_say("Sampling", "large", "Accepted", "False/TooLarge").await;
    assert!(said.contains("KiB"), "{said}");
    plane.comes_to_say("Sampling", "large", "Active", "False/TooLarge").await;
    plane.comes_to_say("Sampling", "thief", "Accepted", "True/Valid").await;
    plane.comes_to_say("CollectorsGroup", names::GATEWAY, "ConfigValid", "True/Validated").await;
    let (destination, message) = plane.condition("Destination", "payments-vault", "DestinationConfigured").await;
    assert!(destination.starts_with("True/"), "{destination} {message}");
}

/// Who may create InstrumentationRules, and nothing else: what a rule sets refers to no variable of an application, collects no credential, and
/// keeps no pod from being created.
pub(crate) async fn rule_author_reads_nothing_and_stops_no_pod() {
    let plane = instrumentor::Plane::start().await.unwrap();
    let mut instrumentor = plane.start_instrumentor().await.unwrap();
    create_namespace(&plane.client, "shop").await.unwrap();
    plane.cover("shop").await.unwrap();
    let variables = json!([{"name": "DB_PASSWORD", "value": PASSWORD}]);
    plane
        .deploy("shop", "cart", &json!({"containers": [{"name": "app", "image": "none", "env": variables}]}))
        .await
        .unwrap();
    let java = json!([
        {"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false},
    ]);
    plane.detect("shop", "deployment-cart", &java).await.unwrap();
    plane.rolled_out("shop", "cart", 2).await.unwrap();

    let client = bound(&plane.api, &plane.client, "rule-author", "odigos-rule-editor").await;
    let rule = json!({
        "headersCollection": {"headerKeys": ["x-mine", "Authorization", "cookie"]},
        "customInstrumentations": {"java": [{"className": "$(DB_PASSWORD)", "methodName": "a"}]},
    });
    apply(&client, &object("InstrumentationRule", "thief", &rule)).await.unwrap();
    let pod = plane.rolled_out("shop", "cart", 3).await.unwrap();
    let list = pod["spec"]["containers"][0]["env"].to_string();
    assert!(list.contains("$$(DB_PASSWORD)[a]"), "the kubelet puts nothing in its place: {list}");
    assert!(list.contains("x-mine") && !list.contains("authorization") && !list.contains("cookie"), "{list}");

    let keys = |number: usize| -> Vec<String> {
        (0..250).map(|key| format!("x-{number}-{}-{key}", "k".repeat(100))).collect()
    };
    let too_many: Vec<String> = (0..20).flat_map(keys).collect();
    apply(&client, &object("InstrumentationRule", "large", &json!({"headersCollection": {"headerKeys": too_many}})))
        .await
        .unwrap();
    for number in 0..4 {
        let spec = json!({"headersCollection": {"headerKeys": keys(number)}});
        apply(&client, &object("InstrumentationRule", &format!("part-{number}"), &spec)).await.unwrap();
    }
    let is_rejected = async || {
        let found = get_object(&plane.client, API_VERSION, "InstrumentationRule", NAMESPACE, "large").await.unwrap();
        found.data["status"]["conditions"].to_string().contains("TooLarge")
    };
    eventually("the rule is rejected", LIMIT, is_rejected).await.unwrap();
    let is_bounded = async || {
        let config = plane.config("shop", "cart").await.unwrap();
        config.spec.containers.iter().any(|one| one.agent_enabled_message.contains("at most 32768 are set"))
    };
    eventually("the rules together set no more than a pod holds", LIMIT, is_bounded).await.unwrap();
    let replaced = plane.replaced("shop", "cart").await.unwrap();
    assert!(replaced["metadata"]["labels"].get(odigos_api::labels::AGENTS_META_HASH).is_some());
    assert!(replaced.to_string().len() < 64 << 10, "{} bytes", replaced.to_string().len());
    instrumentor.kill();
}
