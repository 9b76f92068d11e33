//! What agents were started with, through a real API server: which change restarts a workload, which is only reported, and how the
//! command line brings it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

use kube::api::{Api, Patch, PatchParams};
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::labels::{AGENTS_META_HASH, CLUSTER_INPUTS};
use odigos_api::{API_VERSION, names};
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{NAMESPACE, apply, create_namespace};
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;

/// Long enough that a restart that must not come would be seen.
const STILL: Duration = Duration::from_secs(3);

async fn odigos(plane: &Plane, arguments: &[&str], code: i32) -> String {
    let mut command = tokio::process::Command::new(binaries::built().unwrap().join("odigos"));
    command.args(arguments).env("KUBECONFIG", plane.api.kubeconfig()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "odigos {arguments:?}\n{out}\n{said}");
    out
}

async fn takes(plane: &Plane, signals: Value) {
    let groups: Api<CollectorsGroup> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let change = json!({"status": {"ready": true, "receiverSignals": signals}});
    groups.patch_status(names::NODE_COLLECTOR, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
}

async fn reason(plane: &Plane) -> (String, String) {
    let status = plane.config("shop", "cart").await.unwrap().status.unwrap_or_default();
    let found = status.conditions.into_iter().find(|one| one.type_ == "PodsManifestInjection");
    found.map(|one| (format!("{}/{}", one.status, one.reason), one.message)).unwrap_or_default()
}

async fn until(plane: &Plane, expected: &str) -> String {
    let settled = eventually(expected, LIMIT, async || reason(plane).await.0 == expected).await;
    let (found, message) = reason(plane).await;
    settled.unwrap_or_else(|error| panic!("{error:#}, but {found}: {message}"));
    message
}

fn value_of<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    let list = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    list.iter().find(|one| one["name"] == name).and_then(|one| one["value"].as_str())
}

fn zone(value: &str) -> String {
    format!(
        "userInstrumentationEnvs: {{languages: {{java: {{enabled: true, env: [{{name: ZONE, value: {value}}}]}}}}}}\n"
    )
}

async fn is_still(plane: &Plane, generation: i64) {
    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation("shop", "cart").await.unwrap(), generation, "the workload was restarted");
}

async fn source(plane: &Plane, service: &str) {
    let source = json!({
        "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"workload": {"name": "cart", "namespace": "shop", "kind": "Deployment"}, "otelServiceName": service},
    });
    apply(&plane.client, &source).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_follow_their_inputs_and_destinations_change_nothing() {
    let plane = Plane::start().await.unwrap();
    takes(&plane, json!(["METRICS"])).await;
    plane.configure(&zone("a")).await.unwrap();
    let mut instrumentor = plane.start_instrumentor().await.unwrap();
    create_namespace(&plane.client, "shop").await.unwrap();
    let pod = json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": "none"}]});
    plane.deploy("shop", "cart", &pod).await.unwrap();
    source(&plane, "cart").await;
    let found = json!([{"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false}]);
    plane.detect("shop", "deployment-cart", &found).await.unwrap();

    // Destinations take metrics alone; then traces too.
    let pod = plane.rolled_out("shop", "cart", 2).await.unwrap();
    let signals = ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"];
    assert_eq!(signals.map(|name| value_of(&pod, name)), [Some("otlp"); 3]);
    assert_eq!(value_of(&pod, "ZONE"), Some("a"));
    takes(&plane, json!(["METRICS", "TRACES"])).await;
    is_still(&plane, 2).await;
    assert_eq!(reason(&plane).await.0, "True/PodsAppliedSuccessfully");
    odigos(&plane, &["sources", "restart", "--outdated", "--dry-run"], 0).await;

    // A cluster-wide input is reported, by every screen.
    plane.configure(&zone("b")).await.unwrap();
    let message = until(&plane, "True/PodsAppliedWithOutdatedInputs").await;
    assert!(message.contains("1 pod runs with an older userInstrumentationEnvs since 20"), "{message}");
    is_still(&plane, 2).await;
    let status = plane.config("shop", "cart").await.unwrap().status.unwrap();
    let outdated = &status.outdated_inputs;
    assert_eq!((outdated.len(), outdated[0].input.as_str(), outdated[0].pods), (1, "userInstrumentationEnvs", 1));
    assert!(outdated[0].since.is_some());
    let out = odigos(&plane, &["describe", "workload", "deployment/cart", "-n", "shop"], 1).await;
    assert!(out.contains("older userInstrumentationEnvs"), "{out}");
    let name = pod["metadata"]["name"].as_str().unwrap();
    let out = odigos(&plane, &["why", name, "-n", "shop"], 0).await;
    assert!(out.contains("userInstrumentationEnvs (changed 20") && !out.contains("Nothing blocks it"), "{out}");
    let out = odigos(&plane, &["sources", "status"], 0).await;
    assert!(
        out.contains("PodsAppliedWithOutdatedInputs") && out.contains("odigos sources restart deployment/cart"),
        "{out}"
    );
    let out = odigos(&plane, &["sources", "restart", "--outdated", "--dry-run"], 10).await;
    assert!(
        out.contains("would restart Deployment shop/cart: 1 pod runs with an older userInstrumentationEnvs"),
        "{out}"
    );
    is_still(&plane, 2).await;

    // A restart brings it.
    odigos(&plane, &["sources", "restart", "deployment/cart", "-n", "shop", "--timeout", "90"], 0).await;
    until(&plane, "True/PodsAppliedSuccessfully").await;
    let pod = plane.newest("shop", "cart", &[]).await.unwrap();
    assert_eq!(value_of(&pod, "ZONE"), Some("b"));
    assert!(plane.config("shop", "cart").await.unwrap().status.unwrap().outdated_inputs.is_empty());
    is_still(&plane, 3).await;

    // A change to the workload itself restarts it by the rollout settings.
    source(&plane, "checkout").await;
    let pod = plane.rolled_out("shop", "cart", 4).await.unwrap();
    assert_eq!(value_of(&pod, "OTEL_SERVICE_NAME"), Some("checkout"));

    // An older release decided, and its pods say nothing about inputs: an upgrade restarts nothing.
    instrumentor.kill();
    let older = odigos_plan::objects::hash("app\ttrue\tjava-community", 16);
    let spec = json!({
        "spec": {"agentsMetaHash": older, "workloadInputsHash": null, "clusterInputs": null},
    });
    let configs = plane.configs("shop");
    configs.patch("deployment-cart", &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    let status = json!({"status": {"workloadRolloutHash": older}});
    configs.patch_status("deployment-cart", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    for pod in plane.pods("shop", "cart").await.unwrap() {
        let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(plane.client.clone(), "shop");
        let change = json!({"metadata": {"labels": {AGENTS_META_HASH: older}, "annotations": {CLUSTER_INPUTS: null}}});
        api.patch(&pod.metadata.name.unwrap(), &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    }
    plane.configure(&zone("c")).await.unwrap();
    let _again = plane.start_instrumentor().await.unwrap();
    let is_taken_over = async || !plane.config("shop", "cart").await.unwrap().spec.workload_inputs_hash.is_empty();
    eventually("the decision is taken over", LIMIT, is_taken_over).await.unwrap();
    is_still(&plane, 4).await;
    assert_eq!(plane.config("shop", "cart").await.unwrap().spec.agents_meta_hash, older);
    assert_eq!(reason(&plane).await.0, "True/PodsAppliedSuccessfully");

    // With the setting, a change of a cluster-wide input restarts, once.
    plane.configure(&format!("{}rollout: {{onInputChange: restart}}\n", zone("c"))).await.unwrap();
    is_still(&plane, 4).await;
    plane.configure(&format!("{}rollout: {{onInputChange: restart}}\n", zone("d"))).await.unwrap();
    let pod = plane.rolled_out("shop", "cart", 5).await.unwrap();
    assert_eq!(value_of(&pod, "ZONE"), Some("d"));
    is_still(&plane, 5).await;

    // Another image of the agents, as a new release brings, is reported and restarts nothing, even with the setting.
    let newer = format!("agentsImage: registry/agents:2\n{}rollout: {{onInputChange: restart}}\n", zone("d"));
    plane.configure(&newer).await.unwrap();
    let message = until(&plane, "True/PodsAppliedWithOutdatedInputs").await;
    assert!(message.contains("1 pod runs with an older agentsImage since 20"), "{message}");
    is_still(&plane, 5).await;
    let status = plane.config("shop", "cart").await.unwrap().status.unwrap();
    assert_eq!((status.outdated_inputs[0].input.as_str(), status.outdated_inputs[0].pods), ("agentsImage", 1));
    for (agent, did) in plane.api.audited() {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}
