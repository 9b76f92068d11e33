//! Rows 26, 32–35, 37, 58, 59 and 62: what is decided about agents, and that nobody is restarted for nothing.

use crate::asking::{STILL, forget, found, marks, namespace, objects, put, says, source, until_says, with, workload};
use kube::api::{Patch, PatchParams, PostParams};
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::{API_VERSION, names};
use odigos_testkit::control_plane::NAMESPACE;
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};

/// What the owner of the cluster adds to containers with Java (58), and images with the agents of old versions, which the release
/// does not bring (32).
pub const CONFIGURATION: &str = "\
userInstrumentationEnvs: {languages: {java: {enabled: true, env: [{name: FOO, value: bar}, {name: ZONE, value: a}]}}}
agentImages: {nodejs-community-14: 'registry/nodejs:14', python-community3.8: 'registry/python:3.8'}
";

const AGENT: &str = "AgentEnabled";

/// A Deployment that a Source of its own asks for, in which this was found.
async fn runs(plane: &Plane, namespace: &str, name: &str, details: &Value) {
    put(plane, &workload(namespace, "Deployment", name)).await;
    put(plane, &source(namespace, "Deployment", name)).await;
    plane.detect(namespace, &format!("deployment-{name}"), details).await.unwrap();
}

/// Says what is said of a container through its Source.
async fn override_of(plane: &Plane, namespace: &str, name: &str, said: Value) {
    let mut one = json!({"containerName": "app"});
    one.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    let object = with(source(namespace, "Deployment", name), "/spec/containerOverrides", json!([one]));
    put(plane, &object).await;
}

async fn is_never_restarted(plane: &Plane, namespace: &str, name: &str) {
    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation(namespace, name).await.unwrap(), 1, "{namespace}/{name} was changed");
}

/// 26.
pub async fn without_pods_it_is_waited_for_one(plane: &Plane) {
    namespace(plane, "shop").await;
    put(plane, &with(workload("shop", "Deployment", "asleep"), "/spec/replicas", json!(0))).await;
    put(plane, &source("shop", "Deployment", "asleep")).await;
    until_says(plane, "shop", "deployment-asleep", "RuntimeDetection", "False/NoRunningPods").await;
    until_says(plane, "shop", "deployment-asleep", AGENT, "Unknown/RuntimeDetailsUnavailable").await;
    let api = objects(plane, "apps/v1", "Deployment", "shop");
    let change = json!({"spec": {"replicas": 1}});
    api.patch("asleep", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    until_says(plane, "shop", "deployment-asleep", "RuntimeDetection", "Unknown/WaitingForDetection").await;
    plane.detect("shop", "deployment-asleep", &found("java", "17.0.12+7")).await.unwrap();
    // Made, scaled, restarted.
    plane.rolled_out("shop", "asleep", 3).await.unwrap();
}

/// 32.
pub async fn old_versions_are_left_alone(plane: &Plane) {
    for (name, language, version) in [("node-8", "javascript", "8.17.0"), ("python-36", "python", "3.6.15")] {
        runs(plane, "shop", name, &found(language, version)).await;
        let config = format!("deployment-{name}");
        let message = until_says(plane, "shop", &config, AGENT, "False/UnsupportedRuntimeVersion").await;
        assert!(message.contains(version), "{message}");
        is_never_restarted(plane, "shop", name).await;
    }
    let rows = [
        ("node-14", "javascript", "14.21.3", "nodejs-community-14"),
        ("python-38", "python", "3.8.20", "python-community3.8"),
    ];
    for (name, language, version, distribution) in rows {
        runs(plane, "shop", name, &found(language, version)).await;
        plane.rolled_out("shop", name, 2).await.unwrap();
        let config = plane.config("shop", name).await.unwrap();
        assert_eq!(config.spec.containers[0].otel_distro_name, distribution);
    }
}

/// 33, 34.
pub async fn what_has_no_agent_gets_none(plane: &Plane) {
    runs(plane, "shop", "native", &found("cplusplus", "")).await;
    until_says(plane, "shop", "deployment-native", AGENT, "False/NoAvailableAgent").await;
    override_of(plane, "shop", "native", json!({"otelDistroName": "java-community"})).await;
    until_says(plane, "shop", "deployment-native", AGENT, "False/UnsupportedProgrammingLanguage").await;
    override_of(plane, "shop", "native", json!({"otelDistroName": "nobody-knows-it"})).await;
    until_says(plane, "shop", "deployment-native", AGENT, "False/NoAvailableAgent").await;
    is_never_restarted(plane, "shop", "native").await;
}

/// 35.
pub async fn a_stated_language_needs_no_pod(plane: &Plane) {
    put(plane, &with(workload("shop", "Deployment", "stated"), "/spec/replicas", json!(0))).await;
    let stated = json!({"runtimeInfo": {"language": "java", "runtimeVersion": "21.0.1"}});
    override_of(plane, "shop", "stated", stated).await;
    until_says(plane, "shop", "deployment-stated", AGENT, "True/EnabledSuccessfully").await;
    until_says(plane, "shop", "deployment-stated", "RuntimeDetection", "True/StatedBySource").await;
    let config = plane.config("shop", "stated").await.unwrap();
    assert_eq!(config.spec.containers[0].otel_distro_name, "java-community");
    assert_eq!(config.status.unwrap().runtime_details_by_container, Vec::new());
}

/// 37.
pub async fn other_vendors_are_respected(plane: &Plane) {
    let mut details = found("javascript", "20.17.0");
    details[0]["otherAgents"] = json!([{"name": "New Relic Agent"}]);
    runs(plane, "shop", "watched", &details).await;
    let message = until_says(plane, "shop", "deployment-watched", AGENT, "False/OtherAgentDetected").await;
    assert!(message.contains("New Relic"), "{message}");
    is_never_restarted(plane, "shop", "watched").await;
    override_of(plane, "shop", "watched", json!({"allowConcurrentAgents": true})).await;
    until_says(plane, "shop", "deployment-watched", AGENT, "True/EnabledSuccessfully").await;
    plane.rolled_out("shop", "watched", 2).await.unwrap();
    let config = plane.config("shop", "watched").await.unwrap();
    assert_eq!(config.spec.containers[0].agent_enabled_reason, "EnabledWithOtherAgents");
}

/// 58.
pub async fn variables_of_the_owner_do_not_replace_the_users(plane: &Plane) {
    namespace(plane, "owned").await;
    let env = json!([{"name": "FOO", "value": "mine"}]);
    let own = with(workload("owned", "Deployment", "java"), "/spec/template/spec/containers/0/env", env.clone());
    let other = workload("owned", "Deployment", "python");
    for (object, name, details) in [(own, "java", found("java", "17")), (other, "python", found("python", "3.11.7"))] {
        put(plane, &object).await;
        put(plane, &source("owned", "Deployment", name)).await;
        plane.detect("owned", &format!("deployment-{name}"), &details).await.unwrap();
    }
    let values = |pod: &Value, name: &str| {
        let list = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
        list.into_iter().filter(|one| one["name"] == name).map(|one| one["value"].clone()).collect::<Vec<Value>>()
    };
    let pod = plane.rolled_out("owned", "java", 2).await.unwrap();
    assert_eq!((values(&pod, "FOO"), values(&pod, "ZONE")), (vec![json!("mine")], vec![json!("a")]));
    let pod = plane.rolled_out("owned", "python", 2).await.unwrap();
    assert_eq!((values(&pod, "FOO"), values(&pod, "ZONE")), (vec![], vec![]));
}

/// 59: the same pod where admission never asks, where nothing is covered, and beside what is covered.
pub async fn what_nothing_covers_is_the_same_to_the_byte(plane: &Plane) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "plain", "labels": {"app": "plain"}, "annotations": {"note": "kept"}},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "app", "image": "none", "env": [{"name": "JAVA_TOOL_OPTIONS", "value": "-Dx=1"}]}],
        },
    });
    let mut stored = Vec::new();
    // Admission is not asked about the first.
    for name in ["kube-system", "other", "shop"] {
        namespace(plane, name).await;
        let api = objects(plane, "v1", "Pod", name);
        let object = serde_json::from_value(pod.clone()).unwrap();
        let mut taken = serde_json::to_value(api.create(&PostParams::default(), &object).await.unwrap()).unwrap();
        assert_eq!(marks(&taken), ["JAVA_TOOL_OPTIONS", "app"], "{name}");
        for own in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "namespace"] {
            taken["metadata"].as_object_mut().unwrap().remove(own);
        }
        stored.push(serde_json::to_vec(&taken).unwrap());
    }
    assert_eq!(stored[0], stored[1]);
    assert_eq!(stored[0], stored[2]);
}

/// 62, ours: what runs is not restarted for a destination that may come back.
pub async fn the_last_destination_takes_no_agent_out(plane: &Plane) {
    let before = plane.config("owned", "java").await.unwrap();
    let groups: kube::Api<CollectorsGroup> = kube::Api::namespaced(plane.client.clone(), NAMESPACE);
    let takes = async |signals: Value| {
        let change = json!({"status": {"receiverSignals": signals}});
        groups.patch_status(names::NODE_COLLECTOR, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    };
    takes(json!([])).await;
    // A new workload is reported to have nothing to send to, so it is known by then.
    runs(plane, "owned", "late", &found("java", "17")).await;
    until_says(plane, "owned", "deployment-late", AGENT, "False/NoCollectedSignals").await;
    tokio::time::sleep(STILL).await;
    let after = plane.config("owned", "java").await.unwrap();
    assert!(after.spec.agent_injection_enabled);
    assert_eq!(after.spec.agents_meta_hash, before.spec.agents_meta_hash);
    assert_eq!(plane.generation("owned", "java").await.unwrap(), 2);
    takes(json!(["TRACES", "METRICS"])).await;
    plane.rolled_out("owned", "late", 2).await.unwrap();
    assert_eq!(plane.generation("owned", "java").await.unwrap(), 2);
    assert_eq!(says(plane, "owned", "deployment-java", AGENT).await.0, "True/EnabledSuccessfully");
    forget(plane, &source("owned", "Deployment", "late")).await;
    let gone =
        async || objects(plane, API_VERSION, "InstrumentationConfig", "owned").get("deployment-late").await.is_err();
    eventually("its config is gone", LIMIT, gone).await.unwrap();
}
