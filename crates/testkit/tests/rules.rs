//! InstrumentationRules through a real API server: a rule changes, pods are made anew and carry the setting, and the rule's
//! conditions say what became of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

use kube::api::{Api, Patch, PatchParams};
use odigos_api::API_VERSION;
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_testkit::control_plane::{NAMESPACE, apply, create_namespace};
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};

const HEADERS: &str = "OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS";
const DISABLED: &str = "OTEL_NODE_DISABLED_INSTRUMENTATIONS";

fn rules(plane: &Plane) -> Api<InstrumentationRule> {
    Api::namespaced(plane.client.clone(), NAMESPACE)
}

async fn create(plane: &Plane, namespace: &str, name: &str, spec: Value) {
    let object = json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationRule", "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    });
    apply(&plane.client, &object).await.unwrap();
}

/// Waits until a condition of a rule has the reason; returns its status and message.
async fn says(plane: &Plane, rule: &str, kind: &str, reason: &str) -> (String, String) {
    let rules = rules(plane);
    let find = async || {
        let status = rules.get(rule).await.unwrap().status.unwrap_or_default();
        status.conditions.into_iter().find(|one| one.type_ == kind)
    };
    let there = async || find().await.is_some_and(|one| one.reason == reason);
    let settled = eventually(&format!("{rule} says {reason}"), LIMIT, there).await;
    let found = find().await;
    settled.unwrap_or_else(|error| panic!("{error:#} {found:?}"));
    found.map(|one| (one.status, one.message)).unwrap()
}

/// The value of a variable of the only container, if it is set.
fn value_of(pod: &Value, name: &str) -> Option<String> {
    let list = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    list.iter().find(|one| one["name"] == name).map(|one| one["value"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_reaches_new_pods_and_says_what_became_of_it() {
    let plane = Plane::start().await.unwrap();
    let _instrumentor = plane.start_instrumentor().await.unwrap();
    create_namespace(&plane.client, "shop").await.unwrap();
    plane.cover("shop").await.unwrap();
    // 70: what the user sets stays.
    let with = |name: &str, value: &str| json!({"containers": [{"name": "app", "image": "none", "env": [{"name": name, "value": value}]}]});
    plane.deploy("shop", "cart", &with("OTEL_TRACES_EXPORTER", "console")).await.unwrap();
    plane.deploy("shop", "api", &with(DISABLED, "net")).await.unwrap();
    let runs = |language: &str, version: &str| json!([{"containerName": "app", "language": language, "runtimeVersion": version, "secureExecutionMode": false}]);
    plane.detect("shop", "deployment-cart", &runs("java", "17.0.12+7")).await.unwrap();
    plane.detect("shop", "deployment-api", &runs("javascript", "20.17.0")).await.unwrap();
    let pod = plane.rolled_out("shop", "cart", 2).await.unwrap();
    assert_eq!((value_of(&pod, HEADERS), value_of(&pod, "OTEL_TRACES_EXPORTER").as_deref()), (None, Some("console")));
    plane.rolled_out("shop", "api", 2).await.unwrap();

    create(&plane, NAMESPACE, "broken", json!({"customInstrumentations": {"java": [{"className": "C"}]}})).await;
    create(&plane, "shop", "elsewhere", json!({"traceConfig": {"disabled": true}})).await;
    create(&plane, NAMESPACE, "headers", json!({"headersCollection": {"headerKeys": ["X-Request-Id"]}})).await;
    let fs = json!([{"language": "javascript", "libraryName": "@opentelemetry/instrumentation-fs"}]);
    // One restart for both: the second rule comes before the first one's restart is through, or asks for one more.
    let pod = plane.rolled_out("shop", "cart", 3).await.unwrap();
    assert_eq!(value_of(&pod, HEADERS).as_deref(), Some("x-request-id"));
    assert_eq!(value_of(&pod, "OTEL_TRACES_EXPORTER").as_deref(), Some("console"));
    assert_eq!(value_of(&pod, "OTEL_METRICS_EXPORTER").as_deref(), Some("otlp"), "67: rules elsewhere are not read");
    assert!(value_of(&pod, "OTEL_INSTRUMENTATION_METHODS_INCLUDE").is_none());
    let (status, message) = says(&plane, "headers", "Applied", "PartiallyApplied").await;
    assert_eq!(
        (status.as_str(), message.as_str()),
        (
            "True",
            "In 1 of 2 containers (2 workloads). nodejs-community (1 container): headersCollection: the agent takes no list of \
             headers by a variable."
        )
    );
    let config = plane.config("shop", "api").await.unwrap();
    assert!(config.spec.containers[0].agent_enabled_message.contains("headersCollection"), "{:?}", config.spec);
    assert_eq!(says(&plane, "headers", "InstrumentationRuleValidation", "Valid").await.0, "True");
    let (status, message) = says(&plane, "broken", "InstrumentationRuleValidation", "InvalidProbe").await;
    assert!(
        status == "False" && message.contains("spec.customInstrumentations.java[0] needs className and methodName")
    );
    assert_eq!(says(&plane, "broken", "Applied", "InvalidRule").await.0, "False");
    let untouched: Api<InstrumentationRule> = Api::namespaced(plane.client.clone(), "shop");
    assert_eq!(untouched.get("elsewhere").await.unwrap().status, None);

    // 62: the user's value wins, and it is said.
    create(&plane, NAMESPACE, "quiet", json!({"traceVerbosity": {"disabledLibraries": fs}})).await;
    let (_, message) = says(&plane, "quiet", "Applied", "PartiallyApplied").await;
    assert!(message.contains(&format!("Deployment shop/api: sets {DISABLED} itself, which stays.")), "{message}");
    let pod = plane.rolled_out("shop", "api", 3).await.unwrap();
    assert_eq!(value_of(&pod, DISABLED).as_deref(), Some("net"));

    // 58: without automatic restarts a rule that goes waits for them.
    plane.configure("rollout: {automaticRolloutDisabled: true}\n").await.unwrap();
    let is_manual = async || {
        let status = plane.config("shop", "cart").await.unwrap().status.unwrap_or_default();
        status.conditions.iter().any(|one| one.type_ == "WorkloadRollout" && one.reason == "Disabled")
    };
    eventually("nothing is restarted any more", LIMIT, is_manual).await.unwrap();
    let off = json!({"spec": {"disabled": true}});
    rules(&plane).patch("headers", &PatchParams::default(), &Patch::Merge(&off)).await.unwrap();
    let (status, message) = says(&plane, "headers", "Applied", "PendingRestart").await;
    assert_eq!(
        (status.as_str(), message.as_str()),
        ("Unknown", "No longer in force; 1 container runs with it until their pods are replaced.")
    );
    let pod = plane.replaced("shop", "cart").await.unwrap();
    assert_eq!(value_of(&pod, HEADERS), None);
    assert_eq!(says(&plane, "headers", "Applied", "Disabled").await.0, "False");
    for (agent, did) in plane.api.audited() {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}
