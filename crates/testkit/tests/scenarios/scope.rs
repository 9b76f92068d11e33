//! Namespaces that are never covered, and those that are covered without a Source.

use crate::asking::{
    STILL, configs, forget, found, namespace, objects, put, says, source, sources, until_configs, until_says,
    until_streams, with, workload,
};
use kube::api::DeleteParams;
use odigos_api::names;
use odigos_testkit::control_plane::NAMESPACE;
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::{Process, eventually};
use serde_json::{Value, json};

const MARKED: &str = "MarkedForInstrumentation";

/// Status and reason of the condition `Accepted` of a Source.
async fn accepted(plane: &Plane, namespace: &str, name: &str) -> (String, String) {
    let found = sources(plane, namespace).get(name).await.unwrap();
    let conditions = found.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|one| one["type"] == "Accepted").unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (format!("{}/{}", text("status"), text("reason")), text("message"))
}

async fn until_accepted(plane: &Plane, namespace: &str, name: &str, expected: &str) -> String {
    let what = format!("Source {namespace}/{name} has Accepted {expected}");
    eventually(&what, LIMIT, async || accepted(plane, namespace, name).await.0 == expected).await.unwrap();
    accepted(plane, namespace, name).await.1
}

async fn until_generation(plane: &Plane, namespace: &str, name: &str, expected: i64) {
    let what = format!("{namespace}/{name} was changed {expected} times");
    eventually(&what, LIMIT, async || plane.generation(namespace, name).await.unwrap() == expected).await.unwrap();
}

/// A Deployment whose pod is there before anything is decided, so that it has to be restarted.
async fn running(plane: &Plane, namespace: &str, name: &str) {
    let pod = json!({"containers": [{"name": "app", "image": "none"}], "terminationGracePeriodSeconds": 1});
    plane.deploy(namespace, name, &pod).await.unwrap();
}

fn excluded(source: Value) -> Value {
    with(source, "/spec/disableInstrumentation", json!(true))
}

/// A workload that was covered loses its agents by the usual restart, and gets them back.
pub async fn ignored_namespace_is_uninstrumented_and_comes_back(plane: &Plane) {
    namespace(plane, "shop").await;
    running(plane, "shop", "cart").await;
    put(plane, &workload("shop", "Deployment", "web")).await;
    put(plane, &source("shop", "Namespace", "shop")).await;
    put(plane, &source("shop", "Deployment", "cart")).await;
    until_configs(plane, "shop", &["deployment-cart", "deployment-web"]).await;
    plane.detect("shop", "deployment-cart", &found("java", "17.0.12+7")).await.unwrap();
    plane.rolled_out("shop", "cart", 2).await.unwrap();
    plane.configure("ignoredNamespaces: ['sh*']\n").await.unwrap();
    until_configs(plane, "shop", &[]).await;
    until_generation(plane, "shop", "cart", 3).await;
    for name in ["namespace-shop", "deployment-cart"] {
        let message = until_accepted(plane, "shop", name, "False/NamespaceIgnored").await;
        assert!(message.contains("sh*") && message.contains("ignoredNamespaces"), "{message}");
    }
    plane.configure("").await.unwrap();
    until_configs(plane, "shop", &["deployment-cart", "deployment-web"]).await;
    until_accepted(plane, "shop", "deployment-cart", "True/Accepted").await;
}

/// Neither by a Source nor by the mode.
pub async fn control_plane_is_never_covered(plane: &Plane) {
    for namespace in [NAMESPACE, "kube-system"] {
        put(plane, &workload(namespace, "Deployment", "own")).await;
        put(plane, &source(namespace, "Deployment", "own")).await;
        until_accepted(plane, namespace, "deployment-own", "False/NamespaceIgnored").await;
        assert_eq!(configs(plane, namespace).await, Vec::<String>::new());
    }
}

/// A namespace that is created later is covered as soon as it has workloads; an exclusion is a Source and nothing else.
pub async fn opt_out_covers_namespaces_created_later(plane: &Plane) {
    plane
        .configure("instrumentation: {mode: optOut, optOutDataStreams: [apps]}\nignoredNamespaces: [quiet]\n")
        .await
        .unwrap();
    for name in ["later", "quiet"] {
        namespace(plane, name).await;
        running(plane, name, "a").await;
        put(plane, &workload(name, "CronJob", "b")).await;
    }
    until_configs(plane, "later", &["cronjob-b", "deployment-a"]).await;
    let message = until_says(plane, "later", "deployment-a", MARKED, "True/OptOut").await;
    assert!(message.contains("instrumentation.mode"), "{message}");
    until_streams(plane, "later", "deployment-a", &[("apps", "true")]).await;
    plane.detect("later", "deployment-a", &found("java", "17.0.12+7")).await.unwrap();
    plane.rolled_out("later", "a", 2).await.unwrap();
    for excluded_by in [source("later", "Deployment", "a"), source("later", "Namespace", "later")] {
        let exclusion = excluded(excluded_by);
        let left: &[&str] = if exclusion["spec"]["workload"]["kind"] == "Namespace" { &[] } else { &["cronjob-b"] };
        put(plane, &exclusion).await;
        until_configs(plane, "later", left).await;
        forget(plane, &exclusion).await;
        until_configs(plane, "later", &["cronjob-b", "deployment-a"]).await;
    }
    for never in ["quiet", NAMESPACE, "kube-system"] {
        assert_eq!(configs(plane, never).await, Vec::<String>::new(), "{never}");
    }
}

/// Without its configuration an instrumentor that starts anew knows neither the mode, nor which namespaces are ignored, nor who may be
/// restarted: it changes nothing, says so, and goes on when there is one again.
pub async fn lost_configuration_takes_nothing_back(plane: &Plane, mut instrumentor: Process) -> Process {
    let lines = "instrumentation: {mode: optOut}\nignoredNamespaces: [quiet]\n";
    let by_hand = format!("{lines}rollout: {{automaticRolloutDisabled: true}}\n");
    plane.configure(&by_hand).await.unwrap();
    running(plane, "later", "c").await;
    put(plane, &source("later", "Deployment", "c")).await;
    put(plane, &source("quiet", "Deployment", "a")).await;
    plane.detect("later", "deployment-c", &found("java", "17.0.12+7")).await.unwrap();
    until_says(plane, "later", "deployment-c", "WorkloadRollout", "True/Disabled").await;
    until_says(plane, "later", "deployment-a", MARKED, "True/OptOut").await;
    let all = ["cronjob-b", "deployment-a", "deployment-c"];
    until_configs(plane, "later", &all).await;
    let is_ignored = async || accepted(plane, "quiet", "deployment-a").await.0 == "False/NamespaceIgnored";
    assert!(eventually("the Source of the ignored namespace says so", LIMIT, is_ignored).await.is_ok());
    let decided = plane.config("later", "c").await.unwrap().spec;
    let generation = plane.generation("later", "c").await.unwrap();

    instrumentor.kill();
    let maps = objects(plane, "v1", "ConfigMap", NAMESPACE);
    maps.delete(names::EFFECTIVE_CONFIGURATION, &DeleteParams::default()).await.unwrap();
    // Covered before, and nothing covers it now: what a Source says is not the question while the mode is not known.
    forget(plane, &source("later", "Deployment", "c")).await;
    let mut instrumentor = plane.start_instrumentor().await.unwrap();
    for name in all {
        let is_pending = async || says(plane, "later", name, MARKED).await.0 == "Unknown/ConfigurationPending";
        let settled = eventually(&format!("{name} waits for the configuration"), LIMIT, is_pending).await;
        let runs = instrumentor.is_running();
        assert!(settled.is_ok(), "{settled:?}, the instrumentor runs: {runs}, {}", instrumentor.tail());
    }
    tokio::time::sleep(STILL).await;
    assert_eq!(configs(plane, "later").await, all);
    assert_eq!(plane.config("later", "c").await.unwrap().spec, decided, "other agents than were decided");
    assert_eq!(plane.generation("later", "c").await.unwrap(), generation, "restarted");
    assert_eq!(says(plane, "later", "deployment-c", "WorkloadRollout").await.0, "True/Disabled");
    assert_eq!(configs(plane, "quiet").await, Vec::<String>::new());
    assert_eq!(accepted(plane, "quiet", "deployment-a").await.0, "False/NamespaceIgnored");

    plane.configure(lines).await.unwrap();
    until_says(plane, "later", "deployment-a", MARKED, "True/OptOut").await;
    plane.rolled_out("later", "c", generation + 1).await.unwrap();
    plane.configure("ignoredNamespaces: [quiet]\n").await.unwrap();
    until_configs(plane, "later", &[]).await;
    instrumentor
}
