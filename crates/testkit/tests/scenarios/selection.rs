//! Rows 10–14, 17, 18, 20, 21 and 61: which workloads Sources select, and the streams that they give them.

use crate::asking::{
    STILL, configs, forget, found, in_streams, namespace, put, says, source, sources, until_configs, until_says,
    until_streams, with, workload,
};
use odigos_testkit::control_plane::list;
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};

const MARKED: &str = "MarkedForInstrumentation";

async fn deploy(plane: &Plane, namespace: &str, names: &[&str]) {
    for name in names {
        put(plane, &workload(namespace, "Deployment", name)).await;
    }
}

fn disabled(source: Value) -> Value {
    with(source, "/spec/disableInstrumentation", json!(true))
}

/// 10.
pub async fn a_namespace_covers_every_kind(plane: &Plane) {
    for (kind, name) in [("Deployment", "a"), ("StatefulSet", "b"), ("DaemonSet", "c"), ("CronJob", "d")] {
        put(plane, &workload("default", kind, name)).await;
    }
    put(plane, &source("default", "Namespace", "default")).await;
    let expected = ["cronjob-d", "daemonset-c", "deployment-a", "statefulset-b"];
    until_configs(plane, "default", &expected).await;
    for config in expected {
        until_says(plane, "default", config, MARKED, "True/NamespaceSource").await;
    }
}

/// 11.
pub async fn one_is_excluded_and_comes_back(plane: &Plane) {
    let excluded = disabled(source("default", "Deployment", "a"));
    put(plane, &excluded).await;
    until_configs(plane, "default", &["cronjob-d", "daemonset-c", "statefulset-b"]).await;
    forget(plane, &excluded).await;
    until_configs(plane, "default", &["cronjob-d", "daemonset-c", "deployment-a", "statefulset-b"]).await;
    until_says(plane, "default", "deployment-a", MARKED, "True/NamespaceSource").await;
}

/// 12.
pub async fn one_is_asked_for_where_nothing_else_is(plane: &Plane) {
    namespace(plane, "off").await;
    deploy(plane, "off", &["a", "b"]).await;
    put(plane, &disabled(source("off", "Namespace", "off"))).await;
    put(plane, &source("off", "Deployment", "a")).await;
    until_configs(plane, "off", &["deployment-a"]).await;
    until_says(plane, "off", "deployment-a", MARKED, "True/WorkloadSource").await;
    tokio::time::sleep(STILL).await;
    assert_eq!(configs(plane, "off").await, ["deployment-a"]);
}

/// 13: the object is the same one, and nothing is restarted.
pub async fn the_namespace_goes_and_one_stays(plane: &Plane) {
    namespace(plane, "leaving").await;
    deploy(plane, "leaving", &["a", "b", "c"]).await;
    let whole = source("leaving", "Namespace", "leaving");
    put(plane, &whole).await;
    put(plane, &source("leaving", "Deployment", "a")).await;
    until_configs(plane, "leaving", &["deployment-a", "deployment-b", "deployment-c"]).await;
    plane.detect("leaving", "deployment-a", &found("java", "17.0.12+7")).await.unwrap();
    plane.rolled_out("leaving", "a", 2).await.unwrap();
    let before = plane.config("leaving", "a").await.unwrap();
    forget(plane, &whole).await;
    until_configs(plane, "leaving", &["deployment-a"]).await;
    until_says(plane, "leaving", "deployment-a", MARKED, "True/WorkloadSource").await;
    tokio::time::sleep(STILL).await;
    let after = plane.config("leaving", "a").await.unwrap();
    assert_eq!((after.metadata.uid, after.spec.agents_meta_hash), (before.metadata.uid, before.spec.agents_meta_hash));
    assert_eq!(plane.generation("leaving", "a").await.unwrap(), 2);
}

/// 14.
pub async fn a_source_waits_for_its_workload(plane: &Plane) {
    namespace(plane, "early").await;
    put(plane, &source("early", "Deployment", "late")).await;
    tokio::time::sleep(STILL).await;
    assert_eq!(configs(plane, "early").await, Vec::<String>::new());
    deploy(plane, "early", &["late"]).await;
    until_configs(plane, "early", &["deployment-late"]).await;
}

/// 17.
pub async fn patterns_cover_later_ones_too(plane: &Plane) {
    namespace(plane, "many").await;
    deploy(plane, "many", &["web-1", "web-2", "api", "my-web-4"]).await;
    put(plane, &workload("many", "StatefulSet", "web-0")).await;
    let pattern = with(source("many", "Deployment", "^web-"), "/metadata/name", json!("web"));
    put(plane, &with(pattern, "/spec/matchWorkloadNameAsRegex", json!(true))).await;
    until_configs(plane, "many", &["deployment-web-1", "deployment-web-2"]).await;
    deploy(plane, "many", &["web-3"]).await;
    let covered = ["deployment-web-1", "deployment-web-2", "deployment-web-3"];
    until_configs(plane, "many", &covered).await;
    // Neither another kind, nor a name that holds the pattern elsewhere, nor what came first: and it stays so.
    tokio::time::sleep(STILL).await;
    assert_eq!(configs(plane, "many").await, covered);
    // Each is decided and restarted for itself.
    plane.detect("many", "deployment-web-2", &found("java", "17.0.12+7")).await.unwrap();
    plane.rolled_out("many", "web-2", 2).await.unwrap();
    for name in ["web-1", "web-3", "api", "my-web-4"] {
        assert_eq!(plane.generation("many", name).await.unwrap(), 1, "{name}");
    }
}

/// 18.
pub async fn kinds_of_one_name_are_independent(plane: &Plane) {
    namespace(plane, "twins").await;
    for kind in ["Deployment", "StatefulSet"] {
        put(plane, &workload("twins", kind, "a-b-c")).await;
        put(plane, &source("twins", kind, "a-b-c")).await;
    }
    until_configs(plane, "twins", &["deployment-a-b-c", "statefulset-a-b-c"]).await;
    plane.detect("twins", "deployment-a-b-c", &found("java", "17.0.12+7")).await.unwrap();
    plane.rolled_out("twins", "a-b-c", 2).await.unwrap();
    let (other, _) = says(plane, "twins", "statefulset-a-b-c", "AgentEnabled").await;
    assert!(other.starts_with("Unknown/"), "nothing is known of the other one: {other}");
    forget(plane, &source("twins", "Deployment", "a-b-c")).await;
    until_configs(plane, "twins", &["statefulset-a-b-c"]).await;
}

/// 20 and 21: what configs are labelled with. Where data goes then is shown on the cluster.
pub async fn streams_come_from_both_sources(plane: &Plane) {
    namespace(plane, "streams").await;
    deploy(plane, "streams", &["both", "plain"]).await;
    put(plane, &in_streams(source("streams", "Deployment", "both"), &[("1", "true"), ("2", "true")])).await;
    put(plane, &source("streams", "Deployment", "plain")).await;
    until_streams(plane, "streams", "deployment-both", &[("1", "true"), ("2", "true")]).await;
    until_streams(plane, "streams", "deployment-plain", &[("default", "true")]).await;

    namespace(plane, "moved").await;
    deploy(plane, "moved", &["other", "stays"]).await;
    put(plane, &in_streams(source("moved", "Namespace", "moved"), &[("a", "true")])).await;
    put(plane, &in_streams(source("moved", "Deployment", "other"), &[("a", "false"), ("b", "true")])).await;
    until_streams(plane, "moved", "deployment-other", &[("a", "false"), ("b", "true")]).await;
    until_streams(plane, "moved", "deployment-stays", &[("a", "true")]).await;
}

/// 61, and 60 as far as it is about Sources: none hangs, and no config is left.
pub async fn without_sources_nothing_is_left(plane: &Plane) {
    for one in list(&plane.client, odigos_api::API_VERSION, "Source").await.unwrap() {
        let namespace = one.metadata.namespace.unwrap();
        sources(plane, &namespace).delete(&one.metadata.name.unwrap(), &Default::default()).await.unwrap();
    }
    let is_empty = async || {
        let sources = list(&plane.client, odigos_api::API_VERSION, "Source").await.unwrap();
        let configs = list(&plane.client, odigos_api::API_VERSION, "InstrumentationConfig").await.unwrap();
        sources.is_empty() && configs.is_empty()
    };
    eventually("no Source and no config is left", LIMIT, is_empty).await.unwrap();
}
